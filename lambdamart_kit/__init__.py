"""Learning to rank and preference models as scikit-learn estimators.

Every public name loads on first use, so that ``import lambdamart_kit`` stays cheap: no compiled kernel,
LightGBM, XGBoost, Dask or matplotlib is imported until something needs it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lambdamart_kit.runtime.version import __version__ as __version__

if TYPE_CHECKING:
    from lambdamart_kit.model_selection import query_routing as query_routing
    from lambdamart_kit.preferences import BradleyTerry as BradleyTerry
    from lambdamart_kit.preferences import DPOPolicy as DPOPolicy
    from lambdamart_kit.preferences import PlackettLuce as PlackettLuce
    from lambdamart_kit.preferences import PreferencePairs as PreferencePairs
    from lambdamart_kit.preferences import RewardModel as RewardModel
    from lambdamart_kit.rankers import AutoRanker as AutoRanker
    from lambdamart_kit.rankers import CatBoostRanker as CatBoostRanker
    from lambdamart_kit.rankers import EnsembleRanker as EnsembleRanker
    from lambdamart_kit.rankers import LambdaMART as LambdaMART
    from lambdamart_kit.rankers import LightGBMRanker as LightGBMRanker
    from lambdamart_kit.rankers import LinearRanker as LinearRanker
    from lambdamart_kit.rankers import NeuralRanker as NeuralRanker
    from lambdamart_kit.rankers import PointwiseRanker as PointwiseRanker
    from lambdamart_kit.rankers import QueryFeatures as QueryFeatures
    from lambdamart_kit.rankers import XGBoostRanker as XGBoostRanker
    from lambdamart_kit.rankers import log_to_jsonl as log_to_jsonl
    from lambdamart_kit.rankers import log_to_mlflow as log_to_mlflow
    from lambdamart_kit.rankers import pareto_front as pareto_front
    from lambdamart_kit.rankers import prune as prune
    from lambdamart_kit.rankers import schedule as schedule
    from lambdamart_kit.rankers import stop_after as stop_after


_HOME = {
    "BradleyTerry": "preferences",
    "DPOPolicy": "preferences",
    "PlackettLuce": "preferences",
    "PreferencePairs": "preferences",
    "RewardModel": "preferences",
    "AutoRanker": "rankers",
    "EnsembleRanker": "rankers",
    "LambdaMART": "rankers",
    "XGBoostRanker": "rankers",
    "LightGBMRanker": "rankers",
    "CatBoostRanker": "rankers",
    "LinearRanker": "rankers",
    "NeuralRanker": "rankers",
    "PointwiseRanker": "rankers",
    "QueryFeatures": "rankers",
    "log_to_jsonl": "rankers",
    "log_to_mlflow": "rankers",
    "pareto_front": "rankers",
    "prune": "rankers",
    "query_routing": "model_selection",
    "schedule": "rankers",
    "stop_after": "rankers",
}
_MODULES = ("datasets", "diversify", "explore", "metrics", "model_selection", "objectives", "rankers")

__all__ = ["__version__", *sorted(_HOME), *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
