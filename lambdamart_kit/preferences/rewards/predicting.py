"""What reward models and policies say of responses and pairs: rewards, probabilities, reports."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.utils.validation import check_is_fitted

from lambdamart_kit.core.rows import as_matrix
from lambdamart_kit.core.typing import Array, ArrayLike, Features, FloatArray, Ids
from lambdamart_kit.preferences.features import prediction_features
from lambdamart_kit.preferences.judges.best_of import best_of_table
from lambdamart_kit.preferences.labels import label_accuracy
from lambdamart_kit.preferences.pairs import PreferencePairs
from lambdamart_kit.preferences.rewards.bags import bag_std, mean_reward
from lambdamart_kit.preferences.scoring import accuracy, preference_report


class PairPredict:
    """Probabilities and accuracy of whatever gives each response a reward."""

    def predict(self, X: Features) -> Any:
        """Reward of each row of features."""
        raise NotImplementedError

    def predict_responses(self, pairs: PreferencePairs) -> Any:
        """Reward of each response of the pairs."""
        raise NotImplementedError

    def predict_proba_pairs(self, pairs: PreferencePairs) -> FloatArray:
        """Probability that the chosen response is the better one, (n_pairs,).

        Parameters
        ----------
        pairs : PreferencePairs
            Pairs of responses, with features or texts where a model needs them.

        Returns
        -------
        (n_pairs,) array
            Values in (0, 1).
        """
        return expit(self._margin(pairs))

    def score(self, X: Features, y: ArrayLike, qid: Ids = None) -> float:
        """Share of the pairs within prompts that the rewards order as the labels do; ties count half.

        Parameters
        ----------
        X : (n_responses, n_features) array or sparse matrix
            Features of the responses.
        y : (n_responses,) array
            Labels of the responses, 0/1 or graded.
        qid : (n_responses,) ids, optional
            Prompt of each response; None is one prompt.

        Returns
        -------
        float
            Between 0 and 1.
        """
        return label_accuracy(self.predict(X), y, qid)

    def _margin(self, pairs: PreferencePairs) -> FloatArray:
        rewards = self.predict_responses(pairs)
        margin: FloatArray = rewards[pairs.chosen] - rewards[pairs.rejected]
        return margin


class RewardPredict(PairPredict):
    """`predict` and the like of a fitted reward model."""

    rewards_: list[Any]
    bag_levels_: FloatArray
    extractor_: Any
    temperature_: float
    n_features_in_: int
    nuisance: Any
    nuisance_coef_: Array | None

    def predict(self, X: Features, *, return_std: bool = False) -> Any:
        """Calibrated reward of each row of features, without the nuisance columns' effect.

        Parameters
        ----------
        X : (n, n_features) array or sparse matrix
            Features of the responses.
        return_std : bool
            Whether to return how far the bags are apart, too. Needs ``n_bags`` of at least 2.

        Returns
        -------
        (n_responses,) float64, or tuple of two such arrays
            Rewards. With `return_std` also the standard deviation of the bags' rewards, with ``n_bags - 1``
            below. A level that a bag adds to all rewards cancels in every comparison and does not count.
        """
        check_is_fitted(self)
        matrix = as_matrix(X, "X")
        if matrix.shape[1] != self.n_features_in_:
            raise ValueError(f"'X' must have {self.n_features_in_} columns; got shape {matrix.shape}")
        kept = self.kept_columns(matrix)
        rewards = self._mean_reward(kept) / self.temperature_
        if not return_std:
            return rewards
        return rewards, bag_std(self.rewards_, kept, self.bag_levels_) / self.temperature_

    def predict_responses(self, pairs: PreferencePairs, *, return_std: bool = False) -> Any:
        """Reward of each response, (n_responses,), from the pairs' features or texts; as :meth:`predict`.

        Parameters
        ----------
        pairs : PreferencePairs
            Pairs of responses, with features or texts where a model needs them.
        return_std : bool
            Whether to return how far the bags are apart, too. Needs ``n_bags`` of at least 2.

        Returns
        -------
        (n_responses,) float64, or tuple of two such arrays
            In the order of the pairs' responses.
        """
        check_is_fitted(self)
        return self.predict(prediction_features(self.extractor_, pairs), return_std=return_std)

    def score_pairs(self, pairs: PreferencePairs) -> pd.DataFrame:
        """Rewards and probability of each pair, with RewardBench's columns.

        Parameters
        ----------
        pairs : PreferencePairs
            Pairs of responses, with features or texts where a model needs them.

        Returns
        -------
        DataFrame
            ``id`` and ``subset`` (from the pairs' columns; the pair's number and "all" otherwise),
            ``scores_chosen``, ``scores_rejected``, ``results`` (1 if the scores order the pair as its label
            does, 0 if not, 0.5 for equal scores, NaN for a tie), ``score_margin`` and ``probability`` (that
            chosen is the better one).
        """
        rewards = self.predict_responses(pairs)
        chosen, rejected = rewards[pairs.chosen], rewards[pairs.rejected]
        margin = chosen - rejected
        known = pairs.columns
        return pd.DataFrame(
            {
                "id": known["id"].to_numpy() if "id" in known else np.arange(len(pairs)),
                "subset": known["subset"].to_numpy() if "subset" in known else "all",
                "scores_chosen": chosen,
                "scores_rejected": rejected,
                "results": accuracy(margin, pairs.target, half_ties=True),
                "score_margin": margin,
                "probability": expit(margin),
            }
        )

    def report(self, pairs: PreferencePairs, *, by: str | None = None, level: float = 0.95) -> pd.DataFrame:
        """Quality on pairs, overall and for each value of the column `by`.

        Parameters
        ----------
        pairs : PreferencePairs
            Pairs of responses, with features or texts where a model needs them.
        by : str, optional
            Column of the pairs, for a row of its own for each value.
        level : float
            Confidence of the intervals, in (0, 1).

        Returns
        -------
        DataFrame
            ``subset``, ``pairs``, ``prompts``; ``accuracy`` (equal scores are wrong), ``accuracy_half_ties``
            (half right) with an interval clustered by prompt; ``log_loss`` with its interval; ``ece`` and
            ``calibration_slope`` (1 is calibrated, below 1 overconfident); ``longer_wins``, the accuracy of
            choosing the longer response; ``length_matched``, the model's accuracy on the pairs whose lengths
            differ by at most 10 %. Pairs labelled a tie do not count in accuracies.

        Warns
        -----
        UserWarning
            When the model is not better than choosing the longer response.
        """
        if by is not None:
            pairs.groups(by)  # names the column when it is not there
        lengths = pairs.lengths
        return preference_report(
            self._margin(pairs),
            pairs.target,
            pairs.weight,
            pairs.prompt,
            chosen_length=lengths[pairs.chosen],
            rejected_length=lengths[pairs.rejected],
            subset=None if by is None else pairs.columns[by].to_numpy(),
            level=level,
        )

    def report_best_of(self, pairs: PreferencePairs) -> pd.DataFrame:
        """Scores of RewardBench 2: how often a right response has the highest reward, and the Ties score.

        Parameters
        ----------
        pairs : PreferencePairs
            From rows that hold right and wrong responses, all pairs of a row together.

        Returns
        -------
        DataFrame
            ``subset``, ``prompts``, ``responses`` and ``score``; the first row is the mean of the subsets.

        Raises
        ------
        ValueError
            If a row is not one of right responses against wrong ones.
        """
        return best_of_table(self.predict_responses(pairs), pairs)

    def _mean_reward(self, X: Features) -> FloatArray:
        return mean_reward(self.rewards_, X)

    def kept_columns(self, X: Features) -> Any:
        """The columns of X that the scorers see: all but the nuisance columns.

        Parameters
        ----------
        X : (n_responses, n_features) array or sparse matrix
            Features of the responses.

        Returns
        -------
        array or sparse matrix
            X itself where there are no nuisance columns.
        """
        if self.nuisance_coef_ is None:
            return X
        return X[:, np.setdiff1d(np.arange(self.n_features_in_), self.nuisance)]
