"""
Which pairs to label next
=========================

Labels cost an annotator's time, and many say what the model knew already. `select_pairs` chooses those that would teach a
reward model the most.
"""

# %%
# Responses are points in 16 dimensions, of which some hardly vary, as those of embeddings. Labels follow a hidden reward.
# In each round a model is fitted on the labels so far, and 20 more pairs are chosen.
import matplotlib.pyplot as plt
import numpy as np

from lambdamart_kit.explore import select_pairs
from lambdamart_kit.preferences import PreferencePairs, RewardModel

n_responses, n_features, batch, n_rounds, n_seeds = 600, 16, 20, 8, 6
spread = np.geomspace(3.0, 0.3, n_features)


def world(seed):
    """Responses, a hidden reward, and candidate pairs with the labels that an annotator would give."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n_responses, n_features)) * spread
    reward = features @ (rng.normal(size=n_features) / spread)
    pairs = rng.permutation(n_responses)[: n_responses // 2 * 2].reshape(-1, 2)
    pairs = np.concatenate([pairs, rng.permutation(n_responses).reshape(-1, 2)])
    chance = 1 / (1 + np.exp(reward[pairs[:, 1]] - reward[pairs[:, 0]]))
    first_wins = rng.random(len(pairs)) < chance
    return features, reward, pairs, first_wins


def log_losses(method, seed):
    """Log loss on pairs that are never labelled, after each batch."""
    features, reward, pairs, first_wins = world(seed)
    held, pool = pairs[:200], pairs[200:]
    chance = 1 / (1 + np.exp(reward[held[:, 1]] - reward[held[:, 0]]))
    labelled = list(range(batch))
    losses = []
    for number in range(n_rounds):
        asked = pool[labelled]
        won = np.where(first_wins[200:][labelled, None], asked, asked[:, ::-1])
        labels_so_far = PreferencePairs.from_indices(features, won[:, 0], won[:, 1])
        settings = {"reg_lambda": 3.0, "validation_fraction": 0.0, "calibrate": False}
        model = RewardModel("linear", **settings, random_state=seed).fit_pairs(labels_so_far)
        predicted = model.predict(features)
        margin = predicted[held[:, 0]] - predicted[held[:, 1]]
        losses.append(np.mean(chance * np.logaddexp(0, -margin) + (1 - chance) * np.logaddexp(0, margin)))
        left = np.setdiff1d(np.arange(len(pool)), labelled)
        if method == "random":
            chosen = np.random.default_rng([seed, number]).permutation(len(left))[:batch]
        else:
            chosen = select_pairs(
                model, features, pool[left], batch, method=method, labelled=asked, random_state=seed
            )
        labelled += left[chosen].tolist()
    return losses


figure, axes = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
labels = batch * np.arange(1, n_rounds + 1)
for method in ("random", "uncertainty", "d-optimal"):
    losses = np.array([log_losses(method, seed) for seed in range(n_seeds)])
    middle = losses.mean(axis=0)
    error = losses.std(axis=0, ddof=1) / np.sqrt(n_seeds)
    axes.plot(labels, middle, "o-", label=method)
    axes.fill_between(labels, middle - error, middle + error, alpha=0.2)
axes.set(xlabel="labels", ylabel="log loss on other pairs")
axes.legend()
plt.show()

# %%
# Means and standard errors of six worlds. Both choices do better than random labels here, by about as much. A batch by
# D-optimality spreads over directions that are not yet known, and is ahead in the first rounds, when uncertainty asks for
# many pairs that are alike. How much is saved depends on the data: ``benchmarks/RESULTS-annotation.md`` has a set where
# labels are saved, and real arguments where nothing is saved for sure. With ``cost=reading_seconds(...)`` pairs are chosen
# by what they teach in a minute of an annotator's time.
