"""``lambdamart-kit export``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from lambdamart_kit.cli.columns import (
    ClipOption,
    DocidOption,
    LetorOption,
    OptionalLabelOption,
    QidOption,
    make_columns,
)
from lambdamart_kit.cli.output import say
from lambdamart_kit.export.format import EXPORTS

Target = StrEnum("Target", {name.replace("-", "_"): name for name in EXPORTS})  # type: ignore[misc]


def export(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help="Ranker or reward model that `train` or `pairs fit` saved."),
    ],
    to: Annotated[
        Target, typer.Option("--to", metavar="FORMAT", help=f"Format of the file: {', '.join(EXPORTS)}.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")],
    check: Annotated[
        list[str] | None,
        typer.Option(
            "--check",
            help="Rows of any format that the exported file must score as the ranker does, by the rules of "
            "the engine; rows on and next to its thresholds are made and tried too.",
        ),
    ] = None,
    flavour: Annotated[
        str,
        typer.Option(
            help="Of elasticsearch and opensearch: xgboost, ranklib. Of vespa: lightgbm, xgboost. The "
            "first is the default."
        ),
    ] = "",
    name: Annotated[str, typer.Option(help="Name of the model in the engine.")] = "ranker",
    store: Annotated[str, typer.Option(help="Name of the feature store or feature set.")] = "ranker_features",
    rename: Annotated[
        list[str] | None,
        typer.Option("--rename", help="OLD=NEW: name of a feature in the engine; may be repeated."),
    ] = None,
    no_missing: Annotated[
        bool, typer.Option("--no-missing", help="No feature is ever missing in the engine.")
    ] = False,
    shift: Annotated[
        str, typer.Option(help="Number to add to every score; `positive` for no negative scores.")
    ] = "0",
    approximate: Annotated[
        bool, typer.Option("--approximate", help="Round thresholds that Solr cannot express exactly.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    label: OptionalLabelOption = "label",
    qid: QidOption = "qid",
    docid: DocidOption = "docid",
    clip: ClipOption = None,
    letor: LetorOption = None,
) -> None:
    """Write a saved ranker as a file that a search engine or another tool scores with.

    Its scores are equal for every row of float32 values; where a format does not allow that, the command
    writes nothing and says why. Feature definitions for the engine are written beside the file.

    \b
    Example:
      lambdamart-kit export ranker.lmk --to solr \\
        -o model.json --check test.csv
    """
    from lambdamart_kit.bench.exporting import export_file

    exported = export_file(
        model,
        out,
        to.value,
        check=check,
        columns=make_columns(label, qid, docid, required=False, clip=clip, letor=letor),
        force=force,
        flavour=flavour,
        name=name,
        store=store,
        feature_names=_renames(rename),
        no_missing=no_missing,
        shift=_shift(shift),
        approximate=approximate,
    )
    for note in exported.notes:
        say(f"note: {note}")
    if exported.check is not None:
        say(f"checked: {exported.check}")
    beside = "" if exported.features_path is None else f", features in {exported.features_path}"
    say(f"model written to {exported.path}{beside}")


def _renames(texts: list[str] | None) -> dict[str, str] | None:
    if not texts:
        return None
    pairs = [text.partition("=") for text in texts]
    for text, (old, equals, new) in zip(texts, pairs):
        if not (old and equals and new):
            raise typer.BadParameter(f"{text!r} is not OLD=NEW", param_hint="--rename")
    return {old: new for old, _, new in pairs}


def _shift(text: str) -> float | Literal["positive"]:
    if text == "positive":
        return "positive"
    try:
        return float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no number and not 'positive'", param_hint="--shift") from None
