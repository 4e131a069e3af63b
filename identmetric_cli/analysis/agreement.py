"""How well retrainings agree about the same pairs.

Each run is a judge, each pair a subject. A small coefficient of variation says that the judges give similar
numbers; it does not say that they tell the pairs apart. Agreement sets the differences between pairs, which
are the signal, against the differences between runs, which are the noise:

- ICC(A,1), absolute agreement: may one run's number stand for another's?
- ICC(C,1), consistency: may it, once each run's own offset is taken out?
- Spearman and Kendall's W: do the runs put the pairs in the same order?

All are 1 for perfect agreement and do not improve when a constant is added to every value. All are NaN where
they are undefined: fewer than two pairs, a value that is not finite, or nothing that differs.
"""

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from identmetric_cli.analysis.variability import as_table

ROUNDING = 1e-12
"""Spread below this part of the largest value is rounding, not spread."""


def intraclass_correlation(values: ArrayLike) -> tuple[float, float]:
    """(ICC(A,1), ICC(C,1)) of a (runs, pairs) table: two-way model, single measurement.

    With k runs, n pairs and the mean squares R of pairs, C of runs, E of the residual,

        ICC(C,1) = (R - E) / (R + (k - 1) E)
        ICC(A,1) = (R - E) / (R + (k - 1) E + k/n (C - E))

    (McGraw and Wong 1996, Psychological Methods 1, 30-46, table 4). ValueError for fewer than two runs.
    """
    table = as_table(values)
    k, n = table.shape
    if n < 2 or not np.isfinite(table).all():
        return np.nan, np.nan
    of_pairs = table.mean(axis=0) - table.mean()
    of_runs = table.mean(axis=1, keepdims=True) - table.mean()
    residual = table - table.mean() - of_pairs - of_runs
    pairs = k * np.sum(of_pairs**2) / (n - 1)
    runs = n * np.sum(of_runs**2) / (k - 1)
    error = np.sum(residual**2) / ((n - 1) * (k - 1))

    consistency = pairs + (k - 1) * error
    absolute = consistency + k / n * (runs - error)
    nothing = (ROUNDING * np.abs(table).max()) ** 2
    icc_a1, icc_c1 = (
        float((pairs - error) / total) if total > nothing else np.nan for total in (absolute, consistency)
    )
    return icc_a1, icc_c1


def mean_spearman(values: ArrayLike) -> float:
    """Mean of Spearman's rank correlation over all pairs of runs of a (runs, pairs) table; ties share a rank.

    For unit vectors u_r of centred ranks, the sum over r != s of u_r . u_s is |sum_r u_r|^2 - k: no loop over
    pairs of runs. ValueError for fewer than two runs.
    """
    ranks = _centred_ranks(values)
    k = len(ranks)
    length = np.linalg.norm(ranks, axis=1, keepdims=True)
    if not length.all():
        return np.nan
    together = np.sum(ranks / length, axis=0)
    return float((together @ together - k) / (k * (k - 1)))


def kendall_w(values: ArrayLike) -> float:
    """Kendall's coefficient of concordance of a (runs, pairs) table, corrected for ties.

    W = 12 S / (k^2 (n^3 - n) - k sum_r T_r) with S the squared spread of the pairs' rank sums and T_r the sum
    of t^3 - t over run r's groups of t ties (Kendall and Gibbons 1990, chapter 6). As (n^3 - n - T_r) / 12 is
    the squared length of run r's centred ranks c_r, W = |sum_r c_r|^2 / (k sum_r |c_r|^2). ValueError for
    fewer than two runs.
    """
    ranks = _centred_ranks(values)
    spread = np.sum(ranks**2)
    together = np.sum(ranks, axis=0)
    return float(together @ together / (len(ranks) * spread)) if spread else np.nan


def _centred_ranks(values: ArrayLike) -> Float[np.ndarray, "runs pairs"]:
    table = as_table(values)
    if not np.isfinite(table).all():
        return np.full_like(table, np.nan)
    if not table.size:
        return table
    return rankdata(table, axis=1) - (table.shape[1] + 1) / 2
