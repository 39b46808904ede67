"""
An objective of one's own
=========================

A ranker asks an objective for a gradient and a hessian of the scores. Whatever answers can be trained on any booster.
Here: RankNet on the pair that matters most in each query, the best document against the highest-scored one that is
worse.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import make_letor


class TopPair:
    """Logistic loss on one pair a query: a best document against the worse one with the highest score."""

    def bind(self, y, queries, sample_weight=None, *, n_threads=None):
        """Keep the labels in the order in which scores will come."""
        self.labels = queries.sort(np.asarray(y, dtype=np.float64))
        self.ptr = queries.ptr
        return self

    def gradient_hessian(self, scores):
        """Bradley-Terry on that pair: the gradient is the chance that the worse one wins."""
        gradient = np.zeros(len(scores), dtype=np.float32)
        hessian = np.full(len(scores), 1e-3, dtype=np.float32)
        for start, stop in zip(self.ptr[:-1], self.ptr[1:]):
            labels = self.labels[start:stop]
            worse = np.flatnonzero(labels < labels.max())
            if not len(worse):
                continue
            best = np.flatnonzero(labels == labels.max())
            high = start + best[np.argmin(scores[start:stop][best])]
            low = start + worse[np.argmax(scores[start:stop][worse])]
            wrong = 1 / (1 + np.exp(scores[high] - scores[low]))
            gradient[high] -= wrong
            gradient[low] += wrong
            hessian[[high, low]] += wrong * (1 - wrong)
        return gradient, hessian


train = make_letor(n_queries=150, random_state=0)
test = make_letor(n_queries=150, random_state=1)
scored = {}
for name, objective in {"TopPair": TopPair(), "pairwise": "pairwise", "ndcg": "ndcg"}.items():
    ranker = LambdaMART(objective=objective, n_estimators=60, num_leaves=15, random_state=0)
    ranker.fit(train.X, train.y, qid=train.qid, X_val=test.X, y_val=test.y, qid_val=test.qid)
    scored[name] = next(iter(ranker.evals_result_.values()))["ndcg@10"]

# %%
figure, axes = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
for name, curve in scored.items():
    axes.plot(np.arange(1, len(curve) + 1), curve, label=name)
axes.set(xlabel="trees", ylabel="NDCG@10 of other queries")
axes.legend()
plt.show()

# %%
# It works, and it ranks much worse: one pair a query leaves most of what the labels say unused.
