"""identmetric encode"""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from identmetric_cli.cli.console import Output
from identmetric_cli.cli.options import DataSource, RunName, RunsDir

NAME = "encode"


def command(
    out: Output,
    inputs: Annotated[
        list[str] | None, typer.Argument(help="Images, .npy or .npz files, or items of a split (test:17).")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, .npz or .csv.")] = Path(
        "latents.npz"
    ),
    split: Annotated[str | None, typer.Option(help="Encode a whole split: train, validation or test.")] = None,
    run: RunName = None,
    runs_dir: RunsDir = Path("runs"),
    data: DataSource = None,
) -> None:
    """Map data to latents: posterior means and variances, with ids and labels."""
    from identmetric_cli.runs import find_run
    from identmetric_cli.stages.encode import encode

    result = encode(find_run(run, runs_dir, data), inputs or [], split=split, output=output, reporter=out)
    out.result(
        {"schema_version": 1, **vars(result)},
        lambda console: console.print(
            Text(f"{result.items} items, {result.latent_dim} latent dimensions: {result.output}")
        ),
        following=[],
    )
