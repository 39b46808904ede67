"""The metrics as functions ``metric(y, scores, qid, *, k, ...)``: formulas, conventions and references.

All share these parameters. `y`: graded relevance of each row, finite and >= 0. `scores`: higher ranks first,
not NaN. `qid`: query of each row, any hashable ids in any order; None is one query. `k`: cut-off or None.
`ties`, `blank`: see :class:`~lambdamart_kit.metrics.Metric`. `sample_weight`: the weight of the row's query,
constant within a query; it multiplies the query's share of the mean and nothing else. `per_query`: an array
with one value a query instead of the mean, in ascending order of query id (that of ``numpy.unique(qid)``);
blank queries are NaN there under ``blank="skip"``. Bad input raises ValueError and names the row.

In the formulas rank is 0-based, ``y[rank]`` is the label of the document that the scores put there, and a
document is relevant when its label is at least `min_relevance`.
"""

from __future__ import annotations

from typing import Literal

from lambdamart_kit.core.gains import Blank, Gain, Ties
from lambdamart_kit.core.typing import ArrayLike, FloatArray, Ids
from lambdamart_kit.metrics.base import Metric
from lambdamart_kit.metrics.measures import DCG, ERR, MAP, MRR, NDCG, KendallTau, Precision, Recall


def ndcg(
    y: ArrayLike,
    scores: ArrayLike,
    qid: Ids = None,
    *,
    k: int | None = None,
    gain: Gain = "exp2",
    ties: Ties = "average",
    blank: Blank = "skip",
    sample_weight: ArrayLike | None = None,
    document_weight: ArrayLike | None = None,
    per_query: bool = False,
) -> float | FloatArray:
    """Normalised discounted cumulative gain: :func:`dcg` over the DCG of the best order.

    The ideal is cut at `k` too, and taken over the documents given. With ``gain="linear"`` and
    ``blank="zero"`` this is ``sklearn.metrics.ndcg_score``; with ``gain="exp2"`` it is the NDCG of LightGBM
    and XGBoost, but for ties and blank queries, which they count as 1.

    Parameters
    ----------
    y : (n_samples,) array-like
        Graded relevance of each row, finite and >= 0.
    scores : (n_samples,) array-like
        Score of each row; a higher one ranks first. Not NaN.
    qid : (n_samples,) array-like, optional
        Query of each row: any hashable ids in any order. None is one query.
    k : int, optional
        Cut-off: only the first `k` documents count. None for all.
    gain : {"exp2", "linear"}, table or callable
        Gain of a label: ``2**y - 1``, ``y``, ``table[y]`` or ``gain(labels)``.
    ties : {"average", "optimistic", "pessimistic", "input"}
        Order of equal scores: the exact mean over all orders, the best, the worst, or that of the rows.
    blank : {"skip", "zero", "one"}
        What a query without a relevant document is worth: NaN and left out of the mean, 0, or 1.
    sample_weight : (n_samples,) array-like, optional
        Weight of the row's query in the mean, the same for all its rows. 1 by default.
    document_weight : (n_samples,) array-like, optional
        Weight of the document, >= 0: one of weight 2 counts as two copies of it in the ranking.
    per_query : bool
        Return one value a query instead of the mean.

    Returns
    -------
    float or (n_queries,) array
        Mean over queries, or with `per_query` the value of each in ascending order of query id.

    References
    ----------
    Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002. Gains
    ``2**y - 1``: Burges et al., "Learning to rank using gradient descent", ICML 2005. Ties: McSherry and
    Najork, "Computing information retrieval performance measures efficiently in the presence of tied scores",
    ECIR 2008.

    Examples
    --------
    >>> round(ndcg([0, 1, 2], [3.0, 2.0, 1.0]), 4)              # (1/log2(3) + 3/2) / (3 + 1/log2(3))
    0.5869
    >>> ndcg([1, 0, 0, 0], [2, 1, 5, 5], ["b", "b", "a", "a"], per_query=True).tolist()
    [nan, 1.0]
    """
    metric = NDCG(k=k, gain=gain, ties=ties, blank=blank)
    return _evaluate(metric, y, scores, qid, sample_weight, per_query, document_weight)


def dcg(
    y: ArrayLike,
    scores: ArrayLike,
    qid: Ids = None,
    *,
    k: int | None = None,
    gain: Gain = "exp2",
    ties: Ties = "average",
    blank: Blank = "skip",
    sample_weight: ArrayLike | None = None,
    document_weight: ArrayLike | None = None,
    per_query: bool = False,
) -> float | FloatArray:
    """Discounted cumulative gain, ``sum over rank < k of gain(y[rank]) / log2(rank + 2)``.

    Parameters
    ----------
    y : (n_samples,) array-like
        Graded relevance of each row, finite and >= 0.
    scores : (n_samples,) array-like
        Score of each row; a higher one ranks first. Not NaN.
    qid : (n_samples,) array-like, optional
        Query of each row: any hashable ids in any order. None is one query.
    k : int, optional
        Cut-off: only the first `k` documents count. None for all.
    gain : {"exp2", "linear"}, table or callable
        Gain of a label: ``2**y - 1``, ``y``, ``table[y]`` or ``gain(labels)``.
    ties : {"average", "optimistic", "pessimistic", "input"}
        Order of equal scores: the exact mean over all orders, the best, the worst, or that of the rows.
    blank : {"skip", "zero", "one"}
        What a query without a relevant document is worth: NaN and left out of the mean, 0, or 1.
    sample_weight : (n_samples,) array-like, optional
        Weight of the row's query in the mean, the same for all its rows. 1 by default.
    document_weight : (n_samples,) array-like, optional
        Weight of the document, >= 0: one of weight 2 counts as two copies of it in the ranking.
    per_query : bool
        Return one value a query instead of the mean.

    Returns
    -------
    float or (n_queries,) array
        Mean over queries, or with `per_query` the value of each in ascending order of query id.

    References
    ----------
    As for :func:`ndcg`.

    Examples
    --------
    >>> dcg([1, 0, 2], [3.0, 2.0, 1.0])                         # 1/log2(2) + 3/log2(4)
    2.5
    """
    metric = DCG(k=k, gain=gain, ties=ties, blank=blank)
    return _evaluate(metric, y, scores, qid, sample_weight, per_query, document_weight)


def mean_average_precision(
    y: ArrayLike,
    scores: ArrayLike,
    qid: Ids = None,
    *,
    k: int | None = None,
    min_relevance: float = 1.0,
    ties: Ties = "average",
    blank: Blank = "skip",
    sample_weight: ArrayLike | None = None,
    per_query: bool = False,
) -> float | FloatArray:
    """Average precision, ``1/R * sum over relevant documents of rank < k of precision@(rank+1)``; "map".

    R counts all relevant documents of the query, also with a cut-off (trec_eval's ``map_cut``); LightGBM
    divides by ``min(R, k)``.

    Parameters
    ----------
    y : (n_samples,) array-like
        Graded relevance of each row, finite and >= 0.
    scores : (n_samples,) array-like
        Score of each row; a higher one ranks first. Not NaN.
    qid : (n_samples,) array-like, optional
        Query of each row: any hashable ids in any order. None is one query.
    k : int, optional
        Cut-off: only the first `k` documents count. None for all.
    min_relevance : float
        A document is relevant when its label is at least this.
    ties : {"average", "optimistic", "pessimistic", "input"}
        Order of equal scores: the exact mean over all orders, the best, the worst, or that of the rows.
    blank : {"skip", "zero", "one"}
        What a query without a relevant document is worth: NaN and left out of the mean, 0, or 1.
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
    Ties: McSherry and Najork, ECIR 2008.

    Examples
    --------
    >>> round(mean_average_precision([1, 0, 1], [3.0, 2.0, 1.0]), 4)     # (1/1 + 2/3) / 2
    0.8333
    """
    metric = MAP(k=k, min_relevance=min_relevance, ties=ties, blank=blank)
    return _evaluate(metric, y, scores, qid, sample_weight, per_query)


def mean_reciprocal_rank(
    y: ArrayLike,
    scores: ArrayLike,
    qid: Ids = None,
    *,
    k: int | None = None,
    min_relevance: float = 1.0,
    ties: Ties = "average",
    blank: Blank = "skip",
    sample_weight: ArrayLike | None = None,
    per_query: bool = False,
) -> float | FloatArray:
    """Reciprocal rank, ``1 / (rank + 1)`` of the first relevant document, 0 if none has rank < k; "mrr".

    Parameters
    ----------
    y : (n_samples,) array-like
        Graded relevance of each row, finite and >= 0.
    scores : (n_samples,) array-like
        Score of each row; a higher one ranks first. Not NaN.
    qid : (n_samples,) array-like, optional
        Query of each row: any hashable ids in any order. None is one query.
    k : int, optional
        Cut-off: only the first `k` documents count. None for all.
    min_relevance : float
        A document is relevant when its label is at least this.
    ties : {"average", "optimistic", "pessimistic", "input"}
        Order of equal scores: the exact mean over all orders, the best, the worst, or that of the rows.
    blank : {"skip", "zero", "one"}
        What a query without a relevant document is worth: NaN and left out of the mean, 0, or 1.
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
    Ties: McSherry and Najork, ECIR 2008.

    Examples
    --------
    >>> mean_reciprocal_rank([0, 1, 1], [3.0, 2.0, 1.0])
    0.5
    """
    metric = MRR(k=k, min_relevance=min_relevance, ties=ties, blank=blank)
    return _evaluate(metric, y, scores, qid, sample_weight, per_query)


def err(
    y: ArrayLike,
    scores: ArrayLike,
    qid: Ids = None,
    *,
    k: int | None = None,
    max_relevance: float = 4.0,
    ties: Ties = "average",
    blank: Blank = "skip",
    sample_weight: ArrayLike | None = None,
    per_query: bool = False,
) -> float | FloatArray:
    """Expected reciprocal rank of a reader who reads down and stops at a document with probability R(y).

    ::

        ERR@k = sum over rank < k of 1/(rank+1) * R(y[rank]) * prod over r < rank of (1 - R(y[r]))
        R(y)  = (2**y - 1) / 2**max_relevance

    The top of the scale is a parameter and not the largest label present, so that values of different samples
    are comparable. The default, 4, is that of TREC's gdeval, MSLR and Yahoo; a larger label is an error.
    Under ``ties="average"`` the expectation over orders of a tied block is exact: with S(j) the mean over
    j-subsets of the block of ``prod (1 - R)``, position j stops the reader with probability S(j-1) - S(j).

    Parameters
    ----------
    y : (n_samples,) array-like
        Graded relevance of each row, finite and >= 0.
    scores : (n_samples,) array-like
        Score of each row; a higher one ranks first. Not NaN.
    qid : (n_samples,) array-like, optional
        Query of each row: any hashable ids in any order. None is one query.
    k : int, optional
        Cut-off: only the first `k` documents count. None for all.
    max_relevance : float
        The top of the label scale.
    ties : {"average", "optimistic", "pessimistic", "input"}
        Order of equal scores: the exact mean over all orders, the best, the worst, or that of the rows.
    blank : {"skip", "zero", "one"}
        What a query without a relevant document is worth: NaN and left out of the mean, 0, or 1.
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
    Chapelle, Metzler, Zhang and Grinspan, "Expected reciprocal rank for graded relevance", CIKM 2009.

    Examples
    --------
    >>> err([1, 0, 2], [3.0, 2.0, 1.0], max_relevance=2)        # 1/4 + 1/3 * 3/4 * 3/4
    0.4375
    """
    metric = ERR(k=k, max_relevance=max_relevance, ties=ties, blank=blank)
    return _evaluate(metric, y, scores, qid, sample_weight, per_query)


def precision(
    y: ArrayLike,
    scores: ArrayLike,
    qid: Ids = None,
    *,
    k: int | None = None,
    min_relevance: float = 1.0,
    ties: Ties = "average",
    blank: Blank = "skip",
    sample_weight: ArrayLike | None = None,
    document_weight: ArrayLike | None = None,
    per_query: bool = False,
) -> float | FloatArray:
    """Relevant documents among the first k, over k (also when the query has fewer than k documents).

    Without `k`, the share of the query's documents that are relevant.

    Parameters
    ----------
    y : (n_samples,) array-like
        Graded relevance of each row, finite and >= 0.
    scores : (n_samples,) array-like
        Score of each row; a higher one ranks first. Not NaN.
    qid : (n_samples,) array-like, optional
        Query of each row: any hashable ids in any order. None is one query.
    k : int, optional
        Cut-off: only the first `k` documents count. None for all.
    min_relevance : float
        A document is relevant when its label is at least this.
    ties : {"average", "optimistic", "pessimistic", "input"}
        Order of equal scores: the exact mean over all orders, the best, the worst, or that of the rows.
    blank : {"skip", "zero", "one"}
        What a query without a relevant document is worth: NaN and left out of the mean, 0, or 1.
    sample_weight : (n_samples,) array-like, optional
        Weight of the row's query in the mean, the same for all its rows. 1 by default.
    document_weight : (n_samples,) array-like, optional
        Weight of the document, >= 0: one of weight 2 counts as two copies of it in the ranking.
    per_query : bool
        Return one value a query instead of the mean.

    Returns
    -------
    float or (n_queries,) array
        Mean over queries, or with `per_query` the value of each in ascending order of query id.

    Examples
    --------
    >>> precision([1, 0, 1], [3.0, 2.0, 1.0], k=2)
    0.5
    """
    metric = Precision(k=k, min_relevance=min_relevance, ties=ties, blank=blank)
    return _evaluate(metric, y, scores, qid, sample_weight, per_query, document_weight)


def recall(
    y: ArrayLike,
    scores: ArrayLike,
    qid: Ids = None,
    *,
    k: int | None = None,
    min_relevance: float = 1.0,
    ties: Ties = "average",
    blank: Blank = "skip",
    sample_weight: ArrayLike | None = None,
    document_weight: ArrayLike | None = None,
    per_query: bool = False,
) -> float | FloatArray:
    """Relevant documents among the first k, over all relevant documents of the query.

    Parameters
    ----------
    y : (n_samples,) array-like
        Graded relevance of each row, finite and >= 0.
    scores : (n_samples,) array-like
        Score of each row; a higher one ranks first. Not NaN.
    qid : (n_samples,) array-like, optional
        Query of each row: any hashable ids in any order. None is one query.
    k : int, optional
        Cut-off: only the first `k` documents count. None for all.
    min_relevance : float
        A document is relevant when its label is at least this.
    ties : {"average", "optimistic", "pessimistic", "input"}
        Order of equal scores: the exact mean over all orders, the best, the worst, or that of the rows.
    blank : {"skip", "zero", "one"}
        What a query without a relevant document is worth: NaN and left out of the mean, 0, or 1.
    sample_weight : (n_samples,) array-like, optional
        Weight of the row's query in the mean, the same for all its rows. 1 by default.
    document_weight : (n_samples,) array-like, optional
        Weight of the document, >= 0: one of weight 2 counts as two copies of it in the ranking.
    per_query : bool
        Return one value a query instead of the mean.

    Returns
    -------
    float or (n_queries,) array
        Mean over queries, or with `per_query` the value of each in ascending order of query id.

    Examples
    --------
    >>> recall([1, 0, 1, 1, 1], [5.0, 4.0, 3.0, 2.0, 1.0], k=2)
    0.25
    """
    metric = Recall(k=k, min_relevance=min_relevance, ties=ties, blank=blank)
    return _evaluate(metric, y, scores, qid, sample_weight, per_query, document_weight)


def kendall_tau(
    y: ArrayLike,
    scores: ArrayLike,
    qid: Ids = None,
    *,
    variant: Literal["b", "somers"] = "b",
    ties: Ties = "average",
    blank: Blank = "skip",
    sample_weight: ArrayLike | None = None,
    per_query: bool = False,
) -> float | FloatArray:
    """Kendall's rank correlation of scores and labels, from -1 to 1, by Knight's O(n log n) algorithm.

    With C pairs in the order of their labels and D against it, of P pairs with different labels::

        variant="b"       (C - D) / sqrt(P * Q)     Q pairs with different scores: scipy.stats.kendalltau
        variant="somers"  (C - D) / P               Somers' D: twice the share of well-ordered pairs, less one

    Under ``ties="average"`` a pair of equal scores counts for neither C nor D, which is its expectation
    (for "somers" the whole metric is then the exact expectation); the other conventions break the tie, so no
    pair has equal scores. Blank queries are those with one label only; where all scores are equal the value
    is 0 (scipy: NaN).

    Parameters
    ----------
    y : (n_samples,) array-like
        Graded relevance of each row, finite and >= 0.
    scores : (n_samples,) array-like
        Score of each row; a higher one ranks first. Not NaN.
    qid : (n_samples,) array-like, optional
        Query of each row: any hashable ids in any order. None is one query.
    variant : {"b", "somers"}
        What the surplus of well-ordered pairs is divided by.
    ties : {"average", "optimistic", "pessimistic", "input"}
        Order of equal scores: the exact mean over all orders, the best, the worst, or that of the rows.
    blank : {"skip", "zero", "one"}
        What a query without a relevant document is worth: NaN and left out of the mean, 0, or 1.
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
    Kendall, "The treatment of ties in ranking problems", Biometrika 1945. Knight, "A computer method for
    calculating Kendall's tau with ungrouped data", JASA 1966.

    Examples
    --------
    >>> kendall_tau([0, 1, 2], [1.0, 3.0, 2.0], variant="somers")       # (2 - 1) / 3
    0.3333333333333333
    """
    metric = KendallTau(variant=variant, ties=ties, blank=blank)
    return _evaluate(metric, y, scores, qid, sample_weight, per_query)


def _evaluate(
    metric: Metric,
    y: ArrayLike,
    scores: ArrayLike,
    qid: Ids,
    sample_weight: ArrayLike | None,
    per_query: bool,
    document_weight: ArrayLike | None = None,
) -> float | FloatArray:
    if per_query:
        return metric.per_query(y, scores, qid, document_weight=document_weight)
    return metric(y, scores, qid, sample_weight=sample_weight, document_weight=document_weight)
