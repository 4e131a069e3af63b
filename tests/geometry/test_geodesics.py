"""Geodesics against exact ones, in every gauge, and what becomes of pairs that have none."""

from typing import NamedTuple

import jax
import manifolds
import numpy as np
import pytest
from jax.tree_util import Partial

from identmetric_cli.geometry import GeodesicTable, Status, geodesics, solve
from identmetric_cli.types import Decode

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


class Hills(NamedTuple):
    """An ensemble of three bumps in coordinates that hide them, pairs of points around them and their geodesics."""

    decode: Decode
    starts: np.ndarray
    ends: np.ndarray
    table: GeodesicTable


@pytest.fixture(scope="module")
def hills() -> Hills:
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        change = manifolds.diffeomorphism(rng, DIMENSION)
        decode = manifolds.hidden(manifolds.ensemble(*(manifolds.bump(height) for height in (0.3, 0.7, 1.1))), change)
        starts, ends = np.asarray(change(rng.normal(size=(2 * PAIRS, DIMENSION)))).reshape(2, PAIRS, DIMENSION)
        return Hills(decode, starts, ends, geodesics(decode, starts, ends, **TIGHT))


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


@pytest.mark.parametrize("dimension", [2, 20])
@pytest.mark.parametrize("known", [manifolds.great_circles, manifolds.torus_circles], ids=name)
def test_lengths_are_accurate_by_default_and_more_so_on_many_segments(known, dimension, rng, x64):
    decode, starts, ends, exact, _ = known(rng, 4, dimension)
    default = geodesics(decode, starts, ends)
    fine = geodesics(decode, starts, ends, nodes=256, rtol=1e-9, max_iter=300, batch_size=4)
    assert default.converged.all() and fine.converged.all()
    np.testing.assert_allclose(default.length, exact, rtol=1e-3)
    np.testing.assert_allclose(fine.length, exact, rtol=1e-5)


@pytest.mark.parametrize("dimension", [2, 20])
def test_arcs_that_almost_reach_the_antipode_are_accurate_by_default(dimension, x64):
    start = np.pad([[0.9]], ((0, 0), (0, dimension - 1)))
    table = geodesics(manifolds.sphere, start, -start)
    assert table.converged.all()
    np.testing.assert_allclose(table.length, 4 * np.arctan(0.9), rtol=1e-3)


@pytest.mark.parametrize("known", KNOWN, ids=name)
def test_lengths_do_not_depend_on_coordinates(known, rng, x64):
    decode, starts, ends, _, polygon = known(rng, PAIRS, DIMENSION)
    change = manifolds.diffeomorphism(rng, DIMENSION)
    a, b = np.asarray(change(starts)), np.asarray(change(ends))
    table = geodesics(manifolds.hidden(decode, change), a, b, **TIGHT, max_iter=300)
    assert table.converged.all()
    np.testing.assert_allclose(table.length, polygon(12), rtol=1e-8)
    assert (table.straight_length / table.length).max() > 1.001
    assert np.ptp(table.euclidean_latent / np.linalg.norm(ends - starts, axis=1)) > 0.3


def test_errors_are_of_second_order(rng, x64):
    decode, starts, ends, exact, _ = manifolds.great_circles(rng, 4, DIMENSION)
    tables = [geodesics(decode, starts, ends, nodes=n, batch_size=4, rtol=1e-11) for n in (3, 6, 12)]
    errors = np.array([exact - table.length for table in tables])
    assert all(table.converged.all() for table in tables)
    np.testing.assert_allclose(errors[:-1] / errors[1:], 4, rtol=0.05)


def test_ensembles_converge_in_the_number_of_nodes(hills, x64):
    # With decoders drawn anew at every node the energy would grow as n^2 instead.
    coarse = geodesics(*hills[:3], nodes=6, batch_size=4, rtol=1e-11)
    assert (hills.table.length > coarse.length).all()
    np.testing.assert_allclose(coarse.refinement / hills.table.refinement, 4, rtol=0.05)
    np.testing.assert_allclose(hills.table.length - coarse.length, coarse.refinement * coarse.length, rtol=0.1)


def test_bounds(hills):
    table = hills.table
    assert table.converged.all()
    assert (table.chord <= table.length).all()
    assert (table.length**2 <= table.energy * (1 + 1e-12)).all()
    assert (table.energy <= table.straight_energy).all()
    assert (table.straight_length**2 <= table.straight_energy).all()
    np.testing.assert_allclose(table.bound_gap, 1 - table.chord / table.length)
    np.testing.assert_allclose(table.speed_gap, 1 - table.length**2 / table.energy, atol=1e-14)


def test_columns_are_measures_of_the_curve(hills, x64):
    decode, starts, ends, table = hills
    x = np.asarray(jax.jit(decode)(table.curve.reshape(-1, DIMENSION)))
    x = x.reshape(3, PAIRS, 13, -1) / np.sqrt(3)
    steps = np.sum(np.diff(x, axis=2) ** 2, axis=(0, 3))
    np.testing.assert_allclose(table.length, np.sqrt(steps).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(table.energy, 12 * steps.sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(table.chord, np.sqrt(np.sum((x[:, :, 0] - x[:, :, -1]) ** 2, axis=(0, 2))), rtol=1e-12)
    np.testing.assert_array_equal(table.curve[:, [0, -1]], np.stack([starts, ends], axis=1))
    np.testing.assert_allclose(table.euclidean_latent, np.linalg.norm(starts - ends, axis=1))


def test_distance_is_symmetric(hills, x64):
    decode, starts, ends, there = hills
    back = geodesics(decode, ends, starts, **TIGHT)
    np.testing.assert_allclose(there.length, back.length, rtol=1e-12)
    np.testing.assert_allclose(there.curve, back.curve[:, ::-1], atol=1e-9)
    np.testing.assert_allclose(there.velocity, back.velocity[:, ::-1], atol=1e-9)


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


def test_gradient_estimates_what_is_left_to_gain(hills, x64):
    decode, starts, ends, best = hills
    early = geodesics(manifolds.scaled(decode, 10.0), starts, ends, **SHAPE, rtol=1e-3)
    left = early.energy / (100 * best.energy) - 1
    assert left.max() > 1e-4
    np.testing.assert_allclose(np.log10(early.gradient**2), np.log10(left), atol=0.5)


def test_lengths_bear_an_offset_of_the_data(rng):
    decode, starts, ends, _, polygon = manifolds.great_circles(rng, PAIRS, DIMENSION)
    table = geodesics(manifolds.shifted(decode, 100.0), starts.astype(np.float32), ends.astype(np.float32), **SHAPE)
    assert table.converged.all()
    np.testing.assert_allclose(table.length, polygon(12), rtol=1e-4)


@pytest.fixture
def over_the_ridge():
    """Four pairs on both sides of a high bump, the first with the top between them."""
    starts = np.zeros((4, DIMENSION))
    starts[:, 0] = -2.0
    off_the_ridge = 0.1 * np.array([[0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 1]])
    return manifolds.bump(3.0), starts + off_the_ridge, -starts + off_the_ridge


def test_saddles_show_in_the_bound_gap(over_the_ridge, x64):
    table = geodesics(*over_the_ridge, **TIGHT, tries=1)
    assert table.converged.all()
    assert (table.gradient < 1e-5).all()
    # No gradient leads off the ridge: only the bound tells.
    assert (table.length[0] > 1.25 * table.length[1:]).all()
    assert table.bound_gap[0] > 1.5 * table.bound_gap[1:].max()
    assert np.isnan(table.start_spread).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("nodes", [12, 16])
def test_saddles_are_left_by_default(nodes, dtype, over_the_ridge, x64):
    decode, *pairs = over_the_ridge
    table = geodesics(decode, *(each.astype(dtype) for each in pairs), nodes=nodes, batch_size=4)
    assert table.converged.all()
    np.testing.assert_allclose(table.length, table.length[1:].mean(), rtol=0.05)
    assert table.start_spread[0] > 0.5


def test_paths_between_codes_lead_around_a_ridge(rng, x64):
    ring = rng.normal(size=(300, 2))
    ring *= (2 + 0.1 * rng.normal(size=(300, 1))) / np.linalg.norm(ring, axis=1, keepdims=True)
    starts, ends = np.array([[-2.0, 0.0]]), np.array([[2.0, 0.0]])
    decode = manifolds.bump(3.0, 0.7)
    alone = geodesics(decode, starts, ends, tries=1, codes=ring)
    table = geodesics(decode, starts, ends, tries=3, codes=ring)
    assert table.converged[0] and table.length < 0.8 * alone.length
    assert table.iterations > alone.iterations


def test_gaps_in_the_data_are_told(rng, x64):
    decode = manifolds.ensemble(manifolds.bump(0.0), manifolds.bump(0.3, 0.5))
    side = rng.normal(size=(200, 2)) * [0.2, 1.0]
    codes = np.concatenate([side + place for place in ([-2, 0], [2, 0])])
    starts, ends = np.array([[-2.0, 0.0], [-2.0, 0.0]]), np.array([[2.0, 0.0], [-2.0, 1.0]])
    table = geodesics(decode, starts, ends, codes=codes)
    assert table.crosses_gap.tolist() == [True, False]
    assert table.disagreement[0] == pytest.approx(0.15, rel=0.05)
    assert table.disagreement_ratio[0] > 1 > table.disagreement_ratio[1]
    alone = geodesics(decode, starts, ends)
    assert not alone.crosses_gap.any() and np.isnan(alone.disagreement_ratio).all()


def test_disconnected_clusters_of_codes_are_joined(rng, x64):
    codes = np.concatenate([0.01 * rng.normal(size=(40, 3)) + place for place in np.eye(3)])
    starts, ends = codes[:1], codes[-1:]
    table = geodesics(manifolds.linear(rng.normal(size=(1, 3, 5))), starts, ends, codes=codes, rtol=1e-9, tries=3)
    assert table.converged.all()
    np.testing.assert_allclose(table.length, table.chord, rtol=1e-6)


def test_smallest_singular_values(rng, x64):
    known = manifolds.stretched_lines(rng, PAIRS, DIMENSION)
    table = geodesics(known.decode, known.starts, known.ends, **SHAPE)
    np.testing.assert_allclose(table.smallest_singular_value, 0.3, rtol=1e-9)
    flat = geodesics(manifolds.collapsed, known.starts, known.ends, **SHAPE)
    np.testing.assert_allclose(flat.smallest_singular_value, 0, atol=1e-7)


@pytest.mark.parametrize("nodes", [1, 2, 3])
@pytest.mark.parametrize("dimension", [1, 3])
def test_coarse_curves_in_few_dimensions(nodes, dimension, rng, x64):
    starts, ends = rng.normal(size=(2, 4, dimension)) / 2
    table = geodesics(manifolds.sphere, starts, ends, nodes=nodes, rtol=1e-9)
    assert table.converged.all() and table.curve.shape == (4, nodes + 1, dimension)
    angle = manifolds.sphere_distance(starts, ends)
    np.testing.assert_allclose(table.length, manifolds.arc_polygon(angle, nodes), rtol=1e-6)


def test_fewer_data_than_latents_leave_no_metric_but_a_status(rng, x64):
    starts, ends = rng.normal(size=(2, 4, 3))
    table = geodesics(manifolds.linear(rng.normal(size=(1, 3, 2))), starts, ends, **SHAPE)
    assert table.converged.all()
    np.testing.assert_allclose(table.length, table.chord, rtol=1e-4)
    np.testing.assert_allclose(table.smallest_singular_value, 0, atol=1e-7)


def test_decoders_of_relus(rng, x64):
    decode = Partial(_relu, *_weights(2))
    starts, ends = rng.normal(size=(2, 4, 2))
    table = geodesics(decode, starts, ends, nodes=16, max_iter=300)
    assert set(table.status) <= {Status.converged, Status.max_iter}
    assert (table.energy <= table.straight_energy * (1 + 1e-9)).all()


def _weights(dimension):
    rng = np.random.default_rng(1)
    return rng.normal(size=(dimension, 16)), rng.normal(size=(16, 8)) / 4


def _relu(first, second, z):
    return (jax.nn.relu(z @ first.astype(z.dtype)) @ second.astype(z.dtype))[None]


def test_chunks_of_pairs_change_nothing(monkeypatch, rng):
    starts, ends = rng.normal(size=(2, PAIRS, DIMENSION)).astype(np.float32)
    whole = geodesics(manifolds.sphere, starts, ends, **SHAPE)
    monkeypatch.setattr(solve, "CHUNK", 4)
    assert same_bits(geodesics(manifolds.sphere, starts, ends, **SHAPE), whole) == []


def test_identical_endpoints(rng):
    ends = rng.normal(size=(4, DIMENSION)).astype(np.float32)
    starts = np.where(np.arange(4)[:, None] < 2, ends, 0.5 * ends)
    table = geodesics(manifolds.sphere, starts, ends, **SHAPE)
    assert table.status.tolist() == 2 * [Status.identical_endpoints] + 2 * [Status.converged]
    assert (table.length[:2] == 0).all()
    assert (table.energy[:2] == 0).all()
    assert (table.iterations[:2] == 3).all()


@pytest.mark.parametrize("decode", [manifolds.constant, manifolds.collapsed], ids=name)
def test_degenerate_pairs(decode, rng):
    starts = rng.normal(size=(4, DIMENSION)).astype(np.float32)
    ends = starts + np.eye(DIMENSION, dtype=np.float32)[-1]
    table = geodesics(decode, starts, ends, **SHAPE)
    assert (table.status == Status.degenerate).all()
    assert (table.iterations < 10).all()
    assert (table.length < 1e-5).all()


def test_too_few_iterations(rng):
    decode, starts, ends, *_ = manifolds.great_circles(rng, 4, DIMENSION)
    table = geodesics(decode, starts.astype(np.float32), ends.astype(np.float32), **SHAPE, max_iter=1)
    assert (table.status == Status.max_iter).all()
    assert not table.converged.any()
    assert (table.iterations == 3).all()


@pytest.mark.parametrize("bad", [0, 3, 5])
def test_a_bad_pair_changes_no_other_bit(bad, rng):
    starts, ends = (0.5 * rng.normal(size=(2, PAIRS, DIMENSION))).astype(np.float32)
    clean = geodesics(manifolds.torn, starts, ends, **SHAPE)
    ends[bad] = np.nan if bad % 2 else 2.5
    table = geodesics(manifolds.torn, starts, ends, **SHAPE)
    others = np.arange(PAIRS) != bad
    assert clean.converged.all()
    assert (table.status == Status.nonfinite).tolist() == (~others).tolist()
    assert same_bits(rows(table, others), rows(clean, others)) == []


UNUSUAL = {
    "one latent dimension": (manifolds.sphere, 1, {}),
    "one segment": (manifolds.sphere, DIMENSION, {"nodes": 1}),
    "fewer data than latents": (manifolds.linear(np.eye(DIMENSION, 2)[None]), DIMENSION, {}),
    "one evaluation": (manifolds.sphere, DIMENSION, {"max_iter": 1}),
    "rectified": (Partial(_relu, *_weights(DIMENSION)), DIMENSION, {}),
    "disconnected codes": (manifolds.sphere, DIMENSION, {"tries": 3, "codes": np.eye(6, DIMENSION, dtype="f4") * 9}),
    "GEORCE": (manifolds.sphere, DIMENSION, {"solver": "georce"}),
}


@pytest.mark.parametrize("unusual", UNUSUAL)
def test_bad_pairs_change_no_other_bit_in_unusual_settings(unusual, rng):
    decode, dimension, options = UNUSUAL[unusual]
    starts, ends = (0.5 * rng.normal(size=(2, PAIRS, dimension))).astype(np.float32)
    clean = geodesics(decode, starts, ends, **{**SHAPE, **options})
    starts[1], ends[2] = ends[1], np.nan
    table = geodesics(decode, starts, ends, **{**SHAPE, **options})
    others = np.isin(np.arange(PAIRS), (1, 2), invert=True)
    assert table.status[1] == Status.identical_endpoints and table.length[1] == 0
    assert table.status[2] == Status.nonfinite
    assert same_bits(rows(table, others), rows(clean, others)) == []


@pytest.mark.parametrize("decode", [manifolds.sphere, manifolds.torus], ids=name)
def test_rows_depend_neither_on_their_order_nor_on_their_number(decode, rng):
    starts, ends = rng.normal(size=(2, PAIRS, DIMENSION)).astype(np.float32)
    table = geodesics(decode, starts, ends, **SHAPE)
    order = rng.permutation(PAIRS)
    assert same_bits(geodesics(decode, starts[order], ends[order], **SHAPE), rows(table, order)) == []
    assert same_bits(geodesics(decode, starts[:4], ends[:4], **SHAPE), rows(table, slice(4))) == []


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
    assert len(traces) <= 4
    before = list(traces)
    geodesics(Partial(decode), starts, ends, **SHAPE)
    geodesics(decode, starts, ends, **SHAPE)
    assert traces == before


def test_grids_refine_and_progress_counts_pairs_over_all_of_them(rng, x64):
    calls = []
    decode, starts, ends, _, polygon = manifolds.great_circles(rng, 4, DIMENSION)
    table = geodesics(
        decode, starts, ends, nodes=16, rtol=1e-8, batch_size=4, progress=lambda *counts: calls.append(counts)
    )
    np.testing.assert_allclose(table.length, polygon(16), rtol=1e-6)
    assert (table.iterations > 4).all()
    assert calls == sorted(set(calls))
    assert calls[-1] == (16, 16)
