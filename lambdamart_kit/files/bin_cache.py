"""The folder that training from files works in: arrays by name, in entries found by what they were made from.

An entry is a folder of ``.npy`` files and ``meta.json``, which is written last and holds each file's
fingerprint; it is renamed to its final name when complete, so that nobody sees half of one. A damaged entry
is made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lambdamart_kit.core.typing import Array
from lambdamart_kit.datasets.letor.cache import content_digest, fingerprint
from lambdamart_kit.trees.edge_sample import open_map

_VERSION = 1
_STAMPS = "digests.json"


class Store:
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
        self.folder, self.scratch, self._keep = folder, scratch, keep

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
        noted = self.folder / _STAMPS
        try:
            known = json.loads(noted.read_text())
        except (OSError, ValueError):
            known = {}
        for path in paths:
            status, name = path.stat(), str(path.resolve())
            stamp = [status.st_size, status.st_mtime_ns]
            if known.get(name, [None])[:2] != stamp:
                known[name] = [*stamp, content_digest(path)]
        fresh = self.scratch / _STAMPS
        fresh.write_text(json.dumps(known))
        os.replace(fresh, noted)
        return [known[str(path.resolve())][2] for path in paths]

    def load(self, kind: str, key: str) -> dict[str, Array] | None:
        """The arrays of an entry; None if it is not there, or damaged. Large ones are mapped."""
        entry = self.folder / f"{kind}-{key}"
        try:
            expected = json.loads((entry / "meta.json").read_text())
            if any(fingerprint(entry / f"{name}.npy") != found for name, found in expected.items()):
                return None
            return {name: open_map(entry / f"{name}.npy") for name in expected}
        except (OSError, ValueError):
            return None

    @contextmanager
    def fresh(self, kind: str, key: str) -> Iterator[Path]:
        """A folder to put the ``.npy`` files of a new entry in: it is one when the block ends."""
        entry = self.folder / f"{kind}-{key}"
        writing = Path(tempfile.mkdtemp(prefix=f"{kind}-", dir=self.scratch))
        yield writing
        if self._keep:
            names = sorted(writing.glob("*.npy"))
            (writing / "meta.json").write_text(json.dumps({p.stem: fingerprint(p) for p in names}))
            shutil.rmtree(entry, ignore_errors=True)
            os.replace(writing, entry)

    def save(self, kind: str, key: str, arrays: dict[str, Array]) -> None:
        """Write an entry, if it may be found again."""
        if self._keep:
            with self.fresh(kind, key) as folder:
                for name, array in arrays.items():
                    np.save(folder / f"{name}.npy", array, allow_pickle=False)


@contextmanager
def open_store(work_dir: str | os.PathLike[str] | None) -> Iterator[Store]:
    """The store in `work_dir`, or one in a temporary folder that is removed."""
    if work_dir is None:
        with tempfile.TemporaryDirectory(prefix="lambdamart-kit-", ignore_cleanup_errors=True) as folder:
            yield Store(Path(folder), Path(folder), keep=False)
        return
    Path(work_dir).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".scratch-", dir=work_dir, ignore_cleanup_errors=True) as scratch:
        yield Store(Path(work_dir), Path(scratch), keep=True)
