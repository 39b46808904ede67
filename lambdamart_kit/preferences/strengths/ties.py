r"""What a tie says about two strengths: three models, one interface.

With ``eta = theta_i - theta_j`` (plus order effect and covariates) and ``delta`` the tie parameter on the log
scale, each model gives the loss of a comparison and its derivatives. Comparisons are independent given the
strengths, so that is all that Newton's method, the sandwich and the bootstrap need.

==============  =======================================================================================
``half``        a tie is half a win and half a loss:
                :math:`-t \log \sigma(\eta) - (1-t) \log \sigma(-\eta)`, t = 1/2. No parameter.
``davidson``    :math:`P(win) : P(tie) : P(loss) = e^{\eta/2} : \nu : e^{-\eta/2}`, :math:`\delta = \log\nu`.
``rao-kupper``  :math:`P(win) = \sigma(\eta - \delta)`, :math:`P(loss) = \sigma(-\eta - \delta)`,
                :math:`\kappa = e^\delta \ge 1`. Since :math:`P(tie) = (\kappa^2 - 1) P(win) P(loss)`, it is
                the pair model with margin :math:`\delta`, used once for each side.
==============  =======================================================================================

References
----------
Davidson (1970), "On extending the Bradley-Terry model to accommodate ties in paired comparison experiments",
JASA 65, equation 2.4. Rao and Kupper (1967), "Ties in paired-comparison experiments: a generalization of the
Bradley-Terry model", JASA 62, section 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from scipy.special import expit

from lambdamart_kit.core.typing import ArrayLike, FloatArray

if TYPE_CHECKING:
    from lambdamart_kit.core.pairs import PairTerms


def _pair_terms(eta: FloatArray, *, target: ArrayLike = 1.0, weight: ArrayLike = 1.0) -> PairTerms:
    """The pair model on one thread. Its compiled kernels load here, so that the names below come cheap."""
    from lambdamart_kit.core.pairs import pair_terms

    return pair_terms(eta, target=target, weight=weight, n_threads=1)


class Derivatives(NamedTuple):
    """Loss of each comparison and its derivatives in ``eta`` and ``delta``, each (m,) float64."""

    loss: FloatArray
    eta: FloatArray
    eta_eta: FloatArray
    delta: FloatArray
    delta_delta: FloatArray
    eta_delta: FloatArray


class TieModel(Protocol):
    """One treatment of ties."""

    has_parameter: bool

    def start(self, tie_share: float) -> float:
        """The ``delta`` under which equal items tie with this probability."""
        ...

    def parameter(self, delta: float) -> float:
        """The parameter as the literature writes it (nu, kappa)."""
        ...

    def derivatives(self, eta: FloatArray, delta: float, outcome: FloatArray) -> Derivatives:
        """Loss and derivatives of each comparison; an infinite loss where `delta` is not allowed."""
        ...

    def probabilities(self, eta: FloatArray, delta: float) -> FloatArray:
        """Probability of loss, tie and win, (m, 3); loss and win, (m, 2), where ties are no outcome."""
        ...


class HalfTies:
    """A tie is half a win and half a loss; so are soft outcomes between 0 and 1."""

    has_parameter = False

    def start(self, tie_share: float) -> float:
        """No parameter."""
        return 0.0

    def parameter(self, delta: float) -> float:
        """No parameter."""
        return float("nan")

    def derivatives(self, eta: FloatArray, delta: float, outcome: FloatArray) -> Derivatives:
        """The pair model with `outcome` as soft target."""
        loss, gradient, hessian = _pair_terms(eta, target=outcome)
        none = np.zeros_like(eta)
        return Derivatives(loss, gradient, hessian, none, none, none)

    def probabilities(self, eta: FloatArray, delta: float) -> FloatArray:
        """Loss and win."""
        return np.column_stack([expit(-eta), expit(eta)])


class Davidson:
    """A tie's odds are ``nu`` times the geometric mean of a win's and a loss's."""

    has_parameter = True

    def start(self, tie_share: float) -> float:
        """``nu = 2 p / (1 - p)``."""
        return float(np.log(2.0 * tie_share / (1.0 - tie_share)))

    def parameter(self, delta: float) -> float:
        """The parameter ``nu``."""
        return float(np.exp(delta))

    def derivatives(self, eta: FloatArray, delta: float, outcome: FloatArray) -> Derivatives:
        """Multinomial logit with statistics (1/2, 0) for a win, (0, 1) a tie, (-1/2, 0) a loss."""
        lost, tied, won = self.probabilities(eta, delta).T
        half_eta = eta / 2.0
        log_total = np.logaddexp(np.logaddexp(half_eta, -half_eta), delta)
        is_tie = outcome == 0.5
        score = np.where(is_tie, delta, half_eta * (2.0 * outcome - 1.0))
        mean = (won - lost) / 2.0
        return Derivatives(
            log_total - score,
            mean - (outcome - 0.5),
            (won + lost) / 4.0 - mean**2,
            tied - is_tie,
            tied * (1.0 - tied),
            -mean * tied,
        )

    def probabilities(self, eta: FloatArray, delta: float) -> FloatArray:
        """Loss, tie and win."""
        logits = np.column_stack([-eta / 2.0, np.full_like(eta, delta), eta / 2.0])
        logits -= logits.max(axis=1, keepdims=True)
        weights = np.exp(logits)
        shares: FloatArray = weights / weights.sum(axis=1, keepdims=True)
        return shares


class RaoKupper:
    """Strengths within a threshold ``log kappa`` of each other are not told apart."""

    has_parameter = True

    def start(self, tie_share: float) -> float:
        """``kappa = (1 + p) / (1 - p)``."""
        return float(np.log1p(tie_share) - np.log1p(-tie_share))

    def parameter(self, delta: float) -> float:
        """The parameter ``kappa`` (theta in the paper)."""
        return float(np.exp(delta))

    def derivatives(self, eta: FloatArray, delta: float, outcome: FloatArray) -> Derivatives:
        """``-[t > 0] log sigma(eta - delta) - [t < 1] log sigma(-eta - delta) - [tie] log(kappa^2 - 1)``."""
        if delta <= 0.0:
            forbidden = np.full_like(eta, np.inf)
            return Derivatives(forbidden, *([np.zeros_like(eta)] * 5))
        won, lost = outcome > 0.0, outcome < 1.0
        tied = won & lost
        win_terms = _pair_terms(eta - delta, weight=won)
        loss_terms = _pair_terms(-eta - delta, weight=lost)
        ratio = 2.0 / -np.expm1(-2.0 * delta)  # derivative of log(e^(2 delta) - 1)
        return Derivatives(
            win_terms.loss + loss_terms.loss - tied * (2.0 * delta + np.log(-np.expm1(-2.0 * delta))),
            win_terms.gradient - loss_terms.gradient,
            win_terms.hessian + loss_terms.hessian,
            -win_terms.gradient - loss_terms.gradient - tied * ratio,
            win_terms.hessian + loss_terms.hessian + tied * ratio * (ratio - 2.0),
            loss_terms.hessian - win_terms.hessian,
        )

    def probabilities(self, eta: FloatArray, delta: float) -> FloatArray:
        """Loss, tie and win."""
        won, lost = expit(eta - delta), expit(-eta - delta)
        return np.column_stack([lost, np.expm1(2.0 * delta) * won * lost, won])


TIE_MODELS: dict[str, TieModel] = {"half": HalfTies(), "davidson": Davidson(), "rao-kupper": RaoKupper()}
