"""Sectional curvature by the Gauss equation, from the second fundamental form alone.

    K(u, v) = (<II(u, u), II(v, v)> - |II(u, v)|^2) / (|u|^2 |v|^2 - <u, v>^2)

It is an isometry invariant, in inverse squared data units: positive where geodesics that start side by side approach
each other. Under a conformal factor exp(2 phi), with e_1, e_2 orthonormal in the plane of u and v,

    K' = exp(-2 phi) (K - Hess phi(e_1, e_1) - Hess phi(e_2, e_2) + dphi(e_1)^2 + dphi(e_2)^2 - |dphi|^2).

do Carmo, Riemannian Geometry (1992), chapter 6, theorem 2.5; Lee, Introduction to Riemannian Manifolds (2018),
theorem 7.30.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from identmetric_cli.batching import in_batches
from identmetric_cli.geometry.estimators import EXPECTED, Estimator
from identmetric_cli.geometry.jets import Jet, jet
from identmetric_cli.geometry.metric import members
from identmetric_cli.types import Decoders

BATCH_SIZE = 16


def sectional_curvature(
    decode: Decoders,
    points: Float[Array, "points latent"],
    u: Float[Array, "points latent"],
    v: Float[Array, "points latent"],
    *,
    estimator: Estimator = EXPECTED,
) -> Float[np.ndarray, " points"]:
    """Curvature of the plane of u and v at every point, each (P, d) -> (P,), in inverse squared data units.

    NaN where u and v are parallel or the Jacobian has no full rank. Raises ValueError on shapes that do not fit.
    """
    points, u, v = (np.asarray(each) for each in (points, u, v))
    if points.ndim != 2 or not points.shape == u.shape == v.shape:
        raise ValueError(f"points, u and v must all be (points, latent), got {points.shape}, {u.shape}, {v.shape}")
    if points.shape[1] < 2:
        raise ValueError("sectional curvature needs two latent dimensions or more, got 1")
    decode = members(decode)

    def rows(z: Array, u: Array, v: Array) -> Array:
        a, b = np.stack([u, v, u], axis=1), np.stack([u, v, v], axis=1)
        return _curvature(jet(decode, z, a, b, estimator), u, v)

    return in_batches(rows, (points, u, v), min(BATCH_SIZE, len(points)))


@jax.jit
def _curvature(
    at: Jet, u: Float[Array, "points latent"], v: Float[Array, "points latent"]
) -> Float[Array, " points"]:
    normal_uu, normal_vv, normal_uv = jnp.moveaxis(at.normal, 1, 0)
    ru, rv = (jnp.einsum("pij,pj->pi", at.triangle, each) for each in (u, v))
    uu, vv, uv = (jnp.sum(a * b, axis=1) for a, b in ((ru, ru), (rv, rv), (ru, rv)))
    area = uu * vv - uv**2
    area = jnp.where(area > 4 * jnp.finfo(area.dtype).eps * uu * vv, area, jnp.nan)
    curvature = (jnp.sum(normal_uu * normal_vv, axis=1) - jnp.sum(normal_uv**2, axis=1)) / area
    hessian = at.phi_hessian - jnp.einsum("pd,pmd->pm", at.phi_gradient, at.christoffel)
    slope_u, slope_v = (jnp.einsum("pd,pd->p", at.phi_gradient, each) for each in (u, v))
    terms = hessian - jnp.stack([slope_u**2, slope_v**2, slope_u * slope_v], axis=1)
    # The trace over an orthonormal basis of the plane, in terms of u and v.
    trace = (vv * terms[:, 0] + uu * terms[:, 1] - 2 * uv * terms[:, 2]) / area
    dual = jax.scipy.linalg.solve_triangular(at.triangle, at.phi_gradient[..., None], trans=1)
    return jnp.exp(-2 * at.phi) * (curvature - trace - jnp.sum(dual**2, axis=(1, 2)))
