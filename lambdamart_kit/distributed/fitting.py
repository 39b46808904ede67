"""A fit as the client runs it: moves rows to workers, grows trees, reports lost workers."""

from __future__ import annotations

import operator
import uuid
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from distributed import MultiLock, Queue

from lambdamart_kit.boosters.rounds import History
from lambdamart_kit.core.typing import FloatArray, Settings
from lambdamart_kit.distributed import shuffling, worker
from lambdamart_kit.distributed.cluster import Cluster, Worker
from lambdamart_kit.distributed.parts import Source
from lambdamart_kit.distributed.shuffling import BUCKETS, Description, Summary
from lambdamart_kit.distributed.worker import Fitted, Job
from lambdamart_kit.rankers.tree_ranker import TreeRanker


@dataclass(frozen=True)
class Holding:
    """Where held-out queries come from: `source`, else a `fraction` of the training queries, else none."""

    source: Source | None
    fraction: float | None
    seed: int


@dataclass(frozen=True, eq=False)
class PlacedRows:
    """Rows on their workers.

    Attributes
    ----------
    workers : list of Worker
        Those that have rows, by rank.
    rows : list of Future
        A `WorkerRows` each.
    summaries : list of Summary
    labels : (n_levels,) float64
        Distinct labels.
    n_features : int
    """

    workers: list[Worker]
    rows: list[Any]
    summaries: list[Summary]
    labels: FloatArray
    n_features: int

    @property
    def n_queries(self) -> int:
        """Queries of all workers."""
        return sum(len(summary.hashes) for summary in self.summaries)

    @property
    def content(self) -> str:
        """Fingerprint of the rows: their number and the sum of their hashes, on any number of workers."""
        n_rows = sum(summary.n_rows for summary in self.summaries)
        return f"{n_rows}:{sum(summary.content for summary in self.summaries) % 2**64:016x}"


def distribute(
    cluster: Cluster, ranker: TreeRanker, source: Source, holding: Holding, *, shuffle: bool
) -> PlacedRows:
    """Bring whole queries to workers.

    Parameters
    ----------
    cluster : Cluster
    ranker : TreeRanker
        The local estimator; says how many threads to use.
    source : Source
    holding : Holding
    shuffle : bool
        Whether to move queries; if not, partitions must be whole queries and go to workers as they are.

    Raises
    ------
    ValueError
        What the rows of a partition are not fit for; a query in two partitions with ``shuffle=False``; no
        rows.
    WorkerLostError
        If a worker left while its rows came.
    """
    workers = cluster.workers()
    n_buckets = BUCKETS * len(workers)
    parts, found = _describe(cluster, source, n_buckets, "X")
    n_features = _n_features(source, found)
    others: list[Any] | None = None
    if holding.source is not None:
        others, held_out = _describe(cluster, holding.source, n_buckets, "X_val")
        n_features = max(n_features, _n_features(holding.source, held_out))
    if shuffle:
        columns = _dealt(cluster, parts, found, len(workers))
    else:
        _check_whole(cluster, parts, found)
        columns = _in_blocks(parts, found, len(workers))
    used = [w for w, column in enumerate(columns) if column is not None]
    held = [None] * len(workers) if others is None else _dealt(cluster, others, held_out, len(used))
    rows = [
        cluster.client.submit(
            shuffling.assemble,
            columns[w],
            held[at] if others is None else (held[at] or []),
            holding.fraction if others is None else None,
            holding.seed,
            n_features,
            ranker.n_jobs,
            workers=[workers[w].address],
            pure=False,
        )
        for at, w in enumerate(used)
    ]
    del parts, others, columns, held  # so that the cluster frees what has been moved
    chosen = [workers[w] for w in used]
    summaries = cluster.results(
        [cluster.client.submit(operator.attrgetter("summary"), r, pure=False) for r in rows],
        chosen,
        doing="rows came to it",
    )
    if shuffling.find_split_query([s.hashes for s in summaries]) is not None:
        raise AssertionError("a query came to two workers; please report this with the dtype of 'qid'")
    labels = np.unique(np.concatenate([f.levels for f in found]))
    return PlacedRows(chosen, rows, summaries, labels, n_features)


class Boosting:
    """Grows trees on the rows of a `PlacedRows` and passes on reports.

    Parameters
    ----------
    cluster : Cluster
    placed : PlacedRows
    on_report : callable
        Takes each report of :class:`~lambdamart_kit.distributed.worker.Reporter`.
    """

    def __init__(self, cluster: Cluster, placed: PlacedRows, on_report: Callable[[Settings], None]) -> None:
        self._cluster = cluster
        self._placed = placed
        self._on_report = on_report
        self._name = f"lambdamart-kit-{uuid.uuid4().hex}"

    def run(
        self, ranker: TreeRanker, start: bytes | None, history: History, checkpoint_trees: int | None
    ) -> Fitted:
        """Grow the trees of all workers in step.

        Raises
        ------
        WorkerLostError
            If a worker left.
        """
        workers = self._placed.workers
        client = self._cluster.client
        ids = tuple(w.id for w in workers)
        job = Job(ranker, ids, self._placed.labels, start, history, self._name, checkpoint_trees)
        queue = Queue(self._name, client=client)
        # Two fits at once on the same workers would each wait for threads that the other holds.
        with MultiLock([w.address for w in workers], client=client), self._tracker() as tracker:
            try:
                futures = [
                    client.submit(
                        worker.train,
                        job,
                        rank,
                        tracker,
                        rows,
                        workers=[workers[rank].address],
                        pure=False,
                        retries=0,
                        priority=10,
                    )
                    for rank, rows in enumerate(self._placed.rows)
                ]
                results = self._cluster.results(
                    futures, workers, doing="trees were grown", meanwhile=lambda: self._drain(queue)
                )
            finally:
                queue.close()
        fitted: Fitted = results[0]
        return fitted

    def _drain(self, queue: Queue) -> None:
        for report in queue.get(batch=True):
            self._on_report(report)

    @contextmanager
    def _tracker(self) -> Any:
        """Where the workers find each other: on the worker of rank 0."""
        workers = self._placed.workers
        client = self._cluster.client
        if len(workers) == 1:
            yield None
            return
        home = workers[0].address
        try:
            opened = client.submit(worker.open_tracker, self._name, len(workers), workers=[home], pure=False)
            yield self._cluster.results([opened], workers[:1], doing="the workers met")[0]
        finally:
            if self._cluster.has(home):  # else it took its tracker with it
                client.run(worker.close_tracker, self._name, workers=[home])


def _describe(
    cluster: Cluster, source: Source, n_buckets: int, name: str
) -> tuple[list[Any], list[Description]]:
    """The computed parts, and a description of each."""
    parts = cluster.client.compute(source.parts)
    described = [cluster.client.submit(shuffling.describe, part, n_buckets, pure=False) for part in parts]
    found = cluster.results(described, [], doing="rows were read")
    if not any(f.n_rows for f in found):
        raise ValueError(f"{name!r} must have rows; all of its {len(found)} partitions are empty")
    return parts, found


def _n_features(source: Source, found: Sequence[Description]) -> int:
    widths = {f.n_features: f.number for f in found if f.n_rows}  # a file without rows may not tell
    if not source.widths_vary and len(widths) > 1:
        told = ", ".join(f"partition {number} has {width}" for width, number in sorted(widths.items()))
        raise ValueError(f"'X' must have the same number of features in all partitions; {told}")
    return max(widths, default=0)


def _dealt(
    cluster: Cluster, parts: Sequence[Any], found: Sequence[Description], n_workers: int
) -> list[list[Any] | None]:
    """For each worker its share of every part; None for a worker that gets no query."""
    rows = np.sum([f.bucket_rows for f in found], axis=0)
    worker_of_bucket = shuffling.deal(rows, n_workers)
    submit = cluster.client.submit
    shares = [submit(shuffling.split, part, worker_of_bucket, n_workers, pure=False) for part in parts]
    filled = np.bincount(worker_of_bucket, weights=rows, minlength=n_workers) > 0
    return [
        [submit(operator.getitem, share, w, pure=False) for share in shares] if filled[w] else None
        for w in range(n_workers)
    ]


def _in_blocks(parts: Sequence[Any], found: Sequence[Description], n_workers: int) -> list[list[Any] | None]:
    """For each worker a block of consecutive parts, with about as many rows each."""
    middle = np.cumsum([f.n_rows for f in found]) - np.array([f.n_rows for f in found]) / 2
    worker_of_part = np.minimum(
        (middle / sum(f.n_rows for f in found) * n_workers).astype(int), n_workers - 1
    )
    return [[p for p, at in zip(parts, worker_of_part) if at == w] or None for w in range(n_workers)]


def _check_whole(cluster: Cluster, parts: Sequence[Any], found: Sequence[Description]) -> None:
    empty = [f.number for f in found if not f.n_rows]
    if empty:
        raise ValueError(
            f"with shuffle=False every partition must have rows; partition {empty[0]} of {len(found)} is "
            f"empty ({len(empty)} such partitions); drop them, or leave shuffle=True"
        )
    split = shuffling.find_split_query([f.hashes for f in found])
    if split is not None:
        hashed, first, second = split
        name = cluster.client.submit(shuffling.name_of, parts[first], hashed, pure=False).result()
        raise ValueError(shuffling.split_message(name, first, second))
