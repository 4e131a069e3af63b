"""A variational autoencoder with one encoder and an ensemble of K decoders, initialised independently.

The decoders are stored stacked, every parameter with a leading axis `decoders`. How they are applied is a matter
of speed alone: a convolution mapped over its weights becomes a grouped convolution, whose gradient is some forty
times slower on a CPU than K separate ones, so convolutional decoders are unrolled; dense decoders are mapped.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import Float

from identmetric_cli.models import banded
from identmetric_cli.models.networks import ConvDecoder, ConvEncoder, MlpDecoder, MlpEncoder
from identmetric_cli.types import Decoders


class EnsembleVAE(nnx.Module):
    """Encoder q(z | x) and decoders f_1..f_K of an ensemble."""

    def __init__(self, encoder: nnx.Module, decoders: nnx.Module):
        self.encoder = encoder
        self.decoders = decoders

    def encode(self, x: Float[Array, "batch *data"]) -> tuple[Array, Array]:
        """Posterior mean and log variance, each (batch, latent)."""
        return self.encoder(x)

    def decode(self, z: Float[Array, "points latent"]) -> Float[Array, "decoders points *data"]:
        """Every point by every decoder."""
        return decode_all(self.decoders, z)

    def decode_split(self, z: Float[Array, "points latent"]) -> Float[Array, "points *data"]:
        """The points cut into K equal runs, the k-th decoded by decoder k; K must divide their number."""
        size = ensemble_size(self.decoders)
        x = apply_decoders(self.decoders, z.reshape(size, -1, z.shape[-1]))
        return x.reshape(-1, *x.shape[2:])


def conv_vae(
    shape: tuple[int, int, int],
    *,
    latent_dim: int,
    decoders: int,
    encoder_channels: Sequence[int],
    decoder_channels: Sequence[int],
    decoder_scales: Sequence[int],
    activation: str,
    seed: int,
) -> EnsembleVAE:
    """Convolutional networks for images of `shape` (height, width, channels), freshly initialised."""

    def build(rngs: nnx.Rngs) -> EnsembleVAE:
        encoder = ConvEncoder(shape, latent_dim, encoder_channels, activation, rngs=rngs)
        members = jax.vmap(
            lambda keys: ConvDecoder(shape, latent_dim, decoder_channels, decoder_scales, activation, rngs=keys)
        )(rngs.split(decoders))
        return EnsembleVAE(encoder, members)

    return initialise(nnx.eval_shape(lambda: build(nnx.Rngs(0))), seed)


def mlp_vae(
    shape: tuple[int, ...],
    *,
    latent_dim: int,
    decoders: int,
    hidden: Sequence[int],
    activation: str,
    seed: int,
) -> EnsembleVAE:
    """Fully connected networks for data of any `shape`, flattened, freshly initialised."""

    def build(rngs: nnx.Rngs) -> EnsembleVAE:
        encoder = MlpEncoder(math.prod(shape), latent_dim, hidden, activation, rngs=rngs)
        members = jax.vmap(lambda keys: MlpDecoder(shape, latent_dim, hidden, activation, rngs=keys))(
            rngs.split(decoders)
        )
        return EnsembleVAE(encoder, members)

    return initialise(nnx.eval_shape(lambda: build(nnx.Rngs(0))), seed)


def initialise(abstract: EnsembleVAE, seed: int) -> EnsembleVAE:
    """Fill a model with biases of zero and kernels from N(0, 1 / inputs) (LeCun et al. 1998).

    NumPy draws the numbers: they are the same on every device, and nothing has to be compiled for them.
    """
    graphdef, state = nnx.split(abstract)
    generator = np.random.default_rng(seed)

    def draw(path: tuple, leaf: jax.ShapeDtypeStruct) -> Array:
        names = jax.tree_util.keystr(path)
        if "bias" in names:
            return jnp.zeros(leaf.shape, leaf.dtype)
        inputs = math.prod(leaf.shape[1 if "decoders" in names else 0 : -1])
        return jnp.asarray(generator.standard_normal(leaf.shape, np.float32) / math.sqrt(inputs), leaf.dtype)

    return nnx.merge(graphdef, jax.tree_util.tree_map_with_path(draw, state))


def ensemble_size(decoders: nnx.Module) -> int:
    """Number of members of a stacked ensemble."""
    return jax.tree.leaves(decoders)[0].shape[0]


def apply_decoders(
    decoders: nnx.Module, z: Float[Array, "decoders points latent"]
) -> Float[Array, "decoders points *data"]:
    """Decoder k applied to its own points z[k]."""
    if isinstance(decoders, MlpDecoder):
        return jax.vmap(lambda member, points: member(points))(decoders, z)
    # Not leaf[k], whose gradient is an array of the whole ensemble's size for every member.
    leaves, structure = jax.tree.flatten(decoders)
    members = zip(*(jnp.unstack(leaf) for leaf in leaves), strict=True)
    return jnp.stack([structure.unflatten(member)(points) for member, points in zip(members, z, strict=True)])


def decode_all(decoders: nnx.Module, z: Float[Array, "points latent"]) -> Float[Array, "decoders points *data"]:
    """Every point by every decoder."""
    size = ensemble_size(decoders)
    return apply_decoders(decoders, jnp.broadcast_to(z, (size, *z.shape)))


def as_decoders(model: EnsembleVAE, dtype: jnp.dtype = jnp.float32) -> Decoders:
    """The ensemble as the maps (points, latent) -> (decoders, points, data) that `geometry` works on.

    The weights, cast to `dtype`, are leaves of the returned callables: under `jit` they are arguments, not constants.
    """
    decoders = model.decoders
    if isinstance(decoders, MlpDecoder):
        return (jax.tree_util.Partial(_decode_flat, jax.tree.map(lambda leaf: leaf.astype(dtype), decoders)),)
    members = [jax.tree.map(lambda leaf, k=k: np.asarray(leaf[k]), decoders) for k in range(ensemble_size(decoders))]
    return tuple(jax.tree_util.Partial(banded.decode, banded.banded(member, dtype)) for member in members)


def _decode_flat(decoders: nnx.Module, z: Float[Array, "points latent"]) -> Float[Array, "decoders points data"]:
    x = decode_all(decoders, z)
    return x.reshape(*x.shape[:2], -1)
