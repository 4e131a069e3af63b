"""The interval of a ratio of dispersions: its parts by hand, its coverage by simulation with known truth."""

import time

import numpy as np
import pytest
from scipy import stats

from identmetric_cli.analysis import coefficient_of_variation, ratio_interval, summarise
from identmetric_cli.analysis.variability import standard_deviation


def tables(rng, runs=5, pairs=40, spreads=(0.05, 0.10)):
    size = rng.uniform(2, 4, size=pairs)
    return [size * (1 + spread * rng.normal(size=(runs, pairs))) for spread in spreads]


def by_definition(one, other, members):
    """Loops over runs, and over all pairs of units with a common item."""
    a, b = coefficient_of_variation(one), coefficient_of_variation(other)
    k, units = one.shape
    theta = [
        np.log(np.mean(one_cv) / np.mean(other_cv))
        for one_cv, other_cv in (
            [coefficient_of_variation(np.delete(each, r, axis=0)) for each in (one, other)] for r in range(k)
        )
    ]
    over_runs = (k - 1) / k * np.sum((np.array(theta) - np.mean(theta)) ** 2)
    e = a / a.mean() - b / b.mean()
    items = len(np.unique(members))
    own = np.sum(e**2)
    shared = sum(
        e[p] * e[q] for p in range(units) for q in range(units) if p != q and set(members[p]) & set(members[q])
    )
    over_items = items / (items - 2) / units**2 * (own + max(shared, 0))
    margin = stats.t.ppf(0.975, k - 1) * np.sqrt(over_runs + over_items)
    return np.exp(np.log(a.mean() / b.mean()) + np.array([-margin, margin]))


def test_the_interval_is_that_of_its_definition(rng):
    one, other = tables(rng)
    members = np.stack(np.triu_indices(10, 1), axis=1)[:40]
    np.testing.assert_allclose(
        ratio_interval(one, other, coefficient_of_variation, members), by_definition(one, other, members)
    )


def test_units_without_common_items_are_the_default(rng):
    one, other = tables(rng)
    apart = np.arange(40)[:, None]
    expected = ratio_interval(one, other, coefficient_of_variation, apart)
    assert ratio_interval(one, other, coefficient_of_variation) == expected


def test_the_interval_turns_over_with_the_ratio(rng):
    one, other = tables(rng)
    low, high = ratio_interval(one, other, coefficient_of_variation)
    assert ratio_interval(other, one, coefficient_of_variation) == pytest.approx((1 / high, 1 / low))
    assert 0.4 < low < 0.5 < high < 0.7


def test_a_common_item_widens_the_interval(rng):
    """All pairs share item 0, and the measure is noisier at some of the others alone."""
    one, other = tables(rng)
    pairs = np.stack([np.repeat(np.arange(4), 10), np.arange(4, 44)], axis=1)
    one[:, :10] *= 1 + 0.5 * rng.normal(size=(5, 10))
    shared, apart = (ratio_interval(one, other, coefficient_of_variation, each) for each in (pairs, None))
    assert shared[1] / shared[0] > 1.2 * apart[1] / apart[0]


def test_only_units_that_are_finite_in_every_run_count(rng):
    one, other = tables(rng)
    members = np.arange(80).reshape(40, 2) // 3
    with_gaps = one.copy(), other.copy()
    with_gaps[0][1, 3], with_gaps[1][2, 7] = np.nan, np.inf
    kept = np.delete(np.arange(40), [3, 7])
    assert ratio_interval(*with_gaps, coefficient_of_variation, members) == ratio_interval(
        one[:, kept], other[:, kept], coefficient_of_variation, members[kept]
    )


def test_two_runs_one_unit_or_no_variation_have_no_interval(rng):
    one, other = tables(rng)
    for some in ((one[:2], other[:2]), (one[:, :1], other[:, :1]), (one, np.ones_like(one))):
        assert np.isnan(ratio_interval(*some, standard_deviation)).all()


def test_shapes_that_do_not_fit_are_refused_with_what_was_got(rng):
    one, other = tables(rng)
    with pytest.raises(ValueError, match=r"\(5, 40\) and \(5, 39\)"):
        ratio_interval(one, other[:, 1:], coefficient_of_variation)
    with pytest.raises(ValueError, match=r"40 units .*\(39, 2\)"):
        ratio_interval(one, other, coefficient_of_variation, np.ones((39, 2)))


@pytest.mark.parametrize("runs", [3, 5, 10])
@pytest.mark.parametrize("factor", [0.0, 0.08], ids=["independent noise", "factors of runs"])
def test_nineteen_of_twenty_intervals_hold_the_truth(runs, factor):
    """All pairs of 12 items with effects of their own on the noise; `benchmarks/coverage.py` has many more kinds."""
    rng = np.random.default_rng(runs)
    pairs = np.stack(np.triu_indices(12, 1), axis=1)
    many = np.exp(0.3 * rng.normal(size=(2, 100_000, 2)).sum(axis=2))
    wanted = [
        np.sqrt((s * h) ** 2 * (1 + factor**2) + factor**2).mean() for s, h in zip((0.03, 0.05), many, strict=True)
    ]
    held = 0
    for _ in range(200):
        sizes = np.exp(0.3 * rng.normal(size=(2, 1, 12))[:, :, pairs].sum(axis=3))
        noise = np.array([0.03, 0.05])[:, None, None] * sizes * rng.normal(size=(2, runs, len(pairs)))
        one, other = 3 * (1 + noise) * (1 + factor * rng.normal(size=(2, runs, 1)))
        low, high = ratio_interval(one, other, coefficient_of_variation, pairs)
        held += low <= wanted[0] / wanted[1] <= high
    assert held >= 182, held


def test_a_hundred_pairs_in_ten_runs_take_no_time(rng):
    one, other = tables(rng, runs=10, pairs=100)
    members = rng.permutation(200).reshape(100, 2)
    began = time.perf_counter()
    ratio_interval(one, other, coefficient_of_variation, members)
    assert time.perf_counter() - began < 0.2


def test_triples_share_items_too(rng):
    """Summaries hand the items of triples on, and tests over pairs do without them."""
    one, other = tables(rng, pairs=30)
    triples = rng.permutation(90).reshape(30, 3) // 4
    row = summarise({"angle": one, "angle_latent": other}, "angle_latent", triples, dispersion="sd")[0]
    assert row.cv_ratio_ci95 == ratio_interval(one, other, standard_deviation, triples)
    assert row.cv_ratio_ci95 != ratio_interval(one, other, standard_deviation)
    assert row.ci95 == summarise({"angle": one, "angle_latent": other}, "angle_latent", dispersion="sd")[0].ci95
