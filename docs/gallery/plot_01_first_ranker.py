"""
A first ranker
==============

Search results, recommendations and shortlists come as *queries* with *documents*: rows with features, a graded label,
and an id that says which rows compete with each other. A ranker learns scores that put the relevant rows of every
query first.
"""

# %%
# The data here are made up, in the shape of Microsoft's MSLR: 136 features and labels from 0 to 4. ``qid`` names the
# query of each row. Rows may come in any order.
import matplotlib.pyplot as plt
import numpy as np

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.metrics import ndcg

train = make_letor(n_queries=200, random_state=0)
test = make_letor(n_queries=100, random_state=1)
train

# %%
# ``validation_fraction`` holds out whole queries, and training stops when NDCG on them no longer rises.
ranker = LambdaMART(
    n_estimators=300, learning_rate=0.1, early_stopping_rounds=30, validation_fraction=0.2, random_state=0
)
ranker.fit(train.X, train.y, qid=train.qid)
print(
    f"{ranker.best_iteration_} trees, NDCG@10 on test queries: {ranker.score(test.X, test.y, qid=test.qid):.4f}"
)

# %%
# The learning curve on the queries that were held out, and the value of NDCG at other cut-offs against an order by
# the best single feature *of the training queries*.
curve = next(iter(ranker.evals_result_.values()))["ndcg@10"]
single = [ndcg(train.y, train.X[:, j], train.qid, k=10) for j in range(train.X.shape[1])]
best_feature = int(np.argmax(single))
cuts = [1, 2, 3, 5, 10, 20, 50]
scores = ranker.predict(test.X)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
left.plot(np.arange(1, len(curve) + 1), curve)
left.axvline(ranker.best_iteration_, linestyle=":", color="gray")
left.set(xlabel="trees", ylabel="NDCG@10 on held-out queries")
right.plot(cuts, [ndcg(test.y, scores, test.qid, k=k) for k in cuts], "o-", label="LambdaMART")
right.plot(
    cuts,
    [ndcg(test.y, test.X[:, best_feature], test.qid, k=k) for k in cuts],
    "s--",
    label=f"feature {best_feature + 1} alone",
)
right.set(xlabel="k", ylabel="NDCG@k on test queries")
right.legend()
plt.show()

# %%
# One value a query tells more than a mean. Queries without a relevant document have no value: they are NaN, and the
# mean leaves them out.
values = ndcg(test.y, scores, test.qid, k=10, per_query=True)
print(f"{np.isnan(values).sum()} of {len(values)} queries have no relevant document")
figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
axes.hist(values[~np.isnan(values)], bins=20)
axes.set(xlabel="NDCG@10", ylabel="queries")
plt.show()
