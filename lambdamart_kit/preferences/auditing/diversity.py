"""How diverse the responses to a prompt are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse

from lambdamart_kit.core.gains import check_count
from lambdamart_kit.core.queries import factorize_ids
from lambdamart_kit.core.rows import as_ids
from lambdamart_kit.core.typing import Array, ArrayLike, Features, FloatArray, Ids, IndexArray

_WORD = re.compile(r"\w+")
_MOST_FOR_VENDI = 2000  # responses of one set; their eigenvalues take n^3


def distinct_n(texts: Iterable[str], n: int = 2, *, n_words: int | None = None) -> float:
    """Distinct-n: different sequences of n words over all sequences of n words, in a set of texts.

    Longer sets repeat more, whatever wrote them: compare sets of equal numbers of words, with `n_words`.

    Parameters
    ----------
    texts : iterable of str
        Responses of one set. Words are runs of letters, digits and underscores, case folded.
    n : int
        Words of a sequence; none reaches from one text into the next.
    n_words : int, optional
        Count only the first words of the set, text after text.

    Returns
    -------
    float
        In (0, 1]; NaN if no text has n words.

    References
    ----------
    Li et al. (2016), "A diversity-promoting objective function for neural conversation models", NAACL.

    Examples
    --------
    >>> distinct_n(["good good morning", "good morning"], 1), round(distinct_n(["a b a b", "b a"]), 4)
    (0.4, 0.5)
    """
    if n_words is not None:
        check_count(n_words, name="n_words")
    return distinct_share([words_of(text) for text in check_texts(texts)], check_count(n, name="n"), n_words)


def self_similarity(features: Features, prompts: Ids = None, *, per_prompt: bool = False) -> Any:
    r"""Mean cosine of two different responses to a prompt.

    .. math:: \frac{|\sum_i u_i|^2 - n}{n (n - 1)}, \qquad u_i = x_i / |x_i|

    Parameters
    ----------
    features : (n_responses, n_features) array or sparse matrix
        Such as embeddings; a zero vector is similar to nothing.
    prompts : (n_responses,) array-like, optional
        Prompt of each response; None is one prompt.
    per_prompt : bool
        Return one value a prompt instead of their mean.

    Returns
    -------
    float or (n_prompts,) float64
        Mean over the prompts with two responses or more, or with `per_prompt` the value of each in
        ascending order of prompt, NaN for a single response.

    Examples
    --------
    >>> round(self_similarity(np.array([[1.0, 0], [1, 0], [0, 1]])), 4), self_similarity(np.eye(2))
    (0.3333, 0.0)
    """
    rows = unit_rows(features)
    code, n_prompts = _codes(prompts, rows.shape[0])
    sizes = np.bincount(code, minlength=n_prompts)
    member = scipy.sparse.csr_array(
        (np.ones(len(code)), (code, np.arange(len(code)))), shape=(n_prompts, len(code))
    )
    sums = squared_lengths(member @ rows)
    own = np.bincount(code, squared_lengths(rows), minlength=n_prompts)
    pairs = sizes * (sizes - 1.0)
    values = np.divide(sums - own, pairs, out=np.full(n_prompts, np.nan), where=pairs > 0)
    return values if per_prompt else _mean(values)


def generation_diversity(
    texts: ArrayLike, prompts: Ids = None, *, features: Features | None = None
) -> pd.DataFrame:
    """How diverse the generations for each prompt are.

    Parameters
    ----------
    texts : (n,) array-like of str
        Generations.
    prompts : (n,) array-like, optional
        Prompt of each; None is one prompt.
    features : (n, n_features) array or sparse matrix, optional
        What generations are compared by, such as embeddings; by default TF-IDF of words and word pairs.

    Returns
    -------
    DataFrame
        One row a prompt, ascending: ``prompt``, ``responses``, ``self_similarity`` (NaN for one response),
        ``vendi`` (the effective number of different responses: 1 to their number), ``distinct_1`` and
        ``distinct_2``.

    References
    ----------
    Friedman and Dieng (2023), "The Vendi score", TMLR. Kirk et al. (2024), "Understanding the effects of
    RLHF on LLM generalisation and diversity", ICLR.

    Examples
    --------
    >>> table = generation_diversity(["red", "red", "blue", "red"], ["a", "a", "b", "b"])
    >>> table[["prompt", "responses", "self_similarity"]].round(3).values.tolist()
    [['a', 2, 1.0], ['b', 2, 0.0]]
    """
    written = check_texts(texts)
    if not len(written):
        raise ValueError("'texts' must hold at least one generation; got none")
    known = unit_rows(comparable(written, features))
    code, n_prompts = _codes(prompts, len(written))
    order = np.argsort(code, kind="stable")
    sets = np.split(order, np.cumsum(np.bincount(code, minlength=n_prompts))[:-1])
    names = factorize_ids(np.zeros(len(written), dtype=int) if prompts is None else prompts, "prompts")[0]
    words = [[words_of(text) for text in written[rows]] for rows in sets]
    return pd.DataFrame(
        {
            "prompt": names,
            "responses": [len(rows) for rows in sets],
            "self_similarity": self_similarity(known, code, per_prompt=True),
            "vendi": [vendi_of_set(known[rows]) for rows in sets],
            "distinct_1": [distinct_share(of_set, 1) for of_set in words],
            "distinct_2": [distinct_share(of_set, 2) for of_set in words],
        }
    )


def check_texts(texts: Any) -> Array:
    """Texts as an array of objects, none of them missing or of another type.

    Parameters
    ----------
    texts : iterable of str
        What was given.

    Raises
    ------
    ValueError
        If it is one text, or something in it is no text.
    """
    if isinstance(texts, str):
        raise ValueError(f"'texts' must be a list of texts; got one text, {texts[:40]!r}")
    given = list(texts)
    wrong = [number for number, text in enumerate(given) if not isinstance(text, str)]
    if wrong:
        raise ValueError(
            f"'texts' must hold text; number {wrong[0]} is {given[wrong[0]]!r} ({len(wrong)} such); "
            "leave out what is missing"
        )
    written = np.empty(len(given), dtype=object)
    written[:] = given
    return written


def words_of(text: str) -> list[str]:
    """Words of a text: runs of letters, digits and underscores, case folded."""
    return _WORD.findall(text.casefold())


def distinct_share(texts: list[list[str]], n: int, n_words: int | None = None) -> float:
    """Distinct-n of texts that are lists of words."""
    counts: Counter[tuple[str, ...]] = Counter()
    left = np.inf if n_words is None else n_words
    for words in texts:
        kept = words[: int(min(left, len(words)))]
        left -= len(kept)
        counts.update(zip(*(kept[start:] for start in range(n))))
    total = counts.total()
    return len(counts) / total if total else float("nan")


def vendi_of_set(rows: Features) -> float:
    """Vendi score of one set of unit rows; NaN where the set is too large for its eigenvalues."""
    from lambdamart_kit.diversify import vendi_score

    if rows.shape[0] > _MOST_FOR_VENDI:
        return float("nan")
    similarity = rows @ rows.T
    matrix = similarity.toarray() if scipy.sparse.issparse(similarity) else np.array(similarity)
    np.fill_diagonal(matrix, 1.0)
    return float(vendi_score(similarity=matrix))


def comparable(texts: Any, features: Features | None) -> Features:
    """What texts are compared by: the given features, or TF-IDF of words and word pairs."""
    if features is not None:
        features = features if hasattr(features, "shape") else np.asarray(features)
        if features.shape[0] != len(texts):
            raise ValueError(f"'features' must have one row a response, {len(texts)}; got {features.shape}")
        return features
    from sklearn.feature_extraction.text import TfidfVectorizer

    # Texts without words, such as "" or "!", get a word of their own each, so that equal ones are alike.
    wordless: dict[str, str] = {}
    written = [
        text if _WORD.search(text) else wordless.setdefault(text.strip(), f"__wordless_{len(wordless)}__")
        for text in texts
    ]
    vectorizer = TfidfVectorizer(token_pattern=r"\w+", ngram_range=(1, 2), sublinear_tf=True)
    return scipy.sparse.csr_array(vectorizer.fit_transform(written))


def unit_rows(features: Features) -> Features:
    """Rows of unit length; zero rows stay zero."""
    if scipy.sparse.issparse(features):
        rows = scipy.sparse.csr_array(features).astype(np.float64)
        if not np.isfinite(rows.data).all():
            raise ValueError("'features' must be finite; got NaN or infinity; impute or drop such rows")
    else:
        rows = np.asarray(features, dtype=np.float64)
        if rows.ndim != 2 or not np.isfinite(rows).all():
            raise ValueError(f"'features' must be (n_responses, n_features) and finite; got {rows.shape}")
    norms = np.sqrt(squared_lengths(rows))
    inverse = np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0)
    return (
        rows * inverse[:, None] if isinstance(rows, np.ndarray) else scipy.sparse.diags_array(inverse) @ rows
    )


def squared_lengths(rows: Features) -> FloatArray:
    """Squared length of each row."""
    squares = rows.multiply(rows) if scipy.sparse.issparse(rows) else rows * rows
    return np.asarray(squares.sum(axis=1), dtype=np.float64).ravel()


def _codes(prompts: Ids, n: int) -> tuple[IndexArray, int]:
    if prompts is None:
        return np.zeros(n, dtype=np.intp), 1
    names = as_ids(prompts)
    if names.shape != (n,):
        raise ValueError(f"'prompts' must be ({n},), one a response; got shape {names.shape}")
    unique, code = factorize_ids(names, "prompts")
    return code, len(unique)


def _mean(values: FloatArray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
