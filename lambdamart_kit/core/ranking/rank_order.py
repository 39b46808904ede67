"""One query in rank order, as the pair kernels see it.

A query becomes a list of *entries*, from the highest score down. With ``merge`` an entry is all documents
that share score and label: they are interchangeable, so they get the same gradient to the bit and cost one
row of pairs together (on the all-zero scores of a first iteration a query has as many entries as labels).
Without it an entry is one document. Entries of equal score form a *block*, ranks ``rank[first]`` to
``rank[stop] - 1``, and the order of documents inside it counts as random.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lambdamart_kit.compile import inner
from lambdamart_kit.core.sorting import sort_workspace, stable_descending32
from lambdamart_kit.core.typing import Array, Float32Array, IndexArray

LANES = 32  # float32 numbers that one step of a vectorised and unrolled loop takes


class Ranked(NamedTuple):
    """Scratch for one query; arrays are longer than the query, only the first `n` entries count.

    They have `LANES` places to spare, always finite, so that loops may run to a whole number of steps.

    The weight of the pair of entries i and j, block of i above block of j, is

        |gain[i] - gain[j]| * (upper[i] - share[i] * lower[j])

    and inside a block ``|gain[i] - gain[j]| * within[i]``;
    :mod:`lambdamart_kit.core.ranking.swaps` fills the four.
    """

    score: Float32Array  # of the entry, descending
    label: Float32Array
    gain: Float32Array
    size: Float32Array  # documents in the entry
    mass: Float32Array  # weight of the entry in its pairs: its documents, or the sum of their factors
    rank: Array  # int32: first rank of the entry; one longer, so that rank[stop] closes the last block
    stop: Array  # int32: first entry after the block
    upper: Float32Array
    share: Float32Array
    lower: Float32Array
    within: Float32Array
    fall: Float32Array  # exp(-sigma (base - score)), the base a score above
    weight: Float32Array  # of the pairs of one row
    force: Float32Array  # minus the gradient, before scaling
    curvature: Float32Array
    cost: Float32Array  # loss of the entry's pairs, before scaling
    entry: Array  # int32: entry of the document at each rank
    # Queries without ties share their places and discounts. `ready` says how many leading entries have them.
    ready: IndexArray  # (2,): places (`rank`, `stop`, `entry`, `size`), discounts (`upper`, `share`, `lower`)
    order: IndexArray  # position in the layout of the document at each rank
    laid: Float32Array  # score of the document at each place of the layout
    sort_work: Array


def new_ranked(capacity: int) -> Ranked:
    """Scratch for queries of up to `capacity` documents; zeros, because padding is computed with.

    The mass of an entry is its size here, so one array serves for both; see `with_mass`.
    """
    padded = capacity + LANES
    integers = ("rank", "stop", "entry", "ready", "order", "sort_work")
    reals = {name: np.zeros(padded, np.float32) for name in Ranked._fields if name not in integers}
    reals["mass"] = reals["size"]
    return Ranked(
        **reals,
        rank=np.empty(padded, np.int32),
        stop=np.empty(capacity, np.int32),
        entry=np.empty(capacity, np.int32),
        ready=np.zeros(2, np.intp),
        order=np.empty(capacity, np.intp),
        sort_work=sort_workspace.py_func(capacity),
    )


def with_mass(ranked: Ranked) -> Ranked:
    """The same scratch for documents that carry factors: mass is not size."""
    return ranked._replace(mass=np.zeros(len(ranked.mass), np.float32))


@inner(borrows=True)
def rank_query(label: Float32Array, gain: Float32Array, merge: bool, ranked: Ranked) -> tuple[int, bool]:
    """Sort one query, whose scores are `laid`; returns how many entries it has and whether documents tie.

    `laid`, `label` and `gain` stand in layout order; with `merge` the layout must be by label descending.
    """
    n = len(label)
    order = ranked.order[:n]
    score = ranked.score
    scores = ranked.laid[:n]
    stable_descending32(scores, order, ranked.sort_work)
    for rank in range(np.uint64(n)):
        score[rank] = scores[np.uint64(order[rank])]
    if merge and _has_ties(score, n):
        # Merged entries overwrite the places, so the next query without ties has to fill them in again.
        ranked.ready[:] = 0
        return _merge_entries(label, gain, n, ranked), True
    for rank in range(np.uint64(n)):
        ranked.label[rank] = label[np.uint64(order[rank])]
        ranked.gain[rank] = gain[np.uint64(order[rank])]
    # Without ties the entry of a rank is the rank itself, in every query. So these arrays stay as they are
    # from query to query, and only ranks that no query has reached yet are filled in.
    for rank in range(ranked.ready[0], n):
        ranked.rank[rank] = rank
        ranked.rank[rank + 1] = rank + 1
        ranked.stop[rank] = rank + 1
        ranked.entry[rank] = rank
        ranked.size[rank] = 1.0
    ranked.ready[0] = max(ranked.ready[0], n)
    return n, False


@inner(borrows=True)
def _has_ties(score: Float32Array, n: int) -> bool:
    ties = 0
    # Ties are counted, not searched for: a loop that may stop early would not vectorise.
    for rank in range(np.uint64(1), np.uint64(n)):
        ties += score[rank] == score[rank - np.uint64(1)]
    return ties > 0


@inner(borrows=True)
def _merge_entries(label: Float32Array, gain: Float32Array, n: int, ranked: Ranked) -> int:
    """Entries of documents with equal score and label from the sorted scores; returns how many."""
    entry = -1
    last_score = np.float32(np.nan)
    last_label = np.float32(np.nan)
    # Labels stand descending within a block, because the layout is by
    # label and the sort by score is stable. So documents that share score
    # and label are neighbours. The NaN above differs from every score.
    for rank in range(n):
        at = ranked.order[rank]
        if ranked.score[rank] != last_score or label[at] != last_label:
            last_score = ranked.score[rank]
            last_label = label[at]
            entry += 1
            ranked.score[entry] = last_score  # entry <= rank: never ahead of the scores still to be read
            ranked.label[entry] = last_label
            ranked.gain[entry] = gain[at]
            ranked.rank[entry] = rank
        ranked.entry[rank] = entry
    n_entries = entry + 1
    ranked.rank[n_entries] = n
    # From the last entry up, so that the end of an entry's block is known when the loop reaches the entry.
    stop = n_entries
    for entry in range(n_entries - 1, -1, -1):
        ranked.size[entry] = ranked.rank[entry + 1] - ranked.rank[entry]
        if entry + 1 < n_entries and ranked.score[entry] != ranked.score[entry + 1]:
            stop = entry + 1
        ranked.stop[entry] = stop
    return n_entries


@inner(borrows=True)
def weigh_entries(n_entries: int, layout: IndexArray, factor: Float32Array, ranked: Ranked) -> None:
    """Fill `mass` from the `factor` of each row; call it after `rank_query`."""
    ranked.mass[:n_entries] = 0.0
    # Factors add up in rank order, which is canonical, so rounding does not depend on how the rows came.
    for rank in range(len(layout)):
        ranked.mass[ranked.entry[rank]] += factor[layout[ranked.order[rank]]]
