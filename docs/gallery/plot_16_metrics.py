"""
Metrics and their conventions
=============================

Two numbers called NDCG@10 may differ by a tenth: the gain of a label, documents with equal scores, and queries without
a relevant document are settled differently by every library. Here they are parameters.
"""

# %%
import matplotlib.pyplot as plt

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.metrics import NDCG

train = make_letor(n_queries=100, random_state=0)
test = make_letor(n_queries=100, random_state=1, blank_fraction=0.2)
# Three trees of four leaves give many documents the same score.
ranker = LambdaMART(n_estimators=3, num_leaves=4, random_state=0).fit(train.X, train.y, qid=train.qid)
scores = ranker.predict(test.X)
conventions = {
    "default: exact over ties, blank queries skipped": {},
    "linear gain": {"gain": "linear"},
    "ties: best order": {"ties": "optimistic"},
    "ties: worst order": {"ties": "pessimistic"},
    "blank queries count 0": {"blank": "zero"},
    "blank queries count 1": {"blank": "one"},
}
values = {name: NDCG(k=10, **options)(test.y, scores, test.qid) for name, options in conventions.items()}
figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
axes.barh(list(values)[::-1], list(values.values())[::-1])
axes.set(xlabel="NDCG@10 of the same scores")
plt.show()
