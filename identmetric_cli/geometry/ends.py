"""What a curve is at its ends: the velocities with which it leaves them, and how well latents resolve the data there.

A velocity is found in data space, from the decoded nodes next to an end, and only then expressed in latents, as the
u that brings J u nearest to it. So the geometry made of it, angles and volumes, does not depend on coordinates, not
even by an error of the order of the nodes' distance.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from identmetric_cli.batching import in_batches
from identmetric_cli.geometry import tensor
from identmetric_cli.geometry.estimators import Estimator
from identmetric_cli.geometry.metric import decoded, jacobian_products
from identmetric_cli.types import Decode

ONE_SIDED = {1: (-1, 1), 2: (-3 / 2, 2, -1 / 2), 3: (-11 / 6, 3, -3 / 2, 1 / 3)}
"""Weights of the first nodes in a first derivative, by order."""


@jax.jit
def leaving(x: Float[Array, "pairs nodes decoders data"]) -> Float[Array, "pairs 2 decoders data"]:
    """Velocities in data space with which decoded curves leave their ends, by differences of up to third order."""
    n = x.shape[1] - 1
    order = min(n, 3)
    weights = n * jnp.asarray(ONE_SIDED[order], x.dtype)
    both = jnp.stack([x[:, : order + 1], x[:, : -order - 2 : -1]], axis=1)
    return jnp.einsum("i,peikx->pekx", weights, both)


def frames(
    decode: tuple[Decode, ...],
    curve: Float[np.ndarray, "pairs nodes latent"],
    away: Float[np.ndarray, "pairs 2 decoders data"],
    estimator: Estimator,
    batch_size: int,
) -> tuple[Float[np.ndarray, "pairs 2 latent"], Float[np.ndarray, " pairs"]]:
    """Velocities at both ends in latents, and the least singular value of J at both ends and in the middle."""
    dimension = curve.shape[2]

    def rows(z: np.ndarray, away: np.ndarray) -> tuple[Array, Array]:
        if estimator.name == "tensor":
            return _tensor_frames(decoded(decode, z.reshape(-1, dimension)), away)
        pairs = len(z)
        identity = np.broadcast_to(np.eye(dimension, dtype=z.dtype), (3 * pairs, dimension, dimension))
        products = jacobian_products(decode, z.reshape(-1, dimension), identity)
        return _frames(estimator, products.reshape(len(products), pairs, 3, dimension, -1), away)

    z = curve[:, [0, curve.shape[1] // 2, -1]]
    return in_batches(rows, (z, away), batch_size)


@jax.jit
def _tensor_frames(
    x: Float[Array, "1 points data"], away: Float[Array, "pairs 2 1 data"]
) -> tuple[Float[Array, "pairs 2 latent"], Float[Array, " pairs"]]:
    """The same for a metric tensor, whose map holds the latents: their part of a velocity is the latent one."""
    velocity, _ = tensor.parts(away[:, :, 0])
    values = jnp.linalg.eigvalsh(tensor.parts(x[0])[1])[:, 0].reshape(len(away), 3)
    return velocity, jnp.sqrt(jnp.maximum(values.min(axis=1), 0.0))


@jax.jit
def _frames(
    estimator: Estimator,
    products: Float[Array, "decoders pairs 3 latent data"],
    away: Float[Array, "pairs 2 decoders data"],
) -> tuple[Float[Array, "pairs 2 latent"], Float[Array, " pairs"]]:
    if estimator.name == "mean":
        products, away = products.mean(axis=0, keepdims=True), away.mean(axis=2, keepdims=True)
    metric = jnp.einsum("kpndx,kpnex->pnde", products, products) / len(products)
    inner = jnp.einsum("kpndx,pnkx->pnd", products[:, :, ::2], away) / len(products)
    values, vectors = jnp.linalg.eigh(metric)
    # Directions that the data do not resolve get no share of the velocity.
    floor = values.shape[-1] * jnp.finfo(values.dtype).eps * values[..., -1:]
    inverse = jnp.where(values > floor, 1 / jnp.where(values > floor, values, 1.0), 0.0)[:, ::2]
    vectors = vectors[:, ::2]
    along = inverse * jnp.einsum("pnde,pnd->pne", vectors, inner)
    least = jnp.sqrt(jnp.maximum(values[..., 0], 0.0)).min(axis=1)
    return jnp.einsum("pnde,pne->pnd", vectors, along), least
