"""Limited-memory BFGS with backtracking, one problem per row, as a pure function of rows.

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

A method that makes its own directions, as GEORCE does, proposes them: then the line search and the rules remain.

Nocedal and Wright, Numerical Optimization (2006), algorithms 3.1 and 7.4.
"""

from enum import IntEnum
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
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
    """One row; arrays carry a leading axis `pairs` when rows are mapped."""

    y: Float[Array, " size"]
    """Accepted point."""
    energy: Float[Array, ""]
    gradient: Float[Array, " size"]
    direction: Float[Array, " size"]
    step: Float[Array, ""]
    steps: Float[Array, "memory size"]
    """Accepted differences of points, newest last; zero rows are empty."""
    changes: Float[Array, "memory size"]
    """Differences of gradients that belong to them."""
    fresh: Bool[Array, ""]
    """No evaluation yet: the trial point is the start itself."""
    evaluations: Int[Array, ""]
    status: Int[Array, ""]


def start(y: Float[Array, " size"], memory: int = MEMORY) -> State:
    """A row that begins at `y`; one of proposals needs no memory."""
    zeros, none = jnp.zeros_like(y), jnp.zeros((), y.dtype)
    memory = jnp.zeros((memory, y.size), y.dtype)
    return State(
        y,
        none,
        zeros,
        zeros,
        none,
        memory,
        memory,
        jnp.asarray(True),
        jnp.asarray(0, jnp.int32),
        jnp.asarray(Status.running, jnp.int32),
    )


def trial(state: State) -> Float[Array, " size"]:
    """Point at which the row wants to know energy and gradient."""
    return state.y + state.step * state.direction


def gain(state: State) -> Float[Array, ""]:
    """Quasi-Newton estimate of the energy still to be gained, -g.p / 2."""
    return -0.5 * jnp.vdot(state.gradient, state.direction)


def advance(
    state: State,
    energy: Float[Array, ""],
    gradient: Float[Array, " size"],
    floor: Float[Array, ""] | float,
    rtol: float,
    max_iter: int,
    proposal: Float[Array, " size"] | None = None,
) -> State:
    """Take or refuse the trial point, whose energy and gradient are given. A row that has ended stays as it is.

    Energies up to `floor` are rounding. `proposal` is the direction to go on in from the trial point.
    """
    finite = jnp.isfinite(energy) & jnp.all(jnp.isfinite(gradient))
    slope, slope_there = jnp.vdot(state.gradient, state.direction), jnp.vdot(gradient, state.direction)
    change = energy - state.energy
    rounding = ROUNDINGS * jnp.finfo(state.y.dtype).eps * jnp.abs(state.energy)
    change = jnp.where(jnp.abs(change) <= rounding, 0.5 * state.step * (slope + slope_there), change)
    descends = change <= SUFFICIENT_DECREASE * state.step * slope
    accepted = _accept(state, energy, gradient, proposal)
    refused = _refuse(state)
    new = where(finite & (state.fresh | descends), accepted, refused)
    new = new._replace(evaluations=state.evaluations + 1, fresh=jnp.asarray(False))
    ended = jnp.where(gain(new) <= rtol * new.energy, Status.converged, Status.running)
    lost = (new.evaluations >= max_iter) | ((new.step < SMALLEST_STEP) & _memory_is_empty(new))
    ended = jnp.where((ended == Status.running) & lost, Status.max_iter, ended)
    ended = jnp.where(new.energy <= floor, Status.degenerate, ended)
    ended = jnp.where(state.fresh & ~finite, Status.nonfinite, ended)
    return where(state.status == Status.running, new._replace(status=ended.astype(state.status.dtype)), state)


def _accept(state: State, energy: Array, gradient: Array, proposal: Array | None) -> State:
    point = trial(state)
    if proposal is not None:
        direction = jnp.where(jnp.vdot(proposal, gradient) < 0, proposal, -0.5 * gradient)
        taken = {"y": point, "energy": energy, "gradient": gradient, "direction": direction}
        return state._replace(**taken, step=jnp.ones_like(state.step))
    step, change = point - state.y, gradient - state.gradient
    floor = jnp.finfo(point.dtype).eps * jnp.linalg.norm(step) * jnp.linalg.norm(change)
    usable = ~state.fresh & (jnp.vdot(step, change) > floor)
    steps = jnp.where(usable, jnp.roll(state.steps, -1, axis=0).at[-1].set(step), state.steps)
    changes = jnp.where(usable, jnp.roll(state.changes, -1, axis=0).at[-1].set(change), state.changes)
    direction = -_inverse_hessian_product(gradient, steps, changes)
    downhill = jnp.vdot(direction, gradient) < 0
    return state._replace(
        y=point,
        energy=energy,
        gradient=gradient,
        direction=jnp.where(downhill, direction, -0.5 * gradient),
        step=jnp.ones_like(state.step),
        steps=jnp.where(downhill, steps, 0.0),
        changes=jnp.where(downhill, changes, 0.0),
    )


def _refuse(state: State) -> State:
    shorter = state._replace(step=0.3 * state.step)
    steepest = state._replace(
        direction=-0.5 * state.gradient,
        step=jnp.ones_like(state.step),
        steps=jnp.zeros_like(state.steps),
        changes=jnp.zeros_like(state.changes),
    )
    restart = (shorter.step < SMALLEST_STEP) & ~_memory_is_empty(state)
    return where(restart, steepest, shorter)


def _memory_is_empty(state: State) -> Bool[Array, ""]:
    return ~jnp.any(state.steps[-1:])


def _inverse_hessian_product(q: Array, steps: Array, changes: Array) -> Array:
    """Two-loop recursion; in the variables of `curves` an empty memory means a Hessian of twice the identity."""
    products = jnp.einsum("ms,ms->m", steps, changes)
    rho = jnp.where(products > 0, 1.0 / jnp.where(products > 0, products, 1.0), 0.0)

    def backward(q: Array, row: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        step, change, rho = row
        alpha = rho * jnp.vdot(step, q)
        return q - alpha * change, alpha

    def forward(q: Array, row: tuple[Array, Array, Array, Array]) -> tuple[Array, None]:
        step, change, rho, alpha = row
        return q + (alpha - rho * jnp.vdot(change, q)) * step, None

    q, alpha = jax.lax.scan(backward, q, (steps, changes, rho), reverse=True)
    squares = jnp.vdot(changes[-1], changes[-1])
    q = jnp.where(squares > 0, products[-1] / jnp.where(squares > 0, squares, 1.0), 0.5) * q
    return jax.lax.scan(forward, q, (steps, changes, rho, alpha))[0]


def where(condition: Array, yes: State, no: State) -> State:
    """One of two states."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


@partial(jax.jit, static_argnames=("memory",))
def starts(y: Float[Array, "rows size"], memory: int = MEMORY) -> State:
    """Many rows that begin at `y`."""
    return jax.vmap(partial(start, memory=memory))(y)


@jax.jit
def trials(state: State) -> Float[Array, "rows size"]:
    """Points at which many rows want to know energy and gradient."""
    return jax.vmap(trial)(state)
