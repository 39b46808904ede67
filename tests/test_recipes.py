"""The recipes of CONTRIBUTING.md: one file and one registry line, and a thing is known everywhere.

Each test registers a dummy and finds it on the command line, in the parameters of tests, in saved models or
in the tables of the documentation. One test registers all of them in a process of its own, before the command
line is imported, as a line in the source would.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import scikit_learn_booster  # noqa: F401  (the registry names it)

from lambdamart_kit import BradleyTerry, LambdaMART, PreferencePairs
from lambdamart_kit.boosters.registry import BOOSTERS, BoosterEntry
from lambdamart_kit.datasets import make_letor, write_letor
from lambdamart_kit.export.format import EXPORTS
from lambdamart_kit.files import FORMATS, read_rows, write_rows
from lambdamart_kit.metrics import METRICS, NDCG
from lambdamart_kit.objectives import OBJECTIVES, RankNet
from lambdamart_kit.preferences.reading.layouts import LAYOUTS
from lambdamart_kit.preferences.strengths.ties import TIE_MODELS, HalfTies
from lambdamart_kit.registries import REGISTRIES, as_markdown, names_of
from lambdamart_kit.simulation.simulate import STRATEGIES, simulate
from lambdamart_kit.trec import MEASURES

ROOT = Path(__file__).parents[1]
SMALL = {"n_estimators": 4, "num_leaves": 4, "min_child_samples": 2, "random_state": 0, "n_jobs": 1}


@dataclass(frozen=True)
class DummyObjective(RankNet):
    """An objective that exists only here."""


@dataclass(frozen=True, kw_only=True)
class DummyMetric(NDCG):
    """A metric that exists only here."""

    name = "dummy"


class DummyTies(HalfTies):
    """A tie model that exists only here."""


# Kind -> the registry, and what stands in it under "dummy".
DUMMIES = {
    "objective": (OBJECTIVES, DummyObjective),
    "metric": (METRICS, DummyMetric),
    "TREC measure": (MEASURES, MEASURES["map"]),
    "booster": (BOOSTERS, BoosterEntry("scikit_learn_booster:ScikitLearnBooster", "scikit-learn")),
    "file format": (FORMATS, replace(FORMATS["letor"], suffixes=(".dummy",))),
    "layout": (LAYOUTS, replace(LAYOUTS["orca"], name="dummy")),
    "tie model": (TIE_MODELS, DummyTies()),
    "policy": (STRATEGIES, STRATEGIES["linucb"]),
    "export format": (EXPORTS, EXPORTS["ranklib"]),
}
# What the command line is asked, and where it must answer with "dummy".
COMMANDS = {
    "objective": ["bench", "-m", "?"],
    "metric": ["names", "metric"],
    "TREC measure": ["names", "TREC measure"],
    "booster": ["train", "--help"],
    "file format": ["names", "file format"],
    "layout": ["pairs", "layouts"],
    "tie model": ["pairs", "leaderboard", "--help"],
    "policy": ["names", "policy"],
    "export format": ["export", "--help"],
}


@pytest.fixture
def dummies(monkeypatch):
    for registry, thing in DUMMIES.values():
        monkeypatch.setitem(registry, "dummy", thing)


@pytest.fixture(scope="module")
def rows():
    return make_letor(n_queries=20, random_state=0)


def test_every_registry_has_a_recipe():
    assert {registry.kind for registry in REGISTRIES} == set(DUMMIES) == set(COMMANDS)
    for registry in REGISTRIES:
        assert registry.content is DUMMIES[registry.kind][0]


@pytest.mark.parametrize("kind", DUMMIES)
def test_a_dummy_is_in_the_table_of_the_documentation(kind, dummies):
    assert "dummy" in dict(names_of(kind))
    assert "| `dummy` |" in as_markdown()


def test_the_page_of_names_is_up_to_date():
    written = (ROOT / "docs" / "names.md").read_text()
    assert written == as_markdown(), "lambdamart-kit names > docs/names.md"


def test_the_command_line_knows_the_dummies():
    code = (
        "import sys, test_recipes\n"
        "for registry, thing in test_recipes.DUMMIES.values():\n"
        "    registry['dummy'] = thing\n"
        "from lambdamart_kit.cli.app import app\n"
        "for kind, command in test_recipes.COMMANDS.items():\n"
        "    print('==', kind)\n"
        "    try:\n"
        "        app(command, prog_name='lambdamart-kit')\n"
        "    except SystemExit:\n"
        "        pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "tests", capture_output=True, text=True)
    answers = dict(part.split("\n", 1) for part in done.stdout.split("== ")[1:])
    assert [kind for kind in COMMANDS if "dummy" not in answers.get(kind, "")] == [], done.stderr


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.kind)
def test_tests_take_their_parameters_from_the_registry(registry):
    """Some test runs over all names of the registry: as parameters, or in a loop."""
    name = registry.path.partition(":")[2]
    derived = re.compile(rf"(parametrize\(|for \w+ in |list\(|set\(|sorted\()[^\n]*\b{name}\b")
    assert any(
        derived.search(path.read_text())
        for path in Path(__file__).parent.glob("test_*.py")
        if path != Path(__file__)
    )


# --------------------------------------------------------------------- fitted, saved, loaded, read, written


@pytest.mark.parametrize(
    "setting",
    [
        {"objective": "dummy"},
        {"objective": DummyObjective()},
        {"booster": "dummy"},
        {"eval_metric": "dummy@5"},
    ],
)
def test_a_ranker_is_saved_and_loaded(rows, setting, dummies, tmp_path):
    held_out = {"early_stopping_rounds": 2, "validation_fraction": 0.3} if "eval_metric" in setting else {}
    ranker = LambdaMART(**{**SMALL, **setting, **held_out}).fit(rows.X, rows.y, qid=rows.qid)
    ranker.save(tmp_path / "model.lmk")
    loaded = LambdaMART.load(tmp_path / "model.lmk")
    assert loaded.get_params() == ranker.get_params()
    np.testing.assert_array_equal(loaded.predict(rows.X), ranker.predict(rows.X))


def test_a_dummy_booster_stops_early_continues_and_has_leaves(rows, dummies):
    stopped = LambdaMART(**SMALL, booster="dummy", early_stopping_rounds=1, validation_fraction=0.3)
    stopped.fit(rows.X, rows.y, qid=rows.qid)
    assert stopped.best_iteration_ == stopped.model_.n_trees
    ranker = LambdaMART(**SMALL, booster="dummy", warm_start=True).fit(rows.X, rows.y, qid=rows.qid)
    first = ranker.predict(rows.X)
    ranker.set_params(n_estimators=6).fit(rows.X, rows.y, qid=rows.qid)
    assert ranker.leaf_indices(rows.X).shape == (len(rows.y), 6)
    np.testing.assert_allclose(ranker.model_.predict(rows.X, iteration_range=(0, 4)), first, rtol=1e-12)


def test_a_dummy_format_is_read_and_written(rows, dummies, tmp_path):
    write_rows(rows, tmp_path / "rows.dummy")
    np.testing.assert_array_equal(read_rows(tmp_path / "rows.dummy").y, rows.y)
    write_letor(rows, tmp_path / "rows.txt")
    fits = [LambdaMART(**SMALL).fit_files(tmp_path / name) for name in ("rows.dummy", "rows.txt")]
    np.testing.assert_array_equal(*(ranker.predict(rows.X) for ranker in fits))


def test_a_dummy_layout_reads_pairs(dummies, tmp_path):
    record = '{"system": "", "question": "q", "chosen": "good", "rejected": "bad"}\n'
    (tmp_path / "pairs.jsonl").write_text(record)
    assert len(PreferencePairs.read(tmp_path / "pairs.jsonl", layout="dummy")) == 1


def test_a_dummy_tie_model_fits_strengths(dummies):
    pairs = [("a", "b"), ("b", "c"), ("c", "a"), ("a", "c")]
    fitted = BradleyTerry(ties="dummy").fit(pairs, [1.0, 0.5, 1.0, 1.0])
    np.testing.assert_array_equal(
        fitted.strengths_, BradleyTerry(ties="half").fit(pairs, [1.0, 0.5, 1.0, 1.0]).strengths_
    )


def test_a_dummy_policy_meets_the_others(dummies):
    met = simulate(["dummy", "linucb"], n_rounds=2, n_seeds=1)
    assert set(met.rounds["strategy"]) == {"dummy", "linucb"}


def test_a_dummy_export_is_written(rows, dummies, tmp_path):
    ranker = LambdaMART(**SMALL).fit(rows.X, rows.y, qid=rows.qid)
    ranker.export(tmp_path / "dummy.txt", format="dummy", no_missing=True)
    ranker.export(tmp_path / "ranklib.txt", format="ranklib", no_missing=True)
    assert (tmp_path / "dummy.txt").read_bytes() == (tmp_path / "ranklib.txt").read_bytes()
