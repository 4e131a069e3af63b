"""Adam on the coefficients of curves: the optimiser of Syrota et al. (2025), batch by batch.

Its steps have the size of the learning rate in latent units, whatever the metric, so the coefficients here are those
of the family's own functions, not the variables y. The published rule of stopping looks at the sum of a batch: it
ends when more than `patience` steps in a row did not lower the sum by more than `min_delta`. A pair's last bits
therefore depend on the batch that it is in; of our methods this is the only one for which they do. Members of the
estimator `paper` are drawn anew at every step.

The rule says nothing of how near a minimum is. A pair is called converged as with the other methods: when its exact
gradient promises less than rtol of its energy.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jaxtyping import Float

from identmetric_cli.geometry import curves, lbfgs
from identmetric_cli.geometry.energy import rounding_energy
from identmetric_cli.geometry.lanes import Answer, Settings, chords, pulled_back
from identmetric_cli.geometry.lbfgs import Status
from identmetric_cli.geometry.starts import Problem
from identmetric_cli.types import Decode


class Rule(NamedTuple):
    """The settings that Adam alone has; the defaults are the published ones."""

    learning_rate: float = 0.01
    patience: int = 100
    min_delta: float = 1.0
    """In squared data units, on the sum over a batch."""


def solve(
    decode: tuple[Decode, ...],
    problem: Problem,
    starts: lbfgs.State,
    n: int,
    settings: Settings,
    rule: Rule,
    progress: Callable[[int], None],
) -> lbfgs.State:
    """Final states of all pairs on n segments, as NumPy arrays."""
    done = []
    pairs, lanes = len(problem.starts), settings.batch_size
    for first in range(0, pairs, lanes):
        rows = np.minimum(np.arange(first, first + lanes), pairs - 1)
        kept = min(lanes, pairs - first)
        batch, state = jax.tree.map(lambda field, rows=rows: field[rows], (problem, starts))
        state = _solve_batch(decode, batch, state, kept, n, settings, rule)
        done.append(jax.tree.map(lambda field, kept=kept: np.asarray(field)[:kept], state))
        progress(first + kept)
    return jax.tree.map(lambda *fields: np.concatenate(fields), *done)


def _solve_batch(
    decode: tuple[Decode, ...],
    problem: Problem,
    state: lbfgs.State,
    kept: int,
    n: int,
    settings: Settings,
    rule: Rule,
) -> lbfgs.State:
    lanes, dimension = problem.starts.shape
    shape = (lanes, state.y.shape[1] // dimension, dimension)
    y, known = state.y.reshape(shape), np.zeros(lanes)
    update = partial(_update, family=settings.family, n=n)
    moments = _adam(1.0).init(jnp.asarray(y))
    best_y, best, since, spent = y, np.inf, 0, 0
    while spent < settings.max_iter and since <= rule.patience:
        drawn = settings._replace(estimator=settings.estimator.redrawn(spent))
        answer = chords(decode, problem, y, n, drawn)
        seen = y
        y, moments, usable = update(problem, y, moments, answer, rule.learning_rate)
        spent, since = spent + 1, since + 1
        finite = np.asarray(usable)
        # A lane that is lost counts with its last energy: losing it is no gain.
        known = np.where(finite, np.asarray(answer.energy, np.float64), known)
        total = known[:kept].sum()
        if total < best - rule.min_delta:
            best_y, best, since = np.where(finite[:, None, None], seen, best_y), total, 0
    exact = settings._replace(estimator=settings.estimator.expectation)
    answer = chords(decode, problem, best_y, n, exact)
    gradient = pulled_back(problem, answer.gradient, family=settings.family, n=n, size=shape[1]).reshape(lanes, -1)
    gain = 0.25 * jnp.sum(jnp.square(gradient), axis=1)
    status = np.where(gain <= settings.rtol * answer.energy, Status.converged, Status.max_iter)
    floor = rounding_energy(problem.decoded, n, settings.estimator)
    status = np.where(answer.energy <= floor, Status.degenerate, status)
    status = np.where(np.isfinite(answer.energy) & np.isfinite(gain), status, Status.nonfinite)
    return state._replace(
        y=best_y.reshape(lanes, -1),
        energy=answer.energy,
        gradient=gradient,
        evaluations=np.full(lanes, spent + 1, np.int32),
        status=status.astype(np.int32),
    )


def _adam(learning_rate: float | Array) -> optax.GradientTransformation:
    return optax.adam(learning_rate)


@partial(jax.jit, static_argnames=("family", "n"))
def _update(
    problem: Problem, y: Array, moments: optax.OptState, answer: Answer, learning_rate: float, *, family: str, n: int
) -> tuple[Float[Array, "lanes size latent"], optax.OptState, Array]:
    """One step in the coefficients c of y = L^T c C, and which lanes are finite; those that are not stay."""
    factor = jnp.asarray(curves.stiffness_factor(family, y.shape[1]), y.dtype)
    in_y = pulled_back(problem, answer.gradient, family=family, n=n, size=y.shape[1])
    finite = jnp.isfinite(answer.energy) & jnp.isfinite(in_y).all(axis=(1, 2))
    unscaled = jnp.linalg.inv(problem.scale)
    in_c = jnp.einsum("jk,pkd,pde->pje", factor, in_y, unscaled)
    in_c = jnp.where(finite[:, None, None], in_c, 0.0)
    step, moments = _adam(learning_rate).update(in_c, moments)
    step = jnp.where(finite[:, None, None], step, 0.0)
    return y + jnp.einsum("kj,pke,pde->pjd", factor, step, unscaled), moments, finite
