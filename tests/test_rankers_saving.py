"""One file a model, no pickle, and a clear error for every file that is not a good one."""

from __future__ import annotations

import contextlib
import json
import zipfile

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LinearRegression

from lambdamart_kit.metrics import NDCG
from lambdamart_kit.objectives import LambdaNDCG
from lambdamart_kit.rankers import (
    CatBoostRanker,
    LambdaMART,
    LightGBMRanker,
    ModelFormatError,
    PointwiseRanker,
    XGBoostRanker,
    load_ranker,
)

SMALL = {"n_estimators": 5, "num_leaves": 4, "random_state": 0, "n_jobs": 1}
RANKERS = {
    "native": LambdaMART(LambdaNDCG(truncation_level=5), booster="native", **SMALL),
    "lightgbm": LambdaMART("pairwise", booster="lightgbm", eval_metric=NDCG(k=3), **SMALL),
    "xgboost": LambdaMART(booster="xgboost", **SMALL),
    "lambdarank": LightGBMRanker(**SMALL),
    "rank:ndcg": XGBoostRanker(**SMALL),
    "pointwise": PointwiseRanker(random_state=0, n_jobs=1),
}
try:
    import catboost  # noqa: F401
except ImportError:
    pass
else:
    RANKERS["catboost"] = CatBoostRanker(num_leaves=4, n_estimators=30, random_state=0, n_jobs=1)


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=200), "b": rng.normal(size=200)})
    frame["c"] = pd.Categorical(rng.choice(["x", "y", "z"], 200))
    y = np.digitize(frame["a"] + (frame["c"] == "y"), [0, 1])
    return frame, y, np.char.add("q", np.repeat(np.arange(20), 10).astype(str))


@pytest.fixture
def saved(problem, tmp_path):
    X, y, qid = problem
    path = tmp_path / "model.lmk"
    LambdaMART(**SMALL).fit(X, y, qid=qid).save(path)
    return path


@pytest.mark.parametrize("name", RANKERS)
def test_round_trip(name, problem, tmp_path):
    X, y, qid = problem
    ranker = clone(RANKERS[name])
    if name != "pointwise":
        ranker.set_params(early_stopping_rounds=3, validation_fraction=0.3)
    ranker.fit(X, y, qid=qid)
    path = tmp_path / "model.lmk"
    ranker.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.lmk"]
    for loaded in (type(ranker).load(path), load_ranker(str(path))):
        assert type(loaded) is type(ranker)
        assert loaded.get_params() == ranker.get_params()
        np.testing.assert_array_equal(loaded.predict(X), ranker.predict(X))
        assert loaded.score(X, y, qid=qid) == ranker.score(X, y, qid=qid)
        assert loaded.feature_names_in_.tolist() == ["a", "b", "c"]
        for attribute in (
            "n_features_in_",
            "n_queries_in_",
            "best_iteration_",
            "best_score_",
            "evals_result_",
        ):
            assert getattr(loaded, attribute, None) == getattr(ranker, attribute, None)
        with pytest.raises(ValueError, match="'qid' must be given to score"):
            loaded.score(X, y)
        again = loaded.fit(X, y, qid=qid).predict(X)
        np.testing.assert_array_equal(again, ranker.predict(X))


@pytest.mark.parametrize("name", ["native", "lightgbm", "xgboost", "lambdarank", "rank:ndcg"])
def test_a_loaded_ranker_goes_on_training(name, problem, tmp_path):
    X, y, qid = problem
    ranker = clone(RANKERS[name]).set_params(warm_start=True).fit(X, y, qid=qid)
    ranker.save(tmp_path / "m")
    loaded = load_ranker(tmp_path / "m")
    for r in (ranker, loaded):
        r.set_params(n_estimators=8).fit(X, y, qid=qid)
        assert r.best_iteration_ == 8
    np.testing.assert_array_equal(loaded.predict(X), ranker.predict(X))


def test_what_the_file_holds(saved):
    with zipfile.ZipFile(saved) as archive:
        assert archive.namelist() == ["manifest.json", "native.model"]
        manifest = json.loads(archive.read("manifest.json"))
        assert archive.read("native.model").startswith(b"tree\nversion=")
    assert manifest["format"] == "lambdamart_kit.model"
    assert manifest["version"] == 1
    assert manifest["class"] == "LambdaMART"
    assert manifest["params"]["num_leaves"] == 4


def test_a_callable_objective_is_kept_by_name(problem, tmp_path):
    X, y, qid = problem

    def squared(scores):
        return scores - y, np.ones_like(scores)

    ranker = LambdaMART(squared, **SMALL).fit(X, y, qid=qid)
    ranker.save(tmp_path / "m")
    loaded = LambdaMART.load(tmp_path / "m")
    np.testing.assert_array_equal(loaded.predict(X), ranker.predict(X))
    assert "squared" in repr(loaded)
    with pytest.raises(ValueError, match=r"a saved model does not contain; set_params\(objective"):
        loaded.fit(X, y, qid=qid)


def test_not_saved(problem, tmp_path):
    X, y, qid = problem
    numbers = X[["a", "b"]]
    with pytest.raises(TypeError, match=r"no file format that is safe to load.*joblib or skops"):
        PointwiseRanker(LinearRegression()).fit(numbers, y, qid=qid).save(tmp_path / "m")
    drawn = LambdaMART(**{**SMALL, "random_state": np.random.RandomState(0)}).fit(X, y, qid=qid)
    with pytest.raises(TypeError, match="parameter 'random_state' cannot be saved: RandomState"):
        drawn.save(tmp_path / "m")
    assert not list(tmp_path.iterdir())
    with pytest.raises(Exception, match="not fitted"):
        LambdaMART().save(tmp_path / "m")


def rewrite(path, *, manifest=None, **files):
    """The file again, with its manifest or a member changed."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members.update(files)
    if manifest is not None:
        content = json.loads(members["manifest.json"])
        manifest(content)
        members["manifest.json"] = json.dumps(content).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            if content is not None:
                archive.writestr(name, content)


def test_wrong_class(saved):
    with pytest.raises(
        ModelFormatError, match=r"holds a LambdaMART, not a XGBoostRanker; use LambdaMART\.load"
    ):
        XGBoostRanker.load(saved)
    rewrite(saved, manifest=lambda m: m.update({"class": "system"}))
    with pytest.raises(ModelFormatError, match="holds a system, which is not a ranker"):
        load_ranker(saved)


def test_newer_version(saved):
    rewrite(saved, manifest=lambda m: m.update(version=2, written_by="lambdamart_kit 9.0"))
    with pytest.raises(ModelFormatError, match=r"version 2 is newer.*lambdamart_kit 9\.0; upgrade"):
        load_ranker(saved)


@pytest.mark.parametrize(
    "change",
    [
        {"manifest.json": b"{}"},
        {"manifest.json": b"[1]"},
        {"manifest.json": b"\xff{"},
        {"manifest.json": None},
        {"native.model": b"tree\n"},
        {"native.model": None},
        {"extra.model": b"?"},
    ],
    ids=str,
)
def test_changed_members(saved, change):
    rewrite(saved, **change)
    with pytest.raises(ModelFormatError, match=r"model\.lmk: "):
        load_ranker(saved)


@pytest.mark.parametrize("field", ["class", "params", "state", "files", "version", "format"])
@pytest.mark.parametrize("value", [None, 7, {"a": {"$unknown": 1}}])
def test_changed_manifest(saved, field, value):
    rewrite(saved, manifest=lambda m: m.update({field: value}))
    with pytest.raises(ModelFormatError, match=r"model\.lmk: "):
        load_ranker(saved)


def test_truncated_or_flipped_bytes(saved):
    """Cut anywhere, or with a byte changed anywhere: the same model, or a ModelFormatError."""
    content, rng = saved.read_bytes(), np.random.default_rng(0)
    expected = load_ranker(saved).get_params()
    for at in rng.integers(0, len(content), 60):
        saved.write_bytes(content[:at])
        with pytest.raises(ModelFormatError):
            load_ranker(saved)
        flipped = bytearray(content)
        flipped[at] ^= 1 << rng.integers(8)
        saved.write_bytes(flipped)
        with contextlib.suppress(ModelFormatError):
            assert load_ranker(saved).get_params() == expected


def test_files_of_other_kinds(tmp_path):
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ModelFormatError, match="not a model file"):
        load_ranker(tmp_path / "text")
    with pytest.raises(FileNotFoundError):
        load_ranker(tmp_path / "missing")


def test_trees_of_one_leaf_are_read_back(tmp_path):
    """LightGBM writes a constant as a tree of one leaf, which has no parent."""
    X = np.arange(12, dtype=np.float32)[:, None]
    ranker = PointwiseRanker(n_jobs=1).fit(X, np.arange(12) % 3, qid=np.repeat([1, 2], 6))
    assert len(set(ranker.predict(X))) == 1  # twelve rows are too few for a split
    ranker.save(tmp_path / "m.lmk")
    np.testing.assert_array_equal(PointwiseRanker.load(tmp_path / "m.lmk").predict(X), ranker.predict(X))
