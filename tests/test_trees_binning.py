from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from lambdamart_kit.core.queries import Queries
from lambdamart_kit.trees.bin_search import _round_up, merges
from lambdamart_kit.trees.binning import BinMapper

floats = st.floats(width=32, allow_nan=True, allow_infinity=True)


@settings(max_examples=60, deadline=None)
@given(arrays(np.float32, st.integers(1, 60), elements=floats), st.integers(2, 12))
def test_a_bin_says_how_many_edges_lie_below(column, max_bin):
    mapper = BinMapper.fit(column[:, None], max_bin=max_bin)
    edges = mapper.edges[0]
    assert len(edges) <= max_bin - 1
    assert np.isfinite(edges).all()
    assert (np.diff(edges) > 0).all()
    bins = mapper.transform(column[:, None]).columns[0]
    expected = (column[:, None].astype(np.float64) > edges[None]).sum(axis=1)
    assert np.array_equal(bins, np.where(np.isnan(column), len(edges) + 1, expected))


@settings(max_examples=40, deadline=None)
@given(arrays(np.float32, st.integers(1, 40), elements=floats))
def test_few_values_have_a_bin_each(column):
    values = np.unique(column[~np.isnan(column)])
    assume(not {-np.inf, np.finfo(np.float32).min} <= set(values))  # no finite edge lies between these two
    mapper = BinMapper.fit(column[:, None])
    bins = mapper.transform(values[:, None]).columns[0]
    assert bins.tolist() == list(range(len(values)))


def test_two_bins_are_halves():
    column = np.arange(10, dtype=np.float32)[:, None]
    mapper = BinMapper.fit(column, max_bin=2)
    assert mapper.transform(column).columns[0].tolist() == [0] * 5 + [1] * 5


def test_how_many_values_are_next_to_zero():
    """LightGBM's models read values up to float32's 1e-35 as zero, that value included."""
    tiny = np.float32(1e-35)
    next_up = np.nextafter(tiny, np.float32(1))
    column = np.array([0, tiny, -tiny, tiny / 2, tiny, next_up, -next_up, 1, np.nan], dtype=np.float32)
    with pytest.warns(UserWarning, match="'X' has 3 distinct values within 1e-35 of zero in column 0"):
        BinMapper.fit(np.stack([column, np.ones_like(column)], axis=1))


def test_bins_hold_about_equal_shares(rng):
    column = rng.lognormal(size=(20_000, 1)).astype(np.float32)
    counts = np.bincount(BinMapper.fit(column, max_bin=50).transform(column).columns[0])
    assert len(counts) == 50
    assert counts.min() > 300  # 400 each
    assert counts.max() < 500


def test_a_heavy_value_has_a_bin_to_itself(rng):
    column = rng.normal(size=20_000).astype(np.float32)
    column[:15_000] = 0
    mapper = BinMapper.fit(column[:, None], max_bin=20)
    bins = mapper.transform(column[:, None]).columns[0]
    assert len(np.unique(column[bins == bins[0]])) == 1
    assert len(np.unique(bins)) == 20


def test_no_bin_is_left_over(rng):
    """A heavy zero must not make values look light that are heavy among the rest."""
    values = np.ceil(400 * rng.random(2000) ** 2)  # many of the lower ones
    column = np.concatenate([np.zeros(8000), values]).astype(np.float32)[:, None]
    mapper = BinMapper.fit(column, max_bin=200)
    assert len(np.unique(column)) > 220
    assert len(np.unique(mapper.transform(column).columns[0])) == 200


def test_edges_do_not_depend_on_rows_order_or_threads(rng):
    X = rng.normal(size=(5000, 3)).astype(np.float32)
    mapper = BinMapper.fit(X)
    shuffled = BinMapper.fit(X[rng.permutation(5000)], n_threads=2)
    assert all(np.array_equal(a, b) for a, b in zip(mapper.edges, shuffled.edges))
    assert np.array_equal(mapper.transform(X).columns, mapper.transform(X, n_threads=3).columns)


def test_a_large_sample_is_drawn_by_query(monkeypatch, rng):
    monkeypatch.setattr("lambdamart_kit.trees.binning.SAMPLE_ROWS", 500)
    X, qid = rng.normal(size=(2000, 1)).astype(np.float32), np.repeat(np.arange(100), 20)
    X += qid[:, None]  # a query's rows are alike: rows drawn one by one would show all queries
    queries = Queries.from_qid(qid, 2000)
    within = np.arange(2000).reshape(100, 20)
    shuffled = rng.permuted(within, axis=1).ravel()
    assert np.array_equal(BinMapper.fit(X, queries).edges[0], BinMapper.fit(X[shuffled], queries).edges[0])


def test_sparse_is_dense(rng):
    X = sparse.random(400, 6, 0.2, random_state=0, dtype=np.float32).tocsr()
    X.data[::7] = np.nan
    X.data[1::7] *= -1
    mapper, dense = BinMapper.fit(X), BinMapper.fit(X.toarray())
    assert all(np.array_equal(a, b) for a, b in zip(mapper.edges, dense.edges))
    assert np.array_equal(mapper.transform(X, n_threads=2).columns, dense.transform(X.toarray()).columns)


def test_categories_are_bins_by_frequency():
    column = np.array([[7], [7], [7], [2], [2], [9], [np.nan]], dtype=np.float32)
    mapper = BinMapper.fit(column, categorical=[0], max_bin=3)
    assert mapper.categories[0].tolist() == [7, 2]
    unseen = np.array([[9], [8], [np.nan], [np.inf], [-1], [2], [7]], dtype=np.float32)
    assert mapper.transform(unseen).columns[0].tolist() == [0, 0, 0, 0, 0, 2, 1]


@pytest.mark.parametrize("bad", [-1.0, 0.5, np.inf])
def test_bad_category_codes(bad):
    with pytest.raises(ValueError, match="'categorical_features' column 0 must hold category codes"):
        BinMapper.fit(np.array([[1.0], [bad]], dtype=np.float32), categorical=[0])


def test_bad_parameters():
    X = np.zeros((3, 2), dtype=np.float32)
    with pytest.raises(ValueError, match="'max_bin' must be from 2 to 255; got 256"):
        BinMapper.fit(X, max_bin=256)
    with pytest.raises(ValueError, match="'max_bin' must be from 2 to 255; got 1"):
        BinMapper.fit(X, max_bin=1)
    with pytest.raises(ValueError, match="'X' must have 2 columns"):
        BinMapper.fit(X).transform(X[:, :1])


doubles = st.one_of(
    st.floats(-3e38, 3e38) | st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0]),
    st.integers(0, 5).map(lambda i: 1e9 + i),  # one float32
    st.integers(-3, 3).map(lambda i: i * 1e-47),  # float32 knows zero only
    st.integers(0, 9).map(lambda i: i / 10),
)


@settings(max_examples=150, deadline=None)
@given(arrays(np.float64, st.integers(1, 60), elements=doubles), st.integers(2, 12))
@pytest.mark.filterwarnings("ignore:'X' has")
def test_the_bin_of_a_double_says_how_many_edges_lie_below(column, max_bin):
    mapper = BinMapper.fit(column[:, None], max_bin=max_bin)
    edges = mapper.edges[0].astype(np.float64)
    assert len(edges) <= max_bin - 1
    assert (np.diff(edges) > 0).all()
    expected = np.where(np.isnan(column), len(edges) + 1, (column[:, None] > edges[None]).sum(axis=1))
    assert np.array_equal(mapper.transform(column[:, None]).columns[0], expected)
    stored = sparse.csr_matrix(column[:, None])
    assert np.array_equal(mapper.transform(stored).columns[0], expected)


@settings(max_examples=100, deadline=None)
@given(arrays(np.float64, st.integers(1, 40), elements=doubles))
@pytest.mark.filterwarnings("ignore:'X' has")
def test_few_doubles_have_a_bin_each(column):
    values = np.unique(column[~np.isnan(column)])
    assume(not {-np.inf, np.finfo(np.float64).min} <= set(values))
    bins = BinMapper.fit(column[:, None]).transform(values[:, None]).columns[0]
    assert bins.tolist() == list(range(len(values)))


def test_a_double_is_rounded_up_to_the_next_single():
    tiny = np.nextafter(np.float32(0), np.float32(1))
    largest = np.finfo(np.float32).max
    given = np.array([[0.1, -0.1, 0.5, 1e-60, -1e-60, 0.0, 1e39, -1e39, np.inf, -np.inf, np.nan]]).T
    expected = [np.float32(0.1), np.nextafter(np.float32(-0.1), np.float32(0)), 0.5, tiny, 0.0, 0.0]
    expected += [np.inf, -largest, np.inf, -np.inf, np.nan]
    assert float(np.float32(0.1)) > 0.1
    assert float(np.float32(-0.1)) < -0.1
    singles = np.empty(11, np.float32)
    _round_up(given[:, 0].copy(), singles)
    assert np.array_equal(singles, np.array(expected, np.float32), equal_nan=True)


def test_a_heavy_single_that_is_many_doubles_is_told_apart(rng):
    """One value in five lies between two float32 numbers: bins of its own, though 20,000 values share 255."""
    column = rng.normal(size=20_000)
    merged = 1e9 + rng.integers(0, 30, 5000)  # float32 knows every 64th whole number here
    mapper = BinMapper.fit(np.concatenate([column, merged])[:, None])
    assert mapper.edges[0].dtype == np.float64
    assert len(np.unique(mapper.transform(np.unique(merged)[:, None]).columns[0])) == 30
    assert BinMapper.fit(column[:, None]).edges[0].dtype == np.float32


def test_a_column_of_doubles_costs_its_neighbours_nothing(rng):
    """Edges of a column do not depend on what else there is, nor on the eight that are read together."""
    X = np.c_[rng.normal(size=(300, 9)), 1e9 + rng.integers(0, 40, 300), rng.integers(0, 9, (300, 9))]
    mapper = BinMapper.fit(X)
    assert [e.dtype == np.float64 for e in mapper.edges] == [j == 9 for j in range(19)]
    for j in range(19):
        alone = BinMapper.fit(X[:, [j]])
        assert np.array_equal(alone.edges[0], mapper.edges[j])
        assert np.array_equal(alone.transform(X[:, [j]]).columns[0], mapper.transform(X).columns[j])
    again = BinMapper.of_arrays(mapper.to_arrays())
    assert np.array_equal(again.transform(X, n_threads=2).columns, mapper.transform(X).columns)


def test_doubles_merge_only_where_they_become_a_float32_of_the_table():
    """1.5 and 2 lie between the table's 1 and 3; 3 and 3 + 1e-12 both become its 3."""
    table = np.full(255, np.inf, dtype=np.float32)
    table[:2] = [1.0, 3.0]
    for doubles, merged in (([1.5, 2.0], False), ([3.0, 3.0], False), ([3.0, 3.0 + 1e-12], True)):
        values = np.array(doubles)
        assert merges(values, values.astype(np.float32), table, np.full(255, np.nan)) is merged
