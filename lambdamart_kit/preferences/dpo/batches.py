"""Pairs as arrays that a log-linear policy is trained on and judged by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse

from lambdamart_kit.core.typing import ArrayLike, Features, FloatArray
from lambdamart_kit.preferences.dpo.candidates import CandidateSets
from lambdamart_kit.preferences.dpo.losses.logps import PairLogps
from lambdamart_kit.preferences.pairs import PreferencePairs

Matrix: TypeAlias = Any  # (n, n_features) float64 array or CSR


@dataclass(frozen=True, eq=False)
class Batch:
    """Pairs with all that a policy needs to be trained on them, or judged by them.

    Attributes
    ----------
    sets : CandidateSets
    n_responses : int
        Responses of the pairs, those that stand in none included.
    X : (n_candidates, n_features) array or CSR
        Features of each candidate.
    reference : (n_candidates,) float64
        Log-probs of the reference, summing to 1 within each prompt.
    lengths : (n_candidates,) float64
        Token counts.
    """

    sets: CandidateSets
    n_responses: int
    X: Matrix
    reference: FloatArray
    lengths: FloatArray

    def log_policy(self, theta: FloatArray) -> FloatArray:
        """Log-probs of the policy with these coefficients, (n_candidates,)."""
        return self.sets.log_softmax(self.reference + self.X @ theta)

    def pair_logps(self, log_policy: FloatArray) -> PairLogps:
        """The log-prob columns of the labelled orders."""
        chosen = self.sets.chosen
        rejected = self.sets.rejected
        return PairLogps(
            log_policy[chosen],
            log_policy[rejected],
            self.reference[chosen],
            self.reference[rejected],
            chosen_lengths=self.lengths[chosen],
            rejected_lengths=self.lengths[rejected],
            weight=self.sets.weight,
        )

    def kl(self, log_policy: FloatArray) -> float:
        """Mean KL of the policy to the reference over prompts, in nats."""
        per_prompt = self.sets.sums(np.exp(log_policy) * (log_policy - self.reference))
        return max(0.0, float(np.mean(per_prompt)))

    def of_responses(self, values: ArrayLike | None, name: str) -> FloatArray | None:
        """One value a response to one a candidate; None stays None."""
        return None if values is None else self.sets.of_responses(values, self.n_responses, name)


def make_batch(
    X: Features, pairs: PreferencePairs, ref_logps: ArrayLike | str | None, lengths: ArrayLike | None
) -> Batch:
    """Collect candidates, their features and reference; arrays hold one value a response.

    Parameters are those of `DPOPolicy.fit_pairs`.
    """
    sets = CandidateSets.of_pairs(pairs)
    n_candidates = len(sets.row)
    n_responses = len(pairs.response_prompt)
    if isinstance(ref_logps, str):
        if ref_logps != "columns":
            raise ValueError(f"'ref_logps' must be 'columns' or one log-prob a response; got {ref_logps!r}")
        reference = _of_columns(sets, pairs)
    elif ref_logps is None:
        reference = np.zeros(n_candidates)
    else:
        reference = sets.of_responses(ref_logps, n_responses, "ref_logps")
    counts = np.ones(n_candidates)
    if lengths is not None:
        counts = sets.of_responses(lengths, n_responses, "lengths")
    features = X[sets.row].astype(np.float64)
    values = features.data if scipy.sparse.issparse(features) else features
    if not np.isfinite(values).all():
        raise ValueError(
            "the features of 'pairs' must be finite; some are NaN or infinite: impute them first"
        )
    return Batch(sets, n_responses, features, sets.log_softmax(reference), counts)


def _of_columns(sets: CandidateSets, pairs: PreferencePairs) -> FloatArray:
    """Reference log-prob of each candidate: the mean of what its pairs say."""
    logps = pairs.logps()
    ends = np.concatenate([sets.pair_chosen, sets.pair_rejected])
    said = np.concatenate([logps["ref_chosen_logps"], logps["ref_rejected_logps"]])
    return np.asarray(np.bincount(ends, said) / np.bincount(ends))


def standard_deviations(X: Features) -> FloatArray:
    """Standard deviation of each feature; 1 where it is constant."""
    squares = X.multiply(X) if scipy.sparse.issparse(X) else X * X
    mean = np.asarray(X.mean(axis=0)).ravel()
    variance = np.asarray(squares.mean(axis=0)).ravel() - mean**2
    deviation = np.sqrt(np.maximum(variance, 0.0))
    return np.where(deviation > 1e-9 * (1.0 + np.abs(mean)), deviation, 1.0)
