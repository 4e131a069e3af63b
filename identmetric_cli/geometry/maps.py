"""A picture of a latent space: the plane of largest spread through its codes, and how much data area lies on it.

In two dimensions the plane is the space, and the area element is sqrt det G, the volume element. In more it is a
flat slice: sqrt det(E^T G E) for the two orthonormal directions E of the slice. Both are densities, which a change of
coordinates changes: a background to look at, not a quantity to compare.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from identmetric_cli.batching import in_batches
from identmetric_cli.geometry.metric import gram
from identmetric_cli.types import Decoders

RESOLUTION = 28
BATCH_SIZE = 112


def latent_map(decode: Decoders, codes: np.ndarray) -> dict[str, Any]:
    """Codes (n, d) on the plane of their first two principal components, and the log area element of a grid on it."""
    centre = codes.mean(axis=0)
    dimension = codes.shape[1]
    if dimension <= 2:
        axes, centre = np.eye(max(dimension, 2), dimension, dtype=codes.dtype), np.zeros_like(centre)
    else:
        axes = np.linalg.svd(codes - centre, full_matrices=False)[2][:2]
    points = (codes - centre) @ axes.T
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.08 * np.maximum(high - low, 1e-6)
    x, y = (np.linspace(low[i] - margin[i], high[i] + margin[i], RESOLUTION) for i in range(2))
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    nodes = (centre + grid @ axes).astype(codes.dtype)
    basis = axes if dimension > 1 else axes[:1]
    area = in_batches(partial(_log_area, decode, jnp.asarray(basis)), (nodes,), BATCH_SIZE)
    return {"points": points, "x": x, "y": y, "log_area": area.reshape(RESOLUTION, RESOLUTION)}


def _log_area(decode: Decoders, axes: Array, z: Array) -> Array:
    grams = gram(decode, z, jnp.broadcast_to(axes, (z.shape[0], *axes.shape)))
    return 0.5 * jnp.log(jnp.maximum(jnp.linalg.det(grams), jnp.finfo(z.dtype).tiny))
