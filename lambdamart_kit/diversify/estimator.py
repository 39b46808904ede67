"""A ranker whose lists are diversified: re-ranking as the last step of an estimator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.utils.validation import check_is_fitted

from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.rows import with_pandas_columns
from lambdamart_kit.core.sorting import descending_order
from lambdamart_kit.core.typing import Array, ArrayLike, Features, FloatArray, Ids, IndexArray
from lambdamart_kit.diversify.reranking import rerank
from lambdamart_kit.metrics import NDCG


class DiversifiedRanker(MetaEstimatorMixin, BaseEstimator):
    r"""Fit a ranker, then re-rank each list it makes for relevance and diversity.

    Training is the ranker's own; `predict` needs `qid`, because diversity is a property of a list:
    it scores the rows of each query so that sorting by score gives :func:`~lambdamart_kit.diversify.rerank`'s
    list first, then the remaining rows by the ranker's score.

    Parameters
    ----------
    ranker : estimator
        Anything with ``fit(X, y, qid=...)`` and ``predict(X)``; it is cloned.
    k : int
        Length of the diversified part of each list.
    utility : {"logdet", "facility", "coverage", "mmr", "redundancy", "max-sum"}
        What diversity means, see the table of :func:`~lambdamart_kit.diversify.rerank`.
    trade_off : float
        0 is relevance alone, 1 diversity alone.
    features : callable, sequence of columns, or None
        What rows are compared by: a function of X, columns of X, or all of X. For utility "coverage" it
        gives the topics.
    normalize : bool
        Map each query's scores to [0, 1]; False takes scores as they are.
    allow_stop : bool
        End a list when no row would add to its value, even before `k` rows.
    n_jobs : int, optional
        Threads; None for all. The result does not depend on it.

    Attributes
    ----------
    ranker_ : estimator
        The fitted ranker.
    n_features_in_ : int
        Columns of X seen in fit.

    Examples
    --------
    >>> from lambdamart_kit.datasets import make_letor
    >>> from lambdamart_kit.diversify import DiversifiedRanker
    >>> from lambdamart_kit.rankers import LambdaMART
    >>> data = make_letor(n_queries=20, random_state=0)
    >>> ranker = DiversifiedRanker(LambdaMART(n_estimators=5), k=5, utility="mmr", features=range(20))
    >>> ranker = ranker.fit(data.X, data.y, qid=data.qid)
    >>> ranker.rerank(data.X, qid=data.qid).shape
    (100,)
    """

    __metadata_request__fit: ClassVar[dict[str, bool]] = {"qid": True, "sample_weight": True}
    __metadata_request__predict: ClassVar[dict[str, bool]] = {"qid": True}
    __metadata_request__score: ClassVar[dict[str, bool]] = {"qid": True, "sample_weight": True}

    def __init__(
        self,
        ranker: Any,
        *,
        k: int = 10,
        utility: str = "logdet",
        trade_off: float = 0.5,
        features: Callable[[Any], ArrayLike] | ArrayLike | None = None,
        normalize: bool = True,
        allow_stop: bool = False,
        n_jobs: int | None = None,
    ) -> None:
        self.ranker = ranker
        self.k = k
        self.utility = utility
        self.trade_off = trade_off
        self.features = features
        self.normalize = normalize
        self.allow_stop = allow_stop
        self.n_jobs = n_jobs

    def fit(
        self,
        X: Features,
        y: ArrayLike,
        qid: Ids = None,
        sample_weight: ArrayLike | None = None,
        **fit_params: Any,
    ) -> Self:
        """Fit a clone of the ranker; `fit_params` go to its ``fit``, which refuses what it does not know.

        Parameters
        ----------
        X : (n_samples, n_features) array-like
            Features of the rows.
        y : (n_samples,) array-like
            Graded relevance of each row, finite and >= 0.
        qid : (n_samples,) array-like, optional
            Query of each row: any hashable ids in any order. None is one list.
        sample_weight : (n_samples,) array-like, optional
            Weight of the row's query, the same for all its rows; given to the ranker.
        **fit_params : keyword arguments
            Go to the ranker's ``fit``, which refuses what it does not know.

        Returns
        -------
        DiversifiedRanker
            The fitted estimator itself.
        """
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        self.ranker_ = clone(self.ranker).fit(X, y, qid=qid, **weights, **fit_params)
        self.n_features_in_ = np.shape(X)[1]
        return self

    def rerank(self, X: Features, qid: Ids = None) -> IndexArray:
        """Rows of each query's list, in order; see :func:`~lambdamart_kit.diversify.rerank`.

        Parameters
        ----------
        X : (n_samples, n_features) array-like
            Features of the rows.
        qid : (n_samples,) array-like, optional
            Query of each row: any hashable ids in any order. None is one list.

        Returns
        -------
        (n_chosen,) array of integers
            Row numbers: the lists one after the other, in ascending order of query id.
        """
        check_is_fitted(self, "ranker_")
        return self._rerank(X, self.ranker_.predict(X), qid)

    def predict(self, X: Features, qid: Ids = None) -> FloatArray:
        """Scores whose order is the diversified list, then the rest by the ranker's score.

        Parameters
        ----------
        X : (n_samples, n_features) array-like
            Features of the rows.
        qid : (n_samples,) array-like, optional
            Query of each row; None is one list.

        Returns
        -------
        (n_samples,) float64
            Minus the place in the list, 0-based; comparable within a query only.
        """
        check_is_fitted(self, "ranker_")
        scores = np.asarray(self.ranker_.predict(X), dtype=np.float64)
        chosen = self._rerank(X, scores, qid)
        queries = Queries.from_qid(qid, len(scores))
        place = np.full(len(scores), -np.inf)
        place[chosen] = -np.arange(len(chosen), dtype=np.float64)
        # By the ranker's score first, then stably by place: what was not chosen keeps the ranker's order.
        by_score = descending_order(queries.sort(scores), queries.ptr)
        order = by_score[descending_order(queries.sort(place)[by_score], queries.ptr)]
        ordered = np.empty(len(scores))
        ordered[order] = np.repeat(queries.ptr[:-1], queries.sizes) - np.arange(len(scores))
        return np.asarray(queries.unsort(ordered), dtype=np.float64)

    def score(
        self, X: Features, y: ArrayLike, qid: Ids = None, sample_weight: ArrayLike | None = None
    ) -> float:
        """Mean NDCG@k of the diversified lists.

        Parameters
        ----------
        X : (n_samples, n_features) array-like
            Features of the rows.
        y : (n_samples,) array-like
            Graded relevance of each row, finite and >= 0.
        qid : (n_samples,) array-like, optional
            Query of each row: any hashable ids in any order. None is one list.
        sample_weight : (n_samples,) array-like, optional
            Weight of the row's query in the mean, the same for all its rows. 1 by default.

        Returns
        -------
        float
            Mean over queries.
        """
        return NDCG(k=self.k)(y, self.predict(X, qid), qid, sample_weight=sample_weight)

    def _rerank(self, X: Features, scores: Array, qid: Ids) -> IndexArray:
        given = {"topics" if self.utility == "coverage" else "features": self._columns(X)}
        return rerank(
            scores,
            self.k,
            qid=qid,
            utility=self.utility,  # type: ignore[arg-type]
            trade_off=self.trade_off,
            normalize=self.normalize,
            allow_stop=self.allow_stop,
            n_jobs=self.n_jobs,
            **given,
        )

    def _columns(self, X: Features) -> ArrayLike:
        if callable(self.features):
            return self.features(X)
        X = with_pandas_columns(X)
        if self.features is None:
            return np.asarray(X)
        columns = list(np.asarray(self.features))
        return np.asarray(X[columns]) if hasattr(X, "columns") else np.asarray(X)[:, columns]
