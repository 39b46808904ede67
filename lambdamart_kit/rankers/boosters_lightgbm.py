"""LightGBM's trees behind the booster protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import lightgbm as lgb
import numpy as np

from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import FloatArray
from lambdamart_kit.objectives import Bound
from lambdamart_kit.rankers.boosters import (
    BoosterParams,
    LibraryObjective,
    Model,
    safe_names,
    translate,
)
from lambdamart_kit.rankers.training import Callback, EvalSet, finish_round

if TYPE_CHECKING:
    from lambdamart_kit.trees.forest import Forest

_MIN_CHILD_SAMPLES = 20
_WORTH_A_FOREST = 4096  # rows whose scoring by LightGBM takes as long as laying out its trees anew


class LightGBMModel:
    """A model in LightGBM's text format: what its trees, and the native ones, are saved as.

    Scores are LightGBM's to the last bit, and its own for the first few thousand rows; then the trees are
    laid out as a `Forest`, which is faster.
    """

    suffix = "txt"

    def __init__(self, raw: lgb.Booster | None) -> None:
        self._raw = raw
        self._n_scored = 0
        self._forest: Forest | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return LightGBMModel, (self.raw,)

    @property
    def raw(self) -> lgb.Booster:
        """LightGBM's own model."""
        return self._raw

    @property
    def n_trees(self) -> int:
        """Number of trees."""
        return int(self.raw.num_trees())

    def predict(
        self, X: Any, *, iteration_range: tuple[int, int] | None = None, n_threads: int = 1
    ) -> FloatArray:
        """Scores of the rows of X, (n_samples,) float64."""
        start, stop = iteration_range or (0, self.n_trees)
        if stop <= start:
            return np.zeros(X.shape[0])
        forest = self._laid_out(X)
        if forest is not None:
            return forest.predict(X, start, min(stop, self.n_trees), n_threads=n_threads)
        scores = self.raw.predict(
            X, start_iteration=start, num_iteration=stop - start, raw_score=True, num_threads=n_threads
        )
        return np.asarray(scores, dtype=np.float64)

    def _laid_out(self, X: Any) -> Forest | None:
        """The trees as a forest, if X is what it reads and enough rows were scored to be worth it."""
        if getattr(X, "dtype", None) != np.float32 or X.shape[1] != self.raw.num_feature():
            return None
        if self._n_scored < _WORTH_A_FOREST:
            self._n_scored += X.shape[0]
            if self._n_scored >= _WORTH_A_FOREST:
                from lambdamart_kit.trees.forest import Forest

                self._forest = Forest.of_text(self.raw.model_to_string(num_iteration=-1))
        return self._forest

    def truncate(self, n_trees: int) -> LightGBMModel:
        """The model with its first `n_trees` trees."""
        if n_trees >= self.n_trees:
            return self
        return LightGBMModel(lgb.Booster(model_str=self.raw.model_to_string(num_iteration=n_trees)))

    def gain(self) -> FloatArray:
        """Total split gain of each feature, (n_features,)."""
        return np.asarray(self.raw.feature_importance("gain"), dtype=np.float64)

    def to_bytes(self) -> bytes:
        """LightGBM's text format."""
        return str(self.raw.model_to_string(num_iteration=-1)).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> LightGBMModel:
        """The model that `to_bytes` wrote."""
        return LightGBMModel(lgb.Booster(model_str=content.decode()))


class LightGBMBooster:
    """Leaf-wise trees by LightGBM, with determinism switched on (see `lightgbm_settings`)."""

    model = LightGBMModel
    reads_views = False

    def fit(
        self,
        X: Any,
        bound: Bound | LibraryObjective,
        params: BoosterParams,
        *,
        queries: Queries | None = None,
        eval_sets: Sequence[EvalSet] = (),
        callbacks: Sequence[Callback] = (),
        start: Model | None = None,
    ) -> LightGBMModel:
        """Grow trees; see `Booster.fit`."""
        settings = lightgbm_settings(params)
        labels: dict[str, Any] = {"label": np.zeros(X.shape[0], np.float32)}
        if isinstance(bound, LibraryObjective):
            settings |= {"objective": bound.name, **bound.options}
            labels = {"label": bound.y, "group": bound.queries.sizes, "weight": bound.sample_weight}
        else:
            settings["objective"] = _as_lightgbm_objective(bound)
        columns: dict[str, Any] = {
            "feature_name": safe_names(params.feature_names) or "auto",
            "categorical_feature": list(params.categorical_features) or "auto",
            "params": {"verbosity": -1},
        }
        train = lgb.Dataset(X, **labels, **columns)
        held_out = [lgb.Dataset(e.X, reference=train, **columns) for e in eval_sets]
        n_before = start.n_trees if start is not None else 0
        raw = lgb.train(
            settings,
            train,
            num_boost_round=params.n_estimators,
            valid_sets=held_out,
            valid_names=[e.key for e in eval_sets],
            feval=_Measure(held_out, eval_sets) if eval_sets else None,
            callbacks=[_AfterRound(callbacks, n_before)],
            init_model=start.raw if start is not None else None,
        )
        return LightGBMModel(raw)


def lightgbm_settings(params: BoosterParams) -> dict[str, Any]:
    """LightGBM's settings for `params`.

    ``deterministic`` and a fixed histogram layout make LightGBM's model repeatable; its automatic choice of
    layout is made by timing the two, so it may change from run to run.
    """
    _check_known(params.extra)
    settings = translate(params, "lightgbm")
    if params.max_depth is None:
        settings["max_depth"] = -1
    if params.num_leaves is None:
        settings["num_leaves"] = 31
    if params.min_child_samples is None:
        settings["min_data_in_leaf"] = _MIN_CHILD_SAMPLES
    if params.monotone_constraints is not None:
        settings["monotone_constraints"] = list(params.monotone_constraints)
    fixed = {
        "bagging_freq": int(params.subsample < 1),
        "metric": "none",
        "verbosity": -1,
        "boost_from_average": False,
        "deterministic": True,
        "force_row_wise": not params.extra.get("force_col_wise", False),
        "feature_pre_filter": False,
    }
    return {**fixed, **settings}


def _check_known(extra: Mapping[str, Any]) -> None:
    """LightGBM passes over names it does not know; a typo here is an error."""
    known = lgb.basic._ConfigAliases._get_all_param_aliases()
    names = {*known, *(alias for aliases in known.values() for alias in aliases)}
    unknown = sorted(set(extra) - names)
    if unknown:
        raise ValueError(f"'booster_params' must hold settings of LightGBM; it has no {', '.join(unknown)}")


def _as_lightgbm_objective(bound: Bound) -> Any:
    def objective(scores: FloatArray, _: lgb.Dataset) -> Any:
        return bound.gradient_hessian(scores.astype(np.float32))

    return objective


class _Measure:
    """LightGBM's `feval`: a data set and its scores to (name, value, greater is better)."""

    def __init__(self, data: Sequence[lgb.Dataset], eval_sets: Sequence[EvalSet]) -> None:
        self._pairs = list(zip(data, eval_sets))

    def __call__(self, scores: FloatArray, data: lgb.Dataset) -> tuple[str, float, bool]:
        eval_set = next(e for d, e in self._pairs if d is data)
        return eval_set.key, eval_set.metric(scores), True


class _AfterRound:
    def __init__(self, callbacks: Sequence[Callback], n_before: int) -> None:
        self._callbacks = callbacks
        self._n_before = n_before

    def __call__(self, env: Any) -> None:
        evaluation = {entry[1]: float(entry[2]) for entry in env.evaluation_result_list or ()}
        to_bytes = LightGBMModel(env.model).to_bytes
        if finish_round(self._callbacks, env.iteration + 1 - self._n_before, evaluation, to_bytes):
            raise lgb.callback.EarlyStopException(env.iteration, env.evaluation_result_list or [])
