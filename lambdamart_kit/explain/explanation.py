"""`Explanation`: all questions that can be asked of a fitted model and some rows."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.rows import is_sparse
from lambdamart_kit.core.typing import Array, ArrayLike, Features, FloatArray, Ids, IndexArray, RandomState
from lambdamart_kit.explain.curves import Effect, JointEffect
from lambdamart_kit.explain.effects import (
    QuerySample,
    directions,
    effect_of,
    interactions_of,
    joint_effect_of,
)
from lambdamart_kit.explain.explained import Explained
from lambdamart_kit.explain.importance import permutation_importance
from lambdamart_kit.explain.orders import agreement_with, metric_of_orders, shapley_of_order
from lambdamart_kit.explain.pairs import gap_between, gap_by_contributions
from lambdamart_kit.explain.results import (
    Importance,
    Interactions,
    ListExplanation,
    Monotone,
    PairExplanation,
)
from lambdamart_kit.metrics import NDCG, Metric, parse_metric
from lambdamart_kit.runtime.randomness import make_rng

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Method = Literal["contributions", "interventional"]
_MOST_ROWS = 1000  # of whole queries that curves, directions and interactions are computed on


class Explanation:
    """Why a fitted model scores rows as it does; made by ``ranker.explain(X, qid=qid, y=y)``.

    Nothing is computed before it is asked for. Every answer is a small table: it prints with bars, shows
    itself in a notebook, and has ``to_frame()`` and ``plot()``.

    Parameters
    ----------
    model : Explained
        The model, as functions of rows of numbers.
    X : (n_samples, n_features) array or CSR matrix
        Checked rows.
    qid : (n_samples,) array-like, optional
        Query of each row; None takes all rows as one query.
    y : (n_samples,) array-like, optional
        Graded relevance.
    random_state : int, RandomState or None
        Seeds whatever is sampled. Every question is answered from this seed, whatever was asked before.

    Examples
    --------
    >>> from lambdamart_kit import LambdaMART
    >>> from lambdamart_kit.datasets import make_letor
    >>> data = make_letor(n_queries=20, random_state=0)
    >>> ranker = LambdaMART(n_estimators=5, random_state=0).fit(data.X, data.y, qid=data.qid)
    >>> why = ranker.explain(data.X, qid=data.qid, y=data.y)
    >>> pair = why.pair(0, 1)
    >>> bool(np.isclose(pair.attributions.sum(), pair.gap, atol=1e-9))
    True
    """

    def __init__(
        self,
        model: Explained,
        X: Features,
        qid: Ids = None,
        y: ArrayLike | None = None,
        *,
        random_state: RandomState = 0,
    ) -> None:
        self.model = model
        self.random_state = random_state
        self._X = X
        self._queries = Queries.from_qid(qid, X.shape[0])
        self._labels = None if y is None else np.asarray(y, dtype=np.float64)
        if self._labels is not None and self._labels.shape != (X.shape[0],):
            raise ValueError(f"'y' must hold a label for each of {X.shape[0]} rows; got {self._labels.shape}")
        self._sampled: QuerySample | None = None

    def __repr__(self) -> str:
        n_rows, n_features = self._X.shape
        labels = "with" if self._labels is not None else "without"
        return (
            f"Explanation of {self.model.name}: {n_rows:,} rows in {self._queries.n_queries:,} queries, "
            f"{n_features:,} features, {labels} labels"
        )

    def with_names(self, feature_names: Sequence[str]) -> Explanation:
        """The same explanation with other names for its columns.

        Parameters
        ----------
        feature_names : sequence of str
            One a column.

        Returns
        -------
        Explanation
            A copy; what it explains is shared.
        """
        renamed = copy.copy(self)
        renamed.model = replace(self.model, feature_names=tuple(feature_names))
        return renamed

    def scores(self, numbers: ArrayLike) -> FloatArray:
        """The model's scores of some rows, by their numbers.

        Parameters
        ----------
        numbers : (n,) array of integers
            Rows of X.

        Returns
        -------
        (n,) array
            Their scores.
        """
        return self.model.predict(self._rows(np.asarray(numbers)))

    # ------------------------------------------------------------------------------------------ one query

    def pair(self, i: int, j: int, *, method: Method | None = None, n_samples: int = 400) -> PairExplanation:
        """Why row i scores above (or below) row j: attributions that sum to the gap of their scores.

        Parameters
        ----------
        i, j : int
            Numbers of two rows of X, of any queries.
        method : {"contributions", "interventional"}, optional
            "contributions" takes the difference of the rows' contributions: each row is compared with the
            training rows. "interventional" compares row i with row j itself: an unknown feature has row j's
            value. Both sum to the gap, and name another top feature in a quarter of pairs, so the result says
            which it is. None takes "contributions" where the model has exact ones (trees, linear functions),
            else "interventional".
        n_samples : int
            Orders of the features to sample, where the model has no exact values and more than ten features
            of the rows differ.

        Returns
        -------
        PairExplanation
            Attributions, both scores, and how they were computed.
        """
        if method not in ("contributions", "interventional", None):
            raise ValueError(f"'method' must be 'contributions', 'interventional' or None; got {method!r}")
        first = self._rows([self._row(i, "i")])[0]
        second = self._rows([self._row(j, "j")])[0]
        if method is None:
            method = "interventional" if self.model.contributions is None else "contributions"
        if method == "contributions":
            attributions, exact = gap_by_contributions(self.model, first, second)
        else:
            attributions, exact = gap_between(self.model, first, second, n_samples=n_samples, rng=self._rng())
        scores = self.model.predict(np.stack((first, second)))
        names = self.model.feature_names
        both = (float(scores[0]), float(scores[1]))
        return PairExplanation((int(i), int(j)), method, exact, both, names, attributions, first, second)

    def list(
        self,
        q: Any,
        k: int | None = 10,
        *,
        n_samples: int = 64,
        of: Literal["metric", "agreement"] | None = None,
    ) -> ListExplanation:
        """Which features make the order of query `q`, by Shapley sampling.

        A set of features is worth the measure of the order it makes: the documents keep these features and
        have all others from one document of the same query, a different one in each sample. Features that are
        the same for all documents of the query cannot matter and get exactly 0.

        Parameters
        ----------
        q : object
            Id of the query.
        k : int, optional
            Cut-off of the measure; None for the whole list.
        n_samples : int
            Orders of the features to sample; the error falls with its square root.
        of : {"metric", "agreement"}, optional
            "metric" explains NDCG@k and needs labels; "agreement" explains Kendall's tau with the model's own
            order, over the pairs with a document of its top k. None takes "metric" where there are labels.

        Returns
        -------
        ListExplanation
            Attributions with standard errors, and the value of the order.

        References
        ----------
        Chowdhury et al. (2025), RankSHAP, ICLR. Heuss et al. (2025), RankingSHAP, SIGIR.
        """
        if k is not None and k < 1:
            raise ValueError(f"'k' must be at least 1, or None for the whole list; got {k!r}")
        if n_samples < 4:
            raise ValueError(f"'n_samples' must be at least 4, for an estimate of the error; got {n_samples}")
        if of not in ("metric", "agreement", None):
            raise ValueError(f"'of' must be 'metric', 'agreement' or None; got {of!r}")
        of = of or ("agreement" if self._labels is None else "metric")
        numbers = self._rows_of(q)
        rows = self._rows(numbers)
        if of == "metric":
            labels = self._given_labels("the attribution of a metric")[numbers]
            if not (labels > 0).any():
                raise ValueError(
                    f"query {q!r} must have a relevant document to explain NDCG: all its labels are 0, and "
                    "no order is better than another; of='agreement' explains the model's own order"
                )
            measure = metric_of_orders(NDCG(k=k), labels)
            name = "ndcg" if k is None else f"ndcg@{k}"
        else:
            measure = agreement_with(self.model.predict(rows), k)
            name = "agreement" if k is None else f"agreement@{k}"
        varies = (rows != rows[0]) & ~(np.isnan(rows) & np.isnan(rows[0]))
        players = np.intersect1d(np.flatnonzero(varies.any(axis=0)), self.model.in_use)
        found = shapley_of_order(
            self.model.predict, rows, players, measure, n_samples=n_samples, rng=self._rng()
        )
        attributions = np.zeros(rows.shape[1])
        errors = np.zeros(rows.shape[1])
        attributions[players] = found.values
        errors[players] = found.standard_errors
        return ListExplanation(
            query=q,
            measure=name,
            n_documents=len(rows),
            n_samples=2 * max(1, n_samples // 2),
            feature_names=self.model.feature_names,
            attributions=attributions,
            standard_errors=errors,
            value=found.everybody,
            random_value=found.nobody,
        )

    # ---------------------------------------------------------------------------------------- all queries

    def importance(
        self, metric: str | Metric = "ndcg@10", *, n_repeats: int = 5, groups: ArrayLike | None = None
    ) -> Importance:
        """What a metric loses when one feature is exchanged between the documents of each query.

        Parameters
        ----------
        metric : str or Metric
            What is measured; greater is better.
        n_repeats : int
            Random exchanges of each feature, to average over.
        groups : (n_samples,) array-like, optional
            Group of each row's query (its length, its kind), to compare in ``by_group()``.

        Returns
        -------
        Importance
            Mean loss of each feature with its standard error, and the loss of each query.
        """
        labels = self._given_labels("importance")
        order = self._queries.order
        of_query: Array | None = None
        if groups is not None:
            given = np.asarray(groups)
            if given.shape != (self._X.shape[0],):
                raise ValueError(f"'groups' must hold one entry a row, {self._X.shape[0]}; got {given.shape}")
            of_query = given[order][self._queries.ptr[:-1]]
            if (np.repeat(of_query, self._queries.sizes) != given[order]).any():
                raise ValueError(
                    "'groups' must be the same for all rows of a query; give each query one group"
                )
        return permutation_importance(
            self.model,
            self._rows(order),
            labels[order],
            self._queries,
            parse_metric(metric) if isinstance(metric, str) else metric,
            n_repeats=n_repeats,
            groups=of_query,
            rng=self._rng(),
        )

    def effect(
        self, feature: str | int, second: str | int | None = None, *, n_points: int = 20
    ) -> Effect | JointEffect:
        """How one feature, or two together, move a document's score within its query.

        Parameters
        ----------
        feature, second : str or int
            Names or numbers of columns.
        n_points : int
            Points of the grid, at quantiles of the feature; two features have at most 12 each.

        Returns
        -------
        Effect or JointEffect
            Curve of one feature, or surface of two.
        """
        column = self.model.column(feature)
        if second is None:
            return effect_of(self.model, self._sample(), column, n_points)
        columns = [column, self.model.column(second)]
        return joint_effect_of(self.model, self._sample(), columns, min(n_points, 12))

    def interactions(self, features: Sequence[str | int] | None = None) -> Interactions:
        """How much pairs of features act together in the scores.

        Parameters
        ----------
        features : sequence of str or int, optional
            Features to pair up; None for the eight that move scores most within queries.

        Returns
        -------
        Interactions
            Strength of each pair.
        """
        sample = self._sample()
        if features is None:
            columns = self._most_moving(sample, 8)
        else:
            columns = [self.model.column(feature) for feature in features]
        return interactions_of(self.model, sample, columns, self._rng())

    def monotone(self, *, n_points: int = 12) -> Monotone:
        """Which way scores go as one feature grows, for every feature: a check of monotone constraints.

        Parameters
        ----------
        n_points : int
            Points of each feature's grid.

        Returns
        -------
        Monotone
            Share of the steps on which scores rise and fall, and the largest steps, by feature.
        """
        return directions(self.model, self._sample(), self.model.in_use, n_points)

    def plot(self, kind: str = "importance", *arguments: Any, ax: Axes | None = None, **options: Any) -> Axes:
        """Ask a question and draw the answer.

        Parameters
        ----------
        kind : {"importance", "pair", "list", "effect", "interactions", "monotone"}
            The method to call with the other arguments.
        *arguments : objects
            Positional arguments of that method.
        ax : matplotlib.axes.Axes, optional
            Where to draw; None makes a figure.
        **options : objects
            Named arguments of that method.

        Returns
        -------
        matplotlib.axes.Axes
            ``.figure.savefig("why.png")`` saves the picture.
        """
        kinds = ("importance", "pair", "list", "effect", "interactions", "monotone")
        if kind not in kinds:
            raise ValueError(f"'kind' must be one of {', '.join(map(repr, kinds))}; got {kind!r}")
        axes: Axes = getattr(self, kind)(*arguments, **options).plot(ax=ax)
        return axes

    # --------------------------------------------------------------------------------------------- inside

    def _rng(self) -> np.random.Generator:
        return make_rng(self.random_state)

    def _row(self, row: int, name: str) -> int:
        if not 0 <= row < self._X.shape[0]:
            raise ValueError(
                f"{name!r} must be the number of a row, 0 .. {self._X.shape[0] - 1}; got {row!r}"
            )
        return int(row)

    def _rows(self, numbers: Any) -> Array:
        part = self._X[numbers]
        return part.toarray() if is_sparse(part) else np.asarray(part)

    def _rows_of(self, q: Any) -> IndexArray:
        """Numbers of the rows of query `q`."""
        found = [number for number, known in enumerate(self._queries.ids.tolist()) if known == q]
        if not found:
            raise ValueError(f"'q' must be the id of a query; there is no row with the id {q!r}")
        ptr = self._queries.ptr
        return self._queries.order[ptr[found[0]] : ptr[found[0] + 1]]

    def _given_labels(self, what: str) -> FloatArray:
        if self._labels is None:
            raise ValueError(f"'y' must be given to 'explain' for {what}; got None")
        return self._labels

    def _sample(self) -> QuerySample:
        """Rows of whole queries, about a thousand, the same for every question."""
        if self._sampled is None:
            sizes = self._queries.sizes
            drawn = make_rng(0 if self.random_state is None else self.random_state).permutation(len(sizes))
            chosen = np.sort(drawn[: max(1, int((np.cumsum(sizes[drawn]) <= _MOST_ROWS).sum()))])
            ptr = self._queries.ptr
            numbers = np.concatenate([self._queries.order[ptr[c] : ptr[c + 1]] for c in chosen])
            self._sampled = QuerySample(self._rows(numbers), np.cumsum([0, *sizes[chosen]]).astype(np.intp))
        return self._sampled

    def _most_moving(self, sample: QuerySample, n: int) -> list[int]:  # type: ignore[valid-type]
        """Columns whose effect within queries spreads most."""
        effects = {c: effect_of(self.model, sample, c, 8).effect for c in self.model.in_use.tolist()}
        spread = {c: float(np.ptp(e)) if len(e) else 0.0 for c, e in effects.items()}
        return sorted([c for c in spread if spread[c] > 0], key=lambda c: (-spread[c], c))[:n]
