import numpy as np
import pytest

from identmetric_cli.analysis import coefficient_of_variation, scale_normalised


def test_cv_is_the_sample_deviation_over_the_mean():
    values = [[1.0, 10.0], [2.0, 10.0], [3.0, 40.0]]
    np.testing.assert_allclose(coefficient_of_variation(values), [1 / 2, np.sqrt(300) / 20])


def test_cv_is_undefined_where_the_mean_is_zero_or_a_value_is_not_finite():
    values = np.array([[0.0, -1.0, np.nan, np.inf, 1.0], [0.0, 1.0, 1.0, 1.0, 1.0]])
    np.testing.assert_array_equal(coefficient_of_variation(values), [np.nan] * 4 + [0.0])


@pytest.mark.parametrize(
    ("values", "got"), [(np.ones((1, 4)), "got 1"), (np.ones((0, 4)), "got 0"), (np.ones(4), r"\(4,\)")]
)
@pytest.mark.parametrize("statistic", [coefficient_of_variation, scale_normalised])
def test_one_run_or_another_shape_is_refused_with_what_was_got(statistic, values, got):
    with pytest.raises(ValueError, match=got):
        statistic(values)


def test_scale_normalised_does_not_depend_on_the_scale_of_each_run(rng):
    values = rng.uniform(1, 2, size=(4, 7))
    scaled = values * np.array([[1.0], [10.0], [0.01], [3.0]])
    np.testing.assert_allclose(scale_normalised(scaled), scale_normalised(values))
    np.testing.assert_allclose(scale_normalised(scaled).mean(axis=1), 1.0)


def test_scale_normalised_measures_all_runs_by_the_same_pairs():
    values = np.array([[1.0, 3.0, 100.0], [2.0, 6.0, np.nan]])
    np.testing.assert_allclose(scale_normalised(values), [[0.5, 1.5, 50.0], [0.5, 1.5, np.nan]])


def test_scale_normalised_is_undefined_for_a_run_without_scale():
    values = np.array([[0.0, 0.0], [1.0, 3.0]])
    np.testing.assert_array_equal(scale_normalised(values), [[np.nan, np.nan], [0.5, 1.5]])
    assert np.isnan(scale_normalised(np.full((2, 3), np.nan))).all()
