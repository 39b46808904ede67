"""Parsed files kept on disk, so that the next load is a memory map.

An entry is a folder ``NAME.lmkcache/<key>/`` of arrays, see :mod:`lambdamart_kit.runtime.disk_cache`. The key
digests what was asked for (query file, sparse, missing, ...). The entry holds for one content, whose BLAKE2b
digest is in its notes. While size and modification time of the source are those noted, the digest is
believed; when they differ the source is digested again, and the entry is used if the content is the same (a
copy, a fresh download) and remade if not. What was parsed while the source changed is not stored.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lambdamart_kit.core.typing import Array
from lambdamart_kit.datasets.dataset import RankingDataset
from lambdamart_kit.runtime.atomic_file import atomic_file
from lambdamart_kit.runtime.disk_cache import (
    META,
    Notes,
    content_digest,
    identity,
    new_entry,
    notes_as_bytes,
    read_arrays,
    read_notes,
    stamp,
    user_cache_folder,
)

_VERSION = 1
_MAPPED = ("X", "data", "indices", "indptr")  # the large arrays; the others are read


class Cache:
    """The entry of one source file, read in one way.

    Parameters
    ----------
    path, query_file : Path, str or None
        The source.
    options : dataclass
        How it is read.
    folder : Path or None
        Where entries go. None: beside the source if that can be written to, else the user's cache folder.
    """

    def __init__(self, path: Path, query_file: str | Path | None, options: Any, folder: Path | None) -> None:
        self.sources = [path.resolve()] + ([] if query_file is None else [Path(query_file).resolve()])
        asked = json.dumps([_VERSION, [p.name for p in self.sources], asdict(options)], sort_keys=True)
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
        notes = read_notes(self.entry)
        if notes is None or not self._is_current(notes):
            return None
        arrays = read_arrays(self.entry, notes, mapped=_MAPPED)
        if arrays is None:
            return None
        try:
            X = arrays["X"] if "X" in arrays else _csr(arrays, notes["shape"])
            names = tuple(arrays["feature_names"].tolist()) if "feature_names" in arrays else None
            return RankingDataset(
                X, arrays["y"], arrays["qid"], arrays.get("docid"), names, arrays.get("sample_weight")
            )
        except (KeyError, ValueError, TypeError, IndexError):
            return None

    def load_or_read(self, read: Callable[[], RankingDataset]) -> RankingDataset:
        """The stored data set, or what `read` gives, which is stored for the next time.

        What cannot be stored, for lack of room or because names of documents are objects, is returned as it
        was read. So is what was read while the source changed: nobody could say which content it has.
        """
        stored = self.load()
        if stored is not None:
            return stored
        before = self._identities()
        data = read()
        try:
            self._store(data, before)
        except (OSError, ValueError):
            return data
        return self.load() or data

    def _store(self, data: RankingDataset, before: list[tuple[int, ...]]) -> None:
        notes = {"stamps": self._stamps(), "digests": self._digests(), "shape": list(data.X.shape)}
        if self._identities() != before:
            return
        self.entry.parent.mkdir(parents=True, exist_ok=True)
        with new_entry(self.entry, notes) as folder:
            for name, array in _parts(data).items():
                np.save(folder / f"{name}.npy", array, allow_pickle=False)

    def _is_current(self, notes: Notes) -> bool:
        """Whether the entry is of the content that the source has now."""
        try:
            if notes.get("stamps") == self._stamps():
                return True
            stamps = self._stamps()
            if notes.get("digests") != self._digests():
                return False
        except OSError:
            return False
        self._note_stamps({**notes, "stamps": stamps})
        return True

    def _note_stamps(self, notes: Notes) -> None:
        """Remember that the content is the same under new stamps; a read-only folder stays as it is."""
        try:
            with atomic_file(self.entry / META) as stream:
                stream.write(notes_as_bytes(notes))
        except OSError:
            pass

    def _stamps(self) -> list[list[int]]:
        return [stamp(path) for path in self.sources]

    def _digests(self) -> list[str]:
        return [content_digest(path) for path in self.sources]

    def _identities(self) -> list[tuple[int, ...]]:
        return [identity(path) for path in self.sources]


def _csr(arrays: dict[str, Array], shape: list[int]) -> Any:
    from scipy import sparse

    parts: Any = (arrays["data"], arrays["indices"], arrays["indptr"])
    return sparse.csr_matrix(parts, shape=(shape[0], shape[1]), copy=False)


def _parts(data: RankingDataset) -> dict[str, Array]:
    parts = {"y": data.y, "qid": data.qid}
    if data.docid is not None:
        parts["docid"] = data.docid
    if data.sample_weight is not None:
        parts["sample_weight"] = data.sample_weight
    if data.feature_names is not None:
        parts["feature_names"] = np.array(data.feature_names)
    if isinstance(data.X, np.ndarray):
        return parts | {"X": data.X}
    return parts | {"data": data.X.data, "indices": data.X.indices, "indptr": data.X.indptr}
