"""YetiLoss: a smoothed metric by sampling noisy rankings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lambdamart_kit.core.gains import Gain, discounts, gains
from lambdamart_kit.core.lambdas import LabelledQueries
from lambdamart_kit.core.neighbours import neighbour_gradients
from lambdamart_kit.core.parallel import balanced_bounds, resolve_n_jobs, run_tasks, threads_used
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.ranked import new_ranked, with_mass
from lambdamart_kit.core.typing import ArrayLike, Float32Array, FloatArray
from lambdamart_kit.core.weights import query_weights
from lambdamart_kit.objectives.base import (
    CallSeeds,
    check_labels,
    check_level,
    check_positive,
    check_scores,
)
from lambdamart_kit.objectives.pairwise import ideal_dcg_of_rows, labelled_queries, largest_size


@dataclass(frozen=True, kw_only=True)
class YetiLoss:
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
    >>> bound = YetiLoss().bind([0, 1], Queries.from_qid(["a", "a"], 2))
    >>> bound.gradient_hessian(np.zeros(2, dtype=np.float32))[0].round(4)
    array([ 0.1845, -0.1845], dtype=float32)
    """

    n_permutations: int = 4
    noise: float = 1.0
    truncation_level: int | None = None
    gain: Gain = "exp2"
    random_state: int = 0

    def bind(
        self,
        y: ArrayLike,
        queries: Queries,
        sample_weight: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
    ) -> BoundYeti:
        """Bind to labels and queries; `y` and `sample_weight` are row-aligned."""
        labels = check_labels(y, queries)
        gain, discount = gains(labels, self.gain), discounts(largest_size(queries) + 1)
        level = check_level(self.truncation_level, "truncation_level")
        check_level(self.n_permutations, "n_permutations")
        check_positive(self.noise, "noise")
        relative = gain / ideal_dcg_of_rows(gain, discount, level, queries)
        bound = labelled_queries(labels, relative, queries, query_weights(sample_weight, queries))
        return BoundYeti(self, level, bound, discount, resolve_n_jobs(n_threads))


class BoundYeti(CallSeeds):
    """YetiLoss bound to labels and queries."""

    def __init__(
        self,
        objective: YetiLoss,
        level: int,
        queries: LabelledQueries,
        discount: FloatArray,
        n_threads: int,
    ) -> None:
        super().__init__(objective.random_state)
        self.objective = objective
        self._queries = queries
        self._settings = (discount, level, objective.n_permutations, float(objective.noise))
        self._n_threads = n_threads
        self._bounds = balanced_bounds(np.diff(queries.ptr), n_threads, tasks_per_thread=4)
        capacity = int(np.diff(queries.ptr).max(initial=0))
        self._scratch = [
            (new_ranked(capacity), np.empty(capacity, np.float32), np.empty(capacity, np.intp))
            for _ in range(threads_used(self._bounds, n_threads))
        ]
        self._gradient = np.empty(len(queries.label), dtype=np.float32)
        self._hessian = np.empty(len(queries.label), dtype=np.float32)

    def gradient_hessian(self, scores: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Gradient and hessian at `scores`, ordered rows; the buffers are reused by the next call."""
        self._run(scores, None, None)
        return self._gradient, self._hessian

    def weighted(
        self, scores: Float32Array, factor: Float32Array
    ) -> tuple[Float32Array, Float32Array, Float32Array]:
        """With the weight of each pair times the factors of its rows; see `BoundPairs.weighted`."""
        cost = np.empty_like(self._gradient)
        self._run(scores, np.ascontiguousarray(factor, dtype=np.float32), cost)
        return self._gradient, self._hessian, cost

    def _run(self, scores: Float32Array, factor: Float32Array | None, cost: Float32Array | None) -> None:
        ordered = check_scores(scores, len(self._gradient))
        seed, scratch = self.next_seed(), self._scratch
        if factor is not None:
            scratch = [(with_mass(ranked), noisy, order) for ranked, noisy, order in scratch]
        run_tasks(
            neighbour_gradients, self._bounds, self._n_threads, self._queries, *self._settings, seed,
            ordered, self._gradient, self._hessian, factor, cost, scratch=scratch,
        )  # fmt: skip
