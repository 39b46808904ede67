"""Categorical columns: finds them, and replaces their values by the codes that trees are given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Number
from typing import Any, Literal, TypeAlias

import numpy as np
from sklearn.utils.validation import _get_feature_names

from lambdamart_kit.core.rows import column_index, is_sparse
from lambdamart_kit.core.typing import Array, Features

Categorical: TypeAlias = Literal["auto"] | Sequence[int] | Sequence[str] | Sequence[bool] | None
Categories: TypeAlias = dict[int, list[Any]]


@dataclass(frozen=True, eq=False)
class FeatureColumns:
    """What a ranker knows of the columns of X.

    Attributes
    ----------
    n_features : int or None
        None if only the rows will tell, as with LETOR files.
    names : (n_features,) array of str, or None
    categorical : tuple of int
        Columns that hold categories.
    categories : dict
        Known categories of each column whose values are not codes already; a code is a place in the list.
    """

    n_features: int | None
    names: Array | None = None
    categorical: tuple[int, ...] = ()
    categories: Categories = field(default_factory=dict)


def column_names(X: Features, name: str = "X") -> Array | None:
    """Names of the columns of a frame or table; None if X has none, or none that are text.

    Parameters
    ----------
    X : array-like, DataFrame, table or sparse matrix
    name : str
        What an error calls X.

    Returns
    -------
    (n_features,) array of str, or None

    Raises
    ------
    ValueError
        If two columns have the same name. Libraries would give one of them the values of the other.

    Examples
    --------
    >>> import pandas as pd
    >>> column_names(pd.DataFrame([[1, 2, 3]], columns=["price", "clicks", "price"]))
    Traceback (most recent call last):
        ...
    ValueError: 'X' must have columns of different names, got 'price' 2 times; rename one, or leave it out
    """
    if isinstance(X, np.ndarray):
        return None  # at once: scikit-learn asks seven libraries of frames whether it is theirs
    given = getattr(X, "column_names", None)  # of an Arrow table, whose `columns` are the values
    given = getattr(X, "columns", ()) if given is None else given
    counts: Counter[object] = Counter(given)
    repeated = [column for column, count in counts.items() if count > 1]
    if repeated:
        raise ValueError(
            f"{name!r} must have columns of different names, got {repeated[0]!r} {counts[repeated[0]]} "
            "times; rename one, or leave it out"
        )
    names: Array | None = _get_feature_names(X)
    return names


def other_labels(X: Features) -> tuple[Any, ...] | None:
    """Labels of the columns of a pandas frame if they are no text: numbers, or those of several levels.

    scikit-learn knows only names that are text, and takes other columns by their place.

    Examples
    --------
    >>> import pandas as pd
    >>> other_labels(pd.DataFrame([[1, 2]])), other_labels(pd.DataFrame({"a": [1]}))
    ((0, 1), None)
    """
    if not hasattr(X, "iloc") or not hasattr(X, "columns") or column_names(X) is not None:
        return None
    return tuple(X.columns.tolist())


def categorical_columns(X: Features, setting: Categorical, names: Array | None) -> list[int]:
    """Indices of the categorical columns of X under the parameter 'categorical_features'."""
    if setting is None:
        return []
    if isinstance(setting, str):
        if not hasattr(X, "iloc"):
            return []
        return [j for j, dtype in enumerate(X.dtypes) if str(dtype) == "category"]
    n_features = _n_columns(X)
    entries = list(setting)
    if entries and all(isinstance(entry, bool | np.bool_) for entry in entries):
        if len(entries) != n_features:
            raise ValueError(
                f"'categorical_features' must have one entry a column if it is a mask: 'X' has {n_features} "
                f"columns, got {len(entries)} entries"
            )
        return [j for j, chosen in enumerate(entries) if chosen]
    places = {} if names is None else {name: j for j, name in enumerate(names)}
    return sorted({_named_column(entry, n_features, places) for entry in entries})


def _n_columns(X: Features) -> int:
    shape = X.shape if hasattr(X, "shape") else np.shape(X)
    if len(shape) != 2:
        raise ValueError(
            f"'X' must be two-dimensional, one row each and one column a feature; got shape {shape}"
        )
    return int(shape[1])


def _named_column(entry: Any, n_features: int, places: Mapping[str, int]) -> int:
    """Index of the column that one entry of 'categorical_features' means."""
    if isinstance(entry, str):
        if entry not in places:
            raise ValueError(f"'categorical_features' has {entry!r}, which is not a column of 'X'")
        return places[entry]
    try:
        j = column_index(entry)
    except TypeError:
        raise ValueError(
            "'categorical_features' must hold indices (whole numbers), names, or a mask (True or False for "
            f"every column); got {entry!r}"
        ) from None
    if not 0 <= j < n_features:
        raise ValueError(
            f"'categorical_features' must be in 0 .. {n_features - 1}, the columns of 'X'; got {j}"
        )
    return j


def check_is_table(X: Features, name: str = "X") -> None:
    """Refuse what has no columns that could be told apart by place, such as a dict or records.

    Raises
    ------
    ValueError
        Saying how to make a table of it.
    """
    kind = type(X).__name__
    if hasattr(X, "collect") and not hasattr(X, "shape"):
        raise ValueError(f"{name!r} must hold rows, and a lazy {kind} has none yet; pass {name}.collect()")
    is_dict = isinstance(X, dict) and not is_sparse(X)  # a kind of SciPy's sparse matrices is a dict
    if is_dict or getattr(getattr(X, "dtype", None), "names", None):
        what = "a dict" if is_dict else "an array of records"
        raise ValueError(
            f"{name!r} must be a table of numbers, rows by columns; got {what}; pass pd.DataFrame({name})"
        )
    if hasattr(X, "to_frame") and len(getattr(X, "shape", ())) == 1:
        raise ValueError(
            f"{name!r} must have two dimensions, rows by columns; got a {kind} of shape {X.shape}; pass "
            f"{name}.to_frame() if it is the only column"
        )


def plain_frame(X: Features, name: str = "X") -> Any:
    """X itself; of a Polars or Arrow table with anything but numbers, the pandas frame of the same values.

    Categories and text are read through pandas, so that a ranker fitted on one kind of frame scores another.
    Categories that nobody declared stand in the order in which a table happened to meet them; here they are
    sorted, so that the codes do not depend on the order of the rows.

    Raises
    ------
    ValueError
        If X is a lazy frame, which has no rows yet, or no table.
    """
    check_is_table(X, name)
    if hasattr(X, "iloc") or not hasattr(X, "to_pandas"):
        return X
    kinds = getattr(X, "dtypes", None)
    if kinds is not None and all(hasattr(kind, "is_numeric") and kind.is_numeric() for kind in kinds):
        return X
    frame = X.to_pandas()
    declared = {} if kinds is None else dict(zip(X.columns, map(str, kinds)))
    for column in frame.select_dtypes("category"):
        values = frame[column].cat
        if not values.ordered and not declared.get(column, "").startswith("Enum"):
            frame[column] = values.reorder_categories(sorted(values.categories, key=str))
    return frame


def check_column_types(X: Features, name: str) -> None:
    """Refuse dates and other values that no rule turns into numbers, with what to do about them."""
    columns = list(zip(X.columns, X.dtypes)) if hasattr(X, "iloc") else []
    if isinstance(X, np.ndarray):
        columns = [("0 and following", X.dtype)]
    for column, kind in columns:
        if str(kind).startswith(("period", "interval")):
            raise ValueError(
                f"{name!r} must hold numbers; column {column!r} holds {kind}; make numbers of the values, or "
                "leave the column out"
            )
        if getattr(kind, "kind", None) in ("m", "M"):
            raise ValueError(
                f"{name!r} must hold numbers; column {column!r} holds {kind}; pass seconds, as in "
                f"({name}[{column!r}] - start).dt.total_seconds() of dates, or leave the column out"
            )


def learn_categories(X: Features, columns: Sequence[int]) -> Categories:
    """The categories of each categorical column of a frame that holds anything but codes already."""
    if not hasattr(X, "iloc"):
        return {}
    found: Categories = {}
    for j in columns:
        values = X.iloc[:, j]
        if str(values.dtype) == "category":
            found[j] = list(values.cat.categories)
        elif not np.issubdtype(np.asarray(values).dtype, np.number):
            found[j] = sorted(values.dropna().unique(), key=str)
    return found


def encode_categories(X: Features, categories: Mapping[int, list[Any]], name: str = "X") -> Any:
    """A frame with its categorical columns as codes in the order of `categories`; unknown is NaN.

    Raises
    ------
    ValueError
        If X is no frame, or none of a column's values is known and all are of another kind, such as text
        where the ranker learned numbers.
    """
    if not categories:
        return X
    X = X.to_pandas() if hasattr(X, "to_pandas") else X
    if not hasattr(X, "iloc"):
        raise ValueError(
            f"{name!r} must be a DataFrame, because columns {sorted(categories)} were categorical at fit; "
            f"got {type(X).__name__}"
        )
    import pandas as pd

    X = X.copy(deep=False)
    for j, known in categories.items():
        values = X.iloc[:, j]
        index = pd.Index(known)
        if str(values.dtype) == "category":  # look up each category once, not each row
            own = np.append(index.get_indexer(values.cat.categories), -1)
            codes = own[values.cat.codes.to_numpy()]
        else:
            codes = index.get_indexer(values)
        if known and (codes < 0).all():
            _check_kind(values, known, name)
        X.isetitem(j, np.where(codes < 0, np.nan, codes).astype(np.float32))
    return X


def _check_kind(values: Any, known: list[Any], name: str) -> None:
    """Refuse a column of which no value is known because all are text instead of numbers, or the like."""
    given = values.dropna().unique().tolist()
    kinds = {_kind(value) for value in known}
    if not given or any(_kind(value) in kinds for value in given):
        return
    raise ValueError(
        f"{name!r} must hold in column {values.name!r} categories of the kind that fit saw, "
        f"{_kind(known[0])} such as {known[0]!r}; got {_kind(given[0])} such as {given[0]!r}; convert the "
        "column, or fit again"
    )


def _kind(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "booleans"
    if isinstance(value, Number):
        return "numbers"
    return "text" if isinstance(value, str) else f"values of type {type(value).__name__}"
