"""Which explanation finds the features that make an order: deletion and preservation, as RankingSHAP tests.

A ranker is trained on each fold of MQ2008. For test queries with a relevant document and at least
`--documents` documents, each method orders the features of the query. Then

- preservation(k): only the first k features keep their values, all others take those of another document of
  the query; more is better;
- deletion(k): the first k features take another document's values, all others keep theirs; less is better.

The value of an order is Kendall's tau with the model's own order over all pairs (ties count 0), or NDCG@10.
Both are averaged over k = 1, 3, 5, 7, 10 and over background documents that were drawn anew, and methods are
compared query by query with plain SHAP by a sign-flip test.

Methods: "list" and "agreement" are ``why.list`` with labels and without; "shap" is the mean size of a
feature's SHAP values over the documents, as summary plots show it; "shap spread" their standard deviation
over the documents (a value that all documents share cannot order them); "random" is any order.

    python benchmarks/explanations.py MQ2008 [--folds 5 --queries 30 --samples 64]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import load_folds
from lambdamart_kit.explain.orders import agreement_with, metric_of_orders
from lambdamart_kit.metrics import NDCG, sign_flip_test

KS = (1, 3, 5, 7, 10)
N_BACKGROUNDS = 20
METHODS = ("list", "agreement", "shap", "shap spread", "random")


def orders_of_features(ranker, why, query, rows, samples, rng) -> dict[str, np.ndarray]:
    """For each method the features of a query, those that count most first."""
    contributions = ranker.contributions(rows)[:, :-1]
    scores = {
        "list": why.list(query, k=10, n_samples=samples).attributions,
        "agreement": why.list(query, k=None, n_samples=samples, of="agreement").attributions,
        "shap": np.abs(contributions).mean(axis=0),
        "shap spread": contributions.std(axis=0),
        "random": rng.random(rows.shape[1]),
    }
    # Ties (features that never matter) are broken at random, the same way for all methods.
    noise = rng.random(rows.shape[1])
    return {name: np.lexsort((noise, -value)) for name, value in scores.items()}


def values_of_masks(ranker, rows, masks, measures, rng) -> dict[str, np.ndarray]:
    """Mean over background documents of each measure, for each mask of known features."""
    backgrounds = rows[rng.integers(0, len(rows), N_BACKGROUNDS)]
    mixed = np.where(masks[:, None, None, :], rows[None, None], backgrounds[None, :, None, :])
    scores = ranker.predict(mixed.reshape(-1, rows.shape[1])).reshape(-1, len(rows))
    return {
        name: measure(scores).reshape(len(masks), N_BACKGROUNDS).mean(axis=1)
        for name, measure in measures.items()
    }


def judge(ranker, fold, options, rng) -> list[dict[tuple[str, str, str], float]]:
    """One record a query: mean over k of each test, measure and method."""
    test = fold.test
    why = ranker.explain(test.X, qid=test.qid, y=test.y)
    ids, counts = np.unique(test.qid, return_counts=True)
    relevant = np.array([test.y[test.qid == q].any() for q in ids])
    chosen = ids[(counts >= options.documents) & relevant]
    records = []
    for query in rng.permutation(chosen)[: options.queries]:
        rows = test.X[test.qid == query]
        labels = test.y[test.qid == query]
        own = ranker.predict(rows)
        measures = {
            "tau": agreement_with(own, None),
            "ndcg@10": metric_of_orders(NDCG(k=10), np.asarray(labels, dtype=np.float64)),
        }
        found = orders_of_features(ranker, why, query, rows, options.samples, rng)
        seed = int(rng.integers(2**31))
        record = {}
        for method, order in found.items():
            first = np.zeros((len(KS), rows.shape[1]), dtype=bool)
            for at, k in enumerate(KS):
                first[at, order[:k]] = True
            masks = np.concatenate((first, ~first))
            # The same background documents for all methods: differences are paired.
            values = values_of_masks(ranker, rows, masks, measures, np.random.default_rng(seed))
            for measure, value in values.items():
                record["preservation", measure, method] = float(value[: len(KS)].mean())
                record["deletion", measure, method] = float(value[len(KS) :].mean())
        records.append(record)
    return records


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--queries", type=int, default=30)
    parser.add_argument("--documents", type=int, default=8)
    parser.add_argument("--samples", type=int, default=64)
    options = parser.parse_args()
    records = []
    for number, fold in enumerate(load_folds(options.data)):
        if number == options.folds:
            break
        ranker = LambdaMART(n_estimators=100, num_leaves=15, random_state=0)
        ranker.fit(fold.train.X, fold.train.y, qid=fold.train.qid)
        records += judge(ranker, fold, options, np.random.default_rng(number))
    print(f"{len(records)} queries, means over k = {KS}; p of a difference to shap, sign-flip test\n")
    print("| test | value of the order | " + " | ".join(METHODS) + " |")
    print("|---" * (len(METHODS) + 2) + "|")
    for test in ("preservation", "deletion"):
        for measure in ("tau", "ndcg@10"):
            plain = np.array([r[test, measure, "shap"] for r in records])
            cells = []
            for method in METHODS:
                own = np.array([r[test, measure, method] for r in records])
                p = "" if method == "shap" else f" (p {np.ravel(sign_flip_test(own - plain).pvalue)[0]:.4f})"
                cells.append(f"{own.mean():.4f}{p}")
            better = "more" if test == "preservation" else "less"
            print(f"| {test}, {better} is better | {measure} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
