"""Sparse matrices as scipy writes them."""

import numpy as np
import pytest
from scipy import sparse

from identmetric_cli.data import arrays, load_dataset
from identmetric_cli.data import sparse as reader
from identmetric_cli.data.contents import read_contents
from identmetric_cli.errors import InputError

rng = np.random.default_rng(0)
DENSE = np.where(rng.random((40, 6)) < 0.35, rng.normal(size=(40, 6)), 0).astype(np.float32)


def refusal(path):
    with pytest.raises(InputError) as caught:
        read_contents(path)
    assert caught.value.hint and str(path) in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("make", [sparse.coo_array, sparse.coo_matrix])
@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr", "dia"])
def test_every_format_is_read_as_the_matrix_it_is(tmp_path, kind, make, compressed):
    sparse.save_npz(tmp_path / "a.npz", make(DENSE).asformat(kind), compressed=compressed)
    read = read_contents(tmp_path / "a.npz")
    np.testing.assert_array_equal(read.array, DENSE)
    assert read.array.dtype == np.float32 and read.array.flags.c_contiguous
    assert len(read.notes) == 1 and read.notes[0].startswith(f"sparse matrix ({kind}, ")
    assert read.labels.tolist() == [""] * 40


def test_a_sparse_matrix_is_a_data_set(tmp_path):
    sparse.save_npz(tmp_path / "a.npz", sparse.csr_matrix(DENSE))
    data = load_dataset(str(tmp_path / "a.npz"))
    assert data.shape == (6,) and (len(data.train), len(data.validation), len(data.test)) == (32, 4, 4)
    np.testing.assert_array_equal(data.test.items, DENSE[data.test.ids])
    assert data.notes == (f"sparse matrix (csr, {np.count_nonzero(DENSE)} stored values) made dense, shape (40, 6)",)


def test_sizes_are_checked_before_memory_is_taken(tmp_path, monkeypatch):
    sparse.save_npz(tmp_path / "a.npz", sparse.coo_array(([1.0], ([0], [0])), shape=(10**7, 10**7)))
    assert "shape (10000000, 10000000), which takes 800000000000000 bytes" in refusal(tmp_path / "a.npz")
    sparse.save_npz(tmp_path / "a.npz", sparse.csr_array(DENSE))
    monkeypatch.setattr(reader, "MAX_ARRAY_BYTES", DENSE.nbytes)
    assert read_contents(tmp_path / "a.npz").array.shape == DENSE.shape
    monkeypatch.setattr(reader, "MAX_ARRAY_BYTES", DENSE.nbytes - 1)
    assert "more than 959" in refusal(tmp_path / "a.npz")


def members(kind):
    matrix = sparse.coo_array(DENSE).asformat(kind)
    names = {"dia": ["offsets"], "coo": ["row", "col"]}.get(kind, ["indices", "indptr"])
    index = {name: getattr(matrix, name).copy() for name in names}
    return {**index, "format": np.array(kind.encode()), "shape": np.array(matrix.shape), "data": matrix.data.copy()}


def moved(name, at, value):
    def change(held):
        held[name][at] = value

    return change


DAMAGED = {
    "a column too far": ("csr", moved("indices", 3, 6)),
    "a column below 0": ("csc", moved("indices", 3, -1)),
    "a block too far": ("bsr", moved("indices", 0, 99)),
    "rows that end early": ("csr", moved("indptr", -1, 3)),
    "rows that end late": ("csr", moved("indptr", -1, 10**6)),
    "rows out of order": ("csr", moved("indptr", 5, 80)),
    "a row too far": ("coo", moved("row", 0, 40)),
    "another shape": ("csr", moved("shape", 0, 41)),
    "a negative shape": ("csr", moved("shape", slice(None), -6)),
    "the same diagonal twice": ("dia", moved("offsets", 1, -39)),
    "an unknown format": ("csr", lambda held: held.update(format=np.array(b"csx"))),
    "no indices": ("csr", lambda held: held.pop("indices")),
    "NaN": ("csr", moved("data", 0, np.nan)),
    "objects": ("csr", lambda held: held.update(indices=held["indices"].astype(object))),
}


@pytest.mark.parametrize(("kind", "damage"), DAMAGED.values(), ids=DAMAGED)
def test_members_that_do_not_fit_each_other_are_refused(tmp_path, kind, damage):
    held = members(kind)
    np.savez(tmp_path / "a.npz", **held)
    np.testing.assert_array_equal(read_contents(tmp_path / "a.npz").array, DENSE)
    damage(held)
    np.savez(tmp_path / "a.npz", **held)
    refusal(tmp_path / "a.npz")


def test_entries_of_one_place_are_summed_and_their_sum_is_finite(tmp_path):
    for value, total in ((1.5, 3.0), (3e38, None)):
        twice = sparse.coo_array((np.float32([value, value, 1]), ([0, 0, 1], [1, 1, 0])), shape=(2, 2))
        sparse.save_npz(tmp_path / "a.npz", twice)
        if total:
            assert read_contents(tmp_path / "a.npz").array.tolist() == [[0, total], [1, 0]]
        else:
            assert "1 of 4 values are NaN or infinite" in refusal(tmp_path / "a.npz")


def test_the_limit_is_that_of_arrays():
    assert reader.MAX_ARRAY_BYTES == arrays.MAX_ARRAY_BYTES


def test_values_of_a_sparse_array_of_another_make_are_no_items(tmp_path):
    """The package `sparse` writes `data` beside `coords`, without `format`."""
    np.savez(tmp_path / "a.npz", data=np.ones(83), coords=np.zeros((2, 83), int), shape=(40, 6), fill_value=0.0)
    with pytest.raises(InputError, match=r"shape \(83,\), where rows of several values are wanted"):
        load_dataset(str(tmp_path / "a.npz"))
