"""Quantile bins: every value of a feature becomes one of at most 256 codes.

A numeric feature has ascending edges e[0] < e[1] < ...; the bin of x is the number of edges below x, so ``bin
<= b`` says exactly ``x <= e[b]``. An edge lies between two values that were seen, so the same comparison in
float64, which is what a LightGBM model does, decides the same way. NaN has its own bin, the last. A
categorical feature's bin 0 is "none of the listed codes" (NaN and unseen codes included); bins 1, 2, ... are
the codes by frequency.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from lambdamart_kit.compile import kernel
from lambdamart_kit.core.precision import TINY, feature_dtype, floor_single
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.rowhash import id_hashes
from lambdamart_kit.core.rows import RowView
from lambdamart_kit.core.typing import Array, Features, IndexArray
from lambdamart_kit.runtime.threads import run_tasks

MAX_BIN = 255
SAMPLE_ROWS = 200_000  # rows that edges are taken from, as in LightGBM
_BLOCK = 256  # rows transposed at a time: they fit in the second cache level


@dataclass(frozen=True)
class BinnedMatrix:
    """Codes of a matrix, one row of `columns` for each feature.

    Attributes
    ----------
    columns : ndarray (n_features, n_samples), uint8
        Bin of each value.
    mapper : BinMapper
        What the codes mean.
    allocate : callable
        ``(shape, dtype) -> ndarray``: where all else of the size of the matrix goes, memory or a file.
    """

    columns: Array
    mapper: BinMapper
    allocate: Callable[[int, Any], Array] = np.empty

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return int(self.columns.shape[1])

    def __getitem__(self, rows: IndexArray) -> BinnedMatrix:
        """A copy of chosen rows."""
        # `take` returns each column in one piece; indexing might not.
        return BinnedMatrix(self.columns.take(rows, axis=1), self.mapper)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and features."""
        return self.n_samples, len(self.columns)


@dataclass(frozen=True)
class BinMapper:
    """Edges and categories of each feature: from raw values to bins and back.

    Attributes
    ----------
    edges : tuple of ndarray, float32 or float64
        Ascending edges of each feature, in the precision of the features; empty for a categorical one.
    categories : tuple of ndarray or None
        Category codes of bins 1, 2, ... of a categorical feature, None for a numeric one.

    Examples
    --------
    >>> X = np.array([[0.0], [1.0], [1.0], [4.0], [np.nan]], dtype=np.float32)
    >>> mapper = BinMapper.fit(X)
    >>> mapper.edges[0].tolist()
    [0.5, 2.5]
    >>> mapper.transform(X).columns.tolist()
    [[0, 1, 1, 2, 3]]
    """

    edges: tuple[Array, ...]
    categories: tuple[Array | None, ...]

    @classmethod
    def fit(
        cls,
        X: Features,
        queries: Queries | None = None,
        *,
        max_bin: int = MAX_BIN,
        categorical: Sequence[int] = (),
        n_threads: int = 1,
    ) -> BinMapper:
        """Choose edges at quantiles of a sample of whole queries.

        Parameters
        ----------
        X : ndarray (n_samples, n_features), float32 or float64, scipy.sparse matrix, or RowView of one
            Features, rows in query order. NaN and infinities are values.
        queries : Queries or None
            Grouping of the rows, in order; None samples rows. See `sample_queries` for the sample: it depends
            on the queries' ids alone, never on the order of rows.
        max_bin : int
            Most bins of a feature, the NaN bin not counted; 2 to 255.
        categorical : sequence of int
            Columns of category codes, whole numbers >= 0.
        n_threads : int
            Threads to use.

        Returns
        -------
        BinMapper
            The mapping.

        Raises
        ------
        ValueError
            If `max_bin` is out of range, or a categorical column holds a negative or fractional code.
        """
        if not 2 <= max_bin <= MAX_BIN:
            raise ValueError(f"'max_bin' must be from 2 to {MAX_BIN}; got {max_bin!r}")
        sample = _sample_rows(RowView.of(X), queries)
        return cls.of_sample(sample, max_bin=max_bin, categorical=categorical, n_threads=n_threads)

    @classmethod
    def of_sample(
        cls, sample: RowView, *, max_bin: int = MAX_BIN, categorical: Sequence[int] = (), n_threads: int = 1
    ) -> BinMapper:
        """Choose edges at quantiles of all rows of a sample; see `fit`."""
        n_features = sample.shape[1]
        edges: list[Array] = [np.empty(0, feature_dtype(sample.source.dtype))] * n_features
        n_tiny = np.zeros(n_features, dtype=np.int64)
        categories: list[Array | None] = [None] * n_features
        for j in categorical:
            categories[j] = _frequent_codes(sample.column(j), int(j), max_bin - 1)

        # NumPy sorts without the interpreter's lock, so threads gain although these are Python functions.
        def fit_columns(start: int, stop: int) -> None:
            for j in range(start, stop):
                if categories[j] is None:
                    ordered = np.sort(sample.column(j))
                    n_tiny[j] = _n_tiny(ordered)
                    edges[j] = _quantile_edges(ordered, max_bin)

        run_tasks(fit_columns, np.linspace(0, n_features, 4 * n_threads + 1).astype(np.intp), n_threads)
        if n_tiny.any():
            j = int(n_tiny.argmax())
            warnings.warn(
                f"'X' has {n_tiny[j]:,} distinct values within 1e-35 of zero in column {j}; predictions take "
                "them for zero, as LightGBM's format does; multiply the column",
                UserWarning,
                stacklevel=2,
            )
        return cls(tuple(edges), tuple(categories))

    @property
    def n_features(self) -> int:
        """Number of features."""
        return len(self.edges)

    @property
    def n_value_bins(self) -> IndexArray:
        """Bins of each feature without the NaN bin, which is numbered so in a numeric one, (n_features,)."""
        sizes = [len(e) + 1 if c is None else len(c) + 1 for e, c in zip(self.edges, self.categories)]
        return np.array(sizes, dtype=np.intp)

    @property
    def is_categorical(self) -> Array:
        """Which features are categorical, (n_features,) bool."""
        return np.array([c is not None for c in self.categories], dtype=bool)

    def to_arrays(self) -> dict[str, Array]:
        """Everything, to be saved: `of_arrays` is the inverse."""
        empty = np.empty(0, dtype=np.int64)
        codes = [empty if c is None else c for c in self.categories]
        return {
            "edges": np.concatenate([np.empty(0, np.float32), *self.edges]),  # float64 if one of them is
            "edge_ptr": np.cumsum([0, *map(len, self.edges)]),
            "codes": np.concatenate([empty, *codes]),
            "code_ptr": np.cumsum([0, *map(len, codes)]),
            "is_categorical": self.is_categorical,
        }

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, Array]) -> BinMapper:
        """The mapper that `to_arrays` gave."""
        edges = np.split(arrays["edges"], arrays["edge_ptr"][1:-1])
        codes = np.split(arrays["codes"], arrays["code_ptr"][1:-1])
        categorical = arrays["is_categorical"].tolist()
        return cls(tuple(edges), tuple(c if is_one else None for c, is_one in zip(codes, categorical)))

    def transform(self, X: Features, *, n_threads: int = 1) -> BinnedMatrix:
        """Bins of `X`, whose columns are the features this mapper was fitted on.

        Raises
        ------
        ValueError
            If the number of columns differs.
        """
        if X.shape[1] != self.n_features:
            raise ValueError(f"'X' must have {self.n_features} columns, as at fit; got {X.shape[1]}")
        view = RowView.of(X)
        n_samples = view.shape[0]
        columns = np.empty((self.n_features, n_samples), dtype=np.uint8)
        dtype = feature_dtype(view.source.dtype)
        table = _edge_table(self.edges, dtype)
        nan_bin = self.n_value_bins.astype(np.uint8)
        if sparse.issparse(view.source):
            by_column = view.gather().tocsc()
            bounds = np.linspace(0, self.n_features, 4 * n_threads + 1).astype(np.intp)
            run_tasks(_transform_sparse, bounds, n_threads, by_column, table, nan_bin, columns)
        else:
            args = (np.asarray(view.source, dtype=dtype), view.rows, table, nan_bin, columns)
            bounds = np.linspace(0, n_samples, 8 * n_threads + 1).astype(np.intp)
            scratch = [(np.empty(_BLOCK, dtype=dtype),) for _ in range(n_threads)]
            run_tasks(_transform_rows, bounds, n_threads, *args, scratch=scratch)
        for j, codes in enumerate(self.categories):
            if codes is not None:
                columns[j] = _category_bins(view.column(j), codes)
        return BinnedMatrix(columns, self)


def sample_queries(ids: Array, sizes: Array, n_rows: int) -> IndexArray:
    """The first queries, by the hash of their id, that hold `n_rows` rows between them; all if there are not.

    Which queries are sampled depends on their ids and sizes alone, so rows that are streamed from files give
    the sample, hence the bins, that the same rows give in memory. Adding rows to a query, or queries, never
    brings a query into the sample that was not there: a stream can forget what fell out.

    Parameters
    ----------
    ids : ndarray (n_queries,)
        Query ids.
    sizes : ndarray (n_queries,)
        Rows of each query.
    n_rows : int
        Rows to sample, at least.

    Returns
    -------
    ndarray (n_sampled,)
        Indices of the sampled queries, ascending.
    """
    # The sample is a prefix of the queries in the order of their hashes. A query that is added can only
    # push others out of that prefix.
    by_hash = np.argsort(id_hashes(ids), kind="stable")
    reached = np.searchsorted(np.cumsum(sizes[by_hash]), n_rows)
    return np.sort(by_hash[: reached + 1]).astype(np.intp)


def _sample_rows(view: RowView, queries: Queries | None) -> RowView:
    """About ``SAMPLE_ROWS`` rows in whole queries, with cheap access to columns."""
    n_samples = view.shape[0]
    if n_samples > SAMPLE_ROWS:
        if queries is None:
            rows = np.sort(np.random.default_rng(0).choice(n_samples, SAMPLE_ROWS, replace=False))
        else:
            rows = queries.rows(sample_queries(queries.ids, queries.sizes, SAMPLE_ROWS))
        view = view.take(rows)
    return RowView.of(view.gather().tocsc()) if sparse.issparse(view.source) else view


def _n_tiny(ordered: Array) -> int:
    """Distinct values of an ascending array that are within 1e-35 of zero, zero left out."""
    start = np.searchsorted(ordered, -TINY, side="left")
    stop = np.searchsorted(ordered, TINY, side="right")
    return int(np.count_nonzero(np.unique(ordered[start:stop])))


def _frequent_codes(column: Array, j: int, most: int) -> Array:
    codes = column[~np.isnan(column)]
    bad = codes[(codes < 0) | (codes != np.floor(codes)) | np.isinf(codes)]
    if len(bad):
        raise ValueError(
            f"'categorical_features' column {j} must hold category codes, whole numbers >= 0; got {bad[0]:g}"
        )
    values, counts = np.unique(codes, return_counts=True)
    # `values` ascends and the sort is stable, so of equally frequent codes the lower one comes first.
    return values[np.argsort(-counts, kind="stable")[:most]].astype(np.int64)


def _category_bins(column: Array, codes: Array) -> Array:
    column = np.trunc(column)  # as LightGBM reads a code; only fit insists on whole ones
    order = np.argsort(codes)
    # The place where a code would stand among the listed ones, in ascending
    # order; it is listed if that place holds an equal code. NaN and codes
    # above all others are clipped to the last place, and differ from it.
    position = np.searchsorted(codes, column, sorter=order).clip(max=max(len(codes) - 1, 0))
    if not len(codes):
        return np.zeros(len(column), np.uint8)
    found = codes[order[position]] == column
    return np.where(found, order[position] + 1, 0).astype(np.uint8)


def _quantile_edges(ordered: Array, max_bin: int) -> Array:
    """Edges of an ascending sample, NaN last: bins of about equal weight; a heavy value has its own."""
    ordered = ordered[: len(ordered) - np.count_nonzero(np.isnan(ordered))]
    if not len(ordered):
        return np.empty(0, ordered.dtype)
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    values = ordered[starts]
    counts = np.diff(np.append(starts, len(ordered)))
    # Every distinct value gets a bin of its own as long as there are enough bins.
    if len(values) > max_bin:
        last = np.empty(max_bin - 1, dtype=np.int64)
        last = last[: _last_of_bins(counts, max_bin, last)]
    else:
        last = np.arange(len(values) - 1)
    return _between(values[last], values[last + 1])


def _between(low: Array, high: Array) -> Array:
    """A finite number e with low <= e < high for each pair of neighbours, in their precision.

    It is the one between the neighbours in float32, unless that does not separate them. There is none between
    minus infinity and the lowest finite number, which share a bin.
    """
    with np.errstate(over="ignore"):
        edge = _between_floats(low.astype(np.float32), high.astype(np.float32))
    if low.dtype == np.float32:
        return edge
    separates = (low <= edge) & (edge < high)
    return np.where(separates, edge, _between_floats(low, high))


def _between_floats(low: Array, high: Array) -> Array:
    """The middle of each pair if it is below the higher one, else the lower one; finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        # Halved before they are added, so that the sum of two large numbers cannot overflow.
        middle = (low.astype(np.float64) / 2 + high.astype(np.float64) / 2).astype(low.dtype)
    edge = np.where(np.isfinite(middle) & (middle < high), middle, low)
    return np.where(edge == -np.inf, np.finfo(low.dtype).min, edge).astype(low.dtype)


@kernel(borrows=True)
def _last_of_bins(counts: Array, max_bin: int, last: Array) -> int:
    """Fill `last` (max_bin - 1,) with the last distinct value of each bin but the last; returns how many.

    Values are given by their index; bins are filled to the mean of what remains.
    """
    # A value that weighs at least the mean of a bin is heavy and fills a bin by itself. What it weighs, and
    # its bin, are taken out before the mean of the others is computed.
    n = len(counts)
    light = np.int64(0)
    for count in counts:  # counts.sum() would compile for as long as the rest
        light += count
    light_bins = max_bin
    heavy_from, mean = np.inf, float(light / max_bin)
    while mean < heavy_from:  # without its heavy values the mean is lower, and others are heavy
        for count in counts:
            if mean <= count < heavy_from:
                light -= count
                light_bins -= 1
        heavy_from, mean = mean, float(light / max(light_bins, 1))
    made = 0
    inside = 0
    # A bin is closed in three cases: its value is heavy, or the bin has reached its share of what remains,
    # or the next value is heavy and the bin is at least half full. The last case leaves the heavy value a
    # bin of its own.
    for i in range(n - 1):
        heavy = counts[i] >= heavy_from
        if not heavy:
            light -= counts[i]
        inside += counts[i]
        target = (light + inside) / max(light_bins, 1)
        close = heavy or inside >= target or (counts[i + 1] >= heavy_from and inside * 2 >= target)
        if close and made < max_bin - 1:
            last[made] = i
            made += 1
            if not heavy:
                light_bins -= 1
            inside = 0
    return made


def _edge_table(edges: tuple[Array, ...], dtype: Any) -> Array:
    """Edges padded with infinity, which no value is above, to the 255 that the search below expects.

    They are in the precision of the values to come, where they decide as they do in their own.
    """
    table = np.full((len(edges), 255), np.inf, dtype=dtype)
    for row, e in zip(table, edges):
        # A float32 x is at most e just when it is at most the largest float32 that is not above e.
        row[: len(e)] = floor_single(e) if dtype == np.float32 and e.dtype != np.float32 else e
    return table


@kernel(borrows=True)
def _search(edges: Array, values: Array, nan_bin: int, out: Array) -> None:
    """``out`` = number of edges below each value; NaN goes to its own bin. Eight steps without a branch."""
    for i in range(len(values)):
        x = values[i]
        position = np.uint64(0)
        step = np.uint64(128)
        for _ in range(8):
            # Invariant: `position` edges are known to lie below x. If the edge
            # that is `step` further on is below x as well, so are all before it.
            # The steps 128, 64, ..., 1 add up to 255, the length of the table.
            position += step * np.uint64(edges[position + step - np.uint64(1)] < x)
            step >>= np.uint64(1)
        out[i] = nan_bin if x != x else position


@kernel(borrows=True)
def _transform_rows(
    start: int,
    stop: int,
    values: Array,
    X: Array,
    rows: IndexArray,
    table: Array,
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


def _transform_sparse(
    start: int, stop: int, X: Features, table: Array, nan_bin: Array, columns: Array
) -> None:
    zero = np.zeros(1, dtype=table.dtype)
    for j in range(start, stop):
        _search(table[j], zero, nan_bin[j], columns[j, :1])
        # What a sparse matrix does not store is 0: the column is filled with the bin of 0, and then the
        # stored values are put in.
        columns[j] = columns[j, 0]
        rows, values = X.indices[X.indptr[j] : X.indptr[j + 1]], X.data[X.indptr[j] : X.indptr[j + 1]]
        codes = np.empty(len(rows), dtype=np.uint8)
        _search(table[j], np.ascontiguousarray(values, dtype=table.dtype), nan_bin[j], codes)
        columns[j, rows] = codes
