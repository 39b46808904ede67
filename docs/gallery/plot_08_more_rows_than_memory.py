"""
More rows than memory
=====================

``fit_files`` reads files twice, keeps one byte a value on disk, and trains from there. The model is the one that ``fit``
gives, to the bit.
"""

# %%
import os
import tempfile

import matplotlib.pyplot as plt
import numpy as np

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import make_letor, write_letor

folder = tempfile.mkdtemp()
train = make_letor(n_queries=200, random_state=0)
for number in range(4):
    write_letor(train.subset(train.qid % 4 == number), os.path.join(folder, f"part{number}.txt"))

ranker = LambdaMART(n_estimators=30, random_state=0)
from_files = LambdaMART(n_estimators=30, random_state=0).fit_files(os.path.join(folder, "part*.txt"))
in_memory = ranker.fit(train.X, train.y, qid=train.qid)
np.testing.assert_array_equal(from_files.predict(train.X), in_memory.predict(train.X))

# %%
# What a row of 136 features costs in bytes, as measured in ``benchmarks/RESULTS-out_of_core.md``: features as float32 are
# never in memory as a whole.
costs = {
    "features as float32, not needed": 544,
    "on disk while training, bins": 156,
    "in memory while training": 105,
}
figure, axes = plt.subplots(figsize=(6.5, 2.4), layout="constrained")
axes.barh(list(costs), list(costs.values()), color=["lightgray", "C0", "C0"])
axes.set(xlabel="bytes a row")
plt.show()
