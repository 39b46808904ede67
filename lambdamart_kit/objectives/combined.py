"""Several goals at once: each has its own labels and its own objective, and one ranker follows them all."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from lambdamart_kit.core.gains import check_choice, check_relevance
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import ArrayLike, FloatArray
from lambdamart_kit.objectives.balance import Balance
from lambdamart_kit.objectives.base import (
    Bound,
    Objective,
    names_rows,
    takes_signed_labels,
    weighs_documents,
)
from lambdamart_kit.objectives.bound_goals import ScaledGoals, bind_goal, goal_columns
from lambdamart_kit.objectives.mean_ndcg import alike
from lambdamart_kit.objectives.registry import resolve_objective

MIXING = ("gains", "gradients", "labels")


@dataclass(frozen=True)
class Combined:
    r"""Several goals, such as relevance and margin, each with its own labels and its own objective.

    The ranker is fitted with a column of labels for each goal: ``fit(X, Y, qid=qid)``. Goals that are all
    NDCG become one NDCG: a pair of documents weighs what swapping it would change in the weighted mean of the
    goals' NDCGs, which is LambdaRank's rule for that mean. For others the gradients are mixed. With gradient
    :math:`g_k` of goal k, its scale :math:`c_k` (the root mean square of :math:`g_k` where all scores are 0)
    and shares :math:`p_k = w_k / \sum_j w_j`,

    .. math:: g = c \sum_k p_k \frac{g_k}{c_k}, \qquad h = c \sum_k p_k \frac{h_k}{c_k}, \qquad
              c = \sum_k p_k c_k

    so that a weight means the same whatever unit an objective has, and a goal with all the weight is trained
    as if it stood alone.

    Parameters
    ----------
    objectives : mapping of str to str or objective
        Name of each goal -> its objective, at least two. Columns of labels come in this order, or are found
        by name in a DataFrame.
    weights : mapping of str to float, optional
        Weight of each goal, >= 0. By default goals without a constraint weigh alike, and goals with one
        weigh 0: they count as far as their constraint asks for it. Only ratios of weights matter.
    constraints : mapping of str to float, optional
        What the held-out metric of a goal must reach. After each round, goals that are short gain weight
        (see Notes). Needs held-out queries, and a ranker that learns in rounds: trees or a network.
    metrics : mapping of str to str or Metric, optional
        A goal's own metric, in place of the first of the ranker's `eval_metric`: with
        ``{"margin": "ndcg(gain=linear)@10"}`` margins may be amounts.
    mixing : {"gains", "gradients", "labels"}, optional
        "gains": a document is worth the weighted mean of its gains, each over the ideal DCG of its goal. This
        needs :class:`LambdaNDCG` for every goal, alike in all but the gain, and is the default there.
        "gradients": the mean above, the default elsewhere. "labels": at every call each query draws one goal,
        goal k with probability :math:`p_k`, and has :math:`c\,g_k / c_k`: stochastic label aggregation,
        whose expectation is the mean above.
    random_state : int
        Seed of these draws, which depend neither on the order of rows nor on threads.

    Notes
    -----
    Early stopping, `score` and ``best_score_`` go by one number: the mean of the goals' metrics, weighted as
    the goals are. What a goal is short of its constraint is taken off a hundred times. ``evals_result_`` has
    that number as "combined", and the metric of each goal, such as "margin ndcg@10".

    Constraints are held by multipliers, one step of an augmented Lagrangian a round: the weight of a goal
    grows by 20 times what its held-out metric is short, each round, and falls as it is above, between its own
    weight and 20 more. A warning says which constraints the fitted ranker does not meet.

    References
    ----------
    Carmel, Haramaty, Lazerson and Lewin-Eytan, "Multi-objective ranking optimization for product search using
    stochastic label aggregation", WWW 2020. Momma, Bagheri Garakani and Sun, "Multi-objective relevance
    ranking", SIGIR Workshop on eCommerce 2019 (constraints). Mahapatra, Dong, Chen and Momma, "Multi-label
    learning to rank through multi-objective optimization", KDD 2023, arXiv 2207.03060.

    Examples
    --------
    >>> import numpy as np
    >>> from lambdamart_kit import LambdaMART
    >>> rng = np.random.default_rng(0)
    >>> X, qid = rng.normal(size=(400, 2)).astype(np.float32), np.repeat(np.arange(40), 10)
    >>> Y = np.column_stack([X[:, 0] > 0.5, X[:, 1] > 0.5])             # relevance, margin
    >>> goals = Combined({"relevance": "ndcg", "margin": "ndcg"}, weights={"relevance": 0.8, "margin": 0.2})
    >>> ranker = LambdaMART(goals, n_estimators=20, random_state=0).fit(X, Y, qid=qid)
    >>> bool(ranker.feature_importances_[0] > ranker.feature_importances_[1] > 0)
    True
    """

    names_rows: ClassVar[bool] = False

    objectives: Mapping[str, Any]
    weights: Mapping[str, float] | None = None
    constraints: Mapping[str, float] | None = None
    metrics: Mapping[str, Any] | None = None
    mixing: str | None = None
    random_state: int = 0

    def __post_init__(self) -> None:
        """Check the options; members are resolved when the objective is bound."""
        _check_goals(self.objectives)
        if self.mixing is not None:
            check_choice(self.mixing, MIXING, name="mixing")
        for parameter in ("weights", "constraints", "metrics"):
            _check_names(getattr(self, parameter), self.names, parameter)
        weights = self.weight_of_goals()
        if not weights.any():
            raise ValueError(
                "'weights' must hold a weight above 0, for something to be learned; got "
                f"{self.weights!r}; with a constraint on every goal, give weights"
            )
        for goal, bound in (self.constraints or {}).items():
            if not _is_number(bound):
                raise ValueError(f"'constraints' must be finite numbers; that of {goal!r} is {bound!r}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the goals, in the order of the columns of labels."""
        return tuple(self.objectives)

    @property
    def weighs_documents(self) -> bool:
        """Whether every goal's objective can weigh documents."""
        return all(weighs_documents(member) for member in self.members())

    def members(self) -> tuple[Objective, ...]:
        """The goals' objectives, in order.

        Returns
        -------
        tuple of Objective
            Names are resolved.
        """
        return tuple(map(resolve_objective, self.objectives.values()))

    def takes_signed(self) -> tuple[bool, ...]:
        """Whether labels of each goal may be negative, because its objective only compares them.

        Returns
        -------
        tuple of bool
            In the order of the goals.
        """
        return tuple(map(takes_signed_labels, self.members()))

    def weight_of_goals(self) -> FloatArray:
        """Weight of each goal, as given or by default.

        Returns
        -------
        (n_goals,) float64
            Not normalised; 0 for goals that only have a constraint.
        """
        bounded = self.constraints or {}
        if self.weights is None:
            return np.array([float(name not in bounded) for name in self.names])
        for name in self.names:
            if name not in self.weights and name not in bounded:
                raise ValueError(
                    f"'weights' must hold a weight for every goal without a constraint; {name!r} has none; "
                    "give it 0 to leave it out"
                )
        for name, weight in self.weights.items():
            if not _is_number(weight) or weight < 0:
                raise ValueError(f"'weights' must be finite numbers >= 0; that of {name!r} is {weight!r}")
        return np.array([float(self.weights.get(name, 0.0)) for name in self.names])

    def with_weights(self, weights: Mapping[str, float] | Sequence[float]) -> Combined:
        """The same goals with other weights, as a grid search over them takes.

        Parameters
        ----------
        weights : mapping of str to float, or (n_goals,) sequence of float
            Weight of each goal, by name or in the order of the goals.

        Returns
        -------
        Combined
            A copy.

        Examples
        --------
        >>> goals = Combined({"relevance": "ndcg", "margin": "ndcg"})
        >>> [goals.with_weights((w, 1 - w)).weights["margin"] for w in (0.25, 0.75)]
        [0.75, 0.25]
        """
        if isinstance(weights, Mapping):
            return replace(self, weights=dict(weights))
        values = [float(weight) for weight in weights]
        if len(values) != len(self.names):
            raise ValueError(
                f"'weights' must hold one weight for each of the {len(self.names)} goals "
                f"{', '.join(self.names)}; got {len(values)}"
            )
        return replace(self, weights=dict(zip(self.names, values)))

    def bind(
        self,
        y: ArrayLike,
        queries: Queries,
        sample_weight: ArrayLike | None = None,
        *,
        document_weight: ArrayLike | None = None,
        n_threads: int | None = None,
    ) -> Bound:
        """Bind each goal to its column of labels; scales are taken from these rows.

        Parameters
        ----------
        y : (n_samples, n_goals) array-like
            A column of labels for each goal, row-aligned.
        queries : Queries
            How rows are grouped by query.
        sample_weight, document_weight : (n_samples,) array-like, optional
            Weights of queries and of documents, for all goals; row-aligned.
        n_threads : int, optional
            Threads of the bound objectives; None for all.

        Returns
        -------
        Bound
            Gives gradient and hessian in ordered rows.
        """
        scaled = self.scaled_to(
            y, queries, sample_weight, document_weight=document_weight, n_threads=n_threads
        )
        return scaled.bind(y, queries, sample_weight, document_weight=document_weight, n_threads=n_threads)

    def scaled_to(
        self,
        y: ArrayLike,
        queries: Queries,
        sample_weight: ArrayLike | None = None,
        *,
        document_weight: ArrayLike | None = None,
        n_threads: int | None = None,
    ) -> ScaledGoals:
        """The goals with their scales and multipliers, to be bound to parts of these rows.

        Parameters
        ----------
        y : (n_samples, n_goals) array-like
            A column of labels for each goal, of all training rows.
        queries : Queries
            How rows are grouped by query.
        sample_weight, document_weight : (n_samples,) array-like, optional
            Weights of queries and of documents, row-aligned.
        n_threads : int, optional
            Threads; None for all.

        Returns
        -------
        ScaledGoals
            An objective, for one fit.

        Raises
        ------
        ValueError
            If there is nothing to learn for a goal.
        """
        weights = self.weight_of_goals()
        bounded = self.constraints or {}
        bounds = {at: float(bounded[name]) for at, name in enumerate(self.names) if name in bounded}
        in_use = [weights[at] > 0 or at in bounds for at in range(len(weights))]
        labels = goal_columns(y, len(self.names))
        zero = np.zeros(queries.n_samples, dtype=np.float32)
        scales = np.ones(len(weights))
        members = self.members()
        for name, member in zip(self.names, members):
            if names_rows(member) or isinstance(member, Combined):
                raise ValueError(
                    f"'objectives' must go by labels; that of {name!r} is {self.objectives[name]!r}; use a "
                    "name in OBJECTIVES, or an objective with options, such as LambdaNDCG(gain='linear')"
                )
        mixing = self._mixing_of(members)
        for at in np.flatnonzero(in_use):
            bound = bind_goal(members[at], labels[:, at], queries, sample_weight, document_weight, n_threads)
            gradient = bound.gradient_hessian(zero)[0].astype(np.float64)
            scales[at] = np.sqrt(np.mean(gradient**2))
            if not scales[at] > 0:
                raise ValueError(
                    f"'y' must teach something for every goal: where all scores are equal, the objective of "
                    f"{self.names[at]!r} has no gradient; check its labels, or give it the weight 0"
                )
        return ScaledGoals(members, scales, Balance(weights, bounds), mixing, self.random_state)

    def _mixing_of(self, members: Sequence[Objective]) -> str:
        """How goals are mixed, as asked for or by default."""
        fits = alike(members)
        if self.mixing == "gains" and not fits:
            raise ValueError(
                "'mixing' can be 'gains' only where every goal has the objective LambdaNDCG, alike in all "
                f"but the gain; got {', '.join(map(str, members))}; use mixing='gradients'"
            )
        return self.mixing or ("gains" if fits else "gradients")


def check_goal_labels(y: ArrayLike, goals: Combined, *, name: str = "y") -> FloatArray:
    """Labels of all goals, checked as each goal's objective needs them, (n_samples, n_goals) float64.

    Columns of a DataFrame are found by the names of the goals.

    Raises
    ------
    ValueError
        If a column is missing or holds unusable labels.
    """
    given = getattr(y, "columns", None)
    if given is not None:
        known = [str(column) for column in given]
        wrong = [column for column in goals.names if known.count(column) != 1]
        if wrong or len(known) != len(goals.names):
            raise ValueError(
                f"{name!r} must have the columns {', '.join(map(repr, goals.names))}, one for each goal, and "
                f"no others; got {', '.join(map(repr, known))}; select the columns, or pass an array"
            )
        table: Any = y
        columns = [table[given[known.index(column)]] for column in goals.names]
        labels = np.column_stack([np.asarray(column) for column in columns])
    else:
        labels = goal_columns(y, len(goals.names), name=name)
    checked = [
        check_relevance(labels[:, at], name=f"{name}, goal {goal}", signed=signed)
        for at, (goal, signed) in enumerate(zip(goals.names, goals.takes_signed()))
    ]
    return np.column_stack(checked)


def _check_goals(objectives: Any) -> None:
    if not isinstance(objectives, Mapping) or len(objectives) < 2:
        raise ValueError(
            "'objectives' must map the names of at least two goals to their objectives, as in "
            f"{{'relevance': 'ndcg', 'margin': 'ndcg'}}; got {objectives!r}"
        )
    for name, objective in objectives.items():
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"'objectives' must have names as keys; got {name!r}")
        try:
            resolve_objective(objective)
        except (TypeError, ValueError) as error:
            raise type(error)(f"'objectives', goal {name!r}: {error}") from None


def _check_names(given: Any, names: tuple[str, ...], parameter: str) -> None:
    if given is None:
        return
    if not isinstance(given, Mapping):
        raise ValueError(f"{parameter!r} must map names of goals to values; got {type(given).__name__}")
    unknown = [name for name in given if name not in names]
    if unknown:
        raise ValueError(
            f"{parameter!r} must name goals, which are {', '.join(map(repr, names))}; got "
            f"{', '.join(map(repr, unknown))}"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
