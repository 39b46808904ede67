"""Options that say which columns of tables are what, shared by all commands that read files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lambdamart_kit.files import Columns

LabelOption = Annotated[str, typer.Option("--label", help="Column with the label, in tables.")]
QidOption = Annotated[str, typer.Option("--qid", help="Column with the query's id.")]
DocidOption = Annotated[str, typer.Option("--docid", help="Column with the document's name, if any.")]
FeaturesOption = Annotated[
    str | None,
    typer.Option(
        "--features", help="Columns to use as features, separated by commas; by default all others."
    ),
]
IgnoreOption = Annotated[
    str | None, typer.Option("--ignore", help="Columns to leave out, separated by commas.")
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Replace the output even if it is a file of another kind.")
]


def make_columns(
    label: str,
    qid: str,
    docid: str | None,
    features: str | None = None,
    ignore: str | None = None,
    *,
    weight: str | None = None,
    required: bool = True,
) -> Columns:
    """The columns that the options name."""
    from lambdamart_kit.files import Columns

    named = None if features is None else tuple(_names(features))
    return Columns(label, qid, weight, docid, named, tuple(_names(ignore or "")), required)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def roles(columns: str | None) -> dict[str, str] | None:
    """``role=column,role=column`` as a dictionary."""
    if columns is None:
        return None
    entries = [entry.partition("=") for entry in columns.split(",")]
    bad = [role + sign + name for role, sign, name in entries if not (role and sign and name)]
    if bad:
        raise typer.BadParameter(f"must be ROLE=COLUMN,...; got {bad[0]!r}", param_hint="--columns")
    return {role.strip(): name.strip() for role, _, name in entries}
