"""GEORCE: geodesics as a discrete control problem (Rygaard and Hauberg 2025, arXiv 2505.05961).

With nodes z_0 = a, ..., z_n = b, controls u_t = z_t+1 - z_t and the metric at the left node of every step,

    E = n sum_t u_t' G(z_t) u_t

is minimised by turns: with G_t = G(z_t) and r_t, the gradient of u_t' G(z) u_t at z_t, held fixed, what is left is
quadratic in the nodes. Its minimum over all polygons is

    S_t = r_t+1 + ... + r_n-1
    q   = -(sum_t G_t^-1)^-1 (2 (b - a) + sum_t G_t^-1 S_t)
    u_t = -G_t^-1 (q + S_t) / 2

and over splines a linear system for their coefficients. The step from one to the other descends: it is minus the
inverse of a positive matrix times the gradient, so a line search on E, with the true slope, makes it safe.

Here as a peer to measure against. It needs the whole Jacobian at every node, which in d dimensions costs d times what
a gradient of the decoded chords does, and its E is off by the order of 1 / n.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from identmetric_cli.geometry import curves
from identmetric_cli.geometry.energy import lay
from identmetric_cli.geometry.estimators import Estimator
from identmetric_cli.geometry.lanes import Answer, Settings, curve_points, pulled_back
from identmetric_cli.geometry.metric import gram
from identmetric_cli.geometry.starts import Problem
from identmetric_cli.types import Decode, Latents

JITTER = 10
"""Roundings that are added to a metric's eigenvalues, in units of the mean one: singular metrics have no inverse."""


def georce(decode: tuple[Decode, ...], problem: Problem, y: Array, n: int, settings: Settings) -> Answer:
    """Energy with the metric at left nodes, its gradient, and GEORCE's step."""
    lanes, dimension = problem.starts.shape
    z, u = _strips(problem, y, family=settings.family, n=n, size=settings.size)
    every = jnp.broadcast_to(jnp.eye(dimension, dtype=z.dtype), (len(z), dimension, dimension))
    metric = gram(decode, z, every, settings.estimator)[: lanes * n]
    values, backs = zip(*(_along(each, z, u) for each in decode), strict=True)
    cotangents = _speeds(settings.estimator, values, lanes * n)
    r = sum(map(_pull, backs, cotangents))[: lanes * n]
    shape = (lanes, n, dimension)
    return _answer(
        problem,
        metric.reshape(*shape, dimension),
        r.reshape(shape),
        u[: lanes * n].reshape(shape),
        family=settings.family,
        size=y.shape[1] // dimension,
    )


@partial(jax.jit, static_argnames=("family", "n", "size"))
def _strips(problem: Problem, y: Array, *, family: str, n: int, size: int) -> tuple[Latents, Latents]:
    curve = curve_points(problem, y, family=family, n=n, nodes=n)
    return lay(curve[:, :-1], size), lay(jnp.diff(curve, axis=1), size)


@jax.jit
def _along(decode: Decode, z: Latents, u: Latents) -> tuple[tuple[Array, Array], Any]:
    """Decoded points and their derivatives along u, with the way back to z."""
    return jax.vjp(lambda z: jax.jvp(decode, (z,), (u,)), z)


@jax.jit
def _pull(back: Any, cotangent: tuple[Array, Array]) -> Latents:
    return back(cotangent)[0]


@partial(jax.jit, static_argnames=("kept",))
def _speeds(
    estimator: Estimator, values: tuple[tuple[Array, Array], ...], kept: int
) -> tuple[tuple[Array, Array], ...]:
    """Gradient of the sum of u' G u over the first `kept` points in what every member gave."""

    def total(values: tuple[tuple[Array, Array], ...]) -> Array:
        x, along = (jnp.concatenate(each)[:, :kept] for each in zip(*values, strict=True))
        return estimator.gram(along[:, :, None], lambda: x).sum()

    return jax.grad(total)(values)


@partial(jax.jit, static_argnames=("family", "size"))
def _answer(
    problem: Problem,
    metric: Float[Array, "lanes nodes latent latent"],
    r: Float[Array, "lanes nodes latent"],
    u: Float[Array, "lanes nodes latent"],
    *,
    family: str,
    size: int,
) -> Answer:
    n, dimension = u.shape[1:]
    momentum = jnp.einsum("ptde,pte->ptd", metric, u)
    energies = n * jnp.sum(u * momentum, axis=(1, 2))
    gradient = n * (r[:, 1:] - 2 * jnp.diff(momentum, axis=1))
    size_of = jnp.trace(metric, axis1=-2, axis2=-1)[..., None, None] / dimension
    metric = metric + JITTER * jnp.finfo(u.dtype).eps * size_of * jnp.eye(dimension, dtype=u.dtype)
    if family == "modes":
        span = problem.ends - problem.starts
        step = jnp.cumsum(jax.vmap(_controls)(metric, r, span) - u, axis=1)[:, :-1]
        basis = curves.basis(family, n, size, n, u.dtype)[1:-1]
        unscaled = jnp.linalg.solve(problem.scale, jnp.swapaxes(step, 1, 2))
        return Answer(energies, gradient, jnp.einsum("jn,pdn->pjd", jnp.linalg.pinv(basis), unscaled))
    slope = pulled_back(problem, gradient, family=family, n=n, size=size)
    changes = jnp.diff(curves.basis(family, n, size, n, u.dtype), axis=0)
    scaled = jnp.einsum("pea,ptef,pfb->ptab", problem.scale, metric, problem.scale)
    hessian = 2 * n * jnp.einsum("tj,ptab,tk->pjakb", changes, scaled, changes)
    hessian = hessian.reshape(len(u), size * dimension, size * dimension)
    # Splines have directions that few segments do not see.
    rounding = JITTER * jnp.finfo(u.dtype).eps * jnp.maximum(jnp.trace(hessian, axis1=1, axis2=2), 1.0)
    hessian = hessian + rounding[:, None, None] * jnp.eye(size * dimension, dtype=u.dtype)
    step = -jnp.linalg.solve(hessian, slope.reshape(len(u), -1, 1)).reshape(slope.shape)
    return Answer(energies, gradient, step)


def _controls(
    metric: Float[Array, "nodes latent latent"], r: Float[Array, "nodes latent"], span: Float[Array, " latent"]
) -> Float[Array, "nodes latent"]:
    """Controls that minimise the quadratic of one curve; they add up to `span`."""
    identity = jnp.broadcast_to(jnp.eye(span.size, dtype=span.dtype), metric.shape)
    inverse = jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(metric), True), identity)
    later = jnp.cumsum(r[::-1], axis=0)[::-1] - r
    q = -jnp.linalg.solve(inverse.sum(axis=0), 2 * span + jnp.einsum("tde,te->d", inverse, later))
    return -0.5 * jnp.einsum("tde,te->td", inverse, q + later)
