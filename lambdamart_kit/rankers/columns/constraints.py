"""Constraints on trees as users write them: directions of columns, and groups of columns."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lambdamart_kit.core.rows import column_index
from lambdamart_kit.core.typing import Array

Groups = str | Sequence[Sequence[int | str]] | None


def monotone_directions(given: Any, names: Array | None, n_features: int) -> tuple[int, ...] | None:
    """The parameter 'monotone_constraints' as one entry for each column, -1, 0 or 1.

    Parameters
    ----------
    given : array-like of {-1, 0, 1}, dict by name, or None
        The parameter.
    names : (n_features,) array of str, or None
        Names of the columns.
    n_features : int
        Number of columns.

    Returns
    -------
    tuple of int, or None
        None without constraints.

    Raises
    ------
    ValueError
        If a name is not known, or an entry is not -1, 0 or 1.

    Examples
    --------
    >>> monotone_directions({"b": -1}, np.array(["a", "b"]), 2)
    (0, -1)
    """
    if given is None:
        return None
    if isinstance(given, Mapping):
        columns = list(range(n_features) if names is None else names)
        known = set(columns)
        unknown = [name for name in given if name not in known or isinstance(name, bool | float)]
        if unknown:
            raise ValueError(f"'monotone_constraints' names {unknown}, which 'X' does not have")
        given = [given.get(name, 0) for name in columns]
    values = np.asarray(given, dtype=object)
    if (
        values.shape != (n_features,)
        or any(isinstance(v, bool | np.bool_) for v in values)
        or not all(v in (-1, 0, 1) for v in values)
    ):
        raise ValueError(
            f"'monotone_constraints' must hold -1, 0 or 1 for each of the {n_features} "
            f"features; got {given!r}"
        )
    return tuple(int(v) for v in values)


def interaction_groups(
    given: Groups, names: Array | None, n_features: int
) -> tuple[tuple[int, ...], ...] | None:
    """The parameter 'interaction_constraints' as groups of column numbers that hold every column.

    Columns that are in no group form one more group, as in scikit-learn. LightGBM alone would never split on
    them, and XGBoost alone would let them interact with nothing.

    Parameters
    ----------
    given : {"pairwise", "no_interactions"}, sequence of sequences of int or str, or None
        The parameter.
    names : (n_features,) array of str, or None
        Names of the columns.
    n_features : int
        Number of columns.

    Returns
    -------
    tuple of tuple of int, or None
        None without constraints.

    Raises
    ------
    ValueError
        If a group is empty or is no list, or a column is not there.

    Examples
    --------
    >>> interaction_groups([["a", "c"]], np.array(["a", "b", "c", "d"]), 4)
    ((0, 2), (1, 3))
    >>> interaction_groups("no_interactions", None, 3)
    ((0,), (1,), (2,))
    """
    if given is None:
        return None
    if isinstance(given, str):
        size = {"no_interactions": 1, "pairwise": min(2, n_features)}[given]
        return tuple(itertools.combinations(range(n_features), size))
    places = {} if names is None else {name: j for j, name in enumerate(names)}
    groups = [_columns(group, places, n_features, given) for group in given]
    named = {column for group in groups for column in group}
    rest = tuple(column for column in range(n_features) if column not in named)
    return (*groups, rest) if rest else tuple(groups)


def _columns(group: Any, places: Mapping[str, int], n_features: int, given: Any) -> tuple[int, ...]:
    """Column numbers of one group, in ascending order."""
    rule = "'interaction_constraints' must hold lists of columns, by index or name, such as [[0, 1], [2]]; "
    if isinstance(group, str) or not hasattr(group, "__iter__"):
        raise ValueError(f"{rule}got {given!r}")
    columns = set()
    for entry in group:
        if isinstance(entry, str):
            if entry not in places:
                raise ValueError(f"'interaction_constraints' names {entry!r}, which 'X' does not have")
            columns.add(places[entry])
            continue
        try:
            column = column_index(entry)
        except TypeError:
            raise ValueError(f"{rule}got {given!r}") from None
        if not 0 <= column < n_features:
            raise ValueError(
                f"'interaction_constraints' must name columns in 0 .. {n_features - 1}, those of 'X'; "
                f"got {column}"
            )
        columns.add(column)
    if not columns:
        raise ValueError(f"'interaction_constraints' must hold no empty group; got {given!r}")
    return tuple(sorted(columns))
