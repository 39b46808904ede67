r"""LETOR files: read and write.

A line is ``label qid:id index:value ... # comment``: svmlight's format with a query id.

    2 qid:10002 1:0.007477 2:0.000000 ... 46:0.007042 #docid = GX008-86-4444840

- ``label`` and values are decimal numbers, finite, rounded to float32 as ``numpy.float32(float(text))`` does.
- ``id`` is any run of printable characters; if all are whole numbers ``qid`` is int64, else strings.
  Rows of a query need not stand together: wherever they stand, equal ids are one query.
- Indices count from 1 and increase along the line; `zero_based` and `unordered` read svmlight files that do
  otherwise. A feature that is absent is 0 (LETOR's convention; see `missing`).
- Blank lines, lines that are only a comment, a byte-order mark and ``\r\n`` are accepted.
- A last line without a newline is accepted when it looks complete, and refused when it ends before the
  feature or comment that ends all others.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lambdamart_kit.core.alike_ids import warn_of_alike_ids
from lambdamart_kit.datasets.dataset import RankingDataset
from lambdamart_kit.runtime.progress import Progress

if TYPE_CHECKING:
    from lambdamart_kit.datasets.letor.reading import Parsed, ReadOptions

_LARGEST = 3.4028234663852886e38  # of float32
_LONG_READ = 100 << 20  # bytes from which a progress bar is worth drawing


def read_letor(
    path: str | Path,
    *,
    query_file: str | Path | None = None,
    docid: Literal["none", "id", "comment"] = "id",
    sparse: bool = False,
    missing: float = 0.0,
    n_features: int | None = None,
    clip: float | None = None,
    zero_based: bool = False,
    unordered: bool = False,
    cache: bool | str | Path = False,
    n_jobs: int | None = None,
    progress: bool = True,
) -> RankingDataset:
    r"""Read a LETOR file (svmlight with ``qid:``), plain, ``.gz`` or ``.zst``.

    Parameters
    ----------
    path : str or Path
        The file.
    query_file : str or Path, optional
        For files without ``qid:``: the number of rows of each query, one a line, as LightGBM has it beside
        its data (``rank.train.query``). Queries are then called 1, 2, ... By default ``NAME.query`` or
        ``NAME.group``, as XGBoost calls it, where such a file stands beside one whose lines have no ``qid:``.
    docid : {"id", "none", "comment"}
        What to keep of comments: the name in ``#docid = name`` (the whole comment where it is not of that
        form), nothing, or the whole comment always.
    sparse : bool
        Give ``X`` as scipy.sparse CSR with the entries that the file has, zeros among them, instead of dense.
    missing : float
        Value of an absent feature in dense ``X``: 0 (LETOR) or NaN.
    n_features : int, optional
        Number of columns; by default the largest index in the file. Give it when the last features of a
        small file may be absent.
    clip : float, optional
        Features beyond ``-clip`` and ``clip``, infinite ones among them, become these, and ``NaN`` stands for
        a missing feature. Without, such values are an error. Istella writes 1.797e308 for what it lacks.
    zero_based : bool
        Feature indices of the file count from 0, as scikit-learn writes them; column j of ``X`` is then the
        file's feature j, and not j + 1.
    unordered : bool
        Feature indices may stand in any order along a line.
    cache : bool, str or Path
        Keep the arrays on disk, so that the next load is a memory map: beside the data if that folder can
        be written to, else in the user's cache folder (True), or in the given folder. See
        :mod:`lambdamart_kit.datasets.letor.cache`.
    n_jobs : int, optional
        Threads; all by default.
    progress : bool
        Draw a progress bar for files over 100 MB, when stderr is a terminal.

    Returns
    -------
    RankingDataset
        ``X`` float32, with a warning if that merges values of a column, ``y`` float32, ``qid`` int64 or
        str, with a warning if two are the same number (7 and 7.0), ``docid`` str or None. From a cache, ``X``
        is copy-on-write: writing to it does not reach the disk.

    Raises
    ------
    LetorFormatError
        If the file is not LETOR; the message has the file, the line and the offending text.
    OSError
        If the file cannot be opened.
    ImportError
        For ``.zst`` without the zstandard package.

    References
    ----------
    T. Qin and T.-Y. Liu, "Introducing LETOR 4.0 Datasets", arXiv:1306.2597.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "two.txt"
    >>> _ = path.write_text("2 qid:7 1:0.5 3:2 #docid = a\n0 qid:7 2:1 3:4 #docid = b\n")
    >>> data = read_letor(path)
    >>> data.X.tolist(), data.y.tolist(), data.qid.tolist(), data.docid.tolist()
    ([[0.5, 0.0, 2.0], [0.0, 1.0, 4.0]], [2.0, 0.0], [7, 7], ['a', 'b'])
    """
    from lambdamart_kit.datasets.letor.reading import NAME_MODES, ReadOptions
    from lambdamart_kit.datasets.letor.text_file import sidecar

    if docid not in NAME_MODES:
        raise ValueError(f"'docid' must be one of {', '.join(map(repr, NAME_MODES))}; got {docid!r}")
    if not (missing == 0 or math.isnan(missing)):
        raise ValueError(f"'missing' must be 0 or NaN; got {missing!r}")
    if sparse and missing != 0:
        raise ValueError("'missing' must be 0 with sparse=True, where absent entries are not stored")
    if n_features is not None and not 1 <= n_features < 2**31 - 1:
        raise ValueError(f"'n_features' must be a positive whole number; got {n_features!r}")
    if clip is not None and not 0 < clip <= _LARGEST:
        raise ValueError(f"'clip' must be a positive number that fits float32, such as 1e6; got {clip!r}")
    path = Path(path)
    if query_file is None:
        query_file = sidecar(path)
    options = ReadOptions(
        query_file is None, docid, sparse, missing, n_features, clip, bool(zero_based), bool(unordered)
    )
    if cache is False:
        data = _read(path, query_file, options, n_jobs, progress)
    else:
        from lambdamart_kit.datasets.letor.cache import Cache

        stored = Cache(path, query_file, options, None if cache is True else Path(cache))
        data = stored.load_or_read(lambda: _read(path, query_file, options, n_jobs, progress))
    warn_of_alike_ids(data.qid, path)
    return data


def _read(
    path: Path, query_file: str | Path | None, options: ReadOptions, n_jobs: int | None, progress: bool
) -> RankingDataset:
    from lambdamart_kit.datasets.letor.reading import parse_text, read_query_sizes
    from lambdamart_kit.datasets.letor.rounding import warn_of_rounding
    from lambdamart_kit.datasets.letor.text_file import open_text
    from lambdamart_kit.runtime.threads import resolve_n_jobs

    with open_text(path) as text:
        title = f"reading {path.name}"
        wanted = progress and text.size > _LONG_READ
        with Progress(title, text.size, unit="bytes", bar=wanted) as shown:
            parsed = parse_text(text, options, resolve_n_jobs(n_jobs), shown.advance)
        X = _features(parsed)
        if text.size:
            warn_of_rounding(text, X, options)
    qid = parsed.qid
    if query_file is not None:
        with open_text(Path(query_file)) as sizes:
            qid = read_query_sizes(sizes, len(parsed.y))
    assert qid is not None
    if options.clip is not None:
        values = parsed.X[0] if isinstance(parsed.X, tuple) else parsed.X
        values.clip(-options.clip, options.clip, out=values)
    return RankingDataset(X, parsed.y, qid, parsed.docid)


def _features(parsed: Parsed) -> Any:
    if not isinstance(parsed.X, tuple):
        return parsed.X
    from scipy import sparse

    X = sparse.csr_matrix(parsed.X, shape=(len(parsed.y), parsed.n_features), copy=False)
    X.sort_indices()  # does nothing where the file has them in order
    return X


def write_letor(data: RankingDataset, path: str | Path) -> None:
    r"""Write a LETOR file, plain, ``.gz`` or ``.zst``: reading it back gives the same float32 values.

    Numbers are written with the fewest decimals that read back exactly. Dense features are all written,
    except NaN, which is left out; of sparse features, the stored entries. Names are written as
    ``#docid = name``, or as the plain comment where they contain spaces.

    Parameters
    ----------
    data : RankingDataset
        What to write.
    path : str or Path
        Where; replaced only when all is written.

    Raises
    ------
    ValueError
        If a value is infinite, a label is not finite, or an id cannot stand in the format (empty, with
        spaces, with ``#``, or not printable).

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> X, y, qid = np.array([[0.1, 3]], np.float32), np.array([1], np.float32), np.array(["q1"])
    >>> path = Path(tempfile.mkdtemp()) / "one.txt"
    >>> write_letor(RankingDataset(X, y, qid), path)
    >>> path.read_text()
    '1 qid:q1 1:0.1 2:3\n'
    """
    from lambdamart_kit.datasets.letor.writing import write_rows

    write_rows(data, Path(path))
