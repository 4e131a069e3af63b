"""Angles and volumes at a point, from the initial velocities of geodesics that leave it.

With u_i the logarithmic map of target i at the origin o and J = J_F(o), the Gram matrix <J u_i, J u_j> holds squared
distances on its diagonal, angles off it and volumes in its determinant. All are isometry invariants, so retraining
a perfectly identified model would leave them as they are.
"""

from functools import partial
from typing import Any

import numpy as np
from jax import Array
from jaxtyping import Float

from identmetric_cli.batching import in_batches
from identmetric_cli.geometry.estimators import EXPECTED, Estimator
from identmetric_cli.geometry.lbfgs import Status
from identmetric_cli.geometry.metric import gram, maps
from identmetric_cli.geometry.solve import geodesics
from identmetric_cli.geometry.table import GeodesicTable
from identmetric_cli.geometry.tensor import MetricTensor
from identmetric_cli.types import Decoders

BATCH_SIZE = 16


def logarithmic_map(
    decode: Decoders | MetricTensor,
    starts: Float[Array, "pairs latent"],
    ends: Float[Array, "pairs latent"],
    *,
    estimator: Estimator = EXPECTED,
    **options: Any,
) -> np.ndarray:
    """Velocities with which geodesics leave `starts` to be at `ends` after unit time, each (P, d) -> (P, d).

    Their norm under the metric is the distance. `options` are those of `geodesics`. NaN where a geodesic did not
    converge. Raises ValueError on shapes.
    """
    return logarithms(decode, starts, ends, estimator=estimator, **options)[0]


def logarithms(
    decode: Decoders | MetricTensor,
    starts: Float[Array, "pairs latent"],
    ends: Float[Array, "pairs latent"],
    *,
    estimator: Estimator = EXPECTED,
    **options: Any,
) -> tuple[np.ndarray, GeodesicTable]:
    """Logarithmic maps, and what is known of their geodesics."""
    estimator.require_metric()
    table = geodesics(decode, starts, ends, estimator=estimator, **options)
    velocity = table.velocity[:, 0]
    square = tangent_gram(decode, np.asarray(starts), velocity[:, None], estimator=estimator)[:, 0, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = velocity * (table.length / np.sqrt(square)).astype(velocity.dtype)[:, None]
    scaled[~table.converged] = np.nan
    scaled[table.status == Status.identical_endpoints] = 0.0
    return scaled, table


def angles(
    decode: Decoders | MetricTensor,
    origins: Float[Array, "points latent"],
    targets: Float[Array, "points 2 latent"],
    **options: Any,
) -> np.ndarray:
    """Angle at each origin between the geodesics to its two targets, in radians, (P,).

    `options` are those of `geodesics`. NaN where one of the two did not converge. Raises ValueError on shapes.
    """
    return angle(_log_gram(decode, origins, targets, **options))


def volumes(
    decode: Decoders | MetricTensor,
    origins: Float[Array, "points latent"],
    targets: Float[Array, "points m latent"],
    **options: Any,
) -> np.ndarray:
    """Volume that the logarithmic maps of m targets span at each origin, in data units to the m, (P,).

    `options` are those of `geodesics`. NaN where a geodesic did not converge. Raises ValueError on shapes.
    """
    return volume(_log_gram(decode, origins, targets, **options))


def tangent_gram(
    decode: Decoders | MetricTensor,
    origins: Float[Array, "points latent"],
    vectors: Float[Array, "points m latent"],
    *,
    estimator: Estimator = EXPECTED,
) -> np.ndarray:
    """<J u_i, J u_j> at every origin, (P, m, m)."""
    products = partial(gram, maps(decode), estimator=estimator)
    return in_batches(products, (origins, vectors), min(BATCH_SIZE, len(origins)))


def angle(grams: np.ndarray) -> np.ndarray:
    """Angle in radians between two vectors, from their Gram matrix (..., 2, 2)."""
    lengths = np.sqrt(grams[..., 0, 0] * grams[..., 1, 1])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.arccos(np.clip(grams[..., 0, 1] / lengths, -1.0, 1.0))


def volume(grams: np.ndarray) -> np.ndarray:
    """Volume that m vectors span, from their Gram matrix (..., m, m)."""
    with np.errstate(invalid="ignore"):
        return np.sqrt(np.maximum(np.linalg.det(grams), 0.0))


def _log_gram(decode: Decoders, origins: Array, targets: Array, **options: Any) -> np.ndarray:
    origins, targets = np.asarray(origins), np.asarray(targets)
    if targets.ndim != 3 or (targets.shape[0], targets.shape[2]) != origins.shape:
        raise ValueError(
            f"origins must be (points, latent), targets (points, m, latent); got {origins.shape} and {targets.shape}"
        )
    points, count, dimension = targets.shape
    velocities = logarithmic_map(decode, np.repeat(origins, count, axis=0), targets.reshape(-1, dimension), **options)
    estimator = options.get("estimator", EXPECTED)
    return tangent_gram(decode, origins, velocities.reshape(points, count, dimension), estimator=estimator)
