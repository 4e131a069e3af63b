"""Latents nearest to data, by Gauss-Newton."""

import jax.numpy as jnp
import manifolds
import numpy as np
import pytest

from identmetric_cli.geometry import refine_endpoints


def test_points_of_the_manifold_are_found(rng, x64):
    z = rng.normal(size=(20, 3)) / 2
    x = np.asarray(manifolds.sphere(jnp.asarray(z)))[0]
    found, errors = refine_endpoints(manifolds.sphere, z + 0.1 * rng.normal(size=z.shape), x, steps=8)
    np.testing.assert_allclose(found, z, atol=1e-9)
    assert (errors[:, 1] < 1e-16).all() and (errors[:, 0] > 1e-6).all()


def test_linear_ensembles_give_least_squares(rng, x64):
    matrices = rng.normal(size=(3, 2, 5))
    decode = tuple(manifolds.linear(matrix[None]) for matrix in matrices)
    x, z = rng.normal(size=(4, 5)), rng.normal(size=(4, 2))
    stacked, targets = np.concatenate(list(matrices), axis=1).T, np.tile(x, 3).T
    wanted = np.linalg.lstsq(stacked, targets)[0].T
    found, errors = refine_endpoints(decode, z, x, rtol=0)
    np.testing.assert_allclose(found, wanted, atol=1e-8)
    residual = np.square(wanted @ np.concatenate(list(matrices), axis=1) - np.tile(x, 3)).sum(axis=1) / 15
    np.testing.assert_allclose(errors[:, 1], residual, rtol=1e-8)


def test_points_stay_where_a_step_promises_little(rng, x64):
    z = rng.normal(size=(6, 3)) / 2
    x = np.asarray(manifolds.sphere(jnp.asarray(z)))[0] + 0.1 * rng.normal(size=(6, 4))
    z = z + 0.1 * rng.normal(size=z.shape)
    exact, _ = refine_endpoints(manifolds.sphere, z, x, steps=60, rtol=0)
    near, _ = refine_endpoints(manifolds.sphere, z, x, rtol=1e-4)
    early, _ = refine_endpoints(manifolds.sphere, z, x, steps=1)
    default, _ = refine_endpoints(manifolds.sphere, z, x)
    far = [np.linalg.norm(each - exact, axis=1).max() for each in (z, early, near, default, exact)]
    assert far == sorted(far, reverse=True) and far[2] > 10 * far[3] > 0
    alone = [refine_endpoints(manifolds.sphere, z[i : i + 1], x[i : i + 1])[0][0] for i in range(6)]
    np.testing.assert_allclose(alone, default, rtol=1e-12)


def test_errors_never_grow_and_bad_rows_stay_alone(rng):
    # So far out that a full Gauss-Newton step goes too far.
    z = 3 * rng.normal(size=(6, 3)).astype(np.float32)
    x = rng.normal(size=(6, 4)).astype(np.float32)
    clean, errors = refine_endpoints(manifolds.sphere, z, x, steps=1)
    assert (errors[:, 1] <= errors[:, 0]).all() and (errors[:, 1] == errors[:, 0]).any()
    clean, errors = refine_endpoints(manifolds.sphere, z, x, steps=6)
    assert (errors[:, 1] < errors[:, 0]).all()
    x[2] = np.nan
    spoilt, _ = refine_endpoints(manifolds.sphere, z, x, steps=6)
    np.testing.assert_array_equal(spoilt[2], z[2])
    others = np.arange(6) != 2
    np.testing.assert_array_equal(spoilt[others], clean[others])


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="z must be"):
        refine_endpoints(manifolds.sphere, np.zeros((2, 3)), np.zeros((3, 4)))
