"""The one grouping type: which rows belong to which query."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from lambdamart_kit.core.rows import as_ids
from lambdamart_kit.core.typing import Array, ArrayLike, BoolArray, FloatArray, Ids, IndexArray

# At most 18 digits, which 64 bits hold. Signs and zeros that a number would lose ("+7", "007", "-0") make
# an id text, or two ids would become one.
_WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,17}")


@dataclass(frozen=True, eq=False)
class Queries:
    """Rows grouped by query, as a permutation and CSR offsets.

    Queries are sorted by their id, not by where they first appear, so whatever is computed from a
    ``Queries`` does not depend on how the rows came.

    Attributes
    ----------
    order : (n_samples,) intp
        Stable permutation that makes the rows of each query contiguous: ``ordered = rows[order]``.
    ptr : (n_queries + 1,) intp
        Query ``q`` holds the ordered rows ``ptr[q]:ptr[q + 1]``; never empty.
    ids : (n_queries,) array
        Query ids, ascending.

    Examples
    --------
    >>> queries = Queries.from_qid(["b", "a", "b"], 3)
    >>> queries.order.tolist(), queries.ptr.tolist(), queries.ids.tolist()
    ([1, 0, 2], [0, 1, 3], ['a', 'b'])
    """

    order: IndexArray
    ptr: IndexArray
    ids: Array

    @classmethod
    def from_qid(cls, qid: Ids, n_samples: int, *, name: str = "qid") -> Queries:
        """Group rows by `qid`: any hashable ids, in any row order; None puts all rows in one query.

        Two or more columns, or tuples, are ids of several parts. Errors call the ids `name`.

        Raises
        ------
        ValueError
            If `qid` has not one id a row, or an id is missing (None, NaN, NaT).
        """
        if qid is None:
            ptr = np.array([0, n_samples] if n_samples else [0], dtype=np.intp)
            return cls(np.arange(n_samples, dtype=np.intp), ptr, np.zeros(len(ptr) - 1, dtype=np.intp))
        # Files come grouped, so runs of equal ids are found first. What is hashed or sorted is then one id a
        # query, not one a row.
        ids, starts = _runs(qid, n_samples, name)
        if n_samples == 0:
            return cls(np.empty(0, np.intp), np.zeros(1, np.intp), ids)
        lengths = np.diff(np.append(starts, n_samples))
        unique, code = _factorize_sorted(ids)
        # The rows stand grouped and ascending already, so no permutation is needed.
        if len(starts) == len(unique) and np.array_equal(code, np.arange(len(code))):
            return cls(
                np.arange(n_samples, dtype=np.intp), np.append(starts, n_samples).astype(np.intp), unique
            )
        # The sort is stable, so rows of a query keep the order they came in.
        order = np.argsort(np.repeat(code, lengths), kind="stable").astype(np.intp, copy=False)
        # A query may come in several runs, whose lengths add up. The
        # sums are float64, exact up to 2**53 rows.
        sizes = np.bincount(code, weights=lengths, minlength=len(unique)).astype(np.intp)
        return cls(order, np.concatenate(([0], np.cumsum(sizes))).astype(np.intp), unique)

    @property
    def n_queries(self) -> int:
        """Number of queries."""
        return len(self.ptr) - 1

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return len(self.order)

    @cached_property
    def sizes(self) -> IndexArray:
        """Documents in each query, (n_queries,)."""
        return np.diff(self.ptr)

    @cached_property
    def is_ordered(self) -> bool:
        """Whether the rows already stand in query order."""
        # The only permutation that ascends is the identity.
        return bool((self.order[1:] > self.order[:-1]).all())

    @cached_property
    def query_of_ordered_row(self) -> IndexArray:
        """Index of the query that each ordered row belongs to, (n_samples,)."""
        return np.repeat(np.arange(self.n_queries, dtype=np.intp), self.sizes)

    def sort(self, rows: Array) -> Array:
        """Row-aligned values into query order; the same object when they already stand so."""
        return rows if self.is_ordered else rows[self.order]

    def unsort(self, ordered: Array) -> Array:
        """Values in query order back to row order."""
        if self.is_ordered:
            return ordered
        rows = np.empty_like(ordered)
        rows[self.order] = ordered
        return rows

    def rows(self, selected: BoolArray | IndexArray) -> IndexArray:
        """Rows (ascending) of the `selected` queries, given as a mask over queries or as their indices."""
        mask = np.zeros(self.n_queries, dtype=bool)
        mask[selected] = True
        return np.sort(self.order[np.repeat(mask, self.sizes)])

    def present(self, rows: BoolArray) -> tuple[BoolArray, Queries]:
        """Queries that hold one of the `rows` (a mask over ordered rows), and how those rows are grouped.

        Returns
        -------
        kept : (n_queries,) bool
        queries : Queries
            Of the rows in the mask alone, as they stand in order.
        """
        sizes = np.zeros(self.n_queries, dtype=np.intp)
        if self.n_queries:
            sizes = np.add.reduceat(rows.astype(np.intp), self.ptr[:-1])
        kept = sizes > 0
        ptr = np.concatenate(([0], np.cumsum(sizes[kept]))).astype(np.intp)
        return kept, Queries(np.arange(ptr[-1], dtype=np.intp), ptr, self.ids[kept])


class QueryIds:
    """Query ids that come a chunk at a time, at 4 bytes a row; in the end the `Queries` of them all.

    Parameters
    ----------
    from_text : bool
        The ids come from text, which does not say what they are: whole numbers if all look so, else text.

    Examples
    --------
    >>> ids = QueryIds(from_text=True)
    >>> ids.add(np.array(["7", "7"])).tolist(), ids.add(np.array(["10", "7"])).tolist()
    ([0, 0], [1, 0])
    >>> queries = ids.queries()
    >>> queries.ids.tolist(), queries.ptr.tolist(), queries.order.tolist()
    ([7, 10], [0, 3, 4], [0, 1, 3, 2])
    """

    def __init__(self, *, from_text: bool = False) -> None:
        self._from_text = from_text
        self._code_of: dict[Any, int] = {}
        self._names: list[Any] = []  # by code
        self._parts: list[Array] = []

    def add(self, ids: Array) -> Array:
        """Take the ids of the next rows; returns the code of each, (n,) int32, in order of appearance.

        Raises
        ------
        ValueError
            If an id is missing (None, NaN, NaT).
        """
        # Each run of equal ids is looked up once.
        of_runs, starts = _runs(ids, len(ids), "qid")
        named = map(_number_if_whole, of_runs.tolist()) if self._from_text else of_runs.tolist()
        codes = np.array([self._code(name) for name in named], dtype=np.int32)
        self._parts.append(np.repeat(codes, np.diff(np.append(starts, len(ids)))))
        return self._parts[-1]

    def _code(self, name: Any) -> int:
        # One look-up for both cases: a known name keeps its code, and a new one gets the next.
        code = self._code_of.setdefault(name, len(self._names))
        if code == len(self._names):
            self._names.append(name)
        return code

    def names(self, start: int = 0) -> Array:
        """The distinct ids from code `start` on."""
        # Text that was not a whole number everywhere is text everywhere, or "7" and "a7" would not compare.
        names = self._names[start:]
        kinds = {type(name) for name in names}
        if self._from_text and len(kinds) > 1:
            return np.array(list(map(str, names)))
        return np.array(names, dtype=None if len(kinds) == 1 else object)

    def queries(self) -> Queries:
        """All rows by query, as `Queries.from_qid` groups the ids of all of them."""
        codes = np.concatenate(self._parts) if self._parts else np.empty(0, np.int32)
        unique, rank = _factorize_sorted(self.names())
        return replace(Queries.from_qid(rank.astype(np.int32)[codes], len(codes)), ids=unique)


def run_starts(values: Array) -> IndexArray:
    """Where each run of equal values begins; none without values.

    Examples
    --------
    >>> run_starts(np.array(["a", "a", "b", "a"])).tolist(), run_starts(np.array([])).tolist()
    ([0, 2, 3], [])
    """
    is_first = np.ones(len(values), dtype=bool)
    is_first[1:] = values[1:] != values[:-1]
    return np.flatnonzero(is_first)


def _number_if_whole(name: Any) -> Any:
    return int(name) if isinstance(name, str) and _WHOLE_NUMBER.fullmatch(name) else name


def _runs(qid: Ids, n_samples: int, name: str) -> tuple[Array, IndexArray]:
    """Id of each run of rows with equal ids, checked, and where the runs begin."""
    found = _runs_of_text(qid, n_samples)
    if found is not None:
        return found
    ids = _check_qid(qid, n_samples, name)
    starts = run_starts(ids)
    return ids[starts], starts


def _runs_of_text(qid: Ids, n_samples: int) -> tuple[Array, IndexArray] | None:
    """`_runs` of text in a column of pandas or as objects, and of categories; None of all else.

    A string array of a million ids takes 60 ms to make, and a look at the type of each 30 ms. Here neighbours
    are compared as they are stored, in .1 to 10 ms, and only the ids of runs are looked at. A missing id is
    among those, because it begins a run or follows a missing one.
    """
    dtype = getattr(qid, "dtype", None)
    if dtype is None or getattr(qid, "shape", None) != (n_samples,) or not n_samples:
        return None
    values: Any = getattr(qid, "array", qid)  # what a Series of pandas is made of
    if hasattr(values, "codes") and hasattr(values, "categories"):
        codes = np.asarray(values.codes)
        if codes.min() < 0:
            return None
        starts = run_starts(codes)
        ids = np.asarray(values.categories)[codes[starts]]
        return (_plain(ids) if ids.dtype == object else ids), starts
    if isinstance(dtype, np.dtype):
        values = np.asarray(qid)
        if dtype.kind != "O":
            return None
    elif getattr(dtype, "type", None) is not str or values.isna().any():
        return None
    try:
        starts = run_starts(values)
    except (TypeError, ValueError):  # pandas.NA says neither yes nor no
        return None
    ids = _plain(np.asarray(values[starts], dtype=object))
    return None if ids.dtype == object else (ids, starts)


def _check_qid(qid: Ids, n_samples: int, name: str) -> Array:
    ids = _as_keys(as_ids(qid), n_samples)
    if ids.dtype == object:
        ids = _plain(ids)
    if ids.ndim != 1 or len(ids) != n_samples:
        raise ValueError(
            f"{name!r} must hold one query id per row: expected shape ({n_samples},), got {ids.shape}; "
            "group sizes are not accepted, use numpy.repeat(ids, sizes)"
        )
    # NaN and NaT differ from themselves, in arrays of numbers and of dates alike.
    missing = np.flatnonzero(ids != ids) if ids.dtype.kind in "fcmM" else _missing_objects(ids)
    if len(missing):
        raise ValueError(
            f"{name!r} must not be missing: row {missing[0]} has {ids.tolist()[missing[0]]!r} "
            f"({len(missing)} such rows); drop those rows or give them a query id"
        )
    return ids


def _as_keys(ids: Array, n_samples: int) -> Array:
    """One column is the ids themselves; the entries of several columns are one id together."""
    if ids.ndim != 2 or len(ids) != n_samples or not ids.shape[1]:
        return ids
    if ids.shape[1] == 1:
        return ids[:, 0]
    keys = np.empty(len(ids), dtype=object)
    keys[:] = list(map(tuple, ids.tolist()))
    return keys


def _plain(ids: Array) -> Array:
    """Objects that are all strings as a string array: comparing and sorting those is many times faster."""
    return ids.astype(str) if ids.ndim == 1 and len(ids) and all(type(i) is str for i in ids) else ids


def _missing_objects(ids: Array) -> IndexArray:
    if ids.dtype != object:
        return np.empty(0, dtype=np.intp)
    # `is None`, NaN and NaT differ from themselves; pandas.NA answers neither way and fails bool().
    return np.array([i for i, v in enumerate(ids) if v is None or _differs_from_itself(v)], dtype=np.intp)


def _differs_from_itself(value: Any) -> bool:
    try:
        return bool(value != value)
    except (TypeError, ValueError):
        return True


def factorize_ids(ids: Ids, name: str) -> tuple[Array, IndexArray]:
    """Sorted unique ids of any types and the code of each; a missing id is an error that says where.

    Parameters
    ----------
    ids : (n,) array-like
        Ids; 1 and '1' are two.
    name : str
        Of the parameter.

    Returns
    -------
    (unique, code)
        Ids in ascending order, and which of them each is.

    Raises
    ------
    ValueError
        If an id is None, NaN or NaT.

    Examples
    --------
    >>> factorize_ids(["b", "a", "b"], "items")[1].tolist()
    [1, 0, 1]
    """
    found = as_ids(ids)
    missing = np.flatnonzero(found != found) if found.dtype.kind in "fcmM" else _missing_objects(found)
    if len(missing):
        raise ValueError(
            f"{name!r} must not hold missing ids; number {missing[0]} is {found.tolist()[missing[0]]!r} "
            f"({len(missing)} such); drop them or give them an id"
        )
    return _factorize_sorted(found, name)


def _factorize_sorted(ids: Array, name: str = "qid") -> tuple[Array, IndexArray]:
    """Sorted unique ids and the code of each; ids of mixed types sort by type name, then by text."""
    try:
        unique, code = np.unique(ids, return_inverse=True)
    except TypeError:
        seen = sorted(set(ids.tolist()), key=lambda v: (type(v).__name__, str(v)))
        _warn_of_twins(seen, name)
        position = {v: i for i, v in enumerate(seen)}
        unique = np.empty(len(seen), dtype=object)
        unique[:] = seen
        code = np.array([position[v] for v in ids.tolist()])
    return unique, code.astype(np.intp)


def _warn_of_twins(ids: list[Any], parameter: str) -> None:
    """Warn of queries (or other things) that have one id as a number and as text, which makes two of them."""
    texts = {name for name in ids if isinstance(name, str)}
    twins = [name for name in ids if not isinstance(name, str) and str(name) in texts]
    if twins:
        warnings.warn(
            f"{parameter!r} has ids that are a number in some rows and text in others, such as {twins[0]!r} "
            f"and {str(twins[0])!r} ({len(twins)} such ids): they are taken as different ones; "
            "give all rows ids of one type",
            UserWarning,
            stacklevel=2,
        )


def query_weights(
    sample_weight: ArrayLike | None, queries: Queries, *, name: str = "sample_weight"
) -> FloatArray:
    """Weight ``w_q`` of each query, (n_queries,) float64, from row-aligned `sample_weight`; None is all ones.

    Errors call the weights `name`.

    Raises
    ------
    ValueError
        If `sample_weight` has not one finite weight >= 0 a row, or differs within a query.

    Examples
    --------
    >>> query_weights([2.0, 1.0, 2.0], Queries.from_qid(["b", "a", "b"], 3)).tolist()
    [1.0, 2.0]
    """
    if sample_weight is None:
        return np.ones(queries.n_queries)
    weights = np.asarray(sample_weight, dtype=np.float64)
    remedy = "; for one weight per query use weights[query_index_of_row]"
    _check_row_weights(weights, queries, name=name, remedy=remedy)
    ordered = queries.sort(weights)
    # The first row of a query speaks for the query, and every other row must say the same.
    per_query: FloatArray = ordered[queries.ptr[:-1]]
    query_of_row = queries.query_of_ordered_row
    differing = np.flatnonzero(ordered != per_query[query_of_row])
    if len(differing):
        query = query_of_row[differing[0]]
        qid = queries.ids.tolist()[query]
        raise ValueError(
            f"{name!r} must be the same for all rows of a query, because it is the query's weight; "
            f"query {qid!r} has both {per_query[query]:g} and {ordered[differing[0]]:g}; "
            "give every row of a query one weight (PointwiseRanker alone takes a weight per row)"
        )
    return per_query


_MOST_PLACES = 2**24
"""Places of a query's ranking: float32 counts exactly so far, and every place has a discount in memory."""


def document_weights(
    document_weight: ArrayLike | None, queries: Queries, *, name: str = "document_weight"
) -> FloatArray | None:
    """Weight of each document, (n_samples,) float64 in ordered rows, from row-aligned weights.

    None where all documents weigh 1. Errors call the weights `name`.

    Raises
    ------
    ValueError
        If there is not one finite weight >= 0 a row, all are 0, or a query weighs more than 2**24.

    Examples
    --------
    >>> document_weights([2.0, 1.0, 0.5], Queries.from_qid(["b", "a", "b"], 3)).tolist()
    [1.0, 2.0, 0.5]
    """
    if document_weight is None:
        return None
    weights = np.asarray(document_weight)
    if weights.dtype.kind not in "fiub":
        raise ValueError(f"{name!r} must hold numbers; got dtype {weights.dtype}")
    weights = weights.astype(np.float64)
    _check_row_weights(weights, queries, name=name)
    if not len(weights) or (weights == 1.0).all():
        return None
    if not weights.any():
        raise ValueError(f"{name!r} must hold at least one non-zero weight; all weights are zero")
    ordered: FloatArray = queries.sort(weights)
    totals = np.add.reduceat(ordered, queries.ptr[:-1])
    heaviest = int(np.argmax(totals))
    if totals[heaviest] > _MOST_PLACES:
        raise ValueError(
            f"{name!r} must sum to at most {_MOST_PLACES} in a query, because a document takes as many "
            f"places of the ranking as it weighs; query {queries.ids.tolist()[heaviest]!r} has "
            f"{totals[heaviest]:g}; divide the weights by a number"
        )
    return ordered


def _check_row_weights(weights: FloatArray, queries: Queries, *, name: str, remedy: str = "") -> None:
    """Raise unless there is one finite weight >= 0 a row; `remedy` follows a wrong shape."""
    if weights.shape != (queries.n_samples,):
        raise ValueError(
            f"{name!r} must hold one weight per row: expected shape ({queries.n_samples},), "
            f"got {weights.shape}{remedy}"
        )
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        raise ValueError(
            f"{name!r} must be finite and >= 0; row {bad[0]} has {weights[bad[0]]} ({len(bad)} such rows)"
        )
