"""``lambdamart-kit pairs leaderboard`` and ``pairs rankings``: strengths from votes and from rankings."""

from __future__ import annotations

import sys
import warnings
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lambdamart_kit.cli.options import PlotOption
from lambdamart_kit.cli.output import check_outputs, say
from lambdamart_kit.core.typing import Settings
from lambdamart_kit.preferences.strengths.ties import TIE_MODELS
from lambdamart_kit.runtime.terminal import printable

if TYPE_CHECKING:
    import pandas as pd

    from lambdamart_kit.preferences.strengths.bradley_terry import BradleyTerry
    from lambdamart_kit.preferences.strengths.table import StrengthTable

Ties = StrEnum("Ties", {name.replace("-", "_"): name for name in TIE_MODELS})  # type: ignore[misc]


_HALF = Ties("half")
_COUNTS = ("wins", "ties", "losses")


class Intervals(StrEnum):
    """Where intervals come from."""

    hessian = "hessian"
    sandwich = "sandwich"
    clustered = "clustered"
    bootstrap = "bootstrap"


# Options of both commands.
IntervalsOption = Annotated[
    Intervals | None,
    typer.Option(
        "--interval",
        "--intervals",
        metavar="METHOD",
        help="Where intervals come from: hessian, sandwich (the default), clustered (with --groups the "
        "default) or bootstrap.",
    ),
]
EloOption = Annotated[bool, typer.Option(help="Give strengths on the Elo scale, around 1500.")]
ScaleOption = Annotated[float | None, typer.Option(help="Points of a unit of strength; 1 by default.")]
BaseOption = Annotated[float | None, typer.Option(help="Points of the mean strength; 0 by default.")]
AnchorOption = Annotated[
    str | None, typer.Option(metavar="ITEM=POINTS", help="The item that has so many points.")
]
TopOption = Annotated[int | None, typer.Option(help="Print only so many items, the best first.")]
OutOption = Annotated[Path | None, typer.Option("--out", "-o", help="Write the whole table as CSV.")]


def leaderboard(
    data: Annotated[str, typer.Argument(metavar="FILE", help="Votes: two items and a winner in each row.")],
    columns: Annotated[
        str | None,
        typer.Option(
            help="The same as --first, --second and --winner in one: "
            "first=COLUMN,second=COLUMN,outcome=COLUMN."
        ),
    ] = None,
    first: Annotated[
        str | None, typer.Option(help="Column of the first item; found by usual names such as model_a.")
    ] = None,
    second: Annotated[str | None, typer.Option(help="Column of the second item.")] = None,
    winner: Annotated[
        str | None,
        typer.Option(
            help="Column of the outcome: a or b, left or right, first or second, model_a or model_b, tie, "
            "or the name of the item."
        ),
    ] = None,
    ties: Annotated[Ties, typer.Option(help="What a tie says.")] = _HALF,
    order_effect: Annotated[bool, typer.Option(help="Estimate an advantage of the first item.")] = False,
    style: Annotated[
        bool, typer.Option(help="Control for length, headers, lists and bold text of the responses.")
    ] = False,
    covariates: Annotated[
        str | None,
        typer.Option(help="Control for columns, as FIRST:SECOND,... (their difference) or COLUMN,..."),
    ] = None,
    groups: Annotated[
        str | None,
        typer.Option(
            help="Column whose equal values mark votes that are not independent, such as those of one judge."
        ),
    ] = None,
    prior: Annotated[float, typer.Option(help="Precision of a normal prior on strengths.")] = 0.0,
    on_disconnected: Annotated[
        str, typer.Option("--on-disconnected", "--disconnected", help="raise, components or prior.")
    ] = "raise",
    intervals: IntervalsOption = None,
    elo: EloOption = False,
    scale: ScaleOption = None,
    base: BaseOption = None,
    anchor: AnchorOption = None,
    top: TopOption = None,
    plot: PlotOption = None,
    out: OutOption = None,
) -> None:
    """Rank items by Bradley-Terry strength, with intervals, and say whether one scale fits the votes.

    \b
    Example:
      lambdamart-kit pairs leaderboard votes.csv \\
        --first left --second right --winner vote --elo
    """
    from lambdamart_kit.cli.columns import roles
    from lambdamart_kit.preferences import BradleyTerry
    from lambdamart_kit.preferences.judges.controls import read_controlled_votes

    _check_scale(elo, scale)
    check_outputs(data, out, plot)
    named = {"first": first, "second": second, "outcome": winner}
    given = {**(roles(columns) or {}), **{role: name for role, name in named.items() if name is not None}}
    votes = read_controlled_votes(
        data,
        columns=given,
        style=style,
        covariates=covariates.split(",") if covariates else (),
        groups=groups,
    )
    fitted = BradleyTerry(
        ties=ties.value, order_effect=order_effect, prior=prior, on_disconnected=on_disconnected
    ).fit(votes.pairs, votes.outcomes, votes.weight, covariates=votes.covariates, groups=votes.groups)
    points = _points(fitted, elo, scale, base, anchor)
    method = intervals.value if intervals else "clustered" if groups else "sandwich"
    with warnings.catch_warnings():  # whether one scale fits the votes is said below
        warnings.filterwarnings("ignore", message=".*single scale does not describe")
        board = fitted.leaderboard(method=method, **points)
    _show(board, out, plot, top, n_digits=1 if elo or scale or base else 3)
    _print_coefficients(fitted, method)
    _print_fit(fitted)


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
        str | None,
        typer.Option(
            help="Column whose equal values mark rankings that are not independent, such as those of one "
            "judge."
        ),
    ] = None,
    n_pseudo: Annotated[
        float,
        typer.Option(
            help="Wins and losses to add for every item, against an item that does not exist; 0.5 keeps "
            "strengths finite."
        ),
    ] = 0.0,
    intervals: IntervalsOption = None,
    elo: EloOption = False,
    scale: ScaleOption = None,
    base: BaseOption = None,
    anchor: AnchorOption = None,
    top: TopOption = None,
    plot: PlotOption = None,
    out: OutOption = None,
) -> None:
    """Rank items by Plackett-Luce strength from rankings of several, or from choices of the best.

    \b
    Example:
      lambdamart-kit pairs rankings ballots.csv \\
        --columns ballot=voter,item=movie,rank=place
    """
    from lambdamart_kit.cli.columns import roles
    from lambdamart_kit.preferences import PlackettLuce
    from lambdamart_kit.preferences.reading.rankings import read_rankings

    _check_scale(elo, scale)
    check_outputs(data, out, plot)
    named = (roles(columns) or {}) | ({} if groups is None else {"groups": groups})
    read = read_rankings(data, columns=named, wide=wide)
    fitted = PlackettLuce(n_pseudo=n_pseudo).fit(
        read.rankings, read.alternatives, read.weight, groups=read.groups
    )
    points = _points(fitted, elo, scale, base, anchor)
    method = intervals.value if intervals else "sandwich" if read.groups is None else "clustered"
    board = fitted.leaderboard(method=method, **points)
    _show(board, out, plot, top, n_digits=1 if elo or scale or base else 3)
    _print_coefficients(fitted, method)
    say(f"\n{len(read.rankings)} rankings of {len(fitted.items_)} items")


def _check_scale(elo: bool, scale: float | None) -> None:
    if elo and scale is not None:
        raise typer.BadParameter("must be left out with --elo, which has its own scale", param_hint="--scale")


def _points(
    fitted: StrengthTable, elo: bool, scale: float | None, base: float | None, anchor: str | None
) -> Settings:
    """What a leaderboard is told of its scale."""
    points: Settings = {"scale": "elo" if elo else scale or "logit", "base": base}
    return points if anchor is None else points | _anchored(fitted, anchor, base)


def _show(
    board: pd.DataFrame, out: Path | None, plot: Path | None, top: int | None, *, n_digits: int
) -> None:
    """Write the board, draw it, and print it or the best of it."""
    from lambdamart_kit.preferences.strengths.leaderboard import save_leaderboard

    if out is not None:
        board.to_csv(out, index=False)
    if plot is not None:
        save_leaderboard(board, plot, top=top)
    shown = _board_shown(board, top, n_digits=n_digits)
    if sys.stdout.isatty():
        _print_board(shown, n_digits)
    else:
        print(printable(shown.to_string(index=False)))
    if top is not None and top < len(board):
        say(f"... {len(board) - top} more; --out FILE.csv has all")


def _anchored(fitted: StrengthTable, anchor: str, base: float | None) -> Settings:
    """``ITEM=POINTS``, or ``ITEM`` with the points of --base."""
    name, sign, text = anchor.rpartition("=")
    try:
        points = float(text) if sign else base
    except ValueError:
        raise typer.BadParameter(f"must be ITEM=POINTS; got {anchor!r}", param_hint="--anchor") from None
    if sign and base is not None:
        raise typer.BadParameter("must be left out when --anchor gives the points", param_hint="--base")
    wanted = name if sign else anchor
    item = next((item for item in fitted.items_.tolist() if str(item) == wanted), wanted)
    return {"anchor": item, "base": points}


def _print_board(board: pd.DataFrame, n_digits: int) -> None:
    """Write the board for a person: what belongs together in one column, in parts on a narrow terminal."""
    from rich.console import Console

    from lambdamart_kit.bench.render import Table, print_table

    number = f"{{:.{n_digits}f}}".format
    columns = {
        "item": [str(item) for item in board["item"]],
        "rank": board["rank"].astype(str),
        "strength": board["strength"].map(number),
        "95% interval": board["lower"].map(number) + " to " + board["upper"].map(number),
        "its ranks": board["rank_lower"].astype(str) + " to " + board["rank_upper"].astype(str),
        "won/tied/lost": ["/".join(map(str, row)) for row in board[list(_COUNTS)].to_numpy()],
    }
    if "component" in board:
        columns["component"] = board["component"].astype(str)
    print_table(Table("", tuple(columns), tuple(zip(*columns.values())), {}), Console())


def _board_shown(board: pd.DataFrame, top: int | None, *, n_digits: int) -> pd.DataFrame:
    """What is shown of the board: the best, rounded, without columns that say nothing."""
    shown = board.head(top or len(board)).round(n_digits)
    whole = shown[list(_COUNTS)]
    if (whole == whole.round()).all(axis=None):
        shown = shown.astype(dict.fromkeys(whole, int))
    if (board["component"] == 0).all():
        shown = shown.drop(columns="component")
    return shown


def _print_coefficients(fitted: StrengthTable, method: str) -> None:
    """Order effect, covariates and tie parameter with their standard errors, where there are any."""
    table = fitted.coefficients(method=method)
    if len(table):
        say(f"\n{table.to_string(index=False, float_format='{:.4g}'.format)}")


def _print_fit(fitted: BradleyTerry) -> None:
    say(f"\n{fitted.goodness_of_fit(n_replicates=0)}")
