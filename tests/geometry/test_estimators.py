"""Squared steps and inner products of each estimator, from their definitions."""

import jax
import jax.numpy as jnp
import manifolds
import numpy as np
import pytest

from identmetric_cli.geometry import Estimator, geodesics, metric_tensor
from identmetric_cli.geometry.estimators import NAMES, disagreement

DECODERS, NODES, DATA = 4, 6, 3
METRICS = [name for name in NAMES if Estimator(name).is_metric]


@pytest.fixture
def x(rng, x64):
    return rng.normal(size=(DECODERS, 2, NODES, DATA))


def test_expected_steps_are_the_mean_over_members(x):
    wanted = np.mean(np.sum(np.diff(x, axis=2) ** 2, axis=3), axis=0)
    np.testing.assert_allclose(Estimator("expected").squared_steps(x), wanted, rtol=1e-12)


def test_disagreement_is_the_variance_over_members(x):
    np.testing.assert_allclose(disagreement(x), x.var(axis=0).sum(axis=-1), rtol=1e-12)


def test_conformal_steps_are_longer_where_members_disagree(x):
    v = x.var(axis=0).sum(axis=-1)
    expected = np.asarray(Estimator("expected").squared_steps(x))
    got = np.asarray(Estimator("conformal", 0.5).squared_steps(x))
    np.testing.assert_allclose(got, (1 + 0.25 * (v[:, 1:] + v[:, :-1])) * expected, rtol=1e-12)
    np.testing.assert_array_equal(Estimator("conformal", 0.0).squared_steps(x), expected)


def test_steps_of_the_mean(x):
    wanted = np.sum(np.diff(x.mean(axis=0), axis=1) ** 2, axis=2)
    np.testing.assert_allclose(Estimator("mean").squared_steps(x), wanted, rtol=1e-12)


def test_independent_steps_are_the_mean_over_all_pairs_of_members(x):
    a, b = x[:, None, :, 1:], x[None, :, :, :-1]
    wanted = np.mean(np.sum((a - b) ** 2, axis=-1), axis=(0, 1))
    np.testing.assert_allclose(Estimator("independent").squared_steps(x), wanted, rtol=1e-12)


def test_paper_steps_are_independent_ones_on_average(x):
    draws = 4000
    drawn = jax.vmap(lambda draw: Estimator("paper", draw=draw).squared_steps(jnp.asarray(x)))(jnp.arange(draws))
    error = np.asarray(drawn).std(axis=0) / np.sqrt(draws)
    assert (error > 0).all()
    difference = np.asarray(drawn).mean(axis=0) - np.asarray(Estimator("independent").squared_steps(x))
    assert (np.abs(difference) < 4 * error).all()


def test_paper_steps_come_from_a_seed(x):
    one = Estimator("paper", seed=3)
    np.testing.assert_array_equal(one.squared_steps(x), Estimator("paper", seed=3).squared_steps(x))
    for other in (Estimator("paper", seed=4), one.redrawn(1)):
        assert np.any(np.asarray(other.squared_steps(x)) != np.asarray(one.squared_steps(x)))
    np.testing.assert_array_equal(one.squared_steps(x[:, :1]), one.squared_steps(x)[:1])


@pytest.mark.parametrize("name", METRICS)
def test_short_steps_are_measured_by_the_metric(name, rng, x64):
    decode = manifolds.ensemble(*(manifolds.bump(height) for height in (0.3, 0.7, 1.1)))
    estimator, z, u = Estimator(name, 2.0), rng.normal(size=(5, 3)), 1e-5 * rng.normal(size=(5, 3))
    x = decode(jnp.asarray(np.stack([z - u / 2, z + u / 2], axis=1).reshape(-1, 3))).reshape(3, 5, 2, -1)
    wanted = np.einsum("pi,pij,pj->p", u, metric_tensor(decode, z, estimator), u)
    np.testing.assert_allclose(estimator.squared_steps(x)[:, 0], wanted, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_equal_members_are_one_decoder(name, rng, x64):
    starts, ends = rng.normal(size=(2, 3, 3)) / 2
    one, three = manifolds.sphere, manifolds.ensemble(*[manifolds.sphere] * 3)
    shape = {"nodes": 8, "batch_size": 4, "solver": "adam" if name == "paper" else "lbfgs", "max_iter": 30}
    lengths = [
        geodesics(decode, starts, ends, estimator=Estimator(name, 3.0), **shape).length for decode in (one, three)
    ]
    np.testing.assert_allclose(*lengths, rtol=1e-9)


def test_conformal_geodesics_stay_where_members_agree(rng, x64):
    matrix = np.eye(2, 3)[None]
    decode = manifolds.ensemble(manifolds.linear(matrix), manifolds.bump(1.0, 0.5))
    starts, ends = np.array([[-1.5, 0.05]]), np.array([[1.5, 0.05]])
    crossing, around = (
        geodesics(decode, starts, ends, estimator=Estimator("conformal", weight), nodes=32).curve
        for weight in (0, 50)
    )
    v = [np.asarray(disagreement(decode(jnp.asarray(curve[0])))).max() for curve in (crossing, around)]
    assert v[1] < 0.5 * v[0]


def test_lengths_of_independent_draws_grow_with_the_nodes(x64):
    decode = manifolds.ensemble(manifolds.sphere, manifolds.shifted(manifolds.sphere, 1.0))
    starts, ends = np.zeros((1, 2)), np.full((1, 2), 0.3)
    lengths = [
        geodesics(decode, starts, ends, estimator=Estimator("independent"), nodes=n).length[0] for n in (8, 32)
    ]
    assert lengths[1] > 3.5 * lengths[0]
    same = geodesics(decode, starts, ends, nodes=8).length[0]
    np.testing.assert_allclose(same, manifolds.sphere_distance(starts, ends)[0], rtol=1e-3)


def test_what_is_no_metric_has_no_inner_products(x64):
    with pytest.raises(ValueError, match="independent"):
        metric_tensor(manifolds.sphere, jnp.zeros((1, 2)), Estimator("independent"))


def test_weights_are_arguments_not_constants(x):
    traces = []

    @jax.jit
    def steps(estimator, x):
        traces.append(estimator.name)
        return estimator.squared_steps(x)

    for weight in (0.1, 0.2):
        steps(Estimator("conformal", weight), x)
    assert traces == ["conformal"]
