"""Text files that may be compressed: gzip and Zstandard, read and written as their ending says."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, TextIO


@contextmanager
def open_text(path: Path, *, newline: str | None = None) -> Iterator[TextIO]:
    """Text of a file, plain, ``.gz`` or ``.zst``; a byte-order mark is dropped.

    Raises
    ------
    ValueError
        If the file is not what its ending says, or not UTF-8.
    ImportError
        If a ``.zst`` file meets no zstandard.
    """
    try:
        with open(path, "rb") as raw, _decompressed(raw, path) as stream:
            yield io.TextIOWrapper(stream, encoding="utf-8-sig", newline=newline)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({error})") from None
    except (gzip.BadGzipFile, EOFError) as error:
        raise ValueError(f"{path}: cannot be read as {path.suffix}, or was cut short ({error})") from None


@contextmanager
def compressing(stream: BinaryIO, suffix: str) -> Iterator[BinaryIO]:
    """A stream that compresses into `stream` as the suffix ``.gz`` or ``.zst`` says, or `stream` itself."""
    if suffix == ".gz":
        wrapped: Any = gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0)
    elif suffix == ".zst":
        wrapped = _zstandard().ZstdCompressor().stream_writer(stream, closefd=False)
    else:
        wrapped = nullcontext(stream)
    with wrapped as out:
        yield out


@contextmanager
def _decompressed(raw: BinaryIO, path: Path) -> Iterator[Any]:
    if path.suffix == ".gz":
        with gzip.GzipFile(fileobj=raw) as stream:
            yield stream
    elif path.suffix == ".zst":
        zstandard = _zstandard()
        try:
            with zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True) as stream:
                yield io.BufferedReader(stream, 1 << 16)
        except zstandard.ZstdError as error:
            raise ValueError(f"{path}: cannot be read as .zst, or was cut short ({error})") from None
    else:
        yield raw


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError:
        raise ImportError(
            '.zst files need zstandard; install it with: pip install "lambdamart-kit[zstd]"'
        ) from None
    return zstandard
