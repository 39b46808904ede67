"""What a LETOR file loses when its numbers are read as float32: said for columns where values merge."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from lambdamart_kit.core.precision import warn_of_merged_values
from lambdamart_kit.core.rows import is_sparse
from lambdamart_kit.core.typing import Features, IndexArray
from lambdamart_kit.datasets.letor.text_file import Text

if TYPE_CHECKING:
    from lambdamart_kit.datasets.letor.reading import ReadOptions

_LOOKED_AT = 20_000  # rows of the arrays
_WHOLE_UP_TO = 2**24  # float32 holds every whole number up to here
# n random values merge with others in one case of a hundred where float32 has 50 n numbers between the least
# and the greatest: two fall on the same of c numbers in n / (2 c) of the cases.
_CELLS = 50
_ENTRY = re.compile(rb"(\d+):(\S+)")
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
    rows = X[:: max(1, -(-X.shape[0] // _LOOKED_AT))]
    # Zeros are absent values, most often, and say nothing of how close together the others are.
    if is_sparse(rows):
        columns, place = np.unique(rows.indices, return_inverse=True)
        high = np.full(len(columns), -np.inf, dtype=np.float32)
        low = np.full(len(columns), np.inf, dtype=np.float32)
        known = np.where(rows.data == 0, np.float32(np.nan), rows.data)
        np.fmax.at(high, place, known)
        np.fmin.at(low, place, known)
    else:
        columns = np.arange(rows.shape[1])
        known = np.where(rows == 0, np.float32(np.nan), rows)
        high, low = np.fmax.reduce(known, axis=0), np.fmin.reduce(known, axis=0)
    largest = np.maximum(np.abs(high), np.abs(low))
    with np.errstate(invalid="ignore", over="ignore"):
        n_cells = (high.astype(np.float64) - low) / np.spacing(largest)
        is_small_count = (largest < _WHOLE_UP_TO) & (high == np.floor(high)) & (low == np.floor(low))
        is_narrow = ~is_small_count & (n_cells < _CELLS * rows.shape[0])
    return columns[is_narrow].astype(np.intp)


def _read_columns(text: Text, numbers: IndexArray) -> Features:
    """These features of the rows at the start of the text, (n_rows, n_columns) float64; 0 where absent."""
    place = {int(number): at for at, number in enumerate(numbers)}
    cuts = text.cuts()
    lines = text.read(cuts[0], cuts[1]).tobytes().split(b"\n")
    rows = np.zeros((len(lines), len(numbers)))
    for row, line in zip(rows, lines):
        for found in _ENTRY.finditer(line.partition(b"#")[0]):
            at = place.get(int(found[1]))
            if at is not None:
                row[at] = float(found[2])
    return rows
