"""The goals of one fit: bound to labels, and their gradients mixed at every call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import Array, ArrayLike, Float32Array, FloatArray
from lambdamart_kit.objectives.balance import Balance
from lambdamart_kit.objectives.base import (
    Bound,
    CallSeeds,
    Objective,
    go_on_after,
    refusal_of_document_weight,
    weighs_documents,
)
from lambdamart_kit.objectives.mean_ndcg import MeanNDCG, levels_of
from lambdamart_kit.objectives.pairwise import LambdaNDCG


@dataclass(frozen=True, eq=False)
class ScaledGoals:
    """Goals of one fit: their scales are known, and all that is bound shares the multipliers.

    Attributes
    ----------
    members : tuple of Objective
        One a goal.
    scales : (n_goals,) float64
        Root mean square of each goal's gradient at scores of 0; 1 for goals that are not in use.
    balance : Balance
    mixing : {"gains", "gradients", "labels"}
        As `Combined` explains it.
    random_state : int
        Seed of the draws of "labels".
    """

    members: tuple[Objective, ...]
    scales: FloatArray
    balance: Balance
    mixing: str
    random_state: int

    @property
    def weighs_documents(self) -> bool:
        """Whether `bind` takes a weight of each document."""
        return all(weighs_documents(member) for member in self.members)

    def bind(
        self,
        y: ArrayLike,
        queries: Queries,
        sample_weight: ArrayLike | None = None,
        *,
        document_weight: ArrayLike | None = None,
        n_threads: int | None = None,
    ) -> Bound:
        """Bind to some of the queries; see `Combined.bind`."""
        labels = goal_columns(y, len(self.members))
        if self.mixing == "gains":
            table, number = levels_of(labels)
            members = cast(tuple[LambdaNDCG, ...], self.members)

            def bind(shares: FloatArray) -> Bound:
                mean = MeanNDCG.of(members, table, shares)
                return bind_goal(mean, number, queries, sample_weight, document_weight, n_threads)

            return BoundMean(bind, self.balance)
        bounds = [
            bind_goal(member, labels[:, at], queries, sample_weight, document_weight, n_threads)
            for at, member in enumerate(self.members)
        ]
        by_label = self.mixing == "labels"
        return BoundGoals(bounds, self.scales, self.balance, queries if by_label else None, self.random_state)


class BoundGoals(CallSeeds):
    """Goals bound to labels and queries.

    Parameters
    ----------
    bounds : sequence of Bound
        One a goal.
    scales : (n_goals,) float64
    balance : Balance
        Has the share of each goal, which may change from call to call.
    draws : Queries or None
        With these, each query draws one goal at every call; None mixes the gradients of all.
    random_state : int
        Seed of the draws.
    """

    def __init__(
        self,
        bounds: Sequence[Bound],
        scales: FloatArray,
        balance: Balance,
        draws: Queries | None,
        random_state: int,
    ) -> None:
        super().__init__(random_state)
        self.balance = balance
        self._bounds = bounds
        self._scales = scales
        self._draws = draws

    def gradient_hessian(self, scores: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Gradient and hessian at `scores`, ordered rows."""
        shares = self.balance.shares
        factors = float(shares @ self._scales) / self._scales
        goal_of_row = self._draw(shares)
        gradient = np.zeros(len(scores))
        hessian = np.zeros(len(scores))
        for goal, bound in enumerate(self._bounds):
            # Members draw from streams of their own, so each must count its calls, needed or not.
            if shares[goal] == 0:
                go_on_after(1, bound)
                continue
            slope, curvature = bound.gradient_hessian(scores)
            part = shares[goal] if goal_of_row is None else goal_of_row == goal
            gradient += part * factors[goal] * slope
            hessian += part * factors[goal] * curvature
        return gradient.astype(np.float32), hessian.astype(np.float32)

    def _draw(self, shares: FloatArray) -> Array | None:
        """The goal of each row's query in this call."""
        seed = self.next_seed()
        if self._draws is None:
            return None
        drawn = np.random.default_rng(int(seed)).random(self._draws.n_queries)
        # Shares sum to 1 but for rounding, and the last goal may have none: the end is cut off, not searched.
        goals = np.searchsorted(np.cumsum(shares)[:-1], drawn, side="right")
        last = int(np.flatnonzero(shares)[-1])
        return np.minimum(goals, last)[self._draws.query_of_ordered_row]

    def skip_calls(self, n_calls: int) -> None:
        """Count `n_calls` gradients as taken, of all goals."""
        super().skip_calls(n_calls)
        for bound in self._bounds:
            go_on_after(n_calls, bound)


class BoundMean:
    """The weighted mean of several NDCGs, bound anew when the shares of the goals have changed.

    Parameters
    ----------
    bind : callable
        Takes the shares.
    balance : Balance
    """

    def __init__(self, bind: Callable[[FloatArray], Bound], balance: Balance) -> None:
        self.balance = balance
        self._bind = bind
        self._shares = balance.shares
        self._bound = bind(balance.shares)
        self._calls = 0

    def gradient_hessian(self, scores: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Gradient and hessian at `scores`, ordered rows; the next call overwrites them."""
        if not np.array_equal(self._shares, self.balance.shares):
            self._shares = self.balance.shares
            self._bound = self._bind(self._shares)
            go_on_after(self._calls, self._bound)
        self._calls += 1
        return self._bound.gradient_hessian(scores)

    def skip_calls(self, n_calls: int) -> None:
        """Count `n_calls` gradients as taken."""
        self._calls += n_calls
        go_on_after(n_calls, self._bound)


def goal_columns(y: ArrayLike, n_goals: int, *, name: str = "y") -> Array:
    """Labels of several goals as an array with a column each; contents are not checked.

    Raises
    ------
    ValueError
        If there is not one column for each goal.
    """
    labels = np.asarray(y)
    if labels.ndim != 2 or labels.shape[1] != n_goals:
        raise ValueError(
            f"{name!r} must hold a column of labels for each of the {n_goals} goals: expected shape "
            f"(n_samples, {n_goals}), got {labels.shape}; numpy.column_stack puts columns side by side"
        )
    return labels


def bind_goal(
    member: Objective,
    labels: Array,
    queries: Queries,
    sample_weight: ArrayLike | None,
    document_weight: ArrayLike | None,
    n_threads: int | None,
) -> Bound:
    """The objective of one goal bound to its labels; an error if it cannot weigh documents and should."""
    if document_weight is not None and not weighs_documents(member):
        raise ValueError(refusal_of_document_weight(member))
    weighing: dict[str, Any] = {} if document_weight is None else {"document_weight": document_weight}
    return member.bind(labels, queries, sample_weight, **weighing, n_threads=n_threads)
