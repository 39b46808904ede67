"""Which features make the order of a query: the game of lists.

A set S of features is known: every document keeps its values of S, and has the values of one background
document of the same query for all other features. The value of S is the measure of the order that the model
then makes, averaged over background documents. Without any feature all documents are equal and tie.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import Array, BoolArray, FloatArray
from lambdamart_kit.explain.shapley import ShapleyValues, sampled_values
from lambdamart_kit.metrics import Metric

# Scores that differ by less than this share of their range are equal: sums in another order, as some
# libraries make them for each place of a row in a matrix, differ by about 1e-7.
_EQUAL = 1e-6

OrderMeasure = Callable[[FloatArray], FloatArray]
"""Values of orders: scores (n_orders, n_documents) to (n_orders,)."""


def metric_of_orders(metric: Metric, labels: FloatArray) -> OrderMeasure:
    """A ranking metric of many orders of the same documents."""
    bound: dict[int, Callable[[Array], FloatArray]] = {}

    def measure(scores: FloatArray) -> FloatArray:
        n_orders = len(scores)
        if n_orders not in bound:
            # Every order is a query of its own to the metric.
            queries = Queries.from_qid(np.repeat(np.arange(n_orders), len(labels)), scores.size)
            bound[n_orders] = metric.bind(np.tile(labels, n_orders), queries, n_threads=1).per_query
        return bound[n_orders](scores.ravel())

    return measure


def agreement_with(own: FloatArray, k: int | None) -> OrderMeasure:
    """Kendall's tau with the order of `own` scores, over the pairs that have a document of the top k.

    A pair that is in the same order counts 1, one in the opposite order -1, a tie 0.
    """
    order = np.argsort(-own, kind="stable")
    first, second = np.triu_indices(len(own), 1)
    kept = first < (len(own) if k is None else k)
    first = order[first[kept]]
    second = order[second[kept]]
    differ = own[first] > own[second]
    first = first[differ]
    second = second[differ]

    def measure(scores: FloatArray) -> FloatArray:
        if not len(first):
            return np.zeros(len(scores))
        return np.sign(scores[:, first] - scores[:, second]).mean(axis=1)

    return measure


def shapley_of_order(
    predict: Callable[[Array], FloatArray],
    rows: Array,
    players: Array,
    measure: OrderMeasure,
    *,
    n_samples: int,
    rng: np.random.Generator,
) -> ShapleyValues:
    """Shapley values of the features `players` in the order of the documents `rows` of one query."""
    own = predict(rows)
    unit = _EQUAL * float(np.ptp(own)) or 1.0
    # Background documents are dealt like cards: each comes once before any comes again.
    rounds = [rng.permutation(len(rows)) for _ in range(-(-max(1, n_samples // 2) // len(rows)))]
    backgrounds = np.concatenate(rounds)

    def value(masks: BoolArray, draw: int) -> FloatArray:
        known = np.ones((len(masks), rows.shape[1]), dtype=bool)
        known[:, players] = masks
        mixed = np.where(known[:, None, :], rows, rows[backgrounds[draw]])
        scores = predict(mixed.reshape(-1, rows.shape[1])).reshape(len(masks), len(rows))
        return measure(np.round(scores / unit))

    return sampled_values(value, len(players), n_samples=n_samples, rng=rng)
