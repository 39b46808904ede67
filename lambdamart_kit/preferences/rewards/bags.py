"""Bags of reward models: each on prompts drawn with replacement, their mean, and how far they are apart."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from lambdamart_kit.core.typing import Features, FloatArray
from lambdamart_kit.preferences.rewards.pair_view import PairView
from lambdamart_kit.preferences.rewards.scorers import Reward


def bag_of(train: PairView, rng: np.random.Generator) -> PairView:
    """Prompts drawn with replacement, as weights; prompts not drawn drop out."""
    prompts, code = np.unique(train.prompt, return_inverse=True)
    drawn = np.bincount(rng.integers(0, len(prompts), len(prompts)), minlength=len(prompts))[code]
    bag = train.take(drawn > 0)
    return dataclasses.replace(bag, weight=bag.weight * drawn[drawn > 0])


def mean_reward(rewards: Sequence[Reward], X: Features) -> FloatArray:
    """Mean of the bags' rewards of each row, (n,)."""
    total = np.zeros(X.shape[0])
    for reward in rewards:
        total += reward.predict(X)
    return total / len(rewards)


def bag_levels(rewards: Sequence[Reward], X: Features) -> FloatArray:
    """Mean of each bag's rewards over the rows, (n_bags,): pairs say nothing about it."""
    return np.array([float(np.mean(reward.predict(X))) for reward in rewards])


def bag_std(rewards: Sequence[Reward], X: Features, levels: FloatArray) -> FloatArray:
    """Standard deviation of the bags' rewards of each row, each bag less its level, (n,).

    Raises
    ------
    ValueError
        If there is one bag only.
    """
    if len(rewards) < 2:
        raise ValueError("'return_std' needs a reward model of several bags; set n_bags=10 and fit again")
    table = np.stack([reward.predict(X) - level for reward, level in zip(rewards, levels)])
    spread: FloatArray = np.std(table, axis=0, ddof=1)
    return spread
