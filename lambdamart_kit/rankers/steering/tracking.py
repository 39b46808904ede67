"""Fits of rankers in MLflow, where ``mlflow.sklearn.autolog()`` is on.

MLflow patches the classes of scikit-learn, a pipeline or a search among them. It does not know those of other
packages, so that a ranker by itself would leave no trace.
"""

from __future__ import annotations

import importlib
import math
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from lambdamart_kit.rankers.steering.callbacks import log_to_mlflow

_MOST = 100  # parameters that MLflow takes at once


@contextmanager
def logged_to_mlflow(ranker: Any) -> Iterator[None]:
    """Log a fit: parameters, the measures of every round, and the model.

    It does so only where ``mlflow.sklearn.autolog()`` is on, and not inside a fit that MLflow logs already:
    that of a pipeline, a search, or another ranker. An active run is used; without one, the fit is a run.

    Parameters
    ----------
    ranker : BaseRanker
        Fitted by the block.
    """
    mlflow = _autologging()
    if mlflow is None:
        yield
        return
    with mlflow.sklearn._SklearnTrainingSession(estimator=ranker, allow_children=False) as session:
        if not session.should_log():
            yield
            return
        with nullcontext(mlflow.active_run()) if mlflow.active_run() else mlflow.start_run() as run:
            yield
            try:
                _log(mlflow, ranker, run.info.run_id)
            except Exception as error:  # a fit of hours is not lost to a server that does not answer
                warnings.warn(
                    f"MLflow could not log the fit of {type(ranker).__name__}: {error}",
                    UserWarning,
                    stacklevel=4,
                )


def _autologging() -> Any:
    """MLflow, if it is loaded and logs what scikit-learn fits; else None."""
    mlflow = sys.modules.get("mlflow")
    if mlflow is None or "mlflow.sklearn" not in sys.modules:
        return None
    from mlflow.utils.autologging_utils import autologging_is_disabled

    found = not autologging_is_disabled("sklearn") and hasattr(mlflow.sklearn, "_SklearnTrainingSession")
    return mlflow if found else None


def _log(mlflow: Any, ranker: Any, run_id: str) -> None:
    from mlflow.utils.autologging_utils import get_autologging_config

    parameters = ranker.get_params(deep=False)
    names = list(parameters)
    for at in range(0, len(names), _MOST):
        mlflow.log_params({name: parameters[name] for name in names[at : at + _MOST]})
    now = int(time.time() * 1000)
    metrics = [
        mlflow.entities.Metric(f"{of_set} {metric}".replace("@", "_at_"), value, now, number)
        for of_set, measures in _measures(ranker).items()
        for metric, values in measures.items()
        for number, value in enumerate(values, start=1)
    ]
    best = getattr(ranker, "best_score_", math.nan)
    if math.isfinite(best):
        metrics.append(mlflow.entities.Metric("best_score", best, now, 0))
    client = mlflow.MlflowClient()
    for at in range(0, len(metrics), 1000):
        client.log_batch(run_id, metrics=metrics[at : at + 1000])
    if get_autologging_config("sklearn", "log_models", True):
        form = get_autologging_config("sklearn", "serialization_format", "cloudpickle")
        types = {"skops_trusted_types": _own_types(ranker)} if form == "skops" else {}
        mlflow.sklearn.log_model(ranker, name="model", serialization_format=form, **types)


def _own_types(ranker: Any) -> list[str]:
    """Types of the kit in a ranker, which skops must be told to trust."""
    skops_io = importlib.import_module("skops.io")
    unknown: list[str] = skops_io.get_untrusted_types(data=skops_io.dumps(ranker))
    return [name for name in unknown if name.startswith("lambdamart_kit.")]


def _measures(ranker: Any) -> dict[str, dict[str, list[float]]]:
    """Measures of all rounds by set and metric; none if a callback has logged them already."""
    callbacks = getattr(ranker, "callbacks", None) or ()
    if any(isinstance(callback, log_to_mlflow) for callback in callbacks):
        return {}
    found: dict[str, dict[str, list[float]]] = getattr(ranker, "evals_result_", {})
    return found
