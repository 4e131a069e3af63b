"""Maps decode: (m, d) -> (K, m, D) whose geometry is known exactly, and diffeomorphisms to hide them behind.

Every map takes any d that it makes sense for: coordinates that a surface does not need are appended to it, flat.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from identmetric_cli.geometry import gauge
from identmetric_cli.types import Decode, Decoders

TORUS_RADIUS = 2.0


class Geodesics(NamedTuple):
    """Pairs of points with known geodesics between them."""

    decode: Decode
    starts: np.ndarray
    ends: np.ndarray
    length: np.ndarray
    polygon: Callable[[int], np.ndarray]
    """Length of the shortest polygon of n equal segments with its corners on the manifold."""


def linear(matrices: np.ndarray, offsets: np.ndarray | float = 0.0) -> Decode:
    """Affine maps z A_k + c_k from matrices (K, d, D) and offsets (K, 1, D): one metric everywhere."""
    return Partial(_linear, matrices, offsets)


def _linear(matrices: Array, offsets: Array, z: Array) -> Array:
    return jnp.einsum("md,kde->kme", z, jnp.asarray(matrices, z.dtype)) + jnp.asarray(offsets, z.dtype)


def orthonormal(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    return np.linalg.qr(rng.normal(size=(columns, rows)))[0].T


def sphere(z: Array) -> Array:
    """Unit sphere by stereographic projection."""
    square = jnp.sum(z * z, axis=-1, keepdims=True)
    return (jnp.concatenate([2 * z, square - 1], axis=-1) / (square + 1))[None]


def cylinder(z: Array) -> Array:
    """Unit circle times a flat space."""
    return jnp.concatenate([jnp.cos(z[:, :1]), jnp.sin(z[:, :1]), z[:, 1:]], axis=-1)[None]


def torus(z: Array) -> Array:
    """Torus of revolution about the third axis, whose tube has radius 1, times a flat space."""
    u, v = z[:, :1], z[:, 1:2]
    ring = TORUS_RADIUS + jnp.cos(v)
    return jnp.concatenate([ring * jnp.cos(u), ring * jnp.sin(u), jnp.sin(v), z[:, 2:]], axis=-1)[None]


def bump(height: float, width: float = 1.0) -> Decode:
    """Graph of a Gaussian bump at the origin."""
    return Partial(_bump, height, width)


def _bump(height: float, width: float, z: Array) -> Array:
    top = height * jnp.exp(-0.5 * jnp.sum(z * z, axis=-1, keepdims=True) / width**2)
    return jnp.concatenate([z, top], axis=-1)[None]


def constant(z: Array) -> Array:
    """A decoder that ignores its latents."""
    return jnp.ones((1, len(z), 3), z.dtype)


def collapsed(z: Array) -> Array:
    """A decoder that ignores its last latent."""
    return sphere(z[:, :-1])


def torn(z: Array) -> Array:
    """A sphere that is not a number where the first latent exceeds 2."""
    return sphere(jnp.where(z[:, :1] > 2, jnp.nan, z))


def ensemble(*decoders: Decode) -> Decode:
    """All members of several maps of one size as one ensemble."""
    return Partial(_ensemble, tuple(Partial(decode) for decode in decoders))


def _ensemble(decoders: tuple[Decode, ...], z: Array) -> Array:
    return jnp.concatenate([decode(z) for decode in decoders])


def whole(decode: Decoders) -> Decode:
    """An ensemble in parts as one map."""
    return ensemble(*decode) if isinstance(decode, tuple) else decode


def shifted(decode: Decode, offset: float) -> Decode:
    """The same manifold elsewhere in data space."""
    return Partial(_shifted, Partial(decode), offset)


def _shifted(decode: Decode, offset: float, z: Array) -> Array:
    return decode(z) + offset


def scaled(decode: Decode, factor: float) -> Decode:
    """The same manifold in other units of data."""
    return Partial(_scaled, Partial(decode), factor)


def _scaled(decode: Decode, factor: float, z: Array) -> Array:
    return factor * decode(z)


def arc_polygon(angle: np.ndarray, n: int) -> np.ndarray:
    """Length of n equal chords of an arc of the unit circle."""
    return 2 * n * np.sin(angle / (2 * n))


def great_circles(rng: np.random.Generator, pairs: int, dimension: int) -> Geodesics:
    starts, ends = rng.normal(size=(2, pairs, dimension)) / np.sqrt(dimension)
    angle = sphere_distance(starts, ends)
    return Geodesics(sphere, starts, ends, angle, lambda n: arc_polygon(angle, n))


def helices(rng: np.random.Generator, pairs: int, dimension: int) -> Geodesics:
    starts, ends = rng.uniform(-1, 1, size=(2, pairs, dimension))
    turn, rise = np.abs(ends - starts)[:, 0], np.linalg.norm((ends - starts)[:, 1:], axis=1)
    return Geodesics(cylinder, starts, ends, np.hypot(turn, rise), lambda n: np.hypot(arc_polygon(turn, n), rise))


def torus_circles(rng: np.random.Generator, pairs: int, dimension: int) -> Geodesics:
    """In turns arcs of the inner equator, of the outer equator and of meridians."""
    kind, angle = np.arange(pairs) % 3, rng.uniform(0.5, 1.5, size=pairs)
    starts = np.zeros((pairs, dimension))
    starts[:, 0] = rng.uniform(-1, 1, size=pairs)
    starts[:, 1] = np.choose(kind, [np.pi, 0.0, rng.uniform(-1, 1, size=pairs)])
    ends = starts + angle[:, None] * np.eye(dimension)[np.choose(kind, [0, 0, 1])]
    radius = np.choose(kind, [TORUS_RADIUS - 1, TORUS_RADIUS + 1, 1.0])
    return Geodesics(torus, starts, ends, radius * angle, lambda n: radius * arc_polygon(angle, n))


def straight_lines(rng: np.random.Generator, pairs: int, dimension: int, singular_values=1.0) -> Geodesics:
    left, right = orthonormal(rng, dimension, dimension), orthonormal(rng, dimension, dimension + 4)
    matrix = (left * singular_values) @ right
    starts, ends = rng.normal(size=(2, pairs, dimension))
    length = np.linalg.norm((ends - starts) @ matrix, axis=1)
    return Geodesics(linear(matrix[None]), starts, ends, length, lambda n: length)


def stretched_lines(rng: np.random.Generator, pairs: int, dimension: int) -> Geodesics:
    return straight_lines(rng, pairs, dimension, np.geomspace(0.3, 3, dimension))


def sphere_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Great-circle distance, from the chord under stereographic projection."""
    square = np.sum((a - b) ** 2, axis=-1) / ((1 + np.sum(a * a, axis=-1)) * (1 + np.sum(b * b, axis=-1)))
    return 2 * np.arcsin(np.sqrt(square))


def sphere_angle(o: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Angle at o of a spherical triangle, by the law of cosines."""
    ob, oc, bc = sphere_distance(o, b), sphere_distance(o, c), sphere_distance(b, c)
    return np.arccos((np.cos(bc) - np.cos(ob) * np.cos(oc)) / (np.sin(ob) * np.sin(oc)))


def diffeomorphism(rng: np.random.Generator, dimension: int) -> gauge.Diffeomorphism:
    """A random change of coordinates."""
    return gauge.draw(dimension, int(rng.integers(2**31)), np.dtype("float64"))


def hidden(decode: Decode, change: gauge.Diffeomorphism) -> Decode:
    """The same manifold in coordinates change(z)."""
    return gauge.hidden(decode, change)[0]
