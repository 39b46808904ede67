r"""Agreement between judges beyond chance: Krippendorff's alpha with a bootstrap interval.

.. math:: \alpha = 1 - \frac{D_o}{D_e}
          = 1 - (n - 1) \frac{\sum_{c,k} o_{ck} \, \delta_{ck}}{\sum_{c,k} n_c n_k \, \delta_{ck}}

with the coincidences :math:`o_{ck} = \sum_u \frac{\text{ordered pairs of c and k in u}}{m_u - 1}` over units
with :math:`m_u \ge 2` ratings, :math:`n_c = \sum_k o_{ck}` and :math:`n = \sum_c n_c`. 1 is perfect agreement
and 0 what chance would give.

References
----------
Krippendorff (2011), "Computing Krippendorff's alpha-reliability". Zapf, Castell, Morawietz and Karch (2016),
"Measuring inter-rater reliability for nominal data", BMC Medical Research Methodology 16 (the bootstrap).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lambdamart_kit.core.gains import check_choice
from lambdamart_kit.core.rows import native
from lambdamart_kit.core.typing import Array, ArrayLike, FloatArray, IndexArray


@dataclass(frozen=True)
class Agreement:
    """Krippendorff's alpha and what it rests on.

    Attributes
    ----------
    alpha : float
        1 perfect, 0 chance, below 0 worse than chance; NaN when all ratings are the same value.
    lower, upper : float
        Percentile interval from resampled units; NaN without replicates.
    n_units : int
        Units with at least two ratings.
    n_ratings : int
        Ratings of those units.
    """

    alpha: float
    lower: float
    upper: float
    n_units: int
    n_ratings: int


def _nominal(values: FloatArray, totals: FloatArray) -> FloatArray:
    return (values[:, None] != values[None, :]).astype(np.float64)


def _ordinal(values: FloatArray, totals: FloatArray) -> FloatArray:
    # Ratings between c and k, half of those at either end counted.
    middle = np.cumsum(totals) - totals / 2.0
    return (middle[:, None] - middle[None, :]) ** 2


def _interval(values: FloatArray, totals: FloatArray) -> FloatArray:
    return (values[:, None] - values[None, :]) ** 2


def _ratio(values: FloatArray, totals: FloatArray) -> FloatArray:
    sums = values[:, None] + values[None, :]
    return ((values[:, None] - values[None, :]) / np.where(sums == 0.0, 1.0, sums)) ** 2


#: Squared distance between values, from the ascending values and how often each was given.
LEVELS: dict[str, Callable[[FloatArray, FloatArray], FloatArray]] = {
    "nominal": _nominal,
    "ordinal": _ordinal,
    "interval": _interval,
    "ratio": _ratio,
}


def krippendorff_alpha(
    ratings: ArrayLike,
    *,
    level: str = "nominal",
    n_replicates: int = 0,
    confidence: float = 0.95,
    random_state: int | None = 0,
) -> Agreement:
    """Agreement of several judges on the same units.

    Parameters
    ----------
    ratings : (n_raters, n_units) array
        Value that each judge gave to each unit; NaN or None where there is none. For "nominal" any values.
    level : {"nominal", "ordinal", "interval", "ratio"}
        What differences between values mean.
    n_replicates : int
        Resamples of units for the interval; 0 for none.
    confidence : float
        Of the interval.
    random_state : int
        Of the resamples.

    Returns
    -------
    Agreement
        Alpha, with its interval where it was asked for.

    Raises
    ------
    ValueError
        If the values are no numbers at a level that needs them.

    Examples
    --------
    >>> nan = float("nan")
    >>> ratings = [[1, 2, 3, 3, nan, 1], [1, 2, 3, 2, 2, nan], [2, 2, 3, 3, 2, nan]]
    >>> round(krippendorff_alpha(ratings).alpha, 12)
    0.559322033898
    >>> round(krippendorff_alpha(ratings, level="ordinal").alpha, 12)
    0.723639455782
    """
    table = native(ratings)
    if table.ndim != 2:
        raise ValueError(f"'ratings' must have shape (n_raters, n_units); got {table.shape}")
    code, values = pd.factorize(table.ravel(), sort=True)
    units = np.tile(np.arange(table.shape[1]), table.shape[0])
    return alpha_of_codes(
        units[code >= 0],
        code[code >= 0],
        np.asarray(values),
        level=level,
        n_replicates=n_replicates,
        confidence=confidence,
        random_state=random_state,
    )


def alpha_of_codes(
    units: IndexArray,
    codes: IndexArray,
    values: Array,
    *,
    level: str = "nominal",
    mirrored: bool = False,
    n_replicates: int = 0,
    confidence: float = 0.95,
    random_state: int | None = 0,
) -> Agreement:
    """As :func:`krippendorff_alpha`, from one row a rating: its unit and the index of its value.

    `mirrored` is for values that stand for "the first of two" and "the second of two", where which response
    of a unit is called the first says nothing: chance agreement is then taken with both names equally
    frequent. `values` must be symmetric around their middle.
    """
    check_choice(level, tuple(LEVELS), name="level")
    if not 0 < confidence < 1:
        raise ValueError(f"'confidence' must lie between 0 and 1; got {confidence}")
    numbers = np.arange(len(values), dtype=np.float64)
    if level in ("interval", "ratio"):
        try:
            numbers = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"'ratings' must be numbers at level {level!r}; got {values[0]!r}") from None
    _, unit = np.unique(units, return_inverse=True)
    counts = np.zeros((int(unit.max(initial=-1)) + 1, len(values)))
    np.add.at(counts, (unit, codes), 1.0)
    counts = counts[counts.sum(axis=1) >= 2]
    n_units = len(counts)
    distance = LEVELS[level]
    alpha = _alpha(counts, np.ones(n_units), numbers, distance, mirrored)
    lower = upper = np.nan
    if n_replicates and n_units and np.isfinite(alpha):
        rng = np.random.default_rng(random_state)
        drawn = rng.multinomial(n_units, np.full(n_units, 1.0 / n_units), size=n_replicates)
        # A resample of one value only says nothing of disagreement and is left out.
        replicates = np.array([_alpha(counts, w.astype(float), numbers, distance, mirrored) for w in drawn])
        lower, upper = np.nanquantile(replicates, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Agreement(float(alpha), float(lower), float(upper), n_units, int(counts.sum()))


def _alpha(
    counts: FloatArray,
    weight: FloatArray,
    numbers: FloatArray,
    distance: Callable[[FloatArray, FloatArray], FloatArray],
    mirrored: bool,
) -> float:
    """Alpha of units that count `weight` times each."""
    share = weight / (counts.sum(axis=1) - 1.0)
    coincidences = counts.T @ (counts * share[:, None]) - np.diag(share @ counts)
    totals = weight @ counts
    if mirrored:
        totals = (totals + totals[::-1]) / 2.0
    delta = distance(numbers, totals)
    expected = float(totals @ delta @ totals)
    if expected == 0.0:
        return np.nan
    return 1.0 - (totals.sum() - 1.0) * float(np.sum(coincidences * delta)) / expected
