"""Options that several commands share, and the decorator that gives every command the common ones."""

import functools
import inspect
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from identmetric_cli.cli.console import Output

if TYPE_CHECKING:
    from identmetric_cli.config import Geodesic

RunsDir = Annotated[Path, typer.Option("--runs-dir", help="Folder that holds the runs.")]
RunName = Annotated[
    str | None, typer.Option("--run", help="Run directory, or its name under the runs folder. (default: newest)")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the configuration; may be repeated."),
]
OutputFolder = Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")]
RandomPairs = Annotated[int | None, typer.Option("--random-pairs", min=1, help="Draw this many pairs of test items.")]
PairSeed = Annotated[int, typer.Option("--pair-seed", min=0, max=2**32 - 1, help="Seed of the drawn pairs.")]
PairsFile = Annotated[Path | None, typer.Option("--pairs", help="CSV file with two test indices a row.")]
AllPairs = Annotated[int | None, typer.Option("--all-pairs", min=2, help="All pairs of the first N test items.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit with 4 when a pair did not converge or a warning stands.")
]

GEOMETRY = "Geometry"


class Estimator(StrEnum):
    """Metrics of an ensemble."""

    expected = "expected"
    mean = "mean"


class DtypeName(StrEnum):
    """Precisions of the solver."""

    float32 = "float32"
    float64 = "float64"


EstimatorOption = Annotated[
    Estimator | None, typer.Option(help="Metric of the ensemble. (default: the run's)", rich_help_panel=GEOMETRY)
]
Nodes = Annotated[
    int | None,
    typer.Option(min=4, max=4096, help="Segments of a curve. (default: the run's)", rich_help_panel=GEOMETRY),
]
MaxIter = Annotated[
    int | None,
    typer.Option(min=1, help="Evaluations per pair and grid. (default: the run's)", rich_help_panel=GEOMETRY),
]
Rtol = Annotated[
    float | None,
    typer.Option(help="Share of the energy that may still be gained. (default: the run's)", rich_help_panel=GEOMETRY),
]
Dtype = Annotated[
    DtypeName | None, typer.Option(help="Precision while solving. (default: the run's)", rich_help_panel=GEOMETRY)
]
BatchSize = Annotated[
    int | None, typer.Option(min=1, help="Pairs solved side by side. (default: the run's)", rich_help_panel=GEOMETRY)
]

COMMON = "Common"
_COMMON_OPTIONS = {
    "json": Annotated[bool, typer.Option("--json", help="One JSON document on stdout.", rich_help_panel=COMMON)],
    "quiet": Annotated[bool, typer.Option("--quiet", "-q", help="Results and errors only.", rich_help_panel=COMMON)],
    "verbose": Annotated[bool, typer.Option("--verbose", "-v", help="More notes.", rich_help_panel=COMMON)],
    "no_color": Annotated[bool, typer.Option("--no-color", help="No colours.", rich_help_panel=COMMON)],
    "debug": Annotated[bool, typer.Option("--debug", help="Tracebacks of errors.", rich_help_panel=COMMON)],
}


def with_output(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--json`, `--quiet`, `--verbose`, `--no-color` and `--debug`, its first argument made of them.

    What the command raises is told to the user and turned into an exit code.
    """
    hints = get_type_hints(command, include_extras=True)
    own = [
        parameter.replace(annotation=hints[name])
        for name, parameter in list(inspect.signature(command).parameters.items())[1:]
    ]
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
        for name, annotation in _COMMON_OPTIONS.items()
    ]

    @functools.wraps(command)
    def wrapped(**arguments: Any) -> None:
        out = Output(**{name: arguments.pop(name) for name in _COMMON_OPTIONS})
        with out.guarded():
            command(out, **arguments)

    wrapped.__signature__ = inspect.Signature(
        [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own] + common
    )
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *common]}
    del wrapped.__wrapped__
    return wrapped


def geodesic_settings(base: "Geodesic", **given: Any) -> "Geodesic":
    """The run's geodesic settings with the options that were given; raises UsageError on a value out of range."""
    from identmetric_cli.config import validate

    changed = {key: value for key, value in given.items() if value is not None}
    values = {**base.model_dump(), **{key: str(v) if isinstance(v, StrEnum) else v for key, v in changed.items()}}
    return validate({"geodesic": values}, "options").geodesic
