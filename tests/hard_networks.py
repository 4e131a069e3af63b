"""Decoders of two latents trained on real and on tabular data with plain JAX and optax: what other people bring."""

from functools import cache, partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import optax
from hard_maps import elu_network, relu_network
from jax import Array
from jax.tree_util import Partial

from identmetric_cli.data import builtin
from identmetric_cli.types import Decode

NETWORKS = {"relu": relu_network, "elu": elu_network}
HIDDEN, BATCH, STEPS, RATE = 64, 128, 2000, 2e-3
NOISE, SHRINKAGE = 0.05, 1e-3
"""Standard deviation of the noise on latents in training, and weight of their squares, which keeps them bounded."""


def wine(seed: int = 0, rows: int = 178) -> np.ndarray:
    """Three clusters with correlated columns, 13 columns in different units, standardised: float32 (rows, 13)."""
    rng = np.random.default_rng(seed)
    centres, mixing = 1.5 * rng.normal(size=(3, 13)), rng.normal(size=(3, 4, 13))
    cluster = rng.integers(3, size=rows)
    table = centres[cluster] + np.einsum("rf,rfc->rc", rng.normal(size=(rows, 4)), mixing[cluster]) / 2
    table = (table + 0.3 * rng.normal(size=table.shape)) * 10.0 ** rng.uniform(-1, 3, size=13)
    return ((table - table.mean(axis=0)) / table.std(axis=0)).astype(np.float32)


def items(data: str) -> np.ndarray:
    """The rows of `digits`, `mnist` or `wine`, float32 (n, D)."""
    table = wine() if data == "wine" else getattr(builtin, data)()[0]
    return table.reshape(len(table), -1)


@cache
def network(name: str) -> tuple[Decode, np.ndarray]:
    """Decoder, and codes (n, 2) of its data, of an autoencoder: `relu digits`, `elu wine`, ...

    Latents are standardised after training: codes have mean 0 and variance 1 in each.
    """
    activation, data = name.split()
    apply, x = NETWORKS[activation], items(data)
    encoder, decoder = trained(apply, x)
    codes = np.asarray(apply(encoder, x)[0])
    centre, scale = codes.mean(axis=0), codes.std(axis=0)
    (weights, biases), *rest = decoder
    folded = [(scale[:, None] * weights, biases + centre @ weights), *rest]
    return Partial(apply, folded), (codes - centre) / scale


def trained(apply, x: np.ndarray) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """Layers of encoder and decoder, by Adam on squared errors plus `SHRINKAGE` |z|^2."""
    rng = np.random.default_rng(0)
    sizes = [x.shape[1], HIDDEN, HIDDEN, 2]
    layers = [[_drawn(rng, each) for each in pairwise(way)] for way in (sizes, sizes[::-1])]
    noise = NOISE * rng.normal(size=(STEPS, BATCH, 2)).astype(np.float32)
    batches = rng.integers(len(x), size=(STEPS, BATCH))
    return jax.device_get(_descent(apply, layers, jnp.asarray(x), batches, noise))


def _drawn(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    return (rng.normal(size=shape) * np.sqrt(2 / shape[0])).astype(np.float32), np.zeros(shape[1], np.float32)


@partial(jax.jit, static_argnums=0)
def _descent(apply, layers, x: Array, batches: Array, noise: Array):
    optimizer = optax.adam(optax.cosine_decay_schedule(RATE, STEPS))

    def loss(layers, rows: Array, noise: Array) -> Array:
        encoder, decoder = layers
        codes = apply(encoder, rows)[0]
        return jnp.mean(jnp.sum((apply(decoder, codes + noise)[0] - rows) ** 2, axis=1)) + SHRINKAGE * jnp.mean(
            jnp.sum(codes**2, axis=1)
        )

    def step(carry, drawn):
        layers, state = carry
        batch, noise = drawn
        updates, state = optimizer.update(jax.grad(loss)(layers, x[batch], noise), state)
        return (optax.apply_updates(layers, updates), state), None

    return jax.lax.scan(step, (layers, optimizer.init(layers)), (batches, noise))[0][0]
