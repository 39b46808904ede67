"""Policies whose reward is linear in the features, one model for all candidates or one for each arm."""

from __future__ import annotations

from typing import Self

import numpy as np

from lambdamart_kit.core.information import InformationStack, accumulate
from lambdamart_kit.core.typing import Array, ArrayLike, FloatArray, Ids, IndexArray, RandomState
from lambdamart_kit.explore.base import Policy, check_contexts, check_lists, check_observations
from lambdamart_kit.explore.propensities import (
    Propensities,
    epsilon_greedy_probabilities,
    rank_probabilities,
    top_slates,
)


class LinearPolicy(Policy):
    """A policy whose reward is linear in the features, with ``A = reg_lambda I + sum x x'`` known.

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
        self._learn(rows, received, self._arm_codes(arms, len(rows)))
        self.n_observations_ += len(rows)
        return self

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
        self.information_.update(rows, model)
        accumulate(self.moments_, rows, rewards, model)
        self.coef_ = self.information_.solve(self.moments_)

    def _arm_codes(self, arms: ArrayLike | None, n_rows: int) -> IndexArray:
        if (self.arms is None) != (arms is None):
            raise ValueError(
                "'arms' must be given to partial_fit exactly when the policy was made with 'arms'"
            )
        if arms is None:
            return np.zeros(n_rows, dtype=np.intp)
        known = {arm: code for code, arm in enumerate(np.asarray(self.arms).tolist())}
        shown = np.asarray(arms).tolist()
        if len(shown) != n_rows:
            raise ValueError(f"'arms' must hold one arm per row: expected {n_rows}, got {len(shown)}")
        try:
            return np.fromiter(map(known.__getitem__, shown), dtype=np.intp, count=n_rows)
        except KeyError as unknown:
            raise ValueError(f"'arms' must be among those of the policy; got {unknown.args[0]!r}") from None

    def _lists(self, candidates: ArrayLike) -> tuple[Array, bool]:
        lists, single = check_lists(candidates) if self.arms is None else check_contexts(candidates)
        self._start(lists.shape[-1])
        return lists, single

    def _n_candidates(self, lists: Array) -> int:
        return int(lists.shape[1]) if self.arms is None else len(self.arms)

    def _labels(self, slate: IndexArray) -> Array:
        return slate if self.arms is None else np.asarray(self.arms)[slate]

    def _means(self, lists: Array) -> FloatArray:
        """``theta' x`` of each candidate, (n_lists, n_candidates)."""
        means: FloatArray = lists @ (self.coef_[0] if self.arms is None else self.coef_.T)
        return means

    def _widths(self, lists: Array) -> FloatArray:
        """``sqrt(x' A^-1 x)`` of each candidate, (n_lists, n_candidates)."""
        if self.arms is None:
            rows = lists.reshape(-1, lists.shape[-1])
            return np.sqrt(self.information_.quadratic(rows)).reshape(lists.shape[:-1])
        return np.sqrt(self.information_.quadratic(lists)).T


def _check_arms(arms: Ids) -> int:
    """How many arms: one-dimensional labels, at least one, all different."""
    labels = np.asarray(arms)
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
        random_state: RandomState = None,
    ) -> None:
        self.epsilon = epsilon
        self.decay = decay
        self.reg_lambda = reg_lambda
        self.arms = arms
        self.random_state = random_state

    @property
    def current_epsilon(self) -> float:
        """Probability that the next slate explores."""
        if not (0 <= self.epsilon <= 1 and self.decay >= 0):
            raise ValueError(
                f"'epsilon' must be in [0, 1] and 'decay' >= 0; got {self.epsilon!r} and {self.decay!r}"
            )
        return float(self.epsilon * (1.0 + getattr(self, "n_observations_", 0)) ** -self.decay)

    def _slates(self, lists: Array, k: int) -> IndexArray:
        rng = self._generator()
        scores = self._means(lists)
        explore = rng.random(len(scores)) < self.current_epsilon
        return top_slates(np.where(explore[:, None], 0.0, scores), k, rng)

    def _probabilities(self, lists: Array, k: int) -> Propensities:
        return Propensities.exact(epsilon_greedy_probabilities(self._means(lists), self.current_epsilon, k))


class LinUCB(LinearPolicy):
    r"""Optimism: the slate with the highest upper confidence bounds.

    .. math:: A = \lambda I + \sum x x^\top, \quad \theta = A^{-1} \sum r x, \quad
              \text{bound}(x) = \theta^\top x + \alpha \sqrt{x^\top A^{-1} x}

    An arm that was never shown has the bonus :math:`\alpha |x| / \sqrt\lambda`.

    Parameters
    ----------
    alpha : float
        >= 0: width of the bound in standard deviations.
    reg_lambda : float
        > 0.
    arms : sequence, optional
        Labels of arms with a model each ("disjoint"); None shares one model of the candidates' features.
    random_state : int, Generator or None
        For ties.

    References
    ----------
    Li, Chu, Langford, Schapire (2010), "A contextual-bandit approach to personalized news article
    recommendation", WWW, algorithm 1. Abbasi-Yadkori, Pál, Szepesvári (2011), "Improved algorithms for linear
    stochastic bandits", NeurIPS.

    Examples
    --------
    >>> policy = LinUCB(alpha=1.0, reg_lambda=1.0)
    >>> policy = policy.partial_fit([[1, 0], [1, 1], [0, 1]], [1.0, 0.0, 1.0])
    >>> policy.coef_.round(12).tolist(), policy.upper_bounds([[1, 1]]).round(6).tolist()
    ([[0.25, 0.25]], [1.207107])
    >>> policy.select([[0.1, 0.0], [1, 1], [1, 0]], k=2).tolist()
    [1, 2]
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        reg_lambda: float = 1.0,
        arms: Ids = None,
        random_state: RandomState = None,
    ) -> None:
        self.alpha = alpha
        self.reg_lambda = reg_lambda
        self.arms = arms
        self.random_state = random_state

    def upper_bounds(self, candidates: ArrayLike) -> FloatArray:
        """The bound of each candidate (or arm): (n_candidates,), or (n_lists, n_candidates).

        Parameters
        ----------
        candidates : (n_candidates, n_features) or (n_lists, n_candidates, n_features) array-like
            Features of the candidates of one list, or of several.

        Returns
        -------
        (n_candidates,) or (n_lists, n_candidates) array
            Mean plus `alpha` standard deviations.
        """
        lists, single = self._lists(candidates)
        bounds = self._bounds(lists)
        return bounds[0] if single else bounds

    def _bounds(self, lists: Array) -> FloatArray:
        if not self.alpha >= 0:
            raise ValueError(f"'alpha' must be >= 0; got {self.alpha!r}")
        return self._means(lists) + self.alpha * self._widths(lists)

    def _slates(self, lists: Array, k: int) -> IndexArray:
        return top_slates(self._bounds(lists), k, self._generator())

    def _probabilities(self, lists: Array, k: int) -> Propensities:
        return Propensities.exact(rank_probabilities(self._bounds(lists), k))
