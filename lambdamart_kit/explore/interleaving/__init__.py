"""Which of several rankers users prefer: one merged list each, and the credit of their clicks.

In an A/B test each user sees the list of one ranker, and users who differ are compared. Interleaving shows
every user items of all rankers in one list and asks whose items are clicked: :class:`TeamDraft`,
:class:`Balanced`, :class:`Probabilistic` and :class:`Optimised` merge, :func:`sign_test` and
:func:`mean_test` decide, :func:`impressions_needed` plans, :func:`simulate_interleaving` and
:func:`simulate_ab` try it out on click models. All but :class:`Balanced` merge any number of rankers
(multileaving), which :func:`compare_all` compares two by two.
"""

from lambdamart_kit.explore.interleaving.drafting import Balanced, TeamDraft
from lambdamart_kit.explore.interleaving.merged import Interleaving, MergedLists
from lambdamart_kit.explore.interleaving.optimised import Optimised
from lambdamart_kit.explore.interleaving.probabilistic import Probabilistic
from lambdamart_kit.explore.interleaving.registry import INTERLEAVINGS
from lambdamart_kit.explore.interleaving.simulated import simulate_ab, simulate_interleaving
from lambdamart_kit.explore.interleaving.testing import (
    MeanTest,
    SignTest,
    ab_impressions_needed,
    compare_all,
    impressions_needed,
    mean_test,
    sign_test,
)

__all__ = [
    "INTERLEAVINGS",
    "Balanced",
    "Interleaving",
    "MeanTest",
    "MergedLists",
    "Optimised",
    "Probabilistic",
    "SignTest",
    "TeamDraft",
    "ab_impressions_needed",
    "compare_all",
    "impressions_needed",
    "mean_test",
    "sign_test",
    "simulate_ab",
    "simulate_interleaving",
]
