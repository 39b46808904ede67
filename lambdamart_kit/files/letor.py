"""LETOR files a section of whole lines at a time, and the files with sizes of queries beside them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from lambdamart_kit.core.typing import Array, IndexArray
from lambdamart_kit.datasets.errors import LetorFormatError
from lambdamart_kit.datasets.letor.reading import (
    Parsed,
    ReadOptions,
    count_features,
    parse_text,
    read_query_sizes,
)
from lambdamart_kit.datasets.letor.rounding import warn_of_rounding
from lambdamart_kit.datasets.letor.text_file import Text, open_text, sidecar
from lambdamart_kit.files.chunk import Chunk, Columns, refuse_weight
from lambdamart_kit.runtime.threads import resolve_n_jobs

_SECTION_BLOCKS = 32  # blocks of 512 KiB: as text, rows take at least the room of their float32


class LetorReader:
    """Rows of LETOR files; compressed ones are unpacked to a temporary file, one after the other."""

    feature_names = None

    def __init__(self, paths: Sequence[Path], columns: Columns, n_jobs: int | None) -> None:
        refuse_weight(columns.sample_weight)
        self._paths, self._n_threads = paths, resolve_n_jobs(n_jobs)
        rules = columns.letor
        if rules.query_file is not None and len(paths) > 1:
            raise ValueError(
                f"'query_file' gives the queries of one file; got {len(paths)} files: put NAME.query "
                "beside each"
            )
        self.sidecars = [
            Path(rules.query_file) if rules.query_file is not None else sidecar(path) for path in paths
        ]
        self._options = ReadOptions(
            docid="none" if columns.docid is None else "id",
            missing=rules.missing,
            clip=columns.clip,
            zero_based=rules.zero_based,
            unordered=rules.unordered,
        )

    def chunks(self, n_features: int | None) -> Iterator[Chunk]:
        """The rows; a file of no bytes has none."""
        if n_features is None and math.isnan(self._options.missing):
            # Chunks of different width are widened with zeros, which would not be missing values.
            n_features = self._width()
        is_first = True
        n_queries = 0  # in the files before that have their queries beside them
        for path, beside in zip(self._paths, self.sidecars):
            options = replace(self._options, has_qid=beside is None, n_features=n_features)
            sizes = None if beside is None else _Sizes(beside, n_queries)
            with open_text(path) as text:
                cuts = text.cuts()
                share = path.stat().st_size / max(text.size, 1)
                for section in _sections(text, cuts):
                    parsed = parse_text(section, options, self._n_threads, lambda step: None)
                    if is_first:  # one section speaks for the others, which go by once a pass
                        warn_of_rounding(section, parsed.X, options)
                    is_first = False
                    qid = parsed.qid if sizes is None else sizes.next_rows(len(parsed.y))
                    yield _as_chunk(path, parsed, qid, int(section.size * share))
            if sizes is not None:
                sizes.check_all_used()
                n_queries += sizes.n_queries

    def _width(self) -> int:
        """The largest feature index of all files."""
        widths = []
        for path, beside in zip(self._paths, self.sidecars):
            with open_text(path) as text:
                options = replace(self._options, has_qid=beside is None)
                widths.append(count_features(text, options, self._n_threads) if text.size else 0)
        return max(widths)


class _Sizes:
    """Query ids of the rows of one file, from the file with the sizes of its queries."""

    def __init__(self, path: Path, n_before: int) -> None:
        with open_text(path) as text:
            self._qid = read_query_sizes(text) + n_before
        self.n_queries = len(np.unique(self._qid))
        self._path = path
        self._at = 0

    def next_rows(self, n: int) -> IndexArray:
        """Ids of the next `n` rows."""
        ids = self._qid[self._at : self._at + n]
        self._at += n
        if len(ids) < n:
            raise self._wrong(f"the data has more rows than the {len(self._qid):,} of these queries")
        return ids

    def check_all_used(self) -> None:
        """Raise unless every size has met its rows."""
        if self._at < len(self._qid):
            raise self._wrong(
                f"query sizes must add up to the {self._at:,} rows of the data; they add up to "
                f"{len(self._qid):,}"
            )

    def _wrong(self, reason: str) -> LetorFormatError:
        return LetorFormatError(reason, path=self._path)


def _sections(text: Text, cuts: list[int]) -> Iterator[_Section]:
    """The text in sections; a last line without newline is compared with those before, so never alone."""
    starts = list(range(0, len(cuts) - 1, _SECTION_BLOCKS))
    if len(starts) > 1 and starts[-1] == len(cuts) - 2:
        starts.pop()
    for start, stop in itertools.pairwise([*starts, len(cuts) - 1]):
        yield _Section(text, cuts[start : stop + 1])


def _as_chunk(path: Path, parsed: Parsed, qid: Array | None, n_bytes: int) -> Chunk:
    return Chunk(path, parsed.X, parsed.y.astype(np.float64), qid, None, parsed.docid, n_bytes)


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
