"""Items of a split as PNG images."""

from pathlib import Path

from identmetric_cli.data import Dataset
from identmetric_cli.data.images import write_png
from identmetric_cli.errors import InputError


def export(data: Dataset, split: str, count: int, folder: Path) -> list[Path]:
    """Write the first `count` items of a split as <split>-<index>.png; raises InputError for what no PNG holds."""
    chosen = data.split(split)
    if len(data.shape) != 3:
        raise InputError(
            f"{data.name} holds vectors of {data.shape[0]} numbers, not images",
            "if they are flattened images, give their shape, e.g. --image-shape 28,28,1",
        )
    if data.shape[2] not in (1, 3):
        raise InputError(
            f"{data.name} holds images of {data.shape[2]} channels, and PNG files have 1 or 3",
            "save an array of 1 or 3 of the channels, and export that",
        )
    paths = []
    for index in range(min(count, len(chosen))):
        path = folder / f"{split}-{index}.png"
        write_png(path, chosen.items[index])
        paths.append(path)
    return paths
