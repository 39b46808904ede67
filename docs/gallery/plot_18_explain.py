"""
Why is A above B?
=================

Only differences of scores rank. ``explain`` splits the gap of two scores among the features, exactly; it splits the NDCG
of a list; and it shows what the model has learned over all queries.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import make_letor

train = make_letor(n_queries=100, random_state=0)
test = make_letor(n_queries=30, random_state=1)
ranker = LambdaMART(n_estimators=40, random_state=0).fit(train.X, train.y, qid=train.qid)
why = ranker.explain(test.X, qid=test.qid, y=test.y)

# %%
# The first two documents of a query: what puts one above the other? Attributions sum to the gap of the scores.
query = test.qid[0]
numbers = np.flatnonzero(test.qid == query)
first, second = numbers[np.argsort(-ranker.predict(test.X[numbers]))[:2]]
pair = why.pair(first, second)
figure, (upper, lower) = plt.subplots(2, 1, figsize=(8, 7), layout="constrained")
pair.plot(upper, n_features=8)
why.list(query, k=10, n_samples=64).plot(lower, n_features=8)
plt.show()

# %%
# Over all queries: the loss of NDCG when a feature is shuffled within queries, and how the score moves with one feature
# where everything else in the query stays as it is.
importance = why.importance()
name = importance.top[0]
figure, (upper, lower) = plt.subplots(2, 1, figsize=(8, 7), layout="constrained")
importance.plot(upper)
why.effect(name).plot(lower)
plt.show()
