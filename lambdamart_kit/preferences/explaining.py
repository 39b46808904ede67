"""Why a reward model prefers a response."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from lambdamart_kit.core.rows import as_matrix
from lambdamart_kit.core.typing import Array, ArrayLike, Features, FloatArray, Ids, RandomState
from lambdamart_kit.explain.explained import Explained
from lambdamart_kit.explain.mixin import CanExplain
from lambdamart_kit.preferences.features import prediction_features
from lambdamart_kit.preferences.pairs import PreferencePairs

if TYPE_CHECKING:
    from lambdamart_kit.explain.explanation import Explanation
    from lambdamart_kit.explain.results import PairExplanation


class RewardExplain(CanExplain):
    """`explain` of a reward model: of rows of features, or of preference pairs."""

    rewards_: list[Any]
    extractor_: Any
    temperature_: float
    n_features_in_: int
    nuisance: Any
    nuisance_coef_: Array | None

    def explain(
        self, X: Features, qid: Ids = None, y: ArrayLike | None = None, *, random_state: RandomState = 0
    ) -> Explanation:
        """Ask why rewards are what they are; see ``explain`` of rankers.

        Parameters
        ----------
        X : (n_samples, n_features) array-like, sparse matrix, or PreferencePairs
            Features of responses. Of preference pairs, each response is a row (``pairs.chosen[k]`` is the
            row of pair k's chosen one) and each prompt a query.
        qid, y, random_state
            As in ``explain`` of rankers.

        Returns
        -------
        Explanation
        """
        if isinstance(X, PreferencePairs):
            check_is_fitted(self)
            if qid is None:
                qid = X.response_prompt
            X = prediction_features(self.extractor_, X)
        return super().explain(X, qid, y, random_state=random_state)

    def explain_pair(self, pairs: PreferencePairs, k: int, **options: Any) -> PairExplanation:
        """Why the model prefers the chosen (or the rejected) response of pair `k`.

        Parameters
        ----------
        pairs : PreferencePairs
        k : int
            Number of the pair.
        **options
            Of ``Explanation.pair``: ``method`` and ``n_samples``.

        Returns
        -------
        PairExplanation
            Attributions sum to the chosen response's reward less the rejected one's.
        """
        if not 0 <= k < len(pairs):
            raise ValueError(f"'k' must be the number of a pair, 0 .. {len(pairs) - 1}; got {k!r}")
        why = self.explain(pairs)
        return why.pair(int(pairs.chosen[k]), int(pairs.rejected[k]), **options)

    def _scored_features(self, X: Features, *, name: str = "X") -> Any:
        check_is_fitted(self)
        matrix = as_matrix(X, name)
        if matrix.shape[1] != self.n_features_in_:
            raise ValueError(f"{name!r} must have {self.n_features_in_} columns; got shape {matrix.shape}")
        return matrix

    def _explainable(self) -> Explained:
        check_is_fitted(self)
        names = tuple(f"f{number}" for number in range(1, self.n_features_in_ + 1))
        if hasattr(self.extractor_, "get_feature_names_out"):
            made = tuple(map(str, self.extractor_.get_feature_names_out()))
            names = made if len(made) == len(names) else names
        own = all(hasattr(reward, "contributions") for reward in self.rewards_)
        return Explained(
            type(self).__name__,
            self.predict,  # type: ignore[attr-defined]
            names,
            contributions=self._mean_contributions if own else None,
            columns_in_use=self._kept(),
        )

    def _kept(self) -> Array:
        """The columns that rewards look at: all but the nuisance columns."""
        every = np.arange(self.n_features_in_)
        return every if self.nuisance_coef_ is None else np.setdiff1d(every, self.nuisance)

    def _mean_contributions(self, X: Features, background: Features = None) -> FloatArray:
        """Contributions to the calibrated mean of the bags."""
        kept = self._kept()
        others = None if background is None else background[:, kept]
        total = np.zeros((X.shape[0], self.n_features_in_ + 1))
        places = np.append(kept, self.n_features_in_)
        for reward in self.rewards_:
            total[:, places] += reward.contributions(X[:, kept], others)
        total /= len(self.rewards_) * self.temperature_
        return total
