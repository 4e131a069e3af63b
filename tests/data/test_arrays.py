"""Arrays that are read, and files that are refused with their name and a reason."""

import io
import os
import tracemalloc
import warnings
import zipfile
import zlib

import numpy as np
import pytest

from identmetric_cli.data import arrays
from identmetric_cli.data.contents import read_contents
from identmetric_cli.errors import InputError

GRID = np.arange(6).reshape(2, 3)


def read_array(path):
    return read_contents(path).array


def npy_bytes(array, **options):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asanyarray(array), **options)
    return stream.getvalue()


def header_bytes(shape, descr="<f4"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"shape": shape, "fortran_order": False, "descr": descr})
    return stream.getvalue()


def write_zip(path, members, method=zipfile.ZIP_DEFLATED):
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as archive:
        warnings.simplefilter("ignore")  # of duplicate names
        for name, data in members:
            archive.writestr(name, data)


def refusal(function, *args):
    with pytest.raises(InputError) as caught:
        function(*args)
    assert caught.value.exit_code == 65
    assert caught.value.hint
    return caught.value.message


@pytest.mark.parametrize("dtype", [*"?BbHhIiQqefd", ">u2", ">i8", ">f4", ">f8"])
def test_reads_every_number_type_alike_from_npy_and_npz(tmp_path, dtype):
    array = GRID.astype(dtype)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", array)
    np.savez_compressed(tmp_path / "b.npz", array)
    for name in ("a.npy", "a.npz", "b.npz"):
        read = read_array(tmp_path / name)
        np.testing.assert_array_equal(read, array)
        assert read.dtype == array.dtype.newbyteorder("=")
        assert read.dtype.isnative


def test_fortran_order_comes_back_c_contiguous(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.asfortranarray(GRID))
    read = read_array(path)
    np.testing.assert_array_equal(read, GRID)
    assert read.flags.c_contiguous


def test_format_version_2(tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(npy_bytes(GRID, version=(2, 0)))
    np.testing.assert_array_equal(read_array(path), GRID)


def test_header_of_python_2_without_a_warning(tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(npy_bytes(GRID).replace(b"(2, 3), } ", b"(2L, 3), }"))
    np.testing.assert_array_equal(read_array(path), GRID)


def structured():
    return np.zeros(3, [("a", "f4"), ("b", "i4")])


REFUSED_VALUES = {
    "complex": (np.ones(3, complex), "values of type complex128"),
    "text": (np.array(["a", "b"]), "values of type <U1"),
    "bytes": (np.array([b"a"]), "values of type |S1"),
    "dates": (np.zeros(2, "M8[s]"), "values of type datetime64[s]"),
    "structured": (structured(), "values of type [('a', '<f4')"),
    "structured with unicode": (np.zeros(2, [("名", "f4")]), ".npy format 3.0 is not read"),
    "long double": (np.ones(2, np.longdouble), f"values of type {np.dtype(np.longdouble)}"),
    "0-d": (np.array(1.0), "a single value without axes"),
    "empty": (np.zeros((0, 28, 28)), "no values, shape (0, 28, 28)"),
    "NaN": (np.array([1.0, np.nan, 2.0]), "1 of 3 values are NaN or infinite"),
    "infinity": (np.array([1.0, np.inf]), "1 of 2 values are NaN or infinite"),
    "infinities": (np.array([[np.inf, -np.inf]], np.float16), "2 of 2 values are NaN or infinite"),
}


@pytest.mark.filterwarnings("ignore:Stored array in format 3.0")
@pytest.mark.parametrize(("array", "reason"), REFUSED_VALUES.values(), ids=REFUSED_VALUES)
def test_refused_values_name_file_and_reason(tmp_path, array, reason):
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", z=array)
    for name, where in (("a.npy", "a.npy: "), ("a.npz", "a.npz: 'z.npy': ")):
        message = refusal(read_array, tmp_path / name)
        assert f"{where}{reason}" in message


class Canary:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_pickles_are_not_run(tmp_path):
    canary = tmp_path / "canary"
    array = np.array([Canary(canary)], dtype=object)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", array)
    (tmp_path / "raw.npy").write_bytes((tmp_path / "a.npy").read_bytes()[len(header_bytes((1,), "|O")) :])
    for name in ("a.npy", "a.npz", "raw.npy"):
        refusal(read_array, tmp_path / name)
        assert b"mkdir" in (tmp_path / name).read_bytes()
    assert not canary.exists()


def test_pickles_are_refused_below_the_check_of_types(tmp_path, monkeypatch):
    """If object arrays ever passed for numbers, numpy would still not unpickle them."""
    monkeypatch.setattr(arrays, "NUMBERS", {"O"})
    (tmp_path / "a.npy").write_bytes(header_bytes((1,), "|O") + b"8 bytes.")
    assert "allow_pickle=False" in refusal(read_array, tmp_path / "a.npy")


DAMAGED = {
    "trailing bytes": (lambda good: good + b"\0", "take 140 bytes, the file has 141"),
    "cut by 1": (lambda good: good[:-1], "take 140 bytes, the file has 139"),
    "cut in half": (lambda good: good[: len(good) // 2], "cannot be read as an array"),
    "no bytes": (lambda good: b"", "cannot be read as an array"),
    "text": (lambda good: b"1,2,3\n", "cannot be read as an array"),
    "4 TB claimed": (lambda good: header_bytes((10**12,)) + bytes(12), "more than 8589934592 bytes"),
    "1 GB claimed": (lambda good: header_bytes((250_000_000,)) + bytes(12), "take 1000000128 bytes"),
    "negative axes": (lambda good: header_bytes((-3, -1)) + bytes(12), "no values, shape (-3, -1)"),
    "claim beyond 64 bits": (lambda good: header_bytes((2**32, 2**32)), "more than 8589934592 bytes"),
    "unknown version": (lambda good: b"\x93NUMPY\x09\x00" + good[8:], ".npy format 9.0 is not read"),
    "code in the header": (lambda good: good.replace(b"'descr'", b"exit(0)"), "cannot be read as an array"),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_files_are_refused_before_memory_is_taken(tmp_path, damage, reason):
    path = tmp_path / "a.npy"
    path.write_bytes(damage(npy_bytes(np.ones(3, np.float32))))
    write_zip(tmp_path / "a.npz", [("x.npy", path.read_bytes())])
    for name in ("a.npy", "a.npz"):
        tracemalloc.start()
        message = refusal(read_array, tmp_path / name)
        assert tracemalloc.get_traced_memory()[1] < 2**20
        tracemalloc.stop()
        assert message.startswith(f"{tmp_path / name}: ")
        assert reason in message


def test_npz_bomb_is_refused_before_memory_is_taken(tmp_path, monkeypatch):
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, x=np.zeros(4 * 2**20, np.uint8))
    assert path.stat().st_size < 10_000
    assert read_array(path).nbytes == 4 * 2**20
    monkeypatch.setattr(arrays, "MAX_ARRAY_BYTES", 2**20)
    tracemalloc.start()
    assert "more than 1048576 bytes" in refusal(read_array, path)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_sizes_that_compression_cannot_reach_are_refused(tmp_path):
    """The header and the archive's directory agree on 1 GB; the compressed bytes cannot expand to it."""
    path, size = tmp_path / "a.npz", 1_000_000_128
    write_zip(path, [("x.npy", header_bytes((250_000_000,)))])
    data = path.read_bytes()
    directory = data.rindex(b"PK\x01\x02")
    path.write_bytes(data[: directory + 24] + size.to_bytes(4, "little") + data[directory + 28 :])
    tracemalloc.start()
    assert "1000000128 bytes cannot come from" in refusal(read_array, path)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_flipped_bits_in_an_archive_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros(1000, np.uint8))
    good = path.read_bytes()
    for position in (1, 500, 1000):
        at = good.rindex(b"PK\x01\x02") - position
        path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        assert "CRC" in refusal(read_array, path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(tmp_path, method):
    write_zip(tmp_path / "a.npz", [("x.npy", npy_bytes(GRID))], method)
    assert "only deflate is read" in refusal(read_array, tmp_path / "a.npz")


def test_duplicate_members_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    write_zip(path, [("x.npy", npy_bytes(GRID)), ("y.npy", npy_bytes(GRID)), ("x.npy", npy_bytes(GRID + 1))])
    assert "holds 'x.npy' 2 times" in refusal(read_array, path)


def test_archives_with_a_damaged_end_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, GRID)
    good = path.read_bytes()
    for data in (good + b"\0", good[:-1], good[:200]):
        path.write_bytes(data)
        assert "cut off, or has bytes after its end" in refusal(read_array, path)


def test_member_names_are_keys_and_not_paths(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    write_zip(folder / "a.npz", [("../../escaped.npy", npy_bytes(GRID)), ("readme.txt", "words")])
    np.testing.assert_array_equal(read_array(folder / "a.npz"), GRID)
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "a.npz"]


def test_paths_that_are_not_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.npy")
    assert "no such file" in refusal(read_array, tmp_path / "[/foo].npy")
    assert "a folder, where an array is wanted" in refusal(read_array, tmp_path)
    assert "not a regular file" in refusal(read_array, tmp_path / "pipe.npy")
    assert "(File name too long)" in refusal(read_array, tmp_path / ("long" * 100))


def test_any_bytes_end_in_a_typed_error(tmp_path):
    """Seeded damage to valid files: an array or an InputError, nothing else."""
    rng = np.random.default_rng(0)
    npz = io.BytesIO()
    np.savez_compressed(npz, x=GRID, y=np.arange(2))
    path = tmp_path / "a"
    for good in (npy_bytes(GRID), npz.getvalue()):
        for _ in range(300):
            data = bytearray(good[: rng.integers(1, len(good) + 1)] if rng.random() < 0.3 else good)
            for at in rng.integers(0, len(data), rng.integers(1, 4)):
                data[at] = rng.integers(0, 256)
            path.write_bytes(data)
            try:
                read_contents(path)
            except InputError as error:
                assert str(path) in error.message


def test_deflate_does_not_expand_more_than_the_table_says():
    packed = zlib.compress(bytes(2**22), 9)
    assert 2**22 / len(packed) < arrays._EXPANSION[zipfile.ZIP_DEFLATED]
