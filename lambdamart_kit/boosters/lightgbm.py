"""LightGBM's trees behind the booster protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import lightgbm as lgb
import numpy as np

from lambdamart_kit.boosters.gates.lightgbm import PARAMETER_NAMES, lightgbm_gate
from lambdamart_kit.boosters.lightgbm_model import LightGBMModel
from lambdamart_kit.boosters.protocol import Booster, LibraryObjective, Model
from lambdamart_kit.boosters.rounds import Callback, EvalSet, finish_round
from lambdamart_kit.boosters.settings import BoosterParams, safe_names, translate
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import Features, FloatArray, Settings
from lambdamart_kit.objectives import Bound
from lambdamart_kit.runtime.threads import library_threads

_MIN_CHILD_SAMPLES = 20


class LightGBMBooster(Booster):
    """Leaf-wise trees by LightGBM, with determinism switched on (see `lightgbm_settings`)."""

    model = LightGBMModel
    parameter_names = PARAMETER_NAMES
    reads_float64 = True

    def fit(
        self,
        X: Features,
        bound: Bound | LibraryObjective,
        params: BoosterParams,
        *,
        queries: Queries | None = None,
        eval_sets: Sequence[EvalSet] = (),
        callbacks: Sequence[Callback] = (),
        start: Model | None = None,
    ) -> LightGBMModel:
        """Grow trees; see `Booster.fit`."""
        params = replace(params, n_threads=library_threads(params.n_threads))
        own_objective = bound.name if isinstance(bound, LibraryObjective) else None
        settings = lightgbm_settings(params, own_objective)
        labels: dict[str, Any] = {"label": np.zeros(X.shape[0], np.float32)}
        if isinstance(bound, LibraryObjective):
            settings |= {"objective": bound.name, **bound.options}
            labels = {"label": bound.y, "group": bound.queries.sizes, "weight": bound.sample_weight}
            labels["init_score"] = bound.init_score
            if start is not None and bound.init_score is not None:
                # LightGBM would put the scores of the model in the place of the starting scores.
                raise ValueError(
                    "'init_score' must be None with LightGBM's own objectives and 'warm_start' or "
                    "'init_model'; use LambdaMART(booster='lightgbm'), which takes both"
                )
        else:
            settings["objective"] = _as_lightgbm_objective(bound)
        columns: dict[str, Any] = {
            "feature_name": safe_names(params.feature_names) or "auto",
            "categorical_feature": list(params.categorical_features) or "auto",
            "params": {"verbosity": -1, "num_threads": params.n_threads},
        }
        train = lgb.Dataset(X, **labels, **columns)
        held_out = [lgb.Dataset(e.X, reference=train, **columns) for e in eval_sets]
        n_before = start.n_trees if start is not None else 0
        try:
            raw = lgb.train(
                settings,
                train,
                num_boost_round=params.n_estimators,
                valid_sets=held_out,
                valid_names=[e.name for e in eval_sets],
                feval=_Measure(held_out, eval_sets) if eval_sets else None,
                callbacks=[*_schedule(params), _AfterRound(callbacks, n_before)],
                init_model=start.raw if start is not None else None,
            )
        except lgb.basic.LightGBMError as error:
            raise ValueError(f"LightGBM does not take 'booster_params' or the data: {error}") from error
        return LightGBMModel(raw if own_objective else _named_objective(raw))

    def average(self, models: Sequence[LightGBMModel]) -> LightGBMModel:
        """See `Booster.average`."""
        return LightGBMModel.average(models)


def lightgbm_settings(params: BoosterParams, own_objective: str | None = None) -> Settings:
    """LightGBM's settings for `params`, which drive `own_objective` if it is LightGBM's own.

    ``deterministic`` and a fixed histogram layout make LightGBM's model repeatable; its automatic choice of
    layout is made by timing the two, so it may change from run to run.
    """
    settings = translate(params, PARAMETER_NAMES, library="LightGBM")
    if params.max_depth is None:
        settings["max_depth"] = -1
    if params.num_leaves is None:
        settings["num_leaves"] = 31
    if params.min_child_samples is None:
        settings["min_data_in_leaf"] = _MIN_CHILD_SAMPLES
    if params.monotone_constraints is not None:
        settings["monotone_constraints"] = list(params.monotone_constraints)
    if params.interaction_constraints is not None:
        settings["interaction_constraints"] = [list(group) for group in params.interaction_constraints]
    fixed = {
        "bagging_freq": int(params.subsample < 1),
        "metric": "none",
        "verbosity": -1,
        "boost_from_average": False,
        "deterministic": True,
        "feature_pre_filter": False,
    }
    settings = {**fixed, **settings}
    extra = lightgbm_gate().admit(params.extra, {**settings, "objective": own_objective})
    return {**settings, "force_row_wise": not extra.get("force_col_wise", False), **extra, **params.network}


def _schedule(params: BoosterParams) -> list[Any]:
    """LightGBM's callback that sets the learning rate before each round."""
    rate = params.schedule
    # LightGBM counts rounds of this training from 0.
    return [] if rate is None else [lgb.reset_parameter(learning_rate=lambda at: rate(at + 1))]


def _named_objective(raw: lgb.Booster) -> lgb.Booster:
    """The model with the name of an objective that converters know, such as those to ONNX.

    LightGBM writes none where a function gave the gradient. Scores are raw sums of leaves in either case.
    """
    text = raw.model_to_string(num_iteration=-1)
    header, features, trees = text.partition("\nfeature_names=")
    if "\nobjective=" in header:
        return raw
    trees = trees.replace("\n[objective: custom]\n", "\n[objective: lambdarank]\n")
    return lgb.Booster(model_str=f"{header}\nobjective=lambdarank{features}{trees}")


def _as_lightgbm_objective(bound: Bound) -> Any:
    def objective(scores: FloatArray, _: lgb.Dataset) -> Any:
        return bound.gradient_hessian(scores.astype(np.float32))

    return objective


class _Measure:
    """LightGBM's `feval`: a data set and its scores to (name, value, greater is better) of each measure."""

    def __init__(self, data: Sequence[lgb.Dataset], eval_sets: Sequence[EvalSet]) -> None:
        self._pairs = list(zip(data, eval_sets))

    def __call__(self, scores: FloatArray, data: lgb.Dataset) -> list[tuple[str, float, bool]]:
        eval_set = next(e for d, e in self._pairs if d is data)
        found = eval_set.evaluate(scores)
        return [
            (key, value, m.greater_is_better) for m, (key, value) in zip(eval_set.measures, found.items())
        ]


class _AfterRound:
    def __init__(self, callbacks: Sequence[Callback], n_before: int) -> None:
        self._callbacks = callbacks
        self._n_before = n_before

    def __call__(self, env: Any) -> None:
        evaluation = {entry[1]: float(entry[2]) for entry in env.evaluation_result_list or ()}
        to_bytes = LightGBMModel(env.model).to_bytes
        if finish_round(self._callbacks, env.iteration + 1 - self._n_before, evaluation, to_bytes):
            raise lgb.callback.EarlyStopException(env.iteration, env.evaluation_result_list or [])
