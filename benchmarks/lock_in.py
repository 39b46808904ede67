"""LinUCB on five arms: how often a constant alpha locks in, and what ``alpha="auto"`` loses by comparison.

Run as ``python benchmarks/lock_in.py``. On one-hot arms A is diagonal, so that all seeds play abreast in
NumPy; ``--check`` plays with the policies themselves and compares every bound.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
from importlib.metadata import version

import numpy as np
from scipy.stats import t as student

from lambdamart_kit.explore import LinUCB

MEANS = np.array([0.9, 0.6, 0.5, 0.3, 0.1])
GAPS = MEANS.max() - MEANS
N_STEPS = 3000
ALPHAS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5, 3.0)


def bonus(alpha, counts: np.ndarray, noise: float, reg_lambda: float) -> np.ndarray:
    """LinUCB's bonus when arm i was shown ``counts[:, i]`` times."""
    information = counts + reg_lambda
    width = 1.0 / np.sqrt(information)
    if alpha == "auto":
        most = reg_lambda + counts.sum(axis=1, keepdims=True)
        multiple = np.sqrt(2.0 + np.log(most / information))
        return np.maximum(multiple * noise * width, 0.5 * noise * width + reg_lambda / information)
    if alpha == "self-normalised":
        gained = np.log(information / reg_lambda).sum(axis=1, keepdims=True)
        return (noise * np.sqrt(gained + 2 * np.log(1 / 0.05)) + np.sqrt(reg_lambda)) * width
    return alpha * width


def play(alpha, noise: float, n_seeds: int, reg_lambda: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Regret of each seed, and which seeds locked in: the last thousand steps lose over .1 each."""
    draws = np.random.default_rng(0).normal(scale=noise, size=(N_STEPS, n_seeds))
    seeds = np.arange(n_seeds)
    counts, sums = np.zeros((2, n_seeds, len(MEANS)))
    lost = np.empty((N_STEPS, n_seeds))
    order = np.random.default_rng(1).random((N_STEPS, n_seeds, len(MEANS))) * 1e-9  # ties
    for step in range(N_STEPS):
        bounds = sums / (counts + reg_lambda) + bonus(alpha, counts, noise, reg_lambda)
        arm = (bounds + order[step]).argmax(axis=1)
        counts[seeds, arm] += 1
        sums[seeds, arm] += MEANS[arm] + draws[step]
        lost[step] = GAPS[arm]
    return lost.sum(axis=0), lost[-1000:].mean(axis=0) > 0.1


def check(alpha, noise: float, n_steps: int = 200) -> None:
    """The policy's bounds are those of the formula, on its own run."""
    rng = np.random.default_rng(0)
    known = {} if isinstance(alpha, float) else {"noise": noise}
    policy = LinUCB(alpha, random_state=0, **known)
    counts, sums = np.zeros((2, 1, len(MEANS)))
    for _ in range(n_steps):
        expected = sums / (counts + 1.0) + bonus(alpha, counts, noise, 1.0)
        np.testing.assert_allclose(policy.upper_bounds(np.eye(5)), expected[0], rtol=1e-9)
        (arm,) = policy.select(np.eye(5))
        reward = MEANS[arm] + rng.normal(scale=noise)
        policy.partial_fit(np.eye(5)[[arm]], [reward])
        counts[0, arm] += 1
        sums[0, arm] += reward


def interval(values: np.ndarray) -> str:
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.1f} ± {half:.1f}"


def report(n_seeds: int, reg_lambda: float) -> None:
    print(f"\n{n_seeds} seeds, {N_STEPS:,} steps, reg_lambda {reg_lambda}; regret with 95 % intervals\n")
    print("| noise | alpha | locked in | regret | times the best constant's |\n|---|---|---|---|---|")
    for noise in (0.1, 0.3, 0.5, 1.0):
        constant = {alpha: play(alpha, noise, n_seeds, reg_lambda) for alpha in ALPHAS}
        best = min(constant, key=lambda alpha: constant[alpha][0].mean())
        shown = {f"{alpha}": constant[alpha] for alpha in (0.5, 1.0)}
        shown[f"{best}, the best in hindsight"] = constant[best]
        for rule in ("auto", "self-normalised"):
            shown[rule] = play(rule, noise, n_seeds, reg_lambda)
        for name, (regret, locked) in shown.items():
            ratio = regret.mean() / constant[best][0].mean()
            print(f"| {noise} | {name} | {locked.sum()} of {n_seeds} | {interval(regret)} | {ratio:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    print(
        f"{datetime.date.today()}, Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"lambdamart-kit {version('lambdamart-kit')}, numpy {np.__version__}"
    )
    if options.check:
        for alpha in (0.5, "auto", "self-normalised"):
            check(alpha, 0.3)
        print("the policies' bounds are those of the formulas")
        return
    for n_seeds in (50, 1000):
        for reg_lambda in (1.0, 0.1):
            report(n_seeds, reg_lambda)


if __name__ == "__main__":
    main()
