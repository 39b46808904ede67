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

from lambdamart_kit.diversify import choose_trade_off, intra_list_distance, rerank

rng = np.random.default_rng(0)
centres = rng.normal(size=(21, 16))
topic = np.concatenate([np.zeros(10, int), np.arange(1, 21)])
features = centres[topic] + 0.05 * rng.normal(size=(30, 16))
scores = np.concatenate([np.linspace(1.0, 0.9, 10), np.linspace(0.89, 0.5, 20)])

# %%
# ``trade_off`` goes from relevance only to diversity only. What each utility pays for it, and what it gets:
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
grid = np.linspace(0, 0.9, 10)
for utility in ("facility", "mmr", "logdet", "redundancy", "max-sum"):
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

# %%
# Relevance can fall faster than submodular: a reader who is tired of the shoe is annoyed by each further post.
# ``utility="redundancy"`` takes off what a post has in common with *each* chosen one, so the fifth copy costs four
# times what the second costs. With ``allow_stop`` the list ends where a further post would do harm.
only_shoes = np.arange(10)
for utility in ("mmr", "redundancy"):
    shown = rerank(
        scores[only_shoes], 10, features=features[only_shoes], utility=utility, trade_off=0.3, allow_stop=True
    )
    print(f"{utility}: {len(shown)} of 10 copies are shown")

# %%
# How much diversity is enough is read off lists of the past: the smallest trade-off whose lists are no more alike
# than wanted, and what it costs.
found = choose_trade_off(scores, features, similarity=0.1, k=10)
print(f"trade_off={found.trade_off:g} keeps {found.relevance_kept:.0%} of the discounted relevance")
