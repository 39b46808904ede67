"""Reward models on pairs with a known reward, with flipped labels, and on real argument pairs.

Run as ``python benchmarks/reward_model.py``; ``--data FOLDER`` names the folder with
``preferences/ukp_convarg1.jsonl``, ``--quick`` is small.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from lambdamart_kit.preferences import BradleyTerry, PreferencePairs, RewardModel, label_noise
from lambdamart_kit.preferences.noise import cross_fitted
from lambdamart_kit.preferences.scoring import accuracy, calibration_slope, log_loss


def true_reward(X: np.ndarray) -> np.ndarray:
    """Steps, a wave, an interaction and a linear part in 7 of the features."""
    smooth = 1.5 * np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + 1.2 * np.abs(X[:, 3])
    return smooth + 0.8 * X[:, 4] - 0.7 * (X[:, 5] > 0.5) + 0.5 * X[:, 6]


def synthetic(
    n_pairs: int, seed: int, *, flip: float = 0.0
) -> tuple[PreferencePairs, np.ndarray, np.ndarray]:
    """Pairs of their own prompts, 32 normal features; the true reward, and which labels were flipped.

    Feature 31 plays the length: it follows the reward weakly.
    """
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(2 * n_pairs, 32)).astype(np.float32)
    reward = true_reward(X)
    X[:, 31] += 0.3 * reward
    a, b = np.arange(n_pairs), np.arange(n_pairs, 2 * n_pairs)
    flipped = rng.random(n_pairs) < flip
    a_wins = (rng.random(n_pairs) < 1 / (1 + np.exp(reward[b] - reward[a]))) ^ flipped
    return PreferencePairs.from_indices(X, np.where(a_wins, a, b), np.where(a_wins, b, a)), reward, flipped


def quality(margin: np.ndarray, target: np.ndarray) -> tuple[float, float, float]:
    """Log loss, accuracy, calibration slope."""
    right = np.nanmean(accuracy(margin, target, half_ties=True))
    return log_loss(margin, target).mean(), right, calibration_slope(margin, target, np.ones(len(margin)))


def catboost_margin(train: PreferencePairs, test: PreferencePairs) -> tuple[np.ndarray, float, float]:
    """Margins of CatBoost's PairLogit, stopped on the last tenth; what calibrates them there; seconds."""
    from catboost import CatBoost, Pool

    def pool(pairs: PreferencePairs) -> Pool:
        ends = np.column_stack([pairs.chosen, pairs.rejected]).ravel()
        index = np.arange(len(ends)).reshape(-1, 2)
        return Pool(train.features[ends], group_id=np.repeat(np.arange(len(pairs)), 2), pairs=index)

    start = time.perf_counter()
    cut = len(train) * 9 // 10
    model = CatBoost(
        {
            "loss_function": "PairLogit",
            "iterations": 2000,
            "od_type": "Iter",
            "od_wait": 50,
            "random_seed": 0,
            "thread_count": os.cpu_count(),
            "verbose": False,
            "allow_writing_files": False,
        }
    )
    held_out = train.take(np.arange(cut, len(train)))
    model.fit(pool(train.take(np.arange(cut))), eval_set=pool(held_out))
    seconds = time.perf_counter() - start

    def margin(pairs: PreferencePairs) -> np.ndarray:
        rewards = model.predict(pairs.features)
        return rewards[pairs.chosen] - rewards[pairs.rejected]

    factor = calibration_slope(margin(held_out), held_out.target, np.ones(len(held_out)))
    return margin(test), factor, seconds


def margin_of(model: RewardModel, train: PreferencePairs, test: PreferencePairs) -> tuple[np.ndarray, float]:
    """Margins of a reward model on the test pairs, and seconds to fit."""
    start = time.perf_counter()
    model.fit_pairs(train)
    seconds = time.perf_counter() - start
    rewards = model.predict_responses(test)
    return rewards[test.chosen] - rewards[test.rejected], seconds


def known_reward(n_pairs: int, seeds: int) -> None:
    print(f"\n## Known reward: {n_pairs:,} pairs, 32 features, {seeds} seeds, 20,000 test pairs\n")
    print(
        "| | log loss (of each seed) | accuracy | calibration slope | seconds to fit |\n|---|---|---|---|---|"
    )
    rows: dict[str, list[tuple[float, ...]]] = {}
    RewardModel(n_estimators=2).fit_pairs(synthetic(200, 99)[0])  # compile
    for seed in range(seeds):
        train, _, _ = synthetic(n_pairs, seed)
        test, truth, _ = synthetic(20_000, 1000 + seed)
        oracle = truth[test.chosen] - truth[test.rejected]
        rows.setdefault("true reward", []).append((*quality(oracle, test.target), 0.0))
        length = PreferencePairs.from_indices(train.features[:, 31:], train.chosen, train.rejected)
        test_length = PreferencePairs.from_indices(test.features[:, 31:], test.chosen, test.rejected)
        for name, model, fit, held_out in (
            ("RewardModel, trees", RewardModel(random_state=seed), train, test),
            ("RewardModel, linear", RewardModel("linear", random_state=seed), train, test),
            ("length only", RewardModel("linear", random_state=seed), length, test_length),
        ):
            margin, seconds = margin_of(model, fit, held_out)
            rows.setdefault(name, []).append((*quality(margin, test.target), seconds))
            print(f"seed {seed}, {name}: {rows[name][-1]}", file=sys.stderr, flush=True)
        margin, factor, seconds = catboost_margin(train, test)
        for name, scale in (("CatBoost PairLogit", 1.0), ("CatBoost PairLogit, scaled on held-out", factor)):
            rows.setdefault(name, []).append((*quality(scale * margin, test.target), seconds))
            print(f"seed {seed}, {name}: {rows[name][-1]}", file=sys.stderr, flush=True)
    for name, found in rows.items():
        loss, right, slope, seconds = np.mean(found, axis=0)
        losses, spent = (", ".join(f"{row[i]:.{d}f}" for row in found) for i, d in ((0, 4), (3, 1)))
        print(f"| {name} | {loss:.4f} ({losses}) | {right:.4f} | {slope:.3f} | {seconds:.1f} ({spent}) |")


def flipped_labels(n_pairs: int) -> None:
    print("\n## Label noise: 20 % of labels flipped, cross-fitted probability\n")
    pairs, reward, flipped = synthetic(n_pairs, 0, flip=0.2)
    table = label_noise(pairs).sort_values("pair")
    auc = roc_auc_score(flipped, -table["probability"])
    best = roc_auc_score(flipped, -(reward[pairs.chosen] - reward[pairs.rejected]))
    clear = np.abs(reward[pairs.chosen] - reward[pairs.rejected]) > np.log(9)
    sure = roc_auc_score(flipped[clear], -table["probability"][clear])
    flips = flipped[table["suggestion"] == "flip"]
    print(f"AUC {auc:.3f}; by the true reward {best:.3f}; where the true odds exceed 9 to 1: {sure:.3f}.")
    print(f"Of {len(flips)} suggested flips, {flips.mean():.1%} were flipped.")


def arguments(data: Path) -> None:
    pairs = PreferencePairs.read(data / "preferences" / "ukp_convarg1.jsonl")
    n_topics = pairs.groups("subset")[1]
    print(f"\n## UKPConvArg1: {len(pairs):,} pairs, {n_topics} topics, 10 folds of whole topics\n")
    print("| | log loss | accuracy | calibration slope |\n|---|---|---|---|")
    length = np.log1p(pairs.lengths.astype(float))[:, None]
    models = {
        "length only": (pairs.with_features(length), RewardModel("linear", random_state=0)),
        "hand features, linear": (pairs, RewardModel("linear", features="text", random_state=0)),
        "hand features, trees": (pairs, RewardModel(features="text", random_state=0)),
        "TF-IDF + SVD, linear": (pairs, RewardModel("linear", features="tfidf", random_state=0)),
        "TF-IDF + SVD, trees": (pairs, RewardModel(features="tfidf", random_state=0)),
    }
    probabilities = {}
    for name, (given, model) in models.items():
        p = cross_fitted(given, model, n_splits=10, by="subset")
        probabilities[name] = p
        loss, right, slope = quality(np.log(p) - np.log1p(-p), pairs.target)
        print(f"| {name} | {loss:.4f} | {right:.4f} | {slope:.3f} |")
    argument_strengths(pairs, probabilities["hand features, linear"])


def argument_strengths(pairs: PreferencePairs, probability: np.ndarray) -> None:
    """Bradley-Terry on the argument graph: how far the labels themselves are from a ranking."""
    ends = np.column_stack([pairs.chosen, pairs.rejected])
    held_out = np.empty(len(pairs))
    fold = np.random.default_rng(0).integers(0, 10, len(pairs))
    for k in range(10):
        fitted = BradleyTerry(prior=0.3).fit(ends[fold != k])
        known = np.isin(ends, fitted.items_).all(axis=1) & (fold == k)
        held_out[fold == k] = 0.5
        held_out[known] = fitted.predict(ends[known])
    margin = np.log(held_out) - np.log1p(-held_out)
    loss, right, slope = quality(margin, pairs.target)
    print(
        f"| Bradley-Terry on the other pairs of the same arguments (prior 0.3, 10 folds of pairs) "
        f"| {loss:.4f} | {right:.4f} | {slope:.3f} |"
    )
    found = pairs.audit().to_frame().set_index("problem")["pairs"]
    print(
        f"\nAudit: {found['duplicate']} duplicates, {found['contradiction']} contradictions, "
        f"{found['cycle']} pairs in cycles."
    )
    print("\nMost suspicious pairs (cross-fitted, hand features, linear):\n")
    print("| id | probability | chosen | rejected |\n|---|---|---|---|")
    for row in np.argsort(probability)[:5]:
        texts = [" ".join(pairs.responses[i].split())[:90].replace("|", "/") for i in ends[row]]
        print(f"| {pairs.columns['id'].iloc[row]} | {probability[row]:.3f} | {texts[0]} | {texts[1]} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=["reward", "noise", "arguments"], default=None)
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)
    packages = ", ".join(f"{p} {version(p)}" for p in ("lambdamart-kit", "catboost", "scikit-learn", "numpy"))
    where = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{datetime.date.today()}, {where}, {packages}")
    if options.only in (None, "reward"):
        known_reward(2_000 if options.quick else 40_000, 1 if options.quick else options.seeds)
    if options.only in (None, "noise"):
        flipped_labels(2_000 if options.quick else 40_000)
    if options.only in (None, "arguments") and options.data is not None and not options.quick:
        arguments(options.data)


if __name__ == "__main__":
    main()
