"""Many pairs side by side, each at its own pace.

A fixed number of lanes is advanced together. A lane whose pair has ended is handed the next pair of the queue at
once, so pairs that are done cost nothing and memory depends on the number of lanes alone. Shapes never change within
a grid, so a pair's bits do not depend on its neighbours, nor on how many there are, as long as they fill a batch.

The loop runs on the host: on a CPU, a convolution inside a compiled loop is several times slower than the same
convolution called from Python.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from identmetric_cli.geometry import curves, lbfgs
from identmetric_cli.geometry.energy import energy_gradient, lay, rounding_energy
from identmetric_cli.geometry.estimators import Estimator
from identmetric_cli.geometry.lbfgs import Status
from identmetric_cli.geometry.starts import Problem
from identmetric_cli.types import Decode


class Settings(NamedTuple):
    """How pairs are solved; see `geodesics`."""

    estimator: Estimator
    family: str
    nodes: int
    rtol: float
    max_iter: int
    batch_size: int

    @property
    def size(self) -> int:
        """Points of a strip: a batch of curves without their ends, or one curve on twice as many segments."""
        return max(self.batch_size * (self.nodes - 1), 2 * self.nodes + 1)


class Answer(NamedTuple):
    """What a method says of trial curves."""

    energy: Float[Array, " lanes"]
    gradient: Float[Array, "lanes nodes latent"]
    """In the inner nodes."""
    step: Float[Array, "lanes size latent"] | None = None
    """Where to go next, in the variables y; None leaves it to L-BFGS."""


class Method(Protocol):
    """A solver: energy, gradient and perhaps a step for the curves y of a problem on n segments."""

    def __call__(
        self, decode: tuple[Decode, ...], problem: Problem, y: Array, n: int, settings: Settings
    ) -> Answer: ...


def chords(decode: tuple[Decode, ...], problem: Problem, y: Array, n: int, settings: Settings) -> Answer:
    """Energy of decoded chords and its gradient; steps are those of L-BFGS."""
    strip = _lay_inner(problem, y, family=settings.family, n=n, size=settings.size)
    energies, gradient = energy_gradient(decode, strip, problem.decoded, n, settings.estimator)
    lanes, dimension = problem.starts.shape
    return Answer(energies, gradient[: lanes * (n - 1)].reshape(lanes, n - 1, dimension))


def solve(
    method: Method,
    decode: tuple[Decode, ...],
    problem: Problem,
    starts: lbfgs.State,
    n: int,
    settings: Settings,
    progress: Callable[[int], None],
) -> lbfgs.State:
    """Final states of all pairs on n segments, as NumPy arrays."""
    lanes = settings.size // max(n - 1, 1) if method is chords else settings.size // n
    pairs = len(problem.starts)
    waiting = list(range(pairs))[::-1]
    lane = np.full(lanes, -1)
    finished: dict[int, lbfgs.State] = {}
    state = None
    while waiting or np.any(lane >= 0):
        free = np.flatnonzero(lane < 0)[: len(waiting)]
        lane[free] = [waiting.pop() for _ in free]
        if len(free):
            rows = np.maximum(lane, 0)
            current = jax.tree.map(lambda field, rows=rows: field[rows], problem)
            new = jax.tree.map(lambda field, rows=rows: field[rows], starts)
            state = new if state is None else lbfgs.where(np.isin(np.arange(lanes), free), new, state)
        answer = method(decode, current, lbfgs.trials(state), n, settings)
        limits = settings.estimator, settings.rtol, settings.max_iter
        state = _advance(current, state, answer, *limits, family=settings.family, n=n)
        ended = (state.status != Status.running) & (lane >= 0)
        if np.any(ended):
            for position in np.flatnonzero(ended):
                finished[int(lane[position])] = jax.tree.map(lambda field, p=position: field[p], state)
            lane[ended] = -1
            progress(len(finished))
    return jax.tree.map(lambda *fields: np.stack(fields), *(finished[pair] for pair in range(pairs)))


def curve_points(
    problem: Problem, y: Array, *, family: str, n: int, nodes: int
) -> Float[Array, "pairs nodes latent"]:
    """Curves y of n segments on nodes + 1 nodes."""
    pairs, dimension = problem.starts.shape
    y = y.reshape(pairs, -1 if y.size else 0, dimension)
    basis = curves.basis(family, n, y.shape[1], nodes, problem.starts.dtype)
    return curves.points(*problem[:3], y, basis)


@partial(jax.jit, static_argnames=("family", "n", "size"))
def pulled_back(
    problem: Problem, gradient: Float[Array, "pairs nodes latent"], *, family: str, n: int, size: int
) -> Float[Array, "pairs size latent"]:
    """Gradients in the inner nodes as gradients in y."""
    basis = curves.basis(family, n, size, n, gradient.dtype)[1:-1]
    return jnp.einsum("nj,pne,ped->pjd", basis, gradient, problem.scale)


@partial(jax.jit, static_argnames=("family", "n", "size"))
def _lay_inner(problem: Problem, y: Array, *, family: str, n: int, size: int) -> Float[Array, "points latent"]:
    """Inner nodes of the curves of all lanes, end to end."""
    return lay(curve_points(problem, y, family=family, n=n, nodes=n)[:, 1:-1], size)


def _advance(
    problem: Problem,
    state: lbfgs.State,
    answer: Answer,
    estimator: Estimator,
    rtol: float,
    max_iter: int,
    *,
    family: str,
    n: int,
) -> lbfgs.State:
    """Each lane's reply to what is known of its trial curve."""
    lanes, dimension = problem.starts.shape
    size = state.y.shape[1] // dimension
    told = (answer.energy, pulled_back(problem, answer.gradient, family=family, n=n, size=size), answer.step)
    energies, gradient, step = jax.device_get(told)
    step = None if step is None else step.reshape(lanes, -1)
    floor = rounding_energy(problem.decoded, n, estimator)
    return lbfgs.advance(state, energies, gradient.reshape(lanes, -1), floor, rtol, max_iter, step)
