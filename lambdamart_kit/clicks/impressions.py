"""What all corrections of position bias share: the log, the estimate during a fit, the metric on clicks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from lambdamart_kit.clicks.harvesting import SingleClicks
from lambdamart_kit.core.queries import Queries, query_weights
from lambdamart_kit.core.typing import Array, FloatArray, IndexArray
from lambdamart_kit.metrics import Metric
from lambdamart_kit.objectives.base import Bound, Objective, check_positive


@dataclass(frozen=True, eq=False)
class Impressions:
    """A click log in ordered rows: what an estimate of the position bias is made from.

    Attributes
    ----------
    y : (n_samples,) float64
        Clicks.
    position : (n_samples,) intp
        From 1.
    documents : callable
        Returns one value a row, equal where the same document was shown for the same query.
    """

    y: FloatArray
    position: IndexArray
    documents: Callable[[], Array]

    @property
    def n_positions(self) -> int:
        """The lowest position in the log."""
        return int(self.position.max(initial=1))

    def check_clicks(self, method: str) -> None:
        """Raise unless labels are clicks, with at least one at position 1."""
        check_clicks(self.y, method)
        if not (self.y[self.position == 1] > 0).any():
            raise ValueError(
                f"'position' must hold clicked rows at position 1 with position_bias={method!r}, because "
                "propensities are relative to it; got none; positions count from 1"
            )


def check_clicks(y: FloatArray, method: str) -> None:
    """Raise unless all labels are 0 or 1."""
    bad = np.flatnonzero((y != 0) & (y != 1))
    if len(bad):
        raise ValueError(
            f"'y' must hold clicks, 0 or 1, with position_bias={method!r}; got {y[bad[0]]:g}; "
            "position_bias='gam' takes graded labels"
        )


class Debiasing(ABC):
    """An estimate of the position bias, which may change during a fit.

    Attributes
    ----------
    propensities : (n_positions,) float64
        Relative to position 1, as known by now.
    unclick_propensities : (n_positions,) float64, or None
        How much more often a document that is not clicked at position 1 is irrelevant, by position ("joint").
    """

    propensities: FloatArray
    unclick_propensities: FloatArray | None = None

    @abstractmethod
    def bind(
        self,
        objective: Objective,
        y: FloatArray,
        queries: Queries,
        position: IndexArray,
        sample_weight: FloatArray | None = None,
        *,
        n_threads: int | None = None,
    ) -> Bound:
        """The objective on these rows, debiased; `position` in ordered rows, the rest row-aligned."""

    def conclude(self) -> None:
        """Improve the estimates for the last time; called once the ranker is fitted."""
        return None

    def measure(
        self,
        metric: Metric,
        y: FloatArray,
        queries: Queries,
        position: IndexArray,
        sample_weight: FloatArray | None = None,
        *,
        n_threads: int | None = None,
    ) -> Callable[[Array], float]:
        """The metric on held-out clicks, each click a query of its own with its inverse propensity."""
        return _ClickMetric(self, metric, y, queries, position, sample_weight, n_threads)

    def inverse(self, position: IndexArray) -> FloatArray:
        """One over the propensity of each of these positions, clipped."""
        known = self.propensities[np.minimum(position, len(self.propensities)) - 1]
        return np.asarray(1.0 / np.maximum(known, self.clip))

    clip: float = 0.02


@runtime_checkable
class PositionBias(Protocol):
    """A correction of position bias: what the parameter 'position_bias' may hold.

    Examples
    --------
    >>> from lambdamart_kit.clicks import JointPropensities
    >>> isinstance(JointPropensities(), PositionBias)
    True
    """

    def start(self, log: Impressions) -> Debiasing:
        """Start an estimate from the whole log.

        Parameters
        ----------
        log : Impressions
            The whole log: clicks, positions, and which rows show the same document.

        Returns
        -------
        Debiasing
            It binds objectives to rows and keeps the propensities.
        """
        ...


class _ClickMetric:
    """Scores of held-out rows to the metric over clicks, weighted by their inverse propensities."""

    def __init__(
        self,
        debiasing: Debiasing,
        metric: Metric,
        y: FloatArray,
        queries: Queries,
        position: IndexArray,
        sample_weight: FloatArray | None,
        n_threads: int | None,
    ) -> None:
        single = SingleClicks.of(queries.sort(y), queries)
        of_query = query_weights(sample_weight, queries)[queries.query_of_ordered_row[single.clicked]]
        self._debiasing = debiasing
        self._rows = single.rows
        self._weights = of_query
        self._position = position[single.clicked]
        self._bound = metric.bind(single.y, single.queries, n_threads=n_threads)
        self.blank = self._bound.blank

    def __call__(self, scores: Array) -> float:
        values = self._bound.per_query(scores[self._rows])
        return float(np.average(values, weights=self._weights * self._debiasing.inverse(self._position)))


def check_share(value: float, name: str) -> float:
    """`value` if it lies in (0, 1]."""
    if check_positive(value, name) > 1:
        raise ValueError(f"{name!r} must lie in (0, 1]; got {value!r}")
    return float(value)
