"""A chunk of rows, the columns it is read from, and what reads them: shared by all formats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lambdamart_kit.core.queries import run_starts
from lambdamart_kit.core.typing import Array, FloatArray

LARGEST = float(np.finfo(np.float32).max)
CHUNK_BYTES = 32 << 20  # of a chunk's features as float32


def refuse_weight(sample_weight: str | None) -> None:
    """Raise if a column of weights is named for LETOR files, which have none."""
    if sample_weight is not None:
        raise ValueError(
            f"'sample_weight' must be None with LETOR files, which have no such column; got {sample_weight!r}"
        )


@dataclass(frozen=True, eq=False)
class Chunk:
    """Consecutive rows of one file.

    Attributes
    ----------
    path : Path
        The file.
    X : (n, n_features) float32 or float64 array
        Features; the number of columns may differ between chunks of LETOR files of unstated width.
    y, sample_weight : (n,) float64, or None
        Labels and weights, where they were asked for.
    qid, docid : (n,) array, or None
        Ids and names, where the files have them.
    n_bytes : int
        About how much of the file the rows took.
    """

    path: Path
    X: Array
    y: FloatArray | None
    qid: Array | None
    sample_weight: FloatArray | None
    docid: Array | None
    n_bytes: int

    def split(self, row: int) -> tuple[Chunk, Chunk]:
        """The rows before `row`, and the others; each has its share of the bytes."""
        n_bytes = self.n_bytes * row // len(self.X)
        first = {name: part[:row] for name, part in self._by_row().items()}
        rest = {name: part[row:] for name, part in self._by_row().items()}
        return replace(self, n_bytes=n_bytes, **first), replace(self, n_bytes=self.n_bytes - n_bytes, **rest)

    def _by_row(self) -> dict[str, Any]:
        """What the chunk has of each row, by the name of the attribute."""
        names = ("X", "y", "qid", "sample_weight", "docid")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


def joined(parts: Sequence[Array | None]) -> Array | None:
    """Arrays one after the other; None if any chunk has none."""
    present = [part for part in parts if part is not None]
    return np.concatenate(present) if len(present) == len(parts) else None


def whole_queries(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    """The same rows in chunks that end where a query does: rows of one id that stand together in one file.

    Parameters
    ----------
    chunks : iterable of Chunk
        Rows in order; all of one width.

    Yields
    ------
    Chunk
        Those of a file without query ids as they came.
    """
    held: list[Chunk] = []  # the query at the end of the last chunk, which may go on in the next one
    for chunk in chunks:
        if held and (held[0].path != chunk.path or chunk.qid is None):
            yield _stacked(held)
            held = []
        if chunk.qid is None or not len(chunk.qid):
            yield chunk
            continue
        last = int(run_starts(chunk.qid)[-1])
        # Chunks of a table of text may differ in the type of their ids, as 7 and "7" do.
        if last == 0 and (not held or str(held[-1].qid[-1]) == str(chunk.qid[0])):  # type: ignore[index]
            held.append(chunk)
            continue
        done, open_query = chunk.split(last)
        yield _stacked([*held, done])
        held = [open_query]
    if held:
        yield _stacked(held)


def _stacked(chunks: Sequence[Chunk]) -> Chunk:
    """Chunks of one file as one."""
    if len(chunks) == 1:
        return chunks[0]
    rows: dict[str, Any] = {
        name: joined([getattr(chunk, name) for chunk in chunks])
        for name in ("X", "y", "qid", "sample_weight", "docid")
    }
    return Chunk(chunks[0].path, **rows, n_bytes=sum(chunk.n_bytes for chunk in chunks))


@dataclass(frozen=True)
class LetorRules:
    r"""How the lines of LETOR files are written, where they are not as LETOR has them.

    Parameters
    ----------
    zero_based : bool
        Feature indices count from 0.
    unordered : bool
        Feature indices stand in any order along a line.
    missing : float
        Value of a feature that a line leaves out: 0 or NaN.
    query_file : str or None
        File with the number of rows of each query, for lines without ``qid:``. None looks for ``NAME.query``
        and ``NAME.group`` beside each file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from lambdamart_kit.files import Columns, read_rows
    >>> path = Path(tempfile.mkdtemp()) / "rows.txt"
    >>> _ = path.write_text("1 qid:7 0:0.5 1:2\n")
    >>> read_rows(path, Columns(letor=LetorRules(zero_based=True))).X.tolist()
    [[0.5, 2.0]]
    """

    zero_based: bool = False
    unordered: bool = False
    missing: float = 0.0
    query_file: str | None = None

    def __post_init__(self) -> None:
        if not (self.missing == 0 or np.isnan(self.missing)):
            raise ValueError(f"'missing' must be 0 or NaN; got {self.missing!r}")


@dataclass(frozen=True)
class Columns:
    r"""Which columns of a table are what, and how values are read. LETOR lines name their parts themselves.

    Parameters
    ----------
    y, qid, sample_weight, docid : str or None
        Names of the columns; None reads none. A column that is named is not a feature.
    features : tuple of str, or None
        The features, in order; None takes every column that has no other role.
    ignore : tuple of str
        Columns that are neither features nor anything else.
    required : bool
        Whether `y` and `qid` must be there; if not, they are read where they are.
    clip : float, optional
        Features beyond ``-clip`` and ``clip``, infinite ones among them, become these; missing ones stay
        missing. Without, a feature that does not fit float32 is an error that names it.
    letor : LetorRules
        How LETOR lines are written.

    Raises
    ------
    ValueError
        If `clip` is no positive number that fits float32.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from lambdamart_kit.files import read_rows
    >>> path = Path(tempfile.mkdtemp()) / "rows.csv"
    >>> _ = path.write_text("query,grade,note,price\na,1,good,2.5\na,0,bad,3\n")
    >>> read_rows(path, Columns(y="grade", qid="query", ignore=("note",))).feature_names
    ('price',)
    """

    y: str | None = "label"
    qid: str | None = "qid"
    sample_weight: str | None = None
    docid: str | None = "docid"
    features: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    required: bool = True
    clip: float | None = None
    letor: LetorRules = LetorRules()

    def __post_init__(self) -> None:
        if self.clip is not None and not 0 < self.clip <= LARGEST:
            raise ValueError(
                f"'clip' must be a positive number that fits float32, such as 1e6; got {self.clip!r}"
            )

    @property
    def roles(self) -> dict[str, str]:
        """Parameter name to column name, of the columns that are not features."""
        named = {"y": self.y, "qid": self.qid, "sample_weight": self.sample_weight, "docid": self.docid}
        return {role: column for role, column in named.items() if column is not None}


def clipped(X: Array, clip: float) -> Array:
    """Features within ``-clip`` and ``clip``; missing ones stay missing.

    Examples
    --------
    >>> clipped(np.array([[np.inf, -3.0, np.nan, 0.5]]), 2.0).tolist()
    [[2.0, -2.0, nan, 0.5]]
    """
    return np.clip(X, -clip, clip)


def for_other_files(columns: Columns) -> Columns:
    """`columns` for held-out files: the file with the sizes of the training queries is not theirs."""
    return replace(columns, letor=replace(columns.letor, query_file=None))


def reading_of(columns: Columns) -> dict[str, float | bool]:
    """How values are read, as far as it is said: `clip`, and the rules of LETOR lines.

    Examples
    --------
    >>> reading_of(Columns(clip=1e6, letor=LetorRules(zero_based=True)))
    {'clip': 1000000.0, 'zero_based': True}
    """
    rules = columns.letor
    said: dict[str, float | bool] = {} if columns.clip is None else {"clip": columns.clip}
    said |= {name: True for name in ("zero_based", "unordered") if getattr(rules, name)}
    return said | ({"missing": rules.missing} if np.isnan(rules.missing) else {})


class Reader(Protocol):
    """Rows of files of one kind."""

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Names of the features, None where the files have none."""

    def chunks(self, n_features: int | None) -> Iterator[Chunk]:
        """The rows, in order."""


def widen(X: Array, n_features: int) -> Array:
    """`X` with absent features, which are 0 in LETOR, as columns of zeros."""
    if X.shape[1] == n_features:
        return X
    wide = np.zeros((len(X), n_features), dtype=X.dtype)
    wide[:, : X.shape[1]] = X
    return wide


def stack(parts: Iterable[Array], n_features: int) -> Array:
    """Chunks' features one below the other."""
    wide: list[Any] = [widen(X, n_features) for X in parts]
    return np.concatenate(wide) if wide else np.empty((0, n_features), dtype=np.float32)
