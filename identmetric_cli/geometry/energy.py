"""Energy and length of curves on n segments, from decoded nodes alone: no Jacobians, no inverse metrics.

    E = n sum_i |F(z_i+1) - F(z_i)|^2        L = sum_i |F(z_i+1) - F(z_i)|        L^2 <= E

Both are exact for the polygon through the decoded nodes, in data units (squared for E).
"""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from identmetric_cli.geometry.metric import embed
from identmetric_cli.types import Decode


def embed_curves(decode: Decode, curves: Float[Array, "pairs nodes latent"]) -> Float[Array, "pairs nodes *data"]:
    """F on every node of every curve, in one call of `decode`."""
    pairs, nodes, dimension = curves.shape
    x = embed(decode, curves.reshape(pairs * nodes, dimension))
    return x.reshape(pairs, nodes, *x.shape[1:])


def squared_steps(x: Float[Array, "pairs nodes *data"]) -> Float[Array, "pairs segments"]:
    """|F(z_i+1) - F(z_i)|^2 of every segment."""
    return jnp.sum(jnp.square(jnp.diff(x, axis=1)), axis=tuple(range(2, x.ndim)))


def energy(steps: Float[Array, "pairs segments"]) -> Float[Array, " pairs"]:
    """Energy from squared steps."""
    return steps.shape[1] * steps.sum(axis=1)


def length(steps: Float[Array, "pairs segments"]) -> Float[Array, " pairs"]:
    """Length from squared steps."""
    return jnp.sqrt(steps).sum(axis=1)
