"""Base of all rankers: input, query order, held-out queries, scoring, saving; one row-aligned `qid`."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cache
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import RegressorTags
from sklearn.utils.validation import check_is_fitted

from lambdamart_kit.boosters.rounds import EvalSet, Stopwatch
from lambdamart_kit.core.gains import check_relevance
from lambdamart_kit.core.ordered_rows import OrderedRows
from lambdamart_kit.core.precision import warn_of_merged_values
from lambdamart_kit.core.query_traces import QueryTraces, measured_queries
from lambdamart_kit.core.rows import check_given_rows, is_sparse
from lambdamart_kit.core.typing import ArrayLike, Features, Float32Array, FloatArray, Ids
from lambdamart_kit.explain.explained import Explained
from lambdamart_kit.explain.mixin import CanExplain
from lambdamart_kit.export.mixin import CanExport
from lambdamart_kit.metrics import Metric
from lambdamart_kit.objectives.combined import check_goal_labels
from lambdamart_kit.rankers.binding import check_signs
from lambdamart_kit.rankers.reporting import CanReport
from lambdamart_kit.rankers.savable import CanSave
from lambdamart_kit.rankers.steering.arguments import (
    pyterrier_hint,
    refuse_foreign_arguments,
    warn_of_column,
    warn_of_leaks,
    warn_of_mistaken_ids,
)
from lambdamart_kit.rankers.steering.evaluation import eval_sets, parse_metrics
from lambdamart_kit.rankers.steering.given import ROW_ALIGNED, FitInput, held_out_inputs
from lambdamart_kit.rankers.steering.goals import GoalMetrics
from lambdamart_kit.rankers.steering.preparing import PreparesRows
from lambdamart_kit.rankers.steering.starting_scores import from_start
from lambdamart_kit.rankers.steering.tracking import logged_to_mlflow
from lambdamart_kit.rankers.steering.training_set import TrainingSet
from lambdamart_kit.runtime.rollback import unchanged_on_failure

WEIGHS_DOCUMENTS = (
    "LambdaMART, NeuralRanker and LinearRanker can weigh documents, with the objectives 'pairwise', 'ndcg', "
    "'ndcg1' and 'precision'"
)
_OF_HELD_OUT = (*(f"{name}_val" for name in ("X", "y", *ROW_ALIGNED)), "names_val")
_FIT = dict.fromkeys((*ROW_ALIGNED, *_OF_HELD_OUT), True)


@cache
def _parameter_names(ranker: type[BaseRanker]) -> tuple[str, ...]:
    """Names of the parameters of a class of rankers, sorted."""
    return tuple(super(BaseRanker, ranker)._get_param_names())  # type: ignore[misc]


class BaseRanker(CanSave, CanExport, CanExplain, CanReport, PreparesRows, BaseEstimator, ABC):
    """A scikit-learn estimator that scores the rows of each query.

    A subclass assigns its parameters in ``__init__``, fits ordered rows in `_fit_ordered` and scores rows in
    `_predict_rows`. To be saved it also says in `_files` and `_restore` what its model consists of. The base
    class adds ``score``, metadata routing and saving; `PreparesRows` adds query order and held-out queries,
    and `HasColumns` validation of X and support of pandas. They read the parameters
    ``early_stopping_rounds``, ``validation_fraction``, ``eval_metric``, ``categorical_features``,
    ``random_state`` and ``n_jobs`` if the subclass has them.

    Code that brings rows in another way than `fit` (from files, or on a cluster) uses the **training seam**:
    the public methods `take_columns`, `training_features`, `hold_out`, `fit_rows` and `find_metric`. Code
    outside of `lambdamart_kit.rankers` uses no private attribute of a ranker; a test makes sure of it.

    Metadata routing needs no ``set_fit_request``: a ranker asks for ``qid`` and ``sample_weight`` in
    ``fit`` and ``score``, and for all other arguments of ``fit``, ``init_model`` aside, in ``fit``.

    Examples
    --------
    >>> from lambdamart_kit.datasets import make_letor
    >>> from lambdamart_kit.rankers import LambdaMART
    >>> data = make_letor(n_queries=20, random_state=0)
    >>> ranker = LambdaMART(n_estimators=3).fit(data.X, data.y, qid=data.qid)
    >>> isinstance(ranker, BaseRanker), ranker.predict(data.X).shape == data.y.shape
    (True, True)
    """

    __metadata_request__fit: ClassVar[dict[str, bool]] = _FIT
    __metadata_request__score: ClassVar[dict[str, bool]] = {
        "qid": True,
        "sample_weight": True,
        "init_score": True,
        "document_weight": True,
    }
    __metadata_request__predict: ClassVar[dict[str, bool]] = {"init_score": True}

    saved_attributes: ClassVar[tuple[str, ...]] = (
        "n_features_in_",
        "n_queries_in_",
        "categories_",
        "categorical_columns_",
        "single_query_",
        "starts_from_scores_",
        "fit_times_",
    )

    single_query_: bool
    starts_from_scores_: bool = False
    fit_times_: dict[str, float]
    query_traces_: QueryTraces | None

    @classmethod
    def _get_param_names(cls) -> list[str]:
        # scikit-learn reads the signature of `__init__` anew, .1 ms each time and five times for a candidate
        # of a search on one fold.
        return list(_parameter_names(cls))

    # ------------------------------------------------------------------------------------------ fitting

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(
        self,
        X: Features,
        y: ArrayLike,
        qid: Ids = None,
        sample_weight: ArrayLike | None = None,
        X_val: Features = None,
        y_val: Any = None,
        qid_val: Any = None,
        position: ArrayLike | None = None,
        position_val: Any = None,
        *,
        init_score: ArrayLike | None = None,
        init_score_val: Any = None,
        sample_weight_val: Any = None,
        names_val: str | Sequence[str] | None = None,
        init_model: Any = None,
        document_weight: ArrayLike | None = None,
        document_weight_val: Any = None,
        **elsewhere: Any,
    ) -> Self:
        """Fit the ranker; the result does not depend on the order of the rows.

        Parameters
        ----------
        X : (n_samples, n_features) array-like, DataFrame or sparse matrix
            Features, in the precision they have: float32, or float64 where their type does not fit into
            float32. NaN is a missing value. A categorical column of a DataFrame is passed on to the trees as
            one.
        y : (n_samples,) array-like
            Graded relevance: finite and >= 0, more is better. With the objective
            :class:`~lambdamart_kit.objectives.Combined` a column for each goal, in `y_val` too.
        qid : (n_samples,) array-like, optional
            Query of each row: any hashable ids, in any row order. None takes all rows as one query, and
            warns.
        sample_weight : (n_samples,) array-like, optional
            Weight of the row's query, the same for all its rows. Without `qid`, weights that differ are
            taken as `document_weight`.
        X_val, y_val, qid_val : optional
            Held-out queries to measure on after every round; they win over `validation_fraction`. For
            several sets a list each: ``X_val=[A, B], y_val=[..], qid_val=[..]``; early stopping looks at the
            first. In a Pipeline, ``Pipeline(..., transform_input=["X_val"])`` transforms X_val like X, and
            several sets are tuples.
        position : (n_samples,) array-like of int, optional
            For click logs, where `y` says 1 = clicked and `qid` is one list shown once: the position of the
            document in it, 1 = on top. The ranker's `position_bias` says what is done about it.
        position_val : array-like of int, optional
            The same for X_val; held-out clicks then count by their inverse propensity. Leave it out if y_val
            is relevance.
        init_score : (n_samples,) array-like, optional
            Score that each row starts from, such as that of the ranker in production. The ranker learns what
            to add to it. Pass those of other rows to `predict` and `score`.
        init_score_val, sample_weight_val : optional
            The same for X_val, and the weights of its queries; of several sets a list each.
        names_val : str or list of str, optional
            What ``evals_result_`` calls the held-out sets; "validation", "validation 2", ... by default.
        init_model : model, ranker or path, optional
            Trees to go on from, of the ranker's own kind of trees: `n_estimators` are added to them. A
            ``lightgbm.Booster`` (also for native trees), ``xgboost.Booster`` or ``catboost.CatBoost``, an
            estimator of these libraries or of the kit, or a file of the library's.
        document_weight : (n_samples,) array-like, optional
            Weight of the document, >= 0: a pair of documents weighs the product of their weights, and a
            document of weight 2 takes two places of the ranking. So a query without its duplicates, weighted
            by how often each document was there, has the gradient of the query with them.
        document_weight_val : array-like, optional
            The same for X_val; of several sets a list.
        **elsewhere
            Nothing: arguments of other libraries' rankers are refused with what they are called here.

        Returns
        -------
        BaseRanker
            The fitted ranker itself.

        Raises
        ------
        ValueError
            If labels, ids, weights, positions or features are not usable: the message names the parameter
            and a row.
        """
        refuse_foreign_arguments(type(self).__name__, elsewhere)
        held_out = held_out_inputs(
            X_val,
            y_val,
            qid_val,
            sample_weight_val,
            init_score_val,
            position_val,
            names_val,
            document_weight_val,
            single=qid is None,
        )
        given = FitInput(
            X, y, qid, sample_weight, position, init_score, init_model, held_out, document_weight
        )
        given.check_rows()
        warn_of_column(y)
        warn_of_leaks(X, y, qid)
        warn_of_mistaken_ids(y, qid)
        if given.has_one_query:
            self._warn_single_query()
        if self._goals() is not None:
            given.refuse("position", by="the objective Combined", remedy="clicks have no other goals")
        if self._weighs_documents():
            given = given.weights_of_one_query()
        else:
            given.refuse("document_weight", by=self._with_objective(), remedy=WEIGHS_DOCUMENTS)
        with logged_to_mlflow(self), unchanged_on_failure(self):
            self._fit_given(given)
        return self

    def _fit_given(self, given: FitInput) -> None:
        """Fit on what `fit` got; a ranker that passes its input on to others does so here."""
        watch = Stopwatch()
        with self._head_start(given.X):
            with watch("data"):
                data = self._hold_out(self._training_rows(given), given)
            self.fit_rows(data, watch)

    def _head_start(self, X: Features) -> AbstractContextManager[object]:
        """Context manager around the fit.

        A subclass may compile kernels in the background while the rows are checked. Here it does nothing.
        """
        return nullcontext()

    @abstractmethod
    def _fit_ordered(self, data: TrainingSet, watch: Stopwatch) -> None:
        """Fit on rows in canonical order, and record the seconds of each part on `watch`."""

    @abstractmethod
    def _predict_rows(self, X: Features) -> FloatArray:
        """Scores of the rows of a checked array or CSR matrix, float32 or float64."""

    def _debias(self, data: TrainingSet) -> TrainingSet:
        """Give the rows what corrects clicks for position bias; by default a ranker has no correction."""
        if data.train.position is not None:
            raise ValueError(
                f"'position' must be None with {type(self).__name__}, which does not allow for position "
                "bias; use LambdaMART, NeuralRanker or LinearRanker"
            )
        return data

    def _keep_estimates(self, train: OrderedRows) -> None:
        """Keep the propensities that were estimated during the fit. Here there are none."""

    def _weighs_documents(self) -> bool:
        """Whether the ranker and its objective can use `document_weight`."""
        return False

    def _with_objective(self) -> str:
        """The class of the ranker, with its objective if that has a name."""
        objective = getattr(self, "objective", None)
        named = f" and objective {objective!r}" if isinstance(objective, str) else ""
        return type(self).__name__ + named

    def _warn_single_query(self) -> None:
        warnings.warn(
            f"{type(self).__name__}.fit got qid=None and takes all rows as one query; pass 'qid' with "
            "the query id of each row (in a pipeline or a search: lambdamart_kit.query_routing())"
            f"{pyterrier_hint()}",
            UserWarning,
            stacklevel=4,
        )

    def _eval_sets(self, data: TrainingSet, watch: Stopwatch) -> list[EvalSet]:
        """The held-out rows with the eval metrics bound to them; an error if no query counts."""
        return eval_sets(
            data,
            self.find_metrics(),
            watch,
            n_threads=self._n_threads(),
            track_training=getattr(self, "track_training", False),
            goals=self._goals(),
        )

    # ---------------------------------------------------------------------------------- the training seam

    def fit_rows(self, data: TrainingSet, watch: Stopwatch) -> Self:
        """Fit on checked rows in canonical order; `columns` must be known.

        Parameters
        ----------
        data : TrainingSet
            Rows to learn from, and held-out rows.
        watch : Stopwatch
            Has the seconds spent so far; its sums become `fit_times_`.

        Returns
        -------
        BaseRanker
            The fitted ranker itself.
        """
        starts_from_scores = data.train.init_score is not None
        if self._continues() and starts_from_scores != self.starts_from_scores_:
            raise ValueError(
                "'init_score' must be given with warm_start=True if the fit that is continued had it, and "
                f"only then; it had {'one' if self.starts_from_scores_ else 'none'}"
            )
        self.starts_from_scores_ = starts_from_scores
        with watch("data"):
            self.query_traces_ = self._trace(data.train)
            data = self._debias(data)
        self._fit_ordered(data, watch)
        self._keep_estimates(data.train)
        self.fit_times_ = dict(watch.seconds)
        return self

    def _trace(self, train: OrderedRows) -> QueryTraces | None:
        """Traces of the training queries, those of earlier fits with `warm_start` included."""
        if self.single_query_:
            return None
        traces = QueryTraces.of(train.queries)
        earlier = getattr(self, "query_traces_", None) if getattr(self, "warm_start", False) else None
        return traces if earlier is None else earlier.updated(traces)

    def find_metric(self) -> Metric:
        """The metric of the parameter 'eval_metric'; NDCG@10 for a ranker that has no such parameter.

        Returns
        -------
        Metric
            The metric with all its options; the first one of several.
        """
        return self.find_metrics()[0]

    def find_metrics(self) -> list[Metric]:
        """All metrics of the parameter 'eval_metric', the first of which decides when to stop.

        Returns
        -------
        list of Metric
            The metrics with all their options.
        """
        return parse_metrics(getattr(self, "eval_metric", "ndcg@10"))

    # --------------------------------------------------------------------------------------- predicting

    def predict(self, X: Features) -> FloatArray:
        """Score of each row, higher is ranked first.

        Parameters
        ----------
        X : (n_samples, n_features) array-like, DataFrame or sparse matrix
            Features of the rows, in the columns of the fit.

        Returns
        -------
        (n_samples,) float64
            In the order of the rows of X.
        """
        if not self._is_checked(X):
            check_is_fitted(self)
            X = self._scored_features(X)
        return self._predict_rows(X)

    def _scored_features(self, X: Features, *, name: str = "X") -> Any:
        """Rows to score: checked against what was fitted, as an array or CSR matrix."""
        return self._known_features(X, name=name, finite=not self._scores_infinities)

    def score(
        self,
        X: Features,
        y: ArrayLike,
        qid: Ids = None,
        sample_weight: ArrayLike | None = None,
        *,
        init_score: ArrayLike | float | None = None,
        document_weight: ArrayLike | None = None,
    ) -> float:
        """Mean of `eval_metric` over the queries: by default NDCG@10. Greater is better.

        The metric is measured as it stands, with its gain, ties, blank queries and cut-off. It warns when
        queries were partly in training, which a split by rows does to them. A ranker that was loaded from a
        file does not know its training queries any more.

        Parameters
        ----------
        X : (n_samples, n_features) array-like, DataFrame or sparse matrix
            Features of the rows, in the columns of the fit.
        y : (n_samples,) array-like
            Graded relevance; a column for each goal of the objective Combined, whose metrics are averaged by
            weight.
        qid : (n_samples,) array-like
            Query of each row.
        sample_weight : (n_samples,) array-like, optional
            Weight of the row's query, the same for all its rows.
        init_score : (n_samples,) array-like or float, optional
            Score that each row starts from, if the ranker was fitted with `init_score`.
        document_weight : (n_samples,) array-like, optional
            Weight of the document, >= 0: one of weight 2 counts as two copies of it in the ranking.

        Returns
        -------
        float
            NaN, with a warning, when no query counts.

        Raises
        ------
        ValueError
            If `qid` is None although the ranker was fitted with several queries: rows of different queries
            would be compared with each other.
        """
        check_is_fitted(self)
        if qid is None and not self.single_query_:
            raise ValueError(
                "'qid' must be given to score, because the ranker was fitted with it; in a search or "
                "cross-validation use lambdamart_kit.query_routing() so that it is passed on"
            )
        check_given_rows({"X": X, "y": y, "qid": qid}, stacklevel=2)
        scores = self._from_start(self._scores_of(X, qid), init_score, "score", X)
        traces = getattr(self, "query_traces_", None)
        if qid is not None and traces is not None:
            queries = measured_queries(qid, len(scores), document_weight)
            traces.warn_if_cut(queries, measured="the rows that 'score' got", stacklevel=2)
        options: dict[str, Any] = {
            "sample_weight": sample_weight,
            "document_weight": document_weight,
            "n_jobs": getattr(self, "n_jobs", None),
        }
        goals = self._goals()
        if goals is None:
            metric = self.find_metric()
            if self._takes_signed_labels():
                check_signs(metric, check_relevance(y, signed=True))
            return float(metric(y, scores, qid, **options))
        metrics = GoalMetrics.of(goals, self.find_metric())
        return metrics.decide(metrics.measure(check_goal_labels(y, goals), scores, qid, **options))

    def _from_start(self, scores: FloatArray, init_score: Any, method: str, X: Features) -> FloatArray:
        """Scores of the learned part added to starting scores, which a ranker fitted with them needs."""
        check_given_rows({"X": X, "init_score": init_score}, stacklevel=3)
        return from_start(scores, init_score, fitted_with=self.starts_from_scores_, method=method)

    def _scores_of(self, X: Features, qid: Ids) -> FloatArray:
        """What `score` measures; a ranker that compares documents of a query looks at `qid`."""
        return self.predict(X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.estimator_type = "regressor"
        tags.regressor_tags = RegressorTags()
        several = self._goals() is not None
        shape = {"multi_output": several, "single_output": not several}
        tags.target_tags = replace(tags.target_tags, required=True, positive_only=True, **shape)
        tags.input_tags.allow_nan = self._allows_nan
        tags.input_tags.sparse = self._accepts_sparse
        return tags

    # --------------------------------------------------------------------------- explaining and exporting

    def _explainable(self) -> Explained:
        check_is_fitted(self)
        return Explained(type(self).__name__, self._predict_rows, self._column_names())

    def _rows_and_scores(self, X: Features) -> tuple[Float32Array, FloatArray]:
        check_is_fitted(self)
        checked = self._known_features(X)
        warn_of_merged_values(checked, getattr(self, "feature_names_in_", None), "The check of the export")
        rows = np.ascontiguousarray(checked.toarray() if is_sparse(checked) else checked, dtype=np.float32)
        return rows, self._predict_rows(rows)
