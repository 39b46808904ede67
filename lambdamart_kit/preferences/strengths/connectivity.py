"""When Bradley-Terry strengths exist: connectivity of the graph of wins.

Without a prior, a finite maximum-likelihood estimate exists if and only if from every item one can reach
every other along "beat or tied with" (Ford 1957): otherwise some group never lost to the rest and its lead
has no upper limit. A free tie parameter adds one more way to infinity, see :func:`ties_outweigh_wins`.

References
----------
Ford (1957), "Solution of a ranking problem from binary comparisons", American Mathematical Monthly 64.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
from scipy.sparse import csgraph

from lambdamart_kit.core.typing import IndexArray
from lambdamart_kit.preferences.strengths.comparisons import Comparisons


def strong_components(comparisons: Comparisons) -> IndexArray:
    """Component of each item, (n_items,), numbered by their first item; ties count in both directions."""
    first, second, outcome = comparisons.first, comparisons.second, comparisons.outcome
    won, lost = outcome > 0.0, outcome < 1.0
    graph = _graph(
        np.concatenate([first[won], second[lost]]),
        np.concatenate([second[won], first[lost]]),
        np.ones(won.sum() + lost.sum()),
        comparisons.n_items,
    )
    _, labels = csgraph.connected_components(graph, directed=True, connection="strong")
    _, start, code = np.unique(labels, return_index=True, return_inverse=True)
    renumbered = np.empty(len(start), dtype=np.intp)
    renumbered[np.argsort(start)] = np.arange(len(start))
    return renumbered[code]


def ties_outweigh_wins(comparisons: Comparisons) -> bool:
    """Whether strengths and a free tie parameter can run off to infinity together.

    Along the direction ``(d, c = 1)`` the likelihood of Davidson's and of Rao and Kupper's model never falls
    if ``d_i - d_j >= 1`` for every win of i over j and ``|d_i - d_j| <= 1`` for every tie (d in units of the
    tie threshold). Such a d exists if and only if no cycle has more wins than ties: difference constraints,
    so a negative cycle of weights -1 (win) and +1 (tie) is what rules it out.
    """
    first, second, outcome = comparisons.first, comparisons.second, comparisons.outcome
    won, lost, tied = outcome == 1.0, outcome == 0.0, (outcome > 0.0) & (outcome < 1.0)
    winner, loser = (
        np.concatenate([first[won], second[lost]]),
        np.concatenate([second[won], first[lost]]),
    )
    n_items = comparisons.n_items
    wins = _graph(winner, loser, np.ones(len(winner)), n_items)
    n_components, _ = csgraph.connected_components(wins, directed=True, connection="strong")
    if n_components < n_items:  # a cycle of wins alone
        return False
    # A virtual source reaches every item, so that one search finds a negative cycle wherever it is.
    items = np.arange(n_items)
    rows = np.concatenate([winner, first[tied], second[tied], np.full(n_items, n_items)])
    columns = np.concatenate([loser, second[tied], first[tied], items])
    lengths = np.concatenate([np.full(len(winner), -1.0), np.ones(2 * tied.sum()), np.full(n_items, 1.0)])
    # Of parallel edges the win (-1) binds: keep the smallest.
    order = np.lexsort((lengths, columns, rows))
    rows, columns, lengths = rows[order], columns[order], lengths[order]
    smallest = np.concatenate(([True], (np.diff(rows) != 0) | (np.diff(columns) != 0)))
    graph = _graph(rows[smallest], columns[smallest], lengths[smallest], n_items + 1)
    try:
        csgraph.bellman_ford(graph, indices=np.array([n_items]))
    except csgraph.NegativeCycleError:
        return False
    return True


def describe_components(comparisons: Comparisons, labels: IndexArray) -> str:
    """What is wrong with a graph that falls apart, in a sentence that names items."""
    sizes = np.bincount(labels)
    alone = np.flatnonzero(sizes[labels] == 1)
    named = ", ".join(repr(item) for item in comparisons.items[alone[:5]].tolist())
    named += ", ..." if len(alone) > 5 else ""
    example = f"; {len(alone)} alone in theirs (never won or never lost): {named}" if len(alone) else ""
    return f"the items fall into {len(sizes)} strongly connected components (largest {sizes.max()}){example}"


def _graph(rows: IndexArray, columns: IndexArray, values: np.ndarray, n_items: int) -> scipy.sparse.csr_array:
    return scipy.sparse.csr_array((values, (rows, columns)), shape=(n_items, n_items))
