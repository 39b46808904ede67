"""
What DPO would do with these pairs
==================================

``DPOPolicy`` is trained by the losses of a language model's DPO run, on features of responses, in seconds. It shows the
side effects before a cluster is booked: margins that grow while *both* responses lose probability.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

from lambdamart_kit import DPOPolicy, PreferencePairs

rng = np.random.default_rng(0)
X = rng.normal(size=(200 * 5, 8))
reward = X[:, 0] - 0.5 * X[:, 1]
prompt = np.repeat(np.arange(200), 8)
first = prompt * 5 + rng.integers(0, 5, len(prompt))
second = prompt * 5 + (first % 5 + rng.integers(1, 5, len(prompt))) % 5
won = rng.random(len(prompt)) < 1 / (1 + np.exp(reward[second] - reward[first]))
pairs = PreferencePairs.from_indices(
    X, np.where(won, first, second), np.where(won, second, first), prompt=prompt
)
train, test = pairs.split(test_size=0.3, random_state=0)
policy = DPOPolicy(beta=0.1, loss="sigmoid").fit_pairs(train, rewards=reward, eval_pairs=test)
history = policy.history_[policy.history_["pairs"] == "train"]
figure, axes = plt.subplots(1, 3, figsize=(9, 2.8), layout="constrained")
for panel, column in zip(axes, ("margin", "displaced", "kl")):
    panel.plot(history["step"], history[column])
    panel.set(xlabel="step", title=column)
plt.show()

# %%
# Losses of the family differ in what they do to the chosen response: those that see each log-ratio hold it up.
ends = {loss: DPOPolicy(beta=0.1, loss=loss).fit_pairs(train).report(test).iloc[0] for loss in
        ("sigmoid", "ipo", "hinge", "nca_pair", "apo_zero", "sppo_hard")}  # fmt: skip
figure, axes = plt.subplots(figsize=(6.5, 3), layout="constrained")
for loss, end in ends.items():
    axes.plot(end["displaced"], end["accuracy"], "o")
    axes.annotate(loss, (end["displaced"], end["accuracy"]), (5, 4), textcoords="offset points")
axes.set(xlabel="share of chosen responses that became less likely", ylabel="accuracy on test pairs")
plt.show()
