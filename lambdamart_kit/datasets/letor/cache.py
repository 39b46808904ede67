"""Parsed LETOR files kept on disk, so that the next load is a memory map.

An entry is a folder ``NAME.lmkcache/<key>/`` of ``.npy`` files and a ``meta.json``. The key digests what was
asked for (query file, sparse, missing, ...). The entry holds for one content, whose BLAKE2b digest is in the
metadata. While size and modification time of the source are those noted, the digest is believed; when they
differ the source is digested again, and the entry is used if the content is the same (a copy, a fresh
download) and remade if not.

Entries are written beside their final place and renamed, so a reader never sees half of one. Damage is looked
for on every load: each file's size, and the checksum of all of it up to 16 MiB, of 64 samples of 64 KiB above
that; a damaged entry is remade.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lambdamart_kit.core.typing import Array
from lambdamart_kit.datasets.dataset import RankingDataset

if TYPE_CHECKING:
    from lambdamart_kit.datasets.letor.reading import Options

_VERSION = 1
_CHECKED_WHOLE = 16 << 20
_SAMPLES, _SAMPLE_BYTES = 64, 64 << 10
_MAPPED = ("X", "data", "indices", "indptr")  # the large arrays; the others are read


class Cache:
    """The entry of one source file, read in one way.

    Parameters
    ----------
    path, query_file : Path, str or None
        The source.
    options : Options
        How it is read.
    folder : Path or None
        Where entries go. None: beside the source if that can be written to, else the user's cache folder.
    """

    def __init__(
        self, path: Path, query_file: str | Path | None, options: Options, folder: Path | None
    ) -> None:
        self.sources = [path.resolve()] + ([] if query_file is None else [Path(query_file).resolve()])
        asked = json.dumps([_VERSION, [p.name for p in self.sources], vars(options)], sort_keys=True)
        key = hashlib.blake2b(asked.encode(), digest_size=8).hexdigest()
        self.entry = self._home(folder) / key

    def _home(self, folder: Path | None) -> Path:
        source = self.sources[0]
        if folder is None and os.access(source.parent, os.W_OK):
            return source.with_name(f"{source.name}.lmkcache")
        place = hashlib.blake2b(str(source).encode(), digest_size=8).hexdigest()
        return (folder or user_cache_folder() / "letor") / f"{source.name}-{place}.lmkcache"

    def load(self) -> RankingDataset | None:
        """The stored data set; None if there is none, it is of another content, or it is damaged."""
        try:
            meta = json.loads((self.entry / "meta.json").read_text())
            if meta["stamps"] != self._stamps():
                if meta["digests"] != self._digests():
                    return None
                self._note_stamps(meta)
            arrays = {name: self._array(name, meta["arrays"][name]) for name in meta["arrays"]}
            X = arrays["X"] if "X" in arrays else self._csr(arrays, meta["shape"])
            return RankingDataset(X, arrays["y"], arrays["qid"], arrays.get("docid"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError):
            return None

    def store(self, data: RankingDataset) -> RankingDataset:
        """Write `data` and return it as it comes back, memory-mapped; as given if that fails."""
        try:
            self.entry.parent.mkdir(parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(prefix=".writing-", dir=self.entry.parent))
        except OSError:
            return data
        try:
            arrays = _parts(data)
            for name, array in arrays.items():
                np.save(fresh / f"{name}.npy", array, allow_pickle=False)
            meta = {
                "stamps": self._stamps(),
                "digests": self._digests(),
                "shape": list(data.X.shape),
                "arrays": {name: fingerprint(fresh / f"{name}.npy") for name in arrays},
            }
            (fresh / "meta.json").write_text(json.dumps(meta))
            shutil.rmtree(self.entry, ignore_errors=True)
            os.replace(fresh, self.entry)
        except (
            OSError,
            ValueError,
        ):  # no room, another process was faster, names that are objects
            return data
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        return self.load() or data

    def _array(self, name: str, expected: list[int]) -> Array:
        path = self.entry / f"{name}.npy"
        if fingerprint(path) != expected:
            raise ValueError("damaged")
        # Copy-on-write, and a plain ndarray: learners may write to it, and kernels compile for one type only.
        return np.asarray(np.load(path, mmap_mode="c" if name in _MAPPED else None, allow_pickle=False))

    def _csr(self, arrays: dict[str, Array], shape: list[int]) -> Any:
        from scipy import sparse

        parts: Any = (arrays["data"], arrays["indices"], arrays["indptr"])
        return sparse.csr_matrix(parts, shape=(shape[0], shape[1]), copy=False)

    def _stamps(self) -> list[list[int]]:
        return [[s.st_size, s.st_mtime_ns] for s in (path.stat() for path in self.sources)]

    def _digests(self) -> list[str]:
        return [content_digest(path) for path in self.sources]

    def _note_stamps(self, meta: dict[str, Any]) -> None:
        """Remember that the content is the same under new stamps; a read-only folder stays as it is."""
        try:
            fresh = self.entry / f".meta-{os.getpid()}.json"
            fresh.write_text(json.dumps(meta | {"stamps": self._stamps()}))
            os.replace(fresh, self.entry / "meta.json")
        except OSError:
            pass


def user_cache_folder() -> Path:
    """The folder for downloads and parsed files: ``LAMBDAMART_KIT_CACHE``, or the system's cache folder."""
    declared = os.environ.get("LAMBDAMART_KIT_CACHE")
    if declared:
        return Path(declared)
    import pooch

    return Path(pooch.os_cache("lambdamart-kit"))


def content_digest(path: Path) -> str:
    """BLAKE2b of a file's bytes, 16 bytes in hexadecimal."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _parts(data: RankingDataset) -> dict[str, Array]:
    parts = {"y": data.y, "qid": data.qid} | ({} if data.docid is None else {"docid": data.docid})
    if isinstance(data.X, np.ndarray):
        return parts | {"X": data.X}
    return parts | {"data": data.X.data, "indices": data.X.indices, "indptr": data.X.indptr}


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
