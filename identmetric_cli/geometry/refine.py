"""Latents whose decoded points are nearest to given data: what the theory calls f^-1(x).

An encoder's mean is only near it. From there

    min_z  (1/K) sum_k |f_k(z) - x|^2

is solved by the quasi-Newton method that finds curves, in latents scaled by the metric at the start: there the
Hessian of linear decoders is twice the identity, and the first step one of Gauss and Newton. Each point has its own
steps, and stays where another promises next to nothing.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from identmetric_cli.batching import in_batches
from identmetric_cli.geometry import curves, lbfgs
from identmetric_cli.geometry.energy import forward, pull
from identmetric_cli.geometry.lbfgs import Status
from identmetric_cli.geometry.metric import members, metric_tensor, some_members
from identmetric_cli.types import Decode, Decoded, Decoders, Latents

BATCH_SIZE = 16
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
    scale = curves.scaling(metric_tensor(some_members(decode), z))
    scale = jnp.where(jnp.isfinite(scale), scale, 0.0)
    state, before = lbfgs.starts(np.zeros(z.shape, z.dtype)), None
    while before is None or np.any(state.status == Status.running):
        values, backs = zip(*(forward(each, _moved(z, scale, lbfgs.trials(state))) for each in decode), strict=True)
        errors, cotangents = _errors(values, x)
        gradient = _scaled(scale, sum(map(pull, backs, cotangents)))
        state = lbfgs.advance(state, *jax.device_get((errors, gradient)), 0.0, rtol, steps + 1)
        before = errors if before is None else before
    data = x.shape[1]
    energy = np.where(state.energy > 0, state.energy, np.finfo(z.dtype).tiny)
    return _moved(z, scale, state.y), before / data, state.energy / data, lbfgs.gains(state) / energy


@jax.jit
def _moved(z: Latents, scale: Array, y: Float[Array, "points latent"]) -> Latents:
    return z + jnp.einsum("ped,pd->pe", scale, y)


@jax.jit
def _errors(
    values: tuple[Decoded, ...], x: Float[Array, "points data"]
) -> tuple[Float[Array, " points"], tuple[Decoded, ...]]:
    """Squared errors of the members' values, the mean over members, and their derivatives in the values."""

    def total(values: tuple[Decoded, ...]) -> tuple[Array, Array]:
        errors = jnp.square(jnp.concatenate(values) - x).sum(axis=2).mean(axis=0)
        return errors.sum(), errors

    (_, errors), cotangents = jax.value_and_grad(total, has_aux=True)(values)
    return errors, cotangents


@jax.jit
def _scaled(scale: Array, gradient: Latents) -> Float[Array, "points latent"]:
    return jnp.einsum("pe,ped->pd", gradient, scale)
