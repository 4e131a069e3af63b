"""Metric tensors in place of decoders, against closed forms of hyperbolic, statistical and flat spaces."""

import jax
import jax.numpy as jnp
import manifolds
import numpy as np
import pytest

from identmetric_cli.geometry import (
    Estimator,
    MetricTensor,
    Status,
    adam,
    angles,
    check_gauge,
    exponential_map,
    geodesics,
    logarithmic_map,
    metric_tensor,
    parallel_transport,
    refine_endpoints,
    sectional_curvature,
    survey,
    volumes,
)

PAIRS = 5
ADAM = adam.Rule(learning_rate=0.01, patience=200, min_delta=1e-7)
SHAPE = {"nodes": 32, "batch_size": 5}
TIGHT = {**SHAPE, "rtol": 1e-9, "tries": 1}


def half_plane(z):
    """Poincare's half-plane, curvature -1, above the axis only."""
    y = jnp.where(z[:, 1] > 0, z[:, 1], jnp.nan)
    return jnp.eye(2, dtype=z.dtype) / jnp.square(y)[:, None, None]


def half_plane_distance(a, b):
    return np.arccosh(1 + np.sum((a - b) ** 2, axis=-1) / (2 * a[..., 1] * b[..., 1]))


def disc(z):
    """Poincare's disc in any dimension, curvature -1."""
    return 4 * jnp.eye(z.shape[1], dtype=z.dtype) / jnp.square(1 - jnp.sum(z * z, axis=1))[:, None, None]


def disc_distance(a, b):
    inside = (1 - np.sum(a**2, axis=1)) * (1 - np.sum(b**2, axis=1))
    return np.arccosh(1 + 2 * np.sum((a - b) ** 2, axis=1) / inside)


def fisher_rao(z):
    """Normal distributions by mean and standard deviation."""
    return jnp.diag(jnp.asarray([1.0, 2.0], z.dtype)) / jnp.square(z[:, 1])[:, None, None]


def fisher_rao_distance(a, b):
    """sqrt(2) times the half-plane's at (mean / sqrt(2), deviation)."""
    units = np.array([np.sqrt(0.5), 1.0])
    return np.sqrt(2) * half_plane_distance(a * units, b * units)


def above(rng):
    starts, ends = rng.normal(size=(2, PAIRS, 2)) / 2
    starts[:, 1], ends[:, 1] = np.exp(starts[:, 1]), np.exp(ends[:, 1])
    return starts, ends


def inside(rng):
    return rng.uniform(-0.4, 0.4, size=(2, PAIRS, 3))


KNOWN = {
    "half-plane": (half_plane, above, half_plane_distance),
    "disc": (disc, inside, disc_distance),
    "normal distributions": (fisher_rao, above, fisher_rao_distance),
}


@pytest.mark.parametrize("known", KNOWN)
def test_distances_are_those_of_the_closed_form(known, dtype, rng):
    metric, pairs, distance = KNOWN[known]
    starts, ends = pairs(rng)
    table = geodesics(MetricTensor(metric), starts.astype(dtype), ends.astype(dtype), **SHAPE, rtol=1e-6)
    assert table.converged.all()
    np.testing.assert_allclose(table.length, distance(starts, ends), rtol=2e-3)
    np.testing.assert_array_equal(table.disagreement, 0)
    # No space around the manifold, so no bound but the trivial one.
    np.testing.assert_array_equal(table.chord, 0)
    np.testing.assert_array_equal(table.bound_gap, 1)
    least = [np.linalg.eigvalsh(metric(jnp.asarray(curve[[0, 16, 32]]))).min() for curve in table.curve]
    np.testing.assert_allclose(table.smallest_singular_value, np.sqrt(least), rtol=1e-5)


@pytest.mark.parametrize("solver", ["lbfgs", "georce", "adam"])
def test_every_solver_takes_a_tensor(solver, rng, x64):
    starts, ends = above(rng)
    options = {**SHAPE, "solver": solver, "tries": 1}
    options |= {"rtol": 1e-3, "max_iter": 2000, "adam_rule": ADAM} if solver == "adam" else {"rtol": 1e-6}
    table = geodesics(MetricTensor(half_plane), starts, ends, **options)
    assert table.converged.all()
    np.testing.assert_allclose(table.length, half_plane_distance(starts, ends), rtol=1e-2)


def test_lengths_of_a_constant_metric_are_exact(rng, x64):
    root = rng.normal(size=(3, 3))
    starts, ends = rng.normal(size=(2, PAIRS, 3))
    table = geodesics(MetricTensor(lambda z: jnp.tile(root @ root.T, (len(z), 1, 1))), starts, ends, **SHAPE)
    assert table.converged.all()
    np.testing.assert_allclose(table.length, np.linalg.norm((ends - starts) @ root, axis=1), rtol=1e-9)
    np.testing.assert_allclose(table.velocity[:, 0], ends - starts, rtol=1e-6)
    np.testing.assert_allclose(table.velocity[:, 1], starts - ends, rtol=1e-6)


def test_the_tensor_of_a_decoder_has_its_lengths_to_second_order(rng, x64):
    starts, ends = rng.normal(size=(2, PAIRS, 2)) / 2

    def metric(z):
        jacobians = jax.vmap(jax.jacfwd(lambda one: manifolds.sphere(one[None])[0, 0]))(z)
        return jnp.einsum("pxd,pxe->pde", jacobians, jacobians)

    np.testing.assert_allclose(
        metric_tensor(MetricTensor(metric), jnp.asarray(starts)), metric_tensor(manifolds.sphere, starts), atol=1e-12
    )
    exact = manifolds.sphere_distance(starts, ends)
    errors = [geodesics(MetricTensor(metric), starts, ends, **{**TIGHT, "nodes": n}).length - exact for n in (16, 32)]
    np.testing.assert_allclose(errors[0] / errors[1], 4, rtol=0.1)
    assert np.abs(errors[1] / exact).max() < 2e-3


def test_angles_of_a_hyperbolic_triangle(rng, x64):
    a, b, c = (above(np.random.default_rng(seed))[0] for seed in range(3))
    ab, ac, bc = half_plane_distance(a, b), half_plane_distance(a, c), half_plane_distance(b, c)
    cosines = (np.cosh(ab) * np.cosh(ac) - np.cosh(bc)) / (np.sinh(ab) * np.sinh(ac))
    targets = np.stack([b, c], axis=1)
    got = angles(MetricTensor(half_plane), a, targets, **TIGHT)
    np.testing.assert_allclose(np.cos(got), cosines, atol=5e-3)
    areas = volumes(MetricTensor(half_plane), a, targets, **TIGHT)
    np.testing.assert_allclose(areas, ab * ac * np.sqrt(1 - cosines**2), rtol=2e-2)


def test_logarithms_are_as_long_as_distances(rng, x64):
    starts, ends = above(rng)
    u = logarithmic_map(MetricTensor(half_plane), starts, ends, **TIGHT)
    np.testing.assert_allclose(np.linalg.norm(u, axis=1) / starts[:, 1], half_plane_distance(starts, ends), rtol=2e-3)


def test_rows_have_equal_bits_alone_and_in_company(rng):
    starts, ends = (each.astype(np.float32) for each in above(rng))
    shape = {**SHAPE, "nodes": 8}
    table = geodesics(MetricTensor(half_plane), starts, ends, **shape)
    company = np.repeat(starts[:1], PAIRS, axis=0), np.concatenate([ends[:1], np.full((PAIRS - 1, 2), np.nan)])
    alone = geodesics(MetricTensor(half_plane), *(each.astype(np.float32) for each in company), **shape)
    assert alone.status.tolist() == [Status.converged] + [Status.nonfinite] * (PAIRS - 1)
    for field, one, many in zip(table._fields, alone, table, strict=True):
        assert one[0].tobytes() == many[0].tobytes(), field


def test_ends_outside_the_manifold_have_a_status_of_their_own(rng):
    starts, ends = (each.astype(np.float32) for each in above(rng))
    ends[2, 1] = -1.0
    table = geodesics(MetricTensor(half_plane), starts, ends, **SHAPE)
    assert np.flatnonzero(table.status == Status.nonfinite).tolist() == [2]
    assert table.converged.sum() == PAIRS - 1


def test_far_from_the_origin_little_is_no_rounding():
    # Matrices of 1e6 beside latents of one must not count as data of that size.
    starts, ends = np.array([[0.0, 1.0]], np.float32), np.array([[1e-3, 1.0]], np.float32)
    table = geodesics(MetricTensor(lambda z: 1e6 * half_plane(z)), starts, ends, **SHAPE)
    assert table.converged.all()
    np.testing.assert_allclose(table.length, 1.0, rtol=1e-3)


BAD = {
    "matrices": (lambda z: z, r"matrices \(\d+, 2, 2\), got \(\d+, 2\)"),
    "single": (lambda z: jnp.eye(2), r"jax.vmap"),
    "not symmetric": (lambda z: jnp.tile(jnp.array([[1.0, 2.0], [3.0, 9.0]]), (len(z), 1, 1)), "not symmetric"),
    "eigenvalue -1": (lambda z: jnp.tile(jnp.array([[1.0, 2.0], [2.0, 1.0]]), (len(z), 1, 1)), "eigenvalue -1;"),
}


@pytest.mark.parametrize("bad", BAD)
def test_what_is_no_metric_is_refused(bad):
    metric, words = BAD[bad]
    with pytest.raises(ValueError, match=words):
        geodesics(MetricTensor(metric), np.zeros((1, 2), np.float32), np.ones((1, 2), np.float32), **SHAPE)


@pytest.mark.parametrize(
    "ask",
    [
        lambda tensor, z: sectional_curvature(tensor, z, z, z),
        lambda tensor, z: exponential_map(tensor, z, z),
        lambda tensor, z: parallel_transport(tensor, z[None], z[None]),
        lambda tensor, z: check_gauge(tensor, np.stack([z, z, z], axis=1)),
        lambda tensor, z: refine_endpoints(tensor, z, z),
        survey,
        lambda tensor, z: geodesics((tensor,), z, z),
    ],
)
def test_what_needs_decoded_points_refuses_a_tensor(ask):
    with pytest.raises(ValueError, match="this needs a decoder"):
        ask(MetricTensor(half_plane), np.ones((2, 2), np.float32))


def test_estimators_of_decoders_and_of_tensors_are_kept_apart():
    z = np.ones((1, 2), np.float32)
    for name in ("conformal", "mean", "independent"):
        with pytest.raises(ValueError, match=f"`{name}` needs decoders"):
            geodesics(MetricTensor(half_plane), z, 2 * z, estimator=Estimator(name))
    for name in ("tensor", "mistaken"):
        with pytest.raises(ValueError, match=f"got `{name}`"):
            geodesics(manifolds.sphere, z, 2 * z, estimator=Estimator(name))
