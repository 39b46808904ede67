"""``lambdamart-kit policy``: what a policy, or an order of documents, would have earned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from lambdamart_kit.cli.exploring import candidates
from lambdamart_kit.cli.exploring.tables import chances, column, ids, numbers, read_table, whole_numbers
from lambdamart_kit.cli.output import Format, FormatOption, Group, print_records, say
from lambdamart_kit.core.typing import Array, FloatArray, Settings

if TYPE_CHECKING:
    import pandas as pd

    from lambdamart_kit.bench.render import Table
    from lambdamart_kit.explore.evaluation import Estimate

app = typer.Typer(
    cls=Group,
    help="Estimate from a log what another policy, or another order of documents, would have earned.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

LogFile = Annotated[
    str, typer.Argument(metavar="LOG", help="A table: .parquet, .jsonl, .json, .csv, .tsv or .arrow.")
]
IntervalOption = Annotated[str, typer.Option(help="normal, bootstrap or bernstein.")]
WidthOption = Annotated[
    float | None,
    typer.Option(help="For bernstein: width of the range of weight times reward, as large as it can be."),
]
ConfidenceOption = Annotated[float, typer.Option(help="Confidence of the interval.")]
AnywayOption = Annotated[
    bool, typer.Option("--anyway", help="Print the estimate where the log tells too little for one.")
]


@app.callback()
def policy() -> None:
    """Estimate from a log what another policy, or another order of documents, would have earned."""


@app.command()
def evaluate(
    log: LogFile,
    reward: Annotated[str, typer.Option(help="Column with what came of the action.")] = "reward",
    propensity: Annotated[
        str, typer.Option(help="Column with the probability with which it was shown.")
    ] = "propensity",
    target: Annotated[
        str, typer.Option(help="Column with the probability that the policy would show it.")
    ] = "target",
    scores: Annotated[
        str | None,
        typer.Option(
            help="Instead of --target: column with a ranker's score of every candidate, a row each; see "
            "--qid, --shown and --beta."
        ),
    ] = None,
    saved: Annotated[
        str | None,
        typer.Option(
            "--policy",
            help="Instead of --target: a policy that `save` wrote; the rows are candidates, as with "
            "--scores, or contexts if the policy has arms.",
        ),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            help="With --policy: columns that it sees, with commas between them, or one column of lists."
        ),
    ] = None,
    qid: Annotated[
        str, typer.Option(help="With --scores or --policy: column that says whose candidate a row is.")
    ] = "qid",
    shown: Annotated[
        str,
        typer.Option(
            help="With --scores or --policy: column that is 1 for the candidate that was shown, else 0; "
            "for a policy with arms, the arm."
        ),
    ] = "shown",
    beta: Annotated[
        float | None,
        typer.Option(
            help="With --scores: the policy shows candidates in proportion to exp(score / beta); without, "
            "the best one."
        ),
    ] = None,
    slate: Annotated[
        str | None,
        typer.Option(help="Column that says which slate a row stands in; rows are then positions."),
    ] = None,
    position: Annotated[
        str, typer.Option(help="With --slate: column with the position, from 1.")
    ] = "position",
    estimator: Annotated[
        str | None,
        typer.Option(
            help="Names with commas between them: ips, snips (the default), clipped, direct, dr, sndr, "
            "switch, shrinkage; for slates standard, independent, cascade (the default), pseudo-inverse, "
            "cascade-dr."
        ),
    ] = None,
    expected: Annotated[
        str | None, typer.Option(help="Column with the reward that a model expects of the logged action.")
    ] = None,
    expected_under: Annotated[
        str | None,
        typer.Option(
            help="Column with the mean of the reward that the model expects of what the policy would show."
        ),
    ] = None,
    limit: Annotated[
        float | None,
        typer.Option(help="Largest weight of clipped and of switch, or the constant of shrinkage."),
    ] = None,
    interval: IntervalOption = "normal",
    width: WidthOption = None,
    confidence: ConfidenceOption = 0.95,
    anyway: AnywayOption = False,
    format: FormatOption = Format.table,
) -> None:
    """Estimate what a policy would have earned, from a log with the probabilities of what was shown.

    \b
    Example:
      lambdamart-kit policy evaluate log.csv --target new
      lambdamart-kit policy evaluate log.csv \\
        --policy linucb.lmk --features x1,x2
    """
    _check_policy_options(scores, beta, saved, features, slate)
    _refuse_unused(scores, saved, slate, {"--target": target, "--qid": qid, "--shown": shown}, position)
    table = read_table(log)
    rows = table
    if scores is not None:
        rows = candidates.by_scores(table, scores, qid, shown, beta)
    elif saved is not None and features is not None:
        rows = candidates.by_policy(table, saved, features, qid, shown)
    wanted = chances(rows, target if rows is table else candidates.TARGET, "--target")
    logged = chances(rows, propensity, "--propensity", above_0=True)
    rewards = numbers(rows, reward, "--reward")
    common: Settings = {
        "interval": interval,
        "width": width,
        "confidence": confidence,
        "check_overlap": not anyway,
    }
    models: Settings = {
        name: None if where is None else numbers(rows, where, f"--{name.replace('_', '-')}")
        for name, where in (("expected", expected), ("expected_under", expected_under))
    }
    if slate is None:
        names = _names(estimator, "snips")
        found = _evaluate_rows(names, wanted, logged, rewards, models, limit, common)
        print_estimates(found, float(rewards.mean()), len(rewards), format)
        return
    if limit is not None:
        raise ValueError("--limit is not used for slates; leave it out")
    order, shape = _by_slate(ids(table, slate, "--slate"), whole_numbers(table, position, "--position"))
    from lambdamart_kit.explore.evaluation import evaluate_slates

    def grid(values: FloatArray | None) -> Any:
        return None if values is None else values[order].reshape(shape)

    names = _names(estimator, "cascade")
    if (expected or expected_under) and "cascade-dr" not in names:
        raise ValueError("--expected and --expected-under are used by cascade-dr only; leave them out")
    found = {}
    for name in names:
        used: Settings = {key: grid(v) if name == "cascade-dr" else None for key, v in models.items()}
        found[name] = evaluate_slates(
            grid(wanted), grid(logged), grid(rewards), estimator=name, **used, **common
        )
    print_estimates(found, float(rewards.sum() / shape[0]), shape[0], format)


@app.command()
def clicks(
    log: LogFile,
    scores: Annotated[str, typer.Option(help="Column with the new ranker's score of each row.")] = "score",
    against: Annotated[
        str | None, typer.Option(help="Column with another ranker's scores: how much better are the first?")
    ] = None,
    click: Annotated[str, typer.Option(help="Column that is 1 where a row was clicked, else 0.")] = "click",
    position: Annotated[
        str, typer.Option(help="Column with where it was shown, from 1; 0 for a row that was not shown.")
    ] = "position",
    qid: Annotated[str, typer.Option(help="Column that says which list a row stood in.")] = "qid",
    propensities: Annotated[
        str,
        typer.Option(
            help="How often each position is looked at, such as 1,0.5,0.33; or harvest, to estimate it from "
            "documents that were shown at several positions."
        ),
    ] = "harvest",
    docid: Annotated[
        str, typer.Option(help="For harvest: column that is equal where one document is shown for one query.")
    ] = "docid",
    measure: Annotated[
        str, typer.Option(help="clicks: how many in each list. dcg: of the probability of a click.")
    ] = ("clicks"),
    k: Annotated[
        int | None, typer.Option("-k", help="Length of the new lists; by default all positions.")
    ] = None,
    interval: IntervalOption = "normal",
    width: WidthOption = None,
    confidence: ConfidenceOption = 0.95,
    anyway: AnywayOption = False,
    format: FormatOption = Format.table,
) -> None:
    """Estimate the clicks that another order would get, from clicks on the one that was shown.

    \b
    Example:
      lambdamart-kit policy clicks log.csv --scores new_score
    """
    from lambdamart_kit.explore.evaluation import evaluate_ranking

    table = read_table(log)
    places = whole_numbers(table, position, "--position")
    clicked = numbers(table, click, "--click")
    theta = _propensities(propensities, table, docid, clicked, places)
    found = evaluate_ranking(
        numbers(table, scores, "--scores"),
        clicked,
        places,
        theta,
        ids(table, qid, "--qid"),
        against=None if against is None else numbers(table, against, "--against"),
        measure=measure,
        k=k,
        interval=interval,
        width=width,
        confidence=confidence,
        check_overlap=not anyway,
    )
    n_lists = len(np.unique(column(table, qid, "--qid")))
    print_estimates({measure: found}, float(clicked.sum() / n_lists), n_lists, format)


def print_estimates(found: dict[str, Estimate], logged: float, n: int, format: Format) -> None:
    """Print one row an estimator; `logged` is what the log itself earned."""
    records = [
        {
            "estimator": name,
            "value": one.value,
            "low": one.low,
            "high": one.high,
            "logged": logged,
            "rows": n,
            "effective_rows": one.overlap.effective_sample_size,
            "largest_share": one.overlap.largest_share,
            "mean_weight": one.overlap.mean_weight,
        }
        for name, one in found.items()
    ]
    records = [
        {key: None if isinstance(v, float) and np.isnan(v) else v for key, v in record.items()}
        for record in records
    ]
    print_records(_table(records), records, format)


def _table(records: list[Settings]) -> Table:
    from lambdamart_kit.bench.render import Table

    header = ["estimator", "value", "interval", "log earned", "rows", "effective rows", "largest weight"]
    lines = [
        [
            r["estimator"],
            f"{r['value']:.4f}",
            f"[{r['low']:.4f}, {r['high']:.4f}]",
            f"{r['logged']:.4f}",
            f"{r['rows']:,}",
            f"{r['effective_rows']:,.0f}",
            f"{r['largest_share']:.1%}",
        ]
        for r in records
    ]
    return Table("Off-policy estimates", tuple(header), tuple(map(tuple, lines)), {})


def _evaluate_rows(
    names: list[str],
    wanted: FloatArray,
    logged: FloatArray,
    rewards: FloatArray,
    models: Settings,
    limit: float | None,
    common: Settings,
) -> dict[str, Estimate]:
    """One estimate a name; a model or a limit goes to those that use it, and must be used by one."""
    from lambdamart_kit.explore.evaluation import evaluate_rows
    from lambdamart_kit.explore.evaluation.estimators import NEED_LIMIT, NEED_MODEL

    for given, users, option in (
        (models["expected"] is not None or models["expected_under"] is not None, NEED_MODEL, "--expected"),
        (limit is not None, NEED_LIMIT, "--limit"),
    ):
        if given and not set(names) & set(users):
            raise ValueError(f"{option} is used by none of {', '.join(names)}; those that use it: {users}")
    return {
        name: evaluate_rows(
            wanted,
            logged,
            rewards,
            estimator=name,
            **(models if name in NEED_MODEL else {}),
            limit=limit if name in NEED_LIMIT else None,
            **common,
        )
        for name in names
    }


def _check_policy_options(
    scores: str | None, beta: float | None, saved: str | None, features: str | None, slate: str | None
) -> None:
    """Raise if the options name no policy, or two."""
    if beta is not None and scores is None:
        raise ValueError("--beta makes a policy of --scores; without that, --target says the probability")
    if (saved is None) != (features is None):
        raise ValueError("--policy and --features belong together: the policy, and the columns that it sees")
    if saved is not None and scores is not None:
        raise ValueError("--policy and --scores are two policies; give one of them")
    if slate is not None and (scores or saved):
        raise ValueError(
            "--scores and --policy are for a log of single actions; leave --slate out, or give --target"
        )


def _names(text: str | None, default: str) -> list[str]:
    """Names of estimators, with commas between them."""
    if text is None:
        return [default]
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise ValueError(f"--estimator must name an estimator, such as {default}; got {text!r}")
    return names


def _refuse_unused(
    scores: str | None, saved: str | None, slate: str | None, named: dict[str, str], position: str
) -> None:
    """Refuse options that name a column which nothing would read."""
    ranks = scores is not None or saved is not None
    unused = ["--target"] if ranks else ["--qid", "--shown"]
    given = [option for option in unused if named[option] != option.removeprefix("--")]
    if slate is None and position != "position":
        raise ValueError("--position is used with --slate only; leave it out, or name the column of slates")
    if given:
        rule = "is not used with --scores or --policy" if ranks else "is used with --scores or --policy only"
        raise ValueError(f"{given[0]} {rule}; leave it out")


def _by_slate(slates: Array, positions: Array) -> tuple[Array, tuple[int, int]]:
    """Rows by slate and position, and how many slates and positions there are."""
    code = np.unique(slates, return_inverse=True)[1]
    order = np.lexsort((positions, code))
    k = int(positions.max())
    n = int(code.max()) + 1
    if len(order) != n * k or not (positions[order].reshape(n, k) == np.arange(1, k + 1)).all():
        raise ValueError(
            f"--position must count from 1 to the same length in every slate, here {k}, each position once"
        )
    return order, (n, k)


def _propensities(
    text: str, table: pd.DataFrame, docid: str, clicked: FloatArray, positions: Array
) -> FloatArray:
    """Propensities as given, or harvested from the log."""
    if text != "harvest":
        try:
            return np.array([float(number) for number in text.split(",")])
        except ValueError:
            raise typer.BadParameter(
                f"must be numbers with commas between them, or harvest; got {text!r}",
                param_hint="--propensities",
            ) from None
    from lambdamart_kit.clicks.harvesting import harvested_propensities

    document = np.unique(ids(table, docid, "--docid").astype(str), return_inverse=True)[1]
    seen = positions > 0
    theta, known = harvested_propensities(
        clicked[seen], positions[seen], document[seen], int(positions.max())
    )
    if not known.all():
        raise ValueError(
            f"--propensities harvest: no document of --docid {docid} moved between position 1 and position "
            f"{int(np.flatnonzero(~known)[0]) + 1}, so their propensities cannot be compared; give numbers"
        )
    say("propensities: " + ", ".join(f"{value:.3f}" for value in theta))
    return np.asarray(theta, dtype=np.float64)
