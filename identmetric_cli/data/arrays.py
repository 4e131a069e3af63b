"""Arrays from .npy and .npz files, read so that a file can do nothing but hold numbers.

A header is a claim. It is checked against the size of the file, or of the archive's member, before anything
is allocated; pickled objects are never loaded; what comes back is finite, C-contiguous and of native byte
order.
"""

import math
import stat
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from identmetric_cli.errors import IdentmetricError, InputError

MAX_ARRAY_BYTES = 8 * 2**30
NUMBERS = {"b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"}
ITEM_NAMES = ("x", "images", "data")
LABEL_NAMES = ("y", "labels")

_HINT = "save finite numbers with numpy.save or numpy.savez"
_HEADER_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_WHITE = {"bool": 1, "uint8": 255, "uint16": 65535, "float16": 1, "float32": 1, "float64": 1}
# The most that each method of compression can expand: deflate codes 258 bytes in 2 bits at best.
_EXPANSION = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: 1032}
_ZIP_START, _ZIP_END = (b"PK\x03\x04", b"PK\x05\x06"), b"PK\x05\x06"
_ZIP_END_BYTES = 22


def read_array(path: Path, key: str | None = None) -> np.ndarray:
    """The array of a .npy file, or one of a .npz file: `key`, else the only one, else x, images or data.

    Booleans, integers and floats (16 to 64 bits) of any shape but () and empty ones; C-contiguous.
    Raises InputError: missing, damaged, over 8 GiB, duplicate or unknown names, not finite, not numbers.
    """
    with opened(path, "an array", _HINT) as file:
        if _is_npz(file):
            with zipfile.ZipFile(file) as archive:
                members = _members(archive, path)
                return _read_member(archive, members[_choose(members, key, path)], path)
        if key is not None:
            raise InputError(f"{path}: a .npy file holds one array without a name", f"leave out {key!r}")
        return _read_npy(file, path.stat().st_size, str(path))


def read_labelled(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """`read_array`, and one text a row from the .npz member y or labels; empty texts where there is none.

    Raises InputError like `read_array`, and where the labels are not one a row.
    """
    items, labels = read_array(path), _read_labels(path)
    if labels is None:
        return items, np.full(len(items), "")
    if labels.shape != items.shape[:1]:
        raise InputError(
            f"{path}: labels of shape {labels.shape} for {len(items)} rows",
            f"give one label a row, shape ({len(items)},)",
        )
    return items, labels.astype(str)


def as_unit_interval(array: np.ndarray, source: object) -> np.ndarray:
    """Images as float32 in [0, 1], same shape: uint8 / 255, uint16 / 65535, booleans 0 and 1, floats as is.

    Raises InputError, naming `source`, for other types and for floats outside [0, 1].
    """
    white = _WHITE.get(array.dtype.name)
    if white is None:
        raise InputError(
            f"{source}: images of type {array.dtype}, whose white is not known",
            "save them as uint8 (0 to 255) or as floats in [0, 1]",
        )
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= white):
        raise InputError(
            f"{source}: values from {low:.6g} to {high:.6g}, where images lie in [0, 1]",
            "divide by the value of white (255 for 8 bits), undo any normalisation, or clip to [0, 1]",
        )
    return np.divide(np.ascontiguousarray(array), white, dtype=np.float32)


@contextmanager
def opened(path: Path, kind: str, hint: str) -> Iterator[BinaryIO]:
    """A regular file, open for reading; whatever the block raises becomes an InputError that names it."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # opening a pipe would wait for its writer for ever
            what = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
            raise InputError(f"{path}: {what}, where {kind} is wanted", "give the path of a file")
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy reads headers of Python 2 well, and complains
            yield file
    except IdentmetricError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file", "check the path") from error
    except Exception as error:  # decoders meet damage in many ways: a dozen types of exception are known
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise InputError(f"{path}: cannot be read as {kind} ({reason})", hint) from error


def _read_npy(stream: BinaryIO, size: int, source: str, *, text: bool = False) -> np.ndarray:
    """The array of a stream of `size` bytes in .npy format; texts only if `text`."""
    version = npy.read_magic(stream)
    if version not in _HEADER_READERS:
        raise InputError(f"{source}: .npy format {version[0]}.{version[1]} is not read", _HINT)
    shape, _, dtype = _HEADER_READERS[version](stream)
    known = dtype.str[1:] in NUMBERS or (text and dtype.kind == "U")
    claim = stream.tell() + math.prod(shape) * dtype.itemsize
    refusals = (
        (not known, f"values of type {dtype}, not numbers"),
        (not shape, "a single value without axes"),
        (any(length < 1 for length in shape), f"no values, shape {shape}"),
        (claim > MAX_ARRAY_BYTES, f"shape {shape} and type {dtype} take more than {MAX_ARRAY_BYTES} bytes"),
        (claim != size, f"shape {shape} and type {dtype} take {claim} bytes, the file has {size}"),
    )
    for refused, reason in refusals:
        if refused:
            raise InputError(f"{source}: {reason}", _HINT)
    stream.seek(0)
    array = npy.read_array(stream, allow_pickle=False)
    # The extremes tell of NaN and infinity without a mask as long as the array.
    if dtype.kind == "f" and not np.isfinite([array.min(), array.max()]).all():
        bad = np.count_nonzero(~np.isfinite(array))
        raise InputError(f"{source}: {bad} of {array.size} values are NaN or infinite", _HINT)
    return np.ascontiguousarray(array, dtype=dtype.newbyteorder("="))


def _is_npz(file: BinaryIO) -> bool:
    """Whether a file starts as a zip archive; raises ValueError if it does not end as one."""
    start = file.read(4)
    file.seek(0)
    if start not in _ZIP_START:
        return False
    file.seek(-_ZIP_END_BYTES, 2)
    if file.read(4) != _ZIP_END:
        raise ValueError("the archive is cut off, or has bytes after its end")
    return True


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Members of an archive by the name of their array; equal names are refused, for readers pick either."""
    for name, count in Counter(archive.namelist()).items():
        if count > 1:
            raise InputError(f"{path}: holds {name!r} {count} times", "write the file again")
    arrays = [info for info in archive.infolist() if info.filename.endswith(".npy")]
    return {info.filename.removesuffix(".npy"): info for info in arrays}


def _choose(members: dict[str, zipfile.ZipInfo], key: str | None, path: Path) -> str:
    """The name of the array to read."""
    held = ", ".join(map(repr, members)) or "no array"
    if key is not None:
        if key not in members:
            raise InputError(f"{path}: no array {key!r}, it holds {held}", "give one of these names")
        return key
    names = list(members) if len(members) == 1 else [name for name in ITEM_NAMES if name in members]
    if len(names) != 1:
        raise InputError(
            f"{path}: holds {held}, which does not say which one to read",
            f"keep one array in the file, or name exactly one of: {', '.join(ITEM_NAMES)}",
        )
    return names[0]


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, *, text: bool = False) -> np.ndarray:
    """One array of an archive; refused if its size is more than its compressed bytes can hold."""
    source = f"{path}: {info.filename!r}"
    if info.compress_type not in _EXPANSION:
        raise InputError(f"{source}: only deflate is read", "write the file with numpy.savez_compressed")
    if info.file_size > _EXPANSION[info.compress_type] * min(info.compress_size, path.stat().st_size):
        raise InputError(f"{source}: {info.file_size} bytes cannot come from {info.compress_size}", _HINT)
    with archive.open(info) as stream:
        return _read_npy(stream, info.file_size, source, text=text)


def _read_labels(path: Path) -> np.ndarray | None:
    """The labels in a .npz file, numbers or texts of any shape; None where there are none."""
    with opened(path, "an array", _HINT) as file:
        if not _is_npz(file):
            return None
        with zipfile.ZipFile(file) as archive:
            members = _members(archive, path)
            name = next((name for name in LABEL_NAMES if name in members), None)
            return None if name is None else _read_member(archive, members[name], path, text=True)
