"""A folder of images, in sub-folders named by class or flat."""

from pathlib import Path

import numpy as np

from identmetric_cli.data.images import list_images, read_image
from identmetric_cli.errors import InputError


def read(folder: Path, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Images of a folder brought to `shape`, float32 (n, *shape) in [0, 1], labelled by their sub-folder.

    Raises InputError that names the first image which cannot be read, or when there is none.
    """
    paths = list_images(folder)
    if not paths:
        raise InputError(f"{folder}: no images", "PNG, JPEG, BMP, TIFF, WebP, GIF and PPM files are read")
    items = np.stack([read_image(path, shape)[0] for path in paths])
    labels = [path.relative_to(folder).parts[0] if path.parent != folder else "" for path in paths]
    return items, np.array(labels)
