"""The pull-back metric of an ensemble.

Stacking K decoders, F = (f_1, ..., f_K) / sqrt(K), makes one map whose pull-back metric J_F^T J_F is the expected
metric (1/K) sum_k J_k^T J_k of the ensemble, exactly. Everything in this package is a property of that F.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from identmetric_cli.types import Decode, Latents


def embed(decode: Decode, z: Latents) -> Float[Array, "points decoders data"]:
    """F at every point, with the axes of its K D outputs kept apart."""
    x = decode(z)
    return jnp.swapaxes(x, 0, 1) / jnp.sqrt(jnp.asarray(x.shape[0], x.dtype))


def jacobian_products(
    decode: Decode, z: Latents, vectors: Float[Array, "points m latent"]
) -> Float[Array, "points m decoders data"]:
    """J_F(z) v for m vectors at every point, by forward differentiation."""

    def product(v: Float[Array, "points latent"]) -> Array:
        return jax.jvp(partial(embed, decode), (z,), (v,))[1]

    return jax.vmap(product, in_axes=1, out_axes=1)(vectors)


def gram(decode: Decode, z: Latents, vectors: Float[Array, "points m latent"]) -> Float[Array, "points m m"]:
    """Inner products <J u_i, J u_j> of m tangent vectors at every point under the pull-back metric."""
    products = jacobian_products(decode, z, vectors)
    products = products.reshape(*products.shape[:2], -1)
    return products @ jnp.swapaxes(products, 1, 2)


def metric_tensor(decode: Decode, z: Latents) -> Float[Array, "points latent latent"]:
    """Pull-back metric J_F^T J_F at every point: (P, d) -> (P, d, d), squared data units per squared latent unit."""
    points, dimension = z.shape
    return gram(decode, z, jnp.broadcast_to(jnp.eye(dimension, dtype=z.dtype), (points, dimension, dimension)))


def mean_decoder(decode: Decode) -> Decode:
    """The ensemble's mean as an ensemble of one."""
    return jax.tree_util.Partial(_decode_mean, decode)


def _decode_mean(decode: Decode, z: Latents) -> Float[Array, "1 points data"]:
    return decode(z).mean(axis=0, keepdims=True)


def as_pytree(decode: Decode) -> Decode:
    """`decode` as a pytree, so that compiled functions take it as an argument; its weights stay arguments then."""
    return decode if isinstance(decode, jax.tree_util.Partial) else jax.tree_util.Partial(decode)
