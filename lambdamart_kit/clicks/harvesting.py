"""Clicks and where they happened: queries of one click each, and what a position is worth.

Positions count from 1. A propensity is the probability that what stands at a position is looked at, relative
to position 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import Array, BoolArray, FloatArray, IndexArray

_PRIOR_CLICKS = 1.0  # of a virtual document shown once at each position: keeps every estimate finite
_TOLERANCE = 1e-9
_MOST_STEPS = 5_000


class SingleClicks(NamedTuple):
    """A query for each click: the list it was made in, with that click as the only one.

    Attributes
    ----------
    rows : (n,) intp
        Ordered row behind each row of these queries.
    clicked : (n_clicks,) intp
        Ordered row that was clicked, one a query.
    y : (n,) float64
        1 at the click, else 0.
    queries : Queries
        One a click, in order.
    """

    rows: IndexArray
    clicked: IndexArray
    y: FloatArray
    queries: Queries

    @classmethod
    def of(cls, clicks: FloatArray, queries: Queries) -> SingleClicks:
        """From clicks (0 or 1) in ordered rows.

        Examples
        --------
        >>> single = SingleClicks.of(np.array([1.0, 0.0, 1.0]), Queries.from_qid(None, 3))
        >>> single.y.tolist(), single.rows.tolist()
        ([1.0, 0.0, 0.0, 0.0, 0.0, 1.0], [0, 1, 2, 0, 1, 2])
        """
        clicked = np.flatnonzero(clicks > 0)
        query = queries.query_of_ordered_row[clicked]
        ptr = np.concatenate(([0], np.cumsum(queries.sizes[query]))).astype(np.intp)
        n = int(ptr[-1])
        shift = np.repeat(queries.ptr[query] - ptr[:-1], queries.sizes[query])
        y = np.zeros(n)
        y[ptr[:-1] + clicked - queries.ptr[query]] = 1.0
        single = Queries(np.arange(n, dtype=np.intp), ptr, np.arange(len(clicked)))
        return cls(np.arange(n, dtype=np.intp) + shift, clicked, y, single)


def harvested_propensities(
    clicks: Array, position: IndexArray, document: Array, n_positions: int
) -> tuple[FloatArray, BoolArray]:
    r"""Propensities from documents that were shown at several positions.

    With :math:`n_{dk}` impressions of document d at position k and :math:`E c_{dk} = n_{dk} \theta_k r_d`,
    the clicks of a document are spread over positions like :math:`n_{dk} \theta_k`, whatever its relevance
    :math:`r_d`. So the estimating equations

    .. math:: \sum_d c_{dk} = \sum_d c_d \frac{n_{dk} \theta_k}{\sum_j n_{dj} \theta_j}, \qquad
              c_d = \sum_k c_{dk}

    hold in expectation at the true propensities: a Bradley-Terry (choice) model in which positions compete
    for the clicks of a document. They are solved by Hunter's minorise-maximise steps.

    Parameters
    ----------
    clicks : (n,) array of 0 and 1
    position : (n,) intp
        From 1 to `n_positions`.
    document : (n,) array
        Equal where the same document was shown for the same query.
    n_positions : int

    Returns
    -------
    propensities : (n_positions,) float64
        Relative to position 1. One virtual document with one click keeps them finite.
    known : (n_positions,) bool
        Positions that moving documents compare with position 1, through others if need be.
    """
    code = np.unique(document, return_inverse=True)[1]
    of_document = np.bincount(code, weights=clicks)
    useful = of_document[code] > 0
    cell, inverse = np.unique(code[useful] * n_positions + position[useful] - 1, return_inverse=True)
    shown = np.bincount(inverse).astype(np.float64)
    clicked = np.bincount(inverse, weights=clicks[useful]) if len(cell) else np.empty(0)
    row = cell // n_positions
    column = cell % n_positions
    known = _connected(row, column, n_positions)
    wins = np.bincount(column, weights=clicked, minlength=n_positions) + _PRIOR_CLICKS / n_positions
    theta = np.ones(n_positions)
    for _ in range(_MOST_STEPS):
        offered = shown * theta[column]
        total = np.bincount(row, weights=offered, minlength=len(of_document))[row]
        expected = np.bincount(column, weights=of_document[row] * offered / total, minlength=n_positions)
        expected += _PRIOR_CLICKS * theta / theta.sum()
        updated = theta * wins / expected
        updated /= updated[0]
        moved = np.abs(updated - theta).max() / theta.max()
        theta = updated
        if moved < _TOLERANCE:
            break
    return theta, known


def _connected(row: IndexArray, column: IndexArray, n_positions: int) -> BoolArray:
    """Positions linked to the first by documents (`row`) that were shown at several of them (`column`)."""
    known = np.zeros(n_positions, dtype=bool)
    known[0] = True
    n_documents = int(row.max(initial=-1)) + 1
    while True:
        reached = np.zeros(n_documents, dtype=bool)
        reached[row[known[column]]] = True
        wider = known.copy()
        wider[column[reached[row]]] = True
        if (wider == known).all():
            return known
        known = wider
