"""Energy and length of curves on n segments, from decoded nodes alone: no Jacobians, no inverse metrics.

    E = n sum_i s_i        L = sum_i sqrt(s_i)        L^2 <= E

with s_i the squared steps of an estimator; for `expected` s_i = |F(z_i+1) - F(z_i)|^2, and both are exact for the
polygon through the decoded nodes, in data units (squared for E).

The gradient has three parts, compiled apart: decoding, the energy as a function of decoded nodes, and pulling its
gradient back to the latents. Decoders are slow to compile, so they are compiled for one number of points only: the
inner nodes of curves of any n are laid end to end on a strip of that many points.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from identmetric_cli.batching import in_batches
from identmetric_cli.geometry.estimators import EXPECTED, Estimator, disagreement
from identmetric_cli.geometry.metric import decoded, members
from identmetric_cli.types import Decode, Decoded, Decoders, Latents

ROUNDINGS = 4


def energy_gradient(
    decode: Decoders,
    strip: Latents,
    ends: Float[Array, "curves 2 decoders data"],
    n: int,
    estimator: Estimator = EXPECTED,
) -> tuple[Float[Array, " curves"], Float[Array, "points latent"]]:
    """Energies of the curves of n segments on a strip, between decoded ends, and their gradients in the strip."""
    x, backs = zip(*(forward(each, strip) for each in members(decode)), strict=True)
    energies, cotangents = _energies(estimator, x, ends, n)
    return energies, sum(map(pull, backs, cotangents))


@jax.jit
def forward(decode: Decode, z: Latents) -> tuple[Decoded, Any]:
    """A member at every point, and what pulls derivatives in its values back to the latents."""
    return jax.vjp(decode, z)


@jax.jit
def pull(back: Any, cotangent: Decoded) -> Latents:
    """Derivatives in the latents, from those in a member's values."""
    return back(cotangent)[0]


@partial(jax.jit, static_argnames=("n",))
def _energies(
    estimator: Estimator, x: tuple[Decoded, ...], ends: Float[Array, "curves 2 decoders data"], n: int
) -> tuple[Float[Array, " curves"], tuple[Decoded, ...]]:
    def total(x: tuple[Decoded, ...]) -> tuple[Array, Array]:
        curves, _, decoders, data = ends.shape
        inner = jnp.concatenate(x)[:, : curves * (n - 1)].reshape(decoders, curves, n - 1, data)
        first, last = jnp.moveaxis(ends, (1, 2), (0, 1))[:, :, :, None]
        nodes = jnp.concatenate([first, inner, last], axis=2)
        energies = energy(estimator.squared_steps(nodes))
        return energies.sum(), energies

    (_, energies), cotangents = jax.value_and_grad(total, has_aux=True)(x)
    return energies, cotangents


@partial(jax.jit, static_argnames=("size",))
def lay(points: Float[Array, "pairs nodes latent"], size: int) -> Float[Array, "points latent"]:
    """Rows of points end to end on a strip of `size` points; the rest repeats the first point."""
    points = points.reshape(-1, points.shape[-1])
    if not len(points):
        return jnp.zeros((size, points.shape[1]), points.dtype)
    filling = jnp.broadcast_to(points[:1], (size - len(points), points.shape[1]))
    return jnp.concatenate([points, filling])


def decode_rows(
    decode: Decoders, points: Float[np.ndarray, "pairs nodes latent"], size: int
) -> Float[Array, "pairs nodes decoders data"]:
    """All members at rows of points that fit on one strip."""
    x = decoded(decode, lay(points, size))[:, : points.shape[0] * points.shape[1]]
    return jnp.moveaxis(x, 0, 1).reshape(*points.shape[:2], *x.shape[::2])


def squared_steps(
    decode: Decoders,
    curves: Float[np.ndarray, "pairs nodes latent"],
    size: int,
    estimator: Estimator = EXPECTED,
    strides: tuple[int, ...] = (1,),
) -> tuple[Float[np.ndarray, "pairs segments"], ...]:
    """Squared steps of any number of curves, through every node or, for each stride, through every so-manieth."""

    def steps(curves: Float[np.ndarray, "pairs nodes latent"]) -> tuple[Array, ...]:
        x = decode_rows(decode, curves, size)
        return tuple(steps_of(x[:, ::stride], estimator) for stride in strides)

    return in_batches(steps, (curves,), size // curves.shape[1])


@jax.jit
def steps_of(x: Float[Array, "pairs nodes decoders data"], estimator: Estimator) -> Float[Array, "pairs segments"]:
    """Squared steps of curves whose nodes are decoded; not a number where they overflow."""
    steps = estimator.squared_steps(jnp.moveaxis(x, 2, 0))
    return jnp.where(jnp.isinf(steps), jnp.nan, steps)


@jax.jit
def disagreement_of(x: Float[Array, "pairs nodes decoders data"]) -> Float[Array, "pairs nodes"]:
    """Mean squared distance of the members from their mean at decoded nodes."""
    return disagreement(jnp.moveaxis(x, 2, 0))


def rounding_energy(
    ends: Float[np.ndarray, "pairs 2 decoders data"], n: int, estimator: Estimator = EXPECTED
) -> Float[np.ndarray, " pairs"]:
    """Energy of curves of n segments whose steps are `ROUNDINGS` roundings of F each: as good as zero."""
    squares = np.asarray(_squared_sizes(ends, estimator))
    return np.square(ROUNDINGS * n * np.finfo(ends.dtype).eps) * squares


@jax.jit
def _squared_sizes(ends: Float[Array, "pairs 2 decoders data"], estimator: Estimator) -> Float[Array, " pairs"]:
    return estimator.squared_size(jnp.moveaxis(ends, 2, 0)).max(axis=-1)


def energy(steps: Float[Array, "pairs segments"]) -> Float[Array, " pairs"]:
    """Energy from squared steps."""
    return steps.shape[-1] * steps.sum(axis=-1)


def length(steps: Float[np.ndarray, "pairs segments"]) -> Float[np.ndarray, " pairs"]:
    """Length from squared steps, summed in double precision."""
    return np.sqrt(steps.astype(np.float64)).sum(axis=1)
