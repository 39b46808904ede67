"""Ids of any dtype as item numbers: the one step of counting votes that looks at every id.

Ids repeat: a million votes name a hundred items. So each column is coded by what is cheapest to look at.
Integers of a small range are codes already, and categoricals bring theirs. Arrow codes its own strings.
Python objects are told apart by their *address* first, which asks for no hash of a string; only the distinct
objects are then compared by value. Anything else goes through pandas.

Why not ``pandas.factorize`` for all of it: fitting a million votes takes 30 ms, so coding them must not take
longer. Processor seconds for two columns of a million ids, 130 distinct, here and with pandas: the same few
string objects .004 against .18; integers .002 against .021; a string object of its own for every id .08
against .17; strings that Arrow holds .04 against .04, so those are left to Arrow.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from lambdamart_kit.compile import kernel
from lambdamart_kit.core.rows import native
from lambdamart_kit.core.typing import Array, IndexArray
from lambdamart_kit.preferences.object_text import addresses_of, code_text
from lambdamart_kit.runtime.threads import available_threads, run_tasks

_DENSE_KEYS = 1 << 22  # slots that may be looked up instead of hashed
_TABLE_BITS = 15  # of the table of addresses
_MOST_OBJECTS = 1 << 13  # distinct objects up to which they are worth telling apart by address
_SERIAL_ROWS = 100_000  # rows below which waking threads costs more than it saves


class CodedIds(NamedTuple):
    """Row r of column j names item ``places[j][codes[j][r] - low]``; -1 is a missing id.

    Attributes
    ----------
    items : (n_items,) array
        Distinct ids, ascending.
    codes, places : list of array
    low : int
    """

    items: Array
    codes: list[Array]
    places: list[IndexArray]
    low: int


def code_ids(columns: list[Any]) -> CodedIds:
    """Code the ids of equally long columns (arrays or Series) that name the same items.

    Examples
    --------
    >>> coded = code_ids([np.array(["b", "a"], dtype=object), np.array(["c", "b"], dtype=object)])
    >>> coded.items.tolist(), [p[c].tolist() for c, p in zip(coded.codes, coded.places)]
    (['a', 'b', 'c'], [[1, 0], [2, 1]])
    """
    columns = [column if isinstance(column, pd.Series) else native(column) for column in columns]
    if all(isinstance(column.dtype, np.dtype) and column.dtype.kind in "iu" for column in columns):
        small = _small_integers([np.asarray(column) for column in columns])
        if small is not None:
            return small
    coded: list[tuple[Array, Array]] = [(np.empty(0), np.empty(0))] * len(columns)

    def code(start: int, stop: int) -> None:
        for j in range(start, stop):
            coded[j] = code_column(columns[j])

    _for_each_column(code, columns)
    items, places = _joined([ids for _, ids in coded])
    return CodedIds(items, [codes for codes, _ in coded], places, 0)


def _small_integers(columns: list[Array]) -> CodedIds | None:
    """Integers are their own codes where a table of all between the least and the largest is small."""
    extents, marks = np.empty((len(columns), 2), dtype=object), [np.empty(0, dtype=bool)] * len(columns)

    def measure(start: int, stop: int) -> None:
        for j in range(start, stop):
            extents[j] = _extent(columns[j])

    def mark(start: int, stop: int) -> None:
        for j in range(start, stop):
            marks[j] = np.zeros(high - low + 1, dtype=bool)  # of its own: threads would share cache lines
            _mark(columns[j], low, marks[j])

    _for_each_column(measure, columns)
    low, high = int(extents[:, 0].min()), int(extents[:, 1].max())
    if high - low >= max(8 * len(columns[0]), _DENSE_KEYS) or high >= 2**63:
        return None
    _for_each_column(mark, columns)
    used = np.logical_or.reduce(marks)
    place = np.cumsum(used) - 1
    return CodedIds((np.flatnonzero(used) + low).astype(columns[0].dtype), columns, [place, place], low)


def _for_each_column(function: Any, columns: list[Any]) -> None:
    threads = available_threads() if len(columns[0]) > _SERIAL_ROWS else 1
    run_tasks(function, np.arange(len(columns) + 1), threads)


def _joined(ids: list[Array]) -> tuple[Array, list[IndexArray]]:
    """Ascending distinct ids of all columns, and the place among them of each code of each column.

    The last place is -1, so that code -1 finds it.
    """
    code, unique = pd.factorize(np.concatenate(ids))
    values = np.asarray(unique)
    try:
        order = np.argsort(values, kind="stable")
    except TypeError:
        order = np.array(sorted(range(len(values)), key=lambda i: (type(values[i]).__name__, str(values[i]))))
    position = np.full(len(values) + 1, -1, dtype=np.intp)
    position[order] = np.arange(len(values))
    parts = np.split(position[code], np.cumsum([len(v) for v in ids])[:-1])
    return values[order], [np.append(part, -1) for part in parts]


def code_column(column: Any) -> tuple[Array, Array]:
    """Codes of one column and the ids they stand for; a code may stand for no row, and two for one id."""
    if isinstance(column, pd.Series):
        if isinstance(column.dtype, pd.CategoricalDtype):
            codes, ids = column.cat.codes.to_numpy(), np.asarray(column.cat.categories)
            used = np.bincount(codes[codes >= 0], minlength=len(ids)) > 0
            return np.append(np.cumsum(used) - 1, -1)[codes], ids[used]
        if (arrow := _arrow_codes(column)) is not None:
            return arrow
        column = column if column.dtype.kind != "O" else column.to_numpy()
    if isinstance(column, np.ndarray) and column.dtype.kind == "O":
        codes, first = _by_address(column)
        if not len(first):
            codes, first = code_text(column)
        if len(first):
            return codes, column[first]
    codes, unique = pd.factorize(column.astype(object) if column.dtype.kind in "US" else column)
    return codes, np.asarray(unique)


def _arrow_codes(column: pd.Series) -> tuple[Array, Array] | None:
    """Codes by Arrow, which holds no lock while it works; None where the column is not Arrow's."""
    if not hasattr(column.array, "__arrow_array__") or getattr(column.dtype, "storage", "") != "pyarrow":
        return None
    encoded = column.array.__arrow_array__().combine_chunks().dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return codes, encoded.dictionary.to_numpy(zero_copy_only=False).astype(object)


def _by_address(objects: Array) -> tuple[Array, IndexArray]:
    """Code of the object of each row, and a row of each; no rows where objects hardly repeat."""
    codes, first = np.empty(len(objects), dtype=np.int32), np.empty(_MOST_OBJECTS, dtype=np.intp)
    n_distinct = _code_addresses(addresses_of(objects), codes, first)
    return codes, first[:n_distinct]


@kernel
def _code_addresses(addresses: Array, codes: Array, first: Array) -> int:
    """Number addresses as they first come, in an open hash table; 0 when there are too many."""
    size = np.uint64(1) << np.uint64(_TABLE_BITS)
    keys, slots = np.zeros(size, dtype=np.int64), np.empty(size, dtype=np.int32)
    n_distinct = 0
    for row in range(len(addresses)):
        address = np.int64(addresses[row])
        at = (np.uint64(address) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - _TABLE_BITS)
        while keys[at] != address:
            if keys[at] == 0:  # no object lives at address 0
                if n_distinct == len(first):
                    return 0
                keys[at], slots[at], first[n_distinct] = address, n_distinct, row
                n_distinct += 1
                break
            at = (at + np.uint64(1)) & (size - np.uint64(1))
        codes[row] = slots[at]
    return n_distinct


@kernel
def _extent(values: Array) -> tuple[int, int]:
    low, high = values[0], values[0]
    for row in range(len(values)):
        low, high = min(low, values[row]), max(high, values[row])
    return low, high


@kernel
def _mark(values: Array, low: int, used: Array) -> None:
    for row in range(len(values)):
        used[values[row] - low] = True
