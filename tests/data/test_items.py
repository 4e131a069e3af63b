"""Shape and scale: from arrays as people store them to items as models take them."""

import numpy as np
import pytest

from identmetric_cli.data import load_dataset
from identmetric_cli.data.items import as_unit_interval, in_shape, scaled
from identmetric_cli.errors import InputError, UsageError


def refusal(function, *args, **options):
    with pytest.raises(InputError) as caught:
        function(*args, **options)
    assert caught.value.exit_code == 65 and caught.value.hint
    return caught.value.message


def saved(path, array, **members):
    np.savez(path, x=array, **members)
    return str(path)


def whole(data):
    """Items in the order of their source."""
    splits = (data.train, data.validation, data.test)
    order = np.argsort(np.concatenate([split.ids for split in splits]))
    return np.concatenate([split.items for split in splits])[order]


UNIT = {
    "uint8": (np.array([0, 51, 255], np.uint8), [0, 0.2, 1]),
    "uint16": (np.array([0, 13107, 65535], np.uint16), [0, 0.2, 1]),
    "bool": (np.array([False, True]), [0, 1]),
    "float16": (np.array([0, 0.5, 1], np.float16), [0, 0.5, 1]),
    "float64": (np.array([0, 0.2, 1]), [0, 0.2, 1]),
    "one row of a table": (np.asfortranarray([[0, 0.2], [0.4, 1]]), [[0, 0.2], [0.4, 1]]),
}


@pytest.mark.parametrize(("array", "expected"), UNIT.values(), ids=UNIT)
def test_unit_interval(array, expected):
    unit = as_unit_interval(array, "a.npy")
    np.testing.assert_array_equal(unit, np.array(expected, np.float32))
    assert unit.dtype == np.float32
    assert unit.flags.c_contiguous


NOT_UNIT = {
    "0 to 255": (np.array([0.0, 255.0]), "values from 0 to 255,"),
    "normalised": (np.array([-1.0, 1.0]), "values from -1 to 1,"),
    "NaN": (np.array([0.5, np.nan]), "values from nan to nan,"),
    "int64": (np.array([0, 255]), "type int64"),
    "12 bits in 16": (np.array([0, 4095], np.uint16), "16-bit values that end at 4095"),
}


@pytest.mark.parametrize(("array", "reason"), NOT_UNIT.values(), ids=NOT_UNIT)
def test_outside_the_unit_interval(array, reason):
    message = refusal(as_unit_interval, array, "a.npy")
    assert message.startswith("a.npy: ")
    assert reason in message


def test_16_bit_values_are_divided_by_the_white_that_is_known():
    array = np.array([0, 900], np.uint16)
    np.testing.assert_array_equal(as_unit_interval(array, "a", 4095), np.float32([0, 900 / 4095]))
    np.testing.assert_array_equal(as_unit_interval(array, "a", 65535), np.float32([0, 900 / 65535]))
    assert "up to 4096, where the data of this run have white at 4095" in refusal(
        as_unit_interval, np.array([4096], np.uint16), "a", 4095
    )


@pytest.mark.parametrize(
    ("high", "bits", "white"), [(200, 8, 255), (1000, 10, 1023), (3136, 12, 4095), (9000, 14, 16383)]
)
def test_a_set_of_16_bit_images_shows_its_depth(tmp_path, high, bits, white):
    images = np.full((40, 4, 4), 64, np.uint16)
    images[7, 1, 2] = high
    data = load_dataset(saved(tmp_path / "a.npz", images))
    assert data.shape == (4, 4, 1) and data.white == white
    np.testing.assert_array_equal(whole(data)[..., 0], images.astype(np.float32) / np.float32(white))
    assert len(data.warnings) == 1
    assert f"16-bit values end at {high}: taken for {bits} bits, white at {white}" in data.warnings[0]


def test_a_set_that_uses_16_bits_has_white_at_65535_without_a_word(tmp_path):
    images = np.full((40, 4, 4), 64, np.uint16)
    images[7, 1, 2] = 16384
    data = load_dataset(saved(tmp_path / "a.npz", images))
    assert data.white == 65535 and data.warnings == ()
    assert whole(data)[7, 1, 2, 0] == np.float32(16384 / 65535)


def test_8_bit_images_that_end_far_below_white_are_told(tmp_path):
    images = np.full((40, 4, 4), 16, np.uint8)
    data = load_dataset(saved(tmp_path / "a.npz", images))
    assert whole(data).max() == np.float32(16 / 255) and data.white is None
    assert "8-bit values end at 16, far below white (255)" in data.warnings[0]


FLAT = np.random.default_rng(0).integers(0, 256, (40, 64), dtype=np.uint8)


def test_flattened_images_are_read_in_the_shape_that_is_given(tmp_path):
    data = load_dataset(saved(tmp_path / "a.npz", FLAT), image_shape=[8, 8, 1])
    assert data.shape == (8, 8, 1) and data.warnings == ()
    np.testing.assert_allclose(whole(data), FLAT.reshape(40, 8, 8, 1) / 255, atol=1e-7)
    assert data.notes == ("rows of 64 values read as images of 8x8x1 (height, width, channels)",)
    colour = load_dataset(saved(tmp_path / "b.npz", FLAT[:, :48]), image_shape=[4, 4, 3])
    np.testing.assert_allclose(whole(colour)[5, 1, 2], FLAT[5, 18:21] / 255, atol=1e-7)


def test_an_image_shape_that_does_not_fit_is_refused(tmp_path):
    path = saved(tmp_path / "a.npz", FLAT)
    message = refusal(load_dataset, path, image_shape=[8, 9, 1])
    assert "rows of 64 values, but data.image_shape = [8, 9, 1] takes 72" in message
    images = saved(tmp_path / "b.npz", FLAT.reshape(40, 8, 8))
    assert load_dataset(images, image_shape=[8, 8, 1]).shape == (8, 8, 1)
    assert "has shape (40, 8, 8), where items of shape (4, 4, 4)" in refusal(
        load_dataset, images, image_shape=[4, 4, 4]
    )
    with pytest.raises(UsageError, match=r"image_shape is \[28, 28, 1\], but the images of digits are \[8, 8, 1\]"):
        load_dataset("digits", image_shape=[28, 28, 1])


@pytest.mark.parametrize(
    ("array", "shape", "wanted"),
    [
        ((5, 6), (6,), (5, 6)),
        ((6,), (6,), (1, 6)),
        ((5, 8, 8), (8, 8, 1), (5, 8, 8, 1)),
        ((8, 8), (8, 8, 1), (1, 8, 8, 1)),
        ((8, 8, 3), (8, 8, 3), (1, 8, 8, 3)),
        ((5, 192), (8, 8, 3), (5, 8, 8, 3)),
        ((5, 6), None, (5, 6)),
        ((5, 8, 8), None, (5, 8, 8, 1)),
        ((5, 8, 8, 5), None, (5, 8, 8, 5)),
        ((5, 3, 8, 8), (3, 8, 8), (5, 3, 8, 8)),
    ],
)
def test_shapes(array, shape, wanted):
    values = np.arange(np.prod(array)).reshape(array)
    got = in_shape(values, shape, "a.npy")
    assert got.shape == wanted
    np.testing.assert_array_equal(got.ravel(), values.ravel())


@pytest.mark.parametrize(
    ("array", "shape", "reason"),
    [
        ((83,), None, "shape (83,), where rows of several values are wanted"),
        ((2, 2, 2, 2, 2), None, "where rows of several values"),
        ((5, 3, 32, 32), None, "seems to have its channels first"),
        ((5, 3, 32, 32), (32, 32, 3), "where items of shape (32, 32, 3) are wanted"),
        ((5, 7), (6,), "where items of shape (6,) are wanted"),
    ],
)
def test_shapes_that_are_refused(array, shape, reason):
    assert reason in refusal(in_shape, np.zeros(array), shape, "a.npy")


def test_values_too_large_for_single_precision_are_refused_when_read(tmp_path):
    rows = np.random.default_rng(0).normal(size=(40, 6))
    rows[3, 2], rows[5, 1] = -1e15, 1e15
    assert whole(load_dataset(saved(tmp_path / "a.npz", rows))).max() == np.float32(1e15)
    rows[3, 2], rows[5, 1] = -1e25, 2e15
    message = refusal(load_dataset, saved(tmp_path / "a.npz", rows))
    assert "2 of 240 values exceed 1e+15 (the largest 1e+25)" in message
    rows[3, 2] = 1e300
    assert "(the largest 1e+300)" in refusal(scaled, rows, "a.npy")
    most = np.full((2, 3), np.iinfo(np.int64).min)
    assert "6 of 6 values exceed 1e+15" in refusal(scaled, most, "a.npy")


COLUMNS = np.random.default_rng(0).normal(size=(400, 6))
TROUBLE = {
    "unequal": COLUMNS * [1, 1, 1, 1, 1, 0.005],
    "wide": COLUMNS * 1000,
    "far from 0": COLUMNS + 1000,
}


@pytest.mark.parametrize("name", TROUBLE)
def test_columns_on_bad_scales_are_told(tmp_path, name):
    columns = TROUBLE[name]
    data = load_dataset(saved(tmp_path / "a.npz", columns))
    np.testing.assert_array_equal(whole(data), columns.astype(np.float32))
    deviations = data.train.items.std(axis=0, dtype=np.float64)
    assert len(data.warnings) == 1
    assert f"columns go from {deviations.min():.3g} to {deviations.max():.3g}, values from" in data.warnings[0]
    assert "standardise the columns" in data.warnings[0]


def test_columns_on_common_scales_are_not_told(tmp_path):
    standard = COLUMNS * [1, 0.5, 2, 3, 0.1, 0]
    assert load_dataset(saved(tmp_path / "a.npz", standard)).warnings == ()


def test_flattened_images_without_a_shape_are_told(tmp_path):
    data = load_dataset(saved(tmp_path / "a.npz", FLAT))
    np.testing.assert_array_equal(whole(data), FLAT.astype(np.float32))
    assert "values from 0 to 255" in data.warnings[0] and "set data.image_shape = [8, 8, 1]" in data.warnings[0]
