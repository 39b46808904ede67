"""Are the models still the same to the bit? Digests of fitted models, before and after a change of the code.

A change that only moves or rewrites code must not change one bit of any model. This script fits a model for
each of some forty configurations, and prints the SHA-256 of the model's text, or of its scores where the
model has no text:

    python benchmarks/model_digests.py --write before.json     # on the code before the change
    python benchmarks/model_digests.py --check before.json     # on the code after it

Digests of different machines differ, because their mathematical libraries round differently. Configurations
on MQ2008 are left out where the data are not there: set LAMBDAMART_KIT_TEST_DATA to the folder that holds
mq2008/.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from lambdamart_kit import (
    LambdaMART,
    LightGBMRanker,
    LinearRanker,
    NeuralRanker,
    PointwiseRanker,
    PreferencePairs,
    RewardModel,
    XGBoostRanker,
)
from lambdamart_kit.datasets import load_folds, make_letor, simulate_clicks, write_letor

OBJECTIVES = ("ndcg", "pairwise", "map", "mrr", "err", "ndcg2++", "xendcg", "listnet", "yeti", "precision")


def configurations(folder: Path) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Names of configurations, each with a function that fits its model and returns its text or scores."""
    small = make_letor(n_queries=150, random_state=0)
    held_out = make_letor(n_queries=40, random_state=1)
    binary = (small.y >= 2).astype(np.float64)

    def native(data: Any = small, y: Any = None, **settings: Any) -> Callable[[], bytes]:
        def fit() -> bytes:
            ranker = LambdaMART(**{"n_estimators": 20, "random_state": 0, "n_jobs": 2, **settings})
            ranker.fit(data.X, data.y if y is None else y, qid=data.qid)
            return text_of(ranker)

        return fit

    for objective in OBJECTIVES:
        y = binary if objective in ("map", "mrr", "precision") else None
        yield f"objective {objective}", native(objective=objective, y=y)
    for n_jobs in (1, 2, 3):
        yield f"threads {n_jobs}", native(n_jobs=n_jobs, num_leaves=63)
    yield "sampling", native(subsample=0.7, colsample_bytree=0.6, colsample_bynode=0.8)
    yield "constraints", native(monotone_constraints=[-1] * small.X.shape[1])
    yield "penalties", native(reg_lambda=1.0, reg_alpha=0.1, min_split_gain=0.01, max_depth=4)
    yield "symmetric", native(booster_params={"grow_policy": "symmetric"})
    yield "least squares", native(split_criterion="least_squares")
    yield "early stopping", native(early_stopping_rounds=5, validation_fraction=0.2, n_estimators=60)
    yield (
        "sparse",
        lambda: text_of(
            LambdaMART(n_estimators=10, random_state=0).fit(csr_matrix(small.X), small.y, qid=small.qid)
        ),
    )
    yield "categories", lambda: with_categories(small)
    yield "warm start", lambda: warm_start(small)
    yield "lightgbm trees", native(booster="lightgbm")
    yield "xgboost trees", native(booster="xgboost")
    for ranker in (
        LightGBMRanker(n_estimators=20, random_state=0),
        XGBoostRanker(n_estimators=20, random_state=0),
        PointwiseRanker(),
        LinearRanker("pairwise"),
        LinearRanker("ndcg", input_transform="quantile"),
        NeuralRanker("pairwise", max_iter=3, random_state=0),
    ):
        name = f"{type(ranker).__name__} {getattr(ranker, 'objective', '')}"
        yield name, lambda ranker=ranker: scores_of(ranker, small, held_out)
    for position_bias in ("harvest", "gam", "joint"):
        yield f"clicks {position_bias}", lambda position_bias=position_bias: from_clicks(small, position_bias)
    yield "files", lambda: from_files(small, folder)
    yield "100,000 rows", native(make_letor(n_queries=850, random_state=2), num_leaves=63)
    for scorer in ("trees", "linear", "neural"):
        yield f"reward {scorer}", lambda scorer=scorer: reward(scorer)
    data = Path(os.environ.get("LAMBDAMART_KIT_TEST_DATA", "")) / "mq2008"
    if data.is_dir():
        train = next(iter(load_folds(data))).train
        yield "MQ2008", native(train, n_estimators=100)
        yield "MQ2008 pairwise", native(train, n_estimators=100, objective="pairwise")


def text_of(ranker: Any) -> bytes:
    """The text of the ranker's trees, and what it estimated about positions."""
    booster = ranker.booster_
    text = booster.model_to_string() if hasattr(booster, "model_to_string") else booster.save_raw("json")
    estimates = getattr(ranker, "propensities_", None)
    known = b"" if estimates is None else np.asarray(estimates).tobytes()
    return (text.encode() if isinstance(text, str) else bytes(text)) + known


def scores_of(ranker: Any, train: Any, test: Any) -> bytes:
    """Scores of `test` by the ranker fitted on `train`."""
    return ranker.fit(train.X, train.y, qid=train.qid).predict(test.X).tobytes()


def with_categories(data: Any) -> bytes:
    """A model that splits on a column of categories."""
    frame = pd.DataFrame(data.X[:, :6], columns=[f"f{j}" for j in range(6)])
    codes = np.digitize(data.X[:, 0], np.quantile(data.X[:, 0], np.linspace(0.1, 0.9, 9)))
    frame["kind"] = pd.Categorical([f"kind {code}" for code in codes])
    return text_of(LambdaMART(n_estimators=20, random_state=0).fit(frame, data.y, qid=data.qid))


def warm_start(data: Any) -> bytes:
    """Ten trees, then ten more."""
    ranker = LambdaMART(n_estimators=10, warm_start=True, random_state=0).fit(data.X, data.y, qid=data.qid)
    return text_of(ranker.set_params(n_estimators=20).fit(data.X, data.y, qid=data.qid))


def from_clicks(data: Any, position_bias: str) -> bytes:
    """A model learned from simulated clicks."""
    log = simulate_clicks(data, data.X[:, 0], sessions_per_query=5, temperature=0.5, random_state=0)
    ranker = LambdaMART("pairwise", n_estimators=10, position_bias=position_bias, random_state=0)
    return text_of(ranker.fit(log.X, log.y, qid=log.qid, position=log.position))


def from_files(data: Any, folder: Path) -> bytes:
    """A model learned from a LETOR file."""
    write_letor(data, folder / "train.txt")
    return text_of(LambdaMART(n_estimators=20, random_state=0).fit_files(folder / "train.txt"))


def reward(scorer: str) -> bytes:
    """Scores of a reward model."""
    rng = np.random.default_rng(0)
    better, worse = rng.normal(size=(2, 600, 8))
    swap = (better - worse) @ np.linspace(1, -1, 8) + rng.logistic(size=600) < 0
    chosen = np.where(swap[:, None], worse, better)
    rejected = np.where(swap[:, None], better, worse)
    names = [f"prompt {i // 2}" for i in range(600)]
    texts = {
        "prompt": names,
        "chosen": [f"c{i}" for i in range(600)],
        "rejected": [f"r{i}" for i in range(600)],
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.jsonl"
        pd.DataFrame(texts).to_json(path, orient="records", lines=True)
        pairs = PreferencePairs.read(path).with_features(chosen, rejected)
    return RewardModel(scorer=scorer, random_state=0).fit_pairs(pairs).predict(chosen).tobytes()


def main() -> int:
    """Write digests, or compare them with those of an earlier run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path, help="file to write digests to")
    parser.add_argument("--check", type=Path, help="file with digests to compare with")
    parser.add_argument("--only", default="", help="start of the names of configurations to run")
    options = parser.parse_args()
    known = json.loads(options.check.read_text()) if options.check else {}
    found: dict[str, str] = {}
    differing = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, fit in configurations(Path(folder)):
            if not name.startswith(options.only):
                continue
            found[name] = hashlib.sha256(fit()).hexdigest()
            verdict = ""
            if known:
                same = known.get(name) == found[name]
                verdict = "same" if same else "DIFFERS"
                differing += not same
            print(f"{name:28s} {found[name][:16]}  {verdict}", flush=True)
    if options.write:
        options.write.write_text(json.dumps(found, indent=1))
    print(f"{len(found)} configurations, {differing} differ" if known else f"{len(found)} configurations")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
