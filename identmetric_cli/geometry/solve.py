"""Geodesics between many pairs: coarse to fine in the number of nodes, every pair at its own pace.

A fixed number of lanes is advanced together. A lane whose pair has ended is handed the next pair of the queue at
once, so pairs that are done cost nothing and memory depends on the number of lanes alone. Shapes never change within
a grid, so a pair's bits do not depend on its neighbours, nor on how many there are.

The loop runs on the host: on a CPU, a convolution inside a compiled loop is several times slower than the same
convolution called from Python.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from identmetric_cli.batching import in_batches
from identmetric_cli.geometry import curves, lbfgs
from identmetric_cli.geometry.energy import (
    decode_rows,
    energy,
    energy_gradient,
    lay,
    length,
    rounding_energy,
    squared_steps,
    steps_of,
)
from identmetric_cli.geometry.estimators import EXPECTED, Estimator
from identmetric_cli.geometry.lbfgs import Status
from identmetric_cli.geometry.metric import members, metric_tensor
from identmetric_cli.types import Decode, Decoders

COARSEST = 8
COARSE_RTOL = 1e-3
PROBES = (1 / 4, 3 / 4)
PROBED = 4


class GeodesicTable(NamedTuple):
    """One row a pair. Lengths are in data units, energies in squared data units."""

    status: np.ndarray
    """`Status` of each pair; only `converged` rows are answers."""
    length: np.ndarray
    energy: np.ndarray
    chord: np.ndarray
    """|F(a) - F(b)|, a lower bound of every length between a and b."""
    euclidean_latent: np.ndarray
    """|a - b|, which retraining does not preserve."""
    straight_length: np.ndarray
    """Length of the straight latent line on the same grid."""
    straight_energy: np.ndarray
    bound_gap: np.ndarray
    """(length - chord) / length."""
    speed_gap: np.ndarray
    """1 - length^2 / energy: zero at constant speed."""
    gradient: np.ndarray
    """Norm of the energy's gradient in units of its own metric, over 2 sqrt(energy). Its square estimates the share
    of the energy that is still to be gained."""
    refinement: np.ndarray
    """Relative change of the length from n to 2 n segments."""
    iterations: np.ndarray
    """Evaluations of energy and gradient over all grids."""
    curve: np.ndarray
    """Nodes in latent space, (pairs, n + 1, latent)."""
    velocity: np.ndarray
    """Initial velocities at both ends, (pairs, 2, latent): logarithmic maps once scaled to the length."""

    @property
    def converged(self) -> np.ndarray:
        """Rows that are answers."""
        return self.status == Status.converged


class Problem(NamedTuple):
    """What is fixed while a pair is solved; a leading axis `pairs` everywhere."""

    starts: Float[Array, "pairs latent"]
    ends: Float[Array, "pairs latent"]
    scale: Float[Array, "pairs latent latent"]
    decoded: Float[Array, "pairs 2 decoders data"]
    """All members at both ends."""


def geodesics(
    decode: Decoders,
    starts: Float[Array, "pairs latent"],
    ends: Float[Array, "pairs latent"],
    *,
    estimator: Estimator = EXPECTED,
    nodes: int = 16,
    rtol: float = 1e-4,
    max_iter: int = 100,
    batch_size: int = 16,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> GeodesicTable:
    """Geodesics from `starts` to `ends` under the pull-back metric of `decode`: (m, d) -> (K, m, D).

    `starts`, `ends`: (P, d), float32 or float64. `nodes` segments a curve. A pair has converged when the energy
    still to be gained is estimated below `rtol` of it. `batch_size` curves of `nodes` segments are decoded at a
    time. `progress(done, total)` counts pairs over all grids. A pair that fails says so in its row. Raises
    ValueError on shapes that do not fit.
    """
    starts, ends = np.asarray(starts), np.asarray(ends)
    if starts.ndim != 2 or starts.shape != ends.shape or not len(starts):
        raise ValueError(f"starts and ends must both be (pairs, latent), got {starts.shape} and {ends.shape}")
    decode = members(decode)
    size = max(min(batch_size, len(starts)) * (nodes - 1), 2 * nodes + 1)
    two = np.stack([starts, ends], axis=1)
    decoded = in_batches(lambda rows: decode_rows(decode, rows, size), (two,), size // 2)
    problem = Problem(starts, ends, _scales(decode, starts, ends, batch_size), decoded)
    grids = _grids(nodes)
    state = jax.device_get(_start_all(jnp.zeros((len(starts), (nodes - 1) * starts.shape[1]), starts.dtype)))
    evaluations = np.zeros(len(starts), int)
    for level, n in enumerate(grids):
        state = _solve(
            decode,
            problem,
            state,
            estimator=estimator,
            n=n,
            size=size,
            rtol=rtol if n == nodes else max(rtol, COARSE_RTOL),
            max_iter=max_iter,
            progress=lambda done, level=level: progress(level * len(starts) + done, len(grids) * len(starts)),
        )
        evaluations += state.evaluations
        if n != nodes:
            state = _again(state)
    return _table(decode, problem, state, evaluations, estimator=estimator, nodes=nodes, size=size)


def _grids(nodes: int) -> list[int]:
    grids = [nodes]
    while grids[0] >= 2 * COARSEST:
        grids.insert(0, grids[0] // 2)
    return grids


def _scales(decode: tuple[Decode, ...], starts: np.ndarray, ends: np.ndarray, batch_size: int) -> np.ndarray:
    """Scaling of every pair by the mean metric at points of the straight line."""
    t = np.asarray(PROBES, starts.dtype)[:, None]
    probes = (1 - t) * starts[:, None] + t * ends[:, None]
    pairs, dimension = starts.shape
    sample = decode[:: max(1, len(decode) // PROBED)]
    metric = in_batches(
        partial(metric_tensor, sample), (probes.reshape(-1, dimension),), min(batch_size, probes.size)
    )
    metric = metric.reshape(pairs, len(PROBES), dimension, dimension).mean(axis=1)
    return jax.device_get(curves.scaling(jnp.asarray(metric)))


_start_all = jax.jit(jax.vmap(lbfgs.start))


def _again(state: lbfgs.State) -> lbfgs.State:
    """The states as starts on a finer grid: what was learnt of the Hessian stays, a point that failed does not."""
    usable = np.isfinite(state.y).all(axis=1)[:, None]
    fresh = jax.device_get(_start_all(np.where(usable, state.y, 0.0)))
    usable = usable[:, None]
    return fresh._replace(steps=np.where(usable, state.steps, 0.0), changes=np.where(usable, state.changes, 0.0))


@partial(jax.jit, static_argnames=("n", "size"))
def _lay_trials(problem: Problem, state: lbfgs.State, *, n: int, size: int) -> Float[Array, "points latent"]:
    """Inner nodes of the trial curves of all lanes, end to end."""
    return lay(_points(problem, jax.vmap(lbfgs.trial)(state), n=n, nodes=n)[:, 1:-1], size)


@partial(jax.jit, static_argnames=("n",))
def _answer(
    problem: Problem,
    state: lbfgs.State,
    energies: Array,
    gradient: Array,
    rtol: float,
    max_iter: int,
    *,
    n: int,
) -> lbfgs.State:
    """Each lane's answer to energy and gradient of its trial curve."""
    lanes, dimension = problem.starts.shape
    in_nodes = gradient[: lanes * (n - 1)].reshape(lanes, n - 1, dimension)
    basis = curves.sine_basis(n, state.y.shape[1] // dimension, n, gradient.dtype)[1:-1]
    in_y = jnp.einsum("nj,pne,ped->pjd", basis, in_nodes, problem.scale).reshape(lanes, -1)
    return jax.vmap(lbfgs.advance, in_axes=(0, 0, 0, 0, None, None))(
        state, energies, in_y, rounding_energy(problem.decoded, n), rtol, max_iter
    )


@jax.jit
def _refill(mask: Array, new: lbfgs.State, old: lbfgs.State) -> lbfgs.State:
    return jax.vmap(lbfgs.where)(mask, new, old)


def _points(problem: Problem, y: Array, *, n: int, nodes: int) -> Float[Array, "pairs nodes latent"]:
    pairs, dimension = problem.starts.shape
    modes = y.shape[1] // dimension
    basis = curves.sine_basis(n, modes, nodes, problem.starts.dtype)
    return curves.points(*problem[:3], y.reshape(pairs, modes, dimension), basis)


def _solve(
    decode: tuple[Decode, ...],
    problem: Problem,
    starts: lbfgs.State,
    *,
    estimator: Estimator,
    n: int,
    size: int,
    rtol: float,
    max_iter: int,
    progress: Callable[[int], None],
) -> lbfgs.State:
    """Final states of all pairs on one grid, as NumPy arrays."""
    pairs, lanes = len(problem.starts), size // (n - 1)
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
            state = new if state is None else _refill(np.isin(np.arange(lanes), free), new, state)
        strip = _lay_trials(current, state, n=n, size=size)
        answer = energy_gradient(decode, strip, current.decoded, n, estimator)
        state = _answer(current, state, *answer, rtol, max_iter, n=n)
        ended = (np.asarray(state.status) != Status.running) & (lane >= 0)
        if np.any(ended):
            rows = jax.device_get(state)
            for position in np.flatnonzero(ended):
                finished[int(lane[position])] = jax.tree.map(lambda field, p=position: field[p], rows)
            lane[ended] = -1
            progress(len(finished))
    return jax.tree.map(lambda *fields: np.stack(fields), *(finished[pair] for pair in range(pairs)))


def _table(
    decode: tuple[Decode, ...],
    problem: Problem,
    state: lbfgs.State,
    evaluations: np.ndarray,
    *,
    estimator: Estimator,
    nodes: int,
    size: int,
) -> GeodesicTable:
    """What the rows report: measures on `nodes` segments and their change on twice as many."""
    y = np.where(np.isfinite(state.y), state.y, 0.0)
    fine = np.asarray(_points(problem, y, n=nodes, nodes=2 * nodes))
    line = np.asarray(_points(problem, 0 * y, n=nodes, nodes=nodes))
    identical = np.all(problem.starts == problem.ends, axis=1)
    fine, line = (np.where(identical[:, None, None], problem.starts[:, None], each) for each in (fine, line))
    fine_steps, steps = squared_steps(decode, fine, size, estimator, strides=(1, 2))
    (straight,) = squared_steps(decode, line, size, estimator)
    chords = length(np.asarray(steps_of(problem.decoded, estimator.chord)))
    lengths, energies = length(steps), energy(steps.astype(np.float64))
    positive = energies > 0
    safe_lengths, safe_energies = np.where(positive, lengths, 1.0), np.where(positive, energies, 1.0)
    return GeodesicTable(
        status=np.where(identical, Status.identical_endpoints, state.status),
        length=lengths,
        energy=energies,
        chord=chords,
        euclidean_latent=np.linalg.norm(problem.ends - problem.starts, axis=1),
        straight_length=length(straight),
        straight_energy=energy(straight.astype(np.float64)),
        bound_gap=(lengths - chords) / safe_lengths,
        speed_gap=1 - lengths**2 / safe_energies,
        gradient=np.linalg.norm(state.gradient, axis=1) / (2 * np.sqrt(safe_energies)),
        refinement=np.abs(length(fine_steps) - lengths) / safe_lengths,
        iterations=evaluations,
        curve=fine[:, ::2],
        velocity=curves.end_velocities(fine[:, ::2]),
    )
