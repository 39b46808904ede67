"""
Which of two rankers do users prefer?
=====================================

An A/B test shows each user the list of one ranker, so it compares users as much as rankers. Interleaving shows every
user one list with items of both rankers, and asks whose items are clicked.
"""

# %%
# One user, one list
# ------------------
# In team draft the rankers take turns like captains who choose a team. A click is credited to the ranker that chose the
# item.
import matplotlib.pyplot as plt
import numpy as np

from lambdamart_kit.datasets import Cascade, make_letor
from lambdamart_kit.explore.interleaving import (
    TeamDraft,
    mean_test,
    sign_test,
    simulate_ab,
    simulate_interleaving,
)

merged = TeamDraft().merge([[0, 1, 2, 3], [3, 2, 4, 0]], k=4, random_state=0)
print("shown:", merged.items[0], " credit of a click on the second item:", merged.credit([[0, 1, 0, 0]])[0])

# %%
# How many users does an answer take?
# -----------------------------------
# Users of a click model read down the list and stop at what they wanted. Both rankers see the labels through noise; the
# second sees less. The same experiment is repeated, with more and more impressions, and we count how often it finds the
# better ranker at p < .05.
rng = np.random.default_rng(0)
data = make_letor(100, mean_documents=40, random_state=0)
better, worse = (data.y + rng.normal(scale=s, size=len(data.y)) for s in (1.0, 1.6))
impressions = np.array([50, 100, 200, 400, 800, 1600, 3200])
n_experiments = 40


def share_found(decide):
    """Share of the experiments that find the better ranker, for each number of impressions."""
    found = np.array([decide(seed) for seed in range(n_experiments)])
    return found.mean(axis=0)


def interleaved(seed):
    credits = simulate_interleaving(
        data, [better, worse], model=Cascade(), n_impressions=impressions[-1], random_state=seed
    )
    tests = [sign_test(credits[:n]) for n in impressions]
    return [test.p_value < 0.05 and test.wins > test.losses for test in tests]


def split_in_two(seed):
    ranker, clicked = simulate_ab(
        data, [better, worse], model=Cascade(), n_impressions=impressions[-1], random_state=seed
    )
    clicks = clicked.sum(axis=1)
    answers = []
    for n in impressions:
        first, second = (clicks[:n][ranker[:n] == number] for number in (0, 1))
        error = np.sqrt(first.var() / len(first) + second.var() / len(second))
        answers.append(first.mean() - second.mean() > 1.96 * error)
    return answers


figure, axes = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
for name, decide in (("interleaving (team draft)", interleaved), ("A/B test, clicks per list", split_in_two)):
    share = share_found(decide)
    error = 1.96 * np.sqrt(np.maximum(share * (1 - share), 0.01) / n_experiments)
    axes.plot(impressions, share, "o-", label=name)
    axes.fill_between(impressions, (share - error).clip(0, 1), (share + error).clip(0, 1), alpha=0.2)
axes.axhline(0.8, color="0.6", linewidth=0.8)
axes.set(xscale="log", xlabel="impressions", ylabel="share that finds the better ranker", ylim=(0, 1.03))
axes.legend()
plt.show()

# %%
# How much interleaving saves depends on the users and on what the A/B test counts. Where users stop at the first good
# item, lists of both rankers get a click sooner or later, and clicks per list hardly differ: interleaving needs far fewer
# users. An A/B test that measures *where* the first click is comes much nearer; ``benchmarks/RESULTS-interleaving.md`` has
# both. `impressions_needed` says beforehand how many users a difference takes.
credits = simulate_interleaving(data, [better, worse], model=Cascade(), n_impressions=800, random_state=1)
print(sign_test(credits))
print(mean_test(credits))
