"""Objectives on pairs of documents of one query: RankNet and the lambda family.

All are the pair model (:mod:`lambdamart_kit.core.pairs`) with a weight a pair:

    loss = sum over pairs with y[high] > y[low] of  weight * log(1 + exp(-sigma * (s[high] - s[low])))

RankNet's weight is 1; a lambda objective's is what swapping the two documents would change in a metric, taken
as a constant when the loss is differentiated (Burges 2010, section 4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from lambdamart_kit.core.gains import Gain, check_choice, discounts, gains
from lambdamart_kit.core.pairs import label_pair_losses
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.ranking.distances import new_distances
from lambdamart_kit.core.ranking.lambdas import (
    DISTANCE,
    SWAP,
    WINNER,
    LabelledQueries,
    PairSettings,
    Switches,
    lambda_gradients,
    new_shuffled,
)
from lambdamart_kit.core.ranking.rank_order import LANES, new_ranked, with_mass
from lambdamart_kit.core.ranking.swaps import DISCOUNT
from lambdamart_kit.core.sorting import label_order
from lambdamart_kit.core.typing import ArrayLike, BoolArray, Float32Array, FloatArray, IndexArray
from lambdamart_kit.core.weights import query_weights
from lambdamart_kit.objectives.base import CallSeeds, check_labels, check_level, check_positive, check_scores
from lambdamart_kit.runtime.threads import balanced_bounds, resolve_n_jobs, run_tasks, threads_used

PairTies = Literal["expected", "input", "random"]
Normalize = bool | Literal["scores", "queries"]

_SCORE_OFFSET = 0.01  # LightGBM and XGBoost: |delta| / (0.01 + |s_i - s_j|)


@dataclass(frozen=True, kw_only=True)
class PairObjective:
    """Options shared by all objectives on the pairs of a query.

    Parameters
    ----------
    truncation_level : int or None
        Only pairs whose better ranked document is among the first `truncation_level` count; None = all pairs.
    sigma : float
        Slope of the sigmoid.
    normalize : bool, "scores" or "queries"
        ``"scores"`` divides the weight of a pair by ``0.01 + |s_i - s_j|`` (unless all scores of the query
        are equal); ``"queries"`` multiplies gradient and hessian of a query by ``log2(1 + S) / S``, S the sum
        of ``2 |lambda|`` over its pairs; True does both, False neither.
    ties : {"expected", "input", "random"}
        How documents with equal scores rank. ``"expected"``: the weight of a pair is its expectation over
        all orders of the tied documents, so the result does not depend on the order of the rows.
        ``"input"``: as the rows come, like LightGBM and XGBoost. ``"random"``: shuffled anew at every call.
    n_partners : int or None
        None pairs a document with all documents ranked below it; a number with a random run of that many
        of them, weighted up so that the expected gradient is the same. Worth it for very long queries.
    hessian_factor : float
        Multiplies the hessian (XGBoost: 2).
    random_state : int
        Seed of what is random.
    """

    truncation_level: int | None = None
    sigma: float = 1.0
    normalize: Normalize = False
    ties: PairTies = "expected"
    n_partners: int | None = None
    hessian_factor: float = 1.0
    random_state: int = 0

    def _settings(
        self,
        weighting: int,
        *,
        metric: int = DISCOUNT,
        swap_share: float = 1.0,
        distance_share: float = 0.0,
    ) -> PairSettings:
        check_choice(self.ties, ("expected", "input", "random"), name="ties")
        if self.normalize not in (True, False, "scores", "queries"):
            raise ValueError(
                f"'normalize' must be True, False, 'scores' or 'queries'; got {self.normalize!r}"
            )
        by_score = self.normalize in (True, "scores")
        return PairSettings(
            metric=metric,
            weighting=weighting,
            swap_share=swap_share,
            distance_share=distance_share,
            n_partners=0 if self.n_partners is None else check_level(self.n_partners, "n_partners"),
            truncation=check_level(self.truncation_level, "truncation_level"),
            sigma=check_positive(self.sigma, "sigma"),
            offset=_SCORE_OFFSET if by_score else 1.0,
            slope=1.0 if by_score else 0.0,
            normalize=self.normalize in (True, "queries"),
            hessian_factor=check_positive(self.hessian_factor, "hessian_factor"),
            merge=self.ties == "expected",
            shuffle=self.ties == "random",
        )


@dataclass(frozen=True, kw_only=True)
class RankNet(PairObjective):
    r"""RankNet: logistic loss on every pair of documents with different labels; plain Bradley-Terry.

    .. math:: L = \sum_{y_i > y_j} \log(1 + e^{-\sigma (s_i - s_j)})

    Parameters
    ----------
    truncation_level, sigma, normalize, ties, n_partners, hessian_factor, random_state
        See :class:`PairObjective`. By default all pairs count alike and probabilities are calibrated.

    References
    ----------
    Burges et al., "Learning to rank using gradient descent", ICML 2005; Burges, "From RankNet to
    LambdaRank to LambdaMART", 2010, sections 2 and 2.1, equations 1 and 3.

    Examples
    --------
    >>> bound = RankNet().bind([1, 0], Queries.from_qid(["a", "a"], 2))
    >>> bound.gradient_hessian(np.zeros(2, dtype=np.float32))[0].round(4)
    array([-0.5,  0.5], dtype=float32)
    """

    @classmethod
    def xgboost(cls, **options: Any) -> RankNet:
        """XGBoost's ``rank:pairwise``: 32 top documents, both normalisations, twice the hessian.

        Examples
        --------
        >>> RankNet.xgboost(truncation_level=10).hessian_factor
        2.0
        """
        preset = cls(truncation_level=32, normalize=True, ties="input", hessian_factor=2.0)
        return replace(preset, **options)

    def bind(
        self,
        y: ArrayLike,
        queries: Queries,
        sample_weight: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
    ) -> BoundRankNet:
        """Bind to labels and queries; `y` and `sample_weight` are row-aligned."""
        labels = check_labels(y, queries)
        constant = np.ones(largest_size(queries))
        return BoundRankNet(
            self, self._settings(WINNER), labels, np.ones_like(labels), constant, queries,
            query_weights(sample_weight, queries), n_threads,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LambdaNDCG(PairObjective):
    r"""LambdaRank's gradient for NDCG: each pair weighs what swapping it would change in NDCG.

    .. math:: |\Delta_{ij}| = \frac{|g_i - g_j|\,|D_i - D_j|}{\mathrm{ideal\ DCG}}, \qquad
              \lambda_{ij} = -\frac{\sigma |\Delta_{ij}|}{1 + e^{\sigma (s_i - s_j)}}

    with gain g and discount D(rank) = 1 / log2(rank + 2), not cut at the truncation level; the ideal DCG is.

    Parameters
    ----------
    truncation_level : int or None, default 30
        See :class:`PairObjective`. A good value is a little above the cut-off of the metric one cares about.
    gain : "exp2", "linear", table or callable
        Gain of a label, see :func:`lambdamart_kit.core.gains.gains`; a table as a tuple.
    sigma, normalize, ties, n_partners, hessian_factor, random_state
        See :class:`PairObjective`. ``normalize=True`` by default, as in LightGBM.

    References
    ----------
    Burges, Ragno and Le, "Learning to rank with nonsmooth cost functions", NIPS 2006; Burges, "From RankNet
    to LambdaRank to LambdaMART: an overview", MSR-TR-2010-82, section 4, equation 6. Normalisations: LightGBM
    ``lambdarank_norm``.

    Examples
    --------
    >>> bound = LambdaNDCG.burges().bind([1, 0], Queries.from_qid(["a", "a"], 2))
    >>> bound.gradient_hessian(np.array([1, 0], dtype=np.float32))[0].round(4)  # .3691 / (1 + e)
    array([-0.0993,  0.0993], dtype=float32)
    """

    truncation_level: int | None = 30
    gain: Gain = "exp2"
    normalize: Normalize = True

    @classmethod
    def lightgbm(cls, **options: Any) -> LambdaNDCG:
        """LightGBM's ``lambdarank``: truncation 30, both normalisations, ties as the rows come."""
        return replace(cls(truncation_level=30, normalize=True, ties="input"), **options)

    @classmethod
    def xgboost(cls, **options: Any) -> LambdaNDCG:
        """XGBoost's ``rank:ndcg``: truncation 32, both normalisations, twice the hessian."""
        preset = cls(truncation_level=32, normalize=True, ties="input", hessian_factor=2.0)
        return replace(preset, **options)

    @classmethod
    def burges(cls, **options: Any) -> LambdaNDCG:
        """As published by Burges in 2010: all pairs, nothing normalised."""
        return replace(cls(truncation_level=None, normalize=False), **options)

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
        settings = self._settings(SWAP)
        gain = gains(labels, self.gain)
        discount = discounts(largest_size(queries))
        relative = gain / ideal_dcg_of_rows(gain, discount, settings.truncation, queries)
        return BoundPairs(
            self,
            settings,
            labels,
            relative,
            discount,
            queries,
            query_weights(sample_weight, queries),
            n_threads,
        )


class BoundKernel(CallSeeds):
    """A kernel of the pair model bound to labelled queries; owns its buffers.

    Parameters
    ----------
    objective : dataclass
        What is bound; its `random_state` seeds every gradient.
    kernel : callable
        ``kernel(first, last, *scratch, queries, *settings, seed, scores, gradient, hessian, factor, cost)``;
        see :func:`lambdamart_kit.core.ranking.lambdas.lambda_gradients`.
    queries : LabelledQueries
    settings : tuple
        Arguments of the kernel that stay.
    new_scratch : callable
        ``(capacity) -> (Ranked, ...)``, what one thread fills for queries of up to `capacity` documents.
    cost : ndarray (n_queries,)
        About how long each query takes.
    n_threads : int or None
    """

    def __init__(
        self,
        objective: Any,
        kernel: Callable[..., None],
        queries: LabelledQueries,
        settings: tuple[Any, ...],
        new_scratch: Callable[[int], tuple[Any, ...]],
        cost: FloatArray | IndexArray,
        n_threads: int | None,
    ) -> None:
        super().__init__(objective.random_state)
        self.objective = objective
        self._kernel, self._queries, self._settings = kernel, queries, settings
        self._n_threads = resolve_n_jobs(n_threads)
        self._bounds = balanced_bounds(cost, self._n_threads, tasks_per_thread=4)
        capacity = int(np.diff(queries.ptr).max(initial=0))
        self._scratch = [new_scratch(capacity) for _ in range(threads_used(self._bounds, self._n_threads))]
        self._gradient = np.empty(len(queries.label), dtype=np.float32)
        self._hessian = np.empty(len(queries.label), dtype=np.float32)

    def gradient_hessian(self, scores: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Gradient and hessian at `scores`, ordered rows; the buffers are reused by the next call."""
        self._run(scores, None, None)
        return self._gradient, self._hessian

    def weighted(
        self, scores: Float32Array, factor: Float32Array
    ) -> tuple[Float32Array, Float32Array, Float32Array]:
        """Gradient, hessian and cost with the weight of each pair times the factors of its two rows.

        The cost of a row is the loss of its pairs, each times the factor of the other row only.
        """
        cost = np.empty_like(self._gradient)
        self._run(scores, np.ascontiguousarray(factor, dtype=np.float32), cost)
        return self._gradient, self._hessian, cost

    def _run(self, scores: Float32Array, factor: Float32Array | None, cost: Float32Array | None) -> None:
        ordered = check_scores(scores, len(self._gradient))
        seed, scratch = self.next_seed(), self._scratch
        if factor is not None:
            scratch = [(with_mass(ranked), *others) for ranked, *others in scratch]
        run_tasks(
            self._kernel, self._bounds, self._n_threads, self._queries, *self._settings, seed, ordered,
            self._gradient, self._hessian, factor, cost, scratch=scratch,
        )  # fmt: skip


class BoundPairs(BoundKernel):
    """A pair objective bound to labels and queries."""

    def __init__(
        self,
        objective: PairObjective,
        settings: PairSettings,
        labels: FloatArray,
        gain: FloatArray,
        discount: FloatArray,
        queries: Queries,
        weights: FloatArray,
        n_threads: int | None,
    ) -> None:
        near = _distance_weights(discount) if settings.weighting == DISTANCE else None

        def new_scratch(capacity: int) -> tuple[Any, ...]:
            distances = None if near is None else new_distances(capacity, near)
            return new_ranked(capacity), distances, new_shuffled(capacity) if settings.shuffle else None

        switches = Switches(
            other_metric=settings.metric != DISCOUNT or None,
            partners=settings.n_partners > 0 or None,
        )
        super().__init__(
            objective,
            lambda_gradients,
            labelled_queries(labels, gain, queries, weights, as_input=objective.ties == "input"),
            (settings, discount, np.concatenate(([0.0], np.cumsum(discount))), *switches),
            new_scratch,
            _cost(queries, settings.truncation),
            n_threads,
        )


class BoundRankNet(BoundPairs):
    """RankNet bound to labels and queries; has a loss."""

    def loss(self, scores: Float32Array) -> float:
        """Loss summed over all pairs, times query weights, at `scores` (ordered rows).

        Truncation, partners and normalisation change the gradient only, so they leave out or rescale parts
        of what this sums.
        """
        ordered = check_scores(scores, len(self._gradient))[self._queries.layout]
        losses = np.empty(len(self._queries.scale))
        run_tasks(
            label_pair_losses, self._bounds, self._n_threads, self._queries.ptr, self._queries.label,
            float(self.objective.sigma), ordered, losses,
        )  # fmt: skip
        return float(losses @ self._queries.scale)


def labelled_queries(
    labels: FloatArray, gain: FloatArray, queries: Queries, weights: FloatArray, *, as_input: bool = False
) -> LabelledQueries:
    """What the kernels know of the queries, in the canonical layout; rows as they came with `as_input`."""
    layout = np.arange(len(labels), dtype=np.intp) if as_input else label_order(labels, queries.ptr)
    codes = np.unique(labels, return_inverse=True)[1]
    scale = np.where(_has_pairs(codes, queries), weights, 0.0)
    return LabelledQueries(
        queries.ptr, layout, codes[layout].astype(np.float32), gain[layout].astype(np.float32), scale
    )


def ideal_dcg_of_rows(
    gain: FloatArray, discount: FloatArray, truncation: int, queries: Queries
) -> FloatArray:
    """Ideal DCG, cut at the truncation, of each ordered row's query; 1 where it is 0."""
    best_first = gain[label_order(gain, queries.ptr)]
    rank = np.arange(queries.n_samples) - np.repeat(queries.ptr[:-1], queries.sizes)
    terms = np.where(rank < truncation, best_first * discount[rank], 0.0)
    ideal = np.bincount(queries.query_of_ordered_row, weights=terms, minlength=queries.n_queries)
    ideal[ideal == 0] = 1.0
    per_row: FloatArray = np.repeat(ideal, queries.sizes)
    return per_row


def _distance_weights(discount: FloatArray) -> Float32Array:
    """``discount(d - 1) - discount(d)`` by the distance d of two ranks; padded with 0, as at 0."""
    return np.concatenate(([0.0], -np.diff(discount), np.zeros(LANES))).astype(np.float32)


def _has_pairs(labels: IndexArray, queries: Queries) -> BoolArray:
    """Whether each query holds two different labels."""
    starts = queries.ptr[:-1]
    if not len(starts):
        return np.empty(0, dtype=bool)
    differ: BoolArray = np.maximum.reduceat(labels, starts) > np.minimum.reduceat(labels, starts)
    return differ


def largest_size(queries: Queries) -> int:
    """Documents in the largest query; 0 without queries."""
    return int(queries.sizes.max(initial=0))


def _cost(queries: Queries, truncation: int) -> FloatArray:
    """About how long a query takes: its pairs, plus sorting and copying worth some 40 pairs a document."""
    sizes = queries.sizes.astype(np.float64)
    rows: FloatArray = sizes * (np.minimum(sizes, truncation) + 40.0)
    return rows
