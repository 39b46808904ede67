"""Query ids that are different texts and the same number, as '7' and '7.0': a query cut in two, mostly."""

from __future__ import annotations

import re
import warnings
from decimal import Decimal

from lambdamart_kit.core.queries import run_starts
from lambdamart_kit.core.typing import Array

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?")


def warn_of_alike_ids(ids: Array, where: object) -> None:
    """Warn if two query ids are written differently but are the same number.

    Programs write one id as 7 where a column holds whole numbers, as 7.0 where one value of it is missing,
    and as 007 where it is text. Such ids stay apart, because in other files 007 and 7 are two queries.

    Parameters
    ----------
    ids : (n,) array
        Query ids, each once or more often. Only text is compared.
    where : object
        File they were read from, for the warning.

    Warns
    -----
    UserWarning
        With the first two such ids.

    Examples
    --------
    >>> import numpy as np
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warn_of_alike_ids(np.array(["7", "8", "7.0"]), "train.csv")
    >>> str(caught[0].message).split(";")[0]
    "train.csv: query ids '7' and '7.0' are the same number and count as two queries"
    """
    if ids.dtype.kind not in "UO":
        return
    # Rows of one query mostly stand together, so the first of each run is enough. Numbers are exact here: two
    # long ids that differ in their last digit are one and the same float.
    written: dict[Decimal, str] = {}
    for name in dict.fromkeys(ids[run_starts(ids)].tolist()):
        if not isinstance(name, str) or not _NUMBER.fullmatch(name):
            continue
        other = written.setdefault(Decimal(name), name)
        if other != name:
            first, second = sorted((other, name))
            warnings.warn(
                f"{where}: query ids {first!r} and {second!r} are the same number and count as two queries; "
                "write them alike if they are one",
                UserWarning,
                stacklevel=3,
            )
            return
