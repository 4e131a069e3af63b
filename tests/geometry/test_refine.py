"""Latents nearest to data, by Gauss-Newton."""

import jax.numpy as jnp
import manifolds
import numpy as np
import pytest

from identmetric_cli.geometry import refine_endpoints


def test_points_of_the_manifold_are_found(rng, x64):
    z = rng.normal(size=(20, 3)) / 2
    x = np.asarray(manifolds.sphere(jnp.asarray(z)))[0]
    found = refine_endpoints(manifolds.sphere, z + 0.1 * rng.normal(size=z.shape), x, steps=8)
    np.testing.assert_allclose(found.latents, z, atol=1e-9)
    assert (found.after < 1e-16).all() and (found.before > 1e-6).all()


def test_linear_ensembles_give_least_squares(rng, x64):
    matrices = rng.normal(size=(3, 2, 5))
    decode = tuple(manifolds.linear(matrix[None]) for matrix in matrices)
    x, z = rng.normal(size=(4, 5)), rng.normal(size=(4, 2))
    stacked, targets = np.concatenate(list(matrices), axis=1).T, np.tile(x, 3).T
    wanted = np.linalg.lstsq(stacked, targets)[0].T
    found = refine_endpoints(decode, z, x, rtol=0)
    np.testing.assert_allclose(found.latents, wanted, atol=1e-8)
    residual = np.square(wanted @ np.concatenate(list(matrices), axis=1) - np.tile(x, 3)).sum(axis=1) / 15
    np.testing.assert_allclose(found.after, residual, rtol=1e-8)


def test_points_stay_where_a_step_promises_little(rng, x64):
    z = rng.normal(size=(6, 3)) / 2
    x = np.asarray(manifolds.sphere(jnp.asarray(z)))[0] + 0.1 * rng.normal(size=(6, 4))
    z = z + 0.1 * rng.normal(size=z.shape)
    exact = refine_endpoints(manifolds.sphere, z, x, steps=60, rtol=0).latents
    near = refine_endpoints(manifolds.sphere, z, x, rtol=1e-4)
    early = refine_endpoints(manifolds.sphere, z, x, steps=1)
    default = refine_endpoints(manifolds.sphere, z, x)
    found = (z, early.latents, near.latents, default.latents, exact)
    far = [np.linalg.norm(each - exact, axis=1).max() for each in found]
    assert far == sorted(far, reverse=True) and far[2] > 5 * far[3] > 0
    assert default.gain.max() < 1e-6 < early.gain.max() and near.gain.max() < 1e-4
    alone = [refine_endpoints(manifolds.sphere, z[i : i + 1], x[i : i + 1]).latents[0] for i in range(6)]
    np.testing.assert_allclose(alone, default.latents, rtol=1e-12)


def test_errors_never_grow_and_bad_rows_stay_alone(rng):
    # So far out that a full Gauss-Newton step goes too far.
    z = 3 * rng.normal(size=(6, 3)).astype(np.float32)
    x = rng.normal(size=(6, 4)).astype(np.float32)
    early = refine_endpoints(manifolds.sphere, z, x, steps=1)
    assert (early.after <= early.before).all() and (early.after == early.before).any()
    found = refine_endpoints(manifolds.sphere, z, x, steps=6)
    assert (found.after < found.before).all()
    x[2] = np.nan
    clean, spoilt = found.latents, refine_endpoints(manifolds.sphere, z, x, steps=6).latents
    np.testing.assert_array_equal(spoilt[2], z[2])
    others = np.arange(6) != 2
    np.testing.assert_array_equal(spoilt[others], clean[others])


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="z must be"):
        refine_endpoints(manifolds.sphere, np.zeros((2, 3)), np.zeros((3, 4)))
