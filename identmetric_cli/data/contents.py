"""What the arrays of a .npy or .npz file mean: which are the items, which their labels.

Archives have no standard names. Items are `x`, `images` or `data`, in one array or in parts (`x_train` and `x_test`,
`train_images` and `val_images`), which are joined because splits are drawn anew; labels are `y` or `labels` or, where
nothing is named so, the one array that has a text or a whole number for every row. What was chosen beyond the plain
case, and what was left, is said in notes.
"""

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from identmetric_cli.data.arrays import HINT, Archive, is_archive, opened, read_npy
from identmetric_cli.data.sparse import is_sparse, read_dense
from identmetric_cli.errors import InputError

ITEM_NAMES = ("x", "images", "data")
LABEL_NAMES = ("y", "labels")
PARTS = ("train", "validation", "valid", "val", "test")


class Contents(NamedTuple):
    """Items as they are stored, and their labels."""

    array: np.ndarray
    """(n, ...), numbers of any type."""
    labels: np.ndarray
    """One text a row; empty texts where there are none."""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read_contents(path: Path) -> Contents:
    """Items and labels of a .npy or .npz file.

    Raises InputError: missing, damaged, over 8 GiB, not finite, not numbers, names that do not say what to read,
    labels that are not one a row.
    """
    with opened(path, "an array", HINT) as file:
        if not is_archive(file):
            array = read_npy(file, path.stat().st_size, str(path))
            return Contents(array, np.full(len(array), ""))
        with zipfile.ZipFile(file) as archive:
            return _read_archive(Archive(archive, path))


def _read_archive(archive: Archive) -> Contents:
    if is_sparse(archive):
        array, note = read_dense(archive)
        return Contents(array, np.full(len(array), ""), (note,))
    parts = _items(archive)
    arrays = [archive.read(name) for name in parts.values()]
    _refuse_masked(archive, arrays[0].shape)
    if len({array.shape[1:] for array in arrays}) > 1:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in zip(parts.values(), arrays, strict=True))
        raise InputError(f"{archive.path}: parts whose items differ in shape: {shapes}", "keep one of them")
    notes = [] if len(parts) == 1 else [_joined(list(parts.values()), arrays)]
    labels, said, warnings = _labels(archive, parts, [len(array) for array in arrays])
    array = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return Contents(array, labels, (*notes, *said), tuple(warnings))


def _role(name: str) -> tuple[str, str]:
    """A name without its part, and the part: `x_train` and `train_x` are both `x`, `train`."""
    lower = name.lower()
    for part in PARTS:
        whole = re.sub(rf"^{part}_|_{part}$", "", lower)
        if whole != lower:
            return whole, part
    return lower, ""


def _items(archive: Archive) -> dict[str, str]:
    """Names of the arrays that hold items, by part; raises InputError where names do not tell."""
    names = archive.names
    if len(names) == 1:
        return {"": names[0]}
    found = [(part, name) for name in names for role, part in [_role(name)] if role in ITEM_NAMES]
    whole = [(part, name) for part, name in found if not part]
    chosen = whole or found
    parts = dict(chosen)
    if not parts or len(parts) != len(chosen):
        held = ", ".join(map(repr, names)) or "no array"
        raise InputError(
            f"{archive.path}: holds {held}, which does not say which one to read",
            f"keep one array in the file, or name exactly one of: {', '.join(ITEM_NAMES)}",
        )
    return parts


def _refuse_masked(archive: Archive, shape: tuple[int, ...]) -> None:
    if "mask" in archive.names and archive.header("mask") == (shape, np.dtype(bool)):
        masked = np.count_nonzero(archive.read("mask"))
        if masked:
            raise InputError(
                f"{archive.path}: 'mask' hides {masked} values, and values that are missing are not read",
                "fill them or leave out their rows, and save the array without its mask",
            )


def _joined(names: Sequence[str], arrays: Sequence[np.ndarray]) -> str:
    sizes = " + ".join(str(len(array)) for array in arrays)
    return f"{' and '.join(names)} joined ({sizes} rows): splits are drawn anew by data.split_seed"


def _labels(
    archive: Archive, parts: dict[str, str], lengths: Sequence[int]
) -> tuple[np.ndarray, list[str], list[str]]:
    """One text a row, notes and warnings; raises InputError where labels are named and not one a row."""
    named = [_first(archive, [(name, part) for name in LABEL_NAMES]) for part in parts]
    if None in named and any(named):
        missing = " and ".join(name for name, label in zip(parts.values(), named, strict=True) if label is None)
        return _none(lengths), [], [f"no labels are read: there are none for {missing}"]
    if None in named:
        return _unnamed_labels(archive, list(parts.values()), lengths)
    if pickled := [name for name in named if archive.header(name)[1].hasobject]:
        return _none(lengths), [], [_PICKLED.format(pickled[0])]
    found = [_read_labels(archive, name, rows) for name, rows in zip(named, lengths, strict=True)]
    return np.concatenate(found), [], []


_PICKLED = "no labels are read: {0!r} holds Python objects, which are never loaded; save it as {0}.astype(str)"


def _first(archive: Archive, roles: Sequence[tuple[str, str]]) -> str | None:
    """The first array that has the first of these roles and parts."""
    return next((name for role in roles for name in archive.names if _role(name) == role), None)


def _unnamed_labels(
    archive: Archive, items: Sequence[str], lengths: Sequence[int]
) -> tuple[np.ndarray, list[str], list[str]]:
    rows = sum(lengths)
    found, pickled = {}, []
    for name in archive.names:
        shape, dtype = archive.header(name)
        if name in items or shape not in ((rows,), (rows, 1)):
            continue
        if dtype.hasobject:
            pickled.append(name)
        elif dtype.kind in "USbiu":
            labels = _read_labels(archive, name, rows)
            if len(np.unique(labels)) < rows:  # names of rows are no labels
                found[name] = labels
    listed = ", ".join(map(repr, found))
    if len(found) == 1:
        return next(iter(found.values())), [f"labels are read from {listed}"], []
    if found:
        return _none(lengths), [], [f"no labels are read: {listed} could be, so name one of them y or labels"]
    return _none(lengths), [], [_PICKLED.format(name) for name in pickled]


def _none(lengths: Sequence[int]) -> np.ndarray:
    return np.full(sum(lengths), "")


def _read_labels(archive: Archive, name: str, rows: int) -> np.ndarray:
    labels = archive.read(name, text=True)
    if labels.shape not in ((rows,), (rows, 1)):
        raise InputError(
            f"{archive.path}: labels of shape {labels.shape} for {rows} rows",
            f"give one label a row, shape ({rows},)",
        )
    labels = labels.reshape(rows)
    if labels.dtype.kind != "S":
        return labels.astype(str)
    try:
        return np.char.decode(labels, "utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{archive.path}: labels in {name!r} are bytes that are not UTF-8",
            f"save them as text: numpy.char.decode({name}, 'latin-1')",
        ) from error
