"""What is wrong with a file, and where."""

from __future__ import annotations

from pathlib import Path


class LetorFormatError(ValueError):
    """A LETOR file that cannot be read: names the file, the line and the offending text.

    Parameters
    ----------
    reason : str
        What is wrong, for the message.
    path : str, Path or None
        The file.
    line : int or None
        Line number, counted from 1; None when the whole file is at fault.
    text : str or None
        The offending text.

    Examples
    --------
    >>> print(LetorFormatError("no query id", path="train.txt", line=3, text="1 1:0.5"))
    train.txt, line 3: no query id: '1 1:0.5'
    """

    def __init__(
        self,
        reason: str,
        *,
        path: str | Path | None = None,
        line: int | None = None,
        text: str | None = None,
    ) -> None:
        where = [str(path)] if path is not None else []
        where += [f"line {line}"] if line is not None else []
        message = f"{', '.join(where)}: {reason}" if where else reason
        super().__init__(f"{message}: {text!r}" if text is not None else message)
        self.path = None if path is None else str(path)
        self.line = line
        self.text = text
