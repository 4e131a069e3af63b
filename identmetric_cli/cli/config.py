"""identmetric config"""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from identmetric_cli.cli.console import Output
from identmetric_cli.cli.options import Overrides, with_output
from identmetric_cli.errors import UsageError

app = typer.Typer(help="Make, show and check configurations.", no_args_is_help=True)
Source = Annotated[str | None, typer.Argument(metavar="CONFIG", help="Preset or TOML file. (default: mnist)")]


def _init(
    out: Output,
    preset: Annotated[str, typer.Argument(help="Preset to copy.")] = "mnist",
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.")] = Path("identmetric.toml"),
) -> None:
    """Copy a preset, with its comments, to a file of your own."""
    from identmetric_cli.config import PRESETS, load, presets
    from identmetric_cli.files import write_text

    load(preset)
    if preset not in presets():
        raise UsageError(f"{preset} is not a preset", f"presets are {', '.join(presets())}")
    if output.exists():
        raise UsageError(f"{output} exists already", "give another file with -o")
    write_text(output, (PRESETS / f"{preset}.toml").read_text())
    out.result(
        {"schema_version": 1, "file": str(output)},
        lambda console: console.print(Text(str(output))),
        following=[f"identmetric train {output}"],
    )


def _show(out: Output, config: Source = None, overrides: Overrides = None) -> None:
    """Print the resolved configuration."""
    from identmetric_cli.config import load, to_toml

    resolved = load(config, overrides or ())
    out.result(resolved.model_dump(), lambda console: print(to_toml(resolved), end=""), following=[])


def _validate(out: Output, config: Source = None, overrides: Overrides = None) -> None:
    """Check a configuration and name every fault."""
    from identmetric_cli.config import load

    load(config, overrides or ())
    name = config or "mnist"
    out.result(
        {"schema_version": 1, "valid": True, "config": name},
        lambda console: console.print(Text(f"{name} is valid")),
        following=[f"identmetric train {name}"],
    )


def _schema(out: Output) -> None:
    """Print every key with its meaning; the JSON Schema under --json."""
    from identmetric_cli.config import Config, describe_keys

    out.result(
        Config.model_json_schema(),
        lambda console: [
            console.print(Text(f"{key} = {default}", style="bold") + Text(f"\n    {meaning}", style="not bold"))
            for key, default, meaning in describe_keys()
        ],
        following=[],
    )


app.command("init")(with_output(_init))
app.command("show")(with_output(_show))
app.command("validate")(with_output(_validate))
app.command("schema")(with_output(_schema))
