"""
A metric of one's own
=====================

What counts may be neither NDCG nor MAP: the revenue of what is shown, or whether anything good is on the first screen.
``make_metric`` turns a function of the labels and scores of one query into a metric that stops training, tunes searches
and stands in reports.
"""

# %%
# Here labels stand for what a click is worth, and a user sees five places, each with half the chance of the one before.
import matplotlib.pyplot as plt
import numpy as np

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.metrics import make_metric

chance = 0.5 ** np.arange(5)


def worth(labels, scores):
    """Expected worth of the first five documents; the highest score comes first."""
    shown = labels[:5]
    return (shown * chance[: len(shown)]).sum()


worth_at_5 = make_metric("worth@5", worth)
train = make_letor(n_queries=150, random_state=0)
test = make_letor(n_queries=100, random_state=1)
curves = {}
for objective in ("ndcg", "pairwise", "mrr"):
    ranker = LambdaMART(objective, n_estimators=60, num_leaves=15, eval_metric=worth_at_5, random_state=0)
    ranker.fit(train.X, train.y, qid=train.qid, X_val=test.X, y_val=test.y, qid_val=test.qid)
    curves[objective] = next(iter(ranker.evals_result_.values()))["worth@5"]

# %%
figure, axes = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
for objective, curve in curves.items():
    axes.plot(np.arange(1, len(curve) + 1), curve, label=objective)
axes.set(xlabel="trees", ylabel="worth@5 of other queries")
axes.legend()
plt.show()
