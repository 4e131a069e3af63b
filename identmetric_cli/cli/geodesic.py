"""identmetric geodesic"""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from identmetric_cli.cli.console import Output, table
from identmetric_cli.cli.options import (
    AllPairs,
    AllRuns,
    CheckGauge,
    DataSource,
    GeometryOptions,
    OutputFolder,
    PairSeed,
    PairsFile,
    RandomPairs,
    RunName,
    RunsDir,
    Strict,
    Yes,
    finished,
    geodesic_settings,
)
from identmetric_cli.errors import CheckFailed, UsageError

if TYPE_CHECKING:
    import numpy as np

    from identmetric_cli.config import Geodesic
    from identmetric_cli.runs import Run
    from identmetric_cli.stages.inputs import Inputs

NAME = "geodesic"
SHOWN = 40
MANY = 2000
"""Geodesics between named items that are solved without `--yes`."""
MOST_VERTICES = 40
"""Items of which angles and areas are told: there are 29,640 of each, and they grow with the third power."""


def command(
    out: Output,
    inputs: Annotated[
        list[str] | None, typer.Argument(help="Two items or more: images, .npy/.npz files, or test:17.")
    ] = None,
    run: RunName = None,
    runs_dir: RunsDir = Path("runs"),
    runs: AllRuns = None,
    data: DataSource = None,
    output: OutputFolder = Path("geodesics"),
    pairs: PairsFile = None,
    random_pairs: RandomPairs = None,
    pair_seed: PairSeed = 101,
    all_pairs: AllPairs = None,
    yes: Yes = False,
    check_gauge: CheckGauge = False,
    strict: Strict = False,
    *,
    geometry: GeometryOptions,
) -> None:
    """Find geodesics between items, and say how far to trust each.

    With three items or more: all pairs, the angle at every vertex and the areas spanned (of up to 40 items).

    Lengths are in units of the data. Example: identmetric geodesic a.png b.png

    With --runs, every run answers. Example: identmetric geodesic a.png b.png --runs runs
    """
    from identmetric_cli.report.tables import caveats
    from identmetric_cli.runs import find_run
    from identmetric_cli.stages.across_runs import geodesic_across
    from identmetric_cli.stages.geodesic import geodesic

    ways = [bool(inputs), pairs is not None, random_pairs is not None, all_pairs is not None]
    if sum(ways) != 1:
        raise UsageError(
            "name items, or give one of --pairs, --random-pairs and --all-pairs",
            "e.g. identmetric geodesic a.png b.png",
        )
    if runs is not None and (run is not None or check_gauge):
        raise UsageError("--runs excludes --run and --check-gauge", "leave out one of them")
    everyone = finished(runs, out, data) if runs is not None else [find_run(run, runs_dir, data)]
    found = everyone[0]
    settings = geodesic_settings(found.config().geodesic, geometry)
    chosen, wanted = _question(found, out, inputs, pairs, random_pairs, pair_seed, all_pairs)
    if inputs and not yes:
        _refuse_many(everyone, chosen.items, wanted, settings)
    if inputs and len(chosen.items) > MOST_VERTICES:
        out.note(f"angles and areas are told of up to {MOST_VERTICES} items, not of {len(chosen.items)}")
    common = {"output": output, "vertices": bool(inputs) and 2 < len(chosen.items) <= MOST_VERTICES, "reporter": out}
    following = [f"identmetric compare {found.path.parent}"]
    if runs is not None:
        result = geodesic_across(everyone, chosen, wanted, settings, **common)
        out.result(result.as_dict(), lambda console: _show_runs(console, result), following=following)
        warnings = result.warnings
    else:
        result = geodesic(found, chosen, wanted, settings, gauge=check_gauge, **common)
        out.result(result.as_dict(), lambda console: _show(console, result), following=following)
        warnings = caveats(result.pairs)
    for warning in warnings:
        out.warn(warning)
    if strict and warnings:
        raise CheckFailed(f"{len(warnings)} warnings stand", "; ".join(warnings))


def _question(
    run: "Run",
    out: Output,
    inputs: list[str] | None,
    pairs: Path | None,
    random_pairs: int | None,
    pair_seed: int,
    all_pairs: int | None,
) -> "tuple[Inputs, np.ndarray]":
    """The items that are named, or all test items, and the pairs of them that are asked for."""
    from identmetric_cli.stages import pairs as asked
    from identmetric_cli.stages.assemble import load_run_data
    from identmetric_cli.stages.inputs import Inputs, read_inputs
    from identmetric_cli.stages.pairs_file import read_pairs

    if inputs:
        chosen = read_inputs(run, inputs, out)
        return chosen, asked.all_pairs(len(chosen.items))
    test = load_run_data(run).test
    chosen = Inputs(test.items, [f"test:{i}" for i in range(len(test))], list(test.labels))
    if pairs is not None:
        return chosen, read_pairs(pairs, len(test), out)
    if random_pairs is not None:
        return chosen, asked.draw_pairs(len(test), random_pairs, pair_seed)
    return chosen, asked.all_pairs(min(all_pairs, len(test)))


def _show(console: Console, result) -> None:
    from identmetric_cli.report.tables import number

    how = f"{result.estimator} metric, {result.nodes} segments, {result.dtype}{_ends(result.pairs)}"
    console.print(Text(f"run {result.run}, {how}"))
    columns = ["pair", "length", "straight", "chord", "latent", "status", "its", "gradient", "n to 2n", "gap"]
    rows = [
        [
            f"{row['a']}  {row['b']}",
            number(row["length"]),
            number(row["straight_length"]),
            number(row["chord"]),
            number(row["euclidean_latent"]),
            row["status"],
            str(row["iterations"]),
            number(row["gradient"], 2),
            number(row["refinement"], 2),
            "yes" if row["crosses_gap"] else "no",
        ]
        for row in result.pairs[:SHOWN]
    ]
    console.print(table(columns, rows))
    if len(result.pairs) > SHOWN:
        console.print(Text(f"... and {len(result.pairs) - SHOWN} more in {result.files['table']}"))
    if result.angles:
        rows = [
            [angle["at"], "  ".join(angle["between"]), f"{angle['degrees']:.1f}", number(spanned["volume"])]
            for angle, spanned in zip(result.angles[:SHOWN], result.volumes, strict=False)
        ]
        console.print()
        console.print(table(["at", "between", "angle (degrees)", "area spanned"], rows))
    if result.gauge:
        from identmetric_cli.report.tables import gauge_sentence

        console.print()
        console.print(Text(gauge_sentence(result.gauge)))
    console.print()
    for name, path in result.files.items():
        console.print(Text(f"{name:7} {path}"))


def _show_runs(console: Console, result) -> None:
    from identmetric_cli.report.tables import interval, number

    first = result.runs[0]
    console.print(
        Text(
            f"{len(result.runs)} runs, {first['estimator']} metric, {first['nodes']} segments, {first['dtype']}"
            f"{_ends(first['pairs'])}; SD and CV are over runs"
        )
    )
    rows = [
        [f"{row['a']}  {row['b']}", *_spread(row), number(row["cv"]), number(row["latent_cv"]), str(row["runs"])]
        for row in result.pairs[:SHOWN]
    ]
    console.print(table(["pair", "length", "SD", "CV", "latent CV", "runs"], rows))
    if len(result.pairs) > SHOWN:
        console.print(Text(f"... and {len(result.pairs) - SHOWN} more in {result.files['table']}"))
    if result.angles:
        rows = [
            [angle["at"], "  ".join(angle["between"]), *_spread(angle), *_spread(area)]
            for angle, area in zip(result.angles[:SHOWN], result.volumes, strict=False)
        ]
        console.print()
        console.print(table(["at", "between", "angle (degrees)", "SD", "area spanned", "SD"], rows))
    if len(result.pairs) > 2:
        rows = [
            [
                each["label"],
                *(number(each[key]) for key in ("mean_cv", "cv_ratio")),
                interval(each["cv_ratio_ci95"]),
                *(number(each[key]) for key in ("icc_a1", "icc_c1", "spearman")),
            ]
            for each in result.measures
        ]
        console.print()
        columns = ["measure", "mean CV", "ratio", "95 % interval", "ICC(A,1)", "ICC(C,1)", "Spearman"]
        console.print(table(columns, rows))
        console.print(Text(result.headline))
    console.print()
    for name, path in result.files.items():
        console.print(Text(f"{name:7} {path}"))


def _refuse_many(runs: "list[Run]", items: "np.ndarray", pairs: "np.ndarray", settings: "Geodesic") -> None:
    """Raise UsageError that says how many pairs there are, and how long they take, where they are over `MANY`."""
    from identmetric_cli.stages.estimate import estimated_seconds

    if len(pairs) <= MANY:
        return
    seconds = len(runs) * estimated_seconds(runs[0], items, pairs, settings)
    in_runs = f" in each of {len(runs)} runs" if len(runs) > 1 else ""
    raise UsageError(
        f"{len(items)} items make {len(pairs)} geodesics{in_runs}, about {_duration(seconds)} on this machine",
        "add --yes to solve them all, name fewer items, or draw pairs of test items: "
        f"identmetric geodesic --random-pairs 100 --run {shlex.quote(str(runs[0].path))}",
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def _ends(rows: list[dict]) -> str:
    return ", refined ends" if rows[0]["refined_ends"] else ""


def _spread(row: dict) -> list[str]:
    from identmetric_cli.report.tables import number

    return [number(row["mean"]), number(row["sd"], 2)]
