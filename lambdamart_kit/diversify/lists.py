"""How far apart the items of a list are, and how evenly items are shown over many lists."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from lambdamart_kit.core.gains import Blank, check_choice, check_count, check_number, discounts
from lambdamart_kit.core.queries import Queries, factorize_ids, query_weights
from lambdamart_kit.core.rows import as_ids
from lambdamart_kit.core.sorting import worth_of_rows
from lambdamart_kit.core.typing import Array, ArrayLike, FloatArray, Ids, IndexArray
from lambdamart_kit.metrics.base import BLANK_VALUE, check_scores, weighted_mean

_TIES = ("average", "input")


def intra_list_distance(
    features: ArrayLike,
    scores: ArrayLike,
    qid: Ids = None,
    *,
    k: int | None = None,
    distance: Literal["cosine", "euclidean"] = "cosine",
    ties: Literal["average", "input"] = "average",
    blank: Blank = "skip",
    sample_weight: ArrayLike | None = None,
    per_query: bool = False,
) -> float | FloatArray:
    """Mean distance between two different documents among the first k of a list.

    Under ``ties="average"`` it is the exact expectation over random orders of equal scores: of the n
    documents tied at the cut-off, r are in the list; each is with probability r/n, two of them together with
    ``r (r-1) / (n (n-1))``. A list of one document is blank.

    Parameters
    ----------
    features : (n_samples, n_features) array-like
        Finite. Under "cosine" a zero vector is at distance 1 from everything.
    scores : (n_samples,) array-like
        Score of each row; a higher one ranks first. Not NaN.
    qid : (n_samples,) array-like, optional
        Query of each row: any hashable ids in any order. None is one list.
    k : int, optional
        Cut-off: only the first `k` documents of a list count. None for all.
    distance : {"cosine", "euclidean"}
        ``1 - cos(i, j)`` or ``|x_i - x_j|``.
    ties : {"average", "input"}
        Order of equal scores: the exact mean over all orders, or that of the rows.
    blank : {"skip", "zero", "one"}
        What a list of one document is worth: NaN and left out of the mean, 0, or 1.
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
        If `features`, `scores` or a setting is not usable.

    References
    ----------
    Ziegler et al. (2005), "Improving recommendation lists through topic diversification", WWW, section 3.3.

    Examples
    --------
    >>> intra_list_distance([[1, 0], [1, 0], [0, 1]], [3.0, 2.0, 1.0], k=2)
    0.0
    >>> round(intra_list_distance([[1, 0], [1, 0], [0, 1]], [3.0, 2.0, 1.0]), 4)
    0.6667
    """
    check_choice(distance, ("cosine", "euclidean"), name="distance")
    check_choice(blank, tuple(BLANK_VALUE), name="blank")
    rows = _check_features(features)
    queries, ordered = _ordered_scores(scores, qid, len(rows))
    chance = _shown(ordered, queries, k, ties, np.ones)
    if distance == "cosine":
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        rows = rows / np.where(norms > 0, norms, 1.0)
    rows = queries.sort(rows)
    values = np.empty(queries.n_queries)
    for q, (a, b) in enumerate(zip(queries.ptr[:-1], queries.ptr[1:])):
        values[q] = _mean_distance(rows[a:b], chance[a:b], distance)
    values[np.isnan(values)] = BLANK_VALUE[blank]
    if per_query:
        return values
    return weighted_mean(values, query_weights(sample_weight, queries), "intra_list_distance")


def catalogue_coverage(
    items: ArrayLike,
    scores: ArrayLike,
    qid: Ids = None,
    *,
    k: int | None = None,
    n_items: int | None = None,
    ties: Literal["average", "input"] = "average",
) -> float:
    """Share of the catalogue that is among the first k of at least one list (expected, under ties).

    A property of all lists together, so there is no value per query.

    Parameters
    ----------
    items : (n_samples,) array-like
        Which item each row shows.
    scores : (n_samples,) array-like
        Score of each row; a higher one ranks first. Not NaN.
    qid : (n_samples,) array-like, optional
        Query of each row: any hashable ids in any order. None is one list.
    k : int, optional
        Cut-off: only the first `k` documents of a list count. None for all.
    n_items : int, optional
        Size of the catalogue; by default the distinct `items`.
    ties : {"average", "input"}
        Order of equal scores: the exact mean over all orders, or that of the rows.

    Returns
    -------
    float
        Between 0 and 1.

    References
    ----------
    Herlocker et al. (2004), "Evaluating collaborative filtering recommender systems", TOIS 22(1), 4.2.

    Examples
    --------
    >>> catalogue_coverage(["a", "b", "a", "c"], [2.0, 1.0, 2.0, 1.0], [0, 0, 1, 1], k=1, n_items=4)
    0.25
    """
    chance, code, n_catalogue = _item_exposure(items, scores, qid, k, n_items, ties, np.ones)
    never = np.ones(n_catalogue)
    np.multiply.at(never, code, 1.0 - chance)
    return float(1.0 - never.mean())


def gini_exposure(
    items: ArrayLike,
    scores: ArrayLike,
    qid: Ids = None,
    *,
    k: int | None = None,
    n_items: int | None = None,
    ties: Literal["average", "input"] = "average",
) -> float:
    r"""Gini coefficient of the exposure of items: 0 when all get the same, 1 - 1/n when one gets all.

    .. math::
        G = \frac{\sum_i (2 i - n - 1) e_{(i)}}{n \sum_i e_i}, \qquad
        e = \sum_{lists} 1 / \log_2(rank + 2)

    with exposures ascending and i = 1 .. n; items of the catalogue that are never shown have exposure 0.

    Parameters
    ----------
    items : (n_samples,) array-like
        Which item each row shows.
    scores : (n_samples,) array-like
        Score of each row; a higher one ranks first. Not NaN.
    qid : (n_samples,) array-like, optional
        Query of each row: any hashable ids in any order. None is one list.
    k : int, optional
        Cut-off: only the first `k` documents of a list count. None for all.
    n_items : int, optional
        Size of the catalogue; by default the number of distinct `items`.
    ties : {"average", "input"}
        Order of equal scores: the exact mean over all orders, or that of the rows.

    Returns
    -------
    float
        Between 0 and 1 - 1/n, n the size of the catalogue.

    References
    ----------
    Gini (1912); exposure: Singh and Joachims (2018), "Fairness of exposure in rankings", KDD.

    Examples
    --------
    >>> gini_exposure(["a", "b", "a", "b"], [2.0, 1.0, 1.0, 2.0], [0, 0, 1, 1], k=1)
    0.0
    >>> gini_exposure(["a", "b", "a", "b"], [2.0, 1.0, 2.0, 1.0], [0, 0, 1, 1], k=1)
    0.5
    """
    exposure, code, n_catalogue = _item_exposure(items, scores, qid, k, n_items, ties, discounts)
    totals = np.sort(np.bincount(code, exposure, n_catalogue))
    ranks = 2.0 * np.arange(1, n_catalogue + 1) - n_catalogue - 1.0
    return float((ranks * totals).sum() / (n_catalogue * totals.sum()))


def vendi_score(
    features: ArrayLike | None = None,
    qid: Ids = None,
    *,
    similarity: ArrayLike | None = None,
    order: float = 1.0,
    probabilities: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    per_query: bool = False,
) -> float | FloatArray:
    r"""The effective number of different items of a set: n copies give 1, n orthogonal items n.

    .. math:: \exp\Big(-\sum_i \lambda_i \log \lambda_i\Big), \qquad \lambda = \text{eigenvalues of } K / n

    with K the cosines of `features` (of embeddings of a model's outputs, it measures how alike they read)
    or a given `similarity`. With `probabilities` p it is the score of a distribution over the items, with
    :math:`\sqrt{p_i p_j} K_{ij}` in place of :math:`K / n`. `order` q is the order of the entropy:
    ``(sum lambda^q)^(1/(1-q))``, 1 being the limit above, infinity ``1 / max lambda``.

    Parameters
    ----------
    features : (n_samples, n_features) array-like
        Not zero. With fewer features than rows no n x n matrix is made.
    qid : (n_samples,) array-like, optional
        Set that each row belongs to; ``vendi_score(E[rows], qid[rows])`` scores the lists of `rerank`.
    similarity : (n_samples, n_samples) array-like
        Instead of features: symmetric, positive semi-definite, with a diagonal of ones.
    order : float
        > 0; low orders count rare items more.
    probabilities : (n_samples,) array-like, optional
        Probability of each row within its set, >= 0, with sum 1 in each set: a policy over responses, for
        example. By default all rows of a set are equally likely.
    sample_weight : (n_samples,) array-like, optional
        Weight of the row's query in the mean, the same for all its rows. 1 by default.
    per_query : bool
        Return one value a query instead of the mean.

    Returns
    -------
    float or (n_queries,) array
        Mean over sets, or with `per_query` the value of each in ascending order of set id; at least 1.

    Raises
    ------
    ValueError
        If both or neither of `features` and `similarity` are given, or they are not as above.

    References
    ----------
    Friedman and Dieng (2023), "The Vendi score", TMLR, definition 3.1. Pasarkar and Dieng (2024), "Cousins
    of the Vendi score", AISTATS.

    Examples
    --------
    >>> round(vendi_score([[1, 0], [1, 0], [1, 0]]), 6), round(vendi_score([[1, 0], [0, 1]]), 6)
    (1.0, 2.0)
    """
    if order != np.inf:
        check_number(order, name="order", least=0.0, open_ends="low")
    if (features is None) == (similarity is None):
        raise ValueError("exactly one of 'features' and 'similarity' must be given; got both or neither")
    rows = _unit_rows(features) if features is not None else _check_kernel(similarity)
    queries = Queries.from_qid(qid, len(rows))
    chance = _chances(probabilities, queries)
    values = np.empty(queries.n_queries)
    for q, (a, b) in enumerate(zip(queries.ptr[:-1], queries.ptr[1:])):
        of_query = queries.order[a:b]
        root = np.sqrt(chance[of_query])
        if similarity is not None:
            matrix = rows[np.ix_(of_query, of_query)] * np.outer(root, root)
        else:
            X = rows[of_query] * root[:, None]
            matrix = X @ X.T if len(X) <= X.shape[1] else X.T @ X
        eigenvalues = np.asarray(np.linalg.eigvalsh(matrix), dtype=np.float64)
        values[q] = _effective_number(eigenvalues, order)
    if per_query:
        return values
    return weighted_mean(values, query_weights(sample_weight, queries), "vendi_score")


def _chances(probabilities: ArrayLike | None, queries: Queries) -> FloatArray:
    """Probability of each row within its set, in row order."""
    sizes = np.asarray(queries.unsort(np.repeat(queries.sizes, queries.sizes)), dtype=np.float64)
    if probabilities is None:
        return 1.0 / sizes
    chance = np.asarray(probabilities, dtype=np.float64)
    if chance.shape != sizes.shape:
        raise ValueError(f"'probabilities' must be ({len(sizes)},), one a row; got shape {chance.shape}")
    wrong = np.flatnonzero(~(chance >= 0))
    if len(wrong):
        raise ValueError(f"'probabilities' must be >= 0; row {wrong[0]} has {chance[wrong[0]]}")
    sums = np.add.reduceat(queries.sort(chance), queries.ptr[:-1])
    if not np.allclose(sums, 1.0):
        raise ValueError(
            f"'probabilities' must sum to 1 in each set; got {sums[np.abs(sums - 1).argmax()]:g} for one"
        )
    return chance


def _effective_number(eigenvalues: FloatArray, order: float) -> float:
    if eigenvalues.min() < -1e-6:
        raise ValueError(
            f"'similarity' must be positive semi-definite; it has eigenvalue {eigenvalues.min():g} (of K / n)"
        )
    # What rounding leaves of eigenvalues that are 0 would count as so many further items in low orders.
    rounding = len(eigenvalues) * np.finfo(np.float64).eps * eigenvalues.max()
    positive = eigenvalues[eigenvalues > rounding]
    if order == 1:
        return float(np.exp(-(positive * np.log(positive)).sum()))
    if np.isinf(order):
        return float(1.0 / positive.max())
    return float((positive**order).sum() ** (1.0 / (1.0 - order)))


def _mean_distance(rows: FloatArray, chance: FloatArray, distance: str) -> float:
    """Mean over pairs, given each document's probability of being in the list; NaN for fewer than two."""
    candidates = np.flatnonzero(chance > 0)
    size = round(float(chance[candidates].sum()))
    if size < 2:
        return float("nan")
    single = chance[candidates]
    both = np.outer(single, single)
    at_cut = np.flatnonzero(single < 1)
    if len(at_cut):
        n_drawn = size - (len(single) - len(at_cut))
        both[np.ix_(at_cut, at_cut)] = n_drawn * (n_drawn - 1) / (len(at_cut) * (len(at_cut) - 1))
    np.fill_diagonal(both, 0.0)
    return float((both * _distances(rows[candidates], distance)).sum() / (size * (size - 1)))


def _distances(rows: FloatArray, distance: str) -> FloatArray:
    products = rows @ rows.T
    if distance == "cosine":
        return 1.0 - products
    squared = np.diagonal(products)
    return np.sqrt(np.maximum(squared[:, None] + squared - 2.0 * products, 0.0))


def _ordered_scores(scores: ArrayLike, qid: Ids, n_samples: int) -> tuple[Queries, FloatArray]:
    queries = Queries.from_qid(qid, n_samples)
    return queries, queries.sort(check_scores(scores, queries))


def _shown(scores: FloatArray, queries: Queries, k: int | None, ties: str, discount: Any) -> FloatArray:
    """Expected ``discount(rank)`` of each ordered row, 0 from rank k on."""
    check_choice(ties, _TIES, name="ties")
    longest = int(queries.sizes.max())
    worth = discount(longest).astype(np.float64)
    if k is not None:
        worth[check_count(k, name="k") :] = 0.0
    return worth_of_rows(scores, queries.ptr, worth, tied=ties == "average")


def _item_exposure(
    items: ArrayLike,
    scores: ArrayLike,
    qid: Ids,
    k: int | None,
    n_items: int | None,
    ties: str,
    discount: Any,
) -> tuple[FloatArray, IndexArray, int]:
    """Expected discount of each ordered row, the code of its item, and how many items there are."""
    ids = as_ids(items)
    if ids.ndim != 1 or not len(ids):
        raise ValueError(f"'items' must be (n_samples,), at least one; got shape {ids.shape}")
    queries, ordered = _ordered_scores(scores, qid, len(ids))
    unique, code = factorize_ids(ids, "items")
    n_catalogue = len(unique) if n_items is None else check_count(n_items, name="n_items")
    if n_catalogue < len(unique):
        raise ValueError(f"'n_items' must be at least the {len(unique)} distinct items; got {n_items}")
    return _shown(ordered, queries, k, ties, discount), queries.sort(code), n_catalogue


def _check_features(features: ArrayLike) -> FloatArray:
    rows = np.asarray(features, dtype=np.float64)
    if rows.ndim != 2 or not rows.size:
        raise ValueError(
            f"'features' must be (n_samples, n_features), at least one of each; got shape {rows.shape}"
        )
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise ValueError(f"'features' must be finite; row {bad[0]} is not; impute or drop it")
    return rows


def _unit_rows(features: ArrayLike) -> FloatArray:
    rows = _check_features(features)
    norms = np.linalg.norm(rows, axis=1)
    if (norms == 0).any():
        row = np.flatnonzero(norms == 0)[0]
        raise ValueError(
            f"'features' must not be zero, for a zero vector has no cosine; row {row} is; drop it"
        )
    return rows / norms[:, None]


def _check_kernel(similarity: Any) -> Array:
    matrix = np.asarray(similarity, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all():
        raise ValueError(f"'similarity' must be a finite square matrix; got shape {matrix.shape}")
    if not np.allclose(matrix, matrix.T) or not np.allclose(np.diagonal(matrix), 1.0):
        raise ValueError("'similarity' must be symmetric with a diagonal of ones; got another matrix")
    return matrix
