"""Several networks as one: the mean of their scores is the score of a network of blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from scipy.linalg import block_diag

from lambdamart_kit.core.typing import Array

Weights: TypeAlias = list[Array]


def side_by_side(networks: Sequence[tuple[Weights, Weights]]) -> tuple[Weights, Weights]:
    """Weights and intercepts of one network whose score is the mean of the scores of `networks`.

    All have the same layers. The hidden layers of the result are theirs side by side, without connections
    between them. Its last layer adds up theirs, divided by their number, in float64.

    Examples
    --------
    >>> one = [np.array([[2.0]]), np.array([[3.0]])], [np.array([0.0]), np.array([1.0])]
    >>> coefs, intercepts = side_by_side([one, one])
    >>> coefs[0].tolist(), coefs[1].tolist(), intercepts[1].tolist()
    ([[2.0, 2.0]], [[1.5], [1.5]], [1.0])
    """
    n = len(networks)
    n_layers = len(networks[0][0])
    coefs: Weights = []
    intercepts: Weights = []
    for at in range(n_layers):
        blocks = [network[0][at] for network in networks]
        shifts = [network[1][at] for network in networks]
        last = at == n_layers - 1
        if last:
            blocks = [block.astype(np.float64) / n for block in blocks]
        if at == 0 and last:
            coefs.append(np.asarray(np.sum(blocks, axis=0)))
        elif at == 0:
            coefs.append(np.hstack(blocks))
        elif last:
            coefs.append(np.vstack(blocks))
        else:
            coefs.append(block_diag(*blocks).astype(blocks[0].dtype))
        shift = np.mean(shifts, axis=0, dtype=np.float64) if last else np.concatenate(shifts)
        intercepts.append(np.asarray(shift))
    return coefs, intercepts
