"""Arrays from .npy and .npz files, read so that a file can do nothing but hold numbers and texts.

A header is a claim. It is checked against the size of the file, or of the archive's member, before anything
is allocated; pickled objects are never loaded; what comes back is finite, C-contiguous and of native byte
order. What the arrays of a file mean is told in `contents`.
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
HINT = "save finite numbers with numpy.save or numpy.savez"

_HEADER_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
# The most that each method of compression can expand: deflate codes 258 bytes in 2 bits at best.
_EXPANSION = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: 1032}
_ZIP_START, _ZIP_END = (b"PK\x03\x04", b"PK\x05\x06"), b"PK\x05\x06"
_ZIP_END_BYTES = 22


class Archive:
    """The arrays of an open .npz file by their names; raises InputError where a name occurs twice."""

    def __init__(self, archive: zipfile.ZipFile, path: Path):
        for name, count in Counter(archive.namelist()).items():
            if count > 1:  # readers pick either
                raise InputError(f"{path}: holds {name!r} {count} times", "write the file again")
        self.path, self._archive = path, archive
        self._members = {
            info.filename.removesuffix(".npy"): info for info in archive.infolist() if info.filename.endswith(".npy")
        }
        self.names = list(self._members)

    def header(self, name: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type that a member claims to have."""
        with self._archive.open(self._members[name]) as stream:
            return _header(stream, self._source(name))

    def read(self, name: str, *, text: bool = False) -> np.ndarray:
        """One array, of numbers or, if `text`, of texts and single values too.

        Raises InputError like `read_npy`, and if its size is more than its compressed bytes can hold.
        """
        info, source = self._members[name], self._source(name)
        if info.compress_type not in _EXPANSION:
            raise InputError(f"{source}: only deflate is read", "write the file with numpy.savez_compressed")
        if info.file_size > _EXPANSION[info.compress_type] * min(info.compress_size, self.path.stat().st_size):
            raise InputError(f"{source}: {info.file_size} bytes cannot come from {info.compress_size}", HINT)
        with self._archive.open(info) as stream:
            return read_npy(stream, info.file_size, source, text=text)

    def _source(self, name: str) -> str:
        return f"{self.path}: {self._members[name].filename!r}"


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


def read_npy(stream: BinaryIO, size: int, source: str, *, text: bool = False) -> np.ndarray:
    """The array of a stream of `size` bytes in .npy format.

    Booleans, integers and floats (16 to 64 bits) of any shape but () and empty ones; with `text` also texts, byte
    strings and single values. Raises InputError: damaged, over 8 GiB, not finite, not numbers.
    """
    shape, dtype = _header(stream, source)
    known = dtype.str[1:] in NUMBERS or (text and dtype.kind in "US")
    claim = stream.tell() + math.prod(shape) * dtype.itemsize
    refusals = (
        (not known, f"values of type {dtype}, not numbers"),
        (not shape and not text, "a single value without axes"),
        (any(length < 1 for length in shape), f"no values, shape {shape}"),
        (claim > MAX_ARRAY_BYTES, f"shape {shape} and type {dtype} take more than {MAX_ARRAY_BYTES} bytes"),
        (claim != size, f"shape {shape} and type {dtype} take {claim} bytes, the file has {size}"),
    )
    for refused, reason in refusals:
        if refused:
            raise InputError(f"{source}: {reason}", HINT)
    stream.seek(0)
    array = npy.read_array(stream, allow_pickle=False)
    require_finite(array, source)
    # Made contiguous, a single value would become a row of one.
    return array if not shape else np.ascontiguousarray(array, dtype=dtype.newbyteorder("="))


def require_finite(array: np.ndarray, source: object) -> None:
    """Raise InputError that counts the values of a float array which are NaN or infinite."""
    # The extremes tell of NaN and infinity without a mask as long as the array.
    if array.dtype.kind == "f" and not np.isfinite([array.min(), array.max()]).all():
        bad = np.count_nonzero(~np.isfinite(array))
        raise InputError(f"{source}: {bad} of {array.size} values are NaN or infinite", HINT)


def is_archive(file: BinaryIO) -> bool:
    """Whether a file starts as a zip archive; raises ValueError if it does not end as one."""
    start = file.read(4)
    file.seek(0)
    if start not in _ZIP_START:
        return False
    file.seek(-_ZIP_END_BYTES, 2)
    if file.read(4) != _ZIP_END:
        raise ValueError("the archive is cut off, or has bytes after its end")
    return True


def _header(stream: BinaryIO, source: str) -> tuple[tuple[int, ...], np.dtype]:
    version = npy.read_magic(stream)
    if version not in _HEADER_READERS:
        raise InputError(f"{source}: .npy format {version[0]}.{version[1]} is not read", HINT)
    shape, _, dtype = _HEADER_READERS[version](stream)
    return shape, dtype
