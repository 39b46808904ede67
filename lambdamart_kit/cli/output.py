"""What commands print, and how."""

from __future__ import annotations

import glob
import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from lambdamart_kit.core.typing import Settings
from lambdamart_kit.runtime.progress import Progress
from lambdamart_kit.runtime.terminal import printable

if TYPE_CHECKING:
    from lambdamart_kit.bench.render import Table
    from lambdamart_kit.report import Page


class Group(TyperGroup):
    """Commands whose help lists each with its whole first sentence, in as many lines as that takes."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        lines = [(name, command.get_short_help_str(10_000)) for name, command in found if command is not None]
        with formatter.section("Commands"):
            formatter.write_dl(lines)


class Format(StrEnum):
    """How a report is written to stdout."""

    table = "table"
    json = "json"
    csv = "csv"
    markdown = "markdown"


FormatOption = Annotated[
    Format, typer.Option("--format", "-f", help="Table for people, the others for machines.")
]


def print_names(named: Sequence[tuple[str, str]]) -> None:
    """Write names, each with what it is; on a terminal, long lines go on under the text."""
    indent = max(len(name) for name, _ in named) + 2
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for name, text in named:
        line = f"{name:<{indent}}{text}"
        print(line if room is None else textwrap.fill(line, max(room, 40), subsequent_indent=" " * indent))


def say(line: str) -> None:
    """Tell a person something on stderr; on a terminal, long lines are broken between words."""
    lines = printable(line).split("\n")
    if sys.stderr.isatty():
        room = max(shutil.get_terminal_size().columns, 40)
        lines = [
            textwrap.fill(text, room, break_long_words=False) if len(text) > room else text for text in lines
        ]
    print("\n".join(lines), file=sys.stderr, flush=True)


def check_outputs(data: str, *targets: Path | None) -> None:
    """Refuse an output that is one of the files to be read, before anything is written.

    Parameters
    ----------
    data : str
        What is read: a file, a folder or a pattern.
    targets : Path or None
        Where results go; None is stdout, or nowhere.

    Raises
    ------
    ValueError
        Naming the file.
    """
    from lambdamart_kit.files.checks import refuse_overwriting

    place = Path(data)
    if place.is_dir():
        sources = [file for file in place.rglob("*") if file.is_file()]
    else:
        sources = [place] if place.exists() else [Path(found) for found in glob.glob(data, recursive=True)]
    for target in targets:
        if target is not None:
            refuse_overwriting(target, sources)


def write_rows(records: Iterable[Settings], out: Path | None) -> int:
    """Write rows to a file, or as JSON lines to stdout; return their number."""
    from lambdamart_kit.files.records import json_line
    from lambdamart_kit.preferences.reading.records import write_records

    if out is not None:
        return write_records(records, out)
    n_rows = 0
    for record in records:
        sys.stdout.write(json_line(record))
        n_rows += 1
    return n_rows


@contextmanager
def progress_bar() -> Iterator[Callable[[int, int, str], None]]:
    """Bar on stderr, if that is a terminal, told by calls of (done, in all, what comes next)."""
    with Progress("starting", None) as progress:
        yield lambda done, total, message: progress.update(done, total=total, label=message)


def write_page(page: Page, path: Path) -> None:
    """Write a page, and say where it is."""
    page.write(path)
    say(f"wrote {path}")


def print_records(table: Table, records: Sequence[Mapping[str, Any]], format: Format) -> None:
    """Write to stdout: `table` for people and as markdown, the `records` behind it for machines."""
    from rich.console import Console

    from lambdamart_kit.bench.render import print_table, records_to_csv, table_to_markdown

    if format is Format.table:
        print_table(table, Console())
    elif format is Format.markdown:
        sys.stdout.write(table_to_markdown(table))
    elif format is Format.csv:
        sys.stdout.write(records_to_csv(records))
    else:
        sys.stdout.write(json.dumps(records, indent=2) + "\n")
