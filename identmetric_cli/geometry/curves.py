"""Curves between two latent points: a straight line plus sines that vanish at both ends.

    gamma(t) = (1 - t) a + t b + sum_j c_j sin(j pi t),    j = 1..J

With n segments and J = n - 1 modes this is any polygon of n + 1 nodes, in other coordinates: the ends are exact by
construction, and the modes are orthogonal for the energy of a flat metric: the Hessian of the
energy in c_j is (j pi)^2 M. With M = C C^T, the variables y_j = (j pi / sqrt 2) C^T c_j make it twice the
identity, whatever the scale of latents and data. That is what lets a quasi-Newton method converge in a dozen steps.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

RELATIVE_JITTER = 1e-3


def sine_basis(n: int, modes: int, nodes: int, dtype: jnp.dtype) -> Float[Array, "nodes modes"]:
    """sqrt(2) sin(j pi t) / (j pi) on nodes + 1 equal times; modes that n segments cannot tell apart are zero."""
    t = np.linspace(0.0, 1.0, nodes + 1)[:, None]
    j = np.arange(1, modes + 1)
    values = np.sqrt(2.0) * np.sin(np.pi * j * t) / (np.pi * j)
    values[[0, -1]] = 0.0
    return jnp.asarray(np.where(j < n, values, 0.0), dtype)


def scaling(metric: Float[Array, "pairs latent latent"]) -> Float[Array, "pairs latent latent"]:
    """C^-T for metric + jitter = C C^T: latent steps of unit length. Jitter keeps collapsed dimensions finite."""
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
    y: Float[Array, "pairs modes latent"],
    basis: Float[Array, "nodes modes"],
) -> Float[Array, "pairs nodes latent"]:
    """Curves on the nodes of `basis`, ends included."""
    t = jnp.linspace(0.0, 1.0, basis.shape[0], dtype=starts.dtype)[:, None]
    line = (1 - t) * starts[:, None] + t * ends[:, None]
    return line + jnp.einsum("nj,pjd,ped->pne", basis, y, scale)


def coefficients(
    curve: Float[np.ndarray, "pairs nodes latent"], scale: Float[np.ndarray, "pairs latent latent"], modes: int
) -> Float[np.ndarray, "pairs modes latent"]:
    """The y of a curve's first `modes` modes, the inverse of `points` on its own nodes; further ones are zero."""
    n = curve.shape[1] - 1
    t = np.arange(n + 1)[:, None] / n
    line = (1 - t) * curve[:, :1] + t * curve[:, -1:]
    j = np.arange(1, min(modes, n - 1) + 1)
    sines = np.sin(np.pi * j * t) * (np.sqrt(2.0) * np.pi * j / n)
    c = np.einsum("nj,pnd->pjd", sines, curve - line)
    y = np.zeros((len(curve), modes, curve.shape[2]), curve.dtype)
    y[:, : len(j)] = np.swapaxes(np.linalg.solve(scale, np.swapaxes(c, 1, 2)), 1, 2)
    return y


def resampled(curve: Float[np.ndarray, "pairs nodes latent"], nodes: int) -> Float[np.ndarray, "pairs nodes latent"]:
    """Curves on nodes + 1 nodes, by their own sine modes: exact at the nodes that both have."""
    pairs, count, dimension = curve.shape
    scale = np.broadcast_to(np.eye(dimension, dtype=curve.dtype), (pairs, dimension, dimension))
    basis = sine_basis(count - 1, count - 2, nodes, curve.dtype)
    y = coefficients(curve, scale, count - 2)
    return np.asarray(points(curve[:, 0], curve[:, -1], scale, y, basis))
