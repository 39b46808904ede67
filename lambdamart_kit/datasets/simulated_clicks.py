"""Simulated clicks: what users would click if they were shown any ranker's lists of a labelled set.

A user sees document d at position k (counted from 1, the top) and clicks when both hold:

    P(click at k) = P(examined at k) * P(perceived relevant | d, k)

    relevance of d         g = (2^y - 1) / (2^y_max - 1)
    perceived relevance    a = eps_plus(k) * g + eps_minus(k) * (1 - g)

Click noise is a constant ``eps_minus``; trust bias (:class:`TrustBias`) lets both depend on the position. A
click model says who is examined: :class:`PositionBased` by position alone, :class:`Cascade` and
:class:`DynamicBayesian` by what was clicked above.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np

from lambdamart_kit.core.gains import Gain, check_count, gains
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import Array, ArrayLike, Float32Array, FloatArray, IndexArray
from lambdamart_kit.datasets.dataset import RankingDataset

_CHUNK = 1 << 21  # documents ranked at a time: their noise stays in tens of megabytes


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


@dataclass(frozen=True, eq=False)
class ClickLog:
    """Impressions of simulated sessions, aligned by row: `X`, `y`, `qid` and `position` are what fit takes.

    Parameters
    ----------
    source : RankingDataset
        The labelled set that was shown.
    rows : (n_impressions,) intp
        Row of `source` that each impression shows.
    y : (n_impressions,) float32
        1 = clicked.
    qid : (n_impressions,) int64
        Session, 0, 1, ...: one list shown to one user.
    position : (n_impressions,) int64
        Where the document stood in the list, 1 = on top.
    examination : (n_impressions,) float64
        True probability that the user looked at it, given the list.

    Examples
    --------
    >>> from lambdamart_kit.datasets import make_letor, simulate_clicks
    >>> data = make_letor(n_queries=5, random_state=0)
    >>> log = simulate_clicks(data, scores=data.X[:, 0], sessions_per_query=2, random_state=0)
    >>> log.position[:3].tolist(), log.qid[:3].tolist()
    ([1, 2, 3], [0, 0, 0])
    """

    source: RankingDataset
    rows: IndexArray
    y: Float32Array
    qid: Array
    position: Array
    examination: FloatArray

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        sessions = int(self.qid[-1]) + 1 if len(self) else 0
        return f"ClickLog({len(self):,} impressions, {sessions:,} sessions, {int(self.y.sum()):,} clicks)"

    @cached_property
    def X(self) -> Any:
        """Features of each impression, copied from `source` on first use."""
        return self.source.X[self.rows]

    @property
    def relevance(self) -> Float32Array:
        """True label of each impression."""
        return self.source.y[self.rows]

    @property
    def query(self) -> Array:
        """Query of `source` that each impression belongs to: several sessions share one."""
        return self.source.qid[self.rows]

    @property
    def propensities(self) -> FloatArray:
        """True examination probability by position (mean over impressions), relative to position 1."""
        shown = np.bincount(self.position)[1:]
        mean = np.bincount(self.position, weights=self.examination)[1:] / np.maximum(shown, 1)
        return np.asarray(mean / mean[0])


def simulate_clicks(
    data: RankingDataset,
    scores: ArrayLike,
    *,
    model: ClickModel | None = None,
    sessions_per_query: int = 10,
    n_positions: int | None = 10,
    temperature: float = 0.0,
    noise: float | None = None,
    trust: TrustBias | None = None,
    gain: Gain = "exp2",
    random_state: int | np.random.Generator | None = None,
) -> ClickLog:
    """Show lists ranked by `scores` to simulated users, and log their clicks.

    In each session the documents of a query are ranked by ``score + temperature * Gumbel noise`` (a draw from
    the Plackett-Luce model of ``score / temperature``), equal scores in random order, and the first
    `n_positions` are shown. With ``temperature=0`` a document always stands at the same position, and then no
    method can tell what is good from what is on top: real logs move documents too.

    Parameters
    ----------
    data : RankingDataset
        Labelled documents.
    scores : (n_samples,) array-like
        Of the ranker in production, aligned with the rows of `data`.
    model : ClickModel, optional
        :class:`PositionBased` (the default), :class:`Cascade`, :class:`DynamicBayesian`, or anything with
        their ``click``.
    sessions_per_query : int
        Lists shown for each query.
    n_positions : int, optional
        Documents shown; None is all.
    temperature : float
        In units of the scores, >= 0.
    noise : float, optional
        Probability that an examined document without any relevance is clicked; 0.1 unless `trust` is given.
    trust : TrustBias, optional
        Perceived relevance by position, in place of `noise`.
    gain : "exp2", "linear", table or callable
        Gain of a label; relevance is the gain over the largest gain in `data`.
    random_state : int, numpy.random.Generator or None
        Seed.

    Returns
    -------
    ClickLog
        Sessions in ascending order of query, positions in ascending order within a session.

    Raises
    ------
    ValueError
        If a parameter is out of range, or `scores` are not one finite number a row.

    References
    ----------
    See the models; the set-up is that of Joachims, Swaminathan and Schnabel (2017) and Ai et al., "Unbiased
    learning to rank with unbiased propensity estimation", SIGIR 2018.

    Examples
    --------
    >>> from lambdamart_kit.datasets import make_letor
    >>> data = make_letor(n_queries=20, random_state=0)
    >>> log = simulate_clicks(data, data.X[:, 107], sessions_per_query=50, temperature=1.0, random_state=0)
    >>> log
    ClickLog(10,000 impressions, 1,000 sessions, 660 clicks)
    >>> log.propensities[:3].round(3).tolist()
    [1.0, 0.5, 0.333]
    """
    rng = np.random.default_rng(random_state)
    shown = _check_scores(scores, data)
    check_count(sessions_per_query, name="sessions_per_query")
    if n_positions is not None:
        check_count(n_positions, name="n_positions")
    if not (np.isfinite(temperature) and temperature >= 0):
        raise ValueError(f"'temperature' must be a finite number >= 0; got {temperature!r}")
    perceive = perception(noise, trust)
    user = PositionBased() if model is None else model
    relevance = relative_gains(data, gain)
    queries = data.queries
    parts: list[tuple[Array, ...]] = []
    for first, last in _chunks(queries, sessions_per_query):
        lists = _ranked_lists(queries, first, last, shown, sessions_per_query, n_positions, temperature, rng)
        there = lists >= 0
        truth = np.where(there, relevance[lists], 0.0)
        clicks = user.click(np.where(there, perceive(truth), 0.0), truth, rng)
        session, at = np.nonzero(there)
        parts.append((lists[there], clicks.clicked[there], session, at + 1, clicks.examination[there]))
    return _as_log(data, parts)


def _as_log(data: RankingDataset, parts: list[tuple[Array, ...]]) -> ClickLog:
    first_session, sessions = 0, []
    for _, _, session, _, _ in parts:
        sessions.append(session + first_session)
        first_session += int(session[-1]) + 1
    rows, clicked, _, position, examination = (np.concatenate(column) for column in zip(*parts))
    return ClickLog(
        data,
        rows.astype(np.intp, copy=False),
        clicked.astype(np.float32),
        np.concatenate(sessions),
        position,
        examination,
    )


def _chunks(queries: Queries, sessions_per_query: int) -> list[tuple[int, int]]:
    """Runs of queries with at most about `_CHUNK` documents to rank, sessions counted."""
    chunk = (queries.ptr[:-1] * sessions_per_query) // _CHUNK
    edges = np.concatenate(([0], np.flatnonzero(np.diff(chunk)) + 1, [queries.n_queries]))
    return [(int(a), int(b)) for a, b in itertools.pairwise(edges)]


def _ranked_lists(
    queries: Queries,
    first: int,
    last: int,
    scores: FloatArray,
    sessions: int,
    n_positions: int | None,
    temperature: float,
    rng: np.random.Generator,
) -> IndexArray:
    """Rows shown in each session of the queries, (n_sessions, n_positions); -1 where a list is shorter."""
    longest = int(queries.sizes[first:last].max())
    width = longest if n_positions is None else min(n_positions, longest)
    lists = np.full(((last - first) * sessions, width), -1, dtype=np.intp)
    for q in range(first, last):
        rows = queries.order[queries.ptr[q] : queries.ptr[q + 1]]
        key = np.broadcast_to(scores[rows], (sessions, len(rows)))
        if temperature > 0:
            key = key + temperature * rng.gumbel(size=key.shape)
        places = _best_first(key, width, rng, tied=temperature == 0)
        start = (q - first) * sessions
        lists[start : start + sessions, : places.shape[1]] = rows[places]
    return lists


def _best_first(key: FloatArray, width: int, rng: np.random.Generator, *, tied: bool) -> IndexArray:
    """Columns of the `width` largest keys of each row, largest first."""
    if tied and len(np.unique(key[0])) < key.shape[1]:
        order = np.lexsort((rng.random(key.shape), -key), axis=-1)[:, :width]
    elif tied:
        order = np.broadcast_to(np.argsort(-key[0])[:width], (len(key), min(width, key.shape[1])))
    elif key.shape[1] > 2 * width:
        best = np.argpartition(-key, width, axis=1)[:, :width]
        order = np.take_along_axis(best, np.argsort(-np.take_along_axis(key, best, axis=1), axis=1), axis=1)
    else:
        order = np.argsort(-key, axis=1)[:, :width]
    return order.astype(np.intp, copy=False)


def relative_gains(data: RankingDataset, gain: Gain) -> FloatArray:
    """Relevance of each row of `data` in [0, 1]: its gain over the largest one."""
    relevance = gains(np.asarray(data.y, dtype=np.float64), gain)
    return np.asarray(relevance / max(float(relevance.max(initial=0.0)), np.finfo(float).tiny))


def perception(noise: float | None, trust: TrustBias | None) -> Callable[[FloatArray], FloatArray]:
    """From relevance (n_sessions, n_positions) to the probability of a click on what is examined."""
    if trust is not None:
        if noise is not None:
            raise ValueError("'noise' must be None with 'trust', whose 'minus' it would be; got both")
        return trust.perceived
    minus = 0.1 if noise is None else _probability(noise, "noise")
    return lambda relevance: minus + (1.0 - minus) * relevance


def _check_scores(scores: ArrayLike, data: RankingDataset) -> FloatArray:
    checked = np.asarray(scores, dtype=np.float64)
    if checked.shape != (len(data),) or not np.isfinite(checked).all():
        raise ValueError(
            f"'scores' must hold one finite number a row of 'data': expected shape ({len(data)},), got "
            f"{checked.shape}{'' if checked.shape != (len(data),) else ' with NaN or infinity'}"
        )
    return checked


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
