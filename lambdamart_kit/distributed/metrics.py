"""The kit's metrics on Dask collections, reduced over partitions without approximation.

A metric is a mean over queries, so each partition gives two sums, and the partitions' sums add up::

    metric = sum over partitions of (sum w_q m_q) / sum over partitions of (sum w_q)

The value is that of :mod:`lambdamart_kit.metrics` on the collected rows, up to the order of float sums (about
1e-15). The functions take what their local namesakes take, plus `shuffle`: with False, partitions must be
whole queries already; by default the rows (label, score and id only) are first brought together by query.
Without a client they run on Dask's local scheduler.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask.base import compute
from dask.delayed import delayed

from lambdamart_kit.core.gains import check_relevance
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.rowhash import id_hashes
from lambdamart_kit.core.rows import flat
from lambdamart_kit.core.typing import Array, FloatArray, Ids, Settings
from lambdamart_kit.distributed.parts import Part, delayed_partitions, split_like
from lambdamart_kit.distributed.shuffling import (
    BUCKETS,
    find_split_query,
    joined_ids,
    name_of,
    split,
    split_message,
)
from lambdamart_kit.metrics import METRICS, Metric, parse_metric
from lambdamart_kit.metrics.base import check_scores, mean_of_sums, weighted_sums


def evaluate(
    metric: str | Metric,
    y: Any,
    scores: Any,
    qid: Ids,
    *,
    sample_weight: Any = None,
    per_query: bool = False,
    shuffle: bool = True,
) -> float | FloatArray:
    """Value of a metric over Dask collections.

    Parameters
    ----------
    metric : str or Metric
        Such as ``"ndcg@10"``: see :func:`lambdamart_kit.metrics.parse_metric`.
    y, scores, qid, sample_weight : Dask arrays or Series with the same partitions
        Label, score, query id and weight of each row; weights are the same within a query.
    per_query : bool
        The value of each query, in ascending order of their ids, instead of the mean.
    shuffle : bool
        Whether to bring the rows of each query together first.

    Returns
    -------
    float or (n_queries,) array
        Computed, not lazy.

    Raises
    ------
    ValueError
        If partitions do not match, a partition's rows are not usable, or partitions split a query with
        ``shuffle=False``.

    Examples
    --------
    >>> import dask.array as da
    >>> y, scores = da.from_array([1, 0, 1, 0], chunks=2), da.from_array([4.0, 3.0, 1.0, 2.0], chunks=2)
    >>> round(evaluate("ndcg@10", y, scores, da.from_array([7, 7, 9, 9], chunks=2)), 4)   # (1 + .6309) / 2
    0.8155
    """
    found = parse_metric(metric)
    if qid is None:
        raise ValueError("'qid' must be given: the query id of each row; got None")
    columns = {"y": y, "qid": qid} | ({} if sample_weight is None else {"sample_weight": sample_weight})
    aligned = {name: split_like(scores, column, name, to="scores") for name, column in columns.items()}
    make = delayed(_rows, pure=False)
    parts = [
        make(number, part, {name: column[number] for name, column in aligned.items()})
        for number, part in enumerate(delayed_partitions(scores))
    ]
    if shuffle and len(parts) > 1:
        parts = _regrouped(parts)
    measured = compute(*[delayed(_measure, pure=False)(part, found, per_query) for part in parts])
    _check_whole([m.hashes for m in measured], parts)
    counted = [m for m in measured if len(m.hashes)]
    if not counted:
        raise ValueError(f"{found} needs at least one row; all {len(parts)} partitions are empty")
    if per_query:
        ids = joined_ids([m.ids for m in counted])
        values: FloatArray = np.concatenate([m.values for m in counted])
        return values[Queries.from_qid(ids, len(ids)).order]
    return mean_of_sums(sum(m.weighted for m in counted), sum(m.weight for m in counted), str(found))


def _over_partitions(name: str) -> Callable[..., float | FloatArray]:
    def measure(
        y: Any,
        scores: Any,
        qid: Ids,
        *,
        sample_weight: Any = None,
        per_query: bool = False,
        shuffle: bool = True,
        **options: Any,
    ) -> float | FloatArray:
        metric = METRICS[name](**options)
        return evaluate(
            metric, y, scores, qid, sample_weight=sample_weight, per_query=per_query, shuffle=shuffle
        )

    measure.__name__ = measure.__qualname__ = name
    measure.__doc__ = (
        f"``{name}`` over partitions: :func:`evaluate` with the options of its local namesake in "
        ":mod:`lambdamart_kit.metrics`."
    )
    return measure


ndcg = _over_partitions("ndcg")
dcg = _over_partitions("dcg")
mean_average_precision = _over_partitions("map")
mean_reciprocal_rank = _over_partitions("mrr")
err = _over_partitions("err")
precision = _over_partitions("precision")
recall = _over_partitions("recall")
kendall_tau = _over_partitions("kendall_tau")


@dataclass(frozen=True, eq=False)
class _Measured:
    """What a partition adds: hashes of its queries, two sums, and the values by query if asked for."""

    hashes: Array
    weighted: float = 0.0
    weight: float = 0.0
    ids: Any = None
    values: Any = None


def _rows(number: int, scores: Any, columns: Settings) -> Part:
    """Labels, ids and weights of a partition, with the scores for features."""
    weight = columns.get("sample_weight")
    y = check_relevance(flat(columns["y"])) if len(columns["y"]) else np.empty(0)
    for name, column in columns.items():
        if len(column) != len(scores):
            raise ValueError(
                f"partition {number}: {name!r} must have one entry a row of 'scores': expected "
                f"{len(scores)}, got {len(column)}"
            )
    return Part(
        number, flat(scores), y, np.asarray(columns["qid"]), None if weight is None else np.asarray(weight)
    )


def _regrouped(parts: Sequence[Any]) -> list[Any]:
    """As many parts, each of whole queries."""
    n_parts = len(parts)
    place = np.arange(n_parts * BUCKETS) % n_parts
    shares = [delayed(split, nout=n_parts, pure=False)(part, place, n_parts) for part in parts]
    join = delayed(_join, pure=False)
    return [join(at, [share[at] for share in shares]) for at in range(n_parts)]


def _join(number: int, parts: Sequence[Part | None]) -> Part:
    present = [part for part in parts if part is not None]
    if not present:
        return Part(number, np.empty(0), np.empty(0), np.empty(0), None)
    weights = [part.sample_weight for part in present if part.sample_weight is not None]
    return Part(
        number,
        np.concatenate([part.X for part in present]),
        np.concatenate([part.y for part in present]),
        joined_ids([part.qid for part in present]),
        np.concatenate(weights) if weights else None,
    )


def _measure(part: Part, metric: Metric, per_query: bool) -> _Measured:
    if not len(part):
        return _Measured(np.empty(0, dtype=np.uint64))
    queries = Queries.from_qid(part.qid, len(part))
    scores = check_scores(part.X, queries)
    bound = metric.bind(part.y, queries, part.sample_weight, n_threads=1)
    values = bound.per_query(queries.sort(scores))
    weighted, weight = weighted_sums(values, bound.weights)
    hashes = np.sort(id_hashes(queries.ids))
    return _Measured(hashes, weighted, weight, *((queries.ids, values) if per_query else ()))


def _check_whole(hashes: Sequence[Array], parts: Sequence[Any]) -> None:
    split_query = find_split_query(hashes)
    if split_query is not None:
        hashed, first, second = split_query
        name = delayed(name_of, pure=False)(parts[first], hashed).compute()
        raise ValueError(split_message(name, first, second))
