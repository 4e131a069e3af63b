"""Energy and length from decoded nodes, on strips where curves lie end to end."""

import jax
import jax.numpy as jnp
import manifolds
import numpy as np
import pytest

from identmetric_cli.geometry import energy as module
from identmetric_cli.geometry.energy import energy_gradient, lay, length, squared_steps
from identmetric_cli.geometry.estimators import NAMES, Estimator

N, CURVES, DIMENSION = 5, 3, 2


@pytest.fixture
def ensemble():
    return manifolds.ensemble(manifolds.bump(0.5), manifolds.bump(1.5))


@pytest.fixture
def curves(rng, x64):
    return rng.normal(size=(CURVES, N + 1, DIMENSION))


def ends_of(decode, curves):
    x = decode(jnp.asarray(curves[:, [0, -1]].reshape(-1, DIMENSION)))
    return jnp.swapaxes(x, 0, 1).reshape(len(curves), 2, *x.shape[::2])


def on_a_strip(decode, curves, estimator):
    strip = lay(jnp.asarray(curves[:, 1:-1]), CURVES * (N - 1) + 2)
    return energy_gradient(decode, strip, ends_of(manifolds.whole(decode), curves), N, estimator)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("in_parts", [False, True])
def test_strips_hold_energies_and_gradients_of_their_curves(name, in_parts, ensemble, curves):
    estimator = Estimator(name, 0.7)

    def energies(curves):
        x = ensemble(curves.reshape(-1, DIMENSION)).reshape(2, CURVES, N + 1, -1)
        return N * jnp.sum(estimator.squared_steps(x), axis=1)

    decode = ensemble.args[0] if in_parts else ensemble
    got, gradient = on_a_strip(decode, curves, estimator)
    np.testing.assert_allclose(got, jax.jit(energies)(curves), rtol=1e-12)
    wanted = jax.jit(jax.grad(lambda curves: energies(curves).sum()))(curves)[:, 1:-1]
    inner = gradient[: CURVES * (N - 1)].reshape(CURVES, N - 1, DIMENSION)
    np.testing.assert_allclose(inner, wanted, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(gradient[CURVES * (N - 1) :], 0)


@pytest.mark.parametrize("bad", range(CURVES))
def test_a_curve_that_is_not_a_number_stays_alone(bad, ensemble, curves):
    clean = on_a_strip(ensemble, curves, Estimator("conformal", 0.7))
    curves[bad] = np.nan
    spoilt = on_a_strip(ensemble, curves, Estimator("conformal", 0.7))
    others = np.arange(CURVES) != bad
    for *both, count in zip(spoilt, clean, (1, N - 1), strict=True):
        a, b = (np.asarray(each)[: CURVES * count].reshape(CURVES, count, -1) for each in both)
        assert np.isnan(a[bad]).all()
        np.testing.assert_array_equal(a[others], b[others])


def test_a_strip_is_filled_with_its_first_point(rng):
    rows = rng.normal(size=(2, 3, DIMENSION))
    strip = np.asarray(lay(jnp.asarray(rows), 8))
    np.testing.assert_array_equal(strip[:6], jnp.asarray(rows).reshape(6, DIMENSION))
    np.testing.assert_array_equal(strip[6:], strip[[0, 0]])


@pytest.mark.parametrize("count", [1, 3, 7])
def test_steps_through_all_and_every_other_node(count, rng, x64):
    matrix = rng.normal(size=(1, DIMENSION, 3))
    curves = rng.normal(size=(count, 5, DIMENSION))
    steps, coarse = squared_steps(manifolds.linear(matrix), curves, 17, strides=(1, 2))
    x = curves @ matrix[0]
    np.testing.assert_allclose(steps, np.sum(np.diff(x, axis=1) ** 2, axis=2), rtol=1e-12)
    np.testing.assert_allclose(coarse, np.sum(np.diff(x[:, ::2], axis=1) ** 2, axis=2), rtol=1e-12)


def test_length_and_energy_of_equal_steps():
    steps = np.full((2, 8), 0.25, np.float32)
    np.testing.assert_array_equal(length(steps), 4.0)
    np.testing.assert_array_equal(module.energy(steps), 16.0)


def test_lengths_are_summed_in_double_precision():
    # Half a rounding each: added to 1 one by one in single precision, all of them would be lost.
    steps = np.full((1, 4097), 2.0**-50, np.float32)
    steps[0, 0] = 1.0
    assert length(steps)[0] == 1 + 4096 * 2.0**-25
    assert length(steps).dtype == np.float64
