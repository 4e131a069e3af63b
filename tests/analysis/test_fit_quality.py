import numpy as np
import pytest

from identmetric_cli.analysis import unequal_fit


@pytest.mark.parametrize("elbos", [[-100.0, -100.5, -100.9], [2000.0, 1985.0], [-7.0], []])
def test_equal_fits_pass(elbos):
    assert unequal_fit(elbos) is None


def test_a_run_that_fits_worse_is_named_beside_the_best():
    warning = unequal_fit([-100.0, -104.0, -99.5, -100.2])
    assert "-104 in run 1" in warning
    assert "-99.5 in run 2" in warning


def test_a_gap_within_three_standard_errors_is_an_accident():
    assert unequal_fit([-100.0, -104.0], [1.0, 1.0]) is None
    assert unequal_fit([-100.0, -104.0], [0.9, 0.9]) is not None


def test_a_certain_gap_below_one_percent_does_not_matter():
    assert unequal_fit([-100.0, -100.9], [0.01, 0.01]) is None


def test_unknown_standard_errors_count_as_none():
    assert unequal_fit([-100.0, -100.0], [np.nan, np.nan]) is None
    assert unequal_fit([-100.0, -104.0], [np.nan, np.nan]) == unequal_fit([-100.0, -104.0])


def test_a_run_without_a_finite_elbo_is_named():
    assert "from run 1, run 2;" in unequal_fit([-100.0, np.nan, -np.inf])


def test_shapes_that_do_not_fit_are_refused_with_what_was_got():
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        unequal_fit([-1.0, -2.0], [0.1, 0.1, 0.1])
    with pytest.raises(ValueError, match=r"\(1, 2\)"):
        unequal_fit([[-1.0, -2.0]])
