"""Off-policy evaluation: coverage of intervals, what a model saves, refusals, and speed against obp.

Run as ``python benchmarks/ope.py [--obp-stub]``; ``--quick`` takes seconds. obp is optional. It needs torch
for parts that are not measured here; ``--obp-stub`` puts empty modules in torch's place.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import os
import platform
import sys
import time
import types
import warnings
from functools import partial

import numpy as np
from sklearn.linear_model import LinearRegression, Ridge

from lambdamart_kit.explore.evaluation import (
    Log,
    PoorOverlap,
    cascade_rewards,
    evaluate_policy,
    evaluate_ranking,
    evaluate_slates,
    expected_rewards,
)

N_ARMS = 4
THETA = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.5, 0.5, -0.5]])


def simulated(rng, n, *, sharpness=0.7, epsilon=0.4, scale=1.0):
    """A log of a softmax policy over four arms, the target's probabilities, and the true expectations.

    The larger `sharpness`, the more often the log shows one arm, which is not the best one. `scale` says how
    much arms differ.
    """
    contexts = rng.normal(size=(n, 3))
    mean = 1 / (1 + np.exp(-scale * contexts @ THETA.T))
    logits = sharpness * contexts @ THETA[::-1].T
    logging = np.exp(logits - logits.max(axis=1, keepdims=True))
    logging /= logging.sum(axis=1, keepdims=True)
    target = np.full((n, N_ARMS), epsilon / N_ARMS)
    target[np.arange(n), mean.argmax(axis=1)] += 1 - epsilon
    actions = (rng.random((n, 1)) > np.cumsum(logging, axis=1)).sum(axis=1).clip(0, N_ARMS - 1)
    row = np.arange(n)
    rewards = (rng.random(n) < mean[row, actions]).astype(float)
    return Log(contexts, actions, logging[row, actions], rewards, logging), target, mean


def true_value(**setting):
    _, target, mean = simulated(np.random.default_rng(99), 400_000, **setting)
    return float((target * mean).sum(axis=1).mean())


LIMITS = {"clipped": 10.0, "switch": 10.0, "shrinkage": 100.0}
NAMES = ("ips", "snips", "clipped", "dr", "sndr", "switch", "shrinkage", "mrdr", "direct")


def estimates(names, log, target, **options):
    """Estimates by name; those with a model share one cross-fit of Ridge, but mrdr, which has its own."""
    model = expected_rewards(log, Ridge(), n_actions=N_ARMS)
    found = {}
    for name in names:
        needed = {"limit": LIMITS[name]} if name in LIMITS else {}
        if name == "mrdr":
            needed["expected"] = Ridge()
        elif name in ("dr", "sndr", "switch", "shrinkage", "direct"):
            needed["expected"] = model
        found[name] = evaluate_policy(log, lambda _: target, estimator=name, **needed, **options)
    return found


def coverage(n_logs: int) -> None:
    truth = true_value()
    inside = {name: [] for name in NAMES}
    errors = {name: [] for name in NAMES}
    for seed in range(n_logs):
        log, target, _ = simulated(np.random.default_rng(seed), 1500)
        for name, found in estimates(NAMES, log, target).items():
            inside[name].append(found.low <= truth <= found.high)
            errors[name].append(found.value - truth)
    print(
        f"\nCoverage over {n_logs} logs of 1,500 rows; models are Ridge, cross-fitted on the log; true value "
        f"{truth:.4f}\n\n"
        "| estimator | coverage of 95 % intervals | bias | mean squared error |\n|---|---|---|---|"
    )
    for name in NAMES:
        e = np.array(errors[name])
        print(f"| {name} | {np.mean(inside[name]):.3f} | {e.mean():+.4f} | {(e**2).mean():.5f} |", flush=True)


def settings(n_logs: int, sizes=(300, 1000, 3000)):
    """Doubly robust against IPS, by their squared error, setting by setting."""
    grid = itertools.product(sizes, (0.3, 0.7, 1.0), (0.2, 0.6), (0.5, 1.5))
    won = {"dr": [], "mrdr": [], "sndr": [], "snips": []}
    rows = []
    for n, sharpness, epsilon, scale in grid:
        world = {"sharpness": sharpness, "epsilon": epsilon, "scale": scale}
        truth = true_value(**world)
        errors = {name: [] for name in ("ips", *won)}
        for seed in range(n_logs):
            log, target, _ = simulated(np.random.default_rng(seed), n, **world)
            for name, found in estimates(errors, log, target, check_overlap=False).items():
                errors[name].append((found.value - truth) ** 2)
        mean = {name: np.mean(values) for name, values in errors.items()}
        for name, wins in won.items():
            wins.append(mean[name] < mean["ips"])
        rows.append(mean["dr"] / mean["ips"])
    print(
        f"\nShare of {len(rows)} settings in which the mean squared error over {n_logs} logs is below "
        "that of IPS (rows 300 to 3,000, overlap good to fair, two targets, two sizes of effect)\n\n"
        "| estimator | share of settings |\n|---|---|"
    )
    for name, wins in won.items():
        print(f"| {name} | {np.mean(wins):.3f} |")
    print(
        f"\nSquared error of dr over that of ips: median {np.median(rows):.2f}, worst {max(rows):.2f}",
        flush=True,
    )


def refusals(n_logs: int) -> None:
    print(
        f"\nHow many of {n_logs} logs of 1,500 rows are refused, and what snips would have said there\n\n"
        "| sharpness of the log | effective share of rows | refused | refused, if the log only has the "
        "probability of what it showed | coverage if forced |\n|---|---|---|---|---|"
    )
    for sharpness in (0.3, 0.7, 1.5, 3.0, 6.0, 12.0):
        truth = true_value(sharpness=sharpness)
        refused = np.zeros(2)
        inside, shares = [], []
        for seed in range(n_logs):
            log, target, _ = simulated(np.random.default_rng(seed), 1500, sharpness=sharpness)
            for at, known in enumerate((log, log._replace(logging=None))):
                try:
                    evaluate_policy(known, lambda _, p=target: p)
                except PoorOverlap:
                    refused[at] += 1
            found = evaluate_policy(log, lambda _, p=target: p, check_overlap=False)
            inside.append(found.low <= truth <= found.high)
            shares.append(found.overlap.share_effective)
        print(
            f"| {sharpness} | {np.mean(shares):.3f} | {refused[0] / n_logs:.3f} | {refused[1] / n_logs:.3f} "
            f"| {np.mean(inside):.3f} |",
            flush=True,
        )


def rankers(n_logs: int) -> None:
    """Clicks that a new order would get, from clicks on an old one; propensities known or harvested."""
    from lambdamart_kit import LambdaMART
    from lambdamart_kit.datasets import PositionBased, make_letor, simulate_clicks

    data = make_letor(n_queries=60, mean_documents=8, max_documents=12, random_state=0)
    theta = 1 / np.arange(1, 13)
    rng = np.random.default_rng(7)
    old, new = data.X[:, 1], data.y + rng.normal(size=len(data.y))
    model = PositionBased(propensities=theta)
    truth = clicks_of(data, new, model, 4000)
    cover = {"known": [], "harvested": []}
    errors = {"known": [], "harvested": [], "clicks as they are": []}
    for seed in range(n_logs):
        log = simulate_clicks(
            data,
            old,
            model=model,
            n_positions=None,
            sessions_per_query=20,
            temperature=2.0,
            random_state=seed,
        )
        ranker = LambdaMART("pairwise", n_estimators=1, position_bias="harvest", random_state=0)
        ranker.fit(log.X, log.y, qid=log.qid, position=log.position)
        scores = new[log.rows]
        clicks = log.y.astype(int)
        for name, known in (("known", theta), ("harvested", ranker.propensities_)):
            found = evaluate_ranking(scores, clicks, log.position, known, log.qid)
            cover[name].append(found.low <= truth <= found.high)
            errors[name].append(found.value - truth)
        errors["clicks as they are"].append(clicks.sum() / (log.qid.max() + 1) - truth)
    print(
        f"\nClicks a list that a new order would get ({truth:.4f}), from {n_logs} logs of 1,200 lists\n\n"
        "| propensities | coverage of 95 % intervals | bias | root mean squared error |\n|---|---|---|---|"
    )
    for name, e in errors.items():
        covered = f"{np.mean(cover[name]):.3f}" if name in cover else ""
        e = np.array(e)
        print(f"| {name} | {covered} | {e.mean():+.4f} | {np.sqrt((e**2).mean()):.4f} |", flush=True)


def clicks_of(data, scores, model, sessions):
    """Clicks a list of an order that is shown as it is."""
    from lambdamart_kit.datasets import simulate_clicks

    log = simulate_clicks(
        data, scores, model=model, n_positions=None, sessions_per_query=sessions, random_state=1
    )
    return float(log.y.sum() / (log.qid.max() + 1))


def empty_torch() -> None:
    class Empty(types.ModuleType):
        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return type(name, (), {})

    names = ("torch", "torch.nn", "torch.optim", "torch.utils", "torch.utils.data", "torch.nn.functional")
    for name in names:
        sys.modules[name] = Empty(name)
    for name in names[1:]:
        parent, child = name.rsplit(".", 1)
        setattr(sys.modules[parent], child, sys.modules[name])


def spent(function) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def against_obp(n: int, n_slates: int, repeats: int = 5) -> None:
    try:
        from obp import ope
    except ImportError:
        print("\nobp is not installed: its estimates and its speed are left out")
        return
    rng = np.random.default_rng(0)
    log, target, mean = simulated(rng, n)
    log = log._replace(logging=None)  # obp does not look at it
    given = {
        "reward": log.rewards,
        "action": log.actions,
        "pscore": log.propensities,
        "action_dist": target[:, :, None],
        "position": None,
    }
    model = {"estimated_rewards_by_reg_model": mean[:, :, None]}
    plain = {"check_overlap": False}
    theirs = {
        "ips": (ope.InverseProbabilityWeighting(), given, {}),
        "clipped": (ope.InverseProbabilityWeighting(lambda_=2.0), given, {"limit": 2.0}),
        "snips": (ope.SelfNormalizedInverseProbabilityWeighting(), given, {}),
        "dr": (ope.DoublyRobust(), given | model, {"expected": mean}),
        "sndr": (ope.SelfNormalizedDoublyRobust(), given | model, {"expected": mean}),
        "switch": (ope.SwitchDoublyRobust(lambda_=2.0), given | model, {"expected": mean, "limit": 2.0}),
        "shrinkage": (
            ope.DoublyRobustWithShrinkage(lambda_=2.0),
            given | model,
            {"expected": mean, "limit": 2.0},
        ),
    }
    print(
        f"\nobp and the kit in turns on one log, {n:,} rows, {N_ARMS} arms, processor time, medians of "
        f"{repeats} pairs. An estimate of the kit has its interval and the checks of overlap, one of obp has "
        "neither.\n\n"
        "| what | difference | obp, s | kit, s | obp / kit |\n|---|---|---|---|---|"
    )
    for name, (estimator, arguments, options) in theirs.items():
        options = options | plain | {"estimator": name}
        compare(
            name,
            partial(estimator.estimate_policy_value, **arguments),
            partial(value_of, log, target, options),
            repeats,
        )
    estimator, arguments, _ = theirs["dr"]
    print_ratio(
        "dr, bootstrap of 1,000",
        lambda: estimator.estimate_interval(**arguments, n_bootstrap_samples=1000, random_state=0),
        lambda: evaluate_policy(
            log, lambda _: target, estimator="dr", expected=mean, interval="bootstrap", **plain
        ),
        1,
    )
    fit_against_obp(ope, log, target, repeats)
    slates_against_obp(ope, n_slates, repeats)


def value_of(log, target, options):
    return evaluate_policy(log, lambda _: target, **options).value


def fit_against_obp(ope, log, target, repeats):
    def theirs():
        model = ope.RegressionModel(
            n_actions=N_ARMS, base_model=LinearRegression(), fitting_method="mrdr"
        ).fit_predict(
            context=log.candidates,
            action=log.actions,
            reward=log.rewards,
            pscore=log.propensities,
            action_dist=target[:, :, None],
            n_folds=3,
            random_state=0,
        )
        return model[0, 0, 0]

    def ours():
        return expected_rewards(
            log, LinearRegression(), weighting="mrdr", policy=lambda _: target, random_state=0
        )[0, 0]

    compare("mrdr, cross-fit of the model", theirs, ours, repeats)


def slates_against_obp(ope, n, repeats):
    rng = np.random.default_rng(0)
    n_items, k = 6, 3
    contexts = rng.normal(size=(n, 2))
    slates = np.array([rng.permutation(n_items)[:k] for _ in range(n)])

    def policy():
        chance = np.exp(rng.normal(size=(n, k, n_items)))
        for position in range(k):
            for above in range(position):
                chance[np.arange(n), position, slates[:, above]] = 0
        return chance / chance.sum(axis=2, keepdims=True)

    def of_shown(chance):
        return np.take_along_axis(chance, slates[:, :, None], 2)[..., 0]

    logging, target = policy(), policy()
    shown, wanted = of_shown(logging), of_shown(target)
    rewards = rng.random((n, k))
    above, wanted_above = np.cumprod(shown, 1).ravel(), np.cumprod(wanted, 1).ravel()
    arguments = {
        "slate_id": np.repeat(np.arange(n), k),
        "action": slates.ravel(),
        "reward": rewards.ravel(),
        "position": np.tile(np.arange(k), n),
        "pscore_cascade": above,
        "evaluation_policy_pscore_cascade": wanted_above,
    }
    compare(
        f"cascade, {n:,} slates",
        lambda: ope.SlateRewardInteractionIPS(len_list=k).estimate_policy_value(**arguments),
        lambda: evaluate_slates(wanted, shown, rewards, check_overlap=False).value,
        repeats,
    )

    def theirs():
        model = ope.SlateRegressionModel(
            base_model=LinearRegression(), len_list=k, n_unique_action=n_items
        ).fit_predict(
            context=contexts,
            evaluation_policy_action_dist=target.ravel(),
            **{name: arguments[name] for name in arguments if name not in ("slate_id", "position")},
        )
        return ope.SlateCascadeDoublyRobust(len_list=k, n_unique_action=n_items).estimate_policy_value(
            q_hat=model, evaluation_policy_action_dist=target.ravel(), **arguments
        )

    def ours():
        items = np.arange(n_items)[:, None]
        model = cascade_rewards(
            contexts, items, slates, rewards, target, model=LinearRegression(), n_splits=1
        )
        return evaluate_slates(
            wanted,
            shown,
            rewards,
            estimator="cascade-dr",
            expected=model[0],
            expected_under=model[1],
            check_overlap=False,
        ).value

    compare(f"cascade-dr with its model, {n:,} slates", theirs, ours, repeats)


def compare(name, theirs, ours, repeats):
    difference = abs(theirs() - ours())
    print_ratio(name, theirs, ours, repeats, f"{difference:.0e}")


def print_ratio(name, theirs, ours, repeats, difference=""):
    pairs = np.array([(spent(theirs), spent(ours)) for _ in range(repeats)])
    obp, kit = np.median(pairs, axis=0)
    ratio = np.median(pairs[:, 0] / np.maximum(pairs[:, 1], 1e-9))
    print(f"| {name} | {difference} | {obp:.4f} | {kit:.4f} | {ratio:.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--obp-stub", action="store_true", help="empty modules in place of torch")
    parser.add_argument("--only", choices=("coverage", "settings", "refusals", "rankers", "obp"))
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    if options.obp_stub:
        import scipy.stats  # noqa: F401  before torch is replaced: SciPy asks it for its types

        empty_torch()
    print(
        f"{datetime.date.today()}, Python {platform.python_version()}, {os.cpu_count()} cores, "
        f"numpy {np.__version__}"
    )
    quick = options.quick
    parts = {
        "coverage": lambda: coverage(20 if quick else 500),
        "settings": lambda: settings(5 if quick else 40, (300,) if quick else (300, 1000, 3000)),
        "refusals": lambda: refusals(10 if quick else 200),
        "rankers": lambda: rankers(3 if quick else 100),
        "obp": lambda: against_obp(2000 if quick else 100_000, 200 if quick else 10_000),
    }
    for name, part in parts.items():
        if options.only in (None, name):
            part()


if __name__ == "__main__":
    main()
