"""Curvature, exponential map and parallel transport on manifolds where they are known."""

import jax
import jax.numpy as jnp
import manifolds
import numpy as np
import pytest

from identmetric_cli.geometry import (
    Estimator,
    exponential_map,
    geodesics,
    metric_tensor,
    parallel_transport,
    sectional_curvature,
)

CONFORMAL = Estimator("conformal", 0.8)
METRICS = [Estimator("expected"), Estimator("mean"), CONFORMAL]


@pytest.fixture
def ensemble():
    return manifolds.ensemble(*(manifolds.bump(height) for height in (0.3, 0.7, 1.1)))


def christoffel(metric, z):
    """Christoffel symbols (i, j, k) of a metric (d,) -> (d, d) from its derivatives in coordinates."""
    dg = jax.jacfwd(metric)(z)
    lowered = 0.5 * (jnp.moveaxis(dg, 2, 1) + dg - jnp.moveaxis(dg, 2, 0))
    return jnp.einsum("il,ljk->ijk", jnp.linalg.inv(metric(z)), lowered)


def by_christoffel_symbols(metric, z, u, v):
    """Sectional curvature of a metric (d,) -> (d, d) from its derivatives in coordinates."""

    @jax.jit
    def curvature(z, u, v):
        g, c = metric(z), christoffel(metric, z)
        first = jnp.einsum("iljk->ijkl", jax.jacfwd(lambda z: christoffel(metric, z))(z))
        second = jnp.einsum("ikm,mlj->ijkl", c, c)
        riemann = first + second - jnp.swapaxes(first + second, 2, 3)
        top = jnp.einsum("im,ijkl,m,j,k,l->", g, riemann, u, v, u, v)
        return top / ((u @ g @ u) * (v @ g @ v) - (u @ g @ v) ** 2)

    return curvature(z, u, v)


@pytest.mark.parametrize("dimension", [2, 3, 20])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_unit_sphere_has_curvature_one(dimension, dtype, rng, x64):
    z, u, v = rng.normal(size=(3, 18, dimension)).astype(dtype)
    got = sectional_curvature(manifolds.sphere, 0.5 * z, u, v)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, 1, rtol=1e-3 if dtype == "float32" else 1e-9)


def test_curvature_of_the_torus(rng, x64):
    z, u, v = rng.normal(size=(3, 5, 2))
    cosine = np.cos(z[:, 1])
    np.testing.assert_allclose(
        sectional_curvature(manifolds.torus, z, u, v), cosine / (manifolds.TORUS_RADIUS + cosine), rtol=1e-9
    )


def test_flat_spaces_have_no_curvature(rng, x64):
    z, u, v = rng.normal(size=(3, 5, 3))
    for decode in (manifolds.cylinder, manifolds.linear(rng.normal(size=(2, 3, 6)))):
        np.testing.assert_allclose(sectional_curvature(decode, z, u, v), 0, atol=1e-12)


@pytest.mark.parametrize("estimator", METRICS)
def test_curvature_is_that_of_the_metric(estimator, ensemble, rng, x64):
    z, u, v = rng.normal(size=(3, 3, 3))
    wanted = [
        by_christoffel_symbols(lambda z: metric_tensor(ensemble, z[None], estimator)[0], *each)
        for each in zip(z, u, v, strict=True)
    ]
    got = sectional_curvature(ensemble.args[0], z, u, v, estimator=estimator)
    np.testing.assert_allclose(got, wanted, rtol=1e-8)
    assert np.abs(got).min() > 1e-4


@pytest.mark.parametrize("estimator", [Estimator("expected"), CONFORMAL])
def test_curvature_does_not_depend_on_coordinates(estimator, ensemble, rng, x64):
    z, u, v = rng.normal(size=(3, 4, 3))
    change = manifolds.diffeomorphism(rng, 3)
    new = [jax.jvp(change, (z,), (each,)) for each in (u, v)]
    got = sectional_curvature(
        manifolds.hidden(ensemble, change), new[0][0], new[0][1], new[1][1], estimator=estimator
    )
    np.testing.assert_allclose(got, sectional_curvature(ensemble, z, u, v, estimator=estimator), rtol=1e-9)


def test_planes_without_curvature_of_their_own_are_no_numbers(rng, x64):
    z, u = rng.normal(size=(2, 4, 3))
    v = 2 * u
    v[0] = rng.normal(size=3)
    assert np.isnan(sectional_curvature(manifolds.sphere, z, u, v)).tolist() == [False, True, True, True]
    assert np.isnan(sectional_curvature(manifolds.collapsed, z, u, u[::-1])).all()
    narrow = manifolds.linear(rng.normal(size=(1, 3, 2)))
    assert np.isnan(sectional_curvature(narrow, z, u, u[::-1])).all()


def test_curvature_refuses_what_has_none(rng):
    z = np.zeros((2, 3))
    with pytest.raises(ValueError, match="must all be"):
        sectional_curvature(manifolds.sphere, z, z, z[:1])
    with pytest.raises(ValueError, match="two latent dimensions"):
        sectional_curvature(manifolds.sphere, z[:, :1], z[:, :1], z[:, :1])
    with pytest.raises(ValueError, match="independent"):
        sectional_curvature(manifolds.sphere, z, z, z, estimator=Estimator("independent"))


def test_straight_lines_are_followed_in_flat_spaces(rng, x64):
    z, u = rng.normal(size=(2, 5, 3))
    np.testing.assert_allclose(exponential_map(manifolds.linear(rng.normal(size=(2, 3, 6))), z, u), z + u, rtol=1e-12)


@pytest.mark.parametrize("dimension", [2, 20])
def test_great_circles_are_followed_on_the_sphere(dimension, rng, x64):
    z, u = rng.normal(size=(2, 5, dimension)) / np.sqrt(dimension)
    x, w = (np.asarray(each)[0] for each in jax.jvp(manifolds.sphere, (z,), (u,)))
    speed = np.linalg.norm(w, axis=1, keepdims=True)
    wanted = np.cos(speed) * x + np.sin(speed) * w / speed
    got = manifolds.sphere(jnp.asarray(exponential_map(manifolds.sphere, z, u, steps=64)))[0]
    np.testing.assert_allclose(got, wanted, atol=1e-6)


@pytest.mark.parametrize("estimator", METRICS)
def test_shooting_retraces_geodesics(estimator, ensemble, rng, x64):
    starts, ends = rng.normal(size=(2, 4, 3)) / 2
    table = geodesics(ensemble, starts, ends, estimator=estimator, nodes=64, rtol=1e-12, max_iter=300)
    assert table.converged.all()
    got = exponential_map(ensemble, starts, table.velocity[:, 0], estimator=estimator)
    np.testing.assert_allclose(got, ends, atol=2e-4)


def test_transport_along_a_circle_of_latitude_turns_by_the_enclosed_area(x64):
    radius, nodes = 0.6, 401
    t = np.linspace(0, 2 * np.pi, nodes)
    circle = radius * np.stack([np.cos(t), np.sin(t)], axis=1)[None]
    got = parallel_transport(manifolds.sphere, circle, np.array([[[1.0, 0.0], [0.3, -0.4]]]))[0]
    # A stereographic disc of this radius is a cap of area 4 pi r^2 / (1 + r^2).
    turn = 4 * np.pi * radius**2 / (1 + radius**2)
    wanted = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    np.testing.assert_allclose(got[0], wanted[0], atol=1e-3)
    np.testing.assert_allclose(got[1], np.array([0.3, -0.4]) @ wanted, atol=1e-3)


def test_transport_is_of_second_order(x64):
    errors = []
    for nodes in (51, 101, 201):
        t = np.linspace(0, 2 * np.pi, nodes)
        circle = 0.6 * np.stack([np.cos(t), np.sin(t)], axis=1)[None]
        turn = 4 * np.pi * 0.36 / 1.36
        got = parallel_transport(manifolds.sphere, circle, np.array([[[1.0, 0.0]]]))[0, 0]
        errors.append(np.linalg.norm(got - [np.cos(turn), np.sin(turn)]))
    np.testing.assert_allclose(np.array(errors[:-1]) / errors[1:], 4, rtol=0.05)


@pytest.mark.parametrize("estimator", METRICS)
def test_transport_keeps_inner_products(estimator, ensemble, rng, x64):
    curves, vectors = rng.normal(size=(3, 7, 3)), rng.normal(size=(3, 2, 3))
    moved = parallel_transport(ensemble.args[0], curves, vectors, estimator=estimator)
    grams = [
        np.einsum("pmi,pij,pnj->pmn", u, metric_tensor(ensemble, z, estimator), u)
        for u, z in ((vectors, curves[:, 0]), (moved, curves[:, -1]))
    ]
    np.testing.assert_allclose(grams[1], grams[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("estimator", METRICS)
def test_transport_is_that_of_the_metric(estimator, ensemble, rng, x64):
    """Against the transport equation in coordinates, with the metric's Christoffel symbols, by Runge-Kutta."""
    start, way, bend, vector = rng.normal(size=(4, 3))

    def curve(t):
        return start + way * t + bend * jnp.sin(3 * t)

    @jax.jit
    def slope(t, u):
        z, velocity = jax.jvp(curve, (t,), (jnp.ones_like(t),))
        return -christoffel(lambda z: metric_tensor(ensemble, z[None], estimator)[0], z) @ u @ velocity

    u, h = jnp.asarray(vector), 1 / 64
    for t in np.arange(64) * h:
        first = slope(t, u)
        second = slope(t + h / 2, u + h / 2 * first)
        third = slope(t + h / 2, u + h / 2 * second)
        u = u + h / 6 * (first + 2 * second + 2 * third + slope(t + h, u + h * third))
    errors = []
    for nodes in (65, 129):
        points = np.stack([curve(t) for t in np.linspace(0, 1, nodes)])
        got = parallel_transport(ensemble.args[0], points[None], vector[None, None], estimator=estimator)
        errors.append(np.linalg.norm(got[0, 0] - u))
    assert errors[1] < 1e-3
    np.testing.assert_allclose(errors[0] / errors[1], 4, rtol=0.05)


@pytest.mark.parametrize("estimator", METRICS)
def test_velocities_of_geodesics_are_transported_to_velocities(estimator, ensemble, rng, x64):
    starts, ends = rng.normal(size=(2, 4, 3)) / 2
    table = geodesics(ensemble, starts, ends, estimator=estimator, nodes=64, rtol=1e-12, max_iter=300)
    moved = parallel_transport(ensemble, table.curve, table.velocity[:, :1], estimator=estimator)
    np.testing.assert_allclose(moved[:, 0], -table.velocity[:, 1], atol=2e-3)


def test_transport_refuses_what_does_not_fit(rng):
    with pytest.raises(ValueError, match="curves must be"):
        parallel_transport(manifolds.sphere, np.zeros((1, 4, 3)), np.zeros((2, 1, 3)))
    with pytest.raises(ValueError, match="independent"):
        parallel_transport(
            manifolds.sphere, np.zeros((1, 4, 3)), np.zeros((1, 1, 3)), estimator=Estimator("independent")
        )
