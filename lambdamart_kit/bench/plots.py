"""Pictures of a comparison: means and paired differences with intervals, and learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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
    left.set_title(f"{metric}, mean over {report.n_queries - report.n_blank:,} queries", **_TITLE)
    _differences(right, heights, rows, report.baseline)
    figure.supxlabel(
        f"{CONFIDENCE:.0%} bootstrap intervals over queries; {report.n_blank:,} blank queries left out. "
        "Blue: p < 0.05, paired permutation test, Holm-corrected.",
        fontsize=8, color=_MUTED, x=0.01, ha="left",
    )  # fmt: skip
    return figure


def learning_curve_figure(curves: dict[str, FloatArray], metric: str) -> Figure:
    """Validation metric after each tree, one line a model, named where it ends."""
    figure = _figure(width=9.0, height=4.6)
    axes = figure.subplots()
    _plain_axes(axes)
    axes.grid(axis="y", color=_RULE, linewidth=0.7)
    ends = []
    for number, (model, curve) in enumerate(curves.items()):
        color = _LINES[number % len(_LINES)]
        dashes = "-" if number < len(_LINES) else (0, (4, 2))
        rounds = np.arange(1, len(curve) + 1)
        axes.plot(rounds, curve, color=color, linewidth=1.6, linestyle=dashes)
        best = int(np.argmax(curve))
        axes.plot(rounds[best], curve[best], "o", color=color, markersize=5, markeredgecolor="white")
        ends.append((float(curve[-1]), len(curve), model, color))
    lowest, highest = _useful_range(list(curves.values()))
    axes.set_ylim(lowest, highest)
    longest = max(len(curve) for curve in curves.values())
    axes.set_xlim(0, longest * 1.02)
    for place, (value, length, model, color) in zip(_spread(ends, (highest - lowest) / 22), sorted(ends)):
        axes.annotate(
            model, (length, value), (longest * 1.04, place), textcoords="data", va="center",
            color=color, fontsize=9, annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.5, "alpha": 0.5},
        )  # fmt: skip
    axes.set_xlabel("trees", color=_MUTED)
    axes.set_title(f"{metric} on the validation queries, mean over folds; a dot marks the best", **_TITLE)
    return figure


def learning_curves(runs: Sequence[Run], metric: str) -> dict[str, FloatArray]:
    """Validation curve of each model's chosen runs, mean over the folds that reach a round.

    Where folds stopped at different rounds the mean ends with the shortest, so that it never jumps.
    """
    curves: dict[str, list[list[float]]] = {}
    for run in chosen(runs, metric):
        for measures in run.learning_curve.values():
            if metric in measures:
                curves.setdefault(run.model, []).append(measures[metric])
    means: dict[str, FloatArray] = {}
    for model, held in curves.items():
        shortest = min(map(len, held))
        if shortest > 1:
            means[model] = np.array([curve[:shortest] for curve in held]).mean(axis=0)
    return means


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
    colors = [
        _ACCENT if row.pvalue_holm is not None and row.pvalue_holm < 1 - CONFIDENCE else _MUTED
        for _, row in compared
    ]
    spans = [(row.difference, row.difference_low, row.difference_high) for _, row in compared]
    _whiskers(axes, np.array([h for h, _ in compared]), spans, colors, signed=True)
    axes.set_title(f"difference to {baseline}, paired by query", **_TITLE)
    axes.tick_params(axis="y", labelleft=False)


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
        axes.annotate(
            format(mean, "+.4f" if signed else ".4f"), (mean, height), (0, 6), textcoords="offset points",
            ha="center", color=_INK, fontsize=8, path_effects=[withStroke(linewidth=2.5, foreground="white")],
        )  # fmt: skip
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
    """Where the curves differ: the steep first rounds may start below the picture."""
    lowest = min(float(np.quantile(curve, 0.08)) for curve in curves)
    highest = max(float(curve.max()) for curve in curves)
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
