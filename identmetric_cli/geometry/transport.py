"""Parallel transport along curves, by the rotation between neighbouring tangent spaces.

With J_i = Q_i R_i the Jacobian of F at node i, the matrix Q_i+1^T Q_i maps the tangent space at one node to that at
the next by orthogonal projection. Its polar factor is the isometry nearest to it; it is symmetric in the two nodes,
hence of second order in the step. Only inner products of Jacobians are needed: Q_i+1^T Q_i = R_i+1^-T (J_i+1^T J_i)
R_i^-1. Lengths and angles of transported vectors are kept exactly.

Under a conformal factor exp(2 phi), the vector exp(phi) V turns in the plane of the velocity X and of grad phi beside
(Lee, Introduction to Riemannian Manifolds, 2018, proposition 7.29): exp(phi) V = W obeys

    D_X W = <X, W> grad phi - <grad phi, W> X,

half a turn of every segment at its first node and half at its last.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import solve_triangular
from jaxtyping import Float

from identmetric_cli.batching import in_batches
from identmetric_cli.geometry.estimators import EXPECTED, Estimator
from identmetric_cli.geometry.jets import log_factor
from identmetric_cli.geometry.metric import decoded, jacobian_products, members
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
    ValueError on shapes, and for estimators that are no metric.
    """
    curves, vectors = np.asarray(curves), np.asarray(vectors)
    if curves.ndim != 3 or vectors.ndim != 3 or curves.shape[::2] != vectors.shape[::2]:
        raise ValueError(
            f"curves must be (pairs, nodes, latent), vectors (pairs, m, latent); got {curves.shape}, {vectors.shape}"
        )
    estimator.require_metric()
    decode = members(decode)

    def rows(curves: Array, vectors: Array) -> Array:
        dimension = curves.shape[2]
        points = curves.reshape(-1, dimension)
        identity = np.broadcast_to(np.eye(dimension, dtype=curves.dtype), (len(points), dimension, dimension))
        return _transport(
            estimator, decoded(decode, points), jacobian_products(decode, points, identity), curves, vectors
        )

    return in_batches(rows, (curves, vectors), min(BATCH_SIZE, len(curves)))


@jax.jit
def _transport(
    estimator: Estimator,
    x: Float[Array, "decoders points data"],
    first: Float[Array, "decoders points latent data"],
    curves: Float[Array, "pairs nodes latent"],
    vectors: Float[Array, "pairs m latent"],
) -> Float[Array, "pairs m latent"]:
    pairs, nodes, _ = curves.shape
    phi, slope = (each.reshape(pairs, nodes, *each.shape[1:]) for each in log_factor(estimator, x, first))
    if estimator.name == "mean":
        first = first.mean(axis=0, keepdims=True)
    products = first.reshape(-1, pairs, nodes, *first.shape[2:])
    decoders = len(products)
    metric = jnp.einsum("kpnix,kpnjx->pnij", products, products) / decoders
    across = jnp.einsum("kpnix,kpnjx->pnij", products[:, :, 1:], products[:, :, :-1]) / decoders
    # R^T R = J^T J, with R upper triangular.
    triangle = jnp.swapaxes(jnp.linalg.cholesky(metric), -1, -2)
    left = solve_triangular(triangle[:, 1:], across, trans=1)
    projection = solve_triangular(triangle[:, :-1], jnp.swapaxes(left, -1, -2), trans=1)
    u, _, v = jnp.linalg.svd(jnp.swapaxes(projection, -1, -2))
    steps = jnp.diff(curves, axis=1)
    before = _half_turn(triangle[:, :-1], slope[:, :-1], steps)
    after = _half_turn(triangle[:, 1:], slope[:, 1:], steps)
    rotations = after @ u @ v @ before
    frame = jnp.einsum("p,pij,pmj->pmi", jnp.exp(phi[:, 0]), triangle[:, 0], vectors)
    for step in range(nodes - 1):
        frame = jnp.einsum("pij,pmj->pmi", rotations[:, step], frame)
    moved = jnp.swapaxes(solve_triangular(triangle[:, -1], jnp.swapaxes(frame, 1, 2)), 1, 2)
    return jnp.exp(-phi[:, -1])[:, None, None] * moved


def _half_turn(
    triangle: Float[Array, "pairs segments latent latent"],
    slope: Float[Array, "pairs segments latent"],
    steps: Float[Array, "pairs segments latent"],
) -> Float[Array, "pairs segments latent latent"]:
    """The rotation by half a segment that the conformal factor asks for at one node, by Cayley's map: orthogonal."""
    gradient = solve_triangular(triangle, slope[..., None], trans=1)
    velocity = triangle @ steps[..., None]
    quarter = (gradient @ jnp.swapaxes(velocity, -1, -2) - velocity @ jnp.swapaxes(gradient, -1, -2)) / 4
    identity = jnp.eye(slope.shape[-1], dtype=slope.dtype)
    return jnp.linalg.solve(identity - quarter, identity + quarter)
