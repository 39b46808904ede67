"""Gradients of the lambda objectives: the pair model over all pairs of a query, each with its weight.

For a pair of documents of one query, `high` with the larger label,

    gradient[high] -= sigma   * weight * (1 - p)        p = 1 / (1 + exp(-sigma * (s[high] - s[low])))
    gradient[low]  += sigma   * weight * (1 - p)
    hessian[both]  += sigma^2 * weight * p * (1 - p)

The kernel takes one query at a time, in four steps:

1. sort the documents by score (:mod:`lambdamart_kit.core.ranking.rank_order`);
2. compute what pair weights are made of (:mod:`lambdamart_kit.core.ranking.swaps`);
3. go through the pairs (:mod:`lambdamart_kit.core.ranking.pair_loop`);
4. scale the sums and write them to the rows of the query.

Queries share nothing, so the result is the same to the bit on any number of threads.

A document may carry a factor. The weight of a pair is then multiplied by the factors of both documents.
Documents of one entry differ in nothing else, so an entry counts with its mass, the sum of its factors. If
the factor is the document's weight, the entry also takes as many places of the ranking as it has mass.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lambdamart_kit.compile import inner, kernel
from lambdamart_kit.core.ranking.distances import Distances, list_tied
from lambdamart_kit.core.ranking.labelled import LabelledQueries, RowFactors, ScoredRows
from lambdamart_kit.core.ranking.pair_loop import WINNER, PairSettings, pair_rows
from lambdamart_kit.core.ranking.places import placed_swaps
from lambdamart_kit.core.ranking.rank_order import Ranked, rank_query, weigh_entries
from lambdamart_kit.core.ranking.swaps import (
    AVERAGE_PRECISION,
    EXPECTED_RECIPROCAL_RANK,
    RECIPROCAL_RANK,
    average_precision_swaps,
    discount_swaps,
    expected_reciprocal_rank_swaps,
    reciprocal_rank_swaps,
)
from lambdamart_kit.core.splitmix import query_seed, shuffle
from lambdamart_kit.core.typing import Float32Array, IndexArray


class Shuffled(NamedTuple):
    """Scratch for a query whose documents are laid out in random order, so that ties fall at random."""

    places: IndexArray
    layout: IndexArray
    label: Float32Array
    gain: Float32Array


def new_shuffled(capacity: int) -> Shuffled:
    """Scratch for queries of up to `capacity` documents."""
    return Shuffled(
        places=np.empty(capacity, np.intp),
        layout=np.empty(capacity, np.intp),
        label=np.empty(capacity, np.float32),
        gain=np.empty(capacity, np.float32),
    )


@kernel(borrows=True, shared=True)
def lambda_gradients(
    first: int,
    last: int,
    ranked: Ranked,
    distances: Distances | None,
    shuffled: Shuffled | None,
    queries: LabelledQueries,
    settings: PairSettings,
    metric: int | None,
    n_partners: int | None,
    seed: np.uint64,
    rows: ScoredRows,
    factors: RowFactors | None,
) -> None:
    """Fill gradient and hessian of `rows` for the queries `first` to `last` - 1.

    Where an argument is None, no code is compiled for it. That shortens the time to the first gradient, and
    it keeps the pair loop short enough to be optimised well.

    Parameters
    ----------
    first, last : int
        Queries to compute.
    ranked, distances, shuffled
        Scratch of this thread. `distances` is for ``weighting=DISTANCE`` only, `shuffled` for documents whose
        ties fall at random. With `factors`, `ranked` must come from `with_mass`.
    queries, settings
        What the objective is, see there.
    metric : int or None
        The metric that swaps are measured in, one of :mod:`lambdamart_kit.core.ranking.swaps`; None is a sum
        of gains times discounts.
    n_partners : int or None
        None pairs an entry with all entries below it; a number with a random run of that many of them.
    seed : uint64
        Seed of shuffles and partners.
    rows, factors
        What is read and filled. `factors` is None where documents carry none.
    """
    for q in range(first, last):
        start = queries.ptr[q]
        stop = queries.ptr[q + 1]
        # No pair of this query can have a weight. Its rows still need
        # zeros, because the buffers are reused.
        if queries.scale[q] == 0.0:
            rows.gradient[start:stop] = 0.0
            rows.hessian[start:stop] = 0.0
            if factors is not None:
                factors.cost[start:stop] = 0.0
            continue
        layout = queries.layout[start:stop]
        label = queries.label[start:stop]
        gain = queries.gain[start:stop]
        own_seed = query_seed(seed, q)
        if shuffled is not None:
            layout, label, gain = _shuffle(own_seed, layout, label, gain, shuffled)
        # Scores are gathered into layout order once, and the sort then reads them one after the other.
        # Indices are unsigned, because Numba tests signed ones for being negative.
        for i in range(np.uint64(len(layout))):
            ranked.laid[i] = rows.scores[np.uint64(layout[i])]
        n_entries, tied = rank_query(label, gain, settings.merge, ranked)
        if factors is not None:
            weigh_entries(n_entries, layout, factors.factor, ranked)
        if metric is not None:
            _fill_other_swaps(n_entries, metric, settings.truncation, ranked)
        elif factors is not None and factors.takes_places:
            placed_swaps(n_entries, settings, settings.weighting == WINNER, ranked)
        elif tied or ranked.ready[1] < n_entries:  # untied queries share their swaps: see `Ranked.ready`
            winner = settings.weighting == WINNER
            discount_swaps(n_entries, tied, settings.discounts, settings.truncation, winner, ranked)
        # Only distances between the ranks of tied documents need the list of tied blocks.
        n_tied = 0
        if distances is not None and tied:
            n_tied = list_tied(n_entries, ranked, distances)
        total = pair_rows(n_entries, n_tied, settings, distances, n_partners, own_seed, ranked, factors)
        # Both documents of a pair get |lambda| = sigma * weight * (1 - p), and `total` sums
        # weight * (1 - p). So S, the sum of 2 |lambda| over the pairs, is 2 * sigma * total.
        scale = queries.scale[q]
        if settings.normalize and total > 0.0:
            doubled = 2.0 * settings.sigma * total
            scale *= np.log2(1.0 + doubled) / doubled
        # With z = sigma (s_high - s_low) the chain rule gives d/ds_high of -log sigma(z) = -sigma (1 - p),
        # and the second derivative sigma^2 p (1 - p). The pair loop leaves the powers of sigma out, because
        # they are the same for all pairs.
        by_gradient = np.float32(-settings.sigma * scale)
        by_hessian = np.float32(settings.sigma * settings.sigma * settings.hessian_factor * scale)
        _scatter(layout, by_gradient, by_hessian, ranked, rows.gradient, rows.hessian)
        if factors is not None:
            _scatter_factors(layout, np.float32(scale), ranked, rows, factors)


@inner(borrows=True)
def _shuffle(
    seed: np.uint64, layout: IndexArray, label: Float32Array, gain: Float32Array, shuffled: Shuffled
) -> tuple[IndexArray, Float32Array, Float32Array]:
    """Layout, labels and gains of a query in random order."""
    n = len(layout)
    places = shuffled.places
    for i in range(n):
        places[i] = i
    # Equal scores are ranked by their place in the layout, so a random layout puts ties in random order.
    shuffle(places[:n], seed)
    for i in range(n):
        at = places[i]
        shuffled.layout[i] = layout[at]
        shuffled.label[i] = label[at]
        shuffled.gain[i] = gain[at]
    return shuffled.layout[:n], shuffled.label[:n], shuffled.gain[:n]


@inner(borrows=True)
def _fill_other_swaps(n_entries: int, metric: int, truncation: int, ranked: Ranked) -> None:
    if metric == AVERAGE_PRECISION:
        average_precision_swaps(n_entries, truncation, ranked)
    elif metric == RECIPROCAL_RANK:
        reciprocal_rank_swaps(n_entries, truncation, ranked)
    elif metric == EXPECTED_RECIPROCAL_RANK:
        expected_reciprocal_rank_swaps(n_entries, truncation, ranked)


@inner(borrows=True)
def _scatter(
    layout: IndexArray,
    by_gradient: np.float32,
    by_hessian: np.float32,
    ranked: Ranked,
    gradient: Float32Array,
    hessian: Float32Array,
) -> None:
    """Give every row of a query the scaled sums of its entry."""
    order = ranked.order
    entry_of = ranked.entry
    force = ranked.force
    curvature = ranked.curvature
    # All documents of an entry get the sums of the entry. Order and entries are indexed by rank, gradient
    # and hessian by row, so the writes are scattered.
    for rank in range(np.uint64(len(layout))):
        row = np.uint64(layout[np.uint64(order[rank])])
        entry = np.uint64(entry_of[rank])
        gradient[row] = by_gradient * force[entry]
        # A weight that should be 0 may round to just below it (expected swaps of tied blocks).
        hessian[row] = by_hessian * max(curvature[entry], np.float32(0.0))


@inner(borrows=True)
def _scatter_factors(
    layout: IndexArray, scale: np.float32, ranked: Ranked, rows: ScoredRows, factors: RowFactors
) -> None:
    """Multiply what `_scatter` wrote by each row's own factor, and write the cost of its pairs."""
    # The sums of an entry hold the masses of the other documents
    # only, so a row's own factor is still missing.
    for rank in range(len(layout)):
        row = layout[ranked.order[rank]]
        rows.gradient[row] *= factors.factor[row]
        rows.hessian[row] *= factors.factor[row]
        factors.cost[row] = scale * max(ranked.cost[ranked.entry[rank]], np.float32(0.0))
