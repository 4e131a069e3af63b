"""Geodesics between what the user names: distances, angles and volumes, each with how far to trust it."""

import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from identmetric_cli.config import Geodesic
from identmetric_cli.errors import InputError, UsageError
from identmetric_cli.files import write_npz, write_text
from identmetric_cli.geometry import Estimator
from identmetric_cli.geometry.gauge import check_gauge
from identmetric_cli.geometry.measures import angle, tangent_gram, volume
from identmetric_cli.geometry.solve import CHUNK
from identmetric_cli.models import EnsembleVAE, as_decoders
from identmetric_cli.report import plots
from identmetric_cli.report.tables import pair_rows, plain, to_csv
from identmetric_cli.runs import Run
from identmetric_cli.stages.assemble import load_model, load_run_data
from identmetric_cli.stages.figures import drawn, pictured
from identmetric_cli.stages.inputs import Inputs
from identmetric_cli.stages.pairs import Solved, solve_and_keep, solve_pairs
from identmetric_cli.stages.reporter import SILENT, Reporter

SCHEMA_VERSION = 1
STRIP = 9
MAX_STRIPS = 12
GAUGE_TRIPLES, GAUGE_NODES, GAUGE_RTOL, GAUGE_MAX_ITER = 2, 8, 1e-14, 1000


@dataclass(frozen=True)
class GeodesicResult:
    """Rows and files of one call; `as_dict` is the JSON document."""

    schema_version: int
    run: str
    estimator: str
    nodes: int
    batch_size: int
    dtype: str
    seconds: float
    pairs: list[dict[str, Any]]
    angles: list[dict[str, Any]]
    volumes: list[dict[str, Any]]
    gauge: dict[str, Any] | None
    files: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Plain values throughout."""
        return asdict(self)


def geodesic(
    run: Run,
    inputs: Inputs,
    pairs: np.ndarray,
    settings: Geodesic,
    *,
    output: Path,
    vertices: bool,
    gauge: bool = False,
    reporter: Reporter = SILENT,
) -> GeodesicResult:
    """Solve pairs of inputs with the best model of a run, and write table, curves and figure to `output`.

    More than `CHUNK` pairs are kept in the run as they are solved: an interrupted call can be given again.
    `vertices` adds the angle at and the area spanned from every vertex of every triple, `gauge` the largest change
    of everything under changes of coordinates. Raises InputError with fewer than two inputs, three for `gauge`.
    """
    if len(inputs.items) < 2:
        raise InputError(f"a geodesic needs two ends, got {len(inputs.items)} items", "name two images or more")
    if gauge and len(inputs.items) < 3:
        raise InputError(f"--check-gauge needs three items for angles, got {len(inputs.items)}", "name a third")
    if gauge:
        require_metric(settings)
    began = time.perf_counter()
    model = load_model(run)
    with reporter.task(f"{len(pairs)} geodesics") as advance:
        training = training_items(run, reporter)
        told = {"training": training, "progress": lambda done, n: advance(done, n, "")}
        if len(pairs) > CHUNK:
            solved = solve_and_keep(run, inputs.items, pairs, settings, names=inputs.names, reporter=reporter, **told)
        else:
            solved = solve_pairs(model, inputs.items, pairs, settings, **told)
    rows = pair_rows(solved.table, pairs, inputs.names, settings, solved.end_gain, inputs.items)
    angle_rows, volume_rows = [], []
    if vertices and solved.estimator.is_metric:
        angle_rows, volume_rows = _at_vertices(model, solved, inputs.names, settings)
    changes = None
    if gauge:
        with reporter.task("other coordinates") as advance:
            changes = gauge_check(model, solved, settings)
            advance(1, 1, "")
    seconds = round(time.perf_counter() - began, 3)
    files = {
        "table": str(output / "geodesics.csv"),
        "json": str(output / "geodesics.json"),
        "curves": str(output / "curves.npz"),
    }
    if pictured(inputs.items.shape[1:], reporter):
        strips = {"geodesics": partial(draw, model, solved, inputs.names)}
        if figure := drawn(strips, output, reporter).get("geodesics"):
            files["figure"] = figure
    write_text(output / "geodesics.csv", to_csv(rows))
    write_npz(
        output / "curves.npz",
        {
            "curves": solved.table.curve,
            "pairs": pairs,
            "means": solved.means,
            "ends": solved.ends,
            "names": np.array(inputs.names),
            "velocities": solved.table.velocity,
        },
    )
    result = GeodesicResult(
        SCHEMA_VERSION,
        str(run.path),
        settings.estimator,
        settings.nodes,
        settings.batch_size,
        settings.dtype,
        seconds,
        rows,
        angle_rows,
        volume_rows,
        changes,
        files,
    )
    write_text(output / "geodesics.json", json.dumps(result.as_dict(), indent=2, allow_nan=False) + "\n")
    return result


def require_metric(settings: Geodesic) -> None:
    """Raise UsageError for --check-gauge with an estimator that is no metric."""
    if not Estimator(settings.estimator).is_metric:
        raise UsageError(
            f"--check-gauge needs angles and curvatures, and the estimator {settings.estimator} has none",
            "choose expected, conformal or mean",
        )


def gauge_check(model: EnsembleVAE, solved: Solved, settings: Geodesic) -> dict[str, Any]:
    """How much the geometry of the first triples changes with coordinates.

    In double precision, on few segments, by the default solver whatever the settings.
    """
    known = solved.ends[np.isfinite(solved.ends).all(axis=1)]
    count = min(GAUGE_TRIPLES, len(known) // 3)
    nodes = min(settings.nodes, GAUGE_NODES)
    with jax.enable_x64(True):
        found = check_gauge(
            as_decoders(model, np.dtype("float64")),
            known[: 3 * count].reshape(count, 3, -1).astype(np.float64),
            estimator=solved.estimator,
            nodes=nodes,
            rtol=GAUGE_RTOL,
            max_iter=GAUGE_MAX_ITER,
            tries=1,
        )
    values = {key: plain(value) for key, value in found._asdict().items()}
    return {**values, "nodes": nodes, "dtype": "float64", "rtol": GAUGE_RTOL}


def training_items(run: Run, reporter: Reporter = SILENT) -> np.ndarray | None:
    """The items that a run was trained on, or a warning and None where they are not at hand."""
    try:
        return load_run_data(run).train.items
    except InputError as error:
        reporter.warn(f"without the training data, gaps in it are not told ({error})")
        return None


def draw(model: EnsembleVAE, solved: Solved, names: Sequence[str], path: Path) -> None:
    """Decoded images along the first geodesics above those along the straight lines."""
    shown = min(len(solved.pairs), MAX_STRIPS)
    nodes = solved.table.curve.shape[1]
    picked = np.linspace(0, nodes - 1, STRIP).round().astype(int)
    curves = solved.table.curve[:shown, picked]
    t = picked[:, None] / (nodes - 1)
    lines = (1 - t) * curves[:, :1] + t * curves[:, -1:]
    z = np.concatenate([curves, lines], axis=1).reshape(-1, curves.shape[-1])
    decoded = np.asarray(jax.jit(lambda model, z: model.decode(z).mean(axis=0))(model, z.astype(np.float32)))
    decoded = decoded.reshape(shown, 2, STRIP, *decoded.shape[1:])
    titles = [
        f"{names[a]}  to  {names[b]}:  length {length:.2f}, straight line {straight:.2f}"
        for (a, b), length, straight in zip(
            solved.pairs[:shown], solved.table.length, solved.table.straight_length, strict=False
        )
    ]
    plots.geodesic_strips(decoded, titles, path)


def _at_vertices(
    model: EnsembleVAE, solved: Solved, names: Sequence[str], settings: Geodesic
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    leaving = {}
    for (a, b), velocity, converged in zip(solved.pairs, solved.table.velocity, solved.table.converged, strict=True):
        if converged:
            leaving[int(a), int(b)], leaving[int(b), int(a)] = velocity
    corners = [
        [o, b, c]
        for o in range(len(names))
        for b, c in itertools.combinations([i for i in range(len(names)) if i != o], 2)
        if (o, b) in leaving and (o, c) in leaving
    ]
    if not corners:
        return [], []
    vectors = np.stack([[leaving[o, b], leaving[o, c]] for o, b, c in corners])
    dtype = np.dtype(settings.dtype)
    with jax.enable_x64(settings.dtype == "float64"):
        origins = solved.ends[[o for o, _, _ in corners]]
        grams = tangent_gram(as_decoders(model, dtype), origins, vectors, estimator=solved.estimator)
    ends = [(names[o], [names[b], names[c]]) for o, b, c in corners]
    return (
        [
            {"at": at, "between": others, "items": corner, "degrees": plain(degrees)}
            for (at, others), corner, degrees in zip(ends, corners, np.degrees(angle(grams)), strict=True)
        ],
        [
            {"at": at, "spanned_by": others, "items": corner, "volume": plain(size)}
            for (at, others), corner, size in zip(ends, corners, volume(grams), strict=True)
        ],
    )
