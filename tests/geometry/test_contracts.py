"""What is asked of decoders and latents: refusals in words, honest statuses, and no warning that nobody wrote."""

import jax
import jax.numpy as jnp
import manifolds
import numpy as np
import pytest

from identmetric_cli.geometry import (
    Status,
    conformal,
    exponential_map,
    geodesics,
    metric_tensor,
    parallel_transport,
    refine_endpoints,
    sectional_curvature,
    survey,
)

SHAPE = {"nodes": 8, "batch_size": 4}
DIMENSION = 3


def flat(z):
    return manifolds.sphere(z)[0]


def pictures(z):
    return jnp.tile(flat(z)[:, :, None], (1, 1, 2))


SHAPES = {
    "no decoders": (flat, r"\(\d+, 4\); write `lambda z: decode\(z\)\[None\]`"),
    "one number": (lambda z: z[:, 0], r"\(\d+,\); write `lambda z: decode\(z\)\[None, :, None\]`"),
    "pictures": (pictures, r"\(\d+, 4, 2\); write `lambda z: decode\(z\).reshape\(1, len\(z\), -1\)`"),
    "pictures of decoders": (
        lambda z: jnp.stack([pictures(z)] * 2),
        r"\(2, \d+, 4, 2\); write `lambda z: decode\(z\).reshape\(2, len\(z\), -1\)`",
    ),
    "one point": (lambda z: manifolds.sphere(z)[:, :1], r"write `lambda z: jax.vmap\(decode\)\(z\)"),
    "a tuple": (lambda z: (flat(z), flat(z)), "gave tuple; return one array"),
    "whole numbers": (lambda z: jnp.ones((1, len(z), 4), int), r"floating-point numbers, got int\d+"),
    "NumPy": (lambda z: np.sin(np.asarray(z))[None], "must be a JAX function"),
}


@pytest.mark.parametrize("wrong", SHAPES)
def test_decoders_of_other_shapes_are_refused_with_a_remedy(wrong, rng):
    decode, words = SHAPES[wrong]
    starts, ends = rng.normal(size=(2, 4, DIMENSION)).astype(np.float32)
    with pytest.raises(ValueError, match=words):
        geodesics(decode, starts, ends, **SHAPE)


def test_the_remedies_work(rng):
    starts, ends = rng.normal(size=(2, 4, DIMENSION)).astype(np.float32) / 2
    remedied = [
        lambda z: flat(z)[None],
        lambda z: pictures(z).reshape(1, len(z), -1),
        lambda z: jax.vmap(lambda one: flat(one[None])[0])(z).reshape(1, len(z), -1),
    ]
    lengths = [geodesics(decode, starts, ends, **SHAPE).length for decode in remedied]
    exact = manifolds.sphere_distance(starts, ends)
    for got, wanted in zip(lengths, (exact, np.sqrt(2) * exact, exact), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-2)


@pytest.mark.parametrize(
    "ask",
    [
        metric_tensor,
        survey,
        lambda decode, z: sectional_curvature(decode, z, z, z),
        lambda decode, z: exponential_map(decode, z, z),
        lambda decode, z: parallel_transport(decode, z[None], z[None]),
        lambda decode, z: refine_endpoints(decode, z, z),
    ],
)
def test_every_function_refuses_them(ask):
    with pytest.raises(ValueError, match=r"write `lambda z: decode\(z\)\[None\]`"):
        ask(flat, np.ones((4, DIMENSION), np.float32))


def test_whole_numbers_are_latents_too():
    starts, ends = [[0, 0, 0]], [[1, 0, 0]]
    table = geodesics(manifolds.sphere, starts, ends, **SHAPE)
    assert table.curve.dtype == np.float32
    np.testing.assert_allclose(table.length, np.pi / 2, rtol=1e-2)


def saturating(z):
    """Bounded outputs that do not follow large latents."""
    mixed = jnp.asarray(np.random.default_rng(0).normal(size=(2, DIMENSION, 6)), z.dtype)
    return jnp.tanh(z @ mixed[0])[None]


@pytest.mark.parametrize("scale", [1e8, 1e18])
def test_saturated_decoders_have_no_geodesics(scale, dtype, rng):
    starts, ends = (scale * rng.normal(size=(2, 4, DIMENSION))).astype(dtype)
    table = geodesics(saturating, starts, ends, **SHAPE)
    assert (table.chord > 0).all()
    np.testing.assert_array_equal(table.status, Status.degenerate)
    near = geodesics(saturating, starts / scale / 4, ends / scale / 4, **SHAPE)
    assert near.converged.all()


@pytest.mark.parametrize(("offset", "status"), [(1e2, Status.converged), (1e6, Status.degenerate)])
def test_steps_below_the_rounding_of_latents_are_degenerate(offset, status, rng):
    # Angles, so that decoded points stay of order one wherever the latents are.
    starts, ends = (offset + rng.uniform(-1, 1, size=(2, 4, DIMENSION))).astype(np.float32)
    table = geodesics(lambda z: jnp.concatenate([jnp.cos(z), jnp.sin(z)], axis=1)[None], starts, ends, **SHAPE)
    np.testing.assert_array_equal(table.status, status)


def test_a_large_constant_latent_makes_no_row_degenerate(rng):
    starts, ends = rng.normal(size=(2, 4, DIMENSION)).astype(np.float32)
    starts[:, 0] = ends[:, 0] = 1e6
    table = geodesics(lambda z: manifolds.sphere(z[:, 1:]), starts, ends, **SHAPE)
    assert table.converged.all()


EXTREME = {
    "not a number": (1.0, np.nan, Status.nonfinite),
    "infinite": (1.0, np.inf, Status.nonfinite),
    "both infinite": (np.inf, np.inf, Status.nonfinite),
    "squares overflow": (1e30, 1e30, Status.nonfinite),
    "squares underflow": (1e-30, 1e-30, Status.degenerate),
}


@pytest.mark.parametrize("extreme", EXTREME)
@pytest.mark.parametrize("options", [{}, {"solver": "georce"}, {"tries": 3}], ids=str)
def test_rows_that_all_fail_have_statuses_and_no_warnings(extreme, options, rng):
    first, second, status = EXTREME[extreme]
    z = rng.normal(size=(2, 4, DIMENSION)).astype(np.float32)
    codes = rng.normal(size=(20, DIMENSION)).astype(np.float32)
    decode = manifolds.linear(np.eye(DIMENSION, 4)[None])
    table = geodesics(decode, first * z[0], second * z[1], **SHAPE, **options, codes=codes)
    np.testing.assert_array_equal(table.status, status)


@pytest.mark.parametrize(("factor", "size"), [(1e15, 1.0), (1e19, 40.0), (1e22, 1.0)])
def test_decoders_whose_squares_overflow_are_not_finite(factor, size):
    ends = size * np.linspace(0.5, 1, 4 * DIMENSION, dtype=np.float32).reshape(4, DIMENSION)
    starts = -ends
    table = geodesics(manifolds.linear(factor * np.eye(DIMENSION, 4)[None]), starts, ends, **SHAPE)
    np.testing.assert_array_equal(table.status, Status.converged if factor < 1e18 else Status.nonfinite)
    np.testing.assert_array_equal(np.isfinite(table.length), factor < 1e18)


def test_equal_ends_that_decode_to_nothing_are_not_finite():
    ends = np.full((2, DIMENSION), 2.5, np.float32)
    ends[1] = 0.0
    table = geodesics(manifolds.torn, ends, ends, **SHAPE)
    assert table.status.tolist() == [Status.nonfinite, Status.identical_endpoints]


@pytest.mark.parametrize(("apart", "refused"), [(0.3, False), (1e-5, True)])
def test_conformal_needs_more_than_rounding_of_disagreement(apart, refused, rng):
    decode = manifolds.ensemble(manifolds.bump(0.3), manifolds.bump(0.3 + apart))
    codes = survey(decode, rng.normal(size=(50, 2)).astype(np.float32))
    assert (codes.disagreement > 0).mean() > 0.5
    if refused:
        with pytest.raises(ValueError, match="hardly disagree"):
            conformal(codes)
    else:
        assert conformal(codes).weight == pytest.approx(1 / np.median(codes.disagreement))
