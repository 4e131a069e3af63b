"""Small images of every mode, made byte by byte, and the refusal that a bad one must meet."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from identmetric_cli.data.images import read_image
from identmetric_cli.errors import InputError

RAMP = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
COLOURS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
LUMA = np.array([[76, 150], [29, 255]])  # ITU-R 601: 0.299 red + 0.587 green + 0.114 blue
NOISE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def refusal(path, shape=(2, 2, 1)):
    with pytest.raises(InputError) as caught:
        read_image(path, shape)
    assert caught.value.exit_code == 65
    assert caught.value.hint
    assert caught.value.message.startswith(f"{path}: ")
    return caught.value.message


def grey(*rows):
    return Image.fromarray(np.array(rows, np.uint8))


def palette(alpha=None):
    """Pixels 0 1 / 2 3 of the palette of COLOURS."""
    image = grey([0, 1], [2, 3])
    image.putpalette(COLOURS.tobytes())
    if alpha is not None:
        image.info["transparency"] = alpha
    return image


def translucent_palette():
    image = palette().convert("PA")
    image.putalpha(grey([0, 255], [102, 255]))
    return image


def deep(mode, *values):
    order = ">u2" if mode.endswith("B") else "<u2"
    return Image.frombytes(mode, (len(values), 1), np.array(values, order).tobytes())


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, colour, rows, *extra):
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", rows), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tiff(pixels, **tags):
    """An uncompressed little-endian TIFF of one row of given bytes."""
    width = tags.pop("width")
    entries = {256: width, 257: 1, 258: 16, 259: 1, 262: 1, 273: 0, 277: 1, 278: 1, 279: len(pixels)}
    entries |= {int(name[1:]): value for name, value in tags.items()}
    entries[273] = 8 + 2 + 12 * len(entries) + 4
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4) + pixels
