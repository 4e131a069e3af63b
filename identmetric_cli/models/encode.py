"""Many items through an encoder."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from identmetric_cli.batching import in_batches
from identmetric_cli.models.ensemble import EnsembleVAE

BATCH_SIZE = 128


def encode(model: EnsembleVAE, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Posterior means and variances of items (n, *shape): two arrays (n, latent), float32."""
    return in_batches(partial(_encode, model), (items,), BATCH_SIZE)


@jax.jit
def _encode(model: EnsembleVAE, x: Array) -> tuple[Array, Array]:
    mean, log_variance = model.encode(x)
    return mean, jnp.exp(log_variance)
