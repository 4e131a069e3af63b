"""Energy and length of curves on n segments, from decoded nodes alone: no Jacobians, no inverse metrics.

    E = n sum_i |F(z_i+1) - F(z_i)|^2        L = sum_i |F(z_i+1) - F(z_i)|        L^2 <= E

Both are exact for the polygon through the decoded nodes, in data units (squared for E).

Decoders are slow to compile, so they are compiled for one number of points only: curves of any number of nodes are
laid end to end on a strip of that many points, and the step from one curve to the next counts for nothing.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from identmetric_cli.batching import in_batches
from identmetric_cli.geometry.metric import embed
from identmetric_cli.types import Decode, Latents

ROUNDINGS = 4


class Layout(NamedTuple):
    """How the inner nodes of curves with n segments lie on a strip, ends left out."""

    weights: Float[np.ndarray, " points"]
    """n for the step from a point to the next along a curve, 0 for one between curves."""
    beside: Int[np.ndarray, " ends"]
    """Point of the strip that is next to each end; ends are a, b of the first curve, a, b of the second, ..."""
    end_weights: Float[np.ndarray, " ends"]
    """n for the ends of a curve, 0 for ends beyond the last curve."""


def layout(n: int, size: int, ends: int, dtype: np.dtype) -> Layout:
    """Layout of as many curves of n segments as fit on `size` points."""
    curves = size // (n - 1)
    weights = np.zeros(size, dtype)
    weights[: curves * (n - 1)] = n
    weights[n - 2 :: n - 1] = 0
    first = (n - 1) * np.arange(curves)
    beside, end_weights = np.zeros(ends, np.int32), np.zeros(ends, dtype)
    beside[: 2 * curves] = np.stack([first, first + n - 2], axis=1).ravel()
    end_weights[: 2 * curves] = n
    return Layout(weights, beside, end_weights)


@jax.jit
def energy_gradient(
    decode: Decode, strip: Latents, ends: Float[Array, "ends decoders data"], layout: Layout
) -> tuple[Float[Array, " points"], Float[Array, " ends"], Float[Array, "points latent"]]:
    """Squared steps along a strip, squared steps to decoded ends, and the gradient of the total energy in it."""

    def total(z: Latents) -> tuple[Array, tuple[Array, Array]]:
        x = embed(decode, z)
        # 0 * NaN is NaN: a weight of zero alone would let the NaN of one curve into its neighbour.
        along = layout.weights[:, None, None] > 0
        steps = _squares(jnp.where(along, jnp.roll(x, -1, axis=0) - x, 0.0))
        to_ends = _squares(x[layout.beside] - ends)
        return jnp.vdot(layout.weights, steps) + jnp.vdot(layout.end_weights, to_ends), (steps, to_ends)

    (_, (steps, to_ends)), gradient = jax.value_and_grad(total, has_aux=True)(strip)
    return steps, to_ends, gradient


@jax.jit
def embed_strip(decode: Decode, strip: Latents) -> Float[Array, "points decoders data"]:
    """F at the points of a strip."""
    return embed(decode, strip)


def lay(points: Float[Array, "pairs nodes latent"], size: int) -> Float[Array, "points latent"]:
    """Rows of points end to end on a strip of `size` points; the rest repeats the first point."""
    points = points.reshape(-1, points.shape[-1])
    filling = jnp.broadcast_to(points[:1], (size - len(points), points.shape[1]))
    return jnp.concatenate([points, filling])


def embed_points(
    decode: Decode, points: Float[np.ndarray, "pairs nodes latent"], size: int
) -> Float[Array, "pairs nodes decoders data"]:
    """F at rows of points that fit on one strip."""
    x = embed_strip(decode, lay(points, size))
    return x[: points.shape[0] * points.shape[1]].reshape(*points.shape[:2], *x.shape[1:])


def polygon_steps(
    decode: Decode, curves: Float[np.ndarray, "pairs nodes latent"], size: int
) -> tuple[Float[np.ndarray, "pairs segments"], Float[np.ndarray, "pairs half"]]:
    """Squared steps of any number of curves, and of their polygons through every other node."""
    return in_batches(partial(_polygon_steps, decode, size), (curves,), size // curves.shape[1])


def _polygon_steps(decode: Decode, size: int, curves: Float[np.ndarray, "pairs nodes latent"]) -> tuple[Array, Array]:
    return _both_steps(embed_points(decode, curves, size))


@jax.jit
def _both_steps(x: Float[Array, "pairs nodes decoders data"]) -> tuple[Array, Array]:
    return _squares(jnp.diff(x, axis=1)), _squares(jnp.diff(x[:, ::2], axis=1))


def _squares(x: Float[Array, "*rows decoders data"]) -> Float[Array, "*rows"]:
    return jnp.sum(jnp.square(x), axis=(-2, -1))


@partial(jax.jit, static_argnames=("n",))
def rounding_energy(ends: Float[Array, "pairs 2 decoders data"], n: int) -> Float[Array, " pairs"]:
    """Energy of curves of n segments whose steps are `ROUNDINGS` roundings of F each: as good as zero."""
    return jnp.square(ROUNDINGS * n * jnp.finfo(ends.dtype).eps) * _squares(ends).max(axis=1)


def energy(steps: Float[Array, "pairs segments"]) -> Float[Array, " pairs"]:
    """Energy from squared steps."""
    return steps.shape[1] * steps.sum(axis=1)


def length(steps: Float[np.ndarray, "pairs segments"]) -> Float[np.ndarray, " pairs"]:
    """Length from squared steps, summed in double precision."""
    return np.sqrt(steps.astype(np.float64)).sum(axis=1)
