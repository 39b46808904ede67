"""Scores as expected labels: isotonic regression that keeps the order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.isotonic import isotonic_regression

from lambdamart_kit.core.typing import FloatArray


@dataclass(frozen=True, eq=False)
class Calibration:
    """A strictly increasing map from scores to expected labels: straight lines between knots.

    Isotonic regression has steps, on which all scores become equal. Here each step is replaced by its centre
    and centres are joined by straight lines, so no two different scores become equal between the outermost
    centres. Beyond them the map goes on with `slope`.

    Attributes
    ----------
    scores, labels : (n_knots,) float64
        Centre of each step, and its height; both ascend.
    slope : float
        Beyond the outermost knots.

    References
    ----------
    Oron and Flournoy (2017), Centered isotonic regression: point and interval estimation for dose-response
    studies, Statistics in Biopharmaceutical Research 9.

    Examples
    --------
    >>> calibration = Calibration.fit(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 1.0, 0.0, 2.0]), None)
    >>> calibration(np.array([0.0, 1.5, 2.25])).tolist()
    [0.0, 0.5, 1.25]
    """

    scores: FloatArray
    labels: FloatArray
    slope: float

    @classmethod
    def fit(cls, scores: FloatArray, labels: FloatArray, sample_weight: FloatArray | None) -> Self:
        """Learn the map from held-out scores and their labels."""
        order = np.lexsort((labels, scores))
        weight = np.ones(len(order)) if sample_weight is None else sample_weight[order]
        kept = weight > 0
        order = order[kept]
        weight = weight[kept]
        # Equal scores must have one height, so they enter the regression as one point.
        x, start = np.unique(scores[order], return_index=True)
        total = np.add.reduceat(weight, start)
        mean = np.add.reduceat(weight * labels[order], start) / total
        height = isotonic_regression(mean, sample_weight=total)
        steps = np.flatnonzero(np.diff(height, prepend=-np.inf) > 0)
        centre = np.add.reduceat(total * x, steps) / np.add.reduceat(total, steps)
        spread = float(centre[-1] - centre[0])
        slope = 1e-3 * float(height[-1] - height[0]) / spread if spread > 0 else 1e-3
        return cls(centre, np.asarray(height[steps], dtype=np.float64), slope)

    def __call__(self, scores: FloatArray) -> FloatArray:
        """Expected label of each score."""
        inside = np.interp(scores, self.scores, self.labels)
        beyond = np.minimum(scores - self.scores[0], 0.0) + np.maximum(scores - self.scores[-1], 0.0)
        return np.asarray(inside + self.slope * beyond, dtype=np.float64)

    def state(self) -> dict[str, Any]:
        """What a file holds of it."""
        return {"scores": self.scores.tolist(), "labels": self.labels.tolist(), "slope": self.slope}

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> Self:
        """The map that `state` described."""
        knots = [np.array(state[name], dtype=np.float64) for name in ("scores", "labels")]
        return cls(knots[0], knots[1], float(state["slope"]))
