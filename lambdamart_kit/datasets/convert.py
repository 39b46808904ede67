"""One file format to another: LETOR text, NumPy archives, Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lambdamart_kit.datasets.dataset import RankingDataset
from lambdamart_kit.datasets.letor.files import read_letor, write_letor


def convert(source: str | Path, target: str | Path, *, n_jobs: int | None = None) -> RankingDataset:
    """Read `source`, write `target`; suffixes say the formats. LETOR comments are kept whole.

    Parameters
    ----------
    source, target : str or Path
        ``.npz`` (arrays X, y, qid, docid), ``.parquet`` (columns qid, docid, label and one a feature), and
        LETOR text: ``.gz``, ``.zst`` and any other suffix.
    n_jobs : int, optional
        Threads.

    Returns
    -------
    RankingDataset
        What was converted.

    Raises
    ------
    LetorFormatError, ValueError, OSError
        If `source` cannot be read.
    ImportError
        For ``.zst`` without zstandard and ``.parquet`` without pyarrow.
    """
    data = load(source, n_jobs=n_jobs)
    save(data, target)
    return data


def load(path: str | Path, *, n_jobs: int | None = None) -> RankingDataset:
    """Read a file of any of the formats of :func:`convert`."""
    path = Path(path)
    if path.suffix == ".npz":
        return _from_npz(path)
    if path.suffix == ".parquet":
        return RankingDataset.from_frame(_pandas().read_parquet(path))
    return read_letor(path, docid="comment", n_jobs=n_jobs)


def save(data: RankingDataset, path: str | Path) -> None:
    """Write a file of any of the formats of :func:`convert`."""
    path = Path(path)
    if path.suffix == ".npz":
        _to_npz(data, path)
    elif path.suffix == ".parquet":
        _pandas()
        data.to_frame().to_parquet(path, index=False)
    else:
        write_letor(data, path)


def _pandas() -> Any:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise ImportError(
            "'.parquet' needs the 'pyarrow' package: pip install 'lambdamart-kit[parquet]'"
        ) from None
    import pandas

    return pandas


def _to_npz(data: RankingDataset, path: Path) -> None:
    X = data.X if isinstance(data.X, np.ndarray) else data.X.toarray()
    arrays: dict[str, Any] = {"X": X, "y": data.y, "qid": data.qid}
    if data.docid is not None:
        arrays["docid"] = data.docid.astype(str)
    if data.feature_names is not None:
        arrays["feature_names"] = np.array(data.feature_names)
    np.savez_compressed(path, **arrays)


def _from_npz(path: Path) -> RankingDataset:
    with np.load(path, allow_pickle=False) as arrays:
        missing = {"X", "y", "qid"} - set(arrays.files)
        if missing:
            raise ValueError(f"{path} must hold arrays X, y and qid; {', '.join(sorted(missing))} missing")
        names = tuple(arrays["feature_names"].tolist()) if "feature_names" in arrays.files else None
        docid = arrays["docid"] if "docid" in arrays.files else None
        X, y = arrays["X"].astype(np.float32), arrays["y"].astype(np.float32)
        return RankingDataset(X, y, arrays["qid"], docid, names)
