"""YetiLoss: a smoothed metric by sampling noisy rankings."""

from __future__ import annotations

from dataclasses import dataclass

from lambdamart_kit.core.gains import Gain, discounts, gains
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.ranking.neighbours import NeighbourSettings, Noisy, neighbour_gradients, new_noisy
from lambdamart_kit.core.ranking.rank_order import Ranked, new_ranked
from lambdamart_kit.core.typing import FloatArray
from lambdamart_kit.objectives.base import LabelObjective, check_positive, check_ranks
from lambdamart_kit.objectives.bound_pairs import (
    BoundKernel,
    ideal_dcg_of_rows,
    labelled_queries,
    largest_size,
)


@dataclass(frozen=True, kw_only=True)
class YetiLoss(LabelObjective):
    r"""Pairs of neighbours in noisy rankings, each weighing what swapping the two changes in NDCG.

    Rankings are drawn by sorting :math:`s_i + \tau \log(u_i / (1 - u_i))`, u uniform. A pair that stands at
    ranks r and r + 1 of a ranking adds the pair model at the scores without noise, with weight

    .. math:: w = \frac{|g_i - g_j|\,(D(r) - D(r + 1))}{\mathrm{ideal\ DCG}}

    Parameters
    ----------
    n_permutations : int
        Rankings drawn at every call; cost is proportional, about one sort each.
    noise : float
        :math:`\tau`, in units of the scores.
    truncation_level : int or None
        Only neighbours whose upper rank is among the first `truncation_level` count.
    gain : "exp2", "linear", table or callable
        Gain of a label.
    random_state : int
        Seed of the noise, which is drawn anew at every call.

    References
    ----------
    Gulin, Kuralenok and Pavlov, "Winning the transfer learning track of Yahoo!'s learning to rank challenge
    with YetiRank", PMLR 14, 2011; Lyzhin, Ustimenko, Gulin and Prokhorenkova, "Which tricks are important for
    learning to rank?", ICML 2023, arXiv 2204.01500, section 3 (YetiLoss).

    Examples
    --------
    >>> import numpy as np
    >>> from lambdamart_kit.core.queries import Queries
    >>> bound = YetiLoss().bind([0, 1], Queries.from_qid(["a", "a"], 2))
    >>> bound.gradient_hessian(np.zeros(2, dtype=np.float32))[0].round(4)
    array([ 0.1845, -0.1845], dtype=float32)
    """

    n_permutations: int = 4
    noise: float = 1.0
    truncation_level: int | None = None
    gain: Gain = "exp2"
    random_state: int = 0

    def _bind_labels(
        self, labels: FloatArray, queries: Queries, weights: FloatArray, n_threads: int
    ) -> BoundKernel:
        discount = discounts(largest_size(queries) + 1)
        level = check_ranks(self.truncation_level, "truncation_level")
        check_ranks(self.n_permutations, "n_permutations")
        check_positive(self.noise, "noise")
        gain = gains(labels, self.gain)
        relative = gain / ideal_dcg_of_rows(gain, discount, level, queries)
        return BoundKernel(
            neighbour_gradients,
            labelled_queries(labels, relative, queries, weights),
            (NeighbourSettings(discount, level, self.n_permutations, float(self.noise)),),
            _new_scratch,
            queries.sizes,
            self.random_state,
            n_threads,
        )


def _new_scratch(capacity: int) -> tuple[Ranked, Noisy]:
    return new_ranked(capacity), new_noisy(capacity)
