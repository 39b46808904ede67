"""Results as text and as HTML: a table with a bar for each value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from lambdamart_kit.core.typing import FloatArray
from lambdamart_kit.runtime.terminal import printable

_WIDTH = 24  # characters of the longest bar
_LONGEST_NAME = 40


def _line(text: object) -> str:
    """Text in one line that a terminal obeys nothing in."""
    return printable(str(text)).replace("\n", " ").replace("\t", " ")


def bars(values: FloatArray) -> list[str]:
    """A bar for each value, to the left of a line for negative ones.

    Examples
    --------
    >>> bars(np.array([1.0, -0.5]))
    ['            │████████████', '      ██████│            ']
    """
    largest = float(np.nanmax(np.abs(values), initial=0.0))
    half = _WIDTH // 2
    drawn = []
    for value in values.tolist():
        length = round(half * abs(value) / largest) if largest > 0 and np.isfinite(value) else 0
        left = "█" * length if value < 0 else ""
        right = "█" * length if value > 0 else ""
        drawn.append(f"{left:>{half}}│{right:<{half}}")
    return drawn


def text_table(
    head: str, names: Sequence[str], columns: Mapping[str, Sequence[str]], values: FloatArray
) -> str:
    """A heading, and one line a name: its cells, and the bar of its value."""
    shown = [_line(name) for name in names]
    shown = [n if len(n) <= _LONGEST_NAME else n[: _LONGEST_NAME - 1] + "…" for n in shown]
    cells = {"feature": shown, **{title: [_line(c) for c in cells] for title, cells in columns.items()}}
    widths = {title: max([len(title), *map(len, column)]) for title, column in cells.items()}
    lines = [_line(head), ""]
    titles = [f"{t:<{w}}" if t == "feature" else f"{t:>{w}}" for t, w in widths.items()]
    lines.append("  ".join(titles))
    for row, bar in enumerate(bars(values)):
        line = [
            f"{cells[t][row]:<{w}}" if t == "feature" else f"{cells[t][row]:>{w}}" for t, w in widths.items()
        ]
        lines.append("  ".join([*line, bar]).rstrip())
    return "\n".join(lines)


def html_table(
    head: str, names: Sequence[str], columns: Mapping[str, Sequence[str]], values: FloatArray
) -> str:
    """The same as an HTML table; names and cells are escaped."""
    largest = float(np.nanmax(np.abs(values), initial=0.0)) or 1.0
    titles = "".join(f"<th scope='col'>{escape(title)}</th>" for title in ("feature", *columns, ""))
    rows = []
    for at, value in enumerate(values.tolist()):
        share = 100.0 * abs(value) / largest if np.isfinite(value) else 0.0
        colour = "#0072b2" if value >= 0 else "#d55e00"
        bar = (
            "<div style='width:10em'>"
            f"<div style='width:{share:.0f}%;height:.8em;background:{colour}'></div></div>"
        )
        cells = "".join(f"<td>{escape(str(column[at]))}</td>" for column in columns.values())
        rows.append(f"<tr><th scope='row'>{escape(str(names[at]))}</th>{cells}<td>{bar}</td></tr>")
    return (
        f"<table><caption>{escape(head)}</caption><thead><tr>{titles}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
