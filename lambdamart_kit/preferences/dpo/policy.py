"""A policy over the responses of each prompt, trained directly on preferences."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from lambdamart_kit.core.gains import check_count
from lambdamart_kit.core.rows import as_matrix
from lambdamart_kit.core.typing import ArrayLike, Features, Ids, RandomState
from lambdamart_kit.preferences.dpo.batches import make_batch, standard_deviations
from lambdamart_kit.preferences.dpo.checks import check_beta
from lambdamart_kit.preferences.dpo.evaluation import policy_metrics, training_history
from lambdamart_kit.preferences.dpo.losses.base import PreferenceLoss, Setting
from lambdamart_kit.preferences.dpo.losses.registry import combined, find_loss
from lambdamart_kit.preferences.dpo.policy_file import PolicyFile
from lambdamart_kit.preferences.dpo.policy_predict import PolicyPredict
from lambdamart_kit.preferences.dpo.training import Path, PolicyLoss, train
from lambdamart_kit.preferences.features import training_features
from lambdamart_kit.preferences.labels import pairs_of_labels
from lambdamart_kit.preferences.pairs import PreferencePairs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NEAR_ENOUGH = 1e-6  # of gradients: rounding stops some losses above `tol`, with nothing left to gain


class DPOPolicy(PolicyPredict, PolicyFile, BaseEstimator):
    r"""A log-linear policy trained by DPO or any loss of its family: what DPO would do with these pairs.

    .. math:: \pi(y | s) = \pi_{ref}(y | s) \, e^{\theta^\top \phi(y)} / Z(s)

    over the responses y of prompt s that stand in its pairs. The implicit reward
    :math:`\beta \log(\pi / \pi_{ref})` is :math:`\beta \theta^\top \phi(y)` up to a constant per prompt. It
    trains on embeddings in seconds where a language model takes days, and has the same losses, the same
    trade-off between win rate and KL, and the same displacement: a margin may grow while the chosen response
    itself becomes less likely.

    With one indicator feature a response, the policy trained by ``loss="sigmoid"`` is
    :func:`~lambdamart_kit.preferences.dpo.tabular_dpo`, the Bradley-Terry fit.

    Parameters
    ----------
    loss : str, PreferenceLoss or sequence of them
        Name in `LOSSES`; several losses are added.
    beta : float
        Strength of the KL term.
    loss_params : dict, optional
        Other settings of the loss, such as ``{"label_smoothing": 0.1}`` or ``{"divergence": "forward_kl"}``;
        ``LOSSES[name].settings`` lists them. KTO's reference point `kl` is the policy's own KL unless it is
        given.
    loss_weights : sequence of float, optional
        Weight of each of several losses; 1 each when left out.
    features : {"text", "tfidf", "embeddings:MODEL"} or transformer, optional
        Makes features of texts, fitted on the training pairs, where pairs come without features.
    reg_lambda : float
        L2 penalty on the reward coefficients of standardised features, against the loss summed over pairs.
        With 0, a direction in which every pair is ranked right has no finite optimum, as in DPO itself.
    max_iter : int
        Steps at most; fewer stop early.
    tol : float
        Training stops where no entry of the mean loss's gradient (in reward units) exceeds this.
    random_state : int, RandomState or None
        Seed of `sample`; training draws nothing.

    Attributes
    ----------
    coef_ : (n_features,) float64
        The coefficients theta.
    history_ : DataFrame
        One row a step (about a hundred of them where there are more) and set of pairs; columns as `report`.
    n_iter_ : int
        Steps taken.
    converged_ : bool
        Whether a minimum was reached.
    extractor_ : transformer or None
        What makes features of texts.
    n_features_in_ : int
        Columns that fit saw.

    Notes
    -----
    Token counts and reference log-probs matter only to losses that read them. A loss that divides by token
    counts takes each response for one token where `lengths` is left out, with a warning. A pair with a target
    strictly between 0 and 1 counts both ways, with target and 1 - target as weights.
    With a uniform reference all margins of the reference are 0, and ``aot`` is the same as ``cdpo``.

    References
    ----------
    Rafailov et al. (2023), "Direct Preference Optimization". Nika et al. (2024), "Reward model learning vs.
    direct policy optimization" (log-linear policies). Razin et al. (2025), "Unintentional unalignment:
    likelihood displacement in direct preference optimization".

    Examples
    --------
    Three of four annotators prefer the first of two responses; the reward difference is log 3, so at beta = 1
    the odds are 3 to 1, and 9 to 1 at 0.5:

    >>> pairs = PreferencePairs.from_indices(np.eye(2), [0, 0, 0, 1], [1, 1, 1, 0], prompt=["p"] * 4)
    >>> policy = DPOPolicy(beta=1.0).fit_pairs(pairs)
    >>> policy.predict_policy(pairs)["probability"].round(6).tolist()
    [0.75, 0.25]
    >>> policy.set_params(beta=0.5).fit_pairs(pairs).predict_policy(pairs)["probability"].round(6).tolist()
    [0.9, 0.1]
    """

    def __init__(
        self,
        loss: str | PreferenceLoss | Sequence[str | PreferenceLoss] = "sigmoid",
        *,
        beta: float = 0.1,
        loss_params: Mapping[str, Setting] | None = None,
        loss_weights: Sequence[float] | None = None,
        features: Features = None,
        reg_lambda: float = 0.0,
        max_iter: int = 1000,
        tol: float = 1e-12,
        random_state: RandomState = None,
    ) -> None:
        self.loss = loss
        self.beta = beta
        self.loss_params = loss_params
        self.loss_weights = loss_weights
        self.features = features
        self.reg_lambda = reg_lambda
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    # ------------------------------------------------------------------------------------------- fitting

    def fit_pairs(
        self,
        pairs: PreferencePairs,
        *,
        ref_logps: ArrayLike | str | None = None,
        lengths: ArrayLike | None = None,
        rewards: ArrayLike | None = None,
        eval_pairs: PreferencePairs | None = None,
    ) -> DPOPolicy:
        """Train on preference pairs.

        Parameters
        ----------
        pairs : PreferencePairs
            Pairs with features, or with texts that `features` describes.
        ref_logps : (n_responses,) array or "columns", optional
            Log-probs of the responses by the reference, made to sum to 1 over each prompt's responses.
            ``"columns"`` takes the pairs' ``ref_chosen_logps`` and ``ref_rejected_logps``. Uniform when left
            out.
        lengths : (n_responses,) array, optional
            Token counts of the responses.
        rewards : (n_responses,) array, optional
            A known reward, by which the history judges the policy; training does not see it.
        eval_pairs : PreferencePairs, optional
            Held-out pairs for the history, over the same responses as `pairs` (as `PreferencePairs.split`
            makes them) where arrays are given.

        Returns
        -------
        DPOPolicy
            The fitted policy itself.

        Raises
        ------
        ValueError
            If there are no pairs or features, a parameter is out of range, or a setting would be ignored.

        Warns
        -----
        ConvergenceWarning
            If no minimum was reached within `max_iter` steps, or there is none.
        UserWarning
            If the pairs have stated margins, which no loss of the family reads, or the loss divides by token
            counts that are not given.
        """
        loss, settings = self._checked_loss()
        self.extractor_, X = training_features(self.features, pairs, owner="DPOPolicy")
        self.n_features_in_ = int(X.shape[1])
        if pairs.margin[~pairs.margin_is_gap].any():
            warnings.warn("DPOPolicy does not read the margins of 'pairs'; RewardModel does", stacklevel=2)
        if loss.needs_lengths and lengths is None:
            warnings.warn(
                f"loss {loss.name!r} divides by token counts; without 'lengths' each response counts as one "
                "token",
                stacklevel=2,
            )
        batch = make_batch(X, pairs, ref_logps, lengths)
        batches = {"train": batch}
        given = {"train": batch.of_responses(rewards, "rewards")}
        if eval_pairs is not None:
            held_out = self._batch(eval_pairs, ref_logps, lengths)
            batches["held out"] = held_out
            given["held out"] = held_out.of_responses(rewards, "rewards")
        ridge = self.reg_lambda / max(float(batch.sets.weight.sum()), 1e-300)
        objective = PolicyLoss(batch, loss, settings, self.beta, standard_deviations(batch.X), ridge)
        path = train(objective, max_iter=self.max_iter, tol=self.tol)
        self.coef_ = objective.theta(path.weights[-1])
        self.n_iter_ = len(path.weights) - 1
        self.converged_ = self._has_converged(path)
        self.history_ = training_history(path, batches, given)
        return self

    def fit(
        self, X: Features, y: ArrayLike, qid: Ids = None, sample_weight: ArrayLike | None = None
    ) -> DPOPolicy:
        """Train on labels: within a prompt, every response is preferred to every one with a lower label.

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
        DPOPolicy
            The fitted policy itself.
        """
        matrix = as_matrix(X, "X")
        first, second, prompt, weight = pairs_of_labels(y, qid, sample_weight)
        return self.fit_pairs(
            PreferencePairs.from_indices(matrix, first, second, prompt=prompt, weight=weight)
        )

    def _checked_loss(self) -> tuple[PreferenceLoss, dict[str, Setting]]:
        check_beta(self.beta)
        check_count(self.max_iter, name="max_iter")
        for name in ("reg_lambda", "tol"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name!r} must be finite and >= 0; got {getattr(self, name)!r}")
        if isinstance(self.loss, str | PreferenceLoss):
            if self.loss_weights is not None:
                raise ValueError(f"'loss_weights' needs several losses; got loss={self.loss!r}")
            loss = find_loss(self.loss)
        else:
            loss = combined(self.loss, self.loss_weights)
        settings = dict(self.loss_params or {})
        if "beta" in settings:
            raise ValueError("'loss_params' must not hold 'beta', which is a parameter of its own")
        if "beta" in loss.reads:
            settings["beta"] = self.beta
        loss.checked(settings)
        return loss, settings

    def _has_converged(self, path: Path) -> bool:
        if path.gradient > max(self.tol, _NEAR_ENOUGH):
            problem = (
                f"training stopped after {len(path.weights) - 1} steps with a gradient of "
                f"{path.gradient:.1e}; raise max_iter or reg_lambda (hinge, aot and other losses "
                "with kinks may come no closer)"
            )
        elif path.unbounded:
            problem = (
                "the loss falls for ever: some direction of the features ranks pairs right without any "
                "contradiction, and the policy found depends on where training stopped; give reg_lambda > 0 "
                "or a smaller max_iter"
            )
        else:
            return True
        warnings.warn(problem, ConvergenceWarning, stacklevel=3)
        return False

    # ----------------------------------------------------------------------------------------- reporting

    def report(
        self,
        pairs: PreferencePairs,
        *,
        ref_logps: ArrayLike | str | None = None,
        lengths: ArrayLike | None = None,
        rewards: ArrayLike | None = None,
    ) -> pd.DataFrame:
        """What the policy does on pairs.

        Parameters
        ----------
        pairs : PreferencePairs
            Pairs of responses, with features or texts where a model needs them.
        ref_logps : (n_responses,) array or "columns", optional
            Log-probs of the responses by the reference, as in :meth:`fit_pairs`.
        lengths : (n_responses,) array, optional
            Token counts of the responses.
        rewards : (n_responses,) array, optional
            A known reward, by which the policy is judged.

        Returns
        -------
        DataFrame
            One row. ``loss``, without the penalty. ``margin``, of the implicit rewards, and ``accuracy``, the
            share of pairs with a margin above 0 (0 counts half). ``chosen_rewards``, ``rejected_rewards``
            (``beta * log(pi / pi_ref)``), ``chosen_logps``, ``rejected_logps``: means over pairs.
            ``displaced``, the share of pairs whose chosen response is less likely than under the reference.
            ``kl``, to the reference in nats, mean over prompts. ``win_rate``: probability that a response
            drawn from the policy beats one drawn from the reference, both from the pair's two responses,
            judged by its label (the same response counts half). With `rewards` also ``reward``, the policy's
            expectation, and ``reward_win_rate``, over all responses of a prompt and judged by the rewards.
        """
        loss, settings = self._checked_loss()
        batch = self._batch(pairs, ref_logps, lengths)
        log_policy = batch.log_policy(self.coef_)
        unit = np.ones(self.n_features_in_)
        objective = PolicyLoss(batch, loss, settings, self.beta, unit, 0.0).on(batch, log_policy)
        return pd.DataFrame(
            [policy_metrics(objective, log_policy, rewards=batch.of_responses(rewards, "rewards"))]
        )

    def plot(self) -> Figure:
        """A picture of the training: loss, rewards, log-probs, and win rate against KL.

        Needs matplotlib (``pip install "lambdamart-kit[plot]"``).

        Returns
        -------
        matplotlib.figure.Figure
            Four charts.
        """
        from lambdamart_kit.preferences.dpo.plot import training_figure

        check_is_fitted(self)
        return training_figure(self.history_)
