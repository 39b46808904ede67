"""Optimised interleaving: the lists and their probabilities come from a linear program."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array, hstack, identity, vstack

from lambdamart_kit.core.gains import check_choice, check_count
from lambdamart_kit.core.typing import Array, ArrayLike, FloatArray, IndexArray
from lambdamart_kit.explore.interleaving.merged import Interleaving, MergedLists, RankTable

_SLACK_PRICE = 1e4  # of a unit of bias, against variances of order 1
_TRIES_PER_LIST = 20


@dataclass(frozen=True, kw_only=True)
class Optimised(Interleaving):
    r"""Optimised interleaving, and multileaving with more than two rankers.

    Only lists are shown that arise from adding, again and again, the best remaining item of some ranker. A
    click on d gives ranker r the credit :math:`w_{dr} = 1 / \text{rank}_r(d)`. The probabilities :math:`p_L`
    of the lists solve a linear program:

    .. math:: \min_p \sum_L p_L \sum_r \Big(\sum_i \tfrac1i (w_{L_i r} - \bar w_{L_i})\Big)^2
              \quad \text{subject to} \quad
              \sum_L p_L \sum_{i \le j} w_{L_i r} \text{ is the same for all } r, \text{ for each } j

    so that a user who clicks by position alone, with any position bias that falls, prefers no ranker *in the
    mean of the credits*: compare those (:func:`mean_test`).

    Parameters
    ----------
    credit : {"inverse", "linear"}
        "inverse": 1 / rank; "linear": minus the rank. An item that a ranker does not have counts as one
        below the last rank of any ranker.
    max_lists : int
        With more possible lists than that, so many are drawn at random.

    References
    ----------
    Radlinski and Craswell (2013), "Optimized interleaving for online retrieval evaluation", WSDM, section 3.
    Schuth et al. (2014), "Multileaved comparisons for fast online evaluation", CIKM, section 4.2 (the
    objective, and several rankers).

    Examples
    --------
    >>> lists, chance, bias = Optimised().distribution([["a", "b"], ["b", "a"]], k=2)
    >>> lists.tolist(), chance.round(6).tolist(), round(bias, 6)
    ([['a', 'b'], ['b', 'a']], [0.5, 0.5], 0.0)
    """

    credit: str = "inverse"
    max_lists: int = 500

    def distribution(self, rankings: list[ArrayLike], k: int) -> tuple[Array, FloatArray, float]:
        """The lists that may be shown and their probabilities.

        Parameters
        ----------
        rankings : sequence of (n_items,) array-like
            For each ranker its items, best first.
        k : int
            Length of a merged list.

        Returns
        -------
        lists : (n_lists, k) array
            Lists with a probability above 0.
        probabilities : (n_lists,) float64
            Their probabilities.
        bias : float
            Largest difference of the rankers' expected credits over all depths; 0 where the constraints can
            be met.
        """
        table = RankTable.of(rankings)
        length = min(check_count(k, name="k"), len(table.items))
        lists, _, chance, bias = self._solve(table, length, np.random.default_rng(0))
        shown = chance > 0
        return table.top(length).items[lists[shown]], chance[shown], bias

    def _merge(self, table: RankTable, k: int, size: int, rng: np.random.Generator) -> MergedLists:
        lists, weights, chance, _ = self._solve(table, k, rng)
        drawn = rng.choice(len(lists), size=size, p=chance)
        return MergedLists(table.top(k).items[lists[drawn]], weights[drawn])

    def _solve(
        self, table: RankTable, k: int, rng: np.random.Generator
    ) -> tuple[IndexArray, FloatArray, FloatArray, float]:
        """Lists (n_lists, k) of items of ``table.top(k)``, their weights, their probabilities, the bias."""
        check_choice(self.credit, ("inverse", "linear"), name="credit")
        ranks = table.top(k).ranks
        lists = _prefix_lists(ranks, k, check_count(self.max_lists, name="max_lists"), rng)
        below_all = ranks[np.isfinite(ranks)].max() + 1.0
        places = 1.0 + np.where(np.isfinite(ranks), ranks, below_all)
        worth = 1.0 / places if self.credit == "inverse" else -places
        weights = np.moveaxis(worth[:, lists], 0, -1)  # (n_lists, k, n_rankers)
        chance, bias = _probabilities(weights)
        return lists, weights, chance, bias


def _prefix_lists(ranks: FloatArray, k: int, most: int, rng: np.random.Generator) -> IndexArray:
    """All lists made by adding the best remaining item of some ranker, or `most` of them drawn at random."""
    orders = [np.argsort(row, kind="stable")[: int(np.isfinite(row).sum())].tolist() for row in ranks]
    found: set[tuple[int, ...]] = {()}
    for _ in range(k):
        found = {(*prefix, item) for prefix in found for item in _heads(orders, prefix)}
        if len(found) > most:
            found = _drawn_lists(orders, k, most, rng)
            break
    return np.array(sorted(found), dtype=np.intp)


def _drawn_lists(
    orders: list[list[int]], k: int, most: int, rng: np.random.Generator
) -> set[tuple[int, ...]]:
    drawn: set[tuple[int, ...]] = set()
    # Each list adds the head of a ranker drawn at random, position by position; repeated lists do not count.
    for coins in rng.random((_TRIES_PER_LIST * most, k)).tolist():
        prefix: tuple[int, ...] = ()
        for coin in coins:
            heads = _heads(orders, prefix)
            prefix = (*prefix, heads[int(coin * len(heads))])
        drawn.add(prefix)
        if len(drawn) == most:
            break
    return drawn


def _heads(orders: list[list[int]], prefix: tuple[int, ...]) -> list[int]:
    """The best remaining item of each ranker that has one left; a ranker's head may come twice."""
    firsts = (next((item for item in order if item not in prefix), None) for order in orders)
    return [item for item in firsts if item is not None]


def _probabilities(weights: FloatArray) -> tuple[FloatArray, float]:
    """Probabilities of the lists by the linear program, and how far the constraints are from being met."""
    n_lists, k, n_rankers = weights.shape
    apart = weights - weights.mean(axis=2, keepdims=True)
    examined = 1.0 / np.arange(1, k + 1)
    variance = (np.einsum("lkr,k->lr", apart, examined) ** 2).sum(axis=1)
    # One row for each depth and ranker: the expected credit down to there, less that of the mean ranker.
    depth = np.cumsum(apart, axis=1).reshape(n_lists, k * n_rankers).T
    n_rows = len(depth)
    slack = identity(n_rows, format="csr")
    constraints = hstack([csr_array(depth), slack, -slack], format="csr")
    total = np.concatenate([np.ones(n_lists), np.zeros(2 * n_rows)])[None]
    solution = linprog(
        np.concatenate([variance, np.full(2 * n_rows, _SLACK_PRICE)]),
        A_eq=vstack([constraints, csr_array(total)], format="csr"),
        b_eq=np.concatenate([np.zeros(n_rows), [1.0]]),
        bounds=(0, None),
        method="highs",
    )
    if not solution.success:
        raise RuntimeError(f"the linear program of optimised interleaving failed: {solution.message}")
    chance = np.clip(solution.x[:n_lists], 0.0, None)
    chance = chance / chance.sum()
    expected = (depth @ chance).reshape(k, n_rankers)
    return chance, float(np.ptp(expected, axis=1).max())
