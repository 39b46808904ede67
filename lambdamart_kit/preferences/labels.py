"""Pairs from graded labels: within a prompt, a higher label is preferred to a lower one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lambdamart_kit.core.gains import check_relevance
from lambdamart_kit.core.queries import Queries, query_weights
from lambdamart_kit.core.typing import ArrayLike, FloatArray, Ids, IndexArray


class LabelPairs(NamedTuple):
    """Rows with the higher and with the lower label, prompt and weight of each pair, (n_pairs,) each."""

    first: IndexArray
    second: IndexArray
    prompt: IndexArray
    weight: FloatArray


def pairs_of_labels(y: ArrayLike, qid: Ids = None, sample_weight: ArrayLike | None = None) -> LabelPairs:
    """Every pair of rows of a prompt with different labels.

    Raises
    ------
    ValueError
        If labels are not finite and >= 0, or no prompt has two different ones.

    Examples
    --------
    >>> pairs = pairs_of_labels([2, 0, 1], ["a", "a", "a"])
    >>> list(zip(pairs.first.tolist(), pairs.second.tolist()))
    [(0, 1), (0, 2), (2, 1)]
    """
    labels = check_relevance(y)
    queries = Queries.from_qid(qid, len(labels))
    first = [np.empty(0, dtype=np.intp)]
    second = [np.empty(0, dtype=np.intp)]
    prompt = [np.empty(0, dtype=np.intp)]
    for q in range(queries.n_queries):
        rows = queries.order[queries.ptr[q] : queries.ptr[q + 1]]
        high, low = np.nonzero(labels[rows][:, None] > labels[rows][None, :])
        first.append(rows[high])
        second.append(rows[low])
        prompt.append(np.full(len(high), q, dtype=np.intp))
    of_prompt = np.concatenate(prompt)
    if len(of_prompt) == 0:
        raise ValueError("'y' must hold two different labels for at least one prompt")
    weight = query_weights(sample_weight, queries)[of_prompt]
    return LabelPairs(np.concatenate(first), np.concatenate(second), of_prompt, weight)


def label_accuracy(rewards: FloatArray, y: ArrayLike, qid: Ids = None) -> float:
    """Share of the pairs within prompts that the rewards order as the labels do; ties count half.

    Examples
    --------
    >>> round(label_accuracy(np.array([0.3, 0.1, 0.5]), [2, 0, 1], ["a", "a", "a"]), 6)
    0.666667
    """
    pairs = pairs_of_labels(y, qid)
    margin = rewards[pairs.first] - rewards[pairs.second]
    return float(np.mean((margin > 0) + 0.5 * (margin == 0)))
