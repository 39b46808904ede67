import numpy as np
import pandas as pd
import pytest

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
