"""Losses without a reference policy: sft, CPO, SimPO, AlphaPO, ORPO."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import expit, log_expit

from lambdamart_kit.core.typing import FloatArray
from lambdamart_kit.preferences.dpo.losses.base import LossSettings, PreferenceLoss, of_policy
from lambdamart_kit.preferences.dpo.losses.logps import LossTerms, PairLogps
from lambdamart_kit.preferences.dpo.losses.margin import Curve, hinge, ipo, smoothed

# A mean log-prob of 0 (a certain response) has infinite log-odds, so ORPO reads at most this.
_CERTAIN = -1e-12
# exp(300) can be squared in float64; AlphaPO's reward grows like exp(-alpha * mean log-prob).
_LARGEST_EXPONENT = 300.0


@dataclass(frozen=True, kw_only=True)
class LikelihoodLoss(PreferenceLoss):
    """sft: the mean over all tokens of the batch's chosen responses, not a mean of means."""

    @property
    def needs_lengths(self) -> bool:
        """Whether token counts of the responses are read."""
        return True

    def _terms(self, logps: PairLogps, settings: LossSettings) -> LossTerms:
        loss, by_chosen = negative_log_likelihood(logps)
        return of_policy(loss, by_chosen, np.zeros_like(by_chosen))


@dataclass(frozen=True, kw_only=True)
class ReferenceFreeLoss(PreferenceLoss):
    """A curve of the policy's own margin, plus the chosen responses' negative log-likelihood.

    Attributes
    ----------
    curve : callable
        As in `MarginLoss`.
    reward : {"sum", "mean", "alpha"}
        The reward of a response over beta: its log-prob; the mean over its tokens; or AlphaPO's
        ``(1 - exp(-alpha m)) / alpha`` of the mean m.
    """

    curve: Callable[[FloatArray, LossSettings], Curve]
    reward: Literal["sum", "mean", "alpha"]

    @property
    def needs_lengths(self) -> bool:
        """Whether token counts of the responses are read (unless ``nll_weight=0``, for sums)."""
        return True

    def _terms(self, logps: PairLogps, settings: LossSettings) -> LossTerms:
        chosen_length, rejected_length = (1.0, 1.0) if self.reward == "sum" else logps.lengths
        chosen, chosen_slope = self._rewards(logps.chosen_logps / chosen_length, settings)
        rejected, rejected_slope = self._rewards(logps.rejected_logps / rejected_length, settings)
        gamma = settings.gamma if "gamma" in self.reads else 0.0
        curve = self.curve(settings.beta * (chosen - rejected) - gamma, settings)
        by_reward = settings.beta * curve.slope
        by_chosen = by_reward * chosen_slope / chosen_length
        by_rejected = -by_reward * rejected_slope / rejected_length
        return _with_likelihood(of_policy(curve.loss, by_chosen, by_rejected), logps, settings.nll_weight)

    def _rewards(self, m: FloatArray, settings: LossSettings) -> tuple[FloatArray, FloatArray]:
        if self.reward != "alpha":
            return m, np.ones_like(m)
        exponent = -settings.reward_alpha * m
        cut = np.minimum(exponent, _LARGEST_EXPONENT)
        slope = np.where(exponent < _LARGEST_EXPONENT, np.exp(cut), 0.0)
        return -np.expm1(cut) / settings.reward_alpha, slope


@dataclass(frozen=True, kw_only=True)
class OddsRatioLoss(PreferenceLoss):
    """ORPO: log-odds of the two mean log-probs, plus the chosen responses' negative log-likelihood."""

    @property
    def needs_lengths(self) -> bool:
        """Whether token counts of the responses are read."""
        return True

    def _terms(self, logps: PairLogps, settings: LossSettings) -> LossTerms:
        chosen_length, rejected_length = logps.lengths
        x = logps.chosen_logps / chosen_length
        y = logps.rejected_logps / rejected_length
        chosen, chosen_slope = _log_odds(x)
        rejected, rejected_slope = _log_odds(y)
        log_odds_ratio = chosen - rejected
        by_odds = -settings.beta * expit(-log_odds_ratio)
        loss = -settings.beta * log_expit(log_odds_ratio)
        terms = of_policy(
            loss, by_odds * chosen_slope / chosen_length, -by_odds * rejected_slope / rejected_length
        )
        return _with_likelihood(terms, logps, settings.nll_weight)


def negative_log_likelihood(logps: PairLogps) -> tuple[FloatArray, FloatArray]:
    """Each pair's part of ``-sum w log pi(chosen) / sum w L``, scaled to average to it, and its slope."""
    chosen_length, _ = logps.lengths
    per_nat = logps.weight.sum() / (logps.weight @ chosen_length)
    return -per_nat * logps.chosen_logps, np.full(len(logps), -per_nat)


def _with_likelihood(terms: LossTerms, logps: PairLogps, weight: float) -> LossTerms:
    # Without the likelihood no token counts are needed.
    if weight == 0:
        return terms
    loss, by_chosen = negative_log_likelihood(logps)
    return terms._replace(loss=terms.loss + weight * loss, chosen=terms.chosen + weight * by_chosen)


def _log_odds(m: FloatArray) -> tuple[FloatArray, FloatArray]:
    """``log(p / (1 - p))`` at ``p = exp(m)``, and its slope ``1 / (1 - p)`` by m."""
    below = np.minimum(m, _CERTAIN)
    one_minus = -np.expm1(below)  # 1 - p without cancellation for p next to 1
    # log(1 - p): log1p for small p, where log(1 - p) would round to 0.
    log_one_minus = np.where(below < -np.log(2.0), np.log1p(-np.exp(below)), np.log(one_minus))
    return below - log_one_minus, 1.0 / one_minus


REFERENCE_FREE_LOSSES: tuple[PreferenceLoss, ...] = (
    LikelihoodLoss(
        name="sft",
        formula="-log pi(chosen) / L, as a mean over the tokens of the whole batch",
        source="Maximum likelihood on the chosen responses",
        reads=(),
    ),
    ReferenceFreeLoss(
        name="cpo",
        formula="cdpo at beta (log pi(chosen) - log pi(rejected)), plus nll_weight * sft",
        source="Xu et al. (2024), Contrastive preference optimization (CPO)",
        reads=("beta", "label_smoothing", "nll_weight"),
        curve=smoothed,
        reward="sum",
    ),
    ReferenceFreeLoss(
        name="cpo_hinge",
        formula="max(0, 1 - beta (log pi(chosen) - log pi(rejected))), plus nll_weight * sft",
        source="Xu et al. (2024), with the hinge of SLiC-HF",
        reads=("beta", "nll_weight"),
        curve=hinge,
        reward="sum",
    ),
    ReferenceFreeLoss(
        name="cpo_ipo",
        formula="(log pi(chosen) / Lc - log pi(rejected) / Lr - 1 / (2 beta))^2, plus nll_weight * sft",
        source="Xu et al. (2024), with the square of IPO",
        reads=("beta", "nll_weight"),
        curve=ipo,
        reward="mean",
    ),
    ReferenceFreeLoss(
        name="simpo",
        formula="cdpo at beta (log pi(chosen) / Lc - log pi(rejected) / Lr) - gamma, plus nll_weight * sft",
        source="Meng et al. (2024), SimPO, equation 6",
        reads=("beta", "gamma", "label_smoothing", "nll_weight"),
        own_defaults={"nll_weight": 0.0},
        curve=smoothed,
        reward="mean",
    ),
    ReferenceFreeLoss(
        name="alphapo",
        formula=(
            "cdpo at beta (r(mc) - r(mr)) - gamma, plus nll_weight * sft; "
            "r(m) = (1 - exp(-reward_alpha m)) / reward_alpha, m = log pi / L"
        ),
        source="Gupta et al. (2025), AlphaPO: reward shape matters for LLM alignment",
        reads=("beta", "gamma", "label_smoothing", "nll_weight", "reward_alpha"),
        own_defaults={"nll_weight": 0.0},
        curve=smoothed,
        reward="alpha",
    ),
    OddsRatioLoss(
        name="orpo",
        formula="-beta log sigma(logit exp(mc) - logit exp(mr)) + nll_weight * sft, m = log pi / L",
        source="Hong et al. (2024), ORPO, equations 4 and 7",
        reads=("beta", "nll_weight"),
    ),
)
