"""Scores of rows from a file: as `predict`, RankLib, LightGBM and CatBoost write them, and TREC runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lambdamart_kit.core.typing import Array, FloatArray
from lambdamart_kit.datasets.dataset import RankingDataset
from lambdamart_kit.files.chunk import Columns
from lambdamart_kit.files.formats import FORMATS, kind_of
from lambdamart_kit.files.row_files import RowFiles
from lambdamart_kit.trec import is_run, read_run

_CATBOOST = "RawFormulaVal"  # column of what `catboost calc` writes


def read_scores(path: str | Path, rows: RankingDataset | None = None) -> FloatArray:
    r"""Scores of rows, in their order.

    Parameters
    ----------
    path : str or Path
        One number a line; a table with a column ``score`` (or CatBoost's ``RawFormulaVal``); RankLib's score
        file, with lines ``qid <tab> number in the query <tab> score``; or a TREC run, whose lines are found
        by the names of the documents and may come in any order.
    rows : RankingDataset, optional
        What was scored. Query ids in the file must be those of these rows; a run needs them.

    Raises
    ------
    ValueError
        Naming the file, and the line that is not a finite number or is of another row.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "x.scores"
    >>> _ = path.write_text("0.5\n-1\n")
    >>> read_scores(path).tolist()
    [0.5, -1.0]
    """
    place = Path(path)
    if is_run(place):
        return _of_run(place, rows)
    if FORMATS[kind_of(place)].named:
        return _score_column(place, rows)
    lines = _lines(place)
    if lines and len(lines[0].split("\t")) == 3:
        return _of_ranklib(place, lines, rows)
    scores = np.array([_number(place, n, line) for n, line in enumerate(lines, start=1)], dtype=np.float64)
    return _finite(scores, place, "line")


def _lines(path: Path) -> list[str]:
    """Lines of the file but for blank ones at its end."""
    with path.open(encoding="utf-8", errors="replace") as file:
        lines = [line.rstrip("\n") for line in file]
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def _number(path: Path, number: int, text: str) -> float:
    try:
        return float(text if "_" not in text else "")  # Python takes "1_0" for 10
    except ValueError:
        raise ValueError(f"{path}, line {number}: not a number: {text.strip()[:60]!r}") from None


def _finite(scores: FloatArray, path: Path, unit: str) -> FloatArray:
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise ValueError(f"{path}, {unit} {bad[0] + 1}: not a finite number: {scores[bad[0]]}")
    return scores


def _of_ranklib(path: Path, lines: list[str], rows: RankingDataset | None) -> FloatArray:
    """RankLib writes the rows in their order, each with its query and its number in the query."""
    fields = [line.split("\t") for line in lines]
    short = [n for n, held in enumerate(fields, start=1) if len(held) != 3]
    if short:
        raise ValueError(f"{path}, line {short[0]}: must have three fields, as RankLib writes them")
    scores = [_number(path, n, held[2]) for n, held in enumerate(fields, start=1)]
    _check_queries(np.array([held[0] for held in fields]), rows, path, "line")
    return _finite(np.array(scores, dtype=np.float64), path, "line")


def _score_column(path: Path, rows: RankingDataset | None) -> FloatArray:
    names = RowFiles(path, Columns(y=None, qid=None, docid=None, required=False)).feature_names or ()
    column = _CATBOOST if "score" not in names and _CATBOOST in names else "score"
    chunks = list(RowFiles(path, Columns(y=column, features=(), required=False)).chunks())
    if any(chunk.y is None for chunk in chunks):
        raise ValueError(f"{path}: must have a column 'score', as `lambdamart-kit predict` writes it")
    scores = np.concatenate([chunk.y for chunk in chunks if chunk.y is not None] or [np.empty(0)])
    ids = [chunk.qid for chunk in chunks if chunk.qid is not None]
    if ids:
        _check_queries(np.concatenate(ids), rows, path, "row")
    return _finite(scores, path, "row")


def _check_queries(ids: Array, rows: RankingDataset | None, path: Path, unit: str) -> None:
    if rows is None or len(ids) != len(rows):
        return
    other = np.flatnonzero(ids.astype(str) != np.asarray(rows.qid).astype(str))
    if len(other):
        raise ValueError(
            f"{path}, {unit} {other[0] + 1}: is of another query than the same row of the data; scores must "
            "be in the order of the data"
        )


def _of_run(path: Path, rows: RankingDataset | None) -> FloatArray:
    import pandas as pd

    run = read_run(path)
    if rows is None or rows.docid is None:
        raise ValueError(
            f"{path}: is a TREC run, whose documents are found by their names, and the data has no names; "
            "name their column with 'docid'"
        )
    known = pd.DataFrame({"qid": run.qid, "docid": run.docid, "score": run.scores})
    wanted = pd.DataFrame({"qid": np.asarray(rows.qid).astype(str), "docid": rows.docid.astype(str)})
    scores: FloatArray = wanted.merge(known, on=["qid", "docid"], how="left")["score"].to_numpy(np.float64)
    absent = np.flatnonzero(np.isnan(scores))
    if len(absent):
        row = wanted.iloc[absent[0]]
        raise ValueError(
            f"{path}: has no line for {len(absent):,} of the {len(rows):,} rows, such as document "
            f"{row.docid!r} of query {row.qid!r}; judgments in TREC's format need no such line"
        )
    return scores
