"""NumPy archives (``.npz``) of arrays: X, y, qid, and what else is known.

That is docid, feature_names and sample_weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lambdamart_kit.core.precision import as_features
from lambdamart_kit.datasets.dataset import RankingDataset
from lambdamart_kit.files.chunk import Chunk, Columns
from lambdamart_kit.runtime.atomic_file import atomic_file
from lambdamart_kit.runtime.python_parser import PARSER


class ArraysReader:
    """Rows of NumPy archives, one chunk an archive."""

    def __init__(self, paths: Sequence[Path], columns: Columns, n_jobs: int | None = None) -> None:
        self._weight = columns.sample_weight
        self._paths = paths
        self._required = columns.required
        self.feature_names = self._names(paths[0])

    def chunks(self, n_features: int | None) -> Iterator[Chunk]:
        """The rows, in order."""
        for path in self._paths:
            arrays = _load(path)
            absent = [name for name in ("X", "y", "qid") if name not in arrays]
            if absent and (self._required or "X" in absent):
                raise ValueError(f"{path}: must hold arrays X, y and qid; {', '.join(absent)} missing")
            X = as_features(arrays["X"])
            weight = None
            if self._weight is not None:
                weight = arrays.get(self._weight)
                if weight is None:
                    raise ValueError(
                        f"{path}: 'sample_weight' must name an array; got {self._weight!r}, there are "
                        f"{', '.join(arrays)}"
                    )
                weight = weight.astype(np.float64)
            y = arrays.get("y")
            labels = None if y is None else y.astype(np.float64)
            n_bytes = path.stat().st_size
            yield Chunk(path, X, labels, arrays.get("qid"), weight, arrays.get("docid"), n_bytes)

    def _names(self, path: Path) -> tuple[str, ...] | None:
        names = _load(path).get("feature_names")
        return None if names is None else tuple(map(str, names.tolist()))


def write_arrays(data: RankingDataset, path: Path) -> None:
    """Write an archive; sparse features become dense."""
    X = data.X if isinstance(data.X, np.ndarray) else data.X.toarray()
    arrays: dict[str, Any] = {"X": X, "y": data.y, "qid": data.qid}
    if data.docid is not None:
        arrays["docid"] = data.docid.astype(str)
    if data.sample_weight is not None:
        arrays["sample_weight"] = data.sample_weight
    if data.feature_names is not None:
        arrays["feature_names"] = np.array(data.feature_names)
    with atomic_file(path) as stream:
        np.savez_compressed(stream, **arrays)


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        with PARSER, np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise
    except Exception as error:  # what damage raises in zipfile and NumPy is no closed list
        raise ValueError(f"{path}: not a NumPy archive, or damaged ({error})") from None
