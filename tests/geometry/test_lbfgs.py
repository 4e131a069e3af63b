"""The quasi-Newton method, one row at a time and many rows side by side."""

import numpy as np
import pytest

from identmetric_cli.geometry import lbfgs
from identmetric_cli.geometry.lbfgs import MEMORY, SMALLEST_STEP, State, Status

pytestmark = pytest.mark.usefixtures("x64")

ROWS, SIZE = 5, 4
advance, trial, start = lbfgs.advance, lbfgs.trials, lbfgs.starts


def bits(state: State, row: int) -> list[bytes]:
    return [np.asarray(field)[row].tobytes() for field in state]


@pytest.fixture
def quadratics(rng):
    """Energies 1 + (y - m)^T A (y - m) / 2 of every row, and their minima."""
    roots, minima = rng.normal(size=(ROWS, SIZE, SIZE)), rng.normal(size=(ROWS, SIZE))
    matrices = roots @ np.swapaxes(roots, 1, 2) + np.eye(SIZE)
    sides = np.einsum("rij,rj->ri", matrices, minima)

    def evaluate(y):
        solved = np.stack([np.linalg.solve(matrix, side) for matrix, side in zip(matrices, sides, strict=True)])
        gradient = np.einsum("rij,rj->ri", matrices, y - solved)
        return 1 + 0.5 * np.einsum("ri,ri->r", y - solved, gradient), gradient

    return evaluate, minima


def minimise(evaluate, y, rtol=1e-14, max_iter=100, calls=60):
    state = start(y)
    for _ in range(calls):
        state = advance(state, *evaluate(np.asarray(trial(state))), 0.0, rtol, max_iter)
    return state


def test_quadratics_are_solved(quadratics, rng):
    evaluate, minima = quadratics
    state = minimise(evaluate, rng.normal(size=(ROWS, SIZE)))
    assert (np.asarray(state.status) == Status.converged).all()
    np.testing.assert_allclose(state.y, minima, atol=1e-6)
    np.testing.assert_allclose(state.energy, 1, rtol=1e-13)
    assert np.asarray(state.evaluations).max() < 40


def test_the_first_step_solves_a_hessian_of_twice_the_identity(rng):
    minima = rng.normal(size=(ROWS, SIZE))
    state = minimise(lambda y: (1 + np.sum((y - minima) ** 2, axis=1), 2 * (y - minima)), np.zeros((ROWS, SIZE)))
    assert (np.asarray(state.evaluations) == 2).all()
    np.testing.assert_allclose(state.y, minima, rtol=1e-15)


def test_rows_share_nothing(quadratics, rng):
    evaluate, _ = quadratics
    y = rng.normal(size=(ROWS, SIZE))
    state = minimise(evaluate, y)

    def one_bad(points):
        energy, gradient = evaluate(points)
        energy[2], gradient[2] = np.nan, np.nan
        return energy, gradient

    other = minimise(one_bad, y)
    assert np.asarray(other.status).tolist() == [1, 1, Status.nonfinite, 1, 1]
    assert all(bits(state, row) == bits(other, row) for row in range(ROWS) if row != 2)


def test_a_row_that_ended_never_changes(quadratics, rng):
    evaluate, _ = quadratics
    state = minimise(evaluate, rng.normal(size=(ROWS, SIZE)))
    for energy, gradient in [(0.0, 0.0), (np.nan, np.nan), (np.inf, 1.0), (0.5, -1.0)]:
        later = advance(state, np.full(ROWS, energy), np.full((ROWS, SIZE), gradient), 0.0, 1e-14, 100)
        assert all(bits(state, row) == bits(later, row) for row in range(ROWS))


def test_max_iter_counts_evaluations(quadratics, rng):
    evaluate, _ = quadratics
    state = minimise(evaluate, rng.normal(size=(ROWS, SIZE)), max_iter=3)
    assert (np.asarray(state.status) == Status.max_iter).all()
    assert (np.asarray(state.evaluations) == 3).all()


@pytest.mark.parametrize(("floor", "status"), [(0.0, Status.running), (1.0, Status.degenerate)])
def test_energies_up_to_the_floor_are_degenerate(floor, status):
    state = advance(start(np.zeros((ROWS, SIZE))), np.ones(ROWS), np.ones((ROWS, SIZE)), floor, 1e-9, 100)
    assert (np.asarray(state.status) == status).all()


@pytest.mark.parametrize(("energy", "gradient"), [(np.nan, 1.0), (np.inf, 1.0), (0.1, np.nan), (0.1, np.inf)])
def test_only_a_start_can_be_nonfinite(energy, gradient):
    bad = np.full(ROWS, energy), np.full((ROWS, SIZE), gradient)
    fresh = start(np.zeros((ROWS, SIZE)))
    assert (np.asarray(advance(fresh, *bad, 0.0, 1e-9, 100).status) == Status.nonfinite).all()
    running = advance(fresh, np.ones(ROWS), np.ones((ROWS, SIZE)), 0.0, 1e-9, 100)
    shorter = advance(running, *bad, 0.0, 1e-9, 100)
    assert (np.asarray(shorter.status) == Status.running).all()
    assert (np.asarray(shorter.step) < np.asarray(running.step)).all()
    np.testing.assert_array_equal(shorter.y, running.y)


def test_a_direction_that_fails_gives_way_to_steepest_descent(quadratics, rng):
    evaluate, _ = quadratics
    state = minimise(evaluate, rng.normal(size=(ROWS, SIZE)), calls=4)
    assert (np.asarray(state.status) == Status.running).all()
    worse = np.asarray(state.energy) + 1, np.ones((ROWS, SIZE))
    before, state = state, state._replace(step=np.full(ROWS, SMALLEST_STEP))
    state = advance(state, *worse, 0.0, 1e-14, 1000)
    np.testing.assert_array_equal(state.direction, -0.5 * np.asarray(before.gradient))
    np.testing.assert_array_equal(state.step, 1.0)
    assert not np.asarray(state.steps).any()
    while (np.asarray(state.status) == Status.running).all():
        state = advance(state, *worse, 0.0, 1e-14, 1000)
    assert (np.asarray(state.status) == Status.max_iter).all()
    assert (np.asarray(state.step) < SMALLEST_STEP).all()
    np.testing.assert_array_equal(state.y, before.y)


@pytest.mark.parametrize(("uphill", "accepted"), [(False, True), (True, False)])
@pytest.mark.parametrize("noise", [-1, 1])
def test_energies_that_differ_by_rounding_are_told_apart_by_slopes(uphill, accepted, noise):
    """One step of 1e-9 along the first axis: the energy's change of 1e-18 is lost in its rounding."""
    gradient = np.tile([1e-9, 0, 0, 0], (ROWS, 1))
    state = advance(start(np.zeros((ROWS, SIZE))), np.ones(ROWS), gradient, 0.0, 1e-30, 100)
    there = -3 * gradient if uphill else 0 * gradient
    state = advance(state, np.ones(ROWS) + noise * np.finfo(float).eps, there, 0.0, 1e-30, 100)
    assert (np.asarray(state.y).any(axis=1) == accepted).all()


@pytest.mark.parametrize("sign", [1.0, -1.0, np.nan])
def test_a_proposal_that_leads_uphill_gives_way_to_steepest_descent(sign):
    gradient = np.tile([1.0, 2.0, 0.0, 0.0], (ROWS, 1))
    state = advance(start(np.zeros((ROWS, SIZE))), np.ones(ROWS), gradient, 0.0, 1e-9, 100, -3 * sign * gradient)
    assert (np.asarray(state.status) == Status.running).all()
    np.testing.assert_array_equal(state.direction, (-3 if sign == 1 else -0.5) * gradient)


@pytest.mark.parametrize("pairs", [0, 1, 3, MEMORY])
def test_two_loops_multiply_by_the_bfgs_matrix(pairs, rng):
    root = rng.normal(size=(SIZE, SIZE))
    steps = np.zeros((MEMORY, SIZE))
    steps[MEMORY - pairs :] = rng.normal(size=(pairs, SIZE))
    changes = steps @ (root @ root.T + np.eye(SIZE))
    inverse = 0.5 * np.eye(SIZE)
    if pairs:
        inverse = np.eye(SIZE) * (steps[-1] @ changes[-1]) / (changes[-1] @ changes[-1])
    for s, y in zip(steps[MEMORY - pairs :], changes[MEMORY - pairs :], strict=True):
        project = np.eye(SIZE) - np.outer(s, y) / (s @ y)
        inverse = project @ inverse @ project.T + np.outer(s, s) / (s @ y)
    q = rng.normal(size=SIZE)
    np.testing.assert_allclose(_product(q, steps, changes), inverse @ q, rtol=1e-10)


def _product(q, steps, changes):
    return lbfgs._inverse_hessian_product(q[None], steps[None], changes[None])[0]


def test_a_step_of_negative_curvature_leaves_the_memory_as_it_is(quadratics, rng):
    evaluate, _ = quadratics
    state = minimise(evaluate, rng.normal(size=(ROWS, SIZE)), calls=4)
    step = np.asarray(trial(state)) - np.asarray(state.y)
    later = advance(state, np.full(ROWS, 0.1), np.asarray(state.gradient) - 0.1 * step, 0.0, 1e-14, 100)
    np.testing.assert_array_equal(later.y, trial(state))
    assert np.asarray(state.steps).any()
    np.testing.assert_array_equal(later.steps, state.steps)
    np.testing.assert_array_equal(later.changes, state.changes)


def test_a_ridge_is_descended_without_a_memory():
    # A ridge: the energy falls ever faster, so gradients and steps do not agree.
    def ridge(y):
        return 10 - np.sum(y**2, axis=1), -2 * y

    state = minimise(ridge, np.full((ROWS, SIZE), 0.1), calls=4)
    assert not np.asarray(state.steps).any()
    assert (np.asarray(state.energy) < 10 - 0.01 * SIZE).all()
    np.testing.assert_array_equal(state.direction, -0.5 * np.asarray(state.gradient))
