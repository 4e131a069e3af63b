"""Does a measure vary less between retrainings than the baseline does, on the same pairs?

Both coefficients of variation are known for every pair, so the question is about their difference, pair by
pair: Student's paired t, and Wilcoxon's signed ranks beside it for differences that are far from normal. Both
treat the pairs as independent, which pairs that share a data point are not; their p-values are then too
small.

The confidence interval can do without that assumption. Given the pairs' end points, it resamples data points
instead of pairs: a draw that holds point i m_i times gives the pair (i, j) the weight m_i m_j, as if it had
drawn a new set of points and looked at the pairs between them (Snijders and Borgatti 1999; Davezies,
D'Haultfoeuille and Guyonvarch 2021). A pair's weight then varies with both of its points, which for pairs
that share nothing triples the variance. So the draws are scaled about the mean until their variance is the
cluster-robust one of `sharing`. Pairs without a common point thus get the interval of the ordinary bootstrap
over pairs, and pairs with common points, as a rule, a wider one. With fewer than some twenty points it is
still somewhat too narrow.

Every statement is about the runs at hand, and so none is a verdict: all pairs share those runs, and no resampling
of pairs or points shows what other seeds would have given. `ratio` has the interval over runs and items.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Num
from numpy.typing import ArrayLike
from scipy import sparse, stats

from identmetric_cli.analysis.ratio import SAME
from identmetric_cli.analysis.sharing import as_members, item_numbers, sharing_variance


class PairedTest(NamedTuple):
    """Differences CV - baseline CV over pairs; a negative one means that the measure varies less.

    A number that is undefined is NaN: all but `difference` for fewer than two pairs, `t`, `p_less` and
    `effect` where all differences are equal, `wilcoxon_p` where all are 0.
    """

    pairs: int
    difference: float
    """mean difference"""
    difference_se: float
    """its standard error over pairs, s / sqrt(pairs)"""
    t: float
    df: int
    p_less: float
    """one-sided p-value of t: how likely so small a t is if the measure varies as much as the baseline"""
    wilcoxon_p: float
    """the same of Wilcoxon's signed-rank test"""
    effect: float
    """Cohen's d_z, mean difference / s"""
    ci95: tuple[float, float]
    """bootstrap interval of the mean difference"""


def paired_test(
    cv: ArrayLike,
    baseline_cv: ArrayLike,
    *,
    endpoints: ArrayLike | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> PairedTest:
    """One-sided paired tests of cv < baseline_cv, both (pairs,), over the pairs where both are finite.

    `endpoints`, (pairs, 2), names each pair's data points and makes the interval one over points.
    ValueError where the shapes do not fit.
    """
    cv, baseline_cv = np.asarray(cv, dtype=np.float64), np.asarray(baseline_cv, dtype=np.float64)
    if cv.ndim != 1 or cv.shape != baseline_cv.shape:
        raise ValueError(f"paired values have one shape, (pairs,); got {cv.shape} and {baseline_cv.shape}")
    used = np.isfinite(cv) & np.isfinite(baseline_cv)
    if endpoints is not None:
        endpoints = as_members(endpoints, len(cv), of=2)[used]

    difference = cv[used] - baseline_cv[used]
    difference[np.abs(difference) < SAME] = 0.0
    pairs, df = len(difference), max(len(difference) - 1, 0)
    mean = float(difference.mean()) if pairs else np.nan
    if pairs < 2:
        return PairedTest(pairs, mean, np.nan, np.nan, df, np.nan, np.nan, np.nan, (np.nan, np.nan))

    spread = float(difference.std(ddof=1)) if np.ptp(difference) > SAME else 0.0
    effect = mean / spread if spread else np.nan
    t = effect * np.sqrt(pairs)
    return PairedTest(
        pairs=pairs,
        difference=mean,
        difference_se=float(spread / np.sqrt(pairs)),
        t=float(t),
        df=df,
        p_less=float(stats.t.cdf(t, df)),
        wilcoxon_p=_wilcoxon_less(difference),
        effect=effect,
        ci95=bootstrap_interval(difference, endpoints, resamples=resamples, seed=seed),
    )


def bootstrap_interval(
    values: ArrayLike,
    endpoints: ArrayLike | None = None,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of finite `values`, (pairs,), over pairs or over data points.

    `endpoints`, (pairs, 2), names the two data points of each pair and chooses points. NaN for fewer than two
    pairs; ValueError where the shapes do not fit.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"values have the shape (pairs,); got {values.shape}")
    rng = np.random.default_rng(seed)
    if endpoints is not None:
        endpoints = as_members(endpoints, len(values), of=2)
    if len(values) < 2:
        return np.nan, np.nan
    if endpoints is None:
        means = _multiplicities(rng, len(values), resamples) @ values / len(values)
    else:
        means = _means_over_points(values, endpoints, resamples, rng)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _wilcoxon_less(difference: Float[np.ndarray, " pairs"]) -> float:
    return float(stats.wilcoxon(difference, alternative="less").pvalue) if difference.any() else np.nan


def _means_over_points(
    values: Float[np.ndarray, " pairs"],
    endpoints: Num[np.ndarray, "pairs 2"],
    resamples: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, " draws"]:
    index = item_numbers(endpoints)
    first, second = index.T
    points = int(index.max()) + 1
    multiplicity = _multiplicities(rng, points, resamples)

    def weighted_sum(of_pairs: np.ndarray) -> np.ndarray:
        matrix = sparse.csr_array((of_pairs, (first, second)), shape=(points, points))
        return np.sum((multiplicity @ matrix) * multiplicity, axis=1)

    weight = weighted_sum(np.ones_like(values))
    drawn = weight > 0
    means = weighted_sum(values)[drawn] / weight[drawn]
    return values.mean() + _scale_of_draws(values, index) * (means - values.mean())


def _scale_of_draws(values: Float[np.ndarray, " pairs"], index: Int[np.ndarray, "pairs 2"]) -> float:
    """sqrt(V / V_drawn), where V_drawn has 3 e_p^2 in the place of V's e_p^2, and no n / (n - 2)."""
    error = values - values.mean()
    of_points = np.bincount(index.ravel(), np.repeat(error, 2))
    drawn = of_points @ of_points + error @ error
    return float(np.sqrt(sharing_variance(error, index) / drawn)) if error.any() else 1.0


def _multiplicities(rng: np.random.Generator, items: int, resamples: int) -> Float[np.ndarray, "draws items"]:
    return rng.multinomial(items, np.full(items, 1 / items), size=resamples).astype(np.float64)
