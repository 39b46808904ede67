"""Explanations of what has no method ``explain``: pipelines, and anything that predicts."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from lambdamart_kit.core.rows import as_matrix
from lambdamart_kit.core.typing import ArrayLike, Features, FloatArray, Ids, RandomState
from lambdamart_kit.explain.explained import Explained
from lambdamart_kit.explain.explanation import Explanation


def explain(
    model: Any, X: Features, qid: Ids = None, y: ArrayLike | None = None, *, random_state: RandomState = 0
) -> Explanation:
    """Ask why a fitted model scores rows as it does.

    Parameters
    ----------
    model : object
        A ranker or reward model of the kit; a pipeline, whose last step is explained by the features that
        the steps before it make; or anything with a method ``predict`` that scores rows of numbers.
    X : (n_samples, n_features) array-like, DataFrame or sparse matrix
        Rows to explain, in the columns that the model takes.
    qid : (n_samples,) array-like, optional
        Query of each row; None is one query.
    y : (n_samples,) array-like, optional
        Graded relevance, for explanations of a metric.
    random_state : int, RandomState or None
        Seed of what is sampled.

    Returns
    -------
    Explanation
        Answers questions about these rows; nothing is computed before the first.

    Raises
    ------
    TypeError
        If the model has neither ``explain`` nor ``predict``.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> product = SimpleNamespace(predict=lambda X: X[:, 0] * X[:, 1])
    >>> explain(product, np.array([[2.0, 3.0], [1.0, 1.0]])).pair(0, 1).attributions.tolist()
    [2.0, 3.0]
    """
    if isinstance(model, Pipeline):
        rows = X
        for _, step in model.steps[:-1]:
            if hasattr(step, "transform"):
                rows = step.transform(rows)
        last = model.steps[-1][1]
        why = explain(last, rows, qid, y, random_state=random_state)
        return _renamed(why, model)
    if hasattr(model, "explain"):
        found: Explanation = model.explain(X, qid, y, random_state=random_state)
        return found
    if not hasattr(model, "predict"):
        raise TypeError(f"'model' must have a method 'predict'; got a {type(model).__name__}")
    names = tuple(map(str, getattr(X, "columns", [f"f{j}" for j in range(1, X.shape[1] + 1)])))
    rows = as_matrix(X, "X")

    def predict(part: Any) -> FloatArray:
        return np.asarray(model.predict(part), dtype=np.float64).ravel()

    explained = Explained(type(model).__name__, predict, names)
    return Explanation(explained, rows, qid, y, random_state=random_state)


def _renamed(why: Explanation, model: Pipeline) -> Explanation:
    """The explanation with the names that the pipeline's transformers give their columns."""
    try:
        names = tuple(map(str, model[:-1].get_feature_names_out()))
    except (AttributeError, ValueError):
        return why
    return why.with_names(names) if len(names) == len(why.model.feature_names) else why
