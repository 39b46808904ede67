"""Ranking measures of many queries at once: Numba kernels behind :mod:`lambdamart_kit.metrics`.

Every kernel takes ``(start, stop, scores, values, ptr, cutoff, ties, ..., out)``, fills ``out[start:stop]``
with one number a query, and touches no other query, so threads share nothing. `scores` and `values` are
ordered rows; a value is what the measure makes of the label (a gain, 0 or 1, a stop probability).

Documents with equal scores form a block. Under ``AVERAGE`` a measure is its exact expectation over the random
orders of every block; under the other conventions each document is a block of its own, in the order that the
convention says. So each measure is written once, on blocks. Values inside a block are sorted, hence no sum
depends on how the rows came.
"""

from __future__ import annotations

import numpy as np

from lambdamart_kit.compile import kernel
from lambdamart_kit.core.sorting import (
    largest_query,
    sort_workspace,
    stable_descending64,
    tied_block_stop,
)
from lambdamart_kit.core.typing import Array, FloatArray, IndexArray

AVERAGE, OPTIMISTIC, PESSIMISTIC, INPUT = range(4)
TIES = {"average": AVERAGE, "optimistic": OPTIMISTIC, "pessimistic": PESSIMISTIC, "input": INPUT}

_RUN = 16  # runs of so many documents are sorted by insertion, and then merged
_FEW = 100  # up to so many documents, counting larger scores ranks them faster than any sort
_LANES = 16  # a multiple of what one vector instruction compares
_MOST_LANES = 128  # for more, that is for cut-offs over 85, sorting the whole query is as fast


@kernel
def discounted_sums(
    start: int,
    stop: int,
    scores: Array,
    values: FloatArray,
    ptr: IndexArray,
    cutoff: int,
    ties: int,
    discount: FloatArray,
    out: FloatArray,
) -> None:
    """``sum over rank < cutoff of value * discount[rank]``; all discounts 1 gives the sum of values."""
    key, value, spare, order, work = _workspace(start, stop, ptr)
    for q in range(start, stop):
        a = ptr[q]
        b = ptr[q + 1]
        n = _rank(scores[a:b], values[a:b], cutoff, ties, key, value, spare, order, work)
        total = 0.0
        rank = 0
        while rank < min(cutoff, n):
            end = tied_block_stop(key[:n], rank) if ties == AVERAGE else rank + 1
            last = min(end, cutoff)
            if value[rank] == value[end - 1]:  # added as `ideal_sums` adds: a perfect ranking is exactly 1
                for r in range(rank, last):
                    total += value[rank] * discount[r]
            else:
                # In a random order every document of the block stands at each of
                # its ranks with the same probability, so the expectation is the
                # mean value times the sum of the discounts above the cut-off.
                total += _sum(value, rank, end) / (end - rank) * _sum(discount, rank, last)
            rank = end
        out[q] = total


@kernel
def ideal_sums(
    start: int,
    stop: int,
    values: FloatArray,
    ptr: IndexArray,
    cutoff: int,
    discount: FloatArray,
    out: FloatArray,
) -> None:
    """`discounted_sums` of the best order, largest value first."""
    room = largest_query(start, stop, ptr)
    order = np.empty(room, dtype=np.intp)
    work = sort_workspace(room)
    for q in range(start, stop):
        value = values[ptr[q] : ptr[q + 1]]
        n = len(value)
        rank = 0
        total = 0.0
        if cutoff <= _MOST_LANES:  # one pass for each distinct label: labels repeat, so few are needed
            level = np.inf
            while rank < min(cutoff, n):
                level = _largest_below(value, level)
                equal = 0
                for v in value:
                    equal += v == level
                for r in range(rank, min(rank + equal, cutoff)):
                    total += level * discount[r]
                rank += equal
        else:
            stable_descending64(value, order[:n], work)
            for rank in range(min(cutoff, n)):
                total += value[order[rank]] * discount[rank]
        out[q] = total


@kernel(fastmath={"nnan", "nsz"})
def _largest_below(values: FloatArray, level: float) -> float:
    """Largest of the `values` below `level`; the flags let the maximum be vectorised."""
    largest = -np.inf
    for value in values:
        candidate = value if value < level else -np.inf
        largest = max(largest, candidate)
    return largest


@kernel
def precision_sums(
    start: int,
    stop: int,
    scores: Array,
    values: FloatArray,
    ptr: IndexArray,
    cutoff: int,
    ties: int,
    out: FloatArray,
) -> None:
    """``sum over relevant documents of rank < cutoff of the precision at their rank``; values are 0 or 1.

    In a block of n documents, r of them relevant, that follows R relevant documents, position j (from 0) is
    relevant with probability r/n, and then ``R + 1 + j (r-1)/(n-1)`` relevant ones are expected up to it.
    """
    key, value, spare, order, work = _workspace(start, stop, ptr)
    for q in range(start, stop):
        a = ptr[q]
        b = ptr[q + 1]
        n = _rank(scores[a:b], values[a:b], cutoff, ties, key, value, spare, order, work)
        total = 0.0
        seen = 0.0
        rank = 0
        while rank < min(cutoff, n):
            end = tied_block_stop(key[:n], rank) if ties == AVERAGE else rank + 1
            relevant = _sum(value, rank, end)
            if relevant > 0:
                # The document itself is relevant, so each of the other places
                # of the block is with probability (r - 1) / (n - 1). A block
                # of one has no other place; the 1 only avoids a division by 0.
                step = (relevant - 1) / max(end - rank - 1, 1)
                for r in range(rank, min(end, cutoff)):
                    total += relevant / (end - rank) * (seen + 1 + (r - rank) * step) / (r + 1)
            seen += relevant
            rank = end
        out[q] = total


@kernel
def cascades(
    start: int,
    stop: int,
    scores: Array,
    values: FloatArray,
    ptr: IndexArray,
    cutoff: int,
    ties: int,
    discount: FloatArray,
    out: FloatArray,
) -> None:
    """``sum over rank < cutoff of discount[rank] * P(the reader stops at rank)``; values: stop probabilities.

    With discount ``1/(rank+1)``, graded values make this ERR, values 0 and 1 the reciprocal rank. With
    discount 1, values 0 and 1 make it the probability that a relevant document is among the first `cutoff`.
    """
    key, value, spare, order, work = _workspace(start, stop, ptr)
    kept = np.empty(len(key) + 1)
    chance = np.empty(len(key) + 1)
    for q in range(start, stop):
        a = ptr[q]
        b = ptr[q + 1]
        n = _rank(scores[a:b], values[a:b], cutoff, ties, key, value, spare, order, work)
        total = 0.0
        # `reading` is the probability that the reader gets as far as the current block.
        reading = 1.0
        rank = 0
        while rank < min(cutoff, n) and reading > 0:
            end = tied_block_stop(key[:n], rank) if ties == AVERAGE else rank + 1
            if end == rank + 1:
                total += reading * value[rank] * discount[rank]
            else:
                total += reading * _cascade_of_block(value[rank:end], rank, cutoff, discount, kept, chance)
            # The reader passes a block with the product of 1 - value, in whatever order it stands.
            for r in range(rank, end):
                reading *= 1 - value[r]
            rank = end
        out[q] = total


@kernel
def _cascade_of_block(
    value: FloatArray, rank: int, cutoff: int, discount: FloatArray, kept: FloatArray, chance: FloatArray
) -> float:
    """Expected cascade of a block of equal scores that starts at `rank`, its values descending.

    Let S(j) be the expected probability of reading on after j documents drawn at random. Position j stops the
    reader with probability ``S(j-1) - S(j)``. Only documents with a positive value (r of them) matter: i of
    them are among the first j with hypergeometric probability ``chance[i]``, and then the reader is left with
    ``kept[i]``, the mean over i-subsets of prod(1 - value). Both recursions add positive terms only. Sums
    stop at the largest i with ``kept[i] > 0``, which makes the reciprocal rank linear in the block's size.
    """
    n = len(value)
    r = 0
    depth = 0
    n_drawn = min(n, cutoff - rank)
    kept[0] = 1.0
    while r < n and value[r] > 0:
        stay = 1 - value[r]
        r += 1
        # A document with value 1 stops every reader, so a subset that holds it keeps nobody: it adds no
        # size of subset whose `kept` is above 0.
        if stay > 0 and depth < n_drawn:
            depth += 1
            kept[depth] = 0.0
        # Of the i-subsets of r documents, a share (r - i) / r lacks the newest and a share i / r holds it.
        # The loop runs downwards, because entry i needs entry i - 1 as it was before this document.
        for i in range(depth, 0, -1):
            kept[i] = ((r - i) * kept[i] + i * stay * kept[i - 1]) / r
    chance[0] = 1.0
    chance[1 : depth + 1] = 0.0
    total = 0.0
    before = 1.0
    for drawn in range(n_drawn):
        # `left` documents are undrawn. If i - 1 of the r positive ones are drawn, the next is positive with
        # probability (r - i + 1) / left; if i are, it is not with probability (left - r + i) / left. This
        # loop runs downwards for the same reason.
        after = 0.0
        left = n - drawn
        for i in range(min(drawn + 1, depth), -1, -1):
            from_below = chance[i - 1] * (r - i + 1) / left if i > 0 else 0.0
            chance[i] = chance[i] * (left - r + i) / left + from_below
            after += chance[i] * kept[i]
        total += (before - after) * discount[rank + drawn]
        before = after
    return total


@kernel
def kendall_taus(
    start: int,
    stop: int,
    scores: Array,
    values: FloatArray,
    ptr: IndexArray,
    cutoff: int,
    ties: int,
    score_ties_count: bool,
    out: FloatArray,
) -> None:
    """Concordant less discordant pairs over tau-b's denominator, or over the pairs of unequal values.

    Knight's algorithm: with documents sorted by score, then value, the discordant pairs are the inversions
    that sorting them by value removes.
    """
    key, value, spare, order, work = _workspace(start, stop, ptr)
    for q in range(start, stop):
        a = ptr[q]
        b = ptr[q + 1]
        n = _rank(scores[a:b], values[a:b], cutoff, ties, key, value, spare, order, work)
        score_tied = 0
        both_tied = 0
        rank = 0
        while rank < n:
            end = tied_block_stop(key[:n], rank) if ties == AVERAGE else rank + 1
            score_tied += _pairs(end - rank)
            both_tied += _equal_pairs(value[rank:end])
            rank = end
        # Let C and D be the concordant and discordant pairs. The pairs that differ
        # in value and in score are C + D = different - (score_tied - both_tied),
        # and the numerator of tau is C - D = (C + D) - 2 D.
        discordant = _sort_by_value(value[:n], spare)
        different = _pairs(n) - _equal_pairs(value[:n])
        untied = _pairs(n) - score_tied
        if different == 0 or untied == 0:
            out[q] = 0.0
        else:
            surplus = different - score_tied + both_tied - 2 * discordant
            norm = np.sqrt(different) * np.sqrt(untied) if score_ties_count else 1.0 * different
            out[q] = surplus / norm


@kernel
def _workspace(
    start: int, stop: int, ptr: IndexArray
) -> tuple[FloatArray, FloatArray, FloatArray, IndexArray, Array]:
    """Room for the longest of the queries `start` to `stop` - 1."""
    room = largest_query(start, stop, ptr)
    return np.empty(room), np.empty(room), np.empty(room), np.empty(room, dtype=np.intp), sort_workspace(room)


@kernel
def _rank(
    scores: Array,
    values: FloatArray,
    cutoff: int,
    ties: int,
    key: FloatArray,
    value: FloatArray,
    spare: FloatArray,
    order: IndexArray,
    work: Array,
) -> int:
    """Scores and values of one query in rank order, into `key` and `value`; how many.

    At least the first `cutoff` documents, and always whole blocks of equal scores.
    """
    n = 0
    # Rows below the bound cannot be among the first `cutoff`, so they are neither copied nor sorted.
    lowest = _lower_bound(scores, cutoff, spare)
    # The loop has no branch: every row is written, and one below the bound is overwritten by the next.
    for row in range(len(scores)):
        order[n] = row
        n += scores[row] >= lowest
    if n <= _FEW:
        tied = _place_few(scores, values, order[:n], key, value, spare, work)
    else:
        for i in range(n):
            key[i] = scores[order[i]]
            value[i] = values[order[i]]
        stable_descending64(key[:n], order[:n], work)
        _permute(key[:n], order, spare)
        _permute(value[:n], order, spare)
        tied = True
    rank = 0
    # Equal scores stand in the order of their rows by now, which is what INPUT asks for. Under the other
    # conventions the values of each block are put in order.
    while tied and ties != INPUT and rank < n:
        end = tied_block_stop(key[:n], rank)
        if end > rank + 1:
            _sort_block(value[rank:end], ties, spare, order, work)
        rank = end
    return n


@kernel
def _place_few(
    scores: Array,
    values: FloatArray,
    rows: IndexArray,
    key: FloatArray,
    value: FloatArray,
    chosen: FloatArray,
    equal: Array,
) -> bool:
    """Put the few documents at `rows` in rank order, equal scores by row; whether there are equal scores."""
    n = len(rows)
    tied = False
    for i in range(n):
        chosen[i] = scores[rows[i]]
        equal[i] = 0
    for i in range(n):
        rank = 0
        for j in range(n):
            rank += chosen[j] > chosen[i]
        # Documents with equal scores count the same number of larger ones. `equal` counts those that were
        # placed at a rank before, so that each gets a place of its own, in the order of rows.
        before = np.intp(equal[rank])
        equal[rank] += np.uint64(1)
        if before > 0:
            tied = True
        key[rank + before] = chosen[i]
        value[rank + before] = values[rows[i]]
    return tied


@kernel
def _sort_block(value: FloatArray, ties: int, spare: FloatArray, order: IndexArray, work: Array) -> None:
    """Values of equal scores: worst first under PESSIMISTIC, otherwise best first."""
    n = len(value)
    sign = -1.0 if ties == PESSIMISTIC else 1.0
    for i in range(n):
        value[i] *= sign
    stable_descending64(value, order[:n], work)
    _permute(value, order, spare)
    for i in range(n):
        value[i] *= sign


@kernel
def _permute(value: FloatArray, order: IndexArray, spare: FloatArray) -> None:
    """``value[order]``, in place."""
    for i in range(len(value)):
        spare[i] = value[order[i]]
    value[:] = spare[: len(value)]


@kernel
def _lower_bound(scores: Array, n: int, best: FloatArray) -> float:
    """A score that at least `n` documents reach, and not many more; `best` is scratch.

    Rows are distributed over lanes, as cards are dealt, and each lane keeps its best score. That loop is
    vectorised. At least n rows reach the n-th largest of the lanes' best scores, so it is a bound.
    """
    # At least 3/2 n lanes: with fewer, several of the best n scores would often share a lane, and the bound
    # would be lower. With too few rows a lane, finding the bound costs more than it saves.
    n_lanes = _LANES * (1 + 3 * n // (2 * _LANES))
    if n_lanes > _MOST_LANES or len(scores) < 2 * n_lanes:
        return -np.inf
    lanes = best[:n_lanes]
    lanes[:] = scores[:n_lanes]
    n_whole = len(scores) // n_lanes * n_lanes
    for first in range(n_lanes, n_whole, n_lanes):
        for lane in range(n_lanes):
            score = scores[first + lane]
            lanes[lane] = score if score > lanes[lane] else lanes[lane]
    for row in range(n_whole, len(scores)):
        lanes[row - n_whole] = max(lanes[row - n_whole], scores[row])
    # The n-th largest is the smallest of the lanes' best scores that has fewer than n larger ones. Counting
    # these has no branch, so the loop vectorises.
    bound = np.inf
    for lane in range(n_lanes):
        larger = 0
        for other in range(n_lanes):
            larger += lanes[other] > lanes[lane]
        bound = min(bound, lanes[lane] if larger < n else np.inf)
    return bound


@kernel
def _sort_by_value(value: FloatArray, spare: FloatArray) -> int:
    """Merge sort, descending, in place; the number of inversions it removed."""
    n = len(value)
    inversions = 0
    for low in range(0, n, _RUN):
        for row in range(low + 1, min(low + _RUN, n)):
            v = value[row]
            # The value moves up past every smaller one before it, and
            # each of these steps undoes one inversion.
            place = row
            while place > low and value[place - 1] < v:
                value[place] = value[place - 1]
                place -= 1
            value[place] = v
            inversions += row - place
    width = _RUN
    while width < n:
        for low in range(0, n - width, 2 * width):
            right = low + width
            high = min(low + 2 * width, n)
            spare[:width] = value[low:right]
            left = 0
            place = low
            while left < width:
                # Equal values keep their order: they are no inversion. A value that comes from the right
                # half passes all that is left of the left half.
                if right == high or spare[left] >= value[right]:
                    value[place] = spare[left]
                    left += 1
                else:
                    value[place] = value[right]
                    inversions += width - left
                    right += 1
                place += 1
        width *= 2
    return inversions


@kernel
def _equal_pairs(descending: FloatArray) -> int:
    pairs = 0
    first = 0
    for i in range(1, len(descending) + 1):
        if i == len(descending) or descending[i] != descending[first]:
            pairs += _pairs(i - first)
            first = i
    return pairs


@kernel
def _pairs(n: int) -> int:
    return n * (n - 1) // 2


@kernel
def _sum(values: FloatArray, first: int, end: int) -> float:
    total = 0.0
    for i in range(first, end):
        total += values[i]
    return total
