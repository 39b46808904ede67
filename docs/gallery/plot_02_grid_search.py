"""
Grid search over whole queries
==============================

A query that is cut by a split leaks its labels from one side to the other. ``QueryKFold`` never cuts one, and
``query_routing`` lets scikit-learn's own searches pass ``qid`` to everything that needs it.
"""

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import lambdamart_kit as lk
from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.model_selection import QueryKFold, make_ranking_scorer

data = make_letor(n_queries=150, random_state=0)
grid = {"lambdamart__num_leaves": [7, 15, 31], "lambdamart__objective": ["ndcg", "pairwise"]}
with lk.query_routing():
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LambdaMART(n_estimators=40, random_state=0)),
        grid,
        cv=QueryKFold(5),
        scoring=make_ranking_scorer("ndcg@10"),
    ).fit(data.X, data.y, qid=data.qid)

# %%
# How sure is the winner? The spread over folds says that most of these settings cannot be told apart on 150 queries.
results = pd.DataFrame(search.cv_results_).sort_values("mean_test_score")
names = [
    f"{row['param_lambdamart__objective']}, {row['param_lambdamart__num_leaves']} leaves"
    for _, row in results.iterrows()
]
error = results["std_test_score"] / np.sqrt(5)
figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
axes.errorbar(results["mean_test_score"], names, xerr=error, fmt="o")
axes.set(xlabel="NDCG@10, mean and standard error over five folds of queries")
plt.show()
