"""What runs say together, from rows alone."""

import numpy as np
import pytest
from rows import CONVERGED

from identmetric_cli.analysis import scale_normalised, summarise
from identmetric_cli.stages.agreement import LABELS, agree

NAMES = ["geodesic_length", "euclidean_latent", "euclidean_latent_scaled", "euclidean_decoded", "euclidean_ambient"]


def described(**changes):
    return [
        {
            "name": f"s{i}",
            "latent_dim": 2,
            "decoders": 2,
            "item_values": 64,
            "dead_latents": 0,
            "test_elbo": -7.0,
            "test_elbo_standard_error": 0.1,
        }
        | changes
        for i in range(5)
    ]


@pytest.fixture
def pairs():
    return np.stack([np.arange(12), np.arange(12) + 1], axis=1)


@pytest.fixture
def rows(rng):
    """Five runs, twelve pairs; lengths vary by 2 % and latent distances by 10 %."""
    ambient = rng.uniform(2, 4, size=12)
    sizes = rng.uniform(1, 2, size=12)
    return [
        [
            CONVERGED
            | {
                "length": 1.3 * size * (1 + 0.02 * rng.normal()),
                "euclidean_latent": size * (1 + 0.1 * rng.normal()),
                "chord": size * (1 + 0.02 * rng.normal()),
                "euclidean_ambient": distance,
            }
            for size, distance in zip(sizes, ambient, strict=True)
        ]
        for _ in range(5)
    ]


def test_measures_are_those_of_the_rows(rows, pairs):
    found = agree(described(), rows, pairs)
    tables = {
        name: np.array([[row[column] for row in each] for each in rows])
        for name, column in (("geodesic_length", "length"), ("euclidean_latent", "euclidean_latent"))
    }
    tables["euclidean_latent_scaled"] = scale_normalised(tables["euclidean_latent"])
    assert [each.name for each in found.on_pairs] == NAMES
    assert found.on_pairs[:3] == summarise(tables, endpoints=pairs)
    assert found.warnings == []
    document = found.fields()
    assert [each["label"] for each in document["measures"]] == [LABELS[name] for name in NAMES]
    assert document["evidence"]["pairs_comparable"] == 12 and "steadier relation" in document["headline"]


def test_distance_in_data_space_says_that_it_is_fixed_and_warns_of_nothing(rows, pairs):
    found = agree(described(), rows, pairs)
    ambient = found.on_pairs[-1]
    assert (ambient.mean_cv, ambient.icc_a1, ambient.spearman, ambient.verdict) == (0, None, None, None)
    assert ambient.mean == pytest.approx(np.mean([row["euclidean_ambient"] for row in rows[0]]))
    assert ambient.warnings[0].startswith("the same in every run by construction")


def test_repeated_pairs_and_pairs_of_one_item_do_not_count(rows, pairs):
    again = [[*each, each[0], each[1], each[2]] for each in rows]
    found = agree(described(), again, np.concatenate([pairs, [[0, 1], [2, 1], [5, 5]]]))
    plain = agree(described(), rows, pairs)
    assert found.on_pairs == plain.on_pairs and found.over_data_space == plain.over_data_space
    assert (found.evidence.pairs_asked, found.evidence.pairs_distinct) == (15, 12)
    assert found.warnings == ["3 of 15 pairs repeat another or have but one item: statistics leave them out"]


def test_a_pair_that_failed_in_one_run_is_left_out_of_every_measure(rows, pairs):
    for i in range(3):
        rows[i][i] = rows[i][i] | {"status": "max_iter", "length": 99.0}
    found = agree(described(), rows, pairs)
    assert {each.pairs for each in found.on_pairs} == {9}
    assert found.headline.startswith(
        "There is too little for a verdict. Pairs: 12 asked for, 12 distinct, 9 converged"
    )
    assert any(text.startswith("3 of 12 pairs left out") for text in found.warnings)


def test_curves_in_data_space_are_not_praised(rows, pairs):
    straight = [[row | {"chord": row["length"]} for row in each] for each in rows]
    found = agree(described(), straight, pairs)
    assert found.over_data_space.length_over_chord == 1 and found.over_data_space.adds_nothing
    assert "Geodesics add nothing" in found.headline and "steadier" not in found.headline


def test_latent_dimensions_that_say_nothing_are_told(rows, pairs):
    runs = described(latent_dim=65)
    runs[3] |= {"dead_latents": 7}
    wide, dead = agree(runs, rows, pairs).warnings
    assert wide.startswith("65 latent dimensions for items of 64 values") and "model.latent_dim" in wide
    assert "7 of 65 in s3;" in dead and "not relations of the data" in dead
    assert agree(described(latent_dim=64, dead_latents=None), rows, pairs).warnings == []


def test_unequal_fit_names_runs_in_headline_and_warnings(rows, pairs):
    runs = described()
    runs[2] |= {"name": "early", "test_elbo": -9.0}
    found = agree(runs, rows, pairs)
    assert found.headline.startswith("Unequal fit: test ELBO -9 in early, -7 in s0;")
    assert found.warnings[0].startswith("unequal fit: test ELBO -9 in early")
