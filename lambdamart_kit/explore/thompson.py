"""Thompson sampling: the best slate for one draw from the posterior."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from lambdamart_kit.core.gains import check_count, check_number
from lambdamart_kit.core.information import Information
from lambdamart_kit.core.pairs import pair_terms
from lambdamart_kit.core.typing import Array, ArrayLike, FloatArray, Ids, IndexArray, RandomState
from lambdamart_kit.explore.linear import LinearPolicy
from lambdamart_kit.explore.propensities import (
    Propensities,
    draw_frequencies,
    gaussian_duel,
    top_slates,
)

_NEWTON_STEPS = 100


class LinearThompson(LinearPolicy):
    r"""Probability matching: the best slate for one draw of the parameters.

    .. math:: \theta \sim N(A^{-1} b, \; \text{scale}^2 A^{-1})

    A fresh draw for each list; with `arms`, each arm draws from its own posterior, independently of the
    others. `coupled` draws a single z ~ N(0, 1) for the list instead (randomised UCB), which leaves every
    candidate its distribution and takes the independent noise out of the comparison:

    .. math:: \text{score}(x) = \theta^\top x + z \, \text{scale} \sqrt{x^\top A^{-1} x}

    It explores less, and loses less where contexts vary enough to teach every arm by themselves.

    Propensities are exact for two candidates (a normal probability); for more they are estimated from
    `n_propensity_draws` further draws, with their standard errors.

    Parameters
    ----------
    scale : float
        > 0: standard deviation of the rewards' noise, or a factor on it.
    reg_lambda : float
        > 0: inverse prior variance, in units of ``scale**2``.
    arms : sequence, optional
        Labels of arms with a model each; None shares one model of the candidates' features.
    coupled : bool
        One draw of z for all candidates of a list.
    n_propensity_draws : int
        Draws of the posterior behind each estimate of propensities.
    discount : float
        In (0, 1]: what a reward counts after each later one, for tastes that drift; 1 never forgets.
    random_state : int, Generator or None
        Seed of the draws; None draws differently every time.

    References
    ----------
    Agrawal and Goyal (2013), "Thompson sampling for contextual bandits with linear payoffs", ICML,
    algorithm 1. Vaswani, Mehrabian, Durand, Kveton (2020), "Old dog learns new tricks: randomized UCB for
    bandit problems", AISTATS, section 2 (coupled).

    Examples
    --------
    >>> policy = LinearThompson(random_state=0).partial_fit([[1, 0], [0, 1]], [1.0, 0.0])
    >>> policy.probabilities([[1, 0], [0, 1]]).values.ravel().round(4).tolist()    # Phi(0.5 / 1)
    [0.6915, 0.3085]
    """

    def __init__(
        self,
        scale: float = 1.0,
        *,
        reg_lambda: float = 1.0,
        arms: Ids = None,
        coupled: bool = False,
        n_propensity_draws: int = 1000,
        discount: float = 1.0,
        random_state: RandomState = None,
    ) -> None:
        self.scale = scale
        self.reg_lambda = reg_lambda
        self.arms = arms
        self.coupled = coupled
        self.n_propensity_draws = n_propensity_draws
        self.discount = discount
        self.random_state = random_state

    def _posterior_scale(self) -> float:
        return check_number(self.scale, name="scale", least=0.0, open_ends="low")

    def _draws(self, lists: Array, rng: np.random.Generator) -> FloatArray:
        """Scores of each list under its own draw, (n_lists, n_candidates)."""
        scale, means = self._posterior_scale(), self._means(lists)
        if self.coupled:
            return means + scale * self._widths(lists) * rng.standard_normal((len(means), 1))
        if self.arms is not None:  # independent draws of independent models: only their projections matter
            return means + scale * self._widths(lists) * rng.standard_normal(means.shape)
        noise = self._seen[0].sample(np.zeros(self.n_features_in_), rng, size=len(lists))
        return means + scale * np.einsum("lcd,ld->lc", lists, noise)

    def _slates(self, lists: Array, k: int) -> IndexArray:
        rng = self._generator()
        return top_slates(self._draws(lists, rng), k, rng)

    def _probabilities(self, lists: Array, k: int) -> Propensities:
        if self._n_candidates(lists) == 2:
            return Propensities.exact(self._duels(lists)[:, :, :k])
        n_draws = check_count(self.n_propensity_draws, name="n_propensity_draws")
        rng = np.random.default_rng(self._generator().integers(2**63))
        counts = []
        for one in lists:
            repeated = np.broadcast_to(one, (n_draws, *one.shape))
            counts.append(draw_frequencies(self._draws(repeated, rng), k, rng))
        return Propensities.estimated(np.stack(counts), n_draws)

    def _duels(self, lists: Array) -> FloatArray:
        means = self._means(lists)
        if self.coupled:
            variance = np.diff(self._widths(lists), axis=1)[:, 0] ** 2
        elif self.arms is None:
            variance = self._seen.quadratic(lists[:, 0] - lists[:, 1])[0]
        else:
            variance = self._seen.quadratic(lists).sum(axis=0)
        first = gaussian_duel(means[:, 0] - means[:, 1], self._posterior_scale() * np.sqrt(variance))
        rows = np.stack([first, 1.0 - first], axis=1)
        return np.stack([rows, rows[:, ::-1]], axis=2)


class LogisticThompson(LinearThompson):
    r"""Thompson sampling for clicks: a logistic model with a Laplace approximation of its posterior.

    .. math:: \theta \sim N(\hat\theta, H^{-1}), \quad
              \hat\theta = \arg\min \sum \ell(x^\top \theta, r)
              + \tfrac12 (\theta - \theta_0)^\top H_0 (\theta - \theta_0), \quad
              H = H_0 + \sum p (1 - p) x x^\top

    where the posterior of one call of `partial_fit` is the prior ``(theta_0, H_0)`` of the next, so no past
    row is kept. In one call from the start it is the exact maximum a posteriori.

    Parameters
    ----------
    reg_lambda : float
        > 0: inverse variance of the prior.
    arms : sequence, optional
        Labels of arms with a model each; None shares one model of the candidates' features.
    coupled : bool
        As in :class:`LinearThompson`.
    n_propensity_draws : int
        Draws of the posterior behind each estimate of propensities.
    discount : float
        In (0, 1]: what a reward counts after each later one, for tastes that drift; 1 never forgets.
    random_state : int, Generator or None
        Seed of the draws; None draws differently every time.

    References
    ----------
    Chapelle and Li (2011), "An empirical evaluation of Thompson sampling", NeurIPS, algorithm 3.
    MacKay (1992), "The evidence framework applied to classification networks", eq. 10 (predictive
    probability).

    Examples
    --------
    >>> policy = LogisticThompson().partial_fit([[1], [1], [1], [1]], [1, 1, 1, 0])
    >>> policy.coef_.round(6).tolist(), policy.information_[0].inverse().round(6).tolist()
    ([[0.50524]], [[0.515782]])
    >>> policy.predict_proba([[1]]).round(6).tolist()
    [0.613187]
    """

    def __init__(
        self,
        *,
        reg_lambda: float = 1.0,
        arms: Ids = None,
        coupled: bool = False,
        n_propensity_draws: int = 1000,
        discount: float = 1.0,
        random_state: RandomState = None,
    ) -> None:
        self.reg_lambda = reg_lambda
        self.arms = arms
        self.coupled = coupled
        self.n_propensity_draws = n_propensity_draws
        self.discount = discount
        self.random_state = random_state

    def predict_proba(self, candidates: ArrayLike) -> FloatArray:
        """Predictive probability of a reward, ``sigma(mu / sqrt(1 + pi s^2 / 8))``: (..., n_candidates).

        Parameters
        ----------
        candidates : (n_candidates, n_features) or (n_lists, n_candidates, n_features) array-like
            Features of the candidates of one list, or of several.

        Returns
        -------
        (n_candidates,) or (n_lists, n_candidates) array
            Values in (0, 1).
        """
        lists, single = self._lists(candidates)
        variance = self._widths(lists) ** 2
        probability: FloatArray = expit(self._means(lists) / np.sqrt(1.0 + np.pi * variance / 8.0))
        return probability[0] if single else probability

    def _posterior_scale(self) -> float:
        return 1.0

    def _check_rewards(self, rewards: FloatArray) -> None:
        super()._check_rewards(rewards)
        outside = (rewards < 0) | (rewards > 1)
        if outside.any():
            raise ValueError(f"'rewards' must be in [0, 1]; got {rewards[outside][0]:g}")

    def _learn(self, rows: FloatArray, rewards: FloatArray, model: IndexArray) -> None:
        counts = self._remembered(len(rows))
        if self.discount < 1:
            self._fade(self.discount ** len(rows))
        for m in np.unique(model):
            of_model = model == m
            self.information_[m], self.coef_[m] = _laplace(
                self.information_[m], self.coef_[m], rows[of_model], rewards[of_model], counts[of_model]
            )

    def _fade(self, keep: float) -> None:
        """The posterior with its data counted `keep` times, and the prior around 0 in full."""
        pulls = np.stack([keep * self.information_[m].matrix @ coef for m, coef in enumerate(self.coef_)])
        self.information_.fade(keep, self.reg_lambda)
        self.coef_ = self.information_.solve(pulls)

    def _row_information(self, rows: FloatArray, model: IndexArray) -> FloatArray:
        p = expit(np.einsum("nd,nd->n", rows, self.coef_[model]))
        return np.asarray(p * (1.0 - p))


def _laplace(
    prior: Information, start: FloatArray, rows: FloatArray, rewards: FloatArray, weight: FloatArray
) -> tuple[Information, FloatArray]:
    """The posterior of a logistic model around its maximum, by Newton's method from the prior's mean."""
    theta = start.copy()
    for _ in range(_NEWTON_STEPS):
        terms = pair_terms(rows @ theta, target=rewards, weight=weight)
        gradient = terms.gradient @ rows + prior.matrix @ (theta - start)
        posterior = prior.copy()
        posterior.update(rows, terms.hessian)
        step = posterior.solve(gradient)
        theta -= _damped(step, theta, start, prior, rows, rewards, weight)
        if np.abs(step).max() <= 1e-10 * max(1.0, np.abs(theta).max()):
            break
    posterior = prior.copy()
    posterior.update(rows, pair_terms(rows @ theta, target=rewards, weight=weight).hessian)
    return posterior, theta


def _damped(
    step: FloatArray,
    theta: FloatArray,
    start: FloatArray,
    prior: Information,
    rows: FloatArray,
    rewards: FloatArray,
    weight: FloatArray,
) -> FloatArray:
    """Newton's step, halved until it does not raise the penalised loss."""

    def loss(at: FloatArray) -> float:
        away = at - start
        return float(
            pair_terms(rows @ at, target=rewards, weight=weight).loss.sum() + away @ prior.matrix @ away / 2
        )

    now = loss(theta)
    for _ in range(30):
        if loss(theta - step) <= now + 1e-12 * abs(now):
            break
        step = step / 2
    return step
