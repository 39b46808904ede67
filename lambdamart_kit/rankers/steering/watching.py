"""What watches the rounds of trees: the best model, a fit beside this one that failed, and the time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from lambdamart_kit.boosters.rounds import History, Stopwatch
from lambdamart_kit.objectives import Bound


def rescales_trees(extra: Mapping[str, Any]) -> bool:
    """Whether later rounds change the trees of earlier ones, as DART does, so that none can be cut out."""
    return "dart" in [value for value in extra.values() if isinstance(value, str)]


class KeepBest:
    """Callback that keeps the whole model of the best round; it never stops."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._to_bytes: Callable[[], bytes] | None = None
        self.content: bytes | None = None

    def show(self, n_rounds: int, to_bytes: Callable[[], bytes]) -> None:
        """Take the model of `n_rounds` rounds."""
        self._to_bytes = to_bytes

    def __call__(self, n_rounds: int, evaluation: Mapping[str, float]) -> bool:
        """Write the model down if this round is the best so far."""
        if self._history.best_round == n_rounds and self._to_bytes is not None:
            self.content = self._to_bytes()
        return False


class StopOn:
    """Callback that stops when the event is set: a fit beside this one has failed."""

    def __init__(self, event: threading.Event) -> None:
        self._event = event

    def __call__(self, n_rounds: int, evaluation: Mapping[str, float]) -> bool:
        """Whether to stop."""
        return self._event.is_set()


class Timed:
    """An objective whose time counts as "gradient" on the stopwatch."""

    def __init__(self, bound: Bound, watch: Stopwatch) -> None:
        self.gradient_hessian = watch.timed("gradient", bound.gradient_hessian)
        if hasattr(bound, "skip_calls"):
            self.skip_calls = bound.skip_calls
