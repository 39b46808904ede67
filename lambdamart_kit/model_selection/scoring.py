"""Scorers that measure rankings by query, for ``scoring=`` of scikit-learn's searches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.utils.metadata_routing import MetadataRequest, get_routing_for_object

from lambdamart_kit.core.query_traces import QueryTraces, measured_queries
from lambdamart_kit.core.typing import ArrayLike, Features, Ids
from lambdamart_kit.metrics import Metric, parse_metric, parse_metrics
from lambdamart_kit.model_selection.routing import REMEDY


class RankingScorer:
    """A scikit-learn scorer that asks for `qid`, weights and starting scores.

    It is made by :func:`make_ranking_scorer`.

    Parameters
    ----------
    metrics : tuple of Metric
        What is measured.
    single : bool
        Return the value of the only metric instead of a dict by name.
    goal : int or str, optional
        The column of labels to measure, of several goals.

    Examples
    --------
    >>> from sklearn.dummy import DummyRegressor
    >>> from lambdamart_kit.metrics import MRR
    >>> ranker = DummyRegressor().fit([[0], [0]], [0, 1])
    >>> scorer = RankingScorer((MRR(),), single=True)
    >>> scorer, scorer(ranker, [[0], [0]], [0, 1], qid=["a", "a"])
    (make_ranking_scorer('mrr'), 0.75)
    """

    goal: int | str | None = None

    def __init__(self, metrics: tuple[Metric, ...], *, single: bool, goal: int | str | None = None) -> None:
        self.metrics = metrics
        self.goal = goal
        self._single = single

    def __call__(
        self,
        estimator: Any,
        X: Features,
        y: ArrayLike,
        qid: Ids = None,
        sample_weight: ArrayLike | None = None,
        init_score: ArrayLike | None = None,
        document_weight: ArrayLike | None = None,
    ) -> float | dict[str, float]:
        """Score ``estimator.predict(X)`` by query.

        `qid` is required. `sample_weight` weighs queries and `document_weight` documents, and a ranker that
        was fitted with `init_score` adds that of the rows.
        """
        if qid is None:
            raise ValueError(f"{self} got no 'qid' and would score all rows as one query; {REMEDY}")
        scores = _predict(estimator, X, qid, init_score)
        traces = _traces(estimator)
        if traces is not None:
            queries = measured_queries(qid, len(scores), document_weight)
            traces.warn_if_cut(queries, measured=f"the rows that {self} got", stacklevel=2)
        labels = y if self.goal is None else _labels_of_goal(y, self.goal)
        values = {
            str(metric): metric(
                labels, scores, qid, sample_weight=sample_weight, document_weight=document_weight
            )
            for metric in self.metrics
        }
        return next(iter(values.values())) if self._single else values

    def get_metadata_routing(self) -> MetadataRequest:
        """What scikit-learn passes to the scorer when it has it.

        Returns
        -------
        MetadataRequest
            Asks for `qid`, `sample_weight`, `init_score` and `document_weight`.
        """
        request = MetadataRequest(owner=self)
        for name in ("qid", "sample_weight", "init_score", "document_weight"):
            request.score.add_request(param=name, alias=True)
        return request

    def __repr__(self) -> str:
        names = [str(metric) for metric in self.metrics]
        of = "" if self.goal is None else f", goal={self.goal!r}"
        shown = repr(names[0] if self._single else names)
        return f"make_ranking_scorer({shown}{of})"


def _labels_of_goal(y: Any, goal: int | str) -> Any:
    """One column of labels, by its name in a DataFrame or by its number."""
    columns = list(getattr(y, "columns", range(y.shape[1] if getattr(y, "ndim", 1) == 2 else 0)))
    if goal not in columns:
        known = ", ".join(map(repr, columns)) or "none"
        raise ValueError(f"'goal' must be a column of 'y', which has {known}; got {goal!r}")
    return np.asarray(y)[:, columns.index(goal)]


def _predict(estimator: Any, X: Features, qid: Ids, init_score: ArrayLike | None) -> Any:
    """Scores of X; an estimator that compares the documents of a query to predict is told the query ids."""
    if init_score is not None:
        # The search itself passes nothing on to `predict`.
        while hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
    takes = get_routing_for_object(estimator).consumes("predict", ["qid"]) if _routing_is_on() else set()
    given: dict[str, Any] = {"qid": qid} if takes else {}
    if init_score is not None:
        given["init_score"] = init_score
    return estimator.predict(X, **given)


def _routing_is_on() -> bool:
    return bool(get_config()["enable_metadata_routing"])


def _traces(estimator: Any) -> QueryTraces | None:
    """What the ranker inside a pipeline, a search or another meta-estimator remembers of its queries."""
    for wrapped in ("best_estimator_", "estimator_", "ranker_"):
        if hasattr(estimator, wrapped):
            return _traces(getattr(estimator, wrapped))
    if hasattr(estimator, "steps"):
        return _traces(estimator.steps[-1][1])
    traces: QueryTraces | None = getattr(estimator, "query_traces_", None)
    return traces


def make_ranking_scorer(
    metric: str | Metric | Iterable[str | Metric] = "ndcg@10", *, goal: int | str | None = None
) -> RankingScorer:
    """Scorer for ``scoring=`` of searches and cross-validation, computed by query.

    Parameters
    ----------
    metric : str, Metric or list of them
        As :func:`~lambdamart_kit.metrics.parse_metric` reads it. A list makes a scorer that predicts once
        and returns a dict by canonical name; searches then need ``refit="ndcg@10"`` or the like.
    goal : int or str, optional
        With a column of labels for each of several goals, the one to measure: its number, or its name in a
        DataFrame. A search over weights of goals needs one, because a ranker's own score goes by its weights.

    Returns
    -------
    RankingScorer
        ``scorer(estimator, X, y, qid=qid)``, which also takes `sample_weight`, `init_score` and
        `document_weight`; greater is better.

    Raises
    ------
    ValueError
        If a name is not known; by the scorer, if it is called without `qid`.

    Examples
    --------
    >>> from sklearn.dummy import DummyRegressor
    >>> ranker = DummyRegressor().fit([[0], [0]], [0, 1])
    >>> scorer = make_ranking_scorer("mrr")
    >>> scorer(ranker, [[0], [0]], [0, 1], qid=["a", "a"])          # a coin decides: (1 + 1/2) / 2
    0.75
    """
    if isinstance(metric, (str, Metric)):
        return RankingScorer((parse_metric(metric),), single=True, goal=goal)
    return RankingScorer(tuple(parse_metrics(metric)), single=False, goal=goal)
