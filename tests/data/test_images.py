"""Images of every mode as golden arrays, shaped, written and listed."""

import os
import struct
import zlib

import numpy as np
import pytest
from pictures import (
    COLOURS,
    LUMA,
    NOISE,
    RAMP,
    chunk,
    deep,
    encoded,
    grey,
    palette,
    png,
    refusal,
    tiff,
    translucent_palette,
)
from PIL import Image

from identmetric_cli.data.images import list_images, read_image, write_png
from identmetric_cli.errors import InputError, StorageError, UsageError

PALETTE = "palette replaced by its colours"
ON_BLACK = "transparency composited on black"
GREY = "colour converted to grey"
REPEATED = "grey repeated in three channels"
DEEP = "16-bit scaled to [0, 1]"
CMYK = "CMYK converted to RGB, without its colour profile"
OPAQUE_AND_HALF = np.array([[[255, 0, 0, 0], [0, 255, 0, 255]], [[0, 0, 255, 102], [255, 255, 255, 255]]], np.uint8)
INK = np.array([[[0, 255, 255, 0], [255, 0, 255, 0]], [[255, 255, 0, 0], [0, 0, 0, 0]]], np.uint8)
GOLDEN = {  # image, format, channels, expected values x 255, notes
    "1": (grey([0, 255]).convert("1"), "PNG", 1, [[0, 255]], []),
    "1 in TIFF": (grey([0, 255]).convert("1"), "TIFF", 1, [[0, 255]], []),
    "1 in PPM": (grey([0, 255]).convert("1"), "PPM", 1, [[0, 255]], []),
    "L": (grey([0, 7, 255]), "PNG", 1, [[0, 7, 255]], []),
    "L in BMP": (grey([0, 7, 255]), "BMP", 1, [[0, 7, 255]], []),
    "L in GIF": (grey([0, 7, 255]), "GIF", 1, [[0, 7, 255]], [PALETTE, GREY]),
    "L in PPM": (grey([0, 7, 255]), "PPM", 1, [[0, 7, 255]], []),
    "L in JPEG": (grey([9, 9], [9, 9]), "JPEG", 1, [[9, 9], [9, 9]], []),
    "L in TIFF": (grey([0, 7, 255]), "TIFF", 1, [[0, 7, 255]], []),
    "L to colour": (grey([0, 7]), "PNG", 3, [[[0] * 3, [7] * 3]], [REPEATED]),
    "L with one value transparent": (
        *(grey([9, 7]), "PNG", 1, [[0, 7]], [ON_BLACK]),
        {"transparency": 9},
    ),
    "LA": (Image.frombytes("LA", (2, 1), b"\xff\x66\x0a\xff"), "PNG", 1, [[102, 10]], [ON_BLACK]),
    "LA in TIFF": (Image.frombytes("LA", (2, 1), b"\xff\x66\x0a\xff"), "TIFF", 1, [[102, 10]], [ON_BLACK]),
    "P": (palette(), "PNG", 3, COLOURS, [PALETTE]),
    "P in GIF": (palette(), "GIF", 3, COLOURS, [PALETTE]),
    "P in BMP": (palette(), "BMP", 3, COLOURS, [PALETTE]),
    "P in TIFF": (palette(), "TIFF", 3, COLOURS, [PALETTE]),
    "P to grey": (palette(), "PNG", 1, LUMA, [PALETTE, GREY]),
    "P with one colour transparent": (
        *(palette(0), "PNG", 3, [[[0, 0, 0], [0, 255, 0]], [[0, 0, 255], [255] * 3]]),
        [PALETTE, ON_BLACK],
    ),
    "P with alpha": (
        *(palette(b"\x00\xff\x66\xff"), "PNG", 3, [[[0, 0, 0], [0, 255, 0]], [[0, 0, 102], [255] * 3]]),
        [PALETTE, ON_BLACK],
    ),
    "P in GIF with one colour transparent": (
        *(palette(0), "GIF", 3, [[[0, 0, 0], [0, 255, 0]], [[0, 0, 255], [255] * 3]]),
        [PALETTE, ON_BLACK],
    ),
    "PA in TIFF": (
        *(translucent_palette(), "TIFF", 3, [[[0, 0, 0], [0, 255, 0]], [[0, 0, 102], [255] * 3]]),
        [PALETTE, ON_BLACK],
    ),
    "RGB": (Image.fromarray(COLOURS), "PNG", 3, COLOURS, []),
    "RGB in BMP": (Image.fromarray(COLOURS), "BMP", 3, COLOURS, []),
    "RGB in TIFF": (Image.fromarray(COLOURS), "TIFF", 3, COLOURS, []),
    "RGB in WEBP": (Image.fromarray(COLOURS), "WEBP", 3, COLOURS, [], {"lossless": True}),
    "RGB in PPM": (Image.fromarray(COLOURS), "PPM", 3, COLOURS, []),
    "RGB to grey": (Image.fromarray(COLOURS), "PNG", 1, LUMA, [GREY]),
    "RGBA": (
        *(Image.fromarray(OPAQUE_AND_HALF), "PNG", 3),
        *([[[0, 0, 0], [0, 255, 0]], [[0, 0, 102], [255] * 3]], [ON_BLACK]),
    ),
    "RGBA in WEBP": (
        *(Image.fromarray(OPAQUE_AND_HALF), "WEBP", 3),
        *([[[0, 0, 0], [0, 255, 0]], [[0, 0, 102], [255] * 3]], [ON_BLACK]),
        {"lossless": True},
    ),
    "RGBA, opaque": (Image.fromarray(COLOURS).convert("RGBA"), "PNG", 3, COLOURS, []),
    "RGBA, black on nothing": (
        *(Image.frombytes("RGBA", (2, 1), b"\0\0\0\xff\0\0\0\0"), "PNG", 1, [[0, 0]]),
        [f"{ON_BLACK}, which leaves all black", GREY],
    ),
    "CMYK in TIFF": (Image.fromarray(INK, "CMYK"), "TIFF", 3, COLOURS, [CMYK]),
    "CMYK in JPEG": (Image.new("CMYK", (2, 1), (255, 0, 255, 0)), "JPEG", 3, [[[0, 255, 0]] * 2], [CMYK]),
    "YCbCr in TIFF": (
        *(Image.new("YCbCr", (2, 1), (128, 128, 128)), "TIFF", 3, [[[128] * 3] * 2]),
        ["YCbCr converted to RGB"],
    ),
    "I;16": (deep("I;16", 0, 1, 32768, 65535), "PNG", 1, [[0, 1 / 257, 32768 / 257, 255]], [DEEP]),
    "I;16 to colour": (deep("I;16", 65535, 0), "PNG", 3, [[[255] * 3, [0] * 3]], [DEEP, REPEATED]),
    "I;16 in TIFF": (deep("I;16", 0, 32768, 65535), "TIFF", 1, [[0, 32768 / 257, 255]], [DEEP]),
    "I;16B in TIFF": (deep("I;16B", 0, 32768, 65535), "TIFF", 1, [[0, 32768 / 257, 255]], [DEEP]),
    "I in PPM": (deep("I;16", 0, 32768, 65535), "PPM", 1, [[0, 32768 / 257, 255]], [DEEP]),
    "I in TIFF": (
        *(Image.fromarray(np.array([[0, 32768, 65535]], np.int32)), "TIFF", 1),
        *([[0, 32768 / 257, 255]], [DEEP]),
    ),
    "F in TIFF": (Image.fromarray(np.array([[0, 0.2, 1]], np.float32)), "TIFF", 1, [[0, 51, 255]], []),
    "F in PPM": (Image.fromarray(np.array([[0], [0.2], [1]], np.float32)), "PPM", 1, [[0], [51], [255]], []),
}


@pytest.mark.parametrize("case", GOLDEN.values(), ids=GOLDEN)
def test_golden_values_of_every_mode(tmp_path, case):
    image, kind, channels, expected, notes, *options = case
    expected = np.array(expected, np.float64) / 255
    expected = expected[..., None] if channels == 1 else expected
    path = tmp_path / "image"
    path.write_bytes(encoded(image, kind, **(options[0] if options else {})))
    pixels, got = read_image(path, expected.shape)
    np.testing.assert_allclose(pixels, expected, rtol=0, atol=1e-6)
    assert got == notes
    assert pixels.dtype == np.float32
    assert pixels.flags.c_contiguous


def test_16_bit_colour(tmp_path):
    row = np.array([65535, 0, 32768], ">u2").tobytes()
    (tmp_path / "a.png").write_bytes(png(1, 1, 16, 2, zlib.compress(b"\0" + row)))
    pixels, notes = read_image(tmp_path / "a.png", (1, 1, 3))
    np.testing.assert_allclose(pixels, [[[1, 0, 128 / 255]]], atol=1e-6)
    assert notes == ["16-bit colour read as 8-bit"]


def test_16_bit_grey_with_transparency_is_refused(tmp_path):
    key = chunk(b"tRNS", b"\x80\x00")
    (tmp_path / "a.png").write_bytes(png(1, 1, 16, 0, zlib.compress(b"\0\x80\x00"), key))
    assert "16-bit grey with transparency" in refusal(tmp_path / "a.png")


UNKNOWN_WHITE = {
    "12-bit": (tiff(b"\xff\xf0\x00", width=2, t258=12), "mode I;16 whose white is not known"),
    "16-bit, 0 is white": (tiff(b"\xff\xff\x00\x00", width=2, t262=0), "mode I;16 whose white is not known"),
    "LAB": (encoded(Image.new("LAB", (2, 1)), "TIFF"), "mode LAB whose white is not known"),
    "beyond 16 bits": (
        encoded(Image.fromarray(np.array([[0, 65536]], np.int32)), "TIFF"),
        "values from 0 to 65536, outside [0, 65535]",
    ),
    "negative": (
        encoded(Image.fromarray(np.array([[-1, 0]], np.int32)), "TIFF"),
        "values from -1 to 0, outside [0, 65535]",
    ),
    "float": (
        encoded(Image.fromarray(np.array([[0, 1.5]], np.float32)), "TIFF"),
        "values from 0 to 1.5, outside [0, 1]",
    ),
    "NaN": (
        encoded(Image.fromarray(np.array([[0, np.nan]], np.float32)), "TIFF"),
        "values from nan to nan, outside [0, 1]",
    ),
}


@pytest.mark.parametrize(("data", "reason"), UNKNOWN_WHITE.values(), ids=UNKNOWN_WHITE)
def test_pixels_of_unknown_white_are_refused(tmp_path, data, reason):
    (tmp_path / "a.tif").write_bytes(data)
    assert reason in refusal(tmp_path / "a.tif")


TWELVE_BITS = np.arange(1, 50, 2, dtype=np.uint16).reshape(5, 5) * 64  # 64 to 3136


@pytest.mark.parametrize("kind", ["TIFF", "PNG"])
def test_white_of_one_16_bit_image_is_what_its_set_tells(tmp_path, kind):
    path = tmp_path / "a"
    path.write_bytes(encoded(Image.fromarray(TWELVE_BITS), kind))
    message = refusal(path, (5, 5, 1))
    assert "16-bit values that end at 3136, which may be 10, 12 or 14 bits: white is not known" in message
    for white in (4095, 65535):
        pixels, notes = read_image(path, (5, 5, 1), white)
        np.testing.assert_allclose(pixels[..., 0], TWELVE_BITS / white, rtol=1e-6)
        assert notes == [DEEP]
    with pytest.raises(InputError, match="up to 3136, where the data of this run have white at 1023"):
        read_image(path, (5, 5, 1), 1023)


def test_white_that_the_file_tells(tmp_path):
    """The header of a PGM names the largest value: here 12 bits in two bytes, and 16 bits that are hardly used."""
    for white in (4095, 65535):
        (tmp_path / "a.pgm").write_bytes(b"P5 5 5 %d\n" % white + TWELVE_BITS.astype(">u2").tobytes())
        pixels, notes = read_image(tmp_path / "a.pgm", (5, 5, 1))
        np.testing.assert_allclose(pixels[..., 0], TWELVE_BITS / white, atol=1e-5)
        assert notes == [DEEP]


def test_refusals_name_a_way_that_keeps_the_values(tmp_path):
    negative = Image.fromarray(np.array([[-284, 292]], np.float32))
    for image, options, remedy in (
        (negative, {}, "(value - lowest) / (highest - lowest) over all of them"),
        (FRAMES[0], {"save_all": True, "append_images": FRAMES[1:]}, "all as one .npy array (n, height, width)"),
        (Image.fromarray(TWELVE_BITS), {}, "save floats in [0, 1] in a .npy file"),
    ):
        (tmp_path / "a.tif").write_bytes(encoded(image, "TIFF", **options))
        with pytest.raises(InputError) as caught:
            read_image(tmp_path / "a.tif", (2, 2, 1))
        assert remedy in caught.value.hint and "8-bit" not in caught.value.hint


def test_16_bit_tiff_of_the_same_make_is_read(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(b"\xff\xff\x00\x00", width=2))
    assert read_image(tmp_path / "a.tif", (1, 2, 1))[0].ravel().tolist() == [1, 0]


def test_values_multiplied_by_their_alpha(tmp_path):
    """As `LA in TIFF` above, with the tag that says so."""
    data = encoded(Image.frombytes("LA", (2, 1), b"\x66\x66\x0a\xff"), "TIFF")
    straight, multiplied = (struct.pack("<HHIH", 338, 3, 1, extra) for extra in (2, 1))
    (tmp_path / "a.tif").write_bytes(data.replace(straight, multiplied))
    pixels, notes = read_image(tmp_path / "a.tif", (1, 2, 1))
    np.testing.assert_allclose(pixels * 255, [[[102], [10]]], atol=1e-4)
    assert notes == [ON_BLACK]


UPRIGHT = {  # EXIF orientation: what it does to the stored rows
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored.T, 2),
    8: np.rot90,
}


@pytest.mark.parametrize("mode", ["L", "P", "I;16"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientations(tmp_path, orientation, kind, mode):
    image = Image.fromarray(RAMP)
    if mode == "P":
        image.putpalette(np.repeat(np.arange(256, dtype=np.uint8), 3).tobytes())
    if mode == "I;16":
        image = Image.fromarray(RAMP.astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "a").write_bytes(encoded(image, kind, exif=exif))
    expected = UPRIGHT[orientation](RAMP)
    pixels, notes = read_image(tmp_path / "a", (*expected.shape, 1))
    np.testing.assert_allclose(pixels[..., 0], expected / 255, atol=1e-6)
    assert [note for note in notes if "EXIF" in note] == (
        [f"rotated as its EXIF orientation ({orientation}) says"] if orientation > 1 else []
    )


def test_exif_orientation_of_a_jpeg(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    halves = np.repeat(np.array([[0, 255]], np.uint8), 8, axis=1).repeat(8, axis=0)
    (tmp_path / "a.jpg").write_bytes(encoded(Image.fromarray(halves), "JPEG", exif=exif))
    pixels, notes = read_image(tmp_path / "a.jpg", (16, 8, 1))
    assert pixels[:8].max() < 0.1
    assert pixels[8:].min() > 0.9
    assert notes == ["rotated as its EXIF orientation (6) says"]


def test_damaged_exif_is_noted(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 1
    exif[0x010F] = "the maker of the camera"
    (tmp_path / "a.jpg").write_bytes(encoded(grey([9]), "JPEG", exif=exif.tobytes()[:-12]))
    notes = read_image(tmp_path / "a.jpg", (1, 1, 1))[1]
    assert notes == ["decoder warns: Truncated File Read"]


FRAMES = [grey([value, 0], [0, value]) for value in (10, 200, 90)]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
def test_several_frames_are_refused(tmp_path, kind):
    path = tmp_path / "a"
    path.write_bytes(encoded(FRAMES[0], kind, save_all=True, append_images=FRAMES[1:]))
    assert "3 frames, one image is wanted" in refusal(path)


def test_the_picture_of_a_camera_with_a_preview_behind_it(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(grey([9]), "MPO", save_all=True, append_images=[grey([200])]))
    pixels, notes = read_image(path, (1, 1, 1))
    assert round(pixels.item() * 255) == 9
    assert notes == ["first picture of several taken"]


def test_channels_are_one_or_three(tmp_path):
    with pytest.raises(UsageError, match="1 or 3 channels, not 4"):
        read_image(tmp_path / "a.png", (28, 28, 4))


def test_shrinking_averages_what_it_covers(tmp_path):
    """A fine checkerboard becomes flat grey; without antialiasing it would stay black and white."""
    board = (np.indices((280, 280)).sum(0) % 2 * 255).astype(np.uint8)
    for name, image in (("8", Image.fromarray(board)), ("16", Image.fromarray(board.astype(np.uint16) * 257))):
        (tmp_path / name).write_bytes(encoded(image, "PNG"))
        pixels, notes = read_image(tmp_path / name, (28, 28, 1))
        np.testing.assert_allclose(pixels, 0.5, atol=0.01)
        assert notes[-1] == "resized from 280x280 to 28x28"


@pytest.mark.parametrize("size", [5, 21, 100])
def test_resizing_makes_no_halos(tmp_path, size):
    """A filter with negative lobes overshoots at an edge from 0.25 to 0.75."""
    step = np.where(np.arange(20) < 10, 64, 191).astype(np.uint8)
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(np.tile(step, (20, 1))), "PNG"))
    pixels, _ = read_image(tmp_path / "a.png", (size, size, 1))
    assert pixels.min() * 255 >= 63.9
    assert pixels.max() * 255 <= 191.1


def test_white_stays_white(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(deep("I;16", *[65535] * 77), "PNG"))
    assert read_image(tmp_path / "a.png", (28, 28, 3))[0].max() <= 1


def test_other_proportions_are_fitted_and_filled(tmp_path):
    """A dark digit on light paper, wider than high: nothing is lost, and the paper goes on."""
    paper = np.full((20, 40), 230, np.uint8)
    paper[8:12, 1:39] = 10
    paper[0, :9] = 0
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(paper), "PNG"))
    pixels, notes = read_image(tmp_path / "a.png", (40, 40, 1))
    np.testing.assert_array_equal(pixels[10:30, :, 0], np.float32(paper) / np.float32(255))
    np.testing.assert_array_equal(pixels[:10], np.float32(230 / 255))
    np.testing.assert_array_equal(pixels[30:], np.float32(230 / 255))
    assert notes == ["filled up from 40x20 to 40x40 with the colour of its edge"]


SHAPES = {  # width x height of the file, shape wanted, notes
    "square": ((56, 56), (28, 28, 1), ["resized from 56x56 to 28x28"]),
    "wide": (
        (300, 200),
        (28, 28, 1),
        ["resized from 300x200 to 28x19", "filled up from 28x19 to 28x28 with the colour of its edge"],
    ),
    "same proportions": ((300, 200), (20, 30, 1), ["resized from 300x200 to 30x20"]),
    "nearly the same proportions": ((301, 200), (20, 30, 1), ["resized from 301x200 to 30x20"]),
    "a line": (
        (900, 1),
        (9, 9, 3),
        [
            "resized from 900x1 to 9x1",
            REPEATED,
            "filled up from 9x1 to 9x9 with the colour of its edge",
        ],
    ),
    "small": ((8, 8), (28, 28, 1), ["resized from 8x8 to 28x28"]),
}


@pytest.mark.parametrize(("size", "shape", "notes"), SHAPES.values(), ids=SHAPES)
def test_shape_and_notes(tmp_path, size, shape, notes):
    (tmp_path / "a.png").write_bytes(encoded(Image.new("L", size, 51), "PNG"))
    pixels, got = read_image(tmp_path / "a.png", shape)
    assert pixels.shape == shape
    np.testing.assert_allclose(pixels, 0.2, atol=1e-6)
    assert got == notes


@pytest.mark.parametrize("channels", [1, 3])
def test_written_images_read_back(tmp_path, channels):
    array = NOISE[..., :channels] / np.float32(255)
    write_png(tmp_path / "new" / "a.png", array)
    pixels, notes = read_image(tmp_path / "new" / "a.png", array.shape)
    np.testing.assert_array_equal(pixels, array)
    assert notes == []
    assert os.listdir(tmp_path / "new") == ["a.png"]


def test_written_values_are_rounded_and_clipped(tmp_path):
    write_png(tmp_path / "a.png", np.array([[[-1.0], [0.499 / 255], [0.501 / 255], [2.0], [np.inf]]]))
    assert np.asarray(Image.open(tmp_path / "a.png")).tolist() == [[0, 0, 1, 255, 255]]


def test_what_is_not_an_image_is_not_written(tmp_path):
    for array in (np.zeros((2, 2)), np.zeros((2, 2, 2)), np.full((2, 2, 1), np.nan)):
        with pytest.raises(ValueError, match="an image is"):
            write_png(tmp_path / "a.png", array)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    write_png(path, np.zeros((2, 2, 1)))
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(StorageError):
        write_png(path, np.ones((2, 2, 1)))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.png"]


def test_list_images(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root / "b", root / ".cache", outside):
        folder.mkdir(parents=True)
    seen = ["B.PNG", "a.jpeg", "b/[/foo].png", "b/c.ppm", "b/inside.png", "z.webp"]
    hidden = [".a.png", ".cache/a.png", "b/._c.png", "notes.txt", "png"]
    for name in [*seen, *hidden, "../outside/o.png"]:
        if name != "b/inside.png":
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).touch()
    (root / "b/inside.png").symlink_to(root / "a.jpeg")
    (root / "outside.png").symlink_to(outside / "o.png")
    (root / "broken.png").symlink_to(root / "nothing.png")
    (root / "loop.png").symlink_to(root / "loop.png")
    (root / "folder").symlink_to(outside)
    (root / "again").symlink_to(root / "b")
    (root / "folder.png").mkdir()
    os.mkfifo(root / "pipe.png")
    assert list_images(root) == [root / name for name in seen]
    (tmp_path / "link").symlink_to(root)
    assert len(list_images(tmp_path / "link")) == len(seen)
