"""Contributions of features to scores: `LambdaMART.contributions` against LightGBM's `pred_contrib`.

Both get the same trees: LambdaMART's own, which LightGBM reads. They take turns: a busy machine slows both,
and the ratio of each turn is what counts. The time is that of the calling thread's processor, on one thread.

    python benchmarks/contributions.py             # 1,000 rows, 300 trees of 31 leaves
    python benchmarks/contributions.py --rows 10000 --leaves 255
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import lightgbm
import numpy as np

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import make_letor


def seconds(call: Callable[[], object]) -> float:
    """Processor seconds of this thread, which is the only one that works."""
    started = time.thread_time()
    call()
    return time.thread_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--trees", type=int, default=300)
    parser.add_argument("--leaves", type=int, default=31)
    parser.add_argument("--turns", type=int, default=7)
    options = parser.parse_args()
    train = make_letor(n_queries=150, random_state=0)
    rows = make_letor(n_queries=max(20, options.rows // 50), random_state=1).X[: options.rows]
    ranker = LambdaMART(n_estimators=options.trees, num_leaves=options.leaves, random_state=0, n_jobs=1)
    ranker.fit(train.X, train.y, qid=train.qid)
    booster = lightgbm.Booster(model_str=ranker.booster_.model_to_string())
    first = seconds(lambda: ranker.contributions(rows[:1]))
    ours, theirs = [], []
    # One turn after the other: what else the machine does meanwhile slows both sides of a ratio.
    for _ in range(options.turns):
        ours.append(seconds(lambda: ranker.contributions(rows)))
        theirs.append(seconds(lambda: booster.predict(rows, pred_contrib=True, num_threads=1)))
    gap = np.abs(ranker.contributions(rows) - booster.predict(rows, pred_contrib=True)).max()
    ratios = np.sort(np.array(theirs) / np.array(ours))
    print(f"{len(rows):,} rows x {rows.shape[1]} features, {options.trees} trees of {options.leaves} leaves")
    print(
        f"largest difference {gap:.1e}; first call, which lays out the trees (and may compile), {first:.2f} s"
    )
    print(f"lambdamart_kit {np.median(ours):.3f} s, LightGBM {np.median(theirs):.3f} s (medians)")
    print(f"LightGBM takes {np.median(ratios):.1f} times as long ({ratios[0]:.1f} to {ratios[-1]:.1f})")


if __name__ == "__main__":
    main()
