"""Charts as inline SVG, each with a title, a description for screen readers, and its numbers as a table.

Colours are CSS classes, so a chart follows the page into dark mode and onto paper. A chart is drawn for a
width of 420 units, about what a phone shows, and a page puts two side by side where there is room.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from lambdamart_kit.core.typing import ArrayLike, FloatArray
from lambdamart_kit.report.scale import Scale, written
from lambdamart_kit.report.svg import element, path_of
from lambdamart_kit.report.tables import Cell, html_table

WIDTH = 420.0
_LEFT = 48.0  # room for the numbers of the vertical axis
_RIGHT = 12.0
_TOP = 12.0
_BOTTOM = 40.0
_N_COLOURS = 7
_BAR_ROWS = 1_000  # differences that are drawn one by one; more would be thinner than a pixel


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes
    ----------
    name : str
        What the legend calls it.
    y : (n,) float64
        Heights; NaN leaves a gap.
    low, high : (n,) float64, optional
        Ends of a band around it.
    """

    name: str
    y: FloatArray
    low: FloatArray | None = None
    high: FloatArray | None = None


def line_chart(
    name: str,
    title: str,
    x: ArrayLike,
    lines: Sequence[Line],
    *,
    x_label: str,
    y_label: str,
    note: str = "",
    diagonal: bool = False,
    dots: bool = False,
) -> Markup:
    """Lines with bands over a common horizontal axis.

    Parameters
    ----------
    name : str
        Unique in the page: ids are made of it.
    title : str
        What the chart shows, as a heading.
    x : (n,) array-like
        Places of the points.
    lines : list of Line
        At most seven can be told apart by colour; more get dashes.
    x_label, y_label : str
        What the axes are, with units.
    note : str
        A sentence below the chart.
    diagonal : bool
        Draw the line on which both axes are equal.
    dots : bool
        Mark each point.

    Returns
    -------
    Markup
        A ``figure`` with the chart and its numbers.
    """
    places = np.asarray(x, dtype=np.float64)
    height = 260.0
    heights = np.concatenate([_all_heights(line) for line in lines])
    across = Scale.over(places, _LEFT, WIDTH - _RIGHT)
    down = Scale.over(heights, height - _BOTTOM, _TOP)
    drawn: list[Markup] = [*_axes(across, down, height, x_label, y_label)]
    if diagonal:
        ends = (max(across.low, down.low), min(across.high, down.high))
        drawn.append(element("path", class_="zero", d=path_of([(across(v), down(v)) for v in ends])))
    drawn += [_band(line, places, across, down, number) for number, line in enumerate(lines)]
    drawn += [_line(line, places, across, down, number, dots) for number, line in enumerate(lines)]
    described = "; ".join(f"{line.name} ends at {_last(line.y)}" for line in lines)
    rows = [
        [Cell(f"{place:g}")] + [Cell(_shown(line.y[j])) for line in lines] for j, place in enumerate(places)
    ]
    table = html_table(title, [x_label, *[line.name for line in lines]], rows, caption_hidden=True)
    return _figure(name, title, described, drawn, height, _legend([line.name for line in lines]), note, table)


def difference_chart(
    name: str,
    title: str,
    differences: ArrayLike,
    *,
    x_label: str,
    y_label: str,
    counted: str = "{above} queries better, {alike} alike, {below} worse",
) -> Markup:
    """Gains and losses by query, the largest gain first, as thin bars around zero.

    Parameters
    ----------
    name, title, x_label, y_label : str
        As in :func:`line_chart`.
    differences : (n_queries,) array-like
        Above zero is a gain; NaN is left out.
    counted : str
        The sentence below the chart, with places for how many are above zero, zero and below.

    Returns
    -------
    Markup
        A ``figure``.
    """
    known = np.asarray(differences, dtype=np.float64)
    ordered = np.sort(known[np.isfinite(known)])[::-1]
    drawn_ones = ordered
    if len(ordered) > _BAR_ROWS:
        drawn_ones = ordered[np.linspace(0, len(ordered) - 1, _BAR_ROWS).round().astype(np.intp)]
    height = 220.0
    across = Scale(0, max(1, len(drawn_ones)), _LEFT, WIDTH - _RIGHT)
    down = Scale.over(ordered, height - _BOTTOM, _TOP, around=0.0)
    axis = Scale(0, max(1, len(ordered)), _LEFT, WIDTH - _RIGHT)
    parts = [*_axes(axis, down, height, x_label, y_label)]
    # Two paths, one a sign, weigh a tenth of one element a query.
    for sign, kind in ((1, "gain"), (-1, "loss")):
        steps = [
            f"M{across(j):.1f} {down(0):.1f}V{down(value):.1f}H{across(j + 1):.1f}V{down(0):.1f}Z"
            for j, value in enumerate(drawn_ones)
            if sign * value > 0
        ]
        parts.append(element("path", class_=kind, d="".join(steps)))
    level = down(0)
    parts.append(element("path", class_="zero", d=path_of([(_LEFT, level), (WIDTH - _RIGHT, level)])))
    above = int((ordered > 0).sum())
    below = int((ordered < 0).sum())
    alike = len(ordered) - above - below
    said = counted.format(above=f"{above:,}", alike=f"{alike:,}", below=f"{below:,}")
    return _figure(name, title, said, parts, height, Markup(), f"{said}.", Markup())


def interval_strip(mean: float, low: float, high: float, scale: Scale, *, zero: bool = False) -> Markup:
    """A dot with a whisker, small enough for a cell of a table."""
    height = 18.0
    middle = height / 2
    parts = []
    if zero:
        parts.append(element("path", class_="zero", d=path_of([(scale(0), 0), (scale(0), height)])))
    kind = "strip"
    if zero and low > 0:
        kind = "strip better"
    elif zero and high < 0:
        kind = "strip worse"
    parts.append(element("path", class_=kind, d=path_of([(scale(low), middle), (scale(high), middle)])))
    parts.append(element("circle", class_=kind, cx=scale(mean), cy=middle, r=4))
    return element(
        "svg",
        *parts,
        class_="in-cell",
        aria_hidden="true",
        viewBox=f"0 0 {scale.stop + 6:.0f} {height:.0f}",
        width=scale.stop + 6,
        height=height,
    )


def bar(value: float, largest: float) -> Markup:
    """A horizontal bar, small enough for a cell of a table."""
    share = 0.0 if largest <= 0 else max(0.0, min(1.0, abs(value) / largest))
    drawn = element(
        "rect", class_="gain" if value >= 0 else "loss", x=0, y=3, width=share * 120, height=12, rx=2
    )
    return element(
        "svg", drawn, class_="in-cell", aria_hidden="true", viewBox="0 0 120 18", width=120, height=18
    )


def _axes(across: Scale, down: Scale, height: float, x_label: str, y_label: str) -> list[Markup]:
    parts = []
    level = height - _BOTTOM
    marks = down.marks()
    for value, text in zip(marks, written(marks)):
        place = down(value)
        parts.append(element("path", class_="grid", d=path_of([(_LEFT, place), (WIDTH - _RIGHT, place)])))
        parts.append(element("text", text, x=_LEFT - 6, y=place + 4, text_anchor="end"))
    marks = across.marks()
    for value, text in zip(marks, written(marks)):
        parts.append(element("text", text, x=across(value), y=level + 16, text_anchor="middle"))
    parts.append(element("path", class_="axis", d=path_of([(_LEFT, level), (WIDTH - _RIGHT, level)])))
    centre = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(element("text", x_label, class_="label", x=centre, y=height - 6, text_anchor="middle"))
    middle = (_TOP + level) / 2
    turned = f"rotate(-90 12 {middle:.0f})"
    parts.append(
        element("text", y_label, class_="label", x=12, y=middle, text_anchor="middle", transform=turned)
    )
    return parts


def _band(line: Line, x: FloatArray, across: Scale, down: Scale, number: int) -> Markup:
    if line.low is None or line.high is None:
        return Markup()
    known = np.flatnonzero(np.isfinite(line.low) & np.isfinite(line.high))
    upper = [(across(x[j]), down(line.high[j])) for j in known]
    lower = [(across(x[j]), down(line.low[j])) for j in known[::-1]]
    return element("path", class_=f"band s{number % _N_COLOURS}", d=path_of(upper + lower, closed=True))


def _line(line: Line, x: FloatArray, across: Scale, down: Scale, number: int, dots: bool) -> Markup:
    known = np.flatnonzero(np.isfinite(line.y))
    points = [(across(x[j]), down(line.y[j])) for j in known]
    if not points:
        return Markup()
    dashes = " dashed" if number >= _N_COLOURS else ""
    parts = [element("path", class_=f"line s{number % _N_COLOURS}{dashes}", d=path_of(points))]
    if dots:
        parts += [
            element("circle", class_=f"dot s{number % _N_COLOURS}", cx=px, cy=py, r=3.5) for px, py in points
        ]
    return Markup().join(parts)


def _figure(
    name: str,
    title: str,
    described: str,
    parts: Sequence[Markup],
    height: float,
    legend: Markup,
    note: str,
    table: Markup,
) -> Markup:
    box = f"0 0 {WIDTH:.0f} {height:.0f}"
    ids = f"{name}-title {name}-described"
    drawing = element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", described, id=f"{name}-described"),
        *parts,
        role="img",
        aria_labelledby=ids,
        viewBox=box,
        class_="chart",
    )
    caption = element("figcaption", note) if note else Markup()
    numbers = element("details", element("summary", "The numbers"), table) if table else Markup()
    return element("figure", element("h3", title), legend, drawing, caption, numbers)


def _legend(names: Sequence[str]) -> Markup:
    if len(names) < 2:
        return Markup()
    entries = []
    for number, name in enumerate(names):
        dashes = " dashed" if number >= _N_COLOURS else ""
        sample = element("path", class_=f"line s{number % _N_COLOURS}{dashes}", d="M0 6H22")
        entries.append(
            element(
                "li",
                element("svg", sample, viewBox="0 0 22 12", width=22, height=12, aria_hidden="true"),
                name,
            )
        )
    return element("ul", *entries, class_="legend")


def _all_heights(line: Line) -> FloatArray:
    return np.concatenate([part for part in (line.y, line.low, line.high) if part is not None])


def _shown(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.4f}"


def _last(values: FloatArray) -> str:
    known = values[np.isfinite(values)]
    return f"{known[-1]:.4f}" if len(known) else "no value"
