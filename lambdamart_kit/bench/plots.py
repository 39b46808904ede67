"""Pictures of a comparison: means and paired differences with intervals, and learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lambdamart_kit.bench.render import counted_queries
from lambdamart_kit.bench.report import CONFIDENCE, Quality, Report
from lambdamart_kit.bench.results import Run, chosen
from lambdamart_kit.core.typing import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _MUTED, _RULE, _ACCENT = "#1f2328", "#6e7781", "#d8dee4", "#0969da"
# Okabe and Ito's colours, told apart by every kind of colour vision, and dashes for the second round.
_LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_FORMATS = ("png", "svg")
_MINUS = "\u2212"  # the one on matplotlib's axes


def write_plots(report: Report, runs: Sequence[Run], folder: str | Path) -> list[Path]:
    """Write ``<metric>.png|svg`` for each metric, and ``learning_curves.png|svg`` if any model has them.

    Parameters
    ----------
    report : Report
        What to draw.
    runs : list of Run
        The runs it was made from.
    folder : str or Path
        Made if it does not exist.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    folder = Path(folder)
    figures = {metric: comparison_figure(report, metric) for metric in report.metrics}
    curves = learning_curves(runs, report.metrics[0])
    if curves:
        figures["learning_curves"] = learning_curve_figure(curves, report.metrics[0])
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, figure in figures.items():
        for extension in _FORMATS:
            path = folder / f"{_file_name(name)}.{extension}"
            figure.savefig(path, dpi=200, facecolor="white", bbox_inches="tight", pad_inches=0.2)
            written.append(path)
    return written


def comparison_figure(report: Report, metric: str) -> Figure:
    """Left: each model's mean with its interval. Right: its paired difference to the baseline."""
    rows = [row for row in report.quality if row.metric == metric][::-1]
    figure = _figure(width=9.0, height=1.55 + 0.38 * len(rows))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1.0, 1.0))
    heights = np.arange(len(rows), dtype=np.float64)
    _whiskers(left, heights, [(row.mean, row.low, row.high) for row in rows], [_INK] * len(rows))
    left.set_yticks(heights, [row.model for row in rows])
    left.set_ylim(-0.6, len(rows) - 0.3)
    left.set_title(metric, **_TITLE)
    _differences(right, heights, rows, report.baseline)
    notes = [f"{counted_queries(report, metric)}; {CONFIDENCE:.0%} bootstrap intervals over queries"]
    if any(_is_significant(row) for row in rows):
        notes.append(f"blue: p < {1 - CONFIDENCE:.2f}, paired permutation test, Holm-corrected")
    text = ". ".join(note[0].upper() + note[1:] for note in notes)
    figure.supxlabel(f"{text}.", fontsize=8, color=_MUTED, x=0.01, ha="left")
    return figure


def learning_curve_figure(curves: dict[str, FloatArray], metric: str) -> Figure:
    """Validation metric after each round, one line a model, named where it ends; a band spans its folds."""
    figure = _figure(width=9.0, height=4.6)
    axes = figure.subplots()
    _plain_axes(axes)
    axes.grid(axis="y", color=_RULE, linewidth=0.7)
    means = {model: folds.mean(axis=0) for model, folds in curves.items()}
    ends = []
    for number, (model, curve) in enumerate(means.items()):
        color = _LINES[number % len(_LINES)]
        dashes = "-" if number < len(_LINES) else (0, (4, 2))
        rounds = np.arange(1, len(curve) + 1)
        if len(curves[model]) > 1:
            lowest_fold = curves[model].min(axis=0)
            highest_fold = curves[model].max(axis=0)
            axes.fill_between(rounds, lowest_fold, highest_fold, color=color, alpha=0.08, linewidth=0)
        axes.plot(rounds, curve, color=color, linewidth=1.6, linestyle=dashes)
        best = int(np.argmax(curve))
        axes.plot(rounds[best], curve[best], "o", color=color, markersize=5, markeredgecolor="white")
        ends.append((float(curve[-1]), len(curve), model, color))
    lowest, highest = _useful_range(list(means.values()))
    axes.set_ylim(lowest, highest)
    longest = max(len(curve) for curve in means.values())
    axes.set_xlim(0, longest * 1.02)
    for place, (value, length, model, color) in zip(_spread(ends, (highest - lowest) / 22), sorted(ends)):
        axes.annotate(
            model,
            (length, value),
            (longest * 1.04, place),
            textcoords="data",
            va="center",
            color=color,
            fontsize=9,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.5, "alpha": 0.5},
        )
    axes.set_xlabel("rounds: trees, or epochs", color=_MUTED)
    axes.set_ylabel(metric, color=_MUTED)
    several = max(map(len, curves.values())) > 1
    over = ", mean and span over folds" if several else ""
    axes.set_title(f"{metric} on the validation queries{over}; a dot marks the best", **_TITLE)
    return figure


def learning_curves(runs: Sequence[Run], metric: str) -> dict[str, FloatArray]:
    """Validation curves of each model's chosen runs: one row a fold, one column a round.

    Where folds stopped at different rounds they end with the shortest, so that their mean never jumps.
    """
    curves: dict[str, list[list[float]]] = {}
    for run in chosen(runs, metric):
        for measures in run.learning_curve.values():
            if metric in measures:
                curves.setdefault(run.model, []).append(measures[metric])
    cut: dict[str, FloatArray] = {}
    for model, held in curves.items():
        shortest = min(map(len, held))
        if shortest > 1:
            cut[model] = np.array([curve[:shortest] for curve in held])
    return cut


_TITLE: dict[str, Any] = {"loc": "left", "fontsize": 10, "fontweight": "bold", "color": _INK}


def _figure(*, width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("plots need matplotlib: pip install 'lambdamart-kit[plot]'") from None
    return Figure(figsize=(width, height), layout="constrained")


def _differences(axes: Axes, heights: FloatArray, rows: Sequence[Quality], baseline: str) -> None:
    axes.axvline(0, color=_MUTED, linewidth=0.8, zorder=1)
    compared = [(h, row) for h, row in zip(heights, rows) if row.difference is not None]
    axes.plot(
        [0], [h for h, row in zip(heights, rows) if row.difference is None], "o", color=_MUTED, zorder=3
    )
    colors = [_ACCENT if _is_significant(row) else _MUTED for _, row in compared]
    spans = [(row.difference, row.difference_low, row.difference_high) for _, row in compared]
    _whiskers(axes, np.array([h for h, _ in compared]), spans, colors, signed=True)
    axes.set_title(f"difference to {baseline}, paired by query", **_TITLE)
    axes.tick_params(axis="y", labelleft=False)


def _is_significant(row: Quality) -> bool:
    return row.pvalue_holm is not None and row.pvalue_holm < 1 - CONFIDENCE


def _whiskers(
    axes: Axes,
    heights: FloatArray,
    spans: Sequence[tuple[Any, ...]],
    colors: Sequence[str],
    *,
    signed: bool = False,
) -> None:
    from matplotlib.patheffects import withStroke

    for height, (mean, low, high), color in zip(heights, spans, colors):
        axes.plot(
            [low, high], [height, height], color=color, linewidth=2.2, solid_capstyle="round", alpha=0.45
        )
        axes.plot([mean], [height], "o", color=color, markersize=6, zorder=3)
        shown = format(mean, "+.4f" if signed else ".4f").replace("-", _MINUS)
        axes.annotate(
            shown,
            (mean, height),
            (0, 6),
            textcoords="offset points",
            ha="center",
            color=_INK,
            fontsize=8,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )
    _plain_axes(axes)
    axes.locator_params(axis="x", nbins=6)
    axes.grid(axis="x", color=_RULE, linewidth=0.7)


def _plain_axes(axes: Axes) -> None:
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_RULE)
    axes.tick_params(colors=_INK, labelsize=9)
    axes.tick_params(axis="x", colors=_MUTED)
    axes.tick_params(axis="y", length=0)
    axes.set_axisbelow(True)


def _useful_range(curves: Sequence[FloatArray]) -> tuple[float, float]:
    """Where the curves differ: the steep first rounds may start below the picture, no curve's best may.

    The worst of the best values is at least a quarter of the height above the bottom, so that one model
    that starts or stays far below the others does not press them all into one line.
    """
    bests = [float(curve.max()) for curve in curves]
    highest = max(bests)
    lowest = min(float(np.quantile(curve, 0.08)) for curve in curves)
    typical = float(np.median([np.quantile(curve, 0.25) for curve in curves]))
    floor = min(min(bests), typical) - max(highest - min(bests), highest - typical) / 3
    lowest = max(lowest, floor)
    margin = 0.06 * max(highest - lowest, 1e-6)
    return lowest - margin, highest + margin


def _spread(ends: Sequence[tuple[float, int, str, str]], apart: float) -> list[float]:
    """Heights for the lines' names, in ascending order and at least `apart`, near where the lines end."""
    places: list[float] = []
    for value, *_ in sorted(ends):
        places.append(max(value, places[-1] + apart) if places else value)
    surplus = np.mean([place - value for place, (value, *_) in zip(places, sorted(ends))])
    return [place - float(surplus) for place in places]


def _file_name(name: str) -> str:
    return "".join(c if c.isalnum() or c in "@._-" else "_" for c in name)
