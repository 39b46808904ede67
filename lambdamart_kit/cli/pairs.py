"""``lambdamart-kit pairs``: what there is to do with preference pairs, votes and rankings."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lambdamart_kit.cli.columns import roles
from lambdamart_kit.cli.dpo import dpo
from lambdamart_kit.cli.leaderboard import leaderboard, rankings
from lambdamart_kit.cli.options import LayoutOption, PairsArgument, RolesOption, ThreadsOption, VerboseOption
from lambdamart_kit.cli.output import Group, check_outputs, print_names, say, write_rows
from lambdamart_kit.runtime.terminal import printable

if TYPE_CHECKING:
    from lambdamart_kit.preferences import PreferencePairs

app = typer.Typer(
    cls=Group,
    help="Preference pairs: audit, reward models, leaderboards.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Out = Annotated[Path | None, typer.Option("--out", "-o", help="Where to write; else stdout.")]


class AuditFormat(StrEnum):
    """How an audit is written."""

    table = "table"
    json = "json"


class Scorer(StrEnum):
    """What turns features into rewards."""

    trees = "trees"
    linear = "linear"


class Margins(StrEnum):
    """Which margins a reward difference has to exceed in training."""

    stated = "stated"
    all = "all"
    none = "none"


_USE_MARGINS: dict[str, bool | str] = {"stated": "stated", "all": True, "none": False}


class Method(StrEnum):
    """How pairs to annotate are chosen."""

    d_optimal = "d-optimal"
    double_thompson = "double-thompson"
    uncertainty = "uncertainty"
    disagreement = "disagreement"
    random = "random"


@app.command()
def audit(
    data: PairsArgument,
    other: Annotated[
        str | None,
        typer.Option(help="Another file, such as the test part: prompts that both hold are named."),
    ] = None,
    annotator: Annotated[str | None, typer.Option(help="Column that says who judged.")] = None,
    diversity: Annotated[
        bool,
        typer.Option(
            "--diversity", help="Also measure how alike responses are, and whether that is preferred."
        ),
    ] = False,
    noise: Annotated[int, typer.Option(help="Also show so many of the most suspicious labels.")] = 0,
    columns: RolesOption = None,
    layout: LayoutOption = None,
    format: Annotated[
        AuditFormat, typer.Option("--format", "-f", help="Table for people, JSON for machines.")
    ] = AuditFormat.table,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    html: Annotated[Path | None, typer.Option(help="Write one HTML page, with pairs to look at.")] = None,
    out: Out = None,
) -> None:
    """Say what is wrong with a set of pairs.

    \b
    Example:
      lambdamart-kit pairs audit pairs.jsonl --html audit.html
    """
    from lambdamart_kit.preferences import audit as examine
    from lambdamart_kit.runtime.atomic_file import check_writable

    check_outputs(data, html, out)
    if html is not None:
        check_writable(html)

    # Texts are kept only where they are shown or a model is fitted on them: an audit needs their facts.
    with _rows_bar("read") as progress:
        texts = noise > 0 or html is not None or diversity
        pairs = _read(data, columns, layout, texts=texts, progress=progress)
        theirs = None if other is None else _read(other, columns, layout, texts=False, progress=progress)
    report = examine(pairs, theirs, annotator=annotator, diversity=diversity)
    if html is not None:
        from lambdamart_kit.cli.output import write_page
        from lambdamart_kit.preferences.auditing.page import audit_page

        write_page(audit_page(report, pairs), html)
    suspicious = None
    if noise:
        from lambdamart_kit.preferences import label_noise

        suspicious = label_noise(pairs).head(noise)
    if as_json or format is AuditFormat.json:
        content = report.to_dict()
        if suspicious is not None:
            content["suspicious"] = suspicious.to_dict("records")
        _write(json.dumps(content, indent=2) + "\n", out)
    else:
        extra = "" if suspicious is None else f"\n{suspicious.to_string(index=False)}\n"
        _write(report.to_markdown() + extra, out)


@app.command()
def convert(
    data: PairsArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write: .jsonl, .parquet, .csv or .tsv.")],
    columns: RolesOption = None,
    layout: LayoutOption = None,
) -> None:
    """Write the pairs of any layout as prompt, chosen, rejected, target, weight and margin.

    \b
    Example:
      lambdamart-kit pairs convert arena.csv -o pairs.jsonl
    """
    check_outputs(data, out)
    with _rows_bar("read") as progress:
        pairs = _read(data, columns, layout, progress=progress)
        n_pairs = pairs.write(out)
    say(f"wrote {n_pairs} pairs to {out}")
    margins = pairs.margins()
    for source in [] if margins is None else margins.to_dict("records"):
        say(f"margins of {source['pairs']} pairs: {source['source']}")


@app.command()
def layouts() -> None:
    """List the layouts of preference data that are read.

    \b
    Example:
      lambdamart-kit pairs layouts
    """
    from lambdamart_kit.preferences import LAYOUTS

    print_names([(name, layout.title) for name, layout in LAYOUTS.items()])


@app.command()
def fit(
    data: PairsArgument,
    model: Annotated[Path, typer.Option("--model", "-m", help="Where to save the reward model.")],
    features: Annotated[str, typer.Option(help="text, tfidf or embeddings:MODEL.")] = "text",
    scorer: Annotated[Scorer, typer.Option(help="Boosted trees or a linear function.")] = Scorer.trees,
    flip_rate: Annotated[float, typer.Option(help="Share of labels believed to be flipped.")] = 0.0,
    margins: Annotated[
        Margins, typer.Option(help="Margins to train with: those of a column margin, all, none.")
    ] = Margins.stated,
    bags: Annotated[
        int, typer.Option(help="Average so many models, each on prompts drawn with replacement.")
    ] = 1,
    test_size: Annotated[float, typer.Option(help="Share of the prompts to report on; 0 for none.")] = 0.2,
    by: Annotated[str | None, typer.Option(help="Report by this column too.")] = None,
    columns: RolesOption = None,
    layout: LayoutOption = None,
    seed: Annotated[int, typer.Option(help="Seed of the split and the model.")] = 0,
    n_jobs: ThreadsOption = None,
    verbose: VerboseOption = False,
) -> None:
    """Fit a reward model on texts, report on held-out prompts, save it.

    \b
    Example:
      lambdamart-kit pairs fit pairs.jsonl -m reward.lmk
    """
    from lambdamart_kit.preferences import RewardModel

    with _rows_bar("read") as progress:
        pairs = _read(data, columns, layout, progress=progress)
    train, test = pairs.split(test_size=test_size, random_state=seed) if test_size else (pairs, None)
    reward = RewardModel(
        scorer.value,
        features=features,
        flip_rate=flip_rate,
        use_margins=_USE_MARGINS[margins.value],
        n_bags=bags,
        random_state=seed,
        n_jobs=n_jobs,
        verbose=verbose,
    ).fit_pairs(train)
    reward.save(model)
    if test is not None:
        print(printable(_report_text(reward.report(test, by=by))))
    say(f"saved to {model}")


@app.command()
def score(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Reward model that `pairs fit` saved.")],
    data: PairsArgument,
    columns: RolesOption = None,
    layout: LayoutOption = None,
    out: Out = None,
) -> None:
    """Add scores_chosen, scores_rejected, results, score_margin and probability to every row.

    \b
    Example:
      lambdamart-kit pairs score reward.lmk pairs.jsonl \\
        -o scored.jsonl
    """
    from lambdamart_kit.preferences import RewardModel
    from lambdamart_kit.preferences.streaming import score_records

    check_outputs(data, out)
    reward = RewardModel.load(model)
    with _rows_bar("scored") as progress:
        records = score_records(reward, data, columns=roles(columns), layout=layout, progress=progress)
        n_rows = write_rows(records, out)
    if out is not None:
        say(f"scored {n_rows} rows, written to {out}")


@app.command("best-of")
def best_of(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Reward model that `pairs fit` saved.")],
    data: PairsArgument,
    columns: RolesOption = None,
    layout: LayoutOption = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the table as CSV.")] = None,
) -> None:
    """Score a reward model as RewardBench 2: best of four and ties.

    A row holds right responses and wrong ones. The score of a subset is how often a right response has the
    highest reward; that of the subset Ties is RewardBench 2's own.

    \b
    Example:
      lambdamart-kit pairs best-of rm.lmk rb2.parquet
    """
    from lambdamart_kit.preferences import RewardModel

    check_outputs(data, out)
    reward = RewardModel.load(model)
    with _rows_bar("read") as progress:
        pairs = _read(data, columns, layout, progress=progress)
    table = reward.report_best_of(pairs)
    if out is not None:
        table.to_csv(out, index=False)
    print(printable(table.to_string(index=False, float_format="{:.4f}".format)))


@app.command("filter")
def filter_(
    data: PairsArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to write the rows kept.")],
    model: Annotated[
        Path | None, typer.Option("--model", "-m", help="Reward model that `pairs fit` saved.")
    ] = None,
    min_probability: Annotated[
        float,
        typer.Option(
            help="With --model: keep rows whose label has at least this probability. Small, because a "
            "model is unsure of many right labels, and surer of those it was fitted on."
        ),
    ] = 0.2,
    drop: Annotated[
        list[str] | None,
        typer.Option(
            help="Problem that `pairs audit` names, such as duplicate or contradiction; may be repeated."
        ),
    ] = None,
    columns: RolesOption = None,
    layout: LayoutOption = None,
) -> None:
    """Keep the rows whose labels a reward model does not doubt, and that have none of the problems named.

    \b
    Example:
      lambdamart-kit pairs filter pairs.jsonl -m reward.lmk \\
        --drop duplicate -o kept.jsonl
    """
    from lambdamart_kit.preferences import RewardModel
    from lambdamart_kit.preferences.reading.records import write_records
    from lambdamart_kit.preferences.streaming import filter_records, keep_mask

    check_outputs(data, out)
    reward = None if model is None else RewardModel.load(model)
    with _rows_bar("read") as progress:
        mask = keep_mask(
            data,
            model=reward,
            min_probability=min_probability,
            drop=drop or (),
            columns=roles(columns),
            layout=layout,
            progress=progress,
        )
    n_kept = write_records(filter_records(data, mask), out)
    say(f"kept {n_kept} of {len(mask)} rows")


@app.command()
def select(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Reward model that `pairs fit` saved.")],
    data: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="Candidates: pairs without a label, in which chosen and rejected may stand either way.",
        ),
    ],
    k: Annotated[int, typer.Option("-k", help="Pairs to choose.")] = 100,
    method: Annotated[
        Method, typer.Option(metavar="METHOD", help=f"How pairs are chosen: {', '.join(Method)}.")
    ] = Method.d_optimal,
    max_per_prompt: Annotated[int | None, typer.Option(help="Most pairs of one prompt.")] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help="An annotator's time: 5 seconds a pair and 238 words of its responses a minute."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of random methods.")] = 0,
    columns: RolesOption = None,
    layout: LayoutOption = None,
    out: Out = None,
) -> None:
    """Choose the pairs whose labels would teach the model the most, first choice first.

    \b
    Example:
      lambdamart-kit pairs select reward.lmk new.jsonl \\
        -k 50 -o next.jsonl
    """
    import numpy as np

    from lambdamart_kit.explore import select_pairs
    from lambdamart_kit.preferences import RewardModel
    from lambdamart_kit.preferences.pairs import extract
    from lambdamart_kit.preferences.reading.records import read_records

    check_outputs(data, out)
    reward = RewardModel.load(model)
    pairs = _read(data, columns, layout)
    different = np.flatnonzero(pairs.chosen != pairs.rejected)
    if len(different) < len(pairs):
        say(f"left out {len(pairs) - len(different)} pairs of two equal responses")
    candidates = np.column_stack([pairs.chosen, pairs.rejected])[different]
    cost = None if minutes is None else _reading_seconds(pairs, candidates)
    chosen = select_pairs(
        reward,
        extract(reward.extractor_, pairs),
        candidates,
        k,
        method=method.value,
        prompt=pairs.prompt[different],
        max_per_prompt=max_per_prompt,
        cost=cost,
        budget=None if minutes is None else 60.0 * minutes,
        random_state=seed,
    )
    if cost is not None:
        say(f"chose {len(chosen)} pairs, {cost[chosen].sum() / 60:.1f} minutes of reading and deciding")
    taken = pairs.take(different[chosen])
    # Where rows are pairs, the rows of the file are written as they are; else the pairs made of them.
    if (pairs.rows == np.arange(len(pairs))[:, None]).all():
        records = list(read_records(data))
        write_rows((records[row] for row in taken.rows[:, 0]), out)
    else:
        write_rows(taken.to_records(), out)


def _reading_seconds(pairs: PreferencePairs, candidates: Any) -> Any:
    from lambdamart_kit.explore import reading_seconds

    words = [len(str(text).split()) for text in pairs.texts["response"]]
    return reading_seconds(words, candidates)


app.command()(leaderboard)
app.command()(rankings)
app.command()(dpo)


def _read(
    data: str,
    columns: str | None,
    layout: str | None,
    *,
    texts: bool = True,
    progress: Callable[[int], None] | None = None,
) -> PreferencePairs:
    from lambdamart_kit.preferences import PreferencePairs

    return PreferencePairs.read(data, columns=roles(columns), layout=layout, texts=texts, progress=progress)


@contextmanager
def _rows_bar(verb: str) -> Iterator[Callable[[int], None]]:
    from lambdamart_kit.cli.output import progress_bar

    with progress_bar() as tell:
        done = 0

        def progress(n_rows: int) -> None:
            nonlocal done
            done += n_rows
            tell(done, done, f"{done:,} rows {verb}")

        yield progress


def _report_text(report: Any) -> str:
    """One row as a column of facts; several as lines that fit a terminal, with intervals beside values."""
    if len(report) == 1:
        return str(report.round(4).T.to_string(header=False))
    shown = report[["subset", "pairs"]].copy()
    for name, value in (("accuracy", "accuracy_half_ties"), ("log_loss", "log_loss")):
        rows = zip(report[value], report[f"{name}_lower"], report[f"{name}_upper"])
        shown[name] = [
            f"{middle:.3f} [{low:.3f}, {high:.3f}]" if low == low else f"{middle:.3f}"  # NaN: no interval
            for middle, low, high in rows
        ]
    for name in ("ece", "calibration_slope", "longer_wins", "length_matched"):
        shown[name] = report[name].round(3)
    return str(shown.to_string(index=False))


def _write(text: str, out: Path | None) -> None:
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text, encoding="utf-8")
