"""A metric tensor in place of a decoder: G: (m, d) -> (m, d, d), for manifolds that no known map puts into a space.

It becomes a map like an ensemble's, with one member, whose value at z is z and the entries of G(z), end to end. What
nodes z_i say of a curve is then

    squared step    dz^T (G_i + G_i+1) / 2 dz,    dz = z_i+1 - z_i,

and lengths of curves on n segments are off by the order of 1 / n^2. No chord bounds a length from below, for there is
no space around the manifold: the lower bound that is told is zero.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import isqrt

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jaxtyping import Float

from identmetric_cli.batching import in_batches
from identmetric_cli.types import Decode, Decoded, Latents

Metric = Callable[[Latents], Float[Array, "points latent latent"]]

ROUNDINGS = 16
"""A squared step that is negative by no more roundings of its terms is zero."""
TOLERANCE = 1000
"""Roundings of its largest entry by which a matrix may fail to be symmetric and positive."""


@dataclass(frozen=True)
class MetricTensor:
    """A Riemannian metric by its matrices, `metric`: (m, d) -> (m, d, d), any JAX function.

    Matrices must be symmetric and positive definite, and those of one point depend on no other. Not a number stands
    for points outside of the manifold: no curve goes through them.
    """

    metric: Metric

    @property
    def decode(self) -> Decode:
        """The metric as a map to points and matrices, end to end: (m, d) -> (1, m, d + d * d)."""
        return Partial(values, self.metric if isinstance(self.metric, Partial) else Partial(self.metric))


def values(metric: Metric, z: Latents) -> Decoded:
    """Points and the matrices there. Raises ValueError on matrices of another shape."""
    matrices = metric(z)
    points, dimension = z.shape
    if jnp.shape(matrices) != (points, dimension, dimension):
        raise ValueError(
            f"a metric tensor maps latents {z.shape} to matrices {(points, dimension, dimension)}, got "
            f"{jnp.shape(matrices)}; for one that takes a single point, write `MetricTensor(jax.vmap(metric))`"
        )
    return jnp.concatenate([z, jnp.asarray(matrices, z.dtype).reshape(points, -1)], axis=1)[None]


def parts(x: Float[Array, "*points data"]) -> tuple[Float[Array, "*points latent"], Float[Array, "*points d d"]]:
    """Points and matrices, from both end to end."""
    dimension = (isqrt(1 + 4 * x.shape[-1]) - 1) // 2
    return x[..., :dimension], x[..., dimension:].reshape(*x.shape[:-1], dimension, dimension)


def squared_steps(x: Float[Array, "1 *curves nodes data"]) -> Float[Array, "*curves segments"]:
    """Squared length of every step from node to node; NaN where the metric is not positive."""
    z, matrices = parts(x[0])
    step, middle = jnp.diff(z, axis=-2), 0.5 * (matrices[..., 1:, :, :] + matrices[..., :-1, :, :])
    squares = jnp.einsum("...d,...de,...e->...", step, middle, step)
    size = jnp.einsum("...d,...de,...e->...", jnp.abs(step), jnp.abs(middle), jnp.abs(step))
    zero = ROUNDINGS * jnp.finfo(x.dtype).eps * size
    return jnp.where(squares >= -zero, jnp.maximum(squares, 0.0), jnp.nan)


def gram(vectors: Float[Array, "points m data"], x: Float[Array, "points data"]) -> Float[Array, "points m m"]:
    """Inner products of m vectors, from what the map's Jacobian makes of them and its values."""
    z, matrices = parts(x)
    u = vectors[..., : z.shape[-1]]
    return jnp.einsum("pmd,pde,pne->pmn", u, matrices, u)


def squared_size(x: Float[Array, "*points data"]) -> Float[Array, "*points"]:
    """How long the latent vector to a point is at most under its metric, squared: roundings are shares of it."""
    z, matrices = parts(x)
    return jnp.sum(jnp.square(z), axis=-1) * jnp.trace(matrices, axis1=-2, axis2=-1)


def check_positive(decode: Decode, points: Float[np.ndarray, "points latent"], batch_size: int) -> None:
    """Raises ValueError where a metric tensor's matrix is not symmetric or has a negative eigenvalue."""
    size = min(batch_size, len(points))
    matrices = in_batches(partial(_matrices, decode), (points,), size).astype(np.float64)
    matrices = np.where(np.isfinite(matrices).all(axis=(1, 2))[:, None, None], matrices, 0.0)
    zero = TOLERANCE * np.finfo(points.dtype).eps * np.abs(matrices).max(axis=(1, 2))
    skewed = np.abs(matrices - np.swapaxes(matrices, 1, 2)).max(axis=(1, 2)) > zero
    if skewed.any():
        raise ValueError(
            f"the metric tensor is not symmetric: at {points[skewed][0].tolist()} it is "
            f"{matrices[skewed][0].tolist()}; return 0.5 * (G + jnp.swapaxes(G, 1, 2)) if that is what you mean"
        )
    least = np.linalg.eigvalsh(matrices)[:, 0]
    if (least < -zero).any():
        raise ValueError(
            f"the metric tensor is not positive definite: at {points[least < -zero][0].tolist()} it has the "
            f"eigenvalue {least[least < -zero][0]:.3g}; curves must end where lengths are positive"
        )


@jax.jit
def _matrices(decode: Decode, z: Latents) -> Float[Array, "points latent latent"]:
    return parts(decode(z)[0])[1]
