r"""Models of the reward, cross-fitted on the log that they help to read.

A model that is judged on the rows it was fitted on is too sure of them, and an estimate that uses it is then
biased. Cross-fitting predicts every row by a model that has not seen it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.model_selection import KFold

from lambdamart_kit.core.gains import check_choice
from lambdamart_kit.core.typing import ArrayLike, FloatArray, IndexArray, RandomState
from lambdamart_kit.explore.evaluation.log import Log, PolicyLike, check_log, policy_probabilities
from lambdamart_kit.explore.evaluation.weights import importance_weights

WEIGHTINGS = ("importance", "mrdr")


def expected_rewards(
    log: Log,
    model: BaseEstimator,
    *,
    weighting: str | None = None,
    policy: PolicyLike | None = None,
    n_splits: int = 3,
    n_actions: int | None = None,
    random_state: RandomState = 0,
) -> FloatArray:
    r"""Expected reward of every candidate of a log, each row predicted by a model that did not see it.

    The model is fitted on the shown candidate's features (with `arms`: on the context and one column an arm)
    with weights, for :math:`\pi` the policy's probability of the logged action and :math:`\mu` the log's:

    ============== ======================================= ===========================================
    `weighting`    weight of a row                         good for
    ============== ======================================= ===========================================
    None           1                                       every policy: one fit serves them all
    "importance"   :math:`\pi / \mu`                       the direct method
    "mrdr"         :math:`\pi (1 - \mu) / \mu^2`           doubly robust: the least variance
    ============== ======================================= ===========================================

    Parameters
    ----------
    log : Log
        What was shown and what came of it.
    model : scikit-learn regressor, or classifier of rewards 0 and 1
        Cloned for each fold.
    weighting : {"importance", "mrdr"}, optional
        The last two need `policy`.
    policy : Policy or callable, optional
        The policy to be evaluated, as in :func:`evaluate_policy`.
    n_splits : int
        Folds; 1 fits and predicts on the same rows, which is not recommended.
    n_actions : int, optional
        Number of arms, for a log of contexts; by default as `policy` or the log's `logging` say, else the
        largest action.
    random_state : int, Generator or None
        Draws the folds.

    Returns
    -------
    (n, n_candidates) float64
        For `expected` of :func:`evaluate_policy`.

    Raises
    ------
    ValueError
        If a setting is missing or not used, or no row of a fold has weight.

    References
    ----------
    Farajtabar, Chow, Ghavamzadeh (2018), "More robust doubly robust off-policy evaluation", ICML, section 3.
    Chernozhukov et al. (2018), "Double/debiased machine learning", Econometrics Journal (cross-fitting).

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> candidates = np.array([[[0.0], [1.0]]] * 6)
    >>> log = Log(candidates, [0, 1, 0, 1, 0, 1], [0.5] * 6, [0.2, 0.6, 0.2, 0.6, 0.2, 0.6])
    >>> expected_rewards(log, LinearRegression())[0].round(6).tolist()
    [0.2, 0.6]
    """
    if weighting is not None:
        check_choice(weighting, WEIGHTINGS, name="weighting")
    if (weighting is None) != (policy is None):
        raise ValueError(
            f"'policy' and 'weighting' go together, because only weights look at the policy; got "
            f"weighting={weighting!r} and {'no policy' if policy is None else 'a policy'}"
        )
    probabilities = None if policy is None else policy_probabilities(policy, log.candidates)
    features = _features(log, probabilities, n_actions)
    n = len(features)
    actions, rewards = check_log(log, n, features.shape[1])
    shown = features[np.arange(n), actions]
    weights = _weights(weighting, probabilities, actions, log)
    expected = np.empty(features.shape[:2])
    for train, test in folds(n, n_splits, random_state):
        fitted = _fit(model, shown[train], rewards[train], None if weights is None else weights[train])
        expected[test] = _predict(fitted, features[test])
    return expected


def cascade_rewards(
    contexts: ArrayLike,
    items: ArrayLike,
    slates: ArrayLike,
    rewards: ArrayLike,
    target: ArrayLike,
    *,
    model: BaseEstimator,
    n_splits: int = 3,
    random_state: RandomState = 0,
) -> tuple[FloatArray, FloatArray]:
    r"""Rewards that a model expects from each position of a slate on, for :func:`cascade_doubly_robust`.

    Fitted from the last position back, on the context and the features of the items down to the position:

    .. math:: Q_l(x, a_{1:l}) \approx r_l + \sum_a \pi(a \mid x, a_{1:l}) \, Q_{l+1}(x, a_{1:l}, a)

    Parameters
    ----------
    contexts : (n, d) array-like
        What was known before the slate; d may be 0.
    items : (n_items, f) array-like
        Features of the items.
    slates : (n, k) array-like of integers
        Items that were shown, from the top.
    rewards : (n, k) array-like
        Reward at each position.
    target : (n, k, n_items) array-like
        Probability of each item at each position under the policy, given the logged items above it.
    model : scikit-learn regressor
        Cloned for each position and fold.
    n_splits : int
        Folds; 1 fits and predicts on the same rows, which is not recommended.
    random_state : int, Generator or None
        Draws the folds.

    Returns
    -------
    expected, expected_under : (n, k) float64
        Q of the logged item, and its mean under the policy.

    Raises
    ------
    ValueError
        If shapes do not fit.

    References
    ----------
    Kiyohara et al. (2022), "Doubly robust off-policy evaluation for ranking policies under the cascade
    behavior model", WSDM.

    Examples
    --------
    >>> from sklearn.linear_model import LinearRegression
    >>> slates = np.array([[0, 1], [1, 0]] * 4)
    >>> rewards = np.where(slates == 1, 1.0, 0.0)
    >>> target = np.tile([[0.5, 0.5], [0.5, 0.5]], (8, 1, 1))
    >>> Q, under = cascade_rewards(np.empty((8, 0)), [[0.0], [1.0]], slates, rewards, target,
    ...                            model=LinearRegression())
    >>> Q.shape, under.shape
    ((8, 2), (8, 2))
    """
    shown, received, wanted, known, of_item = _check_slates(contexts, items, slates, rewards, target)
    n, k = shown.shape
    expected = np.empty((n, k))
    under = np.empty((n, k))
    row = np.arange(n)
    for train, test in folds(n, n_splits, random_state):
        ahead = np.zeros(n)  # what the policy is expected to earn below the position
        for position in range(k - 1, -1, -1):
            above = np.hstack([known, of_item[shown[:, :position]].reshape(n, -1)])
            logged = np.hstack([above, of_item[shown[:, position]]])
            fitted = clone(model).fit(logged[train], (received[:, position] + ahead)[train])
            of_every = _predict_each(fitted, above, of_item)
            ahead = (wanted[:, position] * of_every).sum(axis=1)
            expected[test, position] = of_every[row, shown[:, position]][test]
            under[test, position] = ahead[test]
    return expected, under


def folds(n: int, n_splits: int, random_state: RandomState) -> list[tuple[IndexArray, IndexArray]]:
    """Rows to fit on and rows to predict, fold by fold."""
    if n_splits == 1:
        every = np.arange(n)
        return [(every, every)]
    if not 1 < n_splits <= n:
        raise ValueError(f"'n_splits' must be between 1 and the {n} rows; got {n_splits!r}")
    seed = random_state
    if isinstance(seed, np.random.Generator):
        seed = int(seed.integers(2**31))
    return list(KFold(n_splits, shuffle=True, random_state=seed).split(np.empty(n)))


def _features(log: Log, probabilities: FloatArray | None, n_actions: int | None) -> FloatArray:
    """Features of every candidate, (n, n_candidates, d)."""
    rows = np.asarray(log.candidates, dtype=np.float64)
    if rows.ndim == 3:
        if n_actions is not None:
            raise ValueError("'n_actions' is for a log of contexts; this one has the candidates themselves")
        return rows
    if rows.ndim != 2:
        raise ValueError(f"'candidates' must be (n, n_candidates, d) or (n, d); got shape {rows.shape}")
    for known in (probabilities, log.logging):
        if n_actions is None and known is not None:
            n_actions = known.shape[1]
    if n_actions is None:
        n_actions = int(np.max(log.actions)) + 1
    repeated = np.broadcast_to(rows[:, None, :], (len(rows), n_actions, rows.shape[1]))
    arm = np.broadcast_to(np.eye(n_actions), (len(rows), n_actions, n_actions))
    return np.concatenate((repeated, arm), axis=2)


def _weights(
    weighting: str | None, probabilities: FloatArray | None, actions: IndexArray, log: Log
) -> FloatArray | None:
    if probabilities is None:
        return None
    logged = np.asarray(log.propensities, dtype=np.float64)
    ratio = importance_weights(probabilities[np.arange(len(actions)), actions], logged)
    return ratio if weighting == "importance" else ratio * (1.0 - logged) / logged


def _fit(model: BaseEstimator, X: FloatArray, y: FloatArray, weights: FloatArray | None) -> Any:
    if is_classifier(model) and not np.isin(y, (0, 1)).all():
        raise ValueError("'model' is a classifier, which needs rewards 0 and 1; got others; use a regressor")
    if weights is None:
        return clone(model).fit(X, y)
    used = weights > 0
    if not used.any():
        raise ValueError(
            "no row of a fold has weight: the policy would do nothing of what was logged there; use fewer "
            "'n_splits' or weighting=None"
        )
    return clone(model).fit(X[used], y[used], sample_weight=weights[used])


def _predict(fitted: Any, features: FloatArray) -> FloatArray:
    n, n_candidates, d = features.shape
    flat = features.reshape(-1, d)
    if not is_classifier(fitted):
        return np.asarray(fitted.predict(flat), dtype=np.float64).reshape(n, n_candidates)
    # A fold in which one reward only was seen predicts that reward.
    chance = np.asarray(fitted.predict_proba(flat), dtype=np.float64) @ fitted.classes_
    return chance.reshape(n, n_candidates)


def _predict_each(fitted: Any, above: FloatArray, of_item: FloatArray) -> FloatArray:
    """Predictions for every item below what stands above it, (n, n_items)."""
    n = len(above)
    n_items = len(of_item)
    rows = np.hstack([np.repeat(above, n_items, axis=0), np.tile(of_item, (n, 1))])
    return np.asarray(fitted.predict(rows), dtype=np.float64).reshape(n, n_items)


def _check_slates(
    contexts: ArrayLike, items: ArrayLike, slates: ArrayLike, rewards: ArrayLike, target: ArrayLike
) -> tuple[IndexArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    of_item = np.asarray(items, dtype=np.float64)
    shown = np.asarray(slates)
    received = np.asarray(rewards, dtype=np.float64)
    wanted = np.asarray(target, dtype=np.float64)
    known = np.asarray(contexts, dtype=np.float64)
    n_items = len(of_item)
    if shown.ndim != 2 or shown.dtype.kind not in "iu" or shown.min() < 0 or shown.max() >= n_items:
        raise ValueError(f"'slates' must be (n, k) numbers of items, 0 to {n_items - 1}")
    n, k = shown.shape
    if received.shape != (n, k) or wanted.shape != (n, k, n_items) or known.ndim != 2 or len(known) != n:
        raise ValueError(
            f"'rewards' must be ({n}, {k}), 'target' ({n}, {k}, {n_items}) and 'contexts' ({n}, d); "
            f"got {received.shape}, {wanted.shape} and {known.shape}"
        )
    return shown.astype(np.intp), received, wanted, known, of_item
