"""
Learning from clicks
====================

People click what they see, and they see what stands on top. A ranker that takes clicks for labels learns the old order.
``position_bias=`` estimates how often each position is looked at and takes that out.
"""

# %%
# A log is simulated: sessions with an order by one feature, and clicks by a model with a known chance of being looked at.
import matplotlib.pyplot as plt
import numpy as np

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import PositionBased, make_letor, simulate_clicks

train = make_letor(n_queries=150, random_state=0)
test = make_letor(n_queries=150, random_state=1)
truth = 1 / np.arange(1, 11)
log = simulate_clicks(
    train,
    train.X[:, 0],
    model=PositionBased(propensities=truth),
    sessions_per_query=20,
    temperature=0.5,
    random_state=0,
)

# %%
# Three rankers: on clicks as they are, on clicks with the bias removed, and on the true labels, which no log has.
plain = LambdaMART("pairwise", n_estimators=50, random_state=0).fit(log.X, log.y, qid=log.qid)
debiased = LambdaMART("pairwise", n_estimators=50, position_bias="harvest", random_state=0)
debiased.fit(log.X, log.y, qid=log.qid, position=log.position)
labels = LambdaMART("pairwise", n_estimators=50, random_state=0).fit(train.X, train.y, qid=train.qid)
quality = {
    "clicks as they are": plain.score(test.X, test.y, qid=test.qid),
    "bias removed": debiased.score(test.X, test.y, qid=test.qid),
    "true labels": labels.score(test.X, test.y, qid=test.qid),
}

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
places = np.arange(1, 11)
left.plot(places, truth / truth[0], "o-", label="truth")
left.plot(places, debiased.propensities_, "s--", label="estimated")
left.set(xlabel="position", ylabel="looked at, relative to the first")
left.legend()
right.barh(list(quality), list(quality.values()))
right.set(xlabel="NDCG@10 on test queries", xlim=(min(quality.values()) - 0.03, max(quality.values()) + 0.01))
plt.show()
