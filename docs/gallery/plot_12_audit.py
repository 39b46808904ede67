"""
An audit of preference data
===========================

Before a model learns from preferences, look for what makes them worthless: pairs whose sides are the same text, votes
that contradict each other, labels that nothing else in the data supports, and judges who prefer what is long or what
they see first.
"""

# %%
# Data with known faults: longer answers win too often, some pairs are stated twice, some the wrong way round.
import matplotlib.pyplot as plt
import numpy as np

from lambdamart_kit import PreferencePairs

rng = np.random.default_rng(0)
rows = []
for k in range(300):
    good = " ".join(["a clear answer"] * int(rng.integers(2, 12)))
    poor = " ".join(["no idea"] * int(rng.integers(1, 8)))
    rows.append({"prompt": f"question {k}", "chosen": good, "rejected": poor})
rows += rows[:12]
rows += [{"prompt": r["prompt"], "chosen": r["rejected"], "rejected": r["chosen"]} for r in rows[20:28]]
rows += [{"prompt": "question 5", "chosen": "same", "rejected": "same"}]

pairs = PreferencePairs.read(rows)
report = pairs.audit()
frame = report.to_frame()
found = frame[frame["pairs"] > 0].sort_values("pairs")

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 2.8), layout="constrained")
left.barh(found["problem"].str.replace("_", " "), found["pairs"])
left.set(xlabel="pairs")
longer = pairs.lengths[pairs.chosen] - pairs.lengths[pairs.rejected]
right.hist(longer, bins=30)
right.axvline(0, color="gray", linestyle=":")
right.set(xlabel="characters by which the chosen response is longer", ylabel="pairs")
plt.show()

# %%
# The facts behind the second picture, with an interval over prompts. ``lambdamart-kit pairs audit prefs.jsonl --html
# audit.html`` writes all of it as a page, with pairs to look at.
print({name: round(value, 3) for name, value in report.facts.items()})
