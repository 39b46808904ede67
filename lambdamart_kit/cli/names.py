"""``lambdamart-kit names``."""

from __future__ import annotations

from typing import Annotated

import typer


def names(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND", help="Such as objective, metric, booster or 'tie model'; all by default."
        ),
    ] = None,
) -> None:
    """List every name that options take: objectives, metrics, boosters, formats and more."""
    from lambdamart_kit.registries import as_markdown, names_of

    if kind is None:
        print(as_markdown(), end="")
        return
    found = names_of(kind)
    width = max(len(name) for name, _ in found)
    for name, text in found:
        print(f"{name:<{width}}  {text}")
