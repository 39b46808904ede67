"""Losses of the two implicit rewards of a pair, A = beta a and R = beta b, one by one or sorted.

Most of them say what each reward should be, not only their difference: a constant added to both changes the
loss. They fight the fall of the chosen responses' likelihood that losses of the margin allow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import expit, log_expit

from lambdamart_kit.core.typing import FloatArray, IndexArray
from lambdamart_kit.preferences.dpo.losses.base import LossSettings, PreferenceLoss, of_ratios
from lambdamart_kit.preferences.dpo.losses.logps import LossTerms, PairLogps
from lambdamart_kit.preferences.dpo.losses.margin import smoothed


class Surface(NamedTuple):
    """Loss at each pair of rewards and its two slopes, (n_pairs,) each."""

    loss: FloatArray
    chosen: FloatArray
    rejected: FloatArray


@dataclass(frozen=True, kw_only=True)
class RewardLoss(PreferenceLoss):
    """A loss of the chosen and the rejected reward.

    Attributes
    ----------
    surface : callable
        ``surface(A, R, settings)`` gives loss and slopes.
    """

    surface: Callable[[FloatArray, FloatArray, LossSettings], Surface]

    def _terms(self, logps: PairLogps, settings: LossSettings) -> LossTerms:
        beta = settings.beta
        surface = self.surface(beta * logps.chosen_ratios, beta * logps.rejected_ratios, settings)
        return of_ratios(surface.loss, beta * surface.chosen, beta * surface.rejected)


def nca_pair(A: FloatArray, R: FloatArray, settings: LossSettings) -> Surface:
    """``-log sigma(A) - (log sigma(-A) + log sigma(-R)) / 2``."""
    loss = -log_expit(A) - 0.5 * log_expit(-A) - 0.5 * log_expit(-R)
    return Surface(loss, 0.5 * expit(A) - expit(-A), 0.5 * expit(R))


def bco_pair(A: FloatArray, R: FloatArray, settings: LossSettings) -> Surface:
    """``-log sigma(A) - log sigma(-R)``."""
    return Surface(-log_expit(A) - log_expit(-R), -expit(-A), expit(R))


def sppo_hard(A: FloatArray, R: FloatArray, settings: LossSettings) -> Surface:
    """``(a - 1 / (2 beta))^2 + (b + 1 / (2 beta))^2``."""
    chosen_miss = (A - 0.5) / settings.beta
    rejected_miss = (R + 0.5) / settings.beta
    loss = chosen_miss**2 + rejected_miss**2
    return Surface(loss, 2.0 * chosen_miss / settings.beta, 2.0 * rejected_miss / settings.beta)


def apo_zero(A: FloatArray, R: FloatArray, settings: LossSettings) -> Surface:
    """``1 - sigma(A) + sigma(R)``: the chosen response becomes likelier, the rejected one less likely."""
    return Surface(expit(-A) + expit(R), -_sigmoid_slope(A), _sigmoid_slope(R))


def apo_down(A: FloatArray, R: FloatArray, settings: LossSettings) -> Surface:
    """``sigma(A) + 1 - sigma(A - R)``: both become less likely, the rejected one more so."""
    z = A - R
    return Surface(expit(A) + expit(-z), _sigmoid_slope(A) - _sigmoid_slope(z), _sigmoid_slope(z))


def _sigmoid_slope(x: FloatArray) -> FloatArray:
    return np.asarray(expit(x) * expit(-x))


@dataclass(frozen=True, kw_only=True)
class SortedLoss(PreferenceLoss):
    """AOT: compares the sorted values of two samples, quantile by quantile, as optimal transport does.

    The k-th loss belongs to the k-th quantile, not to the k-th pair. Where values are equal the gradient
    depends on the order in which they are sorted: a stable sort keeps the order of the pairs.

    Attributes
    ----------
    paired : bool
        Whether the policy's margins are compared with the reference's (``aot``), or the chosen responses'
        log-ratios with the rejected ones' (``aot_unpaired``).
    """

    paired: bool

    def _terms(self, logps: PairLogps, settings: LossSettings) -> LossTerms:
        if np.ptp(logps.weight) > 0:
            raise ValueError(
                f"loss {self.name!r} compares quantiles, so all pairs must have the same 'weight'; got "
                f"weights from {logps.weight.min()} to {logps.weight.max()}; repeat pairs instead"
            )
        a = logps.chosen_ratios
        b = logps.rejected_ratios
        if self.paired:
            upper = logps.chosen_logps - logps.rejected_logps
            lower = upper - (a - b)
        else:
            upper = a
            lower = b
        order_upper = np.argsort(upper, kind="stable")
        order_lower = np.argsort(lower, kind="stable")
        curve = smoothed(settings.beta * (upper[order_upper] - lower[order_lower]), settings)
        by_upper = _unsorted(settings.beta * curve.slope, order_upper)
        by_lower = _unsorted(-settings.beta * curve.slope, order_lower)
        if self.paired:
            return LossTerms(curve.loss, by_upper, -by_upper, by_lower, -by_lower)
        return of_ratios(curve.loss, by_upper, by_lower)


def _unsorted(values: FloatArray, order: IndexArray) -> FloatArray:
    result = np.empty_like(values)
    result[order] = values
    return result


REWARD_LOSSES: tuple[PreferenceLoss, ...] = (
    RewardLoss(
        name="nca_pair",
        formula="-log sigma(beta a) - (log sigma(-beta a) + log sigma(-beta b)) / 2",
        source="Chen et al. (2024), Noise contrastive alignment (NCA)",
        surface=nca_pair,
    ),
    RewardLoss(
        name="bco_pair",
        formula="-log sigma(beta a) - log sigma(-beta b)",
        source="Jung et al. (2024), Binary classifier optimization (BCO), without its reward shift",
        surface=bco_pair,
    ),
    RewardLoss(
        name="sppo_hard",
        formula="(a - 1 / (2 beta))^2 + (b + 1 / (2 beta))^2",
        source="Wu et al. (2024), Self-play preference optimization (SPPO), hard labels",
        surface=sppo_hard,
    ),
    RewardLoss(
        name="apo_zero",
        formula="1 - sigma(beta a) + sigma(beta b)",
        source="D'Oosterlinck et al. (2024), Anchored preference optimization (APO-zero)",
        surface=apo_zero,
    ),
    RewardLoss(
        name="apo_down",
        formula="sigma(beta a) + 1 - sigma(z)",
        source="D'Oosterlinck et al. (2024), Anchored preference optimization (APO-down)",
        surface=apo_down,
    ),
    SortedLoss(
        name="aot",
        formula="cdpo at beta d, d = sort(log pi(chosen) - log pi(rejected)) - sort(the same of pi_ref)",
        source="Melnyk et al. (2024), Distributional preference alignment via optimal transport (AOT)",
        reads=("beta", "label_smoothing"),
        paired=True,
    ),
    SortedLoss(
        name="aot_unpaired",
        formula="cdpo at beta d, d = sort(a) - sort(b)",
        source="Melnyk et al. (2024), Distributional preference alignment via optimal transport (AOT)",
        reads=("beta", "label_smoothing"),
        paired=False,
    ),
)
