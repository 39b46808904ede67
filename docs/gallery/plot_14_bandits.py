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

# %%
# Locked in
# ---------
# Five items come back in every round, and rewards are noisy. LinUCB with a constant ``alpha`` adds the same multiple of
# its standard error for ever, and if that is small, two unlucky rewards can bury the best item: it then shows the second
# best until the end. ``alpha="auto"`` widens the bound as the square root of a logarithm, so that each item is asked for
# again.
means = np.array([0.9, 0.6, 0.5, 0.3, 0.1])
n_rounds = 600


def regret_of_five(policy, seed):
    """Cumulative regret on five items with one-hot features."""
    rng = np.random.default_rng(seed)
    items = np.eye(5)
    lost = np.zeros(n_rounds)
    for t in range(n_rounds):
        (shown,) = policy.select(items, k=1)
        policy.partial_fit(items[[shown]], [means[shown] + rng.normal(scale=0.5)])
        lost[t] = means.max() - means[shown]
    return lost.cumsum()


figure, axes = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
for name, make in {
    "alpha=0.2": lambda seed: LinUCB(alpha=0.2, random_state=seed),
    "alpha=1": lambda seed: LinUCB(alpha=1.0, random_state=seed),
    'alpha="auto"': lambda seed: LinUCB(alpha="auto", noise=0.5, random_state=seed),
}.items():
    runs = np.array([regret_of_five(make(seed), seed) for seed in range(20)])
    middle = runs.mean(axis=0)
    error = 1.96 * runs.std(axis=0, ddof=1) / np.sqrt(len(runs))
    axes.plot(middle, label=name)
    axes.fill_between(np.arange(n_rounds), (middle - error).clip(0), middle + error, alpha=0.2)
axes.set(xlabel="round", ylabel="cumulative regret")
axes.legend()
plt.show()

# %%
# Means of twenty runs with 95 % intervals. A line that stays straight is a run that locked in. The best constant, in
# hindsight, does better than "auto"; but which one is best depends on the noise and is not known beforehand
# (``benchmarks/RESULTS-lock_in.md``).
