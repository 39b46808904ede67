"""Rankers: scikit-learn estimators with one contract (`lambdamart_kit.rankers.base`).

Names load on first use, so that a library is imported only when its ranker is.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from lambdamart_kit.rankers.saving import RANKERS

if TYPE_CHECKING:
    from lambdamart_kit.rankers.base import BaseRanker as BaseRanker
    from lambdamart_kit.rankers.blend.auto import AutoRanker as AutoRanker
    from lambdamart_kit.rankers.blend.ensemble import EnsembleRanker as EnsembleRanker
    from lambdamart_kit.rankers.columns.query_features import QueryFeatures as QueryFeatures
    from lambdamart_kit.rankers.compression.record import Compression as Compression
    from lambdamart_kit.rankers.goals.pareto import ParetoFront as ParetoFront
    from lambdamart_kit.rankers.goals.pareto import pareto_front as pareto_front
    from lambdamart_kit.rankers.lambdamart import LambdaMART as LambdaMART
    from lambdamart_kit.rankers.library_rankers import CatBoostRanker as CatBoostRanker
    from lambdamart_kit.rankers.library_rankers import LightGBMRanker as LightGBMRanker
    from lambdamart_kit.rankers.library_rankers import XGBoostRanker as XGBoostRanker
    from lambdamart_kit.rankers.linear import LinearRanker as LinearRanker
    from lambdamart_kit.rankers.neural import NeuralRanker as NeuralRanker
    from lambdamart_kit.rankers.pointwise import PointwiseRanker as PointwiseRanker
    from lambdamart_kit.rankers.saving import ModelFormatError as ModelFormatError
    from lambdamart_kit.rankers.steering.callbacks import log_to_jsonl as log_to_jsonl
    from lambdamart_kit.rankers.steering.callbacks import log_to_mlflow as log_to_mlflow
    from lambdamart_kit.rankers.steering.callbacks import prune as prune
    from lambdamart_kit.rankers.steering.callbacks import schedule as schedule
    from lambdamart_kit.rankers.steering.callbacks import stop_after as stop_after
    from lambdamart_kit.rankers.steering.events import TrainingEvent as TrainingEvent

_HOME = {
    **RANKERS,
    "BaseRanker": "base",
    "Compression": "compression.record",
    "ModelFormatError": "saving",
    "ParetoFront": "goals.pareto",
    "pareto_front": "goals.pareto",
    "QueryFeatures": "columns.query_features",
    "TrainingEvent": "steering.events",
    **dict.fromkeys(
        ("log_to_jsonl", "log_to_mlflow", "prune", "schedule", "stop_after"), "steering.callbacks"
    ),
}

__all__ = [*sorted(_HOME), "load_ranker"]


def load_ranker(path: str | os.PathLike[str]) -> BaseRanker:
    """Read any ranker that ``save`` wrote, whatever its class.

    Parameters
    ----------
    path : str or Path
        File to read.

    Returns
    -------
    BaseRanker
        A fitted ranker of the class that was saved.

    Raises
    ------
    ModelFormatError
        If the file is not a ranker of this package, is damaged, or was written by a newer version.

    Examples
    --------
    >>> import tempfile
    >>> from lambdamart_kit.datasets import make_letor
    >>> from lambdamart_kit.rankers import LinearRanker
    >>> data = make_letor(n_queries=20, random_state=0)
    >>> path = os.path.join(tempfile.mkdtemp(), "model.zip")
    >>> LinearRanker(max_iter=5).fit(data.X, data.y, qid=data.qid).save(path)
    >>> load_ranker(path)
    LinearRanker(max_iter=5)
    """
    from lambdamart_kit.rankers import base, saving

    name = saving.read(path).class_name
    cls = __getattr__(name) if name in _HOME else None
    if not (isinstance(cls, type) and issubclass(cls, base.BaseRanker)):
        raise saving.ModelFormatError(
            f"{os.fspath(path)}: holds a {name}, which is not a ranker of lambdamart_kit; use {name}.load"
        )
    return cls.load(path)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
