"""The page of rankings: one model, or several side by side, on the same test queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from markupsafe import Markup

from lambdamart_kit.core.typing import FloatArray
from lambdamart_kit.datasets import RankingDataset
from lambdamart_kit.metrics import Metric, parse_metric
from lambdamart_kit.metrics.significance import bootstrap_interval, sign_flip_test
from lambdamart_kit.report.charts import Line, bar, difference_chart, interval_strip, line_chart
from lambdamart_kit.report.explorer import IDEAL, Contributions, explorer
from lambdamart_kit.report.health import drift, health_sentences
from lambdamart_kit.report.page import Page, Section, card, cards, paragraph, sentences, side_by_side
from lambdamart_kit.report.ranked_rows import RankedRows
from lambdamart_kit.report.scale import Scale, written
from lambdamart_kit.report.slices import Slice, SliceResult, measure_slices, standard_slices
from lambdamart_kit.report.tables import Cell, html_table, text

_CUTS = (1, 2, 3, 5, 10, 15, 20, 30, 50)
_CALIBRATION_PARTS = 10
_STRIP = Scale(0.0, 1.0, 6.0, 114.0)  # the pixels of an interval inside a table


@dataclass(frozen=True, eq=False)
class FeatureEffect:
    """How a feature moves a document's score within its query, all other features as they are.

    Attributes
    ----------
    feature : str
        Name of the feature.
    grid : (n_points,) float64
        Values of the feature.
    effect, standard_errors : (n_points,) float64
        Change of the score against the mean document, and its standard error over queries.
    """

    feature: str
    grid: FloatArray
    effect: FloatArray
    standard_errors: FloatArray


@dataclass(frozen=True, eq=False)
class ModelFacts:
    """What is known of a model beside its scores; every part may be missing.

    Attributes
    ----------
    parameters : dict of str to str
        Settings that differ from the defaults.
    importance : list of (name, value)
        Features by falling importance.
    importance_of : str
        What the importance is.
    learning_curves : list of Line
        The metric on validation queries by round, with the spread over folds.
    contributions : Contributions, optional
        For the explorer.
    effects : list of FeatureEffect
        How the most important features move scores within queries.
    """

    parameters: Mapping[str, str] = field(default_factory=dict)
    importance: Sequence[tuple[str, float]] = ()
    importance_of: str = ""
    learning_curves: Sequence[Line] = ()
    contributions: Contributions | None = None
    effects: Sequence[FeatureEffect] = ()


def ranking_page(
    rows: RankedRows,
    *,
    metric: str | Metric = "ndcg@10",
    baseline: str | None = None,
    title: str = "Ranking report",
    lead: Sequence[str] = (),
    facts: ModelFacts | None = None,
    train: RankingDataset | None = None,
    slices: Sequence[Slice] = (),
    headline: Section | None = None,
    seed: int = 0,
) -> Page:
    """A page about the rankings of one or several models on the same queries.

    Parameters
    ----------
    rows : RankedRows
        Test rows with the scores of the models; the first one is what the page is about.
    metric : str or Metric
        Measures each query.
    baseline : str, optional
        Model that the others are compared with; by default the second one, if there is one.
    title : str
        Heading of the page.
    lead : list of str
        Sentences below the heading.
    facts : ModelFacts, optional
        Parameters, importance, learning curves and contributions.
    train : RankingDataset, optional
        Rows the model was trained on: overlap and drift are looked for.
    slices : list of Slice
        Parts of the queries beside those by length and labels.
    headline : Section, optional
        Stands in place of the means that the page would begin with.
    seed : int
        Of resampling.

    Returns
    -------
    Page
        To be written to a file.

    Raises
    ------
    ValueError
        If `baseline` is none of the models, or no query has a relevant document.

    Examples
    --------
    >>> from lambdamart_kit.datasets import make_letor
    >>> data = make_letor(n_queries=20, random_state=0)
    >>> page = ranking_page(RankedRows(data, {"first feature": data.X[:, 0], "second": data.X[:, 1]}))
    >>> [section.title for section in page.sections][:3]
    ['Headline', 'Cut-offs, gains and losses', 'Queries']
    """
    measured = parse_metric(metric) if isinstance(metric, str) else metric
    facts = ModelFacts() if facts is None else facts
    compared = _baseline(rows, baseline)
    values = rows.per_query(measured)
    if not np.isfinite(values[rows.models[0]]).any():
        raise ValueError(f"{measured} is undefined: no query has a relevant document")
    shown = explorer(rows, measured, values, compared, contributions=facts.contributions)
    sections = [
        headline or _headline(rows, measured, values, compared, seed),
        _curves(rows, measured, values, compared),
        _queries_section(shown.markup, shown.note),
        _slices_section(rows, measured, values, compared, slices),
        _scores_section(rows, facts, measured),
        _importance(facts),
        _health(rows, train),
        _parameters(facts),
    ]
    counted = [section for section in sections if section is not None]
    return Page(title, lead, counted, {"queries-data": shown.data})


def _baseline(rows: RankedRows, baseline: str | None) -> str:
    if baseline is None:
        return rows.models[1] if len(rows.models) > 1 else IDEAL
    if baseline not in rows.models:
        raise ValueError(f"'baseline' must be one of {', '.join(rows.models)}; got {baseline!r}")
    return baseline


def _headline(
    rows: RankedRows, metric: Metric, values: Mapping[str, FloatArray], baseline: str, seed: int
) -> Section:
    counted = np.isfinite(values[rows.models[0]])
    table = np.column_stack([values[model][counted] for model in rows.models])
    low, high = bootstrap_interval(table, random_state=seed)
    means = table.mean(axis=0)
    lines = []
    scale = replace(Scale.over([*low, *high], 0, 1), start=_STRIP.start, stop=_STRIP.stop)
    for j, model in enumerate(rows.models):
        strip = interval_strip(means[j], low[j], high[j], scale)
        lines.append([text(model), Cell(f"{means[j]:.4f}"), Cell(_range(low[j], high[j]), strip)])
    blank = len(counted) - int(counted.sum())
    note = f"Mean over {int(counted.sum()):,} queries"
    note += f"; {blank:,} without a relevant document are left out. " if blank else ". "
    note += "Intervals are 95 % bootstrap intervals over queries."
    parts = [_mean_card(rows.models[0], metric, means[0], low[0], high[0])] if len(rows.models) < 3 else []
    if len(rows.models) == 2:
        parts += _difference_cards(rows, table, baseline, seed)
    content = [cards(*parts)]
    if len(rows.models) > 1:
        content.append(html_table(str(metric), ["model", "mean", "95 % interval"], lines))
    return Section("headline", "Headline", [*content, paragraph(note, kind="muted")])


def _mean_card(model: str, metric: Metric, mean: float, low: float, high: float) -> Markup:
    return card(f"{metric} of {model}", f"{mean:.4f}", f"95 % interval {_range(low, high)}")


def _difference_cards(rows: RankedRows, table: FloatArray, baseline: str, seed: int) -> list[Markup]:
    """The first model against the baseline, as a difference with its interval and test, and as counts."""
    names = list(rows.models)
    model = next(name for name in names if name != baseline) if len(names) > 1 else names[0]
    differences = table[:, names.index(model)] - table[:, names.index(baseline)]
    low, high = bootstrap_interval(differences, random_state=seed)
    pvalue = float(sign_flip_test(differences, random_state=seed).pvalue[0])
    better = int((differences > 0).sum())
    worse = int((differences < 0).sum())
    alike = len(differences) - better - worse
    said = "p < .0001" if pvalue < 1e-4 else f"p = {pvalue:.4f}"
    limits = _range(low[0], high[0], signed=True)
    return [
        card(
            f"{model} against {baseline}",
            _signed(float(differences.mean())),
            f"95 % interval {limits}; {said}",
        ),
        card(
            "Queries better, alike, worse",
            f"{better:,} / {alike:,} / {worse:,}",
            f"of {len(differences):,} that count",
        ),
    ]


def _curves(rows: RankedRows, metric: Metric, values: Mapping[str, FloatArray], baseline: str) -> Section:
    figures = [_cut_chart(rows, metric)] if rows.queries.sizes.max() > 1 else []
    if baseline in rows.models:
        figures += [
            difference_chart(
                f"gains-{number}",
                f"{model} against {baseline}",
                values[model] - values[baseline],
                x_label="queries, largest gain first",
                y_label=f"difference in {metric}",
            )
            for number, model in enumerate(rows.models)
            if model != baseline
        ]
    return Section("curves", "Cut-offs, gains and losses", [side_by_side(*figures)])


def _cut_chart(rows: RankedRows, metric: Metric) -> Markup:
    longest = int(rows.queries.sizes.max())
    cuts = sorted({k for k in _CUTS if k <= longest} | {min(longest, _CUTS[-1])})
    means: dict[str, list[tuple[float, float, float]]] = {model: [] for model in rows.models}
    for k in cuts:
        for model, held in rows.per_query(replace(metric, k=k)).items():
            known = held[np.isfinite(held)]
            low, high = bootstrap_interval(known, n_resamples=1_000)
            means[model].append((float(known.mean()), float(low[0]), float(high[0])))
    name = metric.name
    return line_chart(
        "cuts",
        f"{name} of the first k documents",
        cuts,
        [Line(model, *np.array(held).T) for model, held in means.items()],
        x_label="k",
        y_label=f"{name} at k",
        note="Bands are 95 % bootstrap intervals over queries, each model by itself. Models are compared "
        "on the same queries, so bands that overlap do not mean that the models are alike.",
        dots=True,
    )


def _queries_section(markup: Markup, note: str) -> Section:
    said = "Open a query to see its documents in both orders. Blank queries have no relevant document."
    return Section("queries", "Queries", [paragraph(f"{said} {note}".strip(), kind="muted"), markup])


def _slices_section(
    rows: RankedRows,
    metric: Metric,
    values: Mapping[str, FloatArray],
    baseline: str,
    more: Sequence[Slice],
) -> Section:
    model = next(name for name in rows.models if name != baseline)
    against = values.get(baseline)
    results = measure_slices([*standard_slices(rows), *more], values[model], against)
    headings = ["slice", "queries", str(metric), "95 % interval"]
    if against is not None:
        headings += [f"against {baseline}", "95 % interval"]
    parts: list[Markup] = []
    for by in dict.fromkeys(result.by for result in results):
        held = [result for result in results if result.by == by]
        parts.append(html_table(by[0].upper() + by[1:], headings, _slice_rows(held, against is not None)))
    said = "With many slices, some differ by chance alone: read a slice as a question, not as an answer."
    return Section("slices", "Slices", [*parts, paragraph(said, kind="muted")])


def _slice_rows(results: Sequence[SliceResult], compared: bool) -> list[list[Cell]]:
    limits = [limit for r in results for limit in (r.low, r.high)]
    scale = replace(Scale.over(limits, 0, 1), start=_STRIP.start, stop=_STRIP.stop)
    apart = [limit for r in results for limit in (r.difference_low, r.difference_high) if limit is not None]
    around = replace(Scale.over(apart, 0, 1, around=0.0), start=_STRIP.start, stop=_STRIP.stop)
    rows = []
    for r in results:
        strip = interval_strip(r.mean, r.low, r.high, scale)
        row = [
            text(r.name),
            Cell(f"{r.n_queries:,}"),
            Cell(f"{r.mean:.4f}"),
            Cell(_range(r.low, r.high), strip),
        ]
        if (
            compared
            and r.difference is not None
            and r.difference_low is not None
            and r.difference_high is not None
        ):
            strip = interval_strip(r.difference, r.difference_low, r.difference_high, around, zero=True)
            limits_text = _range(r.difference_low, r.difference_high, signed=True)
            row += [Cell(_signed(r.difference)), Cell(limits_text, strip)]
        rows.append(row)
    return rows


def _scores_section(rows: RankedRows, facts: ModelFacts, metric: Metric) -> Section:
    charts = [_calibration_chart(rows)]
    if facts.learning_curves:
        charts.append(_learning_chart(facts.learning_curves, metric))
    return Section("scores", "Scores and learning", [side_by_side(*charts)])


def _calibration_chart(rows: RankedRows) -> Markup:
    """The mean label of documents by their score: a ranker promises an order, not a scale."""
    labels = np.asarray(rows.data.y, dtype=np.float64)
    parts = np.arange(1, _CALIBRATION_PARTS + 1)
    lines = []
    for model in rows.models:
        order = np.argsort(np.asarray(rows.scores[model]), kind="stable")
        means = [
            float(part.mean()) for part in np.array_split(labels[order], _CALIBRATION_PARTS) if len(part)
        ]
        lines.append(Line(model, np.array(means + [np.nan] * (_CALIBRATION_PARTS - len(means)))))
    return line_chart(
        "calibration",
        "Mean label by tenth of the scores, all queries together",
        parts,
        lines,
        x_label="tenth of the documents, lowest scores first",
        y_label="mean label",
        note="A line that rises all the way means that scores can be compared across queries, for example "
        "for a threshold. Rankers are trained on orders within queries and do not promise it.",
        dots=True,
    )


def _learning_chart(curves: Sequence[Line], metric: Metric) -> Markup:
    rounds = np.arange(1, max(len(line.y) for line in curves) + 1)
    return line_chart(
        "learning",
        "Validation queries while training",
        rounds,
        [_as_long(line, len(rounds)) for line in curves],
        x_label="rounds: trees, or passes over the data",
        y_label=str(metric),
        note="Bands span the folds." if any(line.low is not None for line in curves) else "",
    )


def _as_long(line: Line, n: int) -> Line:
    def filled(values: FloatArray | None) -> FloatArray | None:
        return None if values is None else np.append(values, np.full(n - len(values), np.nan))

    heights = np.append(line.y, np.full(n - len(line.y), np.nan))
    return Line(line.name, heights, filled(line.low), filled(line.high))


def _importance(facts: ModelFacts) -> Section | None:
    if not facts.importance:
        return None
    first = facts.importance[:25]
    largest = max(abs(value) for _, value in first)
    rows = [[text(name), Cell(f"{value:.4f}", bar(value, largest))] for name, value in first]
    table = html_table(f"{len(first):,} features by importance", ["feature", facts.importance_of], rows)
    charts = [_effect_chart(number, effect) for number, effect in enumerate(facts.effects)]
    return Section("importance", "Features", [table, side_by_side(*charts)] if charts else [table])


def _effect_chart(number: int, held: FeatureEffect) -> Markup:
    half = 2.0 * held.standard_errors
    return line_chart(
        f"effect-{number}",
        f"Effect of {held.feature} within queries",
        held.grid,
        [Line("effect", held.effect, held.effect - half, held.effect + half)],
        x_label=held.feature,
        y_label="score against the mean document",
        note="The band is two standard errors over queries to either side." if number == 0 else "",
        dots=True,
    )


def _health(rows: RankedRows, train: RankingDataset | None) -> Section:
    found = health_sentences(rows, train)
    parts = [sentences(found) if found else paragraph("Nothing to note.")]
    moved = drift(rows.data, train) if train is not None else []
    if moved:
        lines = [[text(name), Cell(f"{distance:.2f}", bar(distance, 1.0))] for name, distance in moved[:25]]
        parts.append(
            html_table(
                "Features that are distributed differently in training and test rows",
                ["feature", "Kolmogorov-Smirnov distance"],
                lines,
            )
        )
    return Section("data", "Data", parts)


def _parameters(facts: ModelFacts) -> Section | None:
    if not facts.parameters:
        return None
    rows = [[text(name), text(value)] for name, value in facts.parameters.items()]
    return Section("settings", "Settings", [html_table("Settings of the model", ["setting", "value"], rows)])


def _range(low: float, high: float, *, signed: bool = False) -> str:
    if signed:
        return f"{_signed(low)} to {_signed(high)}"
    return f"{low:.4f} to {high:.4f}"


def _signed(value: float) -> str:
    return written([value])[0] if abs(value) >= 1e4 else f"{value:+.4f}".replace("-", "\u2212")
