"""Latents whose decoded points are nearest to given data: what the theory calls f^-1(x).

An encoder's mean is only near it. A few damped Gauss-Newton steps on

    min_z  (1/K) sum_k |f_k(z) - x|^2

(Levenberg and Marquardt) lead from the one to the other, if the other is close; a step that does not lower the
error is not taken, and a point stays where a step promises next to nothing. Nocedal and Wright, Numerical
Optimization (2006), section 10.3.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from identmetric_cli.batching import in_batches
from identmetric_cli.geometry.metric import decoded, jacobian_products, members
from identmetric_cli.types import Decode, Decoders, Latents

BATCH_SIZE = 16
DAMPING = 1e-3
"""First damping, relative to the metric's mean eigenvalue; divided by 10 after a step that helped, else times 10."""
RTOL = 1e-6
"""A point is at rest when one more step promises to lower its error by no more than this share."""


class Refined(NamedTuple):
    """Where points went, and how near they came."""

    latents: Float[np.ndarray, "points latent"]
    before: Float[np.ndarray, " points"]
    """Mean squared error of the decoders at the given latents."""
    after: Float[np.ndarray, " points"]
    gain: Float[np.ndarray, " points"]
    """Share of the error that one more step promises to remove."""


def refine_endpoints(
    decode: Decoders,
    z: Float[Array, "points latent"],
    x: Float[Array, "points data"],
    *,
    steps: int = 20,
    rtol: float = RTOL,
) -> Refined:
    """Latents near `z`, (P, d), that decode more nearly to `x`, (P, D).

    A point takes up to `steps`, until one more promises to lower its error by less than `rtol` of it. Raises
    ValueError on shapes that do not fit.
    """
    z, x = np.asarray(z), np.asarray(x)
    if z.ndim != 2 or x.ndim != 2 or len(z) != len(x):
        raise ValueError(f"z must be (points, latent), x (points, data); got {z.shape} and {x.shape}")
    refine = partial(_refine, members(decode), steps, rtol)
    return Refined(*in_batches(refine, (z, x.astype(z.dtype)), min(BATCH_SIZE, len(z))))


def _refine(
    decode: tuple[Decode, ...], steps: int, rtol: float, z: Latents, x: Array
) -> tuple[Latents, Array, Array, Array]:
    points, dimension = z.shape
    identity = np.broadcast_to(np.eye(dimension, dtype=z.dtype), (points, dimension, dimension))
    damping = jnp.full(points, DAMPING, z.dtype)
    values = decoded(decode, z)
    before = error = _error(values, x)
    running = jnp.ones(points, bool)
    for taken in range(steps + 1):
        step, gain = _step(jacobian_products(decode, z, identity), values, x, damping)
        running = running & (gain > rtol * error)
        if taken == steps or not running.any():
            break
        trial = z + step
        new_values = decoded(decode, trial)
        new_error = _error(new_values, x)
        better = running & (new_error < error)
        z = jnp.where(better[:, None], trial, z)
        values = jnp.where(better[None, :, None], new_values, values)
        error = jnp.where(better, new_error, error)
        damping = damping * jnp.where(better, 0.1, 10.0)
    return z, before / x.shape[1], error / x.shape[1], gain / error


@jax.jit
def _error(values: Float[Array, "decoders points data"], x: Array) -> Float[Array, " points"]:
    return jnp.square(values - x).sum(axis=2).mean(axis=0)


@jax.jit
def _step(products: Array, values: Array, x: Array, damping: Array) -> tuple[Latents, Float[Array, " points"]]:
    """The next step, and by how much the linearised decoders promise to lower the error."""
    metric = jnp.einsum("kpdx,kpex->pde", products, products) / len(products)
    downhill = jnp.einsum("kpdx,kpx->pd", products, x - values) / len(products)
    size = jnp.trace(metric, axis1=1, axis2=2) / metric.shape[1]
    damped = metric + (damping * size)[:, None, None] * jnp.eye(metric.shape[1], dtype=metric.dtype)
    step = jnp.linalg.solve(damped, downhill[..., None])[..., 0]
    return step, 2 * jnp.sum(step * downhill, axis=1) - jnp.einsum("pd,pde,pe->p", step, metric, step)
