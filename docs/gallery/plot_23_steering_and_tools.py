"""
Steer the training, fit into everything
=======================================

Twelve things that users of boosting libraries keep asking for, each in a few lines, on one small data set. The pages
:doc:`/steering`, :doc:`/weights` and :doc:`/tools` say more about them.
"""

import importlib.util
import platform
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.inspection import PartialDependenceDisplay
from sklearn.model_selection import GridSearchCV, cross_validate

import lambdamart_kit as lk
from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.metrics import make_metric, ndcg
from lambdamart_kit.model_selection import QueryKFold, QueryTimeSeriesSplit, make_ranking_scorer
from lambdamart_kit.objectives import Combined

train, recent, old = (
    make_letor(n_queries=n, mean_documents=15, max_documents=30, random_state=seed)
    for n, seed in ((80, 0), (30, 1), (30, 2))
)
small = {"n_estimators": 30, "num_leaves": 8, "learning_rate": 0.1, "random_state": 0}

# %%
# 1. Starting scores
# ------------------
# What is in production has scores already, here those of a regression on five features. The trees learn what to add.
regression = HistGradientBoostingRegressor(max_iter=20, random_state=0).fit(train.X[:, :5], train.y)
start, start_recent = (3 * regression.predict(part.X[:, :5]) for part in (train, recent))
rest = LambdaMART(**small).fit(train.X, train.y, qid=train.qid, init_score=start)
before = ndcg(recent.y, start_recent, recent.qid, k=10)
after = ndcg(recent.y, rest.predict(recent.X, init_score=start_recent), recent.qid, k=10)
print(f"NDCG@10 of the old scores {before:.3f}, with what the trees add {after:.3f}")

# %%
# 2. Several held-out sets and metrics
# ------------------------------------
# The first metric on the first set stops; everything else is watched, and drawn.
held_out = {
    "X_val": [recent.X, old.X],
    "y_val": [recent.y, old.y],
    "qid_val": [recent.qid, old.qid],
    "names_val": ["recent", "old"],
}
ranker = LambdaMART(
    **{**small, "n_estimators": 150},
    early_stopping_rounds=15,
    eval_metric=["ndcg@10", "map"],
    min_delta=0.001,
)
ranker.fit(train.X, train.y, qid=train.qid, **held_out)
figure, axes = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
ranker.plot_learning_curve("ndcg@10", ax=axes)
plt.show()

# %%
# 3. A metric of one's own
# ------------------------
# A function of the labels and scores of one query, the best score first.
on_top = make_metric("relevant on top", lambda labels, scores: float(labels[0] > 0))
print(
    f"{on_top(recent.y, ranker.predict(recent.X), recent.qid):.2f} of the queries have a relevant document on top"
)

# %%
# 4. Callbacks
# ------------
# A function that sees every round and may end the training; some are ready-made.
seen = []
LambdaMART(
    **small,
    validation_fraction=0.3,
    callbacks=[
        lk.stop_after("1min"),
        lk.schedule(lambda round: 0.2 * 0.97**round),
        lambda event: seen.append(event.score) or event.round == 10,
    ],
).fit(train.X, train.y, qid=train.qid)
print(f"{len(seen)} rounds were seen, the best NDCG@10 was {max(seen):.3f}")

# %%
# 5. Weights of documents
# -----------------------
# A log with copies, and the same log without them but with counts, have the same gradient, and so the same trees. (Copies
# move the edges of bins; features with few values have no such edges.)
few = np.clip(np.round(train.X), -20, 20)
copies = np.random.default_rng(0).integers(1, 4, len(train.y))
every = np.repeat(np.arange(len(train.y)), copies)
pairwise = LambdaMART("pairwise", n_estimators=5, num_leaves=8, min_child_samples=1, random_state=0)
with_copies = pairwise.fit(few[every], train.y[every], qid=train.qid[every]).predict(few)
with_counts = pairwise.fit(few, train.y, qid=train.qid, document_weight=copies).predict(few)
print(f"largest difference of scores: {np.abs(with_copies - with_counts).max():.0e}")

# %%
# 6. Several goals
# ----------------
# A column of labels for each goal, here relevance and a margin that has nothing to do with it, and a weight for each.
margin = [np.digitize(part.X[:, 7] - part.X[:, 8], [-1, 0, 1]) for part in (train, recent)]
Y, Y_recent = (np.column_stack([part.y, of_part]) for part, of_part in zip((train, recent), margin))
for share in (0.9, 0.5, 0.1):
    goals = Combined(
        {"relevance": "ndcg", "margin": "ndcg"}, weights={"relevance": share, "margin": 1 - share}
    )
    both = LambdaMART(goals, **small).fit(train.X, Y, qid=train.qid)
    reached = [ndcg(labels, both.predict(recent.X), recent.qid, k=10) for labels in Y_recent.T]
    print(
        f"weight of relevance {share:.1f}: NDCG@10 of relevance {reached[0]:.3f}, of the margin {reached[1]:.3f}"
    )

# %%
# 7. More from the trees
# ----------------------
# Which features may meet on a path, scores after each tree, exact SHAP values, and leaves.
apart = LambdaMART(**small, interaction_constraints=[[0, 1, 2], [3, 4]])
apart.fit(train.X, train.y, qid=train.qid)
curve = [ndcg(recent.y, scores, recent.qid, k=10) for scores in apart.staged_predict(recent.X)]
shap_values = apart.contributions(recent.X)
assert np.allclose(shap_values.sum(axis=1), apart.predict(recent.X))
print(f"NDCG@10 after 1, 10 and 30 trees: {curve[0]:.3f}, {curve[9]:.3f}, {curve[-1]:.3f}")
print(f"leaves: {apart.leaf_indices(recent.X).shape}, contributions: {shap_values.shape}")

# %%
# 8. scikit-learn
# ---------------
# Nested cross-validation in three lines, splits in time, and a picture of partial dependence.
scoring = make_ranking_scorer("ndcg@10")
quick = LambdaMART(**{**small, "n_estimators": 10})
with lk.query_routing():
    search = GridSearchCV(quick, {"num_leaves": [4, 8]}, cv=QueryKFold(3), scoring=scoring)
    by_query, in_time = (
        cross_validate(search, train.X, train.y, params={"qid": train.qid}, cv=cv, scoring=scoring)[
            "test_score"
        ]
        for cv in (QueryKFold(3), QueryTimeSeriesSplit(3))
    )
print(f"by query {by_query.mean():.3f}, in time {in_time.mean():.3f}")
figure, axes = plt.subplots(figsize=(6.5, 2.6), layout="constrained")
best_first = np.argsort(-ranker.feature_importances_)[:3]
PartialDependenceDisplay.from_estimator(ranker, train.X, best_first.tolist(), grid_resolution=15, ax=axes)
plt.show()

# %%
# 9. Frames
# ---------
# Columns are found by name, whatever their order; categories and nullable types are understood.
names = [f"feature {j}" for j in range(train.X.shape[1])]
frame = pd.DataFrame(train.X, columns=names)
frame["source"] = pd.Categorical(np.where(train.X[:, 0] > 0, "web", "news"))
frame["feature 1"] = frame["feature 1"].astype("Float64")
framed = LambdaMART(**small).fit(frame, train.y, qid=train.qid)
assert (framed.predict(frame[frame.columns[::-1]]) == framed.predict(frame)).all()
if importlib.util.find_spec("polars") and importlib.util.find_spec("pyarrow"):
    import polars as pl

    assert (framed.predict(pl.from_pandas(frame)) == framed.predict(frame)).all()

# %%
# 10. PyTerrier
# -------------
# A stage of a pipeline that trains on the queries of its frame.
if importlib.util.find_spec("pyterrier"):
    from lambdamart_kit.adapters import ranking_stage

    results = pd.DataFrame({"qid": train.qid.astype(str), "docno": np.arange(len(train.y)).astype(str)})
    results["features"] = list(train.X)
    qrels = results[["qid", "docno"]].assign(label=train.y.astype(int))
    stage = ranking_stage(LambdaMART(**small))
    stage.fit(results, qrels)
    print(f"trained on {stage.learner.n_queries_in_} queries")
    print(stage.transform(results)[["qid", "docno", "score", "rank"]].head(3).to_string(index=False))

# %%
# 11. Optuna and MLflow
# ---------------------
# ``prune`` gives up on a fit that will not win, and ``mlflow.sklearn.autolog()`` logs rankers, by themselves or in a
# pipeline.
if importlib.util.find_spec("optuna"):
    import optuna

    def objective(trial):
        model = LambdaMART(
            n_estimators=40,
            num_leaves=trial.suggest_int("num_leaves", 4, 32, log=True),
            learning_rate=trial.suggest_float("learning_rate", 0.02, 0.3, log=True),
            callbacks=[lk.prune(trial)],
            random_state=0,
        )
        fit = {"X_val": recent.X, "y_val": recent.y, "qid_val": recent.qid}
        return model.fit(train.X, train.y, qid=train.qid, **fit).best_score_

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.RandomSampler(seed=0)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=5)
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
    study.optimize(objective, n_trials=8)
    pruned = sum(trial.state.name == "PRUNED" for trial in study.trials)
    print(f"best NDCG@10 {study.best_value:.3f} with {study.best_params}; {pruned} of 8 fits were given up")
if importlib.util.find_spec("mlflow"):
    import mlflow

    with tempfile.TemporaryDirectory() as folder:
        mlflow.set_tracking_uri(f"sqlite:///{Path(folder, 'runs.db')}")
        mlflow.create_experiment("notebook", artifact_location=Path(folder, "files").as_uri())
        mlflow.set_experiment("notebook")
        mlflow.sklearn.autolog(silent=True)  # has MLflow write the model as a pickle; "skops" works as well
        with mlflow.start_run() as run:
            tracked = LambdaMART(**small, validation_fraction=0.3).fit(train.X, train.y, qid=train.qid)
        mlflow.sklearn.autolog(disable=True)
        again = mlflow.sklearn.load_model(f"runs:/{run.info.run_id}/model")
        assert (again.predict(recent.X) == tracked.predict(recent.X)).all()
        print(sorted(mlflow.get_run(run.info.run_id).data.metrics))

# %%
# 12. New versions
# ----------------
# The tests run with the oldest and the newest versions of all of them.
for package in ("sklearn", "pandas", "xgboost", "lightgbm"):
    print(package, importlib.import_module(package).__version__)
print("Python", platform.python_version())
