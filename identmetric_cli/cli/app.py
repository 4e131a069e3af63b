"""The program: one Typer application, one command a module. Nothing heavy is imported before a command runs."""

import os
import sys
from typing import Annotated

import typer

from identmetric_cli import __version__
from identmetric_cli.cli import compare, config, data, doctor, encode, geodesic, quickstart, train
from identmetric_cli.cli.options import with_output

app = typer.Typer(
    name="identmetric",
    help="Which relations between data points survive retraining a deep latent variable model?\n\n"
    "Train VAEs with an ensemble of decoders, find geodesics under the metric that the decoders pull back from data "
    "space, and compare retrainings. Start with [bold]identmetric quickstart[/bold].",
    rich_markup_mode="rich",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        print(f"identmetric {__version__}")
        raise typer.Exit()


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


for module in (quickstart, train, encode, geodesic, compare):
    app.command(module.NAME)(with_output(module.command))
app.add_typer(data.app, name="data")
app.add_typer(config.app, name="config")
app.command(doctor.NAME)(with_output(doctor.command))


# JAX reads these from the environment, where they would change numbers without a word. Double precision is an option.
NUMERICS = {
    "JAX_ENABLE_X64": "0",
    "JAX_NUMPY_DTYPE_PROMOTION": "standard",
    "JAX_DEFAULT_PRNG_IMPL": "threefry2x32",
    "JAX_THREEFRY_PARTITIONABLE": "1",
    "JAX_RANDOM_SEED_OFFSET": "0",
}


def main() -> None:
    """Entry point of the console script."""
    # The allocator keeps most of a GPU for one process by default; the solver needs little, and others may need it.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.update(NUMERICS)
    sys.exit(app())
