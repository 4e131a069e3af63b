"""Limited-memory BFGS with backtracking, one problem per row, as a pure function of many rows.

Every call of `advance` receives energy and gradient at the row's trial point and answers with the next trial point:
rows are at different stages of different line searches at the same time and share nothing. A row ends by its own
rules, all relative to its own energy:

    converged   the quasi-Newton estimate of what is still to be gained, -g.p / 2, is below rtol E
    max_iter    evaluations are spent, or no step along steepest descent lowers the energy
    nonfinite   energy or gradient at the start are not finite
    degenerate  the energy is no more than rounding makes, although the ends differ (and see `vanishing.py`)

Near a minimum energies differ by less than their rounding long before gradients do. There the change of the energy is
estimated from the slopes at both ends of the step (Hager and Zhang 2005, doi 10.1137/030601880), so that directions
of curves become known to the precision of the numbers and not to its square root.

Rows are NumPy arrays: next to decoding, the arithmetic is nothing, and what is not compiled costs no compilation for
each number of segments. Sums run along single rows, so that no row's bits depend on the others.

A method that makes its own directions, as GEORCE does, proposes them: then the line search and the rules remain.

Nocedal and Wright, Numerical Optimization (2006), algorithms 3.1 and 7.4.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

MEMORY = 10
SUFFICIENT_DECREASE = 1e-4
SMALLEST_STEP = 1e-4
ROUNDINGS = 16
"""Energies that differ by no more than so many roundings of themselves are told apart by their gradients."""


class Status(IntEnum):
    """What became of a pair."""

    running = 0
    converged = 1
    max_iter = 2
    nonfinite = 3
    degenerate = 4
    identical_endpoints = 5


class State(NamedTuple):
    """Many rows."""

    y: Float[np.ndarray, "rows size"]
    """Accepted points."""
    energy: Float[np.ndarray, " rows"]
    gradient: Float[np.ndarray, "rows size"]
    direction: Float[np.ndarray, "rows size"]
    step: Float[np.ndarray, " rows"]
    steps: Float[np.ndarray, "rows memory size"]
    """Accepted differences of points, newest last; zero rows are empty."""
    changes: Float[np.ndarray, "rows memory size"]
    """Differences of gradients that belong to them."""
    fresh: Bool[np.ndarray, " rows"]
    """No evaluation yet: the trial point is the start itself."""
    evaluations: Int[np.ndarray, " rows"]
    status: Int[np.ndarray, " rows"]


def starts(y: Float[np.ndarray, "rows size"], memory: int = MEMORY) -> State:
    """Rows that begin at `y`; those of proposals need no memory."""
    rows, size = y.shape
    none, nowhere, empty = np.zeros(rows, y.dtype), np.zeros_like(y), np.zeros((rows, memory, size), y.dtype)
    counts = np.zeros(rows, np.int32)
    return State(y, none, nowhere, nowhere, none, empty, empty, np.ones(rows, bool), counts, counts + Status.running)


def trials(state: State) -> Float[np.ndarray, "rows size"]:
    """Points at which the rows want to know energy and gradient."""
    return state.y + state.step[:, None] * state.direction


def gains(state: State) -> Float[np.ndarray, " rows"]:
    """Quasi-Newton estimates of the energy still to be gained, -g.p / 2."""
    return -0.5 * _dot(state.gradient, state.direction)


def advance(
    state: State,
    energy: Float[np.ndarray, " rows"],
    gradient: Float[np.ndarray, "rows size"],
    floor: Float[np.ndarray, " rows"] | float,
    rtol: float,
    max_iter: int,
    proposal: Float[np.ndarray, "rows size"] | None = None,
) -> State:
    """Take or refuse the trial points, whose energies and gradients are given. Rows that have ended stay as they are.

    Energies up to `floor` are rounding. `proposal` is the direction to go on in from the trial point.
    """
    running = state.status == Status.running
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        finite = np.isfinite(energy) & np.isfinite(gradient).all(axis=1)
        slope, slope_there = _dot(state.gradient, state.direction), _dot(gradient, state.direction)
        change = energy - state.energy
        rounding = ROUNDINGS * np.finfo(state.y.dtype).eps * np.abs(state.energy)
        change = np.where(np.abs(change) <= rounding, 0.5 * state.step * (slope + slope_there), change)
        descends = change <= SUFFICIENT_DECREASE * state.step * slope
        taken = running & finite & (state.fresh | descends)
        shorter = (0.3 * state.step).astype(state.step.dtype)
        restarts = running & ~taken & (shorter < SMALLEST_STEP) & ~_memory_is_empty(state)
        y = np.where(taken[:, None], trials(state), state.y)
        steps, changes = _remembered(state, y - state.y, gradient - state.gradient, taken & ~state.fresh)
        ahead = -_inverse_hessian_product(gradient, steps, changes) if proposal is None else proposal
        downhill = _dot(ahead, gradient) < 0
        for memory in (steps, changes):
            memory[restarts | (taken & ~downhill)] = 0.0
        ahead = np.where(downhill[:, None], ahead, -0.5 * gradient)
        steepest = np.where(restarts[:, None], -0.5 * state.gradient, state.direction)
        new = State(
            y=y,
            energy=np.where(taken, energy, state.energy),
            gradient=np.where(taken[:, None], gradient, state.gradient),
            direction=np.where(taken[:, None], ahead, steepest),
            step=np.where(taken | restarts, np.ones_like(shorter), np.where(running, shorter, state.step)),
            steps=steps,
            changes=changes,
            fresh=state.fresh & ~running,
            evaluations=state.evaluations + running.astype(state.evaluations.dtype),
            status=state.status,
        )
        arrived = gains(new) <= rtol * new.energy
        lost = (new.evaluations >= max_iter) | ((new.step < SMALLEST_STEP) & _memory_is_empty(new))
        ended = np.select([arrived, lost], [Status.converged, Status.max_iter], Status.running)
        ended = np.where(new.energy <= floor, Status.degenerate, ended)
        ended = np.where(state.fresh & ~finite, Status.nonfinite, ended)
    return new._replace(status=np.where(running, ended, state.status).astype(state.status.dtype))


def _remembered(
    state: State, step: np.ndarray, change: np.ndarray, taken: Bool[np.ndarray, " rows"]
) -> tuple[np.ndarray, np.ndarray]:
    """Copies of the memory, with the steps that were taken where their curvature is positive beyond rounding."""
    floor = np.finfo(step.dtype).eps * np.sqrt(_dot(step, step) * _dot(change, change))
    rows = np.flatnonzero(taken & (_dot(step, change) > floor))
    memories = state.steps.copy(), state.changes.copy()
    if state.steps.shape[1]:
        for memory, old, newest in zip(memories, (state.steps, state.changes), (step, change), strict=True):
            memory[rows, :-1], memory[rows, -1] = old[rows, 1:], newest[rows]
    return memories


def _memory_is_empty(state: State) -> Bool[np.ndarray, " rows"]:
    return ~state.steps[:, -1:].any(axis=(1, 2))


def _inverse_hessian_product(q: np.ndarray, steps: np.ndarray, changes: np.ndarray) -> np.ndarray:
    """Two-loop recursion; in the variables of `curves` an empty memory means a Hessian of twice the identity."""
    products = (steps * changes).sum(axis=2)
    rho = np.where(products > 0, 1 / np.where(products > 0, products, 1), 0)
    alpha = np.zeros_like(products)
    for i in reversed(range(products.shape[1])):
        alpha[:, i] = rho[:, i] * _dot(steps[:, i], q)
        q = q - alpha[:, i, None] * changes[:, i]
    squares = _dot(changes[:, -1], changes[:, -1])
    q = np.where(squares > 0, products[:, -1] / np.where(squares > 0, squares, 1), 0.5).astype(q.dtype)[:, None] * q
    for i in range(products.shape[1]):
        beta = rho[:, i] * _dot(changes[:, i], q)
        q = q + (alpha[:, i] - beta)[:, None] * steps[:, i]
    return q


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=1)


def where(condition: Bool[np.ndarray, " rows"], yes: State, no: State) -> State:
    """Rows of one of two states."""

    def chosen(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.where(condition.reshape(-1, *(1,) * (a.ndim - 1)), a, b)

    return State(*map(chosen, yes, no))
