"""Does it hold? The same model in other coordinates must give the same geometry.

If h is a diffeomorphism of latent space, the decoder F o h^-1 with latents h(z) is the same model: no data could tell
the two apart. Distances, angles, volumes and curvatures must therefore agree to the tolerance of the solver, while
Euclidean distances between latents change at will. This check needs no retraining and no truth: it can be run on any
model.

h stretches every coordinate by a sinh and couples coordinates by layers that scale and shift the last half of them
by functions of the first half, then swap the halves (Dinh, Sohl-Dickstein and Bengio 2017, arXiv 1605.08803).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from identmetric_cli.geometry.curvature import sectional_curvature
from identmetric_cli.geometry.estimators import EXPECTED, Estimator
from identmetric_cli.geometry.measures import angle, tangent_gram, volume
from identmetric_cli.geometry.metric import members
from identmetric_cli.geometry.solve import geodesics
from identmetric_cli.types import Decode, Decoded, Decoders, Latents

LAYERS = 3


class Diffeomorphism(NamedTuple):
    """A smooth change of coordinates with an exact inverse; arrays of one dtype."""

    stretch: Float[Array, " latent"]
    offset: Float[Array, " latent"]
    scales: Float[Array, "layers first last"]
    shifts: Float[Array, "layers first last"]

    def __call__(self, z: Latents) -> Latents:
        z = jnp.sinh(self.stretch * z + self.offset) / self.stretch
        for scale, shift in zip(self.scales, self.shifts, strict=True):
            first, last = z[:, : len(scale)], z[:, len(scale) :]
            last = last * jnp.exp(0.5 * jnp.tanh(first @ scale)) + jnp.tanh(first @ shift)
            z = jnp.concatenate([last, first], axis=1)
        return z

    def inverse(self, z: Latents) -> Latents:
        """The z that the change takes to this one."""
        for scale, shift in zip(self.scales[::-1], self.shifts[::-1], strict=True):
            last, first = z[:, : -len(scale) or None], z[:, z.shape[1] - len(scale) :]
            last = (last - jnp.tanh(first @ shift)) * jnp.exp(-0.5 * jnp.tanh(first @ scale))
            z = jnp.concatenate([first, last], axis=1)
        return (jnp.arcsinh(self.stretch * z) - self.offset) / self.stretch


class GaugeCheck(NamedTuple):
    """Largest relative change of each measure over all changes of coordinates; NaN where nothing was solved."""

    distance: float
    angle: float
    volume: float
    curvature: float
    euclidean_latent: float
    solved: int
    """Geodesics that converged in every gauge; only they are compared."""
    asked: int


def draw(dimension: int, seed: int, dtype: np.dtype) -> Diffeomorphism:
    """A random change of coordinates for latents of order one."""
    generator = np.random.default_rng(seed)
    first = dimension // 2
    couplings = generator.normal(size=(2, LAYERS, first, dimension - first)) / np.sqrt(2 * dimension)
    stretch, offset = generator.uniform(0.3, 0.6, dimension), generator.normal(size=dimension) / 4
    return Diffeomorphism(*(np.asarray(each, dtype) for each in (stretch, offset, *couplings)))


def hidden(decode: Decoders, change: Diffeomorphism) -> tuple[Decode, ...]:
    """The same manifold in coordinates change(z)."""
    return tuple(jax.tree_util.Partial(_hidden, each, change) for each in members(decode))


def _hidden(decode: Decode, change: Diffeomorphism, z: Latents) -> Decoded:
    return decode(change.inverse(z))


def check_gauge(
    decode: Decoders,
    points: Float[Array, "points 3 latent"],
    *,
    estimator: Estimator = EXPECTED,
    changes: int = 2,
    seed: int = 0,
    **options: Any,
) -> GaugeCheck:
    """How much geometry at triples of points changes with coordinates, under `changes` random diffeomorphisms.

    Distances are those from the first of three points to the other two, angles, volumes and curvatures are taken at
    the first. `options` are those of `geodesics`; a tight `rtol` shows what is exact, because directions are known
    to its square root. Raises ValueError on shapes.
    """
    points = np.asarray(points)
    if points.ndim != 3 or points.shape[1] != 3:
        raise ValueError(f"points must be (points, 3, latent), got {points.shape}")
    plain = _measure(members(decode), points, estimator, options)
    results = []
    for index in range(changes):
        change = draw(points.shape[2], seed + index, points.dtype)
        moved = np.asarray(change(jnp.asarray(points.reshape(-1, points.shape[2])))).reshape(points.shape)
        results.append(_measure(hidden(decode, change), moved, estimator, options))
    converged = np.all([each["converged"] for each in (plain, *results)], axis=0)
    kept = {"distance": converged, "euclidean_latent": converged}
    largest = {}
    for name in ("distance", "angle", "volume", "curvature", "euclidean_latent"):
        usable = kept.get(name, converged.all(axis=1))
        shifts = [_relative_change(plain[name][usable], each[name][usable]) for each in results]
        largest[name] = float(np.max(shifts)) if usable.any() else float("nan")
    return GaugeCheck(**largest, solved=int(converged.sum()), asked=converged.size)


def _relative_change(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """|new / old - 1|; of a zero it is zero if that stays, and infinite if not."""
    change = np.abs(new - old)
    of_zero = np.where(change == 0, 0.0, np.inf).astype(change.dtype)
    return np.divide(change, np.abs(old), out=of_zero, where=old != 0)


def _measure(
    decode: tuple[Decode, ...], points: np.ndarray, estimator: Estimator, options: dict[str, Any]
) -> dict[str, np.ndarray]:
    count, _, dimension = points.shape
    origins, targets = points[:, 0], points[:, 1:].reshape(-1, dimension)
    table = geodesics(decode, np.repeat(origins, 2, axis=0), targets, estimator=estimator, **options)
    velocity = table.velocity[:, 0].reshape(count, 2, dimension)
    grams = tangent_gram(decode, origins, velocity, estimator=estimator)
    curvature = np.full(count, np.nan)
    if dimension > 1:
        curvature = sectional_curvature(decode, origins, velocity[:, 0], velocity[:, 1], estimator=estimator)
    return {
        "distance": table.length.reshape(count, 2),
        "angle": angle(grams),
        "volume": volume(grams),
        "curvature": curvature,
        "euclidean_latent": table.euclidean_latent.reshape(count, 2),
        "converged": table.converged.reshape(count, 2),
    }
