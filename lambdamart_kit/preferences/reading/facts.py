"""What an audit needs to know of a response, so that it need not hold the text.

100,000 pairs of two hundred words are 100 MB of text, but 5 MB of facts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
import pandas as pd

from lambdamart_kit.core.typing import Array

_HEADER = re.compile(r"^#{1,6}\s", re.MULTILINE)
_LIST_ITEM = re.compile(r"^\s*(?:[-*+•]|\d+[.)])\s", re.MULTILINE)
_BOLD = re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__")

COUNTS = ("characters", "words", "headers", "list_items", "bold")


def normalised(text: str) -> str:
    r"""A text without differences of case and white space.

    Two texts that are equal in this form are nearly, not exactly, the same: in code and mathematics case and
    indentation carry meaning.

    Examples
    --------
    >>> normalised(" Name a\n FRUIT")
    'name a fruit'
    """
    return " ".join(text.split()).casefold()


def text_key(text: str) -> int:
    """A 64-bit number for a text; two of a million texts share one with probability 3e-8."""
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def describe(text: str) -> tuple[int, ...]:
    """The counts of `COUNTS`, whether the text is blank, and the key of its normalised form."""
    plain = normalised(text)
    return (
        len(text),
        plain.count(" ") + 1 if plain else 0,
        len(_HEADER.findall(text)) if "#" in text else 0,
        len(_LIST_ITEM.findall(text)),
        len(_BOLD.findall(text)) if "**" in text or "__" in text else 0,
        int(not plain),
        text_key(plain),
    )


def facts_of(texts: Iterable[str]) -> pd.DataFrame:
    r"""Facts of texts, one row each; :func:`facts_table` says which.

    Examples
    --------
    >>> facts_of(["# A\n- b", "# a - B"])[["words", "list_items", "plain_code"]]
       words  list_items  plain_code
    0      4           1           0
    1      4           0           0
    """
    return facts_table(np.array([describe(text) for text in texts], dtype=np.uint64))


def facts_table(described: Array) -> pd.DataFrame:
    """Facts of responses, one row each, from what :func:`describe` says of them one after the other.

    Parameters
    ----------
    described : uint64 array

    Returns
    -------
    DataFrame
        ``characters``, ``words``, ``headers``, ``list_items``, ``bold`` (counts, Markdown), ``empty`` (bool),
        and ``plain_code``: equal where texts are equal but for case and white space.
    """
    rows = described.reshape(-1, len(COUNTS) + 2)
    table = pd.DataFrame(dict(zip(COUNTS, rows.astype(np.int32).T)))
    table["empty"] = rows[:, -2].astype(bool)
    table["plain_code"] = pd.factorize(rows[:, -1])[0].astype(np.int32)
    return table
