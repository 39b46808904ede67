"""One fit, measured: what the process of its own that a benchmark starts for every fit does."""

from __future__ import annotations

import base64
import gc
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from scipy import sparse

from lambdamart_kit.bench.measuring import measure_as_run
from lambdamart_kit.bench.results import Run
from lambdamart_kit.core.rows import is_sparse
from lambdamart_kit.core.typing import Array, Features, FloatArray, Settings
from lambdamart_kit.datasets import RankingDataset
from lambdamart_kit.metrics.imported import find_metric
from lambdamart_kit.trec import is_trec_name

_WARM_UP_ROWS = 400
_PREDICTIONS = 3  # the fastest counts: some models are laid out anew on the way
_LIBRARIES = ("lambdamart-kit", "numpy", "numba", "scikit-learn", "lightgbm", "xgboost", "catboost")


@dataclass(frozen=True)
class FoldData:
    """The three parts of a fold; tuning and early stopping see `train` and `valid` only."""

    train: RankingDataset
    valid: RankingDataset
    test: RankingDataset


class TrainTestFold(Protocol):
    """Where a fold's data comes from: small, picklable, loaded in the process that needs it."""

    @property
    def name(self) -> str:
        """How reports call it."""

    def fingerprint(self) -> str:
        """Changes when the data does."""

    def load(self) -> FoldData:
        """Read or generate the data."""


@dataclass(frozen=True)
class FitTask:
    """What is asked of one fit; `estimator` carries the parameters of its setting already."""

    key: str
    model: str
    estimator: Any
    setting: int
    params: dict[str, Any]
    fold: TrainTestFold
    metrics: tuple[str, ...]
    keep_scores: bool = False


def fit_and_measure(task: FitTask) -> Run:
    """Fit on the training part, and evaluate on the validation and test parts.

    A fit on a few queries comes first: it loads libraries and compiles or loads kernels, so that times are
    those of fitting. Memory is the growth of this process's peak during the fit, its data already loaded.

    Parameters
    ----------
    task : FitTask
        What to fit, and on what.

    Returns
    -------
    Run
        With every field but ``error`` set.
    """
    data = task.fold.load()
    _warm_up(task.estimator, data)
    estimator = task.estimator
    gc.collect()
    before = _reset_peak_memory()
    started = time.perf_counter()
    fit_with_validation(estimator, data.train, data.valid)
    fit_seconds = time.perf_counter() - started
    peak = _peak_memory()
    valid_scores = estimator.predict(data.valid.X)
    predict_seconds = float("inf")
    for _ in range(_PREDICTIONS):
        started = time.perf_counter()
        scores = estimator.predict(data.test.X)
        predict_seconds = min(predict_seconds, time.perf_counter() - started)
    test = _per_query(task.metrics, data.test, scores)
    valid = _per_query(task.metrics, data.valid, valid_scores)
    return Run(
        key=task.key,
        model=task.model,
        fold=task.fold.name,
        setting=task.setting,
        params=task.params,
        valid={m: _mean(values) for m, values in valid.items()},
        test={m: [None if np.isnan(v) else float(v) for v in values] for m, values in test.items()},
        test_qid=[str(q) for q in data.test.queries.ids],
        learning_curve=_plain_curve(getattr(estimator, "evals_result_", None) or {}),
        n_iterations=_n_iterations(estimator),
        fit_seconds=fit_seconds,
        fit_times=dict(getattr(estimator, "fit_times_", {})),
        predict_seconds=predict_seconds,
        fit_memory=None if before is None or peak is None else max(0, peak - before),
        n_test_documents=len(data.test),
        test_scores=_packed(scores) if task.keep_scores else "",
        environment=environment(),
    )


def fit_with_validation(
    estimator: Any,
    train: RankingDataset,
    valid: RankingDataset,
    features: Callable[[RankingDataset], Features] = lambda rows: rows.X,
) -> Any:
    """Fit a ranker that has validation queries for early stopping, or learns from them too.

    A ranker that holds out queries itself (`AutoRanker`) gets the queries of both parts to learn from.

    Parameters
    ----------
    estimator : ranker
    train, valid : RankingDataset
    features : callable
        From rows to the features as the ranker takes them.

    Returns
    -------
    estimator
        Fitted.
    """
    X = features(train)
    X_val = features(valid)
    weight = train.sample_weight
    if not getattr(estimator, "holds_out_itself", False):
        held = {"X_val": X_val, "y_val": valid.y, "qid_val": valid.qid}
        if valid.sample_weight is not None:
            # Left out where there are none, for rankers of users that know no such parameter.
            held["sample_weight_val"] = valid.sample_weight
        return estimator.fit(X, train.y, train.qid, sample_weight=weight, **held)
    # Queries are numbered anew: a query of the one part is not the query of that name in the other.
    parts = [data.queries.unsort(data.queries.query_of_ordered_row) for data in (train, valid)]
    qid = np.concatenate((parts[0], parts[1] + train.queries.n_queries))
    if weight is not None and valid.sample_weight is not None:
        weight = np.concatenate((weight, valid.sample_weight))
    return estimator.fit(_stacked(X, X_val), np.concatenate((train.y, valid.y)), qid, sample_weight=weight)


def _stacked(first: Features, second: Features) -> Features:
    if is_sparse(first):
        return sparse.vstack((first, second), format="csr")
    if hasattr(first, "iloc"):
        import pandas as pd

        return pd.concat((first, second), ignore_index=True)
    return np.vstack((first, second))


def _packed(scores: Array) -> str:
    return base64.b64encode(np.asarray(scores, dtype="<f8").tobytes()).decode()


@cache
def environment() -> Settings:
    """Python, libraries and cores: what a reader needs to place the times."""
    found: dict[str, Any] = {"python": platform.python_version(), "cores": os.cpu_count()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _warm_up(estimator: Any, data: FoldData) -> None:
    from sklearn.base import clone

    small = clone(estimator)
    few = {"n_estimators": 2, "max_iter": 2, "budget": "fits=1"}
    small.set_params(**{name: value for name, value in few.items() if name in small.get_params()})
    train, valid = _first_queries(data.train), _first_queries(data.valid)
    fit_with_validation(small, train, valid)
    small.predict(valid.X)


def _first_queries(data: RankingDataset) -> RankingDataset:
    """Queries that are not blank, up to some hundred rows."""
    queries = data.queries
    best = np.maximum.reduceat(queries.sort(data.y), queries.ptr[:-1])
    judged = np.flatnonzero(best > 0)
    enough = np.searchsorted(np.cumsum(queries.sizes[judged]), _WARM_UP_ROWS) + 1
    return data.select(judged[:enough])


def _per_query(metrics: Sequence[str], data: RankingDataset, scores: Array) -> dict[str, FloatArray]:
    """Values of each metric in the order of the ids of the queries."""
    theirs = [name for name in metrics if is_trec_name(name)]
    of_trec = measure_as_run(data, scores, theirs).values.T if theirs else ()
    values = dict(zip(theirs, of_trec))
    return {
        name: values[name] if name in values else find_metric(name).per_query(data.y, scores, data.qid)
        for name in metrics
    }


def _mean(values: FloatArray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else 0.0


def _n_iterations(estimator: Any) -> int | None:
    for name in ("best_iteration_", "n_iter_", "n_fits_"):
        value = getattr(estimator, name, None)
        if value is not None:
            return int(value)
    return None


def _plain_curve(curve: Any) -> Any:
    if isinstance(curve, dict):
        return {str(name): _plain_curve(values) for name, values in curve.items()}
    return [None if not np.isfinite(v) else float(f"{v:.6g}") for v in curve]


def _reset_peak_memory() -> int | None:
    """Bytes in memory now; from here on the peak is counted anew where the system can (Linux)."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return _peak_memory()
    return _peak_memory()


def _peak_memory() -> int | None:
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024
