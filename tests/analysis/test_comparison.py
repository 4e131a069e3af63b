import json
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from identmetric_cli.analysis import (
    coefficient_of_variation,
    intraclass_correlation,
    kendall_w,
    mean_spearman,
    paired_test,
    summarise,
)

PAIRED = ["difference", "difference_se", "t", "df", "p_less", "wilcoxon_p", "effect", "ci95"]
FIELDS = [
    *["name", "pairs", "dispersion", "mean", "mean_sd", "mean_cv", "median_cv", "iqr_cv", "cv_ratio"],
    *["cv_ratio_ci95", "verdict", *PAIRED, "icc_a1", "icc_c1", "spearman", "kendall_w", "warnings"],
]


@pytest.fixture
def tables(rng):
    truth = rng.uniform(1, 2, size=30)
    return {
        "geodesic_length": truth + 0.02 * rng.normal(size=(6, 30)),
        "euclidean_latent": truth + 0.10 * rng.normal(size=(6, 30)),
    }


def by_name(*args, **kwargs):
    return {row.name: row for row in summarise(*args, **kwargs)}


def test_a_row_holds_the_statistics_of_the_other_modules(tables):
    row, baseline = summarise(tables)
    values = tables["geodesic_length"]
    cv, baseline_cv = coefficient_of_variation(values), coefficient_of_variation(tables["euclidean_latent"])
    assert (row.name, row.pairs, row.mean) == ("geodesic_length", 30, pytest.approx(values.mean()))
    assert (row.mean_cv, row.median_cv) == pytest.approx((np.mean(cv), np.median(cv)))
    assert row.iqr_cv == pytest.approx(tuple(np.percentile(cv, [25, 75])))
    assert row.cv_ratio == pytest.approx(cv.mean() / baseline_cv.mean())
    test = paired_test(cv, baseline_cv)
    assert [getattr(row, name) for name in PAIRED] == [getattr(test, name) for name in PAIRED]
    assert (row.icc_a1, row.icc_c1) == intraclass_correlation(values)
    assert (row.spearman, row.kendall_w) == (mean_spearman(values), kendall_w(values))
    assert row.warnings == ()
    np.testing.assert_array_equal(row.cv, cv)
    assert baseline.mean_cv == pytest.approx(baseline_cv.mean())


def test_the_baseline_is_not_paired_with_itself(tables):
    row = by_name(tables)["euclidean_latent"]
    assert [getattr(row, name) for name in PAIRED] == [None] * len(PAIRED)
    assert row.cv_ratio == 1
    assert by_name(tables, baseline="geodesic_length")["euclidean_latent"].t > 0


def test_endpoints_reach_the_interval(tables, rng):
    endpoints = rng.integers(0, 12, size=(30, 2))
    row, plain = summarise(tables, endpoints=endpoints)[0], summarise(tables)[0]
    assert row.ci95 != plain.ci95
    assert row.ci95 == paired_test(row.cv, summarise(tables)[1].cv, endpoints=endpoints).ci95
    assert row.p_less == plain.p_less


def test_a_shared_offset_wins_the_cv_but_no_agreement(tables):
    padded = summarise({**tables, "padded": tables["euclidean_latent"] + 50})[-1]
    baseline = by_name(tables)["euclidean_latent"]
    assert padded.cv_ratio < 0.05
    assert padded.p_less < 1e-10
    assert padded.icc_a1 == pytest.approx(baseline.icc_a1)
    assert padded.icc_c1 == pytest.approx(baseline.icc_c1)
    assert padded.spearman == pytest.approx(baseline.spearman)


def test_pairs_that_are_not_finite_in_every_run_are_left_out(tables):
    values = tables["geodesic_length"].copy()
    values[0, 3], values[:, 5], values[2, 7] = np.nan, np.nan, np.inf
    row = summarise({**tables, "geodesic_length": values})[0]
    kept = np.delete(np.arange(30), [3, 5, 7])
    expected = summarise({name: table[:, kept] for name, table in tables.items()})[0]
    assert row.pairs == 27
    assert len(row.warnings) == 1
    assert row.warnings[0].startswith("3 of 30 pairs left out")
    plain, wanted = row.as_dict(), expected.as_dict()
    assert plain.pop("warnings") != wanted.pop("warnings")
    assert plain == wanted
    assert len(row.cv) == 30
    assert np.isnan(row.cv[[3, 5, 7]]).all()


def test_as_dict_is_plain_json(tables):
    undefined = {"nothing": np.full((6, 30), np.nan), "zero": np.zeros((6, 30)), "one": np.ones((6, 30))}
    for row in summarise({**tables, **undefined}):
        plain = row.as_dict()
        assert json.loads(json.dumps(plain, allow_nan=False)) == plain
        assert list(plain) == FIELDS


def test_what_is_undefined_is_none(tables):
    rows = by_name({**tables, "nothing": np.full((6, 30), np.nan), "zero": np.zeros((6, 30))})
    for name, pairs, mean in (("nothing", 0, None), ("zero", 30, 0.0)):
        row = rows[name].as_dict()
        assert (row.pop("pairs"), row.pop("mean")) == (pairs, mean)
        assert (row.pop("name"), row.pop("dispersion")) == (name, "cv")
        assert row.pop("mean_sd") == mean
        assert row.pop("warnings")
        assert set(row.values()) == {None}


def test_one_pair_is_enough_for_a_cv(tables):
    row = summarise({name: table[:, :1] for name, table in tables.items()}, endpoints=[[0, 1]])[0]
    assert row.mean_cv > 0
    assert row.difference is not None
    assert [row.t, row.ci95, row.icc_a1, row.spearman] == [None] * 4


def test_tests_and_verdict_need_ten_pairs(tables):
    few, enough = (summarise({name: table[:, :n] for name, table in tables.items()})[0] for n in (9, 10))
    assert few.difference is not None and few.cv_ratio < 1 and few.icc_a1 > 0.9
    undefined = ["t", "df", "p_less", "wilcoxon_p", "ci95", "cv_ratio_ci95", "verdict"]
    assert [getattr(few, name) for name in undefined] == [None] * 7
    assert enough.df == 9 and enough.cv_ratio_ci95[0] < enough.cv_ratio < enough.cv_ratio_ci95[1]


def test_the_verdict_is_where_the_interval_lies(tables):
    geodesic, latent = tables["geodesic_length"], tables["euclidean_latent"]
    rows = by_name({**tables, "much_worse": latent + 8 * (latent - latent.mean(axis=0)), "alike": latent[::-1, ::-1]})
    verdicts = {name: row.verdict for name, row in rows.items()}
    assert verdicts == {
        "geodesic_length": "steadier",
        "euclidean_latent": None,
        "much_worse": "less steady",
        "alike": "open",
    }
    two = summarise({"geodesic_length": geodesic[:2], "euclidean_latent": latent[:2]})[0]
    assert two.t is not None and (two.cv_ratio_ci95, two.verdict) == (None, None)


@pytest.mark.parametrize(("runs", "error"), [(2, 71), (3, 50), (4, 41)])
def test_few_runs_are_warned_of_with_what_they_cost(tables, runs, error):
    for row in summarise({name: table[:runs] for name, table in tables.items()}):
        (warning,) = row.warnings
        assert warning.startswith(f"only {runs} runs: each standard deviation is uncertain by about {error} %")


def test_a_mean_near_zero_is_warned_of(tables, rng):
    values = tables["geodesic_length"].copy()
    values[:, :2] = rng.normal(size=(6, 2)) * [[1e-3, 1e-3]] + [[0.0, -1.0]]
    (warning,) = summarise({**tables, "geodesic_length": values})[0].warnings
    assert warning.startswith("mean near 0 in 2 of 30 pairs")


def test_a_measure_that_no_run_can_change_is_warned_of(tables):
    ambient = np.tile(tables["geodesic_length"][0], (6, 1))
    row = summarise({**tables, "euclidean_ambient": ambient})[-1]
    (warning,) = row.warnings
    assert warning.startswith("the same in every run")
    assert row.mean_cv == row.median_cv == 0
    undefined = ["cv_ratio", "cv_ratio_ci95", "verdict", *PAIRED, "icc_a1", "icc_c1", "spearman", "kendall_w"]
    assert [getattr(row, name) for name in undefined] == [None] * len(undefined)


def test_no_ratio_to_a_baseline_that_does_not_vary(tables):
    tables["euclidean_latent"] = np.tile(tables["euclidean_latent"][0], (6, 1))
    assert [row.cv_ratio for row in summarise(tables)] == [None, None]


def test_another_number_of_columns_is_summarised_but_not_paired(tables):
    row = summarise({**tables, "angle": tables["geodesic_length"][:, :10]}, endpoints=np.ones((30, 2)))[-1]
    assert row.pairs == 10
    assert [getattr(row, name) for name in PAIRED] == [None] * len(PAIRED)
    assert row.cv_ratio < 1
    assert row.warnings == ("10 columns against the baseline's 30: not paired with it",)


def test_what_cannot_be_compared_is_refused_with_what_was_got(tables):
    with pytest.raises(ValueError, match="got 1"):
        summarise({name: table[:1] for name, table in tables.items()})
    with pytest.raises(ValueError, match=r"'euclid'.*\['euclidean_latent', 'geodesic_length'\]"):
        summarise(tables, baseline="euclid")
    with pytest.raises(ValueError, match="'geodesic_length': 4, 'euclidean_latent': 6"):
        summarise({**tables, "geodesic_length": tables["geodesic_length"][:4]})


def test_rows_are_frozen_and_keep_the_given_order(tables):
    rows = summarise(tables)
    assert [row.name for row in rows] == list(tables)
    assert rows == summarise(tables)
    with pytest.raises(FrozenInstanceError):
        rows[0].mean = 0.0


def test_standard_deviations_in_place_of_coefficients_of_variation(tables):
    angles = {"angle": tables["geodesic_length"] * 10, "angle_latent": tables["euclidean_latent"] * 10}
    angle, latent = summarise(angles, baseline="angle_latent", dispersion="sd")
    spread = {name: table.std(axis=0, ddof=1) for name, table in angles.items()}
    assert angle.mean_sd == pytest.approx(spread["angle"].mean())
    assert (angle.mean_cv, angle.median_cv, angle.iqr_cv) == (None, None, None)
    assert angle.cv_ratio == pytest.approx(spread["angle"].mean() / spread["angle_latent"].mean())
    assert angle.t == paired_test(spread["angle"], spread["angle_latent"]).t
    assert latent.t is None
    np.testing.assert_allclose(angle.cv, spread["angle"])


def test_measures_around_zero_have_a_standard_deviation(tables):
    curvature = tables["geodesic_length"] - tables["geodesic_length"].mean()
    (row,) = summarise({"curvature": curvature}, baseline="curvature", dispersion="sd")
    assert row.warnings == ()
    assert row.spearman == summarise(tables)[0].spearman
