"""A folder of images, in sub-folders named by class or flat.

All images are brought to one shape and, where they are of 16 bits, read with one white: what is decided, is decided
of the folder and never of a file.
"""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from identmetric_cli.data.arrays import MAX_ARRAY_BYTES
from identmetric_cli.data.images import Header, brightest, list_images, read_header, read_image
from identmetric_cli.data.source import Source
from identmetric_cli.data.white import told, white_of_set
from identmetric_cli.errors import InputError, UsageError

SHOWN = 5


def read(folder: Path, shape: tuple[int, int, int] | None) -> Source:
    """Images of a folder brought to `shape`, or in the one that all have, labelled by their sub-folder.

    Raises InputError that names the first image which cannot be read, or when there is none, or when all together
    take more than 8 GiB; UsageError, with the sizes found, when `shape` is missing and sizes differ.
    """
    paths = list_images(folder)
    if not paths:
        raise InputError(f"{folder}: no images", "PNG, JPEG, BMP, TIFF, WebP, GIF and PPM files are read")
    headers = [read_header(path) for path in paths]
    shape = shape or _common_shape(folder, headers)
    size = 4 * len(paths) * math.prod(shape)
    if size > MAX_ARRAY_BYTES:
        raise InputError(
            f"{folder}: {len(paths)} images of {_written(shape)} take {size} bytes, more than {MAX_ARRAY_BYTES}",
            "set a smaller data.image_shape (--image-shape); images are scaled down to it",
        )
    deep = [path for path, header in zip(paths, headers, strict=True) if header.white_unknown]
    high = max(map(brightest, deep), default=0)
    white = white_of_set(high) if deep else None
    items, counts = np.empty((len(paths), *shape), np.float32), Counter()
    for i, path in enumerate(paths):
        items[i], notes = read_image(path, shape, white)
        counts.update(notes)
    labels = [path.relative_to(folder).parts[0] if path.parent != folder else "" for path in paths]
    said = [f"{count} of {len(paths)} images: {note}" for note, count in counts.most_common(SHOWN)]
    if len(counts) > SHOWN:
        said.append(f"and {len(counts) - SHOWN} more kinds of changes to images")
    return Source(items, np.array(labels), tuple(said), told(high, white) if white else (), white)


def _common_shape(folder: Path, headers: Sequence[Header]) -> tuple[int, int, int]:
    found = Counter(header.shape for header in headers)
    if len(found) == 1:
        return headers[0].shape
    listed = ", ".join(f"{count} of {_written(shape)}" for shape, count in found.most_common(SHOWN))
    listed += f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    common = found.most_common(1)[0][0]
    raise UsageError(
        f"{folder}: images differ in height, width or channels: {listed}",
        f"set data.image_shape = {list(common)} (--image-shape {','.join(map(str, common))}), or another shape "
        "that all are brought to",
    )


def _written(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
