"""A metric of one's own by the name of its function: evaluate, compare, bench and report."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import make_letor, write_letor
from lambdamart_kit.metrics import make_metric
from lambdamart_kit.metrics.imported import find_metric, source_digest
from lambdamart_kit.rankers import load_ranker

SHOP = """
import numba
import numpy as np
from lambdamart_kit.metrics import NDCG, make_metric

PRICE = 3

def revenue(labels, scores):
    return float(PRICE * labels[0])

@numba.njit
def compiled(labels, scores):
    return 3.0 * labels[0]

ready = make_metric("ready@1", revenue)
ours = NDCG(k=3)
"""


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A module of the user's, and a file of rows with scores, all in one folder."""
    (tmp_path / "shop_of_a_user.py").write_text(SHOP)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "shop_of_a_user", raising=False)
    data = make_letor(n_queries=12, random_state=0)
    write_letor(data, tmp_path / "rows.txt")
    (tmp_path / "scores.txt").write_text("\n".join(map(str, data.X[:, 0].tolist())))
    yield tmp_path, data
    sys.modules.pop("shop_of_a_user", None)


def command(folder, *words):
    line = [sys.executable, "-c", "from lambdamart_kit.cli import main; main()", *map(str, words)]
    kit = os.environ.get("PYTHONPATH", "")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(folder), kit]))}
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def expected(data):
    """Three times the label of the first document, ties in the worst order, over queries that count."""
    found = []
    for rows in (np.flatnonzero(data.qid == query) for query in np.unique(data.qid)):
        labels, scores = data.y[rows], data.X[rows, 0]
        if labels.max() > 0:
            found.append(3.0 * labels[np.lexsort((labels, -scores))[0]])
    return np.mean(found)


@pytest.mark.parametrize("name", ["revenue", "compiled", "ready"])
def test_evaluate_takes_the_name_of_a_function(shop, name):
    folder, data = shop
    words = ["evaluate", "rows.txt", "scores.txt", "--metrics", f"shop_of_a_user:{name},ndcg@10"]
    done = command(folder, *words, "--format", "json")
    assert done.returncode == 0, done.stderr
    first, second = json.loads(done.stdout)
    assert first["metric"] == f"shop_of_a_user:{name}"
    assert second["metric"] == "ndcg@10"
    assert first["mean"] == pytest.approx(expected(data))


def test_compare_and_report_take_it(shop):
    folder, data = shop
    (folder / "other.txt").write_text("\n".join(map(str, data.X[:, 1].tolist())))
    done = command(folder, "compare", "rows.txt", "scores.txt", "other.txt", "-k", "shop_of_a_user:revenue")
    assert done.returncode == 0, done.stderr
    assert "shop_of_a_user:revenue" in "".join(done.stdout.split())
    LambdaMART(n_estimators=2).fit(data.X, data.y, qid=data.qid).save(folder / "m.lmk")
    done = command(folder, "report", "m.lmk", "rows.txt", "-k", "shop_of_a_user:revenue", "-o", "r.html")
    assert done.returncode == 0, done.stderr
    assert "shop_of_a_user:revenue" in (folder / "r.html").read_text()


def test_bench_tunes_by_it_and_knows_when_its_code_changes(shop):
    folder, _ = shop
    names = "shop_of_a_user:revenue,ndcg@10"
    words = ["bench", "rows.txt", "--folds", "2", "-m", "linear", "-k", names, "-o", "runs.jsonl"]
    runs = folder / "runs.jsonl"
    for source, n_runs in ((SHOP, 2), (SHOP, 2), (SHOP.replace("PRICE * labels", "2 * labels"), 4)):
        (folder / "shop_of_a_user.py").write_text(source)
        done = command(folder, *words)
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in runs.read_text().splitlines()]
        found = [line for line in lines if "test" in line]
        assert len(found) == n_runs, done.stderr
        assert all(not line["error"] for line in found)
        assert list(found[0]["test"]) == ["shop_of_a_user:revenue", "ndcg@10"]
        assert "shop_of_a_user:revenue" in str(found[0]["learning_curve"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_shop:revenue", "there is no module 'no_such_shop'.*PYTHONPATH"),
        ("shop_of_a_user:turnover", "the module 'shop_of_a_user' has no 'turnover'"),
        ("shop_of_a_user:PRICE", "must be a function .* it is 3"),
        ("shop_of_a_user:ours", "must be a function .* it is NDCG"),
        ("shop_of_a_user.revenue", "a metric must be a name"),
    ],
)
def test_names_that_are_no_metric(shop, name, words):
    with pytest.raises(ValueError, match=words):
        find_metric(name)


def test_a_module_that_lacks_another_one_says_which(shop):
    folder, _ = shop
    (folder / "shop_of_a_user.py").write_text("import no_such_library")
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        find_metric("shop_of_a_user:revenue")


def test_a_model_file_never_imports_what_it_names(shop):
    folder, data = shop
    (folder / "shop_of_a_user.py").write_text("raise SystemExit('imported')")
    ranker = LambdaMART(n_estimators=2, eval_metric=make_metric("shop_of_a_user:revenue", max))
    ranker.set_params(eval_metric="ndcg@10").fit(data.X, data.y, qid=data.qid)
    ranker.set_params(eval_metric="shop_of_a_user:revenue").save(folder / "m.lmk")
    again = load_ranker(folder / "m.lmk")
    with pytest.raises(ValueError, match="a metric must be a name"):
        again.score(data.X, data.y, qid=data.qid)
    assert "shop_of_a_user" not in sys.modules


def test_digests_follow_the_code():
    first = make_metric("a", lambda labels, scores: labels[0])
    second = make_metric("a", lambda labels, scores: labels[1])
    assert source_digest(first) != source_digest(second)
    assert source_digest(find_metric("ndcg@10")) == ""
    assert repr(first) == repr(make_metric("a", first.function))
