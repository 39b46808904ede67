r"""The f-divergences that may stand in the place of KL in DPO.

With a penalty :math:`D_f(\pi \| \pi_{ref}) = E_{\pi_{ref}}[f(\pi / \pi_{ref})]` the optimal policy stands for
the reward :math:`\beta f'(\pi / \pi_{ref})` plus a constant per prompt, so DPO's losses take
:math:`f'(e^a)` in the place of the log-ratio a = log pi - log pi_ref. Reverse KL gives a itself.

References
----------
Wang et al. (2024), "Beyond reverse KL: generalizing direct preference optimization with diverse divergence
constraints".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, log_expit

from lambdamart_kit.core.gains import check_choice
from lambdamart_kit.core.typing import FloatArray

# exp(300) = 1e130 can still be squared (IPO) in float64. TRL cuts at 80 in float32.
_LARGEST_EXPONENT = 300.0
_NEXT_TO_KL = 1e-6


@dataclass(frozen=True)
class Divergence:
    """One divergence, as what it makes of a log-ratio.

    Attributes
    ----------
    name : str
    formula : str
        The score as a function of the log-ratio a.
    score : callable
        Scores f'(exp a) of log-ratios, (n,) to (n,).
    slope : callable
        Derivative of the score with respect to the log-ratio, (n,) to (n,).

    Examples
    --------
    >>> jensen_shannon = DIVERGENCES["js_divergence"]
    >>> jensen_shannon.score(np.array([0.0, 1.0])).round(6).tolist()
    [0.0, 0.379885]
    """

    name: str
    formula: str
    score: Callable[[FloatArray], FloatArray]
    slope: Callable[[FloatArray], FloatArray]


def alpha_divergence(alpha: float) -> Divergence:
    """The alpha-divergence with score ``(exp((alpha - 1) a) - 1) / (alpha - 1)``; reverse KL at alpha = 1.

    Examples
    --------
    >>> alpha_divergence(0.5).score(np.array([1.0])).round(6).tolist()
    [0.786939]
    """
    power = alpha - 1.0
    if abs(power) < _NEXT_TO_KL:
        return DIVERGENCES["reverse_kl"]

    def score(ratio: FloatArray) -> FloatArray:
        # expm1 keeps the digits of small log-ratios.
        return np.asarray(np.expm1(np.minimum(power * ratio, _LARGEST_EXPONENT)) / power)

    def slope(ratio: FloatArray) -> FloatArray:
        exponent = power * ratio
        return np.where(exponent < _LARGEST_EXPONENT, np.exp(np.minimum(exponent, _LARGEST_EXPONENT)), 0.0)

    return Divergence("alpha_divergence", "(exp((alpha - 1) a) - 1) / (alpha - 1)", score, slope)


# Forward KL is the alpha-divergence at 0, and reverse KL its limit at 1.
_FORWARD = alpha_divergence(0.0)

DIVERGENCES: dict[str, Divergence] = {
    "reverse_kl": Divergence("reverse_kl", "a", lambda ratio: ratio, np.ones_like),
    "forward_kl": Divergence("forward_kl", "1 - exp(-a)", _FORWARD.score, _FORWARD.slope),
    "js_divergence": Divergence(
        "js_divergence",
        "log 2 + log sigma(a)",
        lambda ratio: np.log(2.0) + log_expit(ratio),
        lambda ratio: expit(-ratio),
    ),
    "alpha_divergence": alpha_divergence(0.5),
}


def find_divergence(name: str, *, alpha: float = 0.5) -> Divergence:
    """The divergence of that name (TRL's ``f_divergence_type``).

    Parameters
    ----------
    name : {"reverse_kl", "forward_kl", "js_divergence", "alpha_divergence"}
    alpha : float
        Coefficient of ``"alpha_divergence"``.

    Raises
    ------
    ValueError
        If there is no such divergence.

    Examples
    --------
    >>> find_divergence("forward_kl").formula
    '1 - exp(-a)'
    """
    check_choice(name, tuple(DIVERGENCES), name="divergence")
    return alpha_divergence(alpha) if name == "alpha_divergence" else DIVERGENCES[name]
