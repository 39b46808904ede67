"""Collects pairs of text into arrays: every prompt and every response to it is stored once."""

from __future__ import annotations

import warnings
from array import array
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from lambdamart_kit.core.typing import FloatArray, Settings
from lambdamart_kit.preferences.reading.facts import describe, facts_table, text_key
from lambdamart_kit.preferences.reading.layout import Pair
from lambdamart_kit.preferences.reading.values import RowError, is_missing, number

LOGPS = ("chosen_logps", "rejected_logps", "ref_chosen_logps", "ref_rejected_logps")
_OTHER_NAMES = {
    "reference_chosen_logps": "ref_chosen_logps",
    "reference_rejected_logps": "ref_rejected_logps",
}
# Columns that hold numbers whatever the file says: CSV has text only.
_NUMBERS = (
    *LOGPS,
    "rank_difference",
    "scores_chosen",
    "scores_rejected",
    "results",
    "score_margin",
    "probability",
)
_STEP = 2048  # pairs between two reports of progress


class PairBuilder:
    """Collects pairs.

    Parameters
    ----------
    texts : bool
        Whether to keep the texts of responses. Without them only their facts are kept, which is what an audit
        needs.
    """

    def __init__(self, *, texts: bool = True) -> None:
        self._keeps_texts = texts
        self._prompt_codes: dict[str, int] = {}
        self._prompts: list[str] = []
        self._response_codes: dict[Any, int] = {}
        self._responses: list[str] = []
        # Arrays of the standard library: a list of as many numbers takes five times the memory.
        self._facts = array("Q")
        self._response_prompt = array("q")
        self._index = array("q")
        self._numbers = array("d")
        self._columns: dict[str, list[Any]] = {}
        self._n_pairs = 0

    def add_all(self, pairs: Iterable[Pair], progress: Callable[[int], None] | None = None) -> None:
        """Add pairs; `progress` is told how many were added since the last time."""
        told = 0
        for pair in pairs:
            self.add(pair)
            if progress is not None and self._n_pairs - told >= _STEP:
                progress(self._n_pairs - told)
                told = self._n_pairs
        if progress is not None:
            progress(self._n_pairs - told)

    def add(self, pair: Pair) -> None:
        """Add one pair.

        Raises
        ------
        RowError
            If its weight or margin is not a number.
        """
        row = pair.rows[0]
        weight = number(pair.extra.get("weight"), "weight", row, low=0.0, default=1.0)
        margin = number(pair.extra.get("margin"), "margin", row, default=0.0)
        prompt = self._prompt_code(pair.prompt)
        chosen = self._response_code(prompt, pair.chosen)
        rejected = self._response_code(prompt, pair.rejected)
        first = -1 if pair.chosen_shown_first is None else int(pair.chosen_shown_first)
        self._index.extend((prompt, chosen, rejected, pair.rows[0], pair.rows[1], first))
        self._numbers.extend((pair.target, weight, margin))
        for name, value in pair.extra.items():
            if name not in ("weight", "margin"):
                self._append(_OTHER_NAMES.get(name, name), value)
        self._n_pairs += 1

    def _append(self, name: str, value: Any) -> None:
        column = self._columns.setdefault(name, [])
        if len(column) < self._n_pairs:
            column.extend([np.nan] * (self._n_pairs - len(column)))
        column.append(np.nan if value is None else value)

    def _prompt_code(self, prompt: str) -> int:
        # An empty prompt says nothing, so two empty prompts are not the same question.
        known = self._prompt_codes.get(prompt) if prompt else None
        if known is not None:
            return known
        code = len(self._prompts)
        self._prompts.append(prompt)
        if prompt:
            self._prompt_codes[prompt] = code
        return code

    def _response_code(self, prompt: int, text: str) -> int:
        key: Any = (prompt, text) if self._keeps_texts else (prompt << 64) | text_key(text)
        code = self._response_codes.setdefault(key, len(self._response_codes))
        if code == len(self._response_prompt):
            self._response_prompt.append(prompt)
            if self._keeps_texts:
                self._responses.append(text)
            else:
                self._facts.extend(describe(text))
        return code

    def warn_if_no_prompts(self) -> None:
        """Warn if there are several pairs and none of them has a prompt."""
        if self._n_pairs > 1 and not any(self._prompts):
            warnings.warn(
                "all prompts are empty: every pair counts as a question of its own, so a split cannot "
                "keep the "
                "pairs of a prompt together; name the column of the prompt with columns={'prompt': ...}",
                UserWarning,
                stacklevel=4,
            )

    def fields(self) -> Settings:
        """All that was added, as the fields of a `PairTable`. The builder cannot be used afterwards."""
        # The dictionaries are as large as all else together, and what follows needs some memory of its own.
        self._prompt_codes.clear()
        self._response_codes.clear()
        index = np.frombuffer(self._index, dtype=np.int64).reshape(-1, 6).astype(np.intp, copy=False)
        numbers = np.frombuffer(self._numbers, dtype=np.float64).reshape(-1, 3)
        return {
            "chosen": index[:, 1].copy(),
            "rejected": index[:, 2].copy(),
            "prompt": index[:, 0].copy(),
            "target": numbers[:, 0].copy(),
            "weight": numbers[:, 1].copy(),
            "margin": numbers[:, 2].copy(),
            "rows": index[:, 3:5].copy(),
            "chosen_shown_first": index[:, 5].astype(np.int8),
            "prompts": np.array(self._prompts, dtype=object),
            "responses": np.array(self._responses, dtype=object),
            "response_prompt": np.frombuffer(self._response_prompt, dtype=np.int64).astype(np.intp),
            "columns": self._frame(),
            "facts": None if self._keeps_texts else facts_table(np.frombuffer(self._facts, dtype=np.uint64)),
        }

    def _frame(self) -> pd.DataFrame:
        columns = {}
        for name, values in self._columns.items():
            values.extend([np.nan] * (self._n_pairs - len(values)))
            columns[name] = _as_numbers(values, name) if name in _NUMBERS else _series(values)
        return pd.DataFrame(columns, index=range(self._n_pairs))


def _series(values: list[Any]) -> pd.Series:
    """A column; lists and dictionaries stay as they are."""
    nested = any(isinstance(value, list | dict | tuple) or hasattr(value, "shape") for value in values)
    if not nested:
        try:
            return pd.Series(values)
        except UnicodeEncodeError:  # half of a surrogate pair, which only Python's strings can hold
            return pd.Series(values, dtype=object)
    cells = np.empty(len(values), dtype=object)
    for at, value in enumerate(values):
        cells[at] = value
    return pd.Series(cells)


def _as_numbers(values: list[Any], name: str) -> pd.Series | FloatArray:
    """Numbers where all cells are numbers, or text that is one; else the cells as they are."""
    try:
        return np.array([np.nan if is_missing(v) else number(v, name, 0) for v in values], dtype=np.float64)
    except RowError:
        return _series(values)
