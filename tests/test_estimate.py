"""How long many pairs will take, from a few."""

import numpy as np
import pytest

from identmetric_cli.config import Geodesic
from identmetric_cli.stages import estimate


def test_what_precedes_the_first_pair_counts_once_and_the_rest_by_pairs(monkeypatch):
    """A solver that compiles for 100 s when first called, prepares for 3 s and takes 0.5 s a pair."""
    clock, asked = [0.0], []

    def solve(model, items, pairs, settings, training, progress):
        clock[0] += 3 if asked else 103
        asked.append(pairs)
        progress(1, len(pairs))
        clock[0] += len(pairs) / 2
        progress(len(pairs), len(pairs))

    monkeypatch.setattr(estimate.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(estimate, "solve_pairs", solve)
    monkeypatch.setattr(estimate, "load_model", lambda run: None)
    monkeypatch.setattr(estimate, "training_items", lambda run: None)
    pairs = np.stack(np.triu_indices(178, k=1), axis=1)
    seconds = estimate.estimated_seconds(None, np.zeros((178, 2)), pairs, Geodesic(batch_size=16))
    assert seconds == pytest.approx(3 + 15753 / 2)
    assert [len(each) for each in asked] == [64, 64]
    assert asked[0][0].tolist() == [0, 1] and asked[0][-1].tolist() == [176, 177]
