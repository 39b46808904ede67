"""Losses of single responses labelled desirable or not: KTO, APO-zero and BCO, and their use on pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, log_expit

from lambdamart_kit.core.typing import ArrayLike, FloatArray
from lambdamart_kit.preferences.dpo.checks import finite
from lambdamart_kit.preferences.dpo.losses.base import (
    Described,
    LossSettings,
    PreferenceLoss,
    Setting,
    of_ratios,
)
from lambdamart_kit.preferences.dpo.losses.logps import LossTerms, PairLogps, RowGradient, RowLogps, RowTerms


@dataclass(frozen=True, kw_only=True)
class UnpairedLoss(Described):
    """A loss of single responses.

    Attributes
    ----------
    rows : callable
        ``rows(logps, settings)`` gives the loss of each response and its derivative by the log-ratio.

    Examples
    --------
    >>> rows = RowLogps([-10.0, -20.0], [-11.0, -18.0], [True, False])
    >>> UNPAIRED_LOSSES["kto"].value(rows, beta=0.1, kl=0.0).round(6).tolist()
    [0.475021, 0.450166]
    """

    rows: Callable[[RowLogps, LossSettings], RowTerms]

    def terms(self, logps: RowLogps, **settings: Setting) -> RowTerms:
        """Loss of each response and its derivative by the log-ratio, (n,) each."""
        return self.rows(logps, self.checked(settings))

    def value(self, logps: RowLogps, **settings: Setting) -> FloatArray:
        """Loss of each response, (n,)."""
        return self.terms(logps, **settings).loss

    def mean(self, logps: RowLogps, **settings: Setting) -> float:
        """Loss of the batch: the weighted mean of `value`."""
        return float(logps.share @ self.value(logps, **settings))

    def gradient(self, logps: RowLogps, **settings: Setting) -> RowGradient:
        """Gradient of `mean` with respect to each log-prob; reference points count as constants."""
        by_policy = logps.share * self.terms(logps, **settings).ratio
        return RowGradient(by_policy, -by_policy)


@dataclass(frozen=True, kw_only=True)
class OnBothSides(PreferenceLoss):
    """An unpaired loss on pairs: the chosen response is desirable, the rejected one is not.

    The loss of a pair is the mean over its two responses, as when pairs are unpaired and averaged.

    Attributes
    ----------
    unpaired : UnpairedLoss
    """

    unpaired: UnpairedLoss

    def _terms(self, logps: PairLogps, settings: LossSettings) -> LossTerms:
        loss, by_ratio = self.unpaired.rows(logps.sides(), settings)
        n_pairs = len(logps)
        return of_ratios(
            (loss[:n_pairs] + loss[n_pairs:]) / 2.0, by_ratio[:n_pairs] / 2.0, by_ratio[n_pairs:] / 2.0
        )


class RunningMean:
    """BCO's reward shift: the mean of all rewards seen so far, this batch included.

    Examples
    --------
    >>> shift = RunningMean()
    >>> shift.update([0.1, -0.2]), round(shift.update([0.4]), 6)
    (-0.05, 0.1)
    """

    def __init__(self) -> None:
        self.mean = 0.0
        self.count = 0

    def update(self, rewards: ArrayLike) -> float:
        """Take in the rewards ``beta * (logps - ref_logps)`` of a batch; the new mean."""
        (values,) = finite(("rewards", rewards))
        if len(values):
            self.count += len(values)
            self.mean += (float(values.mean()) - self.mean) * len(values) / self.count
        return self.mean


def reference_point(logps: RowLogps, kl: float | None) -> float:
    """KTO's estimate of the KL: `kl` if given, else the mean mismatched log-ratio where it is positive.

    Raises
    ------
    ValueError
        If there is neither.
    """
    if kl is not None:
        return kl
    if logps.mismatched_ratios is None:
        raise ValueError(
            "loss 'kto' needs its reference point: give 'kl' (>= 0), or 'mismatched_logps' and "
            "'ref_mismatched_logps' with the responses"
        )
    return max(0.0, float(logps.mismatched_ratios.mean()))


def kto(logps: RowLogps, settings: LossSettings) -> RowTerms:
    """``w (1 - sigma(beta (r - k)))`` of desirable responses, ``w (1 - sigma(beta (k - r)))`` of others."""
    above = settings.beta * (logps.ratios - reference_point(logps, settings.kl))
    weight = np.where(logps.desirable, settings.desirable_weight, settings.undesirable_weight)
    return _value_loss(above, weight, logps, settings)


def apo_zero(logps: RowLogps, settings: LossSettings) -> RowTerms:
    """KTO with the reference point 0 and equal weights."""
    return _value_loss(settings.beta * logps.ratios, np.ones(len(logps)), logps, settings)


def bco(logps: RowLogps, settings: LossSettings) -> RowTerms:
    """``-log sigma(beta r - delta)`` of desirable responses, ``-log sigma(delta - beta r)`` of others."""
    sign = _sign(logps)
    x = sign * (settings.beta * logps.ratios - settings.delta)
    return RowTerms(-log_expit(x), -sign * settings.beta * expit(-x))


def _value_loss(above: FloatArray, weight: FloatArray, logps: RowLogps, settings: LossSettings) -> RowTerms:
    sign = _sign(logps)
    slope = expit(above) * expit(-above)
    return RowTerms(weight * expit(-sign * above), -sign * weight * settings.beta * slope)


def _sign(logps: RowLogps) -> FloatArray:
    return np.where(logps.desirable, 1.0, -1.0)


UNPAIRED_LOSSES: dict[str, UnpairedLoss] = {
    loss.name: loss
    for loss in (
        UnpairedLoss(
            name="kto",
            formula="w (1 - sigma(beta (a - kl))) if desirable, w (1 - sigma(beta (kl - a))) if not",
            source="Ethayarajh et al. (2024), KTO: model alignment as prospect theoretic optimization",
            reads=("beta", "desirable_weight", "undesirable_weight", "kl"),
            rows=kto,
        ),
        UnpairedLoss(
            name="apo_zero_unpaired",
            formula="1 - sigma(beta a) if desirable, sigma(beta a) if not",
            source="D'Oosterlinck et al. (2024), Anchored preference optimization, on single responses",
            rows=apo_zero,
        ),
        UnpairedLoss(
            name="bco",
            formula="-log sigma(beta a - delta) if desirable, -log sigma(delta - beta a) if not",
            source="Jung et al. (2024), Binary classifier optimization (BCO)",
            reads=("beta", "delta"),
            rows=bco,
        ),
    )
}

BOTH_SIDES: tuple[PreferenceLoss, ...] = tuple(
    OnBothSides(
        name=loss.name,
        formula=f"mean over both responses of: {loss.formula}",
        source=loss.source,
        reads=loss.reads,
        unpaired=loss,
    )
    for loss in UNPAIRED_LOSSES.values()
)
