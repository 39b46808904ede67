"""Single and double precision of features: which one holds a column, and what a cast would merge.

Features are kept in float32 where their type fits into it, and in float64 otherwise. The same data give the
same model in both, unless float32 merges what float64 tells apart.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from lambdamart_kit.core.typing import Array, BoolArray, Features, Float32Array

_LOOKED_AT = 20_000  # rows that are looked at: enough to see one value in a hundred merge
_LOOKED_AT_TRANSFORMED = 2_000  # each column is sorted twice
# Share of a column's distinct values that must merge before the user is told. In any column of real numbers
# a few in 10,000 merge.
_WORTH_A_WORD = 0.01
TINY = np.float32(1e-35)  # LightGBM's models take values up to this size for zero


def feature_dtype(dtype: Any) -> Any:
    """float32 if it holds every value of `dtype`, else float64.

    Examples
    --------
    >>> [feature_dtype(kind).__name__ for kind in ("float32", "int16", "bool", "float64", "int64")]
    ['float32', 'float32', 'float32', 'float64', 'float64']
    """
    return np.float32 if np.can_cast(dtype, np.float32) else np.float64


def as_features(X: Features) -> Any:
    """X as a C-contiguous array or CSR matrix in the precision that holds it."""
    if sparse.issparse(X):
        return sparse.csr_matrix(X, dtype=feature_dtype(X.dtype))
    array = np.asarray(X)
    return np.ascontiguousarray(array, dtype=feature_dtype(array.dtype))


def fits_single(values: Array) -> BoolArray:
    """Which values float32 holds exactly; NaN and infinities are among them.

    Examples
    --------
    >>> fits_single(np.array([0.5, 0.1, np.nan, 1e300])).tolist()
    [True, False, True, False]
    """
    if values.dtype == np.float32:
        return np.ones(values.shape, dtype=bool)
    with np.errstate(over="ignore"):
        return np.asarray((values.astype(np.float32) == values) | np.isnan(values))


def narrowed(values: Array) -> Array:
    """The values as float32 if that changes none of them, else as they are.

    Examples
    --------
    >>> narrowed(np.array([0.5, np.nan])).dtype, narrowed(np.array([0.5, 0.1])).dtype
    (dtype('float32'), dtype('float64'))
    """
    return values.astype(np.float32) if fits_single(values).all() else values


def floor_single(values: Any) -> Float32Array:
    """The largest float32 that is not above each value.

    No float32 lies between the two, so ``x <= value`` says the same of a float32 x with either.

    Examples
    --------
    >>> bool(floor_single(0.1) < 0.1), float(floor_single(0.5))
    (True, 0.5)
    """
    exact = np.asarray(values, dtype=np.float64)
    with np.errstate(over="ignore"):
        rounded = exact.astype(np.float32)
        below = np.nextafter(rounded, np.float32(-np.inf))
    # The cast rounds to the nearest float32. If that lies above
    # the value, its neighbour below is the answer.
    return np.where(rounded > exact, below, rounded).astype(np.float32)


def check_range(X: Features, name: str) -> None:
    """Refuse numbers beyond float32, 3.4e38: they are a mistake, or stand for "missing".

    Parameters
    ----------
    X : array or CSR matrix
    name : str
        Of the parameter, in the error.
    """
    values = X.data if sparse.issparse(X) else X
    if values.dtype == np.float32 or not values.size:
        return
    largest = np.finfo(np.float32).max
    # NaN is passed over, and nothing of the size of X is made.
    if np.fmax.reduce(values, axis=None) > largest or np.fmin.reduce(values, axis=None) < -largest:
        with np.errstate(invalid="ignore"):
            example = values[np.abs(values) > largest][0]
        raise ValueError(
            f"Input {name} contains {example:g}, a value too large for dtype('float32'): numbers must be "
            "within 3.4e38 of zero; NaN is a missing value"
        )


def merged_columns(X: Features, names: Sequence[str] | None = None) -> list[str]:
    """The columns of which float32 merges distinct values, each with their numbers.

    At most 20,000 rows are looked at, evenly spread, and a column counts from one value in a hundred.

    Parameters
    ----------
    X : (n_samples, n_features) array or CSR matrix
    names : sequence of str, optional
        Names of the columns.

    Examples
    --------
    >>> merged_columns(np.array([[1e9, 0.1], [1e9 + 1, 0.2]]))
    ['column 0 (2 distinct values become 1)']
    """
    if X.dtype != np.float64:
        return []
    # The step is the number of rows over the most rows to look at, rounded up.
    rows = X[:: max(1, -(-X.shape[0] // _LOOKED_AT))]
    columns = rows.tocsc() if sparse.issparse(rows) else rows
    merged: list[str] = []
    for j in range(X.shape[1]):
        values = (
            columns.data[columns.indptr[j] : columns.indptr[j + 1]] if sparse.issparse(rows) else rows[:, j]
        )
        if fits_single(values).all():
            continue
        with np.errstate(over="ignore"):
            merged += _merged(values, values.astype(np.float32), j, names)
    return merged


def _merged(values: Array, seen: Array, j: int, names: Sequence[str] | None) -> list[str]:
    """Column `j` with its numbers in a list, if distinct `values` are too often equal as they are `seen`."""
    is_known = ~np.isnan(values)
    distinct, at = np.unique(values[is_known], return_index=True)
    n_left = len(np.unique(seen[is_known][at]))
    if len(distinct) - n_left <= _WORTH_A_WORD * len(distinct):
        return []
    name = f"column {j if names is None else repr(names[j])}"
    return [f"{name} ({len(distinct):,} distinct values become {n_left:,})"]


def warn_of_merging_transform(
    X: Features, transform: Callable[[Any], Any], names: Sequence[str] | None, reader: str
) -> None:
    """Warn if distinct values of a column of X are one after `transform`, whose result is float32.

    One number that is far from all others does that, such as 1e30 for "missing": in units of the spread, the
    others lie closer together than float32 tells apart. 2,000 rows are looked at, evenly spread.

    Parameters
    ----------
    X : (n_samples, n_features) array or CSR matrix
    transform : callable
        Makes of rows of X as many rows and columns.
    names : sequence of str, optional
        Names of the columns.
    reader : str
        Who transforms, for the message.
    """
    rows = X[:: max(1, -(-X.shape[0] // _LOOKED_AT_TRANSFORMED))]
    seen = transform(rows)
    if sparse.issparse(rows):
        rows, seen = rows.toarray(), seen.toarray()
    merged = [text for j in range(rows.shape[1]) for text in _merged(rows[:, j], seen[:, j], j, names)]
    if merged:
        warnings.warn(
            f"{reader} merges values of {_first_five(merged)}, because the column's spread is large against "
            "the distances of its values; look for a number that stands for 'missing' and pass NaN instead, "
            "subtract the smallest value, or set input_transform='quantile'",
            UserWarning,
            stacklevel=2,
        )


def _first_five(merged: Sequence[str]) -> str:
    more = f" and {len(merged) - 5} more columns" if len(merged) > 5 else ""
    return f"{', '.join(merged[:5])}{more}"


_USE_FLOAT64 = (
    "subtract the column's smallest value, or use booster='native' or 'lightgbm', which read float64"
)


def warn_of_merged_values(
    X: Features,
    names: Sequence[str] | None,
    reader: str,
    *,
    remedy: str = _USE_FLOAT64,
) -> None:
    """Warn if `reader`, who takes features as float32, would see distinct values of a column as one."""
    merged = merged_columns(X, names)
    if merged:
        warnings.warn(
            f"{reader} takes features as float32, which merges values of {_first_five(merged)}; {remedy}",
            UserWarning,
            stacklevel=2,
        )
