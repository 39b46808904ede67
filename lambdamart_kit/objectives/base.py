"""What an objective is: the protocol, and the checks and helpers that all objectives share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from lambdamart_kit.core.gains import check_relevance
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import Array, ArrayLike, Float32Array, FloatArray


class Bound(Protocol):
    """An objective bound to labels and queries.

    Scores, gradient and hessian are *ordered rows* (rows sorted by query id, see
    :class:`lambdamart_kit.core.queries.Queries`); gradient and hessian are of the loss that is minimised,
    and their buffers are reused by the next call.
    """

    def gradient_hessian(self, scores: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Gradient and hessian at `scores`, float32 (n_samples,) each."""
        ...


@runtime_checkable
class Objective(Protocol):
    """Anything with this ``bind`` can be trained on every learner of the kit.

    Examples
    --------
    A pointwise squared loss, in full:

    >>> class SquaredLoss:
    ...     def bind(self, y, queries, sample_weight=None, *, n_threads=None):
    ...         return BoundFunction(lambda scores: (scores - y, np.ones_like(scores)), queries)
    >>> bound = SquaredLoss().bind(np.array([1.0, 0.0]), Queries.from_qid([7, 7], 2))
    >>> bound.gradient_hessian(np.zeros(2, dtype=np.float32))[0].tolist()
    [-1.0, 0.0]
    """

    def bind(
        self,
        y: ArrayLike,
        queries: Queries,
        sample_weight: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
    ) -> Bound:
        """Precompute what depends on labels and queries only; `y` and `sample_weight` are row-aligned."""
        ...


class CallSeeds:
    """Seeds of an objective that draws anew at every gradient: a bound objective with a count of its calls.

    What goes on from a checkpoint or an earlier fit calls `skip_calls`, so that the next gradient draws what
    it would have drawn had the run never stopped.
    """

    def __init__(self, random_state: int) -> None:
        self._random_state = random_state
        self._calls = 0

    def next_seed(self) -> np.uint64:
        """Seed of this gradient."""
        seed = np.uint64((self._random_state * 1_000_003 + self._calls) % 2**63)
        self._calls += 1
        return seed

    def skip_calls(self, n_calls: int) -> None:
        """Count `n_calls` gradients as taken."""
        self._calls += n_calls


def go_on_after(n_trees: int, bound: Any) -> None:
    """Have a bound objective that draws, if it does, draw on where the gradients of `n_trees` trees ended."""
    if hasattr(bound, "skip_calls"):
        bound.skip_calls(n_trees)


class BoundFunction:
    """A row-aligned function ``scores -> (gradient, hessian)`` as a bound objective.

    Parameters
    ----------
    function : callable
        Takes row-aligned scores (n_samples,), returns row-aligned gradient and hessian.
    queries : Queries
        Translates between ordered and row-aligned values.
    """

    def __init__(self, function: Callable[[Any], tuple[Any, Any]], queries: Queries) -> None:
        self._function = function
        self._queries = queries

    def gradient_hessian(self, scores: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Gradient and hessian at `scores`, ordered rows."""
        gradient, hessian = self._function(self._queries.unsort(scores))
        return self._ordered(gradient, "gradient"), self._ordered(hessian, "hessian")

    def _ordered(self, values: ArrayLike, name: str) -> Float32Array:
        rows = np.asarray(values, dtype=np.float32)
        if rows.shape != (self._queries.n_samples,):
            raise ValueError(
                f"a callable 'objective' must return (gradient, hessian) with one value a row: "
                f"expected {name} of shape ({self._queries.n_samples},), got {rows.shape}"
            )
        return self._queries.sort(rows)


@dataclass(frozen=True)
class FunctionObjective:
    """A callable ``scores -> (gradient, hessian)`` in place of an objective.

    Parameters
    ----------
    function : callable
        Takes row-aligned scores (n_samples,), returns row-aligned gradient and hessian of a minimised loss.
        It knows the labels it was made for, so the `y` and `sample_weight` given to ``bind`` are not used.
    """

    function: Callable[[Any], tuple[Any, Any]]

    def bind(
        self,
        y: ArrayLike,
        queries: Queries,
        sample_weight: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
    ) -> BoundFunction:
        """Bind to the row order of `queries`."""
        return BoundFunction(self.function, queries)


def check_labels(y: ArrayLike, queries: Queries) -> FloatArray:
    """Relevance of each row, checked against `queries`, as ordered rows."""
    labels = check_relevance(y)
    if len(labels) != queries.n_samples:
        raise ValueError(
            f"'y' must hold one relevance label per row: 'qid' has {queries.n_samples} rows, "
            f"'y' has {len(labels)}"
        )
    return queries.sort(labels)


def check_scores(scores: Array, n_samples: int) -> Float32Array:
    """Ordered scores as contiguous float32, finite."""
    ordered = np.ascontiguousarray(scores, dtype=np.float32)
    if ordered.shape != (n_samples,):
        raise ValueError(f"'scores' must have shape ({n_samples},), one score a row; got {ordered.shape}")
    # A dot product is finite unless a score is not, or it overflows: one cheap pass without a temporary.
    with np.errstate(over="ignore", invalid="ignore"):
        squares = ordered @ ordered
    if not np.isfinite(squares) and not np.isfinite(ordered).all():
        bad = int(np.argmin(np.isfinite(ordered)))
        raise ValueError(
            f"'scores' must be finite; ordered row {bad} has {ordered[bad]}: "
            "the learner has diverged, lower its learning rate"
        )
    return ordered


def check_positive(value: float, name: str) -> float:
    """`value` if it is a finite number above 0."""
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{name!r} must be a positive number; got {value!r}")
    return float(value)


def check_level(value: int | None, name: str) -> int:
    """Truncation `value` as a number of ranks; None is all."""
    if value is None:
        return int(np.iinfo(np.int64).max)
    if isinstance(value, bool) or int(value) != value or value < 1:
        raise ValueError(f"{name!r} must be None (all ranks) or a whole number >= 1; got {value!r}")
    return int(value)
