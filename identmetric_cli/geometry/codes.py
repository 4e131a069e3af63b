"""What the codes of data say about a latent space: how much decoders disagree where data lie, and ways between codes.

A straight latent line is one guess of a geodesic. Another is the shortest path over a graph that joins every code to
its nearest neighbours, with edges as long as the chords of F: it goes where data are, in any dimension. Both are only
starts of an optimiser, so the graph may be coarse.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.spatial import cKDTree

from identmetric_cli.batching import in_batches
from identmetric_cli.geometry.energy import steps_of
from identmetric_cli.geometry.estimators import EXPECTED, Estimator, disagreement
from identmetric_cli.geometry.metric import decoded, members
from identmetric_cli.types import Decoders

MOST_CODES = 1000
MOST_NUMBERS = 1 << 25
"""Decoded numbers that are kept: 128 MiB in single precision."""
NEIGHBOURS = 10
LEAST_DISAGREEMENT = 1e-6
"""Share of the decoded points' own spread, below which disagreement is no scale."""
BATCH_SIZE = 128


class Codes(NamedTuple):
    """Codes of data, evenly thinned out, and what the members make of them."""

    z: Float[np.ndarray, "codes latent"]
    decoded: Float[np.ndarray, "codes decoders data"]
    disagreement: Float[np.ndarray, " codes"]
    """Mean squared distance of the members from their mean, in squared data units."""


def survey(decode: Decoders, codes: Float[np.ndarray, "codes latent"]) -> Codes:
    """Decode codes of data; of more than some thousand, every so-manieth. Raises ValueError on shapes."""
    codes, decode = np.asarray(codes), members(decode)
    if codes.ndim != 2 or not len(codes):
        raise ValueError(f"codes must be (codes, latent), got {codes.shape}")

    def rows(z: np.ndarray) -> np.ndarray:
        return np.moveaxis(np.asarray(decoded(decode, z)), 1, 0)

    numbers = int(np.prod(rows(codes[:1].repeat(BATCH_SIZE, axis=0)).shape[1:]))
    z = codes[:: -(-len(codes) // max(1, min(MOST_CODES, MOST_NUMBERS // numbers)))]
    x = in_batches(rows, (z,), BATCH_SIZE)
    v = in_batches(lambda x: _disagreement(np.moveaxis(x, 1, 0)), (x,), BATCH_SIZE)
    return Codes(z, x, v)


def conformal(codes: Codes, strength: float = 1.0) -> Estimator:
    """The metric (1 + strength v / v0) G, v0 the median disagreement of the codes.

    Raises ValueError for decoders that hardly disagree, a single one for instance: there is no scale then, and where
    they do disagree the metric is a wall.
    """
    typical = float(np.median(codes.disagreement))
    mean = codes.decoded.mean(axis=1, dtype=np.float64)
    spread = float(np.square(mean - mean.mean(axis=0)).sum(axis=1).mean())
    if not typical > LEAST_DISAGREEMENT * spread:
        raise ValueError(
            "the estimator `conformal` needs decoders that disagree where data are, and these hardly disagree: "
            f"typically by {typical:.2g}, while decoded points spread by {spread:.2g}, in squared data units; "
            "use the estimator `expected`"
        )
    return Estimator("conformal", strength / typical)


def graph_curves(
    codes: Codes,
    starts: Float[np.ndarray, "pairs latent"],
    ends: Float[np.ndarray, "pairs latent"],
    decoded_ends: Float[np.ndarray, "pairs 2 decoders data"],
    n: int,
    estimator: Estimator = EXPECTED,
) -> Float[np.ndarray, "pairs nodes latent"]:
    """Shortest paths over the graph of codes, on n + 1 nodes that are equally far from each other along the path."""
    pairs, count = len(starts), len(codes.z)
    z = np.concatenate([codes.z, starts, ends])
    x = np.concatenate([codes.decoded, decoded_ends[:, 0], decoded_ends[:, 1]])
    finite = np.isfinite(z).all(axis=1) & np.isfinite(x).all(axis=(1, 2))
    edges = _edges(np.where(finite[:, None], z, 0.0), count)
    edges = edges[finite[edges].all(axis=1)]
    squares = in_batches(lambda two: steps_of(x[two], estimator), (edges,), BATCH_SIZE)[:, 0]
    # An edge of length zero would be none to the solver.
    lengths = np.sqrt(np.maximum(squares.astype(np.float64), np.finfo(np.float32).tiny))
    graph = csr_array((lengths, edges.T), shape=(len(z), len(z)))
    distance, before = dijkstra(graph, directed=False, indices=count + np.arange(pairs), return_predecessors=True)
    curves = [_path(z, distance[pair], before[pair], count + pair, count + pairs + pair, n) for pair in range(pairs)]
    return np.stack(curves).astype(starts.dtype)


@jax.jit
def _disagreement(x: Float[np.ndarray, "decoders codes data"]) -> Float[np.ndarray, " codes"]:
    return disagreement(x)


def _edges(z: Float[np.ndarray, "points latent"], count: int) -> Int[np.ndarray, "edges 2"]:
    """Every point with its nearest codes, the first `count` points, and what it takes to connect all codes."""
    tree = cKDTree(z[:count])
    neighbours = min(NEIGHBOURS + 1, count)
    _, nearest = tree.query(z, k=np.arange(1, neighbours + 1))
    edges = np.stack([np.repeat(np.arange(len(z)), neighbours), nearest.ravel()], axis=1)
    edges = np.unique(np.sort(edges[edges[:, 0] != edges[:, 1]], axis=1), axis=0)
    while True:
        inner = edges[(edges < count).all(axis=1)]
        parts, label = connected_components(csr_array((np.ones(len(inner)), inner.T), shape=(count, count)), False)
        if parts == 1:
            return edges
        inside = np.flatnonzero(label == np.argmin(np.bincount(label)))
        outside = np.setdiff1d(np.arange(count), inside)
        gap, nearest = cKDTree(z[outside]).query(z[inside])
        bridge = np.argmin(gap)
        edges = np.concatenate([edges, np.sort([[inside[bridge], outside[nearest[bridge]]]], axis=1)])


def _path(z: np.ndarray, distance: np.ndarray, before: np.ndarray, start: int, end: int, n: int) -> np.ndarray:
    """The path to `end` on n + 1 nodes; the straight line where there is none."""
    path = [end]
    while path[-1] != start and before[path[-1]] >= 0:
        path.append(before[path[-1]])
    if path[-1] != start or len(path) == 1:
        path = [end, start]
        travelled = np.array([0.0, 1.0])
    else:
        travelled = distance[path[::-1]]
    t = np.linspace(0, travelled[-1], n + 1)
    return np.stack([np.interp(t, travelled, column) for column in z[path[::-1]].T], axis=1)
