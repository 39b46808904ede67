"""Why A is above B, which features make an order, and what a model has learned.

Every ranker and reward model has the method ``explain``; :func:`explain` takes anything else that predicts,
such as a pipeline::

    why = ranker.explain(X, qid=qid, y=y)
    why.pair(4, 7)               # what each feature adds to the gap of two scores; sums to it exactly
    why.list("query 12")         # which features make the order of a query: Shapley values of NDCG
    why.importance()             # what NDCG loses without what a feature knows, within queries
    why.effect("bm25")           # how a feature moves a score within its query; two features: a surface
    why.interactions(), why.monotone()
    why.plot("list", "query 12").figure.savefig("why.png")
"""

from lambdamart_kit.explain.anything import explain
from lambdamart_kit.explain.explained import Explained
from lambdamart_kit.explain.explanation import Explanation

__all__ = ["Explained", "Explanation", "explain"]
