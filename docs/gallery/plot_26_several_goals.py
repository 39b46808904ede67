"""
Two goals, and what one costs the other
=======================================

What is relevant often earns little. ``pareto_front`` fits one ranker for each weighting of the two goals and shows, on
queries that none of them saw, how much of the one buys how much of the other.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

from lambdamart_kit import LambdaMART, pareto_front
from lambdamart_kit.objectives import Combined

rng = np.random.default_rng(0)
X = rng.normal(size=(160 * 15, 6)).astype(np.float32)
qid = np.repeat(np.arange(160), 15)
relevance = np.digitize(X[:, 0] + X[:, 1] * X[:, 2] + 0.5 * rng.normal(size=len(X)), [0, 1, 2])
margin = np.digitize(X[:, 3] - 0.6 * X[:, 0] + 0.5 * rng.normal(size=len(X)), [0, 1, 2])
Y = np.column_stack([relevance, margin])

goals = Combined({"relevance": "ndcg", "margin": "ndcg"})
ranker = LambdaMART(goals, n_estimators=60, num_leaves=8, random_state=0)
front = pareto_front(ranker, 9, X, Y, qid, test_size=0.4)
front.table.round(3)

# %%
# A mark for each ranker, with its weights of relevance and margin. The cross is what documents in random order have.
figure, axes = plt.subplots(figsize=(6.5, 4.5), layout="constrained")
front.plot(ax=axes)
chosen = front.best(at_least={"relevance": 0.75})
at = front.values[front.rankers.index(chosen)]
axes.plot(*at, "o", markersize=14, mfc="none", color="C1", label="most margin with 0.75 of relevance")
axes.legend()
plt.show()

# %%
# The same as a condition of the training: relevance must not fall below 0.75 on held-out queries. The weight of
# relevance moves after every round, until it does not.
held = Combined({"relevance": "ndcg", "margin": "ndcg"}, constraints={"relevance": 0.75})
ranker = LambdaMART(
    held, n_estimators=150, num_leaves=8, validation_fraction=0.3, early_stopping_rounds=60, random_state=0
).fit(X, Y, qid=qid)
results = ranker.evals_result_["validation"]
figure, axes = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
for name in ("relevance ndcg@10", "margin ndcg@10"):
    axes.plot(np.arange(1, len(results[name]) + 1), results[name], label=name)
axes.axhline(0.75, color="gray", linewidth=0.8)
axes.axvline(ranker.best_iteration_, color="gray", linewidth=0.8, linestyle=":")
axes.set(xlabel="round", ylabel="on held-out queries")
axes.legend()
plt.show()
