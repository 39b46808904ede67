"""RankLib itself reads what is exported for it, and scores as the ranker does.

Needs Java, and RankLib in the environment variable RANKLIB_CLASSPATH: its jar, or its classes and those of
commons-math3.
"""

from __future__ import annotations

import os
import shutil
import subprocess

import numpy as np
import pytest
from test_export_equal_scores import random_case, score_by_hand

from lambdamart_kit import LambdaMART, LinearRanker
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.export import export_model

CLASSPATH = os.environ.get("RANKLIB_CLASSPATH")
pytestmark = pytest.mark.skipif(
    CLASSPATH is None or shutil.which("java") is None,
    reason="needs Java and RankLib, whose classes RANKLIB_CLASSPATH names",
)


def score(folder, rows):
    """Scores of RankLib for a model in `folder`; all rows are one query.

    A feature that a line lacks counts as 0, but the last one must be there, or RankLib stops.
    """
    rows = np.array(rows)
    rows[:, -1] = np.nan_to_num(rows[:, -1])
    lines = []
    for row in rows.tolist():
        shown = [f"{at}:{value!r}" for at, value in enumerate(row, start=1) if not np.isnan(value)]
        lines.append(f"0 qid:1 {' '.join(shown)}\n")
    (folder / "rows.txt").write_text("".join(lines))
    command = ["java", "-cp", CLASSPATH, "ciir.umass.edu.eval.Evaluator"]
    command += ["-load", folder / "m.txt", "-rank", folder / "rows.txt", "-score", folder / "scores.txt"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return np.array([float(line.split("\t")[2]) for line in (folder / "scores.txt").open()])


@pytest.mark.parametrize("number", range(3))
def test_random_models_on_their_thresholds(number, tmp_path):
    model, rows, options = random_case(np.random.default_rng(number), "ranklib", "", 500)
    export_model(model, tmp_path / "m.txt", "ranklib", **options)
    np.testing.assert_allclose(score(tmp_path, rows), score_by_hand(model, rows), atol=2e-7)


@pytest.mark.slow
def test_a_million_rows(tmp_path):
    rng = np.random.default_rng(7)
    for number in range(20):
        model, rows, options = random_case(rng, "ranklib", "", 50_000)
        folder = tmp_path / str(number)
        folder.mkdir()
        export_model(model, folder / "m.txt", "ranklib", **options)
        np.testing.assert_allclose(score(folder, rows), score_by_hand(model, rows), atol=2e-7)


@pytest.mark.parametrize("ranker", [LambdaMART(n_estimators=30, random_state=0), LinearRanker()])
def test_fitted_rankers(ranker, tmp_path):
    data = make_letor(n_queries=30, random_state=0)
    ranker.fit(data.X, data.y, qid=data.qid)
    ranker.export(tmp_path / "m.txt", format="ranklib", no_missing=True)
    expected = ranker.predict(data.X)
    np.testing.assert_allclose(score(tmp_path, data.X), expected, atol=1e-6 * max(1, np.abs(expected).max()))
