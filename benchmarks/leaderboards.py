"""Two real leaderboards with intervals, as tables and as pictures.

- ``llmfao/llmfao.csv``: 8,931 human votes between language models, 39 % of them ties, under each tie model.
- ``international_football/results.csv``: games of national teams, with the advantage of playing at home.

Run as ``python benchmarks/leaderboards.py --data FOLDER``; ``--plots FOLDER`` draws them.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from lambdamart_kit.preferences import BradleyTerry

TIES = ("half", "davidson", "rao-kupper")


def models(data: Path) -> dict[str, BradleyTerry]:
    """Strengths of language models under each tie model; votes of one worker hang together."""
    votes = pd.read_csv(data / "llmfao" / "llmfao.csv")
    return {
        ties: BradleyTerry(ties=ties).fit(votes[["left", "right"]], votes["winner"], groups=votes["worker"])
        for ties in TIES
    }


def teams(data: Path, *, since: str = "2018", least: int = 20) -> BradleyTerry:
    """Strengths of teams with at least `least` games among themselves, and what playing at home is worth."""
    games = pd.read_csv(data / "international_football" / "results.csv").dropna(subset=["home_score"])
    games = games[games["date"] >= since]
    while True:
        played = pd.concat([games["home_team"], games["away_team"]]).value_counts()
        kept = games[["home_team", "away_team"]].isin(played.index[played >= least]).all(axis=1)
        if kept.all():
            break
        games = games[kept]
    outcome = (np.sign(games["home_score"] - games["away_score"]) + 1) / 2
    at_home = (~games["neutral"].astype(bool)).astype(float).rename("home")
    covariates = at_home.to_frame()
    pairs = games[["home_team", "away_team"]]
    return BradleyTerry(ties="davidson").fit(pairs, outcome, covariates=covariates, groups=games["date"])


def described(row: pd.Series) -> str:
    ranks = f"{row['rank_lower']:.0f}-{row['rank_upper']:.0f}"
    return f"{row['item']} {row['strength']:.2f} [{row['lower']:.2f}, {row['upper']:.2f}], rank {ranks}"


def draw(fits: dict[str, BradleyTerry], path: Path, *, top: int, title: str) -> None:
    """One panel a fit, each in its own order."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    size = (7.0 * len(fits), 1.6 + 0.22 * top)
    figure, axes = plt.subplots(1, len(fits), figsize=size, layout="constrained", squeeze=False)
    for ax, (name, fitted) in zip(axes[0], fits.items()):
        fitted.plot(ax=ax, top=top, method="clustered")
        ax.set_title(name if len(fits) > 1 else title, fontsize=10)
    if len(fits) > 1:
        figure.suptitle(title)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--plots", type=Path, default=None)
    options = parser.parse_args()
    packages = ", ".join(f"{p} {version(p)}" for p in ("lambdamart-kit", "numpy"))
    print(f"{datetime.date.today()}, {os.cpu_count()} cores, Python {platform.python_version()}, {packages}")

    fits = models(options.data)
    counted = fits["half"].comparisons_
    share = counted.count[counted.outcome == 0.5].sum() / counted.count.sum()
    print(f"\n## llmfao: {counted.count.sum():,.0f} votes, {share:.0%} ties, {counted.n_items} models\n")
    heads = [f"{t} ({f.tie_parameter_:.2f})" if t != "half" else t for t, f in fits.items()]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    boards = [fitted.leaderboard(method="clustered") for fitted in fits.values()]
    for place in range(10):
        print(f"| {' | '.join(described(board.iloc[place]) for board in boards)} |")
    ranks = pd.concat([b.set_index("item")["rank"] for b in boards], axis=1)
    moved = (ranks.max(axis=1) - ranks.min(axis=1)).sort_values()
    print(
        f"\nBetween tie models a model moves {moved.mean():.1f} ranks on average, {moved.index[-1]} most: "
        f"{moved.iloc[-1]}."
    )

    fitted = teams(options.data)
    board = fitted.leaderboard(method="clustered")
    home, games = fitted.covariate_coef_[0], fitted.comparisons_.count.sum()
    print(
        f"\n## International football since 2018: {games:,.0f} games, {len(board)} teams, Davidson's ties\n"
    )
    ties = fitted.tie_parameter_
    level = 1 / (1 + np.exp(-home) + ties * np.exp(-home / 2))
    print(
        f"Home advantage {home:.2f} on the logit scale, not on neutral ground: between equal teams the "
        f"home team wins {level:.0%} of the games and loses {level * np.exp(-home):.0%}.\n"
    )
    for _, row in board.head(10).iterrows():
        print(f"{row['rank']}. {described(row)}")
    if options.plots is not None:
        options.plots.mkdir(parents=True, exist_ok=True)
        draw(fits, options.plots / "llmfao.png", top=25, title="llmfao, 95 % intervals clustered by worker")
        title = "International football since 2018, 95 % intervals clustered by day"
        draw({"davidson": fitted}, options.plots / "football.png", top=30, title=title)
        print(f"\nDrawn into {options.plots}")


if __name__ == "__main__":
    main()
