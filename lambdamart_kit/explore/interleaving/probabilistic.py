"""Probabilistic interleaving: rankers draw items, and every ranker that might have drawn one is credited."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lambdamart_kit.explore.interleaving.merged import Interleaving, MergedLists, RankTable


@dataclass(frozen=True, kw_only=True)
class Probabilistic(Interleaving):
    r"""Probabilistic interleaving, and multileaving with more than two rankers.

    A ranker is drawn at random for each position, and draws an item d that is not in the list yet with
    probability

    .. math:: P_r(d) \propto \text{rank}_r(d)^{-\tau}, \qquad
              w_{dr} = \frac{P_r(d)}{\sum_{r'} P_{r'}(d)}

    (ranks from 1). A click on d gives each ranker the probability :math:`w_{dr}` that it drew d: the
    expectation over all assignments that might have led to the list. Every list is possible, which also
    shows lists that neither ranker would have shown.

    Parameters
    ----------
    tau : float
        > 0: how steeply the probability falls with the rank.

    References
    ----------
    Hofmann, Whiteson and de Rijke (2011), "A probabilistic method for inferring preferences from clicks",
    CIKM, sections 4.1 and 4.2. Schuth et al. (2015), "Probabilistic multileave for online retrieval
    evaluation", SIGIR.

    Examples
    --------
    >>> merged = Probabilistic().merge([["a", "b"], ["b", "a"]], k=2, random_state=0)
    >>> merged.items.tolist(), merged.weights[0, 0].round(4).tolist()    # 1 and 1 / 8, of 9 / 8
    ([['a', 'b']], [0.8889, 0.1111])
    """

    tau: float = 3.0

    def _merge(self, table: RankTable, k: int, size: int, rng: np.random.Generator) -> MergedLists:
        if not (np.isfinite(self.tau) and self.tau > 0):
            raise ValueError(f"'tau' must be finite and > 0; got {self.tau!r}")
        items, ranks = table
        n_rankers = len(ranks)
        each = np.arange(size)
        left = np.tile((1.0 + ranks) ** -self.tau, (size, 1, 1))  # (size, n_rankers, n_items)
        lists = np.empty((size, k), dtype=np.intp)
        weights = np.empty((size, k, n_rankers))
        for position in range(k):
            total = left.sum(axis=2, keepdims=True)
            drawn = np.divide(left, total, out=np.zeros_like(left), where=total > 0)
            # Of exponential times over rates, the smallest is at each place with probability of its rate.
            chance = drawn.sum(axis=1)
            with np.errstate(divide="ignore"):
                item = (rng.exponential(size=chance.shape) / chance).argmin(axis=1)
            lists[:, position] = item
            of_item = drawn[each, :, item]
            weights[:, position] = of_item / of_item.sum(axis=1, keepdims=True)
            left[each, :, item] = 0.0
        return MergedLists(items[lists], weights)
