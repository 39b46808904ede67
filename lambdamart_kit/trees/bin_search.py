"""From values to bins, given the edges: a search without a branch, in float32 wherever float32 decides.

Half the bytes are searched in about two thirds of the time. A double x need not be searched as a double where
its feature's edges are float32 numbers: with r(x) the smallest float32 that is not below x,

    x <= e   just when   r(x) <= e        for every float32 e,

since no float32 lies between x and r(x). So doubles are rounded up and searched as float32, in all features
but those with an edge between two neighbouring float32 numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from lambdamart_kit.compile import inner, kernel
from lambdamart_kit.core.bits import bits_of, float_of
from lambdamart_kit.core.precision import feature_dtype, fits_single, floor_single
from lambdamart_kit.core.rows import RowView
from lambdamart_kit.core.typing import Array, Features, Float32Array, FloatArray, IndexArray
from lambdamart_kit.runtime.threads import run_tasks

N_EDGES = 255  # length of a table of edges, one less than a power of two
_BLOCK = 256  # rows transposed at a time: they fit in the second cache level


def bins_of(view: RowView, edges: tuple[Array, ...], nan_bin: Array, n_threads: int) -> Array:
    """Bin of each value: the number of its feature's edges below it, or `nan_bin`.

    Parameters
    ----------
    view : RowView
        Features, float32 or float64.
    edges : tuple of ndarray
        Ascending edges of each feature, at most 255.
    nan_bin : ndarray (n_features,), uint8
        Bin of NaN.
    n_threads : int
        Threads to use.

    Returns
    -------
    ndarray (n_features, n_samples), uint8
    """
    n_samples, n_features = view.shape
    # Column by column, as histograms read bins.
    columns = np.empty((n_features, n_samples), dtype=np.uint8)
    dtype = feature_dtype(view.source.dtype)
    tables = _Tables.of(edges, dtype)
    if sparse.issparse(view.source):
        by_column = view.gather().tocsc()
        bounds = np.linspace(0, n_features, 4 * n_threads + 1).astype(np.intp)
        run_tasks(_bin_sparse, bounds, n_threads, by_column, tables, nan_bin, columns)
        return columns
    # More pieces than threads, so that a thread that is slowed down leaves its share to the others.
    bounds = np.linspace(0, n_samples, 8 * n_threads + 1).astype(np.intp)
    X = np.asarray(view.source, dtype=dtype)
    singles = [np.empty(_BLOCK, dtype=np.float32) for _ in range(n_threads)]
    if dtype == np.float32:
        bin_rows = _bin_singles
        scratch: list[tuple[Array, ...]] = [(block,) for block in singles]
        searched: tuple[Array, ...] = (tables.single,)
    else:
        bin_rows = _bin_doubles
        scratch = [(block, np.empty(_BLOCK, dtype=np.float64)) for block in singles]
        searched = (tables.single, tables.double, tables.place)
    run_tasks(bin_rows, bounds, n_threads, X, view.rows, *searched, nan_bin, columns, scratch=scratch)
    return columns


def nearest_columns(view: RowView, start: int, stop: int) -> tuple[Float32Array, Array]:
    """Columns ``start:stop`` of a dense matrix as float32.

    Returns
    -------
    singles : ndarray (n_columns, n_samples), float32
        The float32 nearest to each value.
    lost : ndarray (n_columns, 2), int64
        How many of a column's values float32 does not hold, and how many of these became zero.
    """
    singles = np.empty((stop - start, len(view.rows)), dtype=np.float32)
    lost = np.zeros((stop - start, 2), dtype=np.int64)
    X = np.asarray(view.source, dtype=feature_dtype(view.source.dtype))
    _take_nearest(X, view.rows, start, singles, lost)
    return singles, lost


@dataclass(frozen=True)
class _Tables:
    """Edges padded with infinity, which no value is above, to the 255 that the search expects.

    Attributes
    ----------
    single : ndarray (n_features, 255), float32
        Edges of all features whose edges float32 holds.
    double : ndarray (n_wide, 255), float64
        Edges of the others.
    place : ndarray (n_features,), int64
        Row of `double` for each feature, -1 for one that is searched in `single`.
    """

    single: Float32Array
    double: FloatArray
    place: Array

    @classmethod
    def of(cls, edges: tuple[Array, ...], dtype: Any) -> _Tables:
        """Tables in which values of `dtype` are searched."""
        place = np.full(len(edges), -1, dtype=np.int64)
        if dtype != np.float32:
            wide = [j for j, e in enumerate(edges) if not fits_single(e).all()]
            place[wide] = np.arange(len(wide))
        single = np.full((len(edges), N_EDGES), np.inf, dtype=np.float32)
        double = np.full((place.max(initial=-1) + 1, N_EDGES), np.inf)
        for j, e in enumerate(edges):
            if place[j] < 0:
                # A float32 x is at most e just when it is at most the largest float32 that is not above e.
                single[j, : len(e)] = e if e.dtype == np.float32 else floor_single(e)
            else:
                double[place[j], : len(e)] = e
        return cls(single, double, place)


@inner(borrows=True)
def _rounded_up(x: float, nearest: float) -> float:
    """The smallest float32 that is not below the double `x`, from the float32 nearest to it."""
    # Of a float32 above zero the next one up has the bits of the next integer, and of one below zero those
    # of the integer before; minus infinity becomes the lowest finite number. The nearest float32 is below x
    # only where it has the sign of x, so zero needs no rule of its own. NaN is below nothing.
    bits = bits_of(nearest)
    step = np.int32(1) - np.int32(2) * np.int32(bits < np.int32(0))
    return float_of(np.int32(bits + step * np.int32(nearest < x)))


@kernel(borrows=True)
def _round_up(doubles: FloatArray, singles: Float32Array) -> None:
    for i in range(len(doubles)):
        singles[i] = _rounded_up(doubles[i], np.float32(doubles[i]))


@kernel(borrows=True)
def _take_nearest(X: Array, rows: IndexArray, first: int, singles: Float32Array, lost: Array) -> None:
    # Eight doubles lie in one line of the cache, so columns side by side are read from the same lines.
    for a in range(0, len(rows), _BLOCK):
        b = min(a + _BLOCK, len(rows))
        for c in range(len(singles)):
            changed = np.int64(0)
            zeroed = np.int64(0)
            for i in range(a, b):
                x = X[rows[i], first + c]
                nearest = np.float32(x)
                singles[c, i] = nearest
                changed += np.int64((nearest != x) & (x == x))
                zeroed += np.int64((nearest == np.float32(0)) & (x != 0))
            lost[c, 0] += changed
            lost[c, 1] += zeroed


@inner(borrows=True)
def _count_below(edges: Array, x: float) -> np.uint64:
    """Number of edges below x, of a table of 255; eight steps without a branch."""
    position = np.uint64(0)
    step = np.uint64(128)
    for _ in range(8):
        # Invariant: `position` edges are known to lie below x. If the edge
        # that is `step` further on is below x as well, so are all before it.
        # The steps 128, 64, ..., 1 add up to 255, the length of the table.
        position += step * np.uint64(edges[position + step - np.uint64(1)] < x)
        step >>= np.uint64(1)
    return position


@kernel(borrows=True)
def _search(edges: Array, values: Array, nan_bin: int, out: Array) -> None:
    """``out`` = number of edges below each value; NaN goes to its own bin."""
    for i in range(len(values)):
        x = values[i]
        position = _count_below(edges, x)
        out[i] = nan_bin if x != x else position


@kernel(borrows=True)
def merges(doubles: FloatArray, singles: Float32Array, table: Float32Array, first: FloatArray) -> bool:
    """Whether two doubles that differ became the same float32 of those in `table`.

    Parameters
    ----------
    doubles, singles : ndarray (n,)
        Values, and the float32 nearest to each.
    table : ndarray (255,), float32
        Ascending, padded with infinity.
    first : ndarray (255,), float64
        NaN; filled with the first double that is found of each float32.
    """
    for i in range(len(doubles)):
        place = _count_below(table, singles[i])
        if place < np.uint64(N_EDGES) and table[place] == singles[i]:
            if first[place] != first[place]:
                first[place] = doubles[i]
            elif first[place] != doubles[i]:
                return True
    return False


@kernel(borrows=True)
def _bin_singles(
    start: int,
    stop: int,
    values: Float32Array,
    X: Float32Array,
    rows: IndexArray,
    table: Float32Array,
    nan_bin: Array,
    columns: Array,
) -> None:
    # A row of X lies side by side in memory, and so does a column of bins. A block of rows stays in the
    # cache while it is read column by column.
    for a in range(start, stop, _BLOCK):
        b = min(a + _BLOCK, stop)
        for j in range(X.shape[1]):
            for i in range(b - a):
                values[i] = X[rows[a + i], j]
            _search(table[j], values[: b - a], nan_bin[j], columns[j, a:b])


@kernel(borrows=True)
def _bin_doubles(
    start: int,
    stop: int,
    singles: Float32Array,
    doubles: FloatArray,
    X: FloatArray,
    rows: IndexArray,
    single: Float32Array,
    double: FloatArray,
    place: Array,
    nan_bin: Array,
    columns: Array,
) -> None:
    # As `_bin_singles`; each block is rounded up on its way, so there never is a copy of X.
    for a in range(start, stop, _BLOCK):
        b = min(a + _BLOCK, stop)
        for j in range(X.shape[1]):
            for i in range(b - a):
                doubles[i] = X[rows[a + i], j]
            if place[j] >= 0:
                _search(double[place[j]], doubles[: b - a], nan_bin[j], columns[j, a:b])
                continue
            for i in range(b - a):
                singles[i] = _rounded_up(doubles[i], np.float32(doubles[i]))
            _search(single[j], singles[: b - a], nan_bin[j], columns[j, a:b])


def _bin_sparse(start: int, stop: int, X: Features, tables: _Tables, nan_bin: Array, columns: Array) -> None:
    for j in range(start, stop):
        rows = X.indices[X.indptr[j] : X.indptr[j + 1]]
        values = np.ascontiguousarray(X.data[X.indptr[j] : X.indptr[j + 1]], feature_dtype(X.dtype))
        table = tables.single[j]
        if tables.place[j] >= 0:
            table = tables.double[tables.place[j]]
        elif values.dtype != np.float32:
            doubles = values
            values = np.empty(len(doubles), dtype=np.float32)
            _round_up(doubles, values)
        _search(table, np.zeros(1, table.dtype), nan_bin[j], columns[j, :1])
        # What a sparse matrix does not store is 0: the column is filled with the bin of 0, and then the
        # stored values are put in.
        columns[j] = columns[j, 0]
        codes = np.empty(len(rows), dtype=np.uint8)
        _search(table, values, nan_bin[j], codes)
        columns[j, rows] = codes
