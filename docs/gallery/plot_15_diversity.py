"""
Ten posts about the same shoe
=============================

The tenth post about a shoe adds little for somebody who has seen nine. A submodular utility of the list says so:
what an item adds falls with what is there already.
"""

# %%
# Thirty posts: ten near-copies with the highest scores, twenty others on topics of their own.
import matplotlib.pyplot as plt
import numpy as np

from lambdamart_kit.diversify import intra_list_distance, rerank

rng = np.random.default_rng(0)
centres = rng.normal(size=(21, 16))
topic = np.concatenate([np.zeros(10, int), np.arange(1, 21)])
features = centres[topic] + 0.05 * rng.normal(size=(30, 16))
scores = np.concatenate([np.linspace(1.0, 0.9, 10), np.linspace(0.89, 0.5, 20)])

# %%
# ``trade_off`` goes from relevance only to diversity only. What each utility pays for it, and what it gets:
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
grid = np.linspace(0, 0.9, 10)
for utility in ("facility", "mmr", "logdet"):
    copies, distance = [], []
    for trade_off in grid:
        chosen = rerank(scores, k=10, features=features, utility=utility, trade_off=trade_off)
        order = np.zeros(30)
        order[chosen] = np.arange(10, 0, -1)
        copies.append((topic[chosen] == 0).sum())
        distance.append(intra_list_distance(features, order, k=10))
    left.plot(grid, copies, "o-", label=utility)
    right.plot(grid, distance, "o-", label=utility)
left.set(xlabel="trade_off", ylabel="copies of the shoe in the top ten")
right.set(xlabel="trade_off", ylabel="mean distance within the top ten")
left.legend()
plt.show()
