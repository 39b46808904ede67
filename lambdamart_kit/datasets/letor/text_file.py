"""Files of lines, plain or compressed, read block by block from any thread."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from lambdamart_kit.core.typing import Array
from lambdamart_kit.datasets.errors import LetorFormatError

_BLOCK = 1 << 19  # fits the second-level cache: the copy out of the page cache is then nearly free
_BOM = b"\xef\xbb\xbf"
_LOOKED_AT = 1 << 16  # bytes at the start of a file that say what ends its lines
_COMPRESSED = (".gz", ".zst")
_UNREAD = (".weight", ".position", ".init", ".base_margin")  # what the libraries would read beside their data
_SIDECARS = (".query", ".group")  # how LightGBM and XGBoost call the file with the sizes of the queries
_START = 4096  # bytes of a file in which "qid:" stands if it stands anywhere
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")


class Text:
    """A file of lines, read at any place from any thread."""

    def __init__(self, path: Path, handle: Any) -> None:
        self.path = path
        self._handle = handle
        self._lock = threading.Lock()
        self.size = handle.seek(0, os.SEEK_END)
        start = bytes(self.read(0, min(self.size, _LOOKED_AT)))
        check_encoding(start, path)
        _check_line_ends(start, path)
        self.terminated = self.size == 0 or bytes(self.read(self.size - 1, self.size)) == b"\n"

    def read(self, start: int, stop: int, buffer: Array | None = None) -> Array:
        """Bytes ``start:stop`` as uint8, in `buffer` when given."""
        out = np.empty(stop - start, np.uint8) if buffer is None else buffer[: stop - start]
        view, done = out.data, 0
        with self._lock:
            self._handle.seek(start)
            while done < len(out):
                step = self._handle.readinto(view[done:])
                if not step:
                    raise LetorFormatError("the file changed while it was read", path=self.path)
                done += step
        return out

    def block(self, start: int, stop: int, buffer: Array) -> Array:
        """Lines ``start:stop`` in `buffer`, closed by a newline; a byte-order mark is blanked."""
        text = self.read(start, stop, buffer)
        if start == 0 and text[:3].tobytes() == _BOM:
            text[:3] = 32
        if text[-1] != 10:
            text = buffer[: len(text) + 1]
            text[-1] = 10
        return text

    def cuts(self) -> list[int]:
        """Places where lines start, about ``_BLOCK`` apart; a last line without a newline is on its own."""
        cuts = [0]
        while cuts[-1] < self.size:
            cuts.append(self._line_start(min(cuts[-1] + _BLOCK, self.size)))
        if not self.terminated:
            cuts.insert(-1, self._last_line_start(cuts[-2]))
        return sorted(set(cuts))

    def _line_start(self, position: int) -> int:
        """First line start at or after `position`."""
        step = 4096
        position -= 1
        while position < self.size:
            ahead = self.read(position, min(position + step, self.size)).tobytes().find(b"\n")
            if ahead >= 0:
                return position + ahead + 1
            position, step = position + step, step * 2
        return self.size

    def _last_line_start(self, earliest: int) -> int:
        back = 4096
        while True:
            start = max(earliest, self.size - back)
            newline = self.read(start, self.size).tobytes().rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            if start == earliest:
                return earliest
            back *= 4

    def line_number(self, position: int) -> int:
        """Number, from 1, of the line that holds the byte at `position`."""
        starts = range(0, position, _BLOCK)
        return 1 + sum(int(np.count_nonzero(self.read(a, min(a + _BLOCK, position)) == 10)) for a in starts)

    def excerpt(self, position: int, *, whole_line: bool = False) -> str:
        """The token at `position`, or its whole line, shortened for a message."""
        if whole_line:
            before = self.read(max(0, position - 4096), position).tobytes()
            position -= len(before) - (before.rfind(b"\n") + 1)
        line = self.read(position, min(position + 200, self.size)).tobytes().split(b"\n")[0]
        shown = line.strip() if whole_line else (line.split(maxsplit=1) or [b""])[0]
        return shown[:60].decode(errors="backslashreplace") + ("..." if len(shown) > 60 else "")

    def error(self, reason: str, position: int, *, whole_line: bool = False) -> LetorFormatError:
        """The error for what stands at `position`."""
        if not self.terminated and position >= self._last_line_start(0):
            reason += " (the last line has no newline: is the file cut short?)"
        text = self.excerpt(position, whole_line=whole_line)
        return LetorFormatError(reason, path=self.path, line=self.line_number(position), text=text)


def check_encoding(start: bytes, path: Path) -> None:
    """Raise if a text begins as UTF-16 does, with its mark or without.

    Raises
    ------
    LetorFormatError
        Naming the encoding and what to do.
    """
    if start[:2] in _WIDE_MARKS:
        raise LetorFormatError("the file is UTF-16 text; save it as UTF-8", path=path)
    # Every other byte of UTF-16 is zero where letters are Latin: the first of two, or the second. A few
    # letters of other scripts leave most of them zero. A damaged file with a few zeros is no UTF-16: its
    # line is named.
    first = np.frombuffer(start[: min(len(start), 64) // 2 * 2], np.uint8).reshape(-1, 2)
    if len(first) >= 2 and np.mean(first == 0, axis=0).max() >= 0.75:
        raise LetorFormatError("holds zero bytes, as UTF-16 text has them; save it as UTF-8", path=path)


def _check_line_ends(start: bytes, path: Path) -> None:
    """Raise if lines end in carriage returns alone, which the parser of LETOR takes for spaces."""
    if b"\r" in start and b"\n" not in start and start.count(b"\r") > 1:
        raise LetorFormatError(
            "lines end in carriage returns alone, as old Macs wrote them; save the file with newlines",
            path=path,
        )


def sidecar(path: Path) -> Path | None:
    """The file beside a LETOR file that has the sizes of its queries, if the lines have no query ids.

    It is called as the file, or as the file unpacked, with ``.query`` or ``.group`` behind. Files that
    LightGBM or XGBoost would read too, such as ``.weight``, are named in a warning: they are not read here.
    """
    names = [path] if path.suffix not in _COMPRESSED else [path, path.with_suffix("")]
    unread = [Path(f"{name}{suffix}") for name in names for suffix in _UNREAD]
    for place in filter(Path.is_file, unread):
        warnings.warn(
            f"{place} is not read, though LightGBM or XGBoost would take it into account; pass what it "
            "holds to fit in an array, or put it into a column of a table",
            UserWarning,
            stacklevel=3,
        )
    places = [Path(f"{name}{suffix}") for name in names for suffix in _SIDECARS]
    found = [place for place in places if place.is_file()]
    if not found:
        return None
    with open_text(path) as text:
        start = bytes(text.read(0, min(text.size, _START)))
    return None if b"qid:" in start else found[0]


@contextmanager
def open_text(path: Path) -> Iterator[Text]:
    """Open a plain, ``.gz`` or ``.zst`` file; a compressed one is unpacked to a temporary file first."""
    with open(path, "rb") as raw:
        if path.suffix not in _COMPRESSED:
            yield Text(path, raw)
            return
        with tempfile.TemporaryFile() as unpacked:
            _unpack(path, raw, unpacked)
            yield Text(path, unpacked)


def _unpack(path: Path, raw: IO[bytes], unpacked: IO[bytes]) -> None:
    if path.suffix == ".zst":
        _unpack_zstd(path, raw, unpacked)
        return
    try:
        with gzip.GzipFile(fileobj=raw) as stream:
            shutil.copyfileobj(stream, unpacked, _BLOCK)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise LetorFormatError(f"not a whole gzip file ({error})", path=path) from None


def _unpack_zstd(path: Path, raw: IO[bytes], unpacked: IO[bytes]) -> None:
    """Frame by frame: zstandard's own stream reader ends without a word where the bytes do."""
    zstandard = import_zstandard()
    frame = zstandard.ZstdDecompressor().decompressobj()
    try:
        while piece := raw.read(_BLOCK):
            while piece:
                if frame.eof:
                    frame = zstandard.ZstdDecompressor().decompressobj()
                unpacked.write(frame.decompress(piece))
                piece = frame.unused_data
    except zstandard.ZstdError as error:
        raise LetorFormatError(f"not a zstd file ({error})", path=path) from None
    if not frame.eof:
        raise LetorFormatError("not a whole zstd file (it ends within a frame)", path=path)


def import_zstandard() -> Any:
    """The optional zstandard module, or an ImportError that says how to get it."""
    try:
        import zstandard
    except ImportError:
        raise ImportError(
            "reading and writing '.zst' needs the 'zstandard' package: pip install 'lambdamart-kit[zstd]'"
        ) from None
    return zstandard
