"""How members and their blend rank queries that they have not seen, and what the differences are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lambdamart_kit.core.typing import FloatArray
from lambdamart_kit.metrics import bootstrap_interval

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Line:
    """One line of a leaderboard: a member, or the blend.

    Attributes
    ----------
    name : str
    per_query : (n_queries,) float64
        The metric of each query out of fold; NaN for blank queries and for those that were not scored.
    weight : float
        In the blend.
    fits : int
    seconds : float
    """

    name: str
    per_query: FloatArray
    weight: float
    fits: int
    seconds: float


def leaderboard(
    lines: Sequence[Line], weights: FloatArray, metric: str, *, greater_is_better: bool
) -> pd.DataFrame:
    """A table with a row for the blend, which is the first line, and one for each other line, best first.

    Parameters
    ----------
    lines : sequence of Line
    weights : (n_queries,) float64
        Of the queries in the mean.
    metric : str
    greater_is_better : bool

    Returns
    -------
    DataFrame
        Columns ``model``, the metric's name (mean over the queries that count), ``low`` and ``high`` (95%
        bootstrap interval over queries), ``weight``, ``fits`` and ``seconds``.
    """
    import pandas as pd

    sign = 1.0 if greater_is_better else -1.0
    records: list[dict[str, Any]] = []
    for line in lines:
        counted = ~np.isnan(line.per_query) & (weights > 0)
        mean = low = high = float("nan")
        if counted.any():
            # Weighted such that their plain mean is the weighted mean.
            values = line.per_query[counted] * weights[counted] / weights[counted].mean()
            mean = float(values.mean())
            bounds = bootstrap_interval(values, n_resamples=1_000)
            low, high = (float(bound[0]) for bound in bounds)
        means = {metric: mean, "low": low, "high": high}
        rest = {"weight": line.weight, "fits": line.fits, "seconds": round(line.seconds, 3)}
        records.append({"model": line.name, **means, **rest})
    first, *others = records
    others.sort(key=lambda record: -np.nan_to_num(sign * record[metric], nan=-np.inf))
    return pd.DataFrame.from_records([first, *others])


class HasLeaderboard:
    """Mixin of rankers with members: the leaderboard, kept as records, which skops and JSON can hold."""

    _leaderboard: list[dict[str, Any]]

    @property
    def leaderboard_(self) -> pd.DataFrame:
        """The blend and its members, best first, with intervals of the metric and weights in the blend."""
        import pandas as pd

        return pd.DataFrame.from_records(self._leaderboard)
