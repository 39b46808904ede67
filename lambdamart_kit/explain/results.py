"""What explanations return: small frozen tables that print, draw, and show themselves in notebooks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lambdamart_kit.core.typing import Array, FloatArray, IndexArray
from lambdamart_kit.explain.text import html_table, text_table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_SHOWN = 20  # features in a printed table


class FeatureTable(ABC):
    """A value for each feature."""

    feature_names: tuple[str, ...]

    @property
    @abstractmethod
    def _values(self) -> FloatArray:
        """What the bars show."""

    @property
    @abstractmethod
    def _head(self) -> str:
        """A sentence that says what the values are and what they sum to."""

    @abstractmethod
    def _columns(self) -> dict[str, Array]:
        """The columns of the table beside the name of the feature."""

    @property
    def top(self) -> IndexArray:
        """Columns of the features that count, the largest value (in size) first."""
        size = np.abs(np.nan_to_num(self._values))
        order = np.argsort(-size, kind="stable")
        return order[size[order] > 0]

    def to_frame(self) -> pd.DataFrame:
        """All features as a table, the largest value (in size) first."""
        import pandas as pd

        size = np.abs(np.nan_to_num(self._values))
        order = np.argsort(-size, kind="stable")
        frame = pd.DataFrame({"feature": list(self.feature_names), **self._columns()})
        return frame.iloc[order].reset_index(drop=True)

    def plot(self, ax: Axes | None = None, *, n_features: int = 15) -> Axes:
        """Draw the values of the `n_features` largest as bars.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; None makes a figure.
        n_features : int

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        from lambdamart_kit.explain.plots import bar_plot

        shown = self.top[:n_features]
        columns = self._columns()
        errors = columns["standard_error"][shown] if "standard_error" in columns else None
        names = [self.feature_names[j] for j in shown]
        return bar_plot(names, self._values[shown], self._head, errors=errors, ax=ax)

    def to_text(self, n_features: int = _SHOWN) -> str:
        """The table as it prints, with the `n_features` largest values."""
        return text_table(*self._shown(n_features))

    def _shown(self, n_features: int = _SHOWN) -> tuple[str, list[str], dict[str, list[str]], FloatArray]:
        shown = self.top[:n_features]
        columns = {
            title.replace("_", " "): [_written(v) for v in cells[shown].tolist()]
            for title, cells in self._columns().items()
        }
        left_out = len(self.top) - len(shown)
        more = f" ({left_out} smaller ones are not shown)" if left_out else ""
        head = self._head.removesuffix(":") + more + ":"
        return head, [self.feature_names[j] for j in shown], columns, self._values[shown]

    def __repr__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        return html_table(*self._shown())


def _written(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True, eq=False, repr=False)
class PairExplanation(FeatureTable):
    """Why one row scores above another: what each feature adds to the gap of their scores.

    Attributes
    ----------
    rows : tuple of int
        The two rows.
    method : {"contributions", "interventional"}
        Which game the attributions solve; see `Explanation.pair`.
    exact : bool
        Whether they are its exact Shapley values; else they are sampled.
    scores : tuple of float
        Scores of the two rows.
    feature_names : tuple of str
    attributions : ndarray (n_features,), float64
        They sum to the gap of the scores.
    first_values, second_values : ndarray (n_features,)
        The features of the two rows; categories as codes.
    """

    rows: tuple[int, int]
    method: str
    exact: bool
    scores: tuple[float, float]
    feature_names: tuple[str, ...]
    attributions: FloatArray
    first_values: Array
    second_values: Array

    @property
    def gap(self) -> float:
        """Score of the first row less that of the second."""
        return self.scores[0] - self.scores[1]

    @property
    def _values(self) -> FloatArray:
        return self.attributions

    @property
    def _head(self) -> str:
        i, j = self.rows
        how = {"contributions": "difference of contributions", "interventional": "against the other row"}
        kind = how[self.method] + ("" if self.exact else ", sampled")
        word = "above" if self.gap >= 0 else "below"
        return (
            f"Row {i} scores {abs(self.gap):.4g} {word} row {j} ({self.scores[0]:.4g} and "
            f"{self.scores[1]:.4g}). What each feature adds to the gap ({kind}):"
        )

    def _columns(self) -> dict[str, Array]:
        return {"first": self.first_values, "second": self.second_values, "attribution": self.attributions}


@dataclass(frozen=True, eq=False, repr=False)
class ListExplanation(FeatureTable):
    """Which features make the order of a query: what each adds to a measure of the order.

    Attributes
    ----------
    query : object
        Id of the query.
    measure : str
        ``"ndcg@10"``, or ``"agreement@10"`` with the model's own order.
    n_documents, n_samples : int
    feature_names : tuple of str
    attributions, standard_errors : ndarray (n_features,), float64
        Shapley values of the features and their sampling error; they sum to ``value - random_value``.
    value, random_value : float
        The measure of the model's order, and of one in which no feature is known and all documents tie.
    """

    query: Any
    measure: str
    n_documents: int
    n_samples: int
    feature_names: tuple[str, ...]
    attributions: FloatArray
    standard_errors: FloatArray
    value: float
    random_value: float

    @property
    def _values(self) -> FloatArray:
        return self.attributions

    @property
    def _head(self) -> str:
        return (
            f"Query {self.query}, {self.n_documents} documents: {self.measure} is {self.value:.4f}, and "
            f"{self.random_value:.4f} without any feature. What each feature adds:"
        )

    def _columns(self) -> dict[str, Array]:
        return {"attribution": self.attributions, "standard_error": self.standard_errors}


@dataclass(frozen=True, eq=False, repr=False)
class Importance(FeatureTable):
    """What a metric loses when one feature is exchanged between the documents of each query.

    Attributes
    ----------
    metric : str
    value : float
        Of the model as it is, a mean over queries.
    feature_names : tuple of str
    losses, standard_errors : ndarray (n_features,), float64
        Mean over queries, and its standard error over queries.
    query_ids : ndarray (n_queries,)
    per_query : ndarray (n_queries, n_features), float64
        Loss of each query; NaN for queries that do not count (no relevant document).
    groups : ndarray (n_queries,), optional
        Group of each query, where groups were given.
    """

    metric: str
    value: float
    feature_names: tuple[str, ...]
    losses: FloatArray
    standard_errors: FloatArray
    query_ids: Array
    per_query: FloatArray
    groups: Array | None = None

    @property
    def _values(self) -> FloatArray:
        return self.losses

    @property
    def _head(self) -> str:
        return (
            f"{self.metric} is {self.value:.4f} over {len(self.query_ids)} queries. What it loses when a "
            "feature is exchanged between the documents of each query:"
        )

    def _columns(self) -> dict[str, Array]:
        return {"loss": self.losses, "standard_error": self.standard_errors}

    def by_group(self) -> pd.DataFrame:
        """Mean loss of each feature (rows) in each group of queries (columns).

        Raises
        ------
        ValueError
            If no groups were given.
        """
        import pandas as pd

        if self.groups is None:
            raise ValueError("'groups' must be given to 'importance', one a row of 'X', to compare groups")
        frame = pd.DataFrame(self.per_query, columns=list(self.feature_names))
        return frame.groupby(self.groups).mean().T


@dataclass(frozen=True, eq=False, repr=False)
class Interactions:
    """How much pairs of features act together in the scores.

    Attributes
    ----------
    pairs : list of (str, str)
    strengths : ndarray (n_pairs,), float64
        In units of the score; exactly 0 where the score is a sum of a part without the one feature and a
        part without the other. See `Explanation.interactions`.
    spread : float
        Standard deviation of scores within queries, to compare with.
    """

    pairs: list[tuple[str, str]]
    strengths: FloatArray
    spread: float

    def to_frame(self) -> pd.DataFrame:
        """The pairs, strongest first."""
        import pandas as pd

        first, second = zip(*self.pairs) if self.pairs else ((), ())
        frame = pd.DataFrame({"first": first, "second": second, "strength": self.strengths})
        return frame.sort_values("strength", ascending=False, kind="stable").reset_index(drop=True)

    def _shown(self) -> tuple[str, list[str], dict[str, list[str]], FloatArray]:
        frame = self.to_frame().head(_SHOWN)
        names = [f"{a} x {b}" for a, b in zip(frame["first"], frame["second"])]
        head = f"Interactions in units of the score, which varies by {self.spread:.4g} within queries:"
        values = frame["strength"].to_numpy(dtype=np.float64)
        return head, names, {"strength": [_written(v) for v in values.tolist()]}, values

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the strongest as bars; see `FeatureTable.plot`."""
        from lambdamart_kit.explain.plots import bar_plot

        head, names, _, values = self._shown()
        return bar_plot(names, values, head, ax=ax)

    def __repr__(self) -> str:
        return text_table(*self._shown())

    def _repr_html_(self) -> str:
        return html_table(*self._shown())


@dataclass(frozen=True, eq=False, repr=False)
class Monotone(FeatureTable):
    """Which way scores go when one feature grows and all others stay.

    Attributes
    ----------
    feature_names : tuple of str
    rising, falling : ndarray (n_features,), float64
        Share of the steps (a document, and two neighbouring values of the feature) on which the score rises,
        and falls.
    largest_rise, largest_fall : ndarray (n_features,), float64
        In one step.
    """

    feature_names: tuple[str, ...]
    rising: FloatArray
    falling: FloatArray
    largest_rise: FloatArray
    largest_fall: FloatArray

    @property
    def direction(self) -> Array:
        """``"increasing"``, ``"decreasing"``, ``"mixed"`` or ``"none"`` for each feature."""
        never_falls = np.where(self.rising > 0, "increasing", "none")
        falls = np.where(self.rising > 0, "mixed", "decreasing")
        return np.where(self.falling > 0, falls, never_falls)

    @property
    def _values(self) -> FloatArray:
        return self.rising - self.falling

    @property
    def _head(self) -> str:
        return (
            "Share of steps on which a larger value raises the score, less the share on which it lowers it:"
        )

    def _columns(self) -> dict[str, Array]:
        return {
            "direction": self.direction,
            "rising": self.rising,
            "falling": self.falling,
            "largest_rise": self.largest_rise,
            "largest_fall": self.largest_fall,
        }
