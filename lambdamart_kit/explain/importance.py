"""Importance of features: what a metric loses without what they know of the documents of a query."""

from __future__ import annotations

import numpy as np

from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import Array, FloatArray, IndexArray
from lambdamart_kit.explain.explained import Explained
from lambdamart_kit.explain.results import Importance
from lambdamart_kit.metrics import Metric


def permutation_importance(
    model: Explained,
    rows: Array,
    labels: FloatArray,
    queries: Queries,
    metric: Metric,
    *,
    n_repeats: int,
    groups: Array | None,
    rng: np.random.Generator,
) -> Importance:
    """Loss of the metric when a column is permuted within each query; `rows` are ordered by query.

    Permuting over all rows, as other tools do, also destroys what a feature says of the query, which cannot
    change an order; within queries only what ranks is lost.
    """
    canonical = Queries.from_qid(np.repeat(np.arange(queries.n_queries), queries.sizes), queries.n_samples)
    bound = metric.bind(labels, canonical)
    before = bound.per_query(model.predict(rows))
    if np.isnan(before).all():
        raise ValueError(
            f"'y' must have a relevant document in at least one query to explain {metric}; all "
            f"{queries.n_queries} queries are blank"
        )
    n_features = rows.shape[1]
    per_query = np.zeros((queries.n_queries, n_features))
    per_query[np.isnan(before)] = np.nan
    orders = [_within(queries.ptr, rng) for _ in range(n_repeats)]
    changed = rows.copy()
    for column in model.in_use.tolist():
        for order in orders:
            changed[:, column] = rows[order, column]
            per_query[:, column] += (before - bound.per_query(model.predict(changed))) / n_repeats
        changed[:, column] = rows[:, column]
    counted = per_query[~np.isnan(before)]
    alone = len(counted) < 2  # one query says nothing of how much queries differ
    spread = np.full(n_features, np.nan) if alone else counted.std(axis=0, ddof=1)
    return Importance(
        metric=str(metric),
        value=bound.mean(before),
        feature_names=model.feature_names,
        losses=counted.mean(axis=0),
        standard_errors=spread / np.sqrt(len(counted)),
        query_ids=np.asarray(queries.ids),
        per_query=per_query,
        groups=groups,
    )


def _within(ptr: IndexArray, rng: np.random.Generator) -> IndexArray:
    """A random order of the rows of each query."""
    query = np.repeat(np.arange(len(ptr) - 1), np.diff(ptr))
    return np.lexsort((rng.random(len(query)), query))
