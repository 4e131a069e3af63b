"""Which arrays of an archive are its items, and which their labels."""

import numpy as np
import pytest

from identmetric_cli.data.contents import read_contents
from identmetric_cli.errors import InputError

ROWS = np.arange(12.0).reshape(4, 3)
KINDS = np.array(["T", "B", "T", "B"])


def refusal(path):
    with pytest.raises(InputError) as caught:
        read_contents(path)
    assert caught.value.hint and str(path) in caught.value.message
    return caught.value.message


CHOICES = {  # names in the archive, name read or reason
    "the only one": (["latents"], "latents"),
    "x beside labels": (["y", "x"], "x"),
    "capital letters": (["X", "y"], "X"),
    "images": (["images", "labels"], "images"),
    "data": (["a", "data", "b"], "data"),
    "a whole beside a part": (["x", "x_test"], "x"),
    "several": (["a", "b"], "holds 'a', 'b', which does not say"),
    "several known names": (["x", "data"], "holds 'x', 'data', which does not say"),
    "the same part twice": (["x_train", "images_train"], "holds 'x_train', 'images_train', which does not say"),
    "none": ([], "holds no array"),
}


@pytest.mark.parametrize(("names", "result"), CHOICES.values(), ids=CHOICES)
def test_choice_of_items(tmp_path, names, result):
    path = tmp_path / "a.npz"
    np.savez(path, **{name: np.full(2, number) for number, name in enumerate(names)})
    if result in names:
        assert read_contents(path).array.tolist() == [names.index(result)] * 2
    else:
        assert result in refusal(path)


LABELLED = {  # members beside x, labels, notes
    "numbers": ({"y": [7, 8, 7, 8]}, ["7", "8", "7", "8"], ()),
    "a column": ({"y": [[7], [8], [7], [8]]}, ["7", "8", "7", "8"], ()),
    "texts": ({"labels": KINDS}, KINDS.tolist(), ()),
    "byte strings": ({"labels": np.char.encode(["ä", "b", "ä", "b"], "utf-8")}, ["ä", "b", "ä", "b"], ()),
    "y before others": ({"cell_type": KINDS, "y": [1, 2, 3, 4]}, ["1", "2", "3", "4"], ()),
    "another name": ({"cell_type": KINDS}, KINDS.tolist(), ("labels are read from 'cell_type'",)),
    "another name, a column": ({"k": KINDS[:, None]}, KINDS.tolist(), ("labels are read from 'k'",)),
    "whole numbers": ({"cluster": [1, 0, 1, 0]}, ["1", "0", "1", "0"], ("labels are read from 'cluster'",)),
    "beside names of rows": (
        *({"cell_type": KINDS, "barcode": ["a", "b", "c", "d"], "row": [0, 1, 2, 3]}, KINDS.tolist()),
        ("labels are read from 'cell_type'",),
    ),
    "names of rows": ({"barcode": ["a", "b", "c", "d"]}, [""] * 4, ()),
    "fractions": ({"weight": [0.5, 0.5, 1, 1]}, [""] * 4, ()),
    "names of columns": ({"genes": ["g", "g", "h"]}, [""] * 4, ()),
    "nothing": ({}, [""] * 4, ()),
}


@pytest.mark.parametrize(("members", "labels", "notes"), LABELLED.values(), ids=LABELLED)
def test_labels(tmp_path, members, labels, notes):
    np.savez(tmp_path / "a.npz", x=ROWS, **members)
    read = read_contents(tmp_path / "a.npz")
    np.testing.assert_array_equal(read.array, ROWS)
    assert read.labels.tolist() == labels
    assert read.notes == notes
    assert read.warnings == ()


def test_several_arrays_that_could_be_labels_are_named_and_left(tmp_path):
    np.savez(tmp_path / "a.npz", x=ROWS, cell_type=KINDS, batch=[1, 1, 2, 2])
    read = read_contents(tmp_path / "a.npz")
    assert read.labels.tolist() == [""] * 4
    assert read.warnings == ("no labels are read: 'cell_type', 'batch' could be, so name one of them y or labels",)


def test_a_single_array_has_no_labels(tmp_path):
    np.save(tmp_path / "a.npy", ROWS)
    assert read_contents(tmp_path / "a.npy").labels.tolist() == [""] * 4


@pytest.mark.parametrize("name", ["y", "cell_type"])
def test_items_beside_pickled_labels_are_read_without_them(tmp_path, name):
    np.savez(tmp_path / "a.npz", x=ROWS, **{name: KINDS.astype(object)})
    read = read_contents(tmp_path / "a.npz")
    np.testing.assert_array_equal(read.array, ROWS)
    assert read.labels.tolist() == [""] * 4
    assert read.warnings == (
        f"no labels are read: '{name}' holds Python objects, which are never loaded; save it as {name}.astype(str)",
    )


def test_labels_that_are_not_one_a_row(tmp_path):
    for labels in ([1, 2, 3], np.eye(4, 2)):
        np.savez(tmp_path / "a.npz", x=ROWS, y=labels)
        assert f"labels of shape {np.shape(labels)} for 4 rows" in refusal(tmp_path / "a.npz")


def test_labels_of_unknown_bytes(tmp_path):
    np.savez(tmp_path / "a.npz", x=ROWS, y=np.char.encode(["ä"] * 4, "latin-1"))
    assert "labels in 'y' are bytes that are not UTF-8" in refusal(tmp_path / "a.npz")


JOINED = {
    "keras": ("x_{}", "y_{}", ("train", "test")),
    "the other way round, in three parts": ("{}_images", "{}_labels", ("train", "val", "test")),
}


@pytest.mark.parametrize(("items", "labels", "parts"), JOINED.values(), ids=JOINED)
def test_parts_are_joined(tmp_path, items, labels, parts):
    members = {}
    for number, part in enumerate(parts):
        members[items.format(part)] = np.full((3 - number, 8, 8), number, np.uint8)
    for number, part in reversed(list(enumerate(parts))):
        members[labels.format(part)] = np.full((3 - number, 1), number)
    np.savez(tmp_path / "a.npz", **members)
    read = read_contents(tmp_path / "a.npz")
    expected = np.repeat(range(len(parts)), [3, 2, 1][: len(parts)])
    assert read.array.shape == (len(expected), 8, 8) and read.array.dtype == np.uint8
    assert read.array[:, 0, 0].tolist() == expected.tolist()
    assert read.labels.tolist() == expected.astype(str).tolist()
    names = " and ".join(items.format(part) for part in parts)
    sizes = {2: "3 + 2", 3: "3 + 2 + 1"}[len(parts)]
    assert read.notes == (f"{names} joined ({sizes} rows): splits are drawn anew by data.split_seed",)


def test_parts_of_which_one_has_no_labels(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=ROWS, y_train=KINDS, x_test=ROWS)
    read = read_contents(tmp_path / "a.npz")
    assert read.array.shape == (8, 3) and set(read.labels) == {""}
    assert read.warnings == ("no labels are read: there are none for x_test",)


def test_parts_that_do_not_fit_each_other(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=ROWS, x_test=ROWS[:, :2])
    assert "x_train (4, 3), x_test (4, 2)" in refusal(tmp_path / "a.npz")


def test_masked_values_are_not_read_as_values(tmp_path):
    mask = np.zeros(ROWS.shape, bool)
    np.savez(tmp_path / "a.npz", data=ROWS, mask=mask)
    np.testing.assert_array_equal(read_contents(tmp_path / "a.npz").array, ROWS)
    mask[1:3, 0] = True
    np.savez(tmp_path / "a.npz", data=ROWS, mask=mask)
    assert "'mask' hides 2 values" in refusal(tmp_path / "a.npz")
