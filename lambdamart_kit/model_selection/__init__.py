"""Cross-validation, scoring and importance by query, with scikit-learn's own searches.

scikit-learn's metadata routing carries the row-aligned `qid` through pipelines and searches. It is off by
default; :func:`query_routing` turns it on for a block::

    with query_routing():
        GridSearchCV(
            make_pipeline(StandardScaler(), LambdaMART()), grid, cv=QueryKFold(5),
            scoring=make_ranking_scorer("ndcg@10"),
        ).fit(X, y, qid=qid)

No ``set_fit_request`` is needed, because everything here and every ranker asks for `qid` by default. An
estimator of your own does so with the class attributes ``__metadata_request__fit = {"qid": True}`` and,
when it has such a ``score``, ``__metadata_request__score = {"qid": True}``. Functions such as
``cross_validate`` and ``learning_curve`` take ``params={"qid": qid}``. A transformer whose ``fit`` takes
`sample_weight` must be told what to do with query weights when they are passed:
``StandardScaler().set_fit_request(sample_weight=False)``.

Some of scikit-learn's tools do not know of queries:

- A splitter such as ``KFold`` (the default, ``cv=5``) cuts queries: it trains on some documents of a query
  and measures others, which is too easy. Pass ``cv=QueryKFold(5)``. Scorers and a ranker's ``score`` warn,
  with counts, when queries they measure were partly in training.
- ``RFECV`` without `scoring` measures R² of scores against labels, which says nothing about rankings, and an
  estimator cannot change that: pass ``scoring=make_ranking_scorer()``. ``SequentialFeatureSelector``,
  ``cross_val_score`` and searches without `scoring` use the ranker's own ``score``, which is its
  `eval_metric`.
- ``learning_curve`` takes the first rows of each training part. The splitters here hand out rows query by
  query, so at most one query is cut.
- ``HalvingGridSearchCV`` with ``resource="n_samples"`` draws rows at random, which thins every query instead
  of dropping some. ``resource="n_estimators"`` keeps queries whole and is the better resource for boosted
  trees.
"""

from lambdamart_kit.model_selection.importance import permutation_importance
from lambdamart_kit.model_selection.routing import query_routing
from lambdamart_kit.model_selection.scoring import RankingScorer, make_ranking_scorer
from lambdamart_kit.model_selection.splitting import QueryKFold, QueryShuffleSplit, QueryTimeSeriesSplit

__all__ = [
    "QueryKFold",
    "QueryShuffleSplit",
    "QueryTimeSeriesSplit",
    "RankingScorer",
    "make_ranking_scorer",
    "permutation_importance",
    "query_routing",
]
