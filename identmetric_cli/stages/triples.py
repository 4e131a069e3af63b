"""Angles, areas and curvatures at test items: what a distance alone does not tell, through one run."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from identmetric_cli.config import Geodesic
from identmetric_cli.geometry import GeodesicTable, sectional_curvature
from identmetric_cli.geometry.measures import angle, tangent_gram, volume
from identmetric_cli.models import as_decoders
from identmetric_cli.runs import Run
from identmetric_cli.stages.assemble import load_model
from identmetric_cli.stages.pairs import Solved, solve_and_keep
from identmetric_cli.stages.reporter import SILENT, Reporter


class Triples(NamedTuple):
    """What one run says of triples; NaN where a geodesic did not converge. Columns of (triples,)."""

    angle: np.ndarray
    """At the vertex, between the geodesics to the two others, in degrees."""
    angle_latent: np.ndarray
    """Between the straight latent lines."""
    volume: np.ndarray
    """Area of the parallelogram that the two logarithmic maps span, in squared data units."""
    volume_latent: np.ndarray
    curvature: np.ndarray
    """Sectional curvature at the vertex of the plane of the two, in inverse squared data units."""
    table: GeodesicTable
    """Geodesics from the vertices to the third items."""


def draw_thirds(pairs: np.ndarray, size: int, count: int, seed: int) -> np.ndarray:
    """Third items for the first `count` pairs, none of which is one of its pair, (count, 1)."""
    generator = np.random.default_rng(seed)
    pairs = pairs[:count]
    thirds = generator.integers(0, size - 2, len(pairs))
    low, high = pairs.min(axis=1), pairs.max(axis=1)
    thirds += thirds >= low
    thirds += thirds >= high
    return thirds


def solve_triples(
    run: Run,
    items: np.ndarray,
    triples: np.ndarray,
    settings: Geodesic,
    solved: Solved,
    *,
    training: np.ndarray,
    names: list[str],
    progress: Callable[[int, int], None] = lambda done, total: None,
    reporter: Reporter = SILENT,
) -> Triples:
    """Triples (vertex, second, third) of items, (triples, 3), whose first sides are the first pairs of `solved`."""
    count = len(triples)
    more = solve_and_keep(
        run,
        items,
        triples[:, [0, 2]],
        settings,
        training=training,
        names=names,
        progress=progress,
        reporter=reporter,
    )
    vectors = np.stack([solved.table.velocity[:count, 0], more.table.velocity[:, 0]], axis=1)
    converged = solved.table.converged[:count] & more.table.converged
    origins = solved.ends[triples[:, 0]]
    others = np.stack([solved.means[triples[:, 1]], more.means[triples[:, 2]]], axis=1)
    straight = others - solved.means[triples[:, 0], None]
    flat = straight @ np.swapaxes(straight, 1, 2)
    with jax.enable_x64(settings.dtype == "float64"):
        decode = as_decoders(load_model(run), np.dtype(settings.dtype))
        grams = tangent_gram(decode, origins, vectors, estimator=solved.estimator)
        curvature = np.full(count, np.nan)
        if origins.shape[1] > 1:
            curvature = sectional_curvature(decode, origins, *np.swapaxes(vectors, 0, 1), estimator=solved.estimator)
    known = {"angle": np.degrees(angle(grams)), "volume": volume(grams), "curvature": curvature}
    return Triples(
        **{name: np.where(converged, column, np.nan) for name, column in known.items()},
        angle_latent=np.degrees(angle(flat)),
        volume_latent=volume(flat),
        table=more.table,
    )
