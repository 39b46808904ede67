"""Speed of strengths, intervals, bootstrap and boards, against evalica, choix and scikit-learn.

Run as ``python benchmarks/bradley_terry.py``, up to ten million votes; ``--quick`` takes seconds. ``--only
rankings`` or ``--only board`` measures one table.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pandas as pd

from lambdamart_kit.preferences import BradleyTerry, PlackettLuce
from lambdamart_kit.preferences.reading.votes import read_votes
from pairing import in_turn


def votes(n_votes: int, n_items: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random pairs with Bradley-Terry outcomes and 20 % ties: pairs, outcomes, true strengths."""
    rng = np.random.default_rng(seed)
    strengths = rng.normal(size=n_items)
    first = rng.integers(0, n_items, n_votes)
    second = (first + rng.integers(1, n_items, n_votes)) % n_items
    won = rng.random(n_votes) < 1 / (1 + np.exp(strengths[second] - strengths[first]))
    outcomes = np.where(rng.random(n_votes) < 0.2, 0.5, won.astype(float))
    return np.column_stack([first, second]), outcomes, strengths - strengths.mean()


def median_seconds(function, *arguments, repeats: int = 3) -> float:
    function(*arguments)  # warm: kernels, allocator, string hashes
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        function(*arguments)
        spent.append(time.perf_counter() - start)
    return statistics.median(spent)


def fit(pairs, outcomes, prior=0.0):
    return BradleyTerry(prior=prior).fit(pairs, outcomes)


def codings(pairs: np.ndarray, n_items: int) -> dict[str, np.ndarray]:
    """The votes by integers, by text of few objects, and by text that is an object of its own each time."""
    names = np.array([f"model-{i:03d}" for i in range(n_items)], dtype=object)
    strings = names[pairs]
    own = np.array([name[:6] + name[6:] for name in strings.ravel()], dtype=object).reshape(strings.shape)
    return {"integers": pairs, "strings": strings, "strings of their own": own}


def contestants(n_votes: int, n_items: int) -> dict[str, Callable[[], np.ndarray]]:
    """Name -> a fit of the same votes that returns strengths; peers that are not installed are left out."""
    pairs, outcomes, _ = votes(n_votes, n_items)
    coded = codings(pairs, n_items)
    forms = {
        "integers": pairs,
        "strings (DataFrame)": pd.DataFrame(coded["strings"], columns=["a", "b"]),
        "strings (object array)": coded["strings"],
        "strings of their own (object array)": coded["strings of their own"],
    }
    found: dict[str, Callable[[], np.ndarray]] = {
        f"lambdamart-kit, {name}": lambda form=form: fit(form, outcomes).strengths_
        for name, form in forms.items()
    }
    for peer in (with_evalica, with_choix):
        try:
            found |= peer(coded, outcomes, n_items)
        except ImportError as error:
            print(f"left out: {error}")
    return found | {"scikit-learn LogisticRegression": partial(scikit_learn, pairs, outcomes, n_items)}


def with_evalica(coded: dict[str, np.ndarray], outcomes: np.ndarray, n_items: int) -> dict[str, Callable]:
    """The lists that evalica wants are made outside of what is timed."""
    import evalica

    label = {1.0: evalica.Winner.X, 0.0: evalica.Winner.Y, 0.5: evalica.Winner.Draw}
    winners = [label[value] for value in outcomes.tolist()]

    def strengths(xs: list, ys: list) -> np.ndarray:
        return np.log(evalica.bradley_terry(xs, ys, winners).scores.sort_index().to_numpy())

    return {
        f"evalica, {coding}": partial(strengths, table[:, 0].tolist(), table[:, 1].tolist())
        for coding, table in coded.items()
    }


def with_choix(coded: dict[str, np.ndarray], outcomes: np.ndarray, n_items: int) -> dict[str, Callable]:
    """Choix has no half wins: a tie is a win of the first."""
    import choix

    ends = coded["integers"].tolist()
    half = [(a, b) if o >= 0.5 else (b, a) for (a, b), o in zip(ends, outcomes.tolist())]
    return {"choix ilsr (ties as wins)": partial(choix.ilsr_pairwise, n_items, half)}


def peers(n_votes: int, n_items: int, turns: int = 3) -> list[tuple[str, list[float], float]]:
    """(name, seconds of each turn, largest error of a strength against our fit) on the same votes."""
    found = contestants(n_votes, n_items)
    strengths = {name: call() for name, call in found.items()}
    ours = strengths["lambdamart-kit, integers"]
    errors = {name: np.abs(theirs - theirs.mean() - ours).max() for name, theirs in strengths.items()}
    spent = in_turn(found, turns, warm=False)
    return [(name, spent[name], errors[name]) for name in found]


def scikit_learn(pairs: np.ndarray, outcomes: np.ndarray, n_items: int) -> np.ndarray:
    import scipy.sparse
    from sklearn.linear_model import LogisticRegression

    n = len(pairs)
    rows = np.tile(np.arange(n), 2)
    design = scipy.sparse.csr_matrix(
        (np.repeat([1.0, -1.0], n), (rows, np.concatenate([pairs[:, 0], pairs[:, 1]]))), shape=(n, n_items)
    )
    stacked = scipy.sparse.vstack([design, design]).tocsr()
    weight = np.concatenate([outcomes, 1 - outcomes])
    kept = weight > 0
    model = LogisticRegression(C=1e6, fit_intercept=False, max_iter=500)
    model.fit(stacked[kept], np.repeat([1, 0], n)[kept], sample_weight=weight[kept])
    strengths: np.ndarray = model.coef_[0]
    return strengths


def scaling(quick: bool) -> list[tuple[str, float]]:
    cases = [(1_000_000, 130), (10_000_000, 130), (1_000_000, 2_000), (1_000_000, 20_000)]
    rows = []
    for n_votes, n_items in [(n // 100 if quick else n, m // 10 if quick else m) for n, m in cases]:
        pairs, outcomes, truth = votes(n_votes, n_items)
        bt = fit(pairs, outcomes, 0.01)
        seconds = median_seconds(fit, pairs, outcomes, 0.01)
        agreement = np.corrcoef(bt.strengths_, truth)[0, 1]
        name = f"{n_votes:,} votes, {n_items:,} items: {bt.n_iter_} steps, correlation {agreement:.4f}"
        rows.append((name, seconds))
    return rows


def intervals(quick: bool) -> list[tuple[str, float]]:
    n_votes, n_replicates, n_refits = (17_000, 100, 50) if quick else (1_700_000, 1000, 400)
    pairs, outcomes, _ = votes(n_votes, 130)
    bt = BradleyTerry().fit(pairs, outcomes)
    rows = [
        (f"{method} covariance", median_seconds(partial(bt.covariance, method=method)))
        for method in ("hessian", "sandwich")
    ]
    start = time.perf_counter()
    draws = bt.replicates(n_replicates)
    rows.append((f"{n_replicates} bootstrap replicates of {n_votes:,} votes", time.perf_counter() - start))
    c = bt.comparisons_
    rng = np.random.default_rng(1)
    start = time.perf_counter()
    endpoints = np.column_stack([c.items[c.first], c.items[c.second]])
    resamples = rng.multinomial(n_votes, c.count / c.count.sum(), size=n_refits)
    refits = [BradleyTerry().fit(endpoints, c.outcome, counts=n).strengths_ for n in resamples]
    rows.append((f"{n_refits} full refits of resamples (already counted)", time.perf_counter() - start))
    ratio = draws.std(axis=0, ddof=1).mean() / np.std(refits, axis=0, ddof=1).mean()
    rows.append(("mean SD, one-step / full refits (ratio)", ratio))
    return rows


def rankings(n_sets: int) -> list[tuple[str, float, float, float]]:
    """Plackett-Luce on sets of rankings: (set, our seconds, choix's seconds, largest difference)."""
    import choix

    rows = []
    for seed in range(n_sets):
        rng = np.random.default_rng(seed)
        n_items = 5 + 5 * (seed % 4)
        n_rankings = 250 * (1 + seed % 3)
        utilities = rng.normal(size=n_items) + rng.gumbel(size=(n_rankings, n_items))
        ranked = np.argsort(-utilities, axis=1)[:, : 5 if seed % 2 else n_items].tolist()
        start = time.perf_counter()
        theirs = choix.ilsr_rankings(n_items, ranked, tol=1e-8)
        spent = time.perf_counter() - start
        ours = PlackettLuce().fit(ranked).strengths_
        seconds = median_seconds(lambda ranked=ranked: PlackettLuce().fit(ranked))
        name = f"{n_rankings} rankings of {len(ranked[0])} out of {n_items}"
        rows.append((name, seconds, spent, np.abs(theirs - theirs.mean() - ours).max()))
    return rows


def board(quick: bool) -> list[tuple[str, float]]:
    """Processor milliseconds, the least of nine, of a board of arena votes in Parquet and of its parts."""
    n_votes = 6_000 if quick else 60_000
    rng = np.random.default_rng(0)
    first = rng.integers(0, 20, n_votes)
    second = (first + rng.integers(1, 20, n_votes)) % 20
    names = np.array([f"m{i}" for i in range(20)])
    winners = rng.choice(["model_a", "model_b", "tie", "tie (bothbad)"], n_votes)
    frame = pd.DataFrame({"model_a": names[first], "model_b": names[second], "winner": winners})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "arena.parquet"
        frame.to_parquet(path)
        read = read_votes(path)

        def whole(reading: bool) -> pd.DataFrame:
            found = read_votes(path) if reading else read
            return BradleyTerry().fit(found.pairs, found.outcomes).leaderboard()

        calls = {
            "fit": lambda: BradleyTerry().fit(read.pairs, read.outcomes),
            "fit and board": lambda: whole(reading=False),
            "read_votes": lambda: read_votes(path),
            "read_votes, fit and board": lambda: whole(reading=True),
            "fit of text columns as pandas reads them": lambda: BradleyTerry().fit(
                frame[["model_a", "model_b"]], frame["winner"]
            ),
        }
        return [(name, least_processor_milliseconds(call)) for name, call in calls.items()]


def least_processor_milliseconds(call, repeats: int = 9) -> float:
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        spent.append(time.process_time() - start)
    return 1e3 * min(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=["strengths", "rankings", "board"])
    options = parser.parse_args()
    found = []
    for name in ("lambdamart-kit", "evalica", "choix", "scikit-learn", "numpy"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    where = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{datetime.date.today()}, {where}, {', '.join(found)}\n")
    if options.only in (None, "strengths"):
        print_strengths(options.quick)
    if options.only in (None, "rankings"):
        print(
            "\n| Plackett-Luce | seconds | choix ilsr | times ours | max difference |\n|---|---|---|---|---|"
        )
        for name, ours, theirs, error in rankings(2 if options.quick else 20):
            print(f"| {name} | {ours:.4f} | {theirs:.4f} | {theirs / ours:.1f} | {error:.1e} |")
    if options.only in (None, "board"):
        table = board(options.quick)
        print("\n| board of votes in Parquet | processor ms | times the fit |\n|---|---|---|")
        for name, milliseconds in table:
            print(f"| {name} | {milliseconds:.1f} | {milliseconds / table[0][1]:.2f} |")


def print_strengths(quick: bool) -> None:
    n_votes = 10_000 if quick else 1_000_000
    print(f"{n_votes:,} votes among 130 items, 20 % ties as half wins; median of 3\n")
    table = [(name, statistics.median(spent), error) for name, spent, error in peers(n_votes, 130)]
    base = {"strings of their own": table[3][1], "strings": table[1][1], "": table[0][1]}
    print("| | seconds | times ours, same coding | max difference of a strength |\n|---|---|---|---|")
    for name, seconds, error in table:
        own = next(seconds for coding, seconds in base.items() if coding in name)
        print(f"| {name} | {seconds:.4f} | {seconds / own:.1f} | {error:.1e} |")
    print("\n| scaling (prior 0.01) | seconds |\n|---|---|")
    for name, seconds in scaling(quick):
        print(f"| {name} | {seconds:.3f} |")
    print("\n| intervals, 130 items | seconds |\n|---|---|")
    for name, seconds in intervals(quick):
        print(f"| {name} | {seconds:.4f} |")


if __name__ == "__main__":
    main()
