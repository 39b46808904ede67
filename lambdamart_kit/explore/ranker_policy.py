"""Exploration on top of a fitted ranker or reward model, without a second model."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from lambdamart_kit.core.gains import check_choice, check_count, check_number
from lambdamart_kit.core.information import Information
from lambdamart_kit.core.typing import Array, ArrayLike, FloatArray, IndexArray, RandomState, Settings
from lambdamart_kit.explore.base import Policy, check_lists
from lambdamart_kit.explore.leaves import has_trees, leaf_features
from lambdamart_kit.explore.propensities import (
    Propensities,
    draw_frequencies,
    rank_probabilities,
    top_slates,
)
from lambdamart_kit.explore.saved_models import model_bytes, read_model_bytes
from lambdamart_kit.explore.saving import count, shaped

_CHUNK = 4096  # rows whose features are made dense at a time


class RankerPolicy(Policy):
    r"""Explore with a fitted ranker: its scores, and how little has been shown of what a row is like.

    .. math:: H = \lambda I + \sum_{shown} \phi \phi^\top, \quad
              \text{bound}(x) = f(x) + \alpha \sqrt{\phi(x)^\top H^{-1} \phi(x)}

    where f is the ranker and :math:`\phi` its (hashed) leaf indicators, so rows that fall into leaves which
    were shown often are certain, and others are not; for models without trees :math:`\phi(x) = x`. A
    *list* of rankers, such as one fitted on each of several bootstrap samples of queries, is the alternative:
    then mean and standard deviation over its members stand for f and the width, and Thompson's draw is a
    member.

    What to expect: a forest only splits where there was data, so rows of a kind that was never shown share
    leaves with what is nearest to them and look as certain. The widths of a list differ little, and bounds
    reorder few of its rows. Thompson's draws differ from row to row by ``alpha`` times the width: they cost
    regret where a greedy ranker sees enough by itself, as it does when every visit brings other candidates,
    and are insurance where it avoids by mistake what it would like (measured: ``lambdamart-kit simulate
    --cold-rounds 5``).

    Parameters
    ----------
    ranker : fitted ranker or reward model, or list of them
        Only ``predict(X)`` is called, and the leaves of trees are read.
    strategy : {"ucb", "thompson"}
        "thompson" adds ``alpha`` times a normal draw with covariance ``H^-1`` (or picks a member).
    alpha : float
        >= 0, in units of the ranker's scores.
    reg_lambda : float
        > 0: how many times a row has to be shown to halve its variance, about.
    n_components : int
        Columns that leaf indicators are hashed to.
    n_propensity_draws : int
        Draws behind estimated propensities ("thompson" on one ranker); all others are exact.
    random_state : int, Generator or None
        Seed of the draws; None draws differently every time.

    Attributes
    ----------
    information_ : Information
        H.
    n_observations_ : int
        Rows that were shown so far.
    n_features_in_ : int
        Columns of the rows.

    References
    ----------
    Li et al. (2010), WWW (the bound). Osband and Van Roy (2015), "Bootstrapped Thompson sampling and deep
    exploration" (the ensemble).

    Examples
    --------
    >>> from lambdamart_kit.datasets import make_letor
    >>> from lambdamart_kit.rankers import LambdaMART
    >>> data = make_letor(n_queries=30, random_state=0)
    >>> ranker = LambdaMART(n_estimators=10).fit(data.X, data.y, qid=data.qid)
    >>> policy = RankerPolicy(ranker, alpha=0.5).partial_fit(data.X[:50])
    >>> policy.select(data.X[50:80], k=5).shape
    (5,)
    """

    information_: Information

    def __init__(
        self,
        ranker: Any,
        *,
        strategy: str = "ucb",
        alpha: float = 1.0,
        reg_lambda: float = 1.0,
        n_components: int = 512,
        n_propensity_draws: int = 1000,
        random_state: RandomState = None,
    ) -> None:
        self.ranker = ranker
        self.strategy = strategy
        self.alpha = alpha
        self.reg_lambda = reg_lambda
        self.n_components = n_components
        self.n_propensity_draws = n_propensity_draws
        self.random_state = random_state

    def partial_fit(self, contexts: ArrayLike, rewards: ArrayLike | None = None) -> Self:
        """Record that rows were shown, which makes rows like them certain.

        The ranker itself learns by being fitted again on the log; `rewards` are accepted, so that policies
        can be exchanged, and not used.

        Parameters
        ----------
        contexts : (n_samples, n_features) array-like
            Rows that were shown.
        rewards : (n_samples,) array-like, optional
            Not used.

        Returns
        -------
        RankerPolicy
            The policy itself.

        Raises
        ------
        ValueError
            If the policy is an ensemble: its spread changes only when its members are fitted again.
        """
        if self._is_ensemble:
            raise ValueError("an ensemble of rankers learns by fitting its members again, not by partial_fit")
        lists, _ = check_lists(contexts)
        rows = lists.reshape(-1, lists.shape[-1])
        self._start(rows)
        for start in range(0, len(rows), _CHUNK):
            self.information_.update(self._features(rows[start : start + _CHUNK]))
        self.n_observations_ += len(rows)
        return self

    @property
    def _is_ensemble(self) -> bool:
        return isinstance(self.ranker, list | tuple)

    def _content(self) -> tuple[Settings, dict[str, Array], dict[str, bytes]]:
        members = self.ranker if self._is_ensemble else [self.ranker]
        names = [f"ranker{number}.lmk" for number in range(len(members))]
        files = {name: model_bytes(member) for name, member in zip(names, members)}
        state: Settings = {"n_rankers": len(members) if self._is_ensemble else None}
        state["n_features"] = self.n_features_in_
        arrays = {}
        if not self._is_ensemble:
            arrays["information"] = self.information_.matrix
            state["n_observations"] = self.n_observations_
        return state, arrays, files

    def _params(self) -> Settings:
        return {name: value for name, value in super()._params().items() if name != "ranker"}

    @classmethod
    def _made(cls, params: Settings, state: Settings, files: dict[str, bytes]) -> Self:
        n_rankers = state["n_rankers"]
        if n_rankers is None:
            return cls(read_model_bytes(files["ranker0.lmk"], "ranker0.lmk"), **params)
        names = [f"ranker{number}.lmk" for number in range(count(state, "n_rankers", least=1))]
        return cls([read_model_bytes(files[name], name) for name in names], **params)

    def _take_back(self, state: Settings, arrays: dict[str, Array]) -> None:
        d = count(state, "n_features", least=1)
        self._start(np.zeros((1, d)))
        if not self._is_ensemble:
            n_components = len(arrays["information"])
            if n_components != self.information_.n_features:
                raise ValueError("information is of another order than the ranker's features")
            self.information_ = Information(shaped(arrays, "information", (n_components, n_components)))
            self.n_observations_ = count(state, "n_observations")

    def _start(self, rows: Array) -> None:
        check_choice(self.strategy, ("ucb", "thompson"), name="strategy")
        check_number(self.alpha, name="alpha", least=0.0)
        self.n_features_in_ = int(rows.shape[-1])
        if not self._is_ensemble and not hasattr(self, "information_"):
            n_features = self._features(rows[:1]).shape[1]
            self.information_ = Information.prior(n_features, reg_lambda=self.reg_lambda)
            self.n_observations_ = 0

    def _features(self, rows: Array) -> FloatArray:
        if has_trees(self.ranker):
            return leaf_features(self.ranker, rows, n_components=self.n_components).toarray()
        return np.asarray(rows, dtype=np.float64)

    def _lists(self, candidates: ArrayLike) -> tuple[Array, bool]:
        lists, single = check_lists(candidates)
        self._start(lists[0])
        return lists, single

    def _member_scores(self, lists: Array) -> FloatArray:
        """Scores by each ranker, (n_rankers, n_lists, n_candidates)."""
        rows = lists.reshape(-1, lists.shape[-1])
        members = self.ranker if self._is_ensemble else [self.ranker]
        return np.stack([np.reshape(member.predict(rows), lists.shape[:2]) for member in members])

    def _bounds(self, lists: Array) -> FloatArray:
        scores = self._member_scores(lists)
        if self._is_ensemble:
            return np.asarray(scores.mean(axis=0) + self.alpha * scores.std(axis=0))
        widths = np.concatenate(
            [
                np.sqrt(self.information_.quadratic(phi.reshape(-1, phi.shape[2])))
                for phi in self._chunks(lists)
            ]
        )
        return np.asarray(scores[0] + self.alpha * widths.reshape(lists.shape[:2]))

    def _chunks(self, lists: Array) -> Iterator[FloatArray]:
        """Features of a few lists at a time, (n_few, n_candidates, n_components)."""
        n_candidates = lists.shape[1]
        few = max(1, _CHUNK // n_candidates)
        for start in range(0, len(lists), few):
            part = lists[start : start + few]
            yield self._features(part.reshape(-1, part.shape[2])).reshape(len(part), n_candidates, -1)

    def _noise(self, rng: np.random.Generator, size: int) -> FloatArray:
        """Draws from ``N(0, alpha^2 H^-1)``, (size, n_components)."""
        return self.alpha * self.information_.sample(np.zeros(self.information_.n_features), rng, size=size)

    def _draws(self, lists: Array, rng: np.random.Generator) -> FloatArray:
        """One posterior draw of the scores of each list, (n_lists, n_candidates)."""
        noise = [np.einsum("lcd,ld->lc", phi, self._noise(rng, len(phi))) for phi in self._chunks(lists)]
        return self._member_scores(lists)[0] + np.concatenate(noise)

    def _slates(self, lists: Array, k: int) -> IndexArray:
        rng = self._generator()
        if self.strategy == "ucb":
            return top_slates(self._bounds(lists), k, rng)
        if self._is_ensemble:
            member = rng.integers(len(self.ranker), size=len(lists))
            return top_slates(self._member_scores(lists)[member, np.arange(len(lists))], k, rng)
        return top_slates(self._draws(lists, rng), k, rng)

    def _probabilities(self, lists: Array, k: int) -> Propensities:
        if self.strategy == "ucb":
            return Propensities.exact(rank_probabilities(self._bounds(lists), k))
        if self._is_ensemble:
            by_member = [rank_probabilities(scores, k) for scores in self._member_scores(lists)]
            return Propensities.exact(np.mean(by_member, axis=0))
        rng = np.random.default_rng(self._generator().integers(2**63))
        n_draws = check_count(self.n_propensity_draws, name="n_propensity_draws")
        counts = []
        phi_of_lists = itertools.chain.from_iterable(self._chunks(lists))
        for scores, phi in zip(self._member_scores(lists)[0], phi_of_lists):
            counts.append(draw_frequencies(scores + self._noise(rng, n_draws) @ phi.T, k, rng))
        return Propensities.estimated(np.stack(counts), n_draws)
