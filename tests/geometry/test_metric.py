"""The pull-back metric and what is made of it: products, angles, volumes, maps."""

import jax
import jax.numpy as jnp
import manifolds
import numpy as np
import pytest

from identmetric_cli.geometry import angles, metric_tensor, volumes
from identmetric_cli.geometry.maps import latent_map
from identmetric_cli.geometry.measures import angle, tangent_gram, volume
from identmetric_cli.geometry.metric import decoded, jacobian_products, members

DIMENSION = 3
SHAPE = {"nodes": 12, "batch_size": 4, "rtol": 1e-10}


@pytest.fixture
def ensemble():
    return manifolds.ensemble(*(manifolds.bump(height) for height in (0.3, 0.7, 1.1)))


@pytest.fixture
def points(rng, x64):
    return jnp.asarray(rng.normal(size=(4, DIMENSION)))


def jacobian(decode, point):
    """(K, D, d) at one point."""
    return np.asarray(jax.jacfwd(lambda z: decode(z[None])[:, 0])(point))


@pytest.fixture(params=["one map", "many maps"])
def parts(request, ensemble):
    """An ensemble given as one map or in parts."""
    return ensemble if request.param == "one map" else ensemble.args[0]


def test_members_at_points(ensemble, parts, points):
    np.testing.assert_array_equal(decoded(parts, points), ensemble(points))


def test_products_with_the_jacobian(ensemble, parts, points, rng):
    vectors = rng.normal(size=(4, 2, DIMENSION))
    wanted = [np.moveaxis(jacobian(ensemble, z) @ v.T, 2, 1) for z, v in zip(points, vectors, strict=True)]
    np.testing.assert_allclose(jacobian_products(parts, points, vectors), np.stack(wanted, axis=1), rtol=1e-12)


def test_metric_of_an_ensemble_in_parts(ensemble, parts, points):
    jacobians = [jacobian(ensemble, z) for z in points]
    wanted = [np.einsum("kxi,kxj->ij", each, each) / 3 for each in jacobians]
    np.testing.assert_allclose(metric_tensor(parts, points), wanted, rtol=1e-12)


def test_stereographic_metric(points):
    factor = 4 / (1 + np.sum(np.square(points), axis=1)) ** 2
    np.testing.assert_allclose(
        metric_tensor(manifolds.sphere, points), factor[:, None, None] * np.eye(DIMENSION), atol=1e-14
    )


def test_functions_become_pytrees_once():
    (decode,) = members(manifolds.sphere)
    assert members(decode) == members((decode,)) == (decode,)
    assert jax.tree.structure(decode) == jax.tree.structure(members(manifolds.sphere)[0])


def test_angles_and_volumes_of_a_flat_space(rng, x64):
    decode = manifolds.stretched_lines(rng, 1, DIMENSION).decode
    origins, targets = rng.normal(size=(4, DIMENSION)), rng.normal(size=(4, 2, DIMENSION))
    u = (targets - origins[:, None]) @ decode.args[0][0]
    grams = u @ np.swapaxes(u, 1, 2)
    lengths = np.linalg.norm(u, axis=2)
    cosines = np.sum(u[:, 0] * u[:, 1], axis=1) / np.prod(lengths, axis=1)
    np.testing.assert_allclose(np.cos(angles(decode, origins, targets, **SHAPE)), cosines, atol=1e-9)
    np.testing.assert_allclose(volumes(decode, origins, targets, **SHAPE), np.sqrt(np.linalg.det(grams)), rtol=1e-9)


def test_grams_are_inner_products(ensemble, points, rng):
    vectors = rng.normal(size=(4, 2, DIMENSION))
    grams = tangent_gram(ensemble, points, vectors)
    expected = np.einsum("pmd,pde,pne->pmn", vectors, metric_tensor(ensemble, points), vectors)
    np.testing.assert_allclose(grams, expected, rtol=1e-12)


def test_angle_and_volume_of_grams(rng):
    u = rng.normal(size=(6, 2, 5))
    u[0, 1], u[1, 1], u[2, 1] = 2 * u[0, 0], -3 * u[1, 0], 0.0
    grams = u @ np.swapaxes(u, 1, 2)
    got = angle(grams)
    np.testing.assert_allclose(got[:2], [0, np.pi], atol=1e-7)
    assert np.isnan(got[2])
    np.testing.assert_allclose(volume(grams)[:3], 0, atol=1e-6)
    squares = np.prod(np.sum(u**2, axis=2), axis=1)
    np.testing.assert_allclose(volume(grams)[3:], (np.sqrt(squares) * np.sin(got))[3:])


def test_volumes_need_every_geodesic(rng, x64):
    origins, targets = rng.normal(size=(4, DIMENSION)) / 2, rng.normal(size=(4, 2, DIMENSION)) / 2
    targets[1, 0] = np.nan
    assert np.isnan(volumes(manifolds.sphere, origins, targets, **SHAPE)).tolist() == [False, True, False, False]
    assert np.isnan(volumes(manifolds.sphere, origins, targets, **SHAPE, max_iter=1)).all()


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_latent_maps_show_the_area_element(dimension, rng, x64):
    matrix = rng.normal(size=(dimension, 9))
    codes = rng.normal(size=(50, dimension)) * np.arange(1, dimension + 1)[::-1]
    shown = latent_map(manifolds.linear(matrix[None]), codes)
    axes = np.eye(dimension) if dimension < 3 else np.linalg.svd(codes - codes.mean(axis=0))[2][:2]
    expected = 0.5 * np.linalg.slogdet(axes @ matrix @ matrix.T @ axes.T)[1]
    np.testing.assert_allclose(shown["log_area"], np.full((28, 28), expected), rtol=1e-9)
    assert shown["points"].shape == (50, 2)
    for axis, column in zip(("x", "y"), shown["points"].T, strict=True):
        assert shown[axis][0] < column.min() <= column.max() < shown[axis][-1]


def test_latent_maps_are_slices_through_the_centre_of_the_codes(rng, x64):
    codes = rng.normal(size=(50, DIMENSION)) * [3, 2, 1] + 2
    shown = latent_map(manifolds.sphere, codes)
    centre = codes.mean(axis=0)
    axes = np.linalg.svd(codes - centre)[2][:2]
    np.testing.assert_allclose(shown["points"], (codes - centre) @ axes.T, atol=1e-12)
    grid = np.stack(np.meshgrid(shown["x"], shown["y"]), axis=-1)
    square = np.sum((centre + grid @ axes) ** 2, axis=-1)
    np.testing.assert_allclose(shown["log_area"], np.log(4 / (1 + square) ** 2), rtol=1e-9)
