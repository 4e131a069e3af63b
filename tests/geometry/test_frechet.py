"""Frechet means where symmetry or flatness gives them."""

import jax.numpy as jnp
import manifolds
import numpy as np
import pytest

from identmetric_cli.geometry import Estimator, MetricTensor, frechet_mean

TIGHT = {"nodes": 16, "rtol": 1e-10, "batch_size": 6, "tries": 1}


def test_in_flat_spaces_it_is_the_average(rng, x64):
    points, weights = rng.normal(size=(6, 3)), rng.uniform(size=6)
    matrix = rng.normal(size=(1, 3, 5))
    mean = frechet_mean(manifolds.linear(matrix), points, weights=3 * weights, **TIGHT)
    wanted = weights @ points / weights.sum()
    np.testing.assert_allclose(mean.point, wanted, rtol=1e-9)
    squares = np.square((points - wanted) @ matrix[0]).sum(axis=1)
    assert mean.variance == pytest.approx(weights @ squares / weights.sum(), rel=1e-6)
    assert mean.converged and mean.steps == 0


def test_on_the_sphere_it_is_the_middle_of_an_arc(x64):
    points = np.array([[0.1, 0.2], [-0.9, 1.4]])
    a, b = np.asarray(manifolds.sphere(jnp.asarray(points)))[0]
    middle = (a + b) / np.linalg.norm(a + b)
    wanted = middle[:2] / (1 - middle[2])
    assert np.linalg.norm(points.mean(axis=0) - wanted) > 0.05
    mean = frechet_mean(manifolds.sphere, points, **{**TIGHT, "nodes": 32}, tolerance=1e-4)
    assert mean.converged and mean.steps > 0
    np.testing.assert_allclose(mean.point, wanted, atol=2e-4)
    distance = manifolds.sphere_distance(points[:1], points[1:])[0]
    assert mean.variance == pytest.approx((distance / 2) ** 2, rel=1e-3)


def mirrored(points: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Points of the sphere in latents, with their reflections in the point with latents `middle`."""
    x, m = (np.asarray(manifolds.sphere(jnp.asarray(each)))[0] for each in (points, middle[None]))
    y = 2 * (x @ m.T) * m - x
    return np.concatenate([points, y[:, :2] / (1 - y[:, 2:])])


def hyperbolic_middle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Middle of two points of the half-plane, by the hyperboloid."""
    (x, y), square = np.stack([a, b], axis=1), np.sum(np.stack([a, b]) ** 2, axis=1)
    first, second, third = np.stack([(square + 1) / (2 * y), (square - 1) / (2 * y), x / y]).sum(axis=1)
    norm = np.sqrt(first**2 - second**2 - third**2)
    height = norm / (first - second)
    return np.array([third / norm * height, height])


def easy(case: str, rng: np.random.Generator):
    """What to decode with, points, and their mean."""
    if case == "sphere":
        middle = np.array([0.4, -0.3])
        points = mirrored(middle + rng.normal(size=(4, 2)) / 3, middle)
        return manifolds.sphere, np.concatenate([points, middle[None]]), middle
    if case == "half-plane":
        points = np.array([[-1.0, 0.4], [1.5, 2.5]])
        metric = MetricTensor(lambda z: jnp.eye(2, dtype=z.dtype) / jnp.square(z[:, 1])[:, None, None])
        return metric, points, hyperbolic_middle(*points)
    change = manifolds.diffeomorphism(rng, 2)
    if case == "plane":
        decode, points = manifolds.linear(rng.normal(size=(1, 2, 4))), rng.normal(size=(6, 2))
    else:
        decode, corner = manifolds.torus, rng.uniform(0.2, 0.8, size=(2, 2))
        points = np.concatenate([corner * signs for signs in ([1, 1], [1, -1], [-1, 1], [-1, -1])])
    hidden = manifolds.hidden(decode, change)
    moved = np.asarray(change(jnp.asarray(np.concatenate([points, points.mean(axis=0)[None]]))))
    return hidden, moved[:-1], moved[-1]


@pytest.mark.parametrize("case", ["sphere", "half-plane", "plane", "torus"])
def test_easy_means_are_found_by_default(case, dtype, rng):
    decode, points, wanted = easy(case, rng)
    mean = frechet_mean(decode, points.astype(dtype))
    assert mean.converged and mean.steps > 0
    assert mean.gradient < 1e-3 and mean.error < 1e-3
    np.testing.assert_allclose(mean.point, wanted, atol=1e-3)
    assert np.linalg.norm(points.mean(axis=0) - wanted) > 5e-3


def test_a_point_at_the_mean_but_for_rounding_is_no_failure():
    points = np.array([[0.1, 0.7], [0.3, 0.1], [0.2 + 1e-7, 0.4]], np.float32)
    mean = frechet_mean(manifolds.linear(np.eye(2, 3)[None]), points)
    assert mean.converged and (mean.point != points[2]).any()
    assert mean.variance == pytest.approx((0.01 + 0.09) * 2 / 3, rel=1e-5)


def test_a_mean_is_no_nearer_than_its_curves_are_solved(rng, x64):
    points = rng.normal(size=(6, 2))
    rough = frechet_mean(manifolds.sphere, points, tolerance=1e-8, rtol=1e-3, tries=1)
    assert rough.error > 1e-3
    assert rough.converged == (rough.gradient <= rough.error)
    fine = frechet_mean(manifolds.sphere, points, tolerance=1e-8, rtol=1e-14, tries=1)
    assert fine.error < 1e-6


def test_it_does_not_depend_on_coordinates(rng, x64):
    decode = manifolds.ensemble(manifolds.bump(0.3), manifolds.bump(0.8))
    points = rng.normal(size=(6, 2))
    change = manifolds.diffeomorphism(rng, 2)
    moved = np.asarray(change(jnp.asarray(points)))
    mean = frechet_mean(decode, points, tolerance=1e-4, **TIGHT)
    other = frechet_mean(manifolds.hidden(decode, change), moved, tolerance=1e-4, **TIGHT)
    assert mean.converged and other.converged
    np.testing.assert_allclose(other.point, np.asarray(change(jnp.asarray(mean.point[None])))[0], atol=1e-3)
    assert np.linalg.norm(moved.mean(axis=0) - other.point) > 1e-2


def test_what_failed_is_not_a_mean(rng, x64):
    points = rng.normal(size=(4, 3)) / 2
    points[0, 0] = np.nan
    assert not frechet_mean(manifolds.sphere, points, **TIGHT).converged
    far = frechet_mean(manifolds.sphere, rng.normal(size=(4, 3)), max_steps=1, tolerance=1e-9, **TIGHT)
    assert not far.converged and far.steps == 1
    same = frechet_mean(manifolds.sphere, np.ones((3, 2)), **TIGHT)
    assert same.converged and same.variance == 0


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="points must be"):
        frechet_mean(manifolds.sphere, np.zeros(3))
    for weights in (np.zeros(2), np.array([1.0, -1.0]), np.ones(3)):
        with pytest.raises(ValueError, match="weights"):
            frechet_mean(manifolds.sphere, np.zeros((2, 3)), weights=weights)
    with pytest.raises(ValueError, match="independent"):
        frechet_mean(manifolds.sphere, np.zeros((2, 3)), estimator=Estimator("independent"))
