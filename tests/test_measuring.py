"""Files of scores and runs against labels and judgments, in the library and on the command line."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from lambdamart_kit.bench.measuring import evaluate_file, measure_file
from lambdamart_kit.bench.score_comparison import compare_scores
from lambdamart_kit.cli.app import app
from lambdamart_kit.datasets.dataset import RankingDataset
from lambdamart_kit.files.score_reading import read_scores
from lambdamart_kit.files.scoring import score_files


def run_command(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Rows as CSV, judgments, a run, scores in every format; the last of 12 queries has no relevant row."""
    place = tmp_path_factory.mktemp("measuring")
    rng = np.random.default_rng(0)
    qid = np.repeat([f"q{i:02}" for i in range(12)], 6)
    docid = np.array([f"d{i}" for i in range(72)])
    label = rng.integers(0, 4, 72)
    label[-6:] = 0
    label[::6][:-1] = 3  # every other query has a relevant row
    scores = np.round(label + rng.normal(size=72) * 1.5, 3)
    frame = pd.DataFrame({"qid": qid, "docid": docid, "label": label, "f": rng.normal(size=72)})
    frame.to_csv(place / "test.csv", index=False)
    lines = frame.itertuples()
    (place / "test.qrels").write_text("".join(f"{r.qid} 0 {r.docid} {r.label}\n" for r in lines))
    run = [f"{q} Q0 {d} 1 {s} bm25\n" for q, d, s in zip(qid, docid, scores)]
    (place / "test.run").write_text("".join(run[::-1]))
    (place / "short.run").write_text("".join(run[12:]))
    (place / "plain.scores").write_text("".join(f"{s}\n" for s in scores) + "\n\n")
    ranklib = (f"{q}\t{i % 6}\t{s}\n" for i, (q, s) in enumerate(zip(qid, scores)))
    (place / "ranklib.txt").write_text("".join(ranklib))
    (place / "catboost.tsv").write_text("RawFormulaVal\n" + "".join(f"{s}\n" for s in scores))
    (place / "worse.scores").write_text("".join(f"{s}\n" for s in rng.normal(size=72)))
    frame.assign(score=scores)[["qid", "docid", "score"]].to_parquet(place / "scores.parquet")
    return place


def rows_of(folder):
    frame = pd.read_csv(folder / "test.csv")
    X = np.zeros((len(frame), 1), np.float32)
    return RankingDataset(
        X, frame.label.to_numpy(np.float32), frame.qid.to_numpy(str), frame.docid.to_numpy(str)
    )


@pytest.mark.parametrize("name", ["test.run", "ranklib.txt", "catboost.tsv", "scores.parquet"])
def test_every_format_of_scores_is_read(folder, name):
    plain = read_scores(folder / "plain.scores")  # with blank lines at its end
    assert len(plain) == 72
    np.testing.assert_array_equal(read_scores(folder / name, rows_of(folder)), plain)


def test_scores_of_other_rows_are_refused(folder, tmp_path):
    lines = (folder / "ranklib.txt").read_text().splitlines()
    (tmp_path / "x.txt").write_text("\n".join(lines[::-1]) + "\n")
    with pytest.raises(ValueError, match="line 1: is of another query than the same row"):
        read_scores(tmp_path / "x.txt", rows_of(folder))
    with pytest.raises(
        ValueError, match=r"no line for 12 of the 72 rows, such as document 'd0' of query 'q00'"
    ):
        read_scores(folder / "short.run", rows_of(folder))


def test_rows_and_judgments_give_the_same_values(folder):
    names = "ndcg_cut_3,map_cut_5,recip_rank,P_2,bpref"
    judged = measure_file(folder / "test.qrels", folder / "test.run", metrics=names)
    rows = measure_file(folder / "test.csv", folder / "plain.scores", metrics=names)
    assert judged.qid.tolist() == rows.qid.tolist()
    np.testing.assert_allclose(judged.values, rows.values, rtol=0, atol=1e-15)
    assert judged.blank.sum(axis=0).tolist() == [1] * 5
    assert not np.isnan(judged.values).any()


def test_measures_of_both_kinds_beside_each_other(folder):
    ours, theirs = evaluate_file(
        folder / "test.csv", folder / "plain.scores", metrics="ndcg(gain=linear)@3,ndcg_cut_3"
    )
    assert (ours.metric, theirs.metric) == ("ndcg(gain=linear)@3", "ndcg_cut_3")
    # The kit leaves the blank query out, trec_eval counts it as 0.
    assert ours.mean * 11 / 12 == pytest.approx(theirs.mean)
    assert ours.mean_blank_zero == pytest.approx(theirs.mean_blank_zero)


def test_queries_that_a_run_lacks_are_told(folder):
    code, out = run_command("evaluate", folder / "test.qrels", folder / "short.run", "-f", "json")
    assert code == 0
    assert "2 judged queries are not in" in out
    assert "--complete" in out
    with pytest.warns(UserWarning, match="count as 0"):
        whole = evaluate_file(folder / "test.qrels", folder / "short.run", metrics="map", complete=True)
    assert whole[0].n_queries == 12


def test_per_query(folder):
    code, out = run_command(
        "evaluate", folder / "test.csv", folder / "plain.scores", "-k", "map,P_5", "--per-query", "-f", "json"
    )
    assert code == 0
    records = json.loads(out)
    assert [record["qid"] for record in records] == [f"q{i:02}" for i in range(12)]
    assert records[-1]["map"] is None  # blank under the kit's convention
    assert records[-1]["P_5"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("test.qrels", "plain.scores"), "must be a TREC run"),
        (("test.qrels", "test.run", "-k", "ndcg@10"), "ndcg of trec_eval has no cut-off; its form with"),
        (("test.csv", "plain.scores", "-k", "ndgc_cut_3"), "got 'ndgc_cut_3'; measures of trec_eval are map"),
        (("test.csv", "test.run", "--complete"), "--complete needs judgments"),
        (("test.csv", "test.run", "--docid", "name"), "name their column with --docid"),
    ],
)
def test_mistakes_are_one_line(folder, monkeypatch, arguments, message):
    monkeypatch.chdir(folder)
    code, out = run_command("evaluate", *arguments)
    assert code == 1
    assert message in out
    assert out.count("\n") == 1


def test_comparison_written_out(folder):
    (found,) = compare_scores(
        folder / "test.csv", [folder / "worse.scores", folder / "plain.scores"], metrics="ndcg@3"
    )
    values = [
        measure_file(folder / "test.csv", folder / name, metrics="ndcg@3").values[:11, 0]
        for name in ("worse.scores", "plain.scores")
    ]
    paired = values[1] - values[0]
    assert (found.wins, found.ties, found.losses) == (
        (paired > 0).sum(),
        (paired == 0).sum(),
        (paired < 0).sum(),
    )
    assert found.difference == pytest.approx(paired.mean())
    assert found.effect_size == pytest.approx(paired.mean() / paired.std(ddof=1))
    signs = np.array(np.meshgrid(*[[-1, 1]] * 11)).reshape(11, -1)
    reached = np.abs(paired @ signs) >= abs(paired.sum()) - 1e-9
    assert found.exact
    assert found.pvalue == found.pvalue_holm == pytest.approx(reached.mean())
    assert found.best[0][1] == pytest.approx(paired.max())
    assert found.worst[0][1] == pytest.approx(paired.min())


def test_several_files_are_corrected_for(folder):
    names = [folder / name for name in ("worse.scores", "plain.scores", "test.run")]
    found = compare_scores(folder / "test.csv", names)
    assert [f.pvalue_holm for f in found] == [pytest.approx(2 * f.pvalue) for f in found]
    code, out = run_command("compare", folder / "test.csv", *names)
    assert code == 0
    assert "Holm-corrected" in out
    assert "best queries q" in out
    assert run_command("compare", folder / "test.csv", names[0])[0] == 1
    assert "named twice" in run_command("compare", folder / "test.csv", names[0], names[0])[1]


class ByFeature:
    n_features_in_ = 1

    def predict(self, X):
        return X[:, 0].astype(np.float64)


def test_scores_are_written_as_a_run(folder, tmp_path):
    out = tmp_path / "by feature.run"
    score_files(ByFeature(), folder / "test.csv", out)
    assert out.read_text().split()[5] == "by_feature"
    frame = pd.read_csv(folder / "test.csv")
    scores = read_scores(out, rows_of(folder))
    np.testing.assert_allclose(scores, frame.f.astype(np.float32), rtol=1e-6)
    plain = tmp_path / "x.scores"
    score_files(ByFeature(), folder / "test.csv", plain)
    values = [measure_file(folder / "test.csv", p, metrics="ndcg_cut_5").values for p in (out, plain)]
    np.testing.assert_array_equal(*values)


def test_a_run_needs_ids_of_one_word(folder, tmp_path):
    frame = pd.read_csv(folder / "test.csv")
    frame.assign(qid="query " + frame.qid).to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(ValueError, match="must be one word; got 'query q00'"):
        score_files(ByFeature(), tmp_path / "x.csv", tmp_path / "x.run")
    frame[["qid", "f"]].to_csv(tmp_path / "y.csv", index=False)
    with pytest.warns(UserWarning, match="names no documents; they are called row1"):
        score_files(ByFeature(), tmp_path / "y.csv", tmp_path / "y.run")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.csv", "y.csv", "y.run"]
    assert "row72" in (tmp_path / "y.run").read_text()


def test_text_in_a_csv_is_named(folder, tmp_path):
    frame = pd.read_csv(folder / "test.csv")
    frame.assign(title="blue shoe").to_csv(tmp_path / "x.csv", index=False)
    code, out = run_command("train", tmp_path / "x.csv", "-o", tmp_path / "m.lmk")
    assert code == 1
    assert "column 'title' must hold numbers; it holds 'blue shoe'; leave it out with --ignore" in out
    frame.assign(label="good").to_csv(tmp_path / "x.csv", index=False)
    code, out = run_command("train", tmp_path / "x.csv", "-o", tmp_path / "m.lmk")
    assert code == 1
    assert "column 'label' must hold numbers; it holds 'good'; name another column with --label" in out
