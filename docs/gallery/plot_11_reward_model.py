"""
A reward model and its calibration
==================================

A reward model is Bradley-Terry with features: the chance that a response is preferred is the logistic function of the
difference of two rewards. Best-of-n and filters need that chance to be right, not only the order.
"""

# %%
# Pairs of responses with six features; two of them matter.
import matplotlib.pyplot as plt
import numpy as np

from lambdamart_kit import PreferencePairs, RewardModel

rng = np.random.default_rng(0)
n_prompts = 400
X = rng.normal(size=(n_prompts * 4, 6))
reward = 1.5 * np.tanh(X[:, 0]) + X[:, 1] ** 2 / 2
prompt = np.repeat(np.arange(n_prompts), 6)
first = prompt * 4 + rng.integers(0, 4, len(prompt))
second = prompt * 4 + (first % 4 + rng.integers(1, 4, len(prompt))) % 4
won = rng.random(len(prompt)) < 1 / (1 + np.exp(reward[second] - reward[first]))
pairs = PreferencePairs.from_indices(
    X, np.where(won, first, second), np.where(won, second, first), prompt=prompt
)
train, test = pairs.split(test_size=0.5, random_state=0)
model = RewardModel(scorer="trees", random_state=0).fit_pairs(train)
model.report(test)

# %%
# Calibration: of the pairs that the model gives 70 %, seventy in a hundred should be won. Each test pair is looked at
# from both sides.
chance = model.predict_proba_pairs(test)
both = np.concatenate([chance, 1 - chance])
outcome = np.concatenate([np.ones(len(chance)), np.zeros(len(chance))])
part = np.clip((both * 10).astype(int), 0, 9)
figure, axes = plt.subplots(figsize=(4.2, 4.2), layout="constrained")
axes.plot([0, 1], [0, 1], color="lightgray")
held = [p for p in range(10) if (part == p).sum() > 20]
axes.plot([both[part == p].mean() for p in held], [outcome[part == p].mean() for p in held], "o-")
axes.set(xlabel="predicted chance of being preferred", ylabel="share that was preferred")
plt.show()
