"""The kit's own trees behind the booster protocol; the fitted model is a LightGBM model."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from lambdamart_kit.boosters.gates.native import CHECKPOINT, NATIVE, OWN
from lambdamart_kit.boosters.lightgbm_model import LightGBMModel
from lambdamart_kit.boosters.protocol import Booster, LibraryObjective, Model
from lambdamart_kit.boosters.rounds import Callback, EvalSet, Evaluation, finish_round
from lambdamart_kit.boosters.settings import BoosterParams, ParameterNames, safe_names
from lambdamart_kit.compile.second_process import compiled_aside
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.rows import RowView
from lambdamart_kit.core.typing import Features, Settings
from lambdamart_kit.objectives import Bound
from lambdamart_kit.trees.binning import BinMapper
from lambdamart_kit.trees.boosting import boost
from lambdamart_kit.trees.checkpoint import Checkpoint
from lambdamart_kit.trees.ensemble import Ensemble
from lambdamart_kit.trees.forest import Forest
from lambdamart_kit.trees.growth import precompile
from lambdamart_kit.trees.growth.leafwise import grow
from lambdamart_kit.trees.model_text import read_trees
from lambdamart_kit.trees.parameters import SplitCriterion, TreeParameters

if TYPE_CHECKING:
    import lightgbm as lgb

# Settings that `TreeParameters` takes as they are. The others have defaults of their own for None.
_SHARED = (
    "learning_rate",
    "min_child_weight",
    "min_split_gain",
    "reg_lambda",
    "reg_alpha",
    "subsample",
    "colsample_bytree",
    "colsample_bynode",
    "max_bin",
    "seed",
)
_WITH_DEFAULTS = ("num_leaves", "max_depth", "min_child_samples", "split_criterion", "n_threads")

PARAMETER_NAMES: ParameterNames = {name: name for name in (*_SHARED, *_WITH_DEFAULTS)}
"""The kit's own trees know the settings of `BoosterParams` by the kit's names."""


class NativeModel(LightGBMModel):
    """Native trees that become a LightGBM model when it is first asked for.

    On small data, writing its text and reading it back takes as long as one tree in twelve. Scores do not
    wait for that, and are the same to the bit.
    """

    def __init__(self, ensemble: Ensemble, start: lgb.Booster | None = None) -> None:
        super().__init__(None)
        self._ensemble: Ensemble | None = ensemble
        self._start = start
        self._n_trees = len(ensemble.trees) + (0 if start is None else start.num_trees())

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._ensemble = None
        self._start = None
        self._n_trees = self.raw.num_trees()

    @property
    def raw(self) -> lgb.Booster:
        """The LightGBM model."""
        ensemble = self._ensemble
        if ensemble is not None:  # two threads that both come here make equal models
            self._raw = ensemble.to_lightgbm(self._start)
            self._ensemble = None
        return super().raw

    @property
    def n_trees(self) -> int:
        """Number of trees."""
        return self._n_trees

    @property
    def n_features(self) -> int:
        """Columns of the rows it scores."""
        ensemble = self._ensemble
        return super().n_features if ensemble is None else len(ensemble.feature_names)

    def _worth_a_forest(self) -> int:
        return super()._worth_a_forest() if self._ensemble is None else 0

    def _lay_out(self, dtype: Any) -> Forest | None:
        ensemble = self._ensemble
        start = self._start
        if ensemble is None:
            return super()._lay_out(dtype)
        before = [] if start is None else read_trees(start.model_to_string(num_iteration=-1))
        return None if before is None else Forest.of_trees([*before, *ensemble.model_trees()], dtype)

    @classmethod
    def average(cls, models: Sequence[LightGBMModel]) -> LightGBMModel:
        """One model whose scores are the mean of those of `models`, their trees one after the other."""
        ensembles = [model._ensemble for model in models if isinstance(model, NativeModel)]
        known = [ensemble for ensemble in ensembles if ensemble is not None]
        if len(known) == len(models) and len({id(ensemble.mapper) for ensemble in known}) == 1:
            return NativeModel(Ensemble.average(known))
        return LightGBMModel.average(models)

    def truncate(self, n_trees: int) -> LightGBMModel:
        """The model with its first `n_trees` trees."""
        ensemble = self._ensemble
        dropped = self.n_trees - n_trees
        if ensemble is None or not 0 < dropped <= len(ensemble.trees):
            return super().truncate(n_trees)
        return NativeModel(replace(ensemble, trees=ensemble.trees[:-dropped]), self._start)


class NativeBooster(Booster):
    """Leaf-wise trees by :mod:`lambdamart_kit.trees`.

    ``params.extra`` may hold ``checkpoint`` (a path: save the trees there while training, and go on from them
    after a crash), ``checkpoint_trees``, ``checkpoint_seconds`` (how often), ``grow_policy``, ``mvs_noise``,
    ``cat_smooth``, ``cat_l2`` and ``max_cat_threshold``; `TreeParameters` explains all but the first three.
    """

    model = LightGBMModel
    parameter_names = PARAMETER_NAMES
    reads_float64 = True
    reads_views = True
    fits_in_threads = True

    def share_rows(
        self, train: RowView, queries: Queries, held_out: Sequence[RowView], params: BoosterParams
    ) -> list[RowView]:
        """Rows cut into bins, with edges from all training rows."""
        n_threads = params.n_threads
        mapper = BinMapper.fit(
            train,
            queries,
            max_bin=params.max_bin,
            categorical=params.categorical_features,
            n_threads=n_threads,
        )
        return [RowView.of(mapper.transform(view, n_threads=n_threads)) for view in (train, *held_out)]

    def average(self, models: Sequence[LightGBMModel]) -> LightGBMModel:
        """See `Booster.average`."""
        return NativeModel.average(models)

    def head_start(
        self, params: BoosterParams, *, categories: bool, monotone: bool, interactions: bool = False
    ) -> AbstractContextManager[object]:
        """Context manager that compiles the kernel which grows trees in a second process, if need be.

        The first time on a machine this takes about as long as all other kernels together, so it starts
        before the rows are checked. If `categories`, `monotone` or `interactions` turn out to be wrong, the
        right kernel is compiled when it is called.
        """
        if params.extra.get("grow_policy", "leafwise") != "leafwise":
            return nullcontext()
        words = precompile.words_of(categories=categories, monotone=monotone, interactions=interactions)
        types = precompile.signature(*words)
        return compiled_aside(grow, types, precompile.MODULE, *words, n_threads=params.n_threads)

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
    ) -> NativeModel:
        """Grow trees; see `Booster.fit`."""
        if isinstance(bound, LibraryObjective):
            raise TypeError("the native trees have no objectives of their own; pass one of the kit's")
        checkpoint, own = _split_extra(params)
        shared = {name: getattr(params, name) for name in _SHARED}
        parameters = TreeParameters(
            **shared,
            **own,
            num_leaves=params.num_leaves or 31,
            max_depth=params.max_depth or -1,
            min_child_samples=params.min_child_samples or 20,
            monotone_constraints=tuple(params.monotone_constraints or ()),
            interaction_constraints=tuple(params.interaction_constraints or ()),
            split_criterion=cast(SplitCriterion, params.split_criterion),
        )
        started = None if start is None else start.raw

        def after_round(n_rounds: int, evaluation: Evaluation, grown: Ensemble) -> bool:
            def to_bytes() -> bytes:
                return NativeModel(replace(grown, trees=grown.trees[:n_rounds]), started).to_bytes()

            return finish_round(callbacks, n_rounds, evaluation, to_bytes)

        seen = {
            "categories": len(params.categorical_features) > 0,
            "monotone": any(parameters.monotone_constraints),
            "interactions": len(parameters.interaction_constraints) > 0,
        }
        with self.head_start(params, **seen):
            ensemble = boost(
                X,
                Queries.from_qid(range(X.shape[0]), X.shape[0]) if queries is None else queries,
                bound,
                parameters,
                n_estimators=params.n_estimators,
                categorical=params.categorical_features,
                feature_names=safe_names(params.feature_names),
                eval_sets=eval_sets,
                after_round=after_round,
                learning_rates=params.schedule,
                start=started,
                checkpoint=checkpoint,
                n_threads=params.n_threads,
            )
        return NativeModel(ensemble, started)


def _split_extra(params: BoosterParams) -> tuple[Checkpoint | None, Settings]:
    extra = NATIVE.admit(params.extra, {})
    saving = {field: extra[name] for name, field in CHECKPOINT.items() if name in extra}
    own = {name: extra[name] for name in OWN if name in extra}
    return (Checkpoint(**saving) if saving else None), own
