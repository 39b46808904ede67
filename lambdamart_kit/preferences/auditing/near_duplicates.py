r"""Texts that are nearly the same: MinHash, locality-sensitive hashing, and an exact check of what they find.

Two texts are near duplicates if their sets of four-character shingles, letter case and punctuation aside,
have a Jaccard similarity of at least 0.75, their words (each as often as it occurs) one of at least 0.7, they
hold the same numbers, and no word that decides is exchanged or negated. "2+2?" and "2+3?" are different
questions, and so are "cats or dogs | cats" and "cats or dogs | dogs", which share nearly all shingles, and
"should it be mandatory" and "should it not be mandatory". A word decides if the other text has no word like
it (a typing error or an ending makes no other word) and it is no article, auxiliary verb or the like. Where
no more than one word in twenty is exchanged it decides nothing.

The MinHash here hashes all texts of a batch together with NumPy, and needs no other library.

References
----------
Broder (1997), "On the resemblance and containment of documents". Leskovec, Rajaraman, Ullman (2020),
"Mining of massive datasets", section 3.4 (banding).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lambdamart_kit.core.typing import Array, BoolArray, IndexArray

_SHINGLE = 4
_SIMILAR = 0.75
_SIMILAR_WORDS = 0.7
# Sixteen bands of four hashes find a pair of similarity s with probability 1 - (1 - s^4)^16: .998 at .75, and
# .64 at .5, which the exact check then refuses.
_BANDS = 16
_PER_BAND = 4
_BATCH = 512  # texts hashed together
_NOT_WORD = re.compile(r"[\W_]+")
_NUMBER = re.compile(r"\d+")
# A word that one text has and the other has not decides unless it is one of these.
_FUNCTION_WORDS = """
    a an the this that these those is are was were be been am s re m ve ll d do does did can could will
    would should shall may might must you me i we us he she it they them your my our its their please of
    to in on at for with by from and or but so as if then than there here what which who whom whose how
    when where why give write tell make let show provide list name have has had get just also some any
    """
_NEGATIONS = frozenset(["not", "no", "never", "without", "nor", "cannot", "t"])
_SAME_WORD = 0.85  # similarity of spelling from which two words are one, mistyped or inflected
_FEW_WORDS = 0.05  # share of words that may be exchanged
_MULTIPLIERS = (
    np.random.default_rng(20260101).integers(1, 2**63, (_BANDS, _PER_BAND), dtype=np.uint64) * 2 + 1
)


def near_duplicates(texts: Sequence[str]) -> IndexArray:
    """Group of each text: texts of one group are near duplicates, directly or through others.

    Parameters
    ----------
    texts : sequence of str
        Empty texts belong to no group but their own.

    Returns
    -------
    (n_texts,) intp
        Number of the group, which is the place of its first text.

    Examples
    --------
    >>> asked = ["What is the capital of France?", "Name a fruit", "What's the capital of France?"]
    >>> near_duplicates(asked).tolist()
    [0, 1, 0]
    """
    keys, filled = _band_keys(texts)
    first, second = _verified(texts, _candidates(keys, filled))
    n_texts = len(texts)
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(n_texts, n_texts))
    n_groups, label = connected_components(graph, directed=False)
    smallest = np.full(n_groups, n_texts, dtype=np.intp)
    np.minimum.at(smallest, label, np.arange(n_texts))
    return smallest[label]


def near_any(texts: Sequence[str], others: Sequence[str]) -> BoolArray:
    """Whether each text is a near duplicate of one of the `others`.

    Examples
    --------
    >>> near_any(["Name a fruit.", "Name a city."], ["name a FRUIT"]).tolist()
    [True, False]
    """
    group = near_duplicates([*texts, *others])
    theirs = set(group[len(texts) :].tolist())
    empty = np.array([not _plain(text) for text in texts], dtype=bool)
    return np.array([g in theirs for g in group[: len(texts)].tolist()], dtype=bool) & ~empty


def _plain(text: str) -> str:
    return _NOT_WORD.sub(" ", text).strip().casefold()


def _band_keys(texts: Sequence[str]) -> tuple[Array, BoolArray]:
    """Key of each text in each band, and which texts have any word: equal keys make candidates."""
    keys = np.empty((len(texts), _BANDS), dtype=np.uint64)
    filled = np.empty(len(texts), dtype=bool)
    for start in range(0, len(texts), _BATCH):
        batch = [_plain(text) for text in texts[start : start + _BATCH]]
        filled[start : start + len(batch)] = [bool(text) for text in batch]
        shingles, starts = _shingles(batch)
        for band in range(_BANDS):
            key = np.zeros(len(batch), dtype=np.uint64)
            for multiplier in _MULTIPLIERS[band]:
                least = np.minimum.reduceat(shingles * multiplier, starts)
                key = _mixed(key ^ least)
            keys[start : start + len(batch), band] = key
    return keys, filled


def _shingles(batch: Sequence[str]) -> tuple[Array, IndexArray]:
    """Hashes of all shingles of all texts one after the other, and where those of each text start."""
    padded = [text if len(text) >= _SHINGLE else text.ljust(_SHINGLE) for text in batch]
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(
        np.uint64
    )
    lengths = np.array([len(text) for text in padded], dtype=np.intp)
    ends = np.cumsum(lengths)
    rolling = np.zeros(len(codes) - _SHINGLE + 1, dtype=np.uint64)
    for offset in range(_SHINGLE):
        rolling = rolling * np.uint64(0x100000001B3) + codes[offset : offset + len(rolling)]
    # A shingle may not reach into the next text.
    inside = np.arange(len(rolling)) + _SHINGLE <= np.repeat(ends, lengths)[: len(rolling)]
    counts = lengths - _SHINGLE + 1
    return _mixed(rolling[inside]), np.cumsum(counts) - counts


def _mixed(values: Array) -> Array:
    """SplitMix64's finaliser: every bit of the result depends on every bit of the value."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _candidates(keys: Array, filled: BoolArray) -> Iterator[tuple[int, int]]:
    """Pairs of texts with an equal key in some band: each text with the first one of its key.

    All pairs of a large group of equal keys would be quadratic in number; pairs with the first one suffice to
    connect the group.
    """
    seen: set[tuple[int, int]] = set()
    for band in range(keys.shape[1]):
        _, first, code = np.unique(keys[:, band], return_index=True, return_inverse=True)
        partner = first[code]
        for text in np.flatnonzero((partner != np.arange(len(keys))) & filled).tolist():
            pair = (int(partner[text]), text)
            if pair not in seen:
                seen.add(pair)
                yield pair


def _verified(texts: Sequence[str], candidates: Iterator[tuple[int, int]]) -> tuple[list[int], list[int]]:
    first: list[int] = []
    second: list[int] = []
    for one, other in candidates:
        if _similar(_plain(texts[one]), _plain(texts[other])):
            first.append(one)
            second.append(other)
    return first, second


def _similar(one: str, other: str) -> bool:
    if one == other:
        return True
    if _NUMBER.findall(one) != _NUMBER.findall(other):
        return False
    words, others = Counter(one.split()), Counter(other.split())
    if (words & others).total() < _SIMILAR_WORDS * (words | others).total():
        return False
    if _decided_by_a_word(words - others, others - words, max(words.total(), others.total())):
        return False
    ours = _shingle_set(one)
    theirs = _shingle_set(other)
    return len(ours & theirs) >= _SIMILAR * len(ours | theirs)


def _decided_by_a_word(ours: Counter[str], theirs: Counter[str], n_words: int) -> bool:
    """Whether the words that only one of two texts has make another question of it."""
    if max(ours.total(), theirs.total()) <= _FEW_WORDS * n_words:
        return False
    if _NEGATIONS & (ours.keys() ^ theirs.keys()):
        return True
    function_words = set(_FUNCTION_WORDS.split())
    mine = [word for word in ours if word not in function_words]
    yours = [word for word in theirs if word not in function_words]
    lonely = [word for word in mine if not any(_spelt_alike(word, other) for other in yours)]
    others = [word for word in yours if not any(_spelt_alike(word, other) for other in mine)]
    return bool(lonely and others)


def _spelt_alike(one: str, other: str) -> bool:
    # The first letter tells "possible" from "impossible".
    return one[0] == other[0] and SequenceMatcher(None, one, other).ratio() >= _SAME_WORD


def _shingle_set(text: str) -> set[str]:
    return {text[at : at + _SHINGLE] for at in range(max(1, len(text) - _SHINGLE + 1))}
