"""Off-policy evaluation: what a policy would have earned, from the log of another one.

:func:`evaluate_policy` (or :func:`evaluate_rows`, from probabilities), :func:`evaluate_slates`,
:func:`evaluate_slate_totals` and, from clicks, :func:`evaluate_ranking` give a value with an interval, and
refuse where the log says too little (:func:`overlap`). :func:`expected_rewards` and :func:`cascade_rewards`
cross-fit the models that doubly robust estimates use.
"""

from lambdamart_kit.explore.evaluation.estimators import ESTIMATORS
from lambdamart_kit.explore.evaluation.evaluate import evaluate_policy, evaluate_rows
from lambdamart_kit.explore.evaluation.intervals import interval_of_mean
from lambdamart_kit.explore.evaluation.log import Estimate, Log, PoorOverlap
from lambdamart_kit.explore.evaluation.pseudo_inverse import (
    SlateMoments,
    plackett_luce_moments,
    pseudo_inverse_weights,
    slate_moments,
)
from lambdamart_kit.explore.evaluation.rankings import evaluate_ranking
from lambdamart_kit.explore.evaluation.reward_models import cascade_rewards, expected_rewards
from lambdamart_kit.explore.evaluation.slate_values import evaluate_slate_totals, evaluate_slates
from lambdamart_kit.explore.evaluation.slates import SLATE_ESTIMATORS, cascade_doubly_robust
from lambdamart_kit.explore.evaluation.weights import Overlap, importance_weights, overlap

__all__ = [
    "ESTIMATORS",
    "SLATE_ESTIMATORS",
    "Estimate",
    "Log",
    "Overlap",
    "PoorOverlap",
    "SlateMoments",
    "cascade_doubly_robust",
    "cascade_rewards",
    "evaluate_policy",
    "evaluate_ranking",
    "evaluate_rows",
    "evaluate_slate_totals",
    "evaluate_slates",
    "expected_rewards",
    "importance_weights",
    "interval_of_mean",
    "overlap",
    "plackett_luce_moments",
    "pseudo_inverse_weights",
    "slate_moments",
]
