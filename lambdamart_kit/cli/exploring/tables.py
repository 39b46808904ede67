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


def ids(table: pd.DataFrame, name: str, option: str) -> Array:
    """A column of ids, none of them missing or empty.

    Parameters
    ----------
    table : DataFrame
        The file's rows.
    name, option : str
        The column, and the option that named it.

    Raises
    ------
    ValueError
        If there is no such column, or a row has no id.
    """
    values = column(table, name, option)
    missing = np.flatnonzero(table[name].isna().to_numpy() | (table[name].astype(str) == "").to_numpy())
    if len(missing):
        raise ValueError(
            f"{option} names the column {name!r}, which must not be missing; row {missing[0]} has no id "
            f"({len(missing)} such rows); drop those rows or give them one"
        )
    return values


def chances(table: pd.DataFrame, name: str, option: str, *, above_0: bool = False) -> FloatArray:
    """A column of probabilities.

    Parameters
    ----------
    table : DataFrame
        The file's rows.
    name, option : str
        The column, and the option that named it.
    above_0 : bool
        Whether 0 is refused.

    Raises
    ------
    ValueError
        If there is no such column, or a value is no probability.
    """
    values = numbers(table, name, option)
    wrong = np.flatnonzero((values < 0) | (values > 1 + 1e-9) | ((values == 0) & above_0))
    if len(wrong):
        rule = "(0, 1]: what was shown had a chance" if above_0 else "[0, 1]"
        raise ValueError(
            f"{option} names the column {name!r}, which must hold probabilities in {rule}; row {wrong[0]} "
            f"has {values[wrong[0]]:g} ({len(wrong)} such rows)"
        )
    return values


def numbers(table: pd.DataFrame, name: str, option: str) -> FloatArray:
    """A column of numbers, none missing; text of numbers is read too, as CSV has it."""
    import pandas as pd

    values = pd.to_numeric(pd.Series(column(table, name, option)), errors="coerce").to_numpy(np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        found = table[name].iloc[bad[0]]
        found = found.item() if isinstance(found, np.generic) else found
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
    try:
        return np.array([np.asarray(cell, dtype=np.float64) for cell in cells])
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{option} names the column {wanted[0]!r}, whose lists must hold numbers: {error}"
        ) from None
