"""What all policies share: slates of candidates, and their propensities."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator

from lambdamart_kit.core.gains import check_count
from lambdamart_kit.core.typing import Array, ArrayLike, FloatArray, IndexArray, RandomState
from lambdamart_kit.explore.propensities import Propensities
from lambdamart_kit.explore.saving import PolicyFile


class Policy(PolicyFile, BaseEstimator, ABC):
    """What all policies share: slates of k candidates, and their propensities.

    A subclass scores lists of candidates, and says how likely each slate position is.
    """

    random_state: RandomState
    n_features_in_: int

    def select(self, candidates: ArrayLike, k: int = 1, *, return_propensities: bool = False) -> Any:
        """Choose a slate of `k` candidates for each list.

        Parameters
        ----------
        candidates : (n_candidates, d) or (n_lists, n_candidates, d) array-like
            Features of the candidates of one list, or of many lists at once. A policy with `arms` takes
            contexts instead, (d,) or (n_lists, d), and its candidates are the arms.
        k : int
            Length of the slate; all candidates, in order, when there are fewer.
        return_propensities : bool
            Also return the probability of each item's being at its position, to be logged.

        Returns
        -------
        slate : (k,) or (n_lists, k) intp
            Candidates (or, with `arms`, their labels), best first; equal scores in random order.
        propensities : Propensities
            Only with `return_propensities`: values and standard errors shaped as the slate.

        Raises
        ------
        ValueError
            If there is no candidate, or features are of another width than before or not finite.
        """
        lists, single = self._lists(candidates)
        length = min(check_count(k, name="k"), self._n_candidates(lists))
        slate = self._slates(lists, length)
        labels = self._labels(slate)
        items = labels[0] if single else labels
        if not return_propensities:
            return items
        found = self._probabilities(lists, length).of(slate)
        return items, (Propensities(*(part[0] for part in found)) if single else found)

    def probabilities(self, candidates: ArrayLike, k: int = 1) -> Propensities:
        """Probability that each candidate is put at each of the first `k` positions.

        Returns
        -------
        Propensities
            (n_candidates, k), or (n_lists, n_candidates, k); the columns sum to 1.
        """
        lists, single = self._lists(candidates)
        found = self._probabilities(lists, min(check_count(k, name="k"), self._n_candidates(lists)))
        return Propensities(*(part[0] for part in found)) if single else found

    @abstractmethod
    def partial_fit(self, contexts: ArrayLike, rewards: ArrayLike) -> Self:
        """Learn from what was shown."""

    @abstractmethod
    def _slates(self, lists: Array, k: int) -> IndexArray:
        """Slates (n_lists, k) as indices of candidates."""

    @abstractmethod
    def _probabilities(self, lists: Array, k: int) -> Propensities:
        """Item by position, (n_lists, n_candidates, k)."""

    def _lists(self, candidates: ArrayLike) -> tuple[Array, bool]:
        return check_lists(candidates)

    def _n_candidates(self, lists: Array) -> int:
        return int(lists.shape[1])

    def _labels(self, slate: IndexArray) -> Array:
        return slate

    def _try_out(self) -> None:
        """Choose among two rows of zeros, as `load` does with a copy of what it read."""
        self.select(np.zeros((2, self.n_features_in_)))

    def _generator(self) -> np.random.Generator:
        """One generator for the policy's life, from `random_state`."""
        if not hasattr(self, "_rng"):
            self._rng = np.random.default_rng(self.random_state)
        return self._rng


def check_observations(contexts: ArrayLike, rewards: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Finite (n, d) contexts and (n,) rewards."""
    rows = np.asarray(contexts, dtype=np.float64)
    received = np.asarray(rewards, dtype=np.float64)
    if rows.ndim != 2 or received.shape != (len(rows),):
        raise ValueError(
            f"'contexts' must be (n, d) and 'rewards' (n,); got shapes {rows.shape} and {received.shape}"
        )
    for name, values in (("contexts", rows), ("rewards", received)):
        if not np.isfinite(values).all():
            raise ValueError(f"{name!r} must be finite; got NaN or infinity")
    return rows, received


def check_lists(candidates: ArrayLike) -> tuple[FloatArray, bool]:
    """Finite (n_lists, n_candidates, d), and whether one list was given."""
    lists = np.asarray(candidates, dtype=np.float64)
    single = lists.ndim == 2
    lists = lists[None] if single else lists
    if lists.ndim != 3 or 0 in lists.shape[1:]:
        raise ValueError(
            "'candidates' must be (n_candidates, d) or (n_lists, n_candidates, d), at least one candidate; "
            f"got shape {np.shape(candidates)}"
        )
    if not np.isfinite(lists).all():
        raise ValueError("'candidates' must be finite; got NaN or infinity")
    return lists, single


def check_contexts(contexts: ArrayLike) -> tuple[FloatArray, bool]:
    """Finite (n_lists, d), and whether one context was given."""
    rows = np.asarray(contexts, dtype=np.float64)
    single = rows.ndim == 1
    rows = rows[None] if single else rows
    if rows.ndim != 2 or rows.shape[1] == 0 or not np.isfinite(rows).all():
        raise ValueError(
            f"a policy with 'arms' takes finite contexts (d,) or (n_lists, d); got shape {np.shape(contexts)}"
        )
    return rows, single
