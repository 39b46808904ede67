"""Policies whose reward is linear in the features, one model for all candidates or one for each arm."""

from __future__ import annotations

from typing import Self

import numpy as np

from lambdamart_kit.core.gains import check_number
from lambdamart_kit.core.information import InformationStack, accumulate
from lambdamart_kit.core.rows import as_ids
from lambdamart_kit.core.typing import (
    Array,
    ArrayLike,
    FloatArray,
    Ids,
    IndexArray,
    RandomState,
    Settings,
)
from lambdamart_kit.explore.base import Policy, check_contexts, check_lists, check_observations
from lambdamart_kit.explore.delayed import DelayedRewards
from lambdamart_kit.explore.propensities import (
    Propensities,
    epsilon_greedy_probabilities,
    top_slates,
)
from lambdamart_kit.explore.saving import count, shaped


class LinearPolicy(DelayedRewards, Policy):
    """A policy whose reward is linear in the features, with ``A = reg_lambda I + sum x x'`` known.

    With a `discount` below 1, a reward that is n rewards old counts ``discount**n`` times a new one, in A and
    in b (Russac, Vernade and Cappé 2019, "Weighted linear bandits for non-stationary environments", NeurIPS).
    The age counts the rewards of all arms, so an arm that is no longer shown becomes uncertain again.

    Attributes
    ----------
    information_ : InformationStack
        ``A`` of the shared model, or of each arm: ``information_[m]`` is an Information.
    moments_ : (n_models, d) float64
        ``b = sum r x``.
    coef_ : (n_models, d) float64
        ``theta = A^-1 b``.
    n_observations_ : int
        Rewards seen so far.
    n_features_in_ : int
        Columns that fit saw.
    """

    reg_lambda: float
    arms: Ids
    discount: float

    def partial_fit(self, contexts: ArrayLike, rewards: ArrayLike, arms: ArrayLike | None = None) -> Self:
        """Learn from rewards of what was shown.

        Parameters
        ----------
        contexts : (n, d) array-like
            Features of the shown candidates; for a policy with `arms`, of the contexts they were shown in.
        rewards : (n,) array-like
            Finite.
        arms : (n,) array-like
            Which arm was shown; for a policy with `arms` only.

        Raises
        ------
        ValueError
            If lengths differ, a value is not finite, the width changed, or an arm is not known.
        """
        rows, received = check_observations(contexts, rewards)
        self._start(rows.shape[1])
        codes = self._arm_codes(arms, len(rows))
        self._check_rewards(received)
        self._take(rows, received, codes)
        return self

    def _take(self, rows: FloatArray, rewards: FloatArray, model: IndexArray) -> None:
        """Learn from checked rows, the oldest first."""
        self._learn(rows, rewards, model)
        self._refresh_seen()
        self.n_observations_ += len(rows)

    def _check_rewards(self, rewards: FloatArray) -> None:
        """Refuse what the policy cannot learn from, before anything is changed."""
        check_number(self.discount, name="discount", least=0.0, most=1.0, open_ends="low")

    def _remembered(self, n_rows: int) -> FloatArray:
        """What each of `n_rows` new rows counts, the oldest first, once all of them are there."""
        return np.asarray(self.discount ** np.arange(n_rows - 1, -1, -1, dtype=np.float64))

    def _start(self, n_features: int) -> None:
        if not hasattr(self, "information_"):
            n_models = 1 if self.arms is None else _check_arms(self.arms)
            self.information_ = InformationStack(n_models, n_features, reg_lambda=self.reg_lambda)
            self.moments_ = np.zeros((n_models, n_features))
            self.coef_ = np.zeros((n_models, n_features))
            self.n_features_in_ = n_features
            self.n_observations_ = 0
        if n_features != self.n_features_in_:
            raise ValueError(f"features must have {self.n_features_in_} columns as before; got {n_features}")

    def _learn(self, rows: FloatArray, rewards: FloatArray, model: IndexArray) -> None:
        """Take in rows and rewards of the models that `model` (n,) names."""
        counts = self._remembered(len(rows))
        if self.discount < 1:
            self.information_.fade(self.discount ** len(rows), self.reg_lambda)
            self.moments_ *= self.discount ** len(rows)
        self.information_.update(rows * np.sqrt(counts)[:, None], model)
        accumulate(self.moments_, rows, rewards * counts, model)
        self.coef_ = self.information_.solve(self.moments_)

    def _arm_codes(self, arms: ArrayLike | None, n_rows: int) -> IndexArray:
        if (self.arms is None) != (arms is None):
            raise ValueError(
                "'arms' must be given to partial_fit exactly when the policy was made with 'arms'"
            )
        if arms is None:
            return np.zeros(n_rows, dtype=np.intp)
        known = {arm: code for code, arm in enumerate(as_ids(self.arms).tolist())}
        shown = as_ids(arms).tolist()
        if len(shown) != n_rows:
            raise ValueError(f"'arms' must hold one arm per row: expected {n_rows}, got {len(shown)}")
        try:
            return np.fromiter(map(known.__getitem__, shown), dtype=np.intp, count=n_rows)
        except KeyError as unknown:
            have = ", ".join(map(repr, list(known)[:5])) + (", ..." if len(known) > 5 else "")
            raise ValueError(
                f"'arms' must be among those of the policy, {have}; got {unknown.args[0]!r}"
            ) from None

    def _lists(self, candidates: ArrayLike) -> tuple[Array, bool]:
        lists, single = check_lists(candidates) if self.arms is None else check_contexts(candidates)
        self._start(lists.shape[-1])
        return lists, single

    def _n_candidates(self, lists: Array) -> int:
        return int(lists.shape[1]) if self.arms is None else len(self.arms)

    def _labels(self, slate: IndexArray) -> Array:
        return slate if self.arms is None else as_ids(self.arms)[slate]

    def _try_out(self) -> None:
        rows = np.zeros((2, self.n_features_in_))
        self.select(rows if self.arms is None else rows[0])

    def _content(self) -> tuple[Settings, dict[str, Array], dict[str, bytes]]:
        state: Settings = {"n_features": self.n_features_in_, "n_observations": self.n_observations_}
        arrays = {"information": self.information_.matrices, "moments": self.moments_, "coef": self.coef_}
        return state | self._waiting_state(), arrays | self._waiting_arrays(), {}

    def _take_back(self, state: Settings, arrays: dict[str, Array]) -> None:
        n_models = 1 if self.arms is None else _check_arms(self.arms)
        d = count(state, "n_features", least=1)
        self._start(d)
        self.n_observations_ = count(state, "n_observations")
        matrices = shaped(arrays, "information", (n_models, d, d))
        if not np.allclose(matrices, matrices.transpose(0, 2, 1), rtol=1e-9):
            raise ValueError("information must be symmetric")
        self.information_ = InformationStack.of(matrices)
        self.moments_ = shaped(arrays, "moments", (n_models, d))
        self.coef_ = shaped(arrays, "coef", (n_models, d))
        self._restore_waiting(state, arrays, n_models, d)

    def _means(self, lists: Array) -> FloatArray:
        """``theta' x`` of each candidate, (n_lists, n_candidates)."""
        means: FloatArray = lists @ (self.coef_[0] if self.arms is None else self.coef_.T)
        return means

    def _widths(self, lists: Array) -> FloatArray:
        """``sqrt(x' A^-1 x)`` of each candidate, (n_lists, n_candidates)."""
        if self.arms is None:
            rows = lists.reshape(-1, lists.shape[-1])
            return np.sqrt(self._seen.quadratic(rows)).reshape(lists.shape[:-1])
        return np.sqrt(self._seen.quadratic(lists)).T


def _check_arms(arms: Ids) -> int:
    """How many arms: one-dimensional labels, at least one, all different."""
    labels = as_ids(arms)
    if labels.ndim != 1 or not len(labels) or len(set(labels.tolist())) < len(labels):
        raise ValueError(f"'arms' must be a list of different labels, at least one; got {arms!r}")
    return len(labels)


class EpsilonGreedy(LinearPolicy):
    r"""The best slate by a ridge regression, or with probability epsilon a uniformly random one.

    .. math:: \epsilon_t = \epsilon \, (1 + t)^{-decay}, \qquad
              P(i \text{ at } j) = \epsilon_t / n + (1 - \epsilon_t) \, 1[i \text{ is } j\text{-th best}]

    with t the observations so far. Without decay its regret is linear: it goes on paying
    :math:`\epsilon` times the mean gap.

    Parameters
    ----------
    epsilon : float
        In [0, 1].
    decay : float
        >= 0; 1/3 suits many arms (regret of order t^(2/3)).
    reg_lambda : float
        > 0.
    arms : sequence, optional
        Labels of arms with a model each; None shares one model of the candidates' features.
    discount : float
        In (0, 1]: what a reward counts after each later one, for tastes that drift; 1 never forgets.
    random_state : int, Generator or None
        Seed of the draws; None draws differently every time.

    References
    ----------
    Auer, Cesa-Bianchi, Fischer (2002), "Finite-time analysis of the multiarmed bandit problem", Machine
    Learning 47, figure 3.

    Examples
    --------
    >>> policy = EpsilonGreedy(epsilon=0.1, random_state=0).partial_fit([[1, 0], [0, 1]], [1.0, 0.0])
    >>> policy.probabilities([[1, 0], [0, 1]]).values.ravel().round(6).tolist()
    [0.95, 0.05]
    """

    def __init__(
        self,
        epsilon: float = 0.1,
        *,
        decay: float = 0.0,
        reg_lambda: float = 1.0,
        arms: Ids = None,
        discount: float = 1.0,
        random_state: RandomState = None,
    ) -> None:
        self.epsilon = epsilon
        self.decay = decay
        self.reg_lambda = reg_lambda
        self.arms = arms
        self.discount = discount
        self.random_state = random_state

    @property
    def current_epsilon(self) -> float:
        """Probability that the next slate explores."""
        epsilon = check_number(self.epsilon, name="epsilon", least=0.0, most=1.0)
        decay = check_number(self.decay, name="decay", least=0.0)
        return float(epsilon * (1.0 + getattr(self, "n_observations_", 0)) ** -decay)

    def _slates(self, lists: Array, k: int) -> IndexArray:
        rng = self._generator()
        scores = self._means(lists)
        explore = rng.random(len(scores)) < self.current_epsilon
        return top_slates(np.where(explore[:, None], 0.0, scores), k, rng)

    def _probabilities(self, lists: Array, k: int) -> Propensities:
        return Propensities.exact(epsilon_greedy_probabilities(self._means(lists), self.current_epsilon, k))
