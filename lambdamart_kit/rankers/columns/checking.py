"""What every ranker does with the columns of X: it learns them at fit, and checks them before it scores."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import _check_feature_names, validate_data

from lambdamart_kit.core.precision import check_range, feature_dtype
from lambdamart_kit.core.rows import as_csr, check_codes, check_given_rows, check_sparse, is_sparse
from lambdamart_kit.core.typing import Array, Features
from lambdamart_kit.rankers.columns.categories import (
    Categorical,
    Categories,
    FeatureColumns,
    categorical_columns,
    check_column_types,
    column_names,
    encode_categories,
    learn_categories,
    other_labels,
    plain_frame,
)


class HasColumns:
    """A ranker's knowledge of its feature columns: their number, names and categories.

    The public part, `columns`, `take_columns` and `training_features`, belongs to the training seam of
    `BaseRanker`. It reads the parameter ``categorical_features`` if the ranker has it.
    """

    _allows_nan: ClassVar[bool] = True
    _accepts_sparse: ClassVar[bool] = True
    _scores_infinities: ClassVar[bool] = False  # whether an infinite feature has a place among the others

    n_features_in_: int
    feature_names_in_: Array
    column_labels_: tuple[Any, ...]  # only there where columns have labels that are no names
    categories_: Categories
    categorical_columns_: tuple[int, ...]

    @property
    def columns(self) -> FeatureColumns:
        """What the ranker knows of the feature columns; `n_features` is None before it has seen them."""
        return FeatureColumns(
            n_features=getattr(self, "n_features_in_", None),
            names=getattr(self, "feature_names_in_", None),
            categorical=self.categorical_columns_,
            categories=self.categories_,
        )

    def take_columns(self, columns: FeatureColumns) -> None:
        """Take over what is known of the feature columns, as `fit` does from X."""
        if columns.n_features is not None:
            self.n_features_in_ = columns.n_features
        if columns.names is not None:
            self.feature_names_in_ = columns.names
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        self._learn_labels(None)
        self.categorical_columns_ = columns.categorical
        self.categories_ = columns.categories

    def training_features(self, X: Features, *, name: str = "X") -> Any:
        """Features as a learner takes them: floats, categories as codes, everything checked.

        Parameters
        ----------
        X : (n_samples, n_features) array-like, DataFrame or sparse matrix
        name : str
            What an error calls them.

        Returns
        -------
        (n_samples, n_features) array or CSR matrix, float32 or float64

        Raises
        ------
        ValueError
            If a value is not usable.
        """
        checked = self._check_features(X, name=name)
        check_codes(checked, [j for j in self.categorical_columns_ if j not in self.categories_])
        return checked

    def _learn_categories(self, X: Features) -> None:
        """Learn which columns of a training X are categorical, and their categories."""
        setting: Categorical = getattr(self, "categorical_features", None)
        columns = categorical_columns(X, setting, column_names(X))
        self.categories_ = learn_categories(X, columns)
        self.categorical_columns_ = tuple(columns)
        self._learn_labels(X)
        self._warn_unless_saved(X)

    def _learn_labels(self, X: Features) -> None:
        """Keep what the columns of a frame are called if that is no text; forget what it was before."""
        labels = other_labels(X)
        if labels is not None and all(map(_can_be_saved, labels)):
            self.column_labels_ = labels
        elif hasattr(self, "column_labels_"):
            del self.column_labels_

    def _in_fitted_order(self, X: Features, name: str = "X") -> Any:
        """A frame of the columns of the fit in another order, in that of the fit; anything else as it is."""
        labels = getattr(self, "column_labels_", None)
        given = None if labels is None else other_labels(X)
        if given is None or labels is None:
            return in_fitted_order(X, getattr(self, "feature_names_in_", None), name)
        if given == labels or len(given) != len(labels):
            return X
        unknown = set(given) - set(labels)
        if unknown:
            first = min(unknown, key=str)
            raise ValueError(
                f"{name!r} must have the columns of the fit; its column {first!r} was not there, where they "
                f"began with {list(labels[:5])}; pass the same columns, or {name}.to_numpy() if "
                "they stand in the order of the fit"
            )
        return X[list(labels)]

    def _warn_unless_saved(self, X: Features) -> None:
        """Warn, before any training, of categories that `save` will not be able to write."""
        for j, known in self.categories_.items():
            unknown = [value for value in known if not _can_be_saved(value)]
            if unknown:
                warnings.warn(
                    f"'X' column {X.columns[j]!r} has categories of type {type(unknown[0]).__name__}, which "
                    "no model file can hold: save() will fail; make them text first, as in "
                    f"X[{X.columns[j]!r}].astype(str).astype('category')",
                    UserWarning,
                    stacklevel=6,
                )

    def _known_features(self, X: Features, *, name: str = "X", finite: bool = True) -> Any:
        """X as `_check_features` gives it, of the columns of the fit; a frame's columns are found by name."""
        X = self._in_fitted_order(plain_frame(X, name), name)
        with _called(name):
            if hasattr(X, "columns") or hasattr(X, "column_names"):
                # before a value of a wrong column is complained about
                _check_feature_names(self, X, reset=False)
        checked = self._check_features(X, name=name, finite=finite)
        with _called(name):
            validate_data(self, X, skip_check_array=True, reset=False)
        return checked

    def _check_features(self, X: Features, *, name: str = "X", finite: bool = True) -> Any:
        """X as a float32 or float64 array, or a CSR matrix; `finite` refuses what is beyond float32."""
        if is_sparse(X):
            check_sparse(X, name)
        check_given_rows({name: X})
        encoded = encode_categories(plain_frame(X, name), self.categories_, name)
        check_column_types(encoded, name)
        try:
            checked = check_array(
                encoded,
                accept_sparse="csr" if self._accepts_sparse else False,
                dtype=_precision_of(encoded),
                order="C",
                ensure_all_finite=finite and ("allow-nan" if self._allows_nan else True),
                estimator=self,
                input_name=name,
            )
        except (TypeError, ValueError) as error:
            # An array of objects that are no numbers is a TypeError, as scikit-learn's checks want it.
            explained = isinstance(error, ValueError) or hasattr(encoded, "columns")
            takes_categories = hasattr(self, "categorical_features")
            problem = _first_text(encoded, name, takes_categories) if explained else None
            if problem is None:
                raise
            raise ValueError(problem) from error
        if finite:
            check_range(checked, name)
        return as_csr(checked) if is_sparse(checked) else checked

    def _is_checked(self, X: Features) -> bool:
        """Whether X needs no checks, which would take longer than scoring the rows of one query."""
        if type(X) is not np.ndarray or X.dtype not in (np.float32, np.float64):
            return False
        if X.ndim != 2 or not X.flags.c_contiguous:
            return False
        if X.shape[1] != getattr(self, "n_features_in_", 0) or hasattr(self, "feature_names_in_"):
            return False
        if not len(X) or self.categories_:
            return False
        with np.errstate(over="ignore", invalid="ignore"):
            return self._scores_infinities or bool(np.isfinite(X.sum()))

    def _column_names(self) -> tuple[str, ...]:
        """Names of the columns: those at fit, or f1, f2, ... as LETOR files number them."""
        names = getattr(self, "feature_names_in_", None)
        if names is not None:
            return tuple(map(str, names))
        return tuple(f"f{number}" for number in range(1, self.n_features_in_ + 1))


@contextmanager
def _called(name: str) -> Iterator[None]:
    """Let errors of scikit-learn, which knows "X" only, say which of several tables they mean."""
    try:
        yield
    except ValueError as error:
        if name == "X":
            raise
        raise ValueError(f"{name!r} must have the columns of 'X': {error}") from None


def in_fitted_order(X: Features, names: Array | None, name: str = "X") -> Any:
    """A frame that has the columns of the fit in another order, in that of the fit; anything else as it is.

    Parameters
    ----------
    X : array-like, DataFrame or sparse matrix
        Features of rows to score.
    names : (n_features,) array of str, or None
        Columns at fit; None if they had no names.
    name : str
        What an error calls X.

    Returns
    -------
    array-like, DataFrame or sparse matrix
        X itself, or a frame of the same kind.

    Examples
    --------
    >>> import pandas as pd
    >>> in_fitted_order(pd.DataFrame({"b": [1], "a": [2]}), np.array(["a", "b"])).columns.tolist()
    ['a', 'b']
    """
    given = None if names is None else column_names(X, name)
    if names is None or given is None or len(given) != len(names) or (given == names).all():
        return X
    # A column that is missing or unknown is for scikit-learn to complain about.
    if set(given) != set(names):
        return X
    order = list(names)
    return X.select(order) if hasattr(X, "select") and not hasattr(X, "iloc") else X[order]


def _first_text(X: Features, name: str, takes_categories: bool) -> str | None:
    """What to say of the first value that is no number, if there is one in a table."""
    if is_sparse(X) or np.ndim(X) != 2:
        return None
    values = np.asarray(X, dtype=object)
    columns = getattr(X, "columns", None)
    for j in range(values.shape[1]):
        for value in values[:, j]:
            if not _is_number(value):
                named = j if columns is None else columns[j]
                remedy = _remedy_of_text(X, j, named, takes_categories)
                return (
                    f"{name!r} must hold numbers; column {named!r} holds {value!r}; {remedy}, or leave the "
                    "column out"
                )
    return None


def _remedy_of_text(X: Features, j: int, named: Any, takes_categories: bool) -> str:
    if not takes_categories:
        return "encode it as numbers, as with scikit-learn's OneHotEncoder"
    if hasattr(X, "iloc") and str(X.dtypes.iloc[j]) == "category":
        return "set the ranker's parameter categorical_features='auto', or name the column there"
    frame = "X" if hasattr(X, "columns") else "pd.DataFrame(X)"
    return f"make text a category, as in {frame}[{named!r}].astype('category')"


def _is_number(value: Any) -> bool:
    """Whether NumPy makes a number of `value`, or takes it for a missing one."""
    if value is None or type(value).__name__ == "NAType":  # pandas.NA
        return True
    try:
        float(value)
    except (TypeError, ValueError):
        return isinstance(value, complex | np.complexfloating)  # scikit-learn says what is wrong with those
    return np.ndim(value) == 0


def _can_be_saved(value: object) -> bool:
    """Whether a model file holds a category: text, a number, or a tuple of these."""
    if isinstance(value, tuple):
        return all(map(_can_be_saved, value))
    return isinstance(value, str | int | float | np.generic)


def _precision_of(X: Features) -> Any:
    """float32 where the type of every value of X fits into it, else float64."""
    kinds = getattr(X, "dtypes", None)
    if kinds is None:
        kinds = [getattr(X, "dtype", np.float64)]
    try:
        return feature_dtype(np.result_type(np.bool_, *kinds))
    except TypeError:  # a type of pandas' or of text: scikit-learn has the last word on it
        return np.float64
