"""CatBoost's trees behind the booster protocol: its own objectives only.

CatBoost calls Python from C++, also while it takes rows over, and C++ goes on when Python raises an error
there, with rows that are half there: the process died, or the fit ended without an interrupt. So Ctrl-C waits
until a call of CatBoost has returned.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

try:
    import catboost as cb
except ImportError:
    raise ImportError(
        "CatBoostRanker needs CatBoost, which is not installed: pip install 'lambdamart-kit[catboost]'"
    ) from None

from lambdamart_kit.boosters.catboost_model import CatBoostModel, codes_table
from lambdamart_kit.boosters.gates.catboost import PARAMETER_NAMES, catboost_gate
from lambdamart_kit.boosters.protocol import Booster, LibraryObjective, Model
from lambdamart_kit.boosters.rounds import Callback, EvalSet, finish_round
from lambdamart_kit.boosters.settings import BoosterParams, safe_names, translate
from lambdamart_kit.compile.interrupts import HeldInterrupt, interrupts_held
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import Array, Features, Settings
from lambdamart_kit.objectives import Bound


class CatBoostBooster(Booster):
    """Trees by CatBoost: symmetric ones, or leaf by leaf when ``num_leaves`` is given."""

    model = CatBoostModel
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
    ) -> CatBoostModel:
        """Grow trees; see `Booster.fit`."""
        if not isinstance(bound, LibraryObjective):
            raise ValueError("'booster' must not be 'catboost' here: CatBoost runs its own losses only")
        settings = catboost_settings(params, bound.name) | {"loss_function": bound.name, **bound.options}
        measure = _Measure(eval_sets)
        # On a GPU, CatBoost takes no measure and no callback of ours: rounds are looked at afterwards.
        on_gpu = settings.get("task_type") == "GPU"
        if eval_sets and not on_gpu:
            settings["eval_metric"] = measure
        with warnings.catch_warnings(), interrupts_held() as held:
            train = _training_pool(X, bound, params)
            starts = bound.init_score is not None
            held_out = [_held_out_pool(eval_set, params, starts=starts) for eval_set in eval_sets]
            # CatBoost warns that it cannot compile the measure with Numba: no loss, for one call a round.
            warnings.filterwarnings("ignore", message="(?s)(Failed to|Can't) optim")
            raw = cb.CatBoost(settings)
            after_round = _AfterRound(callbacks, measure, held)
            try:
                raw.fit(
                    train,
                    eval_set=None if on_gpu else held_out or None,
                    callbacks=None if on_gpu else [after_round],
                    init_model=start.cut() if isinstance(start, CatBoostModel) else None,
                )
            except cb.CatBoostError as error:
                raise ValueError(f"CatBoost does not take 'loss' or 'booster_params': {error}") from error
            if after_round.failure is not None:
                raise after_round.failure
        model = CatBoostModel(raw)
        if on_gpu:
            n_before = 0 if start is None else start.n_trees
            model = _look_at_rounds(model, n_before, eval_sets, callbacks, params.n_threads)
        return model

    @interrupts_held()
    def average(self, models: Sequence[CatBoostModel]) -> CatBoostModel:
        """See `Booster.average`."""
        return CatBoostModel(
            cb.sum_models([m.cut() for m in models], weights=[1 / len(models)] * len(models))
        )


def _training_pool(X: Features, bound: LibraryObjective, params: BoosterParams) -> cb.Pool:
    """CatBoost's form of the training rows."""
    names = safe_names(params.feature_names)
    return cb.Pool(
        codes_table(X, params.categorical_features, names),
        bound.y,
        cat_features=list(params.categorical_features),
        group_id=bound.queries.query_of_ordered_row,
        group_weight=bound.sample_weight,
        baseline=bound.init_score,
        feature_names=names,
    )


def _held_out_pool(eval_set: EvalSet, params: BoosterParams, *, starts: bool) -> cb.Pool:
    """CatBoost's form of held-out rows; the kit measures them, so labels and groups do not matter here."""
    n_rows = eval_set.X.shape[0]
    names = safe_names(params.feature_names)
    return cb.Pool(
        codes_table(eval_set.X, params.categorical_features, names),
        np.arange(n_rows) % 2,
        cat_features=list(params.categorical_features),
        group_id=np.zeros(n_rows, dtype=np.int64),
        # Where training rows have starting scores, CatBoost asks for some here; measures add the true ones.
        baseline=np.zeros(n_rows) if starts else None,
        feature_names=names,
    )


def _look_at_rounds(
    model: CatBoostModel,
    n_before: int,
    eval_sets: Sequence[EvalSet],
    callbacks: Sequence[Callback],
    n_threads: int,
) -> CatBoostModel:
    """Measure a model round by round after training, and cut it where a callback stops."""
    scores = [model.predict(e.X, iteration_range=(0, n_before), n_threads=n_threads) for e in eval_sets]
    for n_rounds in range(1, model.n_trees - n_before + 1):
        n_trees = n_before + n_rounds
        for eval_set, so_far in zip(eval_sets, scores):
            so_far += model.predict(eval_set.X, iteration_range=(n_trees - 1, n_trees), n_threads=n_threads)
        evaluation: dict[str, float] = {}
        for eval_set, so_far in zip(eval_sets, scores):
            evaluation |= eval_set.evaluate(so_far)
        if finish_round(callbacks, n_rounds, evaluation):
            return model.truncate(n_trees)
    return model


def catboost_settings(params: BoosterParams, loss: str = "YetiRank") -> Settings:
    """CatBoost's settings for `params`, which drive `loss`; settings left at None are CatBoost's own."""
    settings = translate(params, PARAMETER_NAMES, library="CatBoost")
    if params.num_leaves is None:
        settings["grow_policy"] = "SymmetricTree"
        del settings["max_leaves"]
    else:
        settings["grow_policy"] = "Lossguide"
        settings["depth"] = params.max_depth or 16
    if params.subsample < 1:
        settings["bootstrap_type"] = "Bernoulli"
    else:
        del settings["subsample"]
        settings["bootstrap_type"] = "No"
    if params.monotone_constraints is not None:
        settings["monotone_constraints"] = list(params.monotone_constraints)
    settings = {name: value for name, value in settings.items() if value is not None}
    fixed = {
        "iterations": params.n_estimators,
        "verbose": False,
        "allow_writing_files": False,
        "use_best_model": False,
    }
    settings = {**fixed, **settings}
    return {**settings, **catboost_gate().admit(params.extra, {**settings, "loss_function": loss})}


class _Measure:
    """CatBoost's custom metric, called after each round with the training rows, then the held-out ones."""

    def __init__(self, eval_sets: Sequence[EvalSet]) -> None:
        self._eval_sets = eval_sets
        self._n_calls = 0
        self.evaluation: dict[str, float] = {}

    def __deepcopy__(self, memo: Any) -> _Measure:
        return self  # CatBoost copies its settings; the callback reads this very object

    def is_max_optimal(self) -> bool:
        return True

    def evaluate(self, approxes: Sequence[Array], target: Array, weight: Array | None) -> tuple[float, float]:
        at = self._n_calls % (1 + len(self._eval_sets))
        self._n_calls += 1
        if at == 0:
            self.evaluation = {}
            return 0.0, 1.0
        found = self._eval_sets[at - 1].evaluate(np.array(approxes[0]))
        self.evaluation |= found
        return next(iter(found.values())), 1.0

    def get_final_error(self, error: float, weight: float) -> float:
        return error


class _AfterRound:
    """CatBoost's callback after each round, which calls ours and keeps what they raise."""

    def __init__(self, callbacks: Sequence[Callback], measure: _Measure, held: HeldInterrupt) -> None:
        self._callbacks = callbacks
        self._held = held
        self._measure = measure
        self._n_rounds = 0
        self.failure: Exception | None = None

    def after_iteration(self, info: Any) -> bool:
        self._n_rounds += 1
        try:
            stop = finish_round(self._callbacks, self._n_rounds, self._measure.evaluation)
        except Exception as error:  # raised afterwards; CatBoost would hide it in its own
            self.failure = error
            stop = True
        return not (stop or self._held.is_asked)
