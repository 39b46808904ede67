"""``lambdamart-kit diversify``: lists that are not ten times the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from lambdamart_kit.cli.exploring.tables import ids, matrix, numbers, read_table
from lambdamart_kit.cli.output import check_outputs, say, write_rows
from lambdamart_kit.core.typing import Settings


def diversify(
    data: Annotated[
        str,
        typer.Argument(metavar="FILE", help="Rows to rank: .parquet, .jsonl, .json, .csv, .tsv or .arrow."),
    ],
    scores: Annotated[
        str, typer.Option("--scores", "--score", help="Column with the relevance of each row.")
    ] = "score",
    qid: Annotated[
        str | None, typer.Option(help="Column that says whose list a row belongs to; else all are one list.")
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            help="What rows are compared by: columns with commas between them, or one column of lists, such "
            "as embeddings."
        ),
    ] = None,
    topics: Annotated[
        str | None,
        typer.Option(help="For coverage: columns with the probability, or 0 and 1, of each topic."),
    ] = None,
    k: Annotated[int, typer.Option("-k", help="Length of the lists.")] = 10,
    utility: Annotated[
        str,
        typer.Option(help="logdet, mmr, facility, redundancy, max-sum or coverage: what diversity means."),
    ] = "logdet",
    trade_off: Annotated[
        float | None, typer.Option(help="0 is relevance alone, 1 diversity alone; .5 by default.")
    ] = None,
    similarity: Annotated[
        float | None,
        typer.Option(
            help="Instead of --trade-off: the mean cosine wanted within lists; the smallest trade-off that "
            "reaches it is taken."
        ),
    ] = None,
    allow_stop: Annotated[
        bool, typer.Option("--allow-stop", help="End a list where a further row would do harm.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Where to write; else stdout.")] = None,
) -> None:
    """Re-rank lists for relevance and diversity, and say what that costs.

    \b
    Example:
      lambdamart-kit diversify scored.parquet --qid qid \\
        --features embedding --trade-off .5 -o top.parquet
    """
    from lambdamart_kit.diversify import choose_trade_off, rerank
    from lambdamart_kit.runtime.atomic_file import check_writable

    if out is not None:
        check_writable(out)
        check_outputs(data, out)
    if trade_off is not None and similarity is not None:
        raise ValueError("--trade-off and --similarity say the same in two ways; give one of them")
    if (features is None) == (topics is None) or (topics is not None) != (utility == "coverage"):
        needed = "--topics" if utility == "coverage" else "--features"
        raise ValueError(f"--utility {utility} needs {needed}, and nothing else to compare rows by")
    table = read_table(data)
    values = numbers(table, scores, "--scores")
    groups = None if qid is None else ids(table, qid, "--qid")
    option = "--features" if features is not None else "--topics"
    compared = matrix(table, features or topics or "", option)
    given: Settings = {} if features is not None else {"topics": compared}
    options: Settings = {"qid": groups, "utility": utility, "allow_stop": allow_stop}
    if similarity is None and _without_pairs(groups, k, len(table)):
        chosen = rerank(
            values,
            k,
            trade_off=0.5 if trade_off is None else trade_off,
            **options,
            **({"features": compared} if features is not None else given),
        )
        write_rows(_ranked(table.iloc[chosen].to_dict("records"), groups, chosen), out)
        say("no list has two rows, so there is nothing to diversify and no similarity within lists")
        return
    # A similarity of 1 is reached by the first trade-off of the grid, so one number is one measurement.
    grid = None if similarity is not None else [0.5 if trade_off is None else trade_off]
    wanted = 1.0 if similarity is None else similarity
    found = choose_trade_off(values, compared, wanted, k, grid=grid, **options, **given)
    before = choose_trade_off(values, compared, 1.0, k, grid=[0.0], **options, **given)
    if features is not None:
        given = {"features": compared}
    chosen = rerank(values, k, trade_off=found.trade_off, **options, **given)
    write_rows(_ranked(table.iloc[chosen].to_dict("records"), groups, chosen), out)
    say(
        f"trade-off {found.trade_off:g}: mean similarity {before.similarity:.3f} -> {found.similarity:.3f}, "
        f"{1 - found.relevance_kept:.1%} of the discounted relevance given up"
        + ("" if out is None else f"; {len(chosen):,} rows written to {out}")
    )


def _without_pairs(groups: np.ndarray | None, k: int, n_rows: int) -> bool:
    """Whether every list has one row."""
    if k == 1 or n_rows == 1:
        return True
    return groups is not None and len(set(groups.tolist())) == n_rows


def _ranked(records: list[Settings], groups: np.ndarray | None, chosen: np.ndarray) -> list[Settings]:
    """Rows with their rank in their list, from 1, in a column that the file does not have yet."""
    name = "rank"
    while records and name in records[0]:
        name = f"new_{name}"
    rank = 0
    before = None
    ranked: list[Settings] = []
    for record, row in zip(records, chosen):
        owner = None if groups is None else groups[row]
        rank = rank + 1 if ranked and owner == before else 1
        before = owner
        ranked.append({name: rank, **record})
    return ranked
