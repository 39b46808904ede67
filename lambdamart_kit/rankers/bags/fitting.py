"""Base of the rankers that can be fitted in bags, and how the fits of the bags run."""

from __future__ import annotations

import copy
import threading
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Generic, Self, TypeVar

import numpy as np
from sklearn.utils.validation import check_is_fitted

from lambdamart_kit.boosters.rounds import Stopwatch
from lambdamart_kit.core.ordered_rows import OrderedRows
from lambdamart_kit.core.typing import ArrayLike, Features, FloatArray, Ids
from lambdamart_kit.rankers.bags.drawing import Bag, draw_bags
from lambdamart_kit.rankers.base import BaseRanker
from lambdamart_kit.rankers.steering.goals import bind_deciding
from lambdamart_kit.rankers.steering.training_set import TrainingSet
from lambdamart_kit.runtime.progress import Progress
from lambdamart_kit.runtime.threads import run_tasks

R = TypeVar("R", bound="BaggedRanker")


@dataclass(frozen=True, eq=False)
class BagFit(Generic[R]):
    """One bag after its fit.

    Attributes
    ----------
    ranker : BaggedRanker
        Fitted on the bag alone.
    scores : (n_outside,) float64
        Of the rows whose queries the bag did not draw.
    watch : Stopwatch
        Seconds of this fit.
    """

    ranker: R
    scores: FloatArray
    watch: Stopwatch


class BaggedRanker(BaseRanker):
    """Base of a ranker with the parameter ``n_bags``.

    A subclass says in `_fit_single` how one model is fitted, in `_merge_bags` how the fitted bags become one
    model, and in `_bag_scores` what each of them scores. With ``n_bags=1`` there is one fit, on all rows.

    Attributes
    ----------
    bag_iterations_ : list of int, or None
        Rounds of each bag; None with ``n_bags=1``.
    oob_scores_ : (n_samples,) float64, or None
        Score of each training row, in the order of `fit`, by the bags that did not draw its query: their
        mean, added to the starting score if there is one. NaN where every bag drew it, and where the query
        was held out from all of them.
    oob_score_ : float or None
        `eval_metric` of these scores over the queries that have them.
    """

    saved_attributes = (*BaseRanker.saved_attributes, "bag_iterations_", "oob_score_")

    n_bags: int
    bag_iterations_: list[int] | None = None
    oob_scores_: FloatArray | None = None
    oob_score_: float | None = None
    _wants_stop: threading.Event | None = None  # of the fit of a bag: another bag has failed
    _turn: AbstractContextManager[Any] | None = None  # of the fit of a bag: held while callbacks run

    # ------------------------------------------------------------------------------------------ fitting

    @abstractmethod
    def _fit_single(self, data: TrainingSet, watch: Stopwatch) -> None:
        """Fit one model on rows that `_prepare_rows` returned."""

    @abstractmethod
    def _merge_bags(self, bags: Sequence[Self]) -> None:
        """Take over the mean of the fitted `bags`, and what they say of their fits."""

    @abstractmethod
    def _bag_scores(self, X: Features) -> FloatArray:
        """Scores of checked rows by each bag, (n_bags, n_samples)."""

    def _prepare_rows(self, data: TrainingSet, watch: Stopwatch) -> TrainingSet:
        """Do what all bags share, such as cutting features into bins. Here that is nothing."""
        return data

    def _needs_all_rows(self) -> bool:
        """Whether the objective was written for all rows as they were given."""
        return False

    def _fits_in_threads(self) -> bool:
        """Whether several fits may run side by side, each on one thread."""
        return False

    def _become_bag(self, number: int) -> None:
        """Adapt a copy of the ranker that will be fitted as bag `number`. There is nothing to do here."""

    def hold_out(self, rows: OrderedRows) -> TrainingSet:
        """See `BaseRanker.hold_out`; bags need no held-out queries, because each has some of its own."""
        if self.n_bags > 1 and getattr(self, "validation_fraction", None) is None:
            return TrainingSet.of(rows)
        return super().hold_out(rows)

    def _fit_ordered(self, data: TrainingSet, watch: Stopwatch) -> None:
        self._check_bags(data)
        given = data.train
        data = self._prepare_rows(data, watch)
        if self.n_bags == 1:
            for name in ("bag_iterations_", "oob_score_", "oob_scores_"):
                setattr(self, name, None)
            self._fit_single(data, watch)
            return
        stops_outside = not data.held_out and getattr(self, "early_stopping_rounds", None) is not None
        rng = self._rng()
        bags = draw_bags(given, self.n_bags, rng, stops_outside=stops_outside)
        fits = _fit_all(self, bags, given, data, watch.started, stops_outside=stops_outside)
        for fit in fits:
            for part, seconds in fit.watch.seconds.items():
                watch.seconds[part] = watch.seconds.get(part, 0.0) + seconds
        with watch("merging"):
            self._merge_bags([fit.ranker for fit in fits])
            self._keep_outside_scores(given, bags, [fit.scores for fit in fits])

    def _check_bags(self, data: TrainingSet) -> None:
        """Raise if bags cannot be combined with the other parameters."""
        if getattr(self, "warm_start", False) and (self.n_bags > 1 or self.bag_iterations_ is not None):
            raise ValueError(
                f"'warm_start' must be False with n_bags={self.n_bags}, or after a fit with bags: the trees "
                "of a bag cannot be continued one by one; set warm_start=False"
            )
        if self.n_bags == 1:
            return
        if data.init_model is not None:
            raise ValueError(
                f"'n_bags' must be 1 with 'init_model'; got {self.n_bags}: every bag would hold a copy of "
                "that model; pass its scores as 'init_score', or set n_bags=1"
            )
        if data.train.position is not None:
            raise ValueError(
                f"'n_bags' must be 1 when fit gets 'position'; got {self.n_bags}: every bag would estimate "
                "propensities of its own; fit without 'position', or set n_bags=1"
            )
        if self._needs_all_rows():
            raise ValueError(
                f"'n_bags' must be 1 with a function or an objective that names rows, which needs all rows; "
                f"got {self.n_bags}; use an objective that goes by the labels"
            )

    def _keep_outside_scores(
        self, train: OrderedRows, bags: Sequence[Bag], scores: Sequence[FloatArray]
    ) -> None:
        """Set the mean score of each row by the bags that did not draw its query, and its measure."""
        of_row = train.queries.query_of_ordered_row
        total = np.zeros(len(of_row))
        count = np.zeros(len(of_row))
        for bag, outside in zip(bags, scores):
            rows = bag.times[of_row] == 0
            total[rows] += outside
            count[rows] += 1
        mean = np.full(len(of_row), np.nan)
        np.divide(total, count, out=mean, where=count > 0)
        # Rows of a validation share are among those given, and stay NaN.
        self.oob_scores_ = np.full(train.view.source.shape[0], np.nan)
        self.oob_scores_[train.order] = mean
        scored = np.logical_or.reduce([bag.times == 0 for bag in bags])
        part = train.select(scored)
        self.oob_score_ = float("nan")
        if len(part.y):
            bound = bind_deciding(self.find_metric(), self._goals(), part, n_threads=self._n_threads())
            self.oob_score_ = float(bound(mean[scored[of_row]]))

    # --------------------------------------------------------------------------------------- predicting

    def predict(
        self, X: Features, *, init_score: ArrayLike | float | None = None, return_std: bool = False
    ) -> Any:
        """Score of each row, higher is ranked first.

        Parameters
        ----------
        X : (n_samples, n_features) array-like, DataFrame or sparse matrix
        init_score : (n_samples,) array-like or float, optional
            Score that each row starts from, if the ranker was fitted with `init_score`; it is added. 0 for
            what the ranker adds to them.
        return_std : bool
            Whether to return how far the bags are apart, too. Needs ``n_bags`` of at least 2.

        Returns
        -------
        scores : (n_samples,) float64
            In the order of the rows of X. Of a bag, the mean of its members' scores.
        std : (n_samples,) float64
            With `return_std` only: standard deviation of the bags' scores, with ``n_bags - 1`` below.

        Raises
        ------
        ValueError
            If `return_std` is asked of a ranker without bags, or starting scores are given to a ranker that
            was fitted without.
        """
        scores = self._from_start(super().predict(X), init_score, "predict", X)
        if not return_std:
            return scores
        if self.bag_iterations_ is None:
            raise ValueError("'return_std' needs a ranker of several bags; set n_bags=10 and fit again")
        rows = self._scored_features(X)
        return scores, self._bag_scores(rows).std(axis=0, ddof=1)

    def _scores_of(self, X: Features, qid: Ids) -> FloatArray:
        scores: FloatArray = super().predict(X)
        return scores

    def bag_scores(self, X: Features) -> FloatArray:
        """Scores of the rows of X by each bag, (n_bags, n_samples); their mean is ``predict(X)``.

        Raises
        ------
        ValueError
            If the ranker was fitted with ``n_bags=1``.
        """
        check_is_fitted(self)
        if self.bag_iterations_ is None:
            raise ValueError("'bag_scores' needs a ranker of several bags; set n_bags=10 and fit again")
        return self._bag_scores(self._scored_features(X))


def merged_history(bags: Sequence[Any]) -> tuple[float, dict[str, dict[str, list[float]]]]:
    """Mean of the bags' best scores, and their measures by round: ``{"bag 0": {"ndcg@10": [...]}, ...}``."""
    history: dict[str, dict[str, list[float]]] = {}
    for number, bag in enumerate(bags):
        for name, measures in bag.evals_result_.items():
            history[f"bag {number}" if len(bag.evals_result_) == 1 else f"bag {number} {name}"] = measures
    return float(np.mean([bag.best_score_ for bag in bags])), history


def checkpoint_of_bag(extra: Mapping[str, Any] | None, number: int) -> dict[str, Any] | None:
    """Settings of a booster, a checkpoint's path with the number of the bag in it."""
    if extra is None or "checkpoint" not in extra:
        return None if extra is None else dict(extra)
    return {**extra, "checkpoint": f"{extra['checkpoint']}.bag{number}"}


def _fit_all(
    ranker: R,
    bags: Sequence[Bag],
    given: OrderedRows,
    data: TrainingSet,
    started: float,
    *,
    stops_outside: bool,
) -> list[BagFit[R]]:
    """Fit every bag: side by side where the fits allow it, else one after the other.

    Each bag is the same whatever runs beside it, because one model does not depend on its threads.
    """
    n_threads = ranker._n_threads()
    side_by_side = min(n_threads, len(bags)) if ranker._fits_in_threads() else 1
    fits: list[BagFit[R] | None] = [None] * len(bags)
    failed = threading.Event()
    turn = threading.Lock()
    verbose = bool(getattr(ranker, "verbose", 0))
    label = f"{type(ranker).__name__} (bags)"
    with Progress(label, len(bags), bar=verbose, lines=verbose) as progress:

        def fit(first: int, last: int) -> None:
            for number in range(first, last):
                if failed.is_set():
                    return
                member = _member(ranker, bags[number], number, failed, n_threads // side_by_side)
                member._turn = turn
                own = replace(data, bag=number)
                watch = Stopwatch(started)
                fits[number] = _fit_bag(member, bags[number], given, own, watch, stops_outside=stops_outside)
                if verbose:
                    progress.advance(1)

        # After an interrupt, as after a failure (see `_fit_bag`), fits that still run in other threads stop
        # after the tree they are at.
        run_tasks(fit, np.arange(len(bags) + 1), side_by_side, stop=failed.set)
    return [fit for fit in fits if fit is not None]


def _member(ranker: R, bag: Bag, number: int, failed: threading.Event, n_threads: int) -> R:
    """A copy of the ranker that fits one bag."""
    member = copy.copy(ranker)
    member.n_bags = 1
    member.bag_iterations_ = None
    member.random_state = bag.seed
    member.n_jobs = max(1, n_threads)
    member.verbose = 0
    member._wants_stop = failed
    member._become_bag(number)
    return member


def _fit_bag(
    member: R,
    bag: Bag,
    given: OrderedRows,
    data: TrainingSet,
    watch: Stopwatch,
    *,
    stops_outside: bool,
) -> BagFit[R]:
    own = replace(data, train=bag.inside(data.train))
    if stops_outside:
        own = replace(own, held_out=TrainingSet.of(own.train, bag.outside(data.train)).held_out)
    try:
        member._fit_single(own, watch)
        with watch("evaluation"):
            rest = bag.outside(given)
            scores = member._predict_rows(rest.view.gather()) if len(rest.y) else np.empty(0)
            if rest.init_score is not None:
                scores = scores + rest.init_score
    except BaseException:
        assert member._wants_stop is not None
        member._wants_stop.set()
        raise
    return BagFit(member, scores, watch)
