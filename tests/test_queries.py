import numpy as np
import pandas as pd
import pytest

from lambdamart_kit.core.ordered_rows import canonical_order
from lambdamart_kit.core.queries import Queries


@pytest.mark.parametrize(
    "qid",
    [
        [3, 1, 3, 2, 1],
        ["b", "a", "b", "c", "a"],
        pd.Series(["b", "a", "b", "c", "a"]),
        pd.Categorical(["b", "a", "b", "c", "a"]),
        np.array([2.5, 1.0, 2.5, 9.0, 1.0]),
        [("x", 1), 2, ("x", 1), "z", 2],
    ],
    ids=["int", "list", "series", "categorical", "float", "mixed"],
)
def test_groups_are_the_sets_of_equal_ids(qid):
    if isinstance(qid, list) and isinstance(qid[0], tuple):
        mixed = np.empty(len(qid), dtype=object)
        mixed[:] = qid
        qid = mixed
    queries = Queries.from_qid(qid, 5)
    groups = {frozenset(queries.order[a:b].tolist()) for a, b in zip(queries.ptr[:-1], queries.ptr[1:])}
    assert groups == {frozenset({0, 2}), frozenset({1, 4}), frozenset({3})}


def test_stable_within_a_query(rng):
    qid = rng.integers(0, 30, 1000)
    queries = Queries.from_qid(qid, 1000)
    assert (queries.order == np.argsort(qid, kind="stable")).all()
    assert (queries.unsort(queries.sort(qid)) == qid).all()
    assert (queries.ids[queries.query_of_ordered_row] == qid[queries.order]).all()


def test_query_order_does_not_depend_on_row_order(rng):
    qid = np.repeat(["q10", "q2", "q1"], [2, 3, 4])
    shuffled = rng.permutation(qid)
    one, other = Queries.from_qid(qid, 9), Queries.from_qid(shuffled, 9)
    assert one.ids.tolist() == other.ids.tolist()
    assert one.ptr.tolist() == other.ptr.tolist()


def test_none_is_one_query_and_empty_is_none():
    assert Queries.from_qid(None, 4).ptr.tolist() == [0, 4]
    assert Queries.from_qid(None, 0).n_queries == 0
    assert Queries.from_qid([], 0).n_queries == 0


def test_a_column_of_ids_is_taken_as_the_ids_it_holds():
    assert Queries.from_qid([[2], [1], [2]], 3).ids.tolist() == [1, 2]


def test_rows_of_selected_queries():
    queries = Queries.from_qid(["b", "a", "b", "c"], 4)
    assert queries.rows(np.array([False, True, True])).tolist() == [0, 2, 3]
    assert queries.rows(np.array([0])).tolist() == [1]


@pytest.mark.parametrize(
    ("qid", "n", "message"),
    [
        ([1, 2], 3, r"'qid' must hold one query id per row.*\(3,\).*\(2,\).*numpy.repeat"),
        ([[[1]], [[2]]], 2, "one query id per row"),
        ([1.0, np.nan], 2, "row 1"),
        (["a", None], 2, "row 1"),
        (pd.array([1, None], dtype="Int64"), 2, "row 1"),
    ],
)
def test_bad_qid(qid, n, message):
    with pytest.raises(ValueError, match=message):
        Queries.from_qid(qid, n)


COLUMNS = ["object", "str", "string", "category"]


@pytest.mark.parametrize("dtype", COLUMNS)
@pytest.mark.parametrize("sort", [True, False])
def test_text_columns_group_as_string_arrays_do(dtype, sort):
    rng = np.random.default_rng(0)
    ids = [f"query {i}" for i in rng.integers(0, 30, 500)]
    ids = sorted(ids) if sort else ids
    expected = Queries.from_qid(np.array(ids), len(ids))
    found = Queries.from_qid(pd.Series(ids, dtype=dtype), len(ids))
    assert found.ids.dtype == expected.ids.dtype
    for name in ("order", "ptr", "ids"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("dtype", COLUMNS)
@pytest.mark.parametrize("row", [0, 1, 3])
def test_a_missing_text_id_is_named(dtype, row):
    ids = pd.Series(["a", "a", "b", "b"], dtype=dtype)
    ids.iloc[row] = None
    with pytest.raises(ValueError, match=f"'qid' must not be missing: row {row} "):
        Queries.from_qid(ids, 4)


def test_objects_of_mixed_types_are_no_text():
    mixed = np.array(["1", "1", 1, 1.0, True, "1"], dtype=object)
    with pytest.warns(UserWarning, match="a number in some rows and text in others"):
        queries = Queries.from_qid(mixed, 6)
    assert queries.n_queries == 2


def by_columns(queries, content, *tie_breakers):
    """The order as its definition says it: by query, hash, and what breaks ties."""
    query_of_row = np.empty(queries.n_samples, dtype=np.intp)
    query_of_row[queries.order] = queries.query_of_ordered_row
    given = [values for values in tie_breakers if values is not None]
    return np.lexsort((*given, content, query_of_row))


@pytest.mark.parametrize("n_queries", [1, 2, 7, 64])
@pytest.mark.parametrize("n_contents", [1, 3, 2**63])
def test_rows_are_ordered_as_by_columns(n_queries, n_contents):
    rng = np.random.default_rng(0)
    queries = Queries.from_qid(rng.integers(0, n_queries, 300), 300)
    for shift in (0, 60):  # hashes that differ in their last bits, or in their first
        content = rng.integers(0, n_contents, 300, dtype=np.uint64) << np.uint64(
            shift if n_contents < 9 else 0
        )
        ties = rng.integers(0, 2, 300).astype(float)
        for given in ((), (None, ties)):
            expected = by_columns(queries, content, *given)
            np.testing.assert_array_equal(canonical_order(queries, content, *given), expected)
