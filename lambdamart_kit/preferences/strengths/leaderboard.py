"""Leaderboards: a table of strengths with intervals of strengths and ranks, and its picture."""

from __future__ import annotations

from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm

from lambdamart_kit.core.gains import check_choice
from lambdamart_kit.core.typing import Array, FloatArray, IndexArray
from lambdamart_kit.preferences.strengths.comparisons import Comparisons

_NO_MATPLOTLIB = 'the picture needs matplotlib; install it with: pip install "lambdamart-kit[plot]"'


class PointScale(NamedTuple):
    """Points of a unit of strength, and of strength zero."""

    slope: float
    base: float

    @classmethod
    def of(cls, scale: str | float, base: float | None) -> PointScale:
        """From a name of :data:`SCALES` or a number of points, and the points of strength zero."""
        if isinstance(scale, str):
            check_choice(scale, tuple(SCALES), name="scale")
            named = SCALES[scale]
        elif isinstance(scale, Real) and np.isfinite(scale) and scale > 0:
            named = cls(float(scale), 0.0)
        else:
            raise ValueError(f"'scale' must be {', '.join(map(repr, SCALES))} or a number > 0; got {scale!r}")
        if base is not None and not np.isfinite(base):
            raise ValueError(f"'base' must be finite; got {base}")
        return named if base is None else named._replace(base=float(base))


SCALES = {"logit": PointScale(1.0, 0.0), "elo": PointScale(400.0 / float(np.log(10.0)), 1500.0)}


class Uncertainty(NamedTuple):
    """Of each item: standard error, interval (n, 2) of the strength, best and worst rank (from 1)."""

    se: FloatArray
    interval: FloatArray
    best: IndexArray
    worst: IndexArray


def check_confidence(level: float) -> None:
    """A confidence level lies strictly between 0 and 1."""
    if not 0 < level < 1:
        raise ValueError(f"'level' must lie between 0 and 1; got {level}")


def normal_interval(strengths: FloatArray, covariance: FloatArray, level: float) -> FloatArray:
    """Strength plus and minus the normal quantile times the standard error, (n, 2)."""
    half = norm.ppf((1 + level) / 2) * _standard_errors(covariance)
    return np.column_stack([strengths - half, strengths + half])


def percentile_interval(draws: FloatArray, level: float) -> FloatArray:
    """Percentiles of each column of (n_replicates, n), (n, 2)."""
    interval: FloatArray = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0).T
    return interval


def from_covariance(
    strengths: FloatArray, covariance: FloatArray, components: IndexArray, *, level: float
) -> Uncertainty:
    """Normal intervals, and the ranks that significance tests of strength differences leave open.

    Item j is above i when ``theta_j - theta_i`` exceeds the two-sided normal quantile of `level` times its
    own standard error, which includes the covariance of the two.
    """
    variance = np.diagonal(covariance)
    spread = np.sqrt(np.maximum(variance[:, None] + variance[None, :] - 2.0 * covariance, 0.0))
    lead = strengths[None, :] - strengths[:, None]
    same = components[:, None] == components[None, :]
    above = same & (lead > norm.ppf((1 + level) / 2) * spread) & (lead > 0)
    return Uncertainty(
        _standard_errors(covariance),
        normal_interval(strengths, covariance, level),
        1 + above.sum(axis=1),
        same.sum(axis=1) - above.sum(axis=0),
    )


def from_replicates(draws: FloatArray, components: IndexArray, *, level: float) -> Uncertainty:
    """Standard deviations and percentiles of the replicates' strengths and ranks."""
    ranks = np.empty(draws.shape, dtype=np.intp)
    starts = np.concatenate(([0], np.cumsum(np.bincount(components))))
    position = np.arange(draws.shape[1])
    for row, draw in enumerate(draws):
        order = np.lexsort((-draw, components))
        ranks[row, order] = position - starts[components[order]] + 1
    tails = [(1 - level) / 2, (1 + level) / 2]
    best, worst = np.quantile(ranks, tails, axis=0, method="inverted_cdf").astype(np.intp)
    return Uncertainty(draws.std(axis=0, ddof=1), percentile_interval(draws, level), best, worst)


def leaderboard_table(
    items: Array,
    strengths: FloatArray,
    uncertainty: Uncertainty,
    tallies: dict[str, FloatArray],
    components: IndexArray,
    *,
    points: PointScale,
) -> pd.DataFrame:
    """Items by component and falling strength; see :meth:`StrengthTable.leaderboard` for the columns."""
    slope, base = points
    order = np.lexsort((np.arange(len(items)), -strengths, components))
    component = components[order]
    # Places count from 1 within each component, and components follow each other.
    starts = np.searchsorted(component, component)
    columns: dict[str, Array] = {
        "item": items,
        "strength": base + slope * strengths,
        "se": slope * uncertainty.se,
        "lower": base + slope * uncertainty.interval[:, 0],
        "upper": base + slope * uncertainty.interval[:, 1],
        "rank_lower": uncertainty.best,
        "rank_upper": uncertainty.worst,
        **tallies,
        "component": components,
    }
    # Columns are sorted before they become a table: sorting the table costs as long as fitting does.
    ranked = {name: values[order] for name, values in columns.items()}
    return pd.DataFrame({"rank": np.arange(len(items)) - starts + 1, **ranked})


def plot_leaderboard(table: pd.DataFrame, *, ax: Any = None, top: int | None = None) -> Any:
    """Draw the first `top` rows of a leaderboard: strength and interval of each item, strongest on top.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise ImportError(_NO_MATPLOTLIB) from None
    rows = table.head(top) if top is not None else table
    height = np.arange(len(rows))[::-1]
    if ax is None:
        _, ax = plt.subplots(figsize=_size(table, top), layout="constrained")
    strength = rows["strength"].to_numpy()
    reach = np.abs(np.vstack([strength - rows["lower"], rows["upper"] - strength]))
    ax.errorbar(
        strength,
        height,
        xerr=reach,
        fmt="o",
        markersize=4,
        color="#1b4f72",
        ecolor="#7fb3d5",
        elinewidth=2.2,
    )
    ranks = [f"{a}-{b}" if a != b else str(a) for a, b in zip(rows["rank_lower"], rows["rank_upper"])]
    labels = [f"{item}   {rank}" for item, rank in zip(rows["item"].tolist(), ranks)]
    ax.set_yticks(height, labels, fontsize=8)
    ax.set_ylim(-0.8, len(rows) - 0.2)
    ax.set_xlabel("strength and interval; beside each name, possible ranks")
    ax.grid(axis="x", color="0.9")
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    return ax


def save_leaderboard(table: pd.DataFrame, path: Any, *, top: int | None = None) -> None:
    """Draw a leaderboard into a file; its ending decides the format."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(_NO_MATPLOTLIB) from None
    figure = Figure(figsize=_size(table, top), layout="constrained")
    plot_leaderboard(table, ax=figure.add_subplot(), top=top)
    figure.savefig(path, dpi=150)


def _size(table: pd.DataFrame, top: int | None) -> tuple[float, float]:
    n_rows = len(table) if top is None else min(top, len(table))
    return 7.0, 1.2 + 0.22 * n_rows


def _standard_errors(covariance: FloatArray) -> FloatArray:
    errors: FloatArray = np.sqrt(np.maximum(np.diagonal(covariance), 0.0))
    return errors


def comparison_tallies(comparisons: Comparisons) -> dict[str, FloatArray]:
    """Wins, ties and losses of each item, rows as often as they were seen."""
    c = comparisons
    won, lost = c.count * (c.outcome == 1.0), c.count * (c.outcome == 0.0)
    tied = c.count - won - lost

    def total(on_first: FloatArray, on_second: FloatArray) -> FloatArray:
        here: FloatArray = np.bincount(c.first, on_first, c.n_items).astype(np.float64)
        return here + np.bincount(c.second, on_second, c.n_items)

    return {"wins": total(won, lost), "ties": total(tied, tied), "losses": total(lost, won)}
