"""What several runs say together of the same pairs: measures, verdicts, warnings, and one headline."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from identmetric_cli.analysis import (
    FIXED,
    Evidence,
    MeasureSummary,
    OverDataSpace,
    distinct,
    over_data_space,
    scale_normalised,
    summarise,
    unequal_fit,
)
from identmetric_cli.report.headline import headline
from identmetric_cli.report.tables import IDLE, caveats

LABELS = {
    "geodesic_length": "geodesic length",
    "euclidean_latent": "latent Euclid",
    "euclidean_latent_scaled": "latent Euclid, scaled",
    "euclidean_decoded": "decoded ends",
    "euclidean_ambient": "data space (no model)",
    "angle": "angle",
    "angle_latent": "latent angle",
    "volume": "area",
    "volume_latent": "latent area",
    "curvature": "sectional curvature",
}
COLUMNS = {
    "geodesic_length": "length",
    "euclidean_latent": "euclidean_latent",
    "euclidean_decoded": "chord",
    "euclidean_ambient": "euclidean_ambient",
}
"""Measures on pairs and the columns of rows that hold them."""


@dataclass(frozen=True)
class Agreement:
    """Measures, what they rest on, and what to say of them."""

    on_pairs: list[MeasureSummary]
    """columns are the distinct pairs"""
    on_triples: list[MeasureSummary]
    evidence: Evidence
    over_data_space: OverDataSpace
    warnings: list[str]
    headline: str

    def fields(self) -> dict[str, Any]:
        """Plain values, as JSON documents have them at their top level."""
        return {
            "measures": [{"label": LABELS[each.name], **each.as_dict()} for each in self.on_pairs + self.on_triples],
            "evidence": asdict(self.evidence),
            "over_data_space": asdict(self.over_data_space),
            "warnings": self.warnings,
            "headline": self.headline,
        }


def agree(
    runs: Sequence[dict[str, Any]],
    rows: Sequence[Sequence[dict[str, Any]]],
    pairs: np.ndarray,
    on_triples: Sequence[MeasureSummary] = (),
) -> Agreement:
    """Compare described runs on `rows`, for every run one a pair; all measures are those of rows that converged.

    Pairs that repeat another or have but one item are in the tables, and no evidence.
    """
    counted = distinct(pairs)
    tables = {name: table_of(rows, column)[:, counted] for name, column in COLUMNS.items()}
    scaled = {"euclidean_latent_scaled": scale_normalised(tables["euclidean_latent"])}
    tables = {name: (tables | scaled)[name] for name in LABELS if name in tables | scaled}
    on_pairs = summarise(tables, endpoints=pairs[counted])
    evidence = Evidence(len(runs), len(pairs), int(counted.sum()), on_pairs[0].pairs)
    over = over_data_space(
        tables["geodesic_length"],
        tables["euclidean_decoded"],
        np.array([row["euclidean_ambient"] for row in rows[0]], np.float64)[counted],
    )
    unequal = unequal_fit(
        [run["test_elbo"] for run in runs],
        [run["test_elbo_standard_error"] for run in runs],
        [run["name"] for run in runs],
    )
    warnings = [
        *([unequal] if unequal else []),
        *_of_runs(runs),
        *caveats([row for each in rows for row in each]),
        *_of_pairs(counted),
        *_of_measures([*on_pairs, *on_triples]),
    ]
    return Agreement(
        on_pairs, list(on_triples), evidence, over, warnings, headline(on_pairs, evidence, over, unequal)
    )


def table_of(rows: Sequence[Sequence[dict[str, Any]]], column: str) -> np.ndarray:
    """Values of converged rows, (runs, pairs); not a number elsewhere."""
    return np.array(
        [[row[column] if row["status"] == "converged" else np.nan for row in each] for each in rows], np.float64
    )


def _of_pairs(counted: np.ndarray) -> list[str]:
    if counted.all():
        return []
    return [
        f"{np.sum(~counted)} of {len(counted)} pairs repeat another or have but one item: statistics leave them out"
    ]


def _of_runs(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Where runs differ in what they are, and where they have latent dimensions that say nothing."""
    warnings = [
        f"the runs differ in model.{key}: {', '.join(str(run[key]) for run in runs)}"
        for key in ("latent_dim", "decoders")
        if len({run[key] for run in runs}) > 1
    ]
    wide = [run for run in runs if run["latent_dim"] > run["item_values"]]
    if wide:
        warnings.append(
            f"{wide[0]['latent_dim']} latent dimensions for items of {wide[0]['item_values']} values: some must "
            f"change nothing, and {IDLE}; train with a model.latent_dim below {wide[0]['item_values']}"
        )
    dead = [f"{run['dead_latents']} of {run['latent_dim']} in {run['name']}" for run in runs if run["dead_latents"]]
    if dead:
        warnings.append(
            f"dead latent dimensions (posterior mean with a variance below .01 over test items): {', '.join(dead)}; "
            f"{IDLE}"
        )
    return warnings


def _of_measures(summaries: Sequence[MeasureSummary]) -> list[str]:
    """Each warning once, with the measures that it is about; what no model can change needs none."""
    varying = [each for each in summaries if FIXED not in each.warnings]
    concerned: dict[str, list[str]] = {}
    for summary in summaries:
        for text in summary.warnings if summary.name != "euclidean_ambient" else ():
            concerned.setdefault(text, []).append(LABELS[summary.name])
    return [
        text if len(labels) == len(varying) else f"{', '.join(labels)}: {text}" for text, labels in concerned.items()
    ]
