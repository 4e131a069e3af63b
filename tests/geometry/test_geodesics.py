"""Geodesics against exact ones, in every gauge, and what becomes of pairs that have none."""

import manifolds
import numpy as np
import pytest
from jax.tree_util import Partial

from identmetric_cli.geometry import GeodesicTable, Status, geodesics

PAIRS = 6
DIMENSION = 3
# One number of lanes and nodes throughout: what does not depend on the map is compiled once.
SHAPE = {"nodes": 12, "batch_size": 4}
TIGHT = {**SHAPE, "rtol": 1e-11}
RTOL = {"float32": 1e-5, "float64": 1e-11}
TOLERANCE = {"float32": 2e-5, "float64": 1e-9}

KNOWN = [
    manifolds.straight_lines,
    manifolds.stretched_lines,
    manifolds.great_circles,
    manifolds.helices,
    manifolds.torus_circles,
]


def name(function):
    return function.__name__


def same_bits(table: GeodesicTable, other: GeodesicTable) -> list[str]:
    """Columns in which two tables differ."""
    return [f for f, a, b in zip(table._fields, table, other, strict=True) if a.tobytes() != b.tobytes()]


def rows(table: GeodesicTable, index) -> GeodesicTable:
    return GeodesicTable(*(column[index] for column in table))


@pytest.fixture
def hilly(rng, x64):
    """An ensemble of three bumps in coordinates that hide them, and pairs of points around them."""
    change = manifolds.diffeomorphism(rng, DIMENSION)
    decode = manifolds.hidden(manifolds.ensemble(*(manifolds.bump(height) for height in (0.3, 0.7, 1.1))), change)
    return decode, *np.asarray(change(rng.normal(size=(2 * PAIRS, DIMENSION)))).reshape(2, PAIRS, DIMENSION)


@pytest.mark.parametrize("known", KNOWN, ids=name)
def test_lengths_are_exact(known, dtype, rng):
    decode, starts, ends, _, polygon = known(rng, PAIRS, DIMENSION)
    table = geodesics(decode, starts.astype(dtype), ends.astype(dtype), **SHAPE, rtol=RTOL[dtype.name])
    assert table.converged.all()
    np.testing.assert_allclose(table.length, polygon(12), rtol=TOLERANCE[dtype.name])
    assert (np.abs(table.speed_gap) < 1e-4).all()


@pytest.mark.parametrize("dimension", [2, 20])
def test_great_circles_in_few_and_many_dimensions(dimension, rng, x64):
    decode, starts, ends, _, polygon = manifolds.great_circles(rng, 4, dimension)
    table = geodesics(decode, starts, ends, **TIGHT)
    assert table.converged.all()
    np.testing.assert_allclose(table.length, polygon(12), rtol=1e-9)


@pytest.mark.parametrize("known", KNOWN, ids=name)
def test_lengths_do_not_depend_on_coordinates(known, rng, x64):
    decode, starts, ends, _, polygon = known(rng, PAIRS, DIMENSION)
    change = manifolds.diffeomorphism(rng, DIMENSION)
    a, b = np.asarray(change(starts)), np.asarray(change(ends))
    table = geodesics(manifolds.hidden(decode, change), a, b, **TIGHT)
    assert table.converged.all()
    np.testing.assert_allclose(table.length, polygon(12), rtol=1e-8)
    assert (table.straight_length / table.length).max() > 1.001
    assert np.ptp(table.euclidean_latent / np.linalg.norm(ends - starts, axis=1)) > 0.5


def test_errors_are_of_second_order(rng, x64):
    decode, starts, ends, exact, _ = manifolds.great_circles(rng, 4, DIMENSION)
    tables = [geodesics(decode, starts, ends, nodes=n, batch_size=4, rtol=1e-11) for n in (6, 12, 24)]
    errors = np.array([exact - table.length for table in tables])
    assert all(table.converged.all() for table in tables)
    np.testing.assert_allclose(errors[:-1] / errors[1:], 4, rtol=0.05)


def test_ensembles_converge_in_the_number_of_nodes(hilly):
    # With decoders drawn anew at every node the energy would grow as n^2.
    tables = [geodesics(*hilly, nodes=n, batch_size=4, rtol=1e-11) for n in (6, 12, 24)]
    changes = np.abs(np.diff([table.length for table in tables], axis=0))
    assert all(table.converged.all() for table in tables)
    assert (changes[1] < 0.5 * changes[0]).all()


def test_bounds(hilly):
    table = geodesics(*hilly, **TIGHT)
    assert table.converged.all()
    assert (table.chord <= table.length).all()
    assert (table.length**2 <= table.energy * (1 + 1e-12)).all()
    assert (table.energy <= table.straight_energy).all()
    assert (table.straight_length**2 <= table.straight_energy).all()
    np.testing.assert_allclose(table.bound_gap, 1 - table.chord / table.length)
    np.testing.assert_allclose(table.speed_gap, 1 - table.length**2 / table.energy, atol=1e-14)


def test_columns_are_measures_of_the_curve(hilly):
    decode, starts, ends = hilly
    table = geodesics(*hilly, **TIGHT)
    x = np.stack([np.asarray(decode(curve)) for curve in table.curve], axis=2) / np.sqrt(3)
    steps = np.sum(np.diff(x, axis=1) ** 2, axis=(0, 3))
    np.testing.assert_allclose(table.length, np.sqrt(steps).sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(table.energy, 12 * steps.sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(table.chord, np.sqrt(np.sum((x[:, 0] - x[:, -1]) ** 2, axis=(0, 2))), rtol=1e-12)
    np.testing.assert_array_equal(table.curve[:, [0, -1]], np.stack([starts, ends], axis=1))
    np.testing.assert_allclose(table.euclidean_latent, np.linalg.norm(starts - ends, axis=1))


def test_distance_is_symmetric(hilly):
    decode, starts, ends = hilly
    there, back = geodesics(*hilly, **TIGHT), geodesics(decode, ends, starts, **TIGHT)
    np.testing.assert_allclose(there.length, back.length, rtol=1e-9)
    np.testing.assert_allclose(there.curve, back.curve[:, ::-1], atol=1e-4)
    np.testing.assert_allclose(there.velocity, back.velocity[:, ::-1], atol=1e-3)


def test_equal_members_are_one_decoder(rng, x64):
    decode, starts, ends, *_ = manifolds.great_circles(rng, PAIRS, DIMENSION)
    one = geodesics(decode, starts, ends, **TIGHT)
    many = geodesics(manifolds.ensemble(*3 * [decode]), starts, ends, **TIGHT)
    for column in ("length", "energy", "chord", "straight_length"):
        np.testing.assert_allclose(getattr(many, column), getattr(one, column), rtol=1e-9)


def test_linear_ensembles_have_the_mean_metric(rng, x64):
    matrices, offsets = rng.normal(size=(3, DIMENSION, 5)), rng.normal(size=(3, 1, 5))
    starts, ends = rng.normal(size=(2, PAIRS, DIMENSION))
    table = geodesics(manifolds.linear(matrices, offsets), starts, ends, **TIGHT)
    metric = np.mean([matrix @ matrix.T for matrix in matrices], axis=0)
    difference = ends - starts
    np.testing.assert_allclose(table.length, np.sqrt(np.einsum("pd,de,pe->p", difference, metric, difference)))


def test_gradient_estimates_what_is_left_to_gain(hilly):
    best, early = geodesics(*hilly, **TIGHT), geodesics(*hilly, **SHAPE, rtol=1e-3)
    left = early.energy / best.energy - 1
    assert best.converged.all() and early.converged.all()
    assert (best.gradient < 1e-4).all()
    assert (left > -1e-9).all() and (left < 10 * np.maximum(early.gradient**2, 1e-6)).all()


def test_lengths_bear_an_offset_of_the_data(rng):
    decode, starts, ends, _, polygon = manifolds.great_circles(rng, PAIRS, DIMENSION)
    table = geodesics(manifolds.shifted(decode, 100.0), starts.astype(np.float32), ends.astype(np.float32), **SHAPE)
    np.testing.assert_allclose(table.length, polygon(12), rtol=1e-4)


def test_saddles_show_in_the_bound_gap(rng, x64):
    starts = np.zeros((4, DIMENSION))
    starts[:, 0] = -2.0
    off_the_ridge = 0.1 * np.array([[0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1]])
    table = geodesics(manifolds.bump(3.0), starts + off_the_ridge, -starts + off_the_ridge, **TIGHT)
    # The first pair starts on the ridge, where no gradient leads off it: only the bound tells.
    assert table.length[0] > 1.1 * table.length[1:].max()
    assert table.bound_gap[0] > table.bound_gap[1:].max()


def test_identical_endpoints(rng):
    ends = rng.normal(size=(4, DIMENSION)).astype(np.float32)
    starts = np.where(np.arange(4)[:, None] < 2, ends, 0.5 * ends)
    table = geodesics(manifolds.sphere, starts, ends, **SHAPE)
    assert table.status.tolist() == 2 * [Status.identical_endpoints] + 2 * [Status.converged]
    assert (table.length[:2] == 0).all()
    assert (table.energy[:2] == 0).all()


@pytest.mark.parametrize("decode", [manifolds.constant, manifolds.collapsed], ids=name)
def test_degenerate_pairs(decode, rng):
    starts = rng.normal(size=(4, DIMENSION)).astype(np.float32)
    ends = starts + np.eye(DIMENSION, dtype=np.float32)[-1]
    table = geodesics(decode, starts, ends, **SHAPE)
    assert (table.status == Status.degenerate).all()


def test_too_few_iterations(rng):
    decode, starts, ends, *_ = manifolds.great_circles(rng, 4, DIMENSION)
    table = geodesics(decode, starts.astype(np.float32), ends.astype(np.float32), **SHAPE, max_iter=1)
    assert (table.status == Status.max_iter).all()
    assert not table.converged.any()
    assert (table.iterations == 1).all()


@pytest.mark.parametrize("bad", range(5))
def test_a_bad_pair_changes_no_other_bit(bad, rng):
    starts, ends = (0.5 * rng.normal(size=(2, 9, DIMENSION))).astype(np.float32)
    clean = geodesics(manifolds.torn, starts, ends, **SHAPE)
    ends[bad] = np.nan if bad % 2 else 2.5
    table = geodesics(manifolds.torn, starts, ends, **SHAPE)
    others = np.arange(9) != bad
    assert clean.converged.all()
    assert (table.status == Status.nonfinite).tolist() == (~others).tolist()
    assert same_bits(rows(table, others), rows(clean, others)) == []


@pytest.mark.parametrize("decode", [manifolds.sphere, manifolds.torus], ids=name)
def test_rows_depend_neither_on_their_order_nor_on_their_number(decode, rng):
    starts, ends = rng.normal(size=(2, 10, DIMENSION)).astype(np.float32)
    table = geodesics(decode, starts, ends, **SHAPE)
    order = rng.permutation(10)
    assert same_bits(geodesics(decode, starts[order], ends[order], **SHAPE), rows(table, order)) == []
    assert same_bits(geodesics(decode, starts[:5], ends[:5], **SHAPE), rows(table, slice(5))) == []


@pytest.mark.parametrize(
    ("starts", "ends"), [((3,), (3,)), ((2, 3), (2, 4)), ((2, 3), (1, 3)), ((0, 3), (0, 3)), ((1, 2, 3), (1, 2, 3))]
)
def test_wrong_shapes_are_refused(starts, ends):
    with pytest.raises(ValueError, match="must both be"):
        geodesics(manifolds.sphere, np.zeros(starts), np.zeros(ends))


def test_decoders_are_traced_once_for_all_numbers_of_pairs(rng):
    traces = []

    def decode(z):
        traces.append(z.shape)
        return manifolds.sphere(z)

    starts, ends = rng.normal(size=(2, 40, DIMENSION)).astype(np.float32)
    geodesics(Partial(decode), starts[:4], ends[:4], **SHAPE)
    first = len(traces)
    assert first <= 3
    geodesics(Partial(decode), starts, ends, **SHAPE)
    geodesics(decode, starts, ends, **SHAPE)
    assert len(traces) == first


def test_progress_counts_pairs_over_all_grids(rng, x64):
    calls = []
    starts, ends = rng.normal(size=(2, 4, DIMENSION))
    geodesics(manifolds.sphere, starts, ends, nodes=24, batch_size=4, progress=lambda *counts: calls.append(counts))
    assert calls[-1] == (8, 8)
    assert calls == sorted(calls)
