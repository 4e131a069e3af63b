"""Geodesics between many pairs: from starting curves to certified answers."""

from collections.abc import Callable
from functools import partial

import jax
import numpy as np
from jaxtyping import Float

from identmetric_cli.batching import in_batches
from identmetric_cli.geometry import adam, curves, lanes, lbfgs
from identmetric_cli.geometry.certificates import certified
from identmetric_cli.geometry.codes import Codes, survey
from identmetric_cli.geometry.contracts import suited, usable
from identmetric_cli.geometry.energy import decode_rows
from identmetric_cli.geometry.estimators import EXPECTED, Estimator
from identmetric_cli.geometry.georce import georce
from identmetric_cli.geometry.lanes import Settings
from identmetric_cli.geometry.lbfgs import Status
from identmetric_cli.geometry.metric import maps, metric_tensor, some_members
from identmetric_cli.geometry.starts import Problem, starting_curves
from identmetric_cli.geometry.table import GeodesicTable, joined
from identmetric_cli.geometry.tensor import MetricTensor, check_positive
from identmetric_cli.types import Decode, Decoders, Latents

SOLVERS = ("lbfgs", "georce", "adam")
COARSEST = 4
COARSE_RTOL = 1e-3
PROBES = (1 / 4, 3 / 4)
CHUNK = 512
"""Pairs that are held in memory at a time."""


def geodesics(
    decode: Decoders | MetricTensor,
    starts: Float[np.ndarray, "pairs latent"],
    ends: Float[np.ndarray, "pairs latent"],
    *,
    estimator: Estimator = EXPECTED,
    solver: str = "lbfgs",
    curve: str = "modes",
    nodes: int = 32,
    rtol: float = 1e-4,
    max_iter: int = 100,
    tries: int = 2,
    codes: Codes | Latents | None = None,
    batch_size: int = 16,
    adam_rule: adam.Rule | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> GeodesicTable:
    """Geodesics from `starts` to `ends` under the metric of `decode`: (m, d) -> (K, m, D), or under a given one.

    `starts`, `ends`: (P, d), float32 or float64. `nodes` segments a curve. A pair has converged when the energy
    still to be gained is estimated below `rtol` of it. `tries` starting curves a pair are solved on the coarsest
    grid, and the best goes on: the straight line, bent lines and, of three or more, the shortest path over a graph
    of `codes` of data if there are any. `codes` also tell which curves cross gaps in the data. `batch_size` curves
    of `nodes` segments are decoded at a time. `solver`: `lbfgs` goes from coarse to fine grids; `georce` and `adam`,
    which keeps `adam_rule`, are those of other authors and have one grid. `curve`: `modes` or `spline`.
    `progress(done, total)` counts pairs over all grids and tries. A pair that fails says so in its row. Raises
    ValueError on shapes that do not fit, for estimators that a solver has no use for, and for a metric tensor that is
    not positive at an end.
    """
    starts, ends = usable(starts), usable(ends)
    if starts.ndim != 2 or starts.shape != ends.shape or not len(starts):
        raise ValueError(f"starts and ends must both be (pairs, latent), got {starts.shape} and {ends.shape}")
    if min(nodes, tries, max_iter, batch_size) < 1:
        raise ValueError(
            f"nodes, tries, max_iter and batch_size must be 1 or more, got {nodes}, {tries}, {max_iter}, {batch_size}"
        )
    if solver not in SOLVERS or curve not in curves.FAMILIES:
        raise ValueError(f"solvers are {SOLVERS}, curves {curves.FAMILIES}; got {solver!r} and {curve!r}")
    decode = maps(decode)
    estimator = suited(decode, estimator)
    if estimator.name == "paper" and solver != "adam":
        raise ValueError("the estimator `paper` draws members anew at every step: it needs the solver adam")
    if solver == "georce":
        estimator.require_metric()
    if codes is not None and not isinstance(codes, Codes):
        codes = survey(decode, np.asarray(codes, starts.dtype))
    if estimator.name == "tensor":
        check_positive(decode[0], np.concatenate([starts, ends]), batch_size)
    settings = Settings(estimator, curve, nodes, rtol, max_iter, min(batch_size, len(starts)))
    grids = _grids(nodes) if solver == "lbfgs" else [nodes]
    step = (
        partial(adam.solve, rule=adam_rule or adam.Rule())
        if solver == "adam"
        else partial(lanes.solve, METHODS[solver])
    )
    total = len(starts) * (tries + len(grids) - 1)
    tables = []
    for rows in chunks(len(starts)):
        before = total * rows.start // len(starts)

        def told(done: int, before: int = before) -> None:
            progress(before + done, total)

        problem = _problem(decode, starts[rows], ends[rows], settings)
        candidates = starting_curves(problem, curve, nodes, tries, codes, estimator)
        memory = lbfgs.MEMORY if solver == "lbfgs" else 0
        state, spread = _solved(decode, problem, candidates, grids, step, tries, memory, settings, told)
        if solver == "georce":
            state = _with_exact_gradient(decode, problem, state, settings)
        tables.append(certified(decode, problem, state, spread, codes, settings))
    return joined(tables)


def chunks(count: int) -> list[slice]:
    """Rows of `count` pairs in parts of about one size, none larger than `CHUNK`."""
    size = -(-count // -(-count // CHUNK))
    return [slice(first, min(first + size, count)) for first in range(0, count, size)]


METHODS: dict[str, lanes.Method] = {"lbfgs": lanes.chords, "georce": georce}


def _solved(
    decode: tuple[Decode, ...],
    problem: Problem,
    candidates: Float[np.ndarray, "tries*pairs size latent"],
    grids: list[int],
    step: Callable[..., lbfgs.State],
    tries: int,
    memory: int,
    settings: Settings,
    progress: Callable[[int], None],
) -> tuple[lbfgs.State, Float[np.ndarray, " pairs"]]:
    """Final states, with the evaluations of all grids and tries, and the spread of the tries."""
    pairs = len(problem.starts)
    first, *finer = grids
    many = jax.tree.map(lambda field: np.concatenate([field] * tries), problem)
    state = lbfgs.starts(candidates.reshape(len(candidates), -1), memory)
    state = step(decode, many, state, first, _at(settings, first), progress=progress)
    state, spread = _best(state, tries)
    evaluations = state.evaluations
    for level, n in enumerate(finer):
        done = pairs * (tries + level)
        state = step(
            decode,
            problem,
            _again(state),
            n,
            _at(settings, n),
            progress=lambda more, done=done: progress(done + more),
        )
        evaluations = evaluations + state.evaluations
    return state._replace(evaluations=evaluations), spread


def _at(settings: Settings, n: int) -> Settings:
    """Settings for a grid: a coarse one need not be solved well."""
    return settings if n == settings.nodes else settings._replace(rtol=max(settings.rtol, COARSE_RTOL))


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


def _problem(decode: tuple[Decode, ...], starts: np.ndarray, ends: np.ndarray, settings: Settings) -> Problem:
    two = np.stack([starts, ends], axis=1)
    decoded = in_batches(lambda rows: decode_rows(decode, rows, settings.size), (two,), settings.size // 2)
    return Problem(starts, ends, _scales(decode, starts, ends, settings.batch_size), decoded)


def _scales(decode: tuple[Decode, ...], starts: np.ndarray, ends: np.ndarray, batch_size: int) -> np.ndarray:
    """Scaling of every pair by the mean metric at points of the straight line."""
    t = np.asarray(PROBES, starts.dtype)[:, None]
    probes = (1 - t) * starts[:, None] + t * ends[:, None]
    pairs, dimension = starts.shape
    metric = in_batches(
        partial(metric_tensor, some_members(decode)), (probes.reshape(-1, dimension),), min(batch_size, probes.size)
    )
    metric = metric.reshape(pairs, len(PROBES), dimension, dimension).mean(axis=1)
    return in_batches(jax.jit(curves.scaling), (metric,), batch_size)


def _again(state: lbfgs.State) -> lbfgs.State:
    """The states as starts on a finer grid: what was learnt of the Hessian stays, a point that failed does not."""
    usable = np.isfinite(state.y).all(axis=1)[:, None]
    fresh = lbfgs.starts(np.where(usable, state.y, 0.0), state.steps.shape[1])
    usable = usable[:, None]
    return fresh._replace(steps=np.where(usable, state.steps, 0.0), changes=np.where(usable, state.changes, 0.0))


def _with_exact_gradient(
    decode: tuple[Decode, ...], problem: Problem, state: lbfgs.State, settings: Settings
) -> lbfgs.State:
    """The states with the gradient of the energy of decoded chords, whatever energy they were solved for."""
    n = settings.nodes

    def rows(*fields: np.ndarray) -> jax.Array:
        problem, y = Problem(*fields[:-1]), fields[-1]
        answer = lanes.chords(decode, problem, y, n, settings)
        size = y.shape[1] // problem.starts.shape[1]
        return lanes.pulled_back(problem, answer.gradient, family=settings.family, n=n, size=size)

    gradient = in_batches(rows, (*problem, state.y), settings.batch_size)
    return state._replace(gradient=gradient.reshape(state.y.shape))
