"""Which pairs count, and what a verdict needs."""

import numpy as np

from identmetric_cli.analysis import Evidence, distinct


def test_a_pair_counts_once_in_either_order_and_with_two_items():
    pairs = np.array([[3, 1], [1, 3], [2, 2], [3, 1], [1, 2]])
    np.testing.assert_array_equal(distinct(pairs), [True, False, False, False, True])


def test_enough_of_both_lacks_nothing():
    assert Evidence(runs=3, pairs_asked=12, pairs_distinct=11, pairs_comparable=10).missing() is None


def test_what_is_missing_is_said_with_its_remedy():
    few = Evidence(runs=5, pairs_asked=30, pairs_distinct=9, pairs_comparable=8).missing()
    assert few.startswith("Pairs: 30 asked for, 9 distinct, 8 converged in every run, 10 needed; ask for more pairs")
    failed = Evidence(runs=5, pairs_asked=30, pairs_distinct=30, pairs_comparable=9).missing()
    assert "30 distinct, 9 converged" in failed and "--max-iter" in failed and "--random-pairs" not in failed
    two = Evidence(runs=2, pairs_asked=30, pairs_distinct=30, pairs_comparable=30).missing()
    assert two == "Runs: 2, 3 needed; train more seeds (--seeds 0-4)."
