"""Folders of images: one shape and one white for all, and what is told of them."""

import numpy as np
import pytest
from pictures import encoded, grey
from PIL import Image

from identmetric_cli.data import folder, load_dataset
from identmetric_cli.data.images import read_header, write_png
from identmetric_cli.errors import InputError, UsageError

SHAPE = (8, 6, 1)


def filled(path, count=20, shape=SHAPE):
    images = np.random.default_rng(0).integers(0, 256, (count, *shape)) / 255
    for i, image in enumerate(images):
        write_png(path / f"class{i % 2}" / f"{i:03}.png", image)
    return images


def test_shape_is_that_which_all_images_have(tmp_path):
    images = filled(tmp_path)
    data = load_dataset(str(tmp_path))
    assert data.shape == SHAPE and data.notes == data.warnings == () and data.white is None
    read = folder.read(tmp_path, None)
    np.testing.assert_allclose(read.items, np.concatenate([images[::2], images[1::2]]), atol=1e-6)
    assert read.labels.tolist() == ["class0"] * 10 + ["class1"] * 10


def test_images_that_differ_are_listed_and_a_shape_proposed(tmp_path):
    filled(tmp_path, 3)
    write_png(tmp_path / "colour.png", np.zeros((8, 6, 3)))
    write_png(tmp_path / "large.png", np.zeros((9, 6, 1)))
    with pytest.raises(UsageError) as caught:
        load_dataset(str(tmp_path))
    assert "3 of 8x6x1, 1 of 8x6x3, 1 of 9x6x1" in caught.value.message
    assert "data.image_shape = [8, 6, 1] (--image-shape 8,6,1)" in caught.value.hint


def test_what_is_done_to_images_is_counted(tmp_path):
    filled(tmp_path, 3)
    write_png(tmp_path / "colour.png", np.zeros((16, 12, 3)))
    assert folder.read(tmp_path, SHAPE).notes == (
        "1 of 4 images: colour converted to grey",
        "1 of 4 images: resized from 12x16 to 6x8",
    )


def test_headers_tell_the_shape_of_the_upright_image(tmp_path):
    exif = Image.Exif()
    for orientation, shape in ((1, (2, 3, 1)), (3, (2, 3, 1)), (6, (3, 2, 1))):
        exif[0x0112] = orientation
        (tmp_path / "a.png").write_bytes(encoded(grey([1, 2, 3], [4, 5, 6]), "PNG", exif=exif))
        assert read_header(tmp_path / "a.png") == (shape, False)
    (tmp_path / "a.tif").write_bytes(encoded(Image.fromarray(np.ones((2, 3), np.uint16)), "TIFF"))
    assert read_header(tmp_path / "a.tif") == ((2, 3, 1), True)
    (tmp_path / "a.png").write_bytes(encoded(grey([1, 2, 3]).convert("P"), "PNG"))
    assert read_header(tmp_path / "a.png") == ((1, 3, 3), False)


def deep(path, *values):
    pixels = np.tile(np.array(values, np.uint16)[:, None], (1, 4))
    path.write_bytes(encoded(Image.fromarray(pixels), "TIFF"))


def test_16_bit_images_have_one_white(tmp_path):
    """The darker image alone would pass for 10 bits."""
    deep(tmp_path / "a.tif", 64, 900)
    deep(tmp_path / "b.tif", 64, 3136)
    read = folder.read(tmp_path, None)
    assert read.white == 4095
    np.testing.assert_allclose(read.items[:, :, 0, 0], np.array([[64, 900], [64, 3136]]) / 4095, rtol=1e-6)
    assert read.notes == ("2 of 2 images: 16-bit scaled to [0, 1]",)
    assert len(read.warnings) == 1
    assert "16-bit values end at 3136: taken for 12 bits, white at 4095" in read.warnings[0]
    deep(tmp_path / "c.tif", 0, 65535)
    read = folder.read(tmp_path, None)
    assert read.white == 65535 and read.warnings == ()
    np.testing.assert_allclose(read.items[1, :, 0, 0], np.array([64, 3136]) / 65535, rtol=1e-6)


def test_images_of_8_bits_beside_those_of_16_keep_their_own_white(tmp_path):
    deep(tmp_path / "a.tif", 64, 3136)
    write_png(tmp_path / "b.png", np.full((2, 4, 1), 0.2))
    read = folder.read(tmp_path, None)
    np.testing.assert_allclose(read.items[:, :, 0, 0], [[64 / 4095, 3136 / 4095], [0.2, 0.2]], rtol=1e-6)


def test_folders_that_take_too_much_memory_are_refused(tmp_path, monkeypatch):
    filled(tmp_path, 3)
    size = 3 * 8 * 6 * 4
    monkeypatch.setattr(folder, "MAX_ARRAY_BYTES", size)
    assert folder.read(tmp_path, None).items.nbytes == size
    monkeypatch.setattr(folder, "MAX_ARRAY_BYTES", size - 1)
    with pytest.raises(InputError, match="3 images of 8x6x1 take 576 bytes, more than 575"):
        folder.read(tmp_path, None)


def test_an_empty_folder_and_a_damaged_image(tmp_path):
    with pytest.raises(InputError, match="no images"):
        load_dataset(str(tmp_path))
    filled(tmp_path, 3)
    (tmp_path / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(InputError, match=r"damaged\.png"):
        load_dataset(str(tmp_path), image_shape=SHAPE)
