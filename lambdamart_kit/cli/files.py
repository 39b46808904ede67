"""``lambdamart-kit train`` and ``predict``."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Annotated, Any

import typer

from lambdamart_kit.boosters.registry import boosters_that_can
from lambdamart_kit.cli.columns import (
    ClipOption,
    DocidOption,
    FeaturesOption,
    ForceOption,
    IgnoreOption,
    LabelOption,
    LetorOption,
    OptionalLabelOption,
    QidOption,
    make_columns,
)
from lambdamart_kit.cli.options import ThreadsOption, VerboseOption
from lambdamart_kit.cli.output import say
from lambdamart_kit.core.typing import Settings


def train(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="TRAIN...", help="LETOR, Parquet, CSV, Arrow or JSON-lines files, folders or globs."
        ),
    ],
    model: Annotated[Path, typer.Option("--model", "-m", "-o", help="Where to save the ranker.")],
    valid: Annotated[
        str | None,
        typer.Option(
            "--valid",
            help="Held-out rows, on which training stops early; without, every tree is kept. Not with "
            "--auto.",
        ),
    ] = None,
    ranker: Annotated[str, typer.Option(help="As `bench --models` names them.")] = "lambdamart",
    objective: Annotated[str, typer.Option(help="Its objective, such as ndcg or pairwise.")] = "",
    booster: Annotated[
        str,
        typer.Option(help=f"Whose trees, for lambdamart: {', '.join(boosters_that_can('runs_objectives'))}."),
    ] = "",
    bags: Annotated[
        int,
        typer.Option(
            min=1,
            help="Fit so many models on draws of the queries, and save their mean as one; without --valid "
            "each stops early on the queries it did not draw.",
        ),
    ] = 1,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", help="NAME=VALUE of the ranker, such as num_leaves=63."),
    ] = None,
    auto: Annotated[
        bool,
        typer.Option("--auto", help="Train a blend of many rankers, cross-fitted by query: nothing to tune."),
    ] = False,
    budget: Annotated[
        str,
        typer.Option(
            help="With --auto: a time such as 10min, the default, or a number of fits such as fits=40, "
            "which gives the same model each time."
        ),
    ] = "",
    label: LabelOption = "label",
    qid: QidOption = "qid",
    docid: DocidOption = "docid",
    features: FeaturesOption = None,
    ignore: IgnoreOption = None,
    clip: ClipOption = None,
    letor: LetorOption = None,
    weight: Annotated[
        str | None,
        typer.Option(help="Column with a weight, the same in all rows of a query; --valid has it, too."),
    ] = None,
    stream: Annotated[
        bool, typer.Option("--stream", help="Keep no features in memory; the model is the same.")
    ] = False,
    work_dir: Annotated[
        Path | None,
        typer.Option(
            help="Stream, and keep the bins in this folder; those of the same files are used again."
        ),
    ] = None,
    verbose: VerboseOption = False,
    seed: Annotated[int, typer.Option(help="The ranker's random_state.")] = 0,
    n_jobs: ThreadsOption = None,
    force: ForceOption = False,
) -> None:
    """Train a ranker on files and save it.

    \b
    Example:
      lambdamart-kit train train.csv --valid vali.csv \\
        --ignore title -o ranker.lmk
      lambdamart-kit train train.csv --auto -o ranker.lmk
    """
    from lambdamart_kit.bench.files import train_file
    from lambdamart_kit.files.checks import check_output
    from lambdamart_kit.files.row_files import find_files

    params: Settings = {"verbose": 1} if verbose else {}
    params |= ({"n_bags": bags} if bags > 1 else {}) | _parameters(param)
    inputs = find_files([*data, *([] if valid is None else [valid])])
    check_output(model, inputs, suffix=".lmk", force=force)
    if auto or budget:
        ranker = _auto(auto, ranker, objective or booster or bags > 1)
        params |= {"budget": budget or "10min"}
    spec = ranker + (f":{objective}" if objective else "") + (f"@{booster}" if booster else "")
    fitted = train_file(
        data,
        valid,
        spec=spec,
        params=params,
        columns=make_columns(label, qid, docid, features, ignore, weight=weight, clip=clip, letor=letor),
        stream=stream,
        work_dir=work_dir,
        seed=seed,
        n_jobs=n_jobs,
        say=say,
    )
    fitted.save(model)
    if ranker == "auto":
        say(fitted.leaderboard_.to_string(index=False, float_format="{:.4f}".format))
        say(fitted.noise_)
    say(_trained(fitted, model))


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Ranker that `train` saved.")],
    data: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Files of any format, folders or globs.")
    ],
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            help="File for the scores: .parquet and .csv have columns qid, docid, score; .run is a TREC run; "
            "any other has one number in each line. A folder gets a file for each input. Nothing: stdout.",
        ),
    ] = None,
    label: OptionalLabelOption = "label",
    qid: QidOption = "qid",
    docid: DocidOption = "docid",
    clip: ClipOption = None,
    letor: LetorOption = None,
    n_jobs: ThreadsOption = None,
    force: ForceOption = False,
) -> None:
    """Score the rows of files, in their order.

    \b
    Example:
      lambdamart-kit predict ranker.lmk test.csv -o scores.csv
      lambdamart-kit predict ranker.lmk test.csv -o my.run
    """
    from lambdamart_kit.bench.files import predict_files
    from lambdamart_kit.files.checks import check_output
    from lambdamart_kit.files.row_files import find_files

    columns = make_columns(label, qid, docid, required=False, clip=clip, letor=letor)
    if out is not None and not (Path(out).is_dir() or out.endswith("/")):
        check_output(out, [model, *find_files(data)], suffix="", force=force)
    n_rows = predict_files(model, data, out, columns=columns, n_jobs=n_jobs, progress=True)
    if out is not None:
        say(f"{n_rows:,} rows scored: {out}")


def _parameters(texts: list[str] | None) -> Settings:
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


def _auto(auto: bool, ranker: str, chosen: object) -> str:
    """The ranker that --auto means, after a check that no other was asked for."""
    if not auto and ranker != "auto":
        raise ValueError("--budget needs --auto; other rankers take --param n_estimators=... instead")
    if chosen or ranker not in ("lambdamart", "auto"):
        raise ValueError("--auto cannot be combined with --ranker, --objective, --booster or --bags")
    return "auto"


def _trained(ranker: Any, model: Path) -> str:
    kept = getattr(ranker, "best_iteration_", None)
    trees = "" if kept is None else f", {kept} trees"
    best = getattr(ranker, "best_score_", float("nan"))
    reached = f", {ranker.eval_metric} {best:.4f} on the held-out queries" if best == best else ""
    return f"{type(ranker).__name__}{trees}{reached}: saved to {model}"
