"""The picture of a simulation: cumulative regret by round, and relevance against diversity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import t as student

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by every kind of colour vision.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def simulation_figure(rounds: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Two panels: cumulative regret with 95 % bands over seeds; NDCG against alpha-nDCG with error bars.

    Parameters
    ----------
    rounds, summary : DataFrame
        Of a `lambdamart_kit.simulation.simulate.Simulation`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    means = summary.set_index("strategy")
    for colour, (name, own) in zip(_cycle(), rounds.groupby("strategy", sort=False)):
        curves = own.pivot(index="seed", columns="round", values="regret").to_numpy().cumsum(axis=1)
        _band(left, curves, colour, str(name))
        row = means.loc[str(name)]
        right.errorbar(
            row["ndcg"],
            row["alpha_ndcg"],
            xerr=row["ndcg_±"],
            yerr=row["alpha_ndcg_±"],
            fmt="o",
            color=colour,
            capsize=2,
            label=str(name),
        )
    left.set(xlabel="round", ylabel="cumulative regret (expected clicks a user)", title="What was lost")
    right.set(
        xlabel="NDCG of slates, by true appeal",
        ylabel=r"$\alpha$-nDCG of slates, by topic",
        title="Relevance against diversity",
    )
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#d8dee4", linewidth=0.6)
    left.legend(frameon=False, fontsize=8)
    return figure


def _band(axes: Any, curves: np.ndarray, colour: str, label: str) -> None:
    mean, steps = curves.mean(axis=0), np.arange(1, curves.shape[1] + 1)
    axes.plot(steps, mean, color=colour, linewidth=1.6, label=label)
    if len(curves) > 1:
        half = student.ppf(0.975, len(curves) - 1) * curves.std(axis=0, ddof=1) / np.sqrt(len(curves))
        axes.fill_between(steps, mean - half, mean + half, color=colour, alpha=0.15, linewidth=0)


def _cycle() -> Any:
    from itertools import cycle

    return cycle(_COLOURS)
