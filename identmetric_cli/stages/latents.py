"""Latent dimensions that a run does not use."""

import numpy as np

from identmetric_cli.models.encode import encode
from identmetric_cli.runs import Run
from identmetric_cli.stages.assemble import load_model

ACTIVE = 0.01
"""Variance of a posterior mean over items below which its dimension is dead (Burda et al. 2016)."""


def dead_latents(run: Run, items: np.ndarray) -> int:
    """How many latent dimensions have a posterior mean that hardly differs between `items`."""
    means = encode(load_model(run), items)[0]
    return int(np.sum(means.var(axis=0, dtype=np.float64) < ACTIVE))
