"""``lambdamart-kit explain``: what it prints is what `Explanation` says."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from lambdamart_kit.cli.app import app
from lambdamart_kit.datasets import make_letor, read_letor, write_letor
from lambdamart_kit.rankers import LambdaMART, load_ranker


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain")
    data = make_letor(n_queries=20, mean_documents=10, random_state=0)
    write_letor(data, folder / "test.txt")
    rows = read_letor(folder / "test.txt")
    ranker = LambdaMART(n_estimators=4, num_leaves=6, random_state=0).fit(rows.X, rows.y, qid=rows.qid)
    ranker.save(folder / "model.lmk")
    return folder / "model.lmk", folder / "test.txt", rows


def run(*arguments):
    return CliRunner().invoke(app, ["explain", *map(str, arguments)])


def test_a_query_a_pair_and_all_queries(files):
    model, path, rows = files
    why = load_ranker(model).explain(rows.X, qid=rows.qid, y=rows.y)
    query = rows.qid[0]
    done = run(model, path, "--query", query, "-k", 5, "--samples", 8, "--format", "json")
    assert done.exit_code == 0, done.output
    expected = why.list(query, 5, n_samples=8).to_frame()
    printed = json.loads(done.stdout)
    assert [r["attribution"] for r in printed] == pytest.approx(
        expected["attribution"][: len(printed)].tolist()
    )
    numbers = np.flatnonzero(rows.qid == query)
    ranked = numbers[np.argsort(-why.scores(numbers), kind="stable")]
    done = run(model, path, "--query", query, "--pair", 1, len(numbers))
    pair = why.pair(ranked[0], ranked[-1])
    assert done.exit_code == 0, done.output
    assert f"scores {pair.gap:.4g} above" in done.output
    assert "difference of contributions" in done.output
    done = run(model, path, "--query", query, "--pair", 1, 2, "--method", "interventional")
    assert "against the other row" in done.output
    done = run(model, path, "--features", 3, "--format", "csv")
    assert done.output.splitlines()[0] == "feature,loss,standard_error"
    assert len(done.output.splitlines()) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--query", "no such"), "--query must be the id of a query"),
        (("--query", "QUERY", "--pair", 1, 999), "places 1 to"),
        (("--pair", 1, 2), "needs --query"),
        (("--query", "QUERY", "--method", "interventional"), "is of --pair only"),
    ],
)
def test_mistakes(files, arguments, message):
    model, path, rows = files
    done = run(model, path, *[rows.qid[0] if a == "QUERY" else a for a in arguments])
    assert done.exit_code in (1, 2)
    assert message in " ".join(done.output.split()).replace("│ ", "")
