"""Files of any format as a `RankingDataset` in memory, and back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from lambdamart_kit.core.alike_ids import warn_of_alike_ids
from lambdamart_kit.core.typing import Array
from lambdamart_kit.datasets.dataset import RankingDataset
from lambdamart_kit.datasets.letor.cache import Cache
from lambdamart_kit.datasets.letor.files import read_letor
from lambdamart_kit.files.checks import refuse_overwriting
from lambdamart_kit.files.chunk import LARGEST, Columns, joined, refuse_weight, stack
from lambdamart_kit.files.formats import FORMATS, kind_of
from lambdamart_kit.files.row_files import Files, RowFiles, find_files


def read_rows(
    files: Files,
    columns: Columns | None = None,
    *,
    n_features: int | None = None,
    names: bool = True,
    cache: bool | str | Path = False,
    n_jobs: int | None = None,
) -> RankingDataset:
    r"""Read all rows of files of any format in `FORMATS`.

    Parameters
    ----------
    files : path, glob, folder, or list of them
        All of one format.
    columns : Columns, optional
        Which columns of tables are what, and how values and LETOR lines are read.
    n_features : int, optional
        Columns of LETOR files; None for those of the widest row. Tables have the columns they have.
    names : bool
        Whether to keep the names of documents, which take more time and memory than the rest of a LETOR file.
    cache : bool, str or Path
        For a single file; see :func:`~lambdamart_kit.datasets.read_letor`.
    n_jobs : int, optional
        Threads.

    Returns
    -------
    RankingDataset
        The rows in the order of the files.

    Raises
    ------
    ValueError
        If a file, a column or a value is not usable; the message names it.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "rows.csv"
    >>> _ = path.write_text("qid,label,price\na,1,2.5\na,0,3\n")
    >>> read_rows(path)
    RankingDataset(2 rows, 1 queries, 1 features)
    """
    paths = find_files(files)
    roles = columns or Columns()
    if len(paths) == 1 and kind_of(paths[0]) == "letor":
        docid: Literal["none", "id"] = "id" if names and roles.docid is not None else "none"
        return _read_letor(paths[0], roles, docid=docid, n_features=n_features, cache=cache, n_jobs=n_jobs)
    if len(paths) == 1 and cache is not False:
        stored = Cache(paths[0], None, roles, None if cache is True else Path(cache))
        data = stored.load_or_read(lambda: _read_chunks(paths, roles, n_features, n_jobs))
    else:
        data = _read_chunks(paths, roles, n_features, n_jobs)
    check_fits(data.X, data.feature_names, paths[0])
    return replace(data, docid=data.docid if names else None)


def _read_letor(
    path: Path,
    columns: Columns,
    *,
    docid: Literal["none", "id", "comment"],
    n_features: int | None = None,
    cache: bool | str | Path = False,
    n_jobs: int | None = None,
) -> RankingDataset:
    """One LETOR file, read as `columns` says; several go through `LetorReader`."""
    refuse_weight(columns.sample_weight)
    rules = columns.letor
    return read_letor(
        path,
        query_file=rules.query_file,
        docid=docid,
        missing=rules.missing,
        n_features=n_features,
        clip=columns.clip,
        zero_based=rules.zero_based,
        unordered=rules.unordered,
        cache=cache,
        n_jobs=n_jobs,
    )


def check_fits(X: Array, names: tuple[str, ...] | None, where: Path) -> None:
    """Raise unless every feature is missing or fits float32, in which rankers compare.

    Raises
    ------
    ValueError
        Naming the feature.
    """
    # Of a whole column at once: the largest and the smallest say it, and cost no array of X's size.
    with np.errstate(invalid="ignore"):
        reach = np.maximum(np.fmax.reduce(X, axis=0), -np.fmin.reduce(X, axis=0))
    beyond = np.flatnonzero(reach > LARGEST)
    if len(beyond):
        name = names[beyond[0]] if names is not None else str(beyond[0] + 1)
        raise ValueError(
            f"{where}: feature {name!r} holds an infinite value or one beyond float32; set 'clip' to the "
            "largest value that is meant, such as 1e6"
        )


def _read_chunks(
    paths: list[Path], columns: Columns, n_features: int | None, n_jobs: int | None
) -> RankingDataset:
    opened = RowFiles(paths, columns, n_jobs=n_jobs)
    chunks = list(opened.chunks(n_features))
    opened.check_unchanged()
    if not chunks:
        raise ValueError(f"'files' must hold at least one row; {paths[0]} holds none")
    widest = max(chunk.X.shape[1] for chunk in chunks)
    width = widest if n_features is None or opened.feature_names is not None else n_features
    X = stack([chunk.X for chunk in chunks], width)
    y = joined([chunk.y for chunk in chunks])
    qid = joined([chunk.qid for chunk in chunks])
    docid = joined([chunk.docid for chunk in chunks])
    weight = joined([chunk.sample_weight for chunk in chunks])
    labels = np.full(len(X), np.nan) if y is None else y
    ids = np.zeros(len(X), dtype=np.int64) if qid is None else qid
    of_documents = None if docid is None else docid.astype(str)
    texts = ids.astype(str) if ids.dtype == object else ids
    warn_of_alike_ids(texts, paths[0])
    return RankingDataset(X, labels.astype(np.float32), texts, of_documents, opened.feature_names, weight)


def write_rows(data: RankingDataset, path: str | Path) -> None:
    r"""Write `data` in the format that the suffix of `path` names; see `FORMATS`.

    Parameters
    ----------
    data : RankingDataset
        The rows.
    path : str or Path
        File to write; ``.txt`` is LETOR, ``.csv`` and ``.parquet`` are tables.

    Examples
    --------
    >>> import tempfile
    >>> data = RankingDataset(np.array([[2.5]], np.float32), np.array([1], np.float32), np.array([7]))
    >>> path = Path(tempfile.mkdtemp()) / "rows.txt"
    >>> write_rows(data, path)
    >>> path.read_text()
    '1 qid:7 1:2.5\n'
    """
    target = Path(path)
    FORMATS[kind_of(target)].write(data, target)


def convert(
    source: Files, target: str | Path, columns: Columns | None = None, *, n_jobs: int | None = None
) -> RankingDataset:
    r"""Read `source`, write `target`; the suffixes say the formats. Comments of LETOR lines are kept whole.

    Parameters
    ----------
    source : path, glob, folder, or list of them
        Files to read, all of one format.
    target : str or Path
        File to write.
    columns : Columns, optional
        Which columns of tables are what, and how values and LETOR lines are read.
    n_jobs : int, optional
        Threads; None for all.

    Returns
    -------
    RankingDataset
        What was converted.

    Raises
    ------
    ValueError, OSError
        If `source` cannot be read, or `target` cannot be written or is one of the sources.
    ImportError
        If a format needs a package that is not installed.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "rows.txt").write_text("1 qid:7 1:2.5\n")
    >>> convert(folder / "rows.txt", folder / "rows.csv")
    RankingDataset(1 rows, 1 queries, 1 features)
    """
    paths = find_files(source)
    refuse_overwriting(target, paths)
    if len(paths) == 1 and kind_of(paths[0]) == "letor":
        data = _read_letor(paths[0], columns or Columns(), docid="comment", n_jobs=n_jobs)
    else:
        data = read_rows(paths, columns, n_jobs=n_jobs)
    write_rows(data, target)
    return data
