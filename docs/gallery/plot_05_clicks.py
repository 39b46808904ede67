"""
Learning from clicks
====================

People click what they see, and they see what stands on top. A ranker that takes clicks for labels learns the old order.
``position_bias=`` estimates how often each position is looked at and takes that out.
"""

# %%
# A log is simulated: people saw an order by the feature that ranks best, a little shuffled, and the chance that they
# looked at a position is known here. ``position_bias="harvest"`` estimates it from documents that were seen at several
# positions.
import matplotlib.pyplot as plt
import numpy as np

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import PositionBased, make_letor, simulate_clicks
from lambdamart_kit.metrics import ndcg

train = make_letor(n_queries=150, random_state=0)
test = make_letor(n_queries=150, random_state=1)
truth = 1 / np.arange(1, 11)
live = int(np.argmax([ndcg(train.y, train.X[:, j], train.qid, k=10) for j in range(train.X.shape[1])]))


def quality(sessions, **options):
    """A ranker on clicks of so many sessions a query, and its NDCG@10 on the true labels of other queries."""
    log = simulate_clicks(
        train,
        train.X[:, live],
        model=PositionBased(propensities=truth),
        sessions_per_query=sessions,
        temperature=2.0,
        random_state=0,
    )
    seen = {"position": log.position} if options else {}
    ranker = LambdaMART("pairwise", n_estimators=50, random_state=0, **options)
    ranker.fit(log.X, log.y, qid=log.qid, **seen)
    return ranker, ranker.score(test.X, test.y, qid=test.qid)


numbers = [20, 60, 200]
plain = [quality(n)[1] for n in numbers]
debiased = [quality(n, position_bias="harvest") for n in numbers]
labels = LambdaMART("pairwise", n_estimators=50, random_state=0).fit(train.X, train.y, qid=train.qid)
best = labels.score(test.X, test.y, qid=test.qid)

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
places = np.arange(1, 11)
left.plot(places, truth / truth[0], "o-", label="truth")
left.plot(places, debiased[-1][0].propensities_, "s--", label="estimated from 200 sessions a query")
left.set(xlabel="position", ylabel="looked at, relative to the first")
left.legend()
right.plot(numbers, plain, "o-", label="clicks as they are")
right.plot(numbers, [score for _, score in debiased], "s-", label="bias removed")
right.axhline(best, linestyle=":", color="gray", label="true labels, which no log has")
right.set(xlabel="sessions a query", ylabel="NDCG@10 on test queries", xscale="log")
right.set_xticks(numbers, numbers)
right.minorticks_off()
right.legend()
plt.show()

# %%
# Removing the bias is no free lunch: a click at the tenth place weighs ten times one at the first, which makes few clicks
# noisier. On a small log the clicks as they are may rank better; on a large one they keep what people were shown, and
# the gap no longer closes.
