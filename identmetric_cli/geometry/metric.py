"""The pull-back metric of an ensemble.

Stacking K decoders, F = (f_1, ..., f_K) / sqrt(K), makes one map whose pull-back metric J_F^T J_F is the expected
metric (1/K) sum_k J_k^T J_k of the ensemble, exactly. Everything in this package is a property of that F, and needs
no more of it than its values, its Jacobian's products with vectors, and those of its transpose.

An ensemble is given as one map (m, d) -> (K, m, D), or as a tuple of such maps whose outputs together are the
ensemble's. Maps that share their code and differ in their weights are compiled once, which for K convolutional
decoders is K times faster than compiling them as one.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from identmetric_cli.geometry.contracts import contracted, suited
from identmetric_cli.geometry.estimators import EXPECTED, Estimator
from identmetric_cli.geometry.tensor import MetricTensor
from identmetric_cli.types import Decode, Decoded, Decoders, Latents

PROBED = 4


def members(decode: Decoders) -> tuple[Decode, ...]:
    """The maps of an ensemble as pytrees: compiled functions take them, and so their weights, as arguments.

    Raises ValueError for a metric tensor, which has none, and later, when maps are traced, on what is not (K, m, D).
    """
    return tuple(contracted(each) for each in (decode if isinstance(decode, tuple) else (decode,)))


def maps(decode: Decoders | MetricTensor) -> tuple[Decode, ...]:
    """The maps of an ensemble, or the one of a metric tensor."""
    return members(decode.decode if isinstance(decode, MetricTensor) else decode)


def some_members(decode: tuple[Decode, ...]) -> tuple[Decode, ...]:
    """A few maps of an ensemble, evenly taken: their metric is enough to scale by."""
    return decode[:: max(1, len(decode) // PROBED)]


def decoded(decode: Decoders, z: Latents) -> Decoded:
    """All members at every point."""
    return jnp.concatenate([_decoded(each, z) for each in members(decode)])


def jacobian_products(
    decode: Decoders, z: Latents, vectors: Float[Array, "points m latent"]
) -> Float[Array, "decoders points m data"]:
    """J_k(z) v of all members for m vectors at every point, by forward differentiation."""
    return jnp.concatenate([_products(each, z, vectors) for each in members(decode)])


def gram(
    decode: Decoders | MetricTensor,
    z: Latents,
    vectors: Float[Array, "points m latent"],
    estimator: Estimator = EXPECTED,
) -> Float[Array, "points m m"]:
    """Inner products <u_i, u_j> of m tangent vectors at every point, under the pull-back metric or a given one."""
    decode = maps(decode)
    return suited(decode, estimator).gram(jacobian_products(decode, z, vectors), partial(decoded, decode, z))


def metric_tensor(
    decode: Decoders | MetricTensor, z: Latents, estimator: Estimator = EXPECTED
) -> Float[Array, "points latent latent"]:
    """Pull-back metric J_F^T J_F at every point: (P, d) -> (P, d, d), squared data units per squared latent unit."""
    points, dimension = z.shape
    return gram(
        decode, z, jnp.broadcast_to(jnp.eye(dimension, dtype=z.dtype), (points, dimension, dimension)), estimator
    )


@jax.jit
def _decoded(decode: Decode, z: Latents) -> Decoded:
    return decode(z)


@jax.jit
def _products(decode: Decode, z: Latents, vectors: Float[Array, "points m latent"]) -> Array:
    def product(v: Float[Array, "points latent"]) -> Array:
        return jax.jvp(decode, (z,), (v,))[1]

    return jax.vmap(product, in_axes=1, out_axes=2)(vectors)
