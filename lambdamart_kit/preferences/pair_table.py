"""The container of preference pairs: responses are stored once, and pairs index into them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from lambdamart_kit.core.typing import Array, BoolArray, Features, FloatArray, IndexArray
from lambdamart_kit.files.records import Record
from lambdamart_kit.preferences.reading.builder import LOGPS
from lambdamart_kit.preferences.reading.facts import facts_of, normalised
from lambdamart_kit.preferences.reading.layout import MARGIN_FROM
from lambdamart_kit.preferences.reading.records import write_records

ANNOTATOR_COLUMNS = (
    "annotator",
    "annotator_id",
    "worker",
    "worker_id",
    "judge",
    "judge_hash",
    "judge_id",
    "user_id",
)
STATED_MARGIN = "column 'margin'"
_PER_PAIR = ("chosen", "rejected", "prompt", "target", "weight", "margin", "rows", "chosen_shown_first")


@dataclass(frozen=True, eq=False, repr=False)
class PairTable:
    """Pairs of responses to a prompt, one preferred to the other: the data of `PreferencePairs`.

    Attributes
    ----------
    chosen, rejected : (n_pairs,) intp
        Responses of each pair.
    prompt : (n_pairs,) intp
        Prompt of each pair.
    target : (n_pairs,) float64
        Probability that `chosen` is the better one: 1, 1/2 for a tie, between for soft labels.
    weight : (n_pairs,) float64
        Weight of each pair.
    margin : (n_pairs,) float64
        Margin that the reward difference should exceed (TRL's ``margin``); 0 where there is none. Layouts
        with ratings give their gap, and the column ``margin_from`` says so: see `margins`.
    prompts, responses : arrays of str
        Texts; `responses` is empty when only features or facts are known. Prompts are the same if their texts
        are equal; an empty prompt is the same as no other.
    response_prompt : (n_responses,) intp
        Prompt of each response.
    columns : DataFrame
        All other columns, one row a pair.
    features : (n_responses, n_features) array or CSR, or None
        Features of each response.
    rows : (n_pairs, 2) intp
        Rows of the source that the chosen and the rejected response stand in: the same row where each row
        is a pair.
    chosen_shown_first : (n_pairs,) int8
        Whether the judge saw `chosen` first: 1 yes, 0 no, -1 unknown.
    facts : DataFrame or None
        Facts of each response, where its texts were not kept.
    """

    chosen: IndexArray
    rejected: IndexArray
    prompt: IndexArray
    target: FloatArray
    weight: FloatArray
    margin: FloatArray
    prompts: Array
    responses: Array
    response_prompt: IndexArray
    columns: pd.DataFrame
    features: Features
    rows: IndexArray
    chosen_shown_first: Array
    facts: pd.DataFrame | None = None

    def __len__(self) -> int:
        return len(self.chosen)

    def __repr__(self) -> str:
        n_features = "no" if self.features is None else self.features.shape[1]
        margins = self.margins()
        sources = [] if margins is None else margins["source"].tolist()
        stated = f", margins: {' and '.join(sources)}" if sources else ""
        return (
            f"{type(self).__name__}: {len(self)} pairs, {len(np.unique(self.prompt))} prompts, "
            f"{len(self.response_prompt)} responses, {n_features} features{stated}"
        )

    @property
    def lengths(self) -> IndexArray:
        """Characters of each response, (n_responses,); zeros without texts."""
        if self.facts is not None:
            return self.facts["characters"].to_numpy(np.intp)
        if not len(self.responses):
            return np.zeros(len(self.response_prompt), dtype=np.intp)
        return np.fromiter((len(text) for text in self.responses), dtype=np.intp, count=len(self.responses))

    @property
    def margin_is_gap(self) -> BoolArray:
        """Whether each pair's margin is a gap of ratings that the reader worked out, and not a stated one."""
        if MARGIN_FROM not in self.columns:
            return np.zeros(len(self), dtype=bool)
        known: BoolArray = self.columns[MARGIN_FROM].notna().to_numpy()
        return known

    def margins(self) -> pd.DataFrame | None:
        """Where margins are from, one row a source, or None if all margins are 0.

        Returns
        -------
        DataFrame or None
            ``source`` (the ratings of which it is the gap, or "column 'margin'"), ``pairs``, ``lowest``,
            ``median``, ``highest``.
        """
        is_gap = self.margin_is_gap
        if not self.margin.any():
            return None
        source = np.full(len(self), STATED_MARGIN, dtype=object)
        if is_gap.any():
            source[is_gap] = self.columns[MARGIN_FROM].to_numpy(dtype=object)[is_gap]
        told = is_gap | (self.margin != 0)
        grouped = pd.Series(self.margin[told]).groupby(source[told], sort=False)
        table = grouped.agg(pairs="size", lowest="min", median="median", highest="max")
        return table.rename_axis("source").reset_index()

    @property
    def response_facts(self) -> pd.DataFrame | None:
        """Facts of each response, one row each, or None if neither texts nor facts are known.

        See :func:`lambdamart_kit.preferences.reading.facts.facts_table` for the columns.
        """
        if self.facts is not None or not len(self.responses):
            return self.facts
        return facts_of(self.responses)

    @property
    def texts(self) -> pd.DataFrame:
        """Columns ``prompt`` and ``response``, one row a response: what feature extractors take.

        Raises
        ------
        ValueError
            If the pairs were made from features, or read without their texts.
        """
        self._need_texts()
        # As objects: half of a surrogate pair, which a cut emoji leaves behind, fits no string type of
        # pandas.
        texts = {"prompt": self.prompts[self.response_prompt], "response": self.responses}
        return pd.DataFrame(texts, dtype=object)

    def _need_texts(self) -> None:
        if not len(self.responses) and len(self.response_prompt):
            raise ValueError(
                "these pairs have no texts, only features or facts; read them from a file with texts"
            )

    def take(self, rows: Any) -> Self:
        """Some of the pairs, by index or mask; responses and features are shared, not copied."""
        index = np.arange(len(self))[rows]
        return dataclasses.replace(
            self,
            **{name: getattr(self, name)[index] for name in _PER_PAIR},
            columns=self.columns.iloc[index].reset_index(drop=True),
        )

    def flipped(self, which: BoolArray) -> Self:
        """The pairs with some labels turned round: the rejected response becomes the chosen one.

        Columns that come in twos (``chosen_model`` and ``rejected_model``, ``score_chosen`` and
        ``score_rejected``) are exchanged with the responses, so a margin that is the gap of ratings changes
        its sign. A stated margin says how clear the preference is, and stays.
        """
        first = np.where(
            which & (self.chosen_shown_first >= 0), 1 - self.chosen_shown_first, self.chosen_shown_first
        )
        columns = self.columns.copy()
        for name in self.columns:
            other = str(name).replace("chosen", "rejected")
            if other != name and other in self.columns:
                here = self.columns[name].astype(object)
                there = self.columns[other].astype(object)
                columns[name] = here.where(~which, there).infer_objects()
                columns[other] = there.where(~which, here).infer_objects()
        return dataclasses.replace(
            self,
            chosen=np.where(which, self.rejected, self.chosen),
            rejected=np.where(which, self.chosen, self.rejected),
            rows=np.where(which[:, None], self.rows[:, ::-1], self.rows),
            margin=np.where(which & self.margin_is_gap, -self.margin, self.margin),
            chosen_shown_first=first.astype(np.int8),
            columns=columns,
        )

    def compact(self) -> Self:
        """The same pairs with only the prompts and responses that they use, numbered as they first come."""
        both = np.column_stack([self.chosen, self.rejected]).ravel()
        responses, response_code = _numbered_by_use(both, len(self.response_prompt))
        prompts, prompt_code = _numbered_by_use(self.prompt, len(self.prompts))
        return dataclasses.replace(
            self,
            chosen=response_code[self.chosen],
            rejected=response_code[self.rejected],
            prompt=prompt_code[self.prompt],
            prompts=self.prompts[prompts],
            responses=self.responses[responses] if len(self.responses) else self.responses,
            response_prompt=prompt_code[self.response_prompt[responses]],
            features=None if self.features is None else self.features[responses],
            facts=None if self.facts is None else self.facts.iloc[responses].reset_index(drop=True),
        )

    def split(
        self, *, test_size: float = 0.2, random_state: int | None = None, by: str | None = None
    ) -> tuple[Self, Self]:
        """Split into train and test by whole prompts, or by whole values of the column `by`.

        Prompts that differ in case or white space only stay together.

        Parameters
        ----------
        test_size : float
            Share of the prompts, between 0 and 1.
        """
        if not 0 < test_size < 1:
            raise ValueError(f"'test_size' must lie between 0 and 1; got {test_size}")
        groups, n_groups = self.groups(by)
        if n_groups < 2:
            raise ValueError(f"a split needs at least two {by or 'prompt'}s; got {n_groups}")
        n_test = min(n_groups - 1, max(1, round(test_size * n_groups)))
        held_out = np.random.default_rng(random_state).permutation(n_groups)[:n_test]
        is_test = np.isin(groups, held_out)
        return self.take(~is_test), self.take(is_test)

    def folds(
        self, n_splits: int = 5, *, random_state: int | None = None, by: str | None = None
    ) -> Iterator[tuple[IndexArray, IndexArray]]:
        """Train and test rows of each fold, by whole prompts (or values of the column `by`)."""
        groups, n_groups = self.groups(by)
        if not 2 <= n_splits <= n_groups:
            raise ValueError(
                f"'n_splits' must lie between 2 and the number of {by or 'prompt'}s, {n_groups}; "
                f"got {n_splits}"
            )
        fold = np.empty(n_groups, dtype=np.intp)
        fold[np.random.default_rng(random_state).permutation(n_groups)] = np.arange(n_groups) % n_splits
        for k in range(n_splits):
            is_test = fold[groups] == k
            yield np.flatnonzero(~is_test), np.flatnonzero(is_test)

    def groups(self, by: str | None = None) -> tuple[IndexArray, int]:
        """Code of each pair's prompt (or value of column `by`), from 0, and their number."""
        if by is None:
            # An empty prompt is a group of its own.
            keys = [normalised(text) or at for at, text in enumerate(self.prompts)]
            values: Any = pd.factorize(np.array(keys, dtype=object))[0][self.prompt]
        elif by in self.columns:
            values = self.columns[by].to_numpy()
        else:
            raise ValueError(f"'by' must be a column; got {by!r}, have {list(self.columns.columns)}")
        code, unique = pd.factorize(values)
        if (code < 0).any():
            raise ValueError(f"column {by!r} must not be missing; pair {int(np.argmin(code))} is")
        return code.astype(np.intp), len(unique)

    def annotators(self, column: str | None = None) -> tuple[str, Array] | None:
        """Name and values of the column that says who judged, or None if there is none.

        Parameters
        ----------
        column : str, optional
            The column; by default the first of annotator, worker, judge and the like that has a value.

        Raises
        ------
        ValueError
            If there is no column of this name.
        """
        if column is None:
            known = [name for name in ANNOTATOR_COLUMNS if name in self.columns]
            column = next((name for name in known if self.columns[name].notna().any()), None)
            if column is None:
                return None
        elif column not in self.columns:
            raise ValueError(f"'annotator' must be a column; got {column!r}, have {list(self.columns)}")
        return column, self.columns[column].to_numpy(dtype=object)

    def logps(self) -> dict[str, FloatArray]:
        """The four log-prob columns, (n_pairs,) float64 each.

        Raises
        ------
        ValueError
            If a column is missing, or a value is missing or not finite; it names the row.
        """
        missing = [name for name in LOGPS if name not in self.columns]
        if missing:
            raise ValueError(f"log-probs need the columns {', '.join(LOGPS)}; missing: {', '.join(missing)}")
        found = {
            name: pd.to_numeric(self.columns[name], errors="coerce").to_numpy(np.float64) for name in LOGPS
        }
        for name, values in found.items():
            bad = np.flatnonzero(~np.isfinite(values))
            if len(bad):
                value = self.columns[name].iloc[bad[0]]
                raise ValueError(
                    f"{name!r} must hold finite log-probs; pair {bad[0]} has "
                    f"{value.item() if isinstance(value, np.generic) else value!r} ({len(bad)} such pairs)"
                )
        return found

    def to_frame(self) -> pd.DataFrame:
        """One row a pair, with all that :meth:`PreferencePairs.read` needs to make the same pairs.

        Returns
        -------
        DataFrame
            ``prompt``, ``chosen``, ``rejected``, ``target``, ``weight``, ``margin``, ``chosen_shown_first``
            (True, False or None), ``chosen_row`` and ``rejected_row`` (of the source), and the other columns.
            The rows are for people: whoever reads the frame gets the rows of the frame.

        Raises
        ------
        ValueError
            If the pairs have no texts.
        """
        self._need_texts()
        shown = [None if first < 0 else bool(first) for first in self.chosen_shown_first]
        responses = self.responses if len(self) else np.empty(0, dtype=object)
        own = {
            "prompt": pd.Series(self.prompts[self.prompt], dtype=object),
            "chosen": pd.Series(responses[self.chosen], dtype=object),
            "rejected": pd.Series(responses[self.rejected], dtype=object),
            "target": self.target,
            "weight": self.weight,
            "margin": self.margin,
            "chosen_shown_first": np.array(shown, dtype=object),
            "chosen_row": self.rows[:, 0],
            "rejected_row": self.rows[:, 1],
        }
        others = self.columns.drop(columns=[name for name in own if name in self.columns])
        return pd.DataFrame(own).join(others)

    def to_records(self) -> Iterator[Record]:
        """The rows of :meth:`to_frame` as dictionaries, without the rows of the source; None for missing."""
        for record in self.to_frame().drop(columns=["chosen_row", "rejected_row"]).to_dict("records"):
            yield {
                str(name): None if isinstance(value, float) and value != value else value
                for name, value in record.items()
            }

    def write(self, path: str | os.PathLike[str]) -> int:
        """Write the pairs to ``.jsonl``, ``.csv``, ``.tsv`` or ``.parquet``, and return their number.

        :meth:`PreferencePairs.read` makes the same pairs of the file, targets and weights included.

        Raises
        ------
        ValueError
            If the pairs have no texts, or the format cannot hold them.
        """
        return write_records(self.to_records(), path)


def _numbered_by_use(used: IndexArray, n_known: int) -> tuple[IndexArray, IndexArray]:
    """Entries in the order in which `used` first names them, and the new number of each entry."""
    _code, kept = pd.factorize(used)
    number = np.full(n_known, -1, dtype=np.intp)
    number[kept] = np.arange(len(kept))
    return np.asarray(kept, dtype=np.intp), number
