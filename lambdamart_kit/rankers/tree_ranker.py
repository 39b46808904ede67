"""Base of all rankers made of boosted trees."""

from __future__ import annotations

import copy
import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import fields, replace
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from lambdamart_kit.boosters.protocol import LibraryObjective, Model
from lambdamart_kit.boosters.registry import (
    BOOSTERS,
    boosters_that_can,
    capabilities,
    find_booster,
    read_model,
)
from lambdamart_kit.boosters.rounds import (
    Callback,
    EarlyStopping,
    EvalSet,
    History,
    RoundsProgress,
    Stopwatch,
)
from lambdamart_kit.boosters.settings import BoosterParams
from lambdamart_kit.core.ordered_rows import OrderedRows
from lambdamart_kit.core.precision import warn_of_merged_values
from lambdamart_kit.core.typing import Features, FloatArray
from lambdamart_kit.objectives import Bound
from lambdamart_kit.objectives.base import go_on_after
from lambdamart_kit.rankers.bags.fitting import checkpoint_of_bag, merged_history
from lambdamart_kit.rankers.binding import check_comparable
from lambdamart_kit.rankers.click_learning import collapse
from lambdamart_kit.rankers.columns.categories import categorical_columns, column_names
from lambdamart_kit.rankers.columns.constraints import interaction_groups, monotone_directions
from lambdamart_kit.rankers.compression.mixin import CanCompress
from lambdamart_kit.rankers.steering.callbacks import find_schedule
from lambdamart_kit.rankers.steering.curves import HasLearningCurve
from lambdamart_kit.rankers.steering.events import CallUserOfTrees, check_callbacks
from lambdamart_kit.rankers.steering.goals import hold_constraints, warn_of_constraints
from lambdamart_kit.rankers.steering.init_models import find_init_model
from lambdamart_kit.rankers.steering.parameters import STEERING
from lambdamart_kit.rankers.steering.training_set import TrainingSet
from lambdamart_kit.rankers.steering.watching import KeepBest, StopOn, Timed, rescales_trees

_POSITIVE = Interval(Real, 0, None, closed="neither")
_NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
_SHARE = Interval(Real, 0, 1, closed="right")
_OF_FIT = ("propensities_", "unclick_propensities_")  # known at the end of a fit only
_COUNT = Interval(Integral, 1, None, closed="left")


class TreeRanker(HasLearningCurve, CanCompress):
    """A ranker made of boosted trees: parameters, early stopping, warm start, importances.

    A subclass says which booster (`booster_name`) and which objective (`bind_part`).

    Code that brings its own rows or its own gradient uses `booster_settings`, `bind_part` and `boost`, which
    complete the training seam of `BaseRanker`.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_estimators": [_COUNT],
        "learning_rate": [_POSITIVE],
        "num_leaves": [Interval(Integral, 2, None, closed="left")],
        "max_depth": [_COUNT, None],
        "min_child_weight": [_NOT_NEGATIVE],
        "min_split_gain": [_NOT_NEGATIVE],
        "reg_lambda": [_NOT_NEGATIVE],
        "reg_alpha": [_NOT_NEGATIVE],
        "subsample": [_SHARE],
        "colsample_bytree": [_SHARE],
        "colsample_bynode": [_SHARE],
        "max_bin": [Interval(Integral, 2, None, closed="left")],
        "monotone_constraints": ["array-like", dict, None],
        "interaction_constraints": [list, tuple, StrOptions({"pairwise", "no_interactions"}), None],
        "categorical_features": ["array-like", StrOptions({"auto"}), None],
        "n_bags": [_COUNT],
        "early_stopping_rounds": [_COUNT, None],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        **STEERING,
        "booster_params": [dict, None],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }
    _scores_infinities = True  # x <= threshold is as true of an infinite x as of any
    saved_attributes = (*CanCompress.saved_attributes, "best_iteration_", "best_score_", "evals_result_")

    booster_params: Mapping[str, Any] | None
    model_: Model
    best_iteration_: int
    best_score_: float
    min_delta: float
    callbacks: Any
    evals_result_: dict[str, dict[str, list[float]]]

    @property
    @abstractmethod
    def booster_name(self) -> str:
        """Key in `BOOSTERS`."""

    def _bind(self, train: OrderedRows) -> Bound | LibraryObjective:
        """The objective bound to all training rows, after a check that they can be learned from."""
        check_comparable(train)
        return self.bind_part(train, train.y)

    @abstractmethod
    def bind_part(self, train: OrderedRows, labels: FloatArray) -> Bound | LibraryObjective:
        """The objective bound to rows that may be part of a larger training set.

        Parameters
        ----------
        train : OrderedRows
            Whole queries.
        labels : (n_levels,) float64
            Labels of the whole set, each at least once.
        """

    def _head_start(self, X: Features) -> AbstractContextManager[object]:
        """Let the booster compile in the background, on guesses that need no checked rows."""
        given = () if self.monotone_constraints is None else self.monotone_constraints
        values = list(given.values()) if isinstance(given, Mapping) else given
        monotone = bool(
            (np.asarray(values, dtype=object) != 0).any()
        )  # values of any type, which are checked later
        columns = categorical_columns(X, self.categorical_features, column_names(X))
        params = BoosterParams(n_threads=self._n_threads(), extra=dict(self.booster_params or {}))
        booster = find_booster(self.booster_name)
        interactions = getattr(self, "interaction_constraints", None) is not None
        return booster.head_start(
            params, categories=len(columns) > 0, monotone=monotone, interactions=interactions
        )

    def _prepare_rows(self, data: TrainingSet, watch: Stopwatch) -> TrainingSet:
        """Let the booster bring rows into a form that all bags share."""
        if self.n_bags == 1:
            return data
        booster = find_booster(self.booster_name)
        views = [part.rows.view for part in data.held_out]
        with watch("trees"):
            shared = booster.share_rows(
                data.train.view, data.train.queries, views, self.booster_settings(self.n_estimators)
            )
        made = iter(shared)
        return data.map(lambda rows: replace(rows, view=next(made)))

    def _fits_in_threads(self) -> bool:
        """Whether the booster's fits may run side by side."""
        return find_booster(self.booster_name).fits_in_threads

    def _become_bag(self, number: int) -> None:
        """Give the bag a checkpoint of its own, if there is one."""
        self.booster_params = checkpoint_of_bag(self.booster_params, number)

    def _merge_bags(self, bags: Sequence[Self]) -> None:
        """Put all trees into one model."""
        self.model_ = find_booster(self.booster_name).average([bag.model_ for bag in bags])
        self.compression_ = None
        self.bag_iterations_ = [bag.best_iteration_ for bag in bags]
        self.best_iteration_ = self.model_.n_trees
        self.best_score_, self.evals_result_ = merged_history(bags)

    def _fit_single(self, data: TrainingSet, watch: Stopwatch) -> None:
        train = data.train
        start = self._start(data)
        n_before = start.n_trees if start is not None else 0
        n_estimators = self.n_estimators if data.init_model is not None else self._missing_trees(start)
        if n_estimators == 0:
            return
        bound = self._bind(train)
        go_on_after(n_before, bound)
        balance = getattr(bound, "balance", None)
        if not isinstance(bound, LibraryObjective):
            if train.debiasing is not None:
                train, bound = collapse(train, bound)
            bound = Timed(bound, watch)
        else:
            bound = replace(bound, init_score=train.init_score)
        settings = self.booster_settings(n_estimators, n_before)
        eval_sets = self._eval_sets(data, watch)
        history = History.of(eval_sets, self.min_delta)
        holding = hold_constraints(self._goals(), self.find_metric(), balance, data, eval_sets)
        self._check_constraints(bool(holding))
        call_user = CallUserOfTrees(
            self._snapshot,
            check_callbacks(self.callbacks),
            eval_sets,
            history,
            started=watch.started,
            n_before=n_before,
            bag=data.bag,
            turn=self._turn,
        )
        with watch.remainder("trees"):
            self.boost(
                train,
                bound,
                settings,
                eval_sets=eval_sets,
                start=start,
                history=history,
                callbacks=[call_user, *holding],
                continues=self._continues(),
            )
        kept = history.best_round if self.early_stopping_rounds is not None else len(history.values)
        warn_of_constraints(holding, history, kept)

    def _check_constraints(self, has_constraints: bool) -> None:
        """Raise if constraints meet a fit that goes on from an earlier one, whose multipliers are gone."""
        if not has_constraints:
            return
        if self._continues():
            raise ValueError(
                "'warm_start' must be False with 'constraints': the multipliers of the earlier fit are not "
                "kept; fit all trees at once, or use weights without constraints"
            )
        if "checkpoint" in (self.booster_params or {}):
            raise ValueError(
                "'booster_params' must hold no checkpoint with 'constraints', whose multipliers it does not "
                "keep; leave it out, or use weights without constraints"
            )

    def _start(self, data: TrainingSet) -> Model | None:
        """The trees to go on from: those of the last fit with `warm_start`, or those of `init_model`."""
        before: Model | None = getattr(self, "model_", None) if self.warm_start else None
        if data.init_model is None:
            return before
        if before is not None:
            raise ValueError(
                "'init_model' must be None with warm_start=True after a fit, which goes on from its own "
                "trees; set warm_start=False to start from another model"
            )
        if getattr(data.init_model, "starts_from_scores_", False) and data.train.init_score is None:
            warnings.warn(
                "'init_model' was fitted with starting scores, so its trees are only what it adds to them; "
                "pass those scores as 'init_score', or the new trees make up for what is missing",
                UserWarning,
                stacklevel=7,
            )
        return find_init_model(data.init_model, self.booster_name, self.columns)

    def _missing_trees(self, start: Model | None) -> int:
        """How many trees a fit with `warm_start` has to add; it warns if that is none."""
        n_before = start.n_trees if start is not None else 0
        if self.n_estimators < n_before:
            raise ValueError(
                f"'n_estimators' must be at least {n_before}, the trees already there, with warm_start=True; "
                f"got {self.n_estimators}"
            )
        if start is not None and not isinstance(start, find_booster(self.booster_name).model):
            raise ValueError(
                f"'booster' must stay what it was with warm_start=True: {self.booster_name!r} cannot go on "
                f"from a {type(start).__name__}; set warm_start=False"
            )
        if self.n_estimators == n_before:
            warnings.warn(
                f"{type(self).__name__}.fit with warm_start=True grew no trees: 'n_estimators' is "
                f"{n_before}, as before, so these rows and changed parameters have no effect; raise "
                "'n_estimators' or set warm_start=False",
                UserWarning,
                stacklevel=5,
            )
        return self.n_estimators - n_before

    def _snapshot(self, content: bytes) -> Self:
        """A fitted ranker with the trees of `content`."""
        ranker = copy.copy(self)
        ranker._wants_stop = None
        ranker._turn = None
        ranker.model_ = find_booster(self.booster_name).model.from_bytes(content)
        ranker.compression_ = None
        ranker.best_iteration_ = ranker.model_.n_trees
        ranker.best_score_ = float("nan")
        ranker.evals_result_ = {}
        ranker.fit_times_ = {}
        for name in _OF_FIT:
            if not hasattr(ranker, name):
                setattr(ranker, name, None)
        return ranker

    def boost(
        self,
        train: OrderedRows,
        bound: Bound | LibraryObjective,
        settings: BoosterParams,
        *,
        eval_sets: Sequence[EvalSet] = (),
        start: Model | None = None,
        history: History | None = None,
        callbacks: Sequence[Callback] = (),
        label: str | None = None,
        continues: bool | None = None,
    ) -> Self:
        """Grow trees on `train`, stop early by the first of `eval_sets`, and keep the best trees.

        Parameters
        ----------
        train : OrderedRows
        bound : Bound or LibraryObjective
            Where the gradient comes from; see `bind_part`.
        settings : BoosterParams
            See `booster_settings`; its `n_estimators` are grown beyond `start`.
        eval_sets : sequence of EvalSet
            Held-out rows with any measure of their scores.
        start : Model, optional
            Trees to continue from.
        history : History, optional
            Of the rounds before this fit, which count from below 1.
        callbacks : sequence of callable
            Called after every round, besides those for early stopping and progress.
        label : str, optional
            What the progress line says is being fitted.
        continues : bool, optional
            Whether measures are added to those of an earlier fit; by default if there is a `start`.

        Returns
        -------
        self
            With `model_`, `best_iteration_`, `best_score_` and `evals_result_`.
        """
        booster = find_booster(self.booster_name)
        if not booster.reads_float64 and hasattr(train.view.source, "dtype"):
            names = getattr(self, "feature_names_in_", None)
            warn_of_merged_values(train.view.source, names, BOOSTERS[self.booster_name].library)
        n_before = start.n_trees if start is not None else 0
        if history is None:
            history = History.of(eval_sets, self.min_delta)
        label = label or f"{type(self).__name__} ({self.booster_name})"
        with RoundsProgress(settings.n_estimators, label=label, enabled=bool(self.verbose)) as progress:
            everyone: list[Callback] = [history, progress, *callbacks]
            if self._wants_stop is not None:
                everyone.append(StopOn(self._wants_stop))
            if self.early_stopping_rounds is not None:
                everyone.append(EarlyStopping(history, self.early_stopping_rounds))
            best = KeepBest(history)
            if self.early_stopping_rounds is not None and rescales_trees(settings.extra):
                everyone.append(best)
            model = booster.fit(
                train.view if booster.reads_views else train.X,
                bound,
                settings,
                queries=train.queries,
                eval_sets=eval_sets,
                callbacks=everyone,
                start=start,
            )
        if best.content is not None:
            model = booster.model.from_bytes(best.content)
        elif self.early_stopping_rounds is not None:
            model = model.truncate(n_before + history.best_round)
        adds = start is not None if continues is None else continues
        self._keep_trees(model, history, eval_sets, continues=adds)
        return self

    def _keep_trees(
        self, model: Model, history: History, eval_sets: Sequence[EvalSet], *, continues: bool
    ) -> None:
        """Set the fitted attributes; with `continues`, measures are added to those of the earlier rounds."""
        self.evals_result_ = history.results(eval_sets, self.evals_result_ if continues else None)
        self.model_ = model
        self.compression_ = None
        self.best_iteration_ = model.n_trees
        if not eval_sets:
            self.best_score_ = float("nan")
        elif self.early_stopping_rounds is not None:
            self.best_score_ = history.best_value
        else:
            self.best_score_ = history.values[-1]

    def booster_settings(self, n_estimators: int, n_before: int = 0) -> BoosterParams:
        """The ranker's parameters as settings of `n_estimators` trees, the seed drawn from `random_state`.

        A schedule of the learning rate counts the `n_before` trees that there are already.
        """
        names = self.get_params(deep=False)
        shared = {f.name: names[f.name] for f in fields(BoosterParams) if f.name in names}
        feature_names = getattr(self, "feature_names_in_", None)
        directions = monotone_directions(self.monotone_constraints, feature_names, self.n_features_in_)
        given = names.get("interaction_constraints")
        groups = interaction_groups(given, feature_names, self.n_features_in_)
        params = BoosterParams(
            **{**shared, "n_estimators": n_estimators, "monotone_constraints": directions}
            | {"interaction_constraints": groups, "categorical_features": self.categorical_columns_}
        )
        return replace(
            params,
            feature_names=None if feature_names is None else tuple(feature_names),
            seed=int(self._rng().integers(2**31 - 1)),
            n_threads=self._n_threads(),
            schedule=self._schedule(n_estimators, n_before),
            extra=dict(self.booster_params or {}),
        )

    def _schedule(self, n_estimators: int, n_before: int) -> Callable[[int], float] | None:
        """Learning rate of each round of a fit, if a callback says it; an error if it does not say all."""
        found = find_schedule(check_callbacks(self.callbacks))
        if found is None:
            return None
        if not capabilities(self.booster_name).changes_rate:
            known = ", ".join(map(repr, boosters_that_can("changes_rate")))
            raise ValueError(
                f"'callbacks' must hold no schedule with {BOOSTERS[self.booster_name].library}, which cannot "
                f"change its learning rate; trees that can: {known}"
            )
        found.rate(n_before + n_estimators)
        return lambda number: found.rate(n_before + number)

    def _files(self) -> dict[str, bytes]:
        if not isinstance(self.model_, find_booster(self.booster_name).model):
            raise ValueError(
                f"'booster' must be what it was in fit to save the ranker; it is {self.booster_name!r} now; "
                "set it back, or fit again"
            )
        return {f"{self.booster_name}.model": self.model_.to_bytes(), **self._compression_files()}

    def _restore(self, files: dict[str, bytes]) -> None:
        ((name, content),) = self._restore_compression(files).items()
        if name != f"{self.booster_name}.model":
            raise ValueError(f"its booster is {self.booster_name!r}, but its trees are in {name!r}")
        self.model_ = read_model(self.booster_name, content)
        if self.best_iteration_ != self.model_.n_trees:
            raise ValueError(f"it has {self.model_.n_trees} trees, but 'best_iteration_' is another number")
        if self.compression_ is not None and self.compression_.kept != self.model_.n_trees:
            raise ValueError(f"it has {self.model_.n_trees} trees, and its exits were learned for other ones")
