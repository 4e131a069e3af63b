"""Metric tensors, angles and volumes against explicit Jacobians and closed forms."""

import jax
import manifolds
import numpy as np
import pytest

from identmetric_cli.geometry import (
    Estimator,
    angles,
    exponential_map,
    geodesics,
    logarithmic_map,
    metric_tensor,
    volumes,
)
from identmetric_cli.geometry.curves import basis as curve_basis
from identmetric_cli.geometry.curves import count, points, scaling
from identmetric_cli.geometry.ends import frames, leaving
from identmetric_cli.geometry.maps import latent_map

TIGHT = {"nodes": 12, "batch_size": 4, "rtol": 1e-11, "max_iter": 300}


def test_metric_is_the_mean_of_the_members_metrics(rng, x64):
    decode = manifolds.ensemble(manifolds.sphere, manifolds.shifted(manifolds.sphere, 1.0))
    stretched = manifolds.linear(rng.normal(size=(2, 3, 4)))
    z = rng.normal(size=(5, 3))
    for each, members in ((decode, 2), (stretched, 2)):
        jacobians = jax.vmap(jax.jacfwd(lambda one, each=each: each(one[None])[:, 0]))(z)
        assert jacobians.shape == (5, members, 4, 3)
        expected = np.einsum("pkxi,pkxj->pij", jacobians, jacobians) / members
        np.testing.assert_allclose(metric_tensor(each, z), expected, atol=1e-12)


def test_angles_on_the_sphere(rng, x64):
    o, b, c = rng.normal(size=(3, 4, 3)) / 2
    got = angles(manifolds.sphere, o, np.stack([b, c], axis=1), **TIGHT)
    np.testing.assert_allclose(got, manifolds.sphere_angle(o, b, c), rtol=2e-3)


def test_angles_and_volumes_do_not_depend_on_coordinates(rng, x64):
    o, b, c = rng.normal(size=(3, 4, 3)) / 2
    change = manifolds.diffeomorphism(rng, 3)
    hidden = manifolds.hidden(manifolds.sphere, change)
    new_o, new_b, new_c = (np.asarray(change(each)) for each in (o, b, c))
    for measure in (angles, volumes):
        old = measure(manifolds.sphere, o, np.stack([b, c], axis=1), **{**TIGHT, "nodes": 48})
        new = measure(hidden, new_o, np.stack([new_b, new_c], axis=1), **{**TIGHT, "nodes": 48})
        np.testing.assert_allclose(new, old, rtol=1e-3)
    flat = np.linalg.norm(new_b - new_o, axis=1) / np.linalg.norm(b - o, axis=1)
    assert np.ptp(flat) > 0.2


def test_volumes_of_a_linear_map_are_gram_determinants(rng, x64):
    matrix = rng.normal(size=(1, 3, 5))
    origins, targets = rng.normal(size=(2, 3)), rng.normal(size=(2, 3, 3))
    spans = (targets - origins[:, None]) @ matrix[0]
    expected = np.sqrt(np.linalg.det(spans @ spans.transpose(0, 2, 1)))
    np.testing.assert_allclose(volumes(manifolds.linear(matrix), origins, targets, **TIGHT), expected, rtol=1e-8)


def test_a_geodesic_that_fails_leaves_no_angle(rng, x64):
    origins = rng.normal(size=(2, 3)) / 2
    targets = rng.normal(size=(2, 2, 3)) / 2
    targets[0, 1, 0] = 3.0
    got = angles(manifolds.torn, origins, targets, **TIGHT)
    assert np.isnan(got[0]) and np.isfinite(got[1])


def test_wrong_shapes_are_refused(rng):
    with pytest.raises(ValueError, match="targets"):
        angles(manifolds.sphere, np.zeros((2, 3)), np.zeros((2, 2, 4)))


@pytest.mark.parametrize(("family", "segments"), [("modes", 5), ("spline", 10)])
def test_scaling_makes_the_hessian_twice_the_identity(family, segments, rng, x64):
    matrix = manifolds.orthonormal(rng, 3, 5) * [[0.5], [1.0], [2.0]]
    metric = (matrix @ matrix.T)[None]
    scale, n, modes = scaling(metric), 320, count(family, segments)
    basis = curve_basis(family, n, modes, n, np.float64)
    a, b = rng.normal(size=(2, 1, 3))

    def energy(y):
        x = points(a, b, scale, y.reshape(1, modes, 3), basis) @ matrix
        return n * ((x[:, 1:] - x[:, :-1]) ** 2).sum()

    hessian = jax.hessian(energy)(np.zeros(modes * 3))
    values = np.linalg.eigvalsh(hessian)
    # Jitter and grid take a little from the smallest direction and the highest mode.
    assert values.min() > 1.95 and values.max() < 2 + 1e-9


@pytest.mark.parametrize("nodes", [2, 3, 4, 9])
def test_velocities_are_exact_for_polynomials_in_data_space(nodes, rng, x64):
    degree = min(nodes - 1, 3)
    coefficients = rng.normal(size=(degree + 1, 2))
    t = np.linspace(0, 1, nodes)
    curve = np.einsum("it,id->td", t ** np.arange(degree + 1)[:, None], coefficients)[None]
    matrix = rng.normal(size=(2, 2, 5))
    decode = (manifolds.linear(matrix[:1]), manifolds.linear(matrix[1:]))
    x = np.einsum("pnd,kde->pnke", curve, matrix)
    got, least = frames(decode, curve, np.asarray(leaving(x)), Estimator(), 1)
    wanted = [coefficients[1], -(np.arange(degree + 1)[:, None] * coefficients).sum(axis=0)]
    np.testing.assert_allclose(got[0], wanted, rtol=1e-9)
    stacked = np.concatenate(list(matrix), axis=1) / np.sqrt(2)
    np.testing.assert_allclose(least, np.linalg.svd(stacked)[1].min(), rtol=1e-9)


def test_unresolved_directions_have_no_velocity(rng, x64):
    starts, ends = rng.normal(size=(2, 4, 3)) / 2
    table = geodesics(manifolds.collapsed, starts, ends, **TIGHT)
    np.testing.assert_allclose(table.velocity[..., -1], 0, atol=1e-9)
    assert np.abs(table.velocity[..., 0]).min() > 1e-3


def test_area_of_a_plane_map_is_the_volume_element_in_two_dimensions(rng):
    codes = rng.normal(size=(50, 2)).astype(np.float32)
    drawn = latent_map(jax.tree_util.Partial(manifolds.sphere), codes)
    x, y = np.meshgrid(drawn["x"], drawn["y"])
    np.testing.assert_allclose(drawn["log_area"], np.log(4 / (1 + x**2 + y**2) ** 2), atol=1e-4)


@pytest.mark.parametrize("estimator", [Estimator("expected"), Estimator("conformal", 0.8)])
def test_exponential_maps_undo_logarithmic_maps(estimator, rng, x64):
    decode = manifolds.ensemble(manifolds.bump(0.4), manifolds.bump(0.9))
    starts, ends = rng.normal(size=(2, 4, 3)) / 2
    u = logarithmic_map(decode, starts, ends, estimator=estimator, **{**TIGHT, "nodes": 48})
    np.testing.assert_allclose(exponential_map(decode, starts, u, estimator=estimator), ends, atol=5e-4)


def test_the_norm_of_a_logarithmic_map_is_the_distance(rng, x64):
    starts, ends = rng.normal(size=(2, 4, 3)) / 2
    ends[0], ends[1] = starts[0], np.nan
    u = logarithmic_map(manifolds.sphere, starts, ends, **{**TIGHT, "nodes": 48})
    norms = np.sqrt(np.einsum("pi,pij,pj->p", u, metric_tensor(manifolds.sphere, starts), u))
    np.testing.assert_array_equal(u[0], 0)
    assert np.isnan(norms[1])
    np.testing.assert_allclose(norms[2:], manifolds.sphere_distance(starts, ends)[2:], rtol=2e-4)
