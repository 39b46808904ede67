"""What a LETOR file loses when its numbers are read as float32: said for columns where values merge."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from lambdamart_kit.core.precision import warn_of_merged_values
from lambdamart_kit.core.rows import is_sparse
from lambdamart_kit.core.typing import Array, Features, FloatArray, IndexArray
from lambdamart_kit.datasets.letor.text_file import Text

if TYPE_CHECKING:
    from lambdamart_kit.datasets.letor.reading import ReadOptions

_LOOKED_AT = 20_000  # rows of the arrays
_FIRST_LOOK = 128  # of these, which show of most dense columns that they are wide
_WHOLE_UP_TO = 2**24  # float32 holds every whole number up to here
# n random values merge with others in one case of a hundred where float32 has 50 n numbers between the least
# and the greatest: two fall on the same of c numbers in n / (2 c) of the cases.
_CELLS = 50
_PADDING = re.compile(rb" 0+(?=\d+:)")  # before the number of a feature
_REMEDY = "subtract the column's smallest value, or keep the rows in a table, such as .parquet"


def warn_of_rounding(text: Text, X: Features, options: ReadOptions) -> None:
    """Warn of the columns of X whose values the text tells apart and float32 does not.

    The arrays say which columns are worth a look: those that span few float32 numbers. Only these are read
    once more, as float64, from the first 512 KiB of the text; most files have none.

    Parameters
    ----------
    text : Text
        Where `X` was read from.
    X : (n_samples, n_features) float32 array or CSR matrix
    options : ReadOptions
    """
    columns = _narrow_columns(X)
    if len(columns):
        doubles = _read_columns(text, columns + (not options.zero_based))
        names = [str(column + (not options.zero_based)) for column in columns]
        warn_of_merged_values(doubles, names, f"{text.path}: LETOR", remedy=_REMEDY)


def _narrow_columns(X: Features) -> IndexArray:
    """Columns that span so few float32 numbers that values may have merged in more than one case of 100."""
    rows = X[:: _step(X.shape[0], _LOOKED_AT)]
    enough = _CELLS * rows.shape[0]
    if is_sparse(rows):
        columns, high, low = _sparse_spans(rows)
    else:
        # More rows widen the span, and the spacing of float32 at most twice as much: what is wide by a factor
        # of two in a few rows is wide.
        few = _dense_spans(rows[:: _step(rows.shape[0], _FIRST_LOOK)])
        columns = np.flatnonzero(~(_n_cells(*few) >= 2 * enough))
        high, low = _dense_spans(rows[:, columns])
    largest = np.maximum(np.abs(high), np.abs(low))
    is_small_count = (largest < _WHOLE_UP_TO) & (high == np.floor(high)) & (low == np.floor(low))
    return columns[~is_small_count & (_n_cells(high, low) < enough)].astype(np.intp)


def _step(n_rows: int, wanted: int) -> int:
    return max(1, -(-n_rows // wanted))


def _n_cells(high: Array, low: Array) -> FloatArray:
    """How many float32 numbers stand between two, at the spacing of the larger; NaN where they are NaN."""
    with np.errstate(invalid="ignore", over="ignore"):
        cells: FloatArray = (high.astype(np.float64) - low) / np.spacing(
            np.maximum(np.abs(high), np.abs(low))
        )
    return cells


# Zeros are absent values, most often, and say nothing of how close together the others are.
def _dense_spans(rows: Array) -> tuple[Array, Array]:
    """Greatest and least number of each column but 0; NaN if there is none."""
    known = np.where(rows == 0, np.float32(np.nan), rows)
    return np.fmax.reduce(known, axis=0), np.fmin.reduce(known, axis=0)


def _sparse_spans(rows: Any) -> tuple[IndexArray, Array, Array]:
    """The columns with entries, and the greatest and least number of each but 0."""
    columns, place = np.unique(rows.indices, return_inverse=True)
    high = np.full(len(columns), -np.inf, dtype=np.float32)
    low = np.full(len(columns), np.inf, dtype=np.float32)
    known = np.where(rows.data == 0, np.float32(np.nan), rows.data)
    np.fmax.at(high, place, known)
    np.fmin.at(low, place, known)
    return columns, high, low


def _read_columns(text: Text, numbers: IndexArray) -> Features:
    """These features of the rows at the start of the text, (n_rows, n_columns) float64; 0 where absent."""
    cuts = text.cuts()
    content = text.read(cuts[0], cuts[1]).tobytes().replace(b"\t", b" ").replace(b"\r", b" ")
    if content.count(b" 0") > content.count(b" 0:"):
        content = _PADDING.sub(b" ", content)
    lines = content.split(b"\n")
    rows = np.zeros((len(lines), len(numbers)))
    starts = [b" %d:" % number for number in numbers]
    # Looking for a few numbers in a line is several times as fast as taking every entry of it apart.
    for row, line in zip(rows, lines):
        entries = line.partition(b"#")[0] + b" "
        for at, start in enumerate(starts):
            begin = entries.find(start)
            if begin >= 0:
                begin += len(start)
                row[at] = float(entries[begin : entries.index(b" ", begin)])
    return rows
