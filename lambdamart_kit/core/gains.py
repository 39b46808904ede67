"""Gain, discount and ideal DCG: the conventions behind NDCG, stated once.

    DCG@k  = sum over rank < k of gain(y) * discount(rank)
    NDCG@k = DCG@k / ideal DCG@k

- rank is 0-based; ``discount(rank) = 1 / log2(rank + 2)``.
- gain: ``"exp2"`` (2**y - 1, the default), ``"linear"`` (y), a table indexed by the label, or a callable
  on the label array. Gains must be finite and not negative.
- ties in metrics: ``"average"`` (McSherry and Najork 2008: every document of a block of equal scores has
  the block's mean discount), ``"pessimistic"`` (worst order), ``"optimistic"`` (best), ``"input"`` (as the
  rows came).
- blank queries (ideal DCG is 0): ``"skip"`` (NaN, left out of the mean), ``"zero"``, ``"one"``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, Literal, TypeAlias

import numpy as np

from lambdamart_kit.core.typing import Array, ArrayLike, FloatArray

Gain: TypeAlias = Literal["exp2", "linear"] | ArrayLike | Callable[[Array], ArrayLike]
Ties: TypeAlias = Literal["average", "pessimistic", "optimistic", "input"]
Blank: TypeAlias = Literal["skip", "zero", "one"]

_LARGEST = np.finfo(np.float64).max / 2**53  # so that no sum of gains overflows
_LARGEST_GRADE = 31  # LightGBM's and XGBoost's limit for exponential gains
_TABLE_REMEDY = "give a longer table, or gain='linear', or a callable"


def check_relevance(y: ArrayLike, *, name: str = "y", signed: bool = False) -> FloatArray:
    """Graded labels as float64: one-dimensional, finite and, unless `signed`, not negative."""
    labels = np.asarray(y)
    if labels.ndim != 1:
        several = labels.ndim == 2 and labels.shape[1] > 1
        remedy = "; a column for each of several goals needs the objective Combined" if several else ""
        raise ValueError(
            f"{name!r} must be one-dimensional, one relevance label per row; got shape {labels.shape}{remedy}"
        )
    if labels.dtype.kind in "cmM":  # NumPy turns these into numbers, which are no grades
        raise ValueError(f"{name!r} must hold numbers (graded relevance); got dtype {labels.dtype}")
    try:
        labels = labels.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name!r} must hold numbers (graded relevance): {error}") from None
    if signed and not np.isfinite(labels).all():
        bad = np.flatnonzero(~np.isfinite(labels))
        raise ValueError(
            f"{name!r} must hold finite labels; row {bad[0]} has {labels[bad[0]]} ({len(bad)} such rows); "
            "drop those rows"
        )
    if not signed and not _all_within(labels, np.inf):
        bad = np.flatnonzero(~(np.isfinite(labels) & (labels >= 0)))
        raise ValueError(
            f"{name!r} must hold finite relevance labels >= 0; row {bad[0]} has {labels[bad[0]]} "
            f"({len(bad)} such rows); drop those rows or shift the labels"
        )
    return labels


def gains(relevance: ArrayLike, gain: Gain = "exp2") -> FloatArray:
    """Gain of each label, float64.

    Examples
    --------
    >>> gains([0, 1, 2, 3]).tolist()
    [0.0, 1.0, 3.0, 7.0]
    >>> gains([0, 2], gain=[0, 5, 50]).tolist()
    [0.0, 50.0]
    """
    labels = check_relevance(relevance)
    if isinstance(gain, str):
        if gain == "exp2":
            with np.errstate(over="ignore"):  # reported below, with its label
                values = np.exp2(labels)
            values -= 1.0
        elif gain == "linear":
            values = labels.copy()
        else:
            raise ValueError(f"'gain' must be 'exp2', 'linear', a table or a callable; got {gain!r}")
    elif callable(gain):
        values = np.asarray(gain(labels), dtype=np.float64)
        if values.shape != labels.shape:
            raise ValueError(
                f"'gain' must return one value per label: expected shape {labels.shape}, got {values.shape}"
            )
    else:
        values = _look_up(labels, np.asarray(gain, dtype=np.float64))
    if not _all_within(values, _LARGEST):
        bad = np.flatnonzero(~((values >= 0) & (values < _LARGEST)))
        raise ValueError(
            f"'gain' must be finite and >= 0; label {labels[bad[0]]:g} has gain {values[bad[0]]}; "
            "for labels this large use gain='linear', a table or a callable"
        )
    return values


def warn_of_amounts(labels: FloatArray, gain: Gain | None, *, of: str) -> None:
    """Warn where exponential gains are taken of labels that look like amounts: clicks, prices, minutes.

    With labels of 300 and 299 the gain of the second is half that of the first, and everything else counts
    for nothing: NDCG is 1 whatever stands below the top.

    Parameters
    ----------
    labels : (n,) array
    gain : "exp2", "linear", table, callable or None
    of : str
        Whose gain it is, with a remedy in parentheses.
    """
    largest = labels.max(initial=0.0)
    if isinstance(gain, str) and gain == "exp2" and largest > _LARGEST_GRADE:
        warnings.warn(
            f"'y' holds labels up to {largest:g} and the gain of {of} is 2**y - 1, so that nothing but the "
            "largest labels of a query counts. If labels are amounts and not grades, use gain='linear', a "
            "table or a callable",
            UserWarning,
            stacklevel=2,
        )


def _all_within(values: FloatArray, end: float) -> bool:
    """Whether all values lie in [0, end); NaN does not. Two reductions, no temporary array."""
    return len(values) == 0 or bool(values.min() >= 0 and values.max() < end)


def _look_up(labels: FloatArray, table: FloatArray) -> FloatArray:
    if table.ndim != 1:
        raise ValueError(
            f"'gain' table must be one-dimensional, gain of label 0, 1, 2, ...; got shape {table.shape}"
        )
    if len(labels) and labels.max() >= len(table):
        raise ValueError(
            f"'gain' table has {len(table)} entries but a label is {labels.max():g}; {_TABLE_REMEDY}"
        )
    # A cast to an index would round 1.5 down without a word.
    fractional = np.flatnonzero(labels != np.floor(labels))
    if len(fractional):
        raise ValueError(
            f"'gain' table needs whole-number labels; row {fractional[0]} has {labels[fractional[0]]:g}; "
            "use gain='exp2', gain='linear' or a callable"
        )
    looked_up: FloatArray = table[labels.astype(np.intp)]
    return looked_up


def discounts(n_ranks: int) -> FloatArray:
    """``1 / log2(rank + 2)`` for rank = 0 .. n_ranks - 1.

    Examples
    --------
    >>> discounts(3).round(4).tolist()
    [1.0, 0.6309, 0.5]
    """
    result: FloatArray = 1.0 / np.log2(np.arange(2, n_ranks + 2, dtype=np.float64))
    return result


def stop_probabilities(labels: FloatArray, max_relevance: float) -> FloatArray:
    """Probability that a reader stops at a document, ``(2**y - 1) / 2**max_relevance``; for ERR.

    Raises
    ------
    ValueError
        If `max_relevance`, the top of the label scale, is not a finite number > 0, or a label is larger.

    Examples
    --------
    >>> stop_probabilities(np.array([0.0, 1.0, 2.0]), 2.0).tolist()
    [0.0, 0.25, 0.75]
    """
    if not 0 < max_relevance < np.inf:
        raise ValueError(f"'max_relevance' must be finite and > 0; got {max_relevance!r}")
    highest = labels.max(initial=0.0)
    if highest > max_relevance:
        raise ValueError(
            f"'max_relevance' must be >= {highest:g}, a label that occurs; got {max_relevance:g}; "
            f"use max_relevance={highest:g}, in a name 'err(max_relevance={highest:g})'; for labels that are "
            "amounts and not grades use another metric or objective"
        )
    # (2**y - 1) / 2**m = 2**(y - m) - 2**-m. Written as on the right, labels of any size cannot overflow.
    stop: FloatArray = np.exp2(labels - max_relevance) - np.exp2(-max_relevance)
    return stop


def check_choice(value: Any, choices: tuple[str, ...], *, name: str) -> str:
    """`value` if it is one of `choices`, else a ValueError that names the parameter and the choices."""
    if value not in choices:
        raise ValueError(f"{name!r} must be one of {', '.join(map(repr, choices))}; got {value!r}")
    return str(value)


def check_number(
    value: Any,
    *,
    name: str,
    least: float = -np.inf,
    most: float = np.inf,
    open_ends: str = "",
) -> float:
    """`value` if it is a finite number from `least` to `most`, else a ValueError that names the parameter.

    Parameters
    ----------
    value : object
        What was given.
    name : str
        Of the parameter.
    least, most : float
        Ends of the range.
    open_ends : str
        Which ends are themselves refused: "low", "high" or "both"; none by default.
    """
    low_open = open_ends in ("low", "both")
    high_open = open_ends in ("high", "both")
    is_number = isinstance(value, Real) and not isinstance(value, bool | np.bool_)
    inside = is_number and bool(np.isfinite(value))
    inside = inside and (value > least if low_open else value >= least)
    inside = inside and (value < most if high_open else value <= most)
    if inside:
        return float(value)
    if np.isfinite(least) and np.isfinite(most):
        rule = f"be in {'(' if low_open else '['}{least:g}, {most:g}{')' if high_open else ']'}"
    elif np.isfinite(least):
        rule = f"be finite and {'>' if low_open else '>='} {least:g}"
    else:
        rule = "be a finite number"
    raise ValueError(f"{name!r} must {rule}; got {value!r}")


def check_count(value: Any, *, name: str) -> int:
    """`value` if it is a whole number >= 1, else a ValueError that names the parameter."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name!r} must be a whole number >= 1; got {value!r}")
    return int(value)
