"""Pictures of explanations, by matplotlib."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lambdamart_kit.core.typing import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's blue and vermilion, told apart by every kind of colour vision.
_UP = "#0072b2"
_DOWN = "#d55e00"
_LINE = "#d8dee4"


def new_axes(height: float = 4.0) -> Any:
    """Axes of a new figure; an ImportError that says what to install if matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("pictures need matplotlib: pip install 'lambdamart-kit[plot]'") from None
    return Figure(figsize=(7.0, height), layout="constrained").subplots()


def bar_plot(
    names: Sequence[str],
    values: FloatArray,
    title: str,
    *,
    errors: FloatArray | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Horizontal bars, the first name on top; blue to the right of zero, vermilion to the left."""
    axes = new_axes(1.2 + 0.28 * max(3, len(names))) if ax is None else ax
    places = np.arange(len(names))
    colours = [_UP if value >= 0 else _DOWN for value in values.tolist()]
    axes.barh(places, values, color=colours, xerr=errors, error_kw={"linewidth": 1.2, "ecolor": "#1f2328"})
    axes.set_yticks(places, [_literal(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.axvline(0.0, color="#57606a", linewidth=0.8)
    _dress(axes, title)
    axes.grid(axis="x", color=_LINE, linewidth=0.6)
    return axes


def curve_plot(
    feature: str, grid: FloatArray, effect: FloatArray, errors: FloatArray, *, ax: Axes | None = None
) -> Axes:
    """A curve with a band of two standard errors."""
    axes = new_axes() if ax is None else ax
    axes.fill_between(grid, effect - 2 * errors, effect + 2 * errors, color=_UP, alpha=0.18, linewidth=0)
    axes.plot(grid, effect, color=_UP, linewidth=1.8, marker="o", markersize=3)
    axes.axhline(0.0, color="#57606a", linewidth=0.8)
    axes.set_xlabel(_literal(feature))
    axes.set_ylabel("score against the mean document")
    _dress(axes, f"Effect of {feature} within queries (band: two standard errors over queries)")
    axes.grid(color=_LINE, linewidth=0.6)
    return axes


def surface_plot(
    features: tuple[str, str],
    first: FloatArray,
    second: FloatArray,
    effect: FloatArray,
    *,
    ax: Axes | None = None,
) -> Axes:
    """Colours over the grid: blue raises the score, red lowers it."""
    axes = new_axes(5.0) if ax is None else ax
    limit = float(np.nanmax(np.abs(effect), initial=0.0)) or 1.0
    drawn = axes.imshow(
        effect.T, origin="lower", aspect="auto", cmap="RdBu", vmin=-limit, vmax=limit, interpolation="nearest"
    )
    axes.set_xticks(np.arange(len(first)), [f"{v:.3g}" for v in first], rotation=45)
    axes.set_yticks(np.arange(len(second)), [f"{v:.3g}" for v in second])
    axes.set_xlabel(_literal(features[0]))
    axes.set_ylabel(_literal(features[1]))
    _dress(axes, f"Effect of {features[0]} and {features[1]} within queries")
    axes.figure.colorbar(drawn, ax=axes, label="score against the mean document")
    return axes


def _dress(axes: Any, title: str) -> None:
    axes.set_title(_literal(textwrap.fill(title.removesuffix(":"), 72)), fontsize=10, loc="left")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _literal(text: str) -> str:
    """Text as it stands: matplotlib reads what is between dollar signs as a formula."""
    return text.replace("$", r"\$")
