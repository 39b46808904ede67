"""Base of the rankers on a Dask cluster: fits on its workers, and lazy predictions."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from numbers import Integral
from threading import Lock
from typing import Any, ClassVar, Self

import dask.array as da
import numpy as np
from dask.delayed import delayed
from sklearn.base import _fit_context
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted

from lambdamart_kit.boosters.registry import read_model
from lambdamart_kit.boosters.rounds import RoundsProgress, Stopwatch
from lambdamart_kit.core.typing import Features, FloatArray, Ids, Settings
from lambdamart_kit.distributed.checkpoints import Progression
from lambdamart_kit.distributed.cluster import Cluster
from lambdamart_kit.distributed.errors import WorkerLostError
from lambdamart_kit.distributed.fitting import Boosting, Holding, PlacedRows, distribute
from lambdamart_kit.distributed.metrics import evaluate
from lambdamart_kit.distributed.parts import Source, collect, columns_of, delayed_partitions, from_files
from lambdamart_kit.distributed.threads import own_threads
from lambdamart_kit.distributed.worker import Fitted
from lambdamart_kit.files.chunk import Columns, LetorRules
from lambdamart_kit.files.row_files import Files, RowFiles
from lambdamart_kit.objectives import Combined
from lambdamart_kit.rankers.binding import EARLY_STOPPING_NEEDS_QUERIES
from lambdamart_kit.rankers.columns.categories import (
    FeatureColumns,
    categorical_columns,
    column_names,
    learn_categories,
)
from lambdamart_kit.rankers.steering.arguments import refuse_foreign_arguments
from lambdamart_kit.rankers.tree_ranker import TreeRanker
from lambdamart_kit.runtime.randomness import make_rng

_WAIT_SECONDS = 60.0  # for lost workers to be started anew, with 'retries'
_POSITIONS = (
    "'position' must be None on a cluster, where no worker has the whole log; fit the local ranker, or, with "
    "known propensities, give each click a query of its own, in which it is the only relevant document, and "
    "one over its propensity as 'sample_weight'"
)
_LOCAL_ONLY = (
    "init_score",
    "init_score_val",
    "document_weight",
    "document_weight_val",
    "sample_weight_val",
    "names_val",
    "init_model",
)
_predicting = Lock()


class DaskRanker(TreeRanker):
    """Base of the rankers on Dask: fits on the workers of a cluster, and lazy predictions.

    A subclass stands between this class and its local ranker, which it names in `_local`; its parameters are
    the local ones and those of this class, which `DaskLambdaMART` describes.
    """

    _local: ClassVar[type[TreeRanker]]
    _dask_constraints: ClassVar[dict[str, list[Any]]] = {
        "shuffle": ["boolean"],
        "checkpoint": [str, os.PathLike, None],
        "checkpoint_trees": [Interval(Integral, 1, None, closed="left")],
        "retries": [Interval(Integral, 0, None, closed="left")],
    }

    workers_: dict[str, int]

    def __init__(
        self,
        objective: Any,
        *,
        shuffle: bool = True,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_trees: int = 50,
        retries: int = 0,
        **parameters: Any,
    ) -> None:
        super().__init__(objective, **parameters)
        self.shuffle = shuffle
        self.checkpoint = checkpoint
        self.checkpoint_trees = checkpoint_trees
        self.retries = retries

    def __init_subclass__(cls, **options: Any) -> None:
        """Let the constructor's signature show what is behind its ``**parameters``: scikit-learn reads it."""
        super().__init_subclass__(**options)
        own = inspect.signature(cls.__init__)
        shown = {n: p for n, p in own.parameters.items() if p.kind is not p.VAR_KEYWORD}
        for constructor in (DaskRanker.__init__, cls._local.__init__):
            for name, parameter in inspect.signature(constructor).parameters.items():
                if parameter.kind is not parameter.VAR_KEYWORD:
                    shown.setdefault(name, parameter.replace(kind=parameter.KEYWORD_ONLY))
        setattr(cls.__init__, "__signature__", own.replace(parameters=list(shown.values())))  # noqa: B010

    # ------------------------------------------------------------------------------------------ fitting

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Features,
        y: Any,
        qid: Ids = None,
        sample_weight: Any = None,
        X_val: Features = None,
        y_val: Any = None,
        qid_val: Ids = None,
        position: Any = None,
        position_val: Any = None,
        **elsewhere: Any,
    ) -> Self:
        """Fit on the workers of the current client (``distributed.Client``, or ``client.as_current()``).

        Parameters
        ----------
        X : Dask array (n_samples, n_features) or Dask DataFrame
            Features; taken as float32. NaN is a missing value.
        y, qid, sample_weight : Dask array or Series, or str
            Label, query id (any hashable ids, rows in any order) and weight of each row, in the partitions
            of X; or the name of a column of X. Weights are optional, and the same within a query.
        X_val, y_val, qid_val : optional
            Held-out queries; names of columns are those of `y` and `qid` if not given.
        position, position_val : None
            Clicks with positions are for the local ranker.
        **elsewhere
            Nothing: what only local rankers take is refused, such as starting scores.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If rows are not usable: the message names the parameter, the partition and the row.
        RuntimeError
            If there is no client, no worker, or a worker has other versions than the client.
        WorkerLostError
            If a worker was lost, more often than `retries`.
        """
        if position is not None or position_val is not None:
            raise ValueError(_POSITIONS)
        _refuse({name: elsewhere.pop(name, None) for name in _LOCAL_ONLY})
        refuse_foreign_arguments(type(self).__name__, elsewhere)
        if isinstance(X_val, list | tuple):
            raise ValueError("'X_val' must be one Dask collection: a cluster measures one set of rows")
        ranker = self._template(columns_of(X, (y, qid, sample_weight)))
        source = collect(ranker, X, y, qid, sample_weight)
        if X_val is None:
            return self._fit_source(ranker, source, None, given=(y_val, qid_val))
        y_val = y if y_val is None and isinstance(y, str) else y_val
        qid_val = qid if qid_val is None and isinstance(qid, str) else qid_val
        own = _columns(columns_of(X, (y, qid, sample_weight)))
        other = _columns(columns_of(X_val, (y_val, qid_val), "_val"))
        if own != other:
            raise ValueError(f"'X_val' must have the features of 'X': {own}; got {other}")
        return self._fit_source(ranker, source, collect(ranker, X_val, y_val, qid_val, None, suffix="_val"))

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_files(
        self,
        files: Files,
        *,
        y: str = "label",
        qid: str = "qid",
        sample_weight: str | None = None,
        features: Sequence[str] | None = None,
        docid: str | None = "docid",
        ignore: Sequence[str] = (),
        clip: float | None = None,
        letor: LetorRules | None = None,
        eval_files: Files | None = None,
    ) -> Self:
        """Fit on the rows of Parquet, CSV or LETOR files, which workers read: one file is one partition.

        All workers must see the files under the same name. A worker holds a file in memory while its rows go
        to their workers, so many files of moderate size are better than one large one.

        Parameters
        ----------
        files : path, folder, glob or list of them
        y, qid, sample_weight, docid : str
            Columns of Parquet and CSV files; LETOR lines say it themselves.
        features : sequence of str, optional
            Columns to learn from; all others by default.
        ignore : sequence of str
            Columns to leave out.
        clip : float, optional
            Features beyond ``-clip`` and ``clip`` become these.
        letor : LetorRules, optional
            How LETOR lines are written.
        eval_files : path, folder, glob or list of them, optional
            Held-out queries.

        Returns
        -------
        self
        """
        chosen = None if features is None else tuple(features)
        rules = LetorRules() if letor is None else letor
        columns = Columns(y, qid, sample_weight, docid, chosen, tuple(ignore), clip=clip, letor=rules)
        found = RowFiles(files, columns)
        if len(found.sources) > len(found.paths):
            raise ValueError(
                f"'files' must have their query ids in their lines; those of {found.paths[0]} stand in "
                f"{found.sources[len(found.paths)]}, and each worker would count them from 1: convert the "
                "files with `lambdamart-kit datasets convert`"
            )
        ranker = self._template(_named_columns(found))
        held_out = None
        if eval_files is not None:
            others = RowFiles(eval_files, columns)
            if found.feature_names != others.feature_names:
                raise ValueError("'eval_files' must have the features of 'files', in the same order")
            held_out = from_files(ranker, others)
        return self._fit_source(ranker, from_files(ranker, found), held_out)

    def _fit_source(
        self,
        ranker: TreeRanker,
        source: Source,
        held_out: Source | None,
        *,
        given: tuple[Any, Any] = (None, None),
    ) -> Self:
        self._check_held_out(held_out, given)
        cluster = Cluster()
        watch = Stopwatch()
        progression = Progression(ranker, self.checkpoint)
        if self.warm_start and progression.model is None and hasattr(self, "model_"):
            progression.take_over(self)
        for attempt in range(self.retries + 1):
            n_workers = len(cluster.workers())
            try:
                fitted, placed = self._attempt(cluster, progression, source, held_out, watch)
                break
            except WorkerLostError as error:
                if attempt == self.retries:
                    raise self._explained(error, progression) from None
                cluster.wait_for(n_workers, _WAIT_SECONDS)
        self._adopt(progression.ranker, fitted, placed)
        self.fit_times_ = {**watch.seconds, **fitted.fit_times}
        return self

    def _attempt(
        self,
        cluster: Cluster,
        progression: Progression,
        source: Source,
        held_out: Source | None,
        watch: Stopwatch,
    ) -> tuple[Fitted, PlacedRows]:
        seed = int(make_rng(progression.ranker.random_state).integers(2**63))
        holding = Holding(held_out, self.validation_fraction, seed)
        with watch("data"):
            placed = distribute(cluster, progression.ranker, source, holding, shuffle=self.shuffle)
        progression.check_rows(placed)
        ranker, start, history = progression.start()
        n_before = progression.n_trees
        n_missing = self.n_estimators - n_before
        if n_missing == 0:
            return progression.fitted(), placed
        label = f"{type(self).__name__} ({self.booster_name}, {len(placed.workers)} workers)"
        with RoundsProgress(n_missing, label=label, enabled=bool(self.verbose)) as progress:

            def report(entry: Settings) -> None:
                progress(entry["n_trees"] - n_before, entry["evaluation"])
                if "model" in entry:
                    progression.save(entry)

            saves = self.checkpoint is not None or self.retries > 0
            every = self.checkpoint_trees if saves else None
            return Boosting(cluster, placed, report).run(ranker, start, history, every), placed

    def _explained(self, error: WorkerLostError, progression: Progression) -> WorkerLostError:
        n_trees = progression.n_trees
        total = self.n_estimators
        if self.checkpoint is None:
            remedy = "fit again; with 'checkpoint' a fit can go on from the last checkpoint"
        else:
            saved = f"{os.fspath(self.checkpoint)!r} has {n_trees} of {total} trees"
            remedy = f"{saved}; fit again to go on from there"
        retried = f" (after {self.retries} retries)" if self.retries else ""
        return WorkerLostError(f"{error}{retried}; {remedy}", error.workers, n_trees)

    def _check_held_out(self, held_out: Source | None, given: tuple[Any, Any]) -> None:
        if held_out is None and any(value is not None for value in given):
            raise ValueError("'X_val' must be given with 'y_val' and 'qid_val'; got None")
        _refuse({"callbacks": self.callbacks or None, "track_training": self.track_training or None})
        if len(self.find_metrics()) > 1:
            raise ValueError(
                f"'eval_metric' must be one metric on a cluster, which measures one; got {self.eval_metric!r}"
            )
        if isinstance(getattr(self, "objective", None), Combined):
            raise ValueError(
                "'objective' must have one goal on a cluster; got Combined, whose goals need a column of "
                "labels each; fit it on one machine"
            )
        if self.n_bags > 1:
            raise ValueError(
                f"'n_bags' must be 1 on a cluster; got {self.n_bags}; fit rankers with different "
                "'random_state' and take the mean of their scores"
            )
        if held_out is None and self.validation_fraction is None and self.early_stopping_rounds is not None:
            raise ValueError(EARLY_STOPPING_NEEDS_QUERIES)

    def _template(self, columns: Any) -> TreeRanker:
        """The local estimator with its columns; `columns` is None if only the rows tell them (LETOR)."""
        ranker = self._local(**{name: getattr(self, name) for name in self._local._get_param_names()})
        ranker.single_query_ = False
        if columns is None:
            ranker.take_columns(FeatureColumns(n_features=None))
            return ranker
        names = column_names(columns)
        categorical = categorical_columns(columns, self.categorical_features, names)
        _check_categories(columns, categorical)
        categories = learn_categories(columns, categorical)
        ranker.take_columns(FeatureColumns(columns.shape[1], names, tuple(categorical), categories))
        return ranker

    def _adopt(self, ranker: TreeRanker, fitted: Fitted, placed: PlacedRows) -> None:
        self.take_columns(ranker.columns)
        self.single_query_ = ranker.single_query_
        self.n_queries_in_ = placed.n_queries
        self.model_ = read_model(self.booster_name, fitted.model)
        self.best_iteration_ = fitted.best_iteration
        self.best_score_ = fitted.best_score
        self.evals_result_ = fitted.evals_result
        self.compression_ = None
        self.workers_ = {w.name: s.n_rows for w, s in zip(placed.workers, placed.summaries)}

    # --------------------------------------------------------------------------------------- predicting

    def predict(
        self,
        X: Features,
        *,
        lengths: bool = True,
        init_score: Any = None,
        return_std: bool = False,
        n_trees: int | None = None,
        qid: Any = None,
    ) -> Any:
        """Score of each row: lazy for a Dask collection, computed for local data.

        Parameters
        ----------
        X : Dask array or DataFrame, or what the local ranker takes
            Of a frame, columns that are not features are passed over.
        lengths : bool
            Whether to count the rows of a frame's partitions now, so that the chunks of the result are
            known; with False nothing is computed and they are not. Chunks of an array are those of X.
        init_score : None
            Not on a cluster.
        return_std : bool
            Must be False: a model of a cluster has no bags.
        n_trees : int, optional
            Score with the first so many trees only.
        qid : (n_samples,) array-like, optional
            With local data only: Query of each row, for a ranker that `compress` made.

        Returns
        -------
        Dask array (n_samples,) float64, or array
            In the order of the rows of X.
        """
        check_is_fitted(self)
        _refuse({"init_score": init_score})
        if not hasattr(X, "dask") or return_std:
            return super().predict(X, return_std=return_std, n_trees=n_trees, qid=qid)
        _refuse({"qid": qid})
        if hasattr(X, "columns") and hasattr(self, "feature_names_in_"):
            missing = [name for name in self.feature_names_in_ if name not in X.columns]
            if missing:
                raise ValueError(f"'X' must have the features of fit; it lacks {missing[:5]}")
            X = X[list(self.feature_names_in_)]
        if len(X.shape) != 2 or X.shape[1] != self.n_features_in_:
            raise ValueError(f"'X' must have {self.n_features_in_} features, as in fit; got shape {X.shape}")
        if isinstance(X, da.Array):
            sizes = X.chunks[0]
        else:
            sizes = X.map_partitions(len).compute() if lengths else [np.nan] * X.npartitions
        ranker = delayed(self.to_local(), pure=False)
        predict = delayed(_predict_part, pure=False)
        scores = [
            da.from_delayed(predict(ranker, part, n_trees), shape=(size,), dtype=np.float64)
            for part, size in zip(delayed_partitions(X), sizes)
        ]
        return da.concatenate(scores)

    def score(
        self,
        X: Features,
        y: Any,
        qid: Ids = None,
        sample_weight: Any = None,
        *,
        init_score: Any = None,
        document_weight: Any = None,
    ) -> float:
        """Mean of `eval_metric` over the queries of all partitions, as `LambdaMART.score` measures it.

        `y`, `qid` and `sample_weight` may be names of columns of a frame, as in fit.
        """
        check_is_fitted(self)
        _refuse({"init_score": init_score, "document_weight": document_weight})
        if not hasattr(X, "dask"):
            return super().score(X, y, qid, sample_weight)
        if qid is None:
            raise ValueError("'qid' must be given to score on a cluster; got None")
        y, qid, sample_weight = (X[c] if isinstance(c, str) else c for c in (y, qid, sample_weight))
        scores = self.predict(X, lengths=False)
        return float(evaluate(self.find_metric(), y, scores, qid, sample_weight=sample_weight))

    # --------------------------------------------------------------------------------- the local ranker

    def to_local(self) -> TreeRanker:
        """The fitted model as an ordinary ranker, which needs no Dask: `LambdaMART` of `DaskLambdaMART`."""
        check_is_fitted(self)
        names = self._local._get_param_names()
        local = self._local(**{name: getattr(self, name) for name in names})
        fitted = {name: value for name, value in vars(self).items() if name.endswith("_")}
        fitted.pop("workers_")
        local.__dict__.update(
            fitted, single_query_=self.single_query_, categorical_columns_=self.categorical_columns_
        )
        return local

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model as that of the local ranker: ``LambdaMART.load(path)`` reads it."""
        self.to_local().save(path)


def _predict_part(ranker: TreeRanker, X: Features, n_trees: int | None) -> FloatArray:
    """Runs on a worker."""
    if not len(X):
        return np.empty(0)
    with _predicting:  # XGBoost takes its number of threads from the model, which the tasks of a worker share
        ranker.n_jobs = own_threads(ranker.n_jobs)
        scores: FloatArray = ranker.predict(X, n_trees=n_trees)
        return scores


def _named_columns(found: RowFiles) -> Any:
    """The features of files as a frame without rows; None where files have no names."""
    import pandas as pd

    if found.feature_names is None:
        return None
    names = list(found.feature_names)
    return pd.DataFrame(np.empty((0, len(names)), dtype=np.float32), columns=names)


def _refuse(given: Mapping[str, Any]) -> None:
    """Raise if something was given that only local rankers know."""
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"{name!r} must not be set on a cluster, only with the local ranker")


def _columns(columns: Any) -> str:
    names = column_names(columns)
    return f"{columns.shape[1]} columns" if names is None else ", ".join(map(str, names))


def _check_categories(columns: Any, categorical: Sequence[int]) -> None:
    """Every worker must code a category alike, so the categories must be known before rows are read."""
    for j in categorical:
        if not hasattr(columns, "iloc"):
            continue
        values = columns.iloc[:, j]
        name = columns.columns[j]
        coded = str(values.dtype) == "category"
        unknown = coded and "__UNKNOWN_CATEGORIES__" in list(values.cat.categories)
        if unknown or not (coded or np.issubdtype(values.dtype, np.number)):
            raise ValueError(
                f"'X' column {name!r} must have known categories; call X.astype({{{name!r}: 'category'}})"
                f".categorize([{name!r}]) first"
            )
