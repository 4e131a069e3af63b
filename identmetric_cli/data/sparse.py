"""Sparse matrices as `scipy.sparse.save_npz` writes them, made dense.

Their archive has a member `data` that holds the stored values alone: taken for items, it would be a column of
numbers. The index arrays are claims like a header, and are checked before they lead anywhere.
"""

import math

import numpy as np
from scipy import sparse

from identmetric_cli.data.arrays import MAX_ARRAY_BYTES, Archive, require_finite
from identmetric_cli.errors import InputError

_MEMBERS = {"format", "shape", "data"}
_COMPRESSED = {"csr": sparse.csr_array, "csc": sparse.csc_array, "bsr": sparse.bsr_array}


def is_sparse(archive: Archive) -> bool:
    """Whether an archive has the members of a sparse matrix."""
    return _MEMBERS.issubset(archive.names)


def read_dense(archive: Archive) -> tuple[np.ndarray, str]:
    """The whole matrix, zeros included, and a note on it; raises InputError: damaged, inconsistent, over 8 GiB."""
    kind = archive.read("format", text=True).item()
    kind = kind.decode("ascii") if isinstance(kind, bytes) else str(kind)
    data, shape = archive.read("data"), tuple(archive.read("shape").tolist())
    size = math.prod(shape) * data.dtype.itemsize
    if size > MAX_ARRAY_BYTES:
        what = f"a sparse matrix of shape {shape}, which takes {size} bytes when dense, more than {MAX_ARRAY_BYTES}"
        raise InputError(f"{archive.path}: {what}", "keep fewer columns or rows, or reduce its dimension first")
    try:
        matrix = _matrix(archive, kind, data, shape)
    except (ValueError, IndexError, KeyError) as error:
        raise InputError(
            f"{archive.path}: a sparse matrix ({kind}) whose members do not fit each other ({error})",
            "write it again with scipy.sparse.save_npz",
        ) from error
    dense = np.ascontiguousarray(matrix.toarray())
    require_finite(dense, archive.path)
    return dense, f"sparse matrix ({kind}, {matrix.nnz} stored values) made dense, shape {dense.shape}"


def _matrix(archive: Archive, kind: str, data: np.ndarray, shape: tuple[int, ...]) -> sparse.sparray:
    if kind in _COMPRESSED:
        matrix = _COMPRESSED[kind]((data, archive.read("indices"), archive.read("indptr")), shape=shape)
        matrix.check_format(full_check=True)
        return matrix
    if kind == "dia":
        return sparse.dia_array((data, archive.read("offsets")), shape=shape)
    if kind == "coo":
        names = ("coords",) if "coords" in archive.names else ("row", "col")
        indices = np.vstack([archive.read(name) for name in names])
        return sparse.coo_array((data, tuple(indices)), shape=shape)
    raise ValueError("csr, csc, coo, bsr and dia are read")
