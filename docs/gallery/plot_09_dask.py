"""
More machines than one
======================

``DaskLambdaMART`` trains on the partitions where they are, without cutting a query, and ends as an ordinary
``LambdaMART``.
"""

# %%
import dask.array as da
import matplotlib.pyplot as plt
import numpy as np
from dask.distributed import Client, LocalCluster

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.distributed import DaskLambdaMART
from lambdamart_kit.metrics import ndcg

train = make_letor(n_queries=100, random_state=0)
test = make_letor(n_queries=100, random_state=1)
order = np.argsort(train.qid, kind="stable")
X, y, qid = train.X[order], train.y[order], train.qid[order]

chunks = len(y) // 4
distributed = DaskLambdaMART(objective="ndcg", booster="lightgbm", n_estimators=30, random_state=0)
with (
    LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
    Client(cluster),
):
    distributed.fit(
        da.from_array(X, chunks=(chunks, X.shape[1])),
        da.from_array(y, chunks=chunks),
        qid=da.from_array(qid, chunks=chunks),
    )
    scores = np.asarray(distributed.predict(test.X))

local = LambdaMART(objective="ndcg", booster="lightgbm", n_estimators=30, random_state=0)
local.fit(train.X, train.y, qid=train.qid)

# %%
# Each worker sets its part of the bins from its own rows, and sums are added up in another order. On so few rows the trees
# therefore differ, and so do the scores of single documents; what agrees is how well they rank.
print(f"local {ndcg(test.y, local.predict(test.X), test.qid, k=10):.4f}")
print(f"two workers {ndcg(test.y, scores, test.qid, k=10):.4f}")
figure, axes = plt.subplots(figsize=(4, 4), layout="constrained")
axes.plot(local.predict(test.X), scores, ".", markersize=3)
axes.set(xlabel="score of the local model", ylabel="score of the distributed model")
plt.show()
