"""Matrices of features as learners take them, views of chosen rows of one, ids and checks of rows."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from lambdamart_kit.core.precision import feature_dtype
from lambdamart_kit.core.typing import Array, ArrayLike, Features, Ids, IndexArray


@dataclass(frozen=True, eq=False)
class RowView:
    """Chosen rows of a matrix, without a copy: features are the largest thing in memory.

    Attributes
    ----------
    source : (n, n_features) float32 or float64 array or CSR matrix
    rows : (n_samples,) intp
        Row of `source` that stands at each place.

    Examples
    --------
    >>> view = RowView(np.array([[1.0], [2.0], [3.0]]), np.array([2, 0]))
    >>> view.shape, view.gather().ravel().tolist()
    ((2, 1), [3.0, 1.0])
    """

    source: Any
    rows: IndexArray

    @classmethod
    def of(cls, X: Features) -> RowView:
        """`X` itself if it is a view, else a view of all its rows."""
        return X if isinstance(X, cls) else cls(X, np.arange(X.shape[0], dtype=np.intp))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and features."""
        return len(self.rows), int(self.source.shape[1])

    @property
    def is_whole(self) -> bool:
        """Whether these are all rows of `source`, in its order."""
        # As many rows as the source has, each after the one before, can only be all of them in order.
        return len(self.rows) == self.source.shape[0] and bool((self.rows[1:] > self.rows[:-1]).all())

    def take(self, places: Array) -> RowView:
        """View of the rows at these `places`."""
        return RowView(self.source, self.rows[places])

    def gather(self) -> Any:
        """A copy of the rows."""
        return self.source[self.rows]

    def column(self, j: int) -> Array:
        """Column `j` as a contiguous array, float32 or float64."""
        whole = self.source[:, [j]].toarray()[:, 0] if sparse.issparse(self.source) else self.source[:, j]
        return np.ascontiguousarray(whole[self.rows], dtype=feature_dtype(whole.dtype))


CODES_END = 2**24  # category codes are below: float32 holds every whole number up to here


def flat(y: ArrayLike) -> Array:
    """A single column is taken as the vector it is."""
    labels = np.asarray(y)
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def native(values: ArrayLike) -> Array:
    """An array in the byte order of this machine, which kernels and pandas insist on; a copy if it was not.

    Examples
    --------
    >>> native(np.array([1, 2], dtype=">i4")).dtype == np.dtype("int32")
    True
    """
    array = np.asarray(values)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def is_sparse(X: Features) -> bool:
    """Whether X is a scipy sparse matrix or array."""
    return bool(sparse.issparse(X))


def with_pandas_columns(X: Features) -> Any:
    """X itself; of a Polars or Arrow table, the pandas frame of the same values.

    Examples
    --------
    >>> with_pandas_columns(np.eye(2)).shape
    (2, 2)
    """
    return X.to_pandas() if hasattr(X, "to_pandas") and not hasattr(X, "iloc") else X


def check_sparse(X: Features, name: str) -> None:
    """Refuse a sparse matrix whose indices point outside of it: SciPy and kernels would read there.

    SciPy checks this only when asked to. Measured on 5,000,000 stored values on one core of an AMD EPYC:
    0.8 ms, a tenth of what copying the matrix takes.

    Parameters
    ----------
    X : sparse matrix or array
    name : str
        Of the parameter, in the error.

    Raises
    ------
    ValueError
        If it is damaged; the message says what SciPy found.
    """
    try:
        if X.format in ("csr", "csc", "bsr"):
            # A matrix of its own over the same arrays, because the check tidies up the matrix it is given.
            type(X)((X.data, X.indices, X.indptr), shape=X.shape).check_format(full_check=True)
        elif X.format == "coo":
            type(X)((X.data, (X.row, X.col)), shape=X.shape)
        else:
            X.tocsr().check_format(full_check=True)
    except (ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise ValueError(
            f"{name!r} must be a sound sparse matrix; this {X.format} matrix of shape {X.shape} is not: "
            f"{error}"
        ) from None


def as_matrix(X: Features, name: str) -> Any:
    """X as it is, a two-dimensional array or a sound CSR matrix.

    Raises
    ------
    ValueError
        If it has not two dimensions, or is a damaged sparse matrix.
    """
    if is_sparse(X):
        check_sparse(X, name)
        return X.tocsr()
    array = np.asarray(X)
    if array.ndim != 2:
        raise ValueError(f"{name!r} must have two dimensions, one row each; got shape {array.shape}")
    return array


def as_csr(X: Features, *, copy: bool = False) -> Any:
    """Any sparse input as a CSR matrix with 32-bit indices where they fit, and no entry twice.

    LightGBM and CatBoost do not know scipy's sparse arrays, nor CatBoost 64-bit indices. SciPy adds up
    entries that are stored twice, where learners would take one of them.
    """
    matrix: Any = sparse.csr_matrix(X, copy=copy)
    if not matrix.has_canonical_format:
        matrix = matrix.copy()  # `sum_duplicates` works in place, and the arrays may be the caller's
        matrix.sum_duplicates()
    if matrix.indices.dtype != np.int32 and matrix.nnz < 2**31:
        narrow = (matrix.data, matrix.indices.astype(np.int32), matrix.indptr.astype(np.int32))
        matrix = sparse.csr_matrix(narrow, shape=matrix.shape)
    return matrix


def column_index(value: Any) -> int:
    """A whole number as a column's index.

    Raises
    ------
    TypeError
        If it is anything else: True is no column, and 2.0 is most often a value that went astray.
    """
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"a column is a whole number; got {value!r}")
    return operator.index(value)


def check_codes(X: Features, columns: Sequence[int]) -> None:
    """Categorical columns must hold whole numbers 0 .. 2**24 - 1, or NaN."""
    for j in columns:
        values = X[:, [j]].data if is_sparse(X) else X[:, j]
        with np.errstate(invalid="ignore"):
            bad = np.flatnonzero(~(np.isnan(values) | ((values >= 0) & (values == np.floor(values)))))
        # From there on float32 would merge neighbouring codes.
        if len(bad) or np.any(values >= CODES_END):
            example = values[bad[0]] if len(bad) else np.nanmax(values)
            raise ValueError(
                f"'categorical_features' column {j} must hold codes 0, 1, 2, ... below 2**24; got "
                f"{example:g}; pass a DataFrame with a category column and the codes are made for you"
            )


def as_ids(ids: Ids) -> Array:
    """`ids` as an array; a list of numbers and text stays one of numbers and text.

    NumPy makes text of such a list, and 1 and '1' would be one id.

    Parameters
    ----------
    ids : array-like
        Ids of any types.

    Returns
    -------
    array
        Of objects where a list holds text beside other things.

    Examples
    --------
    >>> as_ids([1, "1"]).tolist(), as_ids(["a", "b"]).dtype.kind
    ([1, '1'], 'U')
    """
    found = np.asarray(ids)
    if found.dtype.kind not in "US" or hasattr(ids, "dtype"):
        return found
    kept = np.asarray(ids, dtype=object)
    same = kept.shape == found.shape and all(isinstance(one, str | bytes) for one in kept.flat)
    return found if same or kept.shape != found.shape else kept


def check_given_rows(given: Mapping[str, Any], *, stacklevel: int = 2) -> None:
    """Refuse masked entries, and warn of rows that stand in another order than those of the first argument.

    Rows are matched by their place, as scikit-learn does. Of two values of pandas whose indexes hold the same
    rows in another order, or other rows, one is most often a mistake. An index that only counts rows from 0,
    as ``reset_index`` leaves it, says nothing of other rows.

    Parameters
    ----------
    given : mapping
        Values by the name of their parameter; None and what is not row-aligned by itself is passed over.
    stacklevel : int
        Of the warning.

    Raises
    ------
    ValueError
        If values of a masked array are masked: nothing else would look at the mask.

    Examples
    --------
    >>> import pandas as pd
    >>> check_given_rows({"X": pd.DataFrame({"a": [1, 2]}, index=[3, 4]), "y": pd.Series([0, 1])})
    """
    for name, values in given.items():
        if np.ma.is_masked(values):
            remedy = "pass X.filled(np.nan)" if name.startswith("X") else "leave those rows out"
            raise ValueError(
                f"{name!r} must hold no masked entries, which would be read as if they were not masked; got "
                f"{int(np.ma.getmaskarray(values).sum())}; {remedy}"
            )
    indexed = {name: values.index for name, values in given.items() if _has_index(values)}
    if len(indexed) < 2:
        return
    (first, rows), *others = indexed.items()
    for name, index in others:
        if _contradicts(index, rows):
            at = int(np.flatnonzero(np.asarray(index != rows))[0])
            warnings.warn(
                f"{name!r} has other rows than {first!r}, or in another order, by their indexes: row {at} is "
                f"{index.tolist()[at]!r} of {name!r} and {rows.tolist()[at]!r} of {first!r}. Rows are "
                f"matched by place: pass {name}.loc[{first}.index], or {name}.to_numpy() if the places are "
                "right",
                UserWarning,
                stacklevel=stacklevel + 1,
            )


def _has_index(values: Any) -> bool:
    return hasattr(values, "iloc") and hasattr(values, "index")


def _contradicts(index: Any, other: Any) -> bool:
    """Whether two indexes of as many rows say that the rows are not the same, each in its place."""
    if len(index) != len(other) or index is other or index.equals(other):
        return False
    if not (_only_counts(index) or _only_counts(other)):
        return True
    if not (index.is_unique and other.is_unique):
        return False
    return bool((other.get_indexer(index) >= 0).all())


def _only_counts(index: Any) -> bool:
    """Whether an index is what pandas makes where none is given."""
    return getattr(index, "start", None) == 0 and getattr(index, "step", None) == 1
