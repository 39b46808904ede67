"""
Average, do not pick
====================

Two models of the same settings on two draws of the queries differ by more than most settings do. Their mean is better
than either. ``n_bags=10`` trains ten models on draws of queries and keeps one: one file, one export, one call.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.metrics import ndcg

train = make_letor(n_queries=100, random_state=0)
test = make_letor(n_queries=300, random_state=1)
settings = {"n_estimators": 100, "num_leaves": 15, "learning_rate": 0.1}
single = [
    LambdaMART(**settings, subsample=0.7, random_state=seed)
    .fit(train.X, train.y, qid=train.qid)
    .score(test.X, test.y, qid=test.qid)
    for seed in range(10)
]
bags = {}
for n_bags in (2, 5, 10):
    bag = LambdaMART(**settings, n_bags=n_bags, random_state=0).fit(train.X, train.y, qid=train.qid)
    bags[n_bags] = bag.score(test.X, test.y, qid=test.qid)

figure, axes = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
axes.plot(np.ones(10), single, "o", alpha=0.5, label="one model, ten random states")
axes.plot(list(bags), list(bags.values()), "s-", color="C1", label="a bag")
axes.set(xlabel="models that are averaged", ylabel="NDCG@10 on test queries")
axes.legend()
plt.show()

# %%
# The bags also say how sure a score is: their spread for each document.
mean, spread = bag.predict(test.X, return_std=True)
figure, axes = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
axes.plot(mean, spread, ".", markersize=2)
axes.set(xlabel="score, mean of ten", ylabel="spread over the ten")
plt.show()
print(f"{ndcg(test.y, mean, test.qid, k=10):.4f}")
