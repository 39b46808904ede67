"""Elements of SVG and HTML, every text and attribute escaped."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape


def element(tag: str, *content: str, **attributes: str | float | None) -> Markup:
    """An element as markup: text is escaped, markup is kept.

    Parameters
    ----------
    tag : str
        Name of the element.
    *content : str
        Texts and elements inside.
    **attributes : str or float
        ``class_`` stands for ``class``, and underscores for dashes. Numbers are written with two decimals at
        most. None leaves an attribute out.

    Returns
    -------
    Markup
        Safe to put into a page.

    Examples
    --------
    >>> print(element("text", "a < b", class_="label", x=1.0, font_size=12.345))
    <text class="label" x="1" font-size="12.35">a &lt; b</text>
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    inside = Markup().join(escape(part) for part in content)
    return Markup(f"<{tag}{written}>{inside}</{tag}>")


def path_of(points: Iterable[tuple[float, float]], *, closed: bool = False) -> str:
    """The ``d`` of a path through points.

    Examples
    --------
    >>> path_of([(0, 0), (10, 5.25)])
    'M0 0L10 5.25'
    """
    steps = "L".join(f"{number(x)} {number(y)}" for x, y in points)
    return f"M{steps}" + ("Z" if closed else "")


def number(value: float) -> str:
    """A coordinate with at most two decimals, so that the same chart is always the same bytes."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _attribute(value: str | float) -> Markup:
    return escape(value if isinstance(value, str) else number(value))
