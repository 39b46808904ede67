"""``lambdamart-kit inspect`` and ``explain``: what a ranker is, and why rows score as they do."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lambdamart_kit.cli.columns import (
    ClipOption,
    DocidOption,
    LabelOption,
    LetorOption,
    QidOption,
    make_columns,
)
from lambdamart_kit.cli.options import ThreadsOption
from lambdamart_kit.cli.output import Format, FormatOption, print_records
from lambdamart_kit.runtime.terminal import printable

if TYPE_CHECKING:
    from lambdamart_kit.datasets import RankingDataset
    from lambdamart_kit.explain import Explanation


def inspect(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Ranker that `train` saved.")],
    top: Annotated[int, typer.Option("--top", "--features", min=0, help="How many features to list.")] = 20,
    format: FormatOption = Format.table,
) -> None:
    """Print what a saved ranker is: its parameters, its features and their importance.

    \b
    Example:
      lambdamart-kit inspect ranker.lmk --top 10
    """
    from lambdamart_kit.bench.render import Table
    from lambdamart_kit.rankers import load_ranker
    from lambdamart_kit.rankers.summary import summarise_ranker

    summary = summarise_ranker(load_ranker(model))
    if format is Format.json:
        sys.stdout.write(json.dumps(asdict(summary), indent=2, default=str) + "\n")
        return
    records = [{"feature": name, "importance": value} for name, value in summary.importance[:top]]
    if format is Format.table:
        print(printable(f"{summary.kind}, {summary.n_features:,} features"))
        for name, value in summary.fitted.items():
            print(f"{name.replace('_', ' ')}: {value:g}")
        for name, parameter in summary.parameters.items():
            print(printable(f"{name} = {parameter!r}"))
        print()
    if not records:
        return
    cells = tuple((printable(str(r["feature"])), f"{r['importance']:.4f}") for r in records)
    title = f"{len(records):,} of {summary.n_features:,} features"
    print_records(Table(title, ("feature", summary.importance_of), cells, {}), records, format)


def explain(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Ranker that `train` saved.")],
    data: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Rows: files of any format that `train` reads.")
    ],
    query: Annotated[
        str | None, typer.Option(help="Query to explain; without it, what matters over all queries.")
    ] = None,
    pair: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="A B",
            help="Why A is above B, two documents of the query: their names, or, where no document has "
            "that name, their places in the model's order, from 1.",
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="Of a pair: contributions (SHAP values of A less those of B) or interventional (A with B as "
            "the background)."
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Cut-off of NDCG.")] = 10,
    samples: Annotated[
        int,
        typer.Option(
            min=4, help="For a query: orders of the features from which Shapley values are estimated."
        ),
    ] = 64,
    top: Annotated[int, typer.Option("--top", "--features", min=1, help="How many features to list.")] = 20,
    format: FormatOption = Format.table,
    label: LabelOption = "label",
    qid: QidOption = "qid",
    docid: DocidOption = "docid",
    clip: ClipOption = None,
    letor: LetorOption = None,
    n_jobs: ThreadsOption = None,
) -> None:
    """Say why documents rank as they do: one pair of documents, one query, or all queries.

    \b
    Example:
      lambdamart-kit explain ranker.lmk test.csv \\
        --query 17 --pair A B
    """
    from lambdamart_kit.bench.reporting import explain_file

    if pair is not None and query is None:
        raise typer.BadParameter("needs --query, the query of the two documents", param_hint="--pair")
    if method is not None and pair is None:
        raise typer.BadParameter("is of --pair only", param_hint="--method")
    columns = make_columns(label, qid, docid, clip=clip, letor=letor)
    why, rows = explain_file(model, data, columns=columns, n_jobs=n_jobs)
    if query is None:
        answer: Any = why.importance(f"ndcg@{k}")
    elif pair is None:
        answer = why.list(_query_named(rows, query), k, n_samples=samples)
    else:
        first, second = (_document_named(why, rows, query, name) for name in pair)
        answer = why.pair(first, second, method=method)  # type: ignore[arg-type]
    if format is Format.table:
        print(answer.to_text(top))
        return
    from lambdamart_kit.bench.render import Table

    frame = answer.to_frame().head(top)
    records = frame.to_dict("records")
    cells = tuple(
        tuple(printable(f"{v:.4g}" if isinstance(v, float) else str(v)) for v in r.values()) for r in records
    )
    print_records(Table("", tuple(frame.columns), cells, {}), records, format)


def _query_named(rows: RankingDataset, name: str) -> Any:
    """The id that reads like `name`: ids of files are numbers or text."""
    found = [known for known in rows.queries.ids.tolist() if str(known) == name]
    if not found:
        raise ValueError(f"--query must be the id of a query in the rows; got {name!r}")
    return found[0]


def _document_named(why: Explanation, rows: RankingDataset, query: str, name: str) -> int:
    """Row of a document of the query, by its name or by its place in the model's order."""
    import numpy as np

    numbers = np.flatnonzero(rows.qid == _query_named(rows, query))
    if rows.docid is not None:
        named = numbers[rows.docid[numbers].astype(str) == name]
        if len(named):
            return int(named[0])
    if name.isdigit() and 1 <= int(name) <= len(numbers):
        scores = why.scores(numbers)
        return int(numbers[np.argsort(-scores, kind="stable")[int(name) - 1]])
    raise ValueError(
        f"--pair must name documents of query {query}, or places 1 to {len(numbers)} in the model's order; "
        f"got {name!r}"
    )
