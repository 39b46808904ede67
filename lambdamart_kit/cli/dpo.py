"""``lambdamart-kit pairs dpo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lambdamart_kit.cli.columns import roles
from lambdamart_kit.cli.options import LayoutOption, PairsArgument, PlotOption, RolesOption
from lambdamart_kit.cli.output import say

if TYPE_CHECKING:
    import pandas as pd

_SHOWN_STEPS = 8  # of the training, in the table for people
_COLUMNS = ("step", "pairs", "loss", "accuracy", "margin", "chosen_logps", "displaced", "kl", "win_rate")


def dpo(
    data: PairsArgument,
    model: Annotated[
        Path | None, typer.Option("--model", "-m", help="Where to save the policy, if anywhere.")
    ] = None,
    features: Annotated[str, typer.Option(help="text, tfidf or embeddings:MODEL.")] = "text",
    loss: Annotated[
        str, typer.Option(help="Loss of the DPO family, such as sigmoid, ipo or simpo.")
    ] = "sigmoid",
    beta: Annotated[float, typer.Option(help="Strength of the KL term.")] = 0.1,
    reg_lambda: Annotated[float, typer.Option(help="L2 penalty on the reward coefficients.")] = 1.0,
    max_iter: Annotated[int, typer.Option(help="Training steps at most.")] = 1000,
    reference: Annotated[
        bool,
        typer.Option("--reference", help="Take the reference from ref_chosen_logps and ref_rejected_logps."),
    ] = False,
    test_size: Annotated[float, typer.Option(help="Share of the prompts held out; 0 for none.")] = 0.2,
    columns: RolesOption = None,
    layout: LayoutOption = None,
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
    plot: PlotOption = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write the whole history as CSV.")] = None,
) -> None:
    """Show what DPO would do with pairs: train a log-linear policy on features of the responses.

    \b
    Example:
      lambdamart-kit pairs dpo pairs.jsonl --plot dpo.png
    """
    from lambdamart_kit.preferences import DPOPolicy, PreferencePairs

    pairs = PreferencePairs.read(data, columns=roles(columns), layout=layout)
    train, held_out = pairs.split(test_size=test_size, random_state=seed) if test_size else (pairs, None)
    policy = DPOPolicy(loss, beta=beta, features=features, reg_lambda=reg_lambda, max_iter=max_iter)
    policy.fit_pairs(train, ref_logps="columns" if reference else None, eval_pairs=held_out)
    if model is not None:
        policy.save(model)
    if out is not None:
        policy.history_.to_csv(out, index=False)
    if plot is not None:
        policy.plot().savefig(plot)
    print(_history_text(policy.history_))
    told = "converged" if policy.converged_ else "no minimum was reached"
    say(f"\n{policy.n_iter_} steps, {told}")
    if model is not None:
        say(f"saved to {model}")


def _history_text(history: pd.DataFrame) -> str:
    """A few steps of the training, the first and the last among them, for each set of pairs."""
    import numpy as np

    steps = np.unique(history["step"])
    kept = steps[np.unique(np.linspace(0, len(steps) - 1, _SHOWN_STEPS).round().astype(int))]
    shown = history.loc[history["step"].isin(kept), list(_COLUMNS)]
    return str(shown.to_string(index=False, float_format="{:.4g}".format))
