"""
What diversity costs
====================

A list can be measured for relevance (NDCG) and for relevance to different tastes (alpha-nDCG, where a second document on
the same topic counts half). Here are all utilities on both.
"""

# %%
# Users like some genres of films and not others. A ranker predicts what they like, with some error; the films of a list
# are compared by genre. ``trade_off`` goes from 0, at the right end of each line, to 1.
import matplotlib.pyplot as plt
import numpy as np

from lambdamart_kit.diversify import alpha_ndcg, rerank
from lambdamart_kit.metrics import ndcg

rng = np.random.default_rng(0)


def movies(n_users=150, n_films=60, n_genres=12):
    """Predicted scores, grades, users, features and genres."""
    n = n_users * n_films
    user = np.repeat(np.arange(n_users), n_films)
    genres = (rng.random((n, n_genres)) < 0.12).astype(float)
    genres[np.arange(n), rng.integers(0, n_genres, n)] = 1.0
    taste = rng.normal(size=(n_users, n_genres))
    truth = (genres * taste[user]).sum(axis=1) + rng.normal(size=n)
    grade = np.digitize(truth, [0.5, 1.5, 2.5, 3.5]).astype(float)
    features = genres + 0.05 * rng.normal(size=genres.shape)
    return truth + 0.7 * rng.normal(size=n), grade, user, features, genres


def articles(n_users=150, n_articles=60, n_topics=8, n_dimensions=32):
    """The same of articles with embeddings: each is near the centre of its topic, popular topics have many."""
    n = n_users * n_articles
    user = np.repeat(np.arange(n_users), n_articles)
    topic = rng.choice(n_topics, n, p=0.6 ** np.arange(n_topics) / (0.6 ** np.arange(n_topics)).sum())
    centres = rng.normal(size=(n_topics, n_dimensions))
    features = centres[topic] + 0.8 * rng.normal(size=(n, n_dimensions))
    liked = rng.normal(size=(n_users, n_topics)) + np.linspace(1, -1, n_topics)
    truth = liked[user, topic] + 0.5 * rng.normal(size=n)
    grade = np.digitize(truth, [0.5, 1.5, 2.5]).astype(float)
    return truth + 0.5 * rng.normal(size=n), grade, user, features, np.eye(n_topics)[topic]


utilities = ("facility", "logdet", "mmr", "redundancy", "max-sum", "coverage")
grid = np.array([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8])
figure, both = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for axes, name, data in zip(both, ("films by genre", "articles by embedding"), (movies(), articles())):
    scores, grade, user, features, topics = data
    for utility in utilities:
        given = {"topics": topics} if utility == "coverage" else {"features": features}
        points = []
        for trade_off in grid:
            rows = rerank(scores, k=10, qid=user, utility=utility, trade_off=trade_off, **given)
            place = np.full(len(scores), -np.inf)
            place[rows] = -np.arange(len(rows), dtype=float)
            liked_topics = topics * (grade > 0)[:, None]
            points.append((ndcg(grade, place, user, k=10), alpha_ndcg(liked_topics, place, user, k=10)))
        relevance, novelty = np.transpose(points)
        (line,) = axes.plot(relevance, novelty, ".-", label=utility)
        axes.plot(relevance[grid == 0.5], novelty[grid == 0.5], "o", color=line.get_color())
        print(
            f"{name}, {utility}: at .5 NDCG {relevance[grid == 0.5][0] / relevance[0]:.0%} of the full, "
            f"alpha-nDCG {novelty[grid == 0.5][0]:.3f} after {novelty[0]:.3f}"
        )
    axes.set(title=name, xlabel="NDCG@10", ylabel=r"$\alpha$-nDCG@10")
axes.legend(title="dot: trade_off .5")
plt.show()

# %%
# A little diversity costs little relevance and gains topics; beyond that both fall, because a list that is only diverse
# shows what nobody asked for. Coverage knows the genres that alpha-nDCG counts, so it is ahead on films. An article has
# one topic only, and once each topic is shown, coverage has nothing more to say. Of the utilities that compare items by
# their features log det keeps the most relevance at .5, and facility location the least: it shows what stands for all
# candidates, bad ones too.
#
# Bored or annoyed
# ----------------
# With a submodular utility a further copy adds less and less, but never does harm. ``utility="redundancy"`` is for
# readers whom repetition tires: each copy costs its similarity to *every* copy before it. The picture shows what the
# n-th near-copy of a relevant post adds.
copies = np.ones((10, 1))
cosines = copies @ copies.T
half = 0.5
added = {"relevance alone": np.ones(10)}
worth = [np.linalg.slogdet(np.eye(n) + cosines[:n, :n])[1] for n in range(11)]
added["logdet (submodular: bored)"] = half + half * np.diff(worth) / worth[1]
added["mmr (submodular gains)"] = half - half * (np.arange(10) > 0)
added["redundancy (worse: tired)"] = half - half * np.arange(10)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
for name, gains in added.items():
    left.plot(np.arange(1, 11), gains, "o-", label=name)
left.axhline(0, color="gray", linewidth=0.8)
left.set(xlabel="copy", ylabel="what it adds, trade_off .5", ylim=(-2.2, 1.2))
left.legend()

# ``allow_stop`` ends a list where a further post would do harm: by redundancy soon, by MMR at the end of the topics.
post_topic = np.repeat(np.arange(4), 6)
posts = rng.normal(size=(4, 16))[post_topic] + 0.1 * rng.normal(size=(24, 16))
relevance = np.linspace(1, 0.4, 24)[np.argsort(post_topic, kind="stable")]
for utility in ("mmr", "redundancy"):
    lengths = []
    for trade_off in grid[1:]:
        shown = rerank(relevance, 24, features=posts, utility=utility, trade_off=trade_off, allow_stop=True)
        lengths.append(len(shown))
    right.plot(grid[1:], lengths, "o-", label=utility)
right.set(xlabel="trade_off", ylabel="posts shown of 24, with allow_stop")
right.legend()
plt.show()
