"""What a reader hands on: the items of a whole source, and what there is to say of how they were read."""

from typing import NamedTuple

import numpy as np


class Source(NamedTuple):
    """Items of a source in its own order."""

    items: np.ndarray
    """float32, (n, height, width, channels) in [0, 1] for images or (n, size) for vectors."""
    labels: np.ndarray
    """One text a row; empty texts where the source has no labels."""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    white: int | None = None
    """Value of white of 16-bit images; None where there are none."""
