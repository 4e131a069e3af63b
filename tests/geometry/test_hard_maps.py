"""What the hard maps promise: closed forms, sums over factors, trained decoders, and references that find them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shortest_paths
from hard_maps import (
    GAPS,
    NEAR_CONJUGATE,
    bump_distance,
    factors,
    foreign,
    globe,
    globe_distance,
    maze,
    product,
    sines,
    tanh_5_to_2,
    voronoi,
)
from hard_networks import items, network
from manifolds import bump, orthonormal

from identmetric_cli.geometry import geodesics, metric_tensor

HEIGHT = 3.0
AROUND = (
    np.array([[1.5, 0.4], [-1.2, 1.0], [0.3, 1.9], [1.8, -0.2]]),
    np.array([[-1.5, 0.5], [1.0, 1.3], [0.9, 0.6], [0.4, -0.1]]),
)
"""Pairs that pass the bump's turning point and pairs that climb it."""


def clairaut() -> np.ndarray:
    return np.array([bump_distance(HEIGHT, 1.0, a, b) for a, b in zip(*AROUND, strict=True)])


def test_clairaut_is_the_length_of_finely_solved_geodesics(x64):
    table = geodesics(bump(HEIGHT), *AROUND, nodes=64, rtol=1e-10, max_iter=500)
    assert table.converged.all()
    np.testing.assert_allclose(table.length, clairaut(), rtol=3e-4)
    assert (table.length <= clairaut()).all(), "chords are no longer than their arcs"


def test_clairaut_takes_the_near_side_and_goes_straight_where_it_can():
    mirrored = [bump_distance(HEIGHT, 1.0, np.array([1.5, y]), np.array([-1.5, 0.0])) for y in (-0.3, 0, 0.3)]
    assert mirrored[0] == pytest.approx(mirrored[2], rel=1e-12)
    assert mirrored[1] > mirrored[0]
    assert bump_distance(0.0, 1.0, np.array([1.5, 0.7]), np.array([-0.4, 0.2])) == pytest.approx(np.hypot(1.9, 0.5))
    climb = np.trapezoid(np.hypot(1, HEIGHT * (r := np.linspace(0, 2, 20001)) * np.exp(-(r**2) / 2)), r)
    assert bump_distance(HEIGHT, 1.0, np.zeros(2), np.array([0.0, 2.0])) == pytest.approx(climb, rel=1e-7)


def test_distances_of_a_product_are_sums_over_its_factors(x64):
    rng = np.random.default_rng(1)
    rotation = orthonormal(rng, 4, 4)
    of_bump, of_globe = AROUND, rng.uniform(-0.6, 0.6, size=(2, 4, 2))
    starts, ends = (np.concatenate(each, axis=1) @ rotation.T for each in zip(of_bump, of_globe, strict=True))
    np.testing.assert_allclose(factors(rotation, starts), [of_bump[0], of_globe[0]], atol=1e-12)
    table = geodesics(product((bump(HEIGHT), globe), rotation), starts, ends, nodes=32, rtol=1e-8, max_iter=500)
    assert table.converged.all()
    np.testing.assert_allclose(table.length, np.hypot(clairaut(), globe_distance(*of_globe)), rtol=1.5e-3)


def test_references_find_the_global_minimum(monkeypatch):
    monkeypatch.setattr(shortest_paths, "SIDE", 81)
    np.testing.assert_allclose(shortest_paths.distances(bump(HEIGHT), *AROUND), clairaut(), rtol=1e-4)
    a, b = (np.stack([end, [0.5, 0.1]]) for end in NEAR_CONJUGATE)
    assert globe_distance(a, b)[0] == pytest.approx(np.pi - np.hypot(0.02, np.cos(0.59) * (np.pi - 3.12)), rel=1e-5)
    np.testing.assert_allclose(shortest_paths.distances(globe, a, b), globe_distance(a, b), rtol=1e-4)


def test_references_of_many_latents_find_a_way_round(monkeypatch):
    monkeypatch.setattr(shortest_paths, "STARTS", 3)
    starts, ends = (np.pad(each, ((0, 0), (0, 1))) for each in AROUND)
    ends[:, 2] = 1.0

    def beside_a_line(z):
        return jnp.concatenate([bump(HEIGHT)(z[:, :2]), z[None, :, 2:]], axis=-1)

    found = shortest_paths.distances(beside_a_line, starts, ends)
    np.testing.assert_allclose(found, np.hypot(clairaut(), 1.0), rtol=1e-4)


def test_the_maze_is_passed_by_its_gaps(monkeypatch):
    monkeypatch.setattr(shortest_paths, "SIDE", 81)
    high = 10.0
    starts, ends = np.array([[-1.5, 0.9], [-1.5, -1.0]]), np.array([[-0.5, 0.9], [-0.5, -1.0]])
    open_way, detour = shortest_paths.distances(maze(high), starts, ends)
    assert open_way == pytest.approx(1.0, rel=1e-2)
    with jax.enable_x64(True):
        by_the_gap = np.array([starts[1], [-1.5, GAPS[0]], [-0.5, GAPS[0]], ends[1]])
        (by_the_gap,) = shortest_paths.measured(maze(high), by_the_gap[None])
    assert 2 * np.hypot(0.5, 1.4) < detour < by_the_gap < high
    walls = maze(high)(jnp.array([[-1.0, GAPS[0]], [-1.0, -GAPS[0]], [0.5, 0.0]]))[0, :, 2]
    np.testing.assert_allclose(walls, [0, high, 0], atol=0.1)


@pytest.mark.parametrize("data", ["digits", "wine"])
@pytest.mark.parametrize("activation", ["relu", "elu"])
def test_trained_decoders_know_their_data(activation, data):
    decode, codes = network(f"{activation} {data}")
    x = items(data)
    assert codes.shape == (len(x), 2)
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(codes.std(axis=0), 1, rtol=1e-4)
    unexplained = np.sum((np.asarray(decode(codes))[0] - x) ** 2) / np.sum((x - x.mean(axis=0)) ** 2)
    assert unexplained < {"digits": 0.65, "wine": 0.2}[data]


@pytest.mark.parametrize("name", ["relu digits", "elu digits", "foreign"])
def test_relu_decoders_are_piecewise_linear_and_elu_ones_are_not(name, x64):
    decode = foreign(0) if name == "foreign" else network(name)[0]
    line = np.linspace([-1.5, -1.0], [1.2, 1.4], 2001)
    bends = np.linalg.norm(np.diff(np.asarray(decode(line))[0], n=2, axis=0), axis=-1)
    bent = np.mean(bends > 1e-10)
    assert 0 < bent < 0.2 if name != "elu digits" else bent > 0.95


def test_a_cell_is_flat_and_has_its_own_value():
    cells = voronoi(2, 0, sharpness=1e4)
    _, centres, values = cells.args
    np.testing.assert_allclose(cells(jnp.asarray(centres + 1e-3, jnp.float32))[0], values, atol=1e-3)


def test_tanh_collapses_three_directions(x64):
    decode, starts, ends = tanh_5_to_2()
    assert starts.shape == ends.shape == (64, 5)
    stretches = np.linalg.eigvalsh(np.asarray(metric_tensor(decode, starts.astype(float))))
    np.testing.assert_allclose(stretches[:, :3], 0, atol=1e-12)
    assert (stretches[:, 3:] > 1e-6).all()


@pytest.mark.parametrize(
    ("decode", "dimension", "outputs"),
    [
        (sines(2, 0), 2, 40),
        (sines(16, 1), 16, 40),
        (voronoi(2, 0), 2, 40),
        (maze(), 2, 3),
        (foreign(0), 2, 50),
        (globe, 2, 3),
        (tanh_5_to_2()[0], 5, 2),
        (product((sines(2, 0), globe), np.eye(4)), 4, 43),
    ],
)
def test_maps_follow_the_dtype_of_their_latents(decode, dimension, outputs):
    z = np.random.default_rng(0).normal(size=(7, dimension))
    with jax.enable_x64(True):
        single, double = decode(jnp.asarray(z, jnp.float32)), decode(jnp.asarray(z))
    assert single.shape == double.shape == (1, 7, outputs)
    assert (single.dtype, double.dtype) == (jnp.float32, jnp.float64)
    np.testing.assert_allclose(single, double, atol=1e-4)
