"""What a checkpoint holds, as one number: two runs are equal when every array is."""

import hashlib
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from identmetric_cli import checkpoint


def state_hash(run: Path) -> str:
    """SHA-256 of every array of the newest step, with its path."""
    folder = run / "checkpoints"
    step = checkpoint.sealed_steps(folder)[-1]
    digest = hashlib.sha256(str(step).encode())
    for item in ("last", "best", "rest"):
        with ocp.StandardCheckpointer() as checkpointer:
            tree = checkpointer.restore((folder / str(step) / item).resolve())
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            digest.update(jax.tree_util.keystr(path).encode() + np.asarray(leaf).tobytes())
    return digest.hexdigest()
