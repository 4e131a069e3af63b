"""How much a measure varies from one retraining to the next.

Two retrainings of a model give two latent spaces. A relation between two data points that belongs to the
data, and not to the coordinates a training happened to choose, comes out the same in both. Its spread over
runs, relative to its size, is the coefficient of variation (CV): one number a pair, without a unit.

A latent space has no unit of its own either, so raw latent distances may differ between runs by a mere
factor. `scale_normalised` takes that factor out, and leaves the variation that no choice of unit explains.
"""

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike


def as_table(values: ArrayLike) -> Float[np.ndarray, "runs pairs"]:
    """`values` as float64; ValueError unless it has two axes, (runs, pairs), and at least two runs."""
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2:
        raise ValueError(f"a table has two axes, (runs, pairs); got shape {table.shape}")
    if table.shape[0] < 2:
        raise ValueError(
            f"variation between runs needs at least 2 runs; got {table.shape[0]}: train with another seed"
        )
    return table


def coefficient_of_variation(values: ArrayLike) -> Float[np.ndarray, " pairs"]:
    """CV = s / mean over the runs of a (runs, pairs) table, s with ddof = 1; shape (pairs,).

    NaN where the mean is 0 or a run's value is not finite. ValueError for fewer than two runs.
    """
    table = as_table(values)
    with np.errstate(invalid="ignore"):
        mean, deviation = table.mean(axis=0), table.std(axis=0, ddof=1)
    cv = np.full_like(mean, np.nan)
    np.divide(deviation, mean, out=cv, where=mean != 0)
    return cv


def standard_deviation(values: ArrayLike) -> Float[np.ndarray, " pairs"]:
    """s over the runs of a (runs, pairs) table, with ddof = 1, in the measure's own unit; shape (pairs,).

    For what has no zero to be relative to: angles, whose CV would be large near 0 and small near 180 degrees for the
    same uncertainty, and curvatures, which change sign. NaN where a run's value is not finite. ValueError for fewer
    than two runs.
    """
    with np.errstate(invalid="ignore"):
        return as_table(values).std(axis=0, ddof=1)


def scale_normalised(values: ArrayLike) -> Float[np.ndarray, "runs pairs"]:
    """x_rp / mean_p x_rp: each run of a (runs, pairs) table in units of its own mean over pairs; same shape.

    The mean is over the pairs that are finite in every run, so that all runs are measured by the same pairs.
    A run whose mean is 0 or undefined becomes NaN. ValueError for fewer than two runs.
    """
    table = as_table(values)
    complete = table[:, np.isfinite(table).all(axis=0)]
    scale = complete.mean(axis=1, keepdims=True) if complete.size else np.zeros((len(table), 1))
    return table / np.where(scale == 0, np.nan, scale)
