"""The votes of judges on pairs, as the tests of judges need them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lambdamart_kit.core.typing import Array, FloatArray, IndexArray
from lambdamart_kit.preferences.pair_table import PairTable

#: Differences of style, from counts of `response_facts`; those of the arena's style control.
STYLE = {"length": "words", "headers": "headers", "lists": "list_items", "bold": "bold"}


@dataclass(frozen=True, eq=False)
class JudgedPairs:
    """One row a vote, written with the response shown first as the first where that is known.

    Attributes
    ----------
    first, second : (n,) intp
        Responses.
    outcome : (n,) float64
        1 if the first response won, 0 if it lost, between for ties and soft labels.
    prompt : (n,) intp
        Prompt of each vote.
    order_known : (n,) bool
        Whether `first` is known to have been shown first.
    models : (n, 2) object array or None
        Models that wrote the two responses.
    judge : (n,) object array or None
        Who voted.
    counts : DataFrame or None
        Counts of each response (words, headers, ...), one row a response.
    """

    first: IndexArray
    second: IndexArray
    outcome: FloatArray
    prompt: IndexArray
    order_known: Array
    models: Array | None
    judge: Array | None
    counts: pd.DataFrame | None

    @classmethod
    def of(cls, pairs: PairTable, annotator: str | None = None) -> JudgedPairs:
        """From preference pairs; votes on two equal responses are left out."""
        shown = np.asarray(pairs.chosen_shown_first)
        turned = shown == 0
        judged = pairs.annotators(annotator)
        models = None
        if {"chosen_model", "rejected_model"} <= set(pairs.columns):
            both = pairs.columns[["chosen_model", "rejected_model"]].to_numpy(dtype=object)
            models = np.where(turned[:, None], both[:, ::-1], both)
        whole = cls(
            np.where(turned, pairs.rejected, pairs.chosen),
            np.where(turned, pairs.chosen, pairs.rejected),
            np.where(turned, 1.0 - pairs.target, pairs.target),
            pairs.prompt,
            shown >= 0,
            models,
            None if judged is None else np.asarray(judged[1], dtype=object),
            _counts_of_texts(pairs, models),
        )
        return whole.take(pairs.chosen != pairs.rejected)

    def __len__(self) -> int:
        return len(self.first)

    def take(self, kept: Array) -> JudgedPairs:
        """Some of the votes."""
        return dataclasses.replace(
            self,
            first=self.first[kept],
            second=self.second[kept],
            outcome=self.outcome[kept],
            prompt=self.prompt[kept],
            order_known=self.order_known[kept],
            models=None if self.models is None else self.models[kept],
            judge=None if self.judge is None else self.judge[kept],
        )

    def with_models(self) -> JudgedPairs:
        """The votes between two different models that are both named; none where models are not known."""
        if self.models is None:
            return self.take(np.zeros(len(self), dtype=bool))
        named = ~pd.isna(pd.DataFrame(self.models)).any(axis=1).to_numpy()
        return self.take(named & (self.models[:, 0] != self.models[:, 1]))

    def style(self) -> pd.DataFrame | None:
        """Style differences of each vote, those that are always zero left out; None without texts."""
        if self.counts is None:
            return None
        counts = self.counts.iloc[self.first], self.counts.iloc[self.second]
        return style_differences(*counts)


def _counts_of_texts(pairs: PairTable, models: Array | None) -> pd.DataFrame | None:
    """Facts of the responses; None where a response is not known and the model's name stands for it."""
    facts = pairs.response_facts
    if facts is None or models is None or not len(pairs):
        return facts
    names = pairs.columns[["chosen_model", "rejected_model"]].map(lambda name: len(str(name)))
    characters = facts["characters"].to_numpy()[np.column_stack([pairs.chosen, pairs.rejected])]
    return None if np.array_equal(characters, names.to_numpy()) else facts


def style_differences(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    r"""Relative differences :math:`(a - b) / (a + b)` of the counts of two responses, from -1 to 1.

    0 where neither response has any. This is how the arena's style control measures length, headers, lists
    and bold text, so that ten words more count for more in short answers than in long ones.

    Parameters
    ----------
    first, second : DataFrame
        Counts of the two responses of each vote: ``words``, ``headers``, ``list_items``, ``bold``.

    Returns
    -------
    DataFrame
        The columns of :data:`STYLE` that differ in some vote.

    Examples
    --------
    >>> counts = dict(headers=[0], list_items=[0], bold=[0])
    >>> style_differences(pd.DataFrame({"words": [30], **counts}), pd.DataFrame({"words": [10], **counts}))
       length
    0     0.5
    """
    table = {}
    for name, column in STYLE.items():
        a = first[column].to_numpy(np.float64)
        b = second[column].to_numpy(np.float64)
        difference = (a - b) / np.maximum(a + b, 1.0)
        if difference.any():
            table[name] = difference
    return pd.DataFrame(table, index=range(len(first)))
