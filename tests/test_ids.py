"""Coding of ids: every kind of column against a dictionary."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lambdamart_kit.preferences import BradleyTerry
from lambdamart_kit.preferences.strengths.comparisons import count_comparisons, encode_items
from lambdamart_kit.preferences.strengths.factorize import code_ids

RNG = np.random.default_rng(0)
NAMES = [f"model-{i}" for i in range(7)]


def fresh(values):
    """Equal strings that are objects of their own."""
    return np.array(["".join(list(v)) for v in values], dtype=object)


def columns_of_every_kind():
    codes = RNG.integers(0, 7, (2, 500))
    strings = [np.array(NAMES, dtype=object)[c] for c in codes]
    yield "integers", [c - 3 for c in codes]
    yield "int8", [c.astype(np.int8) for c in codes]
    yield "uint64", [c.astype(np.uint64) + np.uint64(2**63 - 2) for c in codes]
    yield "far apart", [c * 10**12 for c in codes]
    yield "integers and floats", [codes[0], codes[1].astype(float)]
    yield "shared objects", strings
    yield "objects of their own", [fresh(s) for s in strings]
    yield "unicode", [s.astype(str) for s in strings]
    yield "series", [pd.Series(s) for s in strings]
    yield "series of objects", [pd.Series(s, dtype=object) for s in strings]
    yield "arrow", [pd.Series(s, dtype="string[pyarrow]") for s in strings]
    yield "python strings", [pd.Series(s, dtype="string[python]") for s in strings]
    yield (
        "categories",
        [
            pd.Series(pd.Categorical(strings[0], categories=["unused", *NAMES[::-1]])),
            pd.Series(pd.Categorical(strings[1])),
        ],
    )
    yield "categories and strings", [pd.Series(pd.Categorical(strings[0])), pd.Series(strings[1])]


@pytest.mark.parametrize(
    ("kind", "columns"), list(columns_of_every_kind()), ids=lambda v: v if isinstance(v, str) else ""
)
def test_codes_name_the_ids(kind, columns):
    coded = code_ids(columns)
    expected = sorted({v for column in columns for v in column.tolist()})
    assert coded.items.tolist() == expected
    for column, codes, places in zip(columns, coded.codes, coded.places):
        place = [places[int(c) - coded.low] for c in codes]
        assert [expected[p] for p in place] == column.tolist()


def test_more_objects_than_the_table_of_addresses_holds():
    ids = np.array([f"item {i}" for i in RNG.integers(0, 40_000, 60_000)], dtype=object)
    coded = code_ids([ids])
    assert coded.items.tolist() == sorted(set(ids.tolist()))
    assert (coded.items[coded.places[0][coded.codes[0]]] == ids).all()


@pytest.mark.parametrize(
    "missing",
    [
        pd.DataFrame({"a": ["x", "y", None], "b": ["y", "x", "x"]}),
        pd.DataFrame({"a": ["x", "y", None], "b": ["y", "x", "x"]}).astype("category"),
        pd.DataFrame({"a": ["x", "y", None], "b": ["y", "x", "x"]}).astype(object),
        pd.DataFrame({"a": ["x", "y", None], "b": ["y", "x", "x"]}).astype("string[pyarrow]"),
        np.array([["x", "y"], ["y", "x"], [None, "x"]], dtype=object),
        np.array([[0.0, 1.0], [1.0, 0.0], [np.nan, 1.0]]),
    ],
)
def test_missing_ids_name_their_row(missing):
    with pytest.raises(ValueError, match="must not hold missing ids; row 2 has one"):
        encode_items(missing)


def test_threads_change_nothing_and_name_the_first_row():
    codes = RNG.integers(0, 50, (250_000, 2))
    codes[:, 1] = (codes[:, 0] + 1 + codes[:, 1] % 49) % 50
    items, first, second = encode_items(codes)
    np.testing.assert_array_equal(np.column_stack([items[first], items[second]]), codes)
    codes[[200_000, 240_000], 1] = codes[[200_000, 240_000], 0]
    with pytest.raises(ValueError, match=r"row 200000 compares .* with itself \(2 such rows\)"):
        encode_items(codes)


def test_one_record_a_pair_is_the_same_likelihood():
    pairs = RNG.integers(0, 5, (400, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    outcomes, weight = RNG.choice([0, 0.3, 0.5, 1], len(pairs)), RNG.choice([0.5, 2.0], len(pairs))
    bt = BradleyTerry(prior=0.1).fit(pairs, outcomes, weight)
    whole, condensed = bt._likelihood, bt._likelihood.condensed()
    assert len(condensed.comparisons.first) == 10 < len(count_comparisons(pairs, outcomes).first)
    parameters = RNG.normal(size=5)
    losses = [m.loss(parameters, m.derivatives(parameters)) for m in (whole, condensed)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-12)
    np.testing.assert_allclose(
        *(m.gradient(parameters, m.derivatives(parameters)) for m in (whole, condensed)),
        rtol=1e-10,
        atol=1e-10,
    )
