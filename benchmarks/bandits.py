"""LinUCB and Thompson against MABWiser's and contextualbandits', in one run: regret and speed.

Run as ``python benchmarks/bandits.py``; ``--quick`` takes seconds. A disjoint linear problem: contexts come
in batches, every arm has its own parameters, and each library learns from a batch before the next comes.
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
    arms = list(range(N_ARMS))
    found = {
        "kit LinUCB": lambda s: Kit(LinUCB(0.5, arms=arms, random_state=s)),
        "kit LinearThompson": lambda s: Kit(LinearThompson(0.5, arms=arms, random_state=s)),
        "kit EpsilonGreedy(0.1)": lambda s: Kit(EpsilonGreedy(0.1, arms=arms, random_state=s)),
    }
    try:
        from mabwiser.mab import LearningPolicy

        found["MABWiser LinUCB"] = lambda s: MABWiser(LearningPolicy.LinUCB(0.5, l2_lambda=1.0), s)
        found["MABWiser LinTS"] = lambda s: MABWiser(LearningPolicy.LinTS(0.5, l2_lambda=1.0), s)
    except ImportError:
        print("MABWiser is not installed: left out")
    try:
        from contextualbandits.online import LinTS
        from contextualbandits.online import LinUCB as TheirLinUCB

        shared = {"lambda_": 1.0, "fit_intercept": False, "beta_prior": None, "njobs": 1}
        found["contextualbandits LinUCB"] = lambda s: ContextualBandits(
            TheirLinUCB(N_ARMS, alpha=0.5, random_state=s + 1, **shared)
        )
        found["contextualbandits LinTS"] = lambda s: ContextualBandits(
            LinTS(N_ARMS, v_sq=0.25, random_state=s + 1, **shared)
        )
    except ImportError:
        print("contextualbandits is not installed: left out")
    return found


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


def slope(curves: np.ndarray) -> float:
    """Log-log slope of mean regret from a quarter of the way to the end."""
    mean, n = curves.mean(axis=0), curves.shape[1]
    return float(np.log(mean[-1] / mean[n // 4]) / np.log(n / (n // 4 + 1)))


def known(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return f"{name} not installed"


def compare(n_seeds: int, n_steps: int, batch: int) -> None:
    print(
        f"\n{n_seeds} seeds, {n_steps:,} contexts in batches of {batch}, {N_ARMS} arms, {D} features, "
        f"noise {NOISE}\n"
    )
    print("| policy | regret (95 %) | log-log slope | CPU µs a context (median) | times kit LinUCB |")
    print("|---|---|---|---|---|")
    base = None
    for name, make in makers().items():
        play(make, 0, 2 * batch, batch)  # warm: kernels, imports
        results = [play(make, seed, n_steps, batch) for seed in range(n_seeds)]
        curves = np.array([curve for curve, _ in results])
        micros = float(np.median([spent for _, spent in results])) / n_steps * 1e6
        base = base or micros
        half = student.ppf(0.975, n_seeds - 1) * curves[:, -1].std(ddof=1) / np.sqrt(n_seeds)
        print(f"| {name} | {curves[:, -1].mean():.0f} ± {half:.0f} | {slope(curves):.2f} | {micros:.1f} "
              f"| {micros / base:.1f} |", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--batches", type=int, nargs="+", default=[100, 1])
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    print(f"{datetime.date.today()}, Python {platform.python_version()}, {os.cpu_count()} cores, "
          f"{known('lambdamart-kit')}, {known('mabwiser')}, {known('contextualbandits')}")  # fmt: skip
    for batch in options.batches:
        if options.quick:
            compare(2, 4 * batch if batch > 1 else 40, batch)
        else:
            compare(20, 5000 if batch > 1 else 300, batch)


if __name__ == "__main__":
    main()
