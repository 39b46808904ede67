"""Shapley values of any game: exact for few players, sampled over orders of the players for many.

A player's Shapley value is the mean, over all orders in which players join, of what the value of the game
rises by when the player joins. Every order is followed by its reverse, which removes a good part of the noise
(antithetic sampling), and each pair of orders sums to ``v(all) - v(none)``, so estimates do too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import comb

import numpy as np

from lambdamart_kit.core.typing import BoolArray, FloatArray

MOST_EXACT = 10  # players; their 1,024 subsets take less time than samples

Values = Callable[[BoolArray, int], FloatArray]
"""Values of sets of players, one a row of the mask; the number says which draw of the background to use."""


@dataclass(frozen=True, eq=False)
class ShapleyValues:
    """Shapley values of the players of a game.

    Attributes
    ----------
    values : ndarray (n_players,), float64
    standard_errors : ndarray (n_players,), float64
        Zeros where the values are exact.
    nobody, everybody : float
        Value of the game without any player, and with all: values sum to the difference.
    """

    values: FloatArray
    standard_errors: FloatArray
    nobody: float
    everybody: float


def exact_values(value: Callable[[BoolArray], FloatArray], n_players: int) -> ShapleyValues:
    """Shapley values from the values of all ``2^n`` sets of players.

    Examples
    --------
    >>> def veto(masks):  # the first player and any other win
    ...     return masks[:, 0] * (masks[:, 1:].any(axis=1))
    >>> exact_values(veto, 3).values.round(4).tolist()
    [0.6667, 0.1667, 0.1667]
    """
    n = n_players
    members = np.arange(2**n)
    masks = (members[:, None] >> np.arange(n)) & 1 > 0
    worth = np.asarray(value(masks), dtype=np.float64)
    sizes = masks.sum(axis=1)
    found = np.zeros(n)
    # A set of s players without i has the weight s! (n - s - 1)! / n! = 1 / (n comb(n - 1, s)).
    weights = np.array([1.0 / (n * comb(n - 1, s)) for s in range(n)])
    for i in range(n):
        without = members[~masks[:, i]]
        found[i] = weights[sizes[without]] @ (worth[without | (1 << i)] - worth[without])
    return ShapleyValues(found, np.zeros(n), float(worth[0]), float(worth[-1]))


def sampled_values(
    value: Values, n_players: int, *, n_samples: int, rng: np.random.Generator
) -> ShapleyValues:
    """Shapley values from `n_samples` orders of the players, an even number.

    Parameters
    ----------
    value : callable
        ``value(masks, draw)``: the value of each set of players; two orders that are each other's reverse
        get the same `draw`.
    n_players, n_samples : int
    rng : Generator

    Examples
    --------
    >>> def veto(masks, draw):
    ...     return masks[:, 0] * (masks[:, 1:].any(axis=1))
    >>> found = sampled_values(veto, 3, n_samples=200, rng=np.random.default_rng(0))
    >>> bool(np.abs(found.values - [2 / 3, 1 / 6, 1 / 6]).max() < 0.1)
    True
    """
    n_pairs = max(1, n_samples // 2)
    rises = np.zeros((n_pairs, n_players))
    nobody = everybody = 0.0
    for draw in range(n_pairs):
        order = rng.permutation(n_players)
        for joining in (order, order[::-1]):
            # Row r of the masks holds the first r players of the order.
            masks = np.zeros((n_players + 1, n_players), dtype=bool)
            masks[:, joining] = np.arange(n_players + 1)[:, None] > np.arange(n_players)
            worth = value(masks, draw)
            rises[draw, joining] += np.diff(worth) / 2.0
            nobody += float(worth[0]) / (2 * n_pairs)
            everybody += float(worth[-1]) / (2 * n_pairs)
    spread = rises.std(axis=0, ddof=1) if n_pairs > 1 else np.full(n_players, np.nan)
    return ShapleyValues(rises.mean(axis=0), spread / np.sqrt(n_pairs), nobody, everybody)
