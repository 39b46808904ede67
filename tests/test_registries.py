"""One line in a registry is enough: an objective or a metric is then found wherever names are taken."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from lambdamart_kit import LambdaMART
from lambdamart_kit.bench.models import FAMILIES
from lambdamart_kit.clicks import POSITION_BIASES, resolve_position_bias
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.metrics import METRICS, parse_metric
from lambdamart_kit.metrics.measures import DCG
from lambdamart_kit.model_selection import make_ranking_scorer
from lambdamart_kit.objectives import OBJECTIVES, LambdaNDCG, resolve_objective
from lambdamart_kit.rankers import load_ranker

SMALL = {"n_estimators": 3, "num_leaves": 4, "random_state": 0, "n_jobs": 1}
DOCS = Path(__file__).parents[1] / "docs"


@dataclass(frozen=True, kw_only=True)
class Dummy(LambdaNDCG):
    """Half of LambdaNDCG's gain."""

    gain: str = "linear"


@dataclass(frozen=True, kw_only=True)
class FirstGain(DCG):
    """Twice the gain of the first document."""

    factor: float = 2.0
    name: ClassVar[str] = "first_gain"

    def _plan(self, longest):
        kernel, _ = super()._plan(longest)
        return kernel, (np.where(np.arange(longest) == 0, self.factor, 0.0),)


@pytest.fixture(scope="module")
def data():
    return make_letor(n_queries=20, mean_documents=10, random_state=0)


def test_an_objective_is_one_line(monkeypatch, data, tmp_path):
    monkeypatch.setitem(OBJECTIVES, "dummy", Dummy)
    assert resolve_objective("dummy") == Dummy()
    with pytest.raises(ValueError, match="'dummy'"):
        resolve_objective("dumy")
    for objective in ("dummy", Dummy(truncation_level=5)):
        ranker = LambdaMART(objective, **SMALL).fit(data.X, data.y, qid=data.qid)
        ranker.save(tmp_path / "model.lmk")
        loaded = load_ranker(tmp_path / "model.lmk")
        assert loaded.objective == objective
        np.testing.assert_array_equal(loaded.predict(data.X), ranker.predict(data.X))
    assert "dummy" in FAMILIES["lambdamart"].variants()


def test_a_metric_is_one_line(monkeypatch, data):
    monkeypatch.setitem(METRICS, "first_gain", FirstGain)
    metric = parse_metric("first_gain(factor=3,gain=linear)")
    assert str(metric) == "first_gain(factor=3,gain=linear)"
    assert metric([2, 0], [1.0, 0.0]) == 6
    with pytest.raises(ValueError, match="first_gain"):
        parse_metric("first_gains")
    ranker = LambdaMART(eval_metric="first_gain", validation_fraction=0.3, **SMALL)
    ranker.fit(data.X, data.y, qid=data.qid)
    assert list(ranker.evals_result_["validation"]) == ["first_gain"]
    expected = FirstGain()(data.y, ranker.predict(data.X), data.qid)
    assert ranker.score(data.X, data.y, qid=data.qid) == expected
    assert make_ranking_scorer("first_gain")(ranker, data.X, data.y, qid=data.qid) == expected


def test_a_position_bias_is_one_line(monkeypatch):
    monkeypatch.setitem(POSITION_BIASES, "dummy", POSITION_BIASES["gam"])
    assert resolve_position_bias("dummy") == POSITION_BIASES["gam"]()
    with pytest.raises(ValueError, match="'dummy'"):
        resolve_position_bias("dumy")


def test_the_table_of_objectives_is_the_registry():
    text = (DOCS / "objectives.md").read_text()
    table = text[text.index("<!-- objectives -->") : text.index("<!-- end -->")]
    rows = [
        f'| `"{name}"` | `{kind.__name__}` | {kind.__doc__.strip().splitlines()[0]} |'
        for name, kind in OBJECTIVES.items()
    ]
    assert [line for line in table.splitlines() if line.startswith('| `"')] == rows
