"""How much each of several goals weighs during one fit; goals that fall short of their bound gain weight."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lambdamart_kit.core.typing import FloatArray

_RATE = 20.0  # of the multipliers, for each unit that a metric is short, each round
_MOST = 20.0  # a multiplier of 20 gives its goal 95 % of the gradient; more would only take longer to undo


class Balance:
    r"""Weights of the goals, and multipliers that hold some of them above a bound.

    After each round, with :math:`m_k` the held-out metric of goal k and :math:`b_k` its bound,

    .. math:: \mu_k \leftarrow \min(\max(\mu_k + \rho (b_k - m_k), 0), 20), \qquad
              \mathrm{share}_k \propto w_k + \mu_k

    which is the update of the augmented Lagrangian, one step a round.

    Parameters
    ----------
    weights : (n_goals,) array
        Weights >= 0, not all 0.
    bounds : mapping of int to float
        Number of a goal -> what its metric must reach.

    References
    ----------
    Momma, Bagheri Garakani and Sun, "Multi-objective relevance ranking", SIGIR Workshop on eCommerce 2019.

    Examples
    --------
    >>> balance = Balance(np.array([0.0, 1.0]), {0: 0.7})
    >>> balance.shares.tolist()
    [0.0, 1.0]
    >>> balance.update({0: 0.7 - 0.65})
    >>> balance.shares.round(3).tolist()
    [0.5, 0.5]
    """

    def __init__(self, weights: FloatArray, bounds: Mapping[int, float]) -> None:
        self._weights = np.asarray(weights, dtype=np.float64)
        self.bounds = dict(bounds)
        self._multipliers = np.zeros(len(self._weights))
        if not self._weights.any():
            raise ValueError("'weights' must not all be 0")
        self.shares: FloatArray = self._weights / self._weights.sum()

    def update(self, short: Mapping[int, float]) -> None:
        """Raise the multipliers of goals that are short of their bound, and lower those of goals above it.

        Parameters
        ----------
        short : mapping of int to float
            Number of a goal -> what its held-out metric is short after a round. NaN changes nothing.
        """
        for goal in self.bounds:
            if np.isfinite(short[goal]):
                raised = self._multipliers[goal] + _RATE * short[goal]
                self._multipliers[goal] = min(max(raised, 0.0), _MOST)
        total = self._weights + self._multipliers
        self.shares = total / total.sum()
