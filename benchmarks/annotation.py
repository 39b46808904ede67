"""How many labels, and how much of an annotator's time, choosing the pairs saves.

Run as ``python benchmarks/annotation.py [--ukp FILE] [--plot FILE]``; FILE is UKPConvArg1 as .jsonl pairs
(topics are held out whole). ``--quick`` takes seconds. Each seed starts from the same few random labels for
every method; a linear reward model is fitted again after every batch. What counts is the log loss on held-out
pairs. A label costs the time of reading both responses and five seconds.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import expit
from scipy.stats import t as student

from lambdamart_kit import RewardModel
from lambdamart_kit.explore import reading_seconds, select_pairs
from lambdamart_kit.preferences import PreferencePairs

METHODS = ("random", "uncertainty", "disagreement", "double-thompson", "d-optimal", "d-optimal by time")
N_BAGS = 10
REG_LAMBDA = 10.0  # best of 1, 3, 10, 30 and 100 at 400 random labels of generated pairs, on other seeds


class Problem(NamedTuple):
    """A pool of pairs to be labelled, and pairs to be judged on."""

    features: np.ndarray
    pairs: np.ndarray
    first_wins: np.ndarray  # labels of the pool, told when asked for
    test: np.ndarray
    chance: np.ndarray  # that the first of each test pair wins
    prompt: np.ndarray
    seconds: np.ndarray  # of labelling each pair of the pool


class Curve(NamedTuple):
    """One run: after each batch, the labels and minutes so far and the held-out log loss."""

    labels: list[int]
    minutes: list[float]
    loss: list[float]


def synthetic(seed: int, n_prompts=400, n_responses=8, d=32):
    """Responses whose features vary unequally, a linear reward, lengths of 20 to some hundred words."""
    rng = np.random.default_rng(seed)
    spread = np.linspace(1.5, 0.1, d)  # few directions vary much, most vary little
    features = rng.normal(size=(n_prompts * n_responses, d)) * spread
    rewards = features @ (rng.normal(size=d) / spread / np.sqrt(d)) * 2.0
    prompt = np.repeat(np.arange(n_prompts), n_responses)
    i, j = np.triu_indices(n_responses, 1)
    pairs = (np.stack([i, j], axis=1)[None] + n_responses * np.arange(n_prompts)[:, None, None]).reshape(
        -1, 2
    )
    labels = rng.random(len(pairs)) < expit(rewards[pairs[:, 0]] - rewards[pairs[:, 1]])
    test = prompt[pairs[:, 0]] < n_prompts // 4
    chance = expit(rewards[pairs[:, 0]] - rewards[pairs[:, 1]])
    words = 20 + rng.gamma(1.5, 60.0, size=len(features))
    seconds = reading_seconds(words, pairs[~test])
    return Problem(
        features, pairs[~test], labels[~test], pairs[test], chance[test], prompt[pairs[~test, 0]], seconds
    )


def ukp(path: Path):
    """Text features of UKPConvArg1 and a function that holds out a quarter of its topics."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import StandardScaler

    from lambdamart_kit.preferences.text import TextFeatures

    data = PreferencePairs.read(path)
    texts = data.texts
    counts = TextFeatures().fit(texts).transform(texts)
    dense = counts.toarray() if hasattr(counts, "toarray") else np.asarray(counts)
    tfidf = TfidfVectorizer(min_df=5, sublinear_tf=True).fit_transform(texts["response"])
    topics = TruncatedSVD(32, random_state=0).fit_transform(tfidf)
    features = StandardScaler().fit_transform(np.hstack([dense, topics]))
    features = features[:, features.std(axis=0) > 0]

    words = [len(text.split()) for text in texts["response"]]

    def problem(seed: int):
        rng = np.random.default_rng(seed)
        test = np.isin(
            data.prompt, rng.choice(data.prompt.max() + 1, (data.prompt.max() + 1) // 4, replace=False)
        )
        pairs = np.column_stack([data.chosen, data.rejected])
        flip = rng.random(len(pairs)) < 0.5  # so that the order gives nothing away
        pairs[flip] = pairs[flip, ::-1]
        chance = (~flip[test]).astype(float)
        seconds = reading_seconds(words, pairs[~test])
        return Problem(features, pairs[~test], ~flip[~test], pairs[test], chance, data.prompt[~test], seconds)

    return problem


def fitted(problem: Problem, known: list[int], seed: int, n_bags: int = 1) -> RewardModel:
    first = problem.first_wins[known]
    wins, loses = (np.where(first, problem.pairs[known, a], problem.pairs[known, 1 - a]) for a in (0, 1))
    labelled = PreferencePairs.from_indices(
        problem.features, wins, loses, prompt=np.arange(len(known)) if n_bags > 1 else None
    )
    model = RewardModel(
        "linear",
        reg_lambda=REG_LAMBDA,
        validation_fraction=0.0,
        calibrate=False,
        n_bags=n_bags,
        random_state=seed,
    )
    return model.fit_pairs(labelled)


def log_loss(problem: Problem, model: RewardModel) -> float:
    """Expected over the labels of the test pairs, whose chances are known (0 or 1 on real data)."""
    rewards = model.predict(problem.features)
    margin = rewards[problem.test[:, 0]] - rewards[problem.test[:, 1]]
    chance = problem.chance
    return float((chance * np.logaddexp(0, -margin) + (1 - chance) * np.logaddexp(0, margin)).mean())


def learn(problem: Problem, method: str, seed: int, sizes: list[int]) -> Curve:
    """Labels bought in batches by one method."""
    rng = np.random.default_rng(1000 + seed)
    known = list(rng.choice(len(problem.pairs), sizes[0], replace=False))
    curve = Curve([], [], [])
    for size, following in zip(sizes, [*sizes[1:], None]):
        model = fitted(problem, known, seed)
        curve.labels.append(len(known))
        curve.minutes.append(float(problem.seconds[known].sum()) / 60)
        curve.loss.append(log_loss(problem, model))
        if following is None:
            return curve
        left = np.setdiff1d(np.arange(len(problem.pairs)), known)
        batch = following - size
        settings: dict = {"k": batch, "method": method}
        if method == "disagreement":
            model = fitted(problem, known, seed, N_BAGS)
        elif method == "d-optimal by time":
            # As much time as a batch of random pairs takes, for as many pairs as fit.
            seconds = problem.seconds[left]
            budget = batch * float(seconds.mean())
            settings = {"k": len(left), "method": "d-optimal", "cost": seconds, "budget": budget}
        chosen = select_pairs(
            model,
            problem.features,
            problem.pairs[left],
            prompt=problem.prompt[left],
            labelled=problem.pairs[known],
            random_state=seed,
            **settings,
        )
        known += left[chosen].tolist()
    return curve


def needed(loss: list[float], spent: list[float], target: float) -> float:
    """Labels or minutes at which the loss first reaches the target, interpolated; else the last."""
    reached = np.flatnonzero(np.asarray(loss) <= target)
    if not len(reached):
        return float(spent[-1])
    at = reached[0]
    if at == 0:
        return float(spent[0])
    share = (target - loss[at - 1]) / (loss[at] - loss[at - 1])
    return float(spent[at - 1] + share * (spent[at] - spent[at - 1]))


def interval(values: np.ndarray, digits: int) -> str:
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.{digits}f} ± {half:.{digits}f}"


def report(name: str, make, n_seeds: int, sizes: list[int]) -> dict[str, list[Curve]]:
    problems = [make(seed) for seed in range(n_seeds)]
    curves = {m: [learn(problem, m, s, sizes) for s, problem in enumerate(problems)] for m in METHODS}
    target = float(np.mean([curve.loss[-1] for curve in curves["random"]]))
    labels, minutes = (
        {m: np.array([needed(c.loss, getattr(c, what), target) for c in of]) for m, of in curves.items()}
        for what in ("labels", "minutes")
    )
    missed = {m: sum(min(c.loss) > target for c in of) for m, of in curves.items()}
    shown = [1, len(sizes) // 2, len(sizes) - 1]
    print(f"\n{name}: {n_seeds} seeds; 95 % intervals; labels and minutes to a log loss of {target:.3f}\n")
    heads = [f"log loss, {sizes[at]} labels" for at in shown]
    print(
        "| method | " + " | ".join(heads) + " | labels | fewer than random | minutes | fewer than random "
        "| seeds that never got there |"
    )
    print("|---" * (len(shown) + 6) + "|")
    for method, of in curves.items():
        losses = np.array([curve.loss for curve in of])
        cells = [interval(losses[:, at], 3) for at in shown]
        for spent in (labels, minutes):
            saving = "" if method == "random" else interval(spent["random"] - spent[method], 0)
            cells += [interval(spent[method], 0), saving]
        print(f"| {method} | " + " | ".join(cells) + f" | {missed[method]} |", flush=True)
    return curves


def plot(results: dict[str, dict[str, list[Curve]]], path: Path) -> None:
    """Log loss by labels and by minutes, a row a data set; means over seeds."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        len(results), 2, figsize=(10, 3.8 * len(results)), layout="constrained", squeeze=False
    )
    for row, (name, curves) in zip(axes, results.items()):
        for axis, what in zip(row, ("labels", "minutes")):
            for method, of in curves.items():
                spent = np.mean([getattr(curve, what) for curve in of], axis=0)
                axis.plot(spent, np.mean([curve.loss for curve in of], axis=0), marker=".", label=method)
            axis.set(xlabel=f"{what} of the annotator", ylabel="held-out log loss", title=name)
            axis.grid(alpha=0.3)
    axes[0, 1].legend(frameon=False)
    figure.savefig(path, dpi=110)


def speed(n_candidates: int) -> None:
    rng = np.random.default_rng(0)
    n_responses = n_candidates // 10
    features = rng.normal(size=(n_responses, 64))
    first = rng.integers(0, n_responses, n_candidates)
    pairs = np.column_stack([first, (first + rng.integers(1, n_responses, n_candidates)) % n_responses])
    select_pairs(None, features, pairs[:100], 2)
    spent = []
    for _ in range(3):
        start = time.perf_counter()
        select_pairs(None, features, pairs, 100)
        spent.append(time.perf_counter() - start)
    print(
        f"\n100 of {n_candidates:,} candidates, 64 dimensions, D-optimal: {np.median(spent):.2f} s "
        "(median of 3)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--ukp", type=Path, help="UKPConvArg1 as .jsonl pairs")
    parser.add_argument("--plot", type=Path, help="where to draw the curves")
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)
    print(
        f"{datetime.date.today()}, Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"lambdamart-kit {version('lambdamart-kit')}, numpy {np.__version__}"
    )
    n_seeds = 2 if options.quick else options.seeds
    sizes = [20, 40, 60] if options.quick else [20, 40, 60, 100, 140, 200, 280, 400]
    results = {
        "generated": report("Generated, 32 features of unequal variance", synthetic, n_seeds, sizes),
    }
    if options.ukp:
        name = "UKPConvArg1, a quarter of the topics held out"
        results["UKPConvArg1"] = report(name, ukp(options.ukp), n_seeds, sizes)
    if options.plot:
        plot(results, options.plot)
    speed(20_000 if options.quick else 1_000_000)


if __name__ == "__main__":
    main()
