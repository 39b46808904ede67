"""``lambdamart-kit report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lambdamart_kit.cli.columns import (
    ClipOption,
    DocidOption,
    FeaturesOption,
    ForceOption,
    IgnoreOption,
    LabelOption,
    LetorOption,
    QidOption,
    make_columns,
)
from lambdamart_kit.cli.options import ThreadsOption
from lambdamart_kit.cli.output import write_page


def report(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Ranker that `train` saved.")],
    data: Annotated[
        Path, typer.Argument(metavar="FILE", help="Test rows: a file of any format that `train` reads.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The HTML file to write.")] = Path("report.html"),
    baseline: Annotated[
        Path | None,
        typer.Option(help="Compare with another ranker (.lmk), or with a file of scores of the same rows."),
    ] = None,
    train: Annotated[
        Path | None, typer.Option(help="Training rows: overlap with the test rows and drift are looked for.")
    ] = None,
    metric: Annotated[
        str, typer.Option("--metric", "-k", help="Metric of each query; module:function for one of your own.")
    ] = "ndcg@10",
    slice: Annotated[
        list[str] | None, typer.Option(help="Column of a table to slice the queries by; may be repeated.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="Heading of the page.")] = None,
    label: LabelOption = "label",
    qid: QidOption = "qid",
    docid: DocidOption = "docid",
    features: FeaturesOption = None,
    ignore: IgnoreOption = None,
    clip: ClipOption = None,
    letor: LetorOption = None,
    force: ForceOption = False,
    n_jobs: ThreadsOption = None,
) -> None:
    """Write one HTML page on what a ranker does with test rows; it opens without a network.

    \b
    Example:
      lambdamart-kit report ranker.lmk test.csv \\
        --train train.csv -o report.html
    """
    from lambdamart_kit.bench.reporting import report_file
    from lambdamart_kit.files.checks import check_output

    inputs = [path for path in (model, data, baseline, train) if path is not None]
    check_output(out, inputs, suffix=".html", force=force)
    page = report_file(
        model,
        data,
        baseline=baseline,
        train=train,
        metric=metric,
        columns=make_columns(label, qid, docid, features, ignore, clip=clip, letor=letor),
        slices=slice or [],
        title=title,
        n_jobs=n_jobs,
    )
    write_page(page, out)
