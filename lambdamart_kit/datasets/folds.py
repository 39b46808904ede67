"""Folds as LETOR ships them: ``Fold1 .. Fold5``, or the five parts ``S1 .. S5`` they are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from lambdamart_kit.datasets.dataset import RankingDataset
from lambdamart_kit.datasets.letor.files import read_letor

LETOR_SUFFIXES = (".txt", ".txt.gz", ".txt.zst", ".gz", ".zst", "")
_PARTS = 5
_ROLES = ("train", "vali", "test")
_ALIASES = {"vali": ("vali", "valid", "validation")}

FoldFiles: TypeAlias = dict[str, dict[str, tuple[Path, ...]]]


@dataclass(frozen=True)
class Fold:
    r"""One split; its three data sets are read when first asked for.

    Parameters
    ----------
    name : str
        ``Fold1`` ...
    files : dict
        ``train``, ``vali``, ``test``: the files of each.
    options : dict
        Passed to :func:`read_letor`.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "train.txt"
    >>> _ = path.write_text("1 qid:7 1:0.5\n0 qid:7 1:0.1\n")
    >>> Fold("Fold1", {"train": (path,)}).train
    RankingDataset(2 rows, 1 queries, 1 features)
    """

    name: str
    files: dict[str, tuple[Path, ...]]
    options: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def train(self) -> RankingDataset:
        """What to fit on."""
        return self._read("train")

    @cached_property
    def vali(self) -> RankingDataset:
        """What to choose settings and the number of trees on."""
        return self._read("vali")

    @cached_property
    def test(self) -> RankingDataset:
        """What to report."""
        return self._read("test")

    def _read(self, role: str) -> RankingDataset:
        parts = [read_letor(path, **self.options) for path in self.files[role]]
        return concatenate(parts, missing=self.options.get("missing", 0.0))


def load_folds(
    path: str | Path,
    *,
    docid: Literal["none", "id", "comment"] = "id",
    sparse: bool = False,
    missing: float = 0.0,
    n_features: int | None = None,
    clip: float | None = None,
    zero_based: bool = False,
    unordered: bool = False,
    cache: bool | str | Path = False,
    n_jobs: int | None = None,
) -> Iterator[Fold]:
    r"""Folds of a LETOR folder, in order.

    Two layouts are known, each file plain, ``.gz`` or ``.zst``:

    - ``Fold1/train.txt``, ``Fold1/vali.txt``, ``Fold1/test.txt``, ... (any number of folds; a folder that
      itself holds the three files is one fold);
    - ``S1.txt`` .. ``S5.txt``, of which fold i (counted from 0) trains on parts i, i+1, i+2, chooses on part
      i+3 and tests on part i+4, all modulo 5, as LETOR does.

    Where both are present the ``Fold`` folders are read.

    Parameters
    ----------
    path : str or Path
        The folder.
    docid : {"none", "id", "comment"}
        Read no names of documents, the id in the comment of a line, or the whole comment.
    sparse : bool
        Return features as a sparse matrix.
    missing : float
        Value of a feature that a line leaves out: 0 or NaN.
    n_features : int, optional
        Number of columns; None for those of the widest row.
    clip : float, optional
        Features beyond ``-clip`` and ``clip`` become these. Without, one that does not fit float32 is an
        error.
    zero_based : bool
        Feature indices count from 0.
    unordered : bool
        Feature indices stand in any order along a line.
    cache : bool, str or Path
        Keep what was read in a binary file that is read next time; True for a file in the user's cache
        folder.
    n_jobs : int, optional
        Threads; None for all.

    Returns
    -------
    iterator of Fold
        In the order of their numbers: ``fold.name``, and ``fold.train``, ``fold.vali``, ``fold.test``, each
        read on first use.

    Raises
    ------
    FileNotFoundError
        If the folder has neither layout, or a part of it is missing; before anything is read.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for part in range(1, 6):
    ...     _ = (folder / f"S{part}.txt").write_text(f"1 qid:{part} 1:0.5\n0 qid:{part} 1:0.1\n")
    >>> first, second, *_ = load_folds(folder)
    >>> second.name, second.train.qid[::2].tolist(), second.vali.qid.tolist(), second.test.qid.tolist()
    ('Fold2', [2, 3, 4], [5, 5], [1, 1])
    """
    folder = Path(path)
    if not folder.is_dir():
        raise FileNotFoundError(f"'path' must be a folder with Fold1, ... or S1.txt .. S5.txt; got {folder}")
    files = fold_files(folder, LETOR_SUFFIXES)
    if not files:
        raise FileNotFoundError(
            f"no folds in {folder}: expected Fold1/train.txt, Fold1/vali.txt, Fold1/test.txt, ... or "
            "S1.txt .. S5.txt (each may end in .gz or .zst)"
        )
    options: dict[str, Any] = {"docid": docid, "sparse": sparse, "missing": missing, "n_features": n_features}
    options |= {"clip": clip, "zero_based": zero_based, "unordered": unordered}
    options |= {"cache": cache, "n_jobs": n_jobs}
    return (Fold(name, of_fold, options) for name, of_fold in files.items())


def fold_files(folder: Path, suffixes: Sequence[str]) -> FoldFiles:
    """Files of each fold that a folder holds in one of the layouts of `load_folds`.

    Parameters
    ----------
    folder : Path
    suffixes : sequence of str
        What may follow ``train``, ``vali``, ``test`` or ``S1`` in the name of a file; where two files differ
        in it only, the first suffix counts.

    Returns
    -------
    dict of str to dict of str to tuple of Path
        Name of the fold, then ``train``, ``vali`` and ``test``; empty if no layout is there.

    Raises
    ------
    FileNotFoundError
        If part of a layout is there and the rest is missing.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for role in ("train", "vali", "test"):
    ...     (folder / f"{role}.csv").touch()
    >>> found = fold_files(folder, [".csv"])
    >>> [file.name for files in found[folder.name].values() for file in files]
    ['train.csv', 'vali.csv', 'test.csv']
    """
    return _fold_folders(folder, suffixes) or _rotated_parts(folder, suffixes)


def _fold_folders(folder: Path, suffixes: Sequence[str]) -> FoldFiles:
    numbered = {int(p.name[4:]): p for p in folder.glob("Fold*") if p.is_dir() and p.name[4:].isdigit()}
    folders = [numbered[number] for number in sorted(numbered)]
    if not folders:
        folders = [folder]
    found = {f.name: {role: _find(f, role, suffixes) for role in _ROLES} for f in folders}
    # Folders without any file of these suffixes may hold those of another format.
    if not any(roles["train"] for roles in found.values()):
        return {}
    there = next(roles["train"] for roles in found.values() if roles["train"])
    ending = there.name.removeprefix("train")
    absent = [f"{name}/{role}{ending}" for name, roles in found.items() for role in _ROLES if not roles[role]]
    if absent:
        raise FileNotFoundError(f"missing in {folder}: {', '.join(absent)}")
    return {name: {role: (p,) for role, p in roles.items() if p} for name, roles in found.items()}


def _rotated_parts(folder: Path, suffixes: Sequence[str]) -> FoldFiles:
    parts = [_find(folder, f"S{number + 1}", suffixes) for number in range(_PARTS)]
    if not any(parts):
        return {}
    found = [part for part in parts if part is not None]
    ending = found[0].name[2:]
    absent = [f"S{number + 1}{ending}" for number, part in enumerate(parts) if part is None]
    if absent:
        raise FileNotFoundError(f"missing in {folder}: {', '.join(absent)}")

    def turned(fold: int, *offsets: int) -> tuple[Path, ...]:
        return tuple(found[(fold + offset) % _PARTS] for offset in offsets)

    return {
        f"Fold{i + 1}": {"train": turned(i, 0, 1, 2), "vali": turned(i, 3), "test": turned(i, 4)}
        for i in range(_PARTS)
    }


def _find(folder: Path, stem: str, suffixes: Sequence[str]) -> Path | None:
    names = [name + suffix for name in _ALIASES.get(stem, (stem,)) for suffix in suffixes]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def concatenate(parts: list[RankingDataset], *, missing: float = 0.0) -> RankingDataset:
    """The rows of all `parts`, in order; a part with fewer features gets `missing` in the others.

    Raises
    ------
    ValueError
        If a query id stands in two parts: they would silently become one query.
    """
    if len(parts) == 1:
        return parts[0]
    ids = np.concatenate([part.queries.ids for part in parts])
    unique, times = np.unique(ids, return_counts=True)
    if len(unique) < len(ids):
        raise ValueError(f"query ids must not repeat across files; {unique[times > 1].tolist()[0]!r} does")
    width = max(part.X.shape[1] for part in parts)
    weighted = all(part.sample_weight is not None for part in parts)
    named = all(part.docid is not None for part in parts)
    return RankingDataset(
        _stacked([part.X for part in parts], width, missing),
        np.concatenate([part.y for part in parts]),
        np.concatenate([part.qid for part in parts]),
        np.concatenate([part.docid for part in parts if part.docid is not None]) if named else None,
        parts[0].feature_names,
        np.concatenate([w for part in parts if (w := part.sample_weight) is not None]) if weighted else None,
    )


def _stacked(blocks: list[Any], width: int, missing: float) -> Any:
    if not isinstance(blocks[0], np.ndarray):
        from scipy import sparse

        for block in blocks:
            block.resize(block.shape[0], width)
        return sparse.vstack(blocks, format="csr", dtype=np.float32)
    stacked = np.full((sum(map(len, blocks)), width), missing, np.float32)
    row = 0
    for block in blocks:
        stacked[row : row + len(block), : block.shape[1]] = block
        row += len(block)
    return stacked
