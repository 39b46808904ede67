"""What kernels that follow a gradient are given: labelled queries, discounts, rows to read and to fill."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lambdamart_kit.core.typing import Float32Array, FloatArray, IndexArray


class LabelledQueries(NamedTuple):
    """Labels and gains of all queries. `label` and `gain` stand in layout order."""

    ptr: IndexArray  # (n_queries + 1,): query q has the rows and places ptr[q]:ptr[q + 1]
    layout: IndexArray  # ordered row at each place of the layout
    label: Float32Array  # (n_samples,), descending in a query unless its ties fall as its rows came
    gain: Float32Array  # (n_samples,), of the labels
    scale: FloatArray  # (n_queries,) multiplies gradient and hessian; 0 where no pair can have a weight


class Discounts(NamedTuple):
    """Discount of each rank, and the sum of the discounts above each rank."""

    at: FloatArray  # (n_ranks,)
    above: FloatArray  # (n_ranks + 1,), from 0 to the sum of all


class ScoredRows(NamedTuple):
    """Ordered rows: the scores a kernel reads, the gradient and hessian it fills."""

    scores: Float32Array
    gradient: Float32Array
    hessian: Float32Array


class RowFactors(NamedTuple):
    """Ordered rows: factors that multiply pair weights, and the cost a kernel fills.

    The weight of a pair is multiplied by the factors of its two documents. The cost of a row is the loss of
    its pairs, each multiplied by the factor of the other document only.

    With `takes_places` the factor of a document is its weight: it also counts as so many documents in the
    ranking, next to each other (:mod:`lambdamart_kit.core.ranking.places`). No costs are computed then.
    """

    factor: Float32Array
    cost: Float32Array
    takes_places: bool = False


def new_discounts(discount: FloatArray) -> Discounts:
    """Discounts with their running sums."""
    return Discounts(discount, np.concatenate(([0.0], np.cumsum(discount))))
