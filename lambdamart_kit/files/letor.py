"""LETOR files a section of whole lines at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from lambdamart_kit.core.typing import Array
from lambdamart_kit.datasets.errors import LetorFormatError
from lambdamart_kit.datasets.letor.reading import Parsed, ReadOptions, parse_text
from lambdamart_kit.datasets.letor.text_file import Text, open_text
from lambdamart_kit.files.chunk import Chunk, Columns
from lambdamart_kit.runtime.threads import resolve_n_jobs

_SECTION_BLOCKS = 32  # blocks of 512 KiB: as text, rows take at least the room of their float32


class LetorReader:
    """Rows of LETOR files; compressed ones are unpacked to a temporary file, one after the other."""

    feature_names = None

    def __init__(self, paths: Sequence[Path], columns: Columns, n_jobs: int | None) -> None:
        if columns.sample_weight is not None:
            raise ValueError(
                f"'sample_weight' must be None with LETOR files, which have no such column; got "
                f"{columns.sample_weight!r}"
            )
        self._paths, self._n_threads = paths, resolve_n_jobs(n_jobs)
        self._docid = "none" if columns.docid is None else "id"

    def chunks(self, n_features: int | None) -> Iterator[Chunk]:
        """The rows; a file of no bytes has none."""
        options = ReadOptions(docid=self._docid, n_features=n_features)
        for path in self._paths:
            with open_text(path) as text:
                cuts = text.cuts()
                share = path.stat().st_size / max(text.size, 1)
                for section in _sections(text, cuts):
                    parsed = parse_text(section, options, self._n_threads, lambda step: None)
                    yield _as_chunk(path, parsed, int(section.size * share))


def _sections(text: Text, cuts: list[int]) -> Iterator[_Section]:
    """The text in sections; a last line without newline is compared with those before, so never alone."""
    starts = list(range(0, len(cuts) - 1, _SECTION_BLOCKS))
    if len(starts) > 1 and starts[-1] == len(cuts) - 2:
        starts.pop()
    for start, stop in itertools.pairwise([*starts, len(cuts) - 1]):
        yield _Section(text, cuts[start : stop + 1])


def _as_chunk(path: Path, parsed: Parsed, n_bytes: int) -> Chunk:
    return Chunk(path, parsed.X, parsed.y.astype(np.float64), parsed.qid, None, parsed.docid, n_bytes)


class _Section(Text):
    """Some whole lines of a text, at the places they have in it."""

    def __init__(self, text: Text, cuts: list[int]) -> None:
        self.path = text.path
        self.size = cuts[-1] - cuts[0]
        self.terminated = text.terminated or cuts[-1] < text.size
        self._text, self._cuts = text, cuts

    def read(self, start: int, stop: int, buffer: Array | None = None) -> Array:
        return self._text.read(start, stop, buffer)

    def cuts(self) -> list[int]:
        return self._cuts

    def error(self, reason: str, position: int, *, whole_line: bool = False) -> LetorFormatError:
        return self._text.error(reason, position, whole_line=whole_line)
