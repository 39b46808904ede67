"""Quantile bins: every value of a feature becomes one of at most 256 codes.

A numeric feature has ascending edges e[0] < e[1] < ...; the bin of x is the number of edges below x, so ``bin
<= b`` says exactly ``x <= e[b]``. An edge lies between two values that were seen, so the same comparison in
float64, which is what a LightGBM model does, decides the same way. NaN has its own bin, the last. A
categorical feature's bin 0 is "none of the listed codes" (NaN and unseen codes included); bins 1, 2, ... are
the codes by frequency.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from lambdamart_kit.compile import kernel
from lambdamart_kit.core.precision import TINY
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.rowhash import id_hashes
from lambdamart_kit.core.rows import RowView
from lambdamart_kit.core.typing import Array, Features, Float32Array, IndexArray
from lambdamart_kit.runtime.threads import run_tasks
from lambdamart_kit.trees.bin_search import N_EDGES, bins_of, merges, nearest_columns

MAX_BIN = 255
SAMPLE_ROWS = 200_000  # rows that edges are taken from, as in LightGBM
_COLUMNS = 8  # columns read at a time: so many doubles lie in one line of the cache


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
        edges: list[Array] = [np.empty(0, np.float32)] * n_features
        n_tiny = np.zeros(n_features, dtype=np.int64)
        categories: list[Array | None] = [None] * n_features
        for j in categorical:
            categories[j] = _frequent_codes(sample.column(j), int(j), max_bin - 1)

        # NumPy sorts without the interpreter's lock, so threads gain although these are Python functions.
        def fit_columns(start: int, stop: int) -> None:
            for j, singles, (changed, zeroed) in _nearest(sample, start, stop):
                if categories[j] is None:
                    values, counts = _counted(np.sort(singles))
                    if zeroed or (changed and _needs_doubles(sample, j, singles, values, counts, max_bin)):
                        values, counts = _counted(np.sort(sample.column(j)))
                    n_tiny[j] = _n_tiny(values)
                    edges[j] = _quantile_edges(values, counts, max_bin)

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
        columns = bins_of(view, self.edges, self.n_value_bins.astype(np.uint8), n_threads)
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


def _nearest(sample: RowView, start: int, stop: int) -> Iterator[tuple[int, Float32Array, list[int]]]:
    """Columns ``start:stop``: the number, the values in float32, and what was lost; see `nearest_columns`."""
    step = 1 if sparse.issparse(sample.source) else _COLUMNS
    for a in range(start, stop, step):
        if sparse.issparse(sample.source):
            singles, lost = nearest_columns(RowView.of(sample.column(a)[:, None]), 0, 1)
        else:
            singles, lost = nearest_columns(sample, a, min(a + step, stop))
        yield from zip(range(a, a + step), singles, lost.tolist())


def _needs_doubles(
    sample: RowView, j: int, singles: Float32Array, values: Array, counts: Array, max_bin: int
) -> bool:
    """Whether edges of a column of doubles must be chosen among doubles, not among the nearest float32.

    Two things are lost among float32 numbers. No edge lies between doubles that became one of them. And where
    no float32 lies between two of them, or the higher is infinite, the edge is the lower one, and doubles
    that became the lower one may lie above it. Both move no more than the rows of one value, so they matter
    where a value has a bin to itself: where there are few values, or it is heavy.

    Parameters
    ----------
    sample, j : RowView and int
        The column.
    singles : ndarray (n_samples,)
        Its values in float32.
    values, counts : ndarray (n_values,)
        Their distinct values, ascending, and how often each occurs.
    """
    if _n_tiny(values):  # rare, and float32 knows few numbers there
        return True
    has_own_bin = np.ones(len(values), dtype=bool)
    if len(values) > max_bin:
        has_own_bin = counts >= _heavy_from(counts, max_bin)
    beside = np.flatnonzero(has_own_bin[1:] | has_own_bin[:-1])
    if (_between_floats(values[beside], values[beside + 1]) == values[beside]).any():
        return True
    several = values[has_own_bin & (counts > 1) & (values != 0)]
    if not len(several):
        return False
    table = np.full(N_EDGES, np.inf, np.float32)
    table[: len(several)] = several
    return bool(merges(sample.column(j), singles, table, np.full(N_EDGES, np.nan)))


def _n_tiny(values: Array) -> int:
    """How many of the values are within 1e-35 of zero, zero left out."""
    return int(np.count_nonzero((np.abs(values) <= TINY) & (values != 0)))


def _counted(ordered: Array) -> tuple[Array, Array]:
    """Distinct values of an ascending array with NaN last, which is left out, and their counts."""
    ordered = ordered[: len(ordered) - np.count_nonzero(np.isnan(ordered))]
    is_first = np.ones(len(ordered), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=is_first[1:])
    starts = np.flatnonzero(is_first)
    return ordered[starts], np.diff(np.append(starts, len(ordered)))


def _quantile_edges(values: Array, counts: Array, max_bin: int) -> Array:
    """Edges between ascending values: bins of about equal weight; a heavy value has its own."""
    if not len(values):
        return np.empty(0, values.dtype)
    # Every distinct value gets a bin of its own as long as there are enough bins.
    if len(values) > max_bin:
        last = np.empty(max_bin - 1, dtype=np.int64)
        last = last[: _last_of_bins(counts, max_bin, _heavy_from(counts, max_bin), last)]
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
def _heavy_from(counts: Array, max_bin: int) -> float:
    """The count from which on a distinct value fills a bin by itself.

    A value that weighs at least the mean of a bin is heavy. What it weighs, and its bin, are taken out before
    the mean of the others is computed.
    """
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
    return heavy_from


@kernel(borrows=True)
def _last_of_bins(counts: Array, max_bin: int, heavy_from: float, last: Array) -> int:
    """Fill `last` (max_bin - 1,) with the last distinct value of each bin but the last; returns how many.

    Values are given by their index; bins are filled to the mean of what remains. Values from the count
    `heavy_from` on have a bin each.
    """
    n = len(counts)
    light = np.int64(0)
    light_bins = max_bin
    for count in counts:
        if count >= heavy_from:
            light_bins -= 1
        else:
            light += count
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
