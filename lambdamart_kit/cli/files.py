"""``lambdamart-kit train``, ``predict`` and ``evaluate``."""

from __future__ import annotations

import ast
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from lambdamart_kit.cli.output import Format, FormatOption, print_records

Threads = Annotated[int | None, typer.Option("--n-jobs", "-j", help="Threads; all by default.")]


LabelOption = Annotated[str, typer.Option("--label", help="Column with the label, in Parquet and CSV.")]
QidOption = Annotated[str, typer.Option("--qid", help="Column with the query's id.")]
DocidOption = Annotated[str, typer.Option("--docid", help="Column with the document's name, if any.")]


def train(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="TRAIN...", help="LETOR, Parquet or CSV files, folders or globs to learn from."
        ),
    ],
    model: Annotated[Path, typer.Option("--model", "-o", help="Where to save the ranker.")],
    valid: Annotated[
        str | None,
        typer.Option("--valid", help="Likewise, to stop early on; without, every tree is kept."),
    ] = None,
    ranker: Annotated[str, typer.Option(help="As `bench --models` names them.")] = "lambdamart",
    objective: Annotated[str, typer.Option(help="Its objective, such as ndcg or pairwise.")] = "",
    booster: Annotated[
        str, typer.Option(help="Whose trees, for lambdamart: native, lightgbm, xgboost.")
    ] = "",
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", help="NAME=VALUE of the ranker, such as num_leaves=63."),
    ] = None,
    label: LabelOption = "label",
    qid: QidOption = "qid",
    docid: DocidOption = "docid",
    weight: Annotated[str | None, typer.Option(help="Column with the weight of the row's query.")] = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Keep no features in memory; the model is the same.")
    ] = False,
    work_dir: Annotated[
        Path | None, typer.Option(help="Stream, with the bins in this folder, and use again what is there.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show progress.")] = False,
    seed: Annotated[int, typer.Option(help="The ranker's random_state.")] = 0,
    n_jobs: Threads = None,
) -> None:
    """Train a ranker on files and save it."""
    from lambdamart_kit.bench.files import train_file
    from lambdamart_kit.files.chunk import Columns

    spec = ranker + (f":{objective}" if objective else "") + (f"@{booster}" if booster else "")
    params = ({"verbose": 1} if verbose else {}) | _parameters(param)
    fitted = train_file(
        data, valid, spec=spec, params=params, columns=Columns(label, qid, weight, docid), stream=stream,
        work_dir=work_dir, seed=seed, n_jobs=n_jobs,
    )  # fmt: skip
    fitted.save(model)
    print(_trained(fitted, model), file=sys.stderr)


def predict(
    model: Annotated[Path, typer.Argument(help="Ranker that `train` saved.")],
    data: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="LETOR, Parquet or CSV files, folders or globs.")
    ],
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            help="File for the scores: .parquet and .csv have columns qid, docid, score; any other, one "
            "number a line. A folder gets a file for each input. Nothing: stdout.",
        ),
    ] = None,
    label: LabelOption = "label",
    qid: QidOption = "qid",
    docid: DocidOption = "docid",
    n_jobs: Threads = None,
) -> None:
    """Score the rows of files, in their order."""
    from lambdamart_kit.bench.files import predict_files
    from lambdamart_kit.files.chunk import Columns

    columns = Columns(label, qid, None, docid, required=False)
    n_rows = predict_files(model, data, out, columns=columns, n_jobs=n_jobs, progress=True)
    if out is not None:
        print(f"{n_rows:,} rows scored: {out}", file=sys.stderr)


def evaluate(
    data: Annotated[Path, typer.Argument(metavar="FILE", help="LETOR file with the labels.")],
    scores: Annotated[Path, typer.Argument(help="One number a line, in the order of FILE.")],
    metrics: Annotated[str, typer.Option("--metrics", "-k", help="Such as ndcg@10,map.")] = "ndcg@10",
    format: FormatOption = Format.table,
) -> None:
    """Measure scores against the labels of a LETOR file."""
    from lambdamart_kit.bench.files import evaluate_file
    from lambdamart_kit.bench.render import evaluation_table

    evaluations = evaluate_file(data, scores, metrics=metrics)
    print_records(evaluation_table(evaluations), [asdict(e) for e in evaluations], format)


def _parameters(texts: list[str] | None) -> dict[str, Any]:
    params = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--param")
        try:
            params[name] = ast.literal_eval(value)
        except (SyntaxError, ValueError):
            params[name] = value
    return params


def _trained(ranker: Any, model: Path) -> str:
    kept = getattr(ranker, "best_iteration_", None)
    trees = "" if kept is None else f", {kept} trees"
    best = getattr(ranker, "best_score_", float("nan"))
    reached = f", {ranker.eval_metric} {best:.4f} on the held-out queries" if best == best else ""
    return f"{type(ranker).__name__}{trees}{reached}: saved to {model}"
