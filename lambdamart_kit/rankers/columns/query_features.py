"""Where a document stands among those of its query, as extra features."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted, validate_data

from lambdamart_kit.core.precision import feature_dtype
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import Array, Features, FloatArray, Ids

KINDS = ("rank", "zscore", "share")


class QueryFeatures(TransformerMixin, BaseEstimator):
    r"""Adds to each feature its rank, its z-score and its share of the maximum within the query.

    Raw features such as BM25 or a click count are on another scale in every query. What tells documents of a
    query apart is where they stand among the others. For the values x of a feature in a query with n known
    (not missing) values:

    .. math:: \text{rank}_i = \frac{r_i - 1}{n - 1}, \qquad
              z_i = \frac{x_i - \bar x}{s}, \qquad
              \text{share}_i = \frac{x_i}{\max_j |x_j|}

    where r is the rank from below (the mean rank of equal values), and s the standard deviation. Where the
    denominator is 0 the result is 0. A missing value stays missing. Labels are not looked at, and nothing is
    learned from the training queries, so nothing can leak.

    Parameters
    ----------
    kinds : tuple of {"rank", "zscore", "share"}
        Which are added, in this order.
    passthrough : bool
        Whether the features themselves come first.

    Attributes
    ----------
    n_features_in_ : int
        Columns that fit saw.
    feature_names_in_ : (n_features,) array of str
        Only if X has column names.

    Notes
    -----
    ``fit`` and ``transform`` ask for `qid` by metadata routing, so inside ``lambdamart_kit.query_routing()``
    pipelines and searches pass it on. ``Pipeline.predict`` then takes it as well:
    ``pipeline.predict(X, qid=qid)``.

    Examples
    --------
    >>> X = np.array([[1.0], [3.0], [5.0], [7.0]])
    >>> QueryFeatures().fit_transform(X, qid=["a", "a", "b", "b"]).astype(float).round(2).tolist()
    [[1.0, 0.0, -1.0, 0.33], [3.0, 1.0, 1.0, 1.0], [5.0, 0.0, -1.0, 0.71], [7.0, 1.0, 1.0, 1.0]]
    """

    __metadata_request__fit: ClassVar[dict[str, bool]] = {"qid": True}
    __metadata_request__transform: ClassVar[dict[str, bool]] = {"qid": True}

    n_features_in_: int

    def __init__(self, kinds: tuple[str, ...] = KINDS, *, passthrough: bool = True) -> None:
        self.kinds = kinds
        self.passthrough = passthrough

    def fit(self, X: Features, y: Any = None, qid: Ids = None) -> Self:
        """Learn the number and the names of the columns.

        Parameters
        ----------
        X : (n_samples, n_features) array-like or DataFrame
            Features of the rows, in the columns of the fit.
        y : None
            Not used.
        qid : ignored
            The query of each row; here so that it may be passed on by a pipeline.

        Returns
        -------
        QueryFeatures
            The fitted transformer itself.
        """
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown or not (self.kinds or self.passthrough):
            raise ValueError(f"'kinds' must be some of {', '.join(map(repr, KINDS))}; got {self.kinds!r}")
        _refuse_sparse(X)
        validate_data(self, X, dtype=[np.float64, np.float32], ensure_all_finite="allow-nan")
        return self

    def transform(self, X: Features, qid: Ids = None) -> Array:
        """The features and what is added to them, (n_samples, n_features * (1 + n_kinds)).

        Parameters
        ----------
        X : (n_samples, n_features) array-like or DataFrame of numbers
            Features of the rows, in the columns of the fit.
        qid : (n_samples,) array-like, optional
            Query of each row. None takes all rows as one query.

        Returns
        -------
        (n_samples, n_columns) float32; float64 with ``passthrough=True`` if the type of X needs it
            In the order of the rows; `get_feature_names_out` names the columns.
        """
        check_is_fitted(self)
        _refuse_sparse(X)
        checked = validate_data(
            self, X, reset=False, dtype=[np.float64, np.float32], ensure_all_finite="allow-nan"
        )
        return within_queries(
            checked, Queries.from_qid(qid, len(checked)), self.kinds, passthrough=self.passthrough
        )

    def fit_transform(self, X: Features, y: Any = None, qid: Ids = None) -> Array:
        """`fit`, then `transform`.

        Parameters
        ----------
        X : (n_samples, n_features) array-like, DataFrame or sparse matrix
            Features of the rows, in the columns of the fit.
        y : None
            Not used.
        qid : (n_samples,) array-like, optional
            Query of each row. None takes all rows as one query.

        Returns
        -------
        (n_samples, n_columns) float32; float64 with ``passthrough=True`` if the type of X needs it
            In the order of the rows; `get_feature_names_out` names the columns.
        """
        return self.fit(X, y).transform(X, qid=qid)

    def get_feature_names_out(self, input_features: Any = None) -> Array:
        """Names of the columns of `transform`: those of X, then such as ``bm25_rank``.

        Parameters
        ----------
        input_features : sequence of str, optional
            Names of the columns of X; those of the fit when left out.

        Returns
        -------
        (n_columns,) array of str
            In the order of the columns.
        """
        check_is_fitted(self)
        names = [str(name) for name in _check_feature_names_in(self, input_features)]
        return np.array(names_within_queries(names, self.kinds, passthrough=self.passthrough), dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


def within_queries(
    X: Array, queries: Queries, kinds: tuple[str, ...] = KINDS, *, passthrough: bool = True
) -> Array:
    """What `QueryFeatures` makes of the rows of an array, in their order."""
    n_rows, n_features = X.shape
    n_blocks = passthrough + len(kinds)
    # What is passed through keeps its precision: float32 would merge large numbers that lie close together.
    dtype = feature_dtype(X.dtype) if passthrough else np.float32
    out = np.empty((n_rows, n_features * n_blocks), dtype=dtype)
    if passthrough:
        out[:, :n_features] = X
    query = queries.unsort(queries.query_of_ordered_row)
    make = {"rank": _ranks, "zscore": _zscores, "share": _shares}
    # A column at a time: the sorts of one column are all that is in memory beside the result.
    for j in range(n_features):
        column = X[:, j].astype(np.float64)
        for at, kind in enumerate(kinds, start=int(passthrough)):
            out[:, at * n_features + j] = make[kind](column, query, queries.n_queries)
    return out


def names_within_queries(
    names: list[str], kinds: tuple[str, ...] = KINDS, *, passthrough: bool = True
) -> list[str]:
    """Names of the columns that `within_queries` makes."""
    return [*(names if passthrough else []), *(f"{name}_{kind}" for kind in kinds for name in names)]


def _ranks(column: FloatArray, query: Array, n_queries: int) -> FloatArray:
    """Mean rank from below of each known value within its query, from 0 to 1."""
    result = np.full(len(column), np.nan)
    known = np.flatnonzero(~np.isnan(column))
    order = known[np.lexsort((column[known], query[known]))]
    values = column[order]
    owner = query[order]
    # Equal values of a query are one run, whose rows share the mean of their places.
    starts = np.flatnonzero(np.concatenate(([True], (values[1:] != values[:-1]) | (owner[1:] != owner[:-1]))))
    lengths = np.diff(np.append(starts, len(order)))
    first = np.searchsorted(owner, owner, side="left")
    middle = np.repeat(starts + (lengths - 1) / 2.0, lengths) - first
    total = np.bincount(owner, minlength=n_queries)[owner] - 1.0
    result[order] = np.divide(middle, total, out=np.zeros(len(order)), where=total > 0)
    return result


def _zscores(column: FloatArray, query: Array, n_queries: int) -> FloatArray:
    """Deviation of each value from its query's mean in standard deviations."""
    # Summed in sorted order, so that the result does not depend on the order of the rows.
    order = np.lexsort((column, query))
    known = order[~np.isnan(column[order])]
    count = np.maximum(np.bincount(query[known], minlength=n_queries), 1)
    mean = np.bincount(query[known], weights=column[known], minlength=n_queries) / count
    deviation = column - mean[query]
    square = np.bincount(query[known], weights=deviation[known] ** 2, minlength=n_queries) / count
    # Deviations that are rounding of the mean make no spread.
    spread = np.sqrt(square)
    spread[spread <= 1e-12 * np.abs(mean)] = 0.0
    return _divided(deviation, spread[query])


def _shares(column: FloatArray, query: Array, n_queries: int) -> FloatArray:
    """Each value by the largest absolute value of its query."""
    largest = np.zeros(n_queries)
    np.fmax.at(largest, query, np.abs(column))
    return _divided(column, largest[query])


def _divided(values: FloatArray, by: FloatArray) -> FloatArray:
    """Quotient, 0 where the divisor is 0; a missing value stays missing."""
    result = np.divide(values, by, out=np.zeros(len(values)), where=by > 0)
    result[np.isnan(values)] = np.nan
    return result


def _refuse_sparse(X: Features) -> None:
    if sparse.issparse(X):
        raise ValueError(
            "'X' must be dense for QueryFeatures, because ranks and z-scores of a sparse column are not "
            "sparse; pass X.toarray(), or choose the columns that matter first"
        )
