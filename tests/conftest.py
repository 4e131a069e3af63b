"""Fixtures that several folders share."""

from collections.abc import Iterator

import jax
import numpy as np
import pytest


@pytest.fixture(scope="module", autouse=True)
def forget_compiled_functions() -> Iterator[None]:
    """Compiled functions map memory, and past the 65,530 maps that Linux allows a process compilation crashes."""
    yield
    jax.clear_caches()


@pytest.fixture
def x64() -> Iterator[None]:
    """Double precision for one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=["float32", "float64"])
def dtype(request) -> Iterator[np.dtype]:
    """Both precisions, each as the program would set it up."""
    with jax.enable_x64(request.param == "float64"):
        yield np.dtype(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
