"""An audit as one HTML page: what was found, examples to judge by eye, lengths, and the judges."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from markupsafe import Markup

from lambdamart_kit.core.typing import FloatArray
from lambdamart_kit.preferences.auditing.report import MEANING, AuditReport
from lambdamart_kit.preferences.auditing.sameness import interval_text
from lambdamart_kit.preferences.judges.report import TITLES
from lambdamart_kit.preferences.pair_table import PairTable
from lambdamart_kit.report.charts import bar, difference_chart, interval_strip
from lambdamart_kit.report.page import Page, Section, card, cards, paragraph, side_by_side
from lambdamart_kit.report.scale import MINUS, Scale
from lambdamart_kit.report.svg import element
from lambdamart_kit.report.tables import Cell, html_table, text

_EXAMPLES = 5  # pairs shown of each finding
_CHARACTERS = 400  # of a text in an example
_JUDGES = 15  # rows of a table of judges
_NORMAL = 1.959964  # half the width of a 95 % interval in standard errors
_PIXELS = (6.0, 134.0)  # where an interval in a table begins and ends


def audit_page(report: AuditReport, pairs: PairTable, *, title: str = "Audit of preference pairs") -> Page:
    """A page that a curator reads: each finding with its meaning and with pairs to look at.

    Parameters
    ----------
    report : AuditReport
        What `audit` found.
    pairs : PreferencePairs
        What was audited; examples are shown where it holds texts.
    title : str
        Heading of the page.

    Returns
    -------
    Page
        To be written to a file.

    Examples
    --------
    >>> from lambdamart_kit.preferences import PreferencePairs
    >>> pairs = PreferencePairs.read([{"prompt": "p", "chosen": "a", "rejected": "a"}])
    >>> [section.title for section in audit_page(pairs.audit(), pairs).sections]
    ['Findings', 'Pairs to look at', 'Lengths']
    """
    sections = [
        _findings(report),
        _examples(report, pairs),
        _lengths(report, pairs),
        _sameness(report),
        *_judges(report),
    ]
    lead = [f"{report.n_pairs:,} pairs, {report.n_prompts:,} prompts, {report.n_responses:,} responses."]
    return Page(title, lead, [section for section in sections if section is not None])


def _findings(report: AuditReport) -> Section:
    found = [row for row in report.to_frame().to_dict("records") if row["pairs"]]
    clean = [name.replace("_", " ") for name, rows in report.rows.items() if not len(rows)]
    parts = [_cards(report)]
    if found:
        lines = [
            [
                text(row["problem"].replace("_", " ")),
                Cell(f"{row['pairs']:,}"),
                Cell(f"{row['share']:.1%}", bar(row["share"], 1.0)),
                text(row["meaning"]),
            ]
            for row in sorted(found, key=lambda row: -row["pairs"])
        ]
        parts.append(html_table("What was found", ["finding", "pairs", "share", "what it means"], lines))
    if clean:
        parts.append(paragraph(f"Looked for and not found: {', '.join(clean)}.", kind="muted"))
    return Section("findings", "Findings", parts)


def _cards(report: AuditReport) -> Markup:
    touched = np.unique(np.concatenate([np.empty(0, np.intp), *report.rows.values()]))
    facts = {
        "pairs with a finding": (f"{len(touched):,}", f"of {report.n_pairs:,}"),
        "kinds of findings": (
            str(sum(len(rows) > 0 for rows in report.rows.values())),
            f"of {len(report.rows)} looked for",
        ),
    }
    longer = report.facts.get("longer_response_preferred")
    if longer is not None:
        low = report.facts["longer_response_preferred_lower"]
        high = report.facts["longer_response_preferred_upper"]
        note = f"95 % interval {low:.1%} to {high:.1%}" if np.isfinite(low) else "too little for an interval"
        facts["the longer response wins"] = (f"{longer:.1%}", note)
    agreement = report.judges.agreement
    if agreement is not None:
        facts["agreement of judges"] = (
            f"{agreement.alpha:.3f}",
            f"Krippendorff's alpha, 95 % interval {agreement.lower:.3f} to {agreement.upper:.3f}",
        )
    return cards(*[card(name, value, note) for name, (value, note) in facts.items()])


def _examples(report: AuditReport, pairs: PairTable) -> Section | None:
    """The first pairs of each finding, closed at first; only where texts are there to be looked at."""
    if not len(pairs.responses):
        return None
    blocks = []
    for name, rows in report.rows.items():
        if not len(rows):
            continue
        shown = rows[:_EXAMPLES]
        lines = [
            [
                Cell(f"{pair:,}"),
                text(_cut(pairs.prompts[pairs.prompt[pair]])),
                text(_cut(pairs.responses[pairs.chosen[pair]])),
                text(_cut(pairs.responses[pairs.rejected[pair]])),
            ]
            for pair in shown
        ]
        title = name.replace("_", " ")
        table = html_table(
            f"{title}: the first {len(shown)} of {len(rows):,} pairs",
            ["pair", "prompt", "chosen", "rejected"],
            lines,
        )
        said = element("summary", f"{title} ({len(rows):,})")
        blocks.append(element("details", said, paragraph(f"{MEANING[name]}.".capitalize()), table))
    if not blocks:
        return None
    return Section("examples", "Pairs to look at", blocks)


def _lengths(report: AuditReport, pairs: PairTable) -> Section | None:
    if not report.facts:
        return None
    chosen = pairs.lengths[pairs.chosen].astype(np.float64)
    rejected = pairs.lengths[pairs.rejected].astype(np.float64)
    chart = difference_chart(
        "lengths",
        "How much longer the chosen response is",
        (chosen - rejected) / np.maximum(chosen + rejected, 1.0),
        x_label="pairs",
        y_label="difference / sum of lengths",
        counted="{above} pairs with a longer chosen response, {alike} as long, {below} shorter",
    )
    known = {name: value for name, value in report.facts.items() if np.isfinite(value)}
    rows = [[text(name.replace("_", " ")), Cell(f"{value:,.4g}")] for name, value in known.items()]
    table = html_table("Lengths in characters", ["fact", "value"], rows)
    return Section("lengths", "Lengths", [side_by_side(chart, table)])


def _sameness(report: AuditReport) -> Section | None:
    """Winners against losers, and how often the more typical response is preferred."""
    if report.sameness is None:
        return None
    sides = [
        [
            text(row["measure"].replace("_", " ")),
            text("within a prompt" if row["of"] == "prompt" else "all prompts together"),
            Cell(f"{row['prompts']:,}"),
            Cell(f"{row['winners']:.3f}"),
            Cell(f"{row['losers']:.3f}"),
            text(interval_text(row["lower"], row["upper"], "+.3f")),
        ]
        for row in report.sameness.sides.to_dict("records")
    ]
    typical = [
        [
            text(row["like"]),
            Cell(f"{row[pairs]:,}"),
            text(which),
            Cell(f"{row[share]:.1%}"),
            text(interval_text(row[f"{prefix}lower"], row[f"{prefix}upper"], ".1%")),
        ]
        for row in report.sameness.typical.to_dict("records")
        for which, pairs, share, prefix in (
            ("all", "pairs", "preferred", ""),
            ("of nearly equal length", "matched_pairs", "matched", "matched_"),
        )
        if row[pairs]
    ]
    parts = []
    if sides:
        columns = ["measure", "of", "prompts", "winners", "losers", "95 % interval of the difference"]
        parts.append(html_table("Responses that win against responses that lose", columns, sides))
    if typical:
        columns = ["more like the others of", "pairs", "which", "preferred", "95 % interval"]
        parts.append(html_table("How often the more typical response is preferred", columns, typical))
    return Section("sameness", "Sameness of responses", parts) if parts else None


def _judges(report: AuditReport) -> list[Section]:
    parts: list[Markup] = []
    judges = report.judges
    if judges.scale is not None:
        parts.append(paragraph(judges.verdict_on_scale()))
        cycles = judges.scale.hodge.worst_cycles(5, triangles_only=len(judges.scale.hodge.triangles) > 0)
        if len(cycles):
            parts.append(_frame_table("The strongest cycles", cycles))
    for name, title in TITLES.items():
        table = getattr(judges, name)
        if table is not None:
            parts.append(_frame_table(title, table))
    if report.annotators is not None:
        compared = report.annotators[report.annotators["shared"] > 0]
        parts.append(_frame_table("Agreement with the majority of the others", compared))
    return [Section("judges", "Judges", parts)] if parts else []


def _frame_table(title: str, table: pd.DataFrame) -> Markup:
    """A table of estimates, with an interval drawn where there is a standard error."""
    shown = table.head(_JUDGES)
    estimates = _estimates(shown)
    columns = [str(name).replace("_", " ") for name in shown]
    scale = None
    if estimates is not None:
        columns.append("95 % interval")
        ends = np.concatenate([estimates - _half(shown), estimates + _half(shown)])
        fitted = Scale.over(ends, *_PIXELS, around=0.0)
        scale = fitted if np.isfinite(ends).any() else None
    rows = []
    for number, record in enumerate(shown.to_dict("records")):
        row = [_cell(value) for value in record.values()]
        if estimates is not None:
            row.append(_interval(float(estimates[number]), float(_half(shown)[number]), scale))
        rows.append(row)
    more = len(table) - len(shown)
    return html_table(title + (f" (and {more:,} more rows)" if more > 0 else ""), columns, rows)


def _estimates(table: pd.DataFrame) -> FloatArray | None:
    if not {"estimate", "se"} <= set(table):
        return None
    return np.asarray(table["estimate"], dtype=np.float64)


def _half(table: pd.DataFrame) -> FloatArray:
    return _NORMAL * np.asarray(table["se"], dtype=np.float64)


def _interval(estimate: float, half: float, scale: Scale | None) -> Cell:
    if scale is None or not np.isfinite(estimate + half):
        return Cell("no estimate")
    low = estimate - half
    high = estimate + half
    return Cell(
        f"{low:.3g} to {high:.3g}".replace("-", MINUS), interval_strip(estimate, low, high, scale, zero=True)
    )


def _cell(value: object) -> Cell:
    if isinstance(value, float | np.floating):
        return Cell("" if np.isnan(value) else f"{value:.3g}".replace("-", MINUS))
    if isinstance(value, int | np.integer):
        return Cell(f"{value:,}")
    if isinstance(value, Mapping | list | tuple):
        return text(" > ".join(map(str, value)))
    return text(value)


def _cut(value: object) -> str:
    written = str(value)
    return written if len(written) <= _CHARACTERS else written[:_CHARACTERS] + " ..."
