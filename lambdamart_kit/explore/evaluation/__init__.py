"""Off-policy evaluation: what a policy would have earned, from the log of another one.

:func:`evaluate_policy` and :func:`evaluate_slates` give a value with an interval, and refuse where the log
says too little (:func:`overlap`).
"""

from lambdamart_kit.explore.evaluation.estimators import ESTIMATORS
from lambdamart_kit.explore.evaluation.evaluate import (
    Estimate,
    Log,
    PoorOverlap,
    evaluate_policy,
    evaluate_slates,
)
from lambdamart_kit.explore.evaluation.intervals import interval_of_mean
from lambdamart_kit.explore.evaluation.slates import SLATE_ESTIMATORS, cascade_doubly_robust
from lambdamart_kit.explore.evaluation.weights import Overlap, importance_weights, overlap

__all__ = [
    "ESTIMATORS",
    "SLATE_ESTIMATORS",
    "Estimate",
    "Log",
    "Overlap",
    "PoorOverlap",
    "cascade_doubly_robust",
    "evaluate_policy",
    "evaluate_slates",
    "importance_weights",
    "interval_of_mean",
    "overlap",
]
