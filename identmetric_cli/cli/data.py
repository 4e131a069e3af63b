"""identmetric data"""

import re
import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from identmetric_cli.cli.console import Output, table
from identmetric_cli.cli.options import OutputFolder, with_output
from identmetric_cli.errors import UsageError

app = typer.Typer(help="List, describe and export data sets.", no_args_is_help=True)
Source = Annotated[
    str, typer.Argument(metavar="NAME", help="Data set (identmetric data list), .npy or .npz file, or folder.")
]
ImageShape = Annotated[
    str | None,
    typer.Option(help="Height, width and channels that images are brought to, or flattened rows are: 28,28,1."),
]


def _list(out: Output) -> None:
    """List what can be trained on without a download."""
    from identmetric_cli.data.dataset import SOURCES
    from identmetric_cli.data.torchvision import NAMES

    rows = [[name, source.description] for name, source in SOURCES.items()]
    rows += [[f"torchvision:{name}", "read with the extra identmetric[torchvision]"] for name in NAMES]
    rows += [["FILE.npy, FILE.npz", "images (n, h, w[, c]) or vectors (n, size)"], ["FOLDER", "images, any format"]]
    listed = [{"source": name, "description": text} for name, text in rows]
    out.result(
        {"schema_version": 1, "sources": listed},
        lambda console: [console.print(Text(f"{name:26} {text}")) for name, text in rows],
        following=["identmetric data info mnist"],
    )


def _info(out: Output, name: Source, image_shape: ImageShape = None) -> None:
    """Shape, sizes, labels and fingerprint of a data set, and what there is to know of how it was read."""
    from identmetric_cli.data import load_dataset

    data = load_dataset(name, image_shape=parse_shape(image_shape))
    counts: dict[str, int] = {}
    for label in data.train.labels:
        counts[str(label)] = counts.get(str(label), 0) + 1
    facts = {
        "source": data.name,
        "shape": list(data.shape),
        "train": len(data.train),
        "validation": len(data.validation),
        "test": len(data.test),
        "labels": counts,
        "minimum": float(data.train.items.min()),
        "maximum": float(data.train.items.max()),
        "fingerprint": data.fingerprint,
    }
    rows = [[key, str(value)] for key, value in facts.items()]
    for note in data.notes:
        out.note(f"{name}: {note}")
    for warning in data.warnings:
        out.warn(f"{name}: {warning}")
    given = f" --image-shape {image_shape}" if image_shape else ""
    images = len(data.shape) == 3 and data.shape[2] in (1, 3)
    out.result(
        {"schema_version": 1, **facts, "notes": data.notes, "warnings": data.warnings},
        lambda console: [console.print(Text(f"{key:12} {value}")) for key, value in rows],
        following=[
            f"identmetric data export {shlex.quote(name)}{given} --count 8 -o samples"
            if images
            else "identmetric config init -o mine.toml"
        ],
    )


def _export(
    out: Output,
    name: Source,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    count: Annotated[int, typer.Option(min=1, max=10000, help="How many items, from the first.")] = 8,
    image_shape: ImageShape = None,
    output: OutputFolder = Path("samples"),
) -> None:
    """Write items of a data set as PNG images."""
    from identmetric_cli.data import load_dataset
    from identmetric_cli.stages.export import export

    paths = export(load_dataset(name, image_shape=parse_shape(image_shape)), split, count, output)
    rows = [[str(path)] for path in paths]
    following = [f"identmetric geodesic {paths[0]} {paths[1]}"] if len(paths) > 1 else []
    out.result(
        {"schema_version": 1, "files": [str(path) for path in paths]},
        lambda console: console.print(table(["image"], rows)),
        following=following,
    )


def parse_shape(text: str | None) -> tuple[int, int, int] | None:
    """Height, width and channels written as 28,28,1; raises UsageError."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*([1-9]\d{0,4})\s*[,x]\s*([1-9]\d{0,4})\s*[,x]\s*([1-9]\d{0,4})\s*", text)
    if match is None:
        raise UsageError(
            f"--image-shape {text}: not height, width and channels", "e.g. --image-shape 28,28,1 (1 grey, 3 colour)"
        )
    height, width, channels = (int(each) for each in match.groups())
    return height, width, channels


app.command("list")(with_output(_list))
app.command("info")(with_output(_info))
app.command("export")(with_output(_export))
