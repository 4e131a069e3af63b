"""Curves between two points, and the variables in which their energy is round."""

import numpy as np
import pytest

from identmetric_cli.geometry import curves

PAIRS, MODES, DIMENSION = 3, 5, 4


@pytest.fixture
def family(rng, x64):
    """Ends, scaling and coefficients of a few curves."""
    starts, ends = rng.normal(size=(2, PAIRS, DIMENSION))
    return starts, ends, rng.normal(size=(PAIRS, DIMENSION, DIMENSION)), rng.normal(size=(PAIRS, MODES, DIMENSION))


def test_ends_are_exact(rng, dtype):
    starts, ends, y = (rng.normal(size=(PAIRS, *shape)).astype(dtype) for shape in ((2,), (2,), (MODES, 2)))
    scale = np.broadcast_to(100 * np.eye(2, dtype=dtype), (PAIRS, 2, 2))
    curve = np.asarray(curves.points(starts, ends, scale, y, curves.basis("modes", 9, MODES, 9, dtype)))
    assert curve.dtype == dtype
    np.testing.assert_array_equal(curve[:, 0], starts)
    np.testing.assert_array_equal(curve[:, -1], ends)


@pytest.mark.parametrize(("n", "modes", "nodes"), [(9, 5, 9), (9, 5, 18), (4, 6, 8)])
def test_basis_is_orthogonal_sines(n, modes, nodes, x64):
    basis = np.asarray(curves.basis("modes", n, modes, nodes, np.dtype("float64")))
    t = np.linspace(0, 1, nodes + 1)
    for j in range(1, modes + 1):
        expected = np.sqrt(2) * np.sin(j * np.pi * t) / (j * np.pi) if j < n else 0 * t
        np.testing.assert_allclose(basis[:, j - 1], expected, atol=1e-15)
    gram = np.diff(basis, axis=0).T @ np.diff(basis, axis=0)
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-14)


def test_points_follow_their_definition(family):
    starts, ends, scale, y = family
    curve = np.asarray(curves.points(starts, ends, scale, y, curves.basis("modes", 8, MODES, 8, np.dtype("float64"))))
    for p in range(PAIRS):
        for i, t in enumerate(np.linspace(0, 1, 9)):
            expected = (1 - t) * starts[p] + t * ends[p]
            for j in range(1, MODES + 1):
                expected = expected + np.sqrt(2) / (j * np.pi) * np.sin(j * np.pi * t) * scale[p] @ y[p, j - 1]
            np.testing.assert_allclose(curve[p, i], expected, rtol=1e-12)


def test_scaling_inverts_the_metric_up_to_jitter(rng, x64):
    roots = rng.normal(size=(PAIRS, DIMENSION, 9))
    metric = roots @ np.swapaxes(roots, 1, 2)
    scale = np.asarray(curves.scaling(metric))
    size = np.trace(metric, axis1=1, axis2=2)[:, None, None] / DIMENSION
    expected = np.linalg.inv(metric + curves.RELATIVE_JITTER * size * np.eye(DIMENSION))
    np.testing.assert_allclose(scale @ np.swapaxes(scale, 1, 2), expected, rtol=1e-9)
    np.testing.assert_array_equal(scale, np.triu(scale))


def test_scaling_bears_collapsed_dimensions(dtype):
    metric = np.array([np.diag([1.0, 0.0]), np.zeros((2, 2)), 1e-12 * np.eye(2)], dtype)
    scale = np.asarray(curves.scaling(metric))
    assert scale.dtype == dtype
    assert np.isfinite(scale).all()
