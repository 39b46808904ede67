"""Progress on stderr: a bar on a terminal, a line at every tenth of the way elsewhere.

This is the only place that draws. Whoever works for more than a few seconds tells a `Progress` how far it is.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Literal, Self

from lambdamart_kit.runtime.terminal import printable

Unit = Literal["", "bytes"]


class Progress:
    """How far a piece of work is, shown on stderr; a context manager.

    Parameters
    ----------
    label : str
        What is being done.
    total : int or None
        Steps, or bytes, in all; None if that is not known.
    unit : {"", "bytes"}
        What is counted.
    bar : bool
        Draw a bar if stderr is a terminal. It disappears at the end.
    lines : bool
        Where stderr is no terminal, print a line at every tenth of the way.

    Examples
    --------
    >>> with Progress("working", 10, bar=False) as progress:
    ...     for step in range(10):
    ...         progress.update(step + 1)
    """

    def __init__(
        self, label: str, total: int | None, *, unit: Unit = "", bar: bool = True, lines: bool = False
    ) -> None:
        on_terminal = sys.stderr.isatty()
        self._label = label
        self._total = total
        self._unit = unit
        self._draws = bar and on_terminal
        self._prints = lines and not on_terminal
        self._done = 0
        self._tenths = 0
        self._started = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        if self._draws:
            self._bar = _make_bar(self._unit)
            self._bar.start()
            self._task = self._bar.add_task(_plain(self._label), total=self._total, note="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, steps: int) -> None:
        """So many more steps are done."""
        self.update(self._done + steps)

    def update(
        self, done: int, *, total: int | None = None, label: str | None = None, note: str = ""
    ) -> None:
        """So many steps are done in all.

        Parameters
        ----------
        done : int
        total : int, optional
            Steps in all, if that has become known.
        label : str, optional
            What is being done now.
        note : str
            Shown beside the count, such as a measure.
        """
        self._done = done
        self._total = self._total if total is None else total
        self._label = self._label if label is None else label
        if self._bar is not None:
            text = _plain(self._label)
            self._bar.update(
                self._task, completed=done, total=self._total, description=text, note=_plain(note)
            )
        elif self._prints and self._total:
            self._print_if_due(self._total, note)

    def _print_if_due(self, total: int, note: str) -> None:
        tenths = self._done // max(1, total // 10)
        if tenths <= self._tenths or self._done <= 0:
            return
        self._tenths = tenths
        left = (time.monotonic() - self._started) / self._done * max(total - self._done, 0)
        count = f"{self._done}/{total}"
        if self._unit == "bytes":
            count = f"{self._done / 1e6:,.0f} of {total / 1e6:,.0f} MB"
        parts = [f"{self._label} {count}", note, f"{duration(left)} left"]
        print(printable("  ".join(part for part in parts if part)), file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Seconds as a person says them.

    Examples
    --------
    >>> duration(42.4), duration(90), duration(8000)
    ('42 s', '1 min 30 s', '2 h 13 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _make_bar(unit: Unit) -> Any:
    from rich import progress
    from rich.console import Console

    count: list[Any] = [progress.MofNCompleteColumn()]
    if unit == "bytes":
        count = [progress.DownloadColumn(), progress.TransferSpeedColumn()]
    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        *count,
        progress.TextColumn("{task.fields[note]}"),
        progress.TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )


def _plain(text: str) -> str:
    """Text that rich shows as it is: names from data and files may look like its markup."""
    from rich.markup import escape

    return escape(printable(text))
