"""
Export to a search engine
=========================

Search engines read trees in formats of their own, and compare a feature with a threshold in ways of their own. An
export rewrites the thresholds so that every float32 input ends in the same leaf, or says why it cannot.
"""

# %%
import os
import tempfile

import matplotlib.pyplot as plt

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.export import EXPORTS

train = make_letor(n_queries=100, random_state=0)
test = make_letor(n_queries=50, random_state=1)
names = [f"f{j + 1}" for j in range(train.X.shape[1])]
ranker = LambdaMART(n_estimators=30, num_leaves=15, random_state=0).fit(train.X, train.y, qid=train.qid)
folder = tempfile.mkdtemp()
print("formats:", ", ".join(EXPORTS))

# %%
# ``check=`` scores rows by the engine's own rules, read from the file that was written, and compares.
sizes = {}
for format in ("solr", "elasticsearch", "vespa", "ranklib", "c"):
    path = os.path.join(folder, f"model.{format}")
    done = ranker.export(path, format=format, feature_names=names, no_missing=True, check=test.X[:500])
    sizes[format] = os.path.getsize(path) / 1024
    print(format, done.check)

figure, axes = plt.subplots(figsize=(6, 2.6), layout="constrained")
axes.barh(list(sizes), list(sizes.values()))
axes.set(xlabel="kB for 30 trees of 15 leaves")
plt.show()
