"""Bring whole queries to workers.

The hash of a query's id decides which worker gets it. Ids are hashed into many more buckets than there are
workers, and buckets are dealt out so that every worker gets about as many rows. The worker of a query depends
on the ids and the number of workers only, not on the partitions that rows came in. So does the order of a
worker's rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from lambdamart_kit.core.ordered_rows import OrderedRows, canonical_order, row_contents
from lambdamart_kit.core.queries import Queries, query_weights
from lambdamart_kit.core.rowhash import id_hashes, mix
from lambdamart_kit.core.rows import RowView, is_sparse
from lambdamart_kit.core.typing import Array, Features, FloatArray, IndexArray
from lambdamart_kit.distributed.parts import Part
from lambdamart_kit.distributed.threads import own_threads

BUCKETS = 64  # a worker: the fullest then has a few percent more than the mean


@dataclass(frozen=True, eq=False)
class Description:
    """Description of a part for the client.

    Attributes
    ----------
    number, n_rows, n_features : int
    levels : (n_levels,) float64
        Distinct labels.
    bucket_rows : (n_buckets,) int64
        Rows of the queries in each bucket.
    hashes : (n_queries,) uint64
        Of the query ids, ascending.
    """

    number: int
    n_rows: int
    n_features: int
    levels: FloatArray
    bucket_rows: Array
    hashes: Array


@dataclass(frozen=True, eq=False)
class Summary:
    """Description of a worker's rows, held-out ones included, for the client.

    Attributes
    ----------
    n_rows : int
    hashes : (n_queries,) uint64
        Of the query ids, ascending.
    content : int
        Sum of the hashes of the rows' features, labels, query ids and weights, modulo 2**64: over all workers
        it names the data set.
    """

    n_rows: int
    hashes: Array
    content: int


@dataclass(frozen=True, eq=False)
class WorkerRows:
    """The rows of one worker.

    Attributes
    ----------
    train : OrderedRows
    held_out : OrderedRows or None
        Never without a row when any worker has one: a worker without gets a training query of weight 0,
        because all workers take part in measuring.
    summary : Summary
    """

    train: OrderedRows
    held_out: OrderedRows | None
    summary: Summary


def describe(part: Part, n_buckets: int) -> Description:
    """Runs on a worker."""
    queries = Queries.from_qid(part.qid, len(part))
    hashes = id_hashes(queries.ids)
    rows = np.bincount(_bucket(hashes, n_buckets), weights=queries.sizes, minlength=n_buckets)
    return Description(
        part.number, len(part), part.X.shape[1], np.unique(part.y), rows.astype(np.int64), np.sort(hashes)
    )


def deal(bucket_rows: Array, n_workers: int) -> IndexArray:
    """Worker of each bucket: the fullest bucket first, each to the worker with the fewest rows so far.

    Examples
    --------
    >>> deal(np.array([5, 1, 4, 0]), 2).tolist()
    [0, 1, 1, 0]
    """
    worker = np.zeros(len(bucket_rows), dtype=np.intp)
    load = np.zeros(n_workers, dtype=np.int64)
    for bucket in np.argsort(-bucket_rows, kind="stable"):
        worker[bucket] = load.argmin()
        load[worker[bucket]] += bucket_rows[bucket]
    return worker


def split(part: Part, worker_of_bucket: IndexArray, n_workers: int) -> list[Part | None]:
    """Runs on a worker: the rows of a part by where they go; None for none."""
    if not len(part):
        return [None] * n_workers
    queries = Queries.from_qid(part.qid, len(part))
    worker = worker_of_bucket[_bucket(id_hashes(queries.ids), len(worker_of_bucket))]
    chosen = [queries.rows(worker == w) for w in range(n_workers)]
    return [part.take(rows) if len(rows) else None for rows in chosen]


def gather(parts: Sequence[Part | None], n_features: int, n_threads: int) -> tuple[OrderedRows, int]:
    """Runs on a worker: its rows in canonical order, and the sum of their hashes.

    Features are written once, to where they belong, so the parts and one copy are all that is in memory.
    """
    present = [part for part in parts if part is not None and len(part)]
    y = np.concatenate([part.y for part in present])
    queries = Queries.from_qid(joined_ids([part.qid for part in present]), len(y))
    contents = [row_contents(part.X, part.y, n_threads=n_threads) for part in present]
    content = np.concatenate(contents)
    order = canonical_order(queries, content)
    place = np.empty(len(y), dtype=np.intp)
    place[order] = identity = np.arange(len(y), dtype=np.intp)
    X: Features
    if is_sparse(present[0].X):
        X = sparse.vstack([part.X for part in present], format="csr")[order]
    else:
        dtype = np.result_type(np.float32, *(part.X.dtype for part in present))
        X, at = np.zeros((len(y), n_features), dtype=dtype), 0
        for part in present:
            X[place[at : at + len(part)], : part.X.shape[1]] = part.X
            at += len(part)
    ordered = Queries(identity, queries.ptr, queries.ids)
    weight = _row_weight(present, order, ordered)
    named = content[order] ^ mix(id_hashes(ordered.ids))[ordered.query_of_ordered_row]
    known_weight = np.ones(len(y)) if weight is None else weight
    named = mix(named ^ mix(known_weight.view(np.uint64)))
    return OrderedRows(RowView(X, identity), y[order], ordered, weight), int(named.sum(dtype=np.uint64))


def assemble(
    parts: Sequence[Part | None],
    held_out: Sequence[Part | None] | None,
    fraction: float | None,
    seed: int,
    n_features: int,
    n_jobs: int | None,
) -> WorkerRows:
    """Runs on a worker: its training rows, and its held-out rows, given or a `fraction` of the queries."""
    n_threads = own_threads(n_jobs)
    train, content = gather(parts, n_features, n_threads)
    summary = Summary(len(train.y), np.sort(id_hashes(train.queries.ids)), content)
    validation = None
    if held_out is not None:
        present = [part for part in held_out if part is not None]
        validation = gather(present, n_features, n_threads)[0] if present else _stand_in(train)
    elif fraction is not None:
        chosen = draw_queries(train, fraction, seed)
        validation = _own(train.select(chosen)) if chosen.any() else _stand_in(train)
        train = _own(train.select(~chosen))
    return WorkerRows(train, validation, summary)


def draw_queries(rows: OrderedRows, fraction: float, seed: int) -> Array:
    """Which queries to hold out, (n_queries,) bool: about `fraction` of those that prefer something.

    A query is drawn by its id and `seed` alone, so the draw is the same on any number of workers. One query
    stays.
    """
    draws = mix(id_hashes(rows.queries.ids) ^ np.uint64(seed))
    chosen = rows.comparable() & (draws < np.uint64(fraction * 2.0**64))
    if chosen.all():
        chosen[draws.argmax()] = False
    return chosen


def find_split_query(hashes: Sequence[Array]) -> tuple[int, int, int] | None:
    """Hash of a query that is in two of these ascending lists, and their places; None if there is none."""
    every = np.concatenate(hashes)
    where = np.repeat(np.arange(len(hashes)), [len(part) for part in hashes])
    order = np.argsort(every, kind="stable")
    twice = np.flatnonzero(every[order][1:] == every[order][:-1])
    if not len(twice):
        return None
    first, second = order[twice[0]], order[twice[0] + 1]
    return int(every[first]), int(where[first]), int(where[second])


def split_message(name: Any, first: int, second: int) -> str:
    """Message of the error about a query in two partitions."""
    return (
        f"with shuffle=False all rows of a query must be in one partition; query {name!r} has rows in "
        f"partitions {first} and {second}; leave shuffle=True, which brings them together, or repartition by "
        "'qid'"
    )


def name_of(part: Part, hashed: int) -> Any:
    """Runs on a worker: the query id with this hash."""
    ids = np.unique(part.qid)
    return ids[id_hashes(ids) == np.uint64(hashed)].tolist()[0]


def _bucket(hashes: Array, n_buckets: int) -> IndexArray:
    return (hashes % np.uint64(n_buckets)).astype(np.intp)


def joined_ids(ids: Sequence[Array]) -> Array:
    """Ids of all parts; text and numbers stay what they are."""
    numbers = {part.dtype.kind in "iufb" for part in ids}
    return np.concatenate([part.astype(object) for part in ids] if len(numbers) > 1 else list(ids))


def _row_weight(parts: Sequence[Part], order: IndexArray, queries: Queries) -> FloatArray | None:
    given = [part.sample_weight for part in parts if part.sample_weight is not None]
    if not given:
        return None
    weights: FloatArray = query_weights(np.concatenate(given)[order], queries)
    return weights[queries.query_of_ordered_row]


def _own(rows: OrderedRows) -> OrderedRows:
    """A copy of the rows, so that the array they are a view of can be freed."""
    return OrderedRows(RowView.of(rows.X), rows.y, rows.queries, rows.sample_weight)


def _stand_in(train: OrderedRows) -> OrderedRows:
    """One training query of weight 0."""
    one = np.arange(train.queries.n_queries) == 0
    rows = _own(train.select(one))
    return OrderedRows(rows.view, rows.y, rows.queries, np.zeros(len(rows.y)))
