"""Pairs that users name in CSV files: which rows are read as which pairs, and which are refused."""

import numpy as np
import pytest

from identmetric_cli.errors import InputError
from identmetric_cli.stages.pairs_file import read_pairs
from identmetric_cli.stages.reporter import Reporter


class Heard(Reporter):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


READ = {  # bytes of the file: pairs
    "indices": (b"3,8\n10,59\n", [[3, 8], [10, 59]]),
    "the first row is one of them": (b"0,1\n2,3\n", [[0, 1], [2, 3]]),
    "named items": (b"a,b\ntest:0,test:1\ntest:2,test:3\n", [[0, 1], [2, 3]]),
    "named items without a header": (b"test:0,test:1\n", [[0, 1]]),
    "a and b behind others": (b"run,a,b,length\nr0,test:4,test:2,1.5\n", [[4, 2]]),
    "b before a": (b"b,a\n1,2\n", [[2, 1]]),
    "other names": (b"from,to,note\n1,2,words\n", [[1, 2]]),
    "an index of rows": (b",a,b\n0,5,6\n1,7,8\n", [[5, 6], [7, 8]]),
    "columns behind": (b"1,2,near\n3,4,far\n", [[1, 2], [3, 4]]),
    "Excel": (b"\xef\xbb\xbfa;b\r\n1;2\r\n3;test:4\r\n", [[1, 2], [3, 4]]),
    "Excel without a header": (b"\xef\xbb\xbf1;2\r\n", [[1, 2]]),
    "tabs": (b"a\tb\n1\t2\n", [[1, 2]]),
    "spaces and empty rows": (b"\n a , b \n\n 1 , 2 \n,\n", [[1, 2]]),
    "quotes": (b'"a","b"\n"1","test:2"\n', [[1, 2]]),
    "an item with itself": (b"5,5\n", [[5, 5]]),
}


@pytest.mark.parametrize(("data", "pairs"), READ.values(), ids=READ)
def test_read(tmp_path, data, pairs):
    (tmp_path / "pairs.csv").write_bytes(data)
    heard = Heard()
    read = read_pairs(tmp_path / "pairs.csv", 60, heard)
    assert read.tolist() == pairs and np.issubdtype(read.dtype, np.integer)
    assert heard.notes == []


REFUSED = {  # text of the file: line and cells of the message
    "negative": ("-1,1\n2,3\n", "line 1 has '-1', '1'"),
    "fractions": ("1.0,2\n", "line 1 has '1.0', '2'"),
    "beyond the split": ("a,b\n3,8\n3,60\n", "line 3 has '3', '60'"),
    "a name too far": ("test:60,test:1\n", "line 1 has 'test:60', 'test:1'"),
    "another split": ("a,b\ntrain:1,train:2\n", "line 2 has 'train:1', 'train:2'"),
    "another split in the first row": ("train:1,train:2\n", "line 1 has 'train:1', 'train:2'"),
    "half an item": ("test:0,fish\n", "line 1 has 'test:0', 'fish'"),
    "a number and a word": ("3,fish\n", "line 1 has '3', 'fish'"),
    "words below a header": ("a,b\n\nx,y\n", "line 3 has 'x', 'y'"),
    "one column": ("3\n", "line 1 has '3'"),
    "decimal commas": ("1,5;2,5\n", "not two test items"),
    "beyond 64 bits": ("1,99999999999999999999\n", "line 1 has"),
    "no pairs": ("a,b\n", "no pairs"),
    "nothing": ("", "no pairs"),
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=REFUSED)
def test_refused(tmp_path, text, reason):
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        read_pairs(tmp_path / "pairs.csv", 60)
    assert reason in caught.value.message and caught.value.hint


def test_pairs_that_come_again_are_read_once_and_told(tmp_path):
    rows = [f"r{run},test:{a},test:{b}" for run in range(3) for a, b in ((7, 2), (1, 3))]
    (tmp_path / "pairs.csv").write_text("\n".join(["run,a,b", *rows, "r9,test:2,test:7"]))
    heard = Heard()
    assert read_pairs(tmp_path / "pairs.csv", 60, heard).tolist() == [[7, 2], [1, 3]]
    assert heard.notes == [f"{tmp_path}/pairs.csv: 5 of 7 rows repeat a pair and are left out"]


def test_files_that_are_no_tables(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe1,2")
    for name, reason in (("a.csv", "cannot be read as CSV"), ("b.csv", "No such file")):
        with pytest.raises(InputError, match=reason):
            read_pairs(tmp_path / name, 60)
