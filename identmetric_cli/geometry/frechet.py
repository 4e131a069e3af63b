"""The Frechet mean: the point with the least weighted sum of squared distances to given ones.

Its gradient is minus twice the weighted sum of logarithmic maps, so the mean is the fixed point of walking along that
sum. A walk that does not lower the sum of squares is halved (Afsari, Tron and Vidal 2013, arXiv 1201.0925). Where
points are spread widely on a curved manifold there can be several local means; the one near the latent average is
found.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from identmetric_cli.geometry.estimators import EXPECTED, Estimator
from identmetric_cli.geometry.measures import logarithmic_map, tangent_gram
from identmetric_cli.geometry.tensor import MetricTensor
from identmetric_cli.types import Decoders

SMALLEST_STEP = 1 / 64
"""Shorter walks than this share of the full one are not tried."""


class FrechetMean(NamedTuple):
    """A mean and how far to trust it."""

    point: Float[np.ndarray, " latent"]
    variance: float
    """Weighted mean of squared distances, in squared data units; NaN where a geodesic failed."""
    gradient: float
    """Norm of the weighted mean of logarithmic maps over the root of the variance: zero at a mean."""
    converged: bool
    steps: int


def frechet_mean(
    decode: Decoders | MetricTensor,
    points: Float[np.ndarray, "points latent"],
    *,
    weights: Float[np.ndarray, " points"] | None = None,
    tolerance: float = 1e-3,
    max_steps: int = 30,
    estimator: Estimator = EXPECTED,
    **options: Any,
) -> FrechetMean:
    """Frechet mean of `points`, (P, d), under the pull-back metric; `weights` need not sum to one.

    It has converged when the gradient is below `tolerance`, which cannot be far below the error of a curve's few
    `nodes`. `options` are those of `geodesics`. Raises ValueError on
    shapes, on weights that are negative or all zero, and for `independent`, which is no metric.
    """
    points = np.asarray(points)
    if points.ndim != 2 or not len(points):
        raise ValueError(f"points must be (points, latent), got {points.shape}")
    shares = np.ones(len(points)) if weights is None else np.asarray(weights, np.float64)
    if shares.shape != (len(points),) or not (shares >= 0).all() or not shares.sum() > 0:
        raise ValueError(f"weights must be {len(points)} numbers of zero or more that are not all zero")
    shares = shares / shares.sum()

    def look(z: np.ndarray) -> tuple[np.ndarray, float, float]:
        u = logarithmic_map(decode, np.broadcast_to(z, points.shape), points, estimator=estimator, **options)
        products = tangent_gram(decode, z[None], u[None], estimator=estimator)[0].astype(np.float64)
        return shares @ u, float(shares @ np.diag(products)), float(np.sqrt(max(shares @ products @ shares, 0.0)))

    z = (shares @ points).astype(points.dtype)
    walk, variance, slope = look(z)
    size, steps = 1.0, 0
    while slope > tolerance * np.sqrt(variance) and size >= SMALLEST_STEP and steps < max_steps:
        trial = (z + size * walk).astype(points.dtype)
        seen = look(trial)
        steps += 1
        if seen[1] < variance:
            z, (walk, variance, slope), size = trial, seen, min(1.0, 2 * size)
        else:
            size /= 2
    gradient = slope / np.sqrt(variance) if variance > 0 else 0.0 * variance
    return FrechetMean(z, variance, float(gradient), bool(gradient <= tolerance), steps)
