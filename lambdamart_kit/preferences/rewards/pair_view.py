"""Pairs as a scorer sees them: rows of a matrix and numbers, without texts and columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lambdamart_kit.core.pairs import PairLoss
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import Features, FloatArray, Ids, IndexArray
from lambdamart_kit.objectives import ExplicitPairs
from lambdamart_kit.preferences.pair_table import PairTable

_PER_PAIR = ("chosen", "rejected", "target", "weight", "margin", "prompt")


@dataclass(frozen=True, eq=False)
class PairView:
    """The view of a `PairTable` that a loss needs: its arrays by pair, and one row of features a response.

    Attributes
    ----------
    X : (n_responses, n_features) array or CSR
    chosen, rejected : (n_pairs,) intp
        Rows of X.
    target, weight, margin : (n_pairs,) float64
    prompt : (n_pairs,) intp
    """

    X: Features
    chosen: IndexArray
    rejected: IndexArray
    target: FloatArray
    weight: FloatArray
    margin: FloatArray
    prompt: IndexArray

    @classmethod
    def of(cls, pairs: PairTable, X: Features, *, margin: FloatArray) -> PairView:
        """The view of `pairs` with the features `X` and with the margins that count; nothing is copied."""
        return cls(X, pairs.chosen, pairs.rejected, pairs.target, pairs.weight, margin, pairs.prompt)

    def take(self, pairs: Ids) -> PairView:
        """Some of the pairs, over the same rows."""
        return replace(self, **{name: getattr(self, name)[pairs] for name in _PER_PAIR})

    def compact(self) -> PairView:
        """The same pairs over only the rows that they need."""
        rows, code = np.unique(np.concatenate([self.chosen, self.rejected]), return_inverse=True)
        n_pairs = len(self.chosen)
        X = self.X if len(rows) == self.X.shape[0] else self.X[rows]
        return replace(self, X=X, chosen=code[:n_pairs], rejected=code[n_pairs:])

    def objective(self, flip_rate: float = 0.0, correction: str = "smoothed") -> ExplicitPairs:
        """The Bradley-Terry objective on these pairs."""
        return ExplicitPairs(
            np.column_stack([self.chosen, self.rejected]),
            weight=self.weight,
            target=self.target,
            margin=self.margin,
            flip_rate=flip_rate,
            correction=correction,
        )

    def loss(self, n_threads: int | None = None, **noise: Any) -> PairLoss:
        """The same as a function of one score a row; `noise` are the flip rate and its correction."""
        queries = Queries.from_qid(None, self.X.shape[0])
        return self.objective(**noise).bind(np.zeros(self.X.shape[0]), queries, n_threads=n_threads).pair_loss
