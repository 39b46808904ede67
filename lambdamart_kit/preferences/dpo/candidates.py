"""The responses of each prompt that a log-linear policy chooses among, and the pairs among them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lambdamart_kit.core.typing import ArrayLike, FloatArray, IndexArray
from lambdamart_kit.preferences.dpo.checks import finite
from lambdamart_kit.preferences.pairs import PreferencePairs


@dataclass(frozen=True, eq=False)
class CandidateSets:
    """The responses of each prompt that stand in a pair of it.

    Candidates of one prompt stand together. Prompts are in the order of their first response, and pairs in
    the order of their candidates, so that the order of the pairs given does not change a sum.

    Attributes
    ----------
    row : (n_candidates,) intp
        Response of each candidate: its row of the features.
    prompt : (n_candidates,) intp
        Prompt of each candidate, as numbered in the pairs.
    ptr : (n_prompts + 1,) intp
        Where each prompt's candidates start and end.
    chosen, rejected : (m,) intp
        Candidates of each labelled order. A pair with target t strictly between 0 and 1 stands twice: as it
        is with t times its weight, and the other way round with 1 - t times its weight.
    weight : (m,) float64
        Weight of each labelled order.
    pair_chosen, pair_rejected : (n_pairs,) intp
        Candidates of each pair given, in the order given.
    """

    row: IndexArray
    prompt: IndexArray
    ptr: IndexArray
    chosen: IndexArray
    rejected: IndexArray
    weight: FloatArray
    pair_chosen: IndexArray
    pair_rejected: IndexArray

    @classmethod
    def of_pairs(cls, pairs: PreferencePairs) -> CandidateSets:
        """Collect the responses of each prompt from its pairs.

        Examples
        --------
        >>> X = np.eye(4)
        >>> pairs = PreferencePairs.from_indices(X, [3, 0, 0], [2, 1, 1], prompt=["b", "a", "a"])
        >>> sets = CandidateSets.of_pairs(pairs)
        >>> sets.row.tolist(), sets.ptr.tolist()
        ([0, 1, 2, 3], [0, 2, 4])
        >>> sets.chosen.tolist(), sets.rejected.tolist()
        ([0, 0, 3], [1, 1, 2])
        """
        n_responses = len(pairs.response_prompt)
        both = np.concatenate([pairs.chosen, pairs.rejected])
        place, code = np.unique(np.tile(pairs.prompt, 2) * n_responses + both, return_inverse=True)
        prompt, row = np.divmod(place, n_responses)
        _, start, of_prompt = np.unique(prompt, return_index=True, return_inverse=True)
        order = np.lexsort((row, prompt, row[start][of_prompt]))
        position = np.empty_like(order)
        position[order] = np.arange(len(order))
        candidate = position[code]
        pair_chosen = candidate[: len(pairs)]
        pair_rejected = candidate[len(pairs) :]
        first = np.flatnonzero(np.concatenate(([True], np.diff(prompt[order]) != 0)))
        return cls(
            row[order],
            prompt[order],
            np.append(first, len(order)),
            *_labelled_orders(pair_chosen, pair_rejected, pairs.target, pairs.weight),
            pair_chosen,
            pair_rejected,
        )

    @property
    def n_prompts(self) -> int:
        """Number of prompts."""
        return len(self.ptr) - 1

    def sums(self, values: FloatArray) -> FloatArray:
        """Sum over each prompt's candidates, (n_prompts,)."""
        return np.add.reduceat(values, self.ptr[:-1])

    def spread(self, values: FloatArray) -> FloatArray:
        """One value a prompt to one a candidate."""
        return np.repeat(values, np.diff(self.ptr))

    def log_softmax(self, logits: FloatArray) -> FloatArray:
        """Log-probabilities that sum to 1 within each prompt, (n_candidates,)."""
        shifted = logits - self.spread(np.maximum.reduceat(logits, self.ptr[:-1]))
        return shifted - self.spread(np.log(self.sums(np.exp(shifted))))

    def of_responses(self, values: ArrayLike, n_responses: int, name: str) -> FloatArray:
        """One finite value a response to one a candidate.

        Raises
        ------
        ValueError
            If there is not one value a response, or one that is needed is not finite.
        """
        given = np.asarray(values, dtype=np.float64)
        if given.shape != (n_responses,):
            raise ValueError(
                f"{name!r} must hold one value a response, ({n_responses},), in the order of the pairs' "
                f"responses; got shape {given.shape}"
            )
        return finite((name, given[self.row]))[0]


def _labelled_orders(
    chosen: IndexArray, rejected: IndexArray, target: FloatArray, weight: FloatArray
) -> tuple[IndexArray, IndexArray, FloatArray]:
    one_way = target > 0
    other_way = target < 1
    first = np.concatenate([chosen[one_way], rejected[other_way]])
    second = np.concatenate([rejected[one_way], chosen[other_way]])
    mass = np.concatenate([(weight * target)[one_way], (weight * (1.0 - target))[other_way]])
    order = np.lexsort((mass, second, first))
    return first[order], second[order], mass[order]
