"""Pairs that a user names in a CSV file: ours (`cv.csv`, `pairs.csv`, `geodesics.csv`) or one of their own."""

import csv
import io
import re
from pathlib import Path

import numpy as np

from identmetric_cli.errors import InputError
from identmetric_cli.stages.reporter import SILENT, Reporter

_ITEM = re.compile(r"(?:test:)?([0-9]{1,9})")
_NAMES = ("a", "b")
_SEPARATORS = ",;\t"


def read_pairs(path: Path, size: int, reporter: Reporter = SILENT) -> np.ndarray:
    """Pairs of different rows of the file as test indices below `size`, (pairs, 2), in its order.

    Cells are `17` or `test:17`, separated by commas, semicolons or tabs. A first row of names is a header: its
    columns `a` and `b` are read, else the first two. A pair that comes again, in either direction, is left out with a
    note. Raises InputError naming the line that holds no such pair.
    """
    rows = _rows(path)
    columns = (0, 1)
    if rows and not any(_is_value(cell) for cell in rows[0][1]):
        header = [cell.lower() for cell in rows.pop(0)[1]]
        if set(header).issuperset(_NAMES):
            columns = tuple(map(header.index, _NAMES))
    pairs, repeated = {}, 0
    for line, cells in rows:
        named = [cells[column] for column in columns if column < len(cells)]
        found = [_ITEM.fullmatch(cell) for cell in named]
        pair = tuple(int(match[1]) for match in found if match)
        if len(pair) != 2 or max(pair) >= size:
            raise InputError(
                f"{path}: line {line} has {', '.join(map(repr, named)) or 'no cells'}, "
                f"not two test items from 0 to {size - 1}",
                "name items of the test split, as 17 or as test:17",
            )
        repeated += frozenset(pair) in pairs
        pairs.setdefault(frozenset(pair), pair)
    if not pairs:
        raise InputError(f"{path}: no pairs", "give two test items a row, e.g. 0,1")
    if repeated:
        reporter.note(f"{path}: {repeated} of {len(rows)} rows repeat a pair and are left out")
    return np.array(list(pairs.values()))


def _rows(path: Path) -> list[tuple[int, list[str]]]:
    """Line numbers and stripped cells of the rows that are not empty."""
    try:
        # Excel writes a byte-order mark, and semicolons where commas are decimal.
        text = path.read_text(encoding="utf-8-sig")
        first = next((line for line in text.splitlines() if line.strip()), "")
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(_SEPARATORS, key=first.count))
        rows = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})", "check the path") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV ({error})", "save it as CSV in UTF-8") from error
    return [row for row in rows if any(row[1])]


def _is_value(cell: str) -> bool:
    """Whether a cell is an item or a number, and so no name of a column."""
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return re.fullmatch(r"\w+:[0-9]+", cell) is not None
    return True
