"""Parts of the queries on which a model may do better or worse than on the whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lambdamart_kit.core.typing import Array, BoolArray, FloatArray
from lambdamart_kit.metrics.significance import bootstrap_interval
from lambdamart_kit.report.ranked_rows import RankedRows

_MOST_VALUES = 8  # of a column of names, the most frequent ones
_FEWEST_QUERIES = 2


@dataclass(frozen=True, eq=False)
class Slice:
    """Some of the queries.

    Attributes
    ----------
    by, name : str
        What divides the queries, and which part this is.
    chosen : (n_queries,) bool
        The queries in it, in the order of ``rows.queries.ids``.
    """

    by: str
    name: str
    chosen: BoolArray


def standard_slices(rows: RankedRows) -> list[Slice]:
    """Thirds by the number of documents and by the share of relevant ones.

    Examples
    --------
    >>> from lambdamart_kit.datasets import RankingDataset
    >>> data = RankingDataset(np.zeros((3, 1), np.float32), np.array([1.0, 0, 0]), np.array([1, 1, 2]))
    >>> rows = RankedRows(data, {"a": np.zeros(3)})
    >>> [(part.by, part.name) for part in standard_slices(rows)][:2]
    [('documents in the query', '1'), ('documents in the query', '2')]
    """
    ordered = rows.queries.sort(np.asarray(rows.data.y, dtype=np.float64))
    starts = rows.queries.ptr[:-1]
    share = np.add.reduceat((ordered > 0).astype(np.float64), starts) / rows.queries.sizes
    share[share == 0] = np.nan  # queries without a relevant document are in no mean
    return [
        *thirds("documents in the query", rows.queries.sizes.astype(np.float64)),
        *thirds("share of relevant documents", share),
    ]


def column_slices(rows: RankedRows, name: str, values: Array) -> list[Slice]:
    """Queries by a column of the rows: by its values where they are names, else in thirds of its mean.

    A query belongs to the value of its first row.

    Parameters
    ----------
    rows : RankedRows
    name : str
        What the column is called.
    values : (n_samples,) array
        One value a row.
    """
    ordered = rows.queries.sort(np.asarray(values))
    starts = rows.queries.ptr[:-1]
    if ordered.dtype.kind in "fiub" and len(np.unique(ordered)) > _MOST_VALUES:
        sums = np.add.reduceat(ordered.astype(np.float64), starts)
        return thirds(name, sums / rows.queries.sizes)
    of_query = ordered[starts].astype(str)
    known, counts = np.unique(of_query, return_counts=True)
    frequent = known[np.argsort(-counts, kind="stable")][:_MOST_VALUES]
    return [Slice(name, str(value), of_query == value) for value in frequent]


def thirds(by: str, values: FloatArray) -> list[Slice]:
    """The queries in three parts of about one size by a number of each; fewer parts where numbers repeat."""
    known = values[np.isfinite(values)]
    if not len(known):
        return []
    edges = np.unique(np.quantile(known, [1 / 3, 2 / 3], method="inverted_cdf"))
    part = np.searchsorted(edges, values)
    slices = []
    for number in range(len(edges) + 1):
        chosen = (part == number) & np.isfinite(values)
        if chosen.any():
            low = values[chosen].min()
            high = values[chosen].max()
            name = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
            slices.append(Slice(by, name, chosen))
    return slices


@dataclass(frozen=True)
class SliceResult:
    """A metric on a slice.

    Attributes
    ----------
    by, name : str
        The slice.
    n_queries : int
        Queries of the slice that count.
    mean, low, high : float
        Mean of the model, and its bootstrap interval.
    difference, difference_low, difference_high : float or None
        Paired with the baseline; None without one.
    """

    by: str
    name: str
    n_queries: int
    mean: float
    low: float
    high: float
    difference: float | None
    difference_low: float | None
    difference_high: float | None


def measure_slices(
    slices: Sequence[Slice], values: FloatArray, baseline: FloatArray | None
) -> list[SliceResult]:
    """Mean and interval of a metric on each slice, and of the paired difference to a baseline.

    Parameters
    ----------
    slices : list of Slice
        Those with fewer than two queries that count are left out.
    values, baseline : (n_queries,) float64
        NaN for queries that do not count.
    """
    results = []
    for part in slices:
        counted = part.chosen & np.isfinite(values)
        if counted.sum() < _FEWEST_QUERIES:
            continue
        low, high = bootstrap_interval(values[counted])
        compared: tuple[float | None, float | None, float | None] = (None, None, None)
        if baseline is not None:
            differences = values[counted] - baseline[counted]
            below, above = bootstrap_interval(differences)
            compared = (float(differences.mean()), float(below[0]), float(above[0]))
        mean = float(values[counted].mean())
        results.append(
            SliceResult(
                part.by, part.name, int(counted.sum()), mean, float(low[0]), float(high[0]), *compared
            )
        )
    return results
