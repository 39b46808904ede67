"""Learning from clicks: corrections for the position a document stood at when it was, or was not, clicked.

A document on top is looked at more often than one below, so it is clicked more often. Each class here is one
correction. It wraps any objective, for any learner: `start` reads the whole log, `bind` wraps the objective
on some rows of it (all of them for trees, a mini-batch for networks), and all bound objectives share the
estimate.

==========================  =====================================================================
``"gam"``                   a term for each position is added to the scores and learned with them
``"harvest"``               propensities from documents that moved, as fixed terms or inverse weights
``"joint"``                 Unbiased LambdaMART: click and unclick propensities, round by round
an array or a function      known propensities, as inverse weights or fixed terms
==========================  =====================================================================

**Inverse weights.** For every click the list it was made in counts as a query with that click as the only
relevant document, and with weight ``1 / propensity`` of its position. The gradient is then linear in the
clicks, so its expectation is exactly the gradient of the same queries weighted by relevance, whatever the
objective does inside a query (its truncation and normalisation included).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from lambdamart_kit.clicks.fixed_propensities import HarvestedPropensities, KnownPropensities
from lambdamart_kit.clicks.impressions import PositionBias
from lambdamart_kit.clicks.learned_propensities import JointPropensities, PositionGAM

POSITION_BIASES: dict[str, type] = {
    "gam": PositionGAM,
    "harvest": HarvestedPropensities,
    "joint": JointPropensities,
}


def resolve_position_bias(position_bias: Any) -> PositionBias:
    """From the parameter 'position_bias': a name, an instance, known propensities or a function of positions.

    Parameters
    ----------
    position_bias : str, array-like, callable or PositionBias
        A name in `POSITION_BIASES`, propensities by position or a function of positions, or an instance.

    Returns
    -------
    PositionBias
        An instance is returned as it is.

    Raises
    ------
    ValueError
        If the name is not in `POSITION_BIASES`.
    TypeError
        If it is neither of these.

    Examples
    --------
    >>> resolve_position_bias("joint")
    JointPropensities(p=1.0, clip=0.02)
    """
    if isinstance(position_bias, str):
        if position_bias not in POSITION_BIASES:
            names = ", ".join(map(repr, sorted(POSITION_BIASES)))
            raise ValueError(
                f"'position_bias' must be one of {names}, an array of propensities or a function of "
                f"positions; got {position_bias!r}"
            )
        made: PositionBias = POSITION_BIASES[position_bias]()
        return made
    if isinstance(position_bias, PositionBias) and not isinstance(position_bias, type):
        return position_bias
    if isinstance(position_bias, (type, bool)) or np.ndim(position_bias) > 1:
        raise TypeError(f"'position_bias' must be a name, an instance or propensities; got {position_bias!r}")
    return KnownPropensities(position_bias)
