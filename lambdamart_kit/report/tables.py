"""Tables of a page: a caption, headings with scopes, and a frame that scrolls on narrow screens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from lambdamart_kit.report.svg import element


@dataclass(frozen=True)
class Cell:
    """What stands in a cell: text, and a drawing after it where there is one."""

    text: str
    drawing: Markup | None = None
    numeric: bool = True


def text(value: object) -> Cell:
    """A cell with words, which stand at the left."""
    return Cell(str(value), numeric=False)


def html_table(
    caption: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    *,
    caption_hidden: bool = False,
) -> Markup:
    """A table whose first column names its rows.

    Parameters
    ----------
    caption : str
        What the table shows.
    headings : list of str
        One a column.
    rows : list of list of Cell
        All as long as `headings`.
    caption_hidden : bool
        Leave the caption to screen readers, where a heading above says the same.

    Returns
    -------
    Markup
        A region that scrolls by itself, so that the page never does.
    """
    numeric = [bool(rows) and all(row[j].numeric for row in rows) for j in range(len(headings))]
    head = element(
        "tr", *[element("th", name, scope="col", class_=_kind(numeric[j])) for j, name in enumerate(headings)]
    )
    body = [element("tr", *[_cell(cell, j == 0) for j, cell in enumerate(row)]) for row in rows]
    table = element(
        "table",
        element("caption", caption, class_="hidden" if caption_hidden else None),
        element("thead", head),
        element("tbody", *body),
    )
    return element("div", table, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _cell(cell: Cell, first: bool) -> Markup:
    if first:
        return element("th", cell.text, cell.drawing or "", scope="row", class_=_kind(cell.numeric))
    return element("td", cell.text, cell.drawing or "", class_=_kind(cell.numeric))


def _kind(numeric: bool) -> str | None:
    return "number" if numeric else None
