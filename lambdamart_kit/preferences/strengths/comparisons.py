"""Comparisons between items, counted: the only form in which Bradley-Terry needs its data.

A million votes among 130 items are at most 130 * 129 / 2 pairs times three outcomes. Identical comparisons
are merged once, and everything after (Newton steps, sandwich, bootstrap) works on the merged records.
"""

from __future__ import annotations

import unicodedata
import warnings
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from lambdamart_kit.compile import kernel
from lambdamart_kit.core.rows import as_ids
from lambdamart_kit.core.typing import Array, FloatArray, Ids, IndexArray
from lambdamart_kit.preferences.reading.values import WINNERS
from lambdamart_kit.preferences.strengths.factorize import code_column, code_ids
from lambdamart_kit.runtime.threads import available_threads, run_tasks

_DENSE_KEYS = 1 << 22  # counting into this many slots beats sorting
_MOST_NAMES = 20_000  # items whose names are compared: a few hundredths of a second
_LARGEST_CODE = 1 << 62
_SERIAL_ROWS = 100_000  # rows below which waking threads costs more than it saves


@dataclass(frozen=True, eq=False)
class Comparisons:
    """Distinct comparisons and how often each was seen.

    Attributes
    ----------
    items : (n_items,) array
        Item ids, ascending.
    first, second : (m,) intp
        Indices of the two items; ``first < second`` (a comparison given the other way is mirrored).
    outcome : (m,) float64
        1 if `first` won, 0 if it lost, 0.5 a tie, between for soft outcomes.
    covariates : (m, q) float64
        First item's value less the second's; the mirror image has the opposite sign.
    count : (m,) float64
        Times this very comparison was seen.
    sample_weight : (m,) float64
        Weight of one such comparison.
    record : (n,) intp or None
        Record of each input row, where asked for.
    """

    items: Array
    first: IndexArray
    second: IndexArray
    outcome: FloatArray
    covariates: FloatArray
    count: FloatArray
    sample_weight: FloatArray
    record: IndexArray | None = None

    @property
    def n_items(self) -> int:
        """Number of items."""
        return len(self.items)

    @property
    def weight(self) -> FloatArray:
        """Total weight of each record, (m,)."""
        return self.count * self.sample_weight


def count_comparisons(
    pairs: Ids,
    outcomes: Any = None,
    *,
    sample_weight: Any = None,
    counts: Any = None,
    covariates: FloatArray | None = None,
    keep_rows: bool = False,
) -> Comparisons:
    """Merge identical comparisons.

    Parameters
    ----------
    pairs : (n, 2) array or DataFrame
        Ids of the two items compared, of any dtype.
    outcomes : (n,) array, optional
        For the first item: numbers in [0, 1], or winner labels. The first item won when left out.
    sample_weight, counts : (n,) arrays, optional
        Importance of a row; number of times the row was seen. One each when left out.
    covariates : (n, q) array, optional
        Advantage of the first item in each comparison.
    keep_rows : bool
        Also return the record of each row.

    Raises
    ------
    ValueError
        On empty input, an item compared with itself, a missing id, an unknown outcome or a bad weight.
    """
    items, first, second = encode_items(pairs)
    n_rows = len(first)
    outcome = encode_outcomes(outcomes, items, first, second)
    weight, seen = check_rows(sample_weight, n_rows, "sample_weight"), check_rows(counts, n_rows, "counts")

    code, known_pairs, outcome_values = _pair_and_outcome_codes(first, second, outcome, len(items))
    n_covariates = 0 if covariates is None else covariates.shape[1]
    # Adding zero turns -0.0 into 0.0, so that a mirrored zero is the same key.
    sign = np.where(first > second, -1.0, 1.0) if n_covariates else np.empty(0)
    columns = [] if covariates is None else [c * sign + 0.0 for c in covariates.T]
    if weight is not None:
        columns.append(weight)
    extra_code, extra = _joint_code(columns, n_rows)
    n_pairs = len(items) ** 2 if known_pairs is None else len(known_pairs)
    space = n_pairs * len(outcome_values)
    # Codes that would not fit an integer together are numbered densely first: at most one a row.
    known = None
    if space * len(extra) > _LARGEST_CODE:
        known, code = np.unique(code, return_inverse=True)
        space = len(known)
    if len(extra) > 1:
        code = code * len(extra) + extra_code
    distinct, count, record = _count(code, space * len(extra), seen, keep_rows=keep_rows)

    extra_rows = extra[distinct % len(extra)]
    distinct = distinct // len(extra)
    if known is not None:
        distinct = known[distinct]
    weights = extra_rows[:, -1] if weight is not None else np.ones(len(count))
    kept = (count > 0) & (weights > 0)
    if not kept.any():
        raise ValueError("'sample_weight' must leave at least one comparison with a weight above 0")
    pair = distinct[kept] // len(outcome_values)
    if known_pairs is not None:
        pair = known_pairs[pair]
    return Comparisons(
        items,
        pair // len(items),
        pair % len(items),
        outcome_values[distinct[kept] % len(outcome_values)],
        extra_rows[kept, :n_covariates],
        count[kept],
        weights[kept],
        None if record is None else np.where(kept, np.cumsum(kept) - 1, -1)[record],
    )


def _pair_and_outcome_codes(
    first: IndexArray, second: IndexArray, outcome: FloatArray, n_items: int
) -> tuple[IndexArray, IndexArray | None, FloatArray]:
    """Code of each row's pair and outcome, written with the smaller item first.

    Also the pairs that codes stand for (None: a pair's code is ``first * n_items + second`` itself), and the
    coded outcomes.
    """
    outcome_code, values = _code(outcome)
    # A mirrored comparison has outcome 1 - t: code outcomes in the values closed under that.
    closed = np.unique(np.concatenate([values, 1.0 - values]))
    as_is, turned = np.searchsorted(closed, values), np.searchsorted(closed, 1.0 - values)
    if n_items**2 * len(closed) > _LARGEST_CODE:
        known, pair = np.unique(
            np.minimum(first, second) * n_items + np.maximum(first, second), return_inverse=True
        )
        result = np.where(first > second, turned[outcome_code], as_is[outcome_code])
        return pair * len(closed) + result, known, closed
    code = np.empty(len(first), dtype=np.intp)
    threads = available_threads() if len(first) > _SERIAL_ROWS else 1
    bounds = np.linspace(0, len(first), threads + 1).astype(np.intp)
    run_tasks(
        _canonical, bounds, threads, first, second, outcome_code, n_items, len(closed), as_is, turned, code
    )
    return code, None, closed


@kernel
def _canonical(
    start: int,
    stop: int,
    first: IndexArray,
    second: IndexArray,
    outcome: IndexArray,
    n_items: int,
    n_outcomes: int,
    as_is: IndexArray,
    turned: IndexArray,
    code: IndexArray,
) -> None:
    """Code of pair and outcome of each row, written with the smaller item first."""
    for row in range(start, stop):
        a, b, result = first[row], second[row], outcome[row]
        pair = min(a, b) * n_items + max(a, b)
        code[row] = pair * n_outcomes + (turned[result] if a > b else as_is[result])


def encode_items(pairs: Ids) -> tuple[Array, IndexArray, IndexArray]:
    """Ascending item ids, and the indices of the first and second item of each row."""
    if isinstance(pairs, pd.DataFrame):
        if pairs.shape[1] != 2:
            raise ValueError(f"'pairs' must have two columns of item ids; got {list(pairs.columns)}")
        sides: list[Any] = [pairs.iloc[:, 0], pairs.iloc[:, 1]]
    else:
        table = as_ids(pairs)
        if table.shape != (0,) and (table.ndim != 2 or table.shape[1] != 2):
            raise ValueError(f"'pairs' must have shape (n, 2), two item ids a row; got {table.shape}")
        sides = [table[:, 0], table[:, 1]] if table.size else [table, table]
    n_rows = len(sides[0])
    if n_rows == 0:
        raise ValueError("'pairs' must hold at least one comparison; got none")
    items, codes, places, low = code_ids(sides)
    warn_of_look_alikes(items)
    first, second = np.empty(n_rows, dtype=np.intp), np.empty(n_rows, dtype=np.intp)
    threads = available_threads() if n_rows > _SERIAL_ROWS else 1
    bounds = np.linspace(0, n_rows, threads + 1).astype(np.intp)
    bad = np.full((threads, 2), n_rows, dtype=np.intp)
    run_tasks(_place, bounds, threads, *codes, *places, low, first, second, bounds, bad)
    missing, same = bad.min(axis=0)
    if missing < n_rows:
        raise ValueError(f"'pairs' must not hold missing ids; row {missing} has one")
    if same < n_rows:
        n_same = np.count_nonzero(first == second)
        raise ValueError(
            f"'pairs' must compare two different items; row {same} compares "
            f"{plain(items[first[same]])!r} with itself ({n_same} such rows); drop those rows"
        )
    return items, first, second


@kernel
def _place(
    start: int,
    stop: int,
    first_code: Array,
    second_code: Array,
    first_place: Array,
    second_place: Array,
    low: int,
    first: IndexArray,
    second: IndexArray,
    bounds: IndexArray,
    bad: IndexArray,
) -> None:
    """Items of each row; the first row with a missing id (-1), and the first of an item with itself."""
    missing, same = len(first), len(first)
    for row in range(start, stop):
        a, b = first_place[first_code[row] - low], second_place[second_code[row] - low]
        first[row], second[row] = a, b
        if a < 0 or b < 0:
            missing = min(missing, row)
        elif a == b:
            same = min(same, row)
    for part in range(len(bad)):
        if bounds[part] == start:
            bad[part, 0], bad[part, 1] = missing, same


def encode_outcomes(outcomes: Any, items: Array, first: IndexArray, second: IndexArray) -> FloatArray:
    """Outcome for the first item, float64 in [0, 1], from numbers, winner labels or the winner's id."""
    if outcomes is None:
        return np.ones(len(first))
    # Texts that pandas holds are coded by Arrow; as an array every row would be a text of its own.
    held_by_pandas = isinstance(outcomes, pd.Series) and isinstance(outcomes.dtype, pd.StringDtype)
    values = outcomes if held_by_pandas else np.asarray(outcomes)
    if values.shape != (len(first),):
        raise ValueError(
            f"'outcomes' must hold one value per row of 'pairs': expected shape ({len(first)},), "
            f"got {values.shape}"
        )
    if held_by_pandas:
        return _from_labels(*code_column(values), items, first, second)
    if values.dtype == object and all(isinstance(value, Real) for value in values):
        values = np.array(values.tolist())  # numbers are numbers, whatever holds them
    if values.dtype.kind in "biuf":
        outcome = values.astype(np.float64)
        if values.dtype.kind in "iu" and items.dtype.kind in "iu":
            outcome = _from_integer_ids(outcome, items, first, second)
        bad = np.flatnonzero(~((outcome >= 0) & (outcome <= 1)))
        if len(bad):
            raise ValueError(
                f"'outcomes' must lie in [0, 1] (1 the first item won, 0 it lost, .5 a tie); row {bad[0]} "
                f"has {values[bad[0]]} ({len(bad)} such rows)"
            )
        return outcome
    return _from_labels(*code_column(values), items, first, second)


def _from_integer_ids(values: FloatArray, items: Array, first: IndexArray, second: IndexArray) -> FloatArray:
    """Outcomes from the ids of the winners; the values as they are where they need not be ids.

    Values are ids if each is the id of one of the two items of its row and one of them is no outcome. Items
    called 0 and 1 leave both readings open: then the values are outcomes, and a warning says so.
    """
    first_won = values == items[first]
    if not np.all(first_won | (values == items[second])):
        return values
    if np.any(values > 1) or np.any(values < 0):
        return first_won.astype(np.float64)
    if np.any(first_won != (values == 1)):
        warnings.warn(
            "'outcomes' are 0 and 1, and so are the ids of the items: they are read as outcomes (1: the "
            "first item "
            "won), not as the winner's id; pass ids as text if they are meant",
            UserWarning,
            stacklevel=5,
        )
    return values


def _from_labels(
    code: Array, labels: Array, items: Array, first: IndexArray, second: IndexArray
) -> FloatArray:
    """Outcomes from the label of each row, ``labels[code]``; a code of -1 is a missing label.

    Ids of items win over words: an item may be called "a".
    """
    position = {item: index for index, item in enumerate(items.tolist())}
    word = np.array([WINNERS.get(str(label).strip().lower(), np.nan) for label in labels] + [np.nan])
    winner = np.array([position.get(label, -1) for label in labels.tolist()] + [-1])[code]
    # An item that is not one of the two is a mistake, even where its name is also a word for a side.
    unknown = np.where(winner >= 0, np.nan, word[code])
    outcome: FloatArray = np.where(winner == first, 1.0, np.where(winner == second, 0.0, unknown))
    bad = np.flatnonzero(np.isnan(outcome))
    if len(bad):
        row = bad[0]
        label = plain(labels[code[row]]) if code[row] >= 0 else None
        raise ValueError(
            f"'outcomes' must be the winner's id, one of {', '.join(map(repr, WINNERS))}, or a number in "
            f"[0, 1]; row {row} has {label!r} for {plain(items[first[row]])!r} against "
            f"{plain(items[second[row]])!r} "
            f"({len(bad)} such rows)"
        )
    return outcome


def warn_of_look_alikes(items: Array) -> None:
    """Warn of names that differ only in white space, or in how the same letters are encoded.

    ``"gpt-4"`` and ``"gpt-4 "`` count as two items, each with a part of the votes.
    """
    if items.dtype.kind not in "OU" or len(items) > _MOST_NAMES:
        return
    seen: dict[str, str] = {}
    alike = []
    for name in items.tolist():
        if isinstance(name, str):
            first = seen.setdefault(unicodedata.normalize("NFC", " ".join(name.split())), name)
            if first != name:
                alike.append((first, name))
    if alike:
        warnings.warn(
            f"items {alike[0][0]!a} and {alike[0][1]!a} differ only in white space or in how letters are "
            f"encoded, and count as two items ({len(alike)} such names); clean the names if they are one",
            UserWarning,
            stacklevel=5,
        )


def plain(value: Any) -> Any:
    """A NumPy scalar as the Python value it stands for, to be read in messages."""
    return value.item() if isinstance(value, np.generic) else value


def check_rows(values: Any, n_rows: int, name: str) -> FloatArray | None:
    """One finite number >= 0 per row as float64; None stays None."""
    if values is None:
        return None
    result = np.asarray(values, dtype=np.float64)
    if result.shape != (n_rows,):
        raise ValueError(f"{name!r} must hold one value per row: expected ({n_rows},), got {result.shape}")
    bad = np.flatnonzero(~(np.isfinite(result) & (result >= 0)))
    if len(bad):
        raise ValueError(f"{name!r} must be finite and >= 0; row {bad[0]} has {result[bad[0]]}")
    return result


def _count(
    code: IndexArray, space: int, seen: FloatArray | None, *, keep_rows: bool
) -> tuple[IndexArray, FloatArray, IndexArray | None]:
    """Distinct codes, rows (or the sum of `seen`) of each, and where asked for the position of each row's."""
    record = None
    if space <= _DENSE_KEYS:
        slots = np.bincount(code, minlength=space)
        distinct = np.flatnonzero(slots)
        if keep_rows:
            record = (np.cumsum(slots > 0) - 1)[code]
        count = slots[distinct] if seen is None else np.bincount(code, seen, minlength=space)[distinct]
    elif seen is None and not keep_rows:
        distinct, count = np.unique(code, return_counts=True)
    else:
        distinct, record = np.unique(code, return_inverse=True)
        count = np.bincount(record, seen)
    return distinct, count.astype(np.float64), record if keep_rows else None


def _joint_code(columns: list[FloatArray], n_rows: int) -> tuple[IndexArray, FloatArray]:
    """Code of each row's combination of values, and the values of each combination, (n_codes, q)."""
    if not columns:
        return np.zeros(n_rows, dtype=np.intp), np.empty((1, 0))
    code, values = _code(columns[0])
    table = values[:, None]
    for column in columns[1:]:
        other_code, other = _code(column)
        distinct, code = np.unique(code * len(other) + other_code, return_inverse=True)
        table = np.column_stack([table[distinct // len(other)], other[distinct % len(other)]])
    return code, table


def _code(values: FloatArray) -> tuple[IndexArray, FloatArray]:
    """Order-preserving codes and the value of each; values on a grid of halves need no sort."""
    low, high = float(values.min()), float(values.max())
    if high - low <= 50:
        code = np.empty(len(values), dtype=np.intp)
        if _halves_above(values, low, code):
            return code, low + np.arange(int(2 * (high - low)) + 1) / 2
    unique, code = np.unique(values, return_inverse=True)
    return code.astype(np.intp), unique


@kernel
def _halves_above(values: FloatArray, low: float, code: IndexArray) -> bool:
    """Write ``2 (value - low)`` into `code`; False at the first that is not a whole number."""
    for row in range(len(values)):
        steps = 2.0 * (values[row] - low)
        code[row] = int(steps)
        if code[row] != steps:
            return False
    return True
