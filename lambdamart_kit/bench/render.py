"""A report as people read it (a table for the terminal), and as machines do (json, csv, markdown)."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from lambdamart_kit.bench.measuring import Measured
from lambdamart_kit.bench.report import (
    CONFIDENCE,
    FEWEST_DOCUMENTS,
    Cost,
    Evaluation,
    Quality,
    Report,
)
from lambdamart_kit.bench.score_comparison import ScoreDifference
from lambdamart_kit.runtime.terminal import printable
from lambdamart_kit.trec import is_trec_name

if TYPE_CHECKING:
    from rich.console import Console

_DASH = "\u2013"  # an interval, or no value
_WIDE = 100
_TAG = re.compile(r"<(?=[a-zA-Z/!?])")
_FIRST = 20  # characters of the first column that stay on one line


@dataclass(frozen=True)
class Table:
    """Cells as text: columns of numbers are right-aligned, others left; `emphasis` styles cells by place."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    emphasis: dict[tuple[int, int], str]


def print_report(report: Report, console: Console) -> None:
    """Tables for a person; plain aligned text when `console` is not a terminal."""
    for table in tables(report, wide=not console.is_terminal or console.width >= _WIDE):
        print_table(table, console)
    for line in footer(report):
        _print_line(line, console, "dim")


def print_table(table: Table, console: Console) -> None:
    """One table on `console`, followed by an empty line; in parts where it is wider than a terminal."""
    table = _printable(table)
    _print_line(table.title, console, "bold")
    if not console.is_terminal:
        console.out(_plain(table), highlight=False)
        return
    for part in _parts(table, console.width):
        _print_part(part, console)


def _printable(table: Table, shown: Callable[[str], str] = printable) -> Table:
    """The table with nothing in it that a terminal would obey: its cells may be names from data."""
    rows = tuple(tuple(map(shown, row)) for row in table.rows)
    return replace(table, title=shown(table.title), columns=tuple(map(shown, table.columns)), rows=rows)


def _parts(table: Table, width: int) -> list[Table]:
    """Tables of some of the columns each, all with the first one, of which `_FIRST` characters must fit."""
    widths = [max(map(len, column)) + 2 for column in zip(table.columns, *table.rows)]
    first = min(widths[0], _FIRST)
    groups: list[list[int]] = [[]]
    room = width - first
    for j in range(1, len(widths)):
        if widths[j] > room and groups[-1]:
            groups.append([])
            room = width - first
        groups[-1].append(j)
        room -= widths[j]
    if len(groups) == 1:
        return [table]
    found = []
    for group in groups:
        kept = [0, *group]
        places = {j: place for place, j in enumerate(kept)}
        emphasis = {(i, places[j]): style for (i, j), style in table.emphasis.items() if j in places}
        rows = tuple(tuple(row[j] for j in kept) for row in table.rows)
        found.append(Table(table.title, tuple(table.columns[j] for j in kept), rows, emphasis))
    return found


def _print_part(table: Table, console: Console) -> None:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    for position, name in enumerate(table.columns):
        justify: Literal["left", "right"] = "right" if _has_numbers(table, position) else "left"
        shown.add_column(Text(name), justify=justify, no_wrap=position > 0, overflow="fold")
    for i, row in enumerate(table.rows):
        shown.add_row(*(Text(cell, style=table.emphasis.get((i, j), "")) for j, cell in enumerate(row)))
    console.print(shown)


def _print_line(line: str, console: Console, style: str) -> None:
    from rich.text import Text

    console.print(Text(printable(line), style=style), soft_wrap=not console.is_terminal)


_NUMBER_STARTS = tuple("0123456789+-\u2212\u2013?")  # a minus, and the dash of an empty cell, among them


def _has_numbers(table: Table, position: int) -> bool:
    """Whether a column, which is not the first one, has a cell that begins as numbers do."""
    return position > 0 and any(row[position][:1] in _NUMBER_STARTS for row in table.rows)


def _plain(table: Table) -> str:
    lines = [table.columns, *table.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    right = [_has_numbers(table, j) for j in range(len(table.columns))]
    aligned = (
        [cell.rjust(width) if at else cell.ljust(width) for cell, width, at in zip(line, widths, right)]
        for line in lines
    )
    return "\n".join("  ".join(cells).rstrip() for cells in aligned) + "\n"


def to_json(report: Report) -> str:
    """Every field of the report."""
    return json.dumps(asdict(report), indent=2) + "\n"


def to_csv(report: Report) -> str:
    """One line a model and metric, with the model's costs."""
    costs = {cost.model: asdict(cost) for cost in report.costs}
    return records_to_csv([asdict(row) | costs[row.model] for row in report.quality])


def records_to_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """A header of the first record's names, and one line a record."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(records[0]) if records else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def to_markdown(report: Report) -> str:
    """Tables with their footer, to be pasted."""
    parts = [table_to_markdown(table) for table in tables(report, wide=True)]
    return "\n".join([*parts, *(f"- {_as_markdown(line)}" for line in footer(report))]) + "\n"


def _as_markdown(text: str) -> str:
    """Text without what a terminal would obey, and without what markdown would take for a tag."""
    return _TAG.sub("&lt;", printable(text).replace("\n", " "))


def table_to_markdown(table: Table) -> str:
    """The table with its title, to be pasted."""

    def line(cells: tuple[str, ...]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    table = _printable(table, _as_markdown)
    rule = "| --- |" + " ---: |" * (len(table.columns) - 1)
    return "\n".join([f"**{table.title}**", "", line(table.columns), rule, *map(line, table.rows), ""])


FORMATS: dict[str, Callable[[Report], str]] = {"json": to_json, "csv": to_csv, "markdown": to_markdown}


def tables(report: Report, *, wide: bool) -> list[Table]:
    """Quality under each metric, in one table where there is room and else in two, then costs."""
    found = []
    for metric in report.metrics:
        rows = [row for row in report.quality if row.metric == metric]
        if wide:
            found.append(_quality_table(report, metric, rows))
        else:
            found += [_mean_table(report, metric, rows), _difference_table(report, rows)]
    return [*found, _cost_table(report)]


def evaluation_table(evaluations: Sequence[Evaluation]) -> Table:
    """One line a metric of one file of scores."""
    first = evaluations[0]
    title = f"{first.n_queries:,} queries; {first.n_blank:,} blank, left out unless the metric says otherwise"
    rows = [
        (e.metric, _score(e.mean), _interval(e.low, e.high), _score(e.mean_blank_zero), f"{e.n_blank:,}")
        for e in evaluations
    ]
    return Table(
        title, ("metric", "mean", f"{CONFIDENCE:.0%} interval", "blank = 0", "blank"), tuple(rows), {}
    )


def query_table(measured: Measured) -> Table:
    """One line a query, one column a metric."""
    rows = [
        (str(qid), *map(_score, values))
        for qid, values in zip(measured.qid.tolist(), measured.values.tolist())
    ]
    return Table(f"{len(rows):,} queries", ("query", *measured.metrics), tuple(rows), {})


def difference_table(differences: Sequence[ScoreDifference]) -> Table:
    """One line a metric and file, against the first file."""
    first = differences[0]
    columns = ("metric", "scores", "mean", "difference", "its interval", "d", "win/tie/loss", "p")
    emphasis = {}
    rows = []
    for i, d in enumerate(differences):
        span = _interval(d.low, d.high, signed=True)
        counts = f"{d.wins}/{d.ties}/{d.losses}"
        change = f"{d.difference:+.4f}"
        tail = (span, _number(d.effect_size, "+.2f"), counts, _pvalue(d.pvalue_holm))
        rows.append((d.metric, d.name, _score(d.mean), change, *tail))
        if d.pvalue_holm < 1 - CONFIDENCE:
            emphasis[i, 3] = "green" if d.difference > 0 else "red"
    title = f"Difference to {first.baseline}, paired by query: {first.n_queries:,} queries"
    return Table(title, columns, tuple(rows), emphasis)


def difference_notes(differences: Sequence[ScoreDifference]) -> list[str]:
    """What the columns mean, and the queries that changed most."""
    how = "every flip of signs" if differences[0].exact else "random flips of signs"
    means = ", ".join(dict.fromkeys(f"{d.metric} {_score(d.baseline_mean)}" for d in differences))
    several = ", Holm-corrected" if len({d.name for d in differences}) > 1 else ""
    lines = [
        f"Baseline {differences[0].baseline}: {means}.",
        f"d: mean difference over the standard deviation of differences. Interval: {CONFIDENCE:.0%} "
        f"bootstrap over queries. p: paired permutation test ({how}){several}.",
    ]
    for d in differences:
        for word, extreme in (("best", d.best), ("worst", d.worst)):
            if extreme:
                shown = ", ".join(f"{qid} ({change:+.4f})" for qid, change in extreme)
                lines.append(f"{d.metric}, {d.name}: {word} queries {shown}")
    return lines


def footer(report: Report) -> list[str]:
    """How to read the tables, what is missing, and what they were made with."""
    budget = (
        f"each model tuned over {report.n_settings} settings on the validation queries"
        if report.n_settings > 1
        else "default settings, early stopping on the validation queries"
    )
    versions = ", ".join(
        f"{name} {version}" for name, version in report.environment.items() if name != "cores"
    )
    return [
        f"Interval: {CONFIDENCE:.0%} bootstrap over queries. p: paired permutation test against "
        f"{report.baseline}, Holm-corrected.",
        *([report.noise] if report.noise else []),
        f"{budget[0].upper()}{budget[1:]}. Costs are medians over folds, after a warm-up. Rounds are the "
        "trees of tree ensembles, and iterations or epochs of other models.",
        *_unmeasured(report),
        *report.notes,
        f"{versions}; {report.n_threads} of {report.environment.get('cores', '?')} cores",
    ]


def _unmeasured(report: Report) -> list[str]:
    if all(cost.predict_microseconds is not None for cost in report.costs):
        return []
    return [f"predict µs is measured on {FEWEST_DOCUMENTS:,} test documents or more."]


def counted_queries(report: Report, metric: str) -> str:
    """How many queries the mean of a metric is over, as tables and pictures alike say it."""
    n_folds = len(report.folds)
    are_zero = is_trec_name(metric)  # in trec_eval's conventions
    counted = report.n_queries - (0 if are_zero else report.n_blank)
    what = "counted as 0" if are_zero else "left out"
    blank = f" ({report.n_blank:,} blank, {what})" if report.n_blank else ""
    return f"mean over {counted:,} test queries in {n_folds} fold{'s' * (n_folds != 1)}{blank}"


def _quality_table(report: Report, metric: str, rows: list[Quality]) -> Table:
    means = _mean_table(report, metric, rows)
    differences = _difference_table(report, rows)
    shift = len(means.columns) - 1
    return Table(
        means.title,
        means.columns + differences.columns[1:],
        tuple(mean + difference[1:] for mean, difference in zip(means.rows, differences.rows)),
        means.emphasis | {(i, j + shift): style for (i, j), style in differences.emphasis.items()},
    )


def _mean_table(report: Report, metric: str, rows: list[Quality]) -> Table:
    columns = ("model", "mean", f"{CONFIDENCE:.0%} interval", "blank = 0")
    cells = [
        (row.model, _score(row.mean), _interval(row.low, row.high), _score(row.mean_blank_zero))
        for row in rows
    ]
    return Table(
        f"{metric}, {counted_queries(report, metric)}",
        columns,
        tuple(cells),
        {(0, 0): "bold", (0, 1): "bold"},
    )


def _difference_table(report: Report, rows: list[Quality]) -> Table:
    cells: list[tuple[str, ...]] = []
    emphasis = {}
    for i, row in enumerate(rows):
        if row.difference is None:
            cells.append((row.model, "baseline", "", ""))
            continue
        span = _interval(row.difference_low, row.difference_high, signed=True)
        cells.append((row.model, f"{row.difference:+.4f}", span, _pvalue(row.pvalue_holm)))
        if row.pvalue_holm is not None and row.pvalue_holm < 1 - CONFIDENCE:
            emphasis[i, 1] = "green" if row.difference > 0 else "red"
    title = f"Difference to {report.baseline}, paired by query"
    return Table(title, ("model", "difference", "its interval", "p"), tuple(cells), emphasis)


def _cost_table(report: Report) -> Table:
    columns = ("model", "rounds", "fit s", "gradient s", "rest s", "predict µs", "fit MB")
    return Table(
        "Cost of one fit, and of predicting one document",
        columns,
        tuple(_cost_row(cost) for cost in report.costs),
        {},
    )


def _cost_row(cost: Cost) -> tuple[str, ...]:
    rest = None if cost.gradient_seconds is None else cost.fit_seconds - cost.gradient_seconds
    return (
        cost.model,
        _number(cost.n_iterations, ".0f"),
        _number(cost.fit_seconds, ".2f"),
        _number(cost.gradient_seconds, ".2f"),
        _number(rest, ".2f"),
        _number(cost.predict_microseconds, ".2f"),
        _number(None if cost.fit_memory is None else cost.fit_memory / 2**20, ".0f"),
    )


def _number(value: float | None, spec: str) -> str:
    return _DASH if value is None or math.isnan(value) else format(value, spec)


def _score(value: float) -> str:
    return _number(value, ".4f")


def _interval(low: Any, high: Any, *, signed: bool = False) -> str:
    if signed:
        return f"{_number(low, '+.4f')} to {_number(high, '+.4f')}"
    return f"{_number(low, '.3f')}{_DASH}{_number(high, '.3f')}"


def _pvalue(value: float | None) -> str:
    return "<0.001" if value is not None and value < 0.001 else _number(value, ".3f")
