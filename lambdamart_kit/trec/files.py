"""Judgments and runs in TREC's formats.

A line of judgments (*qrels*) is ``qid 0 docid relevance``, a line of a run ``qid Q0 docid rank score tag``,
with spaces or tabs between the fields. trec_eval never looks at the rank: it sorts the documents of a query
by score, as float32, and equal scores by the document's name, descending. `write_run` writes that order.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

import numpy as np

from lambdamart_kit.core.typing import Array, ArrayLike, FloatArray, IndexArray
from lambdamart_kit.runtime.atomic_file import atomic_file

_SHOWN = 60
_NO_FLOAT32 = "does not fit float32, in which trec_eval keeps scores"


@dataclass(frozen=True, eq=False)
class Qrels:
    """Which documents were judged for which query, and how.

    Parameters
    ----------
    qid, docid : (n,) array of str
        Query and document of each judgment.
    relevance : (n,) int64
        Grade; a negative one says that the document was in the pool and nobody judged it.

    Raises
    ------
    ValueError
        If a document is judged twice for one query.

    Examples
    --------
    >>> qrels = Qrels(np.array(["q1", "q1"]), np.array(["a", "b"]), np.array([2, 0]))
    >>> dict(zip(qrels.docid.tolist(), qrels.relevance.tolist()))
    {'a': 2, 'b': 0}
    """

    qid: Array
    docid: Array
    relevance: IndexArray

    def __post_init__(self) -> None:
        _check_unique(self.qid, self.docid, "is judged twice")

    @classmethod
    def from_rows(cls, qid: Array, docid: Array, y: ArrayLike) -> Qrels:
        """The labels of rows of data as judgments.

        Parameters
        ----------
        qid : (n,) array
            Query of each row.
        docid : (n,) array
            Document of each row.
        y : (n,) array-like
            Grade of each row, a whole number.

        Returns
        -------
        Qrels
            One judgment a row, ids as text.

        Raises
        ------
        ValueError
            If a label is not a whole number.
        """
        labels = np.asarray(y, dtype=np.float64)
        whole = np.isfinite(labels) & (labels == np.floor(labels))
        if not whole.all():
            raise ValueError(
                f"'y' must hold whole numbers for trec_eval's measures; row {np.argmin(whole) + 1} has "
                f"{labels[np.argmin(whole)]}"
            )
        return cls(np.asarray(qid).astype(str), np.asarray(docid).astype(str), labels.astype(np.int64))


@dataclass(frozen=True, eq=False)
class RunFile:
    """Which documents a system found for which query, with their scores.

    Parameters
    ----------
    qid, docid : (n,) array of str
        Query and document of each line.
    scores : (n,) float64
        Higher is first.
    tag : str
        Name of the system.

    Raises
    ------
    ValueError
        If a document stands twice in the list of one query.

    Examples
    --------
    >>> run = RunFile(np.array(["q1", "q1"]), np.array(["a", "b"]), np.array([0.5, 2.0]), "mine")
    >>> run.docid[run.order()].tolist()
    ['b', 'a']
    """

    qid: Array
    docid: Array
    scores: FloatArray
    tag: str = "lambdamart-kit"

    def __post_init__(self) -> None:
        _check_unique(self.qid, self.docid, "stands twice in the list")

    def order(self) -> IndexArray:
        """Rows in trec_eval's order: queries by their id, scores as float32 descending, names descending.

        Returns
        -------
        (n,) array of integers
            Row numbers.
        """
        # Ranks of names among all names: what lexsort can sort downwards.
        names = np.unique(self.docid, return_inverse=True)[1].reshape(-1)
        single = self.scores.astype(np.float32)
        return np.lexsort((-names, -single, self.qid))


IR_DATASETS = "irds:"  # before the name of a data set of that package, as PyTerrier writes it


def read_qrels(path: str | Path) -> Qrels:
    r"""Read judgments: lines ``qid 0 docid relevance``, plain or ``.gz``; or ``irds:NAME``, see `load_qrels`.

    Parameters
    ----------
    path : str or Path
        File of judgments, or ``irds:NAME`` for those of the ir_datasets package.

    Returns
    -------
    Qrels
        One judgment a line.

    Raises
    ------
    ValueError
        Naming the file and the line.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "test.qrels"
    >>> _ = path.write_text("q1 0 a 2\nq1 0 b 0\n")
    >>> read_qrels(path).relevance.tolist()
    [2, 0]
    """
    if str(path).startswith(IR_DATASETS):
        return load_qrels(str(path).removeprefix(IR_DATASETS))
    rows = list(_fields(Path(path), 4, "qid 0 docid relevance"))
    relevance = [_whole_number(fields[3], path, number) for number, fields in rows]
    qid = np.array([fields[0] for _, fields in rows], dtype=str)
    docid = np.array([fields[2] for _, fields in rows], dtype=str)
    return _named(path, lambda: Qrels(qid, docid, np.array(relevance, dtype=np.int64)))


def read_run(path: str | Path) -> RunFile:
    """Read a run: lines ``qid Q0 docid rank score tag``, plain or ``.gz``.

    Parameters
    ----------
    path : str or Path
        File to read, plain or ``.gz``.

    Returns
    -------
    RunFile
        One row a line, in the order of the file.

    Raises
    ------
    ValueError
        Naming the file and the line.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "one.run"
    >>> _ = path.write_text("q1 Q0 a 1 2.5 mine")
    >>> run = read_run(path)
    >>> run.docid.tolist(), run.scores.tolist(), run.tag
    (['a'], [2.5], 'mine')
    """
    rows = list(_fields(Path(path), 6, "qid Q0 docid rank score tag"))
    scores = [_number(fields[4], path, number) for number, fields in rows]
    qid = np.array([fields[0] for _, fields in rows], dtype=str)
    docid = np.array([fields[2] for _, fields in rows], dtype=str)
    tag = rows[0][1][5] if rows else ""
    return _named(path, lambda: RunFile(qid, docid, np.array(scores, dtype=np.float64), tag))


def load_qrels(name: str) -> Qrels:
    """Judgments of a data set of the ir_datasets package, such as ``"msmarco-passage/dev/small"``.

    The package downloads them, under the terms that it prints.

    Parameters
    ----------
    name : str
        Identifier of the data set in that package.

    Returns
    -------
    Qrels
        All its judgments.

    Raises
    ------
    ImportError
        If the package is not installed.
    ValueError
        If it has no judgments of this name.

    Examples
    --------
    >>> load_qrels("vaswani").relevance.max()  # doctest: +SKIP
    1
    """
    try:
        import ir_datasets  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise ImportError(
            "judgments by name need the 'ir_datasets' package: pip install ir_datasets; or give a file of "
            "judgments"
        ) from None
    try:
        found = list(ir_datasets.load(name).qrels_iter())
    except (KeyError, AttributeError):  # no such data set, or one without judgments
        raise ValueError(
            f"the ir_datasets package has no judgments called {name!r}; see https://ir-datasets.com"
        ) from None
    return Qrels(
        np.array([judgment.query_id for judgment in found], dtype=str),
        np.array([judgment.doc_id for judgment in found], dtype=str),
        np.array([judgment.relevance for judgment in found], dtype=np.int64),
    )


def write_run(run: RunFile, path: str | Path) -> None:
    r"""Write a run whose lines, ranks and scores all have the order that trec_eval will see.

    Queries come in the order of their first row. Documents of equal score come by name, descending, as
    trec_eval sorts them. trec_eval keeps scores as float32: where different scores would become equal, the
    lower one is written one float32 step lower, so that the order stays.

    Parameters
    ----------
    run : RunFile
        Documents, scores and the name of the system.
    path : str or Path
        File to write.

    Raises
    ------
    ValueError
        If an id is empty or has a space in it, or a score does not fit float32.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "two.run"
    >>> ids = np.array(["a", "b", "c"])
    >>> write_run(RunFile(np.array(["q", "q", "q"]), ids, np.array([0.5, 0.5, 2.0]), "mine"), path)
    >>> print(path.read_text(), end="")
    q Q0 c 1 2.0 mine
    q Q0 b 2 0.5 mine
    q Q0 a 3 0.5 mine
    """
    for what, ids in (("query id", run.qid), ("document name", run.docid), ("tag", np.array([run.tag]))):
        _check_words(what, ids)
    names = np.unique(run.docid, return_inverse=True)[1].reshape(-1)
    _, first, query = np.unique(run.qid, return_index=True, return_inverse=True)
    order = np.lexsort((-names, -run.scores, first[query.reshape(-1)]))
    qid, docid, scores = run.qid[order], run.docid[order], run.scores[order]
    bad = np.flatnonzero(~(np.abs(scores) <= np.finfo(np.float32).max))
    if len(bad):
        raise ValueError(f"the score {scores[bad[0]]} of document {docid[bad[0]]!r} {_NO_FLOAT32}")
    lines = []
    rank, before, written = 0, np.inf, np.float32(np.inf)
    for row in range(len(order)):
        if row and qid[row] == qid[row - 1]:
            rank += 1
        else:
            rank = 1
            before = np.inf
            written = np.float32(np.inf)
        if scores[row] < before:
            written = min(np.float32(scores[row]), np.nextafter(written, np.float32(-np.inf)))
            before = scores[row]
        lines.append(f"{qid[row]} Q0 {docid[row]} {rank} {written!s} {run.tag}\n")
    with atomic_file(path) as stream:
        stream.write("".join(lines).encode())


def is_run(path: str | Path) -> bool:
    """Whether the first line has the six fields of a run, the second of which is Q0.

    Parameters
    ----------
    path : str or Path
        File to read, plain or ``.gz``.

    Returns
    -------
    bool
        False also for a file that does not exist or cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "one.run"
    >>> _ = path.write_text("q1 Q0 a 1 2.5 mine")
    >>> is_run(path), is_qrels(path)
    (True, False)
    """
    fields = _first_fields(Path(path))
    return len(fields) == 6 and fields[1].upper() == "Q0" and ":" not in fields[4]


def is_qrels(path: str | Path) -> bool:
    """Whether the first line has the four fields of a judgment: LETOR has colons and CSV commas in its.

    So is a name such as ``irds:msmarco-passage/dev/small``, whose judgments the ir_datasets package has.

    Parameters
    ----------
    path : str or Path
        File to look into, plain or ``.gz``, or an ``irds:`` name.

    Returns
    -------
    bool
        False also for a file that does not exist or cannot be read.

    Examples
    --------
    >>> is_qrels("irds:msmarco-passage/dev/small"), is_qrels("no such file")
    (True, False)
    """
    if str(path).startswith(IR_DATASETS):
        return True
    fields = _first_fields(Path(path))
    if len(fields) != 4 or fields[1].startswith("qid:"):
        return False
    return fields[3].lstrip("+-").isdigit() and fields[1].lstrip("+-").isalnum()


def _first_fields(path: Path) -> list[str]:
    if not path.is_file():
        return []
    try:
        with _open(path) as stream:
            line: bytes = stream.readline(4096)
    except (OSError, EOFError, zlib.error):  # not a gzip file after all: its reader says so
        return []
    return line.decode(errors="replace").split()


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path) if path.suffix == ".gz" else open(path, "rb")  # type: ignore[return-value]


def _lines(path: Path) -> Generator[str]:
    """Lines of the file; a ValueError if it is a damaged gzip file or no UTF-8.

    Nothing is put in the place of bytes that are no text: two names could become one.
    """
    number = 0
    with _open(path) as stream:
        try:
            for line in stream:
                number += 1
                yield line.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}, line {number}: must be UTF-8 ({error.reason})") from None
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise ValueError(f"{path}: the gzip file is damaged ({error})") from None


def _fields(path: Path, n: int, form: str) -> Iterator[tuple[int, list[str]]]:
    with closing(_lines(path)) as lines:
        for number, line in enumerate(lines, start=1):
            fields = line.split()
            if len(fields) == n:
                yield number, fields
            elif fields:
                raise ValueError(
                    f"{path}, line {number}: must be '{form}', {n} fields; got {len(fields)}: "
                    f"{' '.join(fields)[:_SHOWN]!r}"
                )


def _whole_number(text: str, path: str | Path, number: int) -> int:
    try:
        value = int(text if text.isascii() and "_" not in text else "")
        if not -(2**63) <= value < 2**63:
            raise ValueError("does not fit 64 bits")
        return value
    except ValueError:
        raise ValueError(
            f"{path}, line {number}: the relevance must be a whole number; got {text!r}"
        ) from None


def _number(text: str, path: str | Path, number: int) -> float:
    # Python also takes "1_0" for 10, and the digits of other scripts.
    try:
        value = float(text) if text.isascii() and "_" not in text else float("nan")
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise ValueError(f"{path}, line {number}: the score must be a finite number; got {text!r}")
    return value


_Made = TypeVar("_Made")


def _named(path: str | Path, make: Callable[[], _Made]) -> _Made:
    """What `make` makes; its error names the file."""
    try:
        return make()
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _check_unique(qid: Array, docid: Array, what: str) -> None:
    if not len(qid):
        return
    documents = np.unique(docid, return_inverse=True)[1].reshape(-1)
    queries = np.unique(qid, return_inverse=True)[1].reshape(-1)
    keys = queries.astype(np.int64) * (int(documents.max()) + 1) + documents
    order = np.argsort(keys, kind="stable")
    twice = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    if len(twice):
        row = order[twice[0] + 1]
        raise ValueError(
            f"document {str(docid[row])!r} {what} of query {str(qid[row])!r}; keep one of the two"
        )


def _check_words(what: str, ids: Array) -> None:
    for text in np.unique(ids).tolist():
        if not text or len(text.split()) != 1 or text.split()[0] != text:
            raise ValueError(
                f"a {what} of a TREC run must be one word; got {text!r}: replace its spaces, or write "
                "scores as .csv"
            )
