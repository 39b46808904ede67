"""What a fit follows: the objective's gradient on the training rows, the metric on the held-out queries."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from lambdamart_kit.core.gains import warn_of_amounts
from lambdamart_kit.core.ordered_rows import OrderedRows
from lambdamart_kit.core.typing import Array, Float32Array, FloatArray
from lambdamart_kit.metrics import Metric
from lambdamart_kit.objectives import (
    OBJECTIVES,
    Bound,
    Combined,
    Objective,
    names_rows,
    resolve_objective,
    weighs_documents,
)
from lambdamart_kit.objectives.base import LabelObjective, refusal_of_document_weight

EARLY_STOPPING_NEEDS_QUERIES = (
    "'early_stopping_rounds' needs held-out queries: set 'validation_fraction' (such as 0.1) or pass X_val, "
    "y_val and qid_val to fit"
)


def find_objective(objective: Any, train: OrderedRows, *, held_out: float | None) -> Objective:
    """Find the objective by name, instance or function, and check that it can learn from the rows.

    Parameters
    ----------
    objective : str, objective or callable
    train : OrderedRows
    held_out : float or None
        The parameter 'validation_fraction'.

    Raises
    ------
    ValueError
        If an objective that names rows would get only some of them, or if the labels leave nothing to learn.
    """
    found = resolve_objective(objective)
    if isinstance(found, Combined):
        return _scaled_goals(found, train)
    if names_rows(found):
        if held_out is not None:
            raise ValueError(
                f"'validation_fraction' cannot be combined with a function or {type(found).__name__} as "
                "'objective', which is written for all rows; pass X_val, y_val and qid_val, or an objective "
                "that goes by the labels"
            )
    else:
        check_comparable(train)
        of = f"objective {type(found).__name__} (a remedy: LambdaNDCG(gain='linear'))"
        warn_of_amounts(train.y, getattr(found, "gain", None), of=of)
    return found


def _scaled_goals(goals: Combined, train: OrderedRows) -> Objective:
    """Several goals, their scales taken from the training rows."""
    for at, (name, member) in enumerate(zip(goals.names, goals.members())):
        of = f"goal {name!r}, objective {type(member).__name__} (a remedy: LambdaNDCG(gain='linear'))"
        warn_of_amounts(train.labels[:, at], getattr(member, "gain", None), of=of)
    return goals.scaled_to(
        train.labels, train.queries, train.sample_weight, document_weight=train.document_weight, n_threads=1
    )


def bind_rows(objective: Objective, train: OrderedRows, *, n_threads: int) -> Bound:
    """Bind the objective to rows in canonical order, with a correction for position bias if they have one.

    An objective that names rows is bound to the rows in the order they were given in.
    """
    y = train.y if train.goals is None else train.goals
    queries = train.queries
    sample_weight = train.sample_weight
    if train.document_weight is not None:
        bound = _bind_documents(objective, train, n_threads)
        return bound if train.init_score is None else BoundFrom(bound, train.init_score)
    if names_rows(objective):
        y, queries, sample_weight = train.as_given()
    if train.debiasing is None or train.position is None:
        bound = objective.bind(y, queries, sample_weight, n_threads=n_threads)
    else:
        bound = train.debiasing.bind(
            objective, y, queries, train.position, sample_weight, n_threads=n_threads
        )
    return bound if train.init_score is None else BoundFrom(bound, train.init_score)


def _bind_documents(objective: Objective, train: OrderedRows, n_threads: int) -> Bound:
    """Bind the objective to rows with weights of documents, if it can weigh them."""
    if not weighs_documents(objective):
        raise ValueError(refusal_of_document_weight(objective))
    if train.position is not None:
        raise ValueError(
            "'document_weight' must be None with 'position': what corrects clicks for position bias weighs "
            "documents itself"
        )
    weighing = cast(LabelObjective, objective)
    bound: Bound = weighing.bind(
        train.y if train.goals is None else train.goals,
        train.queries,
        train.sample_weight,
        document_weight=train.document_weight,
        n_threads=n_threads,
    )
    return bound


def named_objective(objective: Any) -> Any:
    """What the parameter 'objective' stands for; None for a name that no objective of the kit has."""
    named = OBJECTIVES.get(objective) if isinstance(objective, str) else objective
    return named() if isinstance(named, type) else named


class BoundFrom:
    """A bound objective whose rows start from scores: it gets what a learner adds to them.

    Parameters
    ----------
    bound : Bound
    start : (n_samples,) float64
        Starting scores of the ordered rows.
    """

    def __init__(self, bound: Bound, start: FloatArray) -> None:
        self._bound = bound
        self._start = start
        if hasattr(bound, "skip_calls"):
            self.skip_calls = bound.skip_calls
        self.balance = getattr(bound, "balance", None)

    def gradient_hessian(self, scores: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Gradient and hessian at the starting scores plus `scores`."""
        total = (self._start + scores).astype(np.float32)
        return self._bound.gradient_hessian(total)


def check_comparable(train: OrderedRows) -> None:
    """Raise unless some query has two different labels.

    Raises
    ------
    ValueError
        If in every query all documents have the same label.
    """
    if not train.comparable().any():
        raise ValueError(
            "'y' must hold two different labels in at least one query, or there is nothing to learn; got "
            f"n_samples={len(train.y)} in {train.queries.n_queries} queries, each with a single label"
        )


def check_signs(metric: Metric, labels: Array) -> None:
    """Raise if labels are below 0, as objectives that compare them allow, and the metric takes none such."""
    if not metric.takes_signed_labels and (labels < 0).any():
        raise ValueError(
            f"'eval_metric' must take labels below 0, which 'y' has; got {str(metric)!r}; use 'kendall_tau', "
            "or shift the labels"
        )


def bind_metric(metric: Metric, rows: OrderedRows, *, n_threads: int) -> Any:
    """Bind the metric to the rows; clicks with positions are weighted against position bias."""
    check_signs(metric, rows.y)
    if rows.debiasing is None or rows.position is None or not (rows.y > 0).any():
        if rows.document_weight is None:
            return metric.bind(rows.y, rows.queries, rows.sample_weight, n_threads=n_threads)
        return metric.bind(
            rows.y,
            rows.queries,
            rows.sample_weight,
            document_weight=rows.document_weight,
            n_threads=n_threads,
        )
    return rows.debiasing.measure(
        metric, rows.y, rows.queries, rows.position, rows.sample_weight, n_threads=n_threads
    )


def split_queries(
    rows: OrderedRows, fraction: float, rng: np.random.Generator
) -> tuple[OrderedRows, OrderedRows]:
    """Split off whole queries: training rows, held-out rows.

    The share is of the queries with two different labels. The others can neither teach nor measure anything,
    and stay in the training part. Which queries are drawn depends on their sorted ids
    and on `rng`, not on the order of the rows.

    Raises
    ------
    ValueError
        If fewer than two queries have two different labels.
    """
    eligible = np.flatnonzero(rows.comparable())
    if len(eligible) < 2:
        raise ValueError(
            "'validation_fraction' needs at least two queries with different labels, one to learn from and "
            f"one to hold out; got {len(eligible)}; pass X_val, y_val and qid_val instead"
        )
    n_held_out = min(len(eligible) - 1, max(1, round(fraction * len(eligible))))
    held_out = np.zeros(rows.queries.n_queries, dtype=bool)
    held_out[rng.permutation(eligible)[:n_held_out]] = True
    return rows.select(~held_out), rows.select(held_out)
