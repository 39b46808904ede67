"""Reward models: a score for a response, learned from pairs."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator

from lambdamart_kit.core.gains import check_choice
from lambdamart_kit.core.rows import as_matrix
from lambdamart_kit.core.typing import ArrayLike, Features, FloatArray, Ids, RandomState
from lambdamart_kit.preferences.explaining import RewardExplain
from lambdamart_kit.preferences.exporting import RewardExport
from lambdamart_kit.preferences.features import training_features
from lambdamart_kit.preferences.labels import pairs_of_labels
from lambdamart_kit.preferences.margins import margins_that_count
from lambdamart_kit.preferences.pairs import PreferencePairs
from lambdamart_kit.preferences.rewards.bags import bag_levels, bag_of
from lambdamart_kit.preferences.rewards.pair_view import PairView
from lambdamart_kit.preferences.rewards.predicting import RewardPredict
from lambdamart_kit.preferences.rewards.scorers import Reward, linear_scorer, scorer_of
from lambdamart_kit.preferences.saving import RewardFile
from lambdamart_kit.preferences.scoring import calibration_slope
from lambdamart_kit.runtime.randomness import make_rng
from lambdamart_kit.runtime.rollback import unchanged_on_failure

_HELD_OUT_PROMPTS = 20


class RewardModel(RewardPredict, RewardFile, RewardExport, RewardExplain, BaseEstimator):
    r"""Reward of a response, such that reward differences are log-odds of preferences.

    .. math:: \min_r \sum_k w_k \, \ell(r(x_{chosen}) - r(x_{rejected}) - margin_k, \; t_k), \qquad
              P(a \succ b) = \sigma(r(a) - r(b))

    with :math:`\ell(z, t) = -t \log\sigma(z) - (1-t) \log\sigma(-z)`: the pure Bradley-Terry loss, without
    the score normalisation that spoils the calibration of ranking losses.

    Parameters
    ----------
    scorer : {"trees", "linear", "neural"} or ranker
        Boosted trees; a linear function; ``NeuralRanker()``; or any ranker of the kit with an `objective`
        parameter, such as ``LambdaMART(booster="xgboost")``, which is cloned, given the pairs and trained by
        its own settings.
    features : {"text", "tfidf", "embeddings:MODEL"} or transformer, optional
        Makes features of texts, fitted on the training pairs, where pairs come without features.
    booster : {"native", "lightgbm", "xgboost"}
        Whose trees, for ``scorer="trees"``; so are the parameters down to `early_stopping_rounds`.
    grow_policy : {"symmetric", "leafwise"}, optional
        Symmetric trees ask one question a level: on noisy labels they came much closer to known rewards than
        leaf-wise ones of any size. None for symmetric with native trees, leaf-wise with those of libraries.
    n_estimators : int
        Trees at most, and responses in a leaf at least.
    learning_rate : float
        Step, and shares of responses and of features drawn for each tree.
    num_leaves : int, optional
        Leaves of a tree; None for 64 of a symmetric tree and 6 of a leaf-wise one.
    min_child_samples : int
        Trees at most, and responses in a leaf at least.
    subsample, colsample_bytree : float
        Step, and shares of responses and of features drawn for each tree.
    early_stopping_rounds : int
        Stop after so many rounds without a lower log loss (of rewards scaled best) on held-out prompts.
    reg_lambda : float, optional
        L2 penalty, on leaf values or on coefficients of standardised features; None for 20 with trees and 1
        with a linear scorer.
    validation_fraction : float
        Share of the prompts held out for early stopping and calibration, though at least twenty prompts or
        a third of them; 0 for neither.
    flip_rate : float
        Probability in [0, 0.5) that a label is flipped.
    correction : {"smoothed", "robust"}
        ``"smoothed"``: targets become ``e + (1 - 2 e) t``; ``"robust"``: the unbiased estimate of the clean
        loss, whose optimum is the clean probability.
    use_margins : {"stated"} or bool
        Whether the reward difference has to exceed each pair's `margin`. ``"stated"``: margins that a column
        ``margin`` or the caller states count, as in TRL's ``RewardTrainer``; gaps of ratings, which the
        reader makes margins of (`PreferencePairs.margins` names them), do not, and a warning says so. True:
        both count. A gap is in units of the ratings and not in log-odds, so probabilities are then no longer
        those of preferences. False: none counts.
    n_bags : int
        Average so many models, each on prompts drawn with replacement. How far they are apart is
        ``predict(X, return_std=True)``; :func:`~lambdamart_kit.preferences.dpo.select_best` takes the
        response with the highest lower bound.
    calibrate : bool
        Scale rewards by the one factor that minimises the log loss on the held-out prompts. With a flip rate
        the held-out labels count as given, noise included.
    refit : bool
        Once the held-out prompts have said how many trees to grow and how to scale rewards, fit again on all
        prompts.
    nuisance : sequence of int, optional
        Columns whose effect (length, style) is fitted, linearly and together with the others, and left out of
        the rewards.
    random_state : int, RandomState or None
        Seed of all draws; None draws differently every time.
    n_jobs : int, optional
        Threads; None for all.
    verbose : int
        1 shows progress on stderr.

    Attributes
    ----------
    temperature_ : float
        Rewards were divided by this.
    rewards_ : list
        The fitted scorers, one a bag.
    bag_levels_ : (n_bags,) float64
        Mean of each bag's rewards over the training responses, before division by `temperature_`.
    extractor_ : transformer or None
        What makes features of texts.
    nuisance_coef_ : (n_features,) float64 or None
        Linear effect of each nuisance column; zero elsewhere.
    n_features_in_ : int
        Columns that fit saw.

    References
    ----------
    Bradley and Terry (1952). Ouyang et al. (2022), "Training language models to follow instructions with
    human feedback", equation 1. Touvron et al. (2023), "Llama 2", equation 2 (margins). Guo et al. (2017),
    "On calibration of modern neural networks", section 4.2 (temperature).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(400, 2))
    >>> better = X[::2, 0] - X[1::2, 0] > rng.logistic(size=200) / 3
    >>> first = np.arange(0, 400, 2)
    >>> pairs = PreferencePairs.from_indices(X, first + ~better, first + better)
    >>> rm = RewardModel(scorer="linear", random_state=0).fit_pairs(pairs)
    >>> bool(rm.predict([[1.0, 0.0]])[0] > rm.predict([[0.0, 0.0]])[0] + 2)
    True
    """

    saved_attributes: ClassVar[tuple[str, ...]] = ("temperature_", "n_features_in_")

    def __init__(
        self,
        scorer: Any = "trees",
        *,
        features: Features = None,
        booster: str = "native",
        grow_policy: str | None = None,
        n_estimators: int = 4000,
        learning_rate: float = 0.05,
        num_leaves: int | None = None,
        min_child_samples: int = 20,
        subsample: float = 0.8,
        colsample_bytree: float = 1.0,
        early_stopping_rounds: int = 100,
        reg_lambda: float | None = None,
        validation_fraction: float = 0.1,
        flip_rate: float = 0.0,
        correction: str = "smoothed",
        use_margins: bool | str = "stated",
        n_bags: int = 1,
        calibrate: bool = True,
        refit: bool = True,
        nuisance: Any = None,
        random_state: RandomState = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.scorer = scorer
        self.features = features
        self.booster = booster
        self.grow_policy = grow_policy
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.min_child_samples = min_child_samples
        self.subsample = subsample
        self.colsample_bytree = colsample_bytree
        self.early_stopping_rounds = early_stopping_rounds
        self.reg_lambda = reg_lambda
        self.validation_fraction = validation_fraction
        self.flip_rate = flip_rate
        self.correction = correction
        self.use_margins = use_margins
        self.n_bags = n_bags
        self.calibrate = calibrate
        self.refit = refit
        self.nuisance = nuisance
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    # ------------------------------------------------------------------------------------------- fitting

    def fit_pairs(self, pairs: PreferencePairs) -> RewardModel:
        """Fit to preference pairs.

        Parameters
        ----------
        pairs : PreferencePairs
            Pairs with features, or with texts that `features` describes.

        Returns
        -------
        RewardModel
            The fitted model itself.

        Raises
        ------
        ValueError
            If there are no pairs, or no features and no way to make them.

        Warns
        -----
        UserWarning
            If the pairs have margins that are gaps of ratings and `use_margins` does not say what with them.
        """
        self.extractor_, X = training_features(self.features, pairs, owner="RewardModel")
        margin = margins_that_count(pairs, self.use_margins)
        return self._fit(PairView.of(pairs, X, margin=margin))

    def fit(
        self, X: Features, y: ArrayLike, qid: Ids = None, sample_weight: ArrayLike | None = None
    ) -> RewardModel:
        """Fit to labels: within a prompt, every response is preferred to every one with a lower label.

        Parameters
        ----------
        X : (n, n_features) array or sparse matrix
            Features of the responses.
        y : (n,) array
            0/1 or graded.
        qid : (n,) ids, optional
            Prompt of each response.
        sample_weight : (n,) array, optional
            Weight of each prompt, constant within it.

        Returns
        -------
        RewardModel
            The fitted model itself.
        """
        first, second, prompt, weight = pairs_of_labels(y, qid, sample_weight)
        ones, zeros = np.ones(len(first)), np.zeros(len(first))
        self.extractor_ = None
        matrix = as_matrix(X, "X")
        return self._fit(PairView(matrix, first, second, ones, weight, zeros, prompt))

    def _fit(self, pairs: PairView) -> RewardModel:
        self._check_parameters()
        if not (pairs.weight > 0).any():
            raise ValueError("'weight' must leave at least one pair with a weight above 0; got none")
        with unchanged_on_failure(self):
            return self._fit_rewards(pairs)

    def _fit_rewards(self, pairs: PairView) -> RewardModel:
        rng = make_rng(self.random_state)
        self.n_features_in_ = int(pairs.X.shape[1])
        train, held_out = self._hold_out(pairs, rng)
        self.nuisance_coef_ = self._nuisance(train)
        train, validation = self._without_nuisance(train), self._without_nuisance(held_out)
        self.rewards_ = self._bags(train, validation, rng, [None] * self.n_bags)
        self.temperature_ = 1.0
        if self.calibrate and validation is not None and held_out is not None:
            self.temperature_ = self._calibrated(validation, held_out.margin - validation.margin)
        if self.refit and validation is not None:
            self.rewards_ = self._bags(self._without_nuisance(pairs), None, rng, self.rewards_)
        self.bag_levels_ = bag_levels(self.rewards_, self._without_nuisance(pairs).compact().X)
        return self

    def _bags(
        self, train: PairView, validation: PairView | None, rng: np.random.Generator, like: list[Any]
    ) -> list[Reward]:
        """One scorer a bag; as large as those of `like`, where there are any."""
        scorer, rewards = scorer_of(self), []
        for earlier in like:
            bag = train if self.n_bags == 1 else bag_of(train, rng)
            seed = int(rng.integers(2**31 - 1))
            rewards.append(scorer.fit(bag, validation, seed=seed, like=earlier))
        return rewards

    def _hold_out(self, pairs: PairView, rng: np.random.Generator) -> tuple[PairView, PairView | None]:
        prompts, code = np.unique(pairs.prompt, return_inverse=True)
        wanted = self.validation_fraction > 0 and (self.calibrate or self.scorer == "trees")
        if not wanted or len(prompts) < 2:
            return pairs, None
        # Few prompts differ too much for a tenth of them to say how far to trust a reward.
        at_least = max(1, min(_HELD_OUT_PROMPTS, len(prompts) // 3))
        n_held_out = min(len(prompts) - 1, max(at_least, round(self.validation_fraction * len(prompts))))
        held_out = np.zeros(len(prompts), dtype=bool)
        held_out[rng.permutation(len(prompts))[:n_held_out]] = True
        return pairs.take(~held_out[code]), pairs.take(held_out[code])

    def _nuisance(self, train: PairView) -> FloatArray | None:
        """Effect of the nuisance columns in a linear model of all columns."""
        if self.nuisance is None:
            return None
        columns = np.asarray(self.nuisance, dtype=np.intp)
        if columns.ndim != 1 or ((columns < 0) | (columns >= self.n_features_in_)).any():
            raise ValueError(
                f"'nuisance' must hold columns from 0 to {self.n_features_in_ - 1}; got {self.nuisance!r}"
            )
        joint: Any = linear_scorer(self).fit(train, None, seed=0)
        coef = np.zeros(self.n_features_in_)
        coef[columns] = joint.coef[columns]
        return coef

    def _without_nuisance(self, pairs: Ids) -> Any:
        """Pairs without the nuisance columns, whose effect moves into the margin."""
        if pairs is None or self.nuisance_coef_ is None:
            return pairs
        effect = np.asarray(pairs.X @ self.nuisance_coef_).ravel()
        offset = effect[pairs.chosen] - effect[pairs.rejected]
        return dataclasses.replace(pairs, X=self.kept_columns(pairs.X), margin=pairs.margin - offset)

    def _calibrated(self, validation: PairView, nuisance: FloatArray) -> float:
        """Temperature at which the held-out log loss is lowest, the nuisance columns' part left as it is."""
        rows = validation.compact()
        rewards = self._mean_reward(rows.X)
        slope = calibration_slope(
            rewards[rows.chosen] - rewards[rows.rejected], rows.target, rows.weight, offset=nuisance
        )
        return 1.0 / slope if np.isfinite(slope) and slope > 0 else 1.0

    def _check_parameters(self) -> None:
        check_choice(self.correction, ("smoothed", "robust"), name="correction")
        if self.grow_policy is not None:
            check_choice(self.grow_policy, ("symmetric", "leafwise"), name="grow_policy")
        for name, low in (("n_estimators", 1), ("n_bags", 1), ("early_stopping_rounds", 1)):
            if getattr(self, name) < low:
                raise ValueError(f"{name!r} must be at least {low}; got {getattr(self, name)}")
        if not 0 <= self.validation_fraction < 1:
            raise ValueError(f"'validation_fraction' must be in [0, 1); got {self.validation_fraction}")
        if self.reg_lambda is not None and not (np.isfinite(self.reg_lambda) and self.reg_lambda >= 0):
            raise ValueError(f"'reg_lambda' must be finite and >= 0; got {self.reg_lambda}")
