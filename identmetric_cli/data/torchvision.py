"""Data sets of torchvision (an extra): MNIST and its kin, CIFAR10, SVHN, read through torchvision's own classes."""

import sys
from pathlib import Path

import numpy as np

from identmetric_cli.errors import InputError, UsageError

NAMES = ("MNIST", "FashionMNIST", "KMNIST", "CIFAR10", "SVHN")


def read(name: str, root: Path, *, download: bool) -> tuple[np.ndarray, np.ndarray]:
    """Images, float32 (n, height, width, channels) in [0, 1], and labels of torchvision's train and test files."""
    if name not in NAMES:
        raise UsageError(f"torchvision:{name} is not known", f"one of {', '.join(NAMES)}")
    try:
        from torchvision import datasets
    except ImportError as error:
        index = "" if sys.platform == "darwin" else " (on Linux without a GPU, a CPU build of torch is much smaller)"
        raise UsageError(
            f"data.source = torchvision:{name} needs torchvision, which cannot be imported ({error})",
            f"pip install 'identmetric[torchvision]'{index}",
        ) from error
    cls = getattr(datasets, name)
    parts = ({"split": "train"}, {"split": "test"}) if name == "SVHN" else ({"train": True}, {"train": False})
    try:
        sets = [cls(str(root), download=download, **part) for part in parts]
    except (RuntimeError, OSError) as error:
        raise InputError(
            f"torchvision:{name} cannot be read from {root} ({error})",
            "set data.root to the folder that holds it, or data.download = true",
        ) from error
    items = np.concatenate([_images(each.data, channels_first=name == "SVHN") for each in sets])
    labels = np.concatenate([np.asarray(each.labels if name == "SVHN" else each.targets) for each in sets])
    return items, labels.astype(str)


def _images(data: object, *, channels_first: bool) -> np.ndarray:
    images = np.asarray(data, dtype=np.float32) / 255
    if images.ndim == 3:
        return images[..., None]
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1)) if channels_first else images
