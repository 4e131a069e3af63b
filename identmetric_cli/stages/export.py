"""Items of a split as PNG images."""

from pathlib import Path

from identmetric_cli.data import Dataset
from identmetric_cli.data.images import write_png
from identmetric_cli.errors import InputError


def export(data: Dataset, split: str, count: int, folder: Path) -> list[Path]:
    """Write the first `count` items of a split as <split>-<index>.png; raises InputError for vectors."""
    chosen = data.split(split)
    if chosen.items.ndim != 4:
        raise InputError(f"{data.name} holds vectors of shape {data.shape}, not images")
    paths = []
    for index in range(min(count, len(chosen))):
        path = folder / f"{split}-{index}.png"
        write_png(path, chosen.items[index])
        paths.append(path)
    return paths
