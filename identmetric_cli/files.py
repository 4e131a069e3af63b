"""Files that are whole or absent, and what is read back is what was written.

Every write goes to a temporary neighbour, is flushed to disk and renamed. Files that decide later numbers, of which
nobody would notice a flipped bit, also carry a SHA-256 of their own content, checked when they are read (`sealed`).
"""

import errno
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from identmetric_cli.errors import DamagedError, StorageError

SEAL = "sha256"


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


def write_sealed_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value` as JSON that carries the SHA-256 of its own content under `sha256`."""
    plain = json.loads(json.dumps(value, allow_nan=False))
    write_json(path, {**plain, SEAL: _digest_of_json(plain)})


def read_sealed_json(path: Path, *, unsealed: bool = False) -> dict[str, Any]:
    """What `write_sealed_json` wrote; raises DamagedError where it is not that, StorageError where it is unreadable.

    `unsealed` takes a file without a SHA-256 as it is, as earlier versions wrote them.
    """
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise StorageError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged: {error}") from error
    digest = value.pop(SEAL, None) if isinstance(value, dict) else None
    if digest == _digest_of_json(value) or (digest is None and unsealed and isinstance(value, dict)):
        return value
    raise DamagedError(f"{path} is damaged: its content has changed since it was written")


def write_sealed_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as a .npz archive that carries the SHA-256 of its arrays under `sha256`."""
    write_npz(path, {**arrays, SEAL: np.array(_digest_of_arrays(arrays))})


def read_sealed_npz(path: Path) -> dict[str, np.ndarray] | None:
    """What `write_sealed_npz` wrote, None where there is no such file; raises DamagedError."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        intact = str(arrays.pop(SEAL)) == _digest_of_arrays(arrays)
    except FileNotFoundError:
        return None
    except Exception as error:  # zip, zlib and numpy meet damage with a dozen types of exception
        raise DamagedError(f"{path} is damaged: {str(error) or type(error).__name__}") from error
    if not intact:
        raise DamagedError(f"{path} is damaged: its content has changed since it was written")
    return arrays


def set_aside(path: Path) -> Path:
    """Rename what is damaged to `quarantine-<name>-<time>`, never delete it; returns the new path."""
    target = path.with_name(f"quarantine-{path.name}-{time.time_ns()}")
    path.rename(target)
    return target


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


def _digest_of_json(value: Any) -> str:
    return sha256_parts([json.dumps(value, sort_keys=True)])


def _digest_of_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    parts = []
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        parts += [name, f"{array.dtype.str} {array.shape}", array.tobytes()]
    return sha256_parts(parts)
