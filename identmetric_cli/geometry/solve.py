"""Geodesics between many pairs: coarse to fine in the number of nodes, every pair at its own pace.

A fixed number of lanes is advanced together by one compiled function. A lane whose pair has ended is handed the
next pair of the queue at once, so pairs that are done cost nothing and memory depends on the number of lanes
alone. Shapes never change within a grid, so a pair's bits do not depend on its neighbours, nor on how many there are.

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
from identmetric_cli.geometry.energy import embed_curves, energy, length, squared_steps
from identmetric_cli.geometry.lbfgs import Status
from identmetric_cli.geometry.metric import as_pytree, metric_tensor
from identmetric_cli.types import Decode

MODES = 12
COARSEST = 8
COARSE_RTOL = 1e-3
PROBES = (1 / 6, 1 / 2, 5 / 6)


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
    """F at both ends."""


def geodesics(
    decode: Decode,
    starts: Float[Array, "pairs latent"],
    ends: Float[Array, "pairs latent"],
    *,
    nodes: int = 32,
    rtol: float = 1e-4,
    max_iter: int = 100,
    batch_size: int = 16,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> GeodesicTable:
    """Geodesics from `starts` to `ends` under the pull-back metric of `decode`: (m, d) -> (K, m, D).

    `starts`, `ends`: (P, d), float32 or float64. `nodes` segments a curve. A pair has converged when the energy
    still to be gained is estimated below `rtol` of it. `progress(done, total)` counts pairs over all grids. A pair
    that fails says so in its row. Raises ValueError on shapes that do not fit.
    """
    starts, ends = np.asarray(starts), np.asarray(ends)
    if starts.ndim != 2 or starts.shape != ends.shape:
        raise ValueError(f"starts and ends must both be (pairs, latent), got {starts.shape} and {ends.shape}")
    decode = as_pytree(decode)
    lanes = max(1, min(batch_size, len(starts)))
    problem = in_batches(partial(prepare, decode), (starts, ends), lanes)
    grids = _grids(nodes)
    y = np.zeros((len(starts), MODES, starts.shape[1]), starts.dtype)
    evaluations = np.zeros(len(starts), int)
    memory = None
    for level, n in enumerate(grids):
        final = n == nodes
        state = _solve(
            decode,
            problem,
            y,
            memory,
            n=n,
            rtol=rtol if final else max(rtol, COARSE_RTOL),
            max_iter=max_iter,
            lanes=lanes,
            progress=lambda done, level=level: progress(level * len(starts) + done, len(grids) * len(starts)),
        )
        y = np.where(np.isfinite(state.y), state.y, 0.0).reshape(y.shape)
        memory = (state.steps, state.changes)
        evaluations += state.evaluations
    measured = in_batches(partial(measure, decode, n=nodes), (*problem, y), lanes)
    return _table(starts, ends, state, evaluations, measured)


def _grids(nodes: int) -> list[int]:
    grids = [nodes]
    while grids[0] >= 2 * COARSEST:
        grids.insert(0, grids[0] // 2)
    return grids


@jax.jit
def prepare(decode: Decode, starts: Float[Array, "pairs latent"], ends: Float[Array, "pairs latent"]) -> Problem:
    """Decoded ends, and the scaling by the mean metric along the straight line."""
    pairs, dimension = starts.shape
    t = jnp.asarray(PROBES, starts.dtype)[:, None]
    probes = (1 - t) * starts[:, None] + t * ends[:, None]
    metric = metric_tensor(decode, probes.reshape(-1, dimension))
    metric = metric.reshape(pairs, len(PROBES), dimension, dimension).mean(axis=1)
    return Problem(starts, ends, curves.scaling(metric), embed_curves(decode, jnp.stack([starts, ends], axis=1)))


@partial(jax.jit, static_argnames=("n",))
def iterate(
    decode: Decode, problem: Problem, state: lbfgs.State, rtol: float, max_iter: int, *, n: int
) -> lbfgs.State:
    """One evaluation of energy and gradient for every lane, and each lane's answer to it."""
    pairs, dimension = problem.starts.shape
    basis = curves.sine_basis(n, MODES, n, problem.starts.dtype)

    def total(y: Float[Array, "pairs size"]) -> tuple[Array, Array]:
        nodes = curves.points(*problem[:3], y.reshape(pairs, MODES, dimension), basis)
        inner = embed_curves(decode, nodes[:, 1:-1])
        x = jnp.concatenate([problem.decoded[:, :1], inner, problem.decoded[:, 1:]], axis=1)
        each = energy(squared_steps(x))
        return each.sum(), each

    (_, each), gradient = jax.value_and_grad(total, has_aux=True)(jax.vmap(lbfgs.trial)(state))
    return jax.vmap(lbfgs.advance, in_axes=(0, 0, 0, None, None))(state, each, gradient, rtol, max_iter)


@partial(jax.jit, static_argnames=("n",))
def measure(
    decode: Decode,
    starts: Float[Array, "pairs latent"],
    ends: Float[Array, "pairs latent"],
    scale: Float[Array, "pairs latent latent"],
    decoded: Float[Array, "pairs 2 decoders data"],
    y: Float[Array, "pairs modes latent"],
    *,
    n: int,
) -> dict[str, Array]:
    """What a row reports of its curve: on n segments, and its length on 2 n."""
    fine = curves.points(starts, ends, scale, y, curves.sine_basis(n, MODES, 2 * n, starts.dtype))
    x = embed_curves(decode, fine)
    steps = squared_steps(x[:, ::2])
    straight = squared_steps(
        embed_curves(decode, curves.points(starts, ends, scale, 0 * y, curves.sine_basis(n, MODES, n, starts.dtype)))
    )
    leaving, arriving = curves.end_velocities(starts, ends, scale, y)
    return {
        "energy": energy(steps),
        "length": length(steps),
        "fine_length": length(squared_steps(x)),
        "chord": length(squared_steps(decoded)),
        "straight_length": length(straight),
        "straight_energy": energy(straight),
        "curve": fine[:, ::2],
        "velocity": jnp.stack([leaving, arriving], axis=1),
    }


@jax.jit
def _refill(mask: Array, new: lbfgs.State, old: lbfgs.State) -> lbfgs.State:
    return jax.vmap(lbfgs._where)(mask, new, old)


@jax.jit
def _start(y: Array, steps: Array, changes: Array) -> lbfgs.State:
    return jax.vmap(lambda y, s, c: lbfgs.start(y)._replace(steps=s, changes=c))(y, steps, changes)


def _solve(
    decode: Decode,
    problem: Problem,
    y: np.ndarray,
    memory: tuple[np.ndarray, np.ndarray] | None,
    *,
    n: int,
    rtol: float,
    max_iter: int,
    lanes: int,
    progress: Callable[[int], None],
) -> lbfgs.State:
    """Final states of all pairs on one grid, as NumPy arrays."""
    pairs = len(y)
    y = y.reshape(pairs, -1)
    if memory is None:
        memory = (np.zeros((pairs, lbfgs.MEMORY, y.shape[1]), y.dtype),) * 2
    waiting = list(range(pairs))[::-1]
    lane = np.full(lanes, -1)
    finished: dict[int, lbfgs.State] = {}
    state = None
    while waiting or np.any(lane >= 0):
        free = np.flatnonzero(lane < 0)[: len(waiting)]
        lane[free] = [waiting.pop() for _ in free]
        if len(free):
            rows = np.maximum(lane, 0)
            new = _start(y[rows], memory[0][rows], memory[1][rows])
            current = Problem(*(np.asarray(field)[rows] for field in problem))
            mask = np.isin(np.arange(lanes), free)
            state = new if state is None else _refill(mask, new, state)
        state = iterate(decode, current, state, rtol, max_iter, n=n)
        ended = (np.asarray(state.status) != Status.running) & (lane >= 0)
        if np.any(ended):
            rows = jax.device_get(state)
            for position in np.flatnonzero(ended):
                finished[int(lane[position])] = jax.tree.map(lambda leaf, p=position: leaf[p], rows)
                lane[position] = -1
            progress(len(finished))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *(finished[pair] for pair in range(pairs)))


def _table(
    starts: np.ndarray, ends: np.ndarray, state: lbfgs.State, evaluations: np.ndarray, measured: dict[str, np.ndarray]
) -> GeodesicTable:
    identical = np.all(starts == ends, axis=1)
    status = np.where(identical, Status.identical_endpoints, state.status)
    lengths, energies = measured["length"], measured["energy"]
    positive = energies > 0
    safe_length, safe_energy = np.where(positive, lengths, 1.0), np.where(positive, energies, 1.0)
    return GeodesicTable(
        status=status,
        length=lengths,
        energy=energies,
        chord=measured["chord"],
        euclidean_latent=np.linalg.norm(ends - starts, axis=1),
        straight_length=measured["straight_length"],
        straight_energy=measured["straight_energy"],
        bound_gap=(lengths - measured["chord"]) / safe_length,
        speed_gap=1 - lengths**2 / safe_energy,
        gradient=np.linalg.norm(state.gradient, axis=1) / (2 * np.sqrt(safe_energy)),
        refinement=np.abs(measured["fine_length"] - lengths) / safe_length,
        iterations=evaluations,
        curve=measured["curve"],
        velocity=measured["velocity"],
    )
