"""A page: sections under headings, written as one HTML file that needs nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from markupsafe import Markup

from lambdamart_kit.report.svg import element
from lambdamart_kit.runtime.atomic_file import atomic_file
from lambdamart_kit.runtime.version import __version__

if TYPE_CHECKING:
    from jinja2 import Template


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Parameters
    ----------
    name : str
        Short, unique in the page: the address of the section.
    title : str
        Its heading.
    parts : list of Markup
        Paragraphs, tables and charts.

    Examples
    --------
    >>> from lambdamart_kit.report.page import paragraph
    >>> Section("health", "Health of the data", [paragraph("No row is twice in it.")]).title
    'Health of the data'
    """

    name: str
    title: str
    parts: Sequence[Markup]


@dataclass(frozen=True)
class Page:
    """A report that opens anywhere.

    Parameters
    ----------
    title : str
        The heading of the page.
    lead : list of str
        Sentences below it: what was measured, on what, when.
    sections : list of Section
        In the order of reading.
    data : dict of str to str
        What scripts unpack: id of the element, and base64 text.

    Examples
    --------
    >>> from lambdamart_kit.report.page import paragraph
    >>> page = Page("Results", ["One test."], [Section("all", "All", [paragraph("It works.")])])
    >>> "It works." in page.to_html()
    True
    """

    title: str
    lead: Sequence[str]
    sections: Sequence[Section]
    data: Mapping[str, str] = field(default_factory=dict)

    def to_html(self) -> str:
        """The whole page; the same content is always the same text.

        Returns
        -------
        str
            HTML with style and scripts in it.
        """
        return _template().render(
            page=self,
            style=Markup(_asset("report.css")),
            script=Markup(_asset("explorer.js")) if self.data else "",
            version=__version__,
        )

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the page to a file, which appears only when it is whole.

        Parameters
        ----------
        path : str or Path
            File to write.

        Raises
        ------
        OSError
            If it cannot be written there.
        """
        with atomic_file(path) as stream:
            stream.write(self.to_html().encode())


def paragraph(text: str, *, kind: str | None = None) -> Markup:
    """A sentence or two; the text is escaped."""
    return element("p", text, class_=kind)


def sentences(texts: Sequence[str]) -> Markup:
    """A list of sentences; empty where there are none."""
    if not texts:
        return Markup()
    return element("ul", *[element("li", text) for text in texts], class_="sentences")


def card(name: str, value: str, note: str) -> Markup:
    """A number that is read first: what it is, the number, and what qualifies it."""
    return element(
        "div",
        element("p", name, class_="name"),
        element("p", value, class_="value"),
        element("p", note, class_="range"),
        class_="card",
    )


def cards(*held: Markup) -> Markup:
    """Cards in a row, or below each other on a narrow screen."""
    return element("div", *held, class_="cards")


def side_by_side(*figures: Markup) -> Markup:
    """Figures next to each other where the screen is wide enough."""
    return element("div", *figures, class_="figures")


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_asset("page.html.j2"))


def _asset(name: str) -> str:
    return (files("lambdamart_kit.report") / "templates" / name).read_text(encoding="utf-8")
