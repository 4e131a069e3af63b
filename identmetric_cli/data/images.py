"""Images as people have them, brought to the shape that a model takes.

Files come in many formats, sizes and pixel modes; a model takes one. The way from one to the other is fixed:
decode completely or refuse, turn upright, take every pixel mode to grey or colour by an explicit table, put
transparency on black, scale to fit inside the shape, fill what remains. A step that changes the picture
leaves a note in plain words, so that nothing is converted in silence.

Three choices that a reader may want to know:

- **Black behind transparency.** No light is 0, the background of the digits and clothes that such models are
  first trained on; a picture drawn in black on nothing vanishes, and the note says so.
- **Fit and fill, not stretch or crop.** Stretching changes distances between images, cropping cuts content
  away, both unseen. The fill is the median colour of the edge: it continues a plain background.
- **Triangle filter.** It is antialiased when it shrinks (each pixel averages all that it covers) and, without
  negative lobes, adds no halos and stays in [0, 1].
"""

import logging
import os
import re
import warnings
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ExifTags import Base as ExifTag

from identmetric_cli.data.arrays import opened
from identmetric_cli.data.white import DIVIDE, FULL, white_of_image
from identmetric_cli.errors import InputError, UsageError
from identmetric_cli.files import write_atomically

MAX_MEGAPIXELS = 64
FORMATS = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
}
MODES = {  # mode of the file: (mode to work in, its value of white, note)
    "1": ("L", 255, None),
    "L": ("L", 255, None),
    "LA": ("L", 255, None),
    "La": ("L", 255, None),
    "P": ("RGB", 255, "palette replaced by its colours"),
    "PA": ("RGB", 255, "palette replaced by its colours"),
    "RGB": ("RGB", 255, None),
    "RGBA": ("RGB", 255, None),
    "YCbCr": ("RGB", 255, "YCbCr converted to RGB"),
    "CMYK": ("RGB", 255, "CMYK converted to RGB, without its colour profile"),
    "I": ("F", FULL, "16-bit scaled to [0, 1]"),
    "I;16": ("F", FULL, "16-bit scaled to [0, 1]"),
    "I;16B": ("F", FULL, "16-bit scaled to [0, 1]"),
    "F": ("F", 1, None),
}
WITH_ALPHA = {"L": "LA", "RGB": "RGBA"}

_HINT = "open it in an image program and save it as an 8-bit PNG"
_HINT_SIZE = "scale it down first"
_HINT_FRAMES = "save every frame that you want as a file of its own, or all as one .npy array (n, height, width)"
_HINT_RANGE = (
    "map the values of all your images by one rule, (value - lowest) / (highest - lowest) over all of them, "
    "and save them as 32-bit float TIFF or as one .npy array"
)
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0

# What Pillow logs of a damaged file it also raises; a logger without a handler would print it on stderr.
logging.getLogger("PIL").addHandler(logging.NullHandler())


class Header(NamedTuple):
    """What an image says of itself before it is decoded."""

    shape: tuple[int, int, int]
    """Height and width when upright, and channels: 1 for grey, 3 for colour."""
    white_unknown: bool
    """Whether it has 16 bits, of which the file does not tell how many are used."""


def read_header(path: Path) -> Header:
    """Shape and depth of an image; raises InputError where it cannot be read or is refused unseen."""
    with opened(path, "an image", _HINT) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = _open(file, path)
        sideways = image.getexif().get(ExifTag.Orientation, 1) in range(5, 9)
        height, width = (image.width, image.height) if sideways else (image.height, image.width)
        return Header((height, width, 3 if MODES[image.mode][0] == "RGB" else 1), _white_unknown(image))


def brightest(path: Path) -> int:
    """The largest value of an image of 16 bits; raises InputError like `read_image`."""
    with opened(path, "an image", _HINT) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return int(np.asarray(_decode(file, path, [])).max())


def read_image(path: Path, shape: tuple[int, int, int], white: int | None = None) -> tuple[np.ndarray, list[str]]:
    """One image as float32 in [0, 1] of `shape` (height, width, channels), and notes of what was changed.

    A picture of other proportions is scaled to fit and filled up with the median colour of its edge. `white` is that
    of 16-bit images, where the set that the image belongs to tells it.
    Raises InputError: missing, damaged, larger than 64 megapixels, several frames, values of unknown range or white.
    Raises UsageError for channels other than 1 (grey) and 3 (colour).
    """
    height, width, channels = shape
    if channels not in (1, 3):
        raise UsageError(f"images have 1 or 3 channels, not {channels}", "give .npy or .npz arrays instead")
    notes: list[str] = []
    with opened(path, "an image", _HINT) as file, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        image, scale = _flatten(_decode(file, path, notes), path, notes, white)
        if channels == 1 and image.mode == "RGB":
            image = image.convert("L")
            notes.append("colour converted to grey")
        image = _fit(image, height, width, notes)
    # Pillow warns of damaged metadata; it also warns of sizes, but our limit is below its own.
    notes += [f"decoder warns: {warning.message}".strip() for warning in warned if warning.category is UserWarning]
    pixels = np.asarray(image, dtype=np.float32) / np.float32(scale)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], channels, axis=2)
        notes += ["grey repeated in three channels"] if channels == 3 else []
    return _fill(pixels, height, width, notes), notes


def write_png(path: Path, array: np.ndarray) -> None:
    """Write (height, width, 1 or 3) floats, clipped to [0, 1], as an 8-bit PNG, completely or not at all.

    Raises ValueError for other shapes and NaN, StorageError if the file cannot be written.
    """
    array = np.asarray(array)
    if array.ndim != 3 or array.shape[2] not in (1, 3) or np.isnan(array).any():
        raise ValueError(f"an image is (height, width, 1 or 3) without NaN, got shape {array.shape}")
    pixels = np.round(np.clip(array, 0, 1) * 255).astype(np.uint8)
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    write_atomically(path, lambda file: image.save(file, "PNG"))


def list_images(folder: Path) -> list[Path]:
    """Paths of a folder's images, known by extension, at any depth, sorted.

    Hidden files and folders are left out, and so are links to folders and to files outside the folder.
    Raises InputError if a folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename}: cannot be listed ({error.strerror})", "give a folder") from error

    suffixes = {suffix for known in FORMATS.values() for suffix in known}
    root, found = folder.resolve(), []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(parent, name)
            for name in names
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in suffixes
        ]
    files = (path for path in found if path.is_file())
    return sorted(path for path in files if not path.is_symlink() or path.resolve().is_relative_to(root))


def _open(file: BinaryIO, path: Path) -> Image.Image:
    """The picture, not yet decoded, of a size and mode that are read."""
    try:
        image = Image.open(file, formats=tuple(FORMATS))
    except UnidentifiedImageError as error:
        what = f"not an image of a known format ({', '.join(FORMATS)}), or damaged at its start"
        raise InputError(f"{path}: {what}", _HINT) from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{path}: far more than {MAX_MEGAPIXELS} megapixels", _HINT_SIZE) from error
    _check_header(image, path)
    return image


def _decode(file: BinaryIO, path: Path, notes: list[str]) -> Image.Image:
    """The whole picture in memory, upright, in a mode of `MODES`; raises anything that decoders raise."""
    image = _open(file, path)
    if image.format == "MPO":
        notes.append("first picture of several taken")
    if MODES[image.mode][1] == 255 and re.search(r";16[BLN]", str(image.tile)):
        notes.append("16-bit colour read as 8-bit")
    orientation = image.getexif().get(ExifTag.Orientation, 1)
    if orientation in range(2, 9):
        notes.append(f"rotated as its EXIF orientation ({orientation}) says")
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    return image


def _check_header(image: Image.Image, path: Path) -> None:
    """Refuse before decoding: too large, several frames, a pixel mode whose white is not known."""
    size, megapixels = _size(image.size), image.width * image.height / 1e6
    if megapixels > MAX_MEGAPIXELS:
        what = f"{size} is {megapixels:.1f} megapixels, at most {MAX_MEGAPIXELS} are read"
        raise InputError(f"{path}: {what}", _HINT_SIZE)
    frames = getattr(image, "n_frames", 1)
    # An MPO is a camera's JPEG, with a preview or a depth map behind the picture.
    if frames > 1 and image.format != "MPO":
        raise InputError(f"{path}: {frames} frames, one image is wanted", _HINT_FRAMES)
    tags = getattr(image, "tag_v2", {})
    deep = MODES.get(image.mode, ("F",))[0] == "F"
    # Pillow neither scales 12-bit TIFFs nor inverts deep ones whose 0 is white.
    misread = deep and (tags.get(_BITS_PER_SAMPLE) == (12,) or tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO)
    if image.mode not in MODES or misread:
        raise InputError(f"{path}: pixels of mode {image.mode} whose white is not known", DIVIDE if deep else _HINT)


def _white_unknown(image: Image.Image) -> bool:
    # PPM files tell their white, and Pillow has scaled it to that of 16 bits.
    return MODES[image.mode][1] == FULL and image.format != "PPM"


def _flatten(image: Image.Image, path: Path, notes: list[str], known: int | None) -> tuple[Image.Image, int]:
    """The picture without transparency in mode L, RGB or F, and its value of white; raises InputError."""
    mode, white, note = MODES[image.mode]
    if note:
        notes.append(note)
    if mode == "F":
        pixels = np.asarray(image)
        low, high = pixels.min(), pixels.max()
        if not (low >= 0 and high <= white):  # also true of NaN
            raise InputError(f"{path}: values from {low:.6g} to {high:.6g}, outside [0, {white}]", _HINT_RANGE)
        if image.has_transparency_data:
            raise InputError(f"{path}: 16-bit grey with transparency is not read", _HINT)
        if _white_unknown(image):
            white = white_of_image(high, known, path)
        return image.convert("F"), white
    if image.has_transparency_data:
        image = _on_black(image.convert(WITH_ALPHA[mode]), mode, notes)
    return image.convert(mode), white


def _on_black(image: Image.Image, mode: str, notes: list[str]) -> Image.Image:
    """An image with alpha composited on black; no note where alpha is opaque everywhere."""
    alpha = image.getchannel("A")
    ground = Image.new(mode, image.size)
    ground.paste(image.convert(mode), mask=alpha)
    if alpha.getextrema()[0] < 255:
        vanished = "" if ground.getbbox() else ", which leaves all black"
        notes.append("transparency composited on black" + vanished)
    return ground


def _fit(image: Image.Image, height: int, width: int, notes: list[str]) -> Image.Image:
    """The picture at the largest size of its own proportions inside (height, width)."""
    scale = min(height / image.height, width / image.width)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    if size == image.size:
        return image
    notes.append(f"resized from {_size(image.size)} to {_size(size)}")
    return image.resize(size, Image.Resampling.BILINEAR)


def _fill(pixels: np.ndarray, height: int, width: int, notes: list[str]) -> np.ndarray:
    """The picture centred in (height, width, channels), the rest in the median colour of its edge."""
    rows, columns, channels = pixels.shape
    if (rows, columns) == (height, width):
        return pixels
    notes.append(f"filled up from {columns}x{rows} to {width}x{height} with the colour of its edge")
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    filled = np.empty((height, width, channels), np.float32)
    filled[:] = np.median(edge, axis=0)
    top, left = (height - rows) // 2, (width - columns) // 2
    filled[top : top + rows, left : left + columns] = pixels
    return filled


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
