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
from identmetric_cli.geometry.codes import Codes, survey
from identmetric_cli.geometry.ends import frames, leaving
from identmetric_cli.geometry.energy import (
    decode_rows,
    disagreement_of,
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
from identmetric_cli.geometry.starts import Problem, starting_curves
from identmetric_cli.geometry.table import GeodesicTable, joined
from identmetric_cli.types import Decode, Decoders

COARSEST = 4
COARSE_RTOL = 1e-3
PROBES = (1 / 4, 3 / 4)
PROBED = 4
CHUNK = 512
"""Pairs that are held in memory at a time."""


def geodesics(
    decode: Decoders,
    starts: Float[Array, "pairs latent"],
    ends: Float[Array, "pairs latent"],
    *,
    estimator: Estimator = EXPECTED,
    nodes: int = 16,
    rtol: float = 1e-4,
    max_iter: int = 100,
    tries: int = 2,
    codes: Codes | Float[Array, "codes latent"] | None = None,
    batch_size: int = 16,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> GeodesicTable:
    """Geodesics from `starts` to `ends` under the pull-back metric of `decode`: (m, d) -> (K, m, D).

    `starts`, `ends`: (P, d), float32 or float64. `nodes` segments a curve. A pair has converged when the energy
    still to be gained is estimated below `rtol` of it. `tries` starting curves a pair are solved on the coarsest
    grid, and the best goes on: the straight line, bent lines and, of three or more, the shortest path over a graph
    of `codes` of data if there are any. `codes` also tell which curves cross gaps in the data. `batch_size` curves
    of `nodes` segments are decoded at a time. `progress(done, total)` counts pairs over all grids and tries. A pair
    that fails says so in its row. Raises ValueError on shapes that do not fit.
    """
    starts, ends = np.asarray(starts), np.asarray(ends)
    if starts.ndim != 2 or starts.shape != ends.shape or not len(starts):
        raise ValueError(f"starts and ends must both be (pairs, latent), got {starts.shape} and {ends.shape}")
    if min(nodes, tries, max_iter, batch_size) < 1:
        raise ValueError(
            f"nodes, tries, max_iter and batch_size must be 1 or more, got {nodes}, {tries}, {max_iter}, {batch_size}"
        )
    decode = members(decode)
    if codes is not None and not isinstance(codes, Codes):
        codes = survey(decode, np.asarray(codes, starts.dtype))
    settings = Settings(estimator, nodes, rtol, max_iter, tries, min(batch_size, len(starts)))
    total = len(starts) * (tries + len(_grids(nodes)) - 1)
    tables = []
    for first in range(0, len(starts), CHUNK):
        rows = slice(first, first + CHUNK)
        before = total * first // len(starts)
        tables.append(
            _solve_chunk(
                decode, starts[rows], ends[rows], codes, settings, lambda done, n=before: progress(n + done, total)
            )
        )
    return joined(tables)


class Settings(NamedTuple):
    """How pairs are solved; see `geodesics`."""

    estimator: Estimator
    nodes: int
    rtol: float
    max_iter: int
    tries: int
    batch_size: int

    @property
    def size(self) -> int:
        """Points of a strip: a batch of curves without their ends, or one curve on twice as many segments."""
        return max(self.batch_size * (self.nodes - 1), 2 * self.nodes + 1)


def _solve_chunk(
    decode: tuple[Decode, ...],
    starts: np.ndarray,
    ends: np.ndarray,
    codes: Codes | None,
    settings: Settings,
    progress: Callable[[int], None],
) -> GeodesicTable:
    pairs = len(starts)
    two = np.stack([starts, ends], axis=1)
    decoded = in_batches(lambda rows: decode_rows(decode, rows, settings.size), (two,), settings.size // 2)
    problem = Problem(starts, ends, _scales(decode, starts, ends, settings.batch_size), decoded)
    first, *finer = _grids(settings.nodes)
    candidates = starting_curves(problem, settings.nodes, settings.tries, codes, settings.estimator)
    many = jax.tree.map(lambda field: np.concatenate([field] * settings.tries), problem)
    state = jax.device_get(_start_all(candidates.reshape(len(candidates), -1)))
    state = _solve(decode, many, state, first, settings, progress)
    state, spread = _best(state, settings.tries)
    evaluations = state.evaluations
    for level, n in enumerate(finer):
        done = pairs * (settings.tries + level)
        state = _solve(decode, problem, _again(state), n, settings, lambda more, done=done: progress(done + more))
        evaluations = evaluations + state.evaluations
    return _table(decode, problem, state._replace(evaluations=evaluations), spread, codes, settings)


def _best(state: lbfgs.State, tries: int) -> tuple[lbfgs.State, np.ndarray]:
    """The state of lowest energy of each pair, with the evaluations of all, and how far apart the energies are."""
    energies = state.energy.reshape(tries, -1).astype(np.float64)
    usable = (state.status.reshape(tries, -1) != Status.nonfinite) & np.isfinite(energies)
    ordered = np.where(usable, energies, np.inf)
    pairs = energies.shape[1]
    rows = pairs * np.argmin(ordered, axis=0) + np.arange(pairs)
    best = jax.tree.map(lambda field: field[rows], state)
    arrived = np.where(state.status.reshape(tries, -1) == Status.converged, energies, np.nan)
    several = np.isfinite(arrived).sum(axis=0) > 1
    spread = np.full(pairs, np.nan)
    spread[several] = np.nanmax(arrived[:, several], axis=0) / np.nanmin(arrived[:, several], axis=0) - 1
    return best._replace(evaluations=state.evaluations.reshape(tries, -1).sum(axis=0)), spread


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
    n: int,
    settings: Settings,
    progress: Callable[[int], None],
) -> lbfgs.State:
    """Final states of all pairs on n segments, as NumPy arrays."""
    size = settings.size
    rtol = settings.rtol if n == settings.nodes else max(settings.rtol, COARSE_RTOL)
    pairs, lanes = len(problem.starts), size // max(n - 1, 1)
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
        answer = energy_gradient(decode, strip, current.decoded, n, settings.estimator)
        state = _answer(current, state, *answer, rtol, settings.max_iter, n=n)
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
    spread: np.ndarray,
    codes: Codes | None,
    settings: Settings,
) -> GeodesicTable:
    """What the rows report: measures on n segments and their change on twice as many."""
    nodes, size, estimator = settings.nodes, settings.size, settings.estimator
    y = np.where(np.isfinite(state.y), state.y, 0.0)
    fine = np.asarray(_points(problem, y, n=nodes, nodes=2 * nodes))
    line = np.asarray(_points(problem, 0 * y, n=nodes, nodes=nodes))
    identical = np.all(problem.starts == problem.ends, axis=1)
    fine, line = (np.where(identical[:, None, None], problem.starts[:, None], each) for each in (fine, line))
    fine_steps, steps, variance, away = _along(decode, fine, size, estimator)
    (straight,) = squared_steps(decode, line, size, estimator)
    chords = length(np.asarray(steps_of(problem.decoded, estimator.chord)))
    lengths, energies = length(steps), energy(steps.astype(np.float64))
    positive = energies > 0
    safe_lengths, safe_energies = np.where(positive, lengths, 1.0), np.where(positive, energies, 1.0)
    curve = fine[:, ::2]
    velocity, least = frames(decode, curve, away, estimator, settings.batch_size)
    disagreement = np.sqrt(variance.max(axis=1))
    most = np.sqrt(codes.disagreement.max()) if codes is not None else np.nan
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
        start_spread=spread,
        smallest_singular_value=least,
        disagreement=disagreement,
        disagreement_ratio=disagreement / most if most > 0 else np.full_like(disagreement, np.nan),
        crosses_gap=disagreement > most,
        iterations=state.evaluations,
        curve=curve,
        velocity=velocity,
    )


def _along(
    decode: tuple[Decode, ...], fine: np.ndarray, size: int, estimator: Estimator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Squared steps on 2 n and on n segments, the members' disagreement at the nodes, and velocities at the ends."""

    def rows(points: np.ndarray) -> tuple[Array, Array, Array, Array]:
        x = decode_rows(decode, points, size)
        return steps_of(x, estimator), steps_of(x[:, ::2], estimator), disagreement_of(x), leaving(x[:, ::2])

    return in_batches(rows, (fine,), size // fine.shape[1])
