"""One ranker for each weighting of several goals, measured on held-out queries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone

from lambdamart_kit.core.gains import check_count
from lambdamart_kit.core.typing import ArrayLike, BoolArray, Features, FloatArray, Ids
from lambdamart_kit.model_selection import QueryShuffleSplit
from lambdamart_kit.objectives import Combined
from lambdamart_kit.objectives.combined import check_goal_labels
from lambdamart_kit.rankers.base import BaseRanker
from lambdamart_kit.rankers.goals.front import hypervolume, non_dominated
from lambdamart_kit.rankers.steering.given import FitInput
from lambdamart_kit.rankers.steering.goals import GoalMetrics

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class ParetoFront:
    """Rankers of one kind with different weights of the goals, and what they reach on held-out queries.

    Parameters
    ----------
    goals : tuple of str
        Names of the goals.
    measures : tuple of str
        What is measured of each, such as "margin ndcg@10".
    weights : (n_models, n_goals) float64
        Of each ranker's goals; they sum to 1.
    values : (n_models, n_goals) float64
        The held-out metric of each goal.
    random : (n_goals,) float64
        The same of documents in random order.
    rankers : list of BaseRanker
        Fitted, in the order of the weights.
    greater_is_better : bool
        Of the metrics.

    Examples
    --------
    >>> front = ParetoFront(
    ...     ("relevance", "margin"),
    ...     ("relevance ndcg", "margin ndcg"),
    ...     np.array([[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]),
    ...     np.array([[0.4, 0.9], [0.3, 0.6], [0.8, 0.5]]),
    ...     np.array([0.3, 0.3]),
    ...     rankers=["margin", "both", "relevance"],
    ... )
    >>> front.on_front.tolist(), front.best(at_least={"relevance": 0.35})
    ([True, False, True], 'margin')
    """

    goals: tuple[str, ...]
    measures: tuple[str, ...]
    weights: FloatArray
    values: FloatArray
    random: FloatArray
    rankers: Sequence[Any]
    greater_is_better: bool = True

    @property
    def on_front(self) -> BoolArray:
        """Rankers that no other one is at least as good as in every goal, and better in one; (n_models,)."""
        return non_dominated(self._signed(self.values))

    @property
    def table(self) -> pd.DataFrame:
        """A row for each ranker: weights, the held-out metric of each goal, whether it is on the front."""
        import pandas as pd

        found: dict[str, Any] = {f"weight of {g}": self.weights[:, at] for at, g in enumerate(self.goals)}
        found |= {name: self.values[:, at] for at, name in enumerate(self.measures)}
        return pd.DataFrame({**found, "on front": self.on_front})

    def hypervolume(self) -> float:
        """What the rankers dominate above documents in random order: for two goals an area.

        Returns
        -------
        float
            In units of the metrics, multiplied.
        """
        return hypervolume(self._signed(self.values), self._signed(self.random))

    def best(self, *, at_least: Mapping[str, float], most: str | None = None) -> Any:
        """The ranker with the most of one goal, among those that reach enough of the others.

        Parameters
        ----------
        at_least : mapping of str to float
            Goal -> what its held-out metric must reach.
        most : str, optional
            The goal to have most of; may be left out if there is only one that `at_least` does not name.

        Returns
        -------
        BaseRanker
            One of `rankers`.

        Raises
        ------
        ValueError
            If no ranker reaches enough.
        """
        rest = [goal for goal in self.goals if goal not in at_least]
        if most is None and len(rest) == 1:
            most = rest[0]
        for name in (*at_least, most):
            if name not in self.goals:
                raise ValueError(
                    f"'at_least' and 'most' must name goals, which are {', '.join(map(repr, self.goals))}; "
                    f"got {name!r}"
                )
        values = self._signed(self.values)
        bounds = np.full(len(self.goals), -np.inf)
        for goal, bound in at_least.items():
            bounds[self.goals.index(goal)] = self._signed(np.array(float(bound)))
        enough = np.flatnonzero((values >= bounds).all(axis=1))
        if not len(enough):
            reached = self._signed(values.max(axis=0))
            shown = ", ".join(f"{goal!r}: {value:.4f}" for goal, value in zip(self.goals, reached))
            raise ValueError(
                f"'at_least' must be reached by one of the rankers; the best of each goal are {{{shown}}}, "
                "in different rankers; ask for less, or fit more weights"
            )
        column = values[enough, self.goals.index(str(most))]
        return self.rankers[enough[int(np.argmax(column))]]

    def plot(self, x: str | None = None, y: str | None = None, ax: Any = None) -> Any:
        """Draw two goals against each other: the front as a line, dominated rankers as hollow marks.

        Parameters
        ----------
        x, y : str, optional
            The two goals; by default the first two.
        ax : matplotlib axes, optional
            Where to draw; on new axes by default.

        Returns
        -------
        matplotlib axes
            With a mark for each ranker, its weights beside it, and one for documents in random order.
        """
        names = (self.goals[0] if x is None else x, self.goals[1] if y is None else y)
        for name in names:
            if name not in self.goals:
                raise ValueError(f"'x' and 'y' must name goals, which are {self.goals}; got {name!r}")
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.figure().subplots()
        first, second = (self.goals.index(name) for name in names)
        across, up = self.values[:, first], self.values[:, second]
        # A front of more than two goals is no line in two of them.
        front = self.on_front
        line = "-" if len(self.goals) == 2 else ""
        order = np.flatnonzero(front)[np.argsort(across[front], kind="stable")]
        ax.plot(across[order], up[order], "o" + line, label="front")
        if not front.all():
            ax.plot(across[~front], up[~front], "o", mfc="none", color="gray", label="dominated")
        for weights, here, there in zip(self.weights, across, up):
            shown = " : ".join(f"{weight:.2g}" for weight in weights)
            ax.annotate(shown, (here, there), xytext=(4, 4), textcoords="offset points", fontsize=8)
        ax.plot(self.random[first], self.random[second], "x", color="black", label="random order")
        ax.set(xlabel=self.measures[first], ylabel=self.measures[second])
        ax.legend()
        return ax

    def _signed(self, values: FloatArray) -> FloatArray:
        return values if self.greater_is_better else -values


def pareto_front(
    ranker: BaseRanker,
    weights: int | Sequence[Mapping[str, float] | Sequence[float]],
    X: Features,
    y: ArrayLike,
    qid: Ids = None,
    *,
    X_test: Features = None,
    y_test: ArrayLike | None = None,
    qid_test: Ids = None,
    test_size: float | int = 0.25,
    sample_weight: ArrayLike | None = None,
    document_weight: ArrayLike | None = None,
    **held_out: Any,
) -> ParetoFront:
    """Fit a ranker of several goals once for each weighting, and measure all goals on held-out queries.

    Parameters
    ----------
    ranker : BaseRanker
        A `LambdaMART`, `LinearRanker` or `NeuralRanker` whose objective is
        :class:`~lambdamart_kit.objectives.Combined` without constraints. It is not changed.
    weights : int, or sequence of mappings or sequences
        Weightings, by goal or in the order of the goals. A number n is all weightings in steps of
        ``1 / (n - 1)``: for two goals n of them.
    X : (n_samples, n_features) array-like, DataFrame or sparse matrix
        Features.
    y : (n_samples, n_goals) array-like or DataFrame
        A column of labels for each goal.
    qid : (n_samples,) array-like
        Query of each row.
    X_test, y_test, qid_test : optional
        Queries to measure on. Without them `test_size` of the queries are held out, and nothing is learned
        from these.
    test_size : float or int
        Share or number of the queries, drawn by the ranker's `random_state`.
    sample_weight, document_weight : (n_samples,) array-like, optional
        As in ``fit``. Held-out queries are measured with them.
    **held_out
        Arguments of ``fit`` for early stopping: `X_val`, `y_val`, `qid_val` and the others that end so.

    Returns
    -------
    ParetoFront
        The fitted rankers, a table of what they reach, which of them are on the front, and a picture.

    Raises
    ------
    ValueError
        If the ranker has no goals, or weights or labels are not usable.

    Notes
    -----
    What a single ranker of the front promises on the held-out queries flatters a little, as always when the
    best of several was chosen on them.

    Examples
    --------
    >>> from lambdamart_kit import LinearRanker, pareto_front
    >>> rng = np.random.default_rng(0)
    >>> X, qid = rng.normal(size=(600, 2)), np.repeat(np.arange(60), 10)
    >>> Y = np.column_stack([X[:, 0] > 0.5, X[:, 1] > 0.5])
    >>> goals = Combined({"relevance": "ndcg", "margin": "ndcg"})
    >>> front = pareto_front(LinearRanker(goals, random_state=0), 3, X, Y, qid)
    >>> front.table["on front"].tolist()
    [True, True, True]
    >>> front.best(at_least={"relevance": 0.99}).objective.weights
    {'relevance': 1.0, 'margin': 0.0}
    """
    goals = _goals_of(ranker)
    given = FitInput(X, y, qid, sample_weight, document_weight=document_weight)
    train, test = _split(given, X_test, y_test, qid_test, test_size, ranker)
    _check_held_out(held_out)
    metrics = GoalMetrics.of(goals, ranker.find_metric())
    labels = check_goal_labels(test.y, goals, name="y_test")
    measured: dict[str, Any] = {"sample_weight": test.sample_weight, "document_weight": test.document_weight}
    shares, fitted, values = [], [], []
    for weighting in _weightings(weights, goals):
        own = goals.with_weights(weighting)
        model = clone(ranker).set_params(objective=own)
        model.fit(train.X, train.y, **train.arguments(), **held_out)
        values.append(metrics.measure(labels, model.predict(test.X), test.qid, **measured))
        fitted.append(model)
        shares.append(own.weight_of_goals() / own.weight_of_goals().sum())
    # All scores are equal, and metrics average over the orders of equal scores.
    random = metrics.measure(labels, np.zeros(len(labels)), test.qid, **measured)
    return ParetoFront(
        goals.names,
        metrics.names,
        np.array(shares),
        np.array(values),
        np.array(random),
        fitted,
        metrics.greater_is_better,
    )


def _goals_of(ranker: Any) -> Combined:
    goals = getattr(ranker, "objective", None)
    if not isinstance(ranker, BaseRanker) or not isinstance(goals, Combined):
        raise ValueError(
            "'ranker' must be a ranker with several goals, such as LambdaMART(Combined({'relevance': 'ndcg', "
            f"'margin': 'ndcg'}})); got {ranker!r}"
        )
    if goals.constraints:
        raise ValueError(
            "'ranker' must have goals without constraints, because weights are what is tried; leave them "
            "out, and take front.best(at_least=...)"
        )
    return goals


def _weightings(weights: Any, goals: Combined) -> Iterator[Any]:
    """The weightings, those of a number in steps."""
    if not isinstance(weights, int | np.integer):
        found = list(weights)
        if not found:
            raise ValueError("'weights' must hold at least one weighting; got none")
        yield from found
        return
    steps = check_count(weights, name="weights") - 1
    if steps < 1:
        raise ValueError("'weights' must be at least 2 if it is a number; got 1")
    n_goals = len(goals.names)
    # Bars among stars: the gaps between n_goals - 1 bars in a row are the steps of each goal.
    for bars in combinations(range(steps + n_goals - 1), n_goals - 1):
        edges = np.array([-1, *bars, steps + n_goals - 1])
        yield tuple((np.diff(edges) - 1) / steps)


def _split(
    given: FitInput, X_test: Any, y_test: Any, qid_test: Any, test_size: float | int, ranker: Any
) -> tuple[FitInput, FitInput]:
    """Rows to learn from, and rows to measure on."""
    if X_test is not None:
        if y_test is None or (qid_test is None and given.qid is not None):
            raise ValueError("'X_test' must be given with 'y_test' and 'qid_test'; got None")
        return given, FitInput(X_test, y_test, qid_test)
    if y_test is not None or qid_test is not None:
        raise ValueError("'y_test' and 'qid_test' must be given with 'X_test' only; got X_test=None")
    if given.qid is None:
        raise ValueError(
            "'qid' must be given, for queries to be held out; got None; or pass X_test, y_test and qid_test"
        )
    n_rows = len(np.asarray(given.qid))
    seed = getattr(ranker, "random_state", None)
    splitter = QueryShuffleSplit(1, test_size=test_size, random_state=seed)
    ((inside, outside),) = splitter.split(np.zeros(n_rows), qid=given.qid)
    return given.part(inside), given.part(outside)


def _check_held_out(arguments: Mapping[str, Any]) -> None:
    wrong = [name for name in arguments if not name.endswith("_val")]
    if wrong:
        raise TypeError(
            f"pareto_front() got unexpected arguments {', '.join(map(repr, wrong))}; besides its own it "
            "takes those of fit that end in '_val'"
        )
