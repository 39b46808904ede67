"""Lists that are not ten times the same: re-ranking for relevance and diversity, and how to measure it.

:func:`rerank` chooses and orders rows of each query for a trade-off of relevance and a set utility;
:func:`choose_trade_off` picks the trade-off for a wanted similarity on past lists, and
:class:`DiversifiedRanker` re-ranks on top of a ranker. :func:`alpha_ndcg`, :func:`err_ia`,
:func:`precision_ia` and :func:`subtopic_recall` judge lists by the topics they cover,
:func:`intra_list_distance` and :func:`vendi_score` by how far apart their items are, and
:func:`catalogue_coverage` and :func:`gini_exposure` by what all lists together show.
"""

from lambdamart_kit.diversify.calibration import TradeOff, choose_trade_off
from lambdamart_kit.diversify.estimator import DiversifiedRanker
from lambdamart_kit.diversify.lists import (
    catalogue_coverage,
    gini_exposure,
    intra_list_distance,
    vendi_score,
)
from lambdamart_kit.diversify.metrics import alpha_ndcg, err_ia, precision_ia, subtopic_recall
from lambdamart_kit.diversify.reranking import rerank

__all__ = [
    "DiversifiedRanker",
    "TradeOff",
    "alpha_ndcg",
    "catalogue_coverage",
    "choose_trade_off",
    "err_ia",
    "gini_exposure",
    "intra_list_distance",
    "precision_ia",
    "rerank",
    "subtopic_recall",
    "vendi_score",
]
