"""What a layout is: how one kind of record says which of two responses is preferred.

A layout is one function, which turns numbered records into `Pair` s, and one predicate, which says whether a
sample of records is in this layout. To add one, write the function with :func:`layout` in front, put it into
`LAYOUTS` at its place, and add an example of its records to ``tests/layout_examples.py``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from lambdamart_kit.files.records import Record
from lambdamart_kit.preferences.reading.values import RowError, is_missing

Numbered: TypeAlias = tuple[int, Record]

# Column that says which ratings a margin is the gap of. Margins that a file states have none.
MARGIN_FROM = "margin_from"

_SAMPLE = 100  # records that are looked at: types vary between rows, and nulls often come first


class Pair(NamedTuple):
    """One preference as text.

    Attributes
    ----------
    prompt : str
        Empty where none is known: such a pair shares its prompt with no other.
    chosen, rejected : str
    rows : (int, int)
        Rows of the source that the two responses stand in.
    extra : dict
        All other columns.
    target : float
        Probability that `chosen` is the better one.
    chosen_shown_first : bool or None
        Whether the judge saw `chosen` first (on the left, as A); None if that is not known.
    """

    prompt: str
    chosen: str
    rejected: str
    rows: tuple[int, int]
    extra: Record
    target: float = 1.0
    chosen_shown_first: bool | None = None


@dataclass(frozen=True)
class Sample:
    """The first records of a source.

    Attributes
    ----------
    records : list of dict
    columns : set of str
        Columns in which at least one of the records has a value.
    seen : list of str
        All columns, in the order in which they come.
    """

    records: list[Record]
    columns: set[str]
    seen: list[str]

    def has(self, *names: str) -> bool:
        """Whether all these columns have values."""
        return all(name in self.columns for name in names)

    def first(self, name: str) -> Any:
        """First value of a column that is not missing, or None."""
        return next((r[name] for r in self.records if name in r and not is_missing(r[name])), None)

    def values(self, name: str) -> list[Any]:
        """Values of a column that are not missing."""
        return [r[name] for r in self.records if name in r and not is_missing(r[name])]


class Skipped:
    """What was left out because it states no preference, counted by the kind of it."""

    def __init__(self) -> None:
        self._first: dict[str, int] = {}
        self._count: dict[str, int] = {}

    def add(self, row: int, what: str) -> None:
        """Leave something of a row out; `what` names its kind, in the plural."""
        self._first.setdefault(what, row)
        self._count[what] = self._count.get(what, 0) + 1

    def messages(self) -> list[str]:
        """One sentence a kind."""
        return [
            f"left out {what}: {count} of them, the first in row {self._first[what]}"
            for what, count in self._count.items()
        ]


Reader: TypeAlias = Callable[[Iterable[Numbered], Skipped], Iterator[Pair]]


@dataclass(frozen=True)
class Layout:
    """One layout of preference records.

    Attributes
    ----------
    name : str
    fits : callable
        Whether a sample is in this layout.
    read : callable
        Numbered records, and where to note rows that are left out, to pairs.
    title : str
        One line that says which data sets come in this layout.
    pair_per_row : bool
        Whether every row is one pair.
    subset_from_folder : bool
        Whether the folder of the file is the subset.
    """

    name: str
    fits: Callable[[Sample], bool]
    read: Reader = field(repr=False)
    title: str = ""
    pair_per_row: bool = False
    subset_from_folder: bool = False


def layout(
    fits: Callable[[Sample], bool] | Iterable[str], *, subset_from_folder: bool = False
) -> Callable[[Callable[[int, Record], Pair | None]], Layout]:
    """Make a layout of a function from one record to one pair (None leaves the row out).

    Parameters
    ----------
    fits : callable or names
        Whether a sample is in this layout; names of columns that must all have values.
    subset_from_folder : bool
    """

    def decorate(function: Callable[[int, Record], Pair | None]) -> Layout:
        def read(records: Iterable[Numbered], skipped: Skipped) -> Iterator[Pair]:
            for row, record in records:
                pair = function(row, record)
                if pair is None:
                    skipped.add(row, "rows that state no preference")
                else:
                    yield pair

        return _made(function, fits, read, pair_per_row=True, subset_from_folder=subset_from_folder)

    return decorate


def layout_of_many(fits: Callable[[Sample], bool] | Iterable[str]) -> Callable[[Reader], Layout]:
    """Make a layout of a function that reads all records: several pairs a row, or pairs of several rows."""

    def decorate(function: Reader) -> Layout:
        return _made(function, fits, function, pair_per_row=False, subset_from_folder=False)

    return decorate


def _made(
    function: Callable[..., Any],
    fits: Callable[[Sample], bool] | Iterable[str],
    read: Reader,
    *,
    pair_per_row: bool,
    subset_from_folder: bool,
) -> Layout:
    names = [] if callable(fits) else list(fits)
    predicate = fits if callable(fits) else (lambda sample: sample.has(*names))
    title = (function.__doc__ or "").strip().partition("\n")[0]
    return Layout(function.__name__, predicate, read, title, pair_per_row, subset_from_folder)


def take_sample(records: Iterable[Record]) -> tuple[Sample, Iterator[Record]]:
    """The first records, and all records, the first ones included."""
    iterator = iter(records)
    first = list(itertools.islice(iterator, _SAMPLE))
    seen = list(dict.fromkeys(name for record in first for name in record))
    filled = {name for record in first for name, value in record.items() if not is_missing(value)}
    return Sample(first, filled, seen), itertools.chain(first, iterator)


def renamed(records: Iterable[Record], columns: Mapping[str, str]) -> Iterator[Record]:
    """Records with the columns that `columns` names (role to column) under the names of their roles.

    A column of the file that has the name of a role without being it is kept as ``file_<name>``.
    """
    roles = {column: role for role, column in columns.items()}
    for record in records:
        named = {role: record[column] for column, role in roles.items() if column in record}
        for name, value in record.items():
            if name not in roles:
                named[f"file_{name}" if name in columns else name] = value
        yield named


def rest(record: Record, *used: str, subset: str | None = None) -> Record:
    """The columns that say nothing about the texts or the preference; `subset` names one to copy there."""
    kept = {name: value for name, value in record.items() if name not in used}
    if subset is not None and "subset" not in kept and not is_missing(record.get(subset)):
        kept["subset"] = record[subset]
    return kept


def with_margin(extra: Record, gap: float, of: str) -> Record:
    """`extra` with the gap of two ratings as the margin; a margin that the file states stays as it is.

    Parameters
    ----------
    extra : dict
    gap : float
        Rating of the chosen response less that of the rejected one.
    of : str
        Where the gap is from; it becomes the column ``margin_from``, which tells such margins from stated
        ones.
    """
    if "margin" in extra:
        return extra
    return {**extra, "margin": gap, MARGIN_FROM: of}


def preference(
    prompt: str,
    texts: tuple[str, str],
    first_wins: float,
    row: int,
    extra: Record,
    *,
    models: tuple[Any, Any] | None = None,
    shown_in_order: bool = True,
) -> Pair:
    """The pair of two responses of which the first wins with probability `first_wins`.

    Parameters
    ----------
    prompt : str
    texts : (str, str)
        The responses in the order of the record.
    first_wins : float
        1, 0, 1/2 for a tie, or between.
    row : int
    extra : dict
    models : (str, str), optional
        Who wrote the responses; they become ``chosen_model`` and ``rejected_model``.
    shown_in_order : bool
        Whether the judge saw the first response first.
    """
    better = 0 if first_wins >= 0.5 else 1
    if models is not None and not all(is_missing(model) for model in models):
        extra = {**extra, "chosen_model": models[better], "rejected_model": models[1 - better]}
    return Pair(
        prompt,
        texts[better],
        texts[1 - better],
        (row, row),
        extra,
        max(first_wins, 1.0 - first_wins),
        (better == 0) if shown_in_order else None,
    )


def both_texts(record: Record, names: tuple[str, str], row: int) -> tuple[str, str]:
    """Two columns that hold text; an empty text is a response, a missing one is an error."""
    texts = []
    for name in names:
        value = record.get(name)
        if not isinstance(value, str):
            raise RowError(row, f"{name!r} must be text; got {type(value).__name__} {value!r:.60}")
        texts.append(value)
    return texts[0], texts[1]
