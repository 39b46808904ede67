"""Reports as HTML: numbers against the metrics, markup that stays text, and sizes."""

from __future__ import annotations

import base64
import gzip
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from typer.testing import CliRunner

from lambdamart_kit import AutoRanker, LambdaMART, LinearRanker
from lambdamart_kit.bench import compare
from lambdamart_kit.bench.reporting import comparison_page
from lambdamart_kit.cli.app import app
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.datasets import RankingDataset, make_letor
from lambdamart_kit.metrics import NDCG, ndcg
from lambdamart_kit.report import Page, RankedRows, Section, ranking_page
from lambdamart_kit.report.charts import Line, difference_chart, line_chart
from lambdamart_kit.report.explorer import IDEAL, Contributions, explorer
from lambdamart_kit.report.health import drift, health_sentences
from lambdamart_kit.report.ranked_rows import competition_ranks
from lambdamart_kit.report.scale import Scale, written
from lambdamart_kit.report.slices import column_slices, measure_slices, standard_slices, thirds

HOSTILE = "<script>alert('x')</script>[red]\x1b[31m&amp;"


@pytest.fixture(scope="module")
def data():
    return make_letor(n_queries=40, random_state=3)


@pytest.fixture(scope="module")
def rows(data):
    return RankedRows(data, {"a": data.X[:, 0].astype(float), "b": data.X[:, 1].astype(float)})


def unpacked(page: Page) -> dict:
    return json.loads(gzip.decompress(base64.b64decode(page.data["queries-data"])))


def test_the_explorer_holds_the_metric_of_every_query(rows):
    content = unpacked(ranking_page(rows, metric="ndcg@5"))
    for number, model in enumerate(rows.models):
        expected = ndcg(rows.data.y, rows.scores[model], rows.data.qid, k=5, per_query=True)
        shown = [np.nan if v is None else v for v in content["queries"]["values"][number]]
        np.testing.assert_allclose(shown, expected, atol=5e-5)
    assert content["queries"]["id"] == [str(q) for q in np.unique(rows.data.qid)]
    assert content["metric"] == "ndcg@5"


def test_the_explorer_holds_every_document_of_a_query_with_its_rank(rows):
    content = unpacked(ranking_page(rows))
    start = 0
    for name, size in zip(content["queries"]["id"], content["queries"]["size"]):
        of_query = np.flatnonzero(rows.data.qid.astype(str) == name)
        assert size == len(of_query)
        part = slice(start, start + size)
        scores = rows.scores["a"][of_query]
        expected = [1 + int((scores > score).sum()) for score in scores]
        assert content["documents"]["ranks"][0][part] == expected
        assert content["documents"]["label"][part] == rows.data.y[of_query].tolist()
        start += size


def test_competition_ranks_against_a_count_of_greater_values():
    rng = np.random.default_rng(0)
    qid = rng.integers(0, 7, 200)
    values = rng.integers(0, 5, 200).astype(float)
    expected = [1 + int(((qid == q) & (values > v)).sum()) for q, v in zip(qid, values)]
    assert competition_ranks(values, Queries.from_qid(qid, 200)).tolist() == expected


def test_one_model_is_compared_with_the_order_of_the_labels(data):
    page = ranking_page(RankedRows(data, {"only": data.X[:, 0]}))
    content = unpacked(page)
    assert content["baseline"] == IDEAL
    labels = np.array(content["documents"]["label"])
    first = labels[: content["queries"]["size"][0]]
    best = np.array(content["documents"]["ideal"][: len(first)])
    assert (first[best == 1] == first.max()).all()


def test_large_sets_keep_the_queries_that_changed_most(rows, monkeypatch):
    monkeypatch.setattr("lambdamart_kit.report.explorer._MOST_ROWS", 400)
    shown = explorer(rows, NDCG(k=10), rows.per_query(NDCG(k=10)), "b")
    content = json.loads(gzip.decompress(base64.b64decode(shown.data)))
    assert sum(content["queries"]["size"]) <= 400
    assert "are left out" in shown.note
    values = rows.per_query(NDCG(k=10))
    change = np.nan_to_num(np.abs(values["a"] - values["b"]))
    kept = np.isin([str(q) for q in rows.queries.ids], content["queries"]["id"])
    assert change[kept].min() >= change[~kept].max() - 1e-12


def test_contributions_are_those_of_the_first_documents(rows):
    parts = np.random.default_rng(1).normal(size=(len(rows.data), 6))
    held = Contributions("a", parts, [f"f{j}" for j in range(6)])
    values = rows.per_query(NDCG(k=10))
    shown = explorer(rows, NDCG(k=10), values, "b", contributions=held)
    content = json.loads(gzip.decompress(base64.b64decode(shown.data)))
    taken = rows.queries.rows(np.arange(rows.queries.n_queries))
    for document, features, strengths in zip(*[content["why"][n] for n in ("document", "feature", "value")]):
        row = parts[taken[document]]
        assert features == np.argsort(-np.abs(row), kind="stable")[:4].tolist()
        np.testing.assert_allclose(strengths, row[features], rtol=6e-3)
        assert content["documents"]["ranks"][0][document] <= 10


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []
        self.ids = []
        self.open = []

    def handle_starttag(self, tag, attributes):
        self.found.append(tag)
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in {"meta", "link", "br", "img", "input"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_hostile_names_stay_text(data):
    named = RankingDataset(
        data.X[:, :2],
        data.y,
        np.array([f"{HOSTILE}{q}" for q in data.qid]),
        np.array([HOSTILE] * len(data)),
        (HOSTILE, "f"),
    )
    rows = RankedRows(named, {HOSTILE: data.X[:, 0], "b": data.X[:, 1]})
    page = ranking_page(rows, title=HOSTILE, lead=[HOSTILE], slices=column_slices(rows, HOSTILE, named.docid))
    html = page.to_html()
    assert "<script>alert" not in html
    assert "alert(&#39;x&#39;)" in html
    tags = Tags()
    tags.feed(html)
    assert tags.found.count("script") == 2  # the data and the explorer
    assert not tags.open


def test_a_page_is_well_formed_small_and_always_the_same(rows):
    html = ranking_page(rows, train=rows.data).to_html()
    tags = Tags()
    tags.feed(html)
    assert not tags.open
    assert len(tags.ids) == len(set(tags.ids))
    assert html == ranking_page(rows, train=rows.data).to_html()
    assert not re.search(r'(src|href)="(?!#)', html)
    assert "http://" not in html.replace("http://www.w3.org", "")
    assert tags.found.count("h1") == 1


def test_a_thousand_queries_of_fifty_documents_stay_under_three_megabytes():
    rng = np.random.default_rng(0)
    qid = np.repeat(np.arange(1000), 50)
    y = rng.integers(0, 5, 50_000).astype(np.float32)
    data = RankingDataset(rng.normal(size=(50_000, 1)).astype(np.float32), y, qid)
    rows = RankedRows(data, {"a": rng.normal(size=50_000), "b": rng.normal(size=50_000)})
    assert len(ranking_page(rows).to_html()) < 3_000_000


def test_data_without_a_relevant_document_or_scores_is_refused(data):
    blank = RankingDataset(data.X, np.zeros_like(data.y), data.qid)
    with pytest.raises(ValueError, match="no query has a relevant document"):
        ranking_page(RankedRows(blank, {"a": data.X[:, 0]}))
    with pytest.raises(ValueError, match="at least one model"):
        RankedRows(data, {})
    with pytest.raises(ValueError, match="one number a row: 'a'"):
        RankedRows(data, {"a": np.zeros(3)})
    with pytest.raises(ValueError, match="'baseline' must be one of a"):
        ranking_page(RankedRows(data, {"a": data.X[:, 0]}), baseline="z")


def test_slices_divide_the_queries_and_measure_them(rows):
    values = rows.per_query(NDCG(k=10))
    parts = [part for part in standard_slices(rows) if part.by == "documents in the query"]
    assert sum(part.chosen.astype(int) for part in parts).tolist() == [1] * rows.queries.n_queries
    for result in measure_slices(parts, values["a"], values["b"]):
        (part,) = [p for p in parts if p.name == result.name]
        counted = part.chosen & ~np.isnan(values["a"])
        assert result.n_queries == counted.sum()
        assert result.mean == pytest.approx(values["a"][counted].mean())
        assert result.difference == pytest.approx((values["a"] - values["b"])[counted].mean())
        assert result.low <= result.mean <= result.high


def test_thirds_of_repeated_numbers_have_fewer_parts():
    assert [part.name for part in thirds("x", np.ones(9))] == ["1"]
    assert [int(part.chosen.sum()) for part in thirds("x", np.arange(9.0))] == [3, 3, 3]
    assert thirds("x", np.full(3, np.nan)) == []


def test_health_names_blank_queries_ties_overlap_and_drift(data):
    y = data.y.copy()
    y[data.qid == data.qid[0]] = 0
    test = RankingDataset(data.X, y, data.qid)
    found = " ".join(health_sentences(RankedRows(test, {"flat": np.zeros(len(y))}), data))
    assert "have no relevant document" in found
    assert f"{len(y):,} of {len(y):,} documents share their score by flat" in found
    assert "are training rows" in found
    moved = RankingDataset(data.X + np.eye(1, data.X.shape[1], 4) * 1e6, y, data.qid)
    assert drift(moved.__class__(moved.X.astype(np.float32), y, data.qid), data)[0] == ("feature 5", 1.0)
    assert drift(data, data) == []


def test_charts_say_what_they_show(rows):
    chart = line_chart("c", "Title <b>", [1, 2], [Line("m", np.array([0.25, 0.5]))], x_label="k", y_label="v")
    assert 'role="img"' in chart
    assert "Title &lt;b&gt;" in chart
    assert "m ends at 0.5000" in chart
    assert chart.count("<td") == 2  # the numbers as a table
    chart = difference_chart("d", "t", [0.1, -0.2, 0.0, np.nan], x_label="x", y_label="y")
    assert "1 queries better, 1 alike, 1 worse" in chart


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (-3.0, 7.0), (0.695, 0.7123), (1e-9, 2e-9), (0.0, 1e6)]
)
def test_marks_are_few_round_and_inside(low, high):
    scale = Scale(low, high, 0, 100)
    marks = scale.marks()
    assert 1 <= len(marks) <= 6
    assert (marks >= low - 1e-9 * (high - low)).all()
    assert (marks <= high + 1e-9 * (high - low)).all()
    assert len(set(written(marks))) == len(marks)


def test_a_ranker_writes_its_own_report(data, tmp_path):
    ranker = LambdaMART(n_estimators=5, random_state=0).fit(data.X, data.y, qid=data.qid)
    linear = LinearRanker(random_state=0).fit(data.X, data.y, qid=data.qid)
    path = tmp_path / "r.html"
    ranker.report(
        path, data.X, data.y, qid=data.qid, baselines={"linear": linear.predict(data.X)}, train=data
    )
    html = path.read_text()
    assert f"{ranker.score(data.X, data.y, qid=data.qid):.4f}" in html
    assert f"{linear.score(data.X, data.y, qid=data.qid):.4f}" in html
    assert "n_estimators" in html


def test_report_of_files_and_of_a_benchmark_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = make_letor(n_queries=30, random_state=0)
    frame = RankingDataset(data.X[:, :5], data.y, data.qid, None, tuple("abcde")).to_frame()
    frame["market"] = np.where(data.qid % 2 == 0, "north", "south")
    frame.to_csv("test.csv", index=False)
    run = CliRunner().invoke
    trained = run(app, ["train", "test.csv", "--ignore", "market", "-o", "m.lmk", "-p", "n_estimators=5"])
    assert trained.exit_code == 0, trained.output
    arguments = ["report", "m.lmk", "test.csv", "--ignore", "market", "--slice", "market", "--slice", "a"]
    made = run(app, [*arguments, "--train", "test.csv", "-o", "r.html"])
    assert made.exit_code == 0, made.output
    html = (tmp_path / "r.html").read_text()
    assert ">north<" in html
    assert "are training rows" in html
    assert run(app, [*arguments, "-o", "test.csv"]).exit_code == 1
    missing = run(app, ["report", "m.lmk", "test.csv", "--ignore", "market", "--slice", "nowhere"])
    assert missing.exit_code == 1
    assert "nowhere" in missing.output


def test_a_page_of_a_comparison_holds_its_numbers(tmp_path):
    data = make_letor(n_queries=40, random_state=0)
    path = tmp_path / "rows.csv"
    RankingDataset(data.X[:, :5], data.y, data.qid, None, tuple("abcde")).to_frame().to_csv(path, index=False)
    asked = {"models": "linear,pointwise", "folds": "2", "quick": True, "n_jobs": 1}
    out = tmp_path / "runs.jsonl"
    compare(path, out=out, **asked)
    comparison = compare(path, out=out, keep_scores=True, **asked)
    page = comparison_page(comparison)
    content = unpacked(page)
    for number, model in enumerate(content["models"]):
        (quality,) = [q for q in comparison.report.quality if q.model == model]
        values = [v for v in content["queries"]["values"][number] if v is not None]
        assert np.mean(values) == pytest.approx(quality.mean, abs=1e-4)
        assert f"{quality.mean:.4f}" in page.to_html()
    with pytest.raises(ValueError, match="kept without scores"):
        comparison_page(compare(path, **asked))


def test_a_section_may_hold_anything(tmp_path):
    Page("t", [], [Section("a", "A & B", [])]).write(tmp_path / "p.html")
    assert "A &amp; B" in (tmp_path / "p.html").read_text()


def test_an_audit_page_shows_findings_with_hostile_texts_as_text(tmp_path):
    records = [
        {"prompt": HOSTILE, "chosen": "same", "rejected": "same"},
        {"prompt": "p", "chosen": HOSTILE, "rejected": "short"},
        {"prompt": "p", "chosen": "short", "rejected": HOSTILE},
    ]
    source = tmp_path / "prefs.jsonl"
    source.write_text("".join(json.dumps(record) + "\n" for record in records))
    path = tmp_path / "audit.html"
    result = CliRunner().invoke(app, ["pairs", "audit", str(source), "--html", str(path)])
    assert result.exit_code == 0, result.output
    html = path.read_text()
    assert "<script" not in html
    assert "alert(&#39;x&#39;)" in html
    assert "chosen equals rejected (1)" in html
    assert "contradiction (2)" in html
    assert "1 pairs with a longer chosen response, 1 as long, 1 shorter" in html
    tags = Tags()
    tags.feed(html)
    assert not tags.open


def test_an_audit_page_draws_the_intervals_of_judges(tmp_path):
    rng = np.random.default_rng(0)
    rows = ["judge,model_a,model_b,winner"]
    for _ in range(400):
        first, second = rng.choice(["x", "y", "z"], 2, replace=False)
        rows.append(f"j{rng.integers(3)},{first},{second},{rng.choice(['model_a', 'model_a', 'model_b'])}")
    source = tmp_path / "votes.csv"
    source.write_text("\n".join(rows) + "\n")
    path = tmp_path / "audit.html"
    result = CliRunner().invoke(app, ["pairs", "audit", str(source), "--html", str(path)])
    assert result.exit_code == 0, result.output
    html = path.read_text()
    assert "Position: log-odds of the response shown first" in html
    assert html.count('class="strip') >= 4


def test_blends_write_reports_too(data, tmp_path):
    auto = AutoRanker(budget="fits=2", cv=2, random_state=0, n_jobs=1).fit(data.X, data.y, qid=data.qid)
    auto.report(tmp_path / "auto.html", data.X, data.y, qid=data.qid)
    html = (tmp_path / "auto.html").read_text()
    assert f"{auto.score(data.X, data.y, qid=data.qid):.4f}" in html
    assert "AutoRanker" in html
