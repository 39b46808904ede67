"""Exported trees score as the ranker's do: random models, rows on thresholds and one float32 beside them."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
from export_engines import ENGINES, solr

from lambdamart_kit.export import EXPORTS, export_model, find_format
from lambdamart_kit.export.formats.solr import thresholds_for_solr
from lambdamart_kit.export.model import TreeSum
from lambdamart_kit.export.thresholds import float32_at_most
from lambdamart_kit.trees.plain_tree import PlainTree

N_FEATURES = 5
NAMES = tuple(f"feature{j}" for j in range(N_FEATURES))
LARGEST = float(np.finfo(np.float32).max)
SMALLEST = 2.0**-149
CATEGORICAL = 4  # a column of codes, in models with categories
VARIANTS = [
    (name, flavour) for name in EXPORTS for flavour in (find_format(name).flavours or ("",))
]  # every format with every flavour


def thresholds(rng, kind):
    """Numbers that are float32 and that are not, on both sides of zero, the smallest and the largest."""
    usual = [rng.normal(), float(np.float32(rng.normal())), 1e3 * rng.normal(), float(rng.integers(-3, 4))]
    if kind == "solr":  # a feature with values of all sizes is refused there
        return float(rng.choice([*usual, -1.0, 1e-5 * rng.normal(), 1e-35, -1e-35, 0.0]))
    tiny = [1e-35, 1e-38, SMALLEST, 1e-6, 0.0]
    extreme = [0.0, -0.0, *tiny, *(-t for t in tiny), LARGEST, -LARGEST, 1e300, -1e300, np.inf, -np.inf]
    return float(rng.choice([*usual, *usual, float(rng.choice(extreme))]))


def random_tree(rng, kind, *, categories, missing):
    """A tree grown leaf by leaf. Leaf values are at least 0.01 apart, so no wrong turn can hide."""
    n_nodes = int(rng.integers(0, 9))
    children = np.zeros((n_nodes, 2), dtype=np.int64)
    free = []
    for node in range(n_nodes):
        if node:
            parent, side = free.pop(rng.integers(len(free)))
            children[parent, side] = node
        free += [(node, 0), (node, 1)]
    for leaf, (node, side) in enumerate(free):
        children[node, side] = ~leaf
    feature = rng.integers(0, CATEGORICAL + categories, n_nodes)
    sets = tuple(
        np.flatnonzero(rng.random(40) < 0.3) if categories and j == CATEGORICAL else None for j in feature
    )
    threshold = np.array([thresholds(rng, kind) for _ in range(n_nodes)])
    zero_left = np.array([t >= 0 for t in threshold], dtype=bool)
    missing_left = rng.random(n_nodes) < 0.5 if missing == "own" else zero_left
    missing_left &= np.array([codes is None for codes in sets], dtype=bool)  # LightGBM's rule for categories
    value = 0.01 * rng.permutation(np.arange(-10, 10))[: n_nodes + 1] + 1e-3 * rng.random(n_nodes + 1)
    zeros = np.zeros(n_nodes)
    return PlainTree(
        feature, threshold, sets, missing_left, *children.T, value, zeros, zeros, np.zeros(n_nodes + 1)
    )


def score_by_hand(model, rows):
    """The definition of a `PlainTree`, row by row."""
    scores = []
    for row in rows.tolist():
        total = 0.0
        for tree in model.trees:
            node = 0 if len(tree.feature) else -1
            while node >= 0:
                value, codes = row[tree.feature[node]], tree.categories[node]
                if math.isnan(value):
                    left = tree.missing_left[node]
                else:
                    left = value <= tree.threshold[node] if codes is None else value in codes
                node = tree.left[node] if left else tree.right[node]
            total += tree.value[~node]
        scores.append(total)
    return np.array(scores)


def rows_around(rng, model, n_rows, *, missing):
    """Rows whose values are thresholds as float32, the float32 numbers on both sides, zeros, NaN, or any."""
    pools = [[0.0, -0.0, SMALLEST, -SMALLEST, LARGEST, -LARGEST] for _ in range(N_FEATURES)]
    for tree in model.trees:
        for feature, threshold in zip(tree.feature.tolist(), tree.threshold.tolist()):
            with np.errstate(over="ignore"):
                near = np.float32(np.clip(threshold, -LARGEST, LARGEST))
                beside = [np.nextafter(near, np.float32(s)) for s in (-np.inf, np.inf)]
            pools[feature] += [float(v) for v in (near, near, *beside) if np.isfinite(v)]
    columns = []
    for pool in pools:
        pool = [*pool, *rng.normal(size=2).astype(np.float32).tolist()]
        columns.append(rng.choice([*pool, np.nan, np.nan] if missing else pool, n_rows))
    if any(codes is not None for tree in model.trees for codes in tree.categories):
        columns[CATEGORICAL] = rng.integers(0, 50, n_rows).astype(float)
        if missing:
            columns[CATEGORICAL][rng.random(n_rows) < 0.1] = np.nan
    return np.stack(columns, axis=1).astype(np.float32)


def random_case(rng, name, flavour, n_rows):
    """A model that the format can hold, rows for it, and options of the export."""
    made = find_format(name)
    null_is_zero = name == "ranklib" or flavour == "ranklib"
    no_missing = bool(rng.random() < 0.3)
    categories = made.holds_categories and rng.random() < 0.4
    rule = "zero" if null_is_zero and not no_missing else "own"
    kind = "solr" if name == "solr" else "any"
    trees = [random_tree(rng, kind, categories=categories, missing=rule) for _ in range(rng.integers(1, 6))]
    model = TreeSum(tuple(trees), NAMES)
    rows = rows_around(rng, model, n_rows, missing=not no_missing)
    if name in ("lightgbm", "solr"):  # a note of the export says so: what is that small counts as 0 there
        rows[np.abs(rows) <= np.float32(1e-35)] = 0.0
    return model, rows, {"no_missing": no_missing}


def score(name, content, rows, tmp_path):
    if name != "c":
        return ENGINES[name](content, NAMES, rows)
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    return ENGINES[name](content, NAMES, rows, folder=tmp_path, compiler=compiler)


def compare(name, flavour, n_models, n_rows, tmp_path, seed):
    rng = np.random.default_rng(seed)
    n_scored = 0
    for number in range(n_models):
        model, rows, options = random_case(rng, name, flavour, n_rows)
        folder = tmp_path / str(number)
        folder.mkdir()
        target = folder / ("m.ubj" if flavour == "ubj" else "m.txt")
        export_model(model, target, name, flavour=flavour, **options)
        scores = score(name, target.read_bytes(), rows, folder)
        expected = score_by_hand(model, rows)
        # Sums of at most five leaves below 0.11 in float32: 5 roundings of at most 2 ** -25.
        wrong = np.flatnonzero(np.abs(scores - expected) > 2e-7)
        assert not len(wrong), (number, rows[wrong[0]], scores[wrong[0]], expected[wrong[0]])
        n_scored += len(rows)
    return n_scored


def test_every_format_has_an_engine_here():
    assert set(ENGINES) == set(EXPORTS)


@pytest.mark.parametrize(("name", "flavour"), VARIANTS)
def test_random_models_on_their_thresholds(name, flavour, tmp_path):
    if name == "onnx":
        pytest.importorskip("onnxruntime")
    n_models = 6 if name == "c" else 40
    assert compare(name, flavour, n_models, 60, tmp_path, seed=0) == 60 * n_models


@pytest.mark.slow
@pytest.mark.parametrize(("name", "flavour"), VARIANTS)
def test_a_million_rows(name, flavour, tmp_path):
    if name == "onnx":
        pytest.importorskip("onnxruntime")
    assert compare(name, flavour, 1000, 1000, tmp_path, seed=1) == 1_000_000


def test_thresholds_become_the_largest_float32_that_is_not_above():
    assert float32_at_most(np.array([0.1]))[0] == np.float32(0.099999994)
    assert float32_at_most(np.array([0.5]))[0] == 0.5
    assert float32_at_most(np.array([np.inf]))[0] == np.float32(LARGEST)
    assert float32_at_most(np.array([SMALLEST / 2]))[0] == 0.0
    assert float32_at_most(np.array([-SMALLEST / 2]))[0] == np.float32(-SMALLEST)
    rng = np.random.default_rng(0)
    t = rng.normal(size=10_000) * 10.0 ** rng.integers(-40, 38, 10_000)
    found = float32_at_most(t)
    assert (found <= t).all()
    assert (np.nextafter(found, np.float32(np.inf)) > t).all()


def test_solr_reaches_nearly_every_threshold_far_from_zero_but_not_minus_one():
    rng = np.random.default_rng(0)
    wanted = (rng.choice([-1, 1], 50_000) * 10.0 ** rng.uniform(-3, 38, 50_000)).astype(np.float32)
    written, exact = thresholds_for_solr(wanted)
    assert np.array_equal(written[exact] + np.float32(1e-6), wanted[exact])
    assert exact.mean() > 0.999
    assert not thresholds_for_solr(np.array([-1.0], dtype=np.float32))[1]


def test_a_feature_with_thresholds_that_solr_does_not_reach_is_doubled(tmp_path):
    tree = PlainTree.of_split(feature=1, threshold=-1.0, left=0.0, right=1.0, missing_left=True)
    export_model(TreeSum((tree,), NAMES), tmp_path / "m.json", "solr")
    features = json.loads((tmp_path / "m.json").read_text())["features"]
    assert features[1]["norm"]["params"] == {"avg": "0.0", "std": "0.5"}
    assert "norm" not in features[0]
    rows = np.array(
        [[0, v, 0, 0, 0] for v in (-1.0, np.nextafter(np.float32(-1), 0), np.nan)], dtype=np.float32
    )
    assert solr((tmp_path / "m.json").read_bytes(), NAMES, rows).tolist() == [0.0, 1.0, 0.0]


def test_solr_says_where_it_reaches_no_threshold():
    wanted = np.array([1e-8, -1e-35, 1e-35], dtype=np.float32)
    written, exact = thresholds_for_solr(wanted)
    reached = written + np.float32(1e-6)
    assert (reached <= wanted).all()
    assert np.array_equal(exact, reached == wanted)
    assert not exact[1]
    # No power of two takes this feature's smallest threshold away from zero and keeps the largest finite.
    trees = [
        PlainTree.of_split(feature=1, threshold=t, left=0.0, right=1.0, missing_left=True)
        for t in (-1e-35, 1e30)
    ]
    with pytest.raises(ValueError, match=r"'feature1' <= -1e-35 becomes <= -1.1368684e-13.*approximate"):
        export_model(TreeSum(tuple(trees), NAMES), "unused.json", "solr")
