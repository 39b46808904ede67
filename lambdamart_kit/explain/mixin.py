"""The method ``explain`` of everything that can be explained."""

from __future__ import annotations

import sys
from abc import ABCMeta
from typing import TYPE_CHECKING, Any

from lambdamart_kit.core.typing import ArrayLike, Features, Ids, RandomState

if TYPE_CHECKING:
    from lambdamart_kit.explain.explained import Explained
    from lambdamart_kit.explain.explanation import Explanation


class SaysWhatExplains(ABCMeta):
    """Type of classes that say how they are explained, where they are shown while SHAP is loaded.

    ``shap.TreeExplainer`` knows the models of libraries alone, and its error for any other model ends with
    the model's class as text. SHAP has no better place for a hint.
    """

    def __str__(cls) -> str:
        if "shap" not in sys.modules:
            return repr(cls)
        if not hasattr(cls, "contributions"):
            return f"{cls!r} (its method explain(X) explains it)"
        own = "contributions(X) are its exact SHAP values"
        library = ", and TreeExplainer takes its booster_" if hasattr(cls, "booster_") else ""
        return f"{cls!r} ({own}{library})"


class CanExplain(metaclass=SaysWhatExplains):
    """Adds `explain`; a subclass says what it is (`_explainable`) and what it reads (`_scored_features`)."""

    def explain(
        self, X: Features, qid: Ids = None, y: ArrayLike | None = None, *, random_state: RandomState = 0
    ) -> Explanation:
        """Ask why rows score as they do.

        Parameters
        ----------
        X : (n_samples, n_features) array-like, DataFrame or sparse matrix
            Rows to explain.
        qid : (n_samples,) array-like, optional
            Query of each row; None takes all rows as one query.
        y : (n_samples,) array-like, optional
            Graded relevance, for what explains a metric.
        random_state : int, RandomState or None
            Seeds whatever is sampled.

        Returns
        -------
        Explanation
            ``why.pair(i, j)``: why row i scores above row j. ``why.list(q)``: which features make the order
            of a query. ``why.importance()``, ``why.effect(feature)``, ``why.interactions()`` and
            ``why.monotone()`` look at all queries. ``why.plot(...)`` draws any of them.
        """
        from lambdamart_kit.explain.explanation import Explanation

        return Explanation(self._explainable(), self._scored_features(X), qid, y, random_state=random_state)

    def _explainable(self) -> Explained:
        """The fitted model as functions of checked rows of numbers."""
        raise TypeError(f"{type(self).__name__} cannot be explained: it has no scores of single rows")

    def _scored_features(self, X: Features, *, name: str = "X") -> Any:
        """Rows as the model scores them: checked, categories as codes."""
        raise NotImplementedError
