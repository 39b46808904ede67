"""What swapping two documents does to a metric: the pair weights of the lambda objectives.

Every metric here has |delta| of one form, for entry i in a block above that of entry j:

    |gain[i] - gain[j]| * (upper[i] - share[i] * lower[j])

so a kernel fills four arrays a query (`upper`, `share`, `lower` and, for pairs of one block, `within`) in
O(documents), and the pair loop is the same for all. Pairs count when the upper document ranks above the
truncation. Blocks of tied documents stand for all their orders: the arrays hold expectations.
"""

from __future__ import annotations

import numpy as np

from lambdamart_kit.compile import inner
from lambdamart_kit.core.ranking.labelled import Discounts
from lambdamart_kit.core.ranking.rank_order import Ranked

AVERAGE_PRECISION, RECIPROCAL_RANK, EXPECTED_RECIPROCAL_RANK = range(3)
"""Metrics with a kernel of their own here; `discount_swaps` serves any sum of gain * discount(rank)."""


@inner(borrows=True)
def discount_swaps(
    n_entries: int,
    tied: bool,
    discounts: Discounts,
    truncation: int,
    winner: bool,
    ranked: Ranked,
) -> None:
    """Weights from a discount for each rank; expectations over ties are exact, by running sums.

    With `winner` the discount of the better document counts instead of the difference of the two.
    """
    discount = discounts.at
    cumulative = discounts.above
    if not tied:
        # The arrays are the same for every query without ties: compute only ranks that no query reached yet.
        # Swapping ranks i < j changes the metric by |gain
        # difference| * (D(i) - D(j)): `upper` is D(i), `lower` is D(j) and `share`
        # is 1. Below the truncation `upper` and `share` are 0, so the weight is 0.
        for rank in range(ranked.ready[1], n_entries):
            counts = rank < truncation
            ranked.lower[rank] = discount[rank]
            ranked.upper[rank] = discount[rank] if counts else 0.0
            ranked.share[rank] = 1.0 if counts else 0.0
        ranked.ready[1] = max(ranked.ready[1], n_entries)
        return
    ranks = ranked.rank
    stops = ranked.stop
    upper = ranked.upper
    share = ranked.share
    lower = ranked.lower
    within = ranked.within
    start = 0
    while start < n_entries:
        stop = stops[start]
        first = ranks[start]
        last = ranks[stop]
        if last == first + 1:
            counts = first < truncation
            upper[start] = discount[first] if counts else 0.0
            share[start] = 1.0 if counts else 0.0
            lower[start] = discount[first]
            start = stop
            continue
        cut = min(max(truncation, first), last)  # ranks first..cut-1 lie above the truncation
        mean = 0.0
        if stop > start + 1 and cut > first:
            if winner:
                mean = _winner_within(first, cut, last, discounts)
            else:
                mean = _difference_within(first, cut, last, discounts)
        size = last - first
        for entry in range(start, stop):
            upper[entry] = (cumulative[cut] - cumulative[first]) / size
            share[entry] = (cut - first) / size
            lower[entry] = (cumulative[last] - cumulative[first]) / size
            within[entry] = mean
        start = stop


@inner(borrows=True)
def _difference_within(first: int, cut: int, last: int, discounts: Discounts) -> float:
    """Mean of |discount(a) - discount(b)| over pairs of ranks of a block, pairs wholly below `cut` as 0."""
    discount = discounts.at
    cumulative = discounts.above
    total = 0.0
    # The document at this rank has last - 1 - rank others of the block below it, whose discounts are a
    # difference of running sums. There are size (size - 1) / 2 pairs of ranks.
    for rank in range(first, cut):
        total += discount[rank] * (last - 1 - rank) - (cumulative[last] - cumulative[rank + 1])
    size = last - first
    return 2.0 * total / (size * (size - 1.0))


@inner(borrows=True)
def _winner_within(first: int, cut: int, last: int, discounts: Discounts) -> float:
    """Mean of discount(a) over ordered pairs of ranks a, b of a block, pairs wholly below `cut` as 0."""
    cumulative = discounts.above
    size = last - first
    below = last - cut
    # Each document of the block wins with the discount of its rank, whose
    # mean is total / size. A rank below `cut` is paired with another such
    # rank with probability (below - 1) / (size - 1); those pairs are 0.
    total = cumulative[last] - cumulative[first]
    lost = (cumulative[last] - cumulative[cut]) * (below - 1.0) / (size - 1.0) if below > 1 else 0.0
    return (total - lost) / size


@inner(borrows=True)
def average_precision_swaps(n_entries: int, truncation: int, ranked: Ranked) -> None:
    """Average precision; labels are 0 or 1 and gains 1 / (relevant documents). Ties exact.

    With n(r) relevant documents above rank r and C(r) = sum of y / (rank + 1) up to r, moving a relevant
    document from rank j to rank i changes AP by  (n(i) + 1)/(i + 1) - C(i)  -  [n(j + 1)/(j + 1) - C(j - 1)],
    one term of i alone and one of j alone. All is linear in the labels of the other documents, so for a
    tied block the others' labels may be replaced by their mean.
    """
    start = 0
    above = 0.0  # n at the top of the block
    harmonic = 0.0  # C at the top of the block
    while start < n_entries:
        stop = ranked.stop[start]
        first = ranked.rank[start]
        last = ranked.rank[stop]
        size = last - first
        cut = min(max(truncation, first), last)
        relevant = _relevant(start, stop, ranked)
        whole = 0.0  # sum of 1 / (rank + 1) over the block
        for rank in range(first, last):
            whole += 1.0 / (rank + 1.0)
        for entry in range(start, stop):
            y = np.float64(ranked.label[entry])
            # `others` is the mean label of the block's other documents, so above + others * t relevant
            # documents are expected above place t, and harmonic + others * inside is the expected C there.
            others = (relevant - y) / (size - 1.0) if size > 1 else 0.0
            upper = 0.0
            lower = 0.0
            inside = 0.0  # the part of `whole` above rank t
            # The document stands at each place t of its block with the same probability.
            for t in range(size):
                place = first + t + 1.0
                n = above + others * t
                before = harmonic + others * inside
                if first + t < cut:
                    # The last term: C below the block, given that this document stands at t, less its mean.
                    upper += (n + 1.0 - others) / place - before + (others - relevant / size) * whole
                lower += (n + y) / place - before
                inside += 1.0 / place
            ranked.upper[entry] = upper / size
            ranked.lower[entry] = lower / size
            ranked.share[entry] = (cut - first) / size
            ranked.within[entry] = 0.0
        if stop > start + 1:
            ranked.within[start] = _average_precision_within(first, cut, last, relevant, above, whole)
        harmonic += relevant / size * whole
        above += relevant
        start = stop


@inner(borrows=True)
def _average_precision_within(
    first: int, cut: int, last: int, relevant: float, above: float, whole: float
) -> float:
    """Mean |delta| of a relevant and a non-relevant document of one block, in any order."""
    size = last - first
    others = (relevant - 1.0) / (size - 2.0) if size > 2 else 0.0
    inside = whole
    total = 0.0
    lower = 0.0  # the lower document's term, summed over the places below t
    # The upper document's place moves up from the lowest, so that the sum over the places below it is known.
    for t in range(size - 1, -1, -1):
        place = first + t + 1.0
        if first + t < cut:
            upper = (above + 1.0 + others * t) / place - others * inside
            total += upper * (size - 1 - t) - lower
        inside -= 1.0 / place
        lower += (above + 1.0 + others * (t - 1)) / place - others * inside
    return 2.0 * total / (size * (size - 1.0))


@inner(borrows=True)
def _relevant(start: int, stop: int, ranked: Ranked) -> float:
    """Documents with label 1 in a block."""
    relevant = 0.0
    for entry in range(start, stop):
        relevant += np.float64(ranked.label[entry]) * np.float64(ranked.size[entry])
    return relevant


@inner(borrows=True)
def reciprocal_rank_swaps(n_entries: int, truncation: int, ranked: Ranked) -> None:
    """Reciprocal rank; labels are 0 or 1 and gains the labels. Ties exact, across the truncation too.

    Only the first block F that holds a relevant document and what stands above it can change the reciprocal
    rank, so all rows below F are empty and a gradient costs about one row of pairs a query. With f the first
    relevant rank, f2 the second, T the truncation and [.] 1 where a condition holds, the weights are

    - a document above F, at rank u, with any relevant one:   E[[u < T] (1/(u + 1) - 1/(f + 1))]
    - a non-relevant one of F with a relevant one below F:    E[[u < T] max(1/(u + 1) - 1/(f + 1), 0)]
    - both in F: twice that, because exchanging the two documents maps their orders onto each other
    - a relevant one of F with a non-relevant one below F:    E[[f < T] (1/(f + 1) - 1/(f2 + 1))] / relevant
      or, if it is the only one of F, with the non-relevant one's rank v:  1/(min(v, f2) + 1) as the last term
    """
    first_block = _block_with_relevant(0, n_entries, ranked)
    f_stop = ranked.stop[first_block]
    first = ranked.rank[first_block]
    last = ranked.rank[f_stop]
    now, now_above, gap, second = _first_relevant(first_block, truncation, ranked)
    relevant = _relevant(first_block, f_stop, ranked)
    for entry in range(n_entries):
        ranked.upper[entry] = 0.0
        ranked.share[entry] = 0.0
        ranked.within[entry] = 0.0
        ranked.lower[entry] = now
    for entry in range(first_block):  # all non-relevant, so one entry a block
        top = ranked.rank[entry]
        bottom = ranked.rank[entry + 1]
        cut = min(max(truncation, top), bottom)
        # E[[u < T] / (u + 1)] and P(u < T); with
        # `lower` = E[1 / (f + 1)] they give the first of the weights.
        ranked.upper[entry] = _sum_of_reciprocals(top, cut) / (bottom - top)
        ranked.share[entry] = (cut - top) / (bottom - top)
    for entry in range(first_block, f_stop):
        if ranked.label[entry] == 0:
            # A non-relevant document of F moves up the first relevant one only if it stands above it.
            ranked.upper[entry] = gap
        elif relevant > 1:
            # Taking a relevant document away matters only if it is the first of
            # all. Each of F's relevant documents is that with the same probability,
            # hence the division; the second one of F then becomes the first.
            ranked.upper[entry] = (now_above - second) / relevant
        else:
            # The only relevant document of F changes places with one at rank v below, so the next relevant
            # rank or v comes first. That depends on the other document, so it goes to the other's `lower`.
            ranked.upper[entry] = now_above
            ranked.share[entry] = (min(max(truncation, first), last) - first) / (last - first)
        ranked.within[entry] = 2.0 * gap
    if relevant == 1.0:
        _next_best_reciprocal(f_stop, n_entries, ranked)


@inner(borrows=True)
def _next_best_reciprocal(start: int, n_entries: int, ranked: Ranked) -> None:
    """`lower` of non-relevant entries from `start` on: E[1 / (min(own rank, next relevant rank) + 1)]."""
    target = _block_with_relevant(start, n_entries, ranked)
    following = 0.0
    gap = 0.0
    if target < n_entries:
        following, _, gap, _ = _first_relevant(target, ranked.rank[n_entries], ranked)
    while start < n_entries:
        stop = ranked.stop[start]
        for entry in range(start, stop):
            if ranked.label[entry] == 0:
                if start < target:
                    top = ranked.rank[start]
                    bottom = ranked.rank[stop]
                    ranked.lower[entry] = _sum_of_reciprocals(top, bottom) / (bottom - top)
                else:
                    ranked.lower[entry] = following + gap if start == target else following
        start = stop


@inner(borrows=True)
def _block_with_relevant(start: int, n_entries: int, ranked: Ranked) -> int:
    """First entry of the first block from `start` on that holds a relevant document, else `n_entries`."""
    while start < n_entries and ranked.label[start] == 0:  # blocks stand by label descending
        start = ranked.stop[start]
    return start


@inner(borrows=True)
def _first_relevant(start: int, truncation: int, ranked: Ranked) -> tuple[float, float, float, float]:
    """Expectations over the random order of the block at `start`, with f its first relevant rank.

    Returns E[1/(f + 1)]; the same with the ranks f below the truncation as 0; for the rank r of one
    non-relevant document E[max(1/(r + 1) - 1/(f + 1), 0)], with the ranks r below the truncation as 0; and
    E[1/(f2 + 1)] for the second relevant rank f2 (0 if there is none), with the ranks f below it as 0.
    """
    stop = ranked.stop[start]
    first = ranked.rank[start]
    last = ranked.rank[stop]
    cut = min(max(truncation, first), last)
    left = np.float64(last - first)
    relevant = _relevant(start, stop, ranked)
    plain = left - relevant
    none = 1.0  # probability of no relevant document so far
    one = 0.0  # probability of exactly one so far, which stands above the truncation
    now = 0.0
    now_above = 0.0
    gap = 0.0
    second = 0.0
    passed = 0.0  # sum of 1 / (r + 1) over the ranks r of the block so far, above the truncation
    for rank in range(first, last):
        reciprocal = 1.0 / (rank + 1.0)
        # The documents are drawn one by one for the ranks of the block. The first relevant one comes at
        # this rank if none came before, and then with probability relevant / left; the second likewise.
        hit = none * relevant / left
        again = one * max(relevant - 1.0, 0.0) / left
        now += hit * reciprocal
        second += again * reciprocal
        # All documents above the first relevant one are non-relevant. Their terms are summed here and
        # shared out equally among the non-relevant documents at the end.
        gap += hit * (passed - (min(rank, cut) - first) * reciprocal)
        none -= hit
        if rank < cut:
            now_above += hit * reciprocal
            passed += reciprocal
            one += hit
        one -= again
        left -= 1.0
    return now, now_above, gap / plain if plain > 0 else 0.0, second


@inner(borrows=True)
def _sum_of_reciprocals(first: int, last: int) -> float:
    """Sum of 1 / (rank + 1) over the ranks `first` to `last` - 1."""
    total = 0.0
    for rank in range(first, last):
        total += 1.0 / (rank + 1.0)
    return total


@inner(borrows=True)
def expected_reciprocal_rank_swaps(n_entries: int, truncation: int, ranked: Ranked) -> None:
    """Expected reciprocal rank; gains are stop probabilities R < 1.

    With P(r) the probability to reach rank r and E(r) the ERR of the ranks above r, swapping ranks i < j
    changes ERR by  (R_j - R_i) * [P(i)/(i + 1) - (E(j) - E(i + 1) + P(j)/(j + 1)) / (1 - R_i)].
    In a tied block every document is given the mean stop probability of the block: exact without ties. With
    them it is an approximation that depends on nothing but scores and labels; LambdaERR says how good.
    """
    start = 0
    reach = 1.0
    err = 0.0
    while start < n_entries:
        stop = ranked.stop[start]
        first = ranked.rank[start]
        last = ranked.rank[stop]
        size = last - first
        cut = min(max(truncation, first), last)
        stops = 0.0
        for entry in range(start, stop):
            stops += np.float64(ranked.gain[entry]) * np.float64(ranked.size[entry])
        stays = 1.0 - stops / size  # every document of the block stops the reader with the mean probability
        upper = 0.0
        lower = 0.0
        within = 0.0
        for rank in range(first, last):
            # In the terms of the docstring, with the mean stop probability in place of R_i: `at` is
            # P(r)/(r + 1), `low` is E(r) + P(r)/(r + 1), and after the update `err` is E(r + 1).
            at = reach / (rank + 1.0)
            low = err + at
            err += (1.0 - stays) * at
            reach *= stays
            lower += low
            # `within` sums upper term less lower term over all pairs of ranks a < b of the block with a
            # above `cut`: rank r is b for min(r, cut) - first such pairs, and a for last - 1 - r.
            within -= (min(rank, cut) - first) * low / stays
            if rank < cut:
                upper += at + err / stays
                within += (at + err / stays) * (last - 1 - rank)
        within *= 2.0 / (size * (size - 1.0)) if size > 1 else 0.0
        for entry in range(start, stop):
            ranked.upper[entry] = upper / size
            ranked.lower[entry] = lower / size
            ranked.share[entry] = (cut - first) / size / stays
            ranked.within[entry] = within
        start = stop
