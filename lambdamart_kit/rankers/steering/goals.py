"""Several goals in a fit: what is measured for each of them, the one number that decides, and constraints."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lambdamart_kit.boosters.rounds import EvalSet, Evaluation, History
from lambdamart_kit.core.ordered_rows import OrderedRows
from lambdamart_kit.core.typing import Array, ArrayLike, FloatArray, Ids
from lambdamart_kit.metrics import Metric, parse_metric
from lambdamart_kit.objectives import Combined
from lambdamart_kit.objectives.balance import Balance
from lambdamart_kit.rankers.binding import bind_metric
from lambdamart_kit.rankers.steering.training_set import TrainingSet

COMBINED = "combined"
"""Name of the number that decides in ``evals_result_``."""

_PENALTY = 100.0  # of each unit that a goal is short of its constraint: whoever asks for it means it


@dataclass(frozen=True, eq=False)
class GoalMetrics:
    """A metric for each goal, and the one number that decides.

    Attributes
    ----------
    goals : Combined
    metrics : tuple of Metric
        One a goal.
    """

    goals: Combined
    metrics: tuple[Metric, ...]

    @classmethod
    def of(cls, goals: Combined, metric: Metric) -> GoalMetrics:
        """The ranker's first metric for every goal, but for those that name their own.

        Raises
        ------
        ValueError
            If greater is better for some of them only.
        """
        own = {name: parse_metric(given) for name, given in (goals.metrics or {}).items()}
        metrics = tuple(own.get(name, metric) for name in goals.names)
        if len({m.greater_is_better for m in metrics}) > 1:
            shown = ", ".join(f"{name}: {m}" for name, m in zip(goals.names, metrics))
            raise ValueError(
                f"'metrics' must all get better in the same direction, to have a mean; got {shown}"
            )
        return cls(goals, metrics)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the goals' measures, such as "margin ndcg@10"."""
        return tuple(f"{goal} {metric}" for goal, metric in zip(self.goals.names, self.metrics))

    @property
    def greater_is_better(self) -> bool:
        """Of all metrics, and so of the number that decides."""
        return self.metrics[0].greater_is_better

    def shortfalls(self, values: Sequence[float]) -> dict[str, float]:
        """What each goal with a constraint is short of it; below 0 for one that has more."""
        sign = 1.0 if self.greater_is_better else -1.0
        bounds = self.goals.constraints or {}
        return {
            goal: sign * (float(bounds[goal]) - value)
            for goal, value in zip(self.goals.names, values)
            if goal in bounds
        }

    def decide(self, values: Sequence[float]) -> float:
        """The mean of the goals' metrics by weight, less a hundred times what is short of constraints."""
        weights = self.goals.weight_of_goals()
        in_use = weights > 0
        mean = float(np.average(np.asarray(values, dtype=np.float64)[in_use], weights=weights[in_use]))
        short = sum(max(0.0, amount) for amount in self.shortfalls(values).values())
        return mean - (1.0 if self.greater_is_better else -1.0) * _PENALTY * short

    def measure(
        self,
        y: FloatArray,
        scores: Array,
        qid: Ids,
        *,
        sample_weight: ArrayLike | None = None,
        document_weight: ArrayLike | None = None,
        n_jobs: int | None = None,
    ) -> list[float]:
        """The metric of each goal, for row-aligned scores and checked labels, (n_samples, n_goals)."""
        return [
            float(
                metric(
                    y[:, at],
                    scores,
                    qid,
                    sample_weight=sample_weight,
                    document_weight=document_weight,
                    n_jobs=n_jobs,
                )
            )
            for at, metric in enumerate(self.metrics)
        ]

    def bind(self, rows: OrderedRows, *, n_threads: int) -> BoundGoalMetrics:
        """The metrics bound to the goals' labels of the rows."""
        bounds = [
            bind_metric(metric, rows.of_goal(at), n_threads=n_threads)
            for at, metric in enumerate(self.metrics)
        ]
        return BoundGoalMetrics(self, bounds)


class BoundGoalMetrics:
    """Metrics of goals bound to rows; a call gives the number that decides.

    Parameters
    ----------
    metrics : GoalMetrics
    bounds : sequence of bound metrics
        One a goal.
    """

    def __init__(self, metrics: GoalMetrics, bounds: Sequence[Any]) -> None:
        self._metrics = metrics
        self.bounds = bounds
        self.values: list[float] = []

    def __call__(self, scores: Array) -> float:
        """The number that decides at `scores`, ordered rows; `values` has the metric of each goal then."""
        self.values = [float(bound(scores)) for bound in self.bounds]
        return self._metrics.decide(self.values)


class HoldConstraints:
    """Callback that moves the multipliers after each round, by the held-out metrics of the goals.

    Parameters
    ----------
    metrics : GoalMetrics
    balance : Balance
    eval_set : EvalSet
        The first set of held-out queries.
    """

    def __init__(self, metrics: GoalMetrics, balance: Balance, eval_set: EvalSet) -> None:
        self._metrics = metrics
        self._balance = balance
        self._keys = [eval_set.key(measure) for measure in eval_set.measures if measure.name in metrics.names]

    def __call__(self, n_rounds: int, evaluation: Evaluation) -> bool:
        """Move the multipliers; never stops."""
        short = self._metrics.shortfalls([evaluation[key] for key in self._keys])
        self._balance.update({at: short[self._metrics.goals.names[at]] for at in self._balance.bounds})
        return False

    def warn_if_short(self, history: History, n_rounds: int) -> None:
        """Warn of constraints that the model of `n_rounds` rounds does not meet."""
        values = [history.by_key[key][n_rounds - 1] for key in self._keys]
        missed = {goal: short for goal, short in self._metrics.shortfalls(values).items() if short > 0}
        if not missed:
            return
        reached = dict(zip(self._metrics.goals.names, values))
        bounds = self._metrics.goals.constraints or {}
        said = ", ".join(f"{goal!r} has {reached[goal]:.4f} and not {bounds[goal]:g}" for goal in missed)
        warnings.warn(
            f"'constraints' are not met on the held-out queries: {said}; allow more rounds, or ask for less: "
            "what a goal reaches by itself is the most there is",
            UserWarning,
            stacklevel=9,
        )


def bind_deciding(metric: Metric, goals: Combined | None, rows: OrderedRows, *, n_threads: int) -> Any:
    """What decides, bound to the rows: the metric, or the combined number of several goals."""
    if goals is None:
        return bind_metric(metric, rows, n_threads=n_threads)
    return GoalMetrics.of(goals, metric).bind(rows, n_threads=n_threads)


def hold_constraints(
    goals: Combined | None,
    metric: Metric,
    balance: Balance | None,
    data: TrainingSet,
    eval_sets: Sequence[EvalSet],
) -> list[HoldConstraints]:
    """The callback that holds the constraints of the goals, if there are any.

    Parameters
    ----------
    goals : Combined or None
    metric : Metric
        The ranker's first.
    balance : Balance or None
        What the bound objective goes by.
    data : TrainingSet
    eval_sets : sequence of EvalSet

    Raises
    ------
    ValueError
        If there are constraints and no held-out queries to measure them on.
    """
    if goals is None or not goals.constraints:
        return []
    if not data.held_out:
        raise ValueError(
            "'constraints' need held-out queries, on which they are measured: set 'validation_fraction' "
            "(such as 0.2) or pass X_val, y_val and qid_val to fit"
        )
    assert balance is not None
    return [HoldConstraints(GoalMetrics.of(goals, metric), balance, eval_sets[0])]


def warn_of_constraints(holding: Sequence[HoldConstraints], history: History, n_rounds: int) -> None:
    """Warn of constraints that the model of `n_rounds` rounds does not meet."""
    for callback in holding:
        callback.warn_if_short(history, n_rounds)
