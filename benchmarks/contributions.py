"""Contributions of features to scores: `LambdaMART.contributions` against LightGBM's `pred_contrib`.

Both get the same trees: LambdaMART's own, which LightGBM reads. They take turns: a busy machine slows both,
and the ratio of each turn is what counts. The time is that of the calling thread's processor, on one thread.

    python benchmarks/contributions.py             # 1,000 rows, 300 trees of 31 leaves
    python benchmarks/contributions.py --rows 10000 --leaves 255
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import lightgbm
import numpy as np

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import make_letor
from pairing import in_turn


@dataclass(frozen=True)
class Found:
    """Processor seconds of both sides turn by turn, the first call's, and the largest difference."""

    ours: list[float]
    theirs: list[float]
    first: float
    gap: float


def measure(n_rows: int, trees: int, leaves: int, turns: int) -> Found:
    """Both sides on the same rows and trees, in turn, on one thread."""
    train = make_letor(n_queries=150, random_state=0)
    rows = make_letor(n_queries=max(20, n_rows // 50), random_state=1).X[:n_rows]
    ranker = LambdaMART(n_estimators=trees, num_leaves=leaves, random_state=0, n_jobs=1)
    ranker.fit(train.X, train.y, qid=train.qid)
    booster = lightgbm.Booster(model_str=ranker.booster_.model_to_string())
    started = time.thread_time()
    ranker.contributions(rows[:1])
    first = time.thread_time() - started
    calls = {
        "ours": lambda: ranker.contributions(rows),
        "theirs": lambda: booster.predict(rows, pred_contrib=True, num_threads=1),
    }
    # The clock is that of the calling thread's processor, which is the only one that works.
    spent = in_turn(calls, turns, clock=time.thread_time, warm=False)
    gap = np.abs(ranker.contributions(rows) - booster.predict(rows, pred_contrib=True)).max()
    return Found(spent["ours"], spent["theirs"], first, float(gap))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--trees", type=int, default=300)
    parser.add_argument("--leaves", type=int, default=31)
    parser.add_argument("--turns", type=int, default=7)
    options = parser.parse_args()
    found = measure(options.rows, options.trees, options.leaves, options.turns)
    ratios = np.sort(np.array(found.theirs) / np.array(found.ours))
    print(f"{options.rows:,} rows x 136 features, {options.trees} trees of {options.leaves} leaves")
    print(f"largest difference {found.gap:.1e}")
    print(f"first call, which lays out the trees (and may compile), {found.first:.2f} s")
    print(f"lambdamart_kit {np.median(found.ours):.3f} s, LightGBM {np.median(found.theirs):.3f} s (medians)")
    print(f"LightGBM takes {np.median(ratios):.1f} times as long ({ratios[0]:.1f} to {ratios[-1]:.1f})")


if __name__ == "__main__":
    main()
