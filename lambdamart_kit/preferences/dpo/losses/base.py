"""Settings of losses, and the base class that checks and passes them."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from lambdamart_kit.core.gains import check_choice
from lambdamart_kit.core.typing import FloatArray
from lambdamart_kit.preferences.dpo.checks import check_beta
from lambdamart_kit.preferences.dpo.losses.divergences import DIVERGENCES
from lambdamart_kit.preferences.dpo.losses.logps import LossTerms, PairGradient, PairLogps


@dataclass(frozen=True)
class LossSettings:
    """All settings that some loss of the family reads; `PreferenceLoss.settings` lists those of one loss.

    Attributes
    ----------
    beta : float
        Strength of the KL term (for IPO its tau, for ORPO its lambda).
    label_smoothing : float
        Probability e in [0, 0.5) that a label is flipped.
    divergence : str
        Name in `DIVERGENCES`.
    divergence_alpha : float
        Coefficient of ``divergence="alpha_divergence"``.
    tau : float
        Temperature of DiscoPOP's blend, > 0.
    gamma : float
        Margin that SimPO and AlphaPO ask of the rewards.
    nll_weight : float
        Weight of the negative log-likelihood of the chosen responses, >= 0 (TRL's ``cpo_alpha``).
    reward_alpha : float
        Exponent of AlphaPO's reward, > 0.
    length_alpha : float
        Price of a token in R-DPO, in units of the margin.
    desirable_weight, undesirable_weight : float
        Weights of the two labels in KTO, >= 0.
    kl : float, optional
        Reference point of KTO, >= 0.
    delta : float
        Reward shift of BCO.
    """

    beta: float = 0.1
    label_smoothing: float = 0.0
    divergence: str = "reverse_kl"
    divergence_alpha: float = 0.5
    tau: float = 0.05
    gamma: float = 0.5
    nll_weight: float = 1.0
    reward_alpha: float = 0.25
    length_alpha: float = 0.1
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0
    kl: float | None = None
    delta: float = 0.0

    def __post_init__(self) -> None:
        check_beta(self.beta)
        if not 0 <= self.label_smoothing < 0.5:
            raise ValueError(
                f"'label_smoothing' must be a flip probability in [0, 0.5); got {self.label_smoothing!r}"
            )
        check_choice(self.divergence, tuple(DIVERGENCES), name="divergence")
        for name in ("tau", "reward_alpha"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name!r} must be finite and > 0; got {getattr(self, name)!r}")
        for name in ("nll_weight", "desirable_weight", "undesirable_weight", "kl"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise ValueError(f"{name!r} must be finite and >= 0; got {value!r}")
        for name in ("divergence_alpha", "gamma", "length_alpha", "delta"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name!r} must be finite; got {getattr(self, name)!r}")


Setting = float | str | None
DEFAULTS: dict[str, Setting] = {f.name: f.default for f in dataclasses.fields(LossSettings)}  # type: ignore[misc]


@dataclass(frozen=True, kw_only=True)
class Described:
    """What every loss says of itself.

    Attributes
    ----------
    name : str
        Key in the registry; TRL's ``loss_type`` where TRL has the loss.
    formula : str
        Loss of one pair. ``a`` and ``b`` are the log-ratios ``log pi - log pi_ref`` of the chosen and the
        rejected response, ``z = beta (a - b)``, ``L`` token counts, ``e`` label smoothing.
    source : str
        The paper.
    reads : tuple of str
        Settings that it reads.
    own_defaults : mapping
        Defaults that differ from those of `LossSettings`.
    """

    name: str
    formula: str
    source: str
    reads: tuple[str, ...] = ("beta",)
    own_defaults: Mapping[str, Setting] = field(default_factory=dict)

    @property
    def needs_lengths(self) -> bool:
        """Whether token counts of the responses are read."""
        return False

    @property
    def settings(self) -> dict[str, Setting]:
        """The settings that it reads, and their defaults."""
        return {name: self.own_defaults.get(name, DEFAULTS[name]) for name in self.reads}

    def checked(self, given: Mapping[str, Setting]) -> LossSettings:
        """All settings, after a check that no given one would be ignored."""
        for name in given:
            if name not in self.reads:
                raise ValueError(
                    f"loss {self.name!r} has no setting {name!r}; its settings are {self.settings}"
                )
        return LossSettings(**{**self.settings, **given})  # type: ignore[arg-type]


class PreferenceLoss(Described, ABC):
    """A loss of pairs of responses: its formula, its value and its gradient.

    Subclasses implement `_terms`. The loss of a batch is the weighted mean of `value`.

    Examples
    --------
    >>> from lambdamart_kit.preferences.dpo import LOSSES, PairLogps
    >>> batch = PairLogps([-10.0], [-12.0], [-11.0], [-11.5])
    >>> hinge = LOSSES["hinge"]
    >>> hinge.formula, hinge.value(batch, beta=0.1).round(6).tolist()
    ('max(0, 1 - z)', [0.85])
    >>> hinge.gradient(batch, beta=0.1).chosen_logps.tolist()
    [-0.1]
    """

    def terms(self, logps: PairLogps, **settings: Setting) -> LossTerms:
        """Loss of each pair and its derivatives by the four log-probs, (n_pairs,) each."""
        return self._terms(logps, self.checked(settings))

    def value(self, logps: PairLogps, **settings: Setting) -> FloatArray:
        """Loss of each pair, (n_pairs,)."""
        return self.terms(logps, **settings).loss

    def mean(self, logps: PairLogps, **settings: Setting) -> float:
        """Loss of the batch: the weighted mean of `value`."""
        return float(logps.share @ self.value(logps, **settings))

    def gradient(self, logps: PairLogps, **settings: Setting) -> PairGradient:
        """Gradient of `mean` with respect to each log-prob."""
        return batch_gradient(self.terms(logps, **settings), logps.share)

    @abstractmethod
    def _terms(self, logps: PairLogps, settings: LossSettings) -> LossTerms: ...


def batch_gradient(terms: LossTerms, share: FloatArray) -> PairGradient:
    """Derivatives of single pairs to the gradient of their weighted mean."""
    return PairGradient(*(share * derivative for derivative in terms[1:]))


def of_ratios(loss: FloatArray, chosen: FloatArray, rejected: FloatArray) -> LossTerms:
    """Terms of a loss of the two log-ratios: the reference's derivatives are those of the policy, negated."""
    return LossTerms(loss, chosen, rejected, -chosen, -rejected)


def of_policy(loss: FloatArray, chosen: FloatArray, rejected: FloatArray) -> LossTerms:
    """Terms of a loss of the policy's log-probs only."""
    return LossTerms(loss, chosen, rejected, np.zeros_like(chosen), np.zeros_like(rejected))
