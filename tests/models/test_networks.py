"""Networks against plain NumPy, written from the definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from identmetric_cli.geometry.metric import decoded
from identmetric_cli.models import as_decoders, conv_vae, mlp_vae
from identmetric_cli.models.banded import BLOCK_FEATURES
from identmetric_cli.models.ensemble import apply_decoders
from identmetric_cli.models.networks import strided_convolution, upsampled_convolution

SHAPE = (7, 6, 2)


def convolution(x, kernel, stride=1):
    """3x3 convolution with padding 1, pixel by pixel."""
    batch, height, width, _ = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    out = np.zeros((batch, -(-height // stride), -(-width // stride), kernel.shape[-1]))
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            patch = padded[:, stride * i : stride * i + 3, stride * j : stride * j + 3]
            out[:, i, j] = np.einsum("nabc,abcd->nd", patch, kernel)
    return out


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def enlarged(x):
    return x.repeat(2, axis=1).repeat(2, axis=2)


def nearest(x, height, width):
    rows = [int((i + 0.5) * x.shape[1] / height) for i in range(height)]
    columns = [int((j + 0.5) * x.shape[2] / width) for j in range(width)]
    return x[:, rows][:, :, columns]


@pytest.fixture(scope="module")
def model():
    return conv_vae(
        SHAPE,
        latent_dim=3,
        decoders=2,
        encoder_channels=[3, 4],
        decoder_channels=[4, 5, 3],
        decoder_scales=[2, 1, 2],
        activation="elu",
        seed=0,
    )


def random(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("size", [(4, 4), (5, 6), (1, 1), (7, 2)])
def test_strided_convolution(size):
    x, kernel = random(2, *size, 3), random(3, 3, 3, 4)
    np.testing.assert_allclose(strided_convolution(x, kernel), convolution(x, kernel, 2), atol=2e-5)


def test_upsampled_convolution_and_its_gradients():
    x, kernel, weights = random(2, 3, 2, 3), random(3, 3, 3, 4), random(2, 6, 4, 4)
    np.testing.assert_allclose(upsampled_convolution(x, kernel), convolution(enlarged(x), kernel), atol=2e-5)

    def plain(x, kernel):
        x = x.repeat(2, axis=1).repeat(2, axis=2)
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    ours, theirs = (
        jax.grad(lambda x, kernel, f=f: jnp.sum(weights * f(x, kernel)), argnums=(0, 1))(x, kernel)
        for f in (upsampled_convolution, plain)
    )
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=5e-5)


def test_encoder(model):
    x = random(2, *SHAPE)
    h = x
    for layer in model.encoder.layers:
        h = elu(convolution(h, np.asarray(layer.kernel[...]), 2) + np.asarray(layer.bias[...]))
    h = h.reshape(2, -1)
    mean, log_variance = model.encode(x)
    for head, got in ((model.encoder.mean, mean), (model.encoder.log_variance, log_variance)):
        np.testing.assert_allclose(got, h @ np.asarray(head.kernel[...]) + np.asarray(head.bias[...]), atol=1e-5)


def by_definition(model, k, z):
    """Decoder k of `model`, pixel by pixel."""
    member = jax.tree.map(lambda leaf: np.asarray(leaf[k]), model.decoders)
    h = elu(z @ member.first.kernel[...] + member.first.bias[...]).reshape(len(z), 2, 2, -1)
    for i, (layer, scale) in enumerate(zip(member.layers, member.scales, strict=True)):
        h = convolution(enlarged(h) if scale == 2 else h, layer.kernel[...]) + layer.bias[...]
        h = elu(h) if i < len(member.layers) - 1 else h
    return nearest(h, *SHAPE[:2])


def test_decoders(model):
    z = random(3, 3)
    got = model.decode(z)
    assert got.shape == (2, 3, *SHAPE)
    for k in range(2):
        np.testing.assert_allclose(got[k], by_definition(model, k, z), atol=1e-5)


@pytest.mark.parametrize(
    "channels, scales, shape",
    [
        ([4, 5, 3], [2, 1, 2], (7, 6, 2)),
        ([3, 3], [1, 2], (4, 3, 1)),
        ([BLOCK_FEATURES, 64, 40], [1, 2, 2], (8, 7, 1)),
        ([2, 2], [2, 2], (11, 8, 3)),
    ],
)
def test_banded_decoders_are_the_decoders(channels, scales, shape):
    model = conv_vae(
        shape,
        latent_dim=3,
        decoders=2,
        encoder_channels=[3],
        decoder_channels=channels,
        decoder_scales=scales,
        activation="elu",
        seed=0,
    )
    bias = random(*model.decoders.layers[-1].bias.shape)
    model.decoders.layers[-1].bias[...] = jnp.asarray(bias)
    z = random(5, 3)
    maps, wanted = as_decoders(model), model.decode(z).reshape(2, 5, -1)
    assert len(maps) == 2
    for k, decode in enumerate(maps):
        np.testing.assert_allclose(decode(jnp.asarray(z))[0], wanted[k], atol=1e-5)
    gradients = [
        jax.jit(jax.grad(lambda z, f=f: jnp.sum(jnp.sin(3 * f(z)))))(jnp.asarray(z))
        for f in (maps[1], lambda z: model.decode(z)[1])
    ]
    np.testing.assert_allclose(*gradients, atol=2e-4)


def test_members_of_an_ensemble_share_one_compilation(model):
    maps = as_decoders(model)
    assert len({jax.tree.structure(decode) for decode in maps}) == 1


def test_a_batch_is_split_over_the_decoders(model):
    z = random(6, 3)
    whole = model.decode(z)
    np.testing.assert_allclose(model.decode_split(z), np.concatenate([whole[0, :3], whole[1, 3:]]), atol=1e-6)


def test_mlp():
    model = mlp_vae((5,), latent_dim=2, decoders=3, hidden=[4, 6], activation="tanh", seed=0)
    z = random(3, 7, 2)
    got = apply_decoders(model.decoders, z)
    for k in range(3):
        member = jax.tree.map(lambda leaf, k=k: np.asarray(leaf[k]), model.decoders)
        h = z[k]
        for layer in member.layers:
            h = np.tanh(h @ layer.kernel[...] + layer.bias[...])
        np.testing.assert_allclose(got[k], h @ member.last.kernel[...] + member.last.bias[...], atol=1e-5)
    mean, log_variance = model.encode(random(4, 5))
    assert mean.shape == log_variance.shape == (4, 2)


def test_parameters_are_drawn_from_the_seed(model):
    def leaves(seed):
        made = mlp_vae((400,), latent_dim=2, decoders=2, hidden=[300], activation="elu", seed=seed)
        return made, jax.tree.leaves(made)

    first, a = leaves(0)
    _, b = leaves(0)
    _, c = leaves(1)
    assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert not all(np.array_equal(x, y) for x, y in zip(a, c, strict=True))
    kernel = np.asarray(first.decoders.last.kernel[...])
    assert kernel.shape == (2, 300, 400)
    assert not np.array_equal(kernel[0], kernel[1])
    assert kernel.var() == pytest.approx(1 / 300, rel=0.02)
    assert not np.asarray(first.encoder.mean.bias[...]).any()


def test_decode_in_double_precision(model):
    with jax.enable_x64(True):
        decode = as_decoders(model, np.dtype("float64"))
        x = decoded(decode, jnp.asarray(random(2, 3), jnp.float64))
    assert x.dtype == np.float64 and x.shape == (2, 2, 7 * 6 * 2)
    np.testing.assert_allclose(x, model.decode(random(2, 3)).reshape(2, 2, -1), atol=1e-5)
