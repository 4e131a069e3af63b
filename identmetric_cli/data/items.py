"""From arrays as people store them to items as models take them: shape, scale, single precision.

Images lie in [0, 1] after a division by their white; vectors are taken as they are, because only their owner knows
what the columns mean. What would make a training fail hours later, or learn nothing, is refused or said before.
"""

import math

import numpy as np

from identmetric_cli.data import white as whites
from identmetric_cli.errors import InputError

LARGEST = 1e15
"""A million squares of such values still sum in single precision, which ends at 3.4e38."""
WIDE, UNEQUAL = 10, 100
"""Root mean square of a column, and ratio of two standard deviations, above which columns are badly scaled."""

_WHITE = {"bool": 1, "uint8": 255, "float16": 1, "float32": 1, "float64": 1}


def in_shape(array: np.ndarray, shape: tuple[int, ...] | None, source: object) -> np.ndarray:
    """Rows of an array as vectors (n, size) or images (n, height, width, channels).

    Of a `shape` (of one item), in which rows may be flattened, grey images lack their channel, and a single item lack
    its row. Without one: 2 axes are vectors, 3 grey images, 4 images. Raises InputError where that does not fit.
    """
    if shape is None:
        return _in_own_shape(array, source)
    layouts = {shape, (math.prod(shape),)} | ({shape[:2]} if shape[2:] == (1,) else set())
    if array.shape not in layouts and array.shape[1:] not in layouts:
        raise InputError(
            f"{source} has shape {array.shape}, where items of shape {shape} are wanted",
            f"give an array of shape {('n', *shape)}".replace("'", "")
            + (", channels last: numpy.moveaxis(x, 1, -1)" if array.shape[1:] == (*shape[2:], *shape[:2]) else ""),
        )
    return array.reshape(-1, *shape)


def _in_own_shape(array: np.ndarray, source: object) -> np.ndarray:
    if array.ndim not in (2, 3, 4):
        raise InputError(
            f"{source}: shape {array.shape}, where rows of several values are wanted",
            "give vectors (n, size), grey images (n, height, width) or images (n, height, width, channels)",
        )
    if array.ndim == 4 and array.shape[1] in (1, 3) and array.shape[3] not in (1, 3):
        _, channels, height, width = array.shape
        raise InputError(
            f"{source}: shape {array.shape} seems to have its channels first",
            f"save numpy.moveaxis(x, 1, -1); if these are {width} channels, "
            f"set data.image_shape = [{channels}, {height}, {width}]",
        )
    return array[..., None] if array.ndim == 3 else array


def scaled(array: np.ndarray, source: object, white: int | None = None) -> np.ndarray:
    """Rows as float32: images (4 axes) in [0, 1], vectors as they are. `white` is that of 16-bit images, if known.

    Raises InputError for images outside of [0, 1] and for vectors whose squares would overflow.
    """
    if array.ndim == 4:
        return as_unit_interval(array, source, white)
    largest = max(abs(float(array.min())), abs(float(array.max())))
    if largest > LARGEST:
        count = np.count_nonzero(np.abs(array.astype(np.float64)) > LARGEST)
        raise InputError(
            f"{source}: {count} of {array.size} values exceed {LARGEST:g} (the largest {largest:.6g}), "
            "whose squares do not sum in single precision",
            "correct them, leave out their rows, or save the columns in a larger unit",
        )
    return array.astype(np.float32)


def as_unit_interval(array: np.ndarray, source: object, white: int | None = None) -> np.ndarray:
    """Images as float32 in [0, 1], same shape: uint8 / 255, uint16 / white, booleans 0 and 1, floats as is.

    Raises InputError, naming `source`, for other types, for floats outside [0, 1], and for 16-bit values of which
    white is not known.
    """
    low, high = array.min(), array.max()
    scale = _WHITE.get(array.dtype.name)
    if array.dtype == np.uint16:
        scale = whites.white_of_image(high, white, source)
    if scale is None:
        raise InputError(
            f"{source}: images of type {array.dtype}, whose white is not known",
            "save them as uint8 (0 to 255) or as floats in [0, 1]",
        )
    if not (low >= 0 and high <= scale):
        raise InputError(
            f"{source}: values from {low:.6g} to {high:.6g}, where images lie in [0, 1]",
            "divide by the value of white (255 for 8 bits), undo any normalisation, or clip to [0, 1]",
        )
    return np.divide(np.ascontiguousarray(array), scale, dtype=np.float32)


def white_of(images: np.ndarray) -> tuple[int | None, tuple[str, ...]]:
    """White of a whole set of images where they are 16-bit, and warnings of values that end far below white."""
    high = images.max()
    if images.dtype == np.uint16:
        white = whites.white_of_set(int(high))
        return white, whites.told(int(high), white)
    if images.dtype == np.uint8 and high < 64:
        return None, (f"8-bit values end at {high}, far below white (255): if white is lower, {whites.DIVIDE}",)
    return None, ()


def scale_trouble(vectors: np.ndarray) -> tuple[str, ...]:
    """A warning where columns (n, size) are on large or very different scales, else none.

    Column j is wide when its root mean square exceeds 10; two differ when their standard deviations do by over 100.
    """
    mean = vectors.mean(axis=0, dtype=np.float64)
    square = np.einsum("ij,ij->j", vectors, vectors, dtype=np.float64) / len(vectors)
    deviations = np.sqrt(np.maximum(square - mean**2, 0))
    varying = deviations[deviations > 1e-6 * np.sqrt(square)]
    if not len(varying) or (square.max() <= WIDE**2 and varying.max() <= UNEQUAL * varying.min()):
        return ()
    side = math.isqrt(vectors.shape[1])
    example = f" = [{side}, {side}, 1]" if side > 1 and side**2 == vectors.shape[1] else ""
    return (
        f"standard deviations of the columns go from {varying.min():.3g} to {varying.max():.3g}, values from "
        f"{vectors.min():.6g} to {vectors.max():.6g}: a model learns little but the widest; standardise the columns, "
        f"(x - x.mean(0)) / x.std(0), or, if these are flattened images, set data.image_shape{example}",
    )
