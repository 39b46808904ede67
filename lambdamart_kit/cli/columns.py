"""Options that say which columns of tables are what, shared by all commands that read files."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lambdamart_kit.files import Columns, LetorRules

LabelOption = Annotated[str, typer.Option("--label", help="Column with the label, in tables.")]
OptionalLabelOption = Annotated[
    str, typer.Option("--label", help="Column with the label, which is no feature; rows need none.")
]
QidOption = Annotated[str, typer.Option("--qid", help="Column with the query's id.")]
DocidOption = Annotated[
    str, typer.Option("--docid", help="Column with the document's name, if there is one.")
]
FeaturesOption = Annotated[
    str | None,
    typer.Option(
        "--features",
        help="Columns to use as features, separated by commas; by default every column that no other option "
        "names.",
    ),
]
IgnoreOption = Annotated[
    str | None, typer.Option("--ignore", help="Columns to leave out, separated by commas.")
]
ClipOption = Annotated[
    float | None,
    typer.Option(
        "--clip",
        help="Largest size of a feature, such as 1e6: larger and infinite values become it, as the 1.797e308 "
        "in Istella's files.",
    ),
]
LetorOption = Annotated[
    str | None,
    typer.Option(
        "--letor",
        metavar="WORD,...",
        help="How LETOR input is written, as words with commas between them: zero-based (features count from "
        "0), unordered (features stand in any order), missing=nan (an absent feature is missing, not 0), "
        "query-file=FILE (a line for each query with its number of rows; a file named like the rows with "
        ".query behind is found without this).",
    ),
]
ForceOption = Annotated[
    bool,
    typer.Option(
        "--force",
        help="Replace an output that is a file of another kind; one of the same kind is always replaced.",
    ),
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
    clip: float | None = None,
    letor: str | None = None,
) -> Columns:
    """The columns that the options name, and how values are read."""
    from lambdamart_kit.files import Columns

    named = None if features is None else tuple(_names(features))
    return Columns(
        label,
        qid,
        weight,
        docid,
        named,
        tuple(_names(ignore or "")),
        required,
        clip=clip,
        letor=_letor_rules(letor),
    )


def _letor_rules(text: str | None) -> LetorRules:
    """The rules that the words of ``--letor`` name."""
    from lambdamart_kit.files import LetorRules

    rules = LetorRules()
    for word in _names(text or ""):
        name, equals, value = word.partition("=")
        if name == "zero-based" and not equals:
            rules = replace(rules, zero_based=True)
        elif name == "unordered" and not equals:
            rules = replace(rules, unordered=True)
        elif name == "missing" and value.lower() in ("nan", "0"):
            rules = replace(rules, missing=float(value))
        elif name == "query-file" and value:
            rules = replace(rules, query_file=value)
        else:
            known = "zero-based, unordered, missing=nan, missing=0 or query-file=FILE"
            raise typer.BadParameter(f"{word!r} is none of {known}", param_hint="--letor")
    return rules


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
