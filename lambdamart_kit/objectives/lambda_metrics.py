"""The lambda objectives of other metrics than NDCG: MAP, MRR, precision and ERR.

Each pair weighs what swapping the two documents changes in the metric. Truncation, normalisation, ties and
partners are the options of :class:`lambdamart_kit.objectives.pairwise.PairObjective`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from lambdamart_kit.core.gains import stop_probabilities
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.ranking.swaps import AVERAGE_PRECISION, EXPECTED_RECIPROCAL_RANK, RECIPROCAL_RANK
from lambdamart_kit.core.typing import FloatArray
from lambdamart_kit.objectives.base import check_ranks
from lambdamart_kit.objectives.pairwise import Normalize, PairObjective


@dataclass(frozen=True, kw_only=True)
class BinaryPairObjective(PairObjective):
    """Options of the objectives on relevant against non-relevant documents.

    Parameters
    ----------
    relevant_from : float
        Labels from this one on are relevant.
    truncation_level, sigma, normalize, ties, n_partners, hessian_factor, random_state
        See :class:`PairObjective`.
    """

    normalize: Normalize = True
    relevant_from: float = 1.0

    def _relevance(self, labels: FloatArray) -> FloatArray:
        return (labels >= self.relevant_from).astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class LambdaMAP(BinaryPairObjective):
    r"""LambdaRank's gradient for mean average precision; expectations over ties are exact.

    For a relevant document at rank j and another at rank i < j, with n(r) relevant documents above rank r,

    .. math:: |\Delta_{ij}| = \frac{1}{n}\left(\frac{n(i) + 1}{i + 1} - \frac{n(j + 1)}{j + 1}
              + \sum_{i < r < j} \frac{y_r}{r + 1}\right)

    Parameters
    ----------
    truncation_level : int or None
        Only pairs whose better ranked document is among the first so many count. None: all pairs.
    sigma : float
        Slope of the sigmoid, > 0.
    normalize : bool, "scores" or "queries"
        Divide pair weights by score differences, scale each query's gradient, both (True) or neither.
    ties : {"expected", "input", "random"}
        How equal scores rank: expected weight over all orders, order of the rows, or shuffled at every call.
    n_partners : int or None
        None pairs a document with all documents ranked below it, a number with a random run of that many.
    hessian_factor : float
        Multiplies the hessian, > 0.
    random_state : int
        Seed of random ties and partners.
    relevant_from : float
        Labels from this one on are relevant.

    References
    ----------
    Donmez, Svore and Burges, "On the local optimality of LambdaRank", SIGIR 2009, section 4.

    Examples
    --------
    >>> import numpy as np
    >>> from lambdamart_kit.core.queries import Queries
    >>> bound = LambdaMAP(normalize=False).bind([0, 1], Queries.from_qid([5, 5], 2))
    >>> bound.gradient_hessian(np.zeros(2, dtype=np.float32))[0].round(4)  # AP 1/2 or 1: delta 1/2
    array([ 0.25, -0.25], dtype=float32)
    """

    metric: ClassVar[int | None] = AVERAGE_PRECISION

    def _gain(self, relevance: FloatArray, queries: Queries) -> FloatArray:
        relevant = np.bincount(queries.query_of_ordered_row, weights=relevance, minlength=queries.n_queries)
        share: FloatArray = relevance / np.repeat(np.maximum(relevant, 1.0), queries.sizes)
        return share


@dataclass(frozen=True, kw_only=True)
class LambdaMRR(BinaryPairObjective):
    r"""LambdaRank's gradient for mean reciprocal rank; expectations over ties are exact.

    Only swaps that move the first relevant document count, about one row of pairs a query: with the first
    relevant rank f and the second f2, :math:`1/(i+1) - 1/(f+1)` for a relevant document moving up to i < f
    and :math:`1/(f+1) - 1/(\min(j, f_2)+1)` for the first one moving down to j.

    Parameters
    ----------
    truncation_level : int or None
        Only pairs whose better ranked document is among the first so many count. None: all pairs.
    sigma : float
        Slope of the sigmoid, > 0.
    normalize : bool, "scores" or "queries"
        Divide pair weights by score differences, scale each query's gradient, both (True) or neither.
    ties : {"expected", "input", "random"}
        How equal scores rank: expected weight over all orders, order of the rows, or shuffled at every call.
    n_partners : int or None
        None pairs a document with all documents ranked below it, a number with a random run of that many.
    hessian_factor : float
        Multiplies the hessian, > 0.
    random_state : int
        Seed of random ties and partners.
    relevant_from : float
        Labels from this one on are relevant.

    References
    ----------
    Donmez, Svore and Burges, "On the local optimality of LambdaRank", SIGIR 2009, section 4.

    Examples
    --------
    >>> import numpy as np
    >>> from lambdamart_kit.core.queries import Queries
    >>> bound = LambdaMRR(normalize=False).bind([0, 0, 1], Queries.from_qid([5, 5, 5], 3))
    >>> bound.gradient_hessian(np.array([0, 0, -1e4], dtype=np.float32))[0].round(4)
    array([ 0.4167,  0.4167, -0.8333], dtype=float32)
    """

    metric: ClassVar[int | None] = RECIPROCAL_RANK

    def _gain(self, relevance: FloatArray, queries: Queries) -> FloatArray:
        return relevance


@dataclass(frozen=True, kw_only=True)
class LambdaPrecision(BinaryPairObjective):
    r"""LambdaRank's gradient for precision at k: swaps across the cut-off, each worth 1/k.

    Parameters
    ----------
    truncation_level : int or None
        Only pairs whose better ranked document is among the first so many count. None: all pairs.
    sigma : float
        Slope of the sigmoid, > 0.
    normalize : bool, "scores" or "queries"
        Divide pair weights by score differences, scale each query's gradient, both (True) or neither.
    ties : {"expected", "input", "random"}
        How equal scores rank: expected weight over all orders, order of the rows, or shuffled at every call.
    n_partners : int or None
        None pairs a document with all documents ranked below it, a number with a random run of that many.
    hessian_factor : float
        Multiplies the hessian, > 0.
    random_state : int
        Seed of random ties and partners.
    relevant_from : float
        Labels from this one on are relevant.
    k : int
        Cut-off.

    References
    ----------
    Burges, "From RankNet to LambdaRank to LambdaMART: an overview", MSR-TR-2010-82, section 4: equation 6
    with any metric.

    Examples
    --------
    >>> import numpy as np
    >>> from lambdamart_kit.core.queries import Queries
    >>> bound = LambdaPrecision(k=1, normalize=False).bind([0, 1], Queries.from_qid([5, 5], 2))
    >>> bound.gradient_hessian(np.zeros(2, dtype=np.float32))[0].round(4)
    array([ 0.5, -0.5], dtype=float32)
    """

    k: int = 10

    def _gain(self, relevance: FloatArray, queries: Queries) -> FloatArray:
        return relevance

    def _discount(self, n_ranks: int) -> FloatArray:
        k = check_ranks(self.k, "k")
        return np.where(np.arange(n_ranks) < k, 1.0 / k, 0.0)

    def _truncation(self) -> int:
        return min(super()._truncation(), check_ranks(self.k, "k"))


@dataclass(frozen=True, kw_only=True)
class LambdaERR(PairObjective):
    r"""LambdaRank's gradient for expected reciprocal rank.

    With stop probability :math:`R = (2^y - 1) / 2^{max}`, :math:`P_r = \prod_{k<r}(1 - R_k)` and
    :math:`E_{ij} = \sum_{i<r<j} R_r P_r / (r + 1)`,

    .. math:: |\Delta_{ij}| = |R_i - R_j| \left(\frac{P_i}{i + 1}
              - \frac{E_{ij} + P_j / (j + 1)}{1 - R_i}\right)

    Weights are exact where no scores tie. With ``ties="expected"`` every document of a block of equal scores
    is given the block's mean stop probability. That does not depend on row order, but it is not the
    expectation over all orders of the block. Measured on queries of 2 to 100 documents with labels 0 to 4, a
    gradient is off by 2 to 8 % of the query's largest as a rule, and by at most 19 %. Truncation makes that
    no worse; at `truncation_level` 1 it is at most 10 %.

    Parameters
    ----------
    truncation_level : int or None
        Only pairs whose better ranked document is among the first so many count. None: all pairs.
    sigma : float
        Slope of the sigmoid, > 0.
    normalize : bool, "scores" or "queries"
        Divide pair weights by score differences, scale each query's gradient, both (True) or neither.
    ties : {"expected", "input", "random"}
        How equal scores rank: expected weight over all orders, order of the rows, or shuffled at every call.
    n_partners : int or None
        None pairs a document with all documents ranked below it, a number with a random run of that many.
    hessian_factor : float
        Multiplies the hessian, > 0.
    random_state : int
        Seed of random ties and partners.
    max_relevance : float
        :math:`max`, top of the label scale, as in :func:`lambdamart_kit.metrics.err`; a larger label is an
        error. 4 is that of TREC's gdeval, MSLR and Yahoo.

    References
    ----------
    Chapelle, Metzler, Zhang and Grinspan, "Expected reciprocal rank for graded relevance", CIKM 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from lambdamart_kit.core.queries import Queries
    >>> bound = LambdaERR(normalize=False, max_relevance=1).bind([0, 1], Queries.from_qid([5, 5], 2))
    >>> bound.gradient_hessian(np.array([0, -1e4], dtype=np.float32))[0].round(4)  # 1/2, from rank 1 to 0
    array([ 0.25, -0.25], dtype=float32)
    """

    metric: ClassVar[int | None] = EXPECTED_RECIPROCAL_RANK

    normalize: Normalize = True
    max_relevance: float = 4.0

    def _gain(self, relevance: FloatArray, queries: Queries) -> FloatArray:
        return stop_probabilities(relevance, self.max_relevance)
