"""``lambdamart-kit evaluate`` and ``compare``."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lambdamart_kit.cli.columns import DocidOption, LabelOption, LetorOption, QidOption, make_columns
from lambdamart_kit.cli.output import Format, FormatOption, print_records, say
from lambdamart_kit.runtime.terminal import printable

_DATA_HELP = (
    "Rows with labels, of any format, or TREC judgments (lines of qid 0 docid relevance). irds:NAME reads "
    "judgments from the ir_datasets package."
)
_METRICS_HELP = (
    "Such as ndcg@10,map; one of your own, module:function; or trec_eval's, in its conventions: ndcg_cut_10, "
    "P_5, recip_rank, bpref, infAP. By default ndcg@10, and for judgments map,ndcg_cut_10,P_10,recip_rank."
)

MetricsOption = Annotated[str | None, typer.Option("--metrics", "-k", help=_METRICS_HELP)]
RelevantOption = Annotated[
    int, typer.Option("--min-relevance", min=1, help="Grade that is relevant for trec_eval's measures.")
]


def evaluate(
    data: Annotated[str, typer.Argument(metavar="FILE", help=_DATA_HELP)],
    scores: Annotated[
        Path,
        typer.Argument(
            metavar="SCORES",
            help="What `predict` wrote: one number a line, a table with a column score, or a TREC run. "
            "RankLib's and CatBoost's files of scores are read too.",
        ),
    ],
    metrics: MetricsOption = None,
    per_query: Annotated[
        bool, typer.Option("--per-query", help="Print each query instead of the means.")
    ] = False,
    complete: Annotated[
        bool,
        typer.Option("--complete", help="Count judged queries that a run lacks as 0, as trec_eval -c does."),
    ] = False,
    min_relevance: RelevantOption = 1,
    label: LabelOption = "label",
    qid: QidOption = "qid",
    docid: DocidOption = "docid",
    letor: LetorOption = None,
    format: FormatOption = Format.table,
) -> None:
    """Measure scores against the labels of a file, or a TREC run against judgments.

    \b
    Example:
      lambdamart-kit evaluate test.csv scores.csv -k ndcg@10
      lambdamart-kit evaluate qrels.txt my.run --per-query
    """
    from lambdamart_kit.bench.measuring import evaluations_of, measure_file
    from lambdamart_kit.bench.render import evaluation_table, query_table

    with _said_warnings():
        measured = measure_file(
            data,
            scores,
            metrics=metrics,
            columns=make_columns(label, qid, docid, letor=letor),
            min_relevance=min_relevance,
            complete=complete,
        )
        if per_query:
            print_records(query_table(measured), measured.records(), format)
            return
        evaluations = evaluations_of(measured)
    print_records(evaluation_table(evaluations), [asdict(e) for e in evaluations], format)


def compare(
    data: Annotated[str, typer.Argument(metavar="FILE", help=_DATA_HELP)],
    scores: Annotated[
        list[Path], typer.Argument(metavar="SCORES...", help="Two files or more; the first is the baseline.")
    ],
    metrics: MetricsOption = None,
    queries: Annotated[int, typer.Option(min=0, help="How many best and worst queries to name.")] = 3,
    resamples: Annotated[int, typer.Option(min=100, help="Resamples of the permutation test.")] = 10_000,
    min_relevance: RelevantOption = 1,
    seed: Annotated[int, typer.Option(help="Seed of the resampling.")] = 0,
    label: LabelOption = "label",
    qid: QidOption = "qid",
    docid: DocidOption = "docid",
    letor: LetorOption = None,
    format: FormatOption = Format.table,
) -> None:
    """Compare files of scores on the same queries, with paired permutation tests.

    Each file is compared with the first. With three files or more, p is corrected for their number (Holm).

    \b
    Example:
      lambdamart-kit compare test.csv old.csv new.csv
    """
    from lambdamart_kit.bench.render import difference_notes, difference_table
    from lambdamart_kit.bench.score_comparison import compare_scores

    with _said_warnings():
        differences = compare_scores(
            data,
            scores,
            metrics=metrics,
            columns=make_columns(label, qid, docid, letor=letor),
            n_extreme=queries,
            n_resamples=resamples,
            seed=seed,
            min_relevance=min_relevance,
        )
    print_records(difference_table(differences), [asdict(d) for d in differences], format)
    if format is Format.table:
        for line in difference_notes(differences):
            print(printable(line))


@contextmanager
def _said_warnings() -> Iterator[None]:
    """Warnings as lines for a person, not as lines of source."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for text in dict.fromkeys(str(warning.message) for warning in caught):
        say(f"warning: {text}")
