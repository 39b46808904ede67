"""Click models: who looks at which position of a list, and what they click.

A user sees document d at position k (counted from 1, the top) and clicks when both hold:

    P(click at k) = P(examined at k) * P(perceived relevant | d, k)

    relevance of d         g = (2^y - 1) / (2^y_max - 1)
    perceived relevance    a = eps_plus(k) * g + eps_minus(k) * (1 - g)

Click noise is a constant ``eps_minus``; trust bias (:class:`TrustBias`) lets both depend on the position. A
click model says who is examined: :class:`PositionBased` by position alone, :class:`Cascade` and
:class:`DynamicBayesian` by what was clicked above.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from lambdamart_kit.core.typing import Array, FloatArray


class Clicks(NamedTuple):
    """What users did with some lists, (n_sessions, n_positions) each.

    Attributes
    ----------
    clicked : bool
    examination : float64
        Probability that the position was examined, given the list and not the clicks.
    """

    clicked: Array
    examination: FloatArray


class ClickModel(Protocol):
    """How a user goes through a list."""

    def click(self, perceived: FloatArray, relevance: FloatArray, rng: np.random.Generator) -> Clicks:
        """Clicks of one user a row, given perceived relevance and relevance, both (n_sessions, n_positions).

        Lists shorter than the longest are padded with relevance 0, which no click follows from.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class PositionBased:
    r"""The position-based model: whether a document is examined depends on its position alone.

    .. math:: P(C = 1 \mid d, k) = \theta_k a_{dk}, \qquad \theta_k = k^{-\eta}

    Parameters
    ----------
    eta : float
        Severity of the position bias, >= 0; 0 is none.
    propensities : (n_positions,) array-like, optional
        :math:`\theta_k` themselves, in (0, 1], in place of the power law.

    References
    ----------
    Craswell, Zoeter, Taylor and Ramsey, "An experimental comparison of click position-bias models", WSDM
    2008 (there: the "examination" hypothesis of Richardson et al. 2007); Joachims, Swaminathan and Schnabel,
    "Unbiased learning-to-rank with biased feedback", WSDM 2017 (the power law).

    Examples
    --------
    >>> PositionBased(eta=1.0).examination(4).round(3).tolist()
    [1.0, 0.5, 0.333, 0.25]
    """

    eta: float = 1.0
    propensities: Any = None

    def examination(self, n_positions: int) -> FloatArray:
        """Probability that each of the first `n_positions` positions is examined.

        Parameters
        ----------
        n_positions : int
            Length of the lists.

        Returns
        -------
        (n_positions,) array
            Values in (0, 1].
        """
        if self.propensities is None:
            if not (np.isfinite(self.eta) and self.eta >= 0):
                raise ValueError(f"'eta' must be a finite number >= 0; got {self.eta!r}")
            return np.asarray(np.arange(1, n_positions + 1, dtype=np.float64) ** -self.eta)
        given = np.asarray(self.propensities, dtype=np.float64)
        if given.ndim != 1 or len(given) < n_positions:
            raise ValueError(
                f"'propensities' must hold one probability a position: {n_positions} are shown, got shape "
                f"{given.shape}; give more, or lower 'n_positions'"
            )
        return _probabilities(given[:n_positions], "propensities", positive=True)

    def click(self, perceived: FloatArray, relevance: FloatArray, rng: np.random.Generator) -> Clicks:
        """Each position on its own.

        Parameters
        ----------
        perceived, relevance : (n_sessions, n_positions) array
            Probability of a click once the document is looked at, and true relevance, both in [0, 1].
        rng : numpy.random.Generator
            Source of the random numbers.

        Returns
        -------
        Clicks
            What was clicked, and the probability that each position was looked at.
        """
        examination = np.broadcast_to(self.examination(perceived.shape[1]), perceived.shape)
        return Clicks(rng.random(perceived.shape) < examination * perceived, examination)


@dataclass(frozen=True, kw_only=True)
class DynamicBayesian:
    r"""The dynamic Bayesian network: users read down, and leave when satisfied or tired.

    .. math:: P(E_1) = 1, \qquad P(E_{k+1} \mid E_k, C_k) = \gamma\,(1 - s_d C_k), \qquad
              P(C_k \mid E_k) = a_{dk}

    Parameters
    ----------
    continuation : float
        :math:`\gamma`, probability of reading on when not satisfied, in (0, 1].
    satisfaction : float
        A clicked document satisfies with probability :math:`s_d` = `satisfaction` times its relevance g.

    References
    ----------
    Chapelle and Zhang, "A dynamic Bayesian network click model for web search ranking", WWW 2009.

    Examples
    --------
    >>> model, rng = DynamicBayesian(continuation=0.9, satisfaction=1.0), np.random.default_rng(0)
    >>> model.click(np.array([[0.5, 0.5]]), np.array([[0.4, 0.0]]), rng).examination.round(3).tolist()
    [[1.0, 0.72]]
    """

    continuation: float = 0.9
    satisfaction: float = 0.9

    def click(self, perceived: FloatArray, relevance: FloatArray, rng: np.random.Generator) -> Clicks:
        """Position by position, all sessions at once.

        Parameters
        ----------
        perceived, relevance : (n_sessions, n_positions) array
            Probability of a click once the document is looked at, and true relevance, both in [0, 1].
        rng : numpy.random.Generator
            Source of the random numbers.

        Returns
        -------
        Clicks
            What was clicked, and the probability that each position was looked at.
        """
        reads_on = _probability(self.continuation, "continuation")
        stops = _probability(self.satisfaction, "satisfaction") * relevance
        return _read_down(perceived, stops, reads_on, rng)


@dataclass(frozen=True)
class Cascade:
    r"""The cascade model: users read down to the first click, and leave.

    .. math:: P(C_k = 1) = a_k \prod_{j < k} (1 - a_j)

    References
    ----------
    Craswell, Zoeter, Taylor and Ramsey, "An experimental comparison of click position-bias models", WSDM
    2008.

    Examples
    --------
    >>> Cascade().click(np.array([[0.5, 0.5, 1.0]]), np.zeros((1, 3)), np.random.default_rng(0)).examination
    array([[1.  , 0.5 , 0.25]])
    """

    def click(self, perceived: FloatArray, relevance: FloatArray, rng: np.random.Generator) -> Clicks:
        """A dynamic Bayesian model whose every click satisfies and whose users never tire.

        Parameters
        ----------
        perceived, relevance : (n_sessions, n_positions) array
            Probability of a click once the document is looked at, and true relevance, both in [0, 1].
        rng : numpy.random.Generator
            Source of the random numbers.

        Returns
        -------
        Clicks
            What was clicked, and the probability that each position was looked at.
        """
        return _read_down(perceived, np.ones_like(perceived), 1.0, rng)


def _read_down(perceived: FloatArray, stops: FloatArray, reads_on: float, rng: np.random.Generator) -> Clicks:
    chance = rng.random((2, *perceived.shape))
    clicked = np.empty(perceived.shape, dtype=bool)
    examination = np.empty(perceived.shape)
    reading, reached = np.ones(len(perceived), dtype=bool), np.ones(len(perceived))
    for k in range(perceived.shape[1]):
        examination[:, k] = reached
        clicked[:, k] = reading & (chance[0, :, k] < perceived[:, k])
        # One number decides on both: below reads_on * (1 - s) goes on after a click, below reads_on without.
        left = np.where(clicked[:, k], 1.0 - stops[:, k], 1.0)
        reading &= chance[1, :, k] < reads_on * left
        reached = reached * reads_on * (1.0 - perceived[:, k] * stops[:, k])
    return Clicks(clicked, examination)


@dataclass(frozen=True, kw_only=True)
class TrustBias:
    r"""Users trust what stands on top: they take it for relevant more often than it is.

    .. math:: a_{dk} = \epsilon^+_k g_d + \epsilon^-_k (1 - g_d), \qquad
              \epsilon^-_k = \epsilon^-_1 / \min(k, 10)

    Parameters
    ----------
    plus, minus : float
        :math:`\epsilon^+`, the same everywhere, and :math:`\epsilon^-_1`, which fades with the position.

    References
    ----------
    Agarwal, Wang, Li, Bendersky and Najork, "Addressing trust bias for unbiased learning-to-rank", WWW 2019
    (the model); Vardasbi, Oosterhuis and de Rijke, "When inverse propensity scoring does not work", CIKM 2020
    (minus = 0.65, fading as 1 / min(k, 10)).

    Examples
    --------
    >>> TrustBias(plus=0.9, minus=0.6).perceived(np.array([[1.0, 0.0, 0.0]])).round(3).tolist()
    [[0.9, 0.3, 0.2]]
    """

    plus: float = 0.98
    minus: float = 0.65

    def perceived(self, relevance: FloatArray) -> FloatArray:
        """Perceived relevance of documents at positions 1, 2, ... (axis 1).

        Parameters
        ----------
        relevance : (n_sessions, n_positions) array
            True relevance of the documents, in [0, 1].

        Returns
        -------
        (n_sessions, n_positions) array
            Probability that a document is clicked once it is looked at.
        """
        position = np.arange(1, relevance.shape[1] + 1)
        minus = _probability(self.minus, "minus") / np.minimum(position, 10)
        plus = _probability(self.plus, "plus")
        return np.asarray(plus * relevance + minus * (1.0 - relevance))


def perception(noise: float | None, trust: TrustBias | None) -> Callable[[FloatArray], FloatArray]:
    """From relevance (n_sessions, n_positions) to the probability of a click on what is examined."""
    if trust is not None:
        if noise is not None:
            raise ValueError("'noise' must be None with 'trust', whose 'minus' it would be; got both")
        return trust.perceived
    minus = 0.1 if noise is None else _probability(noise, "noise")
    return lambda relevance: minus + (1.0 - minus) * relevance


def _probability(value: float, name: str) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"{name!r} must be a probability in [0, 1]; got {value!r}")
    return float(value)


def _probabilities(values: FloatArray, name: str, *, positive: bool) -> FloatArray:
    bad = np.flatnonzero(~((values <= 1) & ((values > 0) if positive else (values >= 0))))
    if len(bad):
        raise ValueError(
            f"{name!r} must be probabilities in (0, 1]; position {bad[0] + 1} has {values[bad[0]]}"
        )
    return values
