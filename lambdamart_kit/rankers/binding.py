"""From the parameter 'objective' to what drives a learner on its rows: the same for every learner."""

from __future__ import annotations

from typing import Any

from lambdamart_kit.core.ordered_rows import OrderedRows
from lambdamart_kit.objectives import Bound, FunctionObjective, Objective, resolve_objective


def find_objective(objective: Any, train: OrderedRows, *, held_out: float | None) -> Objective:
    """The objective by name, instance or function, checked against the rows it will see.

    Parameters
    ----------
    objective : str, objective or callable
    train : OrderedRows
    held_out : float or None
        The parameter 'validation_fraction'.

    Raises
    ------
    ValueError
        If a function, which is written for all rows, would get some of them only; or if the labels leave
        nothing to learn.
    """
    found = resolve_objective(objective)
    blind = isinstance(found, FunctionObjective)
    if blind and held_out is not None:
        raise ValueError(
            "'validation_fraction' cannot be combined with a function as 'objective', which is written "
            "for all rows; pass X_val, y_val and qid_val, or an objective with a bind method"
        )
    if not blind and getattr(found, "uses_labels", True):
        check_comparable(train)
    return found


def names_rows(objective: Objective) -> bool:
    """Whether the objective speaks of rows as they were given to fit, so that it needs all of them."""
    return isinstance(objective, FunctionObjective) or not getattr(objective, "uses_labels", True)


def bind_rows(objective: Objective, train: OrderedRows, *, n_threads: int) -> Bound:
    """The objective bound to the rows, in the words of their user; debiased if they have positions."""
    y, queries, sample_weight = train.as_given()
    if train.debiasing is None or train.position is None:
        return objective.bind(y, queries, sample_weight, n_threads=n_threads)
    return train.debiasing.bind(objective, y, queries, train.position, sample_weight, n_threads=n_threads)


def check_comparable(train: OrderedRows) -> None:
    """At least one query must prefer something.

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
