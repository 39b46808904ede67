"""
Better answers, or more of the same
===================================

Sampling at a low temperature, keeping the best of n, and training on preferences all raise the reward. All of them also
make answers more alike. How much variety does each give up for a reward?
"""

# %%
# One prompt has 60 possible answers, which come in twelve kinds. The reference model likes common answers, and the reward
# model likes some kinds better. The **Vendi score** of a policy is the effective number of different answers: answers of
# one kind, which are nearly the same, count as about one.
import matplotlib.pyplot as plt
import numpy as np

from lambdamart_kit.diversify import vendi_score
from lambdamart_kit.explore import boltzmann
from lambdamart_kit.preferences import PreferencePairs
from lambdamart_kit.preferences.dpo import best_of_n, kl_divergence, optimal_policy, temper

rng = np.random.default_rng(3)
kind = np.repeat(np.arange(12), 5)
embeddings = rng.normal(size=(12, 24))[kind] + 0.3 * rng.normal(size=(60, 24))
rewards = rng.normal(size=12)[kind] + 0.5 * rng.normal(size=60)
reference = boltzmann(0.5 * rewards + rng.normal(size=60))

policies = {
    "best of n": [best_of_n(reference, rewards, n=n) for n in (1, 2, 4, 8, 16, 32, 64)],
    "KL-regularised (DPO, RLHF)": [
        optimal_policy(reference, rewards, beta=b).policy for b in (10, 3, 2, 1, 0.7, 0.5, 0.35, 0.25)
    ],
    "temperature": [temper(reference, temperature=t) for t in (1.5, 1, 0.8, 0.6, 0.4, 0.3, 0.2)],
    "Boltzmann of the reward alone": [boltzmann(rewards, beta=b) for b in (10, 2, 1, 0.7, 0.5, 0.35, 0.25)],
}
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for name, found in policies.items():
    reward = [p @ rewards for p in found]
    left.plot(reward, [vendi_score(embeddings, probabilities=p) for p in found], "o-", label=name)
    right.plot(reward, [kl_divergence(p, reference) for p in found], "o-", label=name)
right.plot(reference @ rewards, 0, "k*", markersize=12, label="reference")
left.plot(
    reference @ rewards,
    vendi_score(embeddings, probabilities=reference),
    "k*",
    markersize=12,
)
left.set(xlabel="expected reward", ylabel="different answers (Vendi score)")
right.set(xlabel="expected reward", ylabel="KL from the reference")
right.legend()
plt.show()

# %%
# Temperature sharpens what the model already prefers, and knows nothing of the reward: it gives up the most variety for
# the least reward. Best of n and the KL-regularised optimum lie close together: they pay for reward with variety at
# nearly the same rate. The Boltzmann policy of the reward alone keeps more variety at the same reward, at the price of a
# large KL: it shows answers that the reference would hardly give.
#
# Do preference data reward sameness?
# -----------------------------------
# If raters prefer the answer that reads like the others, a model trained on their labels learns to be typical. The audit
# measures that. In these pairs one rater prefers near-copies of a stock answer, and one does not care.
words = np.array([f"word{i}" for i in range(300)])


def answers(prompt, share_typical):
    """Pairs of a stock answer, in one of three wordings, and an answer of one's own."""
    stock = list(rng.choice(words, 10))
    for _ in range(8):
        typical = " ".join([*stock, words[rng.integers(3)]])
        own = " ".join(rng.choice(words, 11))
        first, second = (typical, own) if rng.random() < share_typical else (own, typical)
        yield {"prompt": f"prompt {prompt}", "chosen": first, "rejected": second}


figure, axes = plt.subplots(figsize=(6, 2.4), layout="constrained")
raters = {"prefers the stock answer": 0.75, "does not care": 0.5}
for row, share in enumerate(raters.values()):
    pairs = PreferencePairs.read([pair for prompt in range(40) for pair in answers(prompt, share)])
    found = pairs.audit(diversity=True).sameness.typical.set_index("like").loc["its prompt"]
    axes.plot([found["lower"], found["upper"]], [row, row], color="C0")
    axes.plot(found["preferred"], row, "o", color="C0")
axes.axvline(0.5, color="gray", linestyle=":")
axes.set(xlabel="how often the more typical answer is preferred", xlim=(0.3, 0.9), ylim=(-0.5, 1.5))
axes.set_yticks(range(len(raters)), raters)
plt.show()

# %%
# ``lambdamart-kit pairs audit prefs.jsonl --diversity`` prints the same for a file. Long answers are more like the others
# than short ones, whatever they say, so the share is also given for pairs of nearly equal length.
