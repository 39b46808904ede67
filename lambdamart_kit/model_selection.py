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

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Literal

import numpy as np
from scipy import sparse
from sklearn import config_context, get_config
from sklearn.model_selection import BaseCrossValidator, TimeSeriesSplit
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.metadata_routing import MetadataRequest, get_routing_for_object

from lambdamart_kit.core.gains import check_choice, check_count
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.query_traces import QueryTraces
from lambdamart_kit.core.typing import Array, ArrayLike, Features, Ids, IndexArray
from lambdamart_kit.metrics import Metric, parse_metric, parse_metrics

__all__ = [
    "QueryKFold",
    "QueryShuffleSplit",
    "QueryTimeSeriesSplit",
    "RankingScorer",
    "make_ranking_scorer",
    "permutation_importance",
    "query_routing",
]

_REMEDY = (
    "pass qid=... to fit inside `with lambdamart_kit.query_routing():` "
    "(for cross_validate and learning_curve: params={'qid': qid})"
)


def query_routing() -> AbstractContextManager[None]:
    """Context in which scikit-learn routes `qid` to every step that asks for it.

    The same as ``sklearn.config_context(enable_metadata_routing=True)``; worker processes of ``n_jobs``
    inherit it.

    Returns
    -------
    context manager
        Yields nothing.

    Examples
    --------
    >>> import sklearn
    >>> with query_routing():
    ...     sklearn.get_config()["enable_metadata_routing"]
    True
    """
    context: AbstractContextManager[None] = config_context(enable_metadata_routing=True)
    return context


class _QuerySplitter(BaseCrossValidator):
    """Splits rows by query; asks for `qid`."""

    __metadata_request__split: ClassVar[dict[str, bool]] = {"qid": True, "groups": True}

    def split(
        self, X: Features, y: Any = None, groups: Ids = None, qid: Ids = None
    ) -> Iterator[tuple[IndexArray, IndexArray]]:
        """Training and test rows of each split.

        Parameters
        ----------
        X : (n_samples, n_features) array-like
            Only its length counts.
        y : ignored
        groups, qid : (n_samples,) array-like
            Query of each row, under either name; one is required.

        Yields
        ------
        train, test : (n,) intp arrays
            Row indices, whole queries, query by query.

        Raises
        ------
        ValueError
            If there is no `qid`, or there are fewer queries than the splits need.
        """
        ids = groups if qid is None else qid
        if ids is None:
            raise ValueError(f"{type(self).__name__}.split got no 'qid'; {_REMEDY}")
        queries = Queries.from_qid(ids, X.shape[0] if hasattr(X, "shape") else len(X))
        for train, test in self._split_ids(queries.ids, queries.sizes):
            yield _rows_of(queries, train), _rows_of(queries, test)

    def _split_ids(self, ids: Array, sizes: IndexArray) -> Iterator[tuple[IndexArray, IndexArray]]:
        """`_split_queries`, for splitters that look at the query ids, too; they stand in ascending order."""
        return self._split_queries(sizes)

    @abstractmethod
    def _split_queries(self, sizes: IndexArray) -> Iterator[tuple[IndexArray, IndexArray]]:
        """Training and test queries of each split, given the size of each query in order of id."""

    def get_n_splits(self, X: Features = None, y: Any = None, groups: Ids = None, qid: Ids = None) -> int:
        """Return the number of splits."""
        return int(self.n_splits)


class QueryKFold(_QuerySplitter):
    """K folds of whole queries, each the test part once.

    Folds hold equally many queries, to within one, and about equally many rows. The fold of a query does
    not depend on the order of the rows.

    Parameters
    ----------
    n_splits : int
        Number of folds, at least 2.
    shuffle : bool
        Draw the folds at random; otherwise queries are dealt out in ascending order of id.
    random_state : int, RandomState or None
        Seed of the shuffle.

    Examples
    --------
    >>> for train, test in QueryKFold(2).split(np.zeros(5), qid=["b", "a", "b", "c", "a"]):
    ...     print(train, test)
    [0 2] [1 4 3]
    [1 4 3] [0 2]
    """

    def __init__(
        self,
        n_splits: int = 5,
        *,
        shuffle: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_splits = n_splits
        self.shuffle = shuffle
        self.random_state = random_state

    def _split_queries(self, sizes: IndexArray) -> Iterator[tuple[IndexArray, IndexArray]]:
        n_queries = len(sizes)
        if not 2 <= self.n_splits <= n_queries:
            raise ValueError(
                f"'n_splits' must be at least 2 and at most the number of queries, {n_queries}; "
                f"got {self.n_splits!r}"
            )
        turn = np.arange(n_queries)
        if self.shuffle:
            turn = check_random_state(self.random_state).permutation(n_queries)
        fold_of = np.empty(n_queries, dtype=np.intp)
        rows = np.zeros(self.n_splits, dtype=np.intp)
        for start in range(0, n_queries, self.n_splits):
            dealt = turn[start : start + self.n_splits]
            largest_first = dealt[np.argsort(-sizes[dealt], kind="stable")]
            folds = np.argsort(rows, kind="stable")[: len(dealt)]
            fold_of[largest_first] = folds
            rows[folds] += sizes[largest_first]
        for fold in range(self.n_splits):
            in_test = fold_of[turn] == fold
            yield turn[~in_test], turn[in_test]


class QueryShuffleSplit(_QuerySplitter):
    """Random splits of whole queries into a training and a test part.

    Parameters
    ----------
    n_splits : int
        Number of splits.
    test_size, train_size : float, int or None
        Share (float) or number (int) of the queries. Without a `train_size`, all queries that are not in the
        test part.
    random_state : int, RandomState or None
        Seed.

    Examples
    --------
    >>> splitter = QueryShuffleSplit(1, test_size=1, random_state=0)
    >>> next(splitter.split(np.zeros(5), qid=["b", "a", "b", "c", "a"]))
    (array([0, 2, 1, 4]), array([3]))
    """

    def __init__(
        self,
        n_splits: int = 10,
        *,
        test_size: float | int = 0.2,
        train_size: float | int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_splits = n_splits
        self.test_size = test_size
        self.train_size = train_size
        self.random_state = random_state

    def _split_queries(self, sizes: IndexArray) -> Iterator[tuple[IndexArray, IndexArray]]:
        n_queries = len(sizes)
        n_test = _share(self.test_size, n_queries, name="test_size")
        rest = n_queries - n_test
        n_train = rest if self.train_size is None else _share(self.train_size, n_queries, name="train_size")
        if not 1 <= n_train <= rest:
            raise ValueError(
                f"'train_size' and 'test_size' must leave queries for both parts: {n_train} and {n_test} "
                f"of {n_queries} queries; got train_size={self.train_size!r}, test_size={self.test_size!r}"
            )
        rng = check_random_state(self.random_state)
        for _ in range(self.n_splits):
            turn = rng.permutation(n_queries)
            yield turn[n_test : n_test + n_train], turn[:n_test]


class QueryTimeSeriesSplit(_QuerySplitter):
    """Splits of queries in time: every test part is later than all queries it is tested against.

    The queries stand in order of time and are cut into ``n_splits + 1`` parts, as scikit-learn's
    ``TimeSeriesSplit`` cuts rows. Split number i tests part i and trains on the parts before it, less the
    queries of the very time at which the test part begins.

    Parameters
    ----------
    n_splits : int
        Number of splits.
    time : mapping or callable, optional
        From a query's id to its time: any values that can be compared, such as dates. None takes the ids
        themselves, in ascending order.
    max_train_size : int, optional
        Number of queries to train on, at most: the latest ones. None for all.
    test_size : int, optional
        Number of queries in each test part; ``n_queries // (n_splits + 1)`` by default.
    gap : int
        Number of queries to leave out between the training part and the test part.

    Examples
    --------
    >>> day = {"b": "2024-01-03", "a": "2024-01-05", "c": "2024-01-01"}
    >>> for train, test in QueryTimeSeriesSplit(2, time=day).split(np.zeros(5), qid=list("baccb")):
    ...     print(train, test)
    [2 3] [0 4]
    [2 3 0 4] [1]
    """

    def __init__(
        self,
        n_splits: int = 5,
        *,
        time: Any = None,
        max_train_size: int | None = None,
        test_size: int | None = None,
        gap: int = 0,
    ) -> None:
        self.n_splits = n_splits
        self.time = time
        self.max_train_size = max_train_size
        self.test_size = test_size
        self.gap = gap

    def _split_ids(self, ids: Array, sizes: IndexArray) -> Iterator[tuple[IndexArray, IndexArray]]:
        time_of = self.time if callable(self.time) else self._lookup
        times = np.array([time_of(name) for name in ids.tolist()]) if self.time is not None else ids
        turn = np.argsort(times, kind="stable")
        splitter = TimeSeriesSplit(
            self.n_splits, max_train_size=self.max_train_size, test_size=self.test_size, gap=self.gap
        )
        in_time = times[turn]
        for train, test in splitter.split(turn):
            # Nothing is learned from queries of the time at which the test part begins.
            earlier = train[in_time[train] < in_time[test[0]]]
            if not len(earlier):
                raise ValueError(
                    f"'time' must tell training queries from test queries; all {len(train)} before a test "
                    f"part have its time, {in_time[test[0]]!r}"
                )
            yield turn[earlier], turn[test]

    def _split_queries(self, sizes: IndexArray) -> Iterator[tuple[IndexArray, IndexArray]]:
        raise NotImplementedError("queries are split by their ids")

    def _lookup(self, name: Any) -> Any:
        if name not in self.time:
            raise ValueError(f"'time' must have a time for every query; it has none for {name!r}")
        return self.time[name]


class RankingScorer:
    """A scikit-learn scorer that asks for `qid` and `sample_weight`; made by :func:`make_ranking_scorer`.

    Parameters
    ----------
    metrics : tuple of Metric
        What is measured.
    single : bool
        Return the value of the only metric instead of a dict by name.
    goal : int or str, optional
        The column of labels to measure, of several goals.

    Examples
    --------
    >>> from sklearn.dummy import DummyRegressor
    >>> from lambdamart_kit.metrics import MRR
    >>> ranker = DummyRegressor().fit([[0], [0]], [0, 1])
    >>> scorer = RankingScorer((MRR(),), single=True)
    >>> scorer, scorer(ranker, [[0], [0]], [0, 1], qid=["a", "a"])
    (make_ranking_scorer('mrr'), 0.75)
    """

    def __init__(self, metrics: tuple[Metric, ...], *, single: bool, goal: int | str | None = None) -> None:
        self.metrics = metrics
        self.goal = goal
        self._single = single

    def __call__(
        self,
        estimator: Any,
        X: Features,
        y: ArrayLike,
        qid: Ids = None,
        sample_weight: ArrayLike | None = None,
    ) -> float | dict[str, float]:
        """Score ``estimator.predict(X)`` by query; `qid` is required, `sample_weight` weighs queries."""
        if qid is None:
            raise ValueError(f"{self} got no 'qid' and would score all rows as one query; {_REMEDY}")
        scores = _predict(estimator, X, qid)
        traces = _traces(estimator)
        if traces is not None:
            queries = Queries.from_qid(qid, len(scores))
            traces.warn_if_cut(queries, measured=f"the rows that {self} got", stacklevel=2)
        labels = y if self.goal is None else _labels_of_goal(y, self.goal)
        values = {str(m): m(labels, scores, qid, sample_weight=sample_weight) for m in self.metrics}
        return next(iter(values.values())) if self._single else values

    def get_metadata_routing(self) -> MetadataRequest:
        """What scikit-learn passes to the scorer when it has it.

        Returns
        -------
        MetadataRequest
            Asks for `qid` and `sample_weight`.
        """
        request = MetadataRequest(owner=self)
        for name in ("qid", "sample_weight"):
            request.score.add_request(param=name, alias=True)
        return request

    def __repr__(self) -> str:
        names = [str(metric) for metric in self.metrics]
        of = "" if self.goal is None else f", goal={self.goal!r}"
        shown = repr(names[0] if self._single else names)
        return f"make_ranking_scorer({shown}{of})"


def _labels_of_goal(y: Any, goal: int | str) -> Any:
    """One column of labels, by its name in a DataFrame or by its number."""
    columns = list(getattr(y, "columns", range(y.shape[1] if getattr(y, "ndim", 1) == 2 else 0)))
    if goal not in columns:
        known = ", ".join(map(repr, columns)) or "none"
        raise ValueError(f"'goal' must be a column of 'y', which has {known}; got {goal!r}")
    return np.asarray(y)[:, columns.index(goal)]


def _predict(estimator: Any, X: Features, qid: Ids) -> Any:
    """Scores of X; an estimator that compares the documents of a query to predict is told the query ids."""
    takes = get_routing_for_object(estimator).consumes("predict", ["qid"]) if _routing_is_on() else set()
    return estimator.predict(X, qid=qid) if takes else estimator.predict(X)


def _routing_is_on() -> bool:
    return bool(get_config()["enable_metadata_routing"])


def _traces(estimator: Any) -> QueryTraces | None:
    """What the ranker inside a pipeline, a search or another meta-estimator remembers of its queries."""
    for wrapped in ("best_estimator_", "estimator_", "ranker_"):
        if hasattr(estimator, wrapped):
            return _traces(getattr(estimator, wrapped))
    if hasattr(estimator, "steps"):
        return _traces(estimator.steps[-1][1])
    traces: QueryTraces | None = getattr(estimator, "query_traces_", None)
    return traces


def make_ranking_scorer(
    metric: str | Metric | Iterable[str | Metric] = "ndcg@10", *, goal: int | str | None = None
) -> RankingScorer:
    """Scorer for ``scoring=`` of searches and cross-validation, computed by query.

    Parameters
    ----------
    metric : str, Metric or list of them
        As :func:`~lambdamart_kit.metrics.parse_metric` reads it. A list makes a scorer that predicts once
        and returns a dict by canonical name; searches then need ``refit="ndcg@10"`` or the like.
    goal : int or str, optional
        With a column of labels for each of several goals, the one to measure: its number, or its name in a
        DataFrame. A search over weights of goals needs one, because a ranker's own score goes by its weights.

    Returns
    -------
    RankingScorer
        ``scorer(estimator, X, y, qid=qid, sample_weight=None)``; greater is better.

    Raises
    ------
    ValueError
        If a name is not known; by the scorer, if it is called without `qid`.

    Examples
    --------
    >>> from sklearn.dummy import DummyRegressor
    >>> ranker = DummyRegressor().fit([[0], [0]], [0, 1])
    >>> scorer = make_ranking_scorer("mrr")
    >>> scorer(ranker, [[0], [0]], [0, 1], qid=["a", "a"])          # a coin decides: (1 + 1/2) / 2
    0.75
    """
    if isinstance(metric, (str, Metric)):
        return RankingScorer((parse_metric(metric),), single=True, goal=goal)
    return RankingScorer(tuple(parse_metrics(metric)), single=False, goal=goal)


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
    X = X.tocsc() if hasattr(X, "tocsc") else X if hasattr(X, "iloc") else np.asarray(X)
    queries = Queries.from_qid(qid, X.shape[0])
    bound = parse_metric(metric).bind(y, queries, sample_weight)
    rng = check_random_state(random_state)
    shuffled = X.copy()
    baseline = bound(queries.sort(np.asarray(estimator.predict(X))))
    importances = np.empty((X.shape[1], n_repeats))
    for feature in range(X.shape[1]):
        for repeat in range(n_repeats):
            rows = _permutation(queries, permute, rng)
            scores = estimator.predict(_with_column(shuffled, X, feature, rows))
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


def _rows_of(queries: Queries, selected: IndexArray) -> IndexArray:
    """Rows of the `selected` queries, query by query."""
    sizes = queries.sizes[selected]
    shift = np.repeat(queries.ptr[selected] - (np.cumsum(sizes) - sizes), sizes)
    rows: IndexArray = queries.order[np.arange(len(shift)) + shift]
    return rows


def _share(size: float | int, n_queries: int, *, name: str) -> int:
    """Number of queries that a share or a number of them means."""
    if isinstance(size, (int, np.integer)) and not isinstance(size, bool) and size > 0:
        return int(size)
    if isinstance(size, (float, np.floating)) and 0 < size < 1:
        return int(np.ceil(size * n_queries) if name == "test_size" else np.floor(size * n_queries))
    raise ValueError(f"{name!r} must be a share between 0 and 1 or a number of queries >= 1; got {size!r}")
