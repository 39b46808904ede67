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


def train(
    data: Annotated[Path, typer.Argument(metavar="TRAIN", help="LETOR file to learn from.")],
    model: Annotated[Path, typer.Option("--model", "-o", help="Where to save the ranker.")],
    valid: Annotated[
        Path | None, typer.Option("--valid", help="LETOR file to stop early on; without, every tree is kept.")
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
    seed: Annotated[int, typer.Option(help="The ranker's random_state.")] = 0,
    n_jobs: Threads = None,
) -> None:
    """Train a ranker on a LETOR file and save it."""
    from lambdamart_kit.bench.files import train_file

    spec = ranker + (f":{objective}" if objective else "") + (f"@{booster}" if booster else "")
    fitted = train_file(data, valid, spec=spec, params=_parameters(param), seed=seed, n_jobs=n_jobs)
    fitted.save(model)
    print(_trained(fitted, model), file=sys.stderr)


def predict(
    model: Annotated[Path, typer.Argument(help="Ranker that `train` saved.")],
    data: Annotated[Path, typer.Argument(metavar="FILE", help="LETOR file.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File for the scores; else stdout.")] = None,
    n_jobs: Threads = None,
) -> None:
    """Score the rows of a LETOR file: one number a line, in its order."""
    from lambdamart_kit.bench.files import predict_file, write_scores

    text = write_scores(predict_file(model, data, n_jobs=n_jobs))
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text)


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
