"""The headline comparisons: each function calls what measures in the script of its question.

A headline is a function from `quick` to comparisons. A peer that is not installed is left out by its
ImportError. Every comparison takes at least five turns, ours and the peer's one after the other.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pairing import Comparison, in_turn, orders

TURNS = 5
CORES = len(os.sched_getaffinity(0))
BOTH = (CORES, CORES)
ONE = (1, 1)

Headline = Callable[[bool], list[Comparison]]


def training(quick: bool) -> list[Comparison]:
    """Trees, and the bins before them, against LightGBM's layouts and XGBoost."""
    import training_speed
    from lambdamart_kit.datasets import make_letor

    data, trees = make_letor(420 if quick else 4800, random_state=0), 10 if quick else 20
    names = ["native-every-row", "native", "lightgbm-row", "lightgbm-col", "xgboost"]
    found = []
    # On one thread processor seconds count, which neighbours on the machine hardly change; on several threads
    # they cost the libraries' threads, which wait by spinning, more than ours.
    for threads, clock in {1: "cpu", CORES: "train"}.items():
        for leaves in (63, 255):
            runs = training_speed.in_turns(data, names, leaves, trees, threads, TURNS)
            seconds = {name: [getattr(run, clock) for run in runs[name]] for name in names}
            size = f"{len(data.y):,} x 136 rows, {trees} trees of {leaves} leaves"
            found += _trainings(seconds, size, (threads, threads), clock)
    bins = {name: [run.bin for run in runs[name]] for name in names}
    size = f"{len(data.y):,} x 136 rows, 255 bins"
    for peer, theirs in (("LightGBM", "lightgbm-row"), ("XGBoost", "xgboost")):
        sides = bins["native-every-row"], bins[theirs]
        found.append(Comparison("binning before training", peer, size, BOTH, *sides))
    return found


def _trainings(
    seconds: dict[str, list[float]], size: str, threads: tuple[int, int], clock: str
) -> list[Comparison]:
    """Both of our ways against LightGBM's faster layout and XGBoost."""
    layout = min(("lightgbm-row", "lightgbm-col"), key=lambda name: statistics.median(seconds[name]))
    note = "processor seconds" if clock == "cpu" else ""
    ways = {"every row looked at": "native-every-row", "as by default": "native"}
    return [
        Comparison(f"training, {way}", peer, size, threads, seconds[name], seconds[theirs], note)
        for way, name in ways.items()
        for peer, theirs in ((f"LightGBM, {layout[9:]}-wise", layout), ("XGBoost", "xgboost"))
    ]


def gradient(quick: bool) -> list[Comparison]:
    """One NDCG gradient, truncated at 30."""
    import gradient as script
    from lambdamart_kit.core.queries import Queries
    from lambdamart_kit.datasets import make_letor

    data = make_letor(400 if quick else 2000, mean_documents=114.5, random_state=0)
    scores = np.random.default_rng(0).normal(size=(8, len(data.y))).astype(np.float32)
    queries = Queries.from_qid(data.qid, len(data.y))
    ours, *theirs = zip(*script.in_turns(data, queries, scores, 30, 15 if quick else 30, TURNS))
    size = f"{len(data.y):,} rows, truncation 30"
    return [
        Comparison("one NDCG gradient", peer, size, BOTH, ours, seconds)
        for peer, seconds in zip(("LightGBM", "XGBoost"), theirs)
    ]


def scoring(quick: bool) -> list[Comparison]:
    """A batch, and single queries of 100 documents, on one thread."""
    import serving
    from lambdamart_kit import LambdaMART

    trees, leaves, n_rows = (300, 63, 50_000) if quick else (500, 31, 1_000_000)
    with tempfile.TemporaryDirectory() as folder:
        path = serving.prepare(Path(folder), trees, leaves, with_gcc=False)
        ranker = LambdaMART.load(path.with_suffix(".lmk"))
        both = serving.contestants(path, ranker, 1, with_gcc=False)
    kept = {name: both[name] for name in ("its estimator's predict", "lightgbm")}
    timed = serving.in_turns(kept, serving.rows(n_rows), TURNS, 500)
    size = f"{trees} trees of {leaves} leaves, 136 features"
    batches = [timed[name].batches for name in kept]
    singles = [[float(np.median(turn)) for turn in timed[name].singles] for name in kept]
    return [
        Comparison(f"scoring {n_rows:,} rows", "LightGBM", size, ONE, *batches, "the same bits"),
        Comparison("scoring a query of 100 documents", "LightGBM", size, ONE, *singles, "medians of 100"),
    ]


def contributions(quick: bool) -> list[Comparison]:
    """Exact SHAP values."""
    import contributions as script

    n_rows = 300 if quick else 1000
    found = script.measure(n_rows, 300, 31, TURNS)
    size = f"{n_rows:,} x 136 rows, 300 trees of 31 leaves"
    note = f"processor seconds; equal to {found.gap:.0e}"
    what = "exact SHAP values (`contributions`)"
    return [Comparison(what, "LightGBM `pred_contrib`", size, ONE, found.ours, found.theirs, note)]


def metric(quick: bool) -> list[Comparison]:
    """NDCG@10 from arrays, against scikit-learn's and ranx's fastest ways."""
    import metrics as script

    n_queries = 2_000 if quick else 10_000
    entries = script.contestants(*script.rows(n_queries, "equal"), ["sklearn", "ranx"])
    kept = {
        "scikit-learn, one table, ignore_ties=False": ("scikit-learn, ties averaged as here", 1),
        "scikit-learn, one table, ignore_ties=True": ("scikit-learn, ties ignored", CORES),
        "ranx, from sorted typed lists": ("ranx, lists sorted and typed before", CORES),
    }
    ours = "ours, from arrays"
    present = {name: entries[name] for name in (ours, *kept) if name in entries}
    seconds = script.timed(present, 2 * TURNS)[1]
    size = f"{100 * n_queries:,} rows in {n_queries:,} queries"
    return [
        Comparison("NDCG@10 from arrays", peer, size, (CORES, threads), seconds[ours], seconds[name])
        for name, (peer, threads) in kept.items()
        if name in seconds
    ]


def columns(quick: bool) -> list[Comparison]:
    """NDCG@10 from pandas columns with query ids as text, beside the same from arrays."""
    import metrics as script

    n_queries = 2_000 if quick else 10_000
    seconds = in_turn(script.from_columns(*script.rows(n_queries, "ragged")), 2 * TURNS)
    ours = seconds.pop("arrays")
    size = f"{100 * n_queries:,} rows in {n_queries:,} queries"
    note = "the peer is the same function; aim: at most 3"
    return [
        Comparison("NDCG@10 from arrays", f"from pandas columns, {name}", size, BOTH, ours, theirs, note)
        for name, theirs in seconds.items()
    ]


def letor(quick: bool) -> list[Comparison]:
    """Reading LETOR files of 6 MB and of 20 (260) MB."""
    import letor_parsing
    from lambdamart_kit.datasets import make_letor, write_letor

    found = []
    with tempfile.TemporaryDirectory() as folder:
        tiny, path = Path(folder) / "tiny.txt", Path(folder) / "generated.txt"
        tiny.write_text(letor_parsing.TINY)
        for n_queries in (47, 160 if quick else 2000):
            write_letor(make_letor(n_queries, random_state=0), path)
            calls = {
                name: (lambda reader=name: letor_parsing.measure(reader, tiny, path)[2])
                for name in ("1 thread", "2 threads", "scikit-learn")
            }
            spent: dict[str, list[float]] = {name: [] for name in calls}
            for order in orders(list(calls), TURNS):
                for name in order:
                    spent[name].append(calls[name]())
            size = f"{path.stat().st_size / 1e6:.0f} MB, 136 features"
            for threads, reader in enumerate(("1 thread", "2 threads"), 1):
                sides = spent[reader], spent["scikit-learn"]
                found.append(Comparison("reading LETOR", "scikit-learn", size, (threads, 1), *sides))
    return found


def table_files(quick: bool) -> list[Comparison]:
    """From a Parquet and a CSV file to the first tree."""
    import reading_tables as script

    found = []
    with tempfile.TemporaryDirectory() as folder:
        n_rows = script.write(Path(folder), 40_000 if quick else 300_000)
        for kind in script.KINDS:
            spent = script.measure(Path(folder), kind, TURNS)
            reader = statistics.median(spent["reader"]) / statistics.median(spent["fit_files"])
            note = f"processor seconds; the reader alone takes {reader:.2f} of ours"
            sides = spent["fit_files"], spent["pandas and LightGBM"]
            what = f"`fit_files` of {'Parquet' if kind == 'parquet' else 'CSV'}, one tree"
            found.append(Comparison(what, "pandas and LightGBM", f"{n_rows:,} x 136 rows", ONE, *sides, note))
    return found


def bags(quick: bool) -> list[Comparison]:
    """Ten bags beside one fit of LightGBM."""
    import bags as script
    from lambdamart_kit.datasets import make_letor

    data = make_letor(n_queries=160 if quick else 1700, random_state=0)
    trees = 20 if quick else 40
    options = argparse.Namespace(trees=trees, leaves=31, threads=1, bags=10, stop=0)
    fits = script.contestants(data, options)
    kept = {name: fits[name] for name in ("10 bags", "lightgbm")}
    seconds = in_turn(kept, TURNS, clock=time.process_time)
    size = f"{len(data.y):,} x 136 rows, {trees} trees of 31 leaves"
    note = "processor seconds; ten models against one, aim: at least 0.33"
    return [Comparison("`n_bags=10`", "LightGBM, one fit", size, ONE, *seconds.values(), note)]


def bradley_terry(quick: bool) -> list[Comparison]:
    """Strengths from votes, by the coding of the items."""
    import bradley_terry as script

    n_votes = 1_000_000
    table = {name: seconds for name, seconds, _ in script.peers(n_votes, 130, TURNS)}
    size = f"{n_votes:,} votes among 130 items"
    kept = {
        "integers": ("integers", "integers"),
        "strings (object array)": ("strings", "text"),
        "strings of their own (object array)": ("strings of their own", "text, each cell its own object"),
    }
    found = []
    for ours, (theirs, words) in kept.items():
        sides = table[f"lambdamart-kit, {ours}"], table[f"evalica, {theirs}"]
        found.append(Comparison(f"Bradley-Terry from {words}", "evalica", size, (CORES, 1), *sides))
    sides = table["lambdamart-kit, integers"], table["choix ilsr (ties as wins)"]
    return [*found, Comparison("Bradley-Terry from integers", "choix", size, (CORES, 1), *sides)]


def plackett_luce(quick: bool) -> list[Comparison]:
    """Sets of rankings, each its own pair."""
    import bradley_terry as script

    _, ours, theirs, error = zip(*script.rankings(5 if quick else 20))
    size = f"{len(ours)} sets of 250 to 750 rankings"
    note = f"a set is a pair; equal to {max(error):.0e}"
    return [Comparison("Plackett-Luce", "choix", size, ONE, ours, theirs, note)]


def reward_model(quick: bool) -> list[Comparison]:
    """Reward models of trees against CatBoost's PairLogit, log loss beside."""
    import reward_model as script
    from lambdamart_kit.preferences import RewardModel

    n_pairs = 3_000 if quick else 40_000
    ours, theirs, losses = [], [], []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        RewardModel(n_estimators=2).fit_pairs(script.synthetic(200, 99)[0])  # compiles
        for seed in range(TURNS):
            train, test = script.synthetic(n_pairs, seed)[0], script.synthetic(20_000, 1000 + seed)[0]
            margin, seconds = script.margin_of(RewardModel(random_state=seed), train, test)
            ours.append(seconds)
            their_margin, factor, seconds = script.catboost_margin(train, test)
            theirs.append(seconds)
            losses.append([script.quality(m, test.target)[0] for m in (margin, factor * their_margin)])
    loss, their_loss = np.mean(losses, axis=0)
    note = f"log loss {loss:.4f} here, {their_loss:.4f} there (scaled)"
    size = f"{n_pairs:,} pairs, 32 features"
    return [Comparison("reward model", "CatBoost PairLogit", size, BOTH, ours, theirs, note)]


def small_data(quick: bool) -> list[Comparison]:
    """Fits and a grid search on 100 to 10,000 rows."""
    import small_data as script

    found = []
    for n_rows in script.SIZES:
        seconds = script.fits(n_rows, 50, 3 * TURNS)
        sides = seconds["fit"], seconds["fit, LightGBM"]
        size = f"{n_rows:,} x 20 rows, 50 trees"
        found.append(Comparison("one fit", "LGBMRanker", size, ONE, *sides, "processor seconds"))
    for n_rows in (1_000,) if quick else script.SIZES:
        seconds = script.searches(n_rows, 50, TURNS)
        size = f"{n_rows:,} x 20 rows, 20 candidates x 5 folds, 50 trees"
        peer, note = "LGBMRanker by hand", "processor seconds"
        found.append(Comparison("`GridSearchCV`", peer, size, ONE, *seconds.values(), note))
    return found


def first_use(quick: bool) -> list[Comparison]:
    """Imports, and a process from its start to its first tree."""
    import cold_start

    turns = [cold_start.turn(1000, CORES) for _ in range(TURNS)]
    theirs = [turn.lightgbm for turn in turns]
    sides = {
        "importing the package": [(turn.warm.package, turn.lightgbm.package) for turn in turns],
        "importing the ranker": [(turn.warm.imports, turn.lightgbm.imports) for turn in turns],
        "imports and first fit, kernels in the cache": [
            (turn.warm.imports + turn.warm.fit, other.imports + other.fit)
            for turn, other in zip(turns, theirs)
        ],
        "imports and first fit, no kernel compiled yet": [
            (turn.cold.imports + turn.cold.fit, other.imports + other.fit)
            for turn, other in zip(turns, theirs)
        ],
    }
    size = "1,000 x 20 rows, one tree"
    return [Comparison(what, "LGBMRanker", size, BOTH, *zip(*pairs)) for what, pairs in sides.items()]


def bandits(quick: bool) -> list[Comparison]:
    """LinUCB and Thompson sampling, learning and selecting."""
    import bandits as script

    found = script.makers()
    rivals = [name for name in found if not name.startswith("kit")]
    if not rivals:
        raise ImportError("neither MABWiser nor contextualbandits is installed")
    comparisons = []
    for rival in rivals:
        kit = "kit LinUCB" if rival.endswith("LinUCB") else "kit LinearThompson"
        runs = [
            [script.play(found[name], seed, 500 if quick else 5000, 100)[1] for name in (kit, rival)]
            for seed in range(TURNS)
        ]
        size = "10 arms, 10 features, batches of 100"
        comparisons.append(
            Comparison(kit[4:], rival, size, ONE, *zip(*runs), "processor seconds; a seed is a pair")
        )
    return comparisons


HEADLINES: dict[str, Headline] = {
    "training": training,
    "gradient": gradient,
    "scoring": scoring,
    "contributions": contributions,
    "metric": metric,
    "columns": columns,
    "letor": letor,
    "table-files": table_files,
    "bags": bags,
    "bradley-terry": bradley_terry,
    "plackett-luce": plackett_luce,
    "reward-model": reward_model,
    "small-data": small_data,
    "first-use": first_use,
    "bandits": bandits,
}


def quality(quick: bool) -> dict[str, object]:
    """NDCG@10 on held-out queries at the same settings, native and LightGBM, and the difference's error."""
    import training_parity
    from lambdamart_kit.datasets import make_letor

    size, n_sets, n_seeds = (200, 3, 2) if quick else (500, 6, 3)
    options = argparse.Namespace(trees=100, leaves=31, reg_lambda=0.0, seeds=n_seeds, threads=CORES)
    test = make_letor(500 if quick else 2000, random_state=1)
    started = time.perf_counter()
    sets = [
        training_parity.by_query(make_letor(size, random_state=10 * at), test, options)
        for at in range(n_sets)
    ]
    ours, theirs, difference, error = training_parity.compared(np.stack(sets))
    return {
        "size": f"{n_sets} training sets of {size} queries, {n_seeds} seeds each",
        "ours": ours,
        "theirs": theirs,
        "difference": difference,
        "error": error,
        "seconds": time.perf_counter() - started,
    }
