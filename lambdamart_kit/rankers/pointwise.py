"""Any regressor or classifier as a ranker: the pointwise baseline."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from sklearn.base import MetaEstimatorMixin, clone, is_classifier
from sklearn.utils import get_tags
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, has_fit_parameter, validate_data

from lambdamart_kit.boosters.protocol import LibraryObjective, Model
from lambdamart_kit.boosters.registry import find_booster, read_model
from lambdamart_kit.boosters.rounds import Stopwatch
from lambdamart_kit.boosters.settings import BoosterParams
from lambdamart_kit.core.gains import check_relevance
from lambdamart_kit.core.ordered_rows import OrderedRows
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.rows import flat
from lambdamart_kit.core.typing import Features, FloatArray, RandomState
from lambdamart_kit.explain.explained import Explained
from lambdamart_kit.export.model import TreeSum
from lambdamart_kit.rankers.base import BaseRanker
from lambdamart_kit.rankers.columns.categories import column_names
from lambdamart_kit.rankers.steering.given import FitInput
from lambdamart_kit.rankers.steering.training_set import TrainingSet

_DEFAULT_TREES = 300


class PointwiseRanker(MetaEstimatorMixin, BaseRanker):
    """A regressor of the label, or a classifier by its expected label, used as a ranker.

    Queries play no part in training: every row counts alike, so a query with many documents weighs more
    than one with few. That is what makes it a baseline.

    Parameters
    ----------
    estimator : regressor or classifier, optional
        Any scikit-learn estimator with ``fit`` and ``predict``; a classifier also needs ``predict_proba``,
        and scores ``sum over labels of label * P(label | row)``. None is LightGBM's L2 regression, 300
        trees of 31 leaves. (With early stopping on held-out queries:
        ``LightGBMRanker(objective="regression")``.)
    random_state : int, RandomState or None
        Of the default estimator; a given estimator keeps its own.
    n_jobs : int, optional
        Threads of the default estimator; None for all.

    Attributes
    ----------
    estimator_ : estimator
        Fitted clone of `estimator`; of the default, the model with its library's own in ``estimator_.raw``.
    fit_times_ : dict
        Seconds spent on "data" and "fit".
    n_features_in_, n_queries_in_ : int
        Columns and queries that fit saw.

    Notes
    -----
    With the default estimator the result does not depend on the row order; a given estimator gets X and y
    as they come. `sample_weight` may differ within a query here. Only the default estimator can be saved
    with `save`; store others with joblib or skops.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LinearRegression
    >>> X, qid = np.random.default_rng(0).normal(size=(200, 3)), np.repeat(np.arange(20), 10)
    >>> ranker = PointwiseRanker(LinearRegression()).fit(X, X[:, 0] > 0, qid=qid)
    >>> ranker.score(X, X[:, 0] > 0, qid=qid) > 0.99
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [HasMethods(["fit", "predict"]), None],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
    }

    categorical_features: ClassVar[str] = "auto"  # of a frame, with the default estimator

    def __init__(
        self, estimator: Any = None, *, random_state: RandomState = None, n_jobs: int | None = None
    ) -> None:
        self.estimator = estimator
        self.random_state = random_state
        self.n_jobs = n_jobs

    def _fit_given(self, given: FitInput) -> None:
        """Fit the estimator on every row; `sample_weight` is a weight of each row here."""
        name = type(self).__name__
        given.refuse(
            "X_val",
            by=name,
            remedy="it does not stop early; use LightGBMRanker(objective='regression'), or the estimator's",
        )
        given.refuse("position", by=name, remedy="it does not allow for position bias; use LambdaMART")
        given.refuse(
            "init_score",
            "init_model",
            by=name,
            remedy="any estimator starts anew; use LightGBMRanker, LambdaMART",
        )
        watch = Stopwatch()
        with watch("data"):
            column_names(given.X)  # refuses two of one name before scikit-learn meets them
            weight = self._row_weight(given.sample_weight, given.X)
            if self.estimator is None:
                rows = self._training_rows(replace(given, sample_weight=None))
                rows = replace(rows, sample_weight=None if weight is None else weight[rows.order])
            else:
                validate_data(self, given.X, given.y, skip_check_array=True, reset=True)
                self._learn_labels(given.X)
                labels = check_relevance(flat(given.y))
                self.n_queries_in_ = Queries.from_qid(given.qid, len(labels)).n_queries
                self.single_query_ = given.has_one_query
        with watch("fit"):
            if self.estimator is None:
                self.estimator_ = self._fit_default(rows)
            else:
                self.estimator_ = _fit_clone(self.estimator, given.X, labels, weight)
        self.fit_times_ = dict(watch.seconds)

    def _row_weight(self, sample_weight: Any, X: Features) -> FloatArray | None:
        if sample_weight is None:
            return None
        weight: FloatArray = _check_sample_weight(
            sample_weight, X, dtype=np.float64, ensure_non_negative=True
        )
        return weight

    def _fit_default(self, rows: OrderedRows) -> Model:
        objective = LibraryObjective(
            "regression", rows.y, rows.queries, rows.sample_weight, {"boost_from_average": True}
        )
        params = BoosterParams(
            n_estimators=_DEFAULT_TREES,
            categorical_features=self.categorical_columns_,
            seed=int(self._rng().integers(2**31 - 1)),
            n_threads=self._n_threads(),
        )
        return find_booster("lightgbm").fit(rows.X, objective, params, queries=rows.queries)

    def predict(self, X: Features) -> FloatArray:
        """Predicted label of each row; a classifier's expected label.

        Parameters
        ----------
        X : (n_samples, n_features) array-like, DataFrame or sparse matrix
            Features of the rows, in the columns of the fit.

        Returns
        -------
        (n_samples,) float64
            In the order of the rows of X.
        """
        check_is_fitted(self)
        if self.estimator is None:
            return super().predict(X)
        X = self._in_fitted_order(X)
        validate_data(self, X, skip_check_array=True, reset=False)
        return self._predict_rows(X)

    def _explainable(self) -> Explained:
        explained = super()._explainable()
        own_trees = self.estimator is None
        return explained.with_trees(self.estimator_, self._n_threads()) if own_trees else explained

    def _predict_rows(self, X: Features) -> FloatArray:
        if self.estimator is None:
            scores: FloatArray = self.estimator_.predict(X, n_threads=self._n_threads())
            return scores
        estimator: Any = self.estimator_
        if is_classifier(estimator):
            return np.asarray(estimator.predict_proba(X) @ estimator.classes_.astype(np.float64))
        return np.asarray(estimator.predict(X), dtype=np.float64).ravel()

    @property
    def _scores_infinities(self) -> bool:  # type: ignore[override]
        return self.estimator is None

    def _fit_ordered(self, data: TrainingSet, watch: Stopwatch) -> None:
        raise NotImplementedError("PointwiseRanker fits rows, not queries")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        if self.estimator is not None:
            inner = get_tags(self.estimator).input_tags
            tags.input_tags.allow_nan, tags.input_tags.sparse = inner.allow_nan, inner.sparse
        return tags

    def _exportable(self) -> TreeSum:
        check_is_fitted(self)
        if self.estimator is not None:
            raise TypeError(
                f"PointwiseRanker with 'estimator' {type(self.estimator).__name__} cannot be exported; leave "
                "'estimator' at None for trees that can"
            )
        return TreeSum(tuple(self.estimator_.plain_trees()), self._column_names(), self.categories_)

    def _files(self) -> dict[str, bytes]:
        if self.estimator is not None:
            raise TypeError(
                f"'estimator' {type(self.estimator).__name__} has no file format that is safe to load; "
                "store this ranker with joblib or skops, or leave 'estimator' at None"
            )
        return {"lightgbm.model": self.estimator_.to_bytes()}

    def _restore(self, files: dict[str, bytes]) -> None:
        self.estimator_ = read_model("lightgbm", files["lightgbm.model"])


def _fit_clone(estimator: Any, X: Features, y: FloatArray, weight: FloatArray | None) -> Any:
    estimator = clone(estimator)
    # Classifiers take whole-number labels as classes, and fractions as a mistake.
    labels = y.astype(np.int64) if is_classifier(estimator) and not (y % 1).any() else y
    if weight is None:
        return estimator.fit(X, labels)
    if not has_fit_parameter(estimator, "sample_weight"):
        raise ValueError(
            f"'sample_weight' must be None with {type(estimator).__name__}, whose fit does not take it"
        )
    return estimator.fit(X, labels, sample_weight=weight)
