"""Losses of one number a pair, the implicit reward margin z: a curve with a slope.

The margin is ``z = beta (score(a) / La - score(b) / Lb)``. The score is the log-ratio itself unless another
divergence than reverse KL is chosen, and the lengths are 1 unless the loss divides by them. A constant that
is added to both scores changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import expit, log_expit

from lambdamart_kit.core.pairs import flipped_target, pair_terms
from lambdamart_kit.core.typing import FloatArray
from lambdamart_kit.preferences.dpo.losses.base import LossSettings, PreferenceLoss, of_ratios
from lambdamart_kit.preferences.dpo.losses.divergences import find_divergence
from lambdamart_kit.preferences.dpo.losses.logps import LossTerms, PairLogps

_NEXT_TO_INFINITE = 1e300

Lengths = Literal["no", "if given", "yes"]


class Curve(NamedTuple):
    """Loss at each margin and its slope, (n_pairs,) each."""

    loss: FloatArray
    slope: FloatArray


@dataclass(frozen=True, kw_only=True)
class MarginLoss(PreferenceLoss):
    """A loss of the implicit reward margin.

    Attributes
    ----------
    curve : callable
        ``curve(z, settings)`` gives loss and slope at margins that may be infinite but not NaN.
    lengths : {"no", "if given", "yes"}
        Whether scores are divided by token counts.
    """

    curve: Callable[[FloatArray, LossSettings], Curve]
    lengths: Lengths = "no"

    @property
    def needs_lengths(self) -> bool:
        """Whether token counts of the responses are read."""
        return self.lengths == "yes"

    def _terms(self, logps: PairLogps, settings: LossSettings) -> LossTerms:
        divergence = find_divergence(settings.divergence, alpha=settings.divergence_alpha)
        divided = self.lengths == "yes" or (self.lengths == "if given" and logps.chosen_lengths is not None)
        chosen_length, rejected_length = logps.lengths if divided else (1.0, 1.0)
        a = logps.chosen_ratios
        b = logps.rejected_ratios
        z = settings.beta * (divergence.score(a) / chosen_length - divergence.score(b) / rejected_length)
        curve = self.curve(z, settings)
        by_score = settings.beta * curve.slope
        return of_ratios(
            curve.loss,
            by_score * divergence.slope(a) / chosen_length,
            -by_score * divergence.slope(b) / rejected_length,
        )


@dataclass(frozen=True, kw_only=True)
class LengthPricedLoss(PreferenceLoss):
    """R-DPO: a token costs, so a longer chosen response needs less of a margin to explain the choice."""

    @property
    def needs_lengths(self) -> bool:
        """Whether token counts of the responses are read."""
        return True

    def _terms(self, logps: PairLogps, settings: LossSettings) -> LossTerms:
        chosen_length, rejected_length = logps.lengths
        offset = settings.length_alpha * (chosen_length - rejected_length)
        curve = sigmoid(settings.beta * (logps.chosen_ratios - logps.rejected_ratios) + offset, settings)
        by_ratio = settings.beta * curve.slope
        return of_ratios(curve.loss, by_ratio, -by_ratio)


def sigmoid(z: FloatArray, settings: LossSettings) -> Curve:
    """``-log sigma(z)``: the pair model of Bradley-Terry."""
    return _pair_model(z, 1.0)


def hinge(z: FloatArray, settings: LossSettings) -> Curve:
    """``max(0, 1 - z)``; its slope at z = 1 is 0."""
    return Curve(np.maximum(0.0, 1.0 - z), np.where(z < 1.0, -1.0, 0.0))


def ipo(z: FloatArray, settings: LossSettings) -> Curve:
    """``(z / beta - 1 / (2 beta))^2``."""
    miss = (z - 0.5) / settings.beta
    return Curve(miss**2, 2.0 * miss / settings.beta)


def smoothed(z: FloatArray, settings: LossSettings) -> Curve:
    """``-(1-e) log sigma(z) - e log sigma(-z)``, with its minimum at ``sigma(z) = 1 - e``."""
    return _pair_model(z, float(flipped_target(1.0, settings.label_smoothing, correction="smoothed")))


def robust(z: FloatArray, settings: LossSettings) -> Curve:
    """``(-(1-e) log sigma(z) + e log sigma(-z)) / (1-2e) = -log sigma(z) - e / (1-2e) z``."""
    return _pair_model(z, float(flipped_target(1.0, settings.label_smoothing, correction="robust")))


def _pair_model(z: FloatArray, target: float) -> Curve:
    # The kernel wants finite margins. At +-1e300 its loss is 0, or as far from it as the infinite one.
    terms = pair_terms(np.clip(z, -_NEXT_TO_INFINITE, _NEXT_TO_INFINITE), target=target)
    infinite = np.isinf(z) & (terms.loss != 0)
    return Curve(np.where(infinite, np.copysign(np.inf, terms.loss), terms.loss), terms.gradient)


def exo_pair(z: FloatArray, settings: LossSettings) -> Curve:
    """KL from the softmax over the two responses to the smoothed label (1-e, e)."""
    e = settings.label_smoothing
    if e == 0:
        raise ValueError(
            "'label_smoothing' must be > 0 for loss 'exo_pair', whose KL is infinite for hard labels; "
            "got 0; the paper takes 1e-3"
        )
    log_odds = math.log1p(-e) - math.log(e)
    p = expit(z)
    loss = _weighted(p, log_expit(z) - math.log1p(-e)) + _weighted(1.0 - p, log_expit(-z) - math.log(e))
    return Curve(loss, _weighted(p * expit(-z), z - log_odds))


def discopop(z: FloatArray, settings: LossSettings) -> Curve:
    """Log-ratio modulated loss: ``(1-m)(-log sigma(z)) + m exp(-z)`` with ``m = sigma(z / tau)``.

    It is not convex: at z = 0 it pushes the margin down, towards a local minimum below 0.
    """
    tau = settings.tau
    m = expit(z / tau)
    rest = expit(-z / tau)
    # m exp(-z) as one exponential: for very negative z it is 0 * infinity otherwise.
    exponential = np.exp(log_expit(z / tau) - np.where(np.isfinite(z), z, 0.0))
    exponential = np.where(np.isfinite(z), exponential, 0.0)
    loss = _weighted(rest, -log_expit(z)) + exponential
    slope = (
        rest / tau * exponential + _weighted(m * rest, log_expit(z)) / tau - rest * expit(-z) - exponential
    )
    return Curve(loss, slope)


def _weighted(weight: FloatArray, values: FloatArray) -> FloatArray:
    """``weight * values``, 0 where the weight is 0 even if the value is infinite."""
    return np.multiply(weight, values, out=np.zeros_like(values), where=weight > 0)


_DIVERGENCE = ("divergence", "divergence_alpha")

MARGIN_LOSSES: tuple[PreferenceLoss, ...] = (
    MarginLoss(
        name="sigmoid",
        formula="-log sigma(z)",
        source="Rafailov et al. (2023), Direct Preference Optimization, equation 7",
        reads=("beta", *_DIVERGENCE),
        curve=sigmoid,
    ),
    MarginLoss(
        name="hinge",
        formula="max(0, 1 - z)",
        source="Zhao et al. (2023), SLiC-HF; Liu et al. (2023), RSO",
        reads=("beta", *_DIVERGENCE),
        curve=hinge,
    ),
    MarginLoss(
        name="ipo",
        formula="(a - b - 1 / (2 beta))^2; with token counts a / La and b / Lb, as in TRL",
        source="Azar et al. (2023), A general theoretical paradigm (IPO), equation 17",
        reads=("beta", *_DIVERGENCE),
        curve=ipo,
        lengths="if given",
    ),
    MarginLoss(
        name="cdpo",
        formula="-(1-e) log sigma(z) - e log sigma(-z)",
        source="Mitchell (2023), A note on DPO with noisy preferences",
        reads=("beta", "label_smoothing", *_DIVERGENCE),
        curve=smoothed,
    ),
    MarginLoss(
        name="robust",
        formula="(-(1-e) log sigma(z) + e log sigma(-z)) / (1 - 2e)",
        source="Chowdhury et al. (2024), Provably robust DPO, equation 12",
        reads=("beta", "label_smoothing", *_DIVERGENCE),
        curve=robust,
    ),
    MarginLoss(
        name="exo_pair",
        formula="sigma(z) (log sigma(z) - log(1-e)) + sigma(-z) (log sigma(-z) - log e)",
        source="Ji et al. (2024), Efficient exact optimization (EXO), equation 16",
        reads=("beta", "label_smoothing", *_DIVERGENCE),
        own_defaults={"label_smoothing": 1e-3},
        curve=exo_pair,
    ),
    MarginLoss(
        name="discopop",
        formula="(1-m) (-log sigma(z)) + m exp(-z) with m = sigma(z / tau)",
        source="Lu et al. (2024), Discovering preference optimization algorithms (DiscoPOP)",
        reads=("beta", "tau", *_DIVERGENCE),
        curve=discopop,
    ),
    MarginLoss(
        name="sigmoid_norm",
        formula="-log sigma(beta (a / La - b / Lb))",
        source="Lambert et al. (2024), Tulu 3, length-normalised DPO",
        reads=("beta", *_DIVERGENCE),
        curve=sigmoid,
        lengths="yes",
    ),
    LengthPricedLoss(
        name="rdpo",
        formula="-log sigma(z + length_alpha (La - Lb))",
        source="Park et al. (2024), Disentangling length from quality in DPO (R-DPO)",
        reads=("beta", "length_alpha"),
    ),
)
