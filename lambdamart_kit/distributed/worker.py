"""Tasks that run on a worker: its part of a fit, in step with the other workers."""

from __future__ import annotations

import copy
import platform
import time
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import distributed
import numpy as np
from distributed import Queue
from distributed.comm.addressing import get_address_host
from xgboost.core import XGBoostError

from lambdamart_kit.boosters.protocol import LibraryObjective
from lambdamart_kit.boosters.registry import capabilities, read_model
from lambdamart_kit.boosters.rounds import EvalSet, Evaluation, History, MakeBytes, Measure, Stopwatch
from lambdamart_kit.core.typing import FloatArray, Settings
from lambdamart_kit.distributed.errors import WorkerLostError
from lambdamart_kit.distributed.group import (
    EndTogether,
    Group,
    GroupMetric,
    GuardedBound,
    join,
    start_tracker,
    without_network,
)
from lambdamart_kit.distributed.shuffling import WorkerRows
from lambdamart_kit.distributed.threads import own_threads
from lambdamart_kit.metrics import BoundMetric
from lambdamart_kit.objectives.base import go_on_after
from lambdamart_kit.rankers.tree_ranker import TreeRanker
from lambdamart_kit.runtime.threads import resolve_n_jobs
from lambdamart_kit.runtime.version import __version__

PACKAGES = ("numpy", "numba", "lightgbm", "xgboost", "dask", "distributed")
_REPORT_SECONDS = 0.5

_trackers: dict[str, Any] = {}


@dataclass(frozen=True, eq=False)
class Job:
    """Instructions of a fit to its workers.

    Attributes
    ----------
    ranker : TreeRanker
        The local estimator: parameters and what it knows of the columns.
    workers : tuple of str
        ``worker.id`` by rank. A worker that was started anew is another one, and has no rows.
    labels : (n_levels,) float64
        Distinct labels of all rows.
    start : bytes, or None
        Model to go on from.
    history : History
        Of the rounds before.
    reports : str
        Name of the queue for reports.
    checkpoint_trees : int or None
        How often a report holds the model.
    """

    ranker: TreeRanker
    workers: tuple[str, ...]
    labels: FloatArray
    start: bytes | None
    history: History
    reports: str
    checkpoint_trees: int | None


@dataclass(frozen=True, eq=False)
class Fitted:
    """Result of a fit, from the worker of rank 0."""

    model: bytes
    best_iteration: int
    best_score: float
    evals_result: dict[str, dict[str, list[float]]]
    fit_times: dict[str, float]


def introduce() -> tuple[str, dict[str, str]]:
    """Runs on a worker: its id, and its versions."""
    return distributed.get_worker().id, versions()


def versions() -> dict[str, str]:
    """Versions of what workers and client must have in common."""
    python = ".".join(platform.python_version_tuple()[:2])
    found = {"python": python, "lambdamart_kit": __version__}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def open_tracker(name: str, size: int) -> Settings:
    """Start the tracker of fit `name` on this worker: where the others can reach it, as they must anyway."""
    _trackers[name], arguments = start_tracker(size, _host(distributed.get_worker()))
    return arguments


def close_tracker(name: str) -> None:
    """Stop the tracker; an error of workers that broke off is already known, so it is ignored here."""
    tracker = _trackers.pop(name, None)
    if tracker is not None:
        with suppress(XGBoostError):
            tracker.free()


def train(job: Job, rank: int, tracker: Settings | None, rows: WorkerRows) -> Fitted | None:
    """Grow the trees of this worker's rows with the others; the fitted model on rank 0."""
    worker = distributed.get_worker()
    if worker.id != job.workers[rank]:
        raise WorkerLostError(f"worker {worker.name!r} was lost, and started anew", (worker.name,), 0)
    ranker = copy.copy(job.ranker)
    ranker.n_jobs = own_threads(ranker.n_jobs)
    ranker.verbose = 0
    with join(rank, len(job.workers), tracker, _host(worker)) as group:
        _fit_part(job, ranker, rows, group)
    if rank > 0:
        return None
    model = ranker.model_.to_bytes()
    return Fitted(
        without_network(model) if capabilities(ranker.booster_name).network == "sockets" else model,
        ranker.best_iteration_,
        ranker.best_score_,
        ranker.evals_result_,
        ranker.fit_times_,
    )


def _fit_part(job: Job, ranker: TreeRanker, rows: WorkerRows, group: Group) -> None:
    """Fit `ranker` on this worker's rows as part of `group`."""
    watch = Stopwatch()
    start = None if job.start is None else read_model(ranker.booster_name, job.start)
    n_before = 0 if start is None else start.n_trees
    params = ranker.booster_settings(ranker.n_estimators - n_before)
    try:
        bound = ranker.bind_part(rows.train, job.labels)
        go_on_after(n_before, bound)
        metric = _bind_metric(ranker, rows)
    except Exception as error:
        group.note(error)
    group.agree()
    _check_counts(rows, metric, group)
    if not isinstance(bound, LibraryObjective):
        bound = GuardedBound(bound, group, watch)
    callbacks: list[Any] = [EndTogether(group)]
    if group.rank == 0:
        callbacks.append(Reporter(job.reports, group, job.checkpoint_trees, n_before))
    by_sockets = capabilities(ranker.booster_name).network == "sockets"
    network: AbstractContextManager[dict[str, Any]]
    network = group.lightgbm_network() if by_sockets else nullcontext({})
    with network as settings, watch.remainder("trees"):
        ranker.boost(
            rows.train,
            bound,
            replace(params, network=settings),
            eval_sets=_eval_sets(rows, metric, group, watch),
            start=start,
            history=copy.copy(job.history),
            callbacks=callbacks,
        )
    ranker.fit_times_ = dict(watch.seconds)


def _bind_metric(ranker: TreeRanker, rows: WorkerRows) -> BoundMetric | None:
    held_out = rows.held_out
    if held_out is None:
        return None
    return ranker.find_metric().bind(
        held_out.y, held_out.queries, held_out.sample_weight, n_threads=resolve_n_jobs(ranker.n_jobs)
    )


def _eval_sets(rows: WorkerRows, metric: BoundMetric | None, group: Group, watch: Stopwatch) -> list[EvalSet]:
    if rows.held_out is None or metric is None:
        return []
    mean = watch.timed("evaluation", GroupMetric(metric, group).__call__)
    greater_is_better = metric.metric.greater_is_better
    measure = Measure(str(metric.metric), mean, greater_is_better)
    return [EvalSet("validation", rows.held_out.X, (measure,))]


def _check_counts(rows: WorkerRows, metric: BoundMetric | None, group: Group) -> None:
    """Raise if no worker has labels to learn from, or none of the held-out queries can be measured."""
    train = rows.train
    weighs = train.comparable()
    if train.sample_weight is not None:
        weighs &= train.sample_weight[train.queries.ptr[:-1]] > 0
    measured = np.inf if metric is None else metric.weights[~metric.blank].sum()
    to_learn, to_measure = group.sum(np.array([weighs.sum(), measured]))
    if to_learn == 0:
        raise ValueError(
            "'y' must hold two different labels in at least one query with weight, or there is nothing to "
            "learn; in every query of every partition all documents have the same label"
        )
    if to_measure == 0:
        raise ValueError(
            "the held-out queries must have a relevant document, or there is nothing to stop on; all are "
            "blank; hold out more queries"
        )


class Reporter:
    """Callback of rank 0: tells the client how far the fit is, and sends the model now and then.

    If the client has closed the queue, sending fails, and that ends the fit.
    """

    def __init__(self, queue: str, group: Group, checkpoint_trees: int | None, n_before: int) -> None:
        self._queue = Queue(queue)
        self._group = group
        self._checkpoint_trees = checkpoint_trees
        self._n_before = n_before
        self._values: list[float] = []
        self._sent_at = time.monotonic()

    def show(self, n_rounds: int, to_bytes: MakeBytes) -> None:
        """Take the model so far."""
        self._to_bytes = to_bytes

    def __call__(self, n_rounds: int, evaluation: Evaluation) -> bool:
        """Send what is due; never stops."""
        self._values += evaluation.values()
        n_trees = self._n_before + n_rounds
        saves = self._checkpoint_trees is not None and n_trees % self._checkpoint_trees == 0
        if saves or time.monotonic() - self._sent_at >= _REPORT_SECONDS:
            report = {"n_trees": n_trees, "evaluation": dict(evaluation)}
            if saves:
                report |= {"model": self._to_bytes(), "values": self._values}
            try:
                self._queue.put(report)
            except Exception as error:
                self._group.note(error)
            self._sent_at = time.monotonic()
        return False


def _host(worker: Any) -> str:
    return str(get_address_host(worker.address))
