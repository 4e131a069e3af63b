"""A convolutional decoder as products with banded matrices, for weights that stay as they are.

A 3x3 convolution, the enlargement before it and the choice of pixels after it are one linear map of an image. With an
image laid out as rows of (columns x channels) features, each row of the result is a sum of products of two or three
neighbouring rows with matrices that are banded in the columns. A CPU multiplies matrices of a few hundred features at
full speed: decoding and its gradient take half the time of convolutions. Training changes the weights at every step
and would have to make the matrices anew; it does better with convolutions.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from identmetric_cli.models.networks import ACTIVATIONS, ConvDecoder, nearest_indices

BLOCK_FEATURES = 128
"""Input features that a matrix spans before its neighbours: smaller blocks multiply fewer zeros, but less fast."""


@partial(jax.tree_util.register_dataclass, data_fields=("blocks", "bias"), meta_fields=("bounds", "scale", "rows"))
@dataclass(frozen=True)
class Layer:
    """A convolution of an image enlarged `scale` times, on rows of features (rows, points, features)."""

    blocks: tuple[dict[tuple[int, int], Array], ...]
    """For each block of result columns, by phase p and offset o: what row i + o gives to result row scale i + p."""
    bias: Float[Array, " features"]
    bounds: tuple[tuple[int, int], ...]
    """Input features that each block sees."""
    scale: int
    rows: tuple[int, ...]
    """Result rows that are kept."""

    def __call__(self, x: Float[Array, "rows points features"]) -> Float[Array, "rows points features"]:
        blocks = [
            self._block(x[:, :, first:last], matrices)
            for (first, last), matrices in zip(self.bounds, self.blocks, strict=True)
        ]
        y = jnp.concatenate(blocks, axis=-1)
        return y[np.array(self.rows)] + self.bias

    def _block(self, x: Array, matrices: dict[tuple[int, int], Array]) -> Array:
        rows, points, _ = x.shape
        phases = [jnp.zeros(())] * self.scale
        for (phase, offset), matrix in matrices.items():
            low, high = max(0, -offset), min(rows, rows - offset)
            share = x[low + offset : high + offset].reshape((high - low) * points, -1) @ matrix
            share = share.reshape(high - low, points, -1)
            phases[phase] = phases[phase] + jnp.pad(share, ((low, rows - high), (0, 0), (0, 0)))
        return jnp.stack(phases, axis=1).reshape(self.scale * rows, points, -1)


@partial(jax.tree_util.register_dataclass, data_fields=("kernel", "bias", "layers"), meta_fields=("activation",))
@dataclass(frozen=True)
class BandedDecoder:
    """The same function as a `ConvDecoder`, on flattened images."""

    kernel: Float[Array, "latent features"]
    bias: Float[Array, " features"]
    layers: tuple[Layer, ...]
    activation: str


def decode(decoder: BandedDecoder, z: Float[Array, "points latent"]) -> Float[Array, "1 points data"]:
    """Images of latents, flattened."""
    activation = ACTIVATIONS[decoder.activation]
    x = (z @ decoder.kernel + decoder.bias).reshape(len(z), 2, -1).swapaxes(0, 1)
    for layer in decoder.layers:
        x = layer(activation(x))
    return x.swapaxes(0, 1).reshape(1, len(z), -1)


def banded(decoder: ConvDecoder, dtype: np.dtype) -> BandedDecoder:
    """`decoder`'s weights as banded matrices of `dtype`."""
    layers, size = [], 2
    for i, (layer, scale) in enumerate(zip(decoder.layers, decoder.scales, strict=True)):
        kernel, bias = (np.asarray(each[...], dtype) for each in (layer.kernel, layer.bias))
        result = size * scale
        rows = columns = np.arange(result)
        if i == len(decoder.layers) - 1:
            rows, columns = (nearest_indices(result, side) for side in decoder.shape[:2])
        layers.append(_layer(kernel, bias, size, scale, rows, columns))
        size = result
    kernel, bias = (jnp.asarray(np.asarray(each[...], dtype)) for each in (decoder.first.kernel, decoder.first.bias))
    return BandedDecoder(kernel, bias, tuple(layers), decoder.activation)


def _layer(
    kernel: np.ndarray, bias: np.ndarray, size: int, scale: int, rows: np.ndarray, columns: np.ndarray
) -> Layer:
    """Matrices of a `kernel` (3, 3, inputs, outputs) on images of `size` columns; `rows`, `columns`: those kept."""
    inputs = kernel.shape[2]
    meets = _meets(size, scale, columns)
    count = max(1, min(len(columns), size * inputs // max(BLOCK_FEATURES, 2 * inputs)))
    blocks, bounds = [], []
    for kept in np.array_split(np.arange(len(columns)), count):
        seen = np.flatnonzero(meets[:, :, kept].any(axis=(0, 2)))
        first, last = int(seen[0]), int(seen[-1]) + 1
        taps = np.tensordot(kernel, meets[:, first:last][:, :, kept], axes=(1, 0)).transpose(0, 3, 1, 4, 2)
        taps = taps.reshape(3, (last - first) * inputs, -1)
        matrices: dict[tuple[int, int], np.ndarray] = {}
        for phase in range(scale):
            for tap in range(3):
                place = phase, (phase + tap - 1) // scale
                matrices[place] = matrices.get(place, 0) + taps[tap]
        blocks.append({place: jnp.asarray(matrix) for place, matrix in matrices.items()})
        bounds.append((first * inputs, last * inputs))
    return Layer(tuple(blocks), jnp.asarray(np.tile(bias, len(columns))), tuple(bounds), scale, tuple(rows.tolist()))


def _meets(size: int, scale: int, columns: np.ndarray) -> np.ndarray:
    """1 where tap k of a result column meets an input column, (3, size, columns)."""
    meets = np.zeros((3, size, len(columns)), np.int8)
    for tap in range(3):
        enlarged = columns + tap - 1
        inside = np.flatnonzero((enlarged >= 0) & (enlarged < size * scale))
        meets[tap, enlarged[inside] // scale, inside] = 1
    return meets
