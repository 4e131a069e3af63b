"""The Frechet mean: the point with the least weighted sum of squared distances to given ones.

Its gradient is minus twice the weighted sum of logarithmic maps, so the mean is the fixed point of walking along that
sum. A walk that does not lower the sum of squares is halved (Afsari, Tron and Vidal 2013, arXiv 1201.0925).

A curve whose energy can still fall by a share r of itself has a logarithm that is off by a share of about sqrt(r).
No walk comes nearer than that, and at a gradient g the sum of squares is only about g^2 above its least. So curves
are solved for r well below the square of the tolerance.

Where points are spread widely on a curved manifold there can be several local means; the one near the latent average
is found.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from identmetric_cli.geometry.contracts import usable
from identmetric_cli.geometry.estimators import EXPECTED, Estimator
from identmetric_cli.geometry.lbfgs import Status
from identmetric_cli.geometry.measures import logarithms, tangent_gram
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
    error: float
    """How much of `gradient` may come from curves that are not solved to the end."""
    converged: bool
    """Whether `gradient` is below the tolerance, or below `error` where that is larger."""
    steps: int


class _View(NamedTuple):
    """What is seen from a point: where to walk, and the fields of `FrechetMean`."""

    walk: Float[np.ndarray, " latent"]
    variance: float
    gradient: float
    error: float


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

    It has converged when the gradient is below `tolerance`, or below what the errors of the logarithms make. The
    mean itself is also off by what a curve's few `nodes` do to lengths. `options` are those of `geodesics`, `rtol`
    by default a tenth of the square of `tolerance`, as far as the dtype goes. Raises ValueError on shapes, on weights
    that are negative or all zero, and for `independent`, which is no metric.
    """
    points = usable(points)
    if points.ndim != 2 or not len(points):
        raise ValueError(f"points must be (points, latent), got {points.shape}")
    shares = np.ones(len(points)) if weights is None else np.asarray(weights, np.float64)
    if shares.shape != (len(points),) or not (shares >= 0).all() or not shares.sum() > 0:
        raise ValueError(f"weights must be {len(points)} numbers of zero or more that are not all zero")
    shares = shares / shares.sum()

    options.setdefault("rtol", np.clip(tolerance**2 / 10, np.finfo(points.dtype).eps, 1e-4))

    def look(z: np.ndarray) -> _View:
        u, table = logarithms(decode, np.broadcast_to(z, points.shape), points, estimator=estimator, **options)
        longest = np.max(table.length, initial=0.0, where=np.isfinite(table.length))
        # A point that only rounding keeps from z is no failure.
        u[(table.status == Status.degenerate) & (table.length < np.sqrt(np.finfo(u.dtype).eps) * longest)] = 0.0
        errors = np.where(table.converged, table.length * table.gradient, 0.0)
        products = tangent_gram(decode, z[None], u[None], estimator=estimator)[0].astype(np.float64)
        variance = float(shares @ np.diag(products))
        spread = np.sqrt(variance) if variance > 0 else np.nan if np.isnan(variance) else 1.0
        slope = np.sqrt(np.maximum(shares @ products @ shares, 0.0))
        return _View(shares @ u, variance, float(slope / spread), float(shares @ errors / spread))

    z = (shares @ points).astype(points.dtype)
    here = look(z)
    size, steps = 1.0, 0
    while here.gradient > max(tolerance, here.error) and size >= SMALLEST_STEP and steps < max_steps:
        trial = (z + size * here.walk).astype(points.dtype)
        there = look(trial)
        steps += 1
        if there.variance < here.variance:
            z, here, size = trial, there, min(1.0, 2 * size)
        else:
            size /= 2
    converged = bool(here.gradient <= max(tolerance, here.error))
    return FrechetMean(z, *here[1:], converged, steps)
