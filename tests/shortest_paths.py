"""Reference distances that share no code with the package's solver: a fine lattice in two dimensions, many starts in
more, each path polished by SciPy's L-BFGS-B in double precision and measured on 4,096 chords.

The lattice has 301 x 301 latents in the box of all ends and a margin, 32 neighbours each and edges of 8 chords.
Lengths of a latent curve on so many chords are nearly upper bounds of the distance; of the path before and after
polishing the shorter counts.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from identmetric_cli.types import Decode

SIDE, MARGIN, CHORDS = 301, 0.15, 8
OFFSETS = [(1, 0), (0, 1), (1, 1), (1, -1), (2, 1), (1, 2), (2, -1), (1, -2), (3, 1), (1, 3), (3, -1), (1, -3)]
OFFSETS += [(3, 2), (2, 3), (3, -2), (2, -3)]
"""Half of the 32 neighbours; the others lie opposite."""
NEAR = np.array([(i, j) for i in range(-2, 4) for j in range(-2, 4)])
"""Lattice nodes that an end is joined to, from the corner below it."""
MEASURED = 4096
NODES, FEW_NODES, STARTS = 256, 96, 12
NUMBERS = 1 << 22
"""Decoded numbers that are held at a time."""


class Lattice(NamedTuple):
    """Latents (SIDE, SIDE, 2) at equal distances, and the lengths of edges between their numbers."""

    nodes: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    lengths: np.ndarray


def distances(decode: Decode, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Lengths (pairs,) of the shortest curves that were found between latents (pairs, d)."""
    starts, ends = np.asarray(starts, np.float64), np.asarray(ends, np.float64)
    with jax.enable_x64(True):
        lines = np.stack([starts, ends], axis=1)
        straight = measured(decode, lines)
        search = lattice_paths if starts.shape[1] == 2 else best_of_starts
        curves = search(decode, starts, ends, straight)
        paths = [curves, np.stack([polished(decode, each) for each in curves])]
        return np.nanmin([straight, *(measured(decode, each) for each in paths)], axis=0)


def measured(decode: Decode, curves: np.ndarray, chords: int = MEASURED) -> np.ndarray:
    """Lengths (pairs,) of latent polygons (pairs, n + 1, d), each side cut into equal chords, about 4,096 in all."""
    curves, decode = np.asarray(curves), Partial(decode)
    return np.array([np.sum(_steps(decode, divided(each, -(-chords // (len(each) - 1))))) for each in curves])


def divided(curve: np.ndarray, parts: int) -> np.ndarray:
    """A latent polygon (n + 1, d) with every side cut into equal parts."""
    n = len(curve) - 1
    return interpolated(np.arange(n + 1), curve, np.linspace(0, n, n * parts + 1))


def interpolated(t: np.ndarray, curve: np.ndarray, at: np.ndarray) -> np.ndarray:
    return np.stack([np.interp(at, t, each) for each in curve.T], axis=1)


def even(decode: Decode, curve: np.ndarray, n: int = NODES) -> np.ndarray:
    """A latent polygon (any, d) on n segments that are equally long in data space."""
    parts = -(-MEASURED // (len(curve) - 1))
    fine = divided(curve, parts)
    travelled = np.concatenate([[0], np.cumsum(_steps(Partial(decode), fine))])
    travelled += np.linspace(0, 1e-9 * travelled[-1], len(travelled))
    return interpolated(travelled, fine, np.linspace(0, travelled[-1], n + 1))


@jax.jit
def _steps(decode: Decode, nodes: Array) -> Array:
    return jnp.linalg.norm(jnp.diff(stacked(decode, nodes), axis=0), axis=-1)


def stacked(decode: Decode, z: Array) -> Array:
    """Members over each other, (m, K D), so that squared distances are those of the expected metric."""
    x = decode(z)
    return jnp.moveaxis(x, 0, 1).reshape(len(z), -1) / jnp.sqrt(len(x))


def lattice(decode: Decode, low: np.ndarray, high: np.ndarray) -> Lattice:
    """The lattice of a box and the lengths of its edges, measured in single precision."""
    axes = [np.linspace(*each, SIDE, dtype=np.float32) for each in zip(low, high, strict=True)]
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    number = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    rows, columns = [], []
    for i, j in OFFSETS:
        rows.append(number[: SIDE - i, max(0, -j) : SIDE - max(0, j)].ravel())
        columns.append(number[i:, max(0, j) : SIDE - max(0, -j)].ravel())
    rows, columns = np.concatenate(rows), np.concatenate(columns)
    flat = nodes.reshape(-1, 2)
    return Lattice(nodes, rows, columns, edge_lengths(decode, flat[rows], flat[columns]))


def edge_lengths(decode: Decode, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Lengths of straight latent lines on `CHORDS` chords, float64 (edges,), in batches of one size."""
    decode = Partial(decode)
    size = max(256, NUMBERS // ((CHORDS + 1) * stacked(decode, a[:1]).size))
    lengths = []
    for first in range(0, len(a), size):
        rows = np.arange(first, first + size) % len(a)
        lengths.append(np.asarray(_edges(decode, a[rows], b[rows]), np.float64))
    return np.concatenate(lengths)[: len(a)]


@jax.jit
def _edges(decode: Decode, a: Array, b: Array) -> Array:
    t = jnp.linspace(0, 1, CHORDS + 1, dtype=a.dtype)[:, None, None]
    x = stacked(decode, ((1 - t) * a + t * b).reshape(-1, a.shape[1])).reshape(CHORDS + 1, len(a), -1)
    return jnp.sum(jnp.linalg.norm(jnp.diff(x, axis=0), axis=-1), axis=0)


def lattice_paths(decode: Decode, starts: np.ndarray, ends: np.ndarray, bounds: np.ndarray) -> list[np.ndarray]:
    """Shortest paths over the lattice, no longer than `bounds`, else straight lines; on even nodes, ends exact."""
    both = np.concatenate([starts, ends])
    low, high = both.min(axis=0), both.max(axis=0)
    low, high = low - MARGIN * (high - low), high + MARGIN * (high - low)
    grid = lattice(decode, low, high)
    corner = np.floor((both - low) / (high - low) * (SIDE - 1)).astype(int)
    near = np.clip(corner[:, None] + NEAR, 0, SIDE - 1) @ np.array([SIDE, 1])
    flat = grid.nodes.reshape(-1, 2)
    own = np.repeat(len(flat) + np.arange(len(both)), len(NEAR))
    joins = edge_lengths(decode, np.repeat(both, len(NEAR), axis=0).astype(np.float32), flat[near.ravel()])
    rows = np.concatenate([grid.rows, grid.columns, own, near.ravel()])
    columns = np.concatenate([grid.columns, grid.rows, near.ravel(), own])
    lengths = np.concatenate([grid.lengths, grid.lengths, joins, joins])
    size, usable = len(flat) + len(both), np.isfinite(lengths)
    # A zero would be no edge at all.
    lengths = np.maximum(lengths, 1e-12)
    graph = csr_array((lengths[usable], (rows[usable], columns[usable])), shape=(size, size))
    places = np.concatenate([flat, both])
    curves = []
    for pair, bound in enumerate(bounds):
        first, last = len(flat) + pair, len(flat) + len(starts) + pair
        limit = 1.001 * bound if np.isfinite(bound) else np.inf
        _, before = dijkstra(graph, indices=first, return_predecessors=True, limit=limit)
        path = [last]
        while before[path[-1]] >= 0:
            path.append(before[path[-1]])
        if path[-1] != first:
            path = [last, first]
        curves.append(even(decode, places[path[::-1]]))
    return curves


def best_of_starts(decode: Decode, starts: np.ndarray, ends: np.ndarray, bounds: np.ndarray) -> list[np.ndarray]:
    """Of `STARTS` starts polished on few nodes the shortest, or the straight line where all exceed `bounds`."""
    curves = [np.stack([polished(decode, each) for each in bent(starts, ends, seed)]) for seed in range(STARTS)]
    lengths = np.array([measured(decode, each) for each in curves])
    best = np.argmin(np.where(np.isfinite(lengths), lengths, np.inf), axis=0)
    better = np.min(lengths, axis=0, where=np.isfinite(lengths), initial=np.inf) < bounds
    chosen = [curves[each][pair] for pair, each in enumerate(best)]
    return [even(decode, curve if shorter else curve[[0, -1]]) for curve, shorter in zip(chosen, better, strict=True)]


def bent(starts: np.ndarray, ends: np.ndarray, seed: int) -> np.ndarray:
    """The straight lines for seed 0, else curves of three random sine modes, (pairs, FEW_NODES + 1, d)."""
    t = np.linspace(0, 1, FEW_NODES + 1)[:, None]
    lines = starts[:, None] + t * (ends - starts)[:, None]
    drawn = np.random.default_rng(seed).normal(size=(len(starts), 3, starts.shape[1]))
    size = 0.5 * np.linalg.norm(ends - starts, axis=1)[:, None, None] / np.sqrt(starts.shape[1])
    waves = np.sin(np.pi * t * np.arange(1, 4)) / np.arange(1, 4)
    return lines + (seed > 0) * size * (waves @ drawn)


def polished(decode: Decode, curve: np.ndarray, steps: int = 400) -> np.ndarray:
    """A latent curve (n + 1, d) moved down the energy of its chords, in all its sine modes.

    z_i = line_i + sum_j sin(j pi i / n) C^-T y_j / (j pi), with C C^T the mean metric along the curve, makes the
    Hessian of the energy nearly a multiple of the identity.
    """
    n, dimension = len(curve) - 1, curve.shape[1]
    j = np.arange(1, n)
    waves = np.sin(np.pi * np.outer(j, j) / n) / (np.pi * j)
    line = curve[0] + np.linspace(0, 1, n + 1)[:, None] * (curve[-1] - curve[0])
    metric = np.asarray(_mean_metric(Partial(decode), curve[:: max(1, n // 32)]))
    metric = metric + 1e-4 * np.trace(metric) / dimension * np.eye(dimension)
    if not np.isfinite(metric).all() or not np.trace(metric):
        return curve
    unscale = np.linalg.inv(np.linalg.cholesky(metric))
    y = np.linalg.solve(waves, (curve - line)[1:-1]) @ np.linalg.inv(unscale)
    scale = float(_energy(Partial(decode), y, waves, line, unscale)[0])
    if not scale > 0:
        return curve

    def scaled(y: np.ndarray) -> tuple[float, np.ndarray]:
        energy, gradient = _energy(Partial(decode), y.reshape(n - 1, dimension), waves, line, unscale)
        return float(energy) / scale, np.asarray(gradient).ravel() / scale

    options = {"maxiter": steps, "maxcor": 20, "ftol": 1e-11, "gtol": 1e-9}
    y = minimize(scaled, y.ravel(), jac=True, method="L-BFGS-B", options=options).x.reshape(n - 1, dimension)
    return np.concatenate([curve[:1], (line[1:-1] + waves @ y @ unscale), curve[-1:]])


@jax.jit
def _mean_metric(decode: Decode, z: Array) -> Array:
    jacobian = jax.vmap(jax.jacfwd(lambda each: stacked(decode, each[None])[0]))(z)
    return jnp.mean(jnp.einsum("mxi,mxj->mij", jacobian, jacobian), axis=0)


@jax.jit
@partial(jax.value_and_grad, argnums=1)
def _energy(decode: Decode, y: Array, waves: Array, line: Array, unscale: Array) -> Array:
    z = jnp.concatenate([line[:1], line[1:-1] + waves @ y @ unscale, line[-1:]])
    return (len(line) - 1) * jnp.sum(jnp.diff(stacked(decode, z), axis=0) ** 2)
