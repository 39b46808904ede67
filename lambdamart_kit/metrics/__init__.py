"""Ranking metrics by query: NDCG, DCG, MAP, MRR, ERR, precision, recall, Kendall tau.

Each metric is a function ``ndcg(y, scores, qid, *, k, ...)``, a frozen object ``NDCG(k=10)`` that holds the
conventions, and a canonical name ``"ndcg@10"`` that :func:`parse_metric` turns into the object. The object is
what scorers, early stopping, the benchmark and the command line pass around; to change a convention use
``dataclasses.replace(metric, ties="input")``. Whether a difference of two rankers is real, query by query,
is answered by :mod:`lambdamart_kit.metrics.significance`.
"""

from lambdamart_kit.metrics.base import BoundMetric, Metric
from lambdamart_kit.metrics.custom import make_metric
from lambdamart_kit.metrics.functions import (
    dcg,
    err,
    kendall_tau,
    mean_average_precision,
    mean_reciprocal_rank,
    ndcg,
    precision,
    recall,
)
from lambdamart_kit.metrics.measures import DCG, ERR, MAP, MRR, NDCG, KendallTau, Precision, Recall
from lambdamart_kit.metrics.naming import METRICS, parse_metric, parse_metrics
from lambdamart_kit.metrics.significance import bootstrap_interval, holm, noise_sentence, sign_flip_test

__all__ = [
    "DCG",
    "ERR",
    "MAP",
    "METRICS",
    "MRR",
    "NDCG",
    "BoundMetric",
    "KendallTau",
    "Metric",
    "Precision",
    "Recall",
    "bootstrap_interval",
    "dcg",
    "err",
    "holm",
    "kendall_tau",
    "make_metric",
    "mean_average_precision",
    "mean_reciprocal_rank",
    "ndcg",
    "noise_sentence",
    "parse_metric",
    "parse_metrics",
    "precision",
    "recall",
    "sign_flip_test",
]
