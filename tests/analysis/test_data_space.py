"""Lengths against plain distances."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from identmetric_cli.analysis import over_data_space


@pytest.fixture
def chord(rng):
    return rng.uniform(1, 2, size=(3, 20))


def test_ratio_and_orders_are_over_pairs_known_in_every_run(chord, rng):
    length, ambient = chord * rng.uniform(1.1, 1.4, size=(3, 20)), rng.uniform(1, 2, size=20)
    gaps = length.copy()
    gaps[1, 4] = np.nan
    kept = np.delete(np.arange(20), 4)
    found = over_data_space(gaps, chord, ambient)
    assert (found.pairs, found.adds_nothing) == (19, False)
    assert found.length_over_chord == pytest.approx(np.median(length[:, kept] / chord[:, kept]))
    mean = length[:, kept].mean(axis=0)
    assert found.spearman_ambient == pytest.approx(spearmanr(mean, ambient[kept]).statistic)
    assert found.spearman_decoded == pytest.approx(spearmanr(mean, chord[:, kept].mean(axis=0)).statistic)


def test_straight_curves_add_nothing(chord, rng):
    ambient = rng.uniform(1, 2, size=20)
    assert over_data_space(1.009 * chord, chord, ambient).adds_nothing
    assert not over_data_space(1.011 * chord, chord, ambient).adds_nothing


def test_the_order_of_plain_distances_adds_nothing(chord):
    length = 1.5 * chord
    ambient = length.mean(axis=0) ** 2
    found = over_data_space(length, chord, ambient)
    assert found.spearman_ambient == pytest.approx(1) and found.adds_nothing
    assert not over_data_space(length, chord, -ambient).adds_nothing


def test_few_pairs_have_a_ratio_but_no_order(chord):
    found = over_data_space(1.5 * chord[:, :9], chord[:, :9], chord[0, :9])
    assert found.length_over_chord == pytest.approx(1.5)
    assert (found.spearman_ambient, found.spearman_decoded, found.adds_nothing) == (None, None, False)


def test_nothing_to_compare_is_unknown(chord):
    found = over_data_space(np.full((3, 20), np.nan), chord, chord[0])
    assert (found.pairs, found.length_over_chord, found.adds_nothing) == (0, None, None)
