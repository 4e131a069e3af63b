"""Data sets: honest splits of real data, and sources that cannot be used."""

import builtins

import numpy as np
import pytest

from identmetric_cli.data import load_dataset
from identmetric_cli.data.images import write_png
from identmetric_cli.errors import InputError, UsageError


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


def test_mnist_is_whole_and_balanced():
    data = load_dataset("mnist")
    assert data.shape == (28, 28, 1)
    labels = np.concatenate([split.labels for split in (data.train, data.validation, data.test)])
    assert np.unique(labels, return_counts=True)[1].tolist() == [500] * 10
    assert (data.train.items.min(), data.train.items.max()) == (0.0, 1.0)


def test_splits_are_disjoint_and_complete(digits):
    ids = np.concatenate([split.ids for split in (digits.train, digits.validation, digits.test)])
    assert sorted(ids.tolist()) == list(range(1797))


def test_splits_depend_on_the_seed_alone(digits):
    assert load_dataset("digits").fingerprint == digits.fingerprint
    assert load_dataset("digits", split_seed=1).fingerprint != digits.fingerprint


def test_limit(digits):
    small = load_dataset("digits", limit=100)
    assert (len(small.train), len(small.validation), len(small.test)) == (80, 10, 10)


def test_arrays_and_folders(tmp_path, digits):
    items = digits.train.items[:40]
    np.savez(tmp_path / "d.npz", x=(items[..., 0] * 255).astype(np.uint8), y=np.arange(40) % 3)
    data = load_dataset(str(tmp_path / "d.npz"))
    assert data.shape == (8, 8, 1)
    assert set(data.train.labels) == {"0", "1", "2"}
    np.save(tmp_path / "v.npy", np.random.default_rng(0).normal(size=(30, 5)))
    assert load_dataset(str(tmp_path / "v.npy")).shape == (5,)
    for i, item in enumerate(items):
        write_png(tmp_path / "images" / f"class{i % 2}" / f"{i}.png", item)
    folder = load_dataset(str(tmp_path / "images"), image_shape=(8, 8, 1))
    assert set(folder.train.labels) == {"class0", "class1"}
    assert len(folder.train) + len(folder.validation) + len(folder.test) == 40


UNUSABLE = {
    "nowhere": (UsageError, "is not a data source"),
    "torchvision:Nothing": (UsageError, "is not known"),
    "missing.npz": (InputError, "no such file"),
    "missing.png": (InputError, "no such file or folder"),
    "missing/images": (InputError, "no such file or folder"),
    "missing/": (InputError, "no such file or folder"),
    "pyproject.toml": (UsageError, "is not a data source"),
}


@pytest.mark.parametrize("source", UNUSABLE)
def test_unusable_sources(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").touch()
    kind, message = UNUSABLE[source]
    with pytest.raises(kind, match=message) as caught:
        load_dataset(source)
    assert caught.value.hint


def test_too_few_items(tmp_path):
    np.save(tmp_path / "v.npy", np.zeros((5, 3)))
    with pytest.raises(InputError, match="too few"):
        load_dataset(str(tmp_path / "v.npy"))


def test_missing_torchvision_names_the_install_command(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "torchvision":
            raise ImportError("no torchvision here")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError) as caught:
        load_dataset("torchvision:MNIST")
    assert "identmetric[torchvision]" in caught.value.hint
