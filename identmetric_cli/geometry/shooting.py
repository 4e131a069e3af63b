"""The exponential map: the point that a geodesic reaches, from where it starts and with which velocity.

    z'' = -Gamma(z', z')        z(0) = point, z'(0) = velocity, the answer is z(1)

by the classical Runge-Kutta method of fourth order. Under a conformal factor exp(2 phi) the right-hand side gains
-2 dphi(z') z' + |z'|^2 grad phi.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from identmetric_cli.batching import in_batches
from identmetric_cli.geometry.estimators import EXPECTED, Estimator
from identmetric_cli.geometry.jets import Jet, jet
from identmetric_cli.geometry.metric import members
from identmetric_cli.types import Decode, Decoders, Latents

BATCH_SIZE = 16


def exponential_map(
    decode: Decoders,
    points: Float[Array, "points latent"],
    velocities: Float[Array, "points latent"],
    *,
    steps: int = 32,
    estimator: Estimator = EXPECTED,
) -> Float[np.ndarray, "points latent"]:
    """Ends of the geodesics that leave `points` with `velocities` and run for unit time, each (P, d) -> (P, d).

    `steps` of fourth order. NaN where the Jacobian loses full rank on the way. Raises ValueError on shapes.
    """
    points, velocities = np.asarray(points), np.asarray(velocities)
    if points.ndim != 2 or points.shape != velocities.shape:
        raise ValueError(
            f"points and velocities must both be (points, latent), got {points.shape} and {velocities.shape}"
        )
    walk = partial(_walk, members(decode), estimator, steps)
    return in_batches(walk, (points, velocities), min(BATCH_SIZE, len(points)))


def _walk(decode: tuple[Decode, ...], estimator: Estimator, steps: int, z: Latents, w: Latents) -> Latents:
    h = 1 / steps

    def slope(z: Latents, w: Latents) -> tuple[Latents, Latents]:
        return w, _acceleration(jet(decode, z, w[:, None], w[:, None], estimator), w)

    z, w = jnp.asarray(z), jnp.asarray(w)
    for _ in range(steps):
        z1, w1 = slope(z, w)
        z2, w2 = slope(z + 0.5 * h * z1, w + 0.5 * h * w1)
        z3, w3 = slope(z + 0.5 * h * z2, w + 0.5 * h * w2)
        z4, w4 = slope(z + h * z3, w + h * w3)
        z, w = z + h / 6 * (z1 + 2 * z2 + 2 * z3 + z4), w + h / 6 * (w1 + 2 * w2 + 2 * w3 + w4)
    return z


@jax.jit
def _acceleration(at: Jet, w: Latents) -> Latents:
    square = jnp.sum(jnp.einsum("pij,pj->pi", at.triangle, w) ** 2, axis=1)
    slope = jnp.einsum("pd,pd->p", at.phi_gradient, w)
    dual = jax.scipy.linalg.solve_triangular(at.triangle, at.phi_gradient[..., None], trans=1)
    gradient = jax.scipy.linalg.solve_triangular(at.triangle, dual)[..., 0]
    return -at.christoffel[:, 0] - 2 * slope[:, None] * w + square[:, None] * gradient
