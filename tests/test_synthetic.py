"""The generated problem: its shape is MSLR's, it can be learned, and it is the same for the same seeds."""

from __future__ import annotations

import numpy as np
import pytest

from lambdamart_kit.core.rowhash import row_hashes
from lambdamart_kit.datasets import load_sample, make_letor
from lambdamart_kit.datasets.synthetic import LABEL_SHARES


@pytest.fixture(scope="module")
def data():
    return make_letor(n_queries=400, random_state=0)


def column(data, name):
    return data.X[:, data.feature_names.index(name)]


def test_shape(data):
    assert data.X.shape[1] == len(data.feature_names) == len(set(data.feature_names)) == 136
    assert (data.X.dtype, data.y.dtype, data.qid.dtype) == (np.float32, np.float32, np.int64)
    assert data.queries.ids.tolist() == list(range(1, 401))
    assert np.isfinite(data.X).all()
    assert 95 < data.queries.sizes.mean() < 145
    assert data.queries.sizes.min() < 15
    assert 300 < data.queries.sizes.max() <= 900


def test_label_shares(data):
    shares = np.bincount(data.y.astype(int), minlength=5) / len(data)
    np.testing.assert_allclose(shares, LABEL_SHARES, atol=0.05)
    assert (shares > 0).all()


def test_blank_queries(data):
    blank = np.maximum.reduceat(data.y, data.queries.ptr[:-1]) == 0
    assert 0.005 < blank.mean() < 0.1
    assert make_letor(30, blank_fraction=1.0, random_state=0).y.max() == 0


def test_columns_are_of_every_kind(data):
    starts = data.queries.ptr[:-1]
    constant = np.array(
        [np.array_equal(np.maximum.reduceat(c, starts), np.minimum.reduceat(c, starts)) for c in data.X.T]
    )
    assert [name for name, c in zip(data.feature_names, constant, strict=True) if c] == [
        f"idf_{stream}" for stream in ("body", "anchor", "title", "url", "whole")
    ]
    zeros = (data.X == 0).mean(axis=0)
    assert (zeros > 0.8).sum() > 20
    assert (zeros == 0).sum() > 10
    whole = (np.rint(data.X) == data.X).all(axis=0)
    assert 30 < whole.sum() < 80
    inlinks = column(data, "inlinks")
    assert inlinks.max() > 100 * np.quantile(inlinks, 0.75) > 0
    assert len(np.unique(column(data, "boolean_body"))) == 2
    assert len(np.unique(column(data, "pagerank"))) > 5000


def test_text_features_follow_from_each_other(data):
    tf = column(data, "tf_sum_body") + column(data, "tf_sum_anchor") + column(data, "tf_sum_title")
    np.testing.assert_array_equal(column(data, "tf_sum_whole"), tf + column(data, "tf_sum_url"))
    assert (column(data, "tf_max_title") <= column(data, "stream_length_title")).all()
    assert ((column(data, "covered_ratio_body") == 1) == column(data, "boolean_body")).all()
    assert (column(data, "lm_dir_body") <= 0).all()


def test_deterministic_and_one_population():
    a, b, c = make_letor(60, random_state=1), make_letor(60, random_state=1), make_letor(60, random_state=2)
    np.testing.assert_array_equal(a.X, b.X)
    np.testing.assert_array_equal(a.y, b.y)
    np.testing.assert_array_equal(a.qid, b.qid)
    in_common = np.isin(row_hashes(c.X), row_hashes(a.X)).mean()
    assert in_common < 0.01  # another seed draws other documents, but from the same population:
    np.testing.assert_allclose(c.X.mean(axis=0)[:5], a.X.mean(axis=0)[:5], rtol=0.5)
    other = make_letor(60, random_state=1, concept_seed=1)
    assert not np.array_equal(a.y, other.y)


def test_a_generator_moves_on():
    first, second = (np.random.default_rng(0) for _ in range(2))
    a, b = (make_letor(5, random_state=first) for _ in range(2))
    np.testing.assert_array_equal(make_letor(5, random_state=second).X, a.X)
    np.testing.assert_array_equal(make_letor(5, random_state=second).X, b.X)
    assert not np.isin(row_hashes(b.X), row_hashes(a.X)).any()


def test_what_is_relevant_carries_over_to_another_sample(data):
    """Least squares on one sample ranks the other far better than chance, and trees better still."""
    lightgbm = pytest.importorskip("lightgbm")
    from lambdamart_kit.metrics import ndcg

    test = make_letor(n_queries=200, random_state=1)

    def squashed(X):
        scaled = np.sign(X) * np.log1p(np.abs(X))
        return np.column_stack([scaled, np.ones(len(X))])

    weights = np.linalg.lstsq(squashed(data.X), data.y, rcond=None)[0]
    trees = lightgbm.LGBMRegressor(n_estimators=30, min_child_samples=50, n_jobs=1, verbose=-1)
    trees.fit(data.X, data.y)
    chance = ndcg(test.y, np.random.default_rng(0).random(len(test)), test.qid, k=10)
    linear = ndcg(test.y, squashed(test.X) @ weights, test.qid, k=10)
    boosted = ndcg(test.y, trees.predict(test.X), test.qid, k=10)
    assert 0.15 < chance < 0.3
    assert chance + 0.25 < linear < boosted < 0.8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_queries": 0}, "'n_queries' must be at least 1"),
        ({"mean_documents": 0.5}, "'mean_documents' must be from 1 to 'max_documents'"),
        ({"max_documents": 50}, "'mean_documents' must be from 1"),
        ({"blank_fraction": 2}, "'blank_fraction' must be from 0 to 1"),
        ({"noise": -1}, "'noise' must be at least 0"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_letor(**arguments)


def test_sizes_can_be_chosen():
    small = make_letor(200, mean_documents=8, max_documents=12, random_state=0)
    assert small.queries.sizes.max() == 12
    assert 5 < small.queries.sizes.mean() < 10


def test_sample():
    sample = load_sample()
    assert sample.queries.n_queries == 300
    assert sample.X.shape[1] == 136
