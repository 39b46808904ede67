"""The picture of a policy's training: margins, likelihoods, KL and win rate by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by every kind of colour vision.
_CHOSEN = "#0072b2"
_REJECTED = "#d55e00"
_OTHER = "#009e73"
_STYLES = {"train": "-", "held out": "--"}


def training_figure(history: pd.DataFrame) -> Figure:
    """Four panels: loss; rewards of chosen and rejected responses; their log-probs; KL against win rate.

    Parameters
    ----------
    history : DataFrame
        `DPOPolicy.history_`.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("the picture needs matplotlib: pip install 'lambdamart-kit[plot]'") from None

    figure = Figure(figsize=(10, 7), layout="constrained")
    loss, rewards, logps, frontier = figure.subplots(2, 2).ravel()
    for name, rows in history.groupby("pairs", sort=False):
        style = _STYLES[str(name)]
        steps = rows["step"]
        loss.plot(steps, rows["loss"], style, color=_OTHER, label=str(name))
        for axes, column in ((rewards, "rewards"), (logps, "logps")):
            axes.plot(steps, rows[f"chosen_{column}"], style, color=_CHOSEN, label=f"chosen, {name}")
            axes.plot(steps, rows[f"rejected_{column}"], style, color=_REJECTED, label=f"rejected, {name}")
        win_rate = rows.get("reward_win_rate", rows["win_rate"])
        frontier.plot(rows["kl"], win_rate, style, color=_OTHER, marker=".", label=str(name))
    logps.axhline(history["chosen_logps"].iloc[0], color="#8c959f", linewidth=0.8, zorder=0)
    _label(loss, "step", "loss", "Loss")
    _label(rewards, "step", "implicit reward", "Rewards: the gap is the margin")
    _label(logps, "step", "mean log-probability", "Likelihood: below the line, chosen ones are displaced")
    _label(frontier, "KL to the reference (nats)", "win rate over the reference", "What the KL buys")
    return figure


def _label(axes: Axes, x: str, y: str, title: str) -> None:
    axes.set(xlabel=x, ylabel=y, title=title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#d8dee4", linewidth=0.6)
    axes.legend(frameon=False, fontsize=8)
