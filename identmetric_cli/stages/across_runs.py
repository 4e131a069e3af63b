"""The same items through several runs: what every run says of them, and how well the runs agree."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from identmetric_cli.analysis import coefficient_of_variation
from identmetric_cli.analysis.variability import standard_deviation
from identmetric_cli.config import Geodesic
from identmetric_cli.errors import InputError
from identmetric_cli.files import write_text
from identmetric_cli.report.tables import plain, to_csv
from identmetric_cli.runs import Run
from identmetric_cli.stages.agreement import agree, table_of
from identmetric_cli.stages.assemble import load_run_data
from identmetric_cli.stages.compare import check_comparable, describe
from identmetric_cli.stages.geodesic import SCHEMA_VERSION, geodesic
from identmetric_cli.stages.inputs import Inputs
from identmetric_cli.stages.reporter import SILENT, Reporter


@dataclass(frozen=True)
class AcrossRuns:
    """One document a run, and what they say together; `as_dict` is the JSON document."""

    schema_version: int
    runs: list[dict[str, Any]]
    pairs: list[dict[str, Any]]
    angles: list[dict[str, Any]]
    volumes: list[dict[str, Any]]
    measures: list[dict[str, Any]]
    evidence: dict[str, int]
    over_data_space: dict[str, Any]
    headline: str
    warnings: list[str]
    files: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Plain values throughout."""
        return asdict(self)


def geodesic_across(
    runs: Sequence[Run],
    inputs: Inputs,
    pairs: np.ndarray,
    settings: Geodesic,
    *,
    output: Path,
    vertices: bool,
    reporter: Reporter = SILENT,
) -> AcrossRuns:
    """Solve the same pairs in every run, each into a folder of its own below `output`, and compare.

    Means and deviations are over the runs in which a pair converged; agreement is over the pairs that converged in
    all. Raises InputError for fewer than two runs, or runs that were trained on different data.
    """
    check_comparable(runs)
    results = [
        geodesic(run, inputs, pairs, settings, output=output / run.name, vertices=vertices, reporter=reporter)
        for run in runs
    ]
    of_runs = [result.pairs for result in results]
    lengths, latents = (_over_runs(table_of(of_runs, column)) for column in ("length", "euclidean_latent"))
    rows = [
        {"a": row["a"], "b": row["b"], **length, "latent_cv": latent["cv"]}
        for row, length, latent in zip(results[0].pairs, lengths, latents, strict=True)
    ]
    test = _test_items(runs[0])
    agreement = agree([describe(run, test) for run in runs], of_runs, pairs)
    files = {"table": str(output / "agreement.csv"), "json": str(output / "agreement.json")}
    found = AcrossRuns(
        schema_version=SCHEMA_VERSION,
        runs=[result.as_dict() for result in results],
        pairs=rows,
        angles=_at_vertices([result.angles for result in results], "between", "degrees"),
        volumes=_at_vertices([result.volumes for result in results], "spanned_by", "volume"),
        **agreement.fields(),
        files=files,
    )
    write_text(output / "agreement.csv", to_csv(rows))
    write_text(output / "agreement.json", json.dumps(found.as_dict(), indent=2, allow_nan=False) + "\n")
    return found


def _test_items(run: Run) -> np.ndarray | None:
    try:
        return load_run_data(run).test.items
    except InputError:
        return None


def _over_runs(table: np.ndarray) -> list[dict[str, Any]]:
    """Number of runs, mean, standard deviation and CV of every column, over the runs that have a value."""
    rows = []
    for column in table.T:
        known = column[np.isfinite(column)]
        several = known[:, None] if len(known) > 1 else np.full((2, 1), np.nan)
        rows.append(
            {
                "runs": len(known),
                "mean": float(known.mean()) if len(known) else None,
                "sd": plain(standard_deviation(several)[0]),
                "cv": plain(coefficient_of_variation(several)[0]),
            }
        )
    return rows


def _at_vertices(runs: Sequence[Sequence[dict[str, Any]]], others: str, value: str) -> list[dict[str, Any]]:
    """Angles or areas, gathered by the places of their items: a run lacks those of what did not converge."""
    known = [{tuple(row["items"]): row for row in rows} for rows in runs]
    corners = sorted({corner for each in known for corner in each})
    if not corners:
        return []
    table = np.array(
        [[each[corner][value] if corner in each else np.nan for corner in corners] for each in known], np.float64
    )
    named = [next(each[corner] for each in known if corner in each) for corner in corners]
    return [
        {"at": row["at"], others: row[others], "items": row["items"], **each}
        for row, each in zip(named, _over_runs(table), strict=True)
    ]
