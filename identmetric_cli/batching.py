"""Rows through a compiled function in batches of one shape.

One shape means one compilation, and bits that do not depend on how many rows there are; memory is that of one batch.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np


def in_batches(
    function: Callable[..., Any],
    arrays: Sequence[np.ndarray],
    batch_size: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Any:
    """`function` applied to the rows of `arrays`, `batch_size` at a time, and its results joined as NumPy arrays.

    The last batch is filled up with the last row, and what comes of the filling is dropped.
    """
    total = len(arrays[0])
    parts = []
    for first in range(0, total, batch_size):
        rows = np.minimum(np.arange(first, first + batch_size), total - 1)
        part = jax.device_get(function(*(np.asarray(array)[rows] for array in arrays)))
        kept = min(batch_size, total - first)
        parts.append(jax.tree.map(lambda leaf, kept=kept: leaf[:kept], part))
        progress(first + kept, total)
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
