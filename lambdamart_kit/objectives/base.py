"""What an objective is: the protocol, the one `bind` of objectives on labels, and the checks they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from lambdamart_kit.core.gains import check_relevance
from lambdamart_kit.core.queries import Queries, document_weights, query_weights
from lambdamart_kit.core.typing import Array, ArrayLike, BoolArray, Float32Array, FloatArray
from lambdamart_kit.runtime.threads import resolve_n_jobs


class Bound(Protocol):
    """An objective bound to labels and queries.

    Scores, gradient and hessian are *ordered rows* (rows sorted by query id, see
    :class:`lambdamart_kit.core.queries.Queries`). Gradient and hessian are of the loss that is minimised.
    The next call overwrites them.

    Examples
    --------
    >>> import numpy as np
    >>> from lambdamart_kit.core.queries import Queries
    >>> from lambdamart_kit.objectives import RankNet
    >>> bound = RankNet().bind([1, 0], Queries.from_qid(["a", "a"], 2))
    >>> gradient, hessian = bound.gradient_hessian(np.zeros(2, dtype=np.float32))
    >>> gradient.tolist(), hessian.tolist()
    ([-0.5, 0.5], [0.25, 0.25])
    """

    def gradient_hessian(self, scores: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Gradient and hessian at `scores`, float32 (n_samples,) each.

        Parameters
        ----------
        scores : (n_samples,) float32
            Scores of the ordered rows.

        Returns
        -------
        tuple of two (n_samples,) float32 arrays
            Gradient and hessian of the minimised loss.
        """
        ...


@runtime_checkable
class Objective(Protocol):
    """Anything with this ``bind`` can be trained on every learner of the kit.

    Rankers bind an objective to rows in their canonical order: sorted by query and, within a query, by
    content. An objective that holds data of its own for each row (pairs of row numbers, a function of all
    scores) says so with the class attribute ``names_rows = True``. It is then bound to the rows as they were
    given to ``fit``, and needs all of them.

    Examples
    --------
    A pointwise squared loss, in full:

    >>> import numpy as np
    >>> from lambdamart_kit.core.queries import Queries
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
        """Compute what depends on labels and queries only.

        Parameters
        ----------
        y : (n_samples,) array-like
            Labels, row-aligned with the qid that made `queries`.
        queries : Queries
            How rows are grouped by query.
        sample_weight : (n_samples,) array-like, optional
            Weight of the row's query, row-aligned.
        n_threads : int, optional
            Threads of the bound objective; None for all.

        Returns
        -------
        Bound
            Gives gradient and hessian in ordered rows.
        """
        ...


def names_rows(objective: Objective) -> bool:
    """Whether the objective holds data for each row as it was given to fit, so that it needs all rows.

    Parameters
    ----------
    objective : Objective
        Any objective, bound or not.

    Returns
    -------
    bool
        True if it says ``names_rows = True``.

    Examples
    --------
    >>> names_rows(FunctionObjective(lambda scores: (scores, scores)))
    True
    """
    return bool(getattr(objective, "names_rows", False))


def weighs_documents(objective: object) -> bool:
    """Whether the ``bind`` of the objective takes `document_weight`, a weight of each document.

    Parameters
    ----------
    objective : Objective
        Any objective.

    Returns
    -------
    bool
        True if it says ``weighs_documents = True``.

    Examples
    --------
    >>> from lambdamart_kit.objectives import LambdaMAP, LambdaNDCG
    >>> weighs_documents(LambdaNDCG()), weighs_documents(LambdaMAP())
    (True, False)
    """
    return bool(getattr(objective, "weighs_documents", False))


def takes_signed_labels(objective: object) -> bool:
    """Whether the objective takes labels of any sign, because it only compares them.

    Parameters
    ----------
    objective : Objective
        Any objective.

    Returns
    -------
    bool
        True if it says ``takes_signed_labels = True``.

    Examples
    --------
    >>> from lambdamart_kit.objectives import LambdaNDCG, RankNet
    >>> takes_signed_labels(RankNet()), takes_signed_labels(LambdaNDCG())
    (True, False)
    """
    return bool(getattr(objective, "takes_signed_labels", False))


class LabelObjective(ABC):
    """An objective that goes by relevance labels. This is the one place where such objectives are bound.

    A subclass is a frozen dataclass of options. It says in `_bind_labels` what it makes of checked labels,
    or, on pairs of documents, states its parts (see
    :class:`lambdamart_kit.objectives.pairwise.PairObjective`).
    """

    takes_signed_labels: ClassVar[bool] = False

    @property
    def weighs_documents(self) -> bool:
        """Whether `bind` takes a weight of each document."""
        return False

    def bind(
        self,
        y: ArrayLike,
        queries: Queries,
        sample_weight: ArrayLike | None = None,
        *,
        document_weight: ArrayLike | None = None,
        n_threads: int | None = None,
    ) -> Any:
        """Bind to labels and queries; `y`, `sample_weight` and `document_weight` are row-aligned.

        Parameters
        ----------
        y : (n_samples,) array-like
            Graded relevance, finite and >= 0; of any sign for an objective that only compares labels.
        queries : Queries
        sample_weight : (n_samples,) array-like, optional
            Weight of the row's query, the same for all its rows.
        document_weight : (n_samples,) array-like, optional
            Weight of the document, >= 0: one of weight 2 counts as two copies of it, whose gradients are
            added up.
        n_threads : int, optional
            Threads of the bound objective; None for all. The result does not depend on it.

        Returns
        -------
        Bound

        Raises
        ------
        ValueError
            If a label, a weight or an option of the objective is not usable, or if the objective cannot
            weigh documents.
        """
        labels = check_labels(y, queries, signed=self.takes_signed_labels)
        weights = query_weights(sample_weight, queries)
        threads = resolve_n_jobs(n_threads)
        documents = document_weights(document_weight, queries)
        if documents is None:
            return self._bind_labels(labels, queries, weights, threads)
        if not self.weighs_documents:
            raise ValueError(refusal_of_document_weight(self))
        present = documents > 0
        if present.all():
            return self._bind_documents(labels, queries, weights, documents, threads)
        # A document of weight 0 is absent: it takes no place, and nothing is compared with it.
        kept, part = queries.present(present)
        bound = self._bind_documents(labels[present], part, weights[kept], documents[present], threads)
        return BoundPresent(bound, present)

    def _bind_documents(
        self,
        labels: FloatArray,
        queries: Queries,
        weights: FloatArray,
        document_weight: FloatArray,
        n_threads: int,
    ) -> Bound:
        """Bind to labels and weights of documents, all > 0 (ordered rows), and query weights."""
        raise ValueError(refusal_of_document_weight(self))

    @abstractmethod
    def _bind_labels(
        self, labels: FloatArray, queries: Queries, weights: FloatArray, n_threads: int
    ) -> Bound:
        """Bind to labels (ordered rows) and query weights."""


def refusal_of_document_weight(objective: object) -> str:
    """What an objective answers that cannot weigh documents."""
    return (
        f"'document_weight' must be None with the objective {type(objective).__name__}, which cannot weigh "
        "documents; 'pairwise', 'ndcg', 'ndcg1' and 'precision' can"
    )


class BoundPresent:
    """An objective bound to some of the ordered rows; the gradient of all others is 0.

    Parameters
    ----------
    bound : Bound
        Of the rows that are present.
    present : (n_samples,) bool
        Mask over the ordered rows.
    """

    def __init__(self, bound: Bound, present: BoolArray) -> None:
        self._bound = bound
        self._present = present
        self._gradient = np.zeros(len(present), dtype=np.float32)
        self._hessian = np.zeros(len(present), dtype=np.float32)

    def gradient_hessian(self, scores: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Gradient and hessian at `scores`, ordered rows; the next call overwrites them."""
        gradient, hessian = self._bound.gradient_hessian(scores[self._present])
        self._gradient[self._present] = gradient
        self._hessian[self._present] = hessian
        return self._gradient, self._hessian

    def skip_calls(self, n_calls: int) -> None:
        """Count `n_calls` gradients as taken."""
        go_on_after(n_calls, self._bound)


class CallSeeds:
    """Seeds of an objective that draws random numbers at every gradient: it counts its gradients.

    Training that goes on from a checkpoint or an earlier fit calls `skip_calls`. The next gradient then draws
    what it would have drawn had the run never stopped.
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
    """Have a bound objective draw on where the gradients of `n_trees` trees ended, if it draws at all."""
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

    Examples
    --------
    >>> import numpy as np
    >>> from lambdamart_kit.core.queries import Queries
    >>> queries = Queries.from_qid(["b", "a"], 2)
    >>> bound = BoundFunction(lambda scores: (scores - [1.0, 0.0], np.ones(2)), queries)
    >>> bound.gradient_hessian(np.zeros(2, dtype=np.float32))[0].tolist()  # the row of query "a" first
    [0.0, -1.0]
    """

    def __init__(self, function: Callable[[Any], tuple[Any, Any]], queries: Queries) -> None:
        self._function = function
        self._queries = queries

    def gradient_hessian(self, scores: Float32Array) -> tuple[Float32Array, Float32Array]:
        """Gradient and hessian at `scores`, ordered rows.

        Parameters
        ----------
        scores : (n_samples,) float32
            Scores of the ordered rows.

        Returns
        -------
        tuple of two (n_samples,) float32 arrays
            Gradient and hessian of the minimised loss, ordered rows.
        """
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

    Examples
    --------
    >>> import numpy as np
    >>> from lambdamart_kit.core.queries import Queries
    >>> y = np.array([2.0, 0.0])
    >>> squared = FunctionObjective(lambda scores: (scores - y, np.ones_like(y)))
    >>> squared.bind(y, Queries.from_qid(None, 2)).gradient_hessian(np.zeros(2, dtype=np.float32))[0].tolist()
    [-2.0, 0.0]
    """

    names_rows: ClassVar[bool] = True

    function: Callable[[Any], tuple[Any, Any]]

    def bind(
        self,
        y: ArrayLike,
        queries: Queries,
        sample_weight: ArrayLike | None = None,
        *,
        n_threads: int | None = None,
    ) -> BoundFunction:
        """Bind to the row order of `queries`.

        Parameters
        ----------
        y : (n_samples,) array-like
            Not used: the function knows the labels it was made for.
        queries : Queries
            How rows are grouped by query.
        sample_weight : (n_samples,) array-like, optional
            Not used, for the same reason.
        n_threads : int, optional
            Not used: the function runs in the caller's thread.

        Returns
        -------
        BoundFunction
            Gives gradient and hessian in ordered rows.
        """
        return BoundFunction(self.function, queries)


def check_labels(y: ArrayLike, queries: Queries, *, signed: bool = False) -> FloatArray:
    """Relevance of each row, checked against `queries`, as ordered rows; `signed` allows any sign."""
    labels = check_relevance(y, signed=signed)
    if len(labels) != queries.n_samples:
        raise ValueError(
            f"'y' must hold one relevance label per row: 'qid' has {queries.n_samples} rows, "
            f"'y' has {len(labels)}"
        )
    return queries.sort(labels)


def check_ordered_scores(scores: Array, n_samples: int) -> Float32Array:
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


def check_ranks(value: int | None, name: str) -> int:
    """A truncation `value` as a number of ranks; None is all."""
    most = int(np.iinfo(np.int64).max)
    if value is None:
        return most
    if isinstance(value, bool) or not 1 <= value < np.inf or int(value) != value:
        raise ValueError(f"{name!r} must be None (all ranks) or a whole number >= 1; got {value!r}")
    return min(int(value), most)
