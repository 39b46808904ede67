"""Values of documents that take as many places of a ranking as they weigh, ready to be ranked by scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.ranking.block_order import AVERAGE
from lambdamart_kit.core.ranking.labelled import new_discounts
from lambdamart_kit.core.ranking.places import placed_sums
from lambdamart_kit.core.typing import Array, BoolArray, FloatArray, IndexArray


@dataclass(frozen=True, eq=False)
class PlacedScores:
    """What `RankedScores` is for documents that all weigh 1: the copies that weights stand for, ranked.

    Attributes
    ----------
    values, weight : (n_samples,) float64
        Ordered rows.
    queries : Queries
    cutoff : float
        Places that count; infinity for all.
    discount : array
        Of each rank, for at least one rank more than a query has places.
    """

    values: FloatArray
    weight: FloatArray
    queries: Queries
    cutoff: float
    discount: FloatArray

    @property
    def ptr(self) -> IndexArray:
        """Query ``q`` holds the ordered rows ``ptr[q]:ptr[q + 1]``."""
        return self.queries.ptr

    def run(self, scores: Array, ties: int) -> FloatArray:
        """Raw value of each query for `scores` in ordered rows."""
        discounts = new_discounts(self.discount)
        return placed_sums(scores, self.values, self.weight, self.queries, self.cutoff, ties, discounts)

    def ideal(self) -> FloatArray:
        """Raw value of each query in the best order."""
        return self.run(self.values, AVERAGE)

    def totals(self) -> FloatArray:
        """Sum of the values of each query."""
        sums: FloatArray = np.add.reduceat(self.weight * self.values, self.queries.ptr[:-1])
        return sums

    def sizes(self) -> FloatArray:
        """Places of each query; 1 where all documents weigh 0."""
        places: FloatArray = np.add.reduceat(self.weight, self.queries.ptr[:-1])
        places[places == 0] = 1.0
        return places

    def blank(self) -> BoolArray:
        """Queries whose documents have no value."""
        blank: BoolArray = self.totals() <= 0
        return blank
