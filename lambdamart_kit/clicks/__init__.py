"""Learning from clicks: corrections for the position a document was shown at.

Each of them wraps any objective of :mod:`lambdamart_kit.objectives`; see
:mod:`lambdamart_kit.clicks.position_bias`.
"""

from __future__ import annotations

from lambdamart_kit.clicks.fixed_propensities import HarvestedPropensities, KnownPropensities
from lambdamart_kit.clicks.impressions import PositionBias
from lambdamart_kit.clicks.learned_propensities import JointPropensities, PositionGAM
from lambdamart_kit.clicks.position_bias import POSITION_BIASES, resolve_position_bias

__all__ = [
    "POSITION_BIASES",
    "HarvestedPropensities",
    "JointPropensities",
    "KnownPropensities",
    "PositionBias",
    "PositionGAM",
    "resolve_position_bias",
]
