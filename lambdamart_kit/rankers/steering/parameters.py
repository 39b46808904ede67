"""The parameters that steer training, which all rankers that learn in rounds have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any, TypeAlias

from sklearn.utils._param_validation import Interval

from lambdamart_kit.metrics import Metric

EvalMetric: TypeAlias = str | Metric | Sequence[str | Metric]
Callbacks: TypeAlias = Sequence[Callable[[Any], Any]] | None

STEERING: dict[str, list[Any]] = {
    "eval_metric": [str, Metric, list, tuple],
    "min_delta": [Interval(Real, 0, None, closed="left")],
    "track_training": ["boolean"],
    "callbacks": [list, tuple, None],
}
"""Constraints of the parameters."""
