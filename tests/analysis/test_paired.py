import numpy as np
import pytest
from scipy import stats

from identmetric_cli.analysis import bootstrap_interval, paired_test
from identmetric_cli.analysis.paired import _scale_of_draws


@pytest.fixture
def cvs(rng):
    baseline = rng.uniform(0.02, 0.04, size=60)
    return baseline - 0.002 + 0.005 * rng.normal(size=60), baseline


def test_the_tests_are_those_of_scipy(cvs):
    cv, baseline = cvs
    result = paired_test(cv, baseline)
    student = stats.ttest_rel(cv, baseline, alternative="less")
    assert (result.t, result.df, result.p_less) == pytest.approx(
        (student.statistic, student.df, student.pvalue), rel=1e-9
    )
    assert result.wilcoxon_p == pytest.approx(stats.wilcoxon(cv, baseline, alternative="less").pvalue)
    assert result.difference == pytest.approx(np.mean(cv) - np.mean(baseline))
    assert result.difference_se == pytest.approx(stats.sem(cv - baseline))
    assert result.effect == pytest.approx(result.t / np.sqrt(60))
    assert result.pairs == 60


def test_less_variation_than_the_baseline_is_a_small_p(cvs):
    cv, baseline = cvs
    less, more = paired_test(cv, baseline), paired_test(baseline, cv)
    assert less.t < 0 < more.t
    assert max(less.p_less, less.wilcoxon_p) < 0.05
    assert min(more.p_less, more.wilcoxon_p) > 0.95


def test_only_pairs_where_both_are_defined_count(cvs):
    cv, baseline = cvs
    endpoints = np.arange(120).reshape(60, 2) // 3
    gap_cv, gap_baseline = cv.copy(), baseline.copy()
    gap_cv[3], gap_baseline[[3, 8]] = np.nan, np.inf
    kept = np.delete(np.arange(60), [3, 8])
    assert paired_test(gap_cv, gap_baseline, endpoints=endpoints) == paired_test(
        cv[kept], baseline[kept], endpoints=endpoints[kept]
    )


@pytest.mark.parametrize("endpoints", [None, [[0, 1], [1, 2], [2, 3], [3, 4], [4, 5]]])
def test_equal_differences_leave_t_undefined_and_the_rest_exact(endpoints):
    baseline = np.array([0.1, 0.2, 0.3, 0.4, 0.7])
    result = paired_test(baseline - 0.05, baseline, endpoints=endpoints)
    assert result.difference == pytest.approx(-0.05)
    assert result.difference_se == 0
    assert np.isnan([result.t, result.p_less, result.effect]).all()
    assert result.wilcoxon_p == pytest.approx(1 / 32)
    assert result.ci95 == pytest.approx((-0.05, -0.05))


@pytest.mark.parametrize("endpoints", [None, [[0, 1], [1, 2], [2, 3], [3, 4]]])
def test_no_difference_leaves_all_tests_undefined(endpoints):
    baseline = np.array([0.1, 0.2, 0.3, 0.4])
    result = paired_test(baseline + np.array([0, 1e-16, -1e-16, 0]), baseline, endpoints=endpoints)
    assert (result.difference, result.difference_se, result.ci95) == (0, 0, (0, 0))
    assert np.isnan([result.t, result.p_less, result.effect, result.wilcoxon_p]).all()


def test_one_pair_has_a_difference_and_nothing_else():
    result = paired_test([0.1], [0.3], endpoints=[[4, 9]])
    assert result.difference == pytest.approx(-0.2)
    assert (result.pairs, result.df) == (1, 0)
    assert np.isnan([result.difference_se, result.t, result.p_less, result.wilcoxon_p, *result.ci95]).all()


def test_no_pair_is_no_error():
    assert np.isnan(paired_test([np.nan], [0.3]).difference)


def test_shapes_that_do_not_fit_are_refused_with_what_was_got():
    with pytest.raises(ValueError, match=r"\(3,\) and \(2,\)"):
        paired_test(np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match=r"\(1, 3\)"):
        paired_test(np.ones((1, 3)), np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"3 units .*\(2, 3\)"):
        paired_test(np.ones(3), np.ones(3), endpoints=np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"\(3, 1\)"):
        bootstrap_interval(np.ones((3, 1)))


def test_the_interval_is_reproducible_and_moves_with_the_seed(cvs):
    difference = cvs[0] - cvs[1]
    assert bootstrap_interval(difference, seed=1) == bootstrap_interval(difference, seed=1)
    assert bootstrap_interval(difference, seed=1) != bootstrap_interval(difference, seed=2)


@pytest.mark.parametrize(("level", "errors"), [(0.95, 1.96), (0.5, 0.674)])
def test_the_interval_over_pairs_is_that_of_the_normal_theory(cvs, level, errors):
    difference = cvs[0] - cvs[1]
    expected = difference.mean() + errors * stats.sem(difference) * np.array([-1, 1])
    interval = bootstrap_interval(difference, level=level)
    np.testing.assert_allclose(interval, expected, atol=0.1 * np.ptp(expected))


def test_pairs_without_common_points_get_the_interval_over_pairs(cvs):
    difference = cvs[0] - cvs[1]
    alone = np.arange(120).reshape(60, 2)
    over_pairs, over_points = bootstrap_interval(difference), bootstrap_interval(difference, alone)
    np.testing.assert_allclose(over_points, over_pairs, atol=0.1 * np.ptp(over_pairs))


def test_draws_of_points_are_scaled_to_the_cluster_robust_variance(rng):
    index = np.stack(np.triu_indices(7, 1), axis=1)[::2]
    values = rng.normal(size=7)[index].sum(axis=1)
    error = values - values.mean()
    robust = drawn = 0.0
    for p, e in zip(index, error, strict=True):
        for q, f in zip(index, error, strict=True):
            common = len(set(p) & set(q))
            robust += e * f * (common > 0) * 7 / 5
            drawn += e * f * (0, 1, 3)[common]
    assert _scale_of_draws(values, index) == pytest.approx(np.sqrt(robust / drawn))


def test_the_names_of_the_points_do_not_matter(cvs, rng):
    difference = cvs[0] - cvs[1]
    endpoints = rng.integers(0, 20, size=(60, 2))
    assert bootstrap_interval(difference, endpoints) == bootstrap_interval(difference, 1000 + 7 * endpoints)


def test_pairs_that_share_points_are_covered_by_the_interval_over_points_only(rng):
    """All pairs of 25 points, where a pair's value is the sum of its points' own values, plus noise."""
    endpoints = np.stack(np.triu_indices(25, 1), axis=1)
    repeats = 200
    covered = np.zeros(2)
    for seed in range(repeats):
        values = rng.normal(size=25)[endpoints].sum(axis=1) + rng.normal(size=len(endpoints))
        for kind, given in enumerate((None, endpoints)):
            low, high = bootstrap_interval(values, given, resamples=300, seed=seed)
            covered[kind] += low <= 0 <= high
    over_pairs, over_points = covered / repeats
    assert over_pairs < 0.6
    assert 0.85 < over_points < 0.99
