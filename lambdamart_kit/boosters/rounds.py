"""The work around boosting rounds: measure, record, stop early, show progress, take time.

A booster calls `finish_round` after each boosting round with the measure of each `EvalSet`, and stops if it
returns True.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar, cast

from lambdamart_kit.core.typing import Array, Features
from lambdamart_kit.runtime.progress import Progress

Evaluation: TypeAlias = Mapping[str, float]
Callback: TypeAlias = Callable[[int, Evaluation], bool]
MakeBytes: TypeAlias = Callable[[], bytes]
Results: TypeAlias = Mapping[str, Mapping[str, list[float]]]
F = TypeVar("F", bound=Callable[..., Any])

_ROUNDING = 1e-12  # of a mean: two means this close are one


class Stopwatch:
    """Seconds spent in each part of a fit.

    Parameters
    ----------
    started : float, optional
        When the fit began, by ``time.perf_counter``; now by default.

    Examples
    --------
    >>> watch = Stopwatch()
    >>> with watch("gradient"):
    ...     pass
    >>> list(watch.seconds)
    ['gradient']
    """

    def __init__(self, started: float | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self.started = time.perf_counter() if started is None else started

    def timed(self, part: str, function: F) -> F:
        """`function`, with its time added to `part`."""

        @wraps(function)
        def call(*args: Any) -> Any:
            with self(part):
                return function(*args)

        return cast(F, call)

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Add the time of a block to `part`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - started

    @contextmanager
    def remainder(self, part: str) -> Iterator[None]:
        """Add the time of a block to `part`, less what was added to other parts meanwhile."""
        started = time.perf_counter()
        before = sum(self.seconds.values())
        try:
            yield
        finally:
            inside = sum(self.seconds.values()) - before
            taken = time.perf_counter() - started - inside
            self.seconds[part] = self.seconds.get(part, 0.0) + taken


@dataclass(frozen=True, eq=False)
class Measure:
    """A measure of the scores of some rows.

    Attributes
    ----------
    name : str
        Key in ``evals_result_``, such as "ndcg@10".
    function : callable
        Takes scores, (n_samples,), and returns a float.
    greater_is_better : bool
        Whether a greater value is a better one; early stopping asks.
    """

    name: str
    function: Callable[[Array], float]
    greater_is_better: bool = True


@dataclass(frozen=True, eq=False)
class EvalSet:
    """Held-out rows and the measures taken on them after each round.

    Attributes
    ----------
    name : str
        Key in ``evals_result_``.
    X : (n_samples, n_features) float32 array or CSR matrix
    measures : tuple of Measure
        At least one.

    Examples
    --------
    >>> largest = Measure("largest", max)
    >>> EvalSet("held out", None, (largest,)).evaluate([1.0, 2.0])
    {'held out largest': 2.0}
    """

    name: str
    X: Features
    measures: tuple[Measure, ...]

    def key(self, measure: Measure) -> str:
        """Name of one of the measures in an evaluation: ``"validation ndcg@10"``."""
        return f"{self.name} {measure.name}"

    def evaluate(self, scores: Array) -> dict[str, float]:
        """All measures of the scores of the rows of X, by key."""
        return {self.key(measure): float(measure.function(scores)) for measure in self.measures}


@dataclass(eq=False)
class History:
    """Callback that keeps all measures after each round, and the best round by the first of them.

    Attributes
    ----------
    greater_is_better : bool
        Of the first measure of the first set, which decides.
    min_delta : float
        A later round counts as better only if it is better by more than this: at least 1e-12, the rounding
        of a mean.
    best_round : int
        0 before the first round.
    best_value : float
    by_key : dict of str to list of float
        Values of each measure, one a round.
    """

    greater_is_better: bool = True
    min_delta: float = 0.0
    best_round: int = 0
    best_value: float = math.nan
    by_key: dict[str, list[float]] = field(default_factory=dict)

    @classmethod
    def of(cls, eval_sets: Sequence[EvalSet], min_delta: float = 0.0) -> History:
        """An empty history of the measures of `eval_sets`."""
        greater_is_better = eval_sets[0].measures[0].greater_is_better if eval_sets else True
        return cls(greater_is_better, min_delta)

    @property
    def values(self) -> list[float]:
        """The deciding measure, one value a round."""
        return next(iter(self.by_key.values()), [])

    def __call__(self, n_rounds: int, evaluation: Evaluation) -> bool:
        """Record the measures; never stops."""
        for key, value in evaluation.items():
            self.by_key.setdefault(key, []).append(value)
        if evaluation:
            value = next(iter(evaluation.values()))
            sign = 1.0 if self.greater_is_better else -1.0
            gain = sign * (value - self.best_value)
            if math.isnan(self.best_value) or gain > max(self.min_delta, _ROUNDING):
                self.best_value = value
                self.best_round = n_rounds
        return False

    def results(
        self, eval_sets: Sequence[EvalSet], earlier: Results | None = None
    ) -> dict[str, dict[str, list[float]]]:
        """The measures as ``evals_result_``: by set, then by measure; after those of `earlier` rounds."""
        known = earlier or {}
        return {
            e.name: {
                m.name: [*known.get(e.name, {}).get(m.name, []), *self.by_key.get(e.key(m), [])]
                for m in e.measures
            }
            for e in eval_sets
        }


@dataclass(frozen=True, eq=False)
class EarlyStopping:
    """Callback that stops after `rounds` rounds in a row without a new best measure in `history`."""

    history: History
    rounds: int

    def __call__(self, n_rounds: int, evaluation: Evaluation) -> bool:
        """Whether the best round is at least `rounds` rounds ago."""
        return bool(evaluation) and n_rounds - self.history.best_round >= self.rounds


class RoundsProgress:
    """Callback that shows how far training is; silent unless `enabled`. Also a context manager."""

    def __init__(self, total: int, *, label: str, enabled: bool) -> None:
        self._progress = Progress(label, total, bar=enabled, lines=enabled)

    def __enter__(self) -> Self:
        self._progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.__exit__(kind, error, trace)

    def __call__(self, n_rounds: int, evaluation: Evaluation) -> bool:
        """Show how far training is; never stops."""
        note = "  ".join(f"{name} {value:.4f}" for name, value in evaluation.items())
        self._progress.update(n_rounds, note=note)
        return False


def finish_round(
    callbacks: Sequence[Callback],
    n_rounds: int,
    evaluation: Evaluation,
    to_bytes: MakeBytes | None = None,
) -> bool:
    """Call every callback after `n_rounds` rounds of this fit, and return whether one of them wants to stop.

    ``to_bytes()`` returns the model of those rounds, with the trees it started from; it is slow. A callback
    with a method ``show(n_rounds, to_bytes)`` is shown it before it is called.
    """
    if to_bytes is not None:
        # Asked by name: `isinstance` with a protocol takes 15 µs under Python 3.11, in every round and for
        # every callback, which was a tenth of a fit on 100 rows.
        for callback in callbacks:
            show = getattr(callback, "show", None)
            if show is not None:
                show(n_rounds, to_bytes)
    # A list, because any() on a generator would not call the callbacks after the first that stops.
    stops = [callback(n_rounds, evaluation) for callback in callbacks]
    return any(stops)
