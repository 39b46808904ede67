"""Weights of the members of a blend, found on out-of-fold scores, that do not lose to equal ones.

A search for the best weights on a few hundred queries finds noise as well: on MQ2008 and the MSLR sample the
greedy search of Caruana et al. was no better than equal weights, and the single best member was worse. So
what the search finds is used only as far as it holds on queries that it has not seen: weights are

    (1 - share) * equal + share * found,     share in {0, 1/4, 1/2, 3/4, 1}

and the share is the one with the best mean over held-out queries, provided that it beats equal weights there
by more than one standard error of the paired difference. Otherwise weights stay equal.

References
----------
Caruana, Niculescu-Mizil, Crew and Ksikes (2004), Ensemble selection from libraries of models, ICML.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import BoolArray, FloatArray, IndexArray
from lambdamart_kit.metrics import Metric
from lambdamart_kit.metrics.base import BoundMetric
from lambdamart_kit.rankers.blend.folds import deal_queries

_SHARES = (0.25, 0.5, 0.75, 1.0)
_FOLDS = 5
_STEPS = 20
_FEWEST_QUERIES = 50  # with fewer, weights stay equal
_MOST_QUERIES = 3_000  # which tell weights apart well enough; more would only take longer
_STANDARD_ERRORS = 1.0


@dataclass(frozen=True, eq=False)
class Held:
    """Out-of-fold scores with what they are measured by.

    Attributes
    ----------
    scores : (n_samples, n_members) float64
        On one scale, rows of each query together.
    y : (n_samples,) float64
    queries : Queries
        In order.
    sample_weight : (n_samples,) float64, or None
    metric : Metric
    n_threads : int
    """

    scores: FloatArray
    y: FloatArray
    queries: Queries
    sample_weight: FloatArray | None
    metric: Metric
    n_threads: int = 1

    @property
    def n_members(self) -> int:
        """Number of columns."""
        return int(self.scores.shape[1])

    @cached_property
    def bound(self) -> BoundMetric:
        """The metric bound to the labels."""
        return self.metric.bind(self.y, self.queries, self.sample_weight, n_threads=self.n_threads)

    def select(self, chosen: BoolArray) -> Held:
        """The rows of the chosen queries."""
        rows = chosen[self.queries.query_of_ordered_row]
        ptr = np.concatenate(([0], np.cumsum(self.queries.sizes[chosen]))).astype(np.intp)
        part = Queries(np.arange(int(ptr[-1]), dtype=np.intp), ptr, self.queries.ids[chosen])
        weight = None if self.sample_weight is None else self.sample_weight[rows]
        return Held(self.scores[rows], self.y[rows], part, weight, self.metric, self.n_threads)

    def per_query(self, weights: FloatArray) -> FloatArray:
        """The metric of each query under a blend, (n_queries,), greater is better; NaN for blank queries."""
        values = self.bound.per_query(self.scores @ weights)
        return values if self.metric.greater_is_better else -values

    def mean(self, weights: FloatArray) -> float:
        """The metric under a blend, greater is better."""
        return self.bound.mean(self.per_query(weights))


def search_weights(held: Held, seed: int) -> FloatArray:
    """Weights of the members: equal, or as far towards those found as holds on unseen queries.

    Parameters
    ----------
    held : Held
    seed : int
        Of the division of the queries into folds.

    Returns
    -------
    (n_members,) float64
        At least 0, with sum 1.
    """
    equal = np.full(held.n_members, 1.0 / held.n_members)
    rng = np.random.default_rng(seed)
    counted = ~held.bound.blank & (held.bound.weights > 0)
    if held.n_members < 2 or counted.sum() < _FEWEST_QUERIES:
        return equal
    if counted.sum() > _MOST_QUERIES:
        drawn = rng.permutation(np.flatnonzero(counted))[:_MOST_QUERIES]
        counted = np.zeros_like(counted)
        counted[drawn] = True
    held = held.select(counted)
    share = _share_that_holds(held, deal_queries(np.ones(int(counted.sum()), dtype=bool), _FOLDS, rng))
    return equal if share == 0.0 else (1.0 - share) * equal + share * _greedy_weights(held)


def _share_that_holds(held: Held, fold: IndexArray) -> float:
    """The share of found weights that is best on unseen queries; 0 if none is clearly better than equal."""
    equal = np.full(held.n_members, 1.0 / held.n_members)
    gain = np.empty((len(fold), len(_SHARES)))
    for number in range(_FOLDS):
        unseen = held.select(fold == number)
        found = _greedy_weights(held.select(fold != number))
        base = unseen.per_query(equal)
        for at, share in enumerate(_SHARES):
            gain[fold == number, at] = unseen.per_query((1.0 - share) * equal + share * found) - base
    weights = held.bound.weights / held.bound.weights.sum()
    mean = weights @ gain
    error = np.sqrt(weights**2 @ (gain - mean) ** 2)
    sure = mean - _STANDARD_ERRORS * error
    best = int(np.argmax(sure))
    return _SHARES[best] if sure[best] > 0 else 0.0


def _greedy_weights(held: Held) -> FloatArray:
    """Shares of the members in a bag that grows from one of each by the member that helps most."""
    counts = np.ones(held.n_members)
    best_value = held.mean(counts / counts.sum())
    best = counts.copy()
    for _ in range(_STEPS):
        tried = [held.mean((counts + one) / (counts.sum() + 1)) for one in np.eye(held.n_members)]
        at = int(np.argmax(tried))
        counts[at] += 1
        if tried[at] > best_value:
            best_value = tried[at]
            best = counts.copy()
    return best / best.sum()
