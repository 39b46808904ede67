"""What a ranker is fitted on: checked rows in canonical order, to learn from and to measure on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from lambdamart_kit.core.ordered_rows import OrderedRows
from lambdamart_kit.rankers.steering.given import FIRST_SET


@dataclass(frozen=True, eq=False)
class HeldOutRows:
    """Held-out rows in canonical order, and what they are called in ``evals_result_``.

    Attributes
    ----------
    name : str
    rows : OrderedRows
    """

    name: str
    rows: OrderedRows


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Rows to learn from, sets of rows to measure on, and what training goes on from.

    Attributes
    ----------
    train : OrderedRows
    held_out : tuple of HeldOutRows
        The first one is what early stopping looks at.
    init_model : object, optional
        Model that `fit` got to go on from.
    bag : int, or None
        Which bag this is, if it is one.

    Examples
    --------
    >>> import numpy as np
    >>> from lambdamart_kit.core.ordered_rows import order_rows
    >>> rows = order_rows(np.eye(4, dtype=np.float32), [0, 1, 0, 1], [1, 1, 2, 2], None)
    >>> TrainingSet.of(rows, rows).held_out[0].name
    'validation'
    """

    train: OrderedRows
    held_out: tuple[HeldOutRows, ...] = ()
    init_model: Any = None
    bag: int | None = None

    @classmethod
    def of(cls, train: OrderedRows, validation: OrderedRows | None = None) -> TrainingSet:
        """Training rows with one set of held-out rows, or with none."""
        return cls(train, () if validation is None else (HeldOutRows(FIRST_SET, validation),))

    def map(self, change: Callable[[OrderedRows], OrderedRows]) -> TrainingSet:
        """The same with `change` made to the training rows first, then to all held-out rows."""
        train = change(self.train)
        held_out = tuple(replace(part, rows=change(part.rows)) for part in self.held_out)
        return replace(self, train=train, held_out=held_out)
