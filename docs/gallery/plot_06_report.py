"""
A report to send around
=======================

``ranker.report`` writes one HTML file: the metric with its interval, gains and losses against a baseline, every test
query with its documents in both orders, slices, and the health of the data. It needs no network and no server.
"""

# %%
import os
import tempfile

import matplotlib.pyplot as plt
import numpy as np

from lambdamart_kit import LambdaMART, LinearRanker
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.metrics import ndcg

train = make_letor(n_queries=150, random_state=0)
test = make_letor(n_queries=80, random_state=1)
trees = LambdaMART(n_estimators=60, random_state=0).fit(train.X, train.y, qid=train.qid)
linear = LinearRanker(random_state=0).fit(train.X, train.y, qid=train.qid)

path = os.path.join(tempfile.mkdtemp(), "report.html")
trees.report(path, test.X, test.y, qid=test.qid, baselines={"linear": linear.predict(test.X)}, train=train)
print(f"{os.path.getsize(path) / 1024:.0f} kB")

# %%
# From the command line the same page comes from files: ``lambdamart-kit report m.lmk test.csv --baseline old.lmk --out
# report.html``, and ``lambdamart-kit bench ... --html report.html`` makes one of a whole comparison.
#
# What its chart of gains and losses shows, drawn here with matplotlib:
a = ndcg(test.y, trees.predict(test.X), test.qid, k=10, per_query=True)
b = ndcg(test.y, linear.predict(test.X), test.qid, k=10, per_query=True)
difference = np.sort((a - b)[~np.isnan(a - b)])[::-1]
figure, axes = plt.subplots(figsize=(6.5, 3), layout="constrained")
axes.bar(range(len(difference)), difference, width=1.0, color=np.where(difference > 0, "C0", "C1"))
axes.set(xlabel="queries, largest gain first", ylabel="NDCG@10, trees minus linear")
plt.show()
