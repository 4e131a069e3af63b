"""Checkpoints that are either whole and verified or do not exist.

Orbax writes the arrays; it does not notice a flipped bit, trusts folder names and flushes only part of what it
writes. So every step is sealed: after a blocking save all its files are flushed and hashed, and only then
`seal-<step>.json` appears beside it. A step without a seal that matches its bytes is not a checkpoint.

    checkpoints/<step>/{last,best,optimizer,...}   items, each restorable alone
    checkpoints/seal-<step>.json                   SHA-256 of every file, the step's `meta`, and SHA-256 of itself

Who resumes a run takes the newest step that is intact. Who reads a finished run wants one step and no other, for
another step is another model: `fault` says what is wrong with that one.
"""

import errno
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from identmetric_cli.errors import CheckpointError, StorageError
from identmetric_cli.files import (
    fsync_folder,
    read_sealed_json,
    set_aside,
    sha256_file,
    storage_error,
    write_sealed_json,
)

FORMATS = (1, 2)
"""Of seals: 1 did not cover itself, and its meta held no records."""
KEEP = 2

logging.getLogger("absl").setLevel(logging.ERROR)


def save(folder: Path, step: int, items: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
    """Save pytrees of arrays as a sealed step and drop all but the newest steps; raises StorageError.

    A step that is sealed and intact already is left as it is: a step's number decides its content.
    """
    path = folder.resolve() / str(step)
    if (folder / f"seal-{step}.json").exists() and fault(folder, step) is None:
        return
    _remove(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
            arguments = {name: ocp.args.StandardSave(tree) for name, tree in items.items()}
            checkpointer.save(path, ocp.args.Composite(**arguments))
        files = _flush_and_hash(path)
    except OSError as error:
        raise storage_error(path, error) from error
    except ValueError as error:  # tensorstore reports a full disk so
        cause = OSError(errno.ENOSPC, str(error)) if "No space left" in str(error) else None
        raise (storage_error(path, cause) if cause else error) from error
    seal = {"format": FORMATS[-1], "step": step, "meta": dict(meta), "files": files}
    write_sealed_json(folder / f"seal-{step}.json", seal)
    for old in sealed_steps(folder)[:-KEEP]:
        (folder / f"seal-{old}.json").unlink()
        _remove(folder / str(old))


def newest(folder: Path) -> tuple[int, dict[str, Any]] | None:
    """Newest step whose seal verifies, and its meta; None where there is no seal at all.

    Raises CheckpointError where there are seals and none of them verifies.
    """
    notes = []
    for step in reversed(sealed_steps(folder)):
        found = fault(folder, step)
        if found is None:
            return step, meta(folder, step)
        notes.append(f"{folder / str(step)} is damaged ({found})")
    if notes:
        raise CheckpointError("no checkpoint is intact: " + "; ".join(notes), "train the run again with --overwrite")
    return None


def quarantine(folder: Path, after: int | None) -> list[Path]:
    """Set aside every step newer than `after` (all, when None): rename it to `quarantine-*`, never delete it."""
    moved = []
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        step = path.name.removeprefix("seal-").removesuffix(".json").split(".")[0]
        if not step.isdigit() or (after is not None and path.name in (str(after), f"seal-{after}.json")):
            continue
        if after is None or int(step) > after or not (folder / f"seal-{step}.json").exists():
            moved.append(set_aside(path))
    return moved


def restore(folder: Path, step: int, targets: Mapping[str, Any]) -> dict[str, Any]:
    """Items of a step, each into the structure, shapes and dtypes of its target; raises CheckpointError."""
    path = folder.resolve() / str(step)
    try:
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
            arguments = {name: ocp.args.StandardRestore(target) for name, target in targets.items()}
            restored = checkpointer.restore(path, ocp.args.Composite(**arguments))
    except Exception as error:  # a damaged file raises errors of many types
        raise CheckpointError(
            f"{path} does not fit the model of this configuration or is damaged ({type(error).__name__})",
            "use the configuration stored in the run, or train a new run",
        ) from error
    # Orbax pins arrays to a device; functions would be compiled once for pinned arguments and once for others.
    return {name: jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), restored[name]) for name in targets}


def sealed_steps(folder: Path) -> list[int]:
    """Steps that carry a seal, ascending; the seals are not verified."""
    names = (path.name.removeprefix("seal-").removesuffix(".json") for path in folder.glob("seal-*.json"))
    return sorted(int(name) for name in names if name.isdigit())


def meta(folder: Path, step: int) -> dict[str, Any]:
    """What was stored beside the arrays of a step that is intact."""
    return _read_seal(folder, step)["meta"]


def seal_bytes(folder: Path, step: int) -> bytes:
    """The seal of a step as it is on disk: what tells this model from every other."""
    return (folder / f"seal-{step}.json").read_bytes()


def fault(folder: Path, step: int) -> str | None:
    """What is wrong with a step, in a few words; None for one whose seal and files are what was written."""
    try:
        seal = _read_seal(folder, step)
        if seal["step"] != step:
            return f"its seal is that of step {seal['step']}"
        expected, _ = seal["files"], dict(seal["meta"])
        found = {str(path.relative_to(folder)): path for path in (folder / str(step)).rglob("*") if path.is_file()}
        for names, what in ((expected.keys() - found.keys(), "missing"), (found.keys() - expected.keys(), "unknown")):
            if names:
                return f"{min(names)} is {what}"
        changed = [name for name, digest in expected.items() if sha256_file(found[name]) != digest]
        return f"{changed[0]} has changed" if changed else None
    except StorageError as error:
        return error.message
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"its seal cannot be read: {type(error).__name__}"


def _read_seal(folder: Path, step: int) -> dict[str, Any]:
    path = folder / f"seal-{step}.json"
    seal = read_sealed_json(path, unsealed=True)
    if seal["format"] not in FORMATS:
        raise StorageError(f"{path} has format {seal['format']}, this version reads {FORMATS}")
    return seal


def _flush_and_hash(path: Path) -> dict[str, str]:
    digests = {}
    for each in sorted(path.rglob("*")):
        if each.is_dir():
            fsync_folder(each)
            continue
        descriptor = os.open(each, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
        digests[str(each.relative_to(path.parent))] = sha256_file(each)
    fsync_folder(path)
    fsync_folder(path.parent)
    return digests


def _remove(path: Path) -> None:
    if path.is_symlink():
        raise StorageError(f"{path} is a symbolic link; a run directory must hold none", "remove the link")
    shutil.rmtree(path, ignore_errors=True)


def abstract(tree: Any) -> Any:
    """Shapes and dtypes of a pytree, the target to restore it into."""
    return jax.tree.map(ocp.utils.to_shape_dtype_struct, tree)
