"""One training step: a pure function of state, batch and key, compiled once.

A step whose loss or gradient is not finite changes nothing but a counter: parameters and optimiser are taken
together or left together, so one bad batch cannot poison them.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array
from jaxtyping import Float, PRNGKeyArray

from identmetric_cli.models import EnsembleVAE
from identmetric_cli.models.objectives import (
    kl_divergence,
    reconstruction_loss,
    reparametrise,
    squared_error,
)


class TrainState(NamedTuple):
    """All that a step reads and writes; every leaf goes into a checkpoint."""

    parameters: Any
    """Parameters of the model."""
    optimizer: Any
    """State of the optimiser."""
    error_sum: Array
    """Mean squared error per number, summed over the finite steps of this epoch."""
    kl_sum: Array
    """KL divergence per item, summed likewise."""
    steps: Array
    """Finite steps of this epoch."""
    skipped_in_a_row: Array
    """Steps since the last finite one."""
    skipped: Array
    """Steps that were not finite, over the whole run."""


class Scores(NamedTuple):
    """Terms of the evidence lower bound, in nats per item."""

    elbo: Array
    reconstruction: Array
    kl: Array
    mean_squared_error: Array


def init_state(model: EnsembleVAE, optimizer: optax.GradientTransformation) -> TrainState:
    """State before the first step."""
    parameters = nnx.state(model)
    zero, none = jnp.zeros(()), jnp.zeros((), jnp.int32)
    return TrainState(parameters, optimizer.init(parameters), zero, zero, none, none, none)


def next_epoch(state: TrainState) -> TrainState:
    """The state with the sums of the epoch set back."""
    return state._replace(error_sum=jnp.zeros(()), kl_sum=jnp.zeros(()), steps=jnp.zeros((), jnp.int32))


@lru_cache
def make_step(
    graphdef: Any, optimizer: optax.GradientTransformation, *, noise_variance: float | None, beta: float
) -> Callable[[TrainState, Array, PRNGKeyArray], TrainState]:
    """Compiled (state, items, key) -> state, one for all runs of one kind.

    `noise_variance` None means its maximum-likelihood value.
    """

    def loss(parameters: Any, x: Array, key: PRNGKeyArray) -> tuple[Array, tuple[Array, Array]]:
        model = nnx.merge(graphdef, parameters)
        mean, log_variance = model.encode(x)
        z = reparametrise(mean, log_variance, jax.random.normal(key, mean.shape))
        decoded = model.decode_split(z)
        size = x[0].size
        error = squared_error(x, decoded).mean() / size
        kl = kl_divergence(mean, log_variance).mean()
        variance = error if noise_variance is None else noise_variance
        return reconstruction_loss(error, variance, size) + beta * kl, (error, kl)

    @jax.jit
    def step(state: TrainState, x: Array, key: PRNGKeyArray) -> TrainState:
        (value, (error, kl)), gradient = jax.value_and_grad(loss, has_aux=True)(state.parameters, x, key)
        finite = jnp.isfinite(value) & jnp.isfinite(optax.tree.norm(gradient))

        def take() -> TrainState:
            updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.parameters)
            return TrainState(
                optax.apply_updates(state.parameters, updates),
                optimizer_state,
                state.error_sum + error,
                state.kl_sum + kl,
                state.steps + 1,
                jnp.zeros_like(state.skipped_in_a_row),
                state.skipped,
            )

        def leave() -> TrainState:
            return state._replace(skipped_in_a_row=state.skipped_in_a_row + 1, skipped=state.skipped + 1)

        return jax.lax.cond(finite, take, leave)

    return step


@lru_cache
def make_evaluate(graphdef: Any, *, every_decoder: bool) -> Callable[..., tuple[Float[Array, " batch"], Array]]:
    """Compiled (parameters, items, noise) -> squared error and KL of each item, one posterior sample each.

    With `every_decoder` the error is the mean over all decoders, else image i meets the decoder of its place.
    """

    @jax.jit
    def evaluate(parameters: Any, x: Array, noise: Array) -> tuple[Array, Array]:
        model = nnx.merge(graphdef, parameters)
        mean, log_variance = model.encode(x)
        z = reparametrise(mean, log_variance, noise)
        if every_decoder:
            decoded = model.decode(z)
            error = jax.vmap(lambda member: squared_error(x, member))(decoded).mean(axis=0)
        else:
            error = squared_error(x, model.decode_split(z))
        return error, kl_divergence(mean, log_variance)

    return evaluate
