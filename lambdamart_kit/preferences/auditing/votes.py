"""Duplicates, contradictions, outvoted labels and cycles: what the votes on two responses say together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse
from scipy.sparse import csgraph

from lambdamart_kit.core.typing import Array, BoolArray, FloatArray, IndexArray
from lambdamart_kit.preferences.pair_table import PairTable


@dataclass(frozen=True, eq=False)
class Votes:
    """Each pair as a vote of a judge on a question: which of two responses is better.

    Attributes
    ----------
    low, high : (n_pairs,) intp
        The two responses of the question, the smaller number first.
    question, judge : (n_pairs,) intp
        Codes. Pairs without a judge count as the votes of one judge, who is unknown.
    target : (n_pairs,) float64
        Probability that `low` is the better one.
    """

    low: IndexArray
    high: IndexArray
    question: IndexArray
    judge: IndexArray
    target: FloatArray

    @classmethod
    def of(cls, pairs: PairTable, judges: Array | None) -> Votes:
        """The votes that pairs are."""
        low = np.minimum(pairs.chosen, pairs.rejected)
        high = np.maximum(pairs.chosen, pairs.rejected)
        question = _codes(low, high)
        judge = np.zeros(len(pairs), dtype=np.intp) if judges is None else pd.factorize(judges)[0]
        return cls(
            low, high, question, judge, np.where(pairs.chosen == low, pairs.target, 1.0 - pairs.target)
        )

    @property
    def sign(self) -> FloatArray:
        """1 for `low`, -1 for `high`, 0 for a tie or for two equal responses."""
        return np.where(self.low == self.high, 0.0, np.sign(self.target - 0.5))

    @property
    def of_judge(self) -> IndexArray:
        """One code for all votes of a judge on a question."""
        return _codes(self.question, self.judge)

    @property
    def opposed(self) -> BoolArray:
        """Votes of a judge who also voted for the other response of the same question."""
        sign = self.sign
        code = self.of_judge
        found: BoolArray = (_count(code, sign > 0) > 0) & (_count(code, sign < 0) > 0) & (sign != 0)
        return found

    @property
    def voice(self) -> FloatArray:
        """What each vote adds to the balance of its question: `sign`, or 0 where it does not count.

        A judge has one voice on a question, which is the first vote: repeats make no majority, and a first
        vote for a tie stays one. Who voted for both responses has no voice.
        """
        return np.where(self.opposed | _seen_before(self.of_judge), 0.0, self.sign)


def findings_of_votes(pairs: PairTable, judges: Array | None) -> dict[str, IndexArray]:
    """Pairs that are duplicates, contradictions, outvoted, split or part of a cycle.

    What counts of several votes of a judge is in `Votes.voice`. A vote is outvoted whether it counts or not,
    if more judges are for the other response.
    """
    votes = Votes.of(pairs, judges)
    sign = votes.sign
    _, target_code = np.unique(votes.target, return_inverse=True)
    repeated = _seen_before(_codes(votes.of_judge, target_code)) & (votes.low != votes.high)
    opposed = votes.opposed
    voice = votes.voice
    net = np.bincount(votes.question, voice)[votes.question].astype(np.float64)
    divided = (net == 0) & (_count(votes.question, voice > 0) > 0)
    stands = (sign != 0) & ~opposed
    return {
        "duplicate": np.flatnonzero(repeated),
        "contradiction": np.flatnonzero(opposed),
        "outvoted": np.flatnonzero(stands & (net * sign < 0)),
        "split_vote": np.flatnonzero(stands & divided),
        "cycle": _in_cycles(votes, net, sign, len(pairs.response_prompt)),
    }


def _in_cycles(votes: Votes, net: FloatArray, sign: FloatArray, n_responses: int) -> IndexArray:
    """Votes with the majority of their question whose two responses lie on a cycle of majorities."""
    decided = (net != 0) & (np.sign(net) == sign)
    winner = np.where(net > 0, votes.low, votes.high)
    loser = np.where(net > 0, votes.high, votes.low)
    graph = scipy.sparse.csr_array(
        (np.ones(decided.sum()), (winner[decided], loser[decided])), shape=(n_responses, n_responses)
    )
    _, component = csgraph.connected_components(graph, directed=True, connection="strong")
    return np.flatnonzero(decided & (component[winner] == component[loser]))


def annotator_table(pairs: PairTable, judges: Array) -> pd.DataFrame:
    """Share of each annotator's votes that agree with the majority of the *other* annotators.

    Returns
    -------
    DataFrame
        ``annotator``, ``votes``, ``shared`` (votes on questions where the others have a majority) and
        ``agreement``, the least agreeing first.
    """
    votes = Votes.of(pairs, judges)
    sign = votes.sign
    voice = votes.voice
    own = np.bincount(votes.of_judge, voice)[votes.of_judge]
    others = np.bincount(votes.question, voice)[votes.question] - own
    comparable = (others != 0) & (sign != 0)
    table = pd.DataFrame(
        {
            "annotator": judges,
            "shared": comparable,
            "agreement": np.where(comparable, np.sign(others) == sign, np.nan),
        }
    )
    grouped = table.groupby("annotator", sort=True)
    result = grouped["shared"].agg(votes="size", shared="sum").join(grouped["agreement"].mean())
    return result.reset_index().sort_values("agreement", kind="stable").reset_index(drop=True)


def _codes(one: Array, other: Array) -> IndexArray:
    """One code for each combination of two codes."""
    if not len(one):
        return np.empty(0, dtype=np.intp)
    width = int(other.max()) + 2
    return pd.factorize((one.astype(np.int64) + 1) * width + (other + 1))[0].astype(np.intp)


def _seen_before(code: IndexArray) -> Array:
    repeated = np.ones(len(code), dtype=bool)
    repeated[np.unique(code, return_index=True)[1]] = False
    return repeated


def _count(code: IndexArray, which: Array) -> FloatArray:
    """How many rows with the same code are `which`, for each row."""
    return np.bincount(code, which)[code].astype(np.float64) if len(code) else np.empty(0)
