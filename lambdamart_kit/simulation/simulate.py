"""The loop closed: users click on slates, models learn from the clicks, and choose the next slates.

A model learns only about what it shows, and users tire of the same. Here both are known exactly, so that
policies and re-rankers can be compared on what no log contains: regret.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import t as student

from lambdamart_kit.core.gains import check_count
from lambdamart_kit.core.typing import FloatArray, IndexArray, Settings
from lambdamart_kit.diversify import alpha_ndcg, intra_list_distance, rerank
from lambdamart_kit.explore import EpsilonGreedy, LinUCB, LogisticThompson, RankerPolicy
from lambdamart_kit.metrics import ndcg
from lambdamart_kit.rankers import LambdaMART

MEASURES = ("regret", "ndcg", "alpha_ndcg", "distance")


@dataclass(frozen=True, eq=False)
class Visits:
    """What a batch of users could be shown.

    Attributes
    ----------
    features : (n_users, n_candidates, d) float64
    topic : (n_users, n_candidates) intp
    appeal : (n_users, n_candidates) float64
        True probability of a click on a candidate that repeats nothing.
    """

    features: FloatArray
    topic: IndexArray
    appeal: FloatArray


@dataclass(frozen=True)
class World:
    r"""Users with true utilities and diminishing returns.

    .. math:: P(\text{click on } i) = \sigma(b + \theta^\top x_i + \text{interaction})
              \cdot (1 - \text{fatigue})^{\text{earlier items of the slate on the same topic}}

    Candidates on a user's favourite topics are liked more, so the most appealing few are often on one topic.

    Parameters
    ----------
    n_users, n_candidates, k : int
        Users of a round, candidates of a user, items of a slate.
    n_features, n_topics : int
    fatigue : float
        In [0, 1]: 0 for users who never tire.
    interaction : float
        Weight of a product of two features, which a linear model does not see.
    cold_rounds : int
        Rounds before a new kind of candidate appears; 0 for none. Until then feature 0 is negative and appeal
        falls as it nears 0, so a model concludes that what lies past 0 is bad; but past 1.3 is the best.
    """

    n_users: int = 20
    n_candidates: int = 30
    k: int = 5
    n_features: int = 8
    n_topics: int = 6
    fatigue: float = 0.6
    interaction: float = 0.5
    cold_rounds: int = 0

    def __post_init__(self) -> None:
        for name in ("n_users", "n_candidates", "k", "n_features", "n_topics"):
            check_count(getattr(self, name), name=name)
        if not self.cold_rounds >= 0:
            raise ValueError(f"'cold_rounds' must be >= 0; got {self.cold_rounds!r}")
        if not 0 <= self.fatigue <= 1:
            raise ValueError(f"'fatigue' must be in [0, 1]; got {self.fatigue!r}")
        if self.k > self.n_candidates or self.n_features < 2:
            raise ValueError(
                f"'k' must be at most 'n_candidates' and 'n_features' at least 2; got k={self.k}, "
                f"n_candidates={self.n_candidates}, n_features={self.n_features}"
            )

    def taste(self, rng: np.random.Generator) -> FloatArray:
        """The weights of the features that all users share, (d,)."""
        weights = rng.normal(size=self.n_features)
        return np.asarray(weights / np.linalg.norm(weights))

    def visits(self, taste: FloatArray, rng: np.random.Generator, step: int = 0) -> Visits:
        """The users of round `step` and their candidates; the last feature: how they like the topic."""
        shape = (self.n_users, self.n_candidates)
        topic = rng.integers(0, self.n_topics, shape)
        liking = rng.normal(size=(self.n_users, self.n_topics))
        features = rng.normal(size=(*shape, self.n_features))
        features[..., -1] = np.take_along_axis(liking, topic, axis=1)
        weights = taste.copy()
        weights[-1] = 1.0
        kind = features[..., 0]
        if step < self.cold_rounds:
            kind[:] = -np.abs(kind)
        logits = features @ weights + self.interaction * kind * features[..., 1] - 1.0
        if self.cold_rounds:
            logits += 7.0 * (kind > 1.3) - 4.0 * np.clip(kind + 1.0, 0.0, 1.0)
        return Visits(features, topic, expit(logits))

    def click_probabilities(self, visits: Visits, slates: IndexArray) -> FloatArray:
        """Probability of a click on each item of each slate, (n_users, k)."""
        topic = np.take_along_axis(visits.topic, slates, axis=1)
        same = topic[:, :, None] == topic[:, None, :]
        earlier = np.tril(same, -1).sum(axis=2)
        appeal = np.take_along_axis(visits.appeal, slates, axis=1)
        return np.asarray(appeal * (1.0 - self.fatigue) ** earlier)

    def best_slates(self, visits: Visits) -> IndexArray:
        """The best slates, for someone who knows the truth.

        The expected clicks are a sum over topics of appeals, each discounted by its place among those of its
        topic: taking the largest discounted appeal next is optimal.
        """
        users = np.arange(self.n_users)
        seen = np.zeros((self.n_users, self.n_topics))
        left = visits.appeal.copy()
        slates = np.empty((self.n_users, self.k), dtype=np.intp)
        for place in range(self.k):
            worth = left * (1.0 - self.fatigue) ** np.take_along_axis(seen, visits.topic, axis=1)
            slates[:, place] = worth.argmax(axis=1)
            seen[users, visits.topic[users, slates[:, place]]] += 1
            left[users, slates[:, place]] = -1.0
        return slates


class Strategy(Protocol):
    """Chooses slates, and learns from clicks."""

    def choose(self, visits: Visits, k: int) -> IndexArray:
        """Slates (n_users, k); may not look at `visits.appeal`."""
        ...

    def learn(self, visits: Visits, slates: IndexArray, clicks: FloatArray) -> None:
        """Take in the clicks (n_users, k) on the slates."""
        ...


class PolicyStrategy:
    """One of the kit's policies, on the features and a constant one."""

    def __init__(self, policy: Any) -> None:
        self.policy = policy

    def choose(self, visits: Visits, k: int) -> IndexArray:
        """The policy's slates."""
        slates: IndexArray = self.policy.select(_with_constant(visits.features), k)
        return slates

    def learn(self, visits: Visits, slates: IndexArray, clicks: FloatArray) -> None:
        """One update of the policy."""
        self.policy.partial_fit(_with_constant(_shown(visits, slates)), clicks.ravel())


class DiverseStrategy(PolicyStrategy):
    """LinUCB's bounds, re-ranked so that topics are covered."""

    def __init__(self, policy: LinUCB, trade_off: float) -> None:
        super().__init__(policy)
        self.trade_off = trade_off

    def choose(self, visits: Visits, k: int) -> IndexArray:
        """Slates by bounds and topics."""
        bounds = self.policy.upper_bounds(_with_constant(visits.features))
        n_users, n_candidates = bounds.shape
        topics = np.eye(visits.topic.max() + 1)[visits.topic.ravel()]
        rows = rerank(
            bounds.ravel(),
            k,
            qid=np.repeat(np.arange(n_users), n_candidates),
            topics=topics,
            utility="coverage",
            trade_off=self.trade_off,
        )
        return rows.reshape(n_users, k) - n_candidates * np.arange(n_users)[:, None]


class RetrainedStrategy:
    """A LambdaMART fitted again on the whole log, with or without exploration on top."""

    def __init__(self, seed: int, *, alpha: float, strategy: str = "ucb", every: int = 5) -> None:
        self.alpha, self.strategy, self.every, self.seed = alpha, strategy, every, seed
        self._log: list[tuple[Any, FloatArray]] = []
        self._policy: RankerPolicy | None = None

    def choose(self, visits: Visits, k: int) -> IndexArray:
        """Slates of the ranker; random ones until there is one."""
        if self._policy is None:
            rng = np.random.default_rng([self.seed, len(self._log)])
            return np.argsort(rng.random(visits.topic.shape), axis=1)[:, :k].astype(np.intp)
        slates: IndexArray = self._policy.select(visits.features, k)
        return slates

    def learn(self, visits: Visits, slates: IndexArray, clicks: FloatArray) -> None:
        """Add to the log; every few rounds, fit on it."""
        rows = _shown(visits, slates).astype(np.float32)
        self._log.append((rows, clicks))
        if len(self._log) % self.every == 0:
            X = np.concatenate([rows for rows, _ in self._log])
            y = np.concatenate([clicks for _, clicks in self._log])
            qid = np.repeat(np.arange(len(y)), y.shape[1])
            ranker = LambdaMART(
                objective="pairwise", n_estimators=40, learning_rate=0.1, num_leaves=8, random_state=self.seed
            ).fit(X, y.ravel(), qid=qid)
            self._policy = RankerPolicy(
                ranker, alpha=self.alpha, strategy=self.strategy, n_components=128, random_state=self.seed
            ).partial_fit(X)
        elif self._policy is not None:
            self._policy.partial_fit(rows)


STRATEGIES: dict[str, Callable[[int], Strategy]] = {
    "epsilon-greedy": lambda seed: PolicyStrategy(EpsilonGreedy(0.2, random_state=seed)),
    "linucb": lambda seed: PolicyStrategy(LinUCB(0.3, random_state=seed)),
    "logistic-thompson": lambda seed: PolicyStrategy(LogisticThompson(random_state=seed)),
    "linucb+coverage": lambda seed: DiverseStrategy(LinUCB(0.3, random_state=seed), trade_off=0.3),
    "lambdamart": lambda seed: RetrainedStrategy(seed, alpha=0.0),
    "lambdamart+ucb": lambda seed: RetrainedStrategy(seed, alpha=3.0),
    "lambdamart+thompson": lambda seed: RetrainedStrategy(seed, alpha=3.0, strategy="thompson"),
}


@dataclass(frozen=True, eq=False)
class Simulation:
    """Results of :func:`simulate`.

    Attributes
    ----------
    rounds : DataFrame
        One row for each strategy, seed and round: ``regret`` (expected clicks a user that the best slate
        would have added), ``ndcg`` (of the slate, by true appeal), ``alpha_ndcg`` (of its topics) and
        ``distance`` (intra-list cosine distance of its features).
    """

    rounds: pd.DataFrame

    def summary(self, *, level: float = 0.95) -> pd.DataFrame:
        """Mean of each measure over rounds, with the half-width of its interval over seeds.

        Returns
        -------
        DataFrame
            ``strategy``, and for each measure its mean and ``<measure>_±``; least regret first.
        """
        by_seed = self.rounds.groupby(["strategy", "seed"], sort=False)[list(MEASURES)].mean()
        grouped = by_seed.groupby("strategy", sort=False)
        table = grouped.mean().reset_index()
        for measure in MEASURES:
            table[f"{measure}_±"] = grouped[measure].agg(_half_width, level=level).to_numpy()
        return table.sort_values("regret", ignore_index=True)

    def plot(self, path: str | Path) -> None:
        """Draw cumulative regret by round, and relevance against diversity, with 95 % intervals over seeds.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        from lambdamart_kit.simulation.plot import simulation_figure

        figure = simulation_figure(self.rounds, self.summary())
        figure.savefig(path, dpi=200, facecolor="white", bbox_inches="tight", pad_inches=0.2)


def simulate(
    strategies: Sequence[str] | None = None,
    *,
    world: World | None = None,
    n_rounds: int = 50,
    n_seeds: int = 5,
    progress: Callable[[int, int, str], None] | None = None,
) -> Simulation:
    """Let strategies serve the same users and learn from their clicks.

    Parameters
    ----------
    strategies : sequence of str, optional
        Names in ``STRATEGIES``; all by default.
    world : World, optional
    n_rounds, n_seeds : int
        Rounds of ``world.n_users`` users, and repetitions with another taste and other users.
    progress : callable, optional
        Told (runs done, runs in all, name of the next).

    Returns
    -------
    Simulation

    Raises
    ------
    ValueError
        If a strategy is not known.

    Examples
    --------
    >>> result = simulate(["linucb"], world=World(n_users=5), n_rounds=3, n_seeds=2)
    >>> result.rounds.shape, bool((result.rounds["regret"] >= 0).all())
    ((6, 7), True)
    """
    names = list(STRATEGIES) if strategies is None else list(strategies)
    unknown = [name for name in names if name not in STRATEGIES]
    if unknown or not names:
        raise ValueError(f"'strategies' must be among {', '.join(STRATEGIES)}; got {unknown or 'none'}")
    check_count(n_rounds, name="n_rounds")
    check_count(n_seeds, name="n_seeds")
    world = World() if world is None else world
    records: list[dict[str, Any]] = []
    runs = [(name, seed) for name in names for seed in range(n_seeds)]
    for done, (name, seed) in enumerate(runs):
        if progress is not None:
            progress(done, len(runs), f"{name}, seed {seed}")
        records += _run(name, seed, world, n_rounds)
    return Simulation(pd.DataFrame.from_records(records))


def _run(name: str, seed: int, world: World, n_rounds: int) -> list[Settings]:
    """One strategy through one seed: the users do not depend on the strategy."""
    users, clicking = (np.random.default_rng([seed, stream]) for stream in range(2))
    taste, strategy = world.taste(users), STRATEGIES[name](seed)
    records = []
    for step in range(n_rounds):
        visits = world.visits(taste, users, step)
        slates = strategy.choose(visits, world.k)
        chances = world.click_probabilities(visits, slates)
        clicks = (clicking.random(chances.shape) < chances).astype(np.float64)
        strategy.learn(visits, slates, clicks)
        records.append(
            {"strategy": name, "seed": seed, "round": step, **_judge(world, visits, slates, chances)}
        )
    return records


def _judge(world: World, visits: Visits, slates: IndexArray, chances: FloatArray) -> dict[str, float]:
    best = world.click_probabilities(visits, world.best_slates(visits))
    n_users, n_candidates = visits.topic.shape
    qid = np.repeat(np.arange(n_users), n_candidates)
    scores = np.full((n_users, n_candidates), -np.inf)
    np.put_along_axis(scores, slates, -np.arange(world.k, dtype=np.float64)[None], axis=1)
    flat, topics = scores.ravel(), np.eye(world.n_topics)[visits.topic.ravel()]
    features = visits.features.reshape(qid.size, -1)
    return {
        "regret": float((best.sum(axis=1) - chances.sum(axis=1)).mean()),
        "ndcg": float(ndcg(visits.appeal.ravel(), flat, qid, k=world.k, gain="linear")),
        "alpha_ndcg": float(alpha_ndcg(topics, flat, qid, k=world.k)),
        "distance": float(intra_list_distance(features, flat, qid, k=world.k)),
    }


def _shown(visits: Visits, slates: IndexArray) -> FloatArray:
    """Features of the shown items, (n_users * k, d)."""
    shown = np.take_along_axis(visits.features, slates[:, :, None], axis=1)
    return np.asarray(shown.reshape(-1, visits.features.shape[2]))


def _with_constant(features: FloatArray) -> FloatArray:
    return np.concatenate([features, np.ones((*features.shape[:-1], 1))], axis=-1)


def _half_width(values: pd.Series, level: float) -> float:
    if len(values) < 2:
        return float("nan")
    critical = student.ppf(0.5 + level / 2, len(values) - 1)
    return float(critical * values.std(ddof=1) / np.sqrt(len(values)))
