"""Whether preference labels reward responses that are like others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse

from lambdamart_kit.core.typing import BoolArray, Features, FloatArray, IndexArray, Settings
from lambdamart_kit.preferences.auditing.diversity import (
    comparable,
    distinct_share,
    generation_diversity,
    self_similarity,
    squared_lengths,
    unit_rows,
    vendi_of_set,
    words_of,
)
from lambdamart_kit.preferences.pair_table import PairTable
from lambdamart_kit.preferences.scoring import accuracy, clustered_mean, length_matched

_NORMAL = 1.959964  # half the width of a 95 % interval in standard errors
MEASURES = ("self_similarity", "vendi", "distinct_1", "distinct_2")
_MEANING = {
    "self_similarity": "mean cosine of two different responses",
    "vendi": "effective number of different responses, of as many on both sides",
    "distinct_1": "different words over words, of as many words on both sides",
    "distinct_2": "different word pairs over word pairs, of as many words on both sides",
}


def interval_text(low: float, high: float, form: str) -> str:
    """An interval in words, each end in the format `form`; empty where there is none."""
    return "" if np.isnan(low) else f"{low:{form}} to {high:{form}}"


@dataclass(frozen=True, eq=False)
class Sameness:
    """Whether preference labels reward responses that are like others.

    Parameters
    ----------
    by_prompt : DataFrame
        Diversity of all responses to each prompt; see :func:`generation_diversity`.
    sides : DataFrame
        Responses that win more often than they lose against those that lose more often. ``measure``,
        ``of`` ("prompt": mean over prompts with two or more on both sides; "all": all prompts together, which
        has no interval), ``prompts``, ``winners``, ``losers``, ``difference``, ``lower``, ``upper``.
    typical : DataFrame
        How often the response that is more like the others is preferred: ``like`` (the others of the prompt
        or of all prompts), ``pairs``, ``preferred``, ``lower``, ``upper``, and the same of pairs of nearly
        equal lengths: ``matched_pairs``, ``matched``, ``matched_lower``, ``matched_upper``.

    Examples
    --------
    >>> from lambdamart_kit.preferences import PreferencePairs
    >>> rows = [{"prompt": "p", "chosen": "a b", "rejected": r} for r in ("a c", "d e")]
    >>> sameness(PreferencePairs.read(rows)).typical["pairs"].tolist()
    [2]
    """

    by_prompt: pd.DataFrame
    sides: pd.DataFrame
    typical: pd.DataFrame

    def to_dict(self) -> Settings:
        """All but the single prompts, as JSON can say it.

        Returns
        -------
        dict
            Numbers, texts, lists and dicts only.
        """
        tables = {"sides": self.sides, "typical": self.typical}
        return {name: _plain_records(table) for name, table in tables.items()}

    def to_markdown(self) -> str:
        """The tables as Markdown.

        Returns
        -------
        str
            Two tables with a heading.
        """
        lines = ["## Sameness of responses", ""]
        repeated = self.by_prompt[self.by_prompt["responses"] > 1]
        if len(repeated):
            lines += [
                f"{len(repeated)} prompts have two responses or more: on average "
                f"{repeated['responses'].mean():.1f}, worth {repeated['vendi'].mean():.1f} different ones "
                f"(Vendi score). Two of them have cosine {repeated['self_similarity'].mean():.3f}.",
                "",
            ]
        lines += [
            "| measure | of | prompts | winners | losers | difference | 95 % interval | what it is |",
            "|---|---|---:|---:|---:|---:|---|---|",
        ]
        for row in self.sides.to_dict("records"):
            interval = interval_text(row["lower"], row["upper"], "+.3f")
            lines.append(
                f"| {row['measure'].replace('_', ' ')} | {row['of']} | {row['prompts']} | "
                f"{row['winners']:.3f} | {row['losers']:.3f} | {row['difference']:+.3f} | {interval} | "
                f"{_MEANING[row['measure']]} |"
            )
        lines += [
            "",
            "| preferred: the response more like the others of | pairs | share | 95 % interval | pairs of "
            "equal length | share | 95 % interval |",
            "|---|---:|---:|---|---:|---:|---|",
        ]
        for row in self.typical.to_dict("records"):
            lines.append(
                f"| {row['like']} | {row['pairs']} | {row['preferred']:.3f} | "
                f"{interval_text(row['lower'], row['upper'], '.3f')} | {row['matched_pairs']} | "
                f"{row['matched']:.3f} | {interval_text(row['matched_lower'], row['matched_upper'], '.3f')} |"
            )
        return "\n".join(lines) + "\n"


def sameness(pairs: PairTable, *, features: Features | None = None) -> Sameness:
    """Measure whether preference labels reward responses that are like others.

    A model that is trained on labels which prefer the typical response learns to give typical responses.
    Long responses are more like the others than short ones, and are preferred for their length too, so the
    pairs of nearly equal lengths are also looked at by themselves.

    Parameters
    ----------
    pairs : PreferencePairs
        With texts.
    features : (n_responses, n_features) array or sparse matrix, optional
        What responses are compared by, such as embeddings; by default TF-IDF of words and word pairs.

    Returns
    -------
    Sameness
        Diversity by prompt, winners against losers, and how often the more typical response is preferred.

    Raises
    ------
    ValueError
        If the pairs have no texts.

    References
    ----------
    Zhang et al. (2025), "Verbalized sampling: how to mitigate mode collapse and unlock LLM diversity"
    (typicality bias).

    Examples
    --------
    >>> from lambdamart_kit.preferences import PreferencePairs
    >>> rows = [{"prompt": "p", "chosen": c, "rejected": "x y"} for c in ("a b", "a c", "a d")]
    >>> sameness(PreferencePairs.read(rows)).typical[["like", "preferred"]].values.tolist()
    [['its prompt', 1.0]]
    """
    texts = pairs.texts["response"].to_numpy()
    rows = unit_rows(comparable(texts, features))
    wins = np.bincount(pairs.chosen, pairs.target > 0.5, minlength=len(texts))
    wins += np.bincount(pairs.rejected, pairs.target < 0.5, minlength=len(texts))
    losses = np.bincount(pairs.rejected, pairs.target > 0.5, minlength=len(texts))
    losses += np.bincount(pairs.chosen, pairs.target < 0.5, minlength=len(texts))
    used = np.unique(np.concatenate([pairs.chosen, pairs.rejected]))
    by_prompt = generation_diversity(texts[used], pairs.response_prompt[used], features=rows[used])
    by_prompt["prompt"] = pairs.prompts[by_prompt["prompt"].to_numpy(np.intp)]
    return Sameness(
        by_prompt, _sides(texts, rows, pairs, wins > losses, losses > wins), _typical(rows, pairs)
    )


def _sides(
    texts: Any, rows: Features, pairs: PairTable, winners: BoolArray, losers: BoolArray
) -> pd.DataFrame:
    """Winners against losers: prompt by prompt where there are several of each, and all together."""
    words = {int(row): words_of(texts[row]) for row in np.flatnonzero(winners | losers)}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in MEASURES}
    both = (np.flatnonzero(winners), np.flatnonzero(losers))
    groups = [pd.Series(rows_of).groupby(pairs.response_prompt[rows_of]).groups for rows_of in both]
    # In the order of their texts, so that the order of the rows does not matter where sets are cut.
    for prompt in sorted(set(groups[0]) & set(groups[1])):
        sets = [_by_text(of_side[groups[side][prompt]], texts) for side, of_side in enumerate(both)]
        if min(map(len, sets)) < 2:
            continue
        for name, two in _measures(sets, rows, words).items():
            found[name].append(two)
    lines = []
    for name in MEASURES:
        values = np.array(found[name]).reshape(-1, 2)
        values = values[~np.isnan(values).any(axis=1)]
        if len(values):
            lines.append(_side_line(name, "prompt", values))
    if min(map(len, both)) > 1:
        whole = [_by_text(of_side, texts) for of_side in both]
        n_prompts = len(np.unique(pairs.prompt))
        for name, two in _measures(whole, rows, words).items():
            lines.append(_side_line(name, "all", np.array([two]), n_prompts))
    columns = ["measure", "of", "prompts", "winners", "losers", "difference", "lower", "upper"]
    return pd.DataFrame(lines, columns=columns)


def _by_text(rows: IndexArray, texts: Any) -> list[int]:
    return sorted((int(row) for row in rows), key=lambda row: str(texts[row]))


def _measures(
    sets: list[list[int]], rows: Features, words: dict[int, list[str]]
) -> dict[str, tuple[float, float]]:
    """Each measure of the winners and of the losers, on as many responses or words where that matters."""
    of_words = [[words[row] for row in of_side] for of_side in sets]
    n_words = min(sum(map(len, of_side)) for of_side in of_words)
    n_responses = min(map(len, sets))
    first, second = (
        {
            "self_similarity": self_similarity(rows[np.array(of_side)]),
            "vendi": vendi_of_set(rows[np.array(of_side[:n_responses])]),
            "distinct_1": distinct_share(texts, 1, n_words),
            "distinct_2": distinct_share(texts, 2, n_words),
        }
        for of_side, texts in zip(sets, of_words)
    )
    return {name: (first[name], second[name]) for name in MEASURES if not np.isnan(first[name])}


def _side_line(name: str, of: str, values: FloatArray, n_prompts: int | None = None) -> Settings:
    differences = values[:, 0] - values[:, 1]
    half = np.nan
    if of == "prompt" and len(values) > 1:
        half = _NORMAL * differences.std(ddof=1) / np.sqrt(len(values))
    mean = differences.mean()
    return {
        "measure": name,
        "of": of,
        "prompts": len(values) if n_prompts is None else n_prompts,
        "winners": values[:, 0].mean(),
        "losers": values[:, 1].mean(),
        "difference": mean,
        "lower": mean - half,
        "upper": mean + half,
    }


def _typical(rows: Features, pairs: PairTable) -> pd.DataFrame:
    """How often the response that is more like the others of its prompt, or of all prompts, is preferred."""
    used = np.unique(np.concatenate([pairs.chosen, pairs.rejected]))
    prompt = pairs.response_prompt
    sizes = np.bincount(prompt[used], minlength=len(pairs.prompts))
    of_prompt = _likeness(rows, used, prompt)
    everywhere = _likeness(rows, used, np.zeros_like(prompt))
    lengths = pairs.lengths.astype(np.float64)
    matched = length_matched(lengths[pairs.chosen], lengths[pairs.rejected])
    lines = []
    # With two responses to a prompt each is as like the other, so others are needed to compare with.
    for like, likeness, usable in (
        ("its prompt", of_prompt, sizes[pairs.prompt] > 2),
        ("all prompts", everywhere, np.full(len(pairs), len(np.unique(pairs.prompt)) > 1)),
    ):
        margin = likeness[pairs.chosen] - likeness[pairs.rejected]
        margin[np.abs(margin) < 1e-12] = 0.0
        right = np.where(usable, accuracy(margin, pairs.target, half_ties=True), np.nan)
        if np.isnan(right).all():
            continue
        every = clustered_mean(right, pairs.weight, pairs.prompt)
        equal = clustered_mean(np.where(matched, right, np.nan), pairs.weight, pairs.prompt)
        lines.append(
            {
                "like": like,
                "pairs": int((~np.isnan(right)).sum()),
                "preferred": every.value,
                "lower": every.lower,
                "upper": every.upper,
                "matched_pairs": int((~np.isnan(right) & matched).sum()),
                "matched": equal.value,
                "matched_lower": equal.lower,
                "matched_upper": equal.upper,
            }
        )
    columns = ["like", "pairs", "preferred", "lower", "upper"]
    columns += ["matched_pairs", "matched", "matched_lower", "matched_upper"]
    return pd.DataFrame(lines, columns=columns)


def _likeness(rows: Features, used: IndexArray, group: IndexArray) -> FloatArray:
    """Sum of each response's cosines with the other responses of its group."""
    code = np.unique(group[used], return_inverse=True)[1]
    member = scipy.sparse.csr_array(
        (np.ones(len(used)), (code, np.arange(len(used)))), shape=(code.max() + 1, len(used))
    )
    taken = rows[used]
    sums = member @ taken
    with_sum = taken.multiply(sums[code]) if scipy.sparse.issparse(taken) else taken * sums[code]
    found = np.zeros(rows.shape[0])
    found[used] = np.asarray(with_sum.sum(axis=1)).ravel() - squared_lengths(taken)
    return found


def _plain_records(table: pd.DataFrame) -> list[Settings]:
    missing = table.astype(object).where(table.notna(), None)
    return [
        {str(name): value.item() if isinstance(value, np.generic) else value for name, value in row.items()}
        for row in missing.to_dict("records")
    ]
