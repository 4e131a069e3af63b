"""Curves between two latent points: a straight line plus functions that vanish at both ends.

    gamma(t) = (1 - t) a + t b + sum_j c_j b_j(t),    j = 1..J

Ends are exact by construction. There are two families of b_j:

    modes    sin(j pi t): with n segments and J = n - 1 modes this is any polygon of n + 1 nodes
    spline   cubic splines on ten pieces, twice differentiable, J = 11, as Syrota et al. (2025) have them: the null
             space of their 29 conditions on 40 coefficients

The Hessian of the energy in c is S x M if the metric is M everywhere, S_jk = 2 int b_j' b_k' dt the family's
stiffness. With M = C C^T and S = 2 L L^T, the variables y = L^T c C make it twice the identity, whatever the scale of
latents and data. That is what lets a quasi-Newton method converge in a dozen steps.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

FAMILIES = ("modes", "spline")
PIECES = 10
RELATIVE_JITTER = 1e-3


def count(family: str, n: int) -> int:
    """Functions of a family for curves of n segments."""
    return n - 1 if family == "modes" else PIECES + 1


def basis(family: str, n: int, size: int, nodes: int, dtype: jnp.dtype) -> Float[Array, "nodes size"]:
    """The functions of `size` variables y on nodes + 1 equal times.

    Modes that n segments cannot tell apart are zero.
    """
    return jnp.asarray(_basis(family, n, size, nodes), dtype)


def stiffness_factor(family: str, size: int) -> Float[np.ndarray, "size size"]:
    """L of L L^T = int b_j' b_k' dt."""
    if family == "modes":
        return np.diag(np.pi * np.arange(1, size + 1) / np.sqrt(2.0))
    # Three Gauss points a piece are exact for products of quadratics.
    points, weights = np.polynomial.legendre.leggauss(3)
    t = ((np.arange(PIECES)[:, None] + 0.5 + 0.5 * points) / PIECES).ravel()
    slopes = _spline(t, derivative=1) * np.sqrt(np.tile(weights, PIECES) / (2 * PIECES))[:, None]
    return np.linalg.cholesky(slopes.T @ slopes)


def scaling(metric: Float[Array, "pairs latent latent"]) -> Float[Array, "pairs latent latent"]:
    """C^-T for metric + jitter = C C^T: latent steps of unit length. Jitter keeps collapsed dimensions finite.

    Not a number for a metric that is infinite: no steps have unit length there, and zero would be a singular scale.
    """
    metric = jnp.where(jnp.isfinite(metric), metric, jnp.nan)
    dimension = metric.shape[-1]
    size = jnp.trace(metric, axis1=-2, axis2=-1)[..., None, None] / dimension
    identity = jnp.eye(dimension, dtype=metric.dtype)
    size = jnp.where(size > 0, size, 1.0)
    factor = jnp.linalg.cholesky(metric + RELATIVE_JITTER * size * identity)
    inverse = jax.scipy.linalg.solve_triangular(factor, jnp.broadcast_to(identity, factor.shape), lower=True)
    return jnp.swapaxes(inverse, -1, -2)


def points(
    starts: Float[Array, "pairs latent"],
    ends: Float[Array, "pairs latent"],
    scale: Float[Array, "pairs latent latent"],
    y: Float[Array, "pairs size latent"],
    basis: Float[Array, "nodes size"],
) -> Float[Array, "pairs nodes latent"]:
    """Curves on the nodes of `basis`, ends included."""
    t = jnp.linspace(0.0, 1.0, basis.shape[0], dtype=starts.dtype)[:, None]
    line = (1 - t) * starts[:, None] + t * ends[:, None]
    return line + jnp.einsum("nj,pjd,ped->pne", basis, y, scale)


def coefficients(
    family: str,
    curve: Float[np.ndarray, "pairs nodes latent"],
    scale: Float[np.ndarray, "pairs latent latent"],
    size: int,
) -> Float[np.ndarray, "pairs size latent"]:
    """The y of curves: the inverse of `points` on their own nodes, or nearest to it in the mean square."""
    n = curve.shape[1] - 1
    t = np.arange(n + 1)[:, None] / n
    line = (1 - t) * curve[:, :1] + t * curve[:, -1:]
    inverse = np.linalg.pinv(_basis(family, n, size, n))
    c = np.einsum("jn,pnd->pjd", inverse, curve - line)
    return np.swapaxes(np.linalg.solve(scale, np.swapaxes(c, 1, 2)), 1, 2).astype(curve.dtype)


def resampled(curve: Float[np.ndarray, "pairs nodes latent"], nodes: int) -> Float[np.ndarray, "pairs nodes latent"]:
    """Curves on nodes + 1 nodes, by their own sine modes: exact at the nodes that both have."""
    pairs, known, dimension = curve.shape
    scale = np.broadcast_to(np.eye(dimension, dtype=curve.dtype), (pairs, dimension, dimension))
    y = coefficients("modes", curve, scale, known - 2)
    return np.asarray(
        points(curve[:, 0], curve[:, -1], scale, y, basis("modes", known - 1, known - 2, nodes, curve.dtype))
    )


def _basis(family: str, n: int, size: int, nodes: int) -> Float[np.ndarray, "nodes size"]:
    t = np.linspace(0.0, 1.0, nodes + 1)
    if family == "modes":
        values = np.sin(np.pi * np.arange(1, size + 1) * t[:, None])
        values[:, n - 1 :] = 0.0
    else:
        values = _spline(t)
    values[[0, -1]] = 0.0
    return np.linalg.solve(stiffness_factor(family, size), values.T).T


def _spline(t: Float[np.ndarray, " times"], derivative: int = 0) -> Float[np.ndarray, "times 11"]:
    piece = np.minimum((t * PIECES).astype(int), PIECES - 1)
    design = np.zeros((len(t), PIECES, 4))
    design[np.arange(len(t)), piece] = _powers(t, derivative)
    return design.reshape(len(t), -1) @ _null_space()


@cache
def _null_space() -> Float[np.ndarray, "40 11"]:
    """Orthonormal coefficients of 1, t, t^2, t^3 on each piece that vanish at both ends and join at the knots."""
    conditions = np.zeros((2 + 3 * (PIECES - 1), PIECES, 4))
    conditions[0, 0], conditions[1, -1] = _powers(np.array([0.0, 1.0]), 0)
    for knot in range(1, PIECES):
        for derivative in range(3):
            values = _powers(np.array([knot / PIECES]), derivative)[0]
            conditions[3 * knot - 1 + derivative, [knot - 1, knot]] = values, -values
    return np.linalg.svd(conditions.reshape(len(conditions), -1))[2][len(conditions) :].T


def _powers(t: Float[np.ndarray, " times"], derivative: int) -> Float[np.ndarray, "times 4"]:
    """The derivatives of 1, t, t^2, t^3."""
    rows = [np.polynomial.Polynomial.basis(k).deriv(derivative)(t) for k in range(4)]
    return np.stack([np.broadcast_to(row, t.shape) for row in rows], axis=1)
