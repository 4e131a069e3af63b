"""Many rows through a compiled function: one shape, whatever their number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from identmetric_cli.batching import in_batches
from identmetric_cli.config import load
from identmetric_cli.models import conv_vae, mlp_vae
from identmetric_cli.models.encode import BATCH_SIZE, encode


def test_any_number_of_rows_is_one_trace():
    traces = []

    @jax.jit
    def double(x, y):
        traces.append(x.shape)
        return 2 * x, jnp.sum(y, axis=1)

    for rows in range(1, 41):
        x, y = np.arange(rows, dtype=np.float32), np.ones((rows, 3), np.float32)
        doubled, sums = in_batches(double, (x, y), 8)
        np.testing.assert_array_equal(doubled, 2 * x)
        np.testing.assert_array_equal(sums, np.full(rows, 3))
    assert traces == [(8,)]


def test_progress_counts_rows():
    calls = []
    in_batches(lambda x: x, (np.zeros(7),), 3, progress=lambda *counts: calls.append(counts))
    assert calls == [(3, 7), (6, 7), (7, 7)]


@pytest.mark.parametrize("rows", [1, BATCH_SIZE, BATCH_SIZE + 5])
def test_codes_are_means_and_variances_and_do_not_depend_on_the_number_of_rows(rows, rng):
    model = mlp_vae((4, 3), latent_dim=2, decoders=2, hidden=[8], activation="elu", seed=0)
    items = rng.normal(size=(BATCH_SIZE + 5, 4, 3)).astype(np.float32)
    mean, variance = encode(model, items[:rows])
    whole = encode(model, items)
    np.testing.assert_array_equal(mean, whole[0][:rows])
    np.testing.assert_array_equal(variance, whole[1][:rows])
    expected, log_variance = model.encode(items[:rows])
    np.testing.assert_allclose(mean, expected, atol=1e-5)
    np.testing.assert_allclose(variance, np.exp(log_variance), rtol=1e-5)


def test_the_mnist_preset_has_the_parameters_of_the_published_networks():
    model = load("mnist").model
    made = conv_vae((28, 28, 1), seed=0, **model.model_dump(exclude={"network"}))
    assert sum(leaf.size for leaf in jax.tree.leaves(made)) == 3_676_328
