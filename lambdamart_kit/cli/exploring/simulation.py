"""``lambdamart-kit simulate``: policies and re-rankers on simulated users."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lambdamart_kit.cli.options import PlotOption


def simulate(
    strategies: Annotated[
        str | None, typer.Option(help="Names with commas between them; all by default.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Rounds of users.")] = 50,
    seeds: Annotated[int, typer.Option(help="Repetitions, for the intervals.")] = 3,
    users: Annotated[int, typer.Option(help="Users of a round.")] = 20,
    fatigue: Annotated[float, typer.Option(help="How much users tire of a topic, 0 to 1.")] = 0.6,
    cold_rounds: Annotated[
        int, typer.Option(help="Rounds before a new kind of candidate appears; 0 for none.")
    ] = 0,
    plot: PlotOption = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write every round as CSV.")] = None,
) -> None:
    """Simulate users who click and models that learn from clicks; print who lost the fewest clicks.

    \b
    Example:
      lambdamart-kit simulate --rounds 30 --plot regret.png
    """
    from lambdamart_kit.cli.output import progress_bar
    from lambdamart_kit.simulation import simulate as simulation

    for path in (plot, out):
        if path is not None and not path.resolve().parent.is_dir():  # before minutes of work, not after
            raise ValueError(f"'{path}' must be in a folder that exists; make {path.resolve().parent} first")
    names = None if strategies is None else [name.strip() for name in strategies.split(",")]
    with progress_bar() as progress:
        result = simulation.simulate(
            names,
            world=simulation.World(n_users=users, fatigue=fatigue, cold_rounds=cold_rounds),
            n_rounds=rounds,
            n_seeds=seeds,
            progress=progress,
        )
    if out is not None:
        result.rounds.to_csv(out, index=False)
    if plot is not None:
        result.plot(plot)
    print(result.summary().round(3).to_string(index=False))
