"""How much a ranking metric drops when a feature is shuffled."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from scipy import sparse
from sklearn.utils import Bunch, check_random_state

from lambdamart_kit.core.gains import check_choice, check_count
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.rows import with_pandas_columns
from lambdamart_kit.core.typing import ArrayLike, Features, Ids, IndexArray
from lambdamart_kit.metrics import Metric, parse_metric


def permutation_importance(
    estimator: Any,
    X: Features,
    y: ArrayLike,
    qid: Ids = None,
    *,
    metric: str | Metric = "ndcg@10",
    permute: Literal["rows", "within"] = "rows",
    n_repeats: int = 5,
    sample_weight: ArrayLike | None = None,
    init_score: ArrayLike | None = None,
    document_weight: ArrayLike | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Drop of a ranking metric when one feature is shuffled.

    Parameters
    ----------
    estimator : fitted estimator
        Something with ``predict(X)``, a pipeline too.
    X : (n_samples, n_features) array, DataFrame or sparse matrix
        Held-out rows; not changed.
    y : (n_samples,) array-like
        Graded relevance of each row.
    qid : (n_samples,) array-like, optional
        Query of each row; None is one query.
    metric : str or Metric
        What is measured.
    permute : {"rows", "within"}
        "rows" shuffles a feature over all rows: what the feature contributes at all. "within" shuffles it
        among the rows of each query: what it contributes to telling documents of a query apart; features that
        are constant in each query, such as query length, then have importance 0 exactly.
    n_repeats : int
        Shuffles a feature.
    sample_weight : (n_samples,) array-like, optional
        Weight of the row's query in the metric.
    init_score : (n_samples,) array-like, optional
        Score that each row starts from, for a ranker that was fitted with `init_score`.
    document_weight : (n_samples,) array-like, optional
        Weight of the document in the metric.
    random_state : int, RandomState or None
        Seed.

    Returns
    -------
    Bunch
        ``importances`` (n_features, n_repeats), baseline less shuffled score; ``importances_mean`` and
        ``importances_std`` (n_features,); ``baseline``, the score of X as it is; ``feature_names``, the
        columns of a DataFrame, else None.

    References
    ----------
    Breiman, "Random forests", Machine Learning 2001, section 10.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> X, y = np.array([[0.0, 5.0], [1.0, 5.0], [0.0, 7.0], [1.0, 7.0]]), np.array([0, 1, 0, 1])
    >>> model = LinearRegression().fit(X, y)
    >>> result = permutation_importance(model, X, y, [1, 1, 2, 2], n_repeats=20, random_state=0)
    >>> bool(result.importances_mean[0] > 0), float(result.importances_mean[1])
    (True, 0.0)
    """
    check_choice(permute, ("rows", "within"), name="permute")
    check_count(n_repeats, name="n_repeats")
    X = with_pandas_columns(X)
    X = X.tocsc() if hasattr(X, "tocsc") else X if hasattr(X, "iloc") else np.asarray(X)
    queries = Queries.from_qid(qid, X.shape[0])
    bound = parse_metric(metric).bind(y, queries, sample_weight, document_weight=document_weight)
    start = {} if init_score is None else {"init_score": init_score}
    rng = check_random_state(random_state)
    shuffled = X.copy()
    baseline = bound(queries.sort(np.asarray(estimator.predict(X, **start))))
    importances = np.empty((X.shape[1], n_repeats))
    for feature in range(X.shape[1]):
        for repeat in range(n_repeats):
            rows = _permutation(queries, permute, rng)
            scores = estimator.predict(_with_column(shuffled, X, feature, rows), **start)
            importances[feature, repeat] = baseline - bound(queries.sort(np.asarray(scores)))
        _with_column(shuffled, X, feature, np.arange(X.shape[0]))
    return Bunch(
        importances=importances,
        importances_mean=importances.mean(axis=1),
        importances_std=importances.std(axis=1),
        baseline=baseline,
        feature_names=np.asarray(X.columns) if hasattr(X, "columns") else None,
    )


def _permutation(queries: Queries, permute: str, rng: np.random.RandomState) -> IndexArray:
    drawn: IndexArray = rng.permutation(queries.n_samples)
    if permute == "rows":
        return drawn
    # Sorting random numbers by query first shuffles every query at once.
    within = np.lexsort((drawn, queries.query_of_ordered_row))
    rows: IndexArray = queries.unsort(queries.order[within])
    return rows


def _with_column(target: Any, source: Any, feature: int, rows: IndexArray) -> Any:
    """`target` with one column taken from `source` in the order of `rows`; in place where it can be."""
    if hasattr(target, "iloc"):
        target.isetitem(feature, source.iloc[rows, feature].array)
        return target
    if hasattr(target, "tocsc"):
        column = sparse.csc_array(source[:, [feature]].toarray()[rows])
        return sparse.hstack([source[:, :feature], column, source[:, feature + 1 :]], format="csr")
    target[:, feature] = source[rows, feature]
    return target
