"""
Explore or exploit
==================

A ranker that shows only what it believes best never learns that it is wrong. Bandit policies pay a little now to know
more later. Regret is what they lose against the best choice in hindsight.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

from lambdamart_kit.explore import EpsilonGreedy, LinearThompson, LinUCB

n_rounds, n_items, n_features = 400, 20, 5


def regret_of(policy, seed):
    """Cumulative regret of a policy in a linear world with noise."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=n_features)
    lost = np.zeros(n_rounds)
    for t in range(n_rounds):
        items = rng.normal(size=(n_items, n_features)) / np.sqrt(n_features)
        mean = items @ truth
        (shown,) = policy.select(items, k=1)
        reward = mean[shown] + rng.normal(scale=0.5)
        policy.partial_fit(items[[shown]], [reward])
        lost[t] = mean.max() - mean[shown]
    return lost.cumsum()


policies = {
    "greedy": lambda seed: EpsilonGreedy(epsilon=0.0, random_state=seed),
    "epsilon-greedy, 10 %": lambda seed: EpsilonGreedy(epsilon=0.1, random_state=seed),
    "LinUCB": lambda seed: LinUCB(alpha=1.0, random_state=seed),
    "Thompson": lambda seed: LinearThompson(random_state=seed),
}
figure, axes = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
for name, make in policies.items():
    runs = np.array([regret_of(make(seed), seed) for seed in range(10)])
    middle = runs.mean(axis=0)
    error = runs.std(axis=0) / np.sqrt(len(runs))
    axes.plot(middle, label=name)
    axes.fill_between(np.arange(n_rounds), middle - error, middle + error, alpha=0.2)
axes.set(xlabel="round", ylabel="cumulative regret")
axes.legend()
plt.show()

# %%
# Means and standard errors of ten worlds. Other items come up in every round here, so greedy sees all directions without
# looking for them, and does as well as LinUCB. It locks in where the same few items come back.
