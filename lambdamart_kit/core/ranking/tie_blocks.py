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
from lambdamart_kit.core.ranking.block_order import AVERAGE, MOST_LANES, rank_documents, workspace
from lambdamart_kit.core.sorting import (
    largest_query,
    sort_workspace,
    stable_descending64,
    tied_block_stop,
)
from lambdamart_kit.core.typing import Array, FloatArray, IndexArray

_RUN = 16  # runs of so many documents are sorted by insertion, and then merged


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
    key, value, spare, order, work = workspace(start, stop, ptr)
    for q in range(start, stop):
        a = ptr[q]
        b = ptr[q + 1]
        n = rank_documents(scores[a:b], values[a:b], cutoff, ties, key, value, spare, order, work)
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
        if cutoff <= MOST_LANES:  # one pass for each distinct label: labels repeat, so few are needed
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
    key, value, spare, order, work = workspace(start, stop, ptr)
    for q in range(start, stop):
        a = ptr[q]
        b = ptr[q + 1]
        n = rank_documents(scores[a:b], values[a:b], cutoff, ties, key, value, spare, order, work)
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
    key, value, spare, order, work = workspace(start, stop, ptr)
    kept = np.empty(len(key) + 1)
    chance = np.empty(len(key) + 1)
    for q in range(start, stop):
        a = ptr[q]
        b = ptr[q + 1]
        n = rank_documents(scores[a:b], values[a:b], cutoff, ties, key, value, spare, order, work)
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
    key, value, spare, order, work = workspace(start, stop, ptr)
    for q in range(start, stop):
        a = ptr[q]
        b = ptr[q + 1]
        n = rank_documents(scores[a:b], values[a:b], cutoff, ties, key, value, spare, order, work)
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
