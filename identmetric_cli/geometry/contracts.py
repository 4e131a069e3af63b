"""What is asked of users' maps, checked where they are traced: what was got, and what to write instead.

A map is looked at whenever it is compiled for a new shape. So a check costs no evaluation and no trace of its own,
and holds for everything that is made of decoders.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Float

from identmetric_cli.geometry import tensor
from identmetric_cli.geometry.estimators import EXPECTED, NAMES, TENSOR, Estimator
from identmetric_cli.types import Decode, Decoded, Latents


def contracted(decode: Decode) -> Partial:
    """A map that is known to give (K, m, D) for (m, d), as a pytree; whatever else it gives raises ValueError."""
    if isinstance(decode, tensor.MetricTensor):
        raise ValueError(
            "a metric tensor decodes nothing, and this needs a decoder (m, d) -> (K, m, D); use a MetricTensor with "
            "geodesics, logarithmic_map, angles, volumes, frechet_mean or metric_tensor, and alone, not in a tuple"
        )
    if isinstance(decode, Partial) and decode.func in (_decoded, tensor.values):
        return decode
    return Partial(_decoded, decode if isinstance(decode, Partial) else Partial(decode))


def suited(decode: tuple[Decode, ...], estimator: Estimator) -> Estimator:
    """The estimator for these maps: `tensor` for a metric tensor. Raises ValueError on one that does not fit them."""
    if decode[0].func is tensor.values:
        if estimator.name not in (EXPECTED.name, TENSOR.name):
            raise ValueError(f"the estimator `{estimator.name}` needs decoders; leave it out for a metric tensor")
        return TENSOR
    if estimator.name not in NAMES:
        raise ValueError(f"estimators for decoders are {', '.join(NAMES)}; got `{estimator.name}`")
    return estimator


def usable(z: Any) -> Float[np.ndarray, "points latent"]:
    """Latents as floating-point rows, not a number where one is infinite or so large that its square overflows."""
    z = np.asarray(z)
    z = z.astype(jax.dtypes.canonicalize_dtype(np.result_type(z.dtype, np.float32)))
    if z.ndim != 2:
        return z
    largest = 0.5 * np.sqrt(np.finfo(z.dtype).max / max(z.shape[1], 1))
    return np.where((np.abs(z) <= largest).all(axis=1, keepdims=True), z, np.asarray(np.nan, z.dtype))


def _decoded(decode: Decode, z: Latents) -> Decoded:
    try:
        x = decode(z)
    except jax.errors.TracerArrayConversionError as error:
        raise ValueError("decode must be a JAX function, got one of NumPy; write it with jax.numpy") from error
    shape = getattr(x, "shape", None)
    if shape is None or len(shape) != 3 or shape[1] != len(z):
        raise ValueError(
            f"decode must map latents (m, d) to (K, m, D), K decoders of D numbers a point; "
            f"for latents {z.shape} it gave {_words(x)}; {_remedy(shape, len(z))}"
        )
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"decode must give real floating-point numbers, got {x.dtype}; write `1.0 * decode(z)`")
    return x


def _words(x: Any) -> str:
    return str(x.shape) if hasattr(x, "shape") else type(x).__name__


def _remedy(shape: tuple[int, ...] | None, points: int) -> str:
    match shape:
        case (first, _) if first == points:
            return "write `lambda z: decode(z)[None]` for one decoder"
        case (first,) if first == points:
            return "write `lambda z: decode(z)[None, :, None]` for one decoder of one number"
        case (first, *_) if first == points:
            return "write `lambda z: decode(z).reshape(1, len(z), -1)` for one decoder of images"
        case (decoders, second, *_) if second == points:
            return f"write `lambda z: decode(z).reshape({decoders}, len(z), -1)` for decoders of images"
        case None:
            return "return one array"
    return "write `lambda z: jax.vmap(decode)(z).reshape(1, len(z), -1)` if decode takes one point at a time"
