"""What a user names on the command line, as items of a run's shape: image files, arrays, or `split:index`."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from identmetric_cli.data import Dataset
from identmetric_cli.data.contents import read_contents
from identmetric_cli.data.dataset import SPLITS
from identmetric_cli.data.images import read_image
from identmetric_cli.data.items import in_shape, scaled
from identmetric_cli.errors import InputError
from identmetric_cli.runs import Run
from identmetric_cli.stages.assemble import load_run_data
from identmetric_cli.stages.reporter import Reporter

INDEX = re.compile(rf"({'|'.join(SPLITS)}):(\d+)")


@dataclass(frozen=True)
class Inputs:
    """Items in the order they were named."""

    items: np.ndarray
    """float32, (n, *shape of the run)."""
    names: list[str]
    labels: list[str]
    """Of rows of a split or of a file; empty texts where nothing is known."""


def read_inputs(run: Run, sources: Sequence[str], reporter: Reporter) -> Inputs:
    """Read every source; raises InputError naming the one that cannot be used."""
    trained = run.info()["data"]
    shape, white = tuple(trained["shape"]), trained.get("white")
    data: Dataset | None = None
    items, names, labels = [], [], []
    for source in sources:
        match = INDEX.fullmatch(source)
        if match and data is None:
            data = load_run_data(run)
        if match:
            found, label = _row(data, match[1], int(match[2]))
            items.append(found[None])
            names.append(source)
            labels.append(label)
        else:
            found, known = _read_file(Path(source), shape, white, reporter)
            items.append(found)
            names += [source] if len(found) == 1 else [f"{source}:{i}" for i in range(len(found))]
            labels += known
    return Inputs(np.concatenate(items), names, labels)


def _row(data: Dataset, split: str, index: int) -> tuple[np.ndarray, str]:
    chosen = data.split(split)
    if index >= len(chosen):
        raise InputError(f"{split}:{index} does not exist", f"{split} holds {split}:0 to {split}:{len(chosen) - 1}")
    return chosen.items[index], str(chosen.labels[index])


def _read_file(
    path: Path, shape: tuple[int, ...], white: int | None, reporter: Reporter
) -> tuple[np.ndarray, list[str]]:
    """Items of a file, (n, *shape), and a label each."""
    if path.suffix in (".npy", ".npz"):
        return _read_arrays(path, shape, white, reporter)
    if len(shape) != 3:
        raise InputError(
            f"{path}: this run was trained on vectors of {shape[0]} numbers, not on images",
            "give a .npy or .npz file",
        )
    item, notes = read_image(path, shape, white)
    for note in notes:
        reporter.note(f"{path}: {note}")
    return item[None], [""]


def _read_arrays(
    path: Path, shape: tuple[int, ...], white: int | None, reporter: Reporter
) -> tuple[np.ndarray, list[str]]:
    found = read_contents(path)
    for note in found.notes:
        reporter.note(f"{path}: {note}")
    for warning in found.warnings:
        reporter.warn(f"{path}: {warning}")
    items = scaled(in_shape(found.array, shape, path), path, white)
    # One item without its row has axes where others have rows, and no label of its own.
    return items, found.labels.tolist() if len(found.labels) == len(items) else [""] * len(items)
