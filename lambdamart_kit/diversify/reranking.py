"""Re-rank each query's list so that it is not ten times the same."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from scipy.linalg import lapack
from scipy.sparse import issparse

from lambdamart_kit.compile import inner, kernel
from lambdamart_kit.core import greedy
from lambdamart_kit.core.gains import check_choice, check_count, check_number
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.rowhash import row_hashes
from lambdamart_kit.core.sorting import descending_order
from lambdamart_kit.core.typing import Array, ArrayLike, Float32Array, FloatArray, Ids, IndexArray
from lambdamart_kit.metrics.base import check_scores
from lambdamart_kit.runtime.threads import balanced_bounds, resolve_n_jobs, run_tasks

Utility: TypeAlias = Literal["facility", "coverage", "logdet", "mmr", "redundancy", "max-sum"]
Similarity: TypeAlias = ArrayLike | Callable[[IndexArray], ArrayLike]

_GRAM_ROWS = 3000  # longest list whose n x n similarity is made from its features: 72 MB
_BLOCK_ROWS = 512
_LARGEST_SCORE = np.finfo(np.float64).max / 4
_SINGLE_PRECISION_SLACK = 1e-4  # far above the rounding of float32 sums, far below what matters for laziness


def rerank(
    scores: ArrayLike,
    k: int = 10,
    *,
    qid: Ids = None,
    features: ArrayLike | None = None,
    topics: ArrayLike | None = None,
    similarity: Similarity | None = None,
    utility: Utility = "logdet",
    trade_off: float = 0.5,
    normalize: bool = True,
    allow_stop: bool = False,
    n_jobs: int | None = None,
) -> IndexArray:
    r"""Choose and order up to `k` rows of each query, greedily, for relevance and diversity.

    .. math:: F(A) = (1 - \lambda) \sum_{i \in A} r_i + \lambda \, U(A), \qquad |A| \le k

    where :math:`\lambda` is `trade_off`, r the scores (mapped to [0, 1] within the query) and U the
    `utility`, with sim the cosine of `features` (or `similarity`), ``x+ = max(x, 0)`` and p the `topics`:

    ============ ================================================== ========== ======== ====================
    `utility`    U(A), before scaling                               submodular monotone greedy reaches
    ============ ================================================== ========== ======== ====================
    "facility"   sum over rows v of w_v max over i of sim(v, i)+^2  yes        yes      1 - (1 - 1/k)^k
    "coverage"   sum over topics t of 1 - prod over A of (1 - p_it) yes        yes      1 - (1 - 1/k)^k
    "logdet"     log det(I + S_A)                                   yes        yes      1 - (1 - 1/k)^k
    "redundancy" - sum over pairs in A of sim(i, j)+                yes        no       no bound; allow_stop
    "mmr"        next: - max over chosen j of sim(j, i)+            its gains  no       no bound; allow_stop
    "max-sum"    2/(k-1) times sum over pairs of d(i, j)            super-     yes      1/2 of the best pairs
    ============ ================================================== ========== ======== ====================

    "Reaches" is the share of the best F that greedy is sure to get (63 % or more; usually it gets nearly
    all), since relevance >= 0 keeps F monotone. For "max-sum", d is half the distance of the unit vectors
    (``sqrt(s_ii + s_jj - 2 s_ij) / 2``), a metric; the next row is chosen by half its relevance plus its
    distances, which is what the 1/2 needs (Borodin et al. 2012). "mmr" is the rule of Carbonell and
    Goldstein, not a set function. All are scaled so that a row is worth at most about 1, as the most relevant
    row is, and `trade_off` means the same for all queries and utilities: for "coverage" and "logdet" the best
    single row is worth 1. For "facility" the row that is least like the others has weight 1, and each row
    v has the weight ``w_v`` = its crowding over that of v, where the crowding is the sum of squared
    similarities to all rows of the query. Ten near-copies therefore share about one row's worth.

    "redundancy" is worse than submodular: each copy costs its similarity to every chosen row, so the fifth
    copy costs four times the second. It is for readers whom repetition tires (fatigue), not only bores. A
    row can then be worth less than nothing, and `allow_stop` ends the list there.

    Parameters
    ----------
    scores : (n_samples,) array-like
        Relevance, such as a ranker's predictions; finite.
    k : int
        Most rows to choose for a query; a query with fewer rows is reordered whole.
    qid : (n_samples,) array-like, optional
        Query of each row; None is one list.
    features : (n_samples, n_features) array-like
        Similarity is the cosine; a zero vector is similar to nothing, itself included. For every utility
        but "coverage". No n x n matrix is made, but for "facility" on lists of up to 3,000 rows.
    topics : (n_samples, n_topics) array-like
        Probability, or 0 and 1, that a row covers a topic; for "coverage".
    similarity : (n_samples, n_samples) array-like, or callable
        Instead of features: symmetric; only the blocks of rows of one query are read. A callable takes the
        rows of one query (m,) and returns their (m, m) block. "logdet" needs it positive semi-definite.
    utility : {"logdet", "facility", "coverage", "mmr", "redundancy", "max-sum"}
        What diversity means, see the table. The default is "logdet" because it gives up the least relevance
        for the same `trade_off`: at .5, on generated films and on real posts, it kept 88 to 96 % of NDCG@10
        where "facility" kept half (``benchmarks/RESULTS-reranking.md``).
    trade_off : float
        0 is relevance alone, 1 diversity alone.
    normalize : bool
        Map each query's scores to [0, 1]; equal scores all become 0. False takes scores as they are.
    allow_stop : bool
        End a list when no row would add to F, even before `k` rows.
    n_jobs : int, optional
        Threads; None for all. The result does not depend on it.

    Returns
    -------
    (n_chosen,) intp
        Rows: query after query in ascending order of id, each query's list in order. ``qid[rows]`` tells
        them apart. Equal rows (in score and features) are interchangeable, so the lists do not depend on the
        order of the rows; with `similarity`, equal scores are taken in row order.

    Raises
    ------
    ValueError
        If scores are not finite, shapes differ, `trade_off` is not in [0, 1], not exactly what the
        utility needs is given, topics leave [0, 1], or a similarity is not symmetric or (for "logdet") not
        positive semi-definite.

    References
    ----------
    Nemhauser, Wolsey, Fisher (1978), Math. Programming 14. Carbonell and Goldstein (1998), "The use of
    MMR", SIGIR. Lin and Bilmes (2011), "A class of submodular functions for document summarization", ACL.
    Chen, Zhang, Zhou (2018), "Fast greedy MAP inference for determinantal point process", NeurIPS.
    Borodin, Lee, Ye (2012), "Max-sum diversification, monotone submodular functions and dynamic updates",
    PODS, theorem 1.

    Examples
    --------
    Rows 0 and 1 say the same; row 2 is a little less relevant and different:

    >>> scores, features = [1.0, 0.9, 0.8, 0.0], [[1, 0], [1, 0], [0, 1], [1, 1]]
    >>> rerank(scores, k=2, features=features, utility="mmr", trade_off=0.5).tolist()
    [0, 2]
    >>> rerank(scores, k=2, features=features, utility="mmr", trade_off=0.0).tolist()
    [0, 1]
    """
    queries, relevance = _check_arguments(scores, qid, k, utility, trade_off, normalize)
    vectors = _vectors(features, topics, similarity, utility, queries.n_samples)
    order = _canonical_order(relevance, vectors, queries)
    modular = (1.0 - trade_off) * relevance[order]
    most = min(int(k), max(1, len(order)))
    lists = _Lists(greedy.KINDS[utility], queries.ptr, order, modular, trade_off, most, allow_stop)
    if similarity is not None:
        return lists.from_similarity(similarity)
    return lists.from_vectors(vectors[order], resolve_n_jobs(n_jobs))


class _Lists:
    """The lists to be made, in canonical order of their rows."""

    def __init__(
        self,
        kind: int,
        ptr: IndexArray,
        order: IndexArray,
        modular: FloatArray,
        trade_off: float,
        k: int,
        allow_stop: bool,
    ) -> None:
        self.kind = kind
        self.ptr = ptr
        self.order = order
        self.modular = modular
        self.trade_off = float(trade_off)
        self.limit = greedy.limits(k, allow_stop=allow_stop)
        self.sizes = np.minimum(np.diff(ptr), k)
        self.ends = np.concatenate(([0], np.cumsum(self.sizes))).astype(np.intp)

    def from_vectors(self, vectors: Float32Array, n_threads: int) -> IndexArray:
        """Rows of all lists; similarity is the inner product of `vectors`."""
        chosen = np.empty(self.ends[-1], dtype=np.intp)
        counts = np.zeros(len(self.sizes), dtype=np.intp)
        n_rows = np.diff(self.ptr)
        facility = self.kind == greedy.FACILITY
        singles = np.empty((2, 0))
        if facility and n_rows.max(initial=0) > _GRAM_ROWS:
            singles = np.stack(_facility_singles(vectors, self.ptr))
        bounds = balanced_bounds(n_rows**2 if facility else n_rows, n_threads)
        run_tasks(
            _choose_for_queries,
            bounds,
            n_threads,
            self.kind,
            self.ptr,
            self.modular,
            self.trade_off,
            vectors,
            singles,
            self.limit,
            self.ends,
            chosen,
            counts,
        )
        return self.order[_filled(chosen, self.ends, counts)]

    def from_similarity(self, similarity: Similarity) -> IndexArray:
        """Rows of all lists; one block of the similarity at a time."""
        block_of = similarity if callable(similarity) else _blocks_of(similarity, len(self.order))
        rows = []
        for start, stop in itertools.pairwise(self.ptr):
            of_query = self.order[start:stop]
            block = _check_block(block_of(of_query), stop - start, psd=self.kind == greedy.LOGDET)
            modular = self.modular[start:stop]
            if self.kind == greedy.LOGDET:
                task = greedy.problem(self.kind, _square_root(block), modular=modular)
            else:
                task = greedy.problem(self.kind, modular=modular, similarity=block)
            chosen = np.empty(min(self.limit.k, stop - start), dtype=np.intp)
            n_chosen = _choose(task, self.trade_off, np.empty((2, 0)), self.limit, chosen)
            rows.append(of_query[chosen[:n_chosen]])
        return np.concatenate(rows) if rows else np.empty(0, dtype=np.intp)


@kernel
def _choose_for_queries(
    start: int,
    stop: int,
    kind: int,
    ptr: IndexArray,
    modular: FloatArray,
    trade_off: float,
    vectors: Float32Array,
    singles: FloatArray,
    limit: greedy.Limits,
    ends: IndexArray,
    chosen: IndexArray,
    counts: IndexArray,
) -> None:
    """Lists of the queries `start` to `stop` - 1, as ordered rows, into `chosen`."""
    for q in range(start, stop):
        a = ptr[q]
        b = ptr[q + 1]
        rows = vectors[a:b]
        matrix = np.empty((0, 0))
        if kind == greedy.FACILITY and b - a <= _GRAM_ROWS:
            matrix = _gram(rows)
        task = greedy.Problem(
            kind,
            modular[a:b],
            1.0,
            rows,
            matrix,
            np.empty(0, dtype=np.intp),
            np.empty(0, dtype=np.intp),
            np.empty(0),
        )
        into = chosen[ends[q] : ends[q + 1]]
        known = singles.shape[1] > 0 and b - a > _GRAM_ROWS
        alone = singles[:, a:b] if known else np.empty((2, 0))
        counts[q] = _choose(task, trade_off, alone, limit, into)
        into += a


@kernel
def _choose(
    task: greedy.Problem, trade_off: float, singles: FloatArray, limit: greedy.Limits, chosen: IndexArray
) -> int:
    """One list into `chosen`: scale the utility, then maximise; how many were chosen.

    `singles` are the weight of each row and an upper bound of its utility by itself, for "facility" on lists
    too long for a matrix; computed when empty.
    """
    zero = np.zeros(len(task.modular))
    weight = task.weight
    if singles.shape[1]:
        weight = singles[0]
        alone = singles[1]
    else:
        alone = greedy.first_gains(_with(task, zero, 1.0, weight))
        if task.kind == greedy.FACILITY:
            weight = _weights_by_crowding(alone)
            alone = greedy.first_gains(_with(task, zero, 1.0, weight))
    scale = trade_off
    modular = task.modular
    if task.kind == greedy.MAX_SUM:
        scale *= 2.0 / max(len(chosen) - 1, 1)
        modular = task.modular / 2
    elif task.kind == greedy.COVERAGE or task.kind == greedy.LOGDET:
        scale *= 1.0 / alone.max() if alone.max() > 0 else 0.0
    scaled = _with(task, modular, scale, weight)
    bounds = modular + scale * alone
    n_chosen, _ = greedy.maximise_into(scaled, limit, bounds, chosen, np.empty(len(chosen)))
    return int(n_chosen)


@inner
def _with(task: greedy.Problem, modular: FloatArray, scale: float, weight: FloatArray) -> greedy.Problem:
    return greedy.Problem(
        task.kind, modular, scale, task.vectors, task.similarity, task.first, task.second, weight
    )


@kernel
def _weights_by_crowding(crowding: FloatArray) -> FloatArray:
    """Weight of each row: the smallest crowding over its own; 0 where a row is similar to nothing."""
    least = np.inf
    for value in crowding:
        if value > 0:
            least = min(least, value)
    weights = np.zeros(len(crowding))
    for v in range(len(crowding)):
        if crowding[v] > 0:
            weights[v] = least / crowding[v]
    return weights


@kernel
def _gram(rows: Float32Array) -> FloatArray:
    """Inner products of the rows, (n, n) float64; written so that the inner loop vectorises."""
    n, d = rows.shape
    columns = np.empty((d, n))
    for i in range(n):
        for c in range(d):
            columns[c, i] = rows[i, c]
    matrix = np.zeros((n, n))
    for i in range(n):
        target = matrix[i]
        for c in range(d):
            value = columns[c, i]
            column = columns[c]
            for j in range(n):
                target[j] += value * column[j]
    return matrix


def _facility_singles(vectors: Float32Array, ptr: IndexArray) -> tuple[FloatArray, FloatArray]:
    """Weights of the rows of lists too long for an n x n matrix, and bounds of what each row is worth alone.

    Both are made from blocks of the matrix.
    """
    weights = np.zeros(len(vectors))
    bounds = np.zeros(len(vectors))
    for start, stop in itertools.pairwise(ptr):
        if stop - start <= _GRAM_ROWS:
            continue
        rows = vectors[start:stop]
        weights[start:stop] = _weights_by_crowding(_sums_of_squares(rows, np.ones(len(rows))))
        bounds[start:stop] = _sums_of_squares(rows, weights[start:stop])
    return weights, bounds * (1.0 + _SINGLE_PRECISION_SLACK)


def _sums_of_squares(rows: Float32Array, weights: FloatArray) -> FloatArray:
    """``sum over v of w_v sim(v, i)+^2`` of each row i, from blocks of float32 similarities."""
    sums = np.zeros(len(rows))
    light = weights.astype(np.float32)
    # The matrix is symmetric, so only blocks on and above its diagonal are made, and each serves twice.
    for a in range(0, len(rows), _BLOCK_ROWS):
        b = min(a + _BLOCK_ROWS, len(rows))
        block = rows[a:b] @ rows[a:].T
        np.maximum(block, 0.0, out=block)
        np.square(block, out=block)
        sums[a:b] += block @ light[a:]
        sums[b:] += light[a:b] @ block[:, b - a :]
    return sums


def _filled(chosen: IndexArray, ends: IndexArray, counts: IndexArray) -> IndexArray:
    """The part of each query's room that was filled, end to end."""
    place = np.arange(len(chosen)) - np.repeat(ends[:-1], np.diff(ends))
    kept: IndexArray = chosen[place < np.repeat(counts, np.diff(ends))]
    return kept


def _check_arguments(
    scores: ArrayLike, qid: Ids, k: int, utility: str, trade_off: float, normalize: bool
) -> tuple[Queries, FloatArray]:
    """The queries, and the relevance of each row in row order."""
    check_choice(utility, get_args(Utility), name="utility")
    check_count(k, name="k")
    check_number(trade_off, name="trade_off", least=0.0, most=1.0)
    queries = Queries.from_qid(qid, np.size(scores))
    checked = check_scores(scores, queries) if np.size(scores) else np.empty(0)
    if not np.isfinite(checked).all():
        row = np.flatnonzero(~np.isfinite(checked))[0]
        raise ValueError(f"'scores' must be finite to be traded off; row {row} has {checked[row]}")
    if not normalize or not len(checked):
        return queries, checked
    ordered = queries.sort(checked).astype(np.float64)
    if np.abs(ordered).max() > _LARGEST_SCORE:  # differences of such scores are not finite
        ordered = ordered / 4.0
    starts = queries.ptr[:-1]
    low = np.minimum.reduceat(ordered, starts)
    high = np.maximum.reduceat(ordered, starts)
    width = np.where(high > low, high - low, 1.0)
    scaled = (ordered - np.repeat(low, queries.sizes)) / np.repeat(width, queries.sizes)
    return queries, queries.unsort(scaled)


def _vectors(
    features: ArrayLike | None, topics: ArrayLike | None, similarity: Any, utility: str, n_samples: int
) -> Float32Array:
    """What the utility works on, in row order: topics, or features of unit length."""
    given = {"features": features, "topics": topics, "similarity": similarity}
    names = [name for name, value in given.items() if value is not None]
    allowed = ["topics"] if utility == "coverage" else ["features", "similarity"]
    if len(names) != 1 or names[0] not in allowed:
        needed = " or ".join(map(repr, allowed))
        raise ValueError(
            f"utility={utility!r} needs {needed} and nothing else; "
            f"got {', '.join(map(repr, names)) or 'none'}"
        )
    if similarity is not None:
        return greedy.NO_VECTORS
    if issparse(given[names[0]]):
        raise ValueError(
            f"{names[0]!r} must be dense; got a sparse matrix; reduce it (TruncatedSVD) or .toarray()"
        )
    rows = _as_single(given[names[0]], names[0])
    if n_samples == 0 and rows.size == 0:
        return rows.reshape(0, 0)
    if rows.ndim != 2 or len(rows) != n_samples:
        raise ValueError(
            f"{names[0]!r} must hold one row per score: expected ({n_samples}, n), got {rows.shape}"
        )
    if not np.isfinite(rows).all():
        row = np.flatnonzero(~np.isfinite(rows).all(axis=1))[0]
        raise ValueError(f"{names[0]!r} must be finite; row {row} is not; impute or drop it")
    if topics is not None:
        _check_topics(rows)
        return rows
    norms = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
    rows /= np.where(norms > 0, norms, 1.0).astype(np.float32)[:, None]
    return rows


def _as_single(values: Any, name: str) -> Float32Array:
    """A float32 copy; rows of features too large or too small for float32 are scaled, as a cosine allows."""
    try:
        wide = np.asarray(values)
        single = bool(wide.dtype == np.float32)
        wide = wide if single else np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name!r} must hold numbers: {error}") from None
    if name == "features" and wide.ndim == 2 and wide.size and not single and np.isfinite(wide).all():
        largest = np.abs(wide).max(axis=1)
        far = (largest > 1e30) | ((largest < 1e-30) & (largest > 0))
        if far.any():
            wide = np.where(far[:, None], wide / np.where(far, largest, 1.0)[:, None], wide)
    return np.array(wide, dtype=np.float32, order="C")


def _check_topics(topics: Float32Array) -> None:
    outside = np.flatnonzero(((topics < 0) | (topics > 1)).any(axis=1))
    if len(outside):
        raise ValueError(
            f"'topics' must be probabilities in [0, 1]; row {outside[0]} has {topics[outside[0]].tolist()}; "
            "divide each row by its largest value, or threshold it"
        )


def _canonical_order(relevance: FloatArray, vectors: Float32Array, queries: Queries) -> IndexArray:
    """Rows by query, then relevance descending, then content: greedy breaks its ties by this order."""
    ordered = queries.sort(relevance)
    order = descending_order(ordered, queries.ptr)
    ranked = ordered[order]
    tied = ranked[1:] == ranked[:-1]
    if len(vectors) and tied.any():
        hashes = queries.sort(row_hashes(vectors))
        order = np.lexsort((hashes, -ordered, queries.query_of_ordered_row)).astype(np.intp, copy=False)
    rows: IndexArray = queries.order[order]
    return rows


def _blocks_of(similarity: ArrayLike, n_samples: int) -> Callable[[IndexArray], Array]:
    matrix = np.asarray(similarity)
    if matrix.shape != (n_samples, n_samples):
        raise ValueError(
            f"'similarity' must have one row and column per score, ({n_samples}, {n_samples}); "
            f"got {matrix.shape}"
        )
    return lambda rows: matrix[np.ix_(rows, rows)]


def _check_block(block: ArrayLike, n_rows: int, *, psd: bool) -> FloatArray:
    matrix = np.ascontiguousarray(block, dtype=np.float64)
    if matrix.shape != (n_rows, n_rows):
        raise ValueError(
            f"'similarity' must return ({n_rows}, {n_rows}) for {n_rows} rows; got {matrix.shape}"
        )
    if not np.isfinite(matrix).all():
        raise ValueError("'similarity' must be finite; got NaN or infinity")
    asymmetry = np.abs(matrix - matrix.T)
    if asymmetry.max() > 1e-6 * max(float(np.abs(matrix).max()), 1e-300):
        i, j = np.unravel_index(int(asymmetry.argmax()), matrix.shape)
        raise ValueError(
            f"'similarity' must be symmetric; got {matrix[i, j]:g} one way and {matrix[j, i]:g} the other; "
            "use (S + S.T) / 2 if that is what you mean"
        )
    return matrix


def _square_root(matrix: FloatArray) -> FloatArray:
    """V with ``V V' = matrix``, by a Cholesky factorisation with pivots: (n, rank)."""
    lower, pivots, rank, _ = lapack.dpstrf(matrix, lower=True)
    root = np.zeros((len(matrix), max(int(rank), 1)))
    root[pivots - 1, :rank] = np.tril(lower)[:, :rank]
    scale = max(float(np.abs(matrix).max()), 1e-300)
    if np.abs(root @ root.T - matrix).max() > 1e-6 * scale:
        raise ValueError(
            "'similarity' must be positive semi-definite for utility='logdet'; it has a negative eigenvalue; "
            "use a kernel (such as inner products of features) or another utility"
        )
    return root
