"""Lists merged from several rankings, and the credit that clicks on them give to each ranker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lambdamart_kit.core.gains import check_count
from lambdamart_kit.core.queries import factorize_ids
from lambdamart_kit.core.rows import as_ids
from lambdamart_kit.core.typing import Array, ArrayLike, FloatArray, IndexArray, RandomState


@dataclass(frozen=True, eq=False)
class MergedLists:
    r"""Lists to be shown, and what a click on each position is worth to each ranker.

    .. math:: \text{credit}_r = \sum_{i \text{ clicked}} w_{ir}

    Parameters
    ----------
    items : (n_lists, k) array
        The items to be shown, on top first.
    weights : (n_lists, k, n_rankers) float64
        Credit that a click at each position gives to each ranker.

    Examples
    --------
    >>> merged = MergedLists(np.array([["a", "b"]]), np.array([[[1.0, 0.0], [0.0, 1.0]]]))
    >>> merged.credit([[False, True]]).tolist()
    [[0.0, 1.0]]
    """

    items: Array
    weights: FloatArray

    def __len__(self) -> int:
        return len(self.items)

    def credit(self, clicked: ArrayLike) -> FloatArray:
        """What the clicks on each list are worth to each ranker.

        Parameters
        ----------
        clicked : (n_lists, k) array-like of bool
            Which positions were clicked.

        Returns
        -------
        (n_lists, n_rankers) array
            The ranker with the higher credit wins the impression.

        Raises
        ------
        ValueError
            If there is not one value for each position of each list.
        """
        clicks = self._check_clicks(clicked)
        return np.einsum("nk,nkr->nr", clicks, self.weights)

    def _check_clicks(self, clicked: ArrayLike) -> FloatArray:
        clicks = np.asarray(clicked)
        if clicks.shape != self.items.shape or not np.isin(clicks, (0, 1)).all():
            raise ValueError(
                f"'clicked' must say True or False for each position, shape {self.items.shape}; "
                f"got shape {clicks.shape}"
            )
        return clicks.astype(np.float64)


class Interleaving(ABC):
    """A way to merge the lists of several rankers into one, so that clicks tell which ranker is better.

    Examples
    --------
    >>> from lambdamart_kit.explore.interleaving import INTERLEAVINGS
    >>> all(isinstance(make(), Interleaving) for make in INTERLEAVINGS.values())
    True
    """

    def merge(
        self, rankings: Sequence[ArrayLike], k: int, *, size: int = 1, random_state: RandomState = None
    ) -> MergedLists:
        """Merge the rankings of one query into lists of `k` items.

        Parameters
        ----------
        rankings : sequence of (n_items,) array-like
            For each ranker its items, best first: any ids, all different. Rankers need not rank the same
            items.
        k : int
            Length of a merged list; all items when there are fewer.
        size : int
            Lists to draw: one for each impression of the query.
        random_state : int, Generator or None
            Seed of the draws; None draws differently every time.

        Returns
        -------
        MergedLists
            The lists, and how their clicks are credited.

        Raises
        ------
        ValueError
            If there are fewer than two rankings, or one is empty or repeats an item.
        """
        table = RankTable.of(rankings)
        length = min(check_count(k, name="k"), len(table.items))
        rng = np.random.default_rng(random_state)
        return self._merge(table, length, check_count(size, name="size"), rng)

    @abstractmethod
    def _merge(self, table: RankTable, k: int, size: int, rng: np.random.Generator) -> MergedLists:
        """As `merge`, with checked arguments."""


class RankTable(NamedTuple):
    """Where each ranker puts each item: 0 on top, infinity where it does not rank the item."""

    items: Array  # (n_items,)
    ranks: FloatArray  # (n_rankers, n_items)

    @classmethod
    def of(cls, rankings: Sequence[ArrayLike]) -> RankTable:
        """The table of checked rankings."""
        lists = [as_ids(ranking) for ranking in rankings]
        # Joined, lists of numbers and lists of text would all be text.
        mixed = len({ranking.dtype.kind in "US" for ranking in lists}) > 1
        if len(lists) < 2:
            raise ValueError(f"'rankings' must hold the lists of at least two rankers; got {len(lists)}")
        for number, ranking in enumerate(lists):
            if ranking.ndim != 1 or not len(ranking):
                raise ValueError(
                    f"'rankings' must be one-dimensional and not empty; that of ranker {number} has shape "
                    f"{ranking.shape}"
                )
        items, codes = factorize_ids(
            [one for ranking in lists for one in ranking.tolist()] if mixed else np.concatenate(lists),
            "rankings",
        )
        ends = np.cumsum([len(ranking) for ranking in lists])[:-1]
        ranks = np.full((len(lists), len(items)), np.inf)
        for number, code in enumerate(np.split(codes, ends)):
            if len(np.unique(code)) < len(code):
                raise ValueError(f"'rankings' must not repeat an item; that of ranker {number} does")
            ranks[number, code] = np.arange(len(code))
        return cls(items, ranks)

    def top(self, k: int) -> RankTable:
        """Only the items that some ranker has among its first `k`: no others can get into a merged list."""
        reachable = self.ranks.min(axis=0) < k
        return RankTable(self.items[reachable], self.ranks[:, reachable])


def next_items(ranks: FloatArray, placed: Array) -> tuple[IndexArray, Array]:
    """The best item that is not placed yet, for the ranks (size, n_items), and whether there is one."""
    left = np.where(placed, np.inf, ranks)
    item = left.argmin(axis=1)
    return item, np.isfinite(left[np.arange(len(left)), item])
