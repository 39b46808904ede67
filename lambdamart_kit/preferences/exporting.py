"""Reward models in plain numbers, for export."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from lambdamart_kit.core.typing import Array, Features, Float32Array, FloatArray
from lambdamart_kit.export.mixin import CanExport
from lambdamart_kit.export.model import Exportable, InputScaling, LinearSum, TreeSum
from lambdamart_kit.trees.plain_tree import averaged


class RewardExport(CanExport):
    """`export` of a reward model with trees or a linear scorer: the mean of its bags, calibrated."""

    scorer: Any
    rewards_: list[Any]
    temperature_: float
    n_features_in_: int
    nuisance: Any
    nuisance_coef_: Array | None

    def _exportable(self) -> Exportable:
        check_is_fitted(self)
        names = tuple(f"f{number}" for number in range(1, self.n_features_in_ + 1))
        columns = np.arange(self.n_features_in_)
        if self.nuisance_coef_ is not None:
            columns = np.setdiff1d(columns, self.nuisance)
        factor = 1.0 / (len(self.rewards_) * self.temperature_)
        if self.scorer == "trees":
            bags = [reward.plain_trees() for reward in self.rewards_]
            trees = averaged(bags, [factor] * len(bags))
            return TreeSum(tuple(tree.on_columns(columns) for tree in trees), names)
        if self.scorer == "linear":
            return self._linear_sum(columns, factor, names)
        raise TypeError(
            "'scorer' must be 'trees' or 'linear' for a RewardModel to be exported; got a ranker, which has "
            "an export of its own: rm.rewards_[0].export(...)"
        )

    def _linear_sum(self, columns: Array, factor: float, names: tuple[str, ...]) -> LinearSum:
        weights = np.zeros(self.n_features_in_)
        means = np.zeros(self.n_features_in_)
        for reward in self.rewards_:
            weights[columns] += factor * reward.coef
        # Bags have means of their own; the scores of their average are those of one mean and a constant.
        means[columns] = np.mean([reward.mean for reward in self.rewards_], axis=0)
        constant = sum(
            factor * float(reward.coef @ (means[columns] - reward.mean)) for reward in self.rewards_
        )
        return LinearSum(weights, InputScaling(None, means, np.ones(len(weights))), names, constant)

    def _rows_and_scores(self, X: Features) -> tuple[Float32Array, FloatArray]:
        rows = np.asarray(X.toarray() if hasattr(X, "toarray") else X, dtype=np.float32)
        scores: FloatArray = self.predict(rows)  # type: ignore[attr-defined]
        return rows, scores
