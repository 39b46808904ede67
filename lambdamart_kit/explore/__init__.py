"""What to show next, and which pairs to ask about, when only what is shown is learned about.

Policies score lists of candidates, return slates with ``select`` (and logged propensities, exact where a
closed form exists, else estimated with a stated error), and learn with ``partial_fit``:
:class:`EpsilonGreedy`, :class:`LinUCB`, :class:`LinearThompson`, :class:`LogisticThompson`,
:class:`PersonalPolicy` for users who differ, and :class:`RankerPolicy` on top of a fitted ranker. Files keep
all of them, and :func:`load_policy` reads any. :func:`select_pairs` chooses preference pairs to annotate.
:func:`boltzmann`, :func:`sample_slates` and :func:`slate_log_prob` sample from scores. The package
``explore.evaluation`` tells from a log what another policy would have earned, ``explore.interleaving`` which
of several rankers users prefer.
"""

from lambdamart_kit.explore.annotation import reading_seconds, select_pairs
from lambdamart_kit.explore.leaves import leaf_features
from lambdamart_kit.explore.linear import EpsilonGreedy
from lambdamart_kit.explore.loading import load_policy
from lambdamart_kit.explore.personal import PersonalPolicy
from lambdamart_kit.explore.propensities import Propensities
from lambdamart_kit.explore.ranker_policy import RankerPolicy
from lambdamart_kit.explore.sampling import boltzmann, sample_slates, slate_log_prob
from lambdamart_kit.explore.thompson import LinearThompson, LogisticThompson
from lambdamart_kit.explore.ucb import LinUCB

__all__ = [
    "EpsilonGreedy",
    "LinUCB",
    "LinearThompson",
    "LogisticThompson",
    "PersonalPolicy",
    "Propensities",
    "RankerPolicy",
    "boltzmann",
    "leaf_features",
    "load_policy",
    "reading_seconds",
    "sample_slates",
    "select_pairs",
    "slate_log_prob",
]
