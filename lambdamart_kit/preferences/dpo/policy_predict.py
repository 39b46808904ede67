"""What a trained policy says: rewards, probabilities and log-probs of responses, and draws from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from lambdamart_kit.core.gains import check_count
from lambdamart_kit.core.rows import as_matrix
from lambdamart_kit.core.typing import ArrayLike, Features, FloatArray, RandomState
from lambdamart_kit.preferences.dpo.batches import Batch, make_batch
from lambdamart_kit.preferences.features import prediction_features
from lambdamart_kit.preferences.pairs import PreferencePairs
from lambdamart_kit.preferences.rewards.predicting import PairPredict


class PolicyPredict(PairPredict):
    """`predict`, `predict_policy`, `predict_logps` and `sample` of a fitted policy."""

    beta: float
    random_state: RandomState
    coef_: FloatArray
    extractor_: Any
    n_features_in_: int

    def predict(self, X: Features) -> FloatArray:
        """Implicit reward ``beta * theta' phi`` of each row, up to a constant per prompt, (n,).

        Parameters
        ----------
        X : (n_responses, n_features) array or sparse matrix
            Features of the responses.

        Returns
        -------
        (n_responses,) array
            In the order of the rows of X.
        """
        check_is_fitted(self)
        matrix = as_matrix(X, "X")
        if matrix.shape[1] != self.n_features_in_:
            raise ValueError(f"'X' must have {self.n_features_in_} columns; got shape {matrix.shape}")
        return np.asarray(self.beta * (matrix @ self.coef_))

    def predict_responses(self, pairs: PreferencePairs) -> FloatArray:
        """Implicit reward of each response, (n_responses,), from the pairs' features or texts.

        Parameters
        ----------
        pairs : PreferencePairs
            Pairs of responses, with features or texts where a model needs them.

        Returns
        -------
        (n_responses,) array
            In the order of the pairs' responses.
        """
        check_is_fitted(self)
        return self.predict(self._features(pairs))

    def predict_policy(
        self, pairs: PreferencePairs, *, ref_logps: ArrayLike | str | None = None
    ) -> pd.DataFrame:
        """The policy over the responses of each prompt.

        Parameters
        ----------
        pairs : PreferencePairs
            Pairs of responses, with features or texts where a model needs them.
        ref_logps : (n_responses,) array or "columns", optional
            Log-probs of the responses by the reference, as in :meth:`fit_pairs`.

        Returns
        -------
        DataFrame
            One row a prompt and response that stands in one of its pairs: ``prompt`` and ``response`` (their
            numbers in the pairs), ``reference`` and ``probability`` (each sums to 1 within a prompt), and
            ``reward``, ``beta * log(probability / reference)``.
        """
        batch = self._batch(pairs, ref_logps, None)
        log_policy = batch.log_policy(self.coef_)
        frame = pd.DataFrame(
            {
                "prompt": batch.sets.prompt,
                "response": batch.sets.row,
                "reference": np.exp(batch.reference),
                "probability": np.exp(log_policy),
                "reward": self.beta * (log_policy - batch.reference),
            }
        )
        return frame.sort_values(["prompt", "response"], ignore_index=True)

    def predict_logps(
        self, pairs: PreferencePairs, *, ref_logps: ArrayLike | str | None = None
    ) -> pd.DataFrame:
        """Log-probs of each pair under TRL's names, one row a pair; ``PairLogps(**frame)`` reads them.

        They are log-probs among the responses to the prompt that stand in its pairs.

        Parameters
        ----------
        pairs : PreferencePairs
            Pairs of responses, with features or texts where a model needs them.
        ref_logps : (n_responses,) array or "columns", optional
            Log-probs of the responses by the reference, as in :meth:`fit_pairs`.

        Returns
        -------
        DataFrame
            ``chosen_logps``, ``rejected_logps``, ``ref_chosen_logps`` and ``ref_rejected_logps``.
        """
        batch = self._batch(pairs, ref_logps, None)
        log_policy = batch.log_policy(self.coef_)
        chosen = batch.sets.pair_chosen
        rejected = batch.sets.pair_rejected
        return pd.DataFrame(
            {
                "chosen_logps": log_policy[chosen],
                "rejected_logps": log_policy[rejected],
                "ref_chosen_logps": batch.reference[chosen],
                "ref_rejected_logps": batch.reference[rejected],
            }
        )

    def sample(
        self, pairs: PreferencePairs, n_samples: int = 1, *, ref_logps: ArrayLike | str | None = None
    ) -> pd.DataFrame:
        """Responses drawn from the policy, `n_samples` a prompt.

        Parameters
        ----------
        pairs : PreferencePairs
            Pairs of responses, with features or texts where a model needs them.
        n_samples : int
            Draws for each prompt, with replacement.
        ref_logps : (n_responses,) array or "columns", optional
            Log-probs of the responses by the reference, as in :meth:`fit_pairs`.

        Returns
        -------
        DataFrame
            ``prompt`` and ``response``, prompts ascending.
        """
        check_count(n_samples, name="n_samples")
        policy = self.predict_policy(pairs, ref_logps=ref_logps)
        prompts, start = np.unique(policy["prompt"], return_index=True)
        draws = check_random_state(self.random_state).random_sample((len(prompts), n_samples))
        # Every prompt has probability 1, so its responses cut the interval [p, p + 1) of its place p.
        edges = np.cumsum(policy["probability"].to_numpy())
        row = np.searchsorted(edges, np.arange(len(prompts))[:, None] + draws, side="right")
        end = np.append(start[1:], len(policy))
        row = np.clip(row, start[:, None], end[:, None] - 1)
        return pd.DataFrame(
            {
                "prompt": np.repeat(prompts, n_samples),
                "response": policy["response"].to_numpy()[row.ravel()],
            }
        )

    def _features(self, pairs: PreferencePairs) -> Any:
        return prediction_features(self.extractor_, pairs)

    def _batch(
        self, pairs: PreferencePairs, ref_logps: ArrayLike | str | None, lengths: ArrayLike | None
    ) -> Batch:
        check_is_fitted(self)
        X = self._features(pairs)
        if X.shape[1] != self.n_features_in_:
            raise ValueError(f"'pairs' must have {self.n_features_in_} features; got {X.shape[1]}")
        return make_batch(X, pairs, ref_logps, lengths)
