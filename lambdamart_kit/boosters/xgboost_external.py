"""Rows of files for XGBoost's external memory: in batches, in the order of the files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lambdamart_kit.compile.interrupts import HeldInterrupt, interrupts_held
from lambdamart_kit.core.precision import warn_of_merged_values
from lambdamart_kit.core.typing import Array, IndexArray

_LOOKED_AT = 20_000  # rows that are kept to see whether float32 merges their values


@dataclass(frozen=True, eq=False)
class ExternalRows:
    """Some of the rows of files, which stand for features that do not fit in memory.

    Values of rows, such as scores, come in two orders: that of the files, which the learner sees, and the
    canonical one, which objectives and metrics see.

    Attributes
    ----------
    chunks : callable
        Starts a pass over the files: iterator of arrays of all rows.
    rows : (n_samples,) intp
        Row of the files that stands at each place of the canonical order.
    n_features : int
    folder : Path
        Where the learner may put its own pages.
    """

    chunks: Callable[[], Iterator[Array]]
    rows: IndexArray
    n_features: int
    folder: Path

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and features."""
        return len(self.rows), self.n_features

    @cached_property
    def _place(self) -> IndexArray:
        """Among the rows in the order of the files: which one stands at each place of the canonical order."""
        place = np.empty(len(self.rows), dtype=np.intp)
        place[np.argsort(self.rows)] = np.arange(len(self.rows))
        return place

    def to_canonical(self, values: Array) -> Array:
        """Values in the order of the files, in canonical order."""
        return values[self._place]

    def to_files(self, values: Array) -> Array:
        """Values in canonical order, in the order of the files."""
        given = np.empty_like(values)
        given[self._place] = values
        return given

    def batches(self) -> Iterator[Array]:
        """The rows in the order of the files."""
        wanted = np.zeros(self.rows.max(initial=-1) + 1, dtype=bool)
        wanted[self.rows] = True
        at = 0
        for X in self.chunks():
            part = X[np.flatnonzero(wanted[at : at + len(X)])]
            at += len(X)
            if len(part):
                yield part

    def matrix(self, ref: Any = None, **columns: Any) -> Any:
        """The rows as an ``xgboost.ExtMemQuantileDMatrix``, with the bins of `ref` if there is one.

        Raises
        ------
        ImportError
            If XGBoost is older than 3.0, which has no such matrix.
        """
        import xgboost as xgb

        if not hasattr(xgb, "ExtMemQuantileDMatrix"):
            raise ImportError(
                f"fitting files with booster='xgboost' needs xgboost >= 3.0; {xgb.__version__} is installed"
            )
        names = columns.pop("feature_names", None)
        kinds = columns.pop("feature_types", None)
        sample: list[Array] = []
        with interrupts_held() as held:
            batches = _batches(self, names, kinds, held, sample)
            made = xgb.ExtMemQuantileDMatrix(batches, ref=ref, **columns)
        if ref is None and sample:
            warn_of_merged_values(np.concatenate(sample), names, "XGBoost")
        return made


def _batches(rows: ExternalRows, names: Any, kinds: Any, held: HeldInterrupt, sample: list[Array]) -> Any:
    """An iterator over `rows` as XGBoost wants it, made here because XGBoost is imported late.

    The first pass puts about 20,000 rows into `sample`, evenly spread.
    """
    import xgboost as xgb

    step = max(1, -(-len(rows.rows) // _LOOKED_AT))

    class Batches(xgb.DataIter):
        """Gives XGBoost one batch after another; XGBoost may start over several times."""

        def __init__(self) -> None:
            super().__init__(cache_prefix=str(rows.folder / f"xgboost-{id(rows):x}"))
            self._batches = rows.batches()
            self._is_first_pass = True

        def reset(self) -> None:
            # XGBoost starts with a call of this, before any rows have gone by.
            self._is_first_pass = not sample
            self._batches = rows.batches()

        def next(self, input_data: Callable[..., None]) -> bool:
            if held.is_asked:
                raise RuntimeError("stopped with Ctrl-C")  # KeyboardInterrupt takes its place
            batch = next(self._batches, None)
            if batch is None:
                return False
            if self._is_first_pass:
                sample.append(batch[::step].copy())
            input_data(data=batch, feature_names=names, feature_types=kinds)
            return True

    return Batches()
