"""``lambdamart-kit bench``."""

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
from lambdamart_kit.cli.output import Format, FormatOption, print_records, progress_bar, write_page


def bench(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATASET|FOLDER|FILE",
            help="A data set of `datasets list`; a folder with Fold1..5, or with files train, vali and test "
            "(.txt, .csv, .parquet, ...); or one file of any format, which is split by query. Nothing: the "
            "built-in sample.",
        ),
    ] = None,
    models: Annotated[
        str | None,
        typer.Option(
            "--models", "-m", help="Such as lambdamart,lightgbm:rank_xendcg,xgboost; `-m '?'` lists all."
        ),
    ] = None,
    metrics: Annotated[
        str,
        typer.Option(
            "--metrics",
            "-k",
            help="Such as ndcg@10,map, or module:function for one of your own. The first one tunes and stops "
            "early; trec_eval's may follow: P_5.",
        ),
    ] = "ndcg@10",
    tune: Annotated[
        int, typer.Option(min=1, help="Settings to try for each model: the defaults, then random draws.")
    ] = 1,
    bags: Annotated[
        int,
        typer.Option(
            min=1,
            help="Fit each model so many times, on draws of the queries, and take the mean of the scores.",
        ),
    ] = 1,
    folds: Annotated[
        str | None,
        typer.Option(
            help="Of a folder: which of its folds, such as 1,2. Of a file: into how many to split it, such "
            "as 5."
        ),
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Model to compare with; pointwise if it is there, else the first.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Keep every fit in this file (JSON lines), with its measures by fold, and go on from what "
            "it holds.",
        ),
    ] = None,
    plots: Annotated[Path | None, typer.Option(help="Write pictures (PNG and SVG) into this folder.")] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            help="Write one HTML page with every test query. Fits kept in --out without their scores are "
            "run again."
        ),
    ] = None,
    force: ForceOption = False,
    format: FormatOption = Format.table,
    seed: Annotated[int, typer.Option(help="Seed of splits, draws and models.")] = 0,
    n_jobs: Annotated[
        int | None,
        typer.Option(
            "--n-jobs",
            "-j",
            help="Threads of a fit; all by default. On the built-in sample, two fits run at a time, with a "
            "thread each.",
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer trees, and one fold.")] = False,
    label: LabelOption = "label",
    qid: QidOption = "qid",
    docid: DocidOption = "docid",
    features: FeaturesOption = None,
    ignore: IgnoreOption = None,
    clip: ClipOption = None,
    letor: LetorOption = None,
) -> None:
    """Compare rankers on the same queries, with paired tests.

    \b
    Example:
      lambdamart-kit bench judged.csv --folds 5 --tune 8 \\
        -m lambdamart,lightgbm,xgboost --out fits.jsonl
    """
    from lambdamart_kit.bench import compare
    from lambdamart_kit.bench.models import choices_table
    from lambdamart_kit.bench.render import Table
    from lambdamart_kit.bench.reporting import comparison_page
    from lambdamart_kit.files.checks import check_output
    from lambdamart_kit.runtime.atomic_file import check_writable

    if models is not None and models.strip() == "?":
        records = choices_table()
        cells = tuple(tuple(record.values()) for record in records)
        print_records(Table("Models", tuple(records[0]), cells, {}), records, format)
        return
    if out is not None:
        check_writable(out)
    if plots is not None and plots.exists() and not plots.is_dir():
        raise NotADirectoryError(f"{plots}: is a file; --plots takes a folder")
    if html is not None:
        check_output(html, [Path(data)] if data is not None else [], suffix=".html", force=force)
    columns = make_columns(label, qid, docid, features, ignore, clip=clip, letor=letor)
    try:
        with progress_bar() as progress:
            comparison = compare(
                data,
                models=models,
                metrics=metrics,
                n_settings=tune,
                n_bags=bags,
                folds=folds,
                baseline=baseline,
                out=out,
                seed=seed,
                n_jobs=n_jobs,
                quick=quick,
                columns=columns,
                keep_scores=html is not None,
                progress=progress,
            )
    except KeyboardInterrupt:
        if out is not None:
            typer.echo(f"finished fits are in {out}; the same command continues there", err=True)
        raise
    comparison.print(format.value)
    if plots is not None:
        for path in comparison.write_plots(plots):
            typer.echo(f"wrote {path}", err=True)
    if html is not None:
        write_page(comparison_page(comparison), html)
    if comparison.failed:
        raise typer.Exit(1)
