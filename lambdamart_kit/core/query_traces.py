"""What a fitted ranker remembers of its training queries: enough to notice that one is measured again.

A query is *cut* when some of its rows are trained on and others are measured. Its documents have much in
common, so such a measurement is too good. A query that is measured with as many rows as it was trained on is
taken as whole: that is the training score, which nobody takes for another.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.rowhash import id_hashes
from lambdamart_kit.core.typing import Array, ArrayLike, Ids, IndexArray


@dataclass(frozen=True, eq=False)
class QueryTraces:
    """Ids (as hashes) and sizes of queries, 16 bytes each.

    Attributes
    ----------
    ids : (n_queries,) uint64
        Hash of each query id, ascending; 7, 7.0 and "7" hash alike.
    sizes : (n_queries,) intp
        Rows of each.

    Examples
    --------
    >>> trained = QueryTraces.of(Queries.from_qid(["a", "a", "b", "b"], 4))
    >>> trained.n_cut(QueryTraces.of(Queries.from_qid(["a", "a", "b"], 3)))
    1
    """

    ids: Array
    sizes: IndexArray

    @classmethod
    def of(cls, queries: Queries) -> QueryTraces:
        """Traces of these queries."""
        hashes = id_hashes(queries.ids)
        order = np.argsort(hashes, kind="stable")
        return cls(hashes[order], queries.sizes[order])

    def updated(self, later: QueryTraces) -> QueryTraces:
        """Both; a query of the same id in both counts as the later one has it."""
        # A later fit on a query of the same id replaces what is known of its size.
        kept = ~np.isin(self.ids, later.ids)
        ids = np.concatenate((self.ids[kept], later.ids))
        sizes = np.concatenate((self.sizes[kept], later.sizes))
        order = np.argsort(ids, kind="stable")
        return QueryTraces(ids[order], sizes[order])

    def n_cut(self, other: QueryTraces) -> int:
        """Queries of `other` that are here too, but with another number of rows."""
        if not len(self.ids):
            return 0
        place = np.searchsorted(self.ids, other.ids)
        # A hash above all of these would be looked up past the end. It differs from the first one as well.
        place[place == len(self.ids)] = 0
        same = self.ids[place] == other.ids
        return int(np.count_nonzero(same & (self.sizes[place] != other.sizes)))

    def warn_if_cut(self, queries: Queries, *, measured: str, stacklevel: int) -> None:
        """Warn, with counts, if some of the `queries` of the rows `measured` were cut."""
        n_cut = self.n_cut(QueryTraces.of(queries))
        if n_cut:
            warnings.warn(
                f"{n_cut} of {queries.n_queries} queries of {measured} were also in training, with other "
                "rows. If the split cut them, the result is too good: split by query, with "
                "cv=lambdamart_kit.model_selection.QueryKFold(5). If they are other queries that only have "
                "the same ids, give them ids of their own",
                UserWarning,
                stacklevel=stacklevel + 1,
            )


def measured_queries(qid: Ids, n_rows: int, document_weight: ArrayLike | None) -> Queries:
    """The queries of rows that are measured, without documents of weight 0, which a fit leaves out, too."""
    queries = Queries.from_qid(qid, n_rows)
    if document_weight is None:
        return queries
    return queries.present(queries.sort(np.asarray(document_weight)) > 0)[1]
