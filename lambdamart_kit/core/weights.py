"""Query weights: one weight for each query, passed row-aligned because scikit-learn passes weights so."""

from __future__ import annotations

import numpy as np

from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import ArrayLike, FloatArray


def query_weights(sample_weight: ArrayLike | None, queries: Queries) -> FloatArray:
    """Weight ``w_q`` of each query, (n_queries,) float64, from row-aligned `sample_weight`; None is all ones.

    Raises
    ------
    ValueError
        If `sample_weight` has not one finite weight >= 0 a row, or differs within a query.

    Examples
    --------
    >>> query_weights([2.0, 1.0, 2.0], Queries.from_qid(["b", "a", "b"], 3)).tolist()
    [1.0, 2.0]
    """
    if sample_weight is None:
        return np.ones(queries.n_queries)
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != (queries.n_samples,):
        raise ValueError(
            f"'sample_weight' must hold one weight per row: expected shape ({queries.n_samples},), "
            f"got {weights.shape}; for one weight per query use weights[query_index_of_row]"
        )
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        raise ValueError(
            f"'sample_weight' must be finite and >= 0; row {bad[0]} has {weights[bad[0]]} "
            f"({len(bad)} such rows)"
        )
    ordered = queries.sort(weights)
    per_query: FloatArray = ordered[queries.ptr[:-1]]
    query_of_row = queries.query_of_ordered_row
    differing = np.flatnonzero(ordered != per_query[query_of_row])
    if len(differing):
        query = query_of_row[differing[0]]
        name = queries.ids.tolist()[query]
        raise ValueError(
            "'sample_weight' must be the same for all rows of a query, because it is the query's weight; "
            f"query {name!r} has both {per_query[query]:g} and {ordered[differing[0]]:g}; "
            "give every row of a query one weight (PointwiseRanker alone takes a weight per row)"
        )
    return per_query
