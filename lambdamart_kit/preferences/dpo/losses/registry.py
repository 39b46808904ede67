"""The registry of preference losses, their combinations, and DPO's losses at a given margin.

Every loss is one object with a formula, a value for each pair and a gradient with respect to the log-probs:

>>> batch = PairLogps([-10.0], [-12.0], [-11.0], [-11.5], chosen_lengths=[20], rejected_lengths=[25])
>>> for name in ("sigmoid", "ipo", "simpo"):
...     loss = LOSSES[name]
...     print(name, loss.value(batch).round(6), loss.gradient(batch).chosen_logps.round(6))
sigmoid [0.620957] [-0.046257]
ipo [24.3049] [-0.493]
simpo [0.975322] [-0.003115]

Names are TRL's where TRL has the loss. Two differences are meant. ``label_smoothing`` belongs to the losses
that read it (``cdpo`` is the smoothed sigmoid loss) and raises elsewhere, whereas TRL ignores it for
``sigmoid`` since version 0.29. And infinite or undefined values of TRL's forms at extreme log-probs
(``discopop``, ``orpo``) are finite here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lambdamart_kit.core.gains import check_choice
from lambdamart_kit.core.typing import ArrayLike, FloatArray
from lambdamart_kit.preferences.dpo.checks import check_beta, not_nan
from lambdamart_kit.preferences.dpo.losses.base import DEFAULTS, LossSettings, PreferenceLoss, Setting
from lambdamart_kit.preferences.dpo.losses.logps import LossTerms, PairLogps
from lambdamart_kit.preferences.dpo.losses.margin import MARGIN_LOSSES, Curve, MarginLoss
from lambdamart_kit.preferences.dpo.losses.reference_free import REFERENCE_FREE_LOSSES
from lambdamart_kit.preferences.dpo.losses.rewards import REWARD_LOSSES
from lambdamart_kit.preferences.dpo.losses.unpaired import BOTH_SIDES

LOSSES: dict[str, PreferenceLoss] = {
    loss.name: loss for loss in (*MARGIN_LOSSES, *REWARD_LOSSES, *REFERENCE_FREE_LOSSES, *BOTH_SIDES)
}
# The name under which the rest of the kit (flip rates of rankers and reward models) knows cDPO.
LOSSES["smoothed"] = LOSSES["cdpo"]


def find_loss(loss: str | PreferenceLoss) -> PreferenceLoss:
    """The loss of that name; a loss itself is handed back.

    Raises
    ------
    ValueError
        If there is no such loss.
    """
    if isinstance(loss, PreferenceLoss):
        return loss
    return LOSSES[check_choice(loss, tuple(LOSSES), name="loss")]


@dataclass(frozen=True, kw_only=True)
class CombinedLoss(PreferenceLoss):
    """A weighted sum of losses; each reads those settings that it has. Made by `combined`."""

    losses: tuple[PreferenceLoss, ...]
    weights: tuple[float, ...]

    @property
    def needs_lengths(self) -> bool:
        """Whether token counts of the responses are read."""
        return any(loss.needs_lengths for loss in self.losses)

    def terms(self, logps: PairLogps, **settings: Setting) -> LossTerms:
        """Loss of each pair and its derivatives by the four log-probs, (n_pairs,) each."""
        self.checked(settings)
        columns = [np.zeros(len(logps)) for _ in LossTerms._fields]
        for loss, weight in zip(self.losses, self.weights):
            own = {name: value for name, value in settings.items() if name in loss.reads}
            for column, part in zip(columns, loss.terms(logps, **own)):
                column += weight * part
        return LossTerms(*columns)

    def _terms(self, logps: PairLogps, settings: LossSettings) -> LossTerms:
        return self.terms(logps, **{name: getattr(settings, name) for name in self.reads})


def combined(losses: Sequence[str | PreferenceLoss], weights: Sequence[float] | None = None) -> CombinedLoss:
    """Sum of losses, ``sum_k weights[k] * mean of loss k``; weights are 1 each when left out.

    Examples
    --------
    Mixed preference optimization (MPO) and its usual weights:

    >>> mpo = combined(["sigmoid", "bco_pair", "sft"], [0.8, 0.2, 1.0])
    >>> batch = PairLogps([-10.0], [-12.0], [-11.0], [-11.5], chosen_lengths=[20], rejected_lengths=[25])
    >>> round(mpo.mean(batch, beta=0.1), 6)
    1.259337
    """
    parts = tuple(find_loss(loss) for loss in losses)
    if not parts:
        raise ValueError("'losses' must name at least one loss; got none")
    shares = (1.0,) * len(parts) if weights is None else tuple(float(weight) for weight in weights)
    if len(shares) != len(parts) or not all(math.isfinite(share) for share in shares):
        raise ValueError(
            f"'weights' must hold one finite number for each of {len(parts)} losses; got {weights}"
        )
    reads = tuple(name for name in DEFAULTS if any(name in loss.reads for loss in parts))
    return CombinedLoss(
        name="+".join(loss.name for loss in parts),
        formula=" + ".join(f"{share:g} * ({loss.formula})" for loss, share in zip(parts, shares)),
        source="; ".join(dict.fromkeys(loss.source for loss in parts)),
        reads=reads,
        losses=parts,
        weights=shares,
    )


def dpo_loss(
    margin: ArrayLike, *, loss: str = "sigmoid", beta: float = 0.1, label_smoothing: float | None = None
) -> FloatArray:
    r"""Loss of each pair at its implicit reward margin, (n_pairs,).

    Parameters
    ----------
    margin : (n_pairs,) array
        From :func:`implicit_margin` with the same `beta`; for IPO as in TRL, with lengths. May be infinite.
    loss : str
        A loss of the margin alone: "sigmoid", "hinge", "ipo", "cdpo" (or "smoothed"), "robust", "exo_pair",
        "discopop" or "sigmoid_norm". The others of `LOSSES` take :class:`PairLogps`.
    beta : float
        Only IPO uses it here.
    label_smoothing : float, optional
        Probability e in [0, 0.5) that a label is flipped, for the losses that read it.

    Raises
    ------
    ValueError
        If a margin is NaN, the loss needs more than margins, or a setting would be ignored.

    Examples
    --------
    >>> [round(float(dpo_loss([0.15], loss=name)[0]), 6) for name in ("sigmoid", "hinge", "ipo")]
    [0.620957, 0.85, 12.25]
    >>> dpo_loss([0.15], loss="robust", label_smoothing=0.1).round(6).tolist()
    [0.602207]
    """
    return _curve(margin, loss, beta, label_smoothing).loss


def dpo_gradient(
    margin: ArrayLike, *, loss: str = "sigmoid", beta: float = 0.1, label_smoothing: float | None = None
) -> FloatArray:
    """Derivative of `dpo_loss` with respect to the margin, (n_pairs,); parameters are the same.

    Times `beta` it is the derivative with respect to the chosen response's log-prob, and its opposite that
    with respect to the rejected one's (without lengths).

    Examples
    --------
    >>> dpo_gradient([0.0, 3.0]).round(6).tolist()
    [-0.5, -0.047426]
    """
    return _curve(margin, loss, beta, label_smoothing).slope


def _curve(margin: ArrayLike, loss: str, beta: float, label_smoothing: float | None) -> Curve:
    found = find_loss(loss)
    z = not_nan(margin, "margin")
    if not isinstance(found, MarginLoss):
        known = ", ".join(repr(name) for name, other in LOSSES.items() if isinstance(other, MarginLoss))
        raise ValueError(
            f"'loss' must be one of {known} where only margins are given; {loss!r} needs the log-probs: use "
            f"LOSSES[{loss!r}].value(PairLogps(...))"
        )
    given: dict[str, Setting] = {"beta": check_beta(beta)}
    # 0 means "no smoothing", which every loss can honour.
    if label_smoothing is not None and (label_smoothing != 0 or "label_smoothing" in found.reads):
        given["label_smoothing"] = label_smoothing
    if "label_smoothing" in given and "label_smoothing" not in found.reads:
        raise ValueError(
            f"'label_smoothing' needs loss='smoothed' or 'robust'; got {label_smoothing} with {loss!r}"
        )
    return found.curve(z, found.checked(given))
