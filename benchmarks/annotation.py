"""How many labels does choosing the pairs save? D-optimal and double Thompson against random.

Run as ``python benchmarks/annotation.py [--ukp FILE]``; FILE is UKPConvArg1 as .jsonl pairs (topics are held
out whole). ``--quick`` takes seconds. Each seed starts from the same few random labels for every method; a
linear reward model is fitted again after every batch.
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

import numpy as np
from scipy.special import expit
from scipy.stats import t as student

from lambdamart_kit import RewardModel
from lambdamart_kit.explore import select_pairs
from lambdamart_kit.preferences import PreferencePairs

METHODS = ("random", "uncertainty", "d-optimal", "double-thompson")


def synthetic(seed: int, n_prompts=400, n_responses=8, d=32):
    """Responses in clusters of unequal size, a linear reward: pool pairs, labels, features, test pairs."""
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
    truth = rewards[pairs[:, 0]] > rewards[pairs[:, 1]]
    return features, pairs[~test], labels[~test], pairs[test], truth[test], prompt[pairs[~test, 0]]


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

    def problem(seed: int):
        rng = np.random.default_rng(seed)
        test = np.isin(
            data.prompt, rng.choice(data.prompt.max() + 1, (data.prompt.max() + 1) // 4, replace=False)
        )
        pairs = np.column_stack([data.chosen, data.rejected])
        flip = rng.random(len(pairs)) < 0.5  # so that the order gives nothing away
        pairs[flip] = pairs[flip, ::-1]
        return features, pairs[~test], ~flip[~test], pairs[test], ~flip[test], data.prompt[~test]

    return problem


def accuracies(problem, method: str, seed: int, sizes: list[int]) -> list[float]:
    """Held-out accuracy after each number of labels."""
    features, pairs, first_wins, test, truth, prompt = problem
    rng = np.random.default_rng(1000 + seed)
    known = list(rng.choice(len(pairs), sizes[0], replace=False))
    found = []
    for size, following in zip(sizes, [*sizes[1:], None]):
        wins, loses = (np.where(first_wins[known], pairs[known, a], pairs[known, 1 - a]) for a in (0, 1))
        labelled = PreferencePairs.from_indices(features, wins, loses)
        model = RewardModel("linear", validation_fraction=0.0, calibrate=False).fit_pairs(labelled)
        rewards = model.predict(features)
        found.append(float(((rewards[test[:, 0]] > rewards[test[:, 1]]) == truth).mean()))
        if following is not None:
            left = np.setdiff1d(np.arange(len(pairs)), known)
            chosen = select_pairs(
                model,
                features,
                pairs[left],
                following - size,
                method=method,
                prompt=prompt[left],
                labelled=pairs[known],
                random_state=seed,
            )
            known += left[chosen].tolist()
    return found


def labels_needed(curve: np.ndarray, sizes: list[int], target: float) -> float:
    """Labels at which the curve first reaches the target, interpolated; the last size when it does not."""
    reached = np.flatnonzero(curve >= target)
    if not len(reached):
        return float(sizes[-1])
    at = reached[0]
    if at == 0:
        return float(sizes[0])
    share = (target - curve[at - 1]) / (curve[at] - curve[at - 1])
    return float(sizes[at - 1] + share * (sizes[at] - sizes[at - 1]))


def interval(values: np.ndarray, digits: int) -> str:
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():.{digits}f} ± {half:.{digits}f}"


def report(name: str, make, n_seeds: int, sizes: list[int]) -> None:
    problems = [make(seed) for seed in range(n_seeds)]
    curves = {
        method: np.array([accuracies(problem, method, s, sizes) for s, problem in enumerate(problems)])
        for method in METHODS
    }
    target = curves["random"][:, -1].mean()
    needed = {m: np.array([labels_needed(c, sizes, target) for c in found]) for m, found in curves.items()}
    shown = [sizes[1], sizes[len(sizes) // 2], sizes[-1]]
    print(
        f"\n{name}: {n_seeds} seeds; accuracy after n labels; labels to reach {target:.3f} (95 % intervals)\n"
    )
    print("| method | " + " | ".join(f"n = {n}" for n in shown) + " | labels | less than random, paired |")
    print("|---" * (len(shown) + 3) + "|")
    for method, found in curves.items():
        cells = [interval(found[:, sizes.index(n)], 3) for n in shown]
        saved = needed["random"] - needed[method]
        saving = "" if method == "random" else interval(saved, 0)
        print(f"| {method} | " + " | ".join(cells) + f" | {interval(needed[method], 0)} | {saving} |")


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
    parser.add_argument("--seeds", type=int, default=20)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=UserWarning)
    print(
        f"{datetime.date.today()}, Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"lambdamart-kit {version('lambdamart-kit')}, numpy {np.__version__}"
    )
    n_seeds = 2 if options.quick else options.seeds
    sizes = [20, 40, 60] if options.quick else [20, 40, 60, 100, 140, 200, 280, 400]
    report("Synthetic, 32 features of unequal variance", synthetic, n_seeds, sizes)
    if options.ukp:
        report("UKPConvArg1, a quarter of the topics held out", ukp(options.ukp), n_seeds, sizes)
    speed(20_000 if options.quick else 1_000_000)


if __name__ == "__main__":
    main()
