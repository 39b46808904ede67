"""What out-of-fold scores are measured on: queries, or clicks that are weighted against position bias."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lambdamart_kit.clicks.harvesting import SingleClicks
from lambdamart_kit.core.ordered_rows import OrderedRows
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import FloatArray
from lambdamart_kit.metrics import Metric
from lambdamart_kit.rankers.base import BaseRanker
from lambdamart_kit.rankers.blend.weights import Held

_LEAST_PROPENSITY = 0.02  # as in the estimates that rankers learn with


class Yardstick:
    """The metric on all training rows, for scores of models that have not seen them.

    Clicks with positions are measured as early stopping does: each click is a query of its own, in which it
    is the only relevant document, and counts by one over the propensity of its position.

    Parameters
    ----------
    rows : OrderedRows
    metric : Metric
    models : sequence of BaseRanker
        Fitted; their mean propensities are those of the clicks.
    n_threads : int
    """

    def __init__(
        self, rows: OrderedRows, metric: Metric, models: Sequence[BaseRanker], n_threads: int
    ) -> None:
        self.metric = metric
        self._n_threads = n_threads
        self._rows = np.arange(len(rows.y))
        self._y = rows.y
        self._queries: Queries = rows.queries
        self._weight = rows.sample_weight
        propensities = _mean_propensities(models)
        if rows.position is not None and propensities is not None:
            self._take_clicks(rows, rows.position, propensities)

    def _take_clicks(self, rows: OrderedRows, position: np.ndarray, propensities: FloatArray) -> None:
        single = SingleClicks.of(rows.y, rows.queries)
        place = np.minimum(position[single.clicked], len(propensities)) - 1
        of_click = 1.0 / np.maximum(propensities[place], _LEAST_PROPENSITY)
        if rows.sample_weight is not None:
            of_click = of_click * rows.sample_weight[single.clicked]
        self._rows = single.rows
        self._y = single.y
        self._queries = single.queries
        self._weight = single.queries.unsort(of_click[single.queries.query_of_ordered_row])

    def held(self, scores: FloatArray) -> Held:
        """Out-of-fold scores, (n_samples, n_members) in the order of the rows, ready to be measured."""
        return Held(scores[self._rows], self._y, self._queries, self._weight, self.metric, self._n_threads)

    def per_query(self, scores: FloatArray) -> FloatArray:
        """The metric of each query, (n_queries,); NaN for blank queries and those with a NaN among scores."""
        held = self.held(scores[:, None])
        known = ~np.isnan(held.scores[held.queries.ptr[:-1], 0])
        values = np.full(len(known), np.nan)
        if known.any():
            part = held.select(known)
            values[known] = part.bound.per_query(part.scores[:, 0])
        return values

    @property
    def weights(self) -> FloatArray:
        """Weight of each query, (n_queries,)."""
        queries = self._queries
        return (
            np.ones(queries.n_queries)
            if self._weight is None
            else self._weight[queries.order[queries.ptr[:-1]]]
        )


def _mean_propensities(models: Sequence[BaseRanker]) -> FloatArray | None:
    """Mean of the estimates of several models, at the positions that all of them know."""
    known = [getattr(model, "propensities_", None) for model in models]
    found = [np.asarray(values) for values in known if values is not None]
    if not found:
        return None
    n_positions = min(map(len, found))
    mean: FloatArray = np.mean([values[:n_positions] for values in found], axis=0)
    return mean
