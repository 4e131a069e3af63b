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
    from identmetric_cli.runs import Run

RunsDir = Annotated[Path, typer.Option("--runs-dir", help="Folder that holds the runs.")]
RunName = Annotated[
    str | None, typer.Option("--run", help="Run directory, or its name under the runs folder. (default: newest)")
]
DataSource = Annotated[
    str | None, typer.Option("--data", metavar="PATH", help="Where the data of the runs are now, if they have moved.")
]
AllRuns = Annotated[
    Path | None, typer.Option("--runs", help="Ask every finished run of this folder, and tell how well they agree.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the configuration; may be repeated."),
]
OutputFolder = Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")]
RandomPairs = Annotated[int | None, typer.Option("--random-pairs", min=1, help="Draw this many pairs of test items.")]
PairSeed = Annotated[int, typer.Option("--pair-seed", min=0, max=2**32 - 1, help="Seed of the drawn pairs.")]
PairsFile = Annotated[
    Path | None, typer.Option("--pairs", help="CSV file, two test items a row: 3,8 or test:3,test:8.")
]
AllPairs = Annotated[int | None, typer.Option("--all-pairs", min=2, help="All pairs of the first N test items.")]
Yes = Annotated[bool, typer.Option("--yes", help="Solve however many geodesics the named items make.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit with 4 when a pair did not converge or a warning stands.")
]

CheckGauge = Annotated[
    bool, typer.Option("--check-gauge", help="Recompute some geometry in other latent coordinates: does it hold?")
]

GEOMETRY = "Geometry (default: the run's)"


class Estimator(StrEnum):
    """What a step between decoded nodes costs."""

    expected = "expected"
    conformal = "conformal"
    mean = "mean"
    independent = "independent"
    paper = "paper"


class Solver(StrEnum):
    """How geodesics are found."""

    lbfgs = "lbfgs"
    georce = "georce"
    adam = "adam"


class Curve(StrEnum):
    """Families of curves."""

    modes = "modes"
    spline = "spline"


class DtypeName(StrEnum):
    """Precisions of the solver."""

    float32 = "float32"
    float64 = "float64"


def _geometry(kind: type, help: str, **limits: Any) -> Any:
    option = typer.Option(help=help, rich_help_panel=GEOMETRY, **limits)
    return Annotated[kind | None, option]


_GEOMETRY_OPTIONS = {
    "config": _geometry(str, "Preset or TOML file to take these options from, e.g. paper_geodesic."),
    "estimator": _geometry(Estimator, "What makes a length of an ensemble."),
    "solver": _geometry(Solver, "How curves are found."),
    "curve": _geometry(Curve, "Family of curves."),
    "nodes": _geometry(int, "Segments of a curve.", min=1, max=4096),
    "max_iter": _geometry(int, "Evaluations per pair and grid.", min=1),
    "rtol": _geometry(float, "Share of the energy that may still be gained."),
    "starts": _geometry(int, "Starting curves of a pair.", min=1, max=100),
    "refine_endpoints": _geometry(bool, "Move ends to the latents nearest to their items."),
    "batch_size": _geometry(int, "Pairs solved side by side.", min=1),
    "dtype": _geometry(DtypeName, "Precision while solving."),
}


class GeometryOptions(dict):
    """Geometry options that were given. A parameter of this type gives its command all of them."""


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

    A parameter of type `GeometryOptions` is made of the geometry options in the same way. What the command raises is
    told to the user and turned into an exit code.
    """
    hints = get_type_hints(command, include_extras=True)
    own = [
        parameter.replace(annotation=hints[name])
        for name, parameter in list(inspect.signature(command).parameters.items())[1:]
    ]
    collecting = [parameter.name for parameter in own if parameter.annotation is GeometryOptions]
    own = [parameter for parameter in own if parameter.name not in collecting]
    common = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for options, default in ((_GEOMETRY_OPTIONS if collecting else {}, None), (_COMMON_OPTIONS, False))
        for name, annotation in options.items()
    ]

    @functools.wraps(command)
    def wrapped(**arguments: Any) -> None:
        out = Output(**{name: arguments.pop(name) for name in _COMMON_OPTIONS})
        for name in collecting:
            given = {key: arguments.pop(key) for key in _GEOMETRY_OPTIONS}
            arguments[name] = GeometryOptions({key: value for key, value in given.items() if value is not None})
        with out.guarded():
            command(out, **arguments)

    wrapped.__signature__ = inspect.Signature(
        [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own] + common
    )
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *common]}
    del wrapped.__wrapped__
    return wrapped


def finished(folder: Path, out: Output, data_source: str | None) -> "list[Run]":
    """The finished runs of a folder, with a word on those that are not."""
    from identmetric_cli.runs import finished_runs, list_runs

    found = finished_runs(folder, data_source)
    for each in list_runs(folder):
        if not each.finished:
            out.warn(f"{each.path} is not finished and is left out")
    return found


def geodesic_settings(base: "Geodesic", given: GeometryOptions) -> "Geodesic":
    """The run's geodesic settings, or those of the preset that was given, with the options that were given.

    Raises UsageError on a value out of range.
    """
    from identmetric_cli.config import load, validate

    changed = {key: str(value) if isinstance(value, StrEnum) else value for key, value in given.items()}
    if "config" in changed:
        base = load(changed.pop("config")).geodesic
    return validate({"geodesic": base.model_dump() | changed}, "options").geodesic
