"""The arguments of `fit` as one record, so that nobody who passes them on repeats their list.

A new argument of `fit` becomes a field of `FitInput`, and one of held-out rows a field of `HeldOutInput`.
Rankers that cannot use it refuse it by name with `FitInput.refuse`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing

from lambdamart_kit.core.rows import check_given_rows, is_sparse
from lambdamart_kit.core.typing import ArrayLike, Features, Ids, IndexArray
from lambdamart_kit.rankers.columns.categories import check_is_table

FIRST_SET = "validation"
"""Name of the held-out rows that early stopping looks at, unless `names_val` says another one."""

ROW_ALIGNED = ("qid", "sample_weight", "position", "init_score", "document_weight")
"""Arguments of `fit` that have an entry for each row, besides X and y."""


class _RowAligned:
    """What both records have in common."""

    def aligned(self) -> dict[str, Any]:
        """Query ids, weights, positions and starting scores of the rows, None where there are none."""
        return {name: getattr(self, name) for name in ROW_ALIGNED}

    def _rows(self, suffix: str = "") -> dict[str, Any]:
        """Everything that has an entry for each row, by the name of its parameter."""
        given = {name: getattr(self, name) for name in ("X", "y", *ROW_ALIGNED)}
        return {f"{name}{suffix}": values for name, values in given.items()}


@dataclass(frozen=True, eq=False)
class HeldOutInput(_RowAligned):
    """One set of held-out rows as `fit` got it; nothing is checked yet.

    Attributes
    ----------
    name : str
        Key in ``evals_result_``.
    X, y : array-like
    qid, sample_weight, init_score, position, document_weight : array-like, optional
        Row-aligned with X.
    label : str
        How errors call the set: empty if there is one set only, else ``"[1]"``, its place in the lists.
    """

    name: str
    X: Features
    y: ArrayLike
    qid: Ids = None
    sample_weight: ArrayLike | None = None
    init_score: ArrayLike | None = None
    position: ArrayLike | None = None
    label: str = ""
    document_weight: ArrayLike | None = None

    @property
    def suffix(self) -> str:
        """What errors add to names of parameters: ``"_val"``, or ``"_val[1]"`` for the second of a list."""
        return f"_val{self.label}"


@dataclass(frozen=True, eq=False)
class FitInput(_RowAligned):
    """What `fit` got; nothing is checked yet.

    Attributes
    ----------
    X, y : array-like
    qid, sample_weight, position, init_score, document_weight : array-like, optional
        Row-aligned with X.
    init_model : object, optional
        Model to go on from.
    held_out : tuple of HeldOutInput
        The first one is what early stopping looks at.
    """

    X: Features
    y: ArrayLike
    qid: Ids = None
    sample_weight: ArrayLike | None = None
    position: ArrayLike | None = None
    init_score: ArrayLike | None = None
    init_model: Any = None
    held_out: tuple[HeldOutInput, ...] = ()
    document_weight: ArrayLike | None = None

    @property
    def has_one_query(self) -> bool:
        """Whether all rows are taken as one query, because there are no query ids."""
        return self.qid is None

    def refuse(self, *names: str, by: str, remedy: str) -> None:
        """Raise if one of the arguments `names` was given to a ranker that has no use for it.

        Parameters
        ----------
        names : str
            Fields of this record; "X_val" stands for all held-out rows.
        by : str
            Class of the ranker.
        remedy : str
            What to do instead.

        Raises
        ------
        ValueError
            Naming the argument.
        """
        for name in names:
            given = bool(self.held_out) if name == "X_val" else getattr(self, name) is not None
            if name == "document_weight":
                given |= any(part.document_weight is not None for part in self.held_out)
            if given:
                raise ValueError(f"{name!r} must be None with {by}: {remedy}")

    def check_rows(self) -> None:
        """Refuse masked entries, and warn of rows of pandas whose indexes contradict each other."""
        check_is_table(self.X)
        check_given_rows(self._rows(), stacklevel=4)
        for part in self.held_out:
            check_is_table(part.X, f"X{part.suffix}")
            check_given_rows(part._rows(part.suffix), stacklevel=4)

    def weights_of_one_query(self) -> FitInput:
        """Without query ids, weights that differ from row to row are those of documents.

        All rows are one query then, and the weight of a single query would mean nothing. Libraries that know
        no queries, such as scikit-learn, weigh rows.
        """
        if not self.has_one_query or self.sample_weight is None or self.document_weight is not None:
            return self
        weight = np.asarray(self.sample_weight)
        if weight.ndim != 1 or not len(weight) or (weight == weight[0]).all():
            return self
        return replace(self, sample_weight=None, document_weight=weight)

    def arguments(self) -> dict[str, Any]:
        """Row-aligned arguments that were given, by name, without X and y."""
        return {name: values for name, values in self.aligned().items() if values is not None}

    def held_out_arguments(self) -> dict[str, Any]:
        """The held-out rows as arguments of `fit`: one set as it is, several as lists."""
        if not self.held_out:
            return {}
        found = {}
        for field in fields(HeldOutInput):
            if field.name in ("name", "label"):
                continue
            values = [getattr(held_out, field.name) for held_out in self.held_out]
            if any(value is not None for value in values):
                found[f"{field.name}_val"] = values[0] if len(values) == 1 else values
        names = [held_out.name for held_out in self.held_out]
        return {**found, "names_val": names}

    def part(self, rows: IndexArray) -> FitInput:
        """The same with some of the training rows only; several labels keep their names."""
        chosen: dict[str, Any] = {name: np.asarray(values)[rows] for name, values in self.arguments().items()}
        return replace(self, X=_safe_indexing(self.X, rows), y=_safe_indexing(self.y, rows), **chosen)


def held_out_inputs(
    X_val: Any,
    y_val: Any,
    qid_val: Any = None,
    sample_weight_val: Any = None,
    init_score_val: Any = None,
    position_val: Any = None,
    names_val: Any = None,
    document_weight_val: Any = None,
    *,
    single: bool,
) -> tuple[HeldOutInput, ...]:
    """The held-out arguments of `fit` as one record for each set.

    Parameters
    ----------
    X_val, y_val, qid_val, sample_weight_val, init_score_val, position_val : array-like, or lists of them
    document_weight_val : array-like, or list of them
        Of one set, or of several sets in lists of one length, in which None stands for nothing.
    names_val : str or list of str, optional
        Names of the sets; "validation", "validation 2", ... by default.
    single : bool
        Whether `qid` is None: all training rows are one query, and those of a held-out set may be.

    Raises
    ------
    ValueError
        If something is missing, or lists do not have one entry for each set.
    """
    given = {
        "X_val": X_val,
        "y_val": y_val,
        "qid_val": qid_val,
        "sample_weight_val": sample_weight_val,
        "init_score_val": init_score_val,
        "position_val": position_val,
        "document_weight_val": document_weight_val,
    }
    if X_val is None:
        lonely = [name for name, value in {**given, "names_val": names_val}.items() if value is not None]
        if "y_val" in lonely or "qid_val" in lonely:
            raise ValueError("'X_val' must be given with 'y_val' and 'qid_val'; got None")
        if lonely:
            raise ValueError(f"{lonely[0]!r} must be given with 'X_val' only; got X_val=None")
        return ()
    if y_val is None:
        raise ValueError("'y_val' must be given with 'X_val'; got None")
    _check_sets(X_val)
    several = _is_several(X_val)
    sets = {name: _as_list(name, value, len(X_val)) if several else [value] for name, value in given.items()}
    names = _names(names_val, len(sets["X_val"]))
    found = []
    for at, name in enumerate(names):
        values = {key.removesuffix("_val"): entries[at] for key, entries in sets.items()}
        held_out = HeldOutInput(name, **values, label=f"[{at}]" if several else "")
        for key in ("X", "y"):
            if getattr(held_out, key) is None:
                raise ValueError(f"'{key}{held_out.suffix}' must be given; got None")
        if held_out.qid is None and not single:
            raise ValueError(
                f"'qid{held_out.suffix}' must be given with 'X_val', because 'qid' was; got None"
            )
        found.append(held_out)
    return tuple(found)


def _check_sets(X_val: Any) -> None:
    """Refuse what is neither rows nor a list of several: an empty list, a dict, pairs of X and y."""
    if isinstance(X_val, dict) and not is_sparse(X_val):
        got = "a dict"
    elif not isinstance(X_val, list | tuple):
        return
    elif not X_val:
        got = "an empty list"
    elif all(
        isinstance(entry, tuple) and len(entry) == 2 and _n_dimensions(entry[0]) == 2 for entry in X_val
    ):
        got = "pairs, as LightGBM's and XGBoost's 'eval_set' has them"
    else:
        return
    raise ValueError(
        "'X_val' must hold rows, or be a list of several sets of rows, with their labels and queries in "
        f"lists 'y_val' and 'qid_val' of their own and their names in 'names_val'; got {got}"
    )


def _is_several(X_val: Any) -> bool:
    """Whether X_val is a list of sets and not the rows of one set, which may be a list of lists."""
    if not isinstance(X_val, list | tuple) or not X_val:
        return False
    return all(_n_dimensions(entry) == 2 for entry in X_val)


def _n_dimensions(value: Any) -> int:
    shape = getattr(value, "shape", None)
    if shape is not None:
        return len(shape)
    if not isinstance(value, list | tuple):
        return 0
    return 1 + (_n_dimensions(value[0]) if value else 0)


def _as_list(name: str, values: Any, n_sets: int) -> Sequence[Any]:
    if values is None:
        return [None] * n_sets
    if not isinstance(values, list | tuple) or len(values) != n_sets:
        what = f"{len(values)} entries" if isinstance(values, list | tuple) else f"a {type(values).__name__}"
        raise ValueError(
            f"{name!r} must be a list with one entry for each of the {n_sets} sets of 'X_val'; got {what}"
        )
    return values


def _names(names: Any, n_sets: int) -> list[str]:
    if names is None:
        return [FIRST_SET, *(f"{FIRST_SET} {number}" for number in range(2, n_sets + 1))]
    if isinstance(names, str):
        names = [names]
    found = list(names)
    usable = all(isinstance(name, str) and name.strip() for name in found)
    if not usable or len(found) != n_sets or len(set(found)) != n_sets:
        raise ValueError(
            f"'names_val' must hold a name of its own for each of the {n_sets} sets of 'X_val'; got {names!r}"
        )
    if "training" in found:
        raise ValueError(
            "'names_val' must not hold 'training', which 'track_training' calls the training rows"
        )
    return found
