"""Which relations survive retraining: the same test pairs through every run, and the statistics of what they say."""

import json
import math
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from identmetric_cli import __version__
from identmetric_cli.analysis import MeasureSummary, distinct, summarise
from identmetric_cli.config import Geodesic
from identmetric_cli.data import Split
from identmetric_cli.errors import InputError
from identmetric_cli.files import write_text
from identmetric_cli.geometry import Estimator
from identmetric_cli.geometry.maps import latent_map
from identmetric_cli.models import as_decoders
from identmetric_cli.models.encode import encode as encode_items
from identmetric_cli.report import html, plots
from identmetric_cli.report.tables import count_statuses, pair_rows, to_csv
from identmetric_cli.runs import Run
from identmetric_cli.stages.agreement import LABELS, agree
from identmetric_cli.stages.assemble import load_model, load_run_data
from identmetric_cli.stages.figures import drawn, pictured
from identmetric_cli.stages.geodesic import draw, gauge_check, require_metric
from identmetric_cli.stages.latents import dead_latents
from identmetric_cli.stages.pairs import Solved, solve_and_keep
from identmetric_cli.stages.reporter import SILENT, Advance, Reporter
from identmetric_cli.stages.triples import Triples, draw_thirds, solve_triples

SCHEMA_VERSION = 1
BASELINES = {"angle": "sd", "volume": "cv", "curvature": "sd"}
"""How the measures on triples are dispersed; each but curvature has a latent one beside it."""
MAP_POINTS = 1000


@dataclass(frozen=True)
class CompareResult:
    """What a comparison found; `as_dict` is the JSON document."""

    schema_version: int
    runs: list[dict[str, Any]]
    pairs: int
    triples: int
    pair_seed: int | None
    estimator: str
    nodes: int
    dtype: str
    refine_endpoints: bool
    batch_size: int
    split: str
    seconds: float
    gauge: dict[str, Any] | None
    statuses: dict[str, int]
    warnings: list[str]
    measures: list[dict[str, Any]]
    evidence: dict[str, int]
    over_data_space: dict[str, Any]
    headline: str
    files: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Plain values throughout."""
        return asdict(self)


def compare(
    runs: Sequence[Run],
    pairs_of: Any,
    settings: Geodesic,
    *,
    pair_seed: int | None,
    triples: int = 50,
    gauge: bool = False,
    output: Path,
    argv: Sequence[str] = (),
    reporter: Reporter = SILENT,
) -> CompareResult:
    """Compare runs on pairs of test items and write report, tables and figures to `output`.

    `pairs_of(size)` gives the pairs, (pairs, 2), for a test split of `size` items; the first `triples` of them get a
    third item, for angles, areas and curvatures at the first. `gauge` checks on the first run that geometry does not
    depend on coordinates. Raises InputError for fewer
    than two runs, runs that were trained on different data, or no pair of different items.
    """
    began = time.perf_counter()
    check_comparable(runs)
    if gauge:
        require_metric(settings)
    data = load_run_data(runs[0])
    pairs = pairs_of(len(data.test))
    counted = distinct(pairs)
    if not counted.any():
        raise InputError("no pair has two different items", "name pairs of different test items")
    names = [f"test:{i}" for i in range(len(data.test))]
    triples = min(triples, len(pairs)) if len(data.test) > 2 and Estimator(settings.estimator).is_metric else 0
    thirds = draw_thirds(pairs, len(data.test), triples, pair_seed or 0)
    used, local = np.unique(np.concatenate([pairs.ravel(), thirds]), return_inverse=True)
    local, local_thirds = local[: pairs.size].reshape(pairs.shape), local[pairs.size :]
    items, shown = data.test.items[used], [names[i] for i in used]
    corners = np.concatenate([local[:triples], local_thirds[:, None]], axis=1)
    solved, cornered = [], []
    for i, run in enumerate(runs):
        common = {"training": data.train.items, "names": shown, "reporter": reporter}
        title = f"{run.name} ({i + 1} of {len(runs)})"
        with reporter.task(f"{title}: {len(pairs)} geodesics") as advance:
            solved.append(solve_and_keep(run, items, local, settings, **common, progress=_told(advance)))
        if triples:
            with reporter.task(f"{title}: {triples} triples") as advance:
                found = solve_triples(run, items, corners, settings, solved[-1], **common, progress=_told(advance))
                cornered.append(found)
    rows_of_runs = [
        [
            {"run": run.name, **row, **_official(row)}
            for row in pair_rows(each.table, local, shown, settings, each.end_gain, items)
        ]
        for run, each in zip(runs, solved, strict=True)
    ]
    rows = [row for each in rows_of_runs for row in each]
    on_triples = _summarise_triples(cornered, corners, counted[:triples])
    described = [describe(run, data.test.items) for run in runs]
    agreement = agree(described, rows_of_runs, pairs, on_triples)
    files = _write_tables(rows, agreement.on_pairs, pairs[counted], names, output)
    if triples:
        text = to_csv(_triple_rows(runs, cornered, np.concatenate([pairs[:triples], thirds[:, None]], axis=1), names))
        write_text(output / "triples.csv", text)
        files["triples"] = str(output / "triples.csv")
    with reporter.task("figures") as advance:
        files |= _draw(
            runs, data.test, solved, local, agreement.on_pairs, output / "figures", names=shown, reporter=reporter
        )
        advance(1, 1, "")
    result = CompareResult(
        schema_version=SCHEMA_VERSION,
        runs=described,
        pairs=len(pairs),
        triples=triples,
        pair_seed=pair_seed,
        estimator=settings.estimator,
        nodes=settings.nodes,
        dtype=settings.dtype,
        refine_endpoints=settings.refine_endpoints,
        batch_size=settings.batch_size,
        split="test",
        seconds=round(time.perf_counter() - began, 3),
        gauge=_check_gauge(runs[0], solved[0], settings, reporter) if gauge else None,
        statuses=count_statuses(rows),
        **agreement.fields(),
        files={**files, "report": str(output / "report.html"), "summary": str(output / "summary.json")},
    )
    write_text(output / "summary.json", json.dumps(result.as_dict(), indent=2, allow_nan=False) + "\n")
    html.write(result.as_dict(), provenance(runs[0], settings, argv), output / "report.html")
    return result


def check_comparable(runs: Sequence[Run]) -> None:
    """Raise InputError unless there are two runs or more and all were trained on the same data."""
    if len(runs) < 2:
        raise InputError(
            f"a comparison needs two finished runs or more, got {len(runs)}: variation over one run is undefined",
            "train more seeds: identmetric train --seeds 0-4",
        )
    prints: dict[str, list[str]] = {}
    for run in runs:
        prints.setdefault(run.info()["data"]["fingerprint"], []).append(run.name)
    if len(prints) > 1:
        groups = "; ".join(f"{', '.join(names)} on {key[:8]}" for key, names in prints.items())
        raise InputError(
            f"the runs were trained on different data or splits: {groups}",
            "compare runs that share data.source, data.split_seed and the other keys of [data]",
        )


def describe(run: Run, test_items: np.ndarray | None) -> dict[str, Any]:
    """What a comparison says of one run; without test items it is not known which latent dimensions are dead."""
    info = run.info()
    config = run.config()
    return {
        "name": run.name,
        "path": str(run.path),
        "seed": info["seed"],
        "epochs": info["epochs"],
        "latent_dim": config.model.latent_dim,
        "decoders": config.model.decoders,
        "item_values": math.prod(info["data"]["shape"]),
        "dead_latents": None if test_items is None else dead_latents(run, test_items[:MAP_POINTS]),
        "test_elbo": info["test"]["elbo"],
        "test_elbo_standard_error": info["test"]["elbo_standard_error"],
        "test_mse": info["test"]["mse"],
        "test_kl": info["test"]["kl"],
    }


def provenance(run: Run, settings: Geodesic, argv: Sequence[str]) -> dict[str, str]:
    """What is needed to make the numbers again."""
    info = run.info()
    packages = ("jax", "flax", "optax", "orbax-checkpoint", "numpy", "scipy")
    return {
        "identmetric": __version__,
        "command": " ".join(argv),
        "made at": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": f"{info['data']['source']}, shape {tuple(info['data']['shape'])}, {info['data']['test']} test items",
        "data fingerprint": info["data"]["fingerprint"],
        "geodesics": ", ".join(f"{key} = {value}" for key, value in settings.model_dump().items()),
        "packages": ", ".join(f"{name} {version(name)}" for name in packages),
        "device": f"{jax.devices()[0].device_kind}, {platform.platform()}, Python {platform.python_version()}",
        "training configuration": (run.path / "config.toml").read_text(),
    }


def _check_gauge(run: Run, solved: Solved, settings: Geodesic, reporter: Reporter) -> dict[str, Any]:
    with reporter.task(f"{run.name}: other coordinates") as advance:
        found = gauge_check(load_model(run), solved, settings)
        advance(1, 1, "")
    return {"run": run.name, **found}


def _told(advance: Advance) -> Callable[[int, int], None]:
    return lambda done, total: advance(done, total, "")


def _summarise_triples(runs: Sequence[Triples], corners: np.ndarray, counted: np.ndarray) -> list[MeasureSummary]:
    """Measures on triples of the pairs that count."""
    summaries = []
    for name, dispersion in BASELINES.items() if runs else ():
        kept = [each for each in (name, f"{name}_latent") if each in Triples._fields]
        tables = {each: np.stack([getattr(run, each)[counted] for run in runs]) for each in kept}
        if np.isfinite(tables[name]).any():
            summaries += summarise(tables, baseline=kept[-1], endpoints=corners[counted], dispersion=dispersion)
    return summaries


def _triple_rows(
    runs: Sequence[Run], found: Sequence[Triples], triples: np.ndarray, names: Sequence[str]
) -> list[dict[str, Any]]:
    return [
        {
            "run": run.name,
            "at": names[at],
            "b": names[b],
            "c": names[c],
            **{field: _finite(getattr(each, field)[i]) for field in Triples._fields if field != "table"},
        }
        for run, each in zip(runs, found, strict=True)
        for i, (at, b, c) in enumerate(triples)
    ]


def _official(row: dict[str, Any]) -> dict[str, Any]:
    """The column name that the code of Syrota et al. (2025) uses for the length."""
    return {"geolength": row["length"]}


def _write_tables(
    rows: Sequence[dict[str, Any]],
    summaries: Sequence[MeasureSummary],
    pairs: np.ndarray,
    names: Sequence[str],
    output: Path,
) -> dict[str, str]:
    write_text(output / "pairs.csv", to_csv(rows))
    cv_rows = [
        {"a": names[a], "b": names[b], **{f"{each.name}_cv": _finite(each.cv[i]) for each in summaries}}
        for i, (a, b) in enumerate(pairs)
    ]
    write_text(output / "cv.csv", to_csv(cv_rows))
    return {"pairs": str(output / "pairs.csv"), "cv": str(output / "cv.csv")}


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _draw(
    runs: Sequence[Run],
    test: Split,
    solved: Sequence[Solved],
    pairs: np.ndarray,
    summaries: Sequence[MeasureSummary],
    folder: Path,
    *,
    names: Sequence[str],
    reporter: Reporter,
) -> dict[str, str]:
    by_name = {summary.name: summary.cv for summary in summaries}
    kept = np.isfinite(by_name["geodesic_length"]) & np.isfinite(by_name["euclidean_latent"])
    cvs = {name: by_name[name][kept] for name in ("euclidean_latent", "geodesic_length")}
    models = [load_model(run) for run in runs]

    def latent_maps(path: Path) -> None:
        plots.latent_maps(
            [
                {
                    "name": run.name,
                    "labels": test.labels[:MAP_POINTS],
                    **latent_map(as_decoders(model), encode_items(model, test.items[:MAP_POINTS])[0]),
                }
                for run, model in zip(runs[:8], models, strict=False)
            ],
            path,
        )

    def strip(path: Path) -> None:
        longest = int(np.argmax(np.where(solved[0].table.converged, solved[0].table.bound_gap, -1)))
        one = jax.tree.map(lambda field: field[[longest]], solved[0].table)
        draw(models[0], replace(solved[0], pairs=pairs[[longest]], table=one), names, path)

    figures: dict[str, Callable[[Path], None]] = {"latent_maps": latent_maps}
    if kept.any():
        figures["cv_histograms"] = lambda path: plots.cv_histograms(cvs, LABELS, path)
        figures["cv_scatter"] = lambda path: plots.cv_scatter(*cvs.values(), tuple(LABELS[key] for key in cvs), path)
    if pictured(test.items.shape[1:], reporter):
        figures["strip"] = strip
    return drawn(figures, folder, reporter)
