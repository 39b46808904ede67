"""trec_eval's measures against pytrec_eval, and TREC's files."""

from __future__ import annotations

import gzip
import math

import numpy as np
import pytest

from lambdamart_kit.trec import (
    MEASURES,
    Qrels,
    RunFile,
    evaluate_run,
    is_qrels,
    is_run,
    is_trec_name,
    load_qrels,
    parse_measures,
    read_qrels,
    read_run,
    write_run,
)

NAMES = [
    "map",
    "map_cut_3",
    "map_cut_10",
    "P_1",
    "P_5",
    "P_30",
    "recall_5",
    "recall_30",
    "success_1",
    "success_5",
    "Rprec",
    "recip_rank",
    "ndcg",
    "ndcg_cut_3",
    "ndcg_cut_10",
    "bpref",
    "infAP",
]


def random_judgments(seed):
    """Judgments and a run: unjudged and unfound documents, grades from -2 to 4, many tied scores."""
    rng = np.random.default_rng(seed)
    judged: dict[str, dict[str, int]] = {}
    found: dict[str, dict[str, float]] = {}
    for q in range(12):
        documents = [f"d{i}" for i in rng.permutation(40)]
        grades = rng.choice([-2, -1, 0, 0, 0, 1, 2, 4], 40) if q else np.zeros(40, int)
        n_judged, n_found = rng.integers(1, 30, 2)
        judged[f"q{q}"] = {d: int(g) for d, g in zip(documents[:n_judged], grades)}
        listed = rng.permutation(documents)[:n_found]
        scores = rng.normal(size=n_found) if q % 3 else rng.integers(0, 4, n_found).astype(float)
        found[f"q{q}"] = {str(d): float(s) for d, s in zip(listed, scores)}
    return judged, found


def as_qrels(judged):
    rows = [(q, d, g) for q, held in judged.items() for d, g in held.items()]
    qid, docid, grades = zip(*rows)
    return Qrels(np.array(qid), np.array(docid), np.array(grades))


def as_run(found):
    rows = [(q, d, s) for q, held in found.items() for d, s in held.items()]
    qid, docid, scores = zip(*rows)
    return RunFile(np.array(qid), np.array(docid), np.array(scores))


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("seed", range(6))
def test_values_are_those_of_trec_eval(seed, level):
    pytrec_eval = pytest.importorskip("pytrec_eval")
    judged, found = random_judgments(seed)
    wanted = {"map", "map_cut", "P", "recall", "success", "Rprec", "recip_rank", "ndcg", "ndcg_cut", "bpref"}
    cuts = {"map_cut.3,10", "P.1,5,30", "recall.5,30", "success.1,5", "ndcg_cut.3,10"}
    plain = {name for name in wanted if name not in {cut.partition(".")[0] for cut in cuts}} | {"infAP"}
    oracle = pytrec_eval.RelevanceEvaluator(judged, plain | cuts, relevance_level=level).evaluate(found)
    ours = evaluate_run(as_qrels(judged), as_run(found), NAMES, min_relevance=level)
    assert ours.qid.tolist() == sorted(oracle)
    for row, query in zip(ours.values, ours.qid):
        for value, name in zip(row, NAMES):
            assert value == pytest.approx(oracle[query][name], abs=1e-9), (query, name)


def test_means_are_those_of_ir_measures():
    ir_measures = pytest.importorskip("ir_measures")
    judged, found = random_judgments(99)
    names = {"map": "AP", "ndcg_cut_10": "nDCG@10", "P_5": "P@5", "recip_rank": "RR", "hit@5": "Success@5"}
    oracle = ir_measures.calc_aggregate(map(ir_measures.parse_measure, names.values()), judged, found)
    means = evaluate_run(as_qrels(judged), as_run(found), list(names)).means()
    for value, name in zip(means.values(), names.values()):
        assert value == pytest.approx(oracle[ir_measures.parse_measure(name)], abs=1e-9)


def test_rank_biased_precision_written_out():
    qrels = Qrels(np.array(["q"] * 3), np.array(["a", "b", "c"]), np.array([1, 0, 2]))
    run = RunFile(np.array(["q"] * 3), np.array(["a", "b", "c"]), np.array([3.0, 2.0, 1.0]))
    assert evaluate_run(qrels, run, "rbp_0.5").values[0, 0] == 0.5 * (1 + 0.25)
    assert evaluate_run(qrels, run, "rbp").values[0, 0] == pytest.approx(0.2 * (1 + 0.8**2))


def test_queries_that_only_one_side_has():
    qrels = as_qrels({"a": {"x": 1}, "b": {"x": 1}})
    run = as_run({"a": {"x": 1.0}, "c": {"x": 1.0}})
    plain = evaluate_run(qrels, run, "map")
    assert (plain.qid.tolist(), plain.means(), plain.n_not_found, plain.n_not_judged) == (
        ["a"],
        {"map": 1},
        1,
        1,
    )
    assert evaluate_run(qrels, run, "map", complete=True).means() == {"map": 0.5}
    with pytest.raises(ValueError, match="no query in common: 'b' is judged, 'c' is in the run"):
        evaluate_run(as_qrels({"b": {"x": 1}}), as_run({"c": {"x": 1.0}}))


def test_a_written_run_has_the_order_that_trec_eval_makes_of_it(tmp_path):
    rng = np.random.default_rng(1)
    n = 400
    # Equal scores, scores that only float64 tells apart, and plain ones.
    scores = rng.choice([1.0, 1.0 + 1e-12, 1.0 + 2e-12, 2.5, -3e-30, -4e-30, 0.1], n)
    run = RunFile(rng.choice(["q10", "q2"], n), np.array([f"d{i}" for i in range(n)]), scores, "tag")
    write_run(run, tmp_path / "x.run")
    lines = [line.split() for line in (tmp_path / "x.run").read_text().splitlines()]
    assert [line[0] for line in lines] == sorted((line[0] for line in lines), key=run.qid.tolist().index)
    for query in ("q2", "q10"):
        held = [line for line in lines if line[0] == query]
        as_trec_eval_sorts = sorted(held, key=lambda f: f[2], reverse=True)
        as_trec_eval_sorts.sort(key=lambda f: np.float32(f[4]), reverse=True)
        assert [f[2] for f in held] == [f[2] for f in as_trec_eval_sorts]
        assert [int(f[3]) for f in held] == list(range(1, len(held) + 1))
        rows = {d: s for q, d, s in zip(run.qid, run.docid, run.scores) if q == query}
        ours = sorted(sorted(rows, reverse=True), key=lambda d: -rows[d])
        assert [f[2] for f in held] == ours
    again = read_run(tmp_path / "x.run")
    assert again.tag == "tag"
    assert np.allclose(sorted(again.scores), sorted(scores), rtol=1e-6)


@pytest.mark.parametrize(
    ("qid", "docid", "score", "message"),
    [
        ("query 1", "d", 1.0, "query id of a TREC run must be one word; got 'query 1'"),
        ("q", "a\tb", 1.0, "document name of a TREC run must be one word"),
        ("q", "", 1.0, "document name of a TREC run must be one word"),
        ("q", "d", 1e39, "does not fit float32"),
    ],
)
def test_what_a_run_cannot_hold(tmp_path, qid, docid, score, message):
    with pytest.raises(ValueError, match=message):
        write_run(RunFile(np.array([qid]), np.array([docid]), np.array([score])), tmp_path / "x.run")
    assert not list(tmp_path.iterdir())


def test_files_with_mistakes_are_named(tmp_path):
    path = tmp_path / "file"
    for text, read, message in (
        ("q 0 a 1\nq 0 b\n", read_qrels, "line 2: must be 'qid 0 docid relevance', 4 fields; got 3"),
        ("q 0 a high\n", read_qrels, "line 1: the relevance must be a whole number; got 'high'"),
        ("q 0 a 1\nq 0 a 0\n", read_qrels, "document 'a' is judged twice of query 'q'"),
        ("q Q0 a 1 nan t\n", read_run, "line 1: the score must be a finite number"),
        ("q Q0 a 1 1 t\n\nq Q0 a 2 1 t\n", read_run, "document 'a' stands twice in the list of query 'q'"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message) as caught:
            read(path)
        assert str(path) in str(caught.value)


def test_files_say_what_they_are(tmp_path):
    texts = {
        "run": "q Q0 a 1 2.5 tag\n",
        "qrels": "q 0 a 1\n",
        "letor": "1 qid:3 1:0.5 2:1\n",
        "numbers": "0.5\n",
        "csv": "qid,label\na,1\n",
        "empty": "",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        assert is_run(tmp_path / name) == (name == "run")
        assert is_qrels(tmp_path / name) == (name == "qrels")
    (tmp_path / "qrels.gz").write_bytes(gzip.compress(b"q 0 a 1\n"))
    assert is_qrels(tmp_path / "qrels.gz")
    assert read_qrels(tmp_path / "qrels.gz").relevance.tolist() == [1]


def test_names():
    assert [str(m) for m in parse_measures("P@5,ndcg_cut_10,RBP_0.95,rprec")] == [
        "P_5",
        "ndcg_cut_10",
        "rbp_0.95",
        "Rprec",
    ]
    with pytest.raises(
        ValueError, match=r"P.* needs a cut-off.*unknown measure .*'recip'; did you mean recip_rank"
    ):
        parse_measures("P,recip")
    with pytest.raises(ValueError, match=r"ndcg of trec_eval has no cut-off; .* is ndcg_cut_10"):
        parse_measures("ndcg@10")
    ours = ("map", "ndcg", "ndcg@10", "P@5", "recall@5", "mrr")
    theirs = ("ndcg_cut_5", "P_5", "recip_rank", "bpref", "hit@10", "infAP", "rbp")
    assert not any(map(is_trec_name, ours))
    assert all(map(is_trec_name, theirs))


def test_labels_that_are_no_grades():
    with pytest.raises(ValueError, match=r"'y' must hold whole numbers.* row 2 has 0.5"):
        Qrels.from_rows(np.array(["q", "q"]), np.array(["a", "b"]), [1.0, 0.5])
    with pytest.raises(ValueError, match="row 1 has nan"):
        Qrels.from_rows(np.array(["q"]), np.array(["a"]), [math.nan])


def test_ir_datasets_is_optional(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ir_datasets", None)
    with pytest.raises(ImportError, match="pip install ir_datasets"):
        load_qrels("msmarco-passage/dev/small")


def test_judgments_of_ir_datasets(monkeypatch):
    from types import SimpleNamespace as Named

    found = [Named(query_id="1", doc_id="a", relevance=2), Named(query_id="1", doc_id="b", relevance=0)]
    module = Named(load=lambda name: Named(qrels_iter=lambda: iter(found)))
    monkeypatch.setitem(__import__("sys").modules, "ir_datasets", module)
    assert load_qrels("any").relevance.tolist() == [2, 0]


def test_no_such_judgments_in_ir_datasets(monkeypatch):
    from types import SimpleNamespace as Named

    def load(name):
        raise KeyError(name)

    monkeypatch.setitem(__import__("sys").modules, "ir_datasets", Named(load=load))
    with pytest.raises(ValueError, match="has no judgments called 'nothing'"):
        read_qrels("irds:nothing")


def test_the_command_takes_judgments_of_ir_datasets(monkeypatch, tmp_path):
    from types import SimpleNamespace as Named

    from typer.testing import CliRunner

    from lambdamart_kit.cli.app import app

    found = [Named(query_id="q1", doc_id="a", relevance=1), Named(query_id="q1", doc_id="b", relevance=0)]
    module = Named(load=lambda name: Named(qrels_iter=lambda: iter(found)))
    monkeypatch.setitem(__import__("sys").modules, "ir_datasets", module)
    for name, order in (("one", "ba"), ("two", "ab")):
        lines = [f"q1 Q0 {docid} {rank} {-rank} x\n" for rank, docid in enumerate(order, 1)]
        (tmp_path / f"{name}.run").write_text("".join(lines))
    command = ["evaluate", "irds:any/set", str(tmp_path / "one.run"), "-k", "recip_rank", "-f", "csv"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1].startswith("recip_rank,0.5,")
    runs = [str(tmp_path / f"{name}.run") for name in ("one", "two")]
    done = CliRunner().invoke(app, ["compare", "irds:any/set", *runs, "-k", "recip_rank", "-f", "json"])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("kind", list(MEASURES))
def test_a_right_order_is_worth_more_than_its_reverse(kind):
    name = f"{kind}_1" if MEASURES[kind].parameter == "k" else kind
    qid = np.array(["q"] * 4)
    docid = np.array(["a", "b", "c", "d"])
    qrels = Qrels(qid, docid, np.array([2, 1, 0, 0]))
    right = evaluate_run(qrels, RunFile(qid, docid, np.array([4.0, 3.0, 2.0, 1.0])), [name]).values[0, 0]
    reverse = evaluate_run(qrels, RunFile(qid, docid, np.array([1.0, 2.0, 3.0, 4.0])), [name]).values[0, 0]
    assert 0 <= reverse < right <= 1
