"""Arrays kept on disk, to be found again by what they were made from.

An entry is a folder of ``.npy`` files and a ``meta.json`` with a fingerprint of each and of itself. It is
written beside its place and renamed when it is complete, so that nobody sees half of one. An entry whose
fingerprints do not fit, or which cannot be read, counts as missing and is made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from lambdamart_kit.runtime.atomic_file import named_after, replace_folder
from lambdamart_kit.runtime.leftovers import remove_abandoned, unfinished_name
from lambdamart_kit.runtime.python_parser import PARSER

Arrays: TypeAlias = dict[str, np.ndarray]
Notes: TypeAlias = dict[str, Any]

META = "meta.json"
_PRINT_OF_NOTES = "crc"
_CHECKED_WHOLE = 16 << 20
_SAMPLES = 64
_SAMPLE_BYTES = 64 << 10


@contextmanager
def new_entry(
    entry: Path, notes: Mapping[str, Any] | None = None, *, beside: Path | None = None
) -> Iterator[Path]:
    """A folder to put the ``.npy`` files of an entry in; it becomes `entry` when the block ends.

    Parameters
    ----------
    entry : Path
        Its parent must exist.
    notes : mapping, optional
        JSON values to keep with the arrays.
    beside : Path, optional
        Folder on the same disk to write in; the parent of `entry` by default.
    """
    # The folder is this cache's own, so what is unfinished in it is what writers of other entries left.
    remove_abandoned(entry.parent)
    writing = unfinished_name((beside or entry.parent) / entry.name)
    try:
        with named_after(entry, writing):
            writing.mkdir()
            yield writing
            files = sorted(writing.glob("*.npy"))
            prints = {file.stem: fingerprint(file) for file in files}
            (writing / META).write_bytes(notes_as_bytes({"arrays": prints, **(notes or {})}))
            replace_folder(writing, entry)
    finally:
        shutil.rmtree(writing, ignore_errors=True)


def notes_as_bytes(notes: Mapping[str, Any]) -> bytes:
    """The content of a ``meta.json``: the notes and their CRC-32, so that no part of them can be lost."""
    return json.dumps({_PRINT_OF_NOTES: _crc_of(notes), **notes}).encode()


def read_notes(entry: Path) -> Notes | None:
    """The notes of an entry, its fingerprints under "arrays"; None if there is no readable entry."""
    try:
        notes = json.loads((entry / META).read_text())
        if not isinstance(notes, dict) or notes.pop(_PRINT_OF_NOTES, None) != _crc_of(notes):
            return None
    except (OSError, ValueError, RecursionError):
        return None
    return notes if isinstance(notes.get("arrays"), dict) else None


def _crc_of(notes: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(notes, sort_keys=True).encode())


def read_arrays(entry: Path, notes: Notes, *, mapped: Sequence[str] | None = None) -> Arrays | None:
    """The arrays of an entry; None if one of them is missing or damaged.

    Parameters
    ----------
    entry : Path
    notes : dict
        From `read_notes`.
    mapped : sequence of str, optional
        The arrays to map into memory instead of reading them; all by default.
    """
    try:
        arrays = {}
        for name, expected in notes["arrays"].items():
            path = entry / f"{name}.npy"
            if fingerprint(path) != expected:
                return None
            arrays[name] = open_map(path) if mapped is None or name in mapped else _read(path)
        return arrays
    except (OSError, ValueError, EOFError):
        return None


def open_map(path: Path, *, writable: bool = False) -> np.ndarray:
    """An array on disk as a plain ndarray that is read when it is touched.

    Kernels compile for plain arrays only, and learners may write to what they are given: what is written
    changes the memory of this process alone, or the file, if it is `writable`.
    """
    try:
        return _read(path, mmap_mode="r+" if writable else "c")
    except ValueError:  # an array without entries cannot be mapped
        return _read(path)


def _read(path: Path, **mapping: Any) -> np.ndarray:
    with PARSER:
        return np.asarray(np.load(path, allow_pickle=False, **mapping))


def content_digest(path: Path) -> str:
    """BLAKE2b of a file's bytes, 16 bytes in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def stamp(path: Path) -> list[int]:
    """Size and modification time of a file, in nanoseconds: equal stamps are taken for equal content."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def identity(path: Path) -> tuple[int, ...]:
    """What changes when a file is written to or another file takes its name, while a program reads it."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def fingerprint(path: Path) -> list[int]:
    """Size, and CRC-32 of the content or, of a large file, of samples from its first to its last byte."""
    size = path.stat().st_size
    with open(path, "rb") as stream:
        if size <= _CHECKED_WHOLE:
            return [size, zlib.crc32(stream.read())]
        crc = 0
        for k in range(_SAMPLES):
            stream.seek((size - _SAMPLE_BYTES) * k // (_SAMPLES - 1))
            crc = zlib.crc32(stream.read(_SAMPLE_BYTES), crc)
    return [size, crc]


def user_cache_folder() -> Path:
    """The folder for downloads and parsed files: ``LAMBDAMART_KIT_CACHE``, or the system's cache folder."""
    declared = os.environ.get("LAMBDAMART_KIT_CACHE")
    if declared:
        return Path(declared)
    import pooch

    return Path(pooch.os_cache("lambdamart-kit"))
