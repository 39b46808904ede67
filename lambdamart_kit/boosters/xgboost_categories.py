"""Names of categories in an XGBoost model, so that XGBoost finds the codes of a data frame itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xgboost as xgb

from lambdamart_kit.core.typing import Settings


def named_categories(booster: xgb.Booster, categories: Mapping[int, Sequence[Any]]) -> xgb.Booster:
    """A copy of a model trained on codes that knows what the codes stand for.

    XGBoost 3.1 and later then recodes the categories of a frame. Earlier versions have no place for names:
    there, the model comes back as it is, and a frame has to bring its categories in the order of the fit.

    A category that was not there at fit is missing for a ranker. XGBoost's own model raises an error for some
    of them and takes others for a known one (3.2 looks for the next name in order and does not compare).

    Parameters
    ----------
    booster : xgboost.Booster
    categories : mapping of int to sequence
        By column, what the codes 0, 1, ... stand for.
    """
    content = json.loads(booster.save_raw("json"))
    model = _model(content)
    example = _model(json.loads(_trained_on(categories, booster.num_features()).save_raw("json")))
    if "cats" not in model or "cats" not in example:
        return booster
    model["cats"] = example["cats"]
    named = xgb.Booster()
    named.load_model(bytearray(json.dumps(content).encode()))
    return named


def _model(content: Settings) -> Settings:
    """The part of a model file that holds the trees."""
    booster: dict[str, Any] = content["learner"]["gradient_booster"]
    found: dict[str, Any] = booster.get("gbtree", booster)["model"]
    return found


def _trained_on(categories: Mapping[int, Sequence[Any]], n_features: int) -> xgb.Booster:
    """A tree on a frame with every category once: XGBoost writes their names in its own way."""
    import pandas as pd

    n_rows = max(len(levels) for levels in categories.values())
    columns = {}
    for column in range(n_features):
        levels = categories.get(column)
        values = np.zeros(n_rows)
        columns[str(column)] = (
            values
            if levels is None
            else pd.Categorical.from_codes(np.arange(n_rows) % len(levels), categories=levels)
        )
    matrix = xgb.DMatrix(pd.DataFrame(columns), label=np.zeros(n_rows), enable_categorical=True)
    return xgb.train({"max_depth": 1}, matrix, 1)
