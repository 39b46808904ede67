"""What a person should know of data before a model learns from it: ids among features, rows seen before."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lambdamart_kit.core.rowhash import row_hashes
from lambdamart_kit.core.typing import Array, IndexArray
from lambdamart_kit.datasets.dataset import RankingDataset
from lambdamart_kit.runtime.atomic_file import check_writable

_SHOWN = 5
_TRUTHS = ("true", "false", "yes", "no", "t", "f", "y", "n")
# Digits with commas, spaces, a percent sign or a currency: a number as people write it.
_DRESSED_NUMBER = re.compile(r"[$€£¥+-]*\s*[0-9][0-9.,_' ]*\s*[%$€£¥]?")
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
NUMBER_REMEDY = "leave it out with 'ignore', or store categories as whole-number codes"
_COPIED = 0.9  # share of a query's rows that a training query has when the one is a copy of the other
_MOST_OWNERS = 20  # training queries that a query is compared with
_FEWEST_ROWS = 30  # among fewer, whole numbers that are all different mean nothing


def describe(data: RankingDataset) -> str:
    """Rows, queries and features in one line, with the names of the first features.

    Examples
    --------
    >>> X = np.zeros((3, 2), np.float32)
    >>> describe(RankingDataset(X, X[:, 0], np.array([1, 1, 2]), feature_names=("price", "age")))
    '3 rows, 2 queries, 2 features: price, age'
    """
    n_rows, n_features = data.X.shape
    line = f"{n_rows:,} rows, {data.queries.n_queries:,} queries, {n_features:,} features"
    return line + (f": {shown(data.feature_names)}" if data.feature_names is not None else "")


def doubtful_columns(data: RankingDataset) -> list[str]:
    """Sentences about features that can teach nothing: constant ones, and ids, which differ in every row.

    Examples
    --------
    >>> X = np.stack([np.arange(50), np.ones(50)], axis=1).astype(np.float32)
    >>> doubtful_columns(RankingDataset(X, X[:, 1], np.zeros(50), feature_names=("product", "one")))[0]
    "feature 'product' has another whole number in every row, as ids have; leave it out with --ignore"
    """
    if not isinstance(data.X, np.ndarray) or not len(data.X):
        return []
    named = data.feature_names is not None
    names = data.feature_names or tuple(f"{j + 1}" for j in range(data.X.shape[1]))
    constant = [names[j] for j in range(len(names)) if _is_constant(data.X[:, j])]
    # Features of LETOR files, which have numbers instead of names, were chosen by whoever made the file.
    ids = [names[j] for j in range(len(names)) if named and _looks_like_ids(data.X[:, j])]
    sentences = [
        f"feature {name!r} has another whole number in every row, as ids have; leave it out with --ignore"
        for name in ids
    ]
    if constant:
        subject = "1 feature has" if len(constant) == 1 else f"{len(constant)} features have"
        sentences.append(f"{subject} the same value in every row: {shown(constant)}")
    return sentences


def seen_before(train: RankingDataset, other: RankingDataset, part: str) -> list[str]:
    """Sentences about queries of `other` that the training rows contain too.

    A query counts as seen if it has the rows of a training query, or if nine tenths of its rows are rows of
    one training query and most of these are of no other. Where features have few values, rows are alike by
    chance, which proves nothing.

    Parameters
    ----------
    train, other : RankingDataset
    part : str
        What `other` is called in the sentences, such as "test".
    """
    n_repeated = _rows_seen(train, other)
    seen = n_repeated > 0
    sentences = []
    if seen.any():
        sentences.append(
            f"{n_repeated.sum():,} of {len(other):,} {part} rows (in {seen.sum():,} queries) are training "
            "rows, too: what is measured on them says little about queries the model never saw"
        )
    ids = other.queries.ids.astype(str)
    different = np.intersect1d(train.queries.ids.astype(str), ids[~seen]).tolist()
    if different:
        sentences.append(
            f"{len(different):,} query ids stand in the training and the {part} part with different rows, "
            f"such as {different[0]!r}: either the ids start anew in each part, or queries were cut in two"
        )
    return sentences


def check_output(path: str | os.PathLike[str], inputs: Sequence[Path], *, suffix: str, force: bool) -> None:
    """Raise before any work if `path` cannot be written, is an input, or is a file of another kind.

    Parameters
    ----------
    path : path
        What is going to be written.
    inputs : sequence of Path
        What is going to be read.
    suffix : str
        Ending of a file that may be replaced without asking; empty for any.
    force : bool
        Whether a file of any kind may be replaced.

    Raises
    ------
    ValueError
        If it is an input, or a file that does not end in `suffix`.
    OSError
        If it cannot be written there.
    """
    check_writable(path)
    target = Path(path)
    if not target.exists():
        return
    refuse_overwriting(path, inputs)
    if suffix and target.suffix != suffix and target.stat().st_size and not force:
        raise ValueError(f"{path}: is there, and does not end in {suffix}; name another file, or add --force")


def number_remedy(value: str, name: str, role: str | None) -> str:
    """What to do about the text `value` in a column of numbers, `role` being what the column is for.

    Examples
    --------
    >>> number_remedy("1,234.5", "price", None)
    "write plain numbers, such as 1234.5, or leave it out with 'ignore'"
    """
    if value == name:
        return "the line with the names of the columns stands in the file a second time; remove it"
    otherwise = "leave it out with 'ignore'" if role is None else f"name another column with {role!r}"
    if value.strip().lower() in _TRUTHS:
        return f"write 1 and 0, or {otherwise}"
    if _DRESSED_NUMBER.fullmatch(value):
        return f"write plain numbers, such as 1234.5, or {otherwise}"
    return NUMBER_REMEDY if role is None else otherwise


def check_header(start: bytes, separator: str, path: Path) -> None:
    """Raise if the first line shows that columns are separated by something else, or holds no names.

    Parameters
    ----------
    start : bytes
        Of the file.
    separator : str
        What separates columns in files of this name.
    path : Path

    Raises
    ------
    ValueError
        Naming the file and what to do.
    """
    line = start.removeprefix(b"\xef\xbb\xbf").decode(errors="replace").lstrip("\r\n")
    line = re.split("[\r\n]", line, maxsplit=1)[0]
    if line.startswith(("#", "sep=")):
        raise ValueError(
            f"{path}: the first line must hold the names of the columns; it is {line[:60]!r}; remove it"
        )
    others = [other for other in _SEPARATORS if other != separator and other in line]
    if others and separator not in line:
        raise ValueError(
            f"{path}: columns must be separated by {_SEPARATORS[separator]}; the first line has "
            f"{_SEPARATORS[others[0]]} ({line[:60]!r}); write the file anew with {_SEPARATORS[separator]}"
        )


def refuse_overwriting(target: str | os.PathLike[str], sources: Sequence[Path]) -> None:
    """Raise if `target` is one of the files that are read.

    Raises
    ------
    ValueError
        Naming the file.
    """
    place = Path(target)
    for source in sources:
        if place.exists() and place.samefile(source):
            raise ValueError(f"{target}: is read as input, so it cannot be the output; name another file")


def shown(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    first = ", ".join(map(str, names[:_SHOWN]))
    return first + (f", and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else "")


def _is_constant(column: Array) -> bool:
    return bool((column == column[0]).all() or np.isnan(column).all())


def _looks_like_ids(column: Array) -> bool:
    if len(column) < _FEWEST_ROWS or not np.isfinite(column).all() or not (column == np.floor(column)).all():
        return False
    return len(np.unique(column)) == len(column)


def _row_keys(data: RankingDataset, width: int) -> Array:
    """Hash of each row's features, as if it had `width` of them."""
    X = data.X
    missing = width - X.shape[1]
    if missing and isinstance(X, np.ndarray):
        X = np.pad(X, ((0, 0), (0, missing)))
    keys: Array = row_hashes(X)
    return keys


def _rows_seen(train: RankingDataset, other: RankingDataset) -> IndexArray:
    """For each query of `other`, how many of its rows are rows of the training query that it is a copy of.

    0 where it is not a copy of one.
    """
    width = max(train.X.shape[1], other.X.shape[1])
    theirs = train.queries.sort(_row_keys(train, width))
    keys, numbers = _keys_of_queries(theirs, train.queries.query_of_ordered_row)
    distinct, start, count = np.unique(keys, return_index=True, return_counts=True)
    ours = other.queries.sort(_row_keys(other, width))
    place = np.minimum(np.searchsorted(distinct, ours), len(distinct) - 1)
    is_known = distinct[place] == ours
    n_seen = np.zeros(other.queries.n_queries, dtype=np.intp)
    for query in range(other.queries.n_queries):
        rows = slice(other.queries.ptr[query], other.queries.ptr[query + 1])
        known = place[rows][is_known[rows]]
        if len(known) < _COPIED * (rows.stop - rows.start):
            continue
        # The row that the fewest training queries have says which of them this can be a copy of.
        rarest = known[np.argmin(count[known])]
        owners = numbers[start[rarest] : start[rarest] + min(count[rarest], _MOST_OWNERS)]
        tells_owner = 2 * (count[known] == 1).sum() >= len(known)
        for owner in owners:
            of_owner = theirs[train.queries.ptr[owner] : train.queries.ptr[owner + 1]]
            n_copied = int(np.isin(ours[rows], of_owner).sum())
            is_part = tells_owner and n_copied >= _COPIED * (rows.stop - rows.start)
            if is_part or np.array_equal(np.sort(ours[rows]), np.sort(of_owner)):
                n_seen[query] = n_copied
                break
    return n_seen


def _keys_of_queries(keys: Array, numbers: IndexArray) -> tuple[Array, IndexArray]:
    """Each pair of a row's hash and its query's number once, in the order of the hashes."""
    order = np.lexsort((numbers, keys))
    keys = keys[order]
    numbers = numbers[order]
    is_first = np.ones(len(keys), dtype=bool)
    is_first[1:] = (keys[1:] != keys[:-1]) | (numbers[1:] != numbers[:-1])
    return keys[is_first], numbers[is_first]
