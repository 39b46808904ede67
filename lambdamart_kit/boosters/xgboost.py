"""XGBoost's trees behind the booster protocol.

XGBoost takes what a sparse matrix leaves out as missing, not as zero. A model fitted on a sparse matrix
therefore sees zeros as missing whatever it is asked to predict on, and a model fitted on an array sees
zeros as zeros.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xgboost as xgb

from lambdamart_kit.boosters.gates.xgboost import PARAMETER_NAMES, configuration, xgboost_gate
from lambdamart_kit.boosters.protocol import (
    Booster,
    LibraryObjective,
    Model,
    SumOfTrees,
    can_be_written,
)
from lambdamart_kit.boosters.rounds import Callback, EvalSet, finish_round
from lambdamart_kit.boosters.settings import BoosterParams, safe_names, translate
from lambdamart_kit.boosters.xgboost_categories import named_categories
from lambdamart_kit.boosters.xgboost_checks import check_xgboost_json
from lambdamart_kit.boosters.xgboost_external import ExternalRows
from lambdamart_kit.boosters.xgboost_trees import mean_of_xgboost, plain_trees_of_xgboost
from lambdamart_kit.compile.interrupts import interrupts_held
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.rows import as_csr, is_sparse
from lambdamart_kit.core.typing import Features, FloatArray, IndexArray, Settings
from lambdamart_kit.objectives import Bound
from lambdamart_kit.runtime.threads import library_threads
from lambdamart_kit.trees.plain_tree import PlainTree

if TYPE_CHECKING:
    from lambdamart_kit.trees.contributions import TreeContributions

_ZERO_IS_MISSING = "lambdamart_kit_zero_is_missing"
_CHUNK = 100_000  # rows made dense at a time


class XGBoostModel(SumOfTrees):
    """A model in XGBoost's JSON format."""

    suffix = "json"

    def __init__(self, raw: xgb.Booster) -> None:
        self.raw = raw
        self._scoring: dict[int, xgb.Booster] = {}
        self._named: xgb.Booster | None = None

    @property
    def n_trees(self) -> int:
        """Number of trees."""
        return int(self.raw.num_boosted_rounds())

    def _scores(self, X: Features, start: int, stop: int, n_threads: int) -> FloatArray:
        raw = self._with_threads(library_threads(n_threads))
        parts = [
            raw.inplace_predict(
                part, iteration_range=(start, stop), predict_type="margin", validate_features=False
            )
            for part in self._as_fitted(X)
        ]
        return np.concatenate(parts).astype(np.float64)

    def _with_threads(self, n_threads: int) -> xgb.Booster:
        """A copy of the model that scores with so many threads.

        The number of threads is part of a booster, and to set it is not safe while another thread predicts.
        So each number has a copy of its own, which is never changed once others can see it. Two threads that
        both come here first make equal copies.
        """
        found = self._scoring.get(n_threads)
        if found is None:
            found = self.raw.copy()
            found.set_param({"nthread": n_threads})
            # XGBoost takes settings over when it next predicts, and that must not happen in two threads.
            found.inplace_predict(np.zeros((1, found.num_features()), dtype=np.float32))
            self._scoring[n_threads] = found
        return found

    def with_categories(self, categories: Mapping[int, Sequence[Any]]) -> xgb.Booster:
        """XGBoost's model; one that knows the categories of a frame's columns, where there are any."""
        if not categories or not can_be_written(categories, str, int, np.integer):
            return self.raw  # XGBoost itself refuses frames with any other kind of categories
        if self._named is None:
            self._named = named_categories(self.raw, categories)
        return self._named

    def leaf_indices(self, X: Features) -> IndexArray:
        """The leaf that each row of X falls into in each tree, (n_samples, n_trees)."""
        parts = [self.raw.predict(xgb.DMatrix(part), pred_leaf=True) for part in self._as_fitted(X)]
        return np.concatenate(parts).reshape(X.shape[0], self.n_trees).astype(np.intp)

    def truncate(self, n_trees: int) -> XGBoostModel:
        """The model with its first `n_trees` trees."""
        return self if n_trees >= self.n_trees else XGBoostModel(self.raw[:n_trees])

    def gain(self) -> FloatArray:
        """Total split gain of each feature, (n_features,)."""
        totals = np.zeros(self.raw.num_features())
        by_name = self.raw.get_score(importance_type="total_gain")
        names = self.raw.feature_names or [f"f{j}" for j in range(len(totals))]
        for j, name in enumerate(names):
            totals[j] = by_name.get(name, 0.0)
        return totals

    def plain_trees(self) -> list[PlainTree]:
        """The trees without XGBoost."""
        zero_is_missing = bool(self.raw.attr(_ZERO_IS_MISSING))
        return plain_trees_of_xgboost(self.to_bytes(), zero_is_missing=zero_is_missing)

    def _lay_out_contributions(self) -> TreeContributions:
        from lambdamart_kit.trees.contributions import TreeContributions

        zero_is_missing = bool(self.raw.attr(_ZERO_IS_MISSING))
        trees = plain_trees_of_xgboost(self.to_bytes())
        return TreeContributions.of_trees(trees, single=True, zero_is_missing=zero_is_missing)

    def to_bytes(self) -> bytes:
        """XGBoost's JSON."""
        return bytes(self.raw.save_raw("json"))

    @classmethod
    def from_bytes(cls, content: bytes) -> XGBoostModel:
        """The model that `to_bytes` wrote; a ValueError if its trees cannot be walked."""
        check_xgboost_json(content)
        raw = xgb.Booster()
        raw.load_model(bytearray(content))
        return cls(raw)

    def _as_fitted(self, X: Features) -> list[Any]:
        if self.raw.attr(_ZERO_IS_MISSING):
            return [_without_zeros(X) if is_sparse(X) else np.where(X == 0, np.float32(np.nan), X)]
        if not is_sparse(X):
            return [X]
        return [X[at : at + _CHUNK].toarray() for at in range(0, X.shape[0], _CHUNK)]


class XGBoostBooster(Booster):
    """Leaf-wise trees by XGBoost (``tree_method="hist", grow_policy="lossguide"``)."""

    model = XGBoostModel
    parameter_names = PARAMETER_NAMES

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
    ) -> XGBoostModel:
        """Grow trees; see `Booster.fit`."""
        params = replace(params, n_threads=library_threads(params.n_threads))
        own_objective = bound.name if isinstance(bound, LibraryObjective) else None
        settings = xgboost_settings(params, own_objective)
        labels: dict[str, Any] = {}
        if isinstance(bound, LibraryObjective):
            settings |= {"objective": bound.name, **bound.options}
            labels = {"label": bound.y, "group": bound.queries.sizes, "weight": bound.query_weight}
            labels["base_margin"] = bound.init_score
        columns: dict[str, Any] = {
            "nthread": params.n_threads,
            "max_bin": params.max_bin,
            "feature_names": safe_names(params.feature_names),
        }
        if params.categorical_features:
            categorical = set(params.categorical_features)
            kinds = ["c" if j in categorical else "q" for j in range(X.shape[1])]
            columns |= {"feature_types": kinds, "enable_categorical": True}
        train = _as_matrix(X, **labels, **columns)
        held_out = [_as_matrix(e.X, ref=train, **columns) for e in eval_sets]
        try:
            raw = xgb.train(
                settings,
                train,
                num_boost_round=params.n_estimators,
                obj=None if isinstance(bound, LibraryObjective) else _as_xgboost_objective(bound, X),
                callbacks=[
                    _MarkSparse(is_sparse(X)),
                    _Schedule(params.schedule),
                    _AfterRound(callbacks, held_out, eval_sets),
                ],
                xgb_model=start.raw if start is not None else None,
                verbose_eval=False,
            )
        except xgb.core.XGBoostError as error:
            first_line = str(error).partition("\n")[0].partition("] ")[2] or str(error)
            raise ValueError(f"XGBoost does not take 'booster_params' or the data: {first_line}") from error
        return XGBoostModel(raw)

    def average(self, models: Sequence[XGBoostModel]) -> XGBoostModel:
        """See `Booster.average`."""
        return XGBoostModel.from_bytes(mean_of_xgboost([model.to_bytes() for model in models]))


def xgboost_settings(params: BoosterParams, own_objective: str | None = None) -> Settings:
    """XGBoost's settings for `params`, which drive `own_objective` if it is XGBoost's own; scores start at 0.

    Raises
    ------
    ValueError
        If ``params.extra`` holds what the gate refuses, or a device that is not there.
    """
    settings = translate(params, PARAMETER_NAMES, library="XGBoost")
    settings["max_depth"] = params.max_depth or 0
    settings["max_leaves"] = params.num_leaves or 0
    if params.monotone_constraints is not None:
        settings["monotone_constraints"] = tuple(params.monotone_constraints)
    if params.interaction_constraints is not None:
        settings["interaction_constraints"] = json.dumps(params.interaction_constraints)
    fixed = {
        "tree_method": "hist",
        "grow_policy": "lossguide",
        "base_score": 0.0,
        "disable_default_eval_metric": True,
        "verbosity": 0,
    }
    settings = {**fixed, **settings}
    if not params.extra:
        return settings
    extra = xgboost_gate().admit(params.extra, {**settings, "objective": own_objective})
    _check_device(extra)
    return {**settings, **extra}


def _check_device(extra: Mapping[str, Any]) -> None:
    """XGBoost goes on with the CPU where the device it was given is not there."""
    asked = str(extra.get("device", "cpu"))
    if asked.startswith(("cuda", "gpu")) and configuration({"device": asked})["device"] == "cpu":
        raise ValueError(
            f"'booster_params' has device={asked!r}, but XGBoost finds no such device here; leave it out to "
            "use the CPU"
        )


def _without_zeros(X: Features) -> Any:
    """Sparse input without stored zeros, so that a zero is missing whether it was stored or not."""
    if not is_sparse(X):
        return X
    X = as_csr(X, copy=True)
    X.eliminate_zeros()
    return X


def _as_matrix(X: Features, **options: Any) -> xgb.DMatrix:
    # XGBoost asks Python for the rows through C, and more than once.
    with interrupts_held():
        if isinstance(X, ExternalRows):
            return X.matrix(**options)
        return xgb.QuantileDMatrix(_without_zeros(X), **options)


def _as_xgboost_objective(bound: Bound, X: Features) -> Any:
    def objective(scores: Any, _: xgb.DMatrix) -> Any:
        scores = np.asarray(scores, dtype=np.float32)
        if not isinstance(X, ExternalRows):
            return bound.gradient_hessian(scores)
        return tuple(map(X.to_files, bound.gradient_hessian(X.to_canonical(scores))))

    return objective


def _scores(model: xgb.Booster, data: xgb.DMatrix, X: Features) -> Any:
    scores = model.predict(data, output_margin=True)
    return X.to_canonical(scores) if isinstance(X, ExternalRows) else scores


class _MarkSparse(xgb.callback.TrainingCallback):
    """Mark a model of a sparse matrix before its first round, so that every checkpoint has the mark."""

    def __init__(self, sparse: bool) -> None:
        super().__init__()
        self._sparse = sparse

    def before_training(self, model: Any) -> Any:
        if self._sparse:
            model.set_attr(**{_ZERO_IS_MISSING: "1"})
        return model


class _Schedule(xgb.callback.TrainingCallback):
    """Set the learning rate before each round."""

    def __init__(self, rate: Callable[[int], float] | None) -> None:
        super().__init__()
        self._rate = rate
        self._n_rounds = 0

    def before_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        self._n_rounds += 1
        if self._rate is not None:
            model.set_param("learning_rate", self._rate(self._n_rounds))
        return False


class _AfterRound(xgb.callback.TrainingCallback):
    def __init__(
        self, callbacks: Sequence[Callback], data: Sequence[xgb.DMatrix], eval_sets: Sequence[EvalSet]
    ) -> None:
        super().__init__()
        self._callbacks = callbacks
        self._pairs = list(zip(data, eval_sets))
        self._n_rounds = 0

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        self._n_rounds += 1
        evaluation: dict[str, float] = {}
        for data, eval_set in self._pairs:
            evaluation |= eval_set.evaluate(_scores(model, data, eval_set.X))
        return finish_round(self._callbacks, self._n_rounds, evaluation, XGBoostModel(model).to_bytes)
