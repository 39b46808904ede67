"""Simulated clicks: what users would click if they were shown any ranker's lists of a labelled set.

How they look at a list and click is a click model (:mod:`lambdamart_kit.datasets.click_models`).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lambdamart_kit.core.gains import Gain, check_count, gains
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import Array, ArrayLike, Float32Array, FloatArray, IndexArray
from lambdamart_kit.datasets.click_models import ClickModel, PositionBased, TrustBias, perception
from lambdamart_kit.datasets.dataset import RankingDataset

_CHUNK = 1 << 21  # documents ranked at a time: their noise stays in tens of megabytes


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


def _check_scores(scores: ArrayLike, data: RankingDataset) -> FloatArray:
    checked = np.asarray(scores, dtype=np.float64)
    if checked.shape != (len(data),) or not np.isfinite(checked).all():
        raise ValueError(
            f"'scores' must hold one finite number a row of 'data': expected shape ({len(data)},), got "
            f"{checked.shape}{'' if checked.shape != (len(data),) else ' with NaN or infinity'}"
        )
    return checked
