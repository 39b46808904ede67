"""One linear model for everybody and what each user differs by: new users start from the others."""

from __future__ import annotations

from typing import Self

import numpy as np
import scipy.linalg
from sklearn.base import BaseEstimator

from lambdamart_kit.core.gains import check_choice, check_count
from lambdamart_kit.core.typing import Array, ArrayLike, FloatArray, Ids, IndexArray, RandomState, Settings
from lambdamart_kit.explore.base import check_lists, check_observations
from lambdamart_kit.explore.propensities import top_slates
from lambdamart_kit.explore.saving import PolicyFile, count, shaped


class PersonalPolicy(PolicyFile, BaseEstimator):
    r"""A linear policy for each user, whose start is what all users have in common.

    .. math:: r = x^\top (\theta + \delta_u) + \text{noise}, \qquad
              \theta \sim N(0, I / \lambda), \quad \delta_u \sim N(0, I / \kappa)

    (in units of the noise). With :math:`S_u = \sum x x^\top` and :math:`b_u = \sum r x` of a user and
    :math:`C_u = S_u + \kappa I`, the posterior is exact:

    .. math:: A = \lambda I + \sum_u (S_u - S_u C_u^{-1} S_u), \quad
              \hat\theta = A^{-1} \sum_u (b_u - S_u C_u^{-1} b_u), \\
              \hat\theta_u = C_u^{-1} (b_u + \kappa \hat\theta), \quad
              \text{Cov}_u = C_u^{-1} + \kappa^2 C_u^{-1} A^{-1} C_u^{-1}

    A new user has :math:`\hat\theta` and the covariance :math:`I / \kappa + A^{-1}`. Who comes often has a
    model of their own.

    Parameters
    ----------
    strategy : {"ucb", "thompson"}
        "ucb" adds ``alpha`` standard deviations; "thompson" draws a model for each list.
    alpha : float
        >= 0: standard deviations to be added, or a factor on the standard deviation of the draws.
    reg_lambda : float
        > 0: :math:`\lambda`, inverse prior variance of what users have in common.
    user_lambda : float
        > 0: :math:`\kappa`, inverse prior variance of what a user differs by: large where users are alike.
    random_state : int, Generator or None
        Seed of the draws; None draws differently every time.

    Attributes
    ----------
    users_ : list
        Users with rewards, in the order in which they came.
    coef_ : (d,) float64
        What users have in common.
    n_observations_ : int
        Rewards seen so far.
    n_features_in_ : int
        Columns of the rows.

    References
    ----------
    Lindley and Smith (1972), "Bayes estimates for the linear model", JRSS B 34, section 2. Hong, Kveton,
    Zaheer, Ghavamzadeh (2022), "Hierarchical Bayesian bandits", AISTATS, section 4.

    Examples
    --------
    >>> policy = PersonalPolicy(random_state=0)
    >>> policy = policy.partial_fit([[1, 0], [1, 0], [0, 1]], [1.0, 1.0, 0.0], users=["ann", "bob", "bob"])
    >>> policy.user_coef("ann").round(3).tolist(), policy.user_coef("new").round(3).tolist()
    ([0.75, 0.0], [0.5, 0.0])
    >>> policy.select([[0, 1], [1, 0]], users=["new"]).tolist()
    [1]
    """

    def __init__(
        self,
        strategy: str = "ucb",
        *,
        alpha: float = 1.0,
        reg_lambda: float = 1.0,
        user_lambda: float = 1.0,
        random_state: RandomState = None,
    ) -> None:
        self.strategy = strategy
        self.alpha = alpha
        self.reg_lambda = reg_lambda
        self.user_lambda = user_lambda
        self.random_state = random_state

    def partial_fit(self, contexts: ArrayLike, rewards: ArrayLike, users: Ids) -> Self:
        """Learn from rewards of what was shown.

        Parameters
        ----------
        contexts : (n, d) array-like
            Features of the shown candidates.
        rewards : (n,) array-like
            Finite.
        users : (n,) array-like
            Who they were shown to: text or whole numbers.

        Returns
        -------
        PersonalPolicy
            The policy itself.

        Raises
        ------
        ValueError
            If lengths differ, a value is not finite, or the width changed.
        """
        rows, received = check_observations(contexts, rewards)
        who = _check_users(users, len(rows), "row")
        self._start(rows.shape[1])
        for user in dict.fromkeys(who):
            mine = np.array([other == user for other in who])
            self._add(user, rows[mine], received[mine])
        self.n_observations_ += len(rows)
        self._solve()
        return self

    def user_coef(self, user: int | str) -> FloatArray:
        """Coefficients of one user, (d,); of the average one if there are no rewards of the user yet.

        Parameters
        ----------
        user : int or str
            As in `partial_fit`.

        Returns
        -------
        (d,) array
            Posterior mean.
        """
        return self._posterior(user)[0]

    def select(self, candidates: ArrayLike, k: int = 1, *, users: Ids) -> IndexArray:
        """Choose a slate of `k` candidates for each user.

        Parameters
        ----------
        candidates : (n_candidates, d) or (n_lists, n_candidates, d) array-like
            Features of the candidates of one list, or of many lists at once.
        k : int
            Length of the slate; all candidates, in order, when there are fewer.
        users : (n_lists,) array-like
            Who each list is for; known or not.

        Returns
        -------
        (k,) or (n_lists, k) array
            Candidates, best first; equal scores in random order.

        Raises
        ------
        ValueError
            If there is not one user a list, or features are of another width than before or not finite.
        """
        lists, single = check_lists(candidates)
        who = _check_users(users, len(lists), "list")
        self._start(lists.shape[-1])
        rng = self._generator()
        scores = np.stack([self._scores(rows, user, rng) for rows, user in zip(lists, who)])
        slate = top_slates(scores, min(check_count(k, name="k"), lists.shape[1]), rng)
        return slate[0] if single else slate

    def _scores(self, rows: FloatArray, user: int | str, rng: np.random.Generator) -> FloatArray:
        mean, covariance = self._posterior(user)
        if self.strategy == "thompson":
            drawn = rng.multivariate_normal(mean, self.alpha**2 * covariance, method="cholesky")
            return np.asarray(rows @ drawn)
        variance = np.einsum("nd,de,ne->n", rows, covariance, rows)
        return np.asarray(rows @ mean + self.alpha * np.sqrt(variance))

    def _start(self, n_features: int) -> None:
        check_choice(self.strategy, ("ucb", "thompson"), name="strategy")
        for name in ("reg_lambda", "user_lambda"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name!r} must be finite and > 0; got {getattr(self, name)!r}")
        if not (np.isfinite(self.alpha) and self.alpha >= 0):
            raise ValueError(f"'alpha' must be finite and >= 0; got {self.alpha!r}")
        if not hasattr(self, "n_features_in_"):
            self.n_features_in_ = n_features
            self.n_observations_ = 0
            self.users_: list[int | str] = []
            self._sums: dict[int | str, tuple[FloatArray, FloatArray]] = {}
            self._common = self.reg_lambda * np.eye(n_features)
            self._common_moments = np.zeros(n_features)
            self._solve()
        if n_features != self.n_features_in_:
            raise ValueError(f"features must have {self.n_features_in_} columns as before; got {n_features}")

    def _add(self, user: int | str, rows: FloatArray, rewards: FloatArray) -> None:
        """Replace the user's share of what is known in common by that of all of their rows."""
        d = self.n_features_in_
        if user not in self._sums:
            self.users_.append(user)
        squares, moments = self._sums.get(user, (np.zeros((d, d)), np.zeros(d)))
        old = self._share(squares, moments)
        squares = squares + rows.T @ rows
        moments = moments + rows.T @ rewards
        new = self._share(squares, moments)
        self._sums[user] = (squares, moments)
        self._common += new[0] - old[0]
        self._common_moments += new[1] - old[1]

    def _share(self, squares: FloatArray, moments: FloatArray) -> tuple[FloatArray, FloatArray]:
        """``kappa C^-1 S`` and ``kappa C^-1 b``, which are ``S - S C^-1 S`` and ``b - S C^-1 b``."""
        own = squares + self.user_lambda * np.eye(len(squares))
        solved = self.user_lambda * np.linalg.solve(own, np.column_stack([squares, moments]))
        return np.asarray((solved[:, :-1] + solved[:, :-1].T) / 2), np.asarray(solved[:, -1])

    def _solve(self) -> None:
        factor = scipy.linalg.cho_factor(self._common)
        self.coef_ = scipy.linalg.cho_solve(factor, self._common_moments)
        self._common_inverse = scipy.linalg.cho_solve(factor, np.eye(self.n_features_in_))

    def _posterior(self, user: int | str) -> tuple[FloatArray, FloatArray]:
        """Mean and covariance of a user's coefficients."""
        d = self.n_features_in_
        squares, moments = self._sums.get(user, (np.zeros((d, d)), np.zeros(d)))
        inverse = np.asarray(np.linalg.inv(squares + self.user_lambda * np.eye(d)), dtype=np.float64)
        mean = inverse @ (moments + self.user_lambda * self.coef_)
        covariance = inverse + self.user_lambda**2 * inverse @ self._common_inverse @ inverse
        return mean, np.asarray((covariance + covariance.T) / 2)

    def _generator(self) -> np.random.Generator:
        if not hasattr(self, "_rng"):
            self._rng = np.random.default_rng(self.random_state)
        return self._rng

    def _content(self) -> tuple[Settings, dict[str, Array], dict[str, bytes]]:
        d = self.n_features_in_
        state: Settings = {"n_features": d, "n_observations": self.n_observations_, "users": self.users_}
        sums = [self._sums[user] for user in self.users_]
        squares = np.reshape([s for s, _ in sums], (len(sums), d, d))
        moments = np.reshape([m for _, m in sums], (len(sums), d))
        return state, {"squares": squares, "moments": moments}, {}

    def _take_back(self, state: Settings, arrays: dict[str, Array]) -> None:
        d = count(state, "n_features", least=1)
        self._start(d)
        users = list(state["users"])
        if any(isinstance(user, bool) or not isinstance(user, int | str) for user in users):
            raise ValueError("users must be text or whole numbers")
        squares = shaped(arrays, "squares", (len(users), d, d))
        moments = shaped(arrays, "moments", (len(users), d))
        if not np.allclose(squares, squares.transpose(0, 2, 1), rtol=1e-9) or len(set(users)) < len(users):
            raise ValueError("squares must be symmetric, and users differ")
        for user, own, moment in zip(users, squares, moments):
            if np.linalg.eigvalsh(own).min() < -1e-6 * max(1.0, np.abs(own).max()):
                raise ValueError("squares must not be negative")
            self.users_.append(user)
            self._sums[user] = (own, moment)
            share = self._share(own, moment)
            self._common += share[0]
            self._common_moments += share[1]
        self.n_observations_ = count(state, "n_observations")
        self._solve()

    def _try_out(self) -> None:
        for user in [*self.users_[:1], "nobody"]:
            self.select(np.zeros((2, self.n_features_in_)), users=[user])


def _check_users(users: Ids, n_expected: int, unit: str) -> list[int | str]:
    """One id a row or list, text or a whole number; 7 and "7" are two users."""
    if isinstance(users, str):
        raise ValueError(f"'users' must be a list, one id a {unit}; got the text {users!r}; use [{users!r}]")
    ids = users.tolist() if hasattr(users, "tolist") else list(users)
    if len(ids) != n_expected:
        raise ValueError(f"'users' must hold one id a {unit}, {n_expected}; got {len(ids)}")
    wrong = [user for user in ids if isinstance(user, bool) or not isinstance(user, int | str | np.integer)]
    if wrong:
        raise ValueError(f"'users' must be text or whole numbers; got {wrong[0]!r}")
    return [user if isinstance(user, str) else int(user) for user in ids]
