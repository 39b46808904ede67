"""The folder that training from files works in: entries of arrays, found by what they were made from."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lambdamart_kit.core.typing import Array, Settings
from lambdamart_kit.runtime.atomic_file import atomic_file
from lambdamart_kit.runtime.disk_cache import content_digest, new_entry, read_arrays, read_notes, stamp
from lambdamart_kit.runtime.leftovers import scratch_folder

_VERSION = 2
_STAMPS = "digests.json"


class BinCache:
    """Entries of one folder.

    Parameters
    ----------
    folder : Path
        Must exist.
    scratch : Path
        For what no later fit can use; removed at the end.
    keep : bool
        Whether entries outlive the fit, so that they are worth finding again.
    """

    def __init__(self, folder: Path, scratch: Path, *, keep: bool) -> None:
        self.folder = folder
        self.scratch = scratch
        self._keep = keep

    def key(self, *parts: Any) -> str:
        """What an entry is found by: a digest of what it is made from, arrays or JSON values."""
        digest = hashlib.blake2b(str(_VERSION).encode(), digest_size=10)
        for part in parts:
            if isinstance(part, np.ndarray):
                digest.update(f"{part.dtype}{part.shape}".encode())
                digest.update(np.ascontiguousarray(part).data)
            else:
                digest.update(json.dumps(part, sort_keys=True, default=str).encode())
        return digest.hexdigest()

    def digests(self, paths: Sequence[Path]) -> list[str]:
        """Digest of each file's content, believed while its size and modification time stay the same."""
        if not self._keep:
            return [str(path) for path in paths]  # nothing will be looked for
        known = self._noted()
        found = []
        for path in paths:
            name = str(path.resolve())
            now = stamp(path)
            noted = known.get(name)
            if not (isinstance(noted, list) and len(noted) == 3 and noted[:2] == now):
                noted = [*now, content_digest(path)]
                known[name] = noted
            found.append(str(noted[2]))
        with atomic_file(self.folder / _STAMPS) as stream:
            stream.write(json.dumps(known).encode())
        return found

    def load(self, kind: str, key: str) -> dict[str, Array] | None:
        """The arrays of an entry, mapped into memory; None if it is not there, or damaged."""
        entry = self._entry(kind, key)
        notes = read_notes(entry)
        return None if notes is None else read_arrays(entry, notes)

    @contextmanager
    def fresh(self, kind: str, key: str) -> Iterator[Path]:
        """A folder to put the ``.npy`` files of a new entry in: it is one when the block ends."""
        if self._keep:
            with new_entry(self._entry(kind, key), beside=self.scratch) as folder:
                yield folder
        else:
            yield Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=self.scratch))

    def save(self, kind: str, key: str, arrays: dict[str, Array]) -> None:
        """Write an entry, if it may be found again."""
        if self._keep:
            with self.fresh(kind, key) as folder:
                for name, array in arrays.items():
                    np.save(folder / f"{name}.npy", array, allow_pickle=False)

    def _entry(self, kind: str, key: str) -> Path:
        return self.folder / f"{kind}-{key}"

    def _noted(self) -> Settings:
        """Digests of earlier fits; none where the file that holds them is missing or damaged."""
        try:
            known = json.loads((self.folder / _STAMPS).read_text())
        except (OSError, ValueError, RecursionError):
            return {}
        return known if isinstance(known, dict) else {}


@contextmanager
def open_bin_cache(work_dir: str | os.PathLike[str] | None) -> Iterator[BinCache]:
    """The cache in `work_dir`, or one in a temporary folder that is removed."""
    if work_dir is None:
        with tempfile.TemporaryDirectory(prefix="lambdamart-kit-", ignore_cleanup_errors=True) as folder:
            yield BinCache(Path(folder), Path(folder), keep=False)
        return
    Path(work_dir).mkdir(parents=True, exist_ok=True)
    with scratch_folder(Path(work_dir)) as scratch:
        yield BinCache(Path(work_dir), scratch, keep=True)
