"""Files that are whole or absent: every write goes to a temporary neighbour, is flushed to disk and renamed."""

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from identmetric_cli.errors import StorageError


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Call `write` on a binary file that replaces `path` once it is complete; raises StorageError."""
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
            temporary = file.name
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        fsync_folder(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8."""
    write_atomically(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value` as JSON without NaN or infinity."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as a compressed .npz archive."""
    write_atomically(path, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))


def fsync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def storage_error(path: Path, error: OSError) -> StorageError:
    """A StorageError for `error` that names the path and, for a full disk, the remedy."""
    hint = "free some disk space and run the command again" if error.errno == errno.ENOSPC else None
    return StorageError(f"{path}: cannot be written ({error.strerror or error})", hint)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_parts(parts: Iterable[bytes | str]) -> str:
    """SHA-256 of byte strings and texts in order, each preceded by its length, in hexadecimal."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()
