"""Team-draft and balanced interleaving: the rankers take turns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lambdamart_kit.core.typing import Array, ArrayLike, FloatArray, IndexArray
from lambdamart_kit.explore.interleaving.merged import Interleaving, MergedLists, RankTable, next_items


@dataclass(frozen=True)
class TeamDraft(Interleaving):
    """Team-draft interleaving, and multileaving with more than two rankers.

    In every round the rankers choose in random order; each adds its best item that is not in the list yet
    and gets the credit for clicks on it. Two rankers of the same quality share the clicks of any user who
    clicks by position alone, whatever the position bias.

    References
    ----------
    Radlinski, Kurup and Joachims (2008), "How does clickthrough data reflect retrieval quality?", CIKM,
    algorithm 2. Schuth, Sietsma, Whiteson, Lefortier and de Rijke (2014), "Multileaved comparisons for fast
    online evaluation", CIKM, algorithm 1.

    Examples
    --------
    >>> merged = TeamDraft().merge([["a", "b", "c"], ["b", "c", "d"]], k=3, random_state=1)
    >>> merged.items.tolist(), merged.credit([[True, False, False]]).tolist()
    ([['a', 'b', 'c']], [[1.0, 0.0]])
    """

    def _merge(self, table: RankTable, k: int, size: int, rng: np.random.Generator) -> MergedLists:
        items, ranks = table.top(k)
        n_rankers = len(ranks)
        each = np.arange(size)
        placed = np.zeros((size, len(items)), dtype=bool)
        lists = np.empty((size, k), dtype=np.intp)
        weights = np.zeros((size, k, n_rankers))
        # Every round is a random order of the rankers, so after each round all have chosen equally often.
        for position in range(k):
            turn = position % n_rankers
            if turn == 0:
                order = rng.permuted(np.tile(np.arange(n_rankers), (size, 1)), axis=1)
            ranker, item = _chosen(order, turn, ranks, placed)
            lists[:, position] = item
            weights[each, position, ranker] = 1.0
            placed[each, item] = True
        return MergedLists(items[lists], weights)


def _chosen(order: IndexArray, turn: int, ranks: FloatArray, placed: Array) -> tuple[IndexArray, IndexArray]:
    """Who chooses and what: a ranker without items left passes to the next of the `order`."""
    n_rankers = order.shape[1]
    ranker = order[:, turn].copy()
    item, found = next_items(ranks[ranker], placed)
    for further in range(1, n_rankers):
        if found.all():
            break
        passing = np.flatnonzero(~found)
        ranker[passing] = order[passing, (turn + further) % n_rankers]
        item[passing], found[passing] = next_items(ranks[ranker[passing]], placed[passing])
    return ranker, item


@dataclass(frozen=True, eq=False)
class BalancedLists(MergedLists):
    """Lists of balanced interleaving, where clicks are counted down to the depth of the lowest one.

    Parameters
    ----------
    items : (n_lists, k) array
        The items to be shown, on top first.
    weights : (n_lists, k, 2) float64
        Rank of the item at each position by each ranker, 0 on top; infinity where it does not rank it.

    Examples
    --------
    >>> merged = Balanced().merge([["a", "b", "c"], ["b", "c", "a"]], k=2, size=20, random_state=0)
    >>> sorted(set(map(tuple, merged.items.tolist())))
    [('a', 'b'), ('b', 'a')]
    """

    def credit(self, clicked: ArrayLike) -> FloatArray:
        """How many of the clicked items each ranker has among its first j.

        j is the depth to which one of the rankers must be read to find the lowest clicked item.

        Parameters
        ----------
        clicked : (n_lists, k) array-like of bool
            Which positions were clicked.

        Returns
        -------
        (n_lists, 2) array
            The ranker with more of the clicks wins the impression.
        """
        clicks = self._check_clicks(clicked)
        lowest = np.where(clicks > 0, np.arange(clicks.shape[1]), -1).max(axis=1)
        depth = self.weights[np.arange(len(clicks)), lowest].min(axis=1)
        within = self.weights <= depth[:, None, None]
        return np.einsum("nk,nkr->nr", clicks, within.astype(np.float64))


@dataclass(frozen=True)
class Balanced(Interleaving):
    """Balanced interleaving of two rankers.

    The merged list is read off the two lists in turns, with a coin for who begins, so that every prefix of
    it consists of the first items of both, as evenly as possible. It can favour one of two rankers that are
    equally good: for the lists (a, b, c) and (b, c, a), a user who clicks one position at random prefers
    the second. :class:`TeamDraft` does not.

    References
    ----------
    Joachims (2003), "Evaluating retrieval performance using clickthrough data", in Text Mining, section 4.
    Chapelle, Joachims, Radlinski and Yue (2012), "Large-scale validation and analysis of interleaved search
    evaluation", ACM TOIS 30(1), algorithm 1 and section 3.1.

    Examples
    --------
    >>> merged = Balanced().merge([["a", "b"], ["b", "c"]], k=3, random_state=0)
    >>> sorted(merged.items[0].tolist())
    ['a', 'b', 'c']
    """

    def _merge(self, table: RankTable, k: int, size: int, rng: np.random.Generator) -> MergedLists:
        if len(table.ranks) != 2:
            raise ValueError(
                f"'rankings' must be two for balanced interleaving; got {len(table.ranks)}; TeamDraft, "
                "Probabilistic and Optimised take more"
            )
        items, ranks = table.top(k)
        pair = np.stack([_balanced(ranks, first, k) for first in (0, 1)])
        lists = pair[rng.integers(0, 2, size)]
        return BalancedLists(items[lists], np.moveaxis(ranks[:, lists], 0, -1))


def _balanced(ranks: FloatArray, first: int, k: int) -> IndexArray:
    """The merged list of k items when ranker `first` begins."""
    orders = [np.argsort(row, kind="stable")[: int(np.isfinite(row).sum())] for row in ranks]
    read = [0, 0]
    merged: list[int] = []
    # Each step reads one more item of the list that was read less, and adds it unless it is there already.
    while len(merged) < k:
        behind = first if read[0] == read[1] else int(read[1] < read[0])
        ranker = behind if read[behind] < len(orders[behind]) else 1 - behind
        item = int(orders[ranker][read[ranker]])
        read[ranker] += 1
        if item not in merged:
            merged.append(item)
    return np.array(merged, dtype=np.intp)
