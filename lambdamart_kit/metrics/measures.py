"""The metrics. Each states what it makes of a label, a kernel, and what the kernel's value is divided by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from lambdamart_kit.core.gains import (
    Gain,
    check_choice,
    discounts,
    gains,
    stop_probabilities,
    warn_of_amounts,
)
from lambdamart_kit.core.ranking import tie_blocks
from lambdamart_kit.core.typing import BoolArray, FloatArray
from lambdamart_kit.metrics.base import Metric, RankedScores
from lambdamart_kit.metrics.placed import PlacedScores

Plan = tuple[Callable[..., None], tuple[Any, ...]]


@dataclass(frozen=True, kw_only=True)
class DCG(Metric):
    """Discounted cumulative gain, ``sum over rank < k of gain(y) / log2(rank + 2)``; see :func:`dcg`.

    Parameters
    ----------
    k : int, optional
        Cut-off: only the first `k` documents count. None for all.
    ties : {"average", "optimistic", "pessimistic", "input"}
        Order of equal scores: the exact mean over all orders, the best, the worst, or that of the rows.
    blank : {"skip", "zero", "one"}
        What a query without a relevant document is worth: NaN and left out of the mean, 0, or 1.
    gain : {"exp2", "linear"}, table or callable
        Gain of a label: ``2**y - 1``, ``y``, ``table[y]`` or ``gain(labels)``.

    Examples
    --------
    >>> round(DCG(k=2)([0, 1], [2.0, 1.0]), 4)  # gain 1 at the second rank: 1 / log2(3)
    0.6309
    """

    gain: Gain = "exp2"

    name: ClassVar[str] = "dcg"
    weighs_documents: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.gain, str):
            check_choice(self.gain, ("exp2", "linear"), name="gain")
        elif not callable(self.gain):  # hashable, as a frozen object should be
            object.__setattr__(self, "gain", tuple(np.asarray(self.gain, dtype=np.float64).tolist()))

    def _values(self, labels: FloatArray) -> FloatArray:
        warn_of_amounts(labels, self.gain, of=f"{self} (a remedy: '{self.name}(gain=linear)')")
        return gains(labels, self.gain)

    def _plan(self, longest: int) -> Plan:
        return tie_blocks.discounted_sums, (discounts(longest),)


@dataclass(frozen=True, kw_only=True)
class NDCG(DCG):
    """DCG over the DCG of the best order; see :func:`ndcg`.

    Parameters
    ----------
    k : int, optional
        Cut-off: only the first `k` documents count. None for all.
    ties : {"average", "optimistic", "pessimistic", "input"}
        Order of equal scores: the exact mean over all orders, the best, the worst, or that of the rows.
    blank : {"skip", "zero", "one"}
        What a query without a relevant document is worth: NaN and left out of the mean, 0, or 1.
    gain : {"exp2", "linear"}, table or callable
        Gain of a label: ``2**y - 1``, ``y``, ``table[y]`` or ``gain(labels)``.

    Examples
    --------
    >>> metric = NDCG(k=10)
    >>> str(metric), metric([1, 2], [2.0, 2.0], ["a", "a"])
    ('ndcg@10', 0.8983...)
    """

    name: ClassVar[str] = "ndcg"

    def _scale(self, ranked: RankedScores | PlacedScores) -> tuple[FloatArray, BoolArray]:
        ideal = ranked.ideal()
        return ideal, ideal <= 0


@dataclass(frozen=True, kw_only=True)
class _Binary(Metric):
    """A metric of relevant and other documents."""

    min_relevance: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.min_relevance > 0:
            raise ValueError(f"'min_relevance' must be > 0; got {self.min_relevance!r}")

    def _values(self, labels: FloatArray) -> FloatArray:
        return (labels >= self.min_relevance).astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class MAP(_Binary):
    """Mean average precision; see :func:`mean_average_precision`.

    Parameters
    ----------
    k : int, optional
        Cut-off: only the first `k` documents count. None for all.
    ties : {"average", "optimistic", "pessimistic", "input"}
        Order of equal scores: the exact mean over all orders, the best, the worst, or that of the rows.
    blank : {"skip", "zero", "one"}
        What a query without a relevant document is worth: NaN and left out of the mean, 0, or 1.
    min_relevance : float
        A document is relevant when its label is at least this.

    Examples
    --------
    >>> MAP()([1, 0, 1], [3.0, 2.0, 1.0])  # (1/1 + 2/3) / 2
    0.8333...
    """

    name: ClassVar[str] = "map"

    def _plan(self, longest: int) -> Plan:
        return tie_blocks.precision_sums, ()

    def _scale(self, ranked: RankedScores | PlacedScores) -> tuple[FloatArray, BoolArray]:
        totals = ranked.totals()
        return totals, totals <= 0


@dataclass(frozen=True, kw_only=True)
class MRR(_Binary):
    """Mean reciprocal rank of the first relevant document; see :func:`mean_reciprocal_rank`.

    Parameters
    ----------
    k : int, optional
        Cut-off: only the first `k` documents count. None for all.
    ties : {"average", "optimistic", "pessimistic", "input"}
        Order of equal scores: the exact mean over all orders, the best, the worst, or that of the rows.
    blank : {"skip", "zero", "one"}
        What a query without a relevant document is worth: NaN and left out of the mean, 0, or 1.
    min_relevance : float
        A document is relevant when its label is at least this.

    Examples
    --------
    >>> MRR()([0, 1, 1], [3.0, 2.0, 1.0])  # the first relevant document is second
    0.5
    """

    name: ClassVar[str] = "mrr"

    def _plan(self, longest: int) -> Plan:
        return tie_blocks.cascades, (1.0 / np.arange(1, longest + 1),)


@dataclass(frozen=True, kw_only=True)
class Precision(_Binary):
    """Share of the first k documents that are relevant; see :func:`precision`.

    Parameters
    ----------
    k : int, optional
        Cut-off: only the first `k` documents count. None for all.
    ties : {"average", "optimistic", "pessimistic", "input"}
        Order of equal scores: the exact mean over all orders, the best, the worst, or that of the rows.
    blank : {"skip", "zero", "one"}
        What a query without a relevant document is worth: NaN and left out of the mean, 0, or 1.
    min_relevance : float
        A document is relevant when its label is at least this.

    Examples
    --------
    >>> Precision(k=2)([0, 1, 1], [3.0, 2.0, 1.0])
    0.5
    """

    name: ClassVar[str] = "precision"
    weighs_documents: ClassVar[bool] = True

    def _plan(self, longest: int) -> Plan:
        return tie_blocks.discounted_sums, (np.ones(longest),)

    def _scale(self, ranked: RankedScores | PlacedScores) -> tuple[FloatArray | float, BoolArray]:
        _, blank = super()._scale(ranked)
        return ranked.sizes() if self.k is None else float(self.k), blank


@dataclass(frozen=True, kw_only=True)
class Recall(_Binary):
    """Share of the relevant documents that are among the first k; see :func:`recall`.

    Parameters
    ----------
    k : int, optional
        Cut-off: only the first `k` documents count. None for all.
    ties : {"average", "optimistic", "pessimistic", "input"}
        Order of equal scores: the exact mean over all orders, the best, the worst, or that of the rows.
    blank : {"skip", "zero", "one"}
        What a query without a relevant document is worth: NaN and left out of the mean, 0, or 1.
    min_relevance : float
        A document is relevant when its label is at least this.

    Examples
    --------
    >>> Recall(k=1)([1, 0, 1], [3.0, 2.0, 1.0])
    0.5
    """

    name: ClassVar[str] = "recall"
    weighs_documents: ClassVar[bool] = True

    def _plan(self, longest: int) -> Plan:
        return tie_blocks.discounted_sums, (np.ones(longest),)

    def _scale(self, ranked: RankedScores | PlacedScores) -> tuple[FloatArray, BoolArray]:
        totals = ranked.totals()
        return totals, totals <= 0


@dataclass(frozen=True, kw_only=True)
class ERR(Metric):
    """Expected reciprocal rank at which a cascading reader stops; see :func:`err`.

    Parameters
    ----------
    k : int, optional
        Cut-off: only the first `k` documents count. None for all.
    ties : {"average", "optimistic", "pessimistic", "input"}
        Order of equal scores: the exact mean over all orders, the best, the worst, or that of the rows.
    blank : {"skip", "zero", "one"}
        What a query without a relevant document is worth: NaN and left out of the mean, 0, or 1.
    max_relevance : float
        The top of the label scale.

    Examples
    --------
    >>> ERR(max_relevance=1)([1, 0], [2.0, 1.0])  # stops at once with probability (2**1 - 1) / 2**1
    0.5
    """

    max_relevance: float = 4.0

    name: ClassVar[str] = "err"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.max_relevance < np.inf:
            raise ValueError(f"'max_relevance' must be finite and > 0; got {self.max_relevance!r}")

    def _values(self, labels: FloatArray) -> FloatArray:
        return stop_probabilities(labels, self.max_relevance)

    def _plan(self, longest: int) -> Plan:
        return tie_blocks.cascades, (1.0 / np.arange(1, longest + 1),)


@dataclass(frozen=True, kw_only=True)
class KendallTau(Metric):
    """Rank correlation of scores and labels; see :func:`kendall_tau`.

    Parameters
    ----------
    k : None
        There is no cut-off.
    ties : {"average", "optimistic", "pessimistic", "input"}
        Order of equal scores: the exact mean over all orders, the best, the worst, or that of the rows.
    blank : {"skip", "zero", "one"}
        What a query without a relevant document is worth: NaN and left out of the mean, 0, or 1.
    variant : {"b", "somers"}
        Divide by tau-b's denominator, or by the number of pairs with different labels (Somers' D).

    Examples
    --------
    >>> KendallTau()([0, 1, 2], [1.0, 3.0, 2.0])  # two pairs in order, one not
    0.3333...
    """

    variant: Literal["b", "somers"] = "b"

    name: ClassVar[str] = "kendall_tau"
    takes_signed_labels: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.variant, ("b", "somers"), name="variant")
        if self.k is not None:
            raise ValueError(f"'k' must be None: {self.name} has no cut-off; got {self.k!r}")

    def _values(self, labels: FloatArray) -> FloatArray:
        return labels

    def _plan(self, longest: int) -> Plan:
        return tie_blocks.kendall_taus, (self.variant == "b",)

    def _scale(self, ranked: RankedScores | PlacedScores) -> tuple[float, BoolArray]:
        starts = ranked.ptr[:-1]
        one_label = np.maximum.reduceat(ranked.values, starts) == np.minimum.reduceat(ranked.values, starts)
        return 1.0, one_label
