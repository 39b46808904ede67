"""The losses of direct preference optimisation: formula, value and gradient of each."""

from lambdamart_kit.preferences.dpo.losses.base import LossSettings, PreferenceLoss
from lambdamart_kit.preferences.dpo.losses.divergences import DIVERGENCES, Divergence, find_divergence
from lambdamart_kit.preferences.dpo.losses.logps import PairGradient, PairLogps, RowGradient, RowLogps
from lambdamart_kit.preferences.dpo.losses.registry import LOSSES, combined, dpo_gradient, dpo_loss, find_loss
from lambdamart_kit.preferences.dpo.losses.unpaired import UNPAIRED_LOSSES, RunningMean, UnpairedLoss

__all__ = [
    "DIVERGENCES",
    "LOSSES",
    "UNPAIRED_LOSSES",
    "Divergence",
    "LossSettings",
    "PairGradient",
    "PairLogps",
    "PreferenceLoss",
    "RowGradient",
    "RowLogps",
    "RunningMean",
    "UnpairedLoss",
    "combined",
    "dpo_gradient",
    "dpo_loss",
    "find_divergence",
    "find_loss",
]
