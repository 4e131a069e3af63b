from itertools import combinations

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from identmetric_cli.analysis import (
    coefficient_of_variation,
    intraclass_correlation,
    kendall_w,
    mean_spearman,
)

# Shrout and Fleiss 1979, Psychological Bulletin 86, table 2: four judges (rows here) rate six targets.
RATINGS = np.array([[9, 6, 8, 7, 10, 6], [2, 1, 4, 1, 5, 2], [5, 3, 6, 2, 6, 4], [8, 2, 8, 6, 9, 7]])

STATISTICS = [intraclass_correlation, mean_spearman, kendall_w]


def test_icc_of_the_ratings_of_shrout_and_fleiss():
    # Their table 3 prints the mean squares 11.24 (targets), 32.49 (judges), 1.02 (residual).
    icc_a1, icc_c1 = intraclass_correlation(RATINGS)
    assert round(icc_a1, 2) == 0.29
    assert round(icc_c1, 2) == 0.71
    targets, judges, residual = 11.24, 32.49, 1.02
    assert icc_c1 == pytest.approx((targets - residual) / (targets + 3 * residual), abs=2e-3)
    assert icc_a1 == pytest.approx(
        (targets - residual) / (targets + 3 * residual + 4 / 6 * (judges - residual)), abs=2e-3
    )


def test_icc_recovers_the_share_of_variance_that_is_between_pairs(rng):
    runs, pairs = 40, 4000
    signal, noise = 2 * rng.normal(size=pairs), rng.normal(size=(runs, pairs))
    icc_a1, icc_c1 = intraclass_correlation(10 + signal + noise)
    assert icc_a1 == pytest.approx(4 / 5, abs=0.02)
    assert icc_c1 == pytest.approx(4 / 5, abs=0.02)


def test_spearman_is_the_mean_over_pairs_of_runs(rng):
    values = rng.integers(0, 6, size=(5, 12))
    expected = np.mean([spearmanr(values[r], values[s]).statistic for r, s in combinations(range(5), 2)])
    assert mean_spearman(values) == pytest.approx(expected, abs=1e-12)


def test_kendall_w_follows_its_definition_with_ties(rng):
    values = rng.integers(0, 4, size=(5, 9))
    runs, pairs = values.shape
    rank_sums = rankdata(values, axis=1).sum(axis=0)
    sizes = np.concatenate([np.unique(run, return_counts=True)[1] for run in values])
    ties = np.sum(sizes**3 - sizes)
    spread = np.sum((rank_sums - rank_sums.mean()) ** 2)
    expected = 12 * spread / (runs**2 * (pairs**3 - pairs) - runs * ties)
    assert kendall_w(values) == pytest.approx(expected, abs=1e-12)


def test_kendall_w_without_ties_is_the_mean_spearman_in_other_units(rng):
    values = rng.normal(size=(5, 9))
    assert mean_spearman(values) == pytest.approx((5 * kendall_w(values) - 1) / 4)


def test_a_shared_offset_lowers_the_cv_but_improves_no_agreement(rng):
    values = rng.uniform(1, 2, size=20) + 0.3 * rng.uniform(size=(6, 20))
    offset = values + 50
    assert coefficient_of_variation(offset).mean() < coefficient_of_variation(values).mean() / 20
    for statistic in STATISTICS:
        np.testing.assert_allclose(statistic(offset), statistic(values), atol=1e-9)


def test_an_offset_of_one_run_lowers_absolute_agreement_only(rng):
    values = rng.uniform(1, 2, size=20) + 0.1 * rng.uniform(size=(6, 20))
    offset = values + np.arange(6)[:, None]
    assert intraclass_correlation(values)[0] > 0.8
    assert intraclass_correlation(offset)[0] < 0.1
    np.testing.assert_allclose(intraclass_correlation(offset)[1], intraclass_correlation(values)[1])
    assert mean_spearman(offset) == pytest.approx(mean_spearman(values))


@pytest.mark.parametrize("statistic", STATISTICS)
def test_perfect_agreement_is_one(statistic):
    np.testing.assert_allclose(statistic(np.tile([0.3, 0.1, 0.7], (4, 1))), 1.0)


@pytest.mark.parametrize("statistic", STATISTICS)
@pytest.mark.parametrize(
    "values",
    [
        np.full((3, 5), 0.1),
        np.ones((3, 1)),
        np.ones((3, 0)),
        np.array([[1.0, 2.0, np.nan], [1.0, 2.0, 3.0]]),
        np.array([[1.0, 2.0, np.inf], [1.0, 2.0, 3.0]]),
    ],
    ids=["constant", "one pair", "no pair", "nan", "inf"],
)
def test_agreement_about_nothing_is_undefined(statistic, values):
    assert np.isnan(statistic(values)).all()


def test_a_run_that_ranks_nothing_leaves_spearman_undefined():
    assert np.isnan(mean_spearman([[1.0, 1.0, 1.0], [1.0, 2.0, 3.0]]))


def test_pairs_that_do_not_differ_leave_consistency_undefined():
    icc_a1, icc_c1 = intraclass_correlation(np.array([[0.1], [0.2], [0.4]]) * np.ones((3, 5)))
    assert icc_a1 == pytest.approx(0.0, abs=1e-9)
    assert np.isnan(icc_c1)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_one_run_agrees_with_nobody(statistic):
    with pytest.raises(ValueError, match="got 1"):
        statistic(np.ones((1, 4)))
