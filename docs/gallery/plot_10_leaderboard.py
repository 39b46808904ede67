"""
Leaderboards, and whether one scale is enough
=============================================

Bradley-Terry gives every item a strength from the games it won. Intervals say which ranks the votes leave open, and a
decomposition of the votes says whether *any* single scale can describe them.
"""

# %%
# Six players on one scale, 600 games.
import matplotlib.pyplot as plt
import numpy as np

from lambdamart_kit import BradleyTerry

rng = np.random.default_rng(0)
strength = dict(zip("abcdef", [1.2, 0.9, 0.8, 0.1, -0.4, -1.1]))
names = np.array(list(strength))
pairs = np.array([rng.choice(names, 2, replace=False) for _ in range(600)])
gap = np.array([strength[a] - strength[b] for a, b in pairs])
wins = (rng.random(600) < 1 / (1 + np.exp(-gap))).astype(float)
fitted = BradleyTerry().fit(pairs, wins)
fitted.plot()
plt.show()
fitted.leaderboard()

# %%
# Rock, paper, scissors: every player wins half of its games, so strengths are equal, and they say nothing. The share of
# the votes that goes in circles says it.
cycle = np.array([["rock", "scissors"], ["scissors", "paper"], ["paper", "rock"]] * 100)
rps = BradleyTerry().fit(cycle, (rng.random(300) < 0.9).astype(float))
print(rps.goodness_of_fit().describe())

figure, axes = plt.subplots(figsize=(6, 2.4), layout="constrained")
parts = {"one scale": fitted.hodge(), "rock, paper, scissors": rps.hodge()}
axes.barh(list(parts), [1 - part.cyclicity for part in parts.values()], label="described by strengths")
axes.barh(
    list(parts),
    [part.cyclicity for part in parts.values()],
    left=[1 - part.cyclicity for part in parts.values()],
    label="goes in circles",
)
axes.set(xlabel="share of the squared flow of votes")
axes.legend(loc="lower left")
plt.show()
