"""Text read where CPython keeps it: the codes of pandas, or a refusal."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambdamart_kit.preferences import BradleyTerry, object_text
from lambdamart_kit.preferences.strengths.factorize import code_ids

reads = pytest.mark.skipif(object_text._layout() is None, reason="strings are not laid out as in CPython")


def own_objects(texts):
    """An object of its own for every text."""
    found = np.empty(len(texts), dtype=object)
    found[:] = ["".join((text, "!"))[:-1] for text in texts]
    return found


def test_this_interpreter_is_known():
    if sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)():
        assert object_text._layout() is not None


@reads
@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(st.characters(max_codepoint=127), max_size=20), min_size=1, max_size=60))
def test_codes_are_those_of_pandas(texts):
    objects = own_objects(texts)
    codes, first = object_text.code_text(objects)
    expected, unique = pd.factorize(objects)
    np.testing.assert_array_equal(codes, expected)
    assert objects[first].tolist() == list(unique)


class Named(str):
    __slots__ = ()


@reads
@pytest.mark.parametrize("other", [None, 1, "\xe9", "a\u20ac", b"a", float("nan"), Named("a"), ("a",)])
def test_what_is_not_plain_text_is_refused(other):
    objects = np.array(["a", None, "b"], dtype=object)
    objects[1] = other
    assert len(object_text.code_text(objects)[1]) == 0


@reads
def test_too_many_texts_are_left_to_pandas():
    objects = own_objects([str(i) for i in range(object_text._MOST_TEXTS + 1)])
    assert len(object_text.code_text(objects)[1]) == 0
    assert len(object_text.code_text(objects[1:])[1]) == object_text._MOST_TEXTS
    assert code_ids([objects]).items.tolist() == sorted(objects)


def test_strengths_are_the_same_on_an_unknown_interpreter(monkeypatch):
    rng = np.random.default_rng(0)
    pairs = own_objects([f"model {i}" for i in rng.integers(0, 9, 60_000)]).reshape(-1, 2)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    known = BradleyTerry(prior=0.1).fit(pairs)
    monkeypatch.setattr(object_text, "_layout", lambda: None)
    unknown = BradleyTerry(prior=0.1).fit(pairs)
    np.testing.assert_array_equal(known.strengths_, unknown.strengths_)
    assert known.items_.tolist() == unknown.items_.tolist()
