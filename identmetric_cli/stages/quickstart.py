"""The whole story in one call: three small ensembles on built-in MNIST, geodesics between digits, a comparison.

What is there already is used again, so a quickstart that was interrupted goes on where it stopped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from identmetric_cli.config import load
from identmetric_cli.runs import Run
from identmetric_cli.stages.assemble import build_data
from identmetric_cli.stages.compare import CompareResult, compare
from identmetric_cli.stages.export import export
from identmetric_cli.stages.geodesic import GeodesicResult, geodesic
from identmetric_cli.stages.inputs import read_inputs
from identmetric_cli.stages.pairs import all_pairs, draw_pairs
from identmetric_cli.stages.reporter import SILENT, Reporter
from identmetric_cli.stages.train import StopRequest, train

SEEDS = (0, 1, 2)
SAMPLES = 8
PAIRS = 50
PAIR_SEED = 101


@dataclass(frozen=True)
class QuickstartResult:
    """What a quickstart made."""

    runs: list[str]
    samples: list[str]
    geodesics: GeodesicResult
    comparison: CompareResult


def quickstart(
    folder: Path, *, argv: Sequence[str], reporter: Reporter = SILENT, stop: StopRequest | None = None
) -> QuickstartResult:
    """Train, export samples, find geodesics and compare, all under `folder`."""
    config = load("quickstart")
    runs = [Run(folder / "runs" / f"quickstart-s{seed}") for seed in SEEDS]
    for seed, run in zip(SEEDS, runs, strict=True):
        train(config, seed, run, resume=True, argv=argv, reporter=reporter, stop=stop)
    samples = [str(path) for path in export(build_data(config), "test", SAMPLES, folder / "samples")]
    inputs = read_inputs(runs[0], samples[:4], reporter)
    found = geodesic(
        runs[0],
        inputs,
        all_pairs(len(inputs.items)),
        config.geodesic,
        output=folder / "geodesics",
        vertices=True,
        reporter=reporter,
    )
    compared = compare(
        runs,
        lambda size: draw_pairs(size, PAIRS, PAIR_SEED),
        config.geodesic,
        pair_seed=PAIR_SEED,
        output=folder / "comparison",
        argv=argv,
        reporter=reporter,
    )
    return QuickstartResult([str(run.path) for run in runs], samples, found, compared)
