"""Checkpoints of a fit on a cluster: a model file of the local estimator, replaced every so many trees."""

from __future__ import annotations

import copy
import os
from dataclasses import replace
from typing import Any

import numpy as np

from lambdamart_kit.boosters.registry import read_model
from lambdamart_kit.boosters.rounds import History
from lambdamart_kit.core.typing import Settings
from lambdamart_kit.distributed.fitting import PlacedRows
from lambdamart_kit.distributed.worker import Fitted
from lambdamart_kit.rankers.saving import UnsavedCallable
from lambdamart_kit.rankers.tree_ranker import TreeRanker
from lambdamart_kit.runtime.randomness import draw_seed

_MAY_DIFFER = ("n_estimators", "n_jobs", "verbose", "warm_start")


class Progression:
    """The trees so far, in memory for a retry of this fit, and in a file for a later fit.

    Parameters
    ----------
    ranker : TreeRanker
        The local estimator, columns known.
    path : path, optional
        File to write, and to go on from if it is there.

    Attributes
    ----------
    ranker : TreeRanker
        A copy that has the trees so far, and a whole number as `random_state`.
    model : bytes or None
        The trees so far.

    Raises
    ------
    ValueError
        If the file is of a fit with other parameters or columns.
    """

    def __init__(self, ranker: TreeRanker, path: str | os.PathLike[str] | None) -> None:
        self.ranker = copy.copy(ranker)
        self.model: bytes | None = None
        self._path = path
        self._values: list[float] = []
        self._earlier: list[float] = []
        self._trained_on: str | None = None
        if path is not None and os.path.exists(path):
            self._resume(path)
        if not isinstance(self.ranker.random_state, int):
            self.ranker.random_state = draw_seed(ranker.random_state)

    @property
    def n_trees(self) -> int:
        """How many trees there are."""
        return 0 if self.model is None else self.ranker.best_iteration_

    def check_rows(self, placed: PlacedRows) -> None:
        """Raise if the trees so far were grown on other rows than those of `placed`."""
        if self._trained_on not in (None, placed.content):
            raise self._refusal("other rows")
        self._trained_on = placed.content
        self.ranker.n_features_in_ = placed.n_features  # LETOR files tell it only now
        self.ranker.n_queries_in_ = placed.n_queries

    def take_over(self, ranker: TreeRanker) -> None:
        """Go on from the trees of a fitted `ranker`."""
        if ranker.best_iteration_ > self.ranker.n_estimators:
            raise ValueError(
                f"'n_estimators' must be at least {ranker.best_iteration_}, the trees already there, with "
                f"warm_start=True; got {self.ranker.n_estimators}"
            )
        self._take(ranker.model_.to_bytes(), _values(ranker))

    def fitted(self) -> Fitted:
        """The trees so far as the end of a fit."""
        ranker = self.ranker
        return Fitted(self.model or b"", ranker.best_iteration_, ranker.best_score_, ranker.evals_result_, {})

    def start(self) -> tuple[TreeRanker, bytes | None, History]:
        """Where a run begins: the estimator, the trees so far, and the history of their rounds."""
        self._earlier = self._values
        ranker = copy.copy(self.ranker)
        ranker.__dict__.pop("model_", None)  # it travels as bytes
        history = self._history()
        best_round, best_value = self._best(history)
        fresh = replace(history, best_round=best_round, best_value=best_value, by_key={})
        return ranker, self.model, fresh

    def save(self, report: Settings) -> None:
        """Take over a report that holds a model, and write it to the file."""
        self._take(report["model"], [*self._earlier, *report["values"]])
        if self._path is not None:
            self.ranker.save(self._path)

    def _resume(self, path: str | os.PathLike[str]) -> None:
        saved = type(self.ranker).load(path)
        if self.ranker.random_state is None:
            self.ranker.random_state = saved.random_state
        here = self.ranker.get_params(deep=False)
        there = saved.get_params(deep=False)
        different = [
            f"{name} was {there[name]!r}, is {here[name]!r}"
            for name in here
            if name not in _MAY_DIFFER and not _same(there[name], here[name])
        ]
        columns = [_columns(saved), _columns(self.ranker)]
        if different or (None not in columns and columns[0] != columns[1]):
            raise self._refusal("; ".join(different) or "other columns")
        if saved.best_iteration_ > self.ranker.n_estimators:
            raise ValueError(
                f"'n_estimators' must be at least {saved.best_iteration_}, the trees in 'checkpoint' "
                f"{os.fspath(path)!r}; got {self.ranker.n_estimators}"
            )
        self._trained_on = getattr(saved, "trained_on_", "")
        self._take(saved.model_.to_bytes(), _values(saved))

    def _refusal(self, difference: str) -> ValueError:
        return ValueError(
            f"'checkpoint' {os.fspath(self._path or '')!r} is of another fit ({difference}); remove it to "
            "start anew, or name another file"
        )

    def _take(self, model: bytes, values: list[float]) -> None:
        ranker = self.ranker
        self.model = model
        self._values = values
        ranker.model_ = read_model(ranker.booster_name, model)
        ranker.best_iteration_ = ranker.model_.n_trees
        ranker.evals_result_ = {"validation": {str(ranker.find_metric()): values}} if values else {}
        ranker.best_score_ = self._history().best_value
        ranker.fit_times_ = {}
        ranker.__dict__.update(
            trained_on_=self._trained_on, saved_attributes=(*type(ranker).saved_attributes, "trained_on_")
        )

    def _history(self) -> History:
        history = History(self.ranker.find_metric().greater_is_better, self.ranker.min_delta)
        for n_rounds, value in enumerate(self._values, start=1):
            history(n_rounds, {"": value})
        return history

    def _best(self, history: History) -> tuple[int, float]:
        """The best round as the next run counts, from its own first: those before are below 1."""
        return history.best_round - self.n_trees if self._values else 0, history.best_value


def _values(ranker: TreeRanker) -> list[float]:
    """The measure after each round, of a ranker that measured one."""
    return [value for measures in ranker.evals_result_.values() for value in next(iter(measures.values()))]


def _same(there: Any, here: Any) -> bool:
    if isinstance(there, UnsavedCallable):  # a file keeps a callable's name only
        return callable(here) or hasattr(here, "bind")
    if there is here or repr(there) == repr(here):
        return True
    return bool(np.all(there == here))


def _columns(ranker: TreeRanker) -> Any:
    """What a ranker knows of its columns; None for one that has yet to see them."""
    names = getattr(ranker, "feature_names_in_", None)
    if not hasattr(ranker, "n_features_in_"):
        return None
    return ranker.n_features_in_, None if names is None else list(names)
