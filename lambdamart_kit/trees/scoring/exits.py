r"""Scoring in which a document stops as soon as it cannot come among the first of its query any more.

After some of the trees, the partial scores of a query's documents are compared. A document whose partial
score is more than a margin below the k-th best of its query stops there:

.. math:: s_t(d) < s_t^{(k)} - m_t

The others go on to the next trees. Margins are learned, so this is a heuristic and no bound: see
:mod:`lambdamart_kit.rankers.compression`. It is the exit by proximity of Cambazoglu et al. [1]_.

A document that stopped keeps its partial score, lowered as far as it takes to stay below all documents of its
query that went on. So it cannot return to the top because others lost score in trees that it did not see.

References
----------
.. [1] Cambazoglu et al. (2010), Early exit optimizations for additive machine learned ranking systems, WSDM,
   section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lambdamart_kit.compile import inner, kernel
from lambdamart_kit.compile.typing import NumbaObject
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import Array, FloatArray, IndexArray
from lambdamart_kit.trees.scoring.tiles import Codes, Tile, Trees, add_trees
from lambdamart_kit.trees.scoring.vectors import WIDTH

# Documents of whole queries that are scored together. Those that go on fill tiles of 64 again, so of many
# documents less of the last tile is wasted; more than this do not fit into the cache.
_MOST_TOGETHER = 2048
_LEAST_TOGETHER = 256
_GAP = 1e-6  # between documents that stopped and those that went on, so that float32 tells them apart


@dataclass(frozen=True)
class Exits:
    """After how many trees documents may stop, and how far below the k-th best of their query.

    Attributes
    ----------
    after : tuple of int
        Numbers of trees, ascending, each less than the model has.
    margins : tuple of float
        One a number of trees, at least 0.
    k : int
        At least so many documents of a query go through all trees.

    Examples
    --------
    >>> exits = Exits(after=(10, 50), margins=(0.5, 0.2), k=2)
    >>> ptr = np.array([0, 4])
    >>> partial = np.array([[1.0, 1.0], [0.9, 0.9], [0.5, 0.2], [0.0, 2.0]])  # after 10 trees and after 50
    >>> exits.stops(partial, ptr).tolist()  # documents stop at exit 1, at exit 0, or not at all (2)
    [2, 2, 1, 0]
    """

    after: tuple[int, ...]
    margins: tuple[float, ...]
    k: int

    def stops(self, partial: FloatArray, ptr: IndexArray) -> Array:
        """The exit at which each document stops, or their number; (n_samples,) int64.

        Parameters
        ----------
        partial : (n_samples, n_exits) float64
            Partial scores at each exit, the rows of each query side by side.
        ptr : (n_queries + 1,) intp
            Where each query begins.
        """
        stopped = np.empty(len(partial), dtype=np.int64)
        margins = np.array(self.margins, dtype=np.float64)
        space = Space.allocate(np.diff(ptr).max(initial=0), 1, self.k)
        _find_stops(np.ascontiguousarray(partial), ptr, margins, space, stopped)
        return stopped


class Grouped(NamedTuple):
    """Rows by query, in blocks that are scored together.

    Attributes
    ----------
    blocks : ndarray (n_blocks + 1,), intp
        First query of each block.
    order, ptr : ndarray
        Those of `Queries`.
    """

    blocks: Array
    order: Array
    ptr: Array

    @classmethod
    def of(cls, queries: Queries, n_threads: int) -> Grouped:
        """Blocks of whole queries, as many as keep the threads busy."""
        n_rows = queries.n_samples
        if n_rows <= _LEAST_TOGETHER:  # as in serving, where each microsecond counts
            return cls(np.array([0, queries.n_queries], dtype=np.intp), queries.order, queries.ptr)
        size = min(_MOST_TOGETHER, max(_LEAST_TOGETHER, n_rows // (4 * n_threads)))
        starts = np.arange(0, n_rows, size)
        # A block begins with the first query that begins at or after its row.
        blocks = np.unique(np.append(np.searchsorted(queries.ptr, starts), queries.n_queries))
        return cls(blocks.astype(np.intp), queries.order, queries.ptr)

    def space(self, k: int) -> Space:
        """Space for the largest block."""
        if len(self.blocks) == 2:
            return Space.allocate(len(self.order), len(self.ptr) - 1, k)
        return Space.allocate(np.diff(self.ptr[self.blocks]).max(), np.diff(self.blocks).max(), k)


class Space(NamedTuple):
    """Space to score a block of queries.

    Attributes
    ----------
    active : ndarray (n_rows,), int64
        Documents that go on, by their place in the block, query by query.
    begin : ndarray (n_queries + 1,), int64
        Where each query begins among them.
    partial : ndarray (n_rows,), float64
        Score so far of each document of the block.
    stopped : ndarray (n_rows,), int64
        The exit at which it stopped.
    top : ndarray (k,), float64
        The best partial scores of a query, best first.
    """

    active: Array
    begin: Array
    partial: Array
    stopped: Array
    top: Array

    @classmethod
    def allocate(cls, n_rows: int, n_queries: int, k: int) -> Space:
        """For blocks of at most so many rows and queries."""
        return cls(
            np.empty(n_rows, np.int64),
            np.empty(n_queries + 1, np.int64),
            np.empty(n_rows),
            np.empty(n_rows, np.int64),
            np.empty(k),
        )


@inner(borrows=True)
def _bar(partial: Array, active: Array, begin: int, end: int, margin: float, top: Array) -> float:
    """The lowest partial score that goes on: the k-th best of the active documents less the margin."""
    k = len(top)
    # Of k documents or fewer, all are among the first k.
    if end - begin <= k:
        return -np.inf
    top[:] = -np.inf
    # Most documents are below the k-th best so far, so an insertion into a short sorted list is rare.
    for i in range(begin, end):
        score = partial[active[i]]
        if score <= top[k - 1]:
            continue
        place = k - 1
        while place > 0 and top[place - 1] < score:
            top[place] = top[place - 1]
            place -= 1
        top[place] = score
    return top[k - 1] - margin


@inner(borrows=True)
def _let_stop(space: Space, n_queries: int, exit: int, margin: float) -> NumbaObject:
    """Keep the active documents that go on after an exit; how many there are."""
    active, begin, partial = space.active, space.begin, space.partial
    n_kept = np.int64(0)
    # The beginning of a query is overwritten before its end is read, so it is carried along.
    first = begin[0]
    for q in range(n_queries):
        last = begin[q + 1]
        bar = _bar(partial, active, first, last, margin, space.top)
        begin[q] = n_kept
        # Kept documents move to the front, which holds only documents that were looked at already.
        for i in range(first, last):
            document = active[i]
            if partial[document] >= bar:
                active[n_kept] = document
                n_kept += 1
            else:
                space.stopped[document] = exit
        first = last
    begin[n_queries] = n_kept
    return n_kept


@kernel(borrows=True)
def _find_stops(partial: Array, ptr: Array, margins: Array, space: Space, stopped: Array) -> None:
    """See `Exits.stops`."""
    n_exits = len(margins)
    # One query at a time: the scores are known already, so there are no tiles to share.
    for q in range(len(ptr) - 1):
        start, n = ptr[q], ptr[q + 1] - ptr[q]
        space.begin[0] = 0
        space.begin[1] = n
        for i in range(n):
            space.active[i] = i
            space.stopped[i] = n_exits
        for exit in range(n_exits):
            for i in range(n):
                space.partial[i] = partial[start + i, exit]
            _let_stop(space, 1, exit, margins[exit])
        for i in range(n):
            stopped[start + i] = space.stopped[i]


@inner(borrows=True)
def _put_below(space: Space, start: int, end: int, n_exits: int) -> None:
    """Lower the scores of a query's documents that stopped below those of documents that went on."""
    partial, stopped = space.partial, space.stopped
    # At least k documents of each query went on to the end, or all of them.
    lowest = np.inf
    for i in range(start, end):
        if stopped[i] == n_exits:
            lowest = min(lowest, partial[i])
    # From the last exit to the first: those who stopped there stay below all that went further.
    for exit in range(n_exits - 1, -1, -1):
        highest = -np.inf
        for i in range(start, end):
            if stopped[i] == exit:
                highest = max(highest, partial[i])
        # Differences among those who stopped stay as they are. Without any, nothing happens.
        roof = min(highest, lowest - _GAP * max(1.0, abs(lowest)))
        for i in range(start, end):
            if stopped[i] == exit:
                partial[i] = roof - (highest - partial[i])
                lowest = min(lowest, partial[i])


@inner(borrows=True)
def _add_to_active(
    X: Array, codes: Codes, trees: Trees, segment: int, rows: Array, n: int, tile: Tile, space: Space
) -> None:
    """Add the trees of a segment to the scores of the n active documents, whose rows are ``rows[place]``."""
    first, last = trees.segment_ptr[segment], trees.segment_ptr[segment + 1]
    for begin in range(0, n, WIDTH):
        count = min(WIDTH, n - begin)
        # The last tile is filled up with its last document.
        for r in range(WIDTH):
            document = space.active[begin + min(r, count - 1)]
            tile.rows[r] = rows[document]
            tile.sums[r] = space.partial[document]
        add_trees(X, codes, trees, segment, first, last, tile)
        # Sums go on from where they stopped, so they are added in the order of trees, as without exits.
        for r in range(count):
            space.partial[space.active[begin + r]] = tile.sums[r]


@kernel(borrows=True)
def score_with_exits(
    first_block: int,
    last_block: int,
    tile: Tile,
    space: Space,
    X: Array,
    codes: Codes,
    trees: Trees,
    grouped: Grouped,
    margins: Array,
    scores: Array,
) -> None:
    """Scores of the documents of some blocks of queries; each segment of trees but the last has an exit."""
    n_exits = len(margins)
    for block in range(first_block, last_block):
        first, last = grouped.blocks[block], grouped.blocks[block + 1]
        start, n = grouped.ptr[first], grouped.ptr[last] - grouped.ptr[first]
        rows = grouped.order[start : start + n]
        # At first all documents of the block are active.
        for i in range(n):
            space.active[i] = i
            space.partial[i] = 0.0
            space.stopped[i] = n_exits
        for q in range(last - first + 1):
            space.begin[q] = grouped.ptr[first + q] - start
        n_active = n
        # All queries of the block go through a segment together: documents that go on share tiles.
        for segment in range(n_exits + 1):
            _add_to_active(X, codes, trees, segment, rows, n_active, tile, space)
            if segment < n_exits:
                n_active = _let_stop(space, last - first, segment, margins[segment])
        for q in range(first, last):
            _put_below(space, grouped.ptr[q] - start, grouped.ptr[q + 1] - start, n_exits)
        for i in range(n):
            scores[rows[i]] = space.partial[i]
