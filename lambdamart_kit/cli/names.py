"""``lambdamart-kit names``."""

from __future__ import annotations

from typing import Annotated

import typer

from lambdamart_kit.cli.output import print_names


def names(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND", help="Such as objective, metric, booster or 'tie model'; all by default."
        ),
    ] = None,
) -> None:
    """List every name that options take: objectives, metrics, boosters, formats and more.

    \b
    Example:
      lambdamart-kit names objective
    """
    from lambdamart_kit.registries import as_markdown, names_of

    if kind is None:
        print(as_markdown(), end="")
        return
    print_names(names_of(kind))
