"""Why one row scores above another."""

from __future__ import annotations

import numpy as np

from lambdamart_kit.core.typing import Array, BoolArray, FloatArray
from lambdamart_kit.explain.explained import Explained
from lambdamart_kit.explain.shapley import MOST_EXACT, exact_values, sampled_values


def gap_by_contributions(model: Explained, first: Array, second: Array) -> tuple[FloatArray, bool]:
    """Contributions to the score of the first row less those to the second: exact.

    Raises
    ------
    ValueError
        If the model has no contributions of its own.
    """
    if model.contributions is None:
        raise ValueError(
            f"'method' must be 'interventional' for {model.name}, which has no exact contributions; "
            "got 'contributions'"
        )
    both = model.contributions(np.stack((first, second)))
    return both[0, :-1] - both[1, :-1], True


def gap_between(
    model: Explained, first: Array, second: Array, *, n_samples: int, rng: np.random.Generator
) -> tuple[FloatArray, bool]:
    """Shapley values of the first row's features, where unknown ones have the second row's values.

    Also returns whether they are exact: they are where the model has its own, and where few features differ.
    """
    if model.contributions is not None:
        return model.contributions(first[None], second[None])[0, :-1], True
    same = (first == second) | (np.isnan(first) & np.isnan(second))
    players = np.flatnonzero(~same)
    found = np.zeros(len(first))
    if not len(players):
        return found, True

    def value(masks: BoolArray, draw: int = 0) -> FloatArray:
        rows = np.repeat(second[None], len(masks), axis=0)
        rows[:, players] = np.where(masks, first[players], second[players])
        return model.predict(rows)

    exact = len(players) <= MOST_EXACT
    if exact:
        found[players] = exact_values(value, len(players)).values
    else:
        found[players] = sampled_values(value, len(players), n_samples=n_samples, rng=rng).values
    return found, exact
