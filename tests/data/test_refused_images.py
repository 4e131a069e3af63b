"""Files that are no image, half an image or too large a one: refused with their name and a reason."""

import os
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
from pictures import NOISE, RAMP, encoded, png, refusal, tiff
from PIL import Image

from identmetric_cli.data.images import FORMATS, list_images, read_image, write_png
from identmetric_cli.errors import InputError

CUT = {
    "PNG": ("PNG", {}),
    "JPEG": ("JPEG", {}),
    "JPEG, progressive": ("JPEG", {"progressive": True}),
    "BMP": ("BMP", {}),
    "TIFF": ("TIFF", {}),
    "TIFF, LZW": ("TIFF", {"compression": "tiff_lzw"}),
    "TIFF, deflate": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "WEBP": ("WEBP", {}),
    "WEBP, lossless": ("WEBP", {"lossless": True}),
    "GIF": ("GIF", {}),
    "PPM": ("PPM", {}),
}
# Formats that end in bytes without pixels (checksum, padding, trailer): whole without the last byte.
WHOLE_WITHOUT_LAST_BYTE = {"PNG", "BMP", "GIF"}


@pytest.mark.parametrize("case", CUT)
def test_cut_files_are_refused(tmp_path, case):
    kind, options = CUT[case]
    path = tmp_path / "a"
    good = encoded(Image.fromarray(NOISE), kind, **options)
    path.write_bytes(good)
    whole, _ = read_image(path, NOISE.shape)
    for share in (0, 0.01, 0.1, 0.5, 0.9):
        path.write_bytes(good[: int(share * len(good))])
        refusal(path, NOISE.shape)
    path.write_bytes(good[:-1])
    if case in WHOLE_WITHOUT_LAST_BYTE:
        np.testing.assert_array_equal(read_image(path, NOISE.shape)[0], whole)
    else:
        refusal(path, NOISE.shape)


linux_only = pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
READER = """
import sys, warnings
from pathlib import Path
warnings.simplefilter("error")
from identmetric_cli.data.images import read_image
from identmetric_cli.errors import InputError

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024

before = peak()
for name in sys.argv[1:]:
    try:
        read_image(Path(name), (28, 28, 1))
    except InputError as error:
        print(error.message)
print(peak() - before)
"""


def read_elsewhere(*paths):
    """Messages of the refusals in a process of its own, its growth in MB, and what it printed on stderr."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", READER, *map(str, paths)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    *messages, growth = done.stdout.splitlines()
    return messages, float(growth), done.stderr


def bomb(side):
    """A colour PNG of zeros: one deflated block that leaves no state behind, many times."""
    deflate = zlib.compressobj(9)
    start = deflate.compress(b"") + deflate.flush(zlib.Z_FULL_FLUSH)
    block = deflate.compress(bytes(2**20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    return png(side, side, 8, 2, start + block * (side * (3 * side + 1) // 2**20 + 1))


@linux_only
def test_bombs_are_refused_before_memory_is_taken(tmp_path):
    sides = (8001, 12000, 14000)
    paths = [tmp_path / f"{side}.png" for side in sides]
    for path, side in zip(paths, sides, strict=True):
        path.write_bytes(bomb(side))
        assert path.stat().st_size < 2**20
    messages, growth, _ = read_elsewhere(*paths)
    assert messages == [
        f"{paths[0]}: 8001x8001 is 64.0 megapixels, at most 64 are read",
        f"{paths[1]}: 12000x12000 is 144.0 megapixels, at most 64 are read",
        f"{paths[2]}: far more than 64 megapixels",
    ]
    assert growth < 200


@pytest.mark.parametrize(
    "data",
    [
        png(2**31 - 1, 2**31 - 1, 8, 2, b""),
        png(0, 5, 8, 0, b""),
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 0, 0, 54, 40, 10**9, 10**9, 1, 24, 0, 0, 0, 0, 0, 0),
        b"P6 60000 60000 255\n",
        b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b";",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n",
        b"words",
        b"",
    ],
    ids=["png", "png without width", "bmp", "ppm", "gif", "eps", "text", "empty"],
)
def test_headers_alone_are_refused(tmp_path, data):
    (tmp_path / "a").write_bytes(data)
    refusal(tmp_path / "a")


@pytest.mark.parametrize("kind", ["AVIF", "DDS", "ICO", "JPEG2000", "PCX", "QOI", "SGI", "TGA"])
def test_other_formats_are_refused(tmp_path, kind):
    (tmp_path / "a.png").write_bytes(encoded(Image.new("RGB", (16, 16)), kind))
    assert "not an image of a known format (PNG, JPEG, BMP, TIFF, WEBP, GIF, PPM)" in refusal(tmp_path / "a.png")


def test_paths_that_are_not_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert "no such file" in refusal(tmp_path / "[/foo].png")
    assert "a folder, where an image is wanted" in refusal(tmp_path)
    assert "not a regular file" in refusal(tmp_path / "pipe.png")


@pytest.mark.parametrize(
    "name", ["[/foo].png", "[link=x].png", "=HYPERLINK.png", "a\x1b[2J\n.png", "-rf", "ü 名.png"]
)
def test_any_name_is_a_name(tmp_path, name):
    path = tmp_path / name
    write_png(path, RAMP[..., None] / 255)
    pixels, notes = read_image(path, (3, 4, 1))
    np.testing.assert_allclose(pixels[..., 0], RAMP / 255, atol=1e-6)
    assert notes == []


@pytest.mark.parametrize("name", ["missing", "a.png"])
def test_folders_that_cannot_be_listed(tmp_path, name):
    (tmp_path / "a.png").touch()
    with pytest.raises(InputError, match=f"{name}: cannot be listed") as caught:
        list_images(tmp_path / name)
    assert caught.value.hint


@linux_only
def test_nothing_is_printed(tmp_path):
    """Pillow logs this one as an error, which Python prints where no handler is set."""
    (tmp_path / "a.tif").write_bytes(tiff(b"\0", width=1, t277=8))
    messages, _, printed = read_elsewhere(tmp_path / "a.tif")
    assert len(messages) == 1
    assert printed == ""


def test_any_bytes_end_in_a_typed_error(tmp_path):
    """Seeded damage to valid files: an array or an InputError, nothing else, and no warning."""
    rng = np.random.default_rng(0)
    path = tmp_path / "a"
    for kind in FORMATS:
        good = encoded(Image.fromarray(NOISE), kind)
        for _ in range(60):
            data = bytearray(good)
            span = len(data) if rng.random() < 0.5 else 60
            for at in rng.integers(0, span, rng.integers(1, 4)):
                data[at] = rng.integers(0, 256)
            path.write_bytes(data)
            try:
                pixels, _ = read_image(path, (9, 9, 1))
            except InputError as error:
                assert str(path) in error.message
            else:
                assert 0 <= pixels.min() <= pixels.max() <= 1


def test_the_filters_of_warnings_are_left_as_they_were(tmp_path):
    write_png(tmp_path / "a.png", np.zeros((2, 2, 1)))
    before = list(warnings.filters)
    read_image(tmp_path / "a.png", (2, 2, 1))
    assert warnings.filters == before
