"""The parameters that steer training, which all rankers that learn in rounds have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from typing import Any, TypeAlias

from sklearn.utils._param_validation import Interval, StrOptions

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


class RegisteredNames(StrOptions):
    """Constraint of a parameter that takes a name from a registry.

    The registry is read when a parameter is checked, so names that are registered later are known too.
    """

    def __init__(self, names: Callable[[], Iterable[str]]) -> None:
        self._names = names
        super().__init__(set(names()))

    @property
    def options(self) -> set[str]:
        """The names that are known now."""
        return set(self._names())

    @options.setter
    def options(self, known: set[str]) -> None:
        """Scikit-learn's constructor sets the names; they are asked for anew each time instead."""
