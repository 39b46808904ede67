"""
Objectives compared
===================

RankNet weighs every pair alike; LambdaRank weighs a pair by what swapping it would change in NDCG; listwise losses look
at a whole query. All of them run on the same trees, so a comparison is a loop.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.metrics import ndcg
from lambdamart_kit.metrics.significance import bootstrap_interval

train = make_letor(n_queries=200, random_state=0)
test = make_letor(n_queries=200, random_state=1)
objectives = ["pairwise", "ndcg", "ndcg2++", "map", "mrr", "xendcg", "listnet", "listmle"]
values = {}
for objective in objectives:
    ranker = LambdaMART(objective=objective, n_estimators=60, num_leaves=15, random_state=0)
    ranker.fit(train.X, train.y, qid=train.qid)
    values[objective] = ndcg(test.y, ranker.predict(test.X), test.qid, k=10, per_query=True)

# %%
# What counts is the difference on the same queries, with its interval: most of the spread between queries is common to
# all models and cancels out.
figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
for place, objective in enumerate(objectives[1:]):
    difference = values[objective] - values["pairwise"]
    difference = difference[~np.isnan(difference)]
    low, high = bootstrap_interval(difference)
    axes.plot([low[0], high[0]], [place, place], color="C0", linewidth=3, alpha=0.5)
    axes.plot(difference.mean(), place, "o", color="C0")
axes.axvline(0, color="gray", linewidth=1)
axes.set_yticks(range(len(objectives) - 1), objectives[1:])
axes.set(xlabel="difference in NDCG@10 to pairwise, with 95 % intervals over queries")
plt.show()
