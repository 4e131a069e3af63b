"""Every solver on both families of curves: the same geodesics, and a status for every pair."""

import itertools

import jax
import jax.numpy as jnp
import manifolds
import numpy as np
import pytest

from identmetric_cli.geometry import Estimator, Status, adam, energy, geodesics
from identmetric_cli.geometry.curves import FAMILIES, basis
from identmetric_cli.geometry.georce import _controls
from identmetric_cli.geometry.solve import SOLVERS

PAIRS, DIMENSION, NODES = 4, 3, 24
SHAPE = {"nodes": NODES, "batch_size": PAIRS, "tries": 1}
ADAM = adam.Rule(learning_rate=0.01, patience=200, min_delta=1e-7)
RTOL = {"lbfgs": 1e-5, "georce": 1e-5, "adam": 1e-3}
EVERY = list(itertools.product(SOLVERS, FAMILIES))


def shape_of(solver: str) -> dict:
    return {**SHAPE, "solver": solver, "max_iter": 2000 if solver == "adam" else 200, "adam_rule": ADAM}


@pytest.fixture
def hills(rng, x64):
    """An ensemble of bumps, pairs of points around them, and lengths by the default solver."""
    decode = manifolds.ensemble(*(manifolds.bump(height) for height in (0.3, 0.7, 1.1)))
    starts, ends = rng.normal(size=(2, PAIRS, DIMENSION))
    return decode, starts, ends, geodesics(decode, starts, ends, nodes=96, batch_size=PAIRS, rtol=1e-10).length


@pytest.mark.parametrize(("solver", "family"), EVERY)
def test_great_circles(solver, family, rng, x64):
    decode, starts, ends, exact, _ = manifolds.great_circles(rng, PAIRS, DIMENSION)
    table = geodesics(decode, starts, ends, **shape_of(solver), curve=family, rtol=RTOL[solver])
    assert table.converged.all()
    # The left-point metric of GEORCE is off by the order of 1 / n, chords by 1 / n^2.
    np.testing.assert_allclose(table.length, exact, rtol=3e-3 if solver == "georce" else 1e-3)
    assert (table.chord <= table.length * (1 + 1e-12)).all()


@pytest.mark.parametrize(("solver", "family"), EVERY)
@pytest.mark.parametrize("name", ["expected", "mean"])
def test_ensembles(solver, family, name, hills):
    decode, starts, ends, exact = hills
    table = geodesics(
        decode, starts, ends, **shape_of(solver), curve=family, estimator=Estimator(name), rtol=RTOL[solver]
    )
    assert table.converged.all()
    if name == "expected":
        np.testing.assert_allclose(table.length, exact, rtol=2e-3)
    assert (table.energy <= table.straight_energy).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_georce_is_of_first_order(family, hills):
    decode, starts, ends, exact = hills
    errors = [
        np.abs(
            geodesics(decode, starts, ends, **{**SHAPE, "nodes": n}, solver="georce", curve=family, rtol=1e-12).length
            - exact
        ).max()
        for n in (16, 64)
    ]
    assert errors[1] < errors[0] / 3


def test_the_gradient_tells_what_georce_leaves_to_gain(hills):
    decode, starts, ends, _ = hills
    shape = {**SHAPE, "nodes": 16, "rtol": 1e-10}
    left, best = (geodesics(decode, starts, ends, **shape, solver=solver) for solver in ("georce", "lbfgs"))
    assert left.converged.all() and (left.energy > best.energy).all()
    np.testing.assert_allclose(np.log10(left.gradient**2), np.log10(left.energy / best.energy - 1), atol=0.7)


def test_georce_takes_few_iterations(hills):
    decode, starts, ends, _ = hills
    table = geodesics(decode, starts, ends, **SHAPE, solver="georce", rtol=1e-8)
    assert table.converged.all()
    assert table.iterations.max() < 30


def test_georce_controls_minimise_their_quadratic(rng, x64):
    n, d = 6, 3
    roots, r, span = rng.normal(size=(n, d, d)), rng.normal(size=(n, d)), rng.normal(size=d)
    metric = roots @ np.swapaxes(roots, 1, 2) + np.eye(d)

    def cost(inner):
        nodes = jnp.concatenate([jnp.zeros((1, d)), inner.reshape(n - 1, d), span[None]])
        u = jnp.diff(nodes, axis=0)
        return jnp.einsum("td,tde,te->", u, metric, u) + jnp.sum(r[1:] * nodes[1:-1])

    best = jnp.cumsum(_controls(metric, r, span), axis=0)
    np.testing.assert_allclose(best[-1], span, rtol=1e-12)
    np.testing.assert_allclose(jax.grad(cost)(best[:-1].ravel()), 0, atol=1e-10)


def test_splines_are_the_published_ones(rng, x64):
    values = np.asarray(basis("spline", 200, 11, 200, np.dtype("float64")))
    np.testing.assert_array_equal(values[[0, -1]], 0)
    assert np.linalg.matrix_rank(values) == 11
    # On every piece a cubic, whose fourth differences vanish; jumps at knots are of third order only.
    fourth = np.diff(values, 4, axis=0).reshape(197, 11)
    inside = [i for i in range(197) if i // 20 == (i + 4) // 20 or (i + 4) % 20 == 0]
    np.testing.assert_allclose(fourth[inside], 0, atol=1e-12)
    assert np.abs(np.diff(values, 3, axis=0)).max() < 0.1 * np.abs(np.diff(values, 2, axis=0)).max()
    slopes = np.diff(values, axis=0)
    np.testing.assert_allclose(200 * slopes.T @ slopes, np.eye(11), atol=5e-3)


def test_the_published_procedure_lowers_its_expectation(hills):
    decode, starts, ends, _ = hills
    shape = {**SHAPE, "nodes": 255, "curve": "spline", "solver": "adam", "max_iter": 300}
    drawn, again, other = (
        geodesics(decode, starts, ends, **shape, estimator=Estimator("paper", seed=seed)) for seed in (0, 0, 1)
    )
    (steps,) = energy.squared_steps(decode, drawn.curve, 512, Estimator("independent"))
    np.testing.assert_allclose(drawn.energy, energy.energy(steps), rtol=0.3)
    assert (drawn.energy < 0.8 * drawn.straight_energy).all()
    assert drawn.curve.tobytes() == again.curve.tobytes()
    assert np.any(other.length != drawn.length)


def test_adam_stops_when_the_batch_gains_too_little(hills):
    decode, starts, ends, _ = hills
    shape = {**SHAPE, "curve": "spline", "solver": "adam", "max_iter": 500}
    few, many = (
        geodesics(decode, starts, ends, **shape, adam_rule=adam.Rule(0.01, 40, delta)) for delta in (10.0, 1e-6)
    )
    assert few.iterations.max() == 43  # the first step, 41 without a gain, and the exact gradient
    assert many.iterations.min() > 100
    assert (many.energy <= few.energy + 1e-12).all()


@pytest.mark.parametrize(("solver", "family"), EVERY)
def test_bad_pairs_have_a_status(solver, family, rng):
    starts, ends = rng.normal(size=(2, PAIRS, DIMENSION)).astype(np.float32)
    ends[0], ends[1, 0], starts[2, 0] = starts[0], np.nan, 3.0
    table = geodesics(manifolds.torn, starts, ends, **{**SHAPE, "nodes": 8}, solver=solver, curve=family)
    assert table.status[0] == Status.identical_endpoints
    assert table.status[1] == table.status[2] == Status.nonfinite
    assert table.status[3] in (Status.converged, Status.max_iter)
    assert np.isfinite(table.length[3])


def test_adam_leaves_a_lost_pair_at_its_last_curve(x64):
    starts, ends = np.array([[-1.0, 0.3], [-0.5, 0.2]]), np.array([[1.0, 0.35], [0.5, -0.2]])
    shape = {"nodes": 8, "batch_size": 2, "tries": 1, "solver": "adam", "max_iter": 60, "adam_rule": ADAM}
    table = geodesics(_torn_above, starts, ends, **shape)
    assert table.status[0] == Status.max_iter
    assert np.isfinite(table.length).all() and np.isfinite(table.curve).all()


def _torn_above(z):
    """A bump that drives curves up, to where it is not a number."""
    top = 2 * jnp.exp(-0.5 * jnp.sum(z * z, axis=-1, keepdims=True))
    return jnp.where(z[:, 1:] > 0.4, jnp.nan, jnp.concatenate([z, top], axis=-1))[None]


@pytest.mark.parametrize("family", FAMILIES)
def test_georce_bears_a_collapsed_dimension(family, rng):
    starts, ends = rng.normal(size=(2, PAIRS, DIMENSION)).astype(np.float32)
    table = geodesics(manifolds.collapsed, starts, ends, **SHAPE, solver="georce", curve=family)
    assert np.isfinite(table.length).all()
    assert (table.smallest_singular_value < 1e-3).all()


@pytest.mark.parametrize("nodes", [1, 2, 5])
@pytest.mark.parametrize(("solver", "family"), EVERY)
def test_few_segments(solver, family, nodes, rng, x64):
    decode, starts, ends, _, _ = manifolds.great_circles(rng, PAIRS, 2)
    table = geodesics(decode, starts, ends, **{**shape_of(solver), "nodes": nodes}, curve=family)
    assert (table.length >= table.chord * (1 - 1e-12)).all()
    assert np.isfinite(table.energy).all()


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"solver": "newton"}, "newton"),
        ({"curve": "bezier"}, "bezier"),
        ({"estimator": Estimator("paper")}, "needs the solver adam"),
        ({"estimator": Estimator("independent"), "solver": "georce"}, "no metric"),
    ],
)
def test_what_does_not_go_together_is_refused(options, fault, rng):
    starts, ends = rng.normal(size=(2, PAIRS, DIMENSION))
    with pytest.raises(ValueError, match=fault):
        geodesics(manifolds.sphere, starts, ends, **options)
