"""What several runs say together, of rows that only some of them have."""

import numpy as np
import pytest

from identmetric_cli.stages.across_runs import _at_vertices, _over_runs

NAN = np.nan


def test_deviations_are_over_the_runs_that_have_a_value():
    rows = _over_runs(np.array([[1.0, 2.0, NAN], [3.0, NAN, NAN], [NAN, NAN, NAN]]))
    assert [row["runs"] for row in rows] == [2, 1, 0]
    assert (
        rows[0]["mean"] == 2 and rows[0]["sd"] == pytest.approx(2**0.5) and rows[0]["cv"] == pytest.approx(0.5**0.5)
    )
    assert (rows[1]["mean"], rows[1]["sd"], rows[1]["cv"]) == (2, None, None)
    assert (rows[2]["mean"], rows[2]["sd"], rows[2]["cv"]) == (None, None, None)


def test_angles_are_gathered_by_their_items_and_not_by_their_names():
    """Two items are called a; the second run lacks a corner."""
    first = [
        {"at": "a", "between": ["a", "b"], "items": [0, 1, 2], "degrees": 10.0},
        {"at": "a", "between": ["a", "b"], "items": [1, 0, 2], "degrees": 20.0},
    ]
    second = [{"at": "a", "between": ["a", "b"], "items": [1, 0, 2], "degrees": 30.0}]
    rows = _at_vertices([first, second], "between", "degrees")
    assert [(row["items"], row["runs"], row["mean"]) for row in rows] == [([0, 1, 2], 1, 10.0), ([1, 0, 2], 2, 25.0)]
    assert rows[1]["between"] == ["a", "b"] and rows[1]["sd"] == pytest.approx(50**0.5)
    assert _at_vertices([[], []], "between", "degrees") == []
