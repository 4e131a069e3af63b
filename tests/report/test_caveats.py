"""What is said of rows, whichever command shows them."""

import pytest
from rows import CONVERGED

from identmetric_cli.report.tables import caveats, over_sentence

ROW = CONVERGED | {"length": 2.0, "euclidean_latent": 1.0}


def test_good_rows_need_no_words():
    assert caveats([ROW, ROW]) == []


def test_curves_through_gaps_are_counted_among_those_that_converged():
    crossing = ROW | {"crosses_gap": True}
    (said,) = caveats([crossing, ROW, crossing])
    assert said.startswith("2 of 3 curves pass where the decoders disagree more than at any training item")
    assert len(caveats([crossing | {"status": "max_iter"}])) == 1


@pytest.mark.parametrize(
    ("least", "dtype", "idle"),
    [
        (0.0, "float32", True),
        (6e-3, "float32", True),
        (8e-3, "float32", False),
        (6e-3, "float64", False),
        (None, "float32", False),
    ],
)
def test_singular_values_at_rounding_are_idle_directions(least, dtype, idle):
    """A unit of latents moves the data by 2, and single precision knows roots of eigenvalues to 3.5e-4 of that."""
    said = caveats([ROW | {"smallest_singular_value": least, "dtype": dtype}])
    assert len(said) == idle
    if idle:
        assert said[0].startswith("1 of 1 curves meet a latent direction that changes nothing")
        assert "are not relations of the data" in said[0] and "model.latent_dim" in said[0]


def test_lengths_over_plain_distances_in_one_line():
    over = {"pairs": 1, "length_over_chord": 1.0504, "spearman_ambient": None, "spearman_decoded": 0.5}
    assert over_sentence(over) == (
        "1 pair: median length / chord 1.050, rank correlation of lengths with data space –, with decoded ends 0.500"
    )
