"""EnsembleRanker: a blend of one's own rankers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone, is_classifier
from sklearn.utils import Bunch, _safe_indexing, get_tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import _BaseComposition
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _num_samples, check_is_fitted, validate_data

from lambdamart_kit.boosters.rounds import Stopwatch
from lambdamart_kit.core.gains import check_relevance
from lambdamart_kit.core.queries import Queries, query_weights
from lambdamart_kit.core.rows import flat
from lambdamart_kit.core.typing import Array, ArrayLike, Features, FloatArray, IndexArray, RandomState
from lambdamart_kit.explain.explained import Explained
from lambdamart_kit.export.model import TreeSum
from lambdamart_kit.metrics import Metric, noise_sentence
from lambdamart_kit.rankers.base import BaseRanker
from lambdamart_kit.rankers.blend.folds import deal_queries
from lambdamart_kit.rankers.blend.leaderboard import HasLeaderboard, Line, leaderboard
from lambdamart_kit.rankers.blend.members import explained, plain_trees, read_ranker
from lambdamart_kit.rankers.blend.scale import deviation_within_queries
from lambdamart_kit.rankers.blend.weights import Held, search_weights
from lambdamart_kit.rankers.steering.given import FitInput
from lambdamart_kit.rankers.steering.training_set import TrainingSet
from lambdamart_kit.runtime.randomness import draw_seed
from lambdamart_kit.trees.plain_tree import averaged

_CONTENT = "blend.json"


class EnsembleRanker(HasLeaderboard, _BaseComposition, BaseRanker):
    r"""The weighted mean of several rankers, pipelines included, on one scale.

    .. math:: s(x) = \sum_m \frac{w_m}{\sigma_m} s_m(x)

    where :math:`\sigma_m` is the root mean square deviation within queries of the out-of-fold scores of
    member m: scores on queries that a clone of it, fitted on the other folds, had not seen. The members
    themselves are fitted on all rows.

    Parameters
    ----------
    estimators : list of (str, estimator)
        Rankers, or pipelines that end in one; also any regressor, or a classifier by its expected label. As
        with a pipeline, they are set by name: ``set_params(a__num_leaves=15)``, ``set_params(a=...)``.
    weights : None, "search" or array-like
        None weighs all equally. "search" looks for better weights on out-of-fold scores, and keeps to equal
        ones unless others are better beyond noise on queries that were not searched on. An array has one
        weight for each member, at least 0; they are divided by their sum.
    cv : int
        Folds of queries that out-of-fold scores come from.
    eval_metric : str or Metric
        What `score` and the leaderboard measure, and what "search" maximises.
    random_state : int, RandomState or None
        Of the folds. Members keep their own.
    n_jobs : int, optional
        Fits at the same time, each in a process; None for one after the other. Members have their own
        `n_jobs`.

    Attributes
    ----------
    estimators_ : list of estimator
        Fitted on all rows.
    named_estimators_ : Bunch
        The same by name.
    weights_ : (n_members,) float64
        At least 0, with sum 1.
    scales_ : (n_members,) float64
        What the scores of each member are divided by; 1 for a member whose scores are constant.
    oof_scores_ : (n_samples, n_members) float64
        Out-of-fold scores on one scale, row by row as in X; with a single query, those of the members
        themselves. Not in files.
    leaderboard_ : DataFrame
        As that of `AutoRanker`: a row for the blend and one for each member.
    noise_ : str
        What a difference in the leaderboard is worth on so many queries.
    n_features_in_, n_queries_in_ : int
        Columns and queries that fit saw.

    Notes
    -----
    What members get from `fit`: `qid` if they are rankers; `sample_weight` and `position` if they are given;
    X_val, y_val and qid_val if they have the parameter `early_stopping_rounds` and it is set. A member with
    early stopping and neither X_val nor `validation_fraction` raises an error.

    scikit-learn's VotingRegressor and StackingRegressor take rankers for regressors: they average scores of
    different units, and stacking cuts queries. Use this class in their place. BaggingRegressor draws rows,
    not queries; rankers have the parameter `n_bags` instead.

    References
    ----------
    Breiman (1996), Stacked regressions, Machine Learning 24.

    Examples
    --------
    >>> from lambdamart_kit import EnsembleRanker, LambdaMART, LinearRanker
    >>> from lambdamart_kit.datasets import make_letor
    >>> data = make_letor(n_queries=30, mean_documents=10, random_state=0)
    >>> members = [("trees", LambdaMART(n_estimators=10, random_state=0)), ("linear", LinearRanker())]
    >>> blend = EnsembleRanker(members, cv=3, random_state=0).fit(data.X, data.y, qid=data.qid)
    >>> blend.weights_.tolist(), blend.score(data.X, data.y, qid=data.qid) > 0.8
    ([0.5, 0.5], True)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimators": [list],
        "weights": ["array-like", StrOptions({"search"}), None],
        "cv": [Interval(Integral, 2, None, closed="left")],
        "eval_metric": [str, Metric],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
    }
    saved_attributes = ("n_features_in_", "n_queries_in_", "single_query_", "fit_times_", "noise_")

    estimators_: list[Any]
    weights_: FloatArray
    scales_: FloatArray
    oof_scores_: FloatArray
    noise_: str

    def __init__(
        self,
        estimators: list[tuple[str, Any]],
        weights: str | ArrayLike | None = None,
        *,
        cv: int = 5,
        eval_metric: str | Metric = "ndcg@10",
        random_state: RandomState = None,
        n_jobs: int | None = None,
    ) -> None:
        self.estimators = estimators
        self.weights = weights
        self.cv = cv
        self.eval_metric = eval_metric
        self.random_state = random_state
        self.n_jobs = n_jobs

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters; with `deep`, those of the members too, as ``name__parameter``.

        Parameters
        ----------
        deep : bool
            Whether to add the parameters of the members.

        Returns
        -------
        dict
            Parameters by name.
        """
        params: dict[str, Any] = self._get_params("estimators", deep=deep)
        return params

    def set_params(self, **params: Any) -> Self:
        """Set parameters, members by their name, or parameters of members as ``name__parameter``.

        Parameters
        ----------
        **params : objects
            New values by name.

        Returns
        -------
        EnsembleRanker
            The estimator itself.
        """
        self._set_params("estimators", **params)
        return self

    # ------------------------------------------------------------------------------------------ fitting

    def _fit_given(self, given: FitInput) -> None:
        """Fit clones of the members on the folds, find their scales and weights, and fit them on all rows."""
        watch = Stopwatch()
        self._check_members()
        remedy = "its members differ; fit them with it one by one, or use one ranker"
        given.refuse("init_score", "init_model", by=type(self).__name__, remedy=remedy)
        validate_data(self, given.X, given.y, skip_check_array=True, reset=True)
        if np.iscomplexobj(np.asarray(given.y)):
            raise ValueError("Complex data not supported: 'y' must hold real numbers")
        passed = Passed.of(given)
        self.n_queries_in_ = passed.queries.n_queries
        self.single_query_ = given.has_one_query
        self.query_traces_ = None
        with watch("members"):
            self.estimators_ = self._fit_all(passed, [None])[0]
            self._fitted_names = self._names()
        with watch("folds"):
            scores = self._out_of_fold(passed)
        with watch("weights"):
            self._weigh(passed, scores)
        self.fit_times_ = dict(watch.seconds)

    @property
    def named_estimators_(self) -> Bunch:
        """The fitted members by name."""
        return Bunch(**dict(zip(self._fitted_names, self.estimators_)))

    def _names(self) -> list[str]:
        return [name for name, _ in self.estimators]

    def _check_members(self) -> None:
        if not self.estimators or not all(isinstance(e, tuple) and len(e) == 2 for e in self.estimators):
            raise ValueError(
                "'estimators' must be a list of (name, estimator) with at least one member; got "
                f"{self.estimators!r}"
            )
        self._validate_names(self._names())
        for name, member in self.estimators:
            if not (hasattr(member, "fit") and hasattr(member, "predict")):
                raise ValueError(
                    f"'estimators' must hold estimators with fit and predict; {name!r} is {member!r}"
                )
        if self.weights is not None and not isinstance(self.weights, str):
            weights = np.asarray(self.weights, dtype=np.float64)
            usable = weights.shape == (len(self.estimators),) and np.isfinite(weights).all()
            if not usable or (weights < 0).any() or not weights.any():
                raise ValueError(
                    f"'weights' must hold {len(self.estimators)} numbers >= 0, one for each member and not "
                    f"all 0; got {self.weights!r}"
                )

    def _fit_all(self, given: Passed, parts: Sequence[IndexArray | None]) -> list[list[Any]]:
        """The members fitted on each of some sets of rows; None is all rows."""
        jobs = [(name, member, rows) for rows in parts for name, member in self.estimators]
        fitted = Parallel(n_jobs=self.n_jobs)(
            delayed(_fit_member)(name, member, given, rows) for name, member, rows in jobs
        )
        n = len(self.estimators)
        return [list(fitted[at * n : (at + 1) * n]) for at in range(len(parts))]

    def _out_of_fold(self, given: Passed) -> FloatArray:
        """Scores of clones on queries that they have not seen, (n_samples, n_members)."""
        queries = given.queries
        comparable = given.comparable()
        n_folds = min(self.cv, int(comparable.sum()))
        if n_folds < 2:
            return np.column_stack([_scores(member, given.rows.X) for member in self.estimators_])
        fold = deal_queries(comparable, n_folds, np.random.default_rng(draw_seed(self.random_state)))
        scores = np.full((len(given.labels), len(self.estimators)), np.nan)
        fitted = self._fit_all(given, [queries.rows(fold != number) for number in range(n_folds)])
        for number, members in enumerate(fitted):
            rows = queries.rows(fold == number)
            part = _safe_indexing(given.rows.X, rows)
            for at, member in enumerate(members):
                scores[rows, at] = _scores(member, part)
        return scores

    def _weigh(self, given: Passed, scores: FloatArray) -> None:
        """Set scales, weights and the leaderboard from out-of-fold scores."""
        queries = given.queries
        n_members = scores.shape[1]
        columns = [np.ascontiguousarray(scores[:, at]) for at in range(n_members)]
        self.scales_ = np.array([deviation_within_queries(column, queries) for column in columns])
        self.oof_scores_ = scores / self.scales_
        # Rows of a query in an order of their own content, so that sums come out the same for any row order.
        order = np.lexsort((*self.oof_scores_.T, given.labels, queries.unsort(queries.query_of_ordered_row)))
        ordered = Queries(np.arange(len(order), dtype=np.intp), queries.ptr, queries.ids)
        weight = None
        if given.rows.sample_weight is not None:
            weight = np.asarray(given.rows.sample_weight, dtype=np.float64)[order]
        held = Held(self.oof_scores_[order], given.labels[order], ordered, weight, self.find_metric())
        if self.weights is None or queries.n_queries < 2:
            self.weights_ = np.full(n_members, 1.0 / n_members)
        elif isinstance(self.weights, str):
            self.weights_ = search_weights(held, draw_seed(self.random_state))
        if self.weights is not None and not isinstance(self.weights, str):
            self.weights_ = np.asarray(self.weights, dtype=np.float64)
            self.weights_ = self.weights_ / self.weights_.sum()
        self._measure(held)

    def _measure(self, held: Held) -> None:
        metric = self.find_metric()
        measured = [held.bound.per_query(held.scores @ self.weights_)]
        measured += [held.bound.per_query(np.ascontiguousarray(column)) for column in held.scores.T]
        if self.single_query_:
            measured = [np.full(len(values), np.nan) for values in measured]
        names = ["blend", *self._names()]
        weights = [1.0, *self.weights_.tolist()]
        lines = [Line(*row, 1, float("nan")) for row in zip(names, measured, weights)]
        board = leaderboard(
            lines, held.bound.weights, str(metric), greater_is_better=metric.greater_is_better
        )
        self._leaderboard = board.drop(columns=["fits", "seconds"]).to_dict("records")
        self.noise_ = noise_sentence(np.array(measured), str(metric))

    # --------------------------------------------------------------------------------------- predicting

    def predict(self, X: Features) -> FloatArray:
        """Weighted mean of the members' scores on one scale, (n_samples,) float64.

        Parameters
        ----------
        X : (n_samples, n_features) array-like, DataFrame or sparse matrix
            Features of the rows, in the columns of the fit.

        Returns
        -------
        (n_samples,) float64
            In the order of the rows of X.
        """
        check_is_fitted(self)
        return self._predict_rows(X)  # each member checks X

    def _predict_rows(self, X: Features) -> FloatArray:
        total: FloatArray = np.zeros(_num_samples(X))
        for member, weight, scale in zip(self.estimators_, self.weights_, self.scales_):
            total = total + weight / scale * _scores(member, X)
        return total

    def _fit_ordered(self, data: TrainingSet, watch: Stopwatch) -> None:
        raise NotImplementedError("EnsembleRanker passes rows on to its members")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        inputs = [get_tags(member).input_tags for _, member in self.estimators]
        tags.input_tags.allow_nan = all(found.allow_nan for found in inputs)
        tags.input_tags.sparse = all(found.sparse for found in inputs)
        return tags

    def _scored_features(self, X: Features, *, name: str = "X") -> Any:
        return self.estimators_[0]._scored_features(X, name=name)

    def _explainable(self) -> Explained:
        check_is_fitted(self)
        other = [name for name, m in self.named_estimators_.items() if not isinstance(m, BaseRanker)]
        if other:
            raise TypeError(
                f"EnsembleRanker cannot be explained: {', '.join(map(repr, other))} are no rankers of the "
                "kit, so their columns may differ; explain the members one by one"
            )
        parts = list(zip(self.estimators_, (self.weights_ / self.scales_).tolist()))

        def predict(rows: Any) -> FloatArray:
            return np.asarray(sum(factor * member._predict_rows(rows) for member, factor in parts))

        return explained(type(self).__name__, predict, parts)

    def _exportable(self) -> TreeSum:
        check_is_fitted(self)
        found = [plain_trees(m) if isinstance(m, BaseRanker) else None for m in self.estimators_]
        bad = [name for name, trees in zip(self._names(), found) if trees is None]
        if bad:
            raise TypeError(
                f"EnsembleRanker cannot be exported: {', '.join(map(repr, bad))} are no sums of trees, and "
                "no format holds trees together with another model; export the members one by one"
            )
        columns = self.estimators_[0].columns
        trees = averaged([t for t in found if t is not None], (self.weights_ / self.scales_).tolist())
        return TreeSum(tuple(trees), self._column_names(), columns.categories)

    def _rows_and_scores(self, X: Features) -> tuple[Array, FloatArray]:
        rows, _ = self.estimators_[0]._rows_and_scores(X)
        return rows, self.predict(X)

    # ------------------------------------------------------------------------------------------- saving

    def _saved_params(self) -> dict[str, Any]:
        params = self.get_params(deep=False)
        return {**params, "estimators": self._names()}

    def _files(self) -> dict[str, bytes]:
        files = {}
        for at, (name, member) in enumerate(zip(self._names(), self.estimators_)):
            if not isinstance(member, BaseRanker):
                raise TypeError(
                    f"EnsembleRanker with a {type(member).__name__} as {name!r} has no file format that is "
                    "safe to load; store it with joblib or skops, or use rankers of the kit as members"
                )
            files[f"members/{at:03d}.lmk"] = member.to_bytes()
        content = {
            "weights": self.weights_.tolist(),
            "scales": self.scales_.tolist(),
            "leaderboard": self._leaderboard,
        }
        return files | {_CONTENT: json.dumps(content).encode()}

    def _restore(self, files: dict[str, bytes]) -> None:
        content = json.loads(files[_CONTENT])
        self.weights_ = np.array(content["weights"], dtype=np.float64)
        self.scales_ = np.array(content["scales"], dtype=np.float64)
        self._leaderboard = content["leaderboard"]
        names = [str(name) for name in self.estimators]
        parts = [f"members/{at:03d}.lmk" for at in range(len(names))]
        self.estimators_ = [read_ranker(files[part], part) for part in parts]
        self._fitted_names = names
        if not len(names) == len(self.weights_) == len(self.scales_):
            raise ValueError("it does not have one weight and one scale for each member")
        self.estimators = [(name, clone(member)) for name, member in zip(names, self.estimators_)]


@dataclass(frozen=True, eq=False)
class Passed:
    """What `fit` got, to be passed on to members in parts.

    Attributes
    ----------
    rows : FitInput
    labels : (n_samples,) float64
    queries : Queries
        Of all rows.
    """

    rows: FitInput
    labels: FloatArray
    queries: Queries

    @classmethod
    def of(cls, given: FitInput) -> Passed:
        """Check labels, query ids and weights."""
        labels = check_relevance(flat(given.y))
        queries = Queries.from_qid(given.qid, len(labels))
        query_weights(given.sample_weight, queries)
        X = given.X.tocsr() if sparse.issparse(given.X) else given.X
        return cls(replace(given, X=X, y=labels), labels, queries)

    def comparable(self) -> Array:
        """Queries with two different labels, (n_queries,) bool."""
        ordered = self.queries.sort(self.labels)
        starts = self.queries.ptr[:-1]
        return np.asarray(np.maximum.reduceat(ordered, starts) > np.minimum.reduceat(ordered, starts))


def _fit_member(name: str, member: Any, given: Passed, rows: IndexArray | None) -> Any:
    """A clone of a member, fitted on some rows."""
    part = given.rows if rows is None else given.rows.part(rows)
    last = member.steps[-1][1] if hasattr(member, "steps") else member
    arguments = part.arguments()
    if not isinstance(last, BaseRanker):
        unused = [argument for argument in arguments if argument != "qid"]
        if unused:
            raise ValueError(f"{unused[0]!r} must be None: the member {name!r} is no ranker of the kit")
        return clone(member).fit(part.X, part.y)
    if getattr(last, "early_stopping_rounds", None) is not None:
        arguments |= part.held_out_arguments()
    # Inside of the block a pipeline passes query ids on to the steps that ask for them.
    with config_context(enable_metadata_routing=True):
        return clone(member).fit(part.X, part.y, **arguments)


def _scores(member: Any, X: Features) -> FloatArray:
    """Scores of a fitted member; the expected label of a classifier."""
    if is_classifier(member) and hasattr(member, "predict_proba"):
        return np.asarray(member.predict_proba(X) @ member.classes_.astype(np.float64))
    return np.asarray(member.predict(X), dtype=np.float64).ravel()
