"""Text from data, files and models, made safe to print."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Text without characters that a terminal would obey: they are shown as escapes, such as ``\x1b``.

    Examples
    --------
    >>> print(printable("red \x1b[31mname"))
    red \x1b[31mname
    """
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)
