"""What a headline praises, and what it does not."""

import numpy as np
import pytest

from identmetric_cli.analysis import Evidence, OverDataSpace, summarise
from identmetric_cli.report.headline import headline

ENOUGH = Evidence(runs=6, pairs_asked=31, pairs_distinct=30, pairs_comparable=30)
CURVED = OverDataSpace(30, 1.234, 0.87, 0.91, False)


@pytest.fixture
def say(rng):
    """The headline of six runs whose distances vary by so many hundredths."""
    truth = rng.uniform(1, 2, size=30)

    def of(evidence=ENOUGH, over=CURVED, unequal=None, runs=6, *, geodesic=2, latent=10, decoded=5):
        spreads = {"geodesic_length": geodesic, "euclidean_latent": latent, "euclidean_decoded": decoded}
        tables = {name: truth * (1 + each / 100 * rng.normal(size=(6, 30))) for name, each in spreads.items()}
        tables["euclidean_ambient"] = np.tile(truth, (6, 1))
        rows = summarise({name: table[:runs] for name, table in tables.items()})
        return headline(rows, evidence, over, unequal), {row.name: row for row in rows}

    return of


def test_steadier_lengths_are_praised_with_their_interval(say):
    text, rows = say()
    low, high = rows["geodesic_length"].cv_ratio_ci95
    assert text.startswith("Over 6 runs and 30 distinct pairs, geodesic lengths vary by ")
    assert f"(95 % interval {low:.2f} to {high:.2f}): geodesic lengths are the steadier relation." in text
    assert text.endswith("with plain distances between the items is 0.870.")
    assert "1.234 times" in text and "varies less" not in text and "fit" not in text


def test_less_steady_and_undecided_lengths_are_called_so(say):
    assert ": geodesic lengths are the less steady relation." in say(geodesic=20, latent=5)[0]
    assert ": these runs do not tell which is steadier." in say(geodesic=10, latent=10)[0]


def test_what_varies_less_than_lengths_is_named_but_not_what_no_model_changes(say):
    text, rows = say(decoded=1)
    icc = [f"{rows[name].icc_a1:.3f}"[:5] for name in ("euclidean_decoded", "geodesic_length")]
    assert "What varies less than geodesic lengths: straight distances between the decoded ends (" in text
    assert f"ICC {icc[0]} against {icc[1]})" in text
    assert "(0.0 %" not in text


def test_lengths_that_vary_less_and_agree_less_are_called_so(rng):
    """Nearly constant lengths have a small CV, and no two runs agree on how pairs differ."""
    tables = {
        "geodesic_length": 10 + 0.1 * rng.normal(size=(6, 30)),
        "euclidean_latent": rng.uniform(1, 10, size=30) * (1 + 0.1 * rng.normal(size=(6, 30))),
    }
    text = headline(summarise(tables), ENOUGH, CURVED)
    assert "steadier relation. But runs agree less on how pairs differ (ICC " in text


def test_nothing_is_praised_where_lengths_are_plain_distances(say):
    text, _ = say(over=OverDataSpace(30, 1.0, 0.995, 1.0, True))
    assert "Geodesics add nothing over plain distances here: the median curve is 1.000 times" in text
    assert "steadier" not in text and "0.995. Plain distances say the same and need no model." in text


def test_too_little_evidence_is_told_in_place_of_a_verdict(say):
    text, _ = say(Evidence(6, 1, 1, 1), OverDataSpace(1, 1.2, None, None, False))
    assert text.startswith(
        "There is too little for a verdict. Pairs: 1 asked for, 1 distinct, 1 converged in every run"
    )
    assert "steadier" not in text and "vary by" not in text
    text, _ = say(Evidence(2, 30, 30, 30), runs=2)
    assert "Runs: 2, 3 needed" in text and "steadier" not in text


def test_unequal_fit_comes_first(say):
    text, _ = say(unequal="unequal fit: test ELBO -9 in s1, -7 in s0; only runs that fit")
    assert text.startswith("Unequal fit: test ELBO -9 in s1, -7 in s0; only runs that fit. Over 6 runs")
