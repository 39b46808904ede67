"""``lambdamart-kit datasets``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from lambdamart_kit.cli.output import Format, FormatOption, Group, print_records, say
from lambdamart_kit.core.typing import Settings

if TYPE_CHECKING:
    from lambdamart_kit.datasets.catalogue import Entry

TARGET_HELP = (
    "File to write; its suffix says the format: .parquet, .csv, .tsv, .arrow, .jsonl, .npz, or .txt and any "
    "other for LETOR text (.gz and .zst are compressed)."
)

# The file to write stands behind the others, as with `cp`, or after --out, as in all other commands.
TargetArgument = Annotated[Path | None, typer.Argument(metavar="TARGET", help=TARGET_HELP)]
TargetOption = Annotated[Path | None, typer.Option("--out", "-o", help="The same as TARGET.")]

app = typer.Typer(
    cls=Group,
    help="List and fetch public data sets; convert, split and generate files.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list")
def list_(format: FormatOption = Format.table) -> None:
    """List the public data sets that the kit knows.

    \b
    Example:
      lambdamart-kit datasets list
    """
    from lambdamart_kit.bench.render import Table
    from lambdamart_kit.datasets import catalogue

    records = [_record(entry) for entry in catalogue()]
    columns = ("name", "folds", "queries", "rows", "features", "labels", "fetch")
    cells = tuple(tuple(_cell(record[column]) for column in columns) for record in records)
    print_records(Table("Public data sets", columns, cells, {}), records, format)


@app.command()
def info(name: Annotated[str, typer.Argument(metavar="NAME", help="As `datasets list` prints it.")]) -> None:
    """Print where a data set is from, its terms, and what a right copy contains.

    \b
    Example:
      lambdamart-kit datasets info mq2008
    """
    from lambdamart_kit import datasets

    entry = datasets.info(name)
    for field, value in _record(entry).items():
        print(f"{field:<9} {_cell(value)}")
    print(f"{'by hand':<9} {entry.manual.replace('FOLDER', str(datasets.data_folder() / entry.folder))}")
    for part, counts in entry.parts.items():
        print(f"{part:<12} {counts.rows:>10,} rows {counts.queries:>8,} queries")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `datasets list` prints it.")],
    accept_terms: Annotated[
        bool, typer.Option("--accept-terms", help="You have read the terms that `info` prints, and agree.")
    ] = False,
    folder: Annotated[
        Path | None,
        typer.Option("--out", "-o", "--folder", help="Where to put it; the user's data folder by default."),
    ] = None,
) -> None:
    """Download a data set, check it, and print its folder.

    \b
    Example:
      lambdamart-kit datasets fetch mq2008 --accept-terms
    """
    from lambdamart_kit import datasets

    print(datasets.fetch(name, folder=folder, accept_terms=accept_terms))


@app.command()
def convert(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="File, folder or glob; the suffix says the format.")
    ],
    target: TargetArgument = None,
    out: TargetOption = None,
    label: LabelOption = "label",
    qid: QidOption = "qid",
    docid: DocidOption = "docid",
    features: FeaturesOption = None,
    ignore: IgnoreOption = None,
    clip: ClipOption = None,
    letor: LetorOption = None,
    n_jobs: ThreadsOption = None,
    force: ForceOption = False,
) -> None:
    """Turn one file format into another.

    \b
    Example:
      lambdamart-kit datasets convert train.txt train.parquet
    """
    from lambdamart_kit.files import convert as convert_file
    from lambdamart_kit.files.checks import check_output
    from lambdamart_kit.files.row_files import find_files

    path = _one_target(target, out)
    check_output(path, find_files(source), suffix=path.suffix, force=force)
    columns = make_columns(label, qid, docid, features, ignore, clip=clip, letor=letor)
    say(f"{convert_file(source, path, columns, n_jobs=n_jobs)}: wrote {path}")


class By(StrEnum):
    """How queries are dealt to parts."""

    query = "query"
    time = "time"
    hash = "hash"


@app.command()
def split(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="File of any format.")],
    parts: Annotated[
        str, typer.Option(help="NAME:SHARE,... of queries, such as train:.6,vali:.2,test:.2.")
    ] = "train:.6,vali:.2,test:.2",
    by: Annotated[
        By,
        typer.Option(
            help="query: queries at random. time: the earliest queries go to the first part. hash: by a "
            "hash of the query's id, so that a query stays in its part when the data grows."
        ),
    ] = By.query,
    time: Annotated[str | None, typer.Option(help="Column with the time, for --by time.")] = None,
    stratified: Annotated[
        bool,
        typer.Option(
            "--stratified",
            help="Deal out queries with the same largest label, so that each part gets its share of them.",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder for the parts, in the format of the file; beside the file by default."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draw, or of the hash.")] = 0,
    label: LabelOption = "label",
    qid: QidOption = "qid",
    docid: DocidOption = "docid",
    features: FeaturesOption = None,
    ignore: IgnoreOption = None,
    clip: ClipOption = None,
    letor: LetorOption = None,
    force: ForceOption = False,
) -> None:
    """Cut a file into parts of whole queries.

    \b
    Example:
      lambdamart-kit datasets split judged.csv -o parts \\
        --parts train:.6,vali:.2,test:.2
    """
    from lambdamart_kit.bench.splitting import parse_parts, split_file

    written = split_file(
        source,
        parse_parts(parts),
        out,
        by=by.value,
        time=time,
        stratified=stratified,
        seed=seed,
        columns=make_columns(label, qid, docid, features, ignore, clip=clip, letor=letor),
        overwrite=force,
    )
    for path, rows in written.items():
        say(f"{rows}: wrote {path}")


@app.command()
def sample(
    target: TargetArgument = None,
    out: TargetOption = None,
    queries: Annotated[int, typer.Option(min=1, help="How many to generate.")] = 300,
    seed: Annotated[int, typer.Option(help="Seed of the sample.")] = 0,
) -> None:
    """Write generated data with the shape of MSLR-WEB.

    \b
    Example:
      lambdamart-kit datasets sample sample.csv --queries 500
    """
    from lambdamart_kit.datasets import make_letor
    from lambdamart_kit.files import write_rows

    path = _one_target(target, out)
    rows = make_letor(queries, random_state=seed)
    write_rows(rows, path)
    say(f"{rows}: wrote {path}")


def _one_target(target: Path | None, out: Path | None) -> Path:
    """The file to write, which must be named in one of the two ways."""
    named = [path for path in (target, out) if path is not None]
    if len(named) != 1:
        given = "both" if named else "neither"
        raise typer.BadParameter(f"name the file to write as TARGET or with --out; got {given}")
    return named[0]


def _record(entry: Entry) -> Settings:
    archive = entry.archive
    return {
        "name": entry.name,
        "folds": entry.folds,
        "queries": entry.queries,
        "rows": entry.rows,
        "features": entry.features,
        "labels": f"{entry.labels[0]}-{entry.labels[-1]}",
        "fetch": "yes" if archive is not None and archive.url else "by hand",
        "origin": entry.origin,
        "terms": entry.terms,
        "homepage": entry.homepage,
    }


def _cell(value: Any) -> str:
    return "?" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
