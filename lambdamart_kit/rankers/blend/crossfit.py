"""The run of `AutoRanker`: fit member after member, each on all folds of queries but one, within a budget."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter as now
from typing import Any

import numpy as np

from lambdamart_kit.boosters.rounds import Stopwatch
from lambdamart_kit.core.ordered_rows import OrderedRows
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import BoolArray, FloatArray, IndexArray
from lambdamart_kit.rankers.base import BaseRanker
from lambdamart_kit.rankers.blend.budget import Budget
from lambdamart_kit.rankers.blend.checkpoint import FitStore
from lambdamart_kit.rankers.blend.folds import deal_queries
from lambdamart_kit.rankers.blend.members import CrossFit, Member
from lambdamart_kit.rankers.blend.portfolio import Recipe
from lambdamart_kit.rankers.blend.scale import deviation_within_queries
from lambdamart_kit.rankers.columns.categories import FeatureColumns
from lambdamart_kit.rankers.steering.training_set import TrainingSet
from lambdamart_kit.runtime.progress import Progress

# How often the whole portfolio is fitted, each time on other folds: with five folds, at most twenty models a
# member. Every repeat makes the blend larger and slower.
_MOST_REPEATS = 4
_ROUNDS_WITHOUT_FOLDS = 100  # trees of a model that nothing is held out for


@dataclass(frozen=True, eq=False)
class Plan:
    """What is to be fitted, and on what.

    Attributes
    ----------
    rows : OrderedRows
        All training rows.
    columns : FeatureColumns
    recipes : sequence of Recipe
        In the order in which they are fitted.
    n_folds : int
        1 if nothing can be held out.
    seed : int
        Every fit has a seed of its own, made from this one, so the order of fits does not matter.
    settings : dict
        Parameters of every member that has them.
    single_query : bool
        Whether the rows came without query ids.
    """

    rows: OrderedRows
    columns: FeatureColumns
    recipes: Sequence[Recipe]
    n_folds: int
    seed: int
    settings: dict[str, Any]
    single_query: bool

    def rng(self, *of: int) -> np.random.Generator:
        """A generator for one purpose, named by numbers."""
        return np.random.default_rng([self.seed, *of])

    def folds(self, repeat: int) -> IndexArray:
        """The fold of each query in a repeat, (n_queries,)."""
        return deal_queries(self.rows.comparable(), self.n_folds, self.rng(repeat))

    def fit(self, recipe: Recipe, repeat: int, fold: int, held_out: OrderedRows | None) -> BaseRanker:
        """One model of a member, fitted on the queries that are not in `fold`."""
        number = int.from_bytes(hashlib.blake2b(recipe.name.encode(), digest_size=4).digest(), "little")
        rng = self.rng(repeat, fold, number)
        settings = dict(self.settings)
        if held_out is None:
            settings |= {"early_stopping_rounds": None, "n_estimators": _ROUNDS_WITHOUT_FOLDS}
        model = recipe.make(**settings, random_state=int(rng.integers(2**31 - 1)))
        chosen = np.ones(self.rows.queries.n_queries, dtype=bool)
        if held_out is not None:
            chosen = self.folds(repeat) != fold
        if recipe.most_rows is not None:
            chosen = thinned(chosen, self.rows.queries, recipe.most_rows, rng)
        train = self.rows if chosen.all() else self.rows.select(chosen)
        model.take_columns(self.columns)
        model.n_queries_in_ = train.queries.n_queries
        model.single_query_ = self.single_query
        model.fit_rows(TrainingSet.of(train, held_out), Stopwatch())
        model.query_traces_ = None
        return model


def thinned(chosen: BoolArray, queries: Queries, most_rows: int, rng: np.random.Generator) -> BoolArray:
    """Whole queries among the `chosen`, drawn at random, with at most `most_rows` rows; one at least.

    Examples
    --------
    >>> queries = Queries.from_qid([1, 1, 2, 2, 3, 3], 6)
    >>> thinned(np.array([True, True, True]), queries, 4, np.random.default_rng(0)).sum()
    np.int64(2)
    """
    sizes = queries.sizes
    if sizes[chosen].sum() <= most_rows:
        return chosen
    drawn = rng.permutation(np.flatnonzero(chosen))
    n_kept = max(1, int(np.searchsorted(np.cumsum(sizes[drawn]), most_rows, side="right")))
    kept = np.zeros_like(chosen)
    kept[drawn[:n_kept]] = True
    return kept


@dataclass(eq=False)
class Run:
    """Members as far as they are fitted.

    Attributes
    ----------
    plan : Plan
    budget : Budget
    store : FitStore or None
    progress : Progress
    n_reserved : int
        Fits of about the first member's kind that the budget must be enough for afterwards.
    members : list of Member
        In the order of the portfolio. All but the first have a model for every fold.
    out_of_fold : dict of str to (n_samples,) float64
        Sum of the scaled held-out scores over the repeats of each member, in the order of the rows; NaN where
        there is none.
    n_fits : int
    seconds : float
        Of all fits, those of earlier runs that were resumed included.
    """

    plan: Plan
    budget: Budget
    store: FitStore | None
    progress: Progress
    n_reserved: int = 0
    members: list[Member] = field(default_factory=list)
    out_of_fold: dict[str, FloatArray] = field(default_factory=dict)
    n_fits: int = 0
    seconds: float = 0.0
    _failed: set[str] = field(default_factory=set)

    def go(self) -> None:
        """Fit until the budget is spent, the portfolio is done, or the user presses Ctrl-C."""
        try:
            for repeat, recipe in self._jobs():
                if recipe.name in self._failed or (self.members and not self._affordable(recipe)):
                    continue
                self._fit_member(recipe, repeat)
        except KeyboardInterrupt:
            if not self.members:
                raise
            warnings.warn(
                f"AutoRanker was stopped by Ctrl-C and keeps the {self.n_fits} fits that are done, of "
                f"{', '.join(member.name for member in self.members)}",
                UserWarning,
                stacklevel=2,
            )

    def _jobs(self) -> Iterator[tuple[int, Recipe]]:
        for repeat in range(_MOST_REPEATS if self.plan.n_folds > 1 else 1):
            for recipe in self.plan.recipes:
                yield repeat, recipe

    def _affordable(self, recipe: Recipe) -> bool:
        """Whether the budget is enough for another member, by what those before it took."""
        if not self.budget.is_timed:
            return self.n_fits + self.plan.n_folds + self.n_reserved <= self.budget.fits
        first = self.members[0]
        reserved = self.n_reserved * first.seconds / len(first.fits)
        needed = self._predicted_seconds(recipe) * self.plan.n_folds
        return self.seconds + needed + reserved <= self.budget.seconds

    def _predicted_seconds(self, recipe: Recipe) -> float:
        """Of one fit: the mean of those of the same recipe, else by the relative cost of all recipes."""
        cost = {r.name: r.cost for r in self.plan.recipes}
        same = [m for m in self.members if m.name == recipe.name]
        if same:
            return same[0].seconds / len(same[0].fits)
        spent = sum(member.seconds for member in self.members)
        return recipe.cost * spent / sum(cost[m.name] * len(m.fits) for m in self.members)

    def _fit_member(self, recipe: Recipe, repeat: int) -> None:
        """Fit a model for every fold, and add them to the members; a member that fails is left out."""
        done: list[tuple[BaseRanker, float]] = []
        scores = np.full(len(self.plan.rows.y), np.nan)
        try:
            for fold in range(self.plan.n_folds):
                # The first member may be too large for the budget: then it is the mean of fewer models.
                if done and not self.members and self._is_spent(len(done)):
                    break
                done.append(self._fit_fold(recipe, repeat, fold, scores))
                self._show(recipe, len(done))
        except KeyboardInterrupt:
            if not self.members and done:
                self._add(recipe, repeat, done, scores)
            raise
        except Exception as error:
            if not self.members:
                raise
            self._failed.add(recipe.name)
            warnings.warn(
                f"AutoRanker leaves out {recipe.name!r}, whose fit failed: {error}", UserWarning, stacklevel=2
            )
            return
        self._add(recipe, repeat, done, scores)

    def _is_spent(self, n_done: int) -> bool:
        """Whether the budget is not enough for another fit of the first member, of which some are done."""
        if not self.budget.is_timed:
            return n_done >= self.budget.fits
        return self.seconds * (n_done + 1) / n_done > self.budget.seconds

    def _fit_fold(
        self, recipe: Recipe, repeat: int, fold: int, scores: FloatArray
    ) -> tuple[BaseRanker, float]:
        """Fit one model, or load it from the store, and write its held-out scores into `scores`."""
        started = now()
        rows = self.plan.rows
        out = np.ones(rows.queries.n_queries, dtype=bool)
        held_out = None
        if self.plan.n_folds > 1:
            out = self.plan.folds(repeat) == fold
            held_out = rows.select(out)
        name = f"{repeat}-{recipe.name.replace(' ', '_')}-{fold}"
        stored = None if self.store is None else self.store.load(name)
        if stored is None:
            model = self.plan.fit(recipe, repeat, fold, held_out)
            seconds = now() - started
            if self.store is not None:
                self.store.save(name, model)
        else:
            model, seconds = stored
            model.set_params(n_jobs=self.plan.settings["n_jobs"])
        measured = rows if held_out is None else held_out
        found = np.asarray(model._predict_rows(measured.X), dtype=np.float64)
        if not np.isfinite(found).all():
            raise ValueError("a score is not finite, so training diverged")
        scores[out[rows.queries.query_of_ordered_row]] = found
        self.seconds += seconds
        return model, seconds

    def _show(self, recipe: Recipe, n_done: int) -> None:
        note = f"{recipe.name}, fold {n_done} of {self.plan.n_folds}"
        done = min(self.seconds, self.budget.seconds) if self.budget.is_timed else self.n_fits + n_done
        self.progress.update(int(done), note=note)

    def _add(
        self, recipe: Recipe, repeat: int, done: list[tuple[BaseRanker, float]], scores: FloatArray
    ) -> None:
        """Take finished models into their member, all of a repeat on one scale.

        One scale for all folds, because a model that stopped after a few trees has small scores, and should
        count for little. A scale for each model gained .002 on MQ2008 and lost .012 on the MSLR sample (out
        of fold).
        """
        scale = deviation_within_queries(scores, self.plan.rows.queries)
        fits = [CrossFit(model, repeat, fold, scale, seconds) for fold, (model, seconds) in enumerate(done)]
        self.n_fits += len(fits)
        known = next((member for member in self.members if member.name == recipe.name), None)
        if known is None:
            self.members.append(Member(recipe.name, fits))
            self.out_of_fold[recipe.name] = scores / scale
        else:
            known.fits += fits
            self.out_of_fold[recipe.name] += scores / scale
