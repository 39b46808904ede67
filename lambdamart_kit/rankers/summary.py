"""What a fitted ranker is made of, in words and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from lambdamart_kit.core.typing import FloatArray


@dataclass(frozen=True)
class RankerSummary:
    """A fitted ranker in words and numbers.

    Attributes
    ----------
    kind : str
        Class of the ranker.
    n_features : int
        Features it was fitted on.
    fitted : dict
        Facts of the fit: rounds kept, best validation score, where they are known.
    parameters : dict
        Parameters that differ from their defaults.
    importance_of : str
        What `importance` says; empty where the ranker has none.
    importance : tuple of (name, value)
        Features by falling importance.
    """

    kind: str
    n_features: int
    fitted: dict[str, float]
    parameters: dict[str, Any]
    importance_of: str
    importance: tuple[tuple[str, float], ...]


def summarise_ranker(ranker: BaseEstimator) -> RankerSummary:
    """Parameters, features and importances of a fitted ranker.

    Parameters
    ----------
    ranker : estimator
        Fitted. Trees have each feature's share of the gain of all splits, linear rankers their coefficients.

    Returns
    -------
    RankerSummary
        What there is to say.

    Examples
    --------
    >>> from lambdamart_kit import LambdaMART
    >>> from lambdamart_kit.datasets import make_letor
    >>> data = make_letor(n_queries=20, random_state=0)
    >>> summary = summarise_ranker(LambdaMART(n_estimators=3).fit(data.X, data.y, data.qid))
    >>> summary.kind, summary.parameters, len(summary.importance)
    ('LambdaMART', {'n_estimators': 3}, 136)
    """
    defaults = type(ranker)().get_params(deep=False) if _has_defaults(type(ranker)) else {}
    given = ranker.get_params(deep=False)
    changed = {
        name: value
        for name, value in given.items()
        if name not in defaults or not _same(value, defaults[name])
    }
    names = getattr(ranker, "feature_names_in_", None)
    labels = [f"{j + 1}" for j in range(ranker.n_features_in_)] if names is None else list(map(str, names))
    what, values = _importance(ranker)
    order = np.argsort(-np.abs(values), kind="stable")
    facts = {"best_iteration": "best_iteration_", "best_score": "best_score_", "rounds": "n_iter_"}
    fitted = {name: getattr(ranker, attribute, None) for name, attribute in facts.items()}
    return RankerSummary(
        type(ranker).__name__,
        int(ranker.n_features_in_),
        {name: float(value) for name, value in fitted.items() if value is not None and value == value},
        changed,
        what,
        tuple((labels[j], float(values[j])) for j in order),
    )


def _has_defaults(cls: type) -> bool:
    try:
        cls()
    except TypeError:  # a parameter without a default, as wrappers of another estimator have
        return False
    return True


def _same(value: Any, default: Any) -> bool:
    return value is default or (type(value) is type(default) and bool(np.all(value == default)))


def _importance(ranker: BaseEstimator) -> tuple[str, FloatArray]:
    gains = getattr(ranker, "feature_importances_", None)
    if gains is not None:
        return "share of the gain of all splits", np.asarray(gains, dtype=np.float64)
    coefficients = getattr(ranker, "coef_", None)
    if coefficients is not None:
        return "coefficient", np.asarray(coefficients, dtype=np.float64)
    return "", np.empty(0)
