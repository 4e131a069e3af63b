"""The objective against NumPy and against numerical integration."""

import numpy as np
import pytest
from scipy import stats

from identmetric_cli.models.objectives import kl_divergence, reconstruction_loss, reparametrise, squared_error


def test_kl_divergence_is_the_integral():
    mean, variance = 0.7, 0.3
    x = np.linspace(-8, 8, 20001)
    q, p = stats.norm(mean, np.sqrt(variance)), stats.norm()
    integral = np.trapezoid(q.pdf(x) * (q.logpdf(x) - p.logpdf(x)), x)
    ours = kl_divergence(np.full((1, 2), mean, np.float32), np.full((1, 2), np.log(variance), np.float32))
    assert float(ours[0]) == pytest.approx(2 * integral, rel=1e-5)


def test_reconstruction_loss_is_the_negative_log_likelihood():
    x, y = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    expected = -stats.norm(y, np.sqrt(0.2)).logpdf(x).sum(axis=(1, 2)).mean()
    error = squared_error(x, y)
    np.testing.assert_allclose(error, ((x - y) ** 2).sum(axis=(1, 2)), rtol=1e-5)
    assert float(reconstruction_loss(error.mean() / 20, 0.2, 20)) == pytest.approx(expected, rel=1e-5)


def test_the_mean_squared_error_is_the_best_noise_variance():
    losses = [float(reconstruction_loss(0.03, variance, 784)) for variance in (0.028, 0.03, 0.032)]
    assert losses[1] == min(losses)
    assert losses[1] == pytest.approx(392 * (np.log(2 * np.pi * 0.03) + 1), rel=1e-6)


def test_reparametrise():
    z = reparametrise(np.array([[1.0]]), np.array([[np.log(4.0)]]), np.array([[0.5]]))
    assert float(z[0, 0]) == pytest.approx(2.0)
