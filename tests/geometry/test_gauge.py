"""The check that geometry does not depend on coordinates, and that it can fail."""

import jax.numpy as jnp
import manifolds
import numpy as np
import pytest

from identmetric_cli.geometry import Estimator
from identmetric_cli.geometry import gauge as module
from identmetric_cli.geometry.gauge import check_gauge, draw, hidden

TIGHT = {"nodes": 12, "batch_size": 6, "rtol": 1e-13, "max_iter": 500, "tries": 1}


@pytest.fixture
def ensemble():
    return tuple(manifolds.bump(height) for height in (0.3, 0.7, 1.1))


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_changes_of_coordinates_are_undone_by_their_inverse(dimension, rng, x64):
    z = rng.normal(size=(20, dimension))
    change = draw(dimension, 3, np.dtype("float64"))
    moved = change(jnp.asarray(z))
    np.testing.assert_allclose(change.inverse(moved), z, atol=1e-12)
    ratio = np.linalg.norm(np.diff(moved, axis=0), axis=1) / np.linalg.norm(np.diff(z, axis=0), axis=1)
    assert np.ptp(np.log(ratio)) > 0.1
    assert not np.allclose(moved, draw(dimension, 4, np.dtype("float64"))(jnp.asarray(z)))


def test_members_stay_members(ensemble, rng, x64):
    z = jnp.asarray(rng.normal(size=(5, 3)))
    change = draw(3, 0, np.dtype("float64"))
    for one, other in zip(ensemble, hidden(ensemble, change), strict=True):
        np.testing.assert_allclose(other(change(z)), one(z), rtol=1e-10)


@pytest.mark.parametrize("estimator", [Estimator("expected"), Estimator("mean"), Estimator("conformal", 0.8)])
def test_geometry_does_not_depend_on_coordinates(estimator, ensemble, rng, x64):
    found = check_gauge(ensemble, rng.normal(size=(3, 3, 3)) / 2, estimator=estimator, **TIGHT)
    assert found.solved == found.asked == 6
    assert max(found.distance, found.angle, found.volume, found.curvature) < 1e-5
    assert found.euclidean_latent > 0.1


def test_geometry_does_not_depend_on_coordinates_in_single_precision(ensemble, rng):
    points = (rng.normal(size=(3, 3, 3)) / 2).astype(np.float32)
    found = check_gauge(ensemble, points, **{**TIGHT, "rtol": 1e-11})
    assert found.solved == found.asked == 6
    assert found.distance < 1e-6
    assert max(found.angle, found.volume, found.curvature) < 1e-3


def test_what_depends_on_coordinates_is_found_out(ensemble, rng, monkeypatch, x64):
    monkeypatch.setattr(module, "tangent_gram", lambda decode, z, u, **_: u @ np.swapaxes(u, 1, 2))
    found = check_gauge(ensemble, rng.normal(size=(2, 3, 3)) / 2, **TIGHT)
    assert min(found.angle, found.volume) > 1e-2


def test_only_what_converged_is_compared(ensemble, rng, x64):
    points = rng.normal(size=(2, 3, 3)) / 2
    points[0, 2] = np.nan
    found = check_gauge(ensemble, points, **TIGHT)
    assert (found.solved, found.asked) == (3, 4)
    assert found.distance < 1e-5 and found.angle < 1e-5
    none = check_gauge(ensemble, points, **{**TIGHT, "max_iter": 1})
    assert none.solved == 0 and np.isnan(none.distance)


def test_triples_are_asked_for(ensemble):
    with pytest.raises(ValueError, match="3, latent"):
        check_gauge(ensemble, np.zeros((2, 2, 3)))
