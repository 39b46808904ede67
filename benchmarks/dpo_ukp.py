"""What the losses of the DPO family do on real argument pairs, topics held out.

Run as ``python benchmarks/dpo_ukp.py --data FOLDER``, the folder with ``preferences/ukp_convarg1.jsonl``. It
prints the table that stands in RESULTS-dpo.md under "Real pairs".
"""

from __future__ import annotations

import argparse
import datetime
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import t

from lambdamart_kit.preferences import DPOPolicy, PreferencePairs, RewardModel
from lambdamart_kit.preferences.scoring import clustered_mean
from lambdamart_kit.preferences.text import TextFeatures

LOSSES: dict[str, dict[str, float]] = {
    "sigmoid": {},
    "cdpo": {"label_smoothing": 0.1},
    "robust": {"label_smoothing": 0.1},
    "ipo": {},
    "hinge": {},
    "exo_pair": {"label_smoothing": 1e-3},
    "nca_pair": {},
    "bco_pair": {},
    "sppo_hard": {},
    "apo_zero": {},
    "apo_down": {},
    "discopop": {},
}
BETA = 0.1


def with_topics(pairs: PreferencePairs) -> PreferencePairs:
    """A prompt is a topic and a side of it; both sides of a topic stay together."""
    topic = [text.partition(" | ")[0] for text in pairs.prompts[pairs.prompt].tolist()]
    return replace(pairs, columns=pairs.columns.assign(topic=topic))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    args = parser.parse_args()
    pairs = with_topics(PreferencePairs.read(args.data / "preferences" / "ukp_convarg1.jsonl"))
    pairs = pairs.with_features(TextFeatures())
    train, test = pairs.split(test_size=0.25, random_state=0, by="topic")
    print(
        f"{datetime.date.today()}: {len(train)} pairs of {train.columns['topic'].nunique()} topics to train "
        f"on, {len(test)} of {test.columns['topic'].nunique()} held out, {pairs.features.shape[1]} features, "
        f"beta {BETA}, reg_lambda 1.\n"
    )
    names = ["steps", "accuracy (SE)", "margin", "chosen", "rejected", "displaced", "KL", "win rate", "CPU s"]
    print(f"| loss | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    codes = np.unique(test.columns["topic"], return_inverse=True)[1]
    for loss, settings in LOSSES.items():
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            policy = DPOPolicy(loss, beta=BETA, loss_params=settings, reg_lambda=1.0, max_iter=300)
            policy.fit_pairs(train)
        spent = time.process_time() - start
        told = policy.report(test).iloc[0]
        right = (policy.predict_proba_pairs(test) > 0.5).astype(float)
        accuracy = clustered_mean(right, np.ones(len(right)), codes)
        # Half the interval, which is that of Student's t over the topics, in standard errors.
        error = (accuracy.upper - accuracy.lower) / 2 / t.ppf(0.975, len(np.unique(codes)) - 1)
        steps = f"{policy.n_iter_}{'' if policy.converged_ else ' (cut)'}"
        cells = [steps, f"{accuracy.value:.3f} ({error:.3f})"]
        cells += [f"{told[name]:.3f}" for name in ("margin", "chosen_rewards", "rejected_rewards")]
        cells += [f"{told['displaced']:.2f}", f"{told['kl']:.2f}", f"{told['win_rate']:.3f}", f"{spent:.1f}"]
        print(f"| {loss} | {' | '.join(cells)} |", flush=True)
    reward = RewardModel("linear", random_state=0).fit_pairs(train)
    right = (reward.predict_proba_pairs(test) > 0.5).astype(float)
    print(f"\nRewardModel, linear, on the same features: accuracy {right.mean():.3f}.")


if __name__ == "__main__":
    main()
