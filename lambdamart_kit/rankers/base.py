"""Base of all rankers: input, query order, held-out queries, scoring, saving; one row-aligned `qid`."""

from __future__ import annotations

import os
import warnings
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils.validation import check_is_fitted, validate_data

from lambdamart_kit.boosters.rounds import EvalSet, Stopwatch
from lambdamart_kit.core.ordered_rows import OrderedRows, order_rows
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.query_traces import QueryTraces
from lambdamart_kit.core.rows import is_sparse
from lambdamart_kit.core.typing import ArrayLike, Features, Float32Array, FloatArray, Ids
from lambdamart_kit.explain.explained import Explained
from lambdamart_kit.explain.mixin import CanExplain
from lambdamart_kit.export.mixin import CanExport
from lambdamart_kit.metrics import Metric, parse_metric
from lambdamart_kit.rankers import saving
from lambdamart_kit.rankers.arguments import refuse_foreign_arguments
from lambdamart_kit.rankers.binding import EARLY_STOPPING_NEEDS_QUERIES, bind_metric, split_queries
from lambdamart_kit.rankers.columns.categories import plain_frame
from lambdamart_kit.rankers.columns.checking import HasColumns
from lambdamart_kit.rankers.reporting import CanReport
from lambdamart_kit.runtime.randomness import make_rng
from lambdamart_kit.runtime.rollback import unchanged_on_failure
from lambdamart_kit.runtime.threads import resolve_n_jobs

_FIT = dict.fromkeys(("qid", "sample_weight", "X_val", "y_val", "qid_val", "position", "position_val"), True)


class BaseRanker(CanExport, CanExplain, CanReport, HasColumns, BaseEstimator, ABC):
    """A scikit-learn estimator that scores the rows of each query.

    A subclass assigns its parameters in ``__init__``, fits ordered rows in `_fit_ordered` and scores rows in
    `_predict_rows`. To be saved it also says in `_files` and `_restore` what its model consists of. The base
    class adds query order, held-out queries, ``score``, metadata routing and saving; `HasColumns` adds
    validation of X and support of pandas. They read the parameters ``early_stopping_rounds``,
    ``validation_fraction``, ``eval_metric``, ``categorical_features``, ``random_state`` and ``n_jobs`` if
    the subclass has them.

    Code that brings rows in another way than `fit` (from files, or on a cluster) uses the **training seam**:
    the public methods `take_columns`, `training_features`, `hold_out`, `fit_rows` and `find_metric`. Code
    outside of `lambdamart_kit.rankers` uses no private attribute of a ranker; a test makes sure of it.

    Metadata routing needs no ``set_fit_request``: a ranker asks for ``qid`` and ``sample_weight`` in
    ``fit`` and ``score``, and for ``X_val``, ``y_val``, ``qid_val``, ``position`` and ``position_val`` in
    ``fit``.

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
    __metadata_request__score: ClassVar[dict[str, bool]] = {"qid": True, "sample_weight": True}

    saved_attributes: ClassVar[tuple[str, ...]] = (
        "n_features_in_",
        "n_queries_in_",
        "categories_",
        "categorical_columns_",
        "single_query_",
        "fit_times_",
    )
    """Fitted attributes that `save` writes beside the model."""

    single_query_: bool
    fit_times_: dict[str, float]
    query_traces_: QueryTraces | None

    # ------------------------------------------------------------------------------------------ fitting

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Features,
        y: ArrayLike,
        qid: Ids = None,
        sample_weight: ArrayLike | None = None,
        X_val: Features = None,
        y_val: ArrayLike | None = None,
        qid_val: Ids = None,
        position: ArrayLike | None = None,
        position_val: ArrayLike | None = None,
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
            Graded relevance: finite and >= 0, more is better.
        qid : (n_samples,) array-like, optional
            Query of each row: any hashable ids, in any row order. None takes all rows as one query, and
            warns.
        sample_weight : (n_samples,) array-like, optional
            Weight of the row's query, the same for all its rows.
        X_val, y_val, qid_val : optional
            Held-out queries to measure on after every round; they win over `validation_fraction`. In a
            Pipeline, ``Pipeline(..., transform_input=["X_val"])`` transforms them like X.
        position : (n_samples,) array-like of int, optional
            For click logs, where `y` says 1 = clicked and `qid` is one list shown once: the position of the
            document in it, 1 = on top. The ranker's `position_bias` says what is done about it.
        position_val : array-like of int, optional
            The same for X_val; held-out clicks then count by their inverse propensity. Leave it out if y_val
            is relevance.
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
        watch = Stopwatch()
        with unchanged_on_failure(self), self._head_start(X):
            with watch("data"):
                if qid is None:
                    self._warn_single_query()
                rows = self._training_rows(X, y, qid, sample_weight, position)
                train, validation = self._hold_out(rows, X_val, y_val, qid_val, qid is None, position_val)
            self.fit_rows(train, validation, watch)
        return self

    def _head_start(self, X: Features) -> AbstractContextManager[object]:
        """Context manager around `fit`.

        A subclass may compile kernels in the background while the rows are checked. Here it does nothing.
        """
        return nullcontext()

    @abstractmethod
    def _fit_ordered(self, train: OrderedRows, validation: OrderedRows | None, watch: Stopwatch) -> None:
        """Fit on rows in canonical order, and record the seconds of each part on `watch`."""

    @abstractmethod
    def _predict_rows(self, X: Features) -> FloatArray:
        """Scores of the rows of a checked array or CSR matrix, float32 or float64."""

    def _debias(
        self, train: OrderedRows, validation: OrderedRows | None
    ) -> tuple[OrderedRows, OrderedRows | None]:
        """Give the rows what corrects clicks for position bias; by default a ranker has no correction."""
        if train.position is not None:
            raise ValueError(
                f"'position' must be None with {type(self).__name__}, which does not allow for position "
                "bias; use LambdaMART, NeuralRanker or LinearRanker"
            )
        return train, validation

    def _keep_estimates(self, train: OrderedRows) -> None:
        """Keep the propensities that were estimated during the fit. Here there are none."""

    def _training_rows(
        self, X: Features, y: ArrayLike, qid: Ids, sample_weight: Any, position: Any = None
    ) -> OrderedRows:
        X = plain_frame(X)
        continues = getattr(self, "warm_start", False) and hasattr(self, "fit_times_")
        if not continues:
            self._learn_categories(X)
        checked = self.training_features(X)
        validate_data(self, X, y, skip_check_array=True, reset=not continues)
        rows = order_rows(checked, y, qid, sample_weight, position, n_threads=self._n_threads())
        self.n_queries_in_ = rows.queries.n_queries
        self.single_query_ = qid is None
        return rows

    def _warn_single_query(self) -> None:
        warnings.warn(
            f"{type(self).__name__}.fit got qid=None and takes all rows as one query; pass 'qid' with "
            "the query id of each row (in a pipeline or a search: lambdamart_kit.query_routing())",
            UserWarning,
            stacklevel=4,
        )

    def _hold_out(
        self,
        rows: OrderedRows,
        X_val: Features,
        y_val: Any,
        qid_val: Ids,
        single: bool,
        position_val: Any = None,
    ) -> tuple[OrderedRows, OrderedRows | None]:
        """Training and held-out rows; the latter are those given, else a share of the queries, else None."""
        if position_val is not None and (X_val is None or rows.position is None):
            raise ValueError("'position_val' must be given with 'X_val' and 'position' only")
        if X_val is None and (y_val is not None or qid_val is not None):
            raise ValueError("'X_val' must be given with 'y_val' and 'qid_val'; got None")
        if X_val is not None:
            if y_val is None:
                raise ValueError("'y_val' must be given with 'X_val'; got None")
            if qid_val is None and not single:
                raise ValueError("'qid_val' must be given with 'X_val', because 'qid' was; got None")
            checked = self._check_features(X_val, name="X_val")
            validate_data(self, X_val, skip_check_array=True, reset=False)
            n_threads = self._n_threads()
            held_out = order_rows(
                checked, y_val, qid_val, None, position_val, n_threads=n_threads, suffix="_val"
            )
            if qid_val is not None and not single:
                trained = QueryTraces.of(rows.queries)
                trained.warn_if_cut(held_out.queries, measured="'X_val'", stacklevel=4)
            return rows, held_out
        return self.hold_out(rows)

    def _eval_sets(self, validation: OrderedRows | None, watch: Stopwatch) -> list[EvalSet]:
        """The held-out rows with the eval metric bound to them; an error if no query counts."""
        if validation is None:
            return []
        metric = self.find_metric()
        bound = bind_metric(metric, validation, n_threads=self._n_threads())
        if metric.blank == "skip" and bound.blank.all():
            raise ValueError(
                "the held-out queries must have a relevant document, or there is nothing to stop on; all "
                f"{validation.queries.n_queries} are blank; hold out more queries"
            )
        measure = watch.timed("evaluation", bound)
        return [EvalSet("validation", validation.X, str(metric), measure, metric.greater_is_better)]

    def _rng(self) -> np.random.Generator:
        return make_rng(self.random_state)

    def _n_threads(self) -> int:
        return resolve_n_jobs(getattr(self, "n_jobs", None))

    # ---------------------------------------------------------------------------------- the training seam

    def hold_out(self, rows: OrderedRows) -> tuple[OrderedRows, OrderedRows | None]:
        """Training rows, and the queries that `validation_fraction` asks to hold out.

        Parameters
        ----------
        rows : OrderedRows
            Checked rows in canonical order.

        Returns
        -------
        tuple of OrderedRows, and OrderedRows or None
            Rows to train on, and rows that are held out.

        Raises
        ------
        ValueError
            If 'early_stopping_rounds' is set and nothing is held out.
        """
        fraction = getattr(self, "validation_fraction", None)
        if fraction is not None:
            return split_queries(rows, fraction, self._rng())
        if getattr(self, "early_stopping_rounds", None) is not None:
            raise ValueError(EARLY_STOPPING_NEEDS_QUERIES)
        return rows, None

    def fit_rows(self, train: OrderedRows, validation: OrderedRows | None, watch: Stopwatch) -> Self:
        """Fit on checked rows in canonical order; `columns` must be known.

        Parameters
        ----------
        train, validation : OrderedRows
            Rows to learn from, and held-out rows or None.
        watch : Stopwatch
            Has the seconds spent so far; its sums become `fit_times_`.

        Returns
        -------
        BaseRanker
            The fitted ranker itself.
        """
        with watch("data"):
            self.query_traces_ = self._trace(train)
            train, validation = self._debias(train, validation)
        self._fit_ordered(train, validation, watch)
        self._keep_estimates(train)
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
            The metric with all its options.
        """
        return parse_metric(getattr(self, "eval_metric", "ndcg@10"))

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
        checked = self._check_features(X, name=name, finite=not self._scores_infinities)
        validate_data(self, X, skip_check_array=True, reset=False)
        return checked

    def score(
        self, X: Features, y: ArrayLike, qid: Ids = None, sample_weight: ArrayLike | None = None
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
            Graded relevance.
        qid : (n_samples,) array-like
            Query of each row.
        sample_weight : (n_samples,) array-like, optional
            Weight of the row's query, the same for all its rows.

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
        scores = self._scores_of(X, qid)
        traces = getattr(self, "query_traces_", None)
        if qid is not None and traces is not None:
            queries = Queries.from_qid(qid, len(scores))
            traces.warn_if_cut(queries, measured="the rows that 'score' got", stacklevel=2)
        metric = self.find_metric()
        return float(
            metric(y, scores, qid, sample_weight=sample_weight, n_jobs=getattr(self, "n_jobs", None))
        )

    def _scores_of(self, X: Features, qid: Ids) -> FloatArray:
        """What `score` measures; a ranker that compares documents of a query looks at `qid`."""
        return self.predict(X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags = replace(tags.target_tags, required=True, positive_only=True)
        tags.input_tags.allow_nan = self._allows_nan
        tags.input_tags.sparse = self._accepts_sparse
        return tags

    # ------------------------------------------------------------------------------------------- saving

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted ranker to one file: a zip of JSON and the model in its library's text format.

        No pickle is involved, so the file is safe to open and readable by later versions.

        Parameters
        ----------
        path : str or Path
            File to write.

        Raises
        ------
        TypeError
            If a parameter has no JSON form (a callable objective is kept by name only).
        """
        saving.write(path, *self._parts())

    def to_bytes(self) -> bytes:
        """Content of the file that `save` writes, to put into another one.

        Returns
        -------
        bytes
            A zip file.
        """
        return saving.pack(*self._parts())

    def _parts(self) -> tuple[str, dict[str, Any], dict[str, Any], dict[str, bytes]]:
        """What a file holds: name of the class, parameters, fitted attributes and parts of the model."""
        check_is_fitted(self)
        files = self._files()
        state = {name: getattr(self, name) for name in self.saved_attributes}
        if hasattr(self, "feature_names_in_"):
            state["feature_names_in_"] = self.feature_names_in_.tolist()
        if getattr(self, "reading_", None):  # set by who read files, so that others are read alike
            state["reading_"] = self.reading_
        return type(self).__name__, self._saved_params(), state, files

    def _saved_params(self) -> dict[str, Any]:
        """Parameters as a file holds them."""
        params: dict[str, Any] = self.get_params(deep=False)
        return params

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a ranker that `save` wrote.

        Parameters
        ----------
        path : str or Path
            File to read.

        Raises
        ------
        ModelFormatError
            If the file is not one, is damaged, was written by a newer version, or holds another class.
        """
        remedy = "; use {found}.load or lambdamart_kit.rankers.load_ranker"
        return cls.of_content(saving.read_model(path, cls, remedy=remedy), os.fspath(path))

    @classmethod
    def of_content(cls, content: saving.Content, where: str) -> Self:
        """The ranker of a file's content; `where` is how errors call the file.

        Parameters
        ----------
        content : Content
            Parts of the file.
        where : str
            How errors call the file.

        Returns
        -------
        BaseRanker
            The fitted ranker.

        Raises
        ------
        ModelFormatError
            If the content is damaged.
        """
        with saving.restoring(where):
            ranker = cls(**content.params)
            state = dict(content.state)
            if "feature_names_in_" in state:
                ranker.feature_names_in_ = np.array(state.pop("feature_names_in_"), dtype=object)
            saving.check_state(state, ranker.saved_attributes, cls.__name__)
            for name, value in state.items():
                setattr(ranker, name, value)
            ranker._restore(content.files)
            saving.try_out(ranker.n_features_in_, ranker._predict_rows)
        return ranker

    # --------------------------------------------------------------------------- explaining and exporting

    def _explainable(self) -> Explained:
        check_is_fitted(self)
        return Explained(type(self).__name__, self._predict_rows, self._column_names())

    def _rows_and_scores(self, X: Features) -> tuple[Float32Array, FloatArray]:
        check_is_fitted(self)
        checked = self._check_features(X)
        validate_data(self, X, skip_check_array=True, reset=False)
        rows = np.ascontiguousarray(checked.toarray() if is_sparse(checked) else checked, dtype=np.float32)
        return rows, self._predict_rows(rows)

    def _files(self) -> dict[str, bytes]:
        """Name and content of each part of the fitted model, in a format that is safe to read."""
        raise TypeError(f"{type(self).__name__} has no file format; use joblib or skops to store it")

    def _restore(self, files: dict[str, bytes]) -> None:
        """Set the fitted attributes from what `_files` returned."""
        raise TypeError(f"{type(self).__name__} has no file format; use joblib or skops to store it")
