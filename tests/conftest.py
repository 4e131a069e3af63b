"""Fixtures that several folders share."""

import os
import shutil
import tempfile
from collections.abc import Iterator

import jax
import numpy as np
import pytest

COMPILED = {
    "JAX_COMPILATION_CACHE_DIR": "",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
}


def pytest_configure(config: pytest.Config) -> None:
    """Nothing is compiled twice: modules, workers and the processes that tests start share compiled functions."""
    if COMPILED.keys() <= os.environ.keys():
        return
    folder = tempfile.mkdtemp(prefix="compiled-")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ.update({**COMPILED, "JAX_COMPILATION_CACHE_DIR": folder})
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)


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
