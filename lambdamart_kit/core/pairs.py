"""The pair model: "first beats second" with probability sigma(z), as loss, gradient and hessian.

    z    = s[first] - s[second] - margin
    p    = sigma(z) = 1 / (1 + exp(-z))
    loss = weight * (-target * log sigma(z) - (1 - target) * log sigma(-z))

    d loss / d s[first] = weight * (p - target) = - d loss / d s[second]
    hessian (of each)   = weight * p * (1 - p)

`target` is the probability that first wins: 1 for a plain preference, 1/2 for a tie. Labels that are
flipped with probability e change the target and nothing else, see `flipped_target`. Rankers, reward models
and Bradley-Terry strengths all descend this loss; the per-query kernels in
:mod:`lambdamart_kit.core.ranking.lambdas` are its float32 form over all pairs of a query.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lambdamart_kit.compile import kernel
from lambdamart_kit.core.gains import check_choice
from lambdamart_kit.core.typing import Array, ArrayLike, FloatArray, IndexArray
from lambdamart_kit.runtime.threads import balanced_bounds, resolve_n_jobs, run_tasks


class PairTerms(NamedTuple):
    """Loss of each pair and its derivatives with respect to z, (n_pairs,) float64 each."""

    loss: FloatArray
    gradient: FloatArray
    hessian: FloatArray


def flipped_target(target: ArrayLike, rate: float, *, correction: str) -> FloatArray:
    """Target that allows for labels flipped with probability `rate`.

    - ``"smoothed"``: ``e + (1 - 2e) t``, the probability that the observed label says first wins
      (conservative DPO: t = 1 - e). The optimum is the *observed* win probability.
    - ``"robust"``: ``(t - e) / (1 - 2e)``, the inverse map: the unbiased estimate of the clean loss,
      ``-log sigma(z) - e / (1 - 2e) z`` for t = 1. The optimum is the *clean* win probability. Targets lie
      outside [0, 1], so the loss has no minimum on pairs that are never contradicted: regularise.

    Parameters
    ----------
    target : array-like
        Probability that first wins.
    rate : float
        Probability of a flip, in [0, 0.5).
    correction : {"smoothed", "robust"}
        Which of the two.

    Raises
    ------
    ValueError
        If `rate` is not in [0, 0.5) or `correction` is unknown.

    References
    ----------
    Mitchell, "A note on DPO with noisy preferences", 2023; Chowdhury et al., "Provably robust DPO",
    ICML 2024, eq. 12.

    Examples
    --------
    >>> flipped_target([1.0], 0.1, correction="smoothed").tolist()
    [0.9]
    >>> flipped_target([1.0], 0.1, correction="robust").tolist()
    [1.125]
    """
    check_choice(correction, ("smoothed", "robust"), name="correction")
    if not 0 <= rate < 0.5:
        raise ValueError(f"'rate' must be a flip probability in [0, 0.5); got {rate!r}")
    wins = np.asarray(target, dtype=np.float64)
    if correction == "smoothed":
        return np.asarray(rate + (1 - 2 * rate) * wins)
    return np.asarray((wins - rate) / (1 - 2 * rate))


def pair_terms(
    z: ArrayLike, *, target: ArrayLike = 1.0, weight: ArrayLike = 1.0, n_threads: int | None = None
) -> PairTerms:
    """Loss, gradient and hessian of each pair with respect to its score difference `z`.

    Examples
    --------
    >>> terms = pair_terms([0.0])
    >>> terms.loss.round(6).tolist(), terms.gradient.tolist(), terms.hessian.tolist()
    ([0.693147], [-0.5], [0.25])
    """
    difference = np.ascontiguousarray(np.atleast_1d(np.asarray(z, dtype=np.float64)))
    n_pairs = len(difference)
    terms = PairTerms(*(np.empty(n_pairs) for _ in range(3)))
    settings = (_per_pair(target, n_pairs, "target"), _per_pair(weight, n_pairs, "weight"))
    _over_pairs(_fill_terms, n_pairs, n_threads, difference, *settings, *terms)
    return terms


class PairLoss:
    """Sum of the pair loss over explicit pairs, as a function of one score an item.

    Parameters
    ----------
    first, second : (n_pairs,) integers
        Items of each pair; `first` beats `second` with probability `target`.
    n_items : int
        Number of items.
    weight, target, margin : float or (n_pairs,) array-like
        Weight of the pair (default 1), probability that first wins (1), margin subtracted from the score
        difference (0).
    n_threads : int, optional
        Threads; None for all available. Results are the same to the bit for any number of threads.

    Raises
    ------
    ValueError
        If an item is outside ``range(n_items)``, shapes differ, a value is not finite or a weight is
        negative.

    Examples
    --------
    Two players, 3 wins to 1; at equal strengths the gradient is (wins expected - wins seen):

    >>> loss = PairLoss([0, 1], [1, 0], 2, weight=[3, 1])
    >>> gradient, hessian = loss.gradient_hessian([0.0, 0.0])
    >>> gradient.tolist(), hessian.tolist()
    ([-1.0, 1.0], [1.0, 1.0])
    """

    def __init__(
        self,
        first: ArrayLike,
        second: ArrayLike,
        n_items: int,
        *,
        weight: ArrayLike = 1.0,
        target: ArrayLike = 1.0,
        margin: ArrayLike = 0.0,
        n_threads: int | None = None,
    ) -> None:
        self.first = _items(first, n_items, "first")
        self.second = _items(second, n_items, "second")
        if len(self.first) != len(self.second):
            raise ValueError(
                f"'first' and 'second' must be equally long; got {len(self.first)} and {len(self.second)}"
            )
        self.n_items = n_items
        self.weight = _per_pair(weight, len(self.first), "weight")
        self.target = _per_pair(target, len(self.first), "target")
        self.margin = _per_pair(margin, len(self.first), "margin")
        if np.any(self.weight < 0):
            raise ValueError(
                f"'weight' must not be negative; pair {np.argmin(self.weight)} has {self.weight.min()}"
            )
        self._n_threads = n_threads
        self._ptr, self._incident = _incidence(self.first, self.second, n_items)
        self._bounds = balanced_bounds(np.diff(self._ptr), resolve_n_jobs(n_threads))

    def terms(self, scores: ArrayLike) -> PairTerms:
        """Weighted loss, gradient and hessian of each pair at these `scores` (n_items,)."""
        s = self._check_scores(scores)
        n_pairs = len(self.first)
        terms = PairTerms(*(np.empty(n_pairs) for _ in range(3)))
        difference = np.empty(n_pairs)
        _over_pairs(
            _differences, n_pairs, self._n_threads, s, self.first, self.second, self.margin, difference
        )
        _over_pairs(_fill_terms, n_pairs, self._n_threads, difference, self.target, self.weight, *terms)
        return terms

    def loss(self, scores: ArrayLike) -> float:
        """Summed loss at these `scores` (n_items,)."""
        return float(self.terms(scores).loss.sum())

    def gradient_hessian(self, scores: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Gradient and diagonal of the hessian with respect to the `scores`, (n_items,) float64 each."""
        terms = self.terms(scores)
        gradient = np.empty(self.n_items)
        hessian = np.empty(self.n_items)
        # Each item sums its own pairs in their order: no atomics, and the same bits on any number of threads.
        run_tasks(
            _gather_pairs,
            self._bounds,
            resolve_n_jobs(self._n_threads),
            self._ptr,
            self._incident,
            terms.gradient,
            terms.hessian,
            gradient,
            hessian,
        )
        return gradient, hessian

    def _check_scores(self, scores: ArrayLike) -> FloatArray:
        s = np.ascontiguousarray(scores, dtype=np.float64)
        if s.shape != (self.n_items,):
            raise ValueError(
                f"'scores' must hold one score an item: expected shape ({self.n_items},), got {s.shape}"
            )
        return s


def _items(items: ArrayLike, n_items: int, name: str) -> IndexArray:
    index = np.asarray(items)
    if index.ndim != 1 or (index.dtype.kind not in "iu" and len(index)):
        raise ValueError(
            f"{name!r} must be a one-dimensional array of item numbers; got {index.dtype} {index.shape}"
        )
    outside = np.flatnonzero((index < 0) | (index >= n_items))
    if len(outside):
        raise ValueError(
            f"{name!r} must hold items from 0 to {n_items - 1}; pair {outside[0]} has {index[outside[0]]}"
        )
    return np.ascontiguousarray(index, dtype=np.intp)


def _per_pair(values: ArrayLike, n_pairs: int, name: str) -> FloatArray:
    given = np.asarray(values, dtype=np.float64)
    if given.shape not in ((), (n_pairs,)):
        raise ValueError(
            f"{name!r} must be a number or one value a pair ({n_pairs},); got shape {given.shape}"
        )
    if not np.all(np.isfinite(given)):
        raise ValueError(f"{name!r} must be finite; got NaN or infinity")
    return np.ascontiguousarray(np.broadcast_to(given, (n_pairs,)))


def _incidence(first: IndexArray, second: IndexArray, n_items: int) -> tuple[IndexArray, IndexArray]:
    """CSR by item of ``2 * pair + side``; side 0 = first."""
    # Both ends of all pairs, side by side: the place of an end is 2 * pair + side. A stable sort keeps each
    # item's ends in the order of pairs, so sums are taken in that order.
    ends = np.stack([first, second], axis=1).ravel()
    ptr = np.concatenate(([0], np.cumsum(np.bincount(ends, minlength=n_items))))
    return ptr.astype(np.intp), np.argsort(ends, kind="stable").astype(np.intp, copy=False)


def _over_pairs(function: Callable[..., Any], n_pairs: int, n_threads: int | None, *args: Any) -> None:
    threads = resolve_n_jobs(n_threads)
    # Four pieces a thread: whoever is done early takes another.
    bounds = np.linspace(0, n_pairs, (1 if threads == 1 else 4 * threads) + 1).astype(np.intp)
    run_tasks(function, bounds, threads, *args)


@kernel
def pair_term(z: float, target: float) -> tuple[float, float, float]:
    """Loss, gradient and hessian with respect to `z` of one pair, without overflow for any finite `z`."""
    # exp(-|z|) is at most 1, so neither form of p can overflow: 1 / (1 + exp(-z)) for z >= 0, and
    # exp(z) / (1 + exp(z)) below.
    e = math.exp(-abs(z))
    p = 1.0 / (1.0 + e) if z >= 0 else e / (1.0 + e)
    # -t log sigma(z) - (1 - t) log sigma(-z) = softplus(-z) + (1 - t) z; written so that t = 1 stays exact.
    loss = math.log1p(e) + (1.0 - target) * z if z >= 0 else math.log1p(e) - target * z
    miss = e / (1.0 + e) if z >= 0 else 1.0 / (1.0 + e)  # 1 - p without cancellation
    # The gradient p - t is written as (1 - t) - (1 - p): for t = 1
    # it is -(1 - p) to the last bit, however close p is to 1.
    return loss, (1.0 - target) - miss, p * miss


@kernel
def _fill_terms(
    start: int,
    stop: int,
    z: Array,
    target: Array,
    weight: Array,
    loss: Array,
    gradient: Array,
    hessian: Array,
) -> None:
    for pair in range(start, stop):
        value, first, second = pair_term(z[pair], target[pair])
        loss[pair] = weight[pair] * value
        gradient[pair] = weight[pair] * first
        hessian[pair] = weight[pair] * second


@kernel
def _differences(
    start: int, stop: int, s: Array, first: Array, second: Array, margin: Array, difference: Array
) -> None:
    for pair in range(start, stop):
        difference[pair] = s[first[pair]] - s[second[pair]] - margin[pair]


@kernel
def _gather_pairs(
    start: int,
    stop: int,
    ptr: Array,
    incident: Array,
    pair_gradient: Array,
    pair_hessian: Array,
    gradient: Array,
    hessian: Array,
) -> None:
    for item in range(start, stop):
        g = 0.0
        h = 0.0
        for at in range(ptr[item], ptr[item + 1]):
            # z = s[first] - s[second] - margin, so d loss / d s[second] is minus d loss / d s[first]. The
            # hessian has the square of the sign, so it adds on both sides.
            pair = incident[at] >> 1
            sign = 1.0 - 2.0 * (incident[at] & 1)
            g += sign * pair_gradient[pair]
            h += pair_hessian[pair]
        gradient[item] = g
        hessian[item] = h


@kernel
def label_pair_losses(
    first: int, last: int, ptr: IndexArray, labels: Array, sigma: float, scores: Array, loss: Array
) -> None:
    """RankNet's loss of the queries `first` to `last` - 1: every pair with different labels, weight 1."""
    for q in range(first, last):
        loss[q] = 0.0
        for i in range(ptr[q], ptr[q + 1]):
            for j in range(ptr[q], ptr[q + 1]):
                if labels[i] > labels[j]:
                    z = sigma * (np.float64(scores[i]) - np.float64(scores[j]))
                    loss[q] += pair_term(z, 1.0)[0]
