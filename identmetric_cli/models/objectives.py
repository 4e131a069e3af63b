"""The training objective: the evidence lower bound under Gaussian observation noise.

    ELBO = -SSE / (2 s) - D/2 log(2 pi s) - beta KL(q(z | x) || N(0, I))

with s the noise variance. Its maximum-likelihood value is the mean squared error, s = SSE / D, for which the
reconstruction term is -D/2 (log(2 pi s) + 1) (Rybkin, Daniilidis and Levine 2021, arXiv 2006.13202). A noise
variance far above the achievable error lets the KL term win: the latents carry nothing.
"""

import math

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


def reparametrise(
    mean: Float[Array, "batch latent"],
    log_variance: Float[Array, "batch latent"],
    noise: Float[Array, "batch latent"],
) -> Float[Array, "batch latent"]:
    """N(mean, exp(log_variance)) drawn with standard normal `noise`, differentiable in both."""
    return mean + jnp.exp(0.5 * log_variance) * noise


def squared_error(x: Float[Array, "batch *data"], y: Float[Array, "batch *data"]) -> Float[Array, " batch"]:
    """Summed squared difference of each item."""
    return jnp.sum(jnp.square(x - y), axis=tuple(range(1, x.ndim)))


def kl_divergence(
    mean: Float[Array, "batch latent"], log_variance: Float[Array, "batch latent"]
) -> Float[Array, " batch"]:
    """KL(N(mean, exp(log_variance)) || N(0, I)) of each item, in nats."""
    return 0.5 * jnp.sum(jnp.exp(log_variance) + jnp.square(mean) - 1.0 - log_variance, axis=-1)


def reconstruction_loss(
    mean_squared_error: Float[Array, ""], noise_variance: Float[Array, ""] | float, size: int
) -> Float[Array, ""]:
    """Negative Gaussian log likelihood in nats per item of `size` numbers, from the error per number."""
    return 0.5 * size * (mean_squared_error / noise_variance + jnp.log(2 * math.pi * noise_variance))
