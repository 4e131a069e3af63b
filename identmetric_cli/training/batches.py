"""Batches as pure functions of (seed, epoch, step): a resumed run draws what an uninterrupted one would have."""

import jax
import numpy as np
from jaxtyping import PRNGKeyArray


def epoch_order(size: int, batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """Row indices (steps, batch_size) of one epoch; the rows left over change from epoch to epoch."""
    order = np.random.default_rng([seed, epoch]).permutation(size)
    steps = size // batch_size
    return order[: steps * batch_size].reshape(steps, batch_size)


def step_key(seed: int, epoch: int, step: int) -> PRNGKeyArray:
    """Key of the posterior noise of one step."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), epoch), step)
