"""What is measured after every round: each metric on each set of held-out rows, and on the training rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from lambdamart_kit.boosters.rounds import EvalSet, Measure, Stopwatch
from lambdamart_kit.core.ordered_rows import OrderedRows
from lambdamart_kit.core.typing import Array
from lambdamart_kit.metrics import Metric, parse_metric
from lambdamart_kit.objectives import Combined
from lambdamart_kit.rankers.binding import bind_metric
from lambdamart_kit.rankers.saving import UnsavedCallable
from lambdamart_kit.rankers.steering.goals import COMBINED, BoundGoalMetrics, GoalMetrics
from lambdamart_kit.rankers.steering.training_set import HeldOutRows, TrainingSet

TRAINING = "training"
"""Name of the training rows in ``evals_result_``."""


def parse_metrics(eval_metric: Any) -> list[Metric]:
    """The metrics of the parameter 'eval_metric': one, or a list of them.

    Raises
    ------
    ValueError
        If the list is empty, or names a metric twice.

    Examples
    --------
    >>> [str(metric) for metric in parse_metrics(["ndcg@10", "map"])]
    ['ndcg@10', 'map']
    """
    several = isinstance(eval_metric, list | tuple)
    for entry in eval_metric if several else [eval_metric]:
        if isinstance(entry, UnsavedCallable):
            entry()  # raises an error that says what is missing
    metrics = [parse_metric(entry) for entry in eval_metric] if several else [parse_metric(eval_metric)]
    names = [str(metric) for metric in metrics]
    if not names or len(set(names)) < len(names):
        raise ValueError(
            f"'eval_metric' must be a metric, or a list of different ones, at least one; got {eval_metric!r}"
        )
    return metrics


def eval_sets(
    data: TrainingSet,
    metrics: Sequence[Metric],
    watch: Stopwatch,
    *,
    n_threads: int,
    track_training: bool = False,
    goals: Combined | None = None,
) -> list[EvalSet]:
    """The sets of rows to measure on after every round, the metrics bound to them.

    Parameters
    ----------
    data : TrainingSet
    metrics : sequence of Metric
        The first of them on the first set decides when to stop.
    watch : Stopwatch
        Gets the seconds that measuring takes.
    n_threads : int
    track_training : bool
        Whether the training rows are measured too, as the last set.
    goals : Combined, optional
        Several goals, each of which is measured. What decides then is their combined number.

    Raises
    ------
    ValueError
        If no query of a set has a relevant document.
    """
    parts = list(data.held_out)
    if track_training:
        parts.append(HeldOutRows(TRAINING, data.train))
    found = []
    for part in parts:
        if goals is None:
            measures = [_measure(metric, part, watch, n_threads) for metric in metrics]
        else:
            measures = _measures_of_goals(goals, metrics, part, watch, n_threads)
        found.append(EvalSet(part.name, part.rows.X, tuple(measures)))
    return found


def _measure(metric: Metric, part: HeldOutRows, watch: Stopwatch, n_threads: int) -> Measure:
    rows = part.rows
    bound = bind_metric(metric, rows, n_threads=n_threads)
    _check_not_blank(metric, bound, part, "a relevant document")
    return Measure(str(metric), _timed(bound, rows, watch), metric.greater_is_better)


def _measures_of_goals(
    goals: Combined, metrics: Sequence[Metric], part: HeldOutRows, watch: Stopwatch, n_threads: int
) -> list[Measure]:
    """The number that decides, the metric of each goal that it is made of, then all further metrics."""
    deciding = GoalMetrics.of(goals, metrics[0])
    bound = deciding.bind(part.rows, n_threads=n_threads)
    for goal, metric, own in zip(goals.names, deciding.metrics, bound.bounds):
        _check_not_blank(metric, own, part, f"a relevant document for the goal {goal!r}")
    better = deciding.greater_is_better
    measures = [Measure(COMBINED, _timed(bound, part.rows, watch), better)]
    # An `EvalSet` calls its measures in turn, so the values are those of the call that decides.
    for at, name in enumerate(deciding.names):
        measures.append(Measure(name, partial(_value_of_goal, bound, at), better))
    for metric in metrics[1:]:
        for at, goal in enumerate(goals.names):
            one = HeldOutRows(part.name, part.rows.of_goal(at))
            found = _measure(metric, one, watch, n_threads)
            measures.append(replace(found, name=f"{goal} {found.name}"))
    return measures


def _value_of_goal(bound: BoundGoalMetrics, at: int, scores: Array) -> float:
    return bound.values[at]


def _check_not_blank(metric: Metric, bound: Any, part: HeldOutRows, what: str) -> None:
    if metric.blank == "skip" and bound.blank.all():
        of = "" if part.name == "validation" else f" of {part.name!r}"
        raise ValueError(
            f"the held-out queries{of} must have {what}, or there is nothing to stop on; all "
            f"{part.rows.queries.n_queries} are blank; hold out more queries"
        )


def _timed(bound: Any, rows: OrderedRows, watch: Stopwatch) -> Callable[[Array], float]:
    total = bound if rows.init_score is None else _FromStart(bound, rows)
    return watch.timed("evaluation", total.__call__)


class _FromStart:
    """A bound metric that gets what a learner adds to starting scores, and measures their sum."""

    def __init__(self, bound: Any, rows: OrderedRows) -> None:
        self._bound = bound
        self._start = rows.init_score

    def __call__(self, scores: Array) -> float:
        assert self._start is not None
        return float(self._bound(np.asarray(scores, dtype=np.float64) + self._start))
