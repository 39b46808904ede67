"""Model files that were made to do harm, or were damaged: one clear error, no crash and no other scores."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import zipfile

import numpy as np
import pytest

from lambdamart_kit import (
    CatBoostRanker,
    LambdaMART,
    LightGBMRanker,
    LinearRanker,
    NeuralRanker,
    XGBoostRanker,
)
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.rankers import ModelFormatError, load_ranker
from lambdamart_kit.trees.validation import check_children

DATA = make_letor(n_queries=15, random_state=0)


def fitted(ranker, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "model.lmk"
    ranker.fit(DATA.X, DATA.y, qid=DATA.qid).save(path)
    return path


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    return fitted(LambdaMART(n_estimators=3, num_leaves=8, random_state=0), tmp_path_factory)


@pytest.fixture(scope="module")
def boosted(tmp_path_factory):
    return fitted(XGBoostRanker(n_estimators=3, num_leaves=8, random_state=0), tmp_path_factory)


def unpack(path):
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return json.loads(members.pop("manifest.json")), members


def repack(path, manifest, members):
    """A file with right digests, as anyone who edits one can make."""
    manifest["files"] = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def with_lightgbm_line(source, target, field, edit):
    """The model with a line of its first tree edited."""
    manifest, members = unpack(source)
    ((name, content),) = members.items()
    head, first, *rest = content.decode().split("\nTree=")
    lines = first.split("\n")
    edited = [f"{field}={edit(x.partition('=')[2])}" if x.startswith(f"{field}=") else x for x in lines]
    text = "\nTree=".join([re.sub(r"\ntree_sizes=[^\n]*", "", head), "\n".join(edited), *rest])
    return repack(target, manifest, {name: text.encode()})


def at(i, value):
    def edit(numbers):
        parts = numbers.split(" ")
        parts[i] = str(value)
        return " ".join(parts)

    return edit


HOSTILE = [
    ("left_child", at(0, 1000)),
    ("left_child", at(0, 2**31 - 1)),
    ("left_child", at(0, -1000)),
    ("left_child", at(0, -(2**31))),
    ("left_child", at(0, 2**70)),
    ("right_child", at(0, 0)),
    ("left_child", at(1, 0)),
    ("left_child", at(-1, 0)),
    ("split_feature", at(0, 10**6)),
    ("split_feature", at(0, -1)),
    ("threshold", at(0, "nan")),
    ("threshold", at(0, "what")),
    ("leaf_value", at(0, "nan")),
    ("leaf_value", at(0, "inf")),
    ("leaf_value", lambda s: s.rpartition(" ")[0]),
    ("leaf_value", lambda s: s + " 1 2 3"),
    ("left_child", lambda s: " ".join(s.split(" ")[:-2])),
    ("num_leaves", lambda s: "100000"),
    ("num_leaves", lambda s: "1"),
    ("num_leaves", lambda s: "-5"),
    ("num_leaves", lambda s: "2147483648"),
    ("decision_type", at(0, 1)),
    ("decision_type", at(0, -1)),
    ("decision_type", at(0, 255)),
    ("num_cat", lambda s: "5"),
]


@pytest.mark.parametrize(("field", "edit"), HOSTILE)
def test_trees_that_cannot_be_walked(native, tmp_path, field, edit):
    path = with_lightgbm_line(native, tmp_path / "hostile.lmk", field, edit)
    with pytest.raises(ModelFormatError, match=r"hostile\.lmk: the model is damaged"):
        load_ranker(path)


def test_an_unedited_copy_loads(native, tmp_path):
    path = with_lightgbm_line(native, tmp_path / "copy.lmk", "left_child", lambda s: s)
    np.testing.assert_array_equal(load_ranker(path).predict(DATA.X), load_ranker(native).predict(DATA.X))


def test_sizes_that_do_not_fit_the_trees(native, tmp_path):
    manifest, members = unpack(native)
    ((name, content),) = members.items()
    text = re.sub(rb"tree_sizes=\d+", b"tree_sizes=7", content)
    assert text != content
    with pytest.raises(ModelFormatError, match="tree_sizes do not fit"):
        load_ranker(repack(tmp_path / "sizes.lmk", manifest, {name: text}))


@pytest.mark.parametrize(
    ("field", "index", "value"),
    [
        ("left_children", 0, 1000),
        ("left_children", 0, 0),
        ("right_children", 0, -7),
        ("right_children", 0, 1),
        ("split_indices", 0, 10**6),
        ("split_indices", 0, -1),
        ("split_conditions", 0, float("nan")),
        ("parents", 1, 2),
        ("default_left", None, []),
    ],
)
def test_xgboost_trees_that_cannot_be_walked(boosted, tmp_path, field, index, value):
    manifest, members = unpack(boosted)
    ((name, content),) = members.items()
    model = json.loads(content)
    tree = model["learner"]["gradient_booster"]["model"]["trees"][0]
    if index is None:
        tree[field] = value
    else:
        tree[field][index] = value
    path = repack(tmp_path / "hostile.lmk", manifest, {name: json.dumps(model).encode()})
    with pytest.raises(ModelFormatError, match="the model is damaged"):
        load_ranker(path)


@pytest.mark.parametrize(
    "ranker",
    [
        LambdaMART(n_estimators=2, num_leaves=4),
        LightGBMRanker(n_estimators=2, num_leaves=4, booster_params={"linear_tree": True}),
        XGBoostRanker(n_estimators=2),
        LinearRanker(max_iter=2),
        NeuralRanker(max_iter=1, hidden_layer_sizes=(4,), random_state=0),
    ],
    ids=lambda ranker: type(ranker).__name__,
)
def test_every_honest_model_passes_and_damage_is_named(ranker, tmp_path_factory):
    path = fitted(ranker, tmp_path_factory)
    expected = load_ranker(path).predict(DATA.X)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    found = []
    for _ in range(30):
        damaged = bytearray(content)
        damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            scores = load_ranker(path).predict(DATA.X)
        except ModelFormatError as error:
            found.append(str(error))
        else:
            np.testing.assert_array_equal(scores, expected)
    assert found
    assert all(str(path) in message for message in found)


def test_an_archive_larger_than_the_cap_is_not_unpacked(native, monkeypatch):
    monkeypatch.setattr("lambdamart_kit.rankers.saving._MOST_BYTES", 100)
    with pytest.raises(ModelFormatError, match="parts are larger than 100 bytes"):
        load_ranker(native)


def test_unexpected_parts(native, tmp_path):
    manifest, members = unpack(native)
    for attribute in ("__class__", "_files", "predict"):
        state = {**manifest["state"], attribute: 1}
        path = repack(tmp_path / "state.lmk", {**manifest, "state": state}, members)
        with pytest.raises(ModelFormatError, match="is no attribute"):
            load_ranker(path)
    path = repack(tmp_path / "params.lmk", {**manifest, "params": {"what": 1}}, members)
    with pytest.raises(ModelFormatError, match="unexpected keyword argument 'what'"):
        load_ranker(path)


def test_json_nested_too_deeply(native, tmp_path):
    _, members = unpack(native)
    path = tmp_path / "deep.lmk"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.json", "[" * 100_000)
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(ModelFormatError, match="damaged"):
        load_ranker(path)


def test_compressed_or_pickled_arrays_are_refused(tmp_path_factory, tmp_path):
    manifest, members = unpack(fitted(LinearRanker(max_iter=2), tmp_path_factory))
    ((name, content),) = members.items()
    arrays = dict(np.load(io.BytesIO(content)))
    for save, extra in ((np.savez_compressed, {}), (np.savez, {"coef": np.array([{}], dtype=object)})):
        stream = io.BytesIO()
        save(stream, **{**arrays, **extra})
        path = repack(tmp_path / "arrays.lmk", manifest, {name: stream.getvalue()})
        with pytest.raises(ModelFormatError, match="damaged"):
            load_ranker(path)


def edited_arrays(source, target, edit):
    """The model with the arrays of its weights edited."""
    manifest, members = unpack(source)
    ((name, content),) = members.items()
    arrays = dict(np.load(io.BytesIO(content)))
    edit(arrays)
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return repack(target, manifest, {name: stream.getvalue()})


@pytest.mark.parametrize("kind", [LinearRanker, NeuralRanker])
@pytest.mark.parametrize("cut", ["one", "one more axis"])
def test_arrays_that_numpy_would_stretch_to_fit(kind, cut, tmp_path_factory, tmp_path):
    """A coefficient for all columns together is a sound matrix product, and gives other scores."""
    sound = fitted(kind(max_iter=1, random_state=0), tmp_path_factory)
    names = [name for name in np.load(io.BytesIO(next(iter(unpack(sound)[1].values())))) if name]
    for name in names:

        def edit(arrays, name=name):
            array = arrays[name]
            arrays[name] = np.ones((1,) * array.ndim) if cut == "one" else array[..., None]

        if cut == "one" and name == "intercept_2":
            continue  # the last layer has one output, and so one intercept
        path = edited_arrays(sound, tmp_path / "m.lmk", edit)
        with pytest.raises(ModelFormatError, match="must be of shape"):
            load_ranker(path)


@pytest.mark.parametrize(
    ("where", "name", "value"),
    [
        ("state", "best_iteration_", -7),
        ("state", "best_iteration_", 10**9),
        ("state", "best_iteration_", 2.5),
        ("state", "best_iteration_", None),
        ("params", "booster", "xgboost"),
        ("params", "booster", "os:system"),
        (None, "version", True),
        (None, "version", -1),
        (None, "version", 1.0),
    ],
)
def test_a_manifest_that_contradicts_the_trees(native, tmp_path, where, name, value):
    manifest, members = unpack(native)
    (manifest if where is None else manifest[where])[name] = value
    with pytest.raises(ModelFormatError, match="is damaged"):
        load_ranker(repack(tmp_path / "m.lmk", manifest, members))


def test_trees_of_one_booster_are_not_saved_as_those_of_another(tmp_path):
    ranker = LambdaMART(n_estimators=2, num_leaves=4).fit(DATA.X, DATA.y, qid=DATA.qid)
    ranker.set_params(booster="xgboost")
    with pytest.raises(ValueError, match="'booster' must be what it was in fit to save the ranker"):
        ranker.save(tmp_path / "m.lmk")
    ranker.set_params(booster="native").save(tmp_path / "m.lmk")


@pytest.mark.parametrize("line", ["[early_stopping_r 1733]", " ", "x", "[]", "[a:]"])
def test_parameters_in_which_lightgbm_reads_past_the_end(tmp_path_factory, tmp_path, line):
    manifest, members = unpack(fitted(LightGBMRanker(n_estimators=1, num_leaves=4), tmp_path_factory))
    ((name, content),) = members.items()
    text = content.decode().replace("\nparameters:\n", f"\nparameters:\n{line}\n", 1)
    path = repack(tmp_path / "m.lmk", manifest, {name: text.encode()})
    with pytest.raises(ModelFormatError, match="must be a parameter as in"):
        load_ranker(path)


def test_a_zero_byte_hides_nothing_behind_it(native, tmp_path):
    manifest, members = unpack(native)
    ((name, content),) = members.items()
    path = repack(tmp_path / "m.lmk", manifest, {name: content.replace(b"\nTree=1", b"\0\nTree=1")})
    with pytest.raises(ModelFormatError, match="zero byte"):
        load_ranker(path)


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="this system has no /dev/zero")
def test_a_link_to_a_file_without_end_is_not_read(tmp_path):
    link = tmp_path / "model.lmk"
    link.symlink_to("/dev/zero")
    with pytest.raises(ModelFormatError, match="device"):
        LambdaMART.load(link)


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_parts_are_deflated_or_stored(native, tmp_path, method):
    """Damage within LZMA data is an error of its own, which is neither a ValueError nor of zipfile."""
    manifest, members = unpack(native)
    path = repack(tmp_path / "m.lmk", manifest, members)
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(ModelFormatError, match="neither stored nor deflated"):
        load_ranker(path)


@pytest.mark.parametrize(
    "line",
    ["num_tree_per_iteration=-0.5", "num_tree_per_iteration=0", "num_tree_per_iteration=3", "num_class=0"],
)
def test_a_number_that_lightgbm_divides_by(native, tmp_path, line):
    manifest, members = unpack(native)
    ((name, content),) = members.items()
    field = line.partition("=")[0]
    path = repack(tmp_path / "m.lmk", manifest, {name: content.replace(f"{field}=1".encode(), line.encode())})
    with pytest.raises(ModelFormatError, match=field):
        load_ranker(path)


@pytest.mark.parametrize("edit", [lambda c: c[:-200], lambda c: c[:4] + b"\xff" + c[5:], lambda c: b"x" + c])
def test_catboost_is_given_whole_models_only(edit, tmp_path_factory, tmp_path):
    """It reads as many bytes as the head asks for, whether they are there or not."""
    pytest.importorskip("catboost")
    ranker = CatBoostRanker(n_estimators=2, n_jobs=1, random_state=0)
    manifest, members = unpack(fitted(ranker, tmp_path_factory))
    ((name, content),) = members.items()
    with pytest.raises(ModelFormatError, match="not a whole CatBoost model"):
        load_ranker(repack(tmp_path / "m.lmk", manifest, {name: edit(content)}))


def test_a_leaf_with_two_parents_and_one_with_none():
    """Node 0 has node 1 and leaf 1, node 1 has leaves 0 and 1; no node has leaf 2."""
    with pytest.raises(ValueError, match="exactly one parent"):
        check_children(np.array([1, -1]), np.array([-2, -2]), 3)
