"""The method ``report`` of rankers: one HTML file on what a fitted ranker does with a test set."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lambdamart_kit.core.rows import with_pandas_columns
from lambdamart_kit.core.typing import ArrayLike, Features, Ids
from lambdamart_kit.datasets import RankingDataset
from lambdamart_kit.metrics import Metric
from lambdamart_kit.rankers.summary import summarise_ranker
from lambdamart_kit.report.charts import Line
from lambdamart_kit.report.explorer import Contributions

if TYPE_CHECKING:
    from lambdamart_kit.report.page import Page
    from lambdamart_kit.report.ranking_page import FeatureEffect, ModelFacts

_EFFECTS = 4  # features whose effect is drawn
_EXPLAINED_ROWS = 200_000  # rows whose contributions are computed; more would take minutes


class CanReport:
    """Adds `report`."""

    def report(
        self,
        path: str | os.PathLike[str],
        X: Features,
        y: ArrayLike,
        qid: Ids = None,
        *,
        docid: ArrayLike | None = None,
        baselines: Mapping[str, ArrayLike] | None = None,
        metric: str | Metric = "ndcg@10",
        train: RankingDataset | None = None,
        title: str | None = None,
    ) -> None:
        """Write one HTML file on what this ranker does with a test set; it opens without a network.

        The page has the metric with its interval, the metric by cut-off, every query with its documents in
        the order of the ranker and of a baseline (or of the labels), slices, scores against labels, learning
        curves, importance of features, and the health of the data.

        Parameters
        ----------
        path : path
            The file to write.
        X : (n_samples, n_features) array-like or DataFrame
            Test rows.
        y : (n_samples,) array-like
            Graded relevance.
        qid : (n_samples,) array-like, optional
            Query of each row; None is one query.
        docid : (n_samples,) array-like of str, optional
            Names of the documents.
        baselines : dict of str to (n_samples,) array-like, optional
            Scores of other models for the same rows, by name; the first one is compared with.
        metric : str or Metric
            Measures each query.
        train : RankingDataset, optional
            The training rows: overlap with the test rows and drift are looked for.
        title : str, optional
            Heading of the page.

        Raises
        ------
        ValueError
            If lengths differ, or no query has a relevant document.

        Examples
        --------
        >>> import tempfile
        >>> from lambdamart_kit import LambdaMART
        >>> from lambdamart_kit.datasets import make_letor
        >>> data = make_letor(n_queries=30, random_state=0)
        >>> ranker = LambdaMART(n_estimators=5).fit(data.X, data.y, qid=data.qid)
        >>> path = os.path.join(tempfile.mkdtemp(), "report.html")
        >>> ranker.report(path, data.X, data.y, qid=data.qid)
        >>> open(path, encoding="utf-8").read(15)
        '<!DOCTYPE html>'
        """
        labels = np.asarray(y, dtype=np.float32)
        ids = np.zeros(len(labels), dtype=np.int64) if qid is None else np.asarray(qid)
        names = None if docid is None else np.asarray(docid).astype(str)
        X = with_pandas_columns(X)
        data = RankingDataset(_plain_rows(X), labels, ids, names, _column_names(X))
        page = ranker_page(self, X, data, baselines=baselines or {}, metric=metric, train=train, title=title)
        page.write(path)


def ranker_page(
    ranker: Any,
    X: Features,
    data: RankingDataset,
    *,
    baselines: Mapping[str, ArrayLike],
    metric: str | Metric,
    train: RankingDataset | None = None,
    title: str | None = None,
    **options: Any,
) -> Page:
    """The page of a fitted ranker on the rows of a test set.

    Parameters
    ----------
    ranker : estimator
        Fitted.
    X : Features
        What `ranker` predicts from.
    data : RankingDataset
        The same rows as plain numbers, with labels and ids.
    baselines : dict of str to array-like
        Scores of other models.
    metric : str or Metric
        Measures each query.
    train : RankingDataset, optional
        Training rows.
    title : str, optional
        Heading of the page.
    **options
        Passed on to :func:`~lambdamart_kit.report.ranking_page`: ``lead``, ``slices``.
    """
    from lambdamart_kit.report import RankedRows, ranking_page

    name = type(ranker).__name__
    while name in baselines:
        name += "'"
    scores = {name: np.asarray(ranker.predict(X), dtype=np.float64)}
    scores |= {other: np.asarray(held, dtype=np.float64) for other, held in baselines.items()}
    return ranking_page(
        RankedRows(data, scores),
        metric=metric,
        title=title or f"Report of {name}",
        facts=facts_of(ranker, name, X, data),
        train=train,
        **options,
    )


def facts_of(ranker: Any, name: str, X: Features, data: RankingDataset) -> ModelFacts:
    """Settings, importance, effects, learning curves and contributions, as far as a ranker has them."""
    from lambdamart_kit.report.ranking_page import ModelFacts

    summary = summarise_ranker(ranker)
    parameters = {key: repr(value) for key, value in summary.parameters.items()}
    parameters |= {key: f"{value:g}" for key, value in summary.fitted.items()}
    return ModelFacts(
        parameters,
        summary.importance,
        summary.importance_of,
        _learning_curves(ranker),
        _contributions(ranker, name, X),
        _effects(ranker, [feature for feature, _ in summary.importance[:_EFFECTS]], X, data),
    )


def _learning_curves(ranker: Any) -> list[Line]:
    curves = []
    for part, measures in (getattr(ranker, "evals_result_", None) or {}).items():
        if isinstance(measures, Mapping):
            curves += [
                Line(f"{part} {measure}", np.asarray(values, dtype=np.float64))
                for measure, values in measures.items()
                if len(values) > 1
            ]
    return curves


def _contributions(ranker: Any, name: str, X: Features) -> Contributions | None:
    """Contributions by feature of rankers that have them."""
    if not hasattr(ranker, "contributions") or X.shape[0] > _EXPLAINED_ROWS:
        return None
    names = _column_names(X) or tuple(f"feature {j + 1}" for j in range(ranker.n_features_in_))
    return Contributions(name, np.asarray(ranker.contributions(X))[:, :-1], names)


def _effects(ranker: Any, features: Sequence[str], X: Features, data: RankingDataset) -> list[FeatureEffect]:
    """Effects of the most important features; of numbers only, for values of categories have no order."""
    from lambdamart_kit.report.ranking_page import FeatureEffect

    numbers_only = isinstance(data.X, np.ndarray) and not getattr(ranker, "categorical_columns_", ())
    if not features or not numbers_only or not hasattr(ranker, "contributions"):
        return []
    names = getattr(ranker, "feature_names_in_", None)
    known = None if names is None else list(map(str, names))
    why = ranker.explain(X, qid=data.qid)
    found = []
    for feature in features:
        held = why.effect(int(feature) - 1 if known is None else known.index(feature))
        if len(held.grid) > 1:
            label = f"feature {feature}" if known is None else feature
            found.append(FeatureEffect(label, held.grid, held.effect, held.standard_errors))
    return found


def _plain_rows(X: Features) -> Any:
    """Features as an array or sparse matrix; text and categories have no place in it and become missing."""
    if hasattr(X, "tocsr"):
        return X.tocsr()
    if not hasattr(X, "columns"):
        return np.asarray(X)
    import pandas as pd

    columns = [pd.to_numeric(X[c], errors="coerce").to_numpy(np.float64, na_value=np.nan) for c in X]
    return np.column_stack(columns)


def _column_names(X: Features) -> tuple[str, ...] | None:
    columns = getattr(X, "columns", None)
    return None if columns is None else tuple(map(str, columns))
