"""The lambda family beyond NDCG: MAP, MRR, ERR, precision, and the NDCG bounds of LambdaLoss.

Each is a pair weight: what swapping two documents changes in the metric, or a bound's weight. Truncation,
normalisation, ties and partners are the options of :class:`PairObjective`, implemented there once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lambdamart_kit.core.gains import Gain, check_relevance, discounts, gains
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.ranking.lambdas import DISTANCE, SWAP, WINNER, PairSettings
from lambdamart_kit.core.ranking.swaps import AVERAGE_PRECISION, EXPECTED_RECIPROCAL_RANK, RECIPROCAL_RANK
from lambdamart_kit.core.typing import ArrayLike, FloatArray
from lambdamart_kit.core.weights import query_weights
from lambdamart_kit.objectives.base import check_labels, check_level
from lambdamart_kit.objectives.pairwise import (
    BoundPairs,
    Normalize,
    PairObjective,
    ideal_dcg_of_rows,
    largest_size,
)


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

    def _bind_binary(
        self,
        relevant: FloatArray,
        gain: FloatArray,
        discount: FloatArray,
        settings: PairSettings,
        queries: Queries,
        sample_weight: ArrayLike | None,
        n_threads: int | None,
    ) -> BoundPairs:
        weights = query_weights(sample_weight, queries)
        return BoundPairs(self, settings, relevant, gain, discount, queries, weights, n_threads)

    def _relevant(self, y: ArrayLike, queries: Queries) -> FloatArray:
        relevant: FloatArray = (check_labels(y, queries) >= self.relevant_from).astype(np.float64)
        return relevant


@dataclass(frozen=True, kw_only=True)
class LambdaMAP(BinaryPairObjective):
    r"""LambdaRank's gradient for mean average precision; expectations over ties are exact.

    For a relevant document at rank j and another at rank i < j, with n(r) relevant documents above rank r,

    .. math:: |\Delta_{ij}| = \frac{1}{n}\left(\frac{n(i) + 1}{i + 1} - \frac{n(j + 1)}{j + 1}
              + \sum_{i < r < j} \frac{y_r}{r + 1}\right)

    Parameters
    ----------
    relevant_from : float
        Labels from this one on are relevant.
    truncation_level, sigma, normalize, ties, n_partners, hessian_factor, random_state
        See :class:`PairObjective`.

    References
    ----------
    Donmez, Svore and Burges, "On the local optimality of LambdaRank", SIGIR 2009, section 4.

    Examples
    --------
    >>> bound = LambdaMAP(normalize=False).bind([0, 1], Queries.from_qid([5, 5], 2))
    >>> bound.gradient_hessian(np.zeros(2, dtype=np.float32))[0].round(4)  # AP 1/2 or 1: delta 1/2
    array([ 0.25, -0.25], dtype=float32)
    """

    def bind(
        self,
        y: ArrayLike,
        queries: Queries,
        sample_weight: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
    ) -> BoundPairs:
        """Bind to labels and queries; `y` and `sample_weight` are row-aligned."""
        relevant = self._relevant(y, queries)
        count = np.bincount(queries.query_of_ordered_row, weights=relevant, minlength=queries.n_queries)
        gain = relevant / np.repeat(np.maximum(count, 1.0), queries.sizes)
        settings = self._settings(SWAP, metric=AVERAGE_PRECISION)
        return self._bind_binary(relevant, gain, np.empty(0), settings, queries, sample_weight, n_threads)


@dataclass(frozen=True, kw_only=True)
class LambdaMRR(BinaryPairObjective):
    r"""LambdaRank's gradient for mean reciprocal rank; expectations over ties are exact.

    Only swaps that move the first relevant document count, about one row of pairs a query: with the first
    relevant rank f and the second f2, :math:`1/(i+1) - 1/(f+1)` for a relevant document moving up to i < f
    and :math:`1/(f+1) - 1/(\min(j, f_2)+1)` for the first one moving down to j.

    Parameters
    ----------
    relevant_from : float
        Labels from this one on are relevant.
    truncation_level, sigma, normalize, ties, n_partners, hessian_factor, random_state
        See :class:`PairObjective`.

    References
    ----------
    Donmez, Svore and Burges, "On the local optimality of LambdaRank", SIGIR 2009, section 4.

    Examples
    --------
    >>> bound = LambdaMRR(normalize=False).bind([0, 0, 1], Queries.from_qid([5, 5, 5], 3))
    >>> bound.gradient_hessian(np.array([0, 0, -1e4], dtype=np.float32))[0].round(4)
    array([ 0.4167,  0.4167, -0.8333], dtype=float32)
    """

    def bind(
        self,
        y: ArrayLike,
        queries: Queries,
        sample_weight: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
    ) -> BoundPairs:
        """Bind to labels and queries; `y` and `sample_weight` are row-aligned."""
        relevant = self._relevant(y, queries)
        settings = self._settings(SWAP, metric=RECIPROCAL_RANK)
        return self._bind_binary(relevant, relevant, np.empty(0), settings, queries, sample_weight, n_threads)


@dataclass(frozen=True, kw_only=True)
class LambdaPrecision(BinaryPairObjective):
    r"""LambdaRank's gradient for precision at k: swaps across the cut-off, each worth 1/k.

    Parameters
    ----------
    k : int
        Cut-off.
    relevant_from : float
        Labels from this one on are relevant.
    truncation_level, sigma, normalize, ties, n_partners, hessian_factor, random_state
        See :class:`PairObjective`; pairs below rank k weigh nothing anyway.

    References
    ----------
    Burges, "From RankNet to LambdaRank to LambdaMART: an overview", MSR-TR-2010-82, section 4: equation 6
    with any metric.

    Examples
    --------
    >>> bound = LambdaPrecision(k=1, normalize=False).bind([0, 1], Queries.from_qid([5, 5], 2))
    >>> bound.gradient_hessian(np.zeros(2, dtype=np.float32))[0].round(4)
    array([ 0.5, -0.5], dtype=float32)
    """

    k: int = 10

    def bind(
        self,
        y: ArrayLike,
        queries: Queries,
        sample_weight: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
    ) -> BoundPairs:
        """Bind to labels and queries; `y` and `sample_weight` are row-aligned."""
        relevant = self._relevant(y, queries)
        k = check_level(self.k, "k")
        discount = np.where(np.arange(largest_size(queries)) < k, 1.0 / k, 0.0)
        settings = self._settings(SWAP)
        settings = settings._replace(truncation=min(settings.truncation, k))
        return self._bind_binary(relevant, relevant, discount, settings, queries, sample_weight, n_threads)


@dataclass(frozen=True, kw_only=True)
class LambdaERR(PairObjective):
    r"""LambdaRank's gradient for expected reciprocal rank.

    With stop probability :math:`R = (2^y - 1) / 2^{y_{max}}`, :math:`P_r = \prod_{k<r}(1 - R_k)` and
    :math:`E_{ij} = \sum_{i<r<j} R_r P_r / (r + 1)`,

    .. math:: |\Delta_{ij}| = |R_i - R_j| \left(\frac{P_i}{i + 1}
              - \frac{E_{ij} + P_j / (j + 1)}{1 - R_i}\right)

    Parameters
    ----------
    max_label : float or None
        Label with stop probability :math:`1 - 2^{-max}`; None = the largest label in `y`.
    truncation_level, sigma, normalize, ties, n_partners, hessian_factor, random_state
        See :class:`PairObjective`. With ``ties="expected"`` every document of a tied block is given the
        block's mean stop probability: independent of row order, exact when nothing ties.

    References
    ----------
    Chapelle, Metzler, Zhang and Grinspan, "Expected reciprocal rank for graded relevance", CIKM 2009.

    Examples
    --------
    >>> bound = LambdaERR(normalize=False).bind([0, 1], Queries.from_qid([5, 5], 2))
    >>> bound.gradient_hessian(np.array([0, -1e4], dtype=np.float32))[0].round(4)  # 1/2, from rank 1 to 0
    array([ 0.25, -0.25], dtype=float32)
    """

    normalize: Normalize = True
    max_label: float | None = None

    def bind(
        self,
        y: ArrayLike,
        queries: Queries,
        sample_weight: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
    ) -> BoundPairs:
        """Bind to labels and queries; `y` and `sample_weight` are row-aligned."""
        labels = check_labels(y, queries)
        largest = float(labels.max(initial=0.0))
        top = largest if self.max_label is None else float(check_relevance([self.max_label])[0])
        if largest > top:
            raise ValueError(
                f"'max_label' must be at least the largest label; got {top:g} with a label {largest:g}"
            )
        stop = np.exp2(labels - top) - np.exp2(-top)
        settings = self._settings(SWAP, metric=EXPECTED_RECIPROCAL_RANK)
        weights = query_weights(sample_weight, queries)
        return BoundPairs(self, settings, labels, stop, np.empty(0), queries, weights, n_threads)


@dataclass(frozen=True, kw_only=True)
class _NDCGLoss(PairObjective):
    """What the bounds on NDCG share: gains over the ideal DCG."""

    gain: Gain = "exp2"

    def _bind_gains(
        self,
        settings: PairSettings,
        y: ArrayLike,
        queries: Queries,
        sample_weight: ArrayLike | None,
        n_threads: int | None,
    ) -> BoundPairs:
        labels = check_labels(y, queries)
        gain, discount = gains(labels, self.gain), discounts(largest_size(queries))
        relative = gain / ideal_dcg_of_rows(gain, discount, settings.truncation, queries)
        weights = query_weights(sample_weight, queries)
        return BoundPairs(self, settings, labels, relative, discount, queries, weights, n_threads)


@dataclass(frozen=True, kw_only=True)
class NDCGLoss1(_NDCGLoss):
    r"""NDCG-Loss1 of LambdaLoss: a pair weighs gain times discount of its better document.

    .. math:: w_{ij} = \frac{g_i D_i}{\mathrm{ideal\ DCG}} \quad (y_i > y_j)

    Parameters
    ----------
    gain : "exp2", "linear", table or callable
        Gain of a label.
    truncation_level, sigma, normalize, ties, n_partners, hessian_factor, random_state
        See :class:`PairObjective`; by default as published, with nothing cut or normalised.

    References
    ----------
    Wang, Li, Golbandi, Bendersky and Najork, "The LambdaLoss framework for ranking metric optimization",
    CIKM 2018, section 5 (NDCG-Loss1).

    Examples
    --------
    >>> bound = NDCGLoss1().bind([0, 1], Queries.from_qid([5, 5], 2))
    >>> bound.gradient_hessian(np.array([1e4, 0], dtype=np.float32))[0].round(4)
    array([ 0.6309, -0.6309], dtype=float32)
    """

    def bind(
        self,
        y: ArrayLike,
        queries: Queries,
        sample_weight: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
    ) -> BoundPairs:
        """Bind to labels and queries; `y` and `sample_weight` are row-aligned."""
        return self._bind_gains(self._settings(WINNER), y, queries, sample_weight, n_threads)


@dataclass(frozen=True, kw_only=True)
class NDCGLoss2(_NDCGLoss):
    r"""NDCG-Loss2 of LambdaLoss: the discount is taken of the distance of the two ranks.

    .. math:: w_{ij} = \frac{|g_i - g_j|\,\delta_{ij}}{\mathrm{ideal\ DCG}}, \qquad
              \delta_{ij} = D(|i-j| - 1) - D(|i-j|)

    Parameters
    ----------
    gain : "exp2", "linear", table or callable
        Gain of a label.
    truncation_level, sigma, normalize, ties, n_partners, hessian_factor, random_state
        See :class:`PairObjective`; by default as published, with nothing cut or normalised.

    References
    ----------
    Wang et al., "The LambdaLoss framework for ranking metric optimization", CIKM 2018, section 5
    (NDCG-Loss2), with D = 1 / log2(rank + 2) at 0-based ranks.

    Examples
    --------
    >>> bound = NDCGLoss2().bind([0, 1], Queries.from_qid([5, 5], 2))
    >>> bound.gradient_hessian(np.array([1e4, 0], dtype=np.float32))[0].round(4)
    array([ 0.3691, -0.3691], dtype=float32)
    """

    def bind(
        self,
        y: ArrayLike,
        queries: Queries,
        sample_weight: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
    ) -> BoundPairs:
        """Bind to labels and queries; `y` and `sample_weight` are row-aligned."""
        settings = self._settings(DISTANCE, swap_share=0.0, distance_share=1.0)
        return self._bind_gains(settings, y, queries, sample_weight, n_threads)


@dataclass(frozen=True, kw_only=True)
class NDCGLoss2pp(_NDCGLoss):
    r"""NDCG-Loss2++ of LambdaLoss: LambdaRank's weight plus `mu` times that of NDCG-Loss2.

    .. math:: w_{ij} = \frac{|g_i - g_j|\,(\rho_{ij} + \mu\,\delta_{ij})}{\mathrm{ideal\ DCG}}, \qquad
              \rho_{ij} = |D(i) - D(j)|

    Parameters
    ----------
    mu : float
        Share of the distance term; 10 as published.
    gain : "exp2", "linear", table or callable
        Gain of a label.
    truncation_level, sigma, normalize, ties, n_partners, hessian_factor, random_state
        See :class:`PairObjective`; by default as published, with nothing cut or normalised.

    References
    ----------
    Wang et al., "The LambdaLoss framework for ranking metric optimization", CIKM 2018, section 5
    (NDCG-Loss2++).

    Examples
    --------
    >>> bound = NDCGLoss2pp(mu=1).bind([0, 1], Queries.from_qid([5, 5], 2))
    >>> bound.gradient_hessian(np.array([1e4, 0], dtype=np.float32))[0].round(4)
    array([ 0.7381, -0.7381], dtype=float32)
    """

    mu: float = 10.0

    def bind(
        self,
        y: ArrayLike,
        queries: Queries,
        sample_weight: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
    ) -> BoundPairs:
        """Bind to labels and queries; `y` and `sample_weight` are row-aligned."""
        if not (np.isfinite(self.mu) and self.mu >= 0):
            raise ValueError(f"'mu' must be a finite number >= 0; got {self.mu!r}")
        settings = self._settings(DISTANCE, distance_share=float(self.mu))
        return self._bind_gains(settings, y, queries, sample_weight, n_threads)
