"""
The best ranking in one call
============================

``AutoRanker`` fits different rankers, each on all but one fold of the queries and stopped on that fold, and averages
them. It tunes nothing on your test set, picks no winner, and keeps what is done when it is stopped.
"""

# %%
import matplotlib.pyplot as plt

from lambdamart_kit import AutoRanker, LambdaMART
from lambdamart_kit.datasets import make_letor

train = make_letor(n_queries=100, random_state=0)
test = make_letor(n_queries=200, random_state=1)
auto = AutoRanker(budget="fits=15", random_state=0).fit(train.X, train.y, qid=train.qid)
auto.leaderboard_

# %%
# The leaderboard is measured on queries that the models did not see. Its intervals overlap: on a hundred queries there is
# no winner to pick, which is why the members are averaged.
board = auto.leaderboard_
single = LambdaMART(random_state=0).fit(train.X, train.y, qid=train.qid)
scores = {
    "one LambdaMART": single.score(test.X, test.y, qid=test.qid),
    "AutoRanker": auto.score(test.X, test.y, qid=test.qid),
}
figure, axes = plt.subplots(figsize=(6, 2), layout="constrained")
axes.barh(list(scores), list(scores.values()))
axes.set(xlabel="NDCG@10 on test queries", xlim=(min(scores.values()) - 0.02, max(scores.values()) + 0.01))
plt.show()
print(auto.noise_)
