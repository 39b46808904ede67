"""Optimism in the face of uncertainty: LinUCB."""

from __future__ import annotations

from typing import Any

import numpy as np

from lambdamart_kit.core.typing import Array, ArrayLike, FloatArray, Ids, IndexArray, RandomState
from lambdamart_kit.explore.confidence import LogDetBound, direction_bonus
from lambdamart_kit.explore.linear import LinearPolicy
from lambdamart_kit.explore.propensities import Propensities, rank_probabilities, top_slates

# The two rules that `alpha` may name, and which settings each does not use.
_UNUSED_BY_RULE: dict[str, list[str]] = {"auto": ["delta"], "self-normalised": []}


class LinUCB(LinearPolicy):
    r"""Optimism: the slate with the highest upper confidence bounds.

    .. math:: A = \lambda I + \sum x x^\top, \quad \theta = A^{-1} \sum r x, \quad
              \text{bound}(x) = \theta^\top x + \alpha \sqrt{x^\top A^{-1} x}

    An arm that was never shown has the bonus :math:`\alpha |x| / \sqrt\lambda`.

    **A constant alpha can lock in.** After an unlucky start the best arm's bound is below another arm's mean.
    It is then not shown any more, so nothing corrects it, and regret grows linearly for ever. Five arms with
    means .9, .6, .5, .3 and .1 and 3,000 rewards show it, with 50 seeds and the default `reg_lambda`:

    ======== ===== ============ =====================
    noise    alpha locked in    mean regret of a run
    ======== ===== ============ =====================
    0.3      0.5   27 of 50     534
    0.3      1.0   0 of 50      5
    0.5      0.5   22 of 50     426
    0.5      1.0   1 of 50      25
    1.0      1.0   11 of 50     227
    ======== ===== ============ =====================

    ``alpha="auto"`` needs no horizon and no tuning. With the width :math:`w = \sqrt{x^\top A^{-1} x}`, the
    noise R and a bound S on :math:`|\theta|`, its bonus is

    .. math:: \max\big(k R w, \; \tfrac12 R w + S \lambda |A^{-1} x|\big), \qquad
              k^2 = 2 + \log \frac{(\lambda + \sum |x_s|^2) \, w^2}{|x|^2}

    A ridge estimate errs by noise and by shrinkage towards 0. The first term takes k standard deviations of
    the noise, where k grows with how much less is known in the direction of x than could be known if all rows
    had been of that direction. The second is the most that shrinkage can do, and half a standard deviation
    of the noise. The logarithm grows while other candidates are shown, so nothing is given up for ever. In
    the runs above no seed locked in. This rule was chosen by measurements and is not a theorem.

    ``alpha="self-normalised"`` is the theorem: with probability ``1 - delta`` all bounds hold at all times,

    .. math:: \text{bonus}(x) = \Big(R \sqrt{\log \tfrac{\det A}{\lambda^d} + 2 \log \tfrac1\delta}
              + \sqrt\lambda S\Big) w

    with delta shared among the arms. It explores several times as much as was needed in the measurements.

    Parameters
    ----------
    alpha : float, "auto" or "self-normalised"
        Width of the bound in standard deviations, >= 0, or one of the two rules above.
    reg_lambda : float
        > 0.
    arms : sequence, optional
        Labels of arms with a model each ("disjoint"); None shares one model of the candidates' features.
    noise : float, optional
        > 0: R, standard deviation of the rewards' noise (or its sub-Gaussian constant). None is 0.5, which
        holds for all rewards in [0, 1]; other rewards are then refused. Not for a number as `alpha`.
    norm : float, optional
        > 0: S, a bound on the length of the coefficients of one model; None is 1. Not for a number as
        `alpha`.
    delta : float, optional
        In (0, 1): probability that the bounds of ``"self-normalised"`` fail; None is 0.05.
    discount : float
        In (0, 1]: what a reward counts after each later one, for tastes that drift; 1 never forgets.
    random_state : int, Generator or None
        For ties.

    References
    ----------
    Li, Chu, Langford, Schapire (2010), "A contextual-bandit approach to personalized news article
    recommendation", WWW, algorithm 1. Abbasi-Yadkori, Pál, Szepesvári (2011), "Improved algorithms for linear
    stochastic bandits", NeurIPS, theorem 2 (self-normalised). Garivier and Cappé (2011), "The KL-UCB
    algorithm for bounded stochastic bandits and beyond", COLT, section 7 (KL-UCB+: the logarithm of t over
    the number of times that an arm was shown, without a horizon).

    Examples
    --------
    >>> policy = LinUCB(alpha=1.0, reg_lambda=1.0)
    >>> policy = policy.partial_fit([[1, 0], [1, 1], [0, 1]], [1.0, 0.0, 1.0])
    >>> policy.coef_.round(12).tolist(), policy.upper_bounds([[1, 1]]).round(6).tolist()
    ([[0.25, 0.25]], [1.207107])
    >>> policy.select([[0.1, 0.0], [1, 1], [1, 0]], k=2).tolist()
    [1, 2]
    >>> auto = LinUCB("auto", random_state=0).partial_fit([[1, 0], [1, 0], [0, 1]], [1.0, 0.0, 0.0])
    >>> auto.upper_bounds([[1, 0], [0, 1]]).round(3).tolist()
    [0.811, 0.677]
    """

    def __init__(
        self,
        alpha: float | str = 1.0,
        *,
        reg_lambda: float = 1.0,
        arms: Ids = None,
        noise: float | None = None,
        norm: float | None = None,
        delta: float | None = None,
        discount: float = 1.0,
        random_state: RandomState = None,
    ) -> None:
        self.alpha = alpha
        self.reg_lambda = reg_lambda
        self.arms = arms
        self.noise = noise
        self.norm = norm
        self.delta = delta
        self.discount = discount
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
            Mean plus bonus.
        """
        lists, single = self._lists(candidates)
        bounds = self._bounds(lists)
        return bounds[0] if single else bounds

    def _bounds(self, lists: Array) -> FloatArray:
        self._check_bound()
        return self._means(lists) + self._bonus(lists)

    def _check_bound(self) -> None:
        """Refuse values out of range, and settings that the kind of `alpha` does not use."""
        is_number = isinstance(self.alpha, int | float | np.number) and 0 <= self.alpha < np.inf
        is_rule = isinstance(self.alpha, str) and self.alpha in _UNUSED_BY_RULE
        if not (is_number or is_rule):
            raise ValueError(
                f"'alpha' must be a finite number >= 0, 'auto' or 'self-normalised'; got {self.alpha!r}"
            )
        kind = "a number" if is_number else self.alpha
        unused = ["noise", "norm", "delta"] if is_number else _UNUSED_BY_RULE[str(self.alpha)]
        given = [name for name in unused if getattr(self, name) is not None]
        if given:
            raise ValueError(f"{given[0]!r} is not used when 'alpha' is {kind}; leave it out")
        for name in ("noise", "norm", "delta"):
            value: Any = getattr(self, name)
            if value is not None and not (
                np.isfinite(value) and value > 0 and (name != "delta" or value < 1)
            ):
                rule = "be in (0, 1)" if name == "delta" else "be finite and > 0"
                raise ValueError(f"{name!r} must {rule}; got {value!r}")

    def _check_rewards(self, rewards: FloatArray) -> None:
        super()._check_rewards(rewards)
        self._check_bound()
        outside = rewards[(rewards < 0) | (rewards > 1)]
        if isinstance(self.alpha, str) and self.noise is None and len(outside):
            raise ValueError(
                f"'noise' must be given with alpha={self.alpha!r} when rewards are not in [0, 1], for which "
                f"it is 0.5; got a reward of {outside[0]:g}; set 'noise' to the standard deviation of the "
                "rewards of one candidate"
            )

    def _bonus(self, lists: Array) -> FloatArray:
        """What is added to the mean of each candidate, (n_lists, n_candidates)."""
        widths = self._widths(lists)
        if not isinstance(self.alpha, str):
            return float(self.alpha) * widths
        noise = 0.5 if self.noise is None else float(self.noise)
        norm = 1.0 if self.norm is None else float(self.norm)
        if self.alpha == "auto":
            return direction_bonus(
                self._seen, lists, widths, noise=noise, norm=norm, reg_lambda=self.reg_lambda
            )
        delta = 0.05 if self.delta is None else float(self.delta)
        bound = LogDetBound(noise, norm, delta, self.reg_lambda)
        return bound.multiples(self._seen) * widths

    def _slates(self, lists: Array, k: int) -> IndexArray:
        return top_slates(self._bounds(lists), k, self._generator())

    def _probabilities(self, lists: Array, k: int) -> Propensities:
        return Propensities.exact(rank_probabilities(self._bounds(lists), k))
