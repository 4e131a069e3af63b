"""Maps decode: (m, d) -> (1, m, D) on which shortest paths are hard to find, and what is known of their lengths.

Ridges, cells and walls leave many local minima; products carry minima of two dimensions to any even one; surfaces of
revolution have closed forms. Weights are drawn from a seed and follow the dtype of the latents.
"""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from scipy.integrate import fixed_quad
from scipy.optimize import brentq

from identmetric_cli.types import Decode

RIDGES, CELLS, OUTPUTS = 24, 24, 40
NEAR_CONJUGATE = np.array([[0.58, 0.0], [-0.60, 3.12]])
"""Latitude and longitude of two points of the sphere that are nearly opposite."""
WALLS = np.array([-1.0, 0.0, 1.0])
GAPS = np.array([1.0, -1.0, 1.0])
"""Where the walls of the maze stand in the first latent, and where their gaps are in the second."""


def sines(dimension: int, seed: int, frequency: float = 3.0) -> Decode:
    """(z, sum_i V_i sin(frequency w_i.z + phase_i)), w_i of N(0, 2 I / d): ridges in random directions, 40 outputs.

    Between latents of N(0, I) a line crosses as many ridges in every dimension.
    """
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(dimension, RIDGES)) * np.sqrt(2 / dimension)
    phases = rng.uniform(0, 2 * np.pi, size=RIDGES)
    heights = rng.normal(size=(RIDGES, OUTPUTS - dimension)) / np.sqrt(OUTPUTS - dimension)
    return Partial(_sines, frequency * directions, phases, heights)


def _sines(waves: Array, phases: Array, heights: Array, z: Array) -> Array:
    waves, phases, heights = (jnp.asarray(each, z.dtype) for each in (waves, phases, heights))
    return jnp.concatenate([z, jnp.sin(z @ waves + phases) @ heights], axis=-1)[None]


def voronoi(dimension: int, seed: int, sharpness: float = 8.0) -> Decode:
    """Values V_i of the nearest centre c_i, softly: flat cells between steep walls."""
    rng = np.random.default_rng(seed)
    return Partial(_voronoi, sharpness, rng.normal(size=(CELLS, dimension)), rng.normal(size=(CELLS, OUTPUTS)))


def _voronoi(sharpness: float, centres: Array, values: Array, z: Array) -> Array:
    centres, values = jnp.asarray(centres, z.dtype), jnp.asarray(values, z.dtype)
    square = jnp.sum((z[:, None] - centres) ** 2, axis=-1)
    return (jax.nn.softmax(-sharpness * square, axis=-1) @ values)[None]


def maze(height: float = 3.0, thickness: float = 0.15, gap: float = 0.4) -> Decode:
    """(z, height w(z)), w smooth walls across the first latent, each with one gap."""
    return Partial(_maze, height, thickness, gap)


def _maze(height: float, thickness: float, gap: float, z: Array) -> Array:
    walls, gaps = jnp.asarray(WALLS, z.dtype), jnp.asarray(GAPS, z.dtype)
    closed = 1 - jnp.exp(-(((z[:, 1:] - gaps) / gap) ** 4))
    top = height * jnp.sum(jnp.exp(-0.5 * ((z[:, :1] - walls) / thickness) ** 2) * closed, axis=-1, keepdims=True)
    return jnp.concatenate([z, top], axis=-1)[None]


def product(maps: tuple[Decode, ...], rotation: np.ndarray) -> Decode:
    """(F_1(u_1, u_2), F_2(u_3, u_4), ...) at u = z R: squared distances are sums of those of the factors."""
    return Partial(_product, tuple(Partial(each) for each in maps), rotation)


def _product(maps: tuple[Decode, ...], rotation: Array, z: Array) -> Array:
    u = z @ jnp.asarray(rotation, z.dtype)
    return jnp.concatenate([each(u[:, 2 * i : 2 * i + 2]) for i, each in enumerate(maps)], axis=-1)


def factors(rotation: np.ndarray, z: np.ndarray) -> list[np.ndarray]:
    """Latents (m, d) as those of the factors of a product, each (m, 2)."""
    return np.split(z @ rotation, z.shape[1] // 2, axis=1)


def foreign(seed: int, outputs: int = 50) -> Decode:
    """An untrained decoder 2-64-64-D with ReLU, as He et al. (2015) draw weights, and with biases."""
    rng, sizes = np.random.default_rng(seed), (2, 64, 64, outputs)
    shapes = list(pairwise(sizes))
    layers = [(rng.normal(size=each) * np.sqrt(2 / each[0]), 0.5 * rng.normal(size=each[1])) for each in shapes]
    return Partial(relu_network, layers)


def relu_network(layers: list[tuple[Array, Array]], z: Array) -> Array:
    """Fully connected, linear at the end."""
    return _network(layers, z, jax.nn.relu)


def elu_network(layers: list[tuple[Array, Array]], z: Array) -> Array:
    """Fully connected, linear at the end."""
    return _network(layers, z, jax.nn.elu)


def _network(layers, x, activation):
    for i, (weights, biases) in enumerate(layers):
        x = (activation(x) if i else x) @ jnp.asarray(weights, x.dtype) + jnp.asarray(biases, x.dtype)
    return x[None]


def tanh_5_to_2() -> tuple[Decode, np.ndarray, np.ndarray]:
    """A map from five latents to two values, whose metric has a kernel everywhere, and 64 pairs."""
    rng = np.random.default_rng(0)
    weights = tuple(rng.normal(size=size).astype(np.float32) for size in ((5, 64), (64, 64), (64, 2)))
    starts, ends = rng.normal(size=(2, 64, 5)).astype(np.float32)
    return Partial(_tanh, weights), starts, ends


def _tanh(weights: tuple[Array, ...], z: Array) -> Array:
    first, second, third = (jnp.asarray(each, z.dtype) for each in weights)
    return (jnp.tanh(jnp.tanh(z @ first / 5**0.5) @ second / 8) @ third / 8)[None]


def globe(z: Array) -> Array:
    """Unit sphere by latitude and longitude."""
    latitude, longitude = z[:, 0], z[:, 1]
    ring = jnp.cos(latitude)
    return jnp.stack([ring * jnp.cos(longitude), ring * jnp.sin(longitude), jnp.sin(latitude)], axis=-1)[None]


def globe_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Great-circle distance by the haversine; longitudes at most pi apart."""
    lift, turn = np.sin((b - a) / 2).T ** 2
    return 2 * np.arcsin(np.sqrt(lift + np.cos(a[:, 0]) * np.cos(b[:, 0]) * turn))


def bump_distance(height: float, width: float, a: np.ndarray, b: np.ndarray) -> float:
    """Distance of two latents, (2,) each, on the graph of height exp(-r^2 / 2 width^2), by Clairaut's relation.

    A geodesic keeps r sin(angle to the meridian) = c. With r = c cosh u and h the slope of the profile at r,
    dtheta = sqrt(1 + h^2) / cosh u du and dl = sqrt(1 + h^2) r du. It either passes its turning point u = 0 or not.
    Every c that sweeps the angle between the points, on one side or the other, is a geodesic: the shortest is taken.
    """
    radii = sorted(np.hypot(*each) for each in (a, b))
    apart = abs(np.angle(complex(*a) * np.conj(complex(*b))))

    def stretch(r: np.ndarray) -> np.ndarray:
        return np.hypot(1, height * r / width**2 * np.exp(-0.5 * (r / width) ** 2))

    def over(integrand, near: float, far: float) -> float:
        return fixed_quad(integrand, near, far, n=200)[0]

    def along(integrand, c: float, turns: bool) -> float:
        near, far = (np.arccosh(max(r / c, 1.0)) for r in radii)
        return over(integrand, 0, near) + over(integrand, 0, far) if turns else over(integrand, near, far)

    def swept(c: float, turns: bool) -> float:
        return along(lambda u: stretch(c * np.cosh(u)) / np.cosh(u), c, turns)

    if apart < 1e-12:
        return over(stretch, *radii)
    lengths = [over(stretch, 0, radii[0]) + over(stretch, 0, radii[1])] if np.pi - apart < 1e-12 else []
    grid = radii[0] * np.sin(np.concatenate([np.geomspace(1e-9, 1e-2, 15), np.linspace(1e-2, np.pi / 2, 200)[1:]]))
    for turns in (False, True):
        angles = np.array([swept(c, turns) for c in grid])
        for wanted in (apart, 2 * np.pi - apart):
            for i in np.flatnonzero(np.diff(np.sign(angles - wanted))):
                c = brentq(lambda c: swept(c, turns) - wanted, grid[i], grid[i + 1], xtol=1e-15)  # noqa: B023
                lengths.append(along(lambda u: stretch(c * np.cosh(u)) * c * np.cosh(u), c, turns))  # noqa: B023
    return min(lengths)
