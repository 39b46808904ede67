"""Rankers in PyTerrier pipelines; its Python parts need no Java."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lambdamart_kit import LambdaMART, LinearRanker, NeuralRanker, XGBoostRanker
from lambdamart_kit.adapters import ranking_stage
from lambdamart_kit.datasets import make_letor

pt = pytest.importorskip("pyterrier")

SMALL = {"n_estimators": 5, "num_leaves": 8, "random_state": 0, "n_jobs": 1}


def table(random_state):
    data = make_letor(n_queries=20, mean_documents=12, max_documents=20, random_state=random_state)
    results = pd.DataFrame(
        {"qid": [f"q{q}" for q in data.qid], "docno": [f"d{i}" for i in range(len(data.y))]}
    )
    results["query"] = "words"
    results["features"] = list(data.X[:, :6])
    qrels = results[["qid", "docno"]].assign(label=data.y.astype(int))
    return data, results, qrels[qrels.label > 0]  # as qrels usually are: without most documents of label 0


@pytest.mark.parametrize("ranker", [LambdaMART(**SMALL), XGBoostRanker(**SMALL), LinearRanker()])
def test_a_stage_trains_as_the_ranker_does_with_qid(ranker):
    data, results, qrels = table(0)
    stage = ranking_stage(ranker)
    stage.fit(results, qrels)
    assert ranker.n_queries_in_ == 20
    X = data.X[:, :6]
    names = np.array([f"q{q}" for q in data.qid])
    expected = type(ranker)(**ranker.get_params()).fit(X, data.y, qid=names).predict(X)
    ranked = stage(results).set_index("docno").loc[results.docno]
    np.testing.assert_allclose(ranked.score, expected)
    # Rank 0 has the highest score of its query.
    best = ranked.sort_values("rank").groupby("qid").score.first()
    assert (best == ranked.groupby("qid").score.max()).all()


def test_held_out_topics_stop_the_ranker_and_pipelines_compose():
    _, results, qrels = table(0)
    _, held_out, held_out_qrels = table(1)
    ranker = LambdaMART(**{**SMALL, "n_estimators": 60}, early_stopping_rounds=3)
    pipeline = pt.Transformer.from_df(results, uniform=True) >> ranking_stage(ranker)
    topics = results[["qid", "query"]].drop_duplicates()
    pipeline[-1].fit(results, qrels, held_out, held_out_qrels)
    assert ranker.best_iteration_ < 60
    assert len(ranker.evals_result_["validation"]["ndcg@10"]) > ranker.best_iteration_
    assert {"score", "rank"} <= set(pipeline(topics).columns)
    measured = pt.Evaluate(pipeline[-1](held_out), held_out_qrels, metrics=["ndcg_cut_10"])
    assert measured["ndcg_cut_10"] > 0.3


def test_a_pipeline_of_scikit_learn_gets_the_query_ids():
    _, results, qrels = table(0)
    steps = make_pipeline(StandardScaler(), NeuralRanker(max_iter=2, random_state=0))
    ranking_stage(steps).fit(results, qrels)
    assert steps[-1].n_queries_in_ == 20


def test_no_results_and_bad_tables():
    _, results, qrels = table(0)
    stage = ranking_stage(LambdaMART(**SMALL)).fit(
        results, qrels.assign(label=-1).iloc[:1].pipe(lambda spam: pd.concat([spam, qrels.iloc[1:]]))
    )
    assert list(stage(results.iloc[:0]).columns)[-2:] == ["score", "rank"]
    ragged = results.copy()
    ragged.at[0, "features"] = np.zeros(2)
    with pytest.raises(ValueError, match=r"equally many features for every document, and some; got \[2, 6\]"):
        stage.fit(ragged, qrels)
    with pytest.raises(ValueError, match=r"lacks \['features'\]"):
        stage.fit(results.drop(columns="features"), qrels)
    with pytest.raises(ValueError, match="is judged more often"):
        stage.fit(results, pd.concat([qrels, qrels.iloc[:1]]))
    with pytest.raises(ValueError, match="'qid' must be of one type"):
        stage.fit(results, qrels.assign(qid=range(len(qrels))))
    with pytest.raises(ValueError, match="'qrels_valid' must be given"):
        stage.fit(results, qrels, results)


@pytest.mark.parametrize("form", ["regression", "ltr"])
def test_pyterriers_own_stage_says_what_to_use_instead(form):
    """It passes no query ids, or LightGBM's `group`."""
    _, results, qrels = table(0)
    stage = pt.ltr.apply_learned_model(LambdaMART(**SMALL), form=form)
    if form == "regression":
        with pytest.warns(UserWarning, match=r"one query.*lambdamart_kit.adapters.ranking_stage"):
            stage.fit(results, qrels)
    else:
        with pytest.raises(TypeError, match=r"lambdamart_kit.adapters.ranking_stage"):
            stage.fit(results, qrels, results, qrels)
