"""What to show next, and which pairs to ask about, when only what is shown is learned about.

Policies score lists of candidates, return slates with ``select`` (and logged propensities, exact where a
closed form exists, else estimated with a stated error), and learn with ``partial_fit``:
:class:`EpsilonGreedy`, :class:`LinUCB`, :class:`LinearThompson`, :class:`LogisticThompson`, and
:class:`RankerPolicy` on top of a fitted ranker. :func:`select_pairs` chooses preference pairs to annotate.
:func:`boltzmann`, :func:`sample_slates` and :func:`slate_log_prob` sample from scores. The package
``explore.evaluation`` tells from a log what another policy would have earned.
"""

from lambdamart_kit.explore.annotation import select_pairs
from lambdamart_kit.explore.leaves import leaf_features
from lambdamart_kit.explore.linear import EpsilonGreedy, LinUCB
from lambdamart_kit.explore.propensities import Propensities
from lambdamart_kit.explore.ranker_policy import RankerPolicy
from lambdamart_kit.explore.sampling import boltzmann, sample_slates, slate_log_prob
from lambdamart_kit.explore.thompson import LinearThompson, LogisticThompson

__all__ = [
    "EpsilonGreedy",
    "LinUCB",
    "LinearThompson",
    "LogisticThompson",
    "Propensities",
    "RankerPolicy",
    "boltzmann",
    "leaf_features",
    "sample_slates",
    "select_pairs",
    "slate_log_prob",
]
