"""Rows: the one source of what the terminal, CSV, JSON and HTML show. A value that is not a number is left empty."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from identmetric_cli.config import Geodesic
from identmetric_cli.geometry import Estimator, GeodesicTable, Status
from identmetric_cli.geometry.refine import RTOL

Row = dict[str, Any]
COARSE = 0.01
ROUNDING = 10
"""Singular values are roots of eigenvalues of a metric: they round at the root of the precision, and some."""
IDLE = "latent distances, areas and curvature along directions that change nothing are not relations of the data"


def pair_rows(
    table: GeodesicTable,
    pairs: np.ndarray,
    names: Sequence[str],
    settings: Geodesic,
    end_gain: np.ndarray,
    items: np.ndarray | None = None,
) -> list[Row]:
    """One row a pair: ends, measures, status and certificates. `items` adds the distance in data space.

    `end_gain` says of every item how much more refinement promises of its end.
    """
    rows = []
    for i, (a, b) in enumerate(pairs):
        ambient = None if items is None else float(np.linalg.norm(items[a] - items[b]))
        row: Row = {
            "a": names[a],
            "b": names[b],
            "length": table.length[i],
            "energy": table.energy[i],
            "euclidean_latent": table.euclidean_latent[i],
            "euclidean_ambient": ambient,
            "euclidean_decoded": table.chord[i],
            "status": Status(int(table.status[i])).name,
            "iterations": int(table.iterations[i]),
            "chord": table.chord[i],
            "bound_gap": table.bound_gap[i],
            "speed_gap": table.speed_gap[i],
            "gradient": table.gradient[i],
            "refinement": table.refinement[i],
            "start_spread": table.start_spread[i],
            "smallest_singular_value": table.smallest_singular_value[i],
            "disagreement": table.disagreement[i],
            "disagreement_ratio": table.disagreement_ratio[i],
            "crosses_gap": bool(table.crosses_gap[i]),
            "straight_length": table.straight_length[i],
            "straight_energy": table.straight_energy[i],
            "nodes": settings.nodes,
            "estimator": settings.estimator,
            "solver": settings.solver,
            "curve": settings.curve,
            "starts": settings.starts,
            "refined_ends": settings.refine_endpoints,
            "end_gain": max(end_gain[a], end_gain[b]),
            "dtype": settings.dtype,
        }
        if row["status"] in ("nonfinite", "degenerate"):
            row |= dict.fromkeys(("length", "energy", "bound_gap", "speed_gap", "gradient", "refinement"))
        rows.append({key: plain(value) for key, value in row.items()})
    return rows


def plain(value: Any) -> Any:
    """A plain Python value; None for what is not a finite number."""
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV: floats with all their digits, empty cells for None, text that no spreadsheet runs as a formula."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value)
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def count_statuses(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many rows carry each status, most frequent first."""
    statuses = [row["status"] for row in rows]
    return {status: statuses.count(status) for status in sorted(set(statuses), key=statuses.count, reverse=True)}


def caveats(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What to say of rows that did not converge, and of what the others show of curves, ends, gaps and latents."""
    failed = [row for row in rows if row["status"] != "converged"]
    known = [row for row in rows if row["status"] == "converged"]
    said = []
    if failed:
        counts = ", ".join(f"{count} {status}" for status, count in count_statuses(failed).items())
        said.append(
            f"{len(failed)} of {len(rows)} geodesics did not converge and are no answers: {counts} (column status); "
            "more --max-iter helps where that is the reason"
        )
    changing = [row for row in known if row["refinement"] is None or row["refinement"] > COARSE]
    if changing and Estimator(rows[0]["estimator"]).is_metric:
        said.append(
            f"{len(changing)} of {len(rows)} lengths change by over {COARSE:.0%} on {2 * rows[0]['nodes']} segments: "
            "try more --nodes"
        )
    restless = [row for row in known if row["end_gain"] is not None and row["end_gain"] > RTOL]
    if restless:
        said.append(
            f"{len(restless)} of {len(rows)} pairs have an end that did not come to rest (column end_gain): where "
            "decoders hardly depend on their latents, ends are not defined; try --no-refine-endpoints"
        )
    crossing = [row for row in known if row["crosses_gap"]]
    if crossing:
        said.append(
            f"{len(crossing)} of {len(rows)} curves pass where the decoders disagree more than at any training item "
            "(column crosses_gap): there the data say little about their lengths"
        )
    idle = [row for row in known if _has_idle_direction(row)]
    if idle:
        said.append(
            f"{len(idle)} of {len(rows)} curves meet a latent direction that changes nothing (column "
            f"smallest_singular_value): {IDLE}; train with a smaller model.latent_dim"
        )
    return said


def _has_idle_direction(row: Mapping[str, Any]) -> bool:
    """The smallest stretch of a latent direction is rounding, against what a latent unit moves the data by here."""
    least, latent = row["smallest_singular_value"], row["euclidean_latent"]
    if least is None or not latent:
        return False
    return least * latent <= ROUNDING * np.sqrt(np.finfo(row["dtype"]).eps) * row["length"]


def gauge_sentence(gauge: Mapping[str, Any]) -> str:
    """What a check of the gauge found, in one sentence."""
    names = {"distance": "distance", "angle": "angle", "volume": "area", "curvature": "curvature"}
    parts = [f"{label} {number(gauge[name], 2)}" for name, label in names.items()]
    return (
        f"In other latent coordinates ({gauge['solved']} of {gauge['asked']} geodesics solved, {gauge['dtype']}) the "
        f"largest relative changes are: {', '.join(parts)}; of latent Euclidean distance "
        f"{number(gauge['euclidean_latent'], 2)}."
    )


def over_sentence(over: Mapping[str, Any]) -> str:
    """What lengths have over plain distances, in one line."""
    ratio = over["length_over_chord"]
    return (
        f"{plural(over['pairs'], 'pair')}: median length / chord {'–' if ratio is None else f'{ratio:.3f}'}, rank "
        f"correlation of lengths with data space {number(over['spearman_ambient'])}, with decoded ends "
        f"{number(over['spearman_decoded'])}"
    )


def plural(count: int, noun: str) -> str:
    """How many there are of something."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def interval(ends: Sequence[float] | None) -> str:
    """An interval for people; a dash for none."""
    return "–" if ends is None else f"{number(ends[0])} to {number(ends[1])}"


def number(value: float | None, digits: int = 3) -> str:
    """A number for people: `digits` significant ones; a dash for what is missing."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    if abs(value) < 1e-3 or abs(value) >= 1e5:
        return f"{value:.{max(digits - 2, 0)}e}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"
