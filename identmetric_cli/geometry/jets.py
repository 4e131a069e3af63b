"""First and second order of the immersion F at points: what curvature and the geodesic equation are made of.

The second derivative D2F(a, b) splits into a tangent part J Gamma(a, b), which belongs to the coordinates, and a
normal part II(a, b), the second fundamental form, which belongs to the manifold. Both come from a QR factorisation of
the Jacobian J: the metric is never inverted, and its condition number not squared.

For `conformal`, exp(2 phi) times the metric of F with exp(2 phi) = 1 + weight v, the derivatives of phi are made of
the same products, since v is made of the members' values.

Nested forward derivatives: Griewank and Walther, Evaluating Derivatives (2008), chapter 13.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from identmetric_cli.geometry.estimators import Estimator, disagreement
from identmetric_cli.geometry.metric import decoded, jacobian_products, members
from identmetric_cli.types import Decode, Decoders, Latents


class Jet(NamedTuple):
    """Second order of F at points, for m pairs (a, b) of directions."""

    triangle: Float[Array, "points latent latent"]
    """R of J = Q R, not a number where J has no full rank: |J u| = |R u|."""
    christoffel: Float[Array, "points m latent"]
    """Gamma(a, b) of the metric of F."""
    normal: Float[Array, "points m data"]
    """II(a, b)."""
    phi: Float[Array, " points"]
    phi_gradient: Float[Array, "points latent"]
    phi_hessian: Float[Array, "points m"]
    """D2phi(a, b), in coordinates."""


def jet(
    decode: Decoders,
    z: Latents,
    a: Float[Array, "points m latent"],
    b: Float[Array, "points m latent"],
    estimator: Estimator,
) -> Jet:
    """Second order of F at `z` in the directions (a, b). Raises ValueError for `independent`, which is no metric."""
    estimator.require_metric()
    points, dimension = z.shape
    identity = jnp.broadcast_to(jnp.eye(dimension, dtype=z.dtype), (points, dimension, dimension))
    first = jacobian_products(decode, z, identity)
    second = jnp.concatenate([_second(each, z, a, b) for each in members(decode)])
    return _jet(estimator, decoded(decode, z), first, second, a, b)


@jax.jit
def _second(decode: Decode, z: Latents, a: Array, b: Array) -> Float[Array, "decoders points m data"]:
    def product(a: Latents, b: Latents) -> Array:
        return jax.jvp(lambda z: jax.jvp(decode, (z,), (a,))[1], (z,), (b,))[1]

    return jax.vmap(product, in_axes=(1, 1), out_axes=2)(a, b)


@jax.jit
def _jet(
    estimator: Estimator,
    x: Float[Array, "decoders points data"],
    first: Float[Array, "decoders points latent data"],
    second: Float[Array, "decoders points m data"],
    a: Float[Array, "points m latent"],
    b: Float[Array, "points m latent"],
) -> Jet:
    phi, gradient = log_factor(estimator, x, first)
    hessian = _log_factor_hessian(estimator, x, first, second, a, b, phi, gradient)
    if estimator.name == "mean":
        first, second = first.mean(axis=0, keepdims=True), second.mean(axis=0, keepdims=True)
    jacobian, second = _stacked(first), _stacked(second)
    q, triangle = jnp.linalg.qr(jnp.swapaxes(jacobian, 1, 2))
    if triangle.shape[1] < triangle.shape[2]:
        triangle = jnp.full((len(triangle), triangle.shape[2], triangle.shape[2]), jnp.nan, triangle.dtype)
        christoffel = jnp.full((*second.shape[:2], triangle.shape[2]), jnp.nan, triangle.dtype)
        return Jet(triangle, christoffel, jnp.full_like(second, jnp.nan), phi, gradient, hessian)
    size = jnp.abs(jnp.diagonal(triangle, axis1=1, axis2=2))
    full_rank = size.min(axis=1) > dimension_eps(triangle) * size.max(axis=1)
    triangle = jnp.where(full_rank[:, None, None], triangle, jnp.nan)
    tangent = second @ q
    # The second subtraction removes what rounding leaves of the tangent part after the first.
    normal = second - tangent @ jnp.swapaxes(q, 1, 2)
    normal = normal - (normal @ q) @ jnp.swapaxes(q, 1, 2)
    christoffel = jax.scipy.linalg.solve_triangular(triangle, jnp.swapaxes(tangent, 1, 2))
    return Jet(triangle, jnp.swapaxes(christoffel, 1, 2), normal, phi, gradient, hessian)


def log_factor(
    estimator: Estimator, x: Float[Array, "decoders points data"], first: Float[Array, "decoders points latent data"]
) -> tuple[Float[Array, " points"], Float[Array, "points latent"]]:
    """phi and its gradient, from the members' values and Jacobians; zero for a metric without a factor."""
    weight = estimator.weight if estimator.name == "conformal" else 0.0
    phi = 0.5 * jnp.log1p(weight * disagreement(x))
    v_gradient = 2 * jnp.einsum("kpx,kpdx->pd", x - x.mean(axis=0), first) / len(x)
    return phi, (0.5 * weight * jnp.exp(-2 * phi))[:, None] * v_gradient


def _log_factor_hessian(
    estimator: Estimator, x: Array, first: Array, second: Array, a: Array, b: Array, phi: Array, gradient: Array
) -> Float[Array, "points m"]:
    """D2phi(a, b), in coordinates."""
    weight = estimator.weight if estimator.name == "conformal" else 0.0
    deviation, varying = x - x.mean(axis=0), first - first.mean(axis=0)
    along = [jnp.einsum("kpdx,pmd->kpmx", varying, each) for each in (a, b)]
    v_hessian = 2 * (jnp.einsum("kpmx,kpmx->pm", *along) + jnp.einsum("kpx,kpmx->pm", deviation, second)) / len(x)
    slopes = [jnp.einsum("pd,pmd->pm", gradient, each) for each in (a, b)]
    return (0.5 * weight * jnp.exp(-2 * phi))[:, None] * v_hessian - 2 * slopes[0] * slopes[1]


def _stacked(products: Float[Array, "decoders points m data"]) -> Float[Array, "points m data"]:
    """Images under F: those under the members side by side, over sqrt(K)."""
    decoders, points, m, _ = products.shape
    return jnp.moveaxis(products, 0, 2).reshape(points, m, -1) / jnp.sqrt(jnp.asarray(decoders, products.dtype))


def dimension_eps(triangle: Float[Array, "points latent latent"]) -> float:
    """Relative size below which a diagonal entry of R is rounding."""
    return triangle.shape[-1] * float(jnp.finfo(triangle.dtype).eps)
