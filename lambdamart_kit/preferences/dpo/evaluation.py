"""What a policy does on pairs: loss, margins, displacement of likelihood, KL, win rate, reward."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lambdamart_kit.core.typing import FloatArray, IndexArray
from lambdamart_kit.preferences.dpo.batches import Batch
from lambdamart_kit.preferences.dpo.training import Path, PolicyLoss

_MOST_ROWS = 100


def policy_metrics(
    loss: PolicyLoss, log_policy: FloatArray, *, rewards: FloatArray | None = None
) -> dict[str, float]:
    """Metrics of one policy on the batch of its loss; `DPOPolicy.report` describes them."""
    batch = loss.batch
    beta = loss.beta
    sets = batch.sets
    chosen = sets.chosen
    rejected = sets.rejected
    share = sets.weight / sets.weight.sum()
    ratio = log_policy - batch.reference
    margin = beta * (ratio[chosen] - ratio[rejected])
    # Two responses drawn from the policy and from the reference, both from this pair: the policy's is the
    # better one with probability p (1 - q), and the same one with probability p q + (1 - p)(1 - q).
    p = _of_two(log_policy, chosen, rejected)
    q = _of_two(batch.reference, chosen, rejected)
    found = {
        "loss": loss.data_loss(log_policy),
        "margin": float(share @ margin),
        "accuracy": float(share @ ((margin > 0) + 0.5 * (margin == 0))),
        "chosen_rewards": float(share @ (beta * ratio[chosen])),
        "rejected_rewards": float(share @ (beta * ratio[rejected])),
        "chosen_logps": float(share @ log_policy[chosen]),
        "rejected_logps": float(share @ log_policy[rejected]),
        "displaced": float(share @ (ratio[chosen] < 0)),
        "kl": batch.kl(log_policy),
        "win_rate": float(share @ (0.5 + 0.5 * (p - q))),
    }
    if rewards is not None:
        policy = np.exp(log_policy)
        found["reward"] = float(np.mean(sets.sums(policy * rewards)))
        found["reward_win_rate"] = _win_rate(batch, policy, rewards)
    return found


def training_history(
    path: Path, batches: dict[str, Batch], rewards: dict[str, FloatArray | None]
) -> pd.DataFrame:
    """One row a step (some hundred of them where there are more) and batch."""
    rows = []
    for step in _shown_steps(len(path.weights)):
        theta = path.loss.theta(path.weights[step])
        for name, batch in batches.items():
            log_policy = batch.log_policy(theta)
            metrics = policy_metrics(path.loss.on(batch, log_policy), log_policy, rewards=rewards[name])
            rows.append({"step": step, "pairs": name, **metrics})
    return pd.DataFrame(rows)


def _shown_steps(n_steps: int) -> list[int]:
    if n_steps <= _MOST_ROWS:
        return list(range(n_steps))
    # Most happens early, so the steps shown are evenly spaced on a log scale.
    spaced = np.geomspace(1, n_steps, _MOST_ROWS).round().astype(int) - 1
    return sorted({0, *spaced.tolist()})


def _of_two(logps: FloatArray, chosen: IndexArray, rejected: IndexArray) -> FloatArray:
    """Probability of the chosen one of each pair, given that it is one of the two."""
    return np.asarray(1.0 / (1.0 + np.exp(np.minimum(logps[rejected] - logps[chosen], 700.0))))


def _win_rate(batch: Batch, policy: FloatArray, rewards: FloatArray) -> float:
    """Probability that a response of the policy has a higher reward than one of the reference; ties 1/2.

    Within each prompt, by ascending reward: the reference's mass below, and half of its mass at the same
    reward.
    """
    sets = batch.sets
    reference = np.exp(batch.reference)
    prompt = sets.spread(np.arange(sets.n_prompts, dtype=np.float64)).astype(np.intp)
    order = np.lexsort((rewards, prompt))
    level = np.cumsum(
        np.concatenate(([False], (np.diff(prompt[order]) != 0) | (np.diff(rewards[order]) != 0)))
    )
    mass = np.bincount(level, reference[order])
    won = np.bincount(level, policy[order])
    of_prompt = np.zeros(len(mass), dtype=np.intp)
    of_prompt[level] = prompt[order]
    before = np.cumsum(mass) - mass - of_prompt  # every earlier prompt has mass 1
    return float(won @ (before + mass / 2) / sets.n_prompts)
