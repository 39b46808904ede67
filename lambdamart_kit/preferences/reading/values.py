"""Single values of records: what is missing, what is a number, a truth value or a label."""

from __future__ import annotations

import math
from typing import Any

from lambdamart_kit.files.records import Record

WINNERS = {
    **dict.fromkeys(["model_a", "a", "left", "first", "home", "x"], 1.0),
    **dict.fromkeys(["model_b", "b", "right", "second", "away", "y"], 0.0),
    **dict.fromkeys(["tie", "draw", "equal", "tie (inconsistent)"], 0.5),
    **dict.fromkeys(["tie (bothbad)", "both", "bothbad", "both_bad", "both bad", "neither"], 0.5),
}
BOTH_BAD = frozenset(["tie (bothbad)", "bothbad", "both_bad", "both bad", "neither"])

_TRUE = frozenset(["true", "1", "1.0"])
_FALSE = frozenset(["false", "0", "0.0"])


class RowError(ValueError):
    """A row does not fit its layout. The message names the row, the column, the value and the rule."""

    def __init__(self, row: int, problem: str) -> None:
        super().__init__(f"row {row}: {problem}")
        self.row = row
        self.problem = problem


def is_missing(value: Any) -> bool:
    """Whether a cell is empty: None, NaN or no text."""
    return (
        value is None
        or (isinstance(value, float) and value != value)
        or (isinstance(value, str) and not value)
    )


def number(
    value: Any,
    name: str,
    row: int,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    default: float | None = None,
) -> float:
    """A finite number between `low` and `high`, which may be written as text; `default` for an empty cell.

    Raises
    ------
    RowError
        If `value` is something else, a truth value included.

    Examples
    --------
    >>> number("2.5", "score", 0), number(None, "weight", 0, default=1.0)
    (2.5, 1.0)
    """
    if default is not None and is_missing(value):
        return default
    try:
        is_grouped = isinstance(value, str) and "_" in value  # Python takes "1_0" for 10
        is_number = not (isinstance(value, bool) or _is_numpy_bool(value) or is_grouped)
        result = float(value) if is_number else math.nan
    except (TypeError, ValueError, OverflowError):
        result = math.nan
    if not (math.isfinite(result) and low <= result <= high):
        rule = "a finite number"
        if math.isfinite(low) or math.isfinite(high):
            rule += f" in [{low:g}, {high:g}]"
        raise RowError(row, f"{name!r} must be {rule}; got {shown(value)}")
    return result


def flag(value: Any, name: str, row: int) -> bool:
    """A truth value: a bool, 0 or 1, or one of these as text.

    Raises
    ------
    RowError
        If `value` is anything else.

    Examples
    --------
    >>> flag("True", "label", 0), flag(0, "label", 0)
    (True, False)
    """
    word = str(value).strip().lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise RowError(row, f"{name!r} must be true or false; got {shown(value)}")


def one_of(value: Any, name: str, row: int, meaning: dict[str, float]) -> float:
    """What a label means, by its text without case and spaces at the ends.

    Raises
    ------
    RowError
        If `value` is none of the labels of `meaning`.
    """
    word = str(value.item() if hasattr(value, "item") else value).strip().lower()
    if word.endswith(".0"):
        word = word[:-2]
    if word not in meaning:
        labels = ", ".join(map(repr, meaning))
        raise RowError(row, f"{name!r} must be one of {labels}; got {shown(value)}")
    return meaning[word]


def required(record: Record, name: str, row: int) -> Any:
    """A cell that must not be empty.

    Raises
    ------
    RowError
        If the column is not there or the cell is empty.
    """
    value = record.get(name)
    if is_missing(value):
        raise RowError(row, f"{name!r} must not be missing; the row has the columns {', '.join(record)}")
    return value


def listed(value: Any, name: str, row: int) -> list[Any]:
    """A list, which may be an array.

    Raises
    ------
    RowError
        If `value` is no list.
    """
    if hasattr(value, "tolist") and not isinstance(value, str):
        value = value.tolist()
    if isinstance(value, tuple):
        value = list(value)
    if not isinstance(value, list):
        raise RowError(row, f"{name!r} must be a list; got {shown(value)}")
    return value


def mapping(value: Any, name: str, row: int) -> Record:
    """A dictionary.

    Raises
    ------
    RowError
        If `value` is none.
    """
    if not isinstance(value, dict):
        raise RowError(row, f"{name!r} must be a dictionary; got {shown(value)}")
    return value


def shown(value: Any, length: int = 60) -> str:
    """Type and beginning of a value, for messages."""
    text = repr(value.item() if hasattr(value, "item") and getattr(value, "size", 2) == 1 else value)
    cut = text if len(text) <= length else text[:length] + "..."
    return f"{type(value).__name__} {cut}"


def _is_numpy_bool(value: Any) -> bool:
    return type(value).__name__ in ("bool_", "bool") and hasattr(value, "dtype")
