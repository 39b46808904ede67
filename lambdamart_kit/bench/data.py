"""Where a benchmark's folds come from: the built-in sample, a file, or a folder of folds.

A fold is named by files and numbers only, and loaded in the process that fits: through the cache of
:func:`~lambdamart_kit.files.read_rows` that is a memory map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lambdamart_kit import datasets
from lambdamart_kit.bench.fitting import FoldData, TrainTestFold
from lambdamart_kit.datasets import RankingDataset, load_sample
from lambdamart_kit.datasets.folds import LETOR_SUFFIXES, concatenate, fold_files
from lambdamart_kit.files import FORMATS, Columns, read_rows
from lambdamart_kit.files.paths import COMPRESSED
from lambdamart_kit.model_selection import QueryKFold, QueryShuffleSplit
from lambdamart_kit.runtime.disk_cache import content_digest

_VALID_SHARE = 0.2
_SAMPLE_FOLDS, _FILE_FOLDS = 3, 5
_READ: dict[str, Any] = {"cache": True, "docid": "none"}
# Of every format of rows but LETOR, whose folds `load_folds` finds.
_TABLE_SUFFIXES = tuple(
    suffix + compressed
    for name, known in FORMATS.items()
    if name != "letor"
    for suffix in known.suffixes
    for compressed in ("", *COMPRESSED)
)
_HOW = ("clip", "zero_based", "unordered", "missing")  # options of `load_folds` that change what is read


@dataclass(frozen=True)
class FolderFold:
    """A fold of :func:`~lambdamart_kit.datasets.load_folds`, whose absent features are `missing`."""

    fold: datasets.Fold
    missing: float = 0.0

    @property
    def name(self) -> str:
        """The folder's name, or the one LETOR gives to a rotation of parts."""
        return self.fold.name

    def fingerprint(self) -> str:
        """Content of all its files, and how they are read."""
        files = [path for role in ("train", "vali", "test") for path in self.fold.files[role]]
        said = {name: self.fold.options[name] for name in _HOW if self.fold.options.get(name)}
        return " ".join([*map(content_digest, files), *([repr(said)] if said else [])])

    def load(self) -> FoldData:
        """The three parts, all with the features that the widest has."""
        parts = self.fold.train, self.fold.vali, self.fold.test
        width = max(part.X.shape[1] for part in parts)
        return FoldData(*(_widen(part, width, self.missing) for part in parts))


@dataclass(frozen=True)
class TableFold:
    """A fold whose parts are tables: CSV, Parquet, Arrow, JSON lines, or arrays.

    Attributes
    ----------
    name : str
        The folder's name, or the one LETOR gives to a rotation of parts.
    files : dict
        ``train``, ``vali``, ``test``: the files of each.
    columns : Columns
        Which columns are what. The features are those of the training files, found by name in the others.
    """

    name: str
    files: dict[str, tuple[Path, ...]]
    columns: Columns

    def fingerprint(self) -> str:
        """Content of all its files, and how they are read."""
        content = [content_digest(path) for paths in self.files.values() for path in paths]
        return " ".join(content) + _as_read(self.columns)

    def load(self) -> FoldData:
        """The three parts, with the features of the training files."""
        train = self._read("train", self.columns)
        columns = self.columns
        if train.feature_names is not None:
            columns = replace(columns, features=train.feature_names)
        return FoldData(train, self._read("vali", columns), self._read("test", columns))

    def _read(self, role: str, columns: Columns) -> RankingDataset:
        parts = [read_rows(path, columns, names=False, cache=True) for path in self.files[role]]
        return concatenate(parts)


@dataclass(frozen=True)
class SplitFold:
    """One of several folds of whole queries that a single file, or the built-in sample, is cut into.

    Attributes
    ----------
    path : Path or None
        File of any format of `lambdamart_kit.files`; None is the sample.
    columns : Columns
        Which of its columns are what, if it is a table.
    number, n_folds : int
        Which of how many.
    seed : int
        Of the split.
    """

    path: Path | None
    columns: Columns
    number: int
    n_folds: int
    seed: int

    @property
    def name(self) -> str:
        """Such as ``split 1 of 5``."""
        return f"split {self.number + 1} of {self.n_folds}"

    def fingerprint(self) -> str:
        """Content of the file, how it is read, and how it is split."""
        content = "sample" if self.path is None else content_digest(self.path)
        return f"{content} {self.number}/{self.n_folds} {self.seed}{_as_read(self.columns)}"

    def load(self) -> FoldData:
        """The test part is this fold; validation queries are held out from the rest."""
        rows = (
            load_sample()
            if self.path is None
            else read_rows(self.path, self.columns, names=False, cache=True)
        )
        splitter = QueryKFold(self.n_folds, shuffle=True, random_state=self.seed)
        for number, (rest, test) in enumerate(splitter.split(rows.X, qid=rows.qid)):
            if number == self.number:
                return FoldData(*_hold_out(rows.subset(rest), self.seed), rows.subset(test))
        raise ValueError(f"there is no fold {self.number + 1} of {self.n_folds}")


def find_folds(
    data: str | Path | None = None,
    *,
    folds: str | None = None,
    seed: int = 0,
    columns: Columns | None = None,
) -> Sequence[TrainTestFold]:
    """Folds of what a user named; nothing is read yet.

    Parameters
    ----------
    data : str or Path, optional
        A folder laid out as :func:`~lambdamart_kit.datasets.load_folds` describes, of LETOR files or of
        tables (``train.csv``, ``vali.csv``, ``test.csv``), a data set of the catalogue that was fetched
        before, or a file of any format of `lambdamart_kit.files`, which is split by query; None is the
        built-in sample, split likewise.
    folds : str, optional
        For a folder which folds, ``"1,3"`` or ``"Fold1,Fold3"``; for a file how many, ``"5"``.
    seed : int
        Of splits.
    columns : Columns, optional
        Which columns of a table are what.

    Returns
    -------
    list of TrainTestFold
        In order.

    Raises
    ------
    FileNotFoundError, PermissionError
        If there is no such file or folder, or the data set was not fetched yet.
    ValueError
        If `folds` does not fit.
    """
    path = None if data is None else _located(data)
    if path is not None and path.is_dir():
        return _chosen(_folds_in(path, columns or Columns()), folds)
    count = _count(folds, _SAMPLE_FOLDS if path is None else _FILE_FOLDS)
    roles = Columns() if columns is None else columns
    return [SplitFold(path, roles, number, count, seed) for number in range(count)]


def _located(data: str | Path) -> Path:
    """The file or folder itself, or where the data set of that name was put."""
    if Path(data).exists():
        return Path(data)
    names = {entry.name.lower() for entry in datasets.catalogue()}
    if str(data).lower() in names:
        return datasets.fetch(str(data))
    raise FileNotFoundError(
        f"'data' must be a file, a folder or a name of 'lambdamart-kit datasets list'; got {data}"
    )


def _folds_in(folder: Path, columns: Columns) -> Sequence[FolderFold | TableFold]:
    """Folds of a folder, of LETOR files or of tables."""
    tables = fold_files(folder, _TABLE_SUFFIXES)
    if not tables:
        return _letor_folds(folder, columns)
    for roles in tables.values():
        for path in (path for paths in roles.values() for path in paths):
            _refuse_two_of_one_part(path)
    return [TableFold(name, files, columns) for name, files in tables.items()]


def _refuse_two_of_one_part(path: Path) -> None:
    """Which of train.csv and train.parquet is meant is for the user to say."""
    stem = path.name.split(".")[0]
    others = [path.with_name(stem + suffix) for suffix in (*_TABLE_SUFFIXES, *LETOR_SUFFIXES)]
    for other in others:
        if other != path and other.is_file():
            raise ValueError(
                f"{path.parent} holds {path.name} and {other.name}; leave only one of them there"
            )


def _letor_folds(folder: Path, columns: Columns) -> list[FolderFold]:
    rules = columns.letor
    if rules.query_file is not None:
        raise ValueError("'query_file' gives the queries of one file; in a folder put NAME.query beside each")
    read = datasets.load_folds(
        folder,
        missing=rules.missing,
        clip=columns.clip,
        zero_based=rules.zero_based,
        unordered=rules.unordered,
        **_READ,
    )
    return [FolderFold(fold, rules.missing) for fold in read]


def _chosen(available: Sequence[FolderFold | TableFold], names: str | None) -> Sequence[TrainTestFold]:
    if names is None:
        return available
    by_name = {fold.name.lower(): fold for fold in available}
    wanted = [name.strip().lower() for name in names.split(",") if name.strip()]
    found = [by_name.get(name) or by_name.get(f"fold{name}") for name in wanted]
    chosen = [fold for fold in available if fold in found]
    if None in found or not chosen:
        known = ", ".join(fold.name for fold in available)
        raise ValueError(f"'folds' must name some of {known}, such as {available[0].name}; got {names!r}")
    return chosen


def _as_read(columns: Columns) -> str:
    """What a fingerprint says of `columns`: nothing of the default ones."""
    return "" if columns == Columns() else f" {columns}"


def _count(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not (text.strip().isdecimal() and int(text) >= 2):
        raise ValueError(f"'folds' must be the number of folds to split a file into, 2 or more; got {text!r}")
    return int(text)


def _hold_out(rows: RankingDataset, seed: int) -> tuple[RankingDataset, RankingDataset]:
    splitter = QueryShuffleSplit(1, test_size=_VALID_SHARE, random_state=seed)
    train, valid = next(splitter.split(rows.X, qid=rows.qid))
    return rows.subset(train), rows.subset(valid)


def _widen(part: RankingDataset, width: int, missing: float) -> RankingDataset:
    """Features that a file never mentions are absent in every row."""
    absent = width - part.X.shape[1]
    if absent == 0:
        return part
    return replace(part, X=np.pad(part.X, ((0, 0), (0, absent)), constant_values=missing))
