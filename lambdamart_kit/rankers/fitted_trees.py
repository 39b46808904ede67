"""What a model of trees says once it is fitted: scores, leaves, contributions, importances, exports."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from lambdamart_kit.core.typing import Features, FloatArray, IndexArray
from lambdamart_kit.explain.explained import Explained
from lambdamart_kit.export.model import TreeSum
from lambdamart_kit.rankers.bags.stages import ScoresByTrees


class FittedTrees(ScoresByTrees):
    """Base of rankers with a `model_` that is a sum of trees: everything but how it is fitted."""

    def _predict_rows(self, X: Features) -> FloatArray:
        return self.model_.predict(X, n_threads=self._n_threads())

    def leaf_indices(self, X: Features) -> IndexArray:
        """The leaf that each row falls into in each tree, (n_samples, n_trees) intp."""
        check_is_fitted(self)
        return self.model_.leaf_indices(self._known_features(X))

    def contributions(self, X: Features, background: Features = None) -> FloatArray:
        """What each feature adds to the score of each row: exact SHAP values.

        A row's contributions and the expected score sum to ``predict(X)``. A feature that is unknown is
        averaged over the training rows that reached the same split, as in TreeSHAP; with `background` it has
        the value of the background row instead (the interventional game with one background row).

        Parameters
        ----------
        X : (n_samples, n_features) array-like, DataFrame or sparse matrix
        background : (n_samples, n_features) array-like, DataFrame or sparse matrix, optional
            For each row of X the row to compare it with.

        Returns
        -------
        (n_samples, n_features + 1) float64
            The last column is the expected score: of the training rows, or the background row's own score.

        Raises
        ------
        ValueError
            If the model has no such values (linear leaves), or keeps no counts of training rows; or if
            `background` has not the shape of X.

        References
        ----------
        Lundberg, Erion, Lee (2018), Consistent individualized feature attribution for tree ensembles,
        arXiv 1802.03888.

        Examples
        --------
        >>> from lambdamart_kit import LambdaMART
        >>> from lambdamart_kit.datasets import make_letor
        >>> data = make_letor(n_queries=20, random_state=0)
        >>> ranker = LambdaMART(n_estimators=5, random_state=0).fit(data.X, data.y, qid=data.qid)
        >>> found = ranker.contributions(data.X)
        >>> bool(np.allclose(found.sum(axis=1), ranker.predict(data.X), atol=1e-9))
        True
        """
        check_is_fitted(self)
        rows = self._scored_features(X)
        others = None if background is None else self._scored_features(background, name="background")
        if others is not None and others.shape != rows.shape:
            raise ValueError(
                f"'background' must have a row for each row of 'X', {rows.shape}; got {others.shape}"
            )
        return self.model_.contributions(rows, others, n_threads=self._n_threads())

    def _explainable(self) -> Explained:
        return super()._explainable().with_trees(self.model_, self._n_threads())

    @property
    def booster_(self) -> Any:
        """The library's own model: lightgbm.Booster, xgboost.Booster or catboost.CatBoost.

        They know the categories of a data frame's columns and find its codes themselves. CatBoost's does so
        as long as it is this object, not a file of it, and gets a frame, not a ``catboost.Pool``.
        """
        check_is_fitted(self)
        return self.model_.with_categories(self.categories_)

    @property
    def feature_importances_(self) -> FloatArray:
        """Share of each feature in the total split gain, (n_features,); sums to 1 (0 without a split)."""
        check_is_fitted(self)
        gain = self.model_.gain()
        total = float(gain.sum())
        return gain / total if total > 0 else np.zeros(self.n_features_in_)

    def _exportable(self) -> TreeSum:
        check_is_fitted(self)
        return TreeSum(tuple(self.model_.plain_trees()), self._column_names(), self.categories_)
