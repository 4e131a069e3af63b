"""Parallel transport along curves, by the rotation between neighbouring tangent spaces.

With J_i = Q_i R_i the Jacobian of F at node i, the matrix Q_i+1^T Q_i maps the tangent space at one node to that at
the next by orthogonal projection. Its polar factor is the isometry nearest to it; it is symmetric in the two nodes,
hence of second order in the step. Only inner products of Jacobians are needed: Q_i+1^T Q_i = R_i+1^-T (J_i+1^T J_i)
R_i^-1. Lengths and angles of transported vectors are kept exactly.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from identmetric_cli.batching import in_batches
from identmetric_cli.geometry.estimators import EXPECTED, Estimator
from identmetric_cli.geometry.metric import jacobian_products, members
from identmetric_cli.types import Decoders

BATCH_SIZE = 4


def parallel_transport(
    decode: Decoders,
    curves: Float[Array, "pairs nodes latent"],
    vectors: Float[Array, "pairs m latent"],
    *,
    estimator: Estimator = EXPECTED,
) -> Float[np.ndarray, "pairs m latent"]:
    """m tangent vectors at the first node of every curve, transported to its last: (P, m, d) -> (P, m, d).

    The error is of second order in the spacing of the nodes. NaN where the Jacobian loses full rank. Raises
    ValueError on shapes, and for estimators other than `expected` and `mean`.
    """
    curves, vectors = np.asarray(curves), np.asarray(vectors)
    if curves.ndim != 3 or vectors.ndim != 3 or curves.shape[::2] != vectors.shape[::2]:
        raise ValueError(
            f"curves must be (pairs, nodes, latent), vectors (pairs, m, latent); got {curves.shape}, {vectors.shape}"
        )
    if estimator.name not in ("expected", "mean"):
        raise ValueError(f"parallel transport is there for `expected` and `mean`, not for `{estimator.name}`")
    decode = members(decode)

    def rows(curves: Array, vectors: Array) -> Array:
        pairs, nodes, dimension = curves.shape
        identity = np.broadcast_to(np.eye(dimension, dtype=curves.dtype), (pairs * nodes, dimension, dimension))
        products = jacobian_products(decode, curves.reshape(-1, dimension), identity)
        return _transport(
            products.reshape(-1, pairs, nodes, *products.shape[2:]), vectors, mean=estimator.name == "mean"
        )

    return in_batches(rows, (curves, vectors), min(BATCH_SIZE, len(curves)))


@partial(jax.jit, static_argnames=("mean",))
def _transport(
    products: Float[Array, "decoders pairs nodes latent data"], vectors: Float[Array, "pairs m latent"], mean: bool
) -> Float[Array, "pairs m latent"]:
    if mean:
        products = products.mean(axis=0, keepdims=True)
    decoders = products.shape[0]
    metric = jnp.einsum("kpnix,kpnjx->pnij", products, products) / decoders
    across = jnp.einsum("kpnix,kpnjx->pnij", products[:, :, 1:], products[:, :, :-1]) / decoders
    # R^T R = J^T J, with R upper triangular.
    triangle = jnp.swapaxes(jnp.linalg.cholesky(metric), -1, -2)
    left = jax.scipy.linalg.solve_triangular(triangle[:, 1:], across, trans=1)
    projection = jax.scipy.linalg.solve_triangular(triangle[:, :-1], jnp.swapaxes(left, -1, -2), trans=1)
    u, _, v = jnp.linalg.svd(jnp.swapaxes(projection, -1, -2))
    rotations = u @ v
    frame = jnp.einsum("pij,pmj->pmi", triangle[:, 0], vectors)
    for step in range(rotations.shape[1]):
        frame = jnp.einsum("pij,pmj->pmi", rotations[:, step], frame)
    return jnp.swapaxes(jax.scipy.linalg.solve_triangular(triangle[:, -1], jnp.swapaxes(frame, 1, 2)), 1, 2)
