"""Columns of a table of records, as the numbers that a command needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lambdamart_kit.core.typing import Array, FloatArray

if TYPE_CHECKING:
    import pandas as pd


def read_table(data: str) -> pd.DataFrame:
    """All rows of a file of records: JSON lines, JSON, CSV, TSV, Parquet or Arrow."""
    import pandas as pd

    from lambdamart_kit.preferences.reading.records import read_records

    table = pd.DataFrame(list(read_records(data)))
    if not len(table):
        raise ValueError(f"{data}: holds no rows")
    return table


def column(table: pd.DataFrame, name: str, option: str) -> Array:
    """A column as it is; an error says which option named it."""
    if name not in table:
        have = ", ".join(map(str, table.columns))
        raise ValueError(f"{option} names the column {name!r}, which the file does not have; it has {have}")
    return table[name].to_numpy()


def numbers(table: pd.DataFrame, name: str, option: str) -> FloatArray:
    """A column of numbers, none missing; text of numbers is read too, as CSV has it."""
    import pandas as pd

    values = pd.to_numeric(pd.Series(column(table, name, option)), errors="coerce").to_numpy(np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        found = table[name].iloc[bad[0]]
        raise ValueError(
            f"{option} names the column {name!r}, which must hold finite numbers; row {bad[0]} has {found!r} "
            f"({len(bad)} such rows)"
        )
    return values


def whole_numbers(table: pd.DataFrame, name: str, option: str) -> Array:
    """A column of whole numbers."""
    values = numbers(table, name, option)
    bad = np.flatnonzero(values != np.round(values))
    if len(bad):
        raise ValueError(
            f"{option} names the column {name!r}, which must hold whole numbers; row {bad[0]} has "
            f"{values[bad[0]]}"
        )
    return values.astype(np.intp)


def matrix(table: pd.DataFrame, names: str, option: str) -> FloatArray:
    """Columns of numbers side by side; or one column whose cells are lists of numbers, as of embeddings."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted:
        raise ValueError(f"{option} must name a column; got {names!r}")
    cells = column(table, wanted[0], option)
    if len(wanted) > 1 or not isinstance(cells[0], list | tuple | np.ndarray):
        return np.column_stack([numbers(table, name, option) for name in wanted])
    lengths = {len(cell) if isinstance(cell, list | tuple | np.ndarray) else -1 for cell in cells}
    if len(lengths) > 1:
        raise ValueError(f"{option} names the column {wanted[0]!r}, whose lists differ in length")
    return np.array([np.asarray(cell, dtype=np.float64) for cell in cells])
