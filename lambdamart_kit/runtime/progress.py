"""Progress bars on stderr, when someone is watching and it takes long enough to wonder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(title: str, n_bytes: int | None, *, wanted: bool) -> Iterator[Callable[[int], None]]:
    """Yield ``advance(n_bytes)``; draws nothing unless `wanted` and stderr is a terminal."""
    if not (wanted and sys.stderr.isatty()):
        yield lambda step: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        "{task.description}",
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=n_bytes)
        yield lambda step: bar.advance(task, step)
