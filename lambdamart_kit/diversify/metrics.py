"""How diverse, novel and fair lists are, by query, with the conventions of :mod:`lambdamart_kit.metrics`.

The subtopic metrics share these parameters. `topics`: (n_samples, n_topics) relevance of each row to each
subtopic, finite and >= 0; a row covers a topic when it is at least `min_relevance`. `scores`, `qid`, `k`,
`blank`, `sample_weight`, `per_query`: as in :mod:`lambdamart_kit.metrics`; a blank query covers no topic.
`ties`: "average" is the exact expectation over random orders of equal scores, "input" the order of the rows.

A topic's share in each of these metrics is what a cascading reader of that topic alone gets, so one kernel
computes them all, and expectations over ties are exact because they add up over topics.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np

from lambdamart_kit.core.gains import Blank, check_choice, check_count, discounts
from lambdamart_kit.core.queries import Queries, query_weights
from lambdamart_kit.core.ranking import tie_blocks
from lambdamart_kit.core.ranking.block_order import TIES
from lambdamart_kit.core.typing import Array, ArrayLike, FloatArray, Ids
from lambdamart_kit.diversify.reranking import rerank
from lambdamart_kit.metrics.base import BLANK_VALUE, check_scores, weighted_mean
from lambdamart_kit.runtime.threads import balanced_bounds, resolve_n_jobs, run_tasks

TopicTies: TypeAlias = Literal["average", "input"]


def alpha_ndcg(
    topics: ArrayLike,
    scores: ArrayLike,
    qid: Ids = None,
    *,
    k: int | None = None,
    alpha: float = 0.5,
    min_relevance: float = 1.0,
    ties: TopicTies = "average",
    blank: Blank = "skip",
    sample_weight: ArrayLike | None = None,
    per_query: bool = False,
) -> float | FloatArray:
    r"""NDCG in which a topic is worth less each time it comes again.

    .. math::
        \alpha\text{-DCG}@k = \sum_{rank < k} \frac{1}{\log_2(rank + 2)}
        \sum_t J_{rank,t} (1 - \alpha)^{\text{times } t \text{ came before}}

    over the same sum for the greedily best order (the exact best order is NP-hard to find, so a list may
    reach a hair above 1). ``alpha=0`` is NDCG with the number of topics as gain.

    Parameters
    ----------
    topics : (n_samples, n_topics) array-like
        Relevance of each row to each subtopic, finite and >= 0.
    scores : (n_samples,) array-like
        Score of each row; a higher one ranks first. Not NaN.
    qid : (n_samples,) array-like, optional
        Query of each row: any hashable ids in any order. None is one list.
    k : int, optional
        Cut-off: only the first `k` documents of a list count. None for all.
    alpha : float
        In [0, 1]: the probability that a reader who saw a topic needs it no more.
    min_relevance : float
        A row covers a topic when its relevance to it is at least this.
    ties : {"average", "input"}
        Order of equal scores: the exact mean over all orders, or that of the rows.
    blank : {"skip", "zero", "one"}
        What a query that covers no topic is worth: NaN and left out of the mean, 0, or 1.
    sample_weight : (n_samples,) array-like, optional
        Weight of the row's query in the mean, the same for all its rows. 1 by default.
    per_query : bool
        Return one value a query instead of the mean.

    Returns
    -------
    float or (n_queries,) array
        Mean over queries, or with `per_query` the value of each in ascending order of query id.

    Raises
    ------
    ValueError
        If `topics`, `scores` or a setting is not usable.

    References
    ----------
    Clarke et al. (2008), "Novelty and diversity in information retrieval evaluation", SIGIR, eq. 5-8.

    Examples
    --------
    Two documents on one topic, then one on another; better to show the other one second:

    >>> topics = [[1, 0], [1, 0], [0, 1]]
    >>> round(alpha_ndcg(topics, [3.0, 2.0, 1.0]), 4)      # (1 + .5/log2(3) + 1/2) / (1 + 1/log2(3) + .5/2)
    0.9652
    >>> alpha_ndcg(topics, [3.0, 1.0, 2.0])
    1.0
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"'alpha' must be in [0, 1]; got {alpha!r}")
    lists = _Lists(topics, scores, qid, k, ties, sample_weight)
    covers = (lists.topics >= min_relevance).astype(np.float64)
    values = lists.alpha_dcg(covers, lists.scores, alpha)
    ideal = lists.alpha_dcg(covers, _ideal_scores(covers, lists, alpha), alpha)
    return lists.summary(values, ideal, "alpha_ndcg", blank, per_query)


def err_ia(
    topics: ArrayLike,
    scores: ArrayLike,
    qid: Ids = None,
    *,
    k: int | None = None,
    max_relevance: float = 1.0,
    topic_weight: ArrayLike | None = None,
    ties: TopicTies = "average",
    blank: Blank = "skip",
    sample_weight: ArrayLike | None = None,
    per_query: bool = False,
) -> float | FloatArray:
    r"""Intent-aware expected reciprocal rank: the ERR of each topic, averaged over the topics.

    .. math::
        \sum_t p_t \sum_{rank < k} \frac{1}{rank + 1} R_{rank,t} \prod_{earlier} (1 - R_{earlier,t}),
        \qquad R = (2^{y} - 1) / 2^{y_{max}}

    Topics that no document of the query is relevant to do not count; the weights of the others are made
    to sum to 1.

    Parameters
    ----------
    topics : (n_samples, n_topics) array-like
        Relevance of each row to each subtopic, finite and >= 0.
    scores : (n_samples,) array-like
        Score of each row; a higher one ranks first. Not NaN.
    qid : (n_samples,) array-like, optional
        Query of each row: any hashable ids in any order. None is one list.
    k : int, optional
        Cut-off: only the first `k` documents of a list count. None for all.
    max_relevance : float
        Top of the label scale; with 1, a document that covers a topic satisfies half of its readers.
    topic_weight : (n_topics,) array-like, optional
        How likely each topic is meant; uniform by default.
    ties : {"average", "input"}
        Order of equal scores: the exact mean over all orders, or that of the rows.
    blank : {"skip", "zero", "one"}
        What a query that covers no topic is worth: NaN and left out of the mean, 0, or 1.
    sample_weight : (n_samples,) array-like, optional
        Weight of the row's query in the mean, the same for all its rows. 1 by default.
    per_query : bool
        Return one value a query instead of the mean.

    Returns
    -------
    float or (n_queries,) array
        Mean over queries, or with `per_query` the value of each in ascending order of query id.

    References
    ----------
    Chapelle et al. (2011), "Intent-based diversification of web search results", Information Retrieval
    14(6), eq. 7.

    Examples
    --------
    >>> err_ia([[1, 0], [0, 1]], [2.0, 1.0])                             # (1/2 + 1/2 * 1/2) / 2
    0.375
    """
    lists = _Lists(topics, scores, qid, k, ties, sample_weight)
    if lists.topics.max() > max_relevance:
        raise ValueError(
            f"'max_relevance' must be at least the largest label, {lists.topics.max():g}; "
            f"got {max_relevance:g}"
        )
    stops = np.exp2(lists.topics - max_relevance) - np.exp2(-max_relevance)
    readers = 1.0 / np.arange(1, lists.longest + 1)
    shares = lists.topic_shares(lists.topics > 0, topic_weight)
    values = (shares * lists.per_topic(tie_blocks.cascades, stops, lists.scores, readers)).sum(axis=1)
    return lists.summary(values, shares.sum(axis=1), "err_ia", blank, per_query)


def precision_ia(
    topics: ArrayLike,
    scores: ArrayLike,
    qid: Ids = None,
    *,
    k: int | None = None,
    min_relevance: float = 1.0,
    topic_weight: ArrayLike | None = None,
    ties: TopicTies = "average",
    blank: Blank = "skip",
    sample_weight: ArrayLike | None = None,
    per_query: bool = False,
) -> float | FloatArray:
    r"""Intent-aware precision: ``sum_t p_t * (documents among the first k that cover t) / k``.

    Topics that no document of the query covers do not count; the weights of the others are made to sum to 1.

    Parameters
    ----------
    topics : (n_samples, n_topics) array-like
        Relevance of each row to each subtopic, finite and >= 0.
    scores : (n_samples,) array-like
        Score of each row; a higher one ranks first. Not NaN.
    qid : (n_samples,) array-like, optional
        Query of each row: any hashable ids in any order. None is one list.
    k : int, optional
        Cut-off: only the first `k` documents count, and `k` is the divisor. None: the length of the list.
    min_relevance : float
        A row covers a topic when its relevance to it is at least this.
    topic_weight : (n_topics,) array-like, optional
        How likely each topic is meant; uniform by default.
    ties : {"average", "input"}
        Order of equal scores: the exact mean over all orders, or that of the rows.
    blank : {"skip", "zero", "one"}
        What a query that covers no topic is worth: NaN and left out of the mean, 0, or 1.
    sample_weight : (n_samples,) array-like, optional
        Weight of the row's query in the mean, the same for all its rows. 1 by default.
    per_query : bool
        Return one value a query instead of the mean.

    Returns
    -------
    float or (n_queries,) array
        Mean over queries, or with `per_query` the value of each in ascending order of query id.

    References
    ----------
    Agrawal et al. (2009), "Diversifying search results", WSDM, section 5.

    Examples
    --------
    >>> precision_ia([[1, 0], [1, 1], [0, 0]], [3.0, 2.0, 1.0], k=2)     # (2/2 + 1/2) / 2
    0.75
    """
    lists = _Lists(topics, scores, qid, k, ties, sample_weight)
    covers = (lists.topics >= min_relevance).astype(np.float64)
    shares = lists.topic_shares(covers > 0, topic_weight)
    found = lists.per_topic(tie_blocks.discounted_sums, covers, lists.scores, np.ones(lists.longest))
    depth = lists.queries.sizes if k is None else k
    return lists.summary(
        (shares * found).sum(axis=1) / depth, shares.sum(axis=1), "precision_ia", blank, per_query
    )


def subtopic_recall(
    topics: ArrayLike,
    scores: ArrayLike,
    qid: Ids = None,
    *,
    k: int | None = None,
    min_relevance: float = 1.0,
    ties: TopicTies = "average",
    blank: Blank = "skip",
    sample_weight: ArrayLike | None = None,
    per_query: bool = False,
) -> float | FloatArray:
    """Share of the query's topics that some document among the first k covers.

    Parameters
    ----------
    topics : (n_samples, n_topics) array-like
        Relevance of each row to each subtopic, finite and >= 0.
    scores : (n_samples,) array-like
        Score of each row; a higher one ranks first. Not NaN.
    qid : (n_samples,) array-like, optional
        Query of each row: any hashable ids in any order. None is one list.
    k : int, optional
        Cut-off: only the first `k` documents of a list count. None for all.
    min_relevance : float
        A row covers a topic when its relevance to it is at least this.
    ties : {"average", "input"}
        Order of equal scores: the exact mean over all orders, or that of the rows.
    blank : {"skip", "zero", "one"}
        What a query that covers no topic is worth: NaN and left out of the mean, 0, or 1.
    sample_weight : (n_samples,) array-like, optional
        Weight of the row's query in the mean, the same for all its rows. 1 by default.
    per_query : bool
        Return one value a query instead of the mean.

    Returns
    -------
    float or (n_queries,) array
        Mean over queries, or with `per_query` the value of each in ascending order of query id.

    References
    ----------
    Zhai, Cohen, Lafferty (2003), "Beyond independent relevance", SIGIR, section 3.1.

    Examples
    --------
    >>> subtopic_recall([[1, 0], [1, 0], [0, 1]], [3.0, 2.0, 1.0], k=2)
    0.5
    >>> subtopic_recall([[1, 0], [1, 0], [0, 1]], [1.0, 0.0, 0.0], k=2)  # rank 1: either, one in two
    0.75
    """
    lists = _Lists(topics, scores, qid, k, ties, sample_weight)
    covers = (lists.topics >= min_relevance).astype(np.float64)
    found = lists.per_topic(tie_blocks.cascades, covers, lists.scores, np.ones(lists.longest))
    n_topics = lists.present(covers > 0).sum(axis=1).astype(np.float64)
    return lists.summary(found.sum(axis=1), n_topics, "subtopic_recall", blank, per_query)


class _Lists:
    """Topics and scores in ordered rows, checked, with the conventions of one call."""

    def __init__(
        self,
        topics: ArrayLike,
        scores: ArrayLike,
        qid: Ids,
        k: int | None,
        ties: str,
        sample_weight: ArrayLike | None,
    ) -> None:
        check_choice(ties, ("average", "input"), name="ties")
        rows = _check_topics(topics)
        self.queries = Queries.from_qid(qid, len(rows))
        self.topics: FloatArray = self.queries.sort(rows)
        self.scores: FloatArray = self.queries.sort(check_scores(scores, self.queries))
        self.weights = query_weights(sample_weight, self.queries)
        self.longest = int(self.queries.sizes.max())
        self.cutoff = self.longest if k is None else min(check_count(k, name="k"), self.longest)
        self.ties = TIES[ties]

    def per_topic(
        self, kernel: Any, values: FloatArray, scores: FloatArray, discount: FloatArray
    ) -> FloatArray:
        """The kernel's value of each query and topic, (n_queries, n_topics)."""
        n_threads = resolve_n_jobs(None)
        bounds = balanced_bounds(self.queries.sizes, n_threads)
        out = np.empty((values.shape[1], self.queries.n_queries))
        for topic, column in zip(out, np.ascontiguousarray(values.T)):
            run_tasks(
                kernel,
                bounds,
                n_threads,
                scores,
                column,
                self.queries.ptr,
                self.cutoff,
                self.ties,
                discount,
                topic,
            )
        return out.T

    def alpha_dcg(self, covers: FloatArray, scores: FloatArray, alpha: float) -> FloatArray:
        """The numerator of :func:`alpha_ndcg`: a topic's reader stops with `alpha` at each document on it."""
        discount = discounts(self.longest)
        if alpha == 0:
            gain = covers.sum(axis=1, keepdims=True)
            return self.per_topic(tie_blocks.discounted_sums, gain, scores, discount).sum(axis=1)
        return self.per_topic(tie_blocks.cascades, alpha * covers, scores, discount).sum(axis=1) / alpha

    def present(self, covers: Array) -> Array:
        """Whether some document of the query covers the topic, (n_queries, n_topics)."""
        return np.logical_or.reduceat(covers, self.queries.ptr[:-1], axis=0)

    def topic_shares(self, covers: Array, topic_weight: ArrayLike | None) -> FloatArray:
        """Weight of each topic in each query: 0 where none covers it, otherwise summing to 1."""
        n_topics = covers.shape[1]
        weight = np.ones(n_topics) if topic_weight is None else np.asarray(topic_weight, dtype=np.float64)
        if weight.shape != (n_topics,) or not np.all((weight >= 0) & np.isfinite(weight)):
            raise ValueError(f"'topic_weight' must hold {n_topics} finite weights >= 0; got {topic_weight!r}")
        shares = self.present(covers) * weight
        totals = shares.sum(axis=1, keepdims=True)
        return np.asarray(shares / np.where(totals > 0, totals, 1.0))

    def summary(
        self, values: FloatArray, scale: FloatArray, name: str, blank: str, per_query: bool
    ) -> float | FloatArray:
        """``values / scale`` by query or as the weighted mean; where the scale is 0 the query is blank."""
        check_choice(blank, tuple(BLANK_VALUE), name="blank")
        is_blank = scale <= 0
        result = values / np.where(is_blank, 1.0, scale)
        result[is_blank] = BLANK_VALUE[blank]
        return result if per_query else weighted_mean(result, self.weights, name)


def _check_topics(topics: ArrayLike) -> FloatArray:
    rows = np.asarray(topics, dtype=np.float64)
    if rows.ndim != 2 or not rows.size:
        raise ValueError(
            f"'topics' must be (n_samples, n_topics), at least one of each; got shape {rows.shape}"
        )
    bad = np.flatnonzero(~(np.isfinite(rows) & (rows >= 0)).all(axis=1))
    if len(bad):
        raise ValueError(f"'topics' must be finite and >= 0; row {bad[0]} has {rows[bad[0]].tolist()}")
    return rows


def _ideal_scores(covers: FloatArray, lists: _Lists, alpha: float) -> FloatArray:
    """Scores, in ordered rows, that put each query's documents in the greedily best order."""
    if alpha == 0:
        return covers.sum(axis=1)
    query_of_row = lists.queries.query_of_ordered_row
    best = rerank(
        np.zeros(len(covers)),
        lists.cutoff,
        qid=query_of_row,
        topics=alpha * covers,
        utility="coverage",
        trade_off=1.0,
    )
    ideal = np.full(len(covers), -np.inf)
    ideal[best] = -np.arange(len(best), dtype=np.float64)
    return ideal
