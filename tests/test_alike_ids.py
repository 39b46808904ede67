"""Query ids that are different texts and the same number."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from lambdamart_kit import LambdaMART
from lambdamart_kit.core.alike_ids import warn_of_alike_ids
from lambdamart_kit.datasets import read_letor
from lambdamart_kit.files import read_rows

ALIKE = "query ids '7' and '7.0' are the same number and count as two queries"


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        (["7", "7.0", "8"], "'7' and '7.0'"),
        (["007", "a", "+7"], "'\\+7' and '007'"),
        (["72048431380967004720", "72048431380967004721"], None),
        (["q1", "q01"], None),
        (["nan", "NaN", "1e3", "1000"], None),
        ([7, 8], None),
        ([], None),
    ],
)
def test_which_ids_are_alike(ids, found):
    if found is None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warn_of_alike_ids(np.array(ids), "rows.csv")
        return
    with pytest.warns(UserWarning, match=f"rows.csv: query ids {found}"):
        warn_of_alike_ids(np.array(ids), "rows.csv")


def test_files_that_write_one_query_in_two_ways(tmp_path):
    ids = ["7" if i % 2 else "7.0" for i in range(12)] + ["b", "b"]
    letor = tmp_path / "rows.txt"
    letor.write_text("".join(f"{i % 3} qid:{q} 1:{i} 2:1\n" for i, q in enumerate(ids)))
    table = tmp_path / "rows.csv"
    table.write_text("label,qid,a,c\n" + "".join(f"{i % 3},{q},{i},1\n" for i, q in enumerate(ids)))
    with pytest.warns(UserWarning, match=ALIKE):
        data = read_letor(letor)
    with pytest.warns(UserWarning, match=ALIKE):
        assert read_rows(table).qid.tolist() == data.qid.tolist() == ids
    with pytest.warns(UserWarning, match=ALIKE):
        LambdaMART(n_estimators=1).fit_files(table)
