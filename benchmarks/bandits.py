"""LinUCB and Thompson against MABWiser's and contextualbandits', in one run: picks, regret, speed, slopes.

Run as ``python benchmarks/bandits.py``; ``--quick`` takes seconds. A disjoint linear problem: contexts come
in batches, every arm has its own parameters, and each library learns from a batch before the next comes.
Slopes are measured on one shared linear problem with many fixed candidates. BLAS runs on one thread.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import time
import warnings
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from scipy.stats import t as student
from threadpoolctl import threadpool_limits

from lambdamart_kit.explore import EpsilonGreedy, LinearThompson, LinUCB

N_ARMS, D = 10, 10
NOISE = 0.5


class Kit:
    """One of the kit's policies, per arm."""

    def __init__(self, policy):
        self._policy = policy

    def select(self, contexts):
        """An arm for each context."""
        return self._policy.select(contexts)[:, 0]

    def learn(self, contexts, arms, rewards):
        """Update."""
        self._policy.partial_fit(contexts, rewards, arms=arms)


class MABWiser:
    """MABWiser's LinUCB or LinTS."""

    def __init__(self, policy, seed):
        from mabwiser.mab import MAB

        self._mab, self._fitted = MAB(list(range(N_ARMS)), policy, seed=seed), False
        self._rng = np.random.default_rng(seed)

    def select(self, contexts):
        """An arm for each context."""
        if not self._fitted:
            return self._rng.integers(0, N_ARMS, len(contexts))
        return np.atleast_1d(self._mab.predict(contexts))

    def learn(self, contexts, arms, rewards):
        """Update."""
        (self._mab.partial_fit if self._fitted else self._mab.fit)(arms, rewards, contexts)
        self._fitted = True


class OwnGenerators(MABWiser):
    """MABWiser with a generator for each arm.

    Its models copy their generator along with themselves when they are fitted, so all arms that are fitted
    together go on to draw the same numbers.
    """

    def learn(self, contexts, arms, rewards):
        """Update."""
        from mabwiser.utils import create_rng

        first = not self._fitted
        super().learn(contexts, arms, rewards)
        if first:
            for arm, model in self._mab._imp.arm_to_model.items():
                model.rng = create_rng(seed=1000 * self._mab.seed + arm + 1)


class ContextualBandits:
    """contextualbandits' LinUCB or LinTS (reward may be real there)."""

    def __init__(self, policy):
        self._policy, self._fitted = policy, False
        self._rng = np.random.default_rng(0)

    def select(self, contexts):
        """An arm for each context."""
        if not self._fitted:
            return self._rng.integers(0, N_ARMS, len(contexts))
        return np.asarray(self._policy.predict(contexts)).astype(int)

    def learn(self, contexts, arms, rewards):
        """Update."""
        (self._policy.partial_fit if self._fitted else self._policy.fit)(contexts, arms, rewards)
        self._fitted = True


def makers():
    """Players by name, and the kit's policy that each is to be compared with."""
    arms = list(range(N_ARMS))
    found = {
        "kit LinUCB": lambda s: Kit(LinUCB(0.5, arms=arms, random_state=s)),
        "kit LinearThompson": lambda s: Kit(LinearThompson(0.5, arms=arms, random_state=s)),
        "kit LinearThompson, coupled": lambda s: Kit(
            LinearThompson(0.5, arms=arms, coupled=True, random_state=s)
        ),
        "kit EpsilonGreedy(0.1)": lambda s: Kit(EpsilonGreedy(0.1, arms=arms, random_state=s)),
    }
    return found | mabwiser_makers() | contextualbandits_makers()


def mabwiser_makers():
    try:
        from mabwiser.mab import LearningPolicy
    except ImportError:
        print("MABWiser is not installed: left out")
        return {}
    thompson = LearningPolicy.LinTS(0.5, l2_lambda=1.0)
    return {
        "MABWiser LinUCB": lambda s: MABWiser(LearningPolicy.LinUCB(0.5, l2_lambda=1.0), s),
        "MABWiser LinTS": lambda s: MABWiser(thompson, s),
        "MABWiser LinTS, a generator for each arm": lambda s: OwnGenerators(thompson, s),
    }


def contextualbandits_makers():
    try:
        from contextualbandits.online import LinTS
        from contextualbandits.online import LinUCB as TheirLinUCB
    except ImportError:
        print("contextualbandits is not installed: left out")
        return {}
    shared = {"lambda_": 1.0, "fit_intercept": False, "beta_prior": None, "njobs": 1}
    return {
        "contextualbandits LinUCB": lambda s: ContextualBandits(
            TheirLinUCB(N_ARMS, alpha=0.5, random_state=s + 1, **shared)
        ),
        # Drawing coefficients, the default, uses A where A^-1 is meant as their covariance (0.3.30): see
        # `their_draws`. Drawing predictions multiplies the width, not the covariance, by v_sq.
        "contextualbandits LinTS": lambda s: ContextualBandits(
            LinTS(N_ARMS, v_sq=0.5, sample_from="ci", random_state=s + 1, **shared)
        ),
    }


def their_draws() -> None:
    """Standard deviation of what contextualbandits draws for one context, and of the posterior."""
    try:
        from contextualbandits.linreg import LinearRegression
    except ImportError:
        return
    rng = np.random.default_rng(0)
    X, x = rng.normal(size=(500, D)), rng.normal(size=(1, D))
    A = np.eye(D) + X.T @ X
    model = LinearRegression(
        fit_intercept=False, method="chol", use_float=False, precompute_ts=True, precompute_ts_multiplier=0.25
    )
    model.fit(X, X[:, 0])
    drawn = model.predict_thompson(np.repeat(x, 4000, axis=0), 0.25, True, rng).std()
    right, inverted = (np.sqrt(0.25 * x @ matrix @ x.T).item() for matrix in (np.linalg.inv(A), A))
    print(
        "\ncontextualbandits LinTS from coefficients, after 500 rows: standard deviation of x'theta as drawn "
        f"{drawn:.3g}; the posterior's is {right:.3g}, and {inverted:.3g} with A in place of its inverse"
    )


def play(make, seed: int, n_steps: int, batch: int) -> tuple[np.ndarray, float]:
    """Cumulative regret after each context, and CPU seconds in the policy."""
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=(N_ARMS, D)) / np.sqrt(D)
    player, lost, spent = make(seed), [], 0.0
    for _ in range(n_steps // batch):
        contexts = rng.normal(size=(batch, D))
        values = contexts @ theta.T
        noise = NOISE * rng.normal(size=batch)
        start = time.process_time()
        arms = np.asarray(player.select(contexts))
        spent += time.process_time() - start
        got = values[np.arange(batch), arms]
        lost.append(values.max(axis=1) - got)
        start = time.process_time()
        player.learn(contexts, arms, got + noise)
        spent += time.process_time() - start
    return np.cumsum(np.concatenate(lost)), spent


def agreement(n_steps: int, batch: int) -> None:
    """Share of contexts for which LinUCB picks what the kit's does, all having learned from the same log."""
    found, rng = makers(), np.random.default_rng(0)
    names = [name for name in found if name.endswith("LinUCB")]
    theta = rng.normal(size=(N_ARMS, D)) / np.sqrt(D)
    players = {name: found[name](0) for name in names}
    same = dict.fromkeys(names[1:], 0)
    contexts, arms = rng.normal(size=(N_ARMS, D)), np.arange(N_ARMS)  # each arm once: unseen ones tie
    for _ in range(n_steps // batch):
        rewards = (contexts @ theta.T)[np.arange(len(arms)), arms] + NOISE * rng.normal(size=len(arms))
        for player in players.values():
            player.learn(contexts, arms, rewards)
        contexts = rng.normal(size=(batch, D))
        picks = {name: np.asarray(player.select(contexts)) for name, player in players.items()}
        arms = picks[names[0]]
        for name in same:
            same[name] += int((picks[name] == arms).sum())
    shares = ", ".join(f"{name} {count} of {n_steps}" for name, count in same.items())
    print(f"\nPicks equal to kit LinUCB's on one log, in batches of {batch}: {shares}")


def slope(curves: np.ndarray) -> np.ndarray:
    """Log-log slope of regret from a quarter of the way to the end, of each curve (or of one)."""
    n = curves.shape[-1]
    return np.log(curves[..., -1] / curves[..., n // 4]) / np.log(n / (n // 4 + 1))


def half_width(values: np.ndarray) -> float:
    """Of the 95 % Student interval."""
    return float(student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def known(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} not installed"


def rival(name: str, batch: int) -> str:
    """The kit's policy that a peer's is paired with."""
    if "LinTS" not in name:
        return "kit LinUCB"
    shared = name == "MABWiser LinTS" and batch > 1  # arms that are fitted together share their draws
    return "kit LinearThompson, coupled" if shared else "kit LinearThompson"


def compare(n_seeds: int, n_steps: int, batch: int) -> None:
    print(
        f"\n{n_seeds} seeds, {n_steps:,} contexts in batches of {batch}, {N_ARMS} arms, {D} features, "
        f"noise {NOISE}\n"
    )
    found = makers()
    for make in found.values():
        play(make, 0, 2 * batch, batch)  # warm: kernels, imports
    results = {name: [] for name in found}
    for seed in range(n_seeds):  # in turn, so that whatever else the machine does hits all alike
        for name, make in found.items():
            results[name].append(play(make, seed, n_steps, batch))
    curves = {name: np.array([curve for curve, _ in of]) for name, of in results.items()}
    spent = {name: np.array([seconds for _, seconds in of]) for name, of in results.items()}
    print("| policy | regret (95 %) | less the kit's, paired | slope | CPU µs a context | times the kit's |")
    print("|---|---|---|---|---|---|")
    for name, of in curves.items():
        ours = rival(name, batch)
        less = of[:, -1] - curves[ours][:, -1]
        paired = "" if name.startswith("kit") else f"{less.mean():+.0f} ± {half_width(less):.0f} ({ours[4:]})"
        ratio = "" if name.startswith("kit") else f"{np.median(spent[name] / spent[ours]):.1f}"
        micros = float(np.median(spent[name])) / n_steps * 1e6
        print(
            f"| {name} | {of[:, -1].mean():.0f} ± {half_width(of[:, -1]):.0f} | {paired} "
            f"| {slope(of.mean(axis=0)):.2f} | {micros:.1f} | {ratio} |",
            flush=True,
        )


def slopes(n_seeds: int, n_steps: int, n_candidates: int = 2000, d: int = 4) -> None:
    """Growth of regret on many fixed candidates on the unit sphere, where the best one has close rivals."""
    policies = {
        "EpsilonGreedy(0.1)": lambda s: EpsilonGreedy(0.1, random_state=s),
        "LinUCB(1.0)": lambda s: LinUCB(1.0, random_state=s),
        "LinearThompson(0.5)": lambda s: LinearThompson(0.5, random_state=s),
        "LinearThompson(0.5, coupled)": lambda s: LinearThompson(0.5, coupled=True, random_state=s),
    }
    print(
        f"\nGrowth of regret: {n_candidates:,} fixed candidates on the unit sphere in {d} dimensions, "
        f"{n_steps:,} steps, {n_seeds} seeds, noise {NOISE}\n"
    )
    print("| policy | regret (95 %) | slope of the mean curve | slope by seed (95 %) |\n|---|---|---|---|")
    for name, make in policies.items():
        curves = np.array([_play_fixed(make(s), s, n_steps, n_candidates, d) for s in range(n_seeds)])
        by_seed, last = slope(curves), curves[:, -1]
        print(
            f"| {name} | {last.mean():.0f} ± {half_width(last):.0f} | {slope(curves.mean(axis=0)):.2f} "
            f"| {by_seed.mean():.2f} ± {half_width(by_seed):.2f} |",
            flush=True,
        )


def _play_fixed(policy, seed: int, n_steps: int, n_candidates: int, d: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    candidates, theta = rng.normal(size=(n_candidates, d)), rng.normal(size=d)
    candidates /= np.linalg.norm(candidates, axis=1, keepdims=True)
    values = candidates @ theta / np.linalg.norm(theta)
    lost = np.empty(n_steps)
    for step in range(n_steps):
        item = policy.select(candidates)[0]
        policy.partial_fit(candidates[[item]], [values[item] + NOISE * rng.normal()])
        lost[step] = values.max() - values[item]
    return np.cumsum(lost)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--parts", nargs="+", default=["peers", "slopes"], choices=["peers", "slopes"])
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    print(
        f"{datetime.date.today()}, Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"{known('lambdamart-kit')}, {known('mabwiser')}, {known('contextualbandits')}"
    )
    with threadpool_limits(1):
        if "peers" in options.parts:
            their_draws()
            agreement(500 if options.quick else 5000, 100)
            agreement(50 if options.quick else 300, 1)
            compare(2 if options.quick else 20, 500 if options.quick else 5000, 100)
            compare(2 if options.quick else 20, 40 if options.quick else 300, 1)
        if "slopes" in options.parts:
            slopes(2 if options.quick else 20, 200 if options.quick else 10_000)


if __name__ == "__main__":
    main()
