"""What turns features into rewards in a reward model: trees, a linear function, or any ranker of the kit."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import scipy.sparse
from sklearn.base import clone

from lambdamart_kit.boosters.registry import boosters_that_can, capabilities, find_booster
from lambdamart_kit.boosters.rounds import EvalSet, Measure
from lambdamart_kit.core.ordered_rows import OrderedRows
from lambdamart_kit.core.pairs import pair_terms
from lambdamart_kit.core.precision import as_features
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.rows import RowView
from lambdamart_kit.core.typing import Features, FloatArray
from lambdamart_kit.preferences.rewards.pair_view import PairView
from lambdamart_kit.preferences.scoring import calibration_slope
from lambdamart_kit.rankers import LambdaMART, LinearRanker, NeuralRanker
from lambdamart_kit.rankers.columns.categories import FeatureColumns
from lambdamart_kit.rankers.columns.scaling import row_blocks
from lambdamart_kit.runtime.threads import resolve_n_jobs

_MOST_STEPS, _TOLERANCE = 100, 1e-5  # of linear rewards: the tolerance is what float32 features allow


class Reward(Protocol):
    """A fitted scorer."""

    def predict(self, X: Features) -> FloatArray:
        """Reward of each row."""
        ...


class Scorer(Protocol):
    """Fits a reward to pairs; `validation` may stop it early."""

    def fit(self, train: PairView, validation: PairView | None, *, seed: int, like: Any = None) -> Reward:
        """Fit on `train`; where nothing stops it, to the size of the reward `like`."""
        ...


@dataclass(frozen=True, eq=False)
class TreeScorer:
    """Boosted trees on the pair gradient, stopped early on the log loss of held-out prompts.

    Attributes
    ----------
    ranker : LambdaMART
        Has the parameters of the trees.
    noise : dict
        ``flip_rate`` and ``correction``.
    """

    ranker: LambdaMART
    noise: dict[str, Any] = field(default_factory=dict)

    def fit(self, train: PairView, validation: PairView | None, *, seed: int, like: Any = None) -> Reward:
        """Grow trees until the held-out log loss has not fallen for `early_stopping_rounds` rounds."""
        pairs = train.compact()
        rows = _as_ordered_rows(pairs.X)
        ranker = clone(self.ranker)
        ranker.take_columns(FeatureColumns(rows.X.shape[1]))
        if validation is None:
            ranker.early_stopping_rounds = None
        n_estimators = ranker.n_estimators if like is None else max(1, like.n_trees)
        settings = replace(ranker.booster_settings(n_estimators), seed=seed)
        one_query = Queries.from_qid(None, len(rows.y))
        bound = pairs.objective(**self.noise).bind(rows.y, one_query, n_threads=settings.n_threads)
        eval_sets = [] if validation is None else [_held_out_loss(validation)]
        model: Reward = ranker.boost(rows, bound, settings, eval_sets=eval_sets, label="RewardModel").model_
        return model


def _as_ordered_rows(X: Features) -> OrderedRows:
    """Responses as rows to train on, in the order they have; each is a unit of its own for `subsample`."""
    n_rows = X.shape[0]
    queries = Queries.from_qid(range(n_rows), n_rows)
    return OrderedRows(RowView.of(as_features(X)), np.zeros(n_rows), queries, sample_weight=None)


def _held_out_loss(validation: PairView) -> EvalSet:
    held_out = validation.compact()
    loss = HeldOutLoss(held_out)
    measure = Measure("log_loss", loss, greater_is_better=False)
    return EvalSet("validation", as_features(held_out.X), (measure,))


class HeldOutLoss:
    """Mean log loss on held-out pairs at the best common factor of the scores.

    Boosting grows overconfident before it stops learning; rewards are scaled afterwards, so rounds are
    compared as they will be used. Where every one of n pairs is right no factor is best, and the loss would
    fall for ever: it then counts as no less than ``log((n + 2) / (n + 1))``, that of the probability which
    Laplace's rule of succession gives the next pair.
    """

    def __init__(self, pairs: PairView) -> None:
        self._pairs = pairs
        self._factor = 1.0
        self._least_if_all_right = float(np.log1p(1.0 / (len(pairs.chosen) + 1)))

    def __call__(self, scores: FloatArray) -> float:
        """Loss at the scores of the pairs' rows."""
        p = self._pairs
        difference = np.asarray(scores[p.chosen] - scores[p.rejected], dtype=np.float64)
        factor = calibration_slope(difference, p.target, p.weight, offset=-p.margin, start=self._factor)
        # No usable factor (all scores equal, all pairs right or wrong): judge the scores as they are.
        usable = np.isfinite(factor) and factor > 0
        self._factor = factor if usable else 1.0
        z = self._factor * difference - p.margin
        terms = pair_terms(z, target=p.target, weight=p.weight, n_threads=1)
        loss = float(terms.loss.sum() / max(float(p.weight.sum()), 1e-300))
        return max(loss, self._least_if_all_right) if factor == np.inf else loss


@dataclass(frozen=True, eq=False)
class LinearReward:
    """``reward = (X - mean) @ coef``; a missing value counts as the mean.

    Attributes
    ----------
    coef, mean : (n_features,) float64
    """

    coef: FloatArray
    mean: FloatArray

    def predict(self, X: Features) -> FloatArray:
        """Reward of each row, (n,) float64."""
        rewards = np.empty(X.shape[0])
        for rows in row_blocks(X.shape[0]):
            block = X[rows].astype(np.float64)
            if not scipy.sparse.issparse(block):
                block = np.nan_to_num(block - self.mean)
            rewards[rows] = np.asarray(block @ self.coef).ravel()
        return rewards

    def contributions(self, X: Features, background: Features = None) -> FloatArray:
        """Each feature's term of the reward, and 0, the reward of the mean; or against other rows."""
        terms = np.zeros((X.shape[0], X.shape[1] + 1))
        if scipy.sparse.issparse(X):
            terms[:, :-1] = X.toarray() * self.coef
        else:
            terms[:, :-1] = np.nan_to_num(X.astype(np.float64) - self.mean) * self.coef
        if background is None:
            return terms
        others = self.contributions(background)
        terms[:, :-1] -= others[:, :-1]
        terms[:, -1] = others.sum(axis=1)
        return terms


@dataclass(frozen=True, eq=False)
class LinearScorer:
    """A linear function of the features with an L2 penalty: `LinearRanker` on the explicit pairs."""

    reg_lambda: float
    noise: dict[str, Any] = field(default_factory=dict)
    n_threads: int | None = None

    def fit(self, train: PairView, validation: PairView | None, *, seed: int, like: Any = None) -> Reward:
        """Newton's method; nothing is held out."""
        rows = train.compact()
        ranker = LinearRanker(
            rows.objective(**self.noise),
            reg_lambda=self.reg_lambda,
            max_iter=_MOST_STEPS,
            tol=_TOLERANCE,
            n_jobs=self.n_threads,
        )
        # One query: the penalty stands against the loss summed over all pairs.
        one_query = np.zeros(rows.X.shape[0], dtype=np.intp)
        ranker.fit(rows.X, np.zeros(len(one_query)), qid=one_query)
        return LinearReward(ranker.coef_, ranker.mean_)


@dataclass(frozen=True, eq=False)
class RankerScorer:
    """Any ranker of the kit with an `objective` parameter, driven by the explicit pairs."""

    ranker: Any
    noise: dict[str, Any] = field(default_factory=dict)

    def fit(self, train: PairView, validation: PairView | None, *, seed: int, like: Any = None) -> Reward:
        """Fit a clone; its own parameters decide how long."""
        rows = train.compact()
        ranker = clone(self.ranker)
        known = ranker.get_params()
        ranker.set_params(
            objective=rows.objective(**self.noise),
            **({"random_state": seed} if known.get("random_state", 0) is None else {}),
        )
        prompt = np.zeros(rows.X.shape[0], dtype=np.intp)
        prompt[rows.rejected], prompt[rows.chosen] = rows.prompt, rows.prompt
        fitted: Reward = ranker.fit(rows.X, np.zeros(len(prompt)), qid=prompt)
        return fitted


def scorer_of(model: Any) -> Scorer:
    """The scorer that the parameters of a reward model ask for.

    Raises
    ------
    ValueError
        If `scorer` or `grow_policy` is unknown, or the booster cannot do it.
    """
    noise = {"flip_rate": model.flip_rate, "correction": model.correction}
    if model.scorer == "linear":
        return linear_scorer(model)
    if model.scorer == "trees":
        symmetric = _is_symmetric(model)
        has_leaf_size = find_booster(model.booster).parameter_names["min_child_samples"] is not None
        ranker = LambdaMART(
            booster=model.booster,
            n_estimators=model.n_estimators,
            learning_rate=model.learning_rate,
            num_leaves=model.num_leaves or (64 if symmetric else 6),
            min_child_samples=model.min_child_samples if has_leaf_size else None,
            subsample=model.subsample,
            colsample_bytree=model.colsample_bytree,
            reg_lambda=20.0 if model.reg_lambda is None else model.reg_lambda,
            early_stopping_rounds=model.early_stopping_rounds,
            booster_params={"grow_policy": "symmetric"} if symmetric else None,
            n_jobs=model.n_jobs,
            verbose=model.verbose,
        )
        return TreeScorer(ranker, noise)
    if model.scorer == "neural":
        return RankerScorer(NeuralRanker(), noise)
    if hasattr(model.scorer, "get_params") and "objective" in model.scorer.get_params():
        return RankerScorer(model.scorer, noise)
    raise ValueError(
        "'scorer' must be 'trees', 'linear', 'neural' or a ranker with an 'objective' parameter; "
        f"got {model.scorer!r}"
    )


def linear_scorer(model: Any) -> LinearScorer:
    """The linear scorer with the penalty and the label noise of a reward model."""
    noise = {"flip_rate": model.flip_rate, "correction": model.correction}
    reg_lambda = 1.0 if model.reg_lambda is None else model.reg_lambda
    return LinearScorer(reg_lambda, noise, resolve_n_jobs(model.n_jobs))


def _is_symmetric(model: Any) -> bool:
    can = capabilities(model.booster).symmetric_trees
    if model.grow_policy == "symmetric" and not can:
        known = " or ".join(f"booster={name!r}" for name in boosters_that_can("symmetric_trees"))
        raise ValueError(f"'grow_policy'='symmetric' needs {known}; got booster={model.booster!r}")
    return bool(can and model.grow_policy != "leafwise")
