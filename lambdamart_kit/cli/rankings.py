"""``lambdamart-kit pairs rankings``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from lambdamart_kit.cli.leaderboard import Intervals, anchored, board_text


def rankings(
    data: Annotated[
        str, typer.Argument(metavar="FILE", help="Rankings, or choices of one out of several, in each row.")
    ],
    columns: Annotated[
        str | None,
        typer.Option(
            help="What columns are, as ROLE=COLUMN,...: ranking, choice, alternatives; or ballot, item, rank."
        ),
    ] = None,
    wide: Annotated[
        bool, typer.Option("--wide", help="Each column is an item, its values are ranks.")
    ] = False,
    groups: Annotated[
        str | None, typer.Option(help="Column of what makes rankings hang together, such as the judge.")
    ] = None,
    n_pseudo: Annotated[
        float, typer.Option(help="Wins and losses of every item against a ghost; 0.5 keeps strengths finite.")
    ] = 0.0,
    intervals: Annotated[
        Intervals | None, typer.Option(help="Where intervals come from; clustered with --groups.")
    ] = None,
    elo: Annotated[bool, typer.Option(help="On the Elo scale, around 1500.")] = False,
    scale: Annotated[float | None, typer.Option(help="Points of a unit of strength.")] = None,
    base: Annotated[float | None, typer.Option(help="Points of the mean strength.")] = None,
    anchor: Annotated[
        str | None, typer.Option(metavar="ITEM=POINTS", help="The item that has so many points.")
    ] = None,
    top: Annotated[int | None, typer.Option(help="Only so many.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw it into this file (.png, .svg, .pdf).")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the whole table as CSV.")] = None,
) -> None:
    """Rank items by Plackett-Luce strength from rankings of several, or from choices of the best."""
    from lambdamart_kit.cli.columns import roles
    from lambdamart_kit.preferences import PlackettLuce
    from lambdamart_kit.preferences.reading.rankings import read_rankings
    from lambdamart_kit.preferences.strengths.leaderboard import save_leaderboard

    if elo and scale is not None:
        raise typer.BadParameter("must be left out with --elo, which has its own scale", param_hint="--scale")
    named = (roles(columns) or {}) | ({} if groups is None else {"groups": groups})
    read = read_rankings(data, columns=named, wide=wide)
    fitted = PlackettLuce(n_pseudo=n_pseudo).fit(
        read.rankings, read.alternatives, read.weight, groups=read.groups
    )
    points: dict[str, Any] = {"scale": "elo" if elo else scale or "logit", "base": base}
    if anchor is not None:
        points |= anchored(fitted, anchor, base)
    method = intervals.value if intervals else "sandwich" if read.groups is None else "clustered"
    board = fitted.leaderboard(method=method, **points)
    if out is not None:
        board.to_csv(out, index=False)
    if plot is not None:
        save_leaderboard(board, plot, top=top)
    print(board_text(board, top, n_digits=1 if elo or scale or base else 3))
    if top is not None and top < len(board):
        print(f"... {len(board) - top} more; --out FILE.csv has all", file=sys.stderr)
    table = fitted.coefficients(method=method)
    if len(table):
        print(f"\n{table.to_string(index=False, float_format='{:.4g}'.format)}", file=sys.stderr)
    print(f"\n{len(read.rankings)} rankings of {len(fitted.items_)} items", file=sys.stderr)
