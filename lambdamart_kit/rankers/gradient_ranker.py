"""Base of the rankers that improve weights step by step: linear and neural ones."""

from __future__ import annotations

import copy
import io
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, ClassVar, Self, cast

import numpy as np
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from lambdamart_kit.boosters.rounds import (
    Callback,
    EarlyStopping,
    EvalSet,
    History,
    RoundsProgress,
    Stopwatch,
    finish_round,
)
from lambdamart_kit.core.ordered_rows import OrderedRows
from lambdamart_kit.core.precision import warn_of_merged_values, warn_of_merging_transform
from lambdamart_kit.core.typing import Array
from lambdamart_kit.export.model import InputScaling
from lambdamart_kit.objectives import weighs_documents
from lambdamart_kit.objectives.balance import Balance
from lambdamart_kit.rankers import saving
from lambdamart_kit.rankers.bags.fitting import BaggedRanker, merged_history
from lambdamart_kit.rankers.binding import named_objective
from lambdamart_kit.rankers.click_learning import POSITION_BIAS, LearnsFromClicks
from lambdamart_kit.rankers.columns.scaling import KINDS, InputTransform, Kind
from lambdamart_kit.rankers.steering.curves import HasLearningCurve
from lambdamart_kit.rankers.steering.events import CallUser, check_callbacks
from lambdamart_kit.rankers.steering.goals import hold_constraints, warn_of_constraints
from lambdamart_kit.rankers.steering.parameters import STEERING
from lambdamart_kit.rankers.steering.training_set import TrainingSet

COUNT = Interval(Integral, 1, None, closed="left")

AfterRound = Callable[[int, Callable[[Any], Array], Any], bool]
"""Told the rounds done, how to score transformed rows, and the weights; whether to stop."""


class GradientRanker(HasLearningCurve, LearnsFromClicks, BaggedRanker):
    """A ranker on transformed features that learns in rounds (epochs or steps).

    After each round it may be measured on held-out queries; it keeps the weights of the best round.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "objective": [str, HasMethods("bind"), callable],
        "reg_lambda": [Interval(Real, 0, None, closed="left")],
        "position_bias": POSITION_BIAS,
        "max_iter": [COUNT],
        "input_transform": [StrOptions(set(KINDS)), None],
        "n_bags": [COUNT],
        "early_stopping_rounds": [COUNT, None],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        **STEERING,
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
        "verbose": ["verbose"],
    }
    saved_attributes = (
        *BaggedRanker.saved_attributes,
        "n_iter_",
        "best_score_",
        "evals_result_",
        *LearnsFromClicks._estimates,
    )

    inputs_: InputTransform
    min_delta: float
    callbacks: Any
    n_iter_: int
    best_score_: float
    evals_result_: dict[str, dict[str, list[float]]]

    def _prepare_rows(self, data: TrainingSet, watch: Stopwatch) -> TrainingSet:
        """Learn the transform of features, which all bags share."""
        if data.init_model is not None:
            raise ValueError(
                f"'init_model' must be None with {type(self).__name__}, which holds no trees; pass the "
                "scores of that model as 'init_score'"
            )
        with watch("data"):
            self._fit_inputs(data.train)
        return data

    def _weighs_documents(self) -> bool:
        return weighs_documents(named_objective(self.objective))

    def _merge_bags(self, bags: Sequence[Self]) -> None:
        self.bag_iterations_ = [bag.n_iter_ for bag in bags]
        self.n_iter_ = sum(self.bag_iterations_)
        self.best_score_, self.evals_result_ = merged_history(bags)

    def _fit_inputs(self, train: OrderedRows) -> None:
        names = getattr(self, "feature_names_in_", None)
        reader = f"{type(self).__name__} with input_transform={self.input_transform!r}"
        self.inputs_ = InputTransform.fit(train.X, cast(Kind, self.input_transform))
        if self.input_transform is None:
            warn_of_merged_values(train.X, names, reader)
        else:
            warn_of_merging_transform(train.X, self.inputs_, names, reader)

    @contextmanager
    def _rounds(
        self, data: TrainingSet, watch: Stopwatch, balance: Balance | None = None
    ) -> Iterator[tuple[History, AfterRound]]:
        """Context manager around the rounds: yields their history, and a function to call after each round.

        At the end of the block it sets `n_iter_`, `best_score_` and `evals_result_`. With constraints on
        goals, `balance` is what moves after each round.
        """
        eval_sets = self._eval_sets(data, watch)
        holding = hold_constraints(self._goals(), self.find_metric(), balance, data, eval_sets)
        held_out: list[tuple[EvalSet, Any]] = [(e, self.inputs_(e.X)) for e in eval_sets]
        history = History.of(eval_sets, self.min_delta)
        check = check_callbacks(self.callbacks)
        call_user = CallUser(check, eval_sets, history, started=watch.started, bag=data.bag, turn=self._turn)
        done = 0
        with RoundsProgress(self.max_iter, label=type(self).__name__, enabled=bool(self.verbose)) as progress:
            callbacks: list[Callback] = [history, progress, call_user, *holding]
            if self.early_stopping_rounds is not None:
                callbacks.append(EarlyStopping(history, self.early_stopping_rounds))

            def after_round(n_rounds: int, score: Callable[[Any], Array], weights: Any) -> bool:
                nonlocal done
                done = n_rounds
                call_user.take_model(lambda: self._snapshot(n_rounds, weights))
                evaluation: dict[str, float] = {}
                for eval_set, X in held_out:
                    evaluation |= eval_set.evaluate(score(X))
                return finish_round(callbacks, n_rounds, evaluation)

            yield history, after_round
        self.n_iter_ = done if self.early_stopping_rounds is None else history.best_round
        self.best_score_ = history.values[self.n_iter_ - 1] if eval_sets else float("nan")
        self.evals_result_ = history.results(eval_sets)
        warn_of_constraints(holding, history, self.n_iter_)

    def _snapshot(self, n_rounds: int, weights: Any) -> Self:
        """A fitted ranker with the weights after `n_rounds` rounds."""
        ranker = copy.copy(self)
        ranker._wants_stop = None
        ranker._turn = None
        ranker.n_iter_ = n_rounds
        ranker.best_score_ = float("nan")
        ranker.evals_result_ = {}
        ranker.fit_times_ = {}
        ranker._take_weights(weights)
        return ranker

    @abstractmethod
    def _take_weights(self, weights: Any) -> None:
        """Set the fitted attributes from the weights that a round is told with; copies them if need be."""

    @abstractmethod
    def _arrays(self) -> dict[str, Array]:
        """Arrays of the fitted scorer, without those of `inputs_`."""

    @abstractmethod
    def _take_arrays(self, arrays: dict[str, Array]) -> None:
        """Set the fitted attributes from what `_arrays` returned."""

    def _scaling(self) -> InputScaling:
        """The transform of features, as exports know it."""
        return InputScaling(self.inputs_.kind, self.inputs_.mean, self.inputs_.scale)

    def _files(self) -> dict[str, bytes]:
        inputs = {f"inputs_{name}": values for name, values in self.inputs_.arrays().items()}
        content = io.BytesIO()
        np.savez(content, **cast(dict[str, Any], {**inputs, **self._arrays()}))
        return {"weights.npz": content.getvalue()}

    def _restore(self, files: dict[str, bytes]) -> None:
        arrays = saving.read_arrays(files["weights.npz"])
        inputs = {name: arrays.pop(f"inputs_{name}") for name in ("mean", "scale", "knots")}
        for name in ("mean", "scale"):
            saving.check_shape(inputs[name], (self.n_features_in_,), f"inputs_{name}")
        n_knots = None if self.input_transform == "quantile" else 0
        saving.check_shape(inputs["knots"], (n_knots, self.n_features_in_), "inputs_knots")
        self.inputs_ = InputTransform.of_arrays(self.input_transform, inputs)
        self._take_arrays(arrays)
