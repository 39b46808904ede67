"""Files of rows, read a chunk at a time: what is larger than memory goes through here.

LETOR text (plain, ``.gz``, ``.zst``), Parquet, and CSV (plain, ``.gz``, ``.zst``); several files follow each
other as if they were one. The kind is told by the suffix: ``.parquet`` or ``.pq``, ``.csv``, anything else is
LETOR.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lambdamart_kit.files.chunk import Chunk, Columns, LetorRules, clipped
from lambdamart_kit.files.formats import FORMATS, kind_of
from lambdamart_kit.files.paths import Files as Files
from lambdamart_kit.files.paths import find_files as find_files
from lambdamart_kit.runtime.disk_cache import identity


class RowFiles:
    r"""The rows of files, as often as they are asked for.

    Parameters
    ----------
    files : path, glob or list of them
        A folder stands for the files in it. Files come in the order given, those of a folder or a glob by
        name.
    columns : Columns
        Which columns are what, in Parquet and CSV.
    n_jobs : int, optional
        Threads; all by default.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the files are of different kinds, or a column is missing.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp()) / "rows.txt"
    >>> _ = path.write_text("2 qid:7 1:0.5 3:2\n0 qid:7 2:1 3:4\n")
    >>> [chunk.X.shape for chunk in RowFiles(path).chunks()]
    [(2, 3)]
    """

    def __init__(self, files: Files, columns: Columns | None = None, *, n_jobs: int | None = None) -> None:
        self.paths = find_files(files)
        self.columns = columns or Columns()
        kinds = {kind_of(path) for path in self.paths}
        if len(kinds) > 1:
            raise ValueError(f"'files' must be of one kind; got {', '.join(sorted(kinds))}")
        (self.kind,) = kinds
        if self.kind != "letor" and self.columns.letor != LetorRules():
            raise ValueError(
                f"'letor' says how LETOR lines are written, and {self.paths[0]} is no LETOR file"
            )
        self._reader = FORMATS[self.kind].open(self.paths, self.columns, n_jobs)
        self._identities = [identity(path) for path in self.sources]

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Names of the features; None for LETOR files."""
        return self._reader.feature_names

    @property
    def sources(self) -> list[Path]:
        """The files, and those beside them that hold the sizes of their queries."""
        return [*self.paths, *(path for path in getattr(self._reader, "sidecars", []) if path is not None)]

    @property
    def n_bytes(self) -> int:
        """Size of all files on disk."""
        return sum(path.stat().st_size for path in self.paths)

    def check_unchanged(self) -> None:
        """Raise if a file is no longer the one that was opened: its rows would be a mixture of two contents.

        Raises
        ------
        ValueError
            If a file was written to, or replaced, since this object was made.
        """
        for path, before in zip(self.sources, self._identities):
            if identity(path) != before:
                raise ValueError(
                    f"{path}: the file changed while it was read; start again when it is complete"
                )

    def chunks(self, n_features: int | None = None) -> Iterator[Chunk]:
        """The rows, in order.

        Parameters
        ----------
        n_features : int, optional
            Columns of LETOR files; None takes those each chunk has.
        """
        clip = self.columns.clip
        for chunk in self._reader.chunks(n_features):
            yield chunk if clip is None else replace(chunk, X=clipped(chunk.X, clip))
