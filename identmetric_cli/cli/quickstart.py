"""identmetric quickstart"""

import sys
from pathlib import Path

from identmetric_cli.cli import compare as compare_command
from identmetric_cli.cli.console import Output
from identmetric_cli.cli.options import OutputFolder
from identmetric_cli.cli.train import stopping

NAME = "quickstart"


def command(out: Output, output: OutputFolder = Path("quickstart")) -> None:
    """The whole story on built-in MNIST in a few minutes: train, export, geodesics, compare, report."""
    from identmetric_cli.stages.quickstart import quickstart
    from identmetric_cli.stages.train import StopRequest

    stop = StopRequest()
    with stopping(stop):
        result = quickstart(output, argv=["identmetric", *sys.argv[1:]], reporter=out, stop=stop)
    for warning in result.comparison.warnings:
        out.warn(warning)
    a, b, *_ = result.samples
    runs = output / "runs"
    out.result(
        {
            "schema_version": 1,
            "runs": result.runs,
            "samples": result.samples,
            "geodesics": result.geodesics.as_dict(),
            "comparison": result.comparison.as_dict(),
        },
        lambda console: compare_command.show(console, result.comparison),
        following=[
            f"identmetric geodesic {a} {b} --runs-dir {runs}",
            f"identmetric encode --split test --runs-dir {runs} -o latents.csv",
            "identmetric train mnist --seeds 0-4",
            "identmetric compare runs",
        ],
    )
