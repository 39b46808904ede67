"""``lambdamart-kit datasets``."""

from __future__ import annotations

import typer

app = typer.Typer(help="Public data sets: what there is, and how to get it.", no_args_is_help=True)


@app.command("list")
def list_() -> None:
    """List the catalogue."""
