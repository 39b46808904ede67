"""Labels, query ids and the scores of models, measured query by query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import Array, FloatArray, IndexArray
from lambdamart_kit.datasets import RankingDataset
from lambdamart_kit.metrics import Metric


@dataclass(frozen=True, eq=False)
class RankedRows:
    """Rows of a test set with the scores that one or several models give them.

    Parameters
    ----------
    data : RankingDataset
        Features, labels, query ids, and names of documents where they are known.
    scores : dict of str to (n_samples,) array
        Scores by name of the model.

    Raises
    ------
    ValueError
        If there are no scores, or not one a row.

    Examples
    --------
    >>> data = RankingDataset(np.zeros((2, 1), np.float32), np.array([1.0, 0.0]), np.array([7, 7]))
    >>> RankedRows(data, {"a": np.array([0.2, 0.9])}).ranks("a").tolist()
    [2, 1]
    """

    data: RankingDataset
    scores: Mapping[str, Array]

    def __post_init__(self) -> None:
        if not self.scores:
            raise ValueError("'scores' must have the scores of at least one model; got none")
        for name, held in self.scores.items():
            if np.shape(held) != (len(self.data),):
                raise ValueError(
                    f"'scores' must have one number a row: {name!r} has shape {np.shape(held)}, "
                    f"the data have {len(self.data):,} rows"
                )

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models."""
        return tuple(self.scores)

    @property
    def queries(self) -> Queries:
        """The rows grouped by query."""
        return self.data.queries

    @cached_property
    def query_ids(self) -> list[str]:
        """The id of each query as text."""
        return [str(name) for name in np.asarray(self.queries.ids)]

    def per_query(self, metric: Metric) -> dict[str, FloatArray]:
        """Value of each query by model, in the order of ``queries.ids``; NaN for blank queries.

        Parameters
        ----------
        metric : Metric
            What is measured.

        Returns
        -------
        dict
            From the name of a model to an array with one value a query.
        """
        bound = metric.bind(self.data.y, self.queries)
        sort = self.queries.sort
        return {name: bound.per_query(sort(np.asarray(held))) for name, held in self.scores.items()}

    def ranks(self, model: str) -> IndexArray:
        """Place of each row among the rows of its query, from 1; equal scores share the first place.

        Parameters
        ----------
        model : str
            Name of one of the models.

        Returns
        -------
        (n_samples,) array of integers
            In the order of the rows.
        """
        return competition_ranks(np.asarray(self.scores[model]), self.queries)

    def ideal_ranks(self) -> IndexArray:
        """Places if documents were in the order of their labels.

        Returns
        -------
        (n_samples,) array of integers
            In the order of the rows.
        """
        return competition_ranks(np.asarray(self.data.y), self.queries)


def competition_ranks(values: Array, queries: Queries) -> IndexArray:
    """Place of each row in its query by falling value, from 1: one more than there are greater values.

    Examples
    --------
    >>> competition_ranks(np.array([5.0, 7.0, 5.0, 1.0]), Queries.from_qid(None, 4)).tolist()
    [2, 1, 2, 4]
    """
    query = np.empty(len(values), dtype=np.intp)
    query[queries.order] = np.repeat(np.arange(queries.n_queries), queries.sizes)
    order = np.lexsort((-np.asarray(values, dtype=np.float64), query))
    ordered = np.asarray(values)[order]
    same = np.zeros(len(values), dtype=bool)
    same[1:] = (ordered[1:] == ordered[:-1]) & (query[order][1:] == query[order][:-1])
    # The place in the query of the first row of each run of equal values, carried along the run.
    place = np.arange(len(values)) - queries.ptr[query[order]]
    first = np.maximum.accumulate(np.where(same, 0, np.arange(len(values))))
    ranks = np.empty(len(values), dtype=np.intp)
    ranks[order] = place[first] + 1
    return ranks
