"""Energy and length from decoded nodes, on strips where curves lie end to end."""

import jax
import jax.numpy as jnp
import manifolds
import numpy as np
import pytest
from jax.tree_util import Partial

from identmetric_cli.geometry import energy as module
from identmetric_cli.geometry.energy import energy_gradient, lay, layout, length, polygon_steps

N, CURVES, DIMENSION = 5, 3, 2


@pytest.fixture
def laid(rng, x64):
    """Curves of N segments, and the same curves on a strip with room to spare."""
    decode = Partial(manifolds.ensemble(manifolds.bump(0.5), manifolds.bump(1.5)))
    curves = rng.normal(size=(CURVES, N + 1, DIMENSION))
    size = CURVES * (N - 1) + 2
    ends = np.concatenate([curves[:, [0, -1]].reshape(-1, DIMENSION), curves[0, [0, -1]]])
    decoded = np.swapaxes(decode(jnp.asarray(ends)), 0, 1) / np.sqrt(2)
    return decode, curves, lay(curves[:, 1:-1], size), decoded, layout(N, size, len(ends), np.dtype("float64"))


def energies(decode, curves):
    """Energy of each curve by its definition."""
    x = decode(curves.reshape(-1, DIMENSION)).reshape(2, CURVES, N + 1, -1)
    return N * jnp.sum(jnp.square(jnp.diff(x, axis=2)), axis=(0, 2, 3)) / 2


def test_strips_hold_energies_and_gradients_of_their_curves(laid):
    decode, curves, strip, ends, plan = laid
    steps, to_ends, gradient = (np.asarray(each) for each in energy_gradient(decode, strip, ends, plan))
    expected, expected_gradient = jax.jit(
        lambda z: (energies(decode, z), jax.grad(lambda z: energies(decode, z).sum())(z))
    )(curves)
    along = (plan.weights * steps)[: CURVES * (N - 1)].reshape(CURVES, -1).sum(axis=1)
    at_ends = (plan.end_weights * to_ends)[: 2 * CURVES].reshape(CURVES, 2).sum(axis=1)
    np.testing.assert_allclose(along + at_ends, expected, rtol=1e-12)
    inner = gradient[: CURVES * (N - 1)].reshape(CURVES, N - 1, DIMENSION)
    np.testing.assert_allclose(inner, expected_gradient[:, 1:-1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("bad", range(CURVES))
def test_a_curve_that_is_not_a_number_stays_alone(bad, laid):
    decode, curves, strip, ends, plan = laid
    clean = energy_gradient(decode, strip, ends, plan)
    curves[bad] = np.nan
    ends = np.array(ends)
    ends[2 * bad : 2 * bad + 2] = np.nan
    got = energy_gradient(decode, lay(curves[:, 1:-1], len(strip)), ends, plan)
    others = np.arange(CURVES) != bad
    for spoilt, whole, count in zip(got, clean, (N - 1, 2, N - 1), strict=True):
        a, b = (np.asarray(each)[: CURVES * count].reshape(CURVES, count, -1) for each in (spoilt, whole))
        assert np.isnan(a[bad]).any()
        np.testing.assert_array_equal(a[others], b[others])


def test_a_strip_is_filled_with_its_first_point(rng):
    rows = rng.normal(size=(2, 3, DIMENSION))
    strip = np.asarray(lay(jnp.asarray(rows), 8))
    np.testing.assert_array_equal(strip[:6], jnp.asarray(rows).reshape(6, DIMENSION))
    np.testing.assert_array_equal(strip[6:], strip[[0, 0]])


@pytest.mark.parametrize("count", [1, 3, 7])
def test_polygons_through_all_and_every_other_node(count, rng, x64):
    matrix = rng.normal(size=(1, DIMENSION, 3))
    curves = rng.normal(size=(count, 5, DIMENSION))
    steps, coarse = polygon_steps(manifolds.linear(matrix), curves, 17)
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
