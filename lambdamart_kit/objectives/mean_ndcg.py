"""LambdaRank for the weighted mean of several NDCGs, each of labels of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.ranking.labelled import Discounts
from lambdamart_kit.core.typing import Array, FloatArray
from lambdamart_kit.objectives.base import Objective
from lambdamart_kit.objectives.pairwise import LambdaNDCG


@dataclass(frozen=True, kw_only=True, eq=False)
class MeanNDCG(LambdaNDCG):
    r"""Each pair weighs what swapping it would change in the weighted mean of the goals' NDCGs.

    A document is worth the mean of its gains, each over the ideal DCG of its goal in the query,

    .. math:: G_i = \sum_k p_k \frac{g_k(y_{ik})}{\mathrm{ideal\ DCG}_k}, \qquad
              |\Delta_{ij}| = |G_i - G_j|\,|D_i - D_j|

    and the document that is worth more should win.

    Parameters
    ----------
    members : tuple of LambdaNDCG
        One a goal, alike in all but the gain.
    table : (n_levels, n_goals) float64
        Labels of the goals; the objective is bound to numbers of its rows.
    shares : (n_goals,) float64
        Weights of the goals.
    """

    members: tuple[LambdaNDCG, ...]
    table: FloatArray
    shares: FloatArray

    @classmethod
    def of(cls, members: Sequence[LambdaNDCG], table: FloatArray, shares: FloatArray) -> MeanNDCG:
        """The objective with the settings of the members."""
        settings = {f.name: getattr(members[0], f.name) for f in fields(LambdaNDCG)}
        return cls(members=tuple(members), table=table, shares=shares, **settings)

    def _gain(self, relevance: FloatArray, queries: Queries) -> FloatArray:
        labels = self.table[relevance.astype(np.intp)]
        return self._mean([m._gain(labels[:, at], queries) for at, m in enumerate(self.members)])

    def _placed_gain(
        self, relevance: FloatArray, queries: Queries, document_weight: FloatArray, places: Discounts
    ) -> FloatArray:
        labels = self.table[relevance.astype(np.intp)]
        return self._mean(
            [
                m._placed_gain(labels[:, at], queries, document_weight, places)
                for at, m in enumerate(self.members)
            ]
        )

    def _mean(self, gains: list[FloatArray]) -> FloatArray:
        return np.asarray(sum(share * gain for share, gain in zip(self.shares, gains)))

    def _compared(self, relevance: FloatArray, gain: FloatArray, queries: Queries) -> FloatArray:
        # Kernels compare labels in float32. Ranks within a query are exact there, sums of gains are not.
        order = np.lexsort((gain, queries.query_of_ordered_row))
        above = np.empty(len(gain), dtype=np.intp)
        above[:1] = 0
        above[1:] = np.diff(gain[order]) != 0
        level = np.cumsum(above)
        first = level[queries.ptr[:-1]]
        rank = np.empty(len(gain))
        rank[order] = level - np.repeat(first, queries.sizes)
        return rank


def alike(members: Sequence[Objective]) -> bool:
    """Whether all are `LambdaNDCG` with the same settings, but for the gain."""
    first = members[0]
    return all(
        type(member) is LambdaNDCG
        and type(first) is LambdaNDCG
        and replace(member, gain="exp2") == replace(first, gain="exp2")
        for member in members
    )


def levels_of(labels: Array) -> tuple[FloatArray, FloatArray]:
    """The different rows of labels, and the number of each row's."""
    table, number = np.unique(np.asarray(labels, dtype=np.float64), axis=0, return_inverse=True)
    return table, number.reshape(-1).astype(np.float64)
