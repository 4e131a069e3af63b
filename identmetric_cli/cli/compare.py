"""identmetric compare"""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from identmetric_cli.cli.console import Output, table
from identmetric_cli.cli.options import (
    CheckGauge,
    DataSource,
    GeometryOptions,
    OutputFolder,
    PairSeed,
    PairsFile,
    RandomPairs,
    Strict,
    finished,
    geodesic_settings,
)
from identmetric_cli.errors import CheckFailed, UsageError

NAME = "compare"
SCORES = {"test_elbo": 5, "test_elbo_standard_error": 2, "test_mse": 3}
"""Scores of runs that are shown, and their significant digits."""


def command(
    out: Output,
    runs: Annotated[Path, typer.Argument(help="Folder that holds the runs.")],
    random_pairs: RandomPairs = None,
    pair_seed: PairSeed = 101,
    pairs: PairsFile = None,
    triples: Annotated[
        int, typer.Option("--random-triples", min=0, help="Triples for angles, areas and curvatures.")
    ] = 50,
    data: DataSource = None,
    output: OutputFolder = Path("comparison"),
    check_gauge: CheckGauge = False,
    strict: Strict = False,
    *,
    geometry: GeometryOptions,
) -> None:
    """Tell which relations between test items survive retraining, with a report.

    The same pairs (100 by default) go through every finished run of the folder.

    What a run has answered is kept in its directory and used again. Example: identmetric compare runs
    """
    from identmetric_cli.stages.compare import compare
    from identmetric_cli.stages.pairs import draw_pairs
    from identmetric_cli.stages.pairs_file import read_pairs

    if pairs is not None and random_pairs is not None:
        raise UsageError("--pairs and --random-pairs exclude each other")
    found = finished(runs, out, data)
    settings = geodesic_settings(found[0].config().geodesic, geometry)
    result = compare(
        found,
        lambda size: (
            read_pairs(pairs, size, out) if pairs else draw_pairs(size, random_pairs or min(100, size), pair_seed)
        ),
        settings,
        pair_seed=None if pairs else pair_seed,
        triples=triples,
        gauge=check_gauge,
        output=output,
        argv=["identmetric", *sys.argv[1:]],
        reporter=out,
    )
    for warning in result.warnings:
        out.warn(warning)
    out.result(result.as_dict(), lambda console: show(console, result), following=[])
    if strict and result.warnings:
        raise CheckFailed(f"{len(result.warnings)} warnings stand", "see them above and in the report")


def show(console: Console, result) -> None:
    """The table of measures, the runs, and where the report is."""
    from identmetric_cli.report.html import ON_TRIPLES
    from identmetric_cli.report.tables import gauge_sentence, interval, number, over_sentence, plural

    rows = [
        [
            measure["label"],
            number(measure["mean"]),
            number(measure["mean_cv"]),
            number(measure["cv_ratio"]),
            interval(measure["cv_ratio_ci95"]),
            number(measure["icc_a1"]),
            number(measure["spearman"]),
        ]
        for measure in result.measures
        if measure["name"] not in ON_TRIPLES
    ]
    columns = ["measure", "mean", "mean CV", "ratio", "95 % interval", "ICC(A,1)", "Spearman"]
    console.print(
        Text(
            f"{plural(len(result.runs), 'run')}, {plural(result.pairs, 'pair')}, {result.estimator} metric, "
            f"{result.nodes} segments, {result.dtype}{', refined ends' if result.refine_endpoints else ''}"
        )
    )
    console.print(table(columns, rows))
    console.print(
        Text("ratio: to latent Euclid; data space: the same in every run by construction, so its CV of 0 is no merit")
    )
    console.print(Text(over_sentence(result.over_data_space)))
    rows = [
        [
            measure["label"],
            ON_TRIPLES[measure["name"]],
            number(measure["mean"]),
            number(measure["mean_sd"]),
            number(measure["cv_ratio"]) if measure["name"] != "curvature" else "–",
            interval(measure["cv_ratio_ci95"]),
            number(measure["icc_a1"]),
            number(measure["spearman"]),
        ]
        for measure in result.measures
        if measure["name"] in ON_TRIPLES
    ]
    if rows:
        console.print()
        console.print(Text(f"{plural(result.triples, 'triple')}; the ratio is to the latent one"))
        columns = ["measure", "unit", "mean", "mean SD", "ratio", "95 % interval", "ICC(A,1)", "Spearman"]
        console.print(table(columns, rows))
    console.print()
    runs = [
        [
            run["name"],
            number(run["test_elbo"], 5),
            number(run["test_elbo_standard_error"], 2),
            number(run["test_mse"]),
        ]
        for run in result.runs
    ]
    console.print(table(["run", "test ELBO", "SE", "test MSE"], runs))
    console.print()
    console.print(Text(result.headline))
    if result.gauge:
        console.print(Text(gauge_sentence(result.gauge)))
    console.print(Text(f"report  {result.files['report']}"))
