"""Cuts one file of rows into parts of whole queries: at random, by hash, or by time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from lambdamart_kit.core.typing import Array, FloatArray, IndexArray
from lambdamart_kit.datasets import RankingDataset
from lambdamart_kit.files import FORMATS, Columns, read_rows, write_rows
from lambdamart_kit.files.formats import kind_of
from lambdamart_kit.files.row_files import RowFiles

By = Literal["query", "time", "hash"]

_DIGEST_BYTES = 8


def split_file(
    source: str | Path,
    parts: Mapping[str, float],
    folder: str | Path | None = None,
    *,
    by: By = "query",
    time: str | None = None,
    stratified: bool = False,
    seed: int = 0,
    columns: Columns | None = None,
    overwrite: bool = False,
) -> dict[Path, RankingDataset]:
    """Write the queries of a file into parts, each with the file's ending: no query is cut in two.

    Parameters
    ----------
    source : path
        File of any format of `lambdamart_kit.files`.
    parts : dict
        Name of each part to its share of the queries, such as ``{"train": 0.8, "test": 0.2}``.
    folder : path, optional
        Where to write ``<part><ending>``; by default beside the file.
    by : {"query", "hash", "time"}
        "query" draws at random. "hash" looks at the query's id alone, so a query that comes again in later
        data falls into the same part; shares are then kept on average. "time" gives the first queries to
        the first part: by the latest time of their rows.
    time : str, optional
        Column with the time, for ``by="time"``: numbers, or dates in ISO format. It is no feature.
    stratified : bool
        Give each part its share of queries of each highest label, for ``by="query"``.
    seed : int
        Of the draw, and of the hash.
    columns : Columns, optional
        Which columns of tables are what.
    overwrite : bool
        Whether parts that are there may be replaced.

    Returns
    -------
    dict of Path to RankingDataset
        What was written.

    Raises
    ------
    ValueError
        If shares do not add up to 1, a part would have no query, or options do not go together.
    """
    shares = _checked_shares(parts)
    if (by == "time") != (time is not None):
        raise ValueError("'time' must name the column with the time for by='time', and nothing else")
    if stratified and by != "query":
        raise ValueError(f"'stratified' needs by='query'; got by={by!r}")
    path = Path(source)
    roles = columns or Columns()
    times = None if time is None else _times(path, time)
    if time is not None:
        roles = Columns(roles.y, roles.qid, None, roles.docid, roles.features, (*roles.ignore, time))
    rows = read_rows(path, roles)
    part_of_query = _assign(rows, shares, by, times, stratified, seed)
    ending = path.name[len(path.name.partition(".")[0]) :]
    place = path.parent if folder is None else Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    targets = {place / f"{name}{ending}": number for number, name in enumerate(parts)}
    for target in targets:
        if target.exists() and target.samefile(path):
            raise ValueError(f"{target}: is read as input, so it cannot be a part; give another folder")
        if target.exists() and not overwrite:
            raise ValueError(f"{target}: is there already; give another folder, or add --force")
    empty = [name for number, name in enumerate(parts) if not (part_of_query == number).any()]
    if empty:
        raise ValueError(
            f"part {empty[0]!r} would have none of the {rows.queries.n_queries:,} queries; give it more"
        )
    written = {target: rows.select(part_of_query == number) for target, number in targets.items()}
    for target, part in written.items():
        write_rows(part, target)
    return written


def parse_parts(text: str) -> dict[str, float]:
    """Shares from text such as ``train:.6,vali:.2,test:.2``.

    Raises
    ------
    ValueError
        Naming what is not NAME:SHARE.

    Examples
    --------
    >>> parse_parts("train:.8, test:.2")
    {'train': 0.8, 'test': 0.2}
    """
    parts: dict[str, float] = {}
    for piece in text.split(","):
        name, colon, share = (word.strip() for word in piece.partition(":"))
        try:
            value = float(share)
        except ValueError:
            value = -1.0
        if not (name and colon and value > 0) or "/" in name:
            raise ValueError(
                f"'parts' must be NAME:SHARE,... such as train:.8,test:.2; got {piece.strip()!r}"
            )
        if name in parts:
            raise ValueError(f"'parts' must have different names; {name!r} is named twice")
        parts[name] = value
    return parts


def _checked_shares(parts: Mapping[str, float]) -> FloatArray:
    shares = np.array(list(parts.values()), dtype=np.float64)
    if len(shares) < 2 or (shares <= 0).any() or abs(shares.sum() - 1) > 1e-6:
        raise ValueError(
            f"'parts' must be two or more shares that add up to 1, such as train:.8,test:.2; got "
            f"{', '.join(f'{name}:{share:g}' for name, share in parts.items())}"
        )
    return shares


def _times(path: Path, column: str) -> FloatArray:
    """The time of each row as a number."""
    import pandas as pd

    if not FORMATS[kind_of(path)].named or kind_of(path) == "npz":
        raise ValueError(f"'time' names a column, and {path} has none; by='time' needs a table")
    found = RowFiles(path, Columns(y=None, qid=None, docid=column, features=(), required=False)).chunks()
    texts = [chunk.docid for chunk in found]
    if any(part is None for part in texts):
        raise ValueError(f"'time' must name a column; {path} has no {column!r}")
    values = pd.Series(np.concatenate([part for part in texts if part is not None]))
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.isna().any():
        dates = pd.to_datetime(values, errors="coerce", utc=True, format="ISO8601")
        if dates.isna().any():
            row = int(np.argmax(dates.isna()))
            raise ValueError(
                f"{path}, row {row + 1}: column {column!r} must hold numbers or ISO dates; got "
                f"{values[row]!r}"
            )
        numbers = (dates - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
    times: FloatArray = numbers.to_numpy(np.float64)
    return times


def _assign(
    rows: RankingDataset,
    shares: FloatArray,
    by: By,
    times: FloatArray | None,
    stratified: bool,
    seed: int,
) -> IndexArray:
    """Number of the part of each query."""
    queries = rows.queries
    n = queries.n_queries
    if by == "hash":
        return np.searchsorted(np.cumsum(shares)[:-1], _hashes(queries.ids, seed), side="right")
    if times is not None:
        latest = np.maximum.reduceat(queries.sort(times), queries.ptr[:-1])
        return _dealt(np.argsort(latest, kind="stable"), shares)
    order = np.random.default_rng(seed).permutation(n)
    if not stratified:
        return _dealt(order, shares)
    highest = np.maximum.reduceat(queries.sort(rows.y), queries.ptr[:-1])
    # In the order of the highest label, equally spaced queries of the whole go to each part.
    by_label = order[np.argsort(highest[order], kind="stable")]
    return _spaced(by_label, shares)


def _dealt(order: IndexArray, shares: FloatArray) -> IndexArray:
    """The first queries of `order` to the first part, and so on."""
    n = len(order)
    stops = np.round(np.cumsum(shares) * n).astype(np.int64)
    stops[-1] = n
    part = np.empty(n, dtype=np.int64)
    part[order] = np.searchsorted(stops, np.arange(n), side="right")
    return part


def _spaced(order: IndexArray, shares: FloatArray) -> IndexArray:
    """Each next query to the part that lacks most of its share so far."""
    given = np.zeros(len(shares))
    part = np.empty(len(order), dtype=np.int64)
    for done, query in enumerate(order, start=1):
        part[query] = int(np.argmax(shares * done - given))
        given[part[query]] += 1
    return part


def _hashes(ids: Array, seed: int) -> FloatArray:
    """A number in [0, 1) of each id, the same on every machine: integers and their text are alike."""
    key = str(seed).encode()
    digests: Sequence[bytes] = [
        hashlib.blake2b(str(qid).encode(), digest_size=_DIGEST_BYTES, key=key).digest()
        for qid in np.asarray(ids).tolist()
    ]
    return np.array([int.from_bytes(digest, "big") for digest in digests]) / 2.0 ** (8 * _DIGEST_BYTES)
