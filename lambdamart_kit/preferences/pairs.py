"""Preference pairs: responses stored once, pairs index into them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from lambdamart_kit.core.typing import Array, ArrayLike, FloatArray, IndexArray
from lambdamart_kit.preferences.reading.formats import normalised, to_pairs
from lambdamart_kit.preferences.reading.records import Record, read_records
from lambdamart_kit.preferences.strengths.comparisons import plain

if TYPE_CHECKING:
    from lambdamart_kit.preferences.audit import AuditReport

LOGPS = ("chosen_logps", "rejected_logps", "ref_chosen_logps", "ref_rejected_logps")


@dataclass(frozen=True, eq=False, repr=False)
class PreferencePairs:
    """Pairs of responses to a prompt, one preferred to the other.

    A response that stands in many pairs is stored once, and so is its feature vector: 40,000 prompts with
    ten responses of 2,048 float32 features are 3.3 GB, not 3.3 GB a pair. Make one with :meth:`read`,
    :meth:`from_arrays` or :meth:`from_indices`.

    Attributes
    ----------
    chosen, rejected : (n_pairs,) intp
        Responses of each pair.
    prompt : (n_pairs,) intp
        Prompt of each pair. Prompts that differ in case or white space only are the same.
    target : (n_pairs,) float64
        Probability that `chosen` is the better one: 1, 1/2 for a tie, between for soft labels.
    weight : (n_pairs,) float64
        Weight of each pair.
    margin : (n_pairs,) float64
        Margin that the reward difference should exceed (TRL's ``margin``); 0 where there is none.
    prompts, responses : arrays of str
        Texts; empty when only features are known.
    response_prompt : (n_responses,) intp
        Prompt of each response.
    columns : DataFrame
        All other columns, one row a pair.
    features : (n_responses, n_features) array or CSR, or None
        Features of each response.

    Examples
    --------
    >>> rows = [{"prompt": "2+2?", "chosen": "4", "rejected": "5"},
    ...         {"prompt": "2+2?", "chosen": "4", "rejected": "22", "id": "b"}]
    >>> pairs = PreferencePairs.read(rows)
    >>> pairs
    PreferencePairs: 2 pairs, 1 prompts, 3 responses, no features
    >>> pairs.chosen.tolist(), pairs.rejected.tolist(), pairs.columns["id"].tolist()
    ([0, 0], [1, 2], [nan, 'b'])
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
    features: Any = None

    @classmethod
    def read(cls, source: Any) -> PreferencePairs:
        """Read pairs from a file, a DataFrame, a Hugging Face data set or an iterable of mappings.

        :mod:`lambdamart_kit.preferences.reading.formats` lists the shapes understood, and
        :func:`lambdamart_kit.preferences.reading.records.read_records` the file formats. Row order is kept.
        Columns ``margin`` and ``weight`` become attributes; the others are kept in `columns`.

        Raises
        ------
        ValueError
            If a row does not fit; the message names the row, the column and the value.
        """
        builder = _Builder()
        for pair in to_pairs(read_records(source)):
            builder.add(pair.prompt, pair.chosen, pair.rejected, pair.target, pair.extra)
        return builder.pairs(cls)

    @classmethod
    def from_indices(
        cls,
        X: Any,
        chosen: ArrayLike,
        rejected: ArrayLike,
        *,
        prompt: Any = None,
        target: ArrayLike | None = None,
        weight: ArrayLike | None = None,
        margin: ArrayLike | None = None,
    ) -> PreferencePairs:
        """Pairs of rows of a feature matrix, which is not copied.

        Parameters
        ----------
        X : (n_responses, n_features) array or sparse matrix
        chosen, rejected : (n_pairs,) integers
            Rows of X.
        prompt : (n_pairs,) ids, optional
            Prompt of each pair; every pair its own when left out.
        target, weight, margin : (n_pairs,) arrays, optional
        """
        better, worse = np.asarray(chosen, dtype=np.intp), np.asarray(rejected, dtype=np.intp)
        n_pairs, n_responses = len(better), X.shape[0]
        for name, rows in (("chosen", better), ("rejected", worse)):
            if rows.shape != (n_pairs,):
                raise ValueError(f"{name!r} must have shape ({n_pairs},), as 'chosen'; got {rows.shape}")
            bad = np.flatnonzero((rows < 0) | (rows >= n_responses))
            if len(bad):
                raise ValueError(
                    f"{name!r} must hold rows of 'X', 0 to {n_responses - 1}; pair {bad[0]} has "
                    f"{rows[bad[0]]}"
                )
        code, names = pd.factorize(np.arange(n_pairs) if prompt is None else np.asarray(prompt))
        if code.shape != (n_pairs,) or (code < 0).any():
            raise ValueError(f"'prompt' must hold one id per pair, none missing; expected {n_pairs} ids")
        response_prompt = np.zeros(n_responses, dtype=np.intp)
        response_prompt[worse], response_prompt[better] = code, code
        return cls(
            better,
            worse,
            code.astype(np.intp),
            _per_pair(target, n_pairs, 1.0, "target", low=0.0, high=1.0),
            _per_pair(weight, n_pairs, 1.0, "weight", low=0.0),
            _per_pair(margin, n_pairs, 0.0, "margin"),
            np.array([str(name) for name in names], dtype=object),
            np.empty(0, dtype=object),
            response_prompt,
            pd.DataFrame(index=range(n_pairs)),
            X,
        )

    @classmethod
    def from_arrays(
        cls, X_chosen: Any, X_rejected: Any, *, prompt: Any = None, **options: Any
    ) -> PreferencePairs:
        """Pairs from two matrices with one row a pair, (n_pairs, n_features) each.

        The matrices are stacked, so responses that stand in several pairs are stored several times;
        :meth:`from_indices` avoids that. `options` are its ``target``, ``weight`` and ``margin``.
        """
        X_chosen, X_rejected = _matrix(X_chosen, "X_chosen"), _matrix(X_rejected, "X_rejected")
        if X_chosen.shape != X_rejected.shape:
            raise ValueError(
                f"'X_chosen' and 'X_rejected' must have the same shape; got {X_chosen.shape} and "
                f"{X_rejected.shape}"
            )
        stacked = _stack([X_chosen, X_rejected])
        n_pairs = X_chosen.shape[0]
        rows = np.arange(n_pairs)
        return cls.from_indices(stacked, rows, rows + n_pairs, prompt=prompt, **options)

    def __len__(self) -> int:
        return len(self.chosen)

    def __repr__(self) -> str:
        n_features = "no" if self.features is None else self.features.shape[1]
        return (
            f"PreferencePairs: {len(self)} pairs, {len(np.unique(self.prompt))} prompts, "
            f"{len(self.response_prompt)} responses, {n_features} features"
        )

    @property
    def lengths(self) -> IndexArray:
        """Characters of each response, (n_responses,); zeros without texts."""
        if not len(self.responses):
            return np.zeros(len(self.response_prompt), dtype=np.intp)
        return np.fromiter((len(text) for text in self.responses), dtype=np.intp, count=len(self.responses))

    @property
    def texts(self) -> pd.DataFrame:
        """Columns ``prompt`` and ``response``, one row a response: what feature extractors take.

        Raises
        ------
        ValueError
            If the pairs were made from features.
        """
        if not len(self.responses):
            raise ValueError("these pairs have no texts, only features; read them from a file with texts")
        return pd.DataFrame({"prompt": self.prompts[self.response_prompt], "response": self.responses})

    def with_features(self, *features: Any) -> PreferencePairs:
        """The same pairs with features.

        Parameters
        ----------
        features : one or two
            One matrix (n_responses, n_features), in the order of `responses`; or two, for the chosen and the
            rejected response of each pair, (n_pairs, n_features) each; or a scikit-learn transformer, which
            gets the list of responses (or, if it has a true attribute ``uses_prompt``, the frame `texts`).
            A transformer that is not fitted is cloned and fitted on these pairs: to keep test prompts out of
            the fit, give the transformer to ``RewardModel(features=...)`` instead.

        Raises
        ------
        ValueError
            If shapes do not fit, or one response comes with two different feature vectors.
        """
        if len(features) == 1 and hasattr(features[0], "transform"):
            matrix = extract(fitted_extractor(features[0], self), self)
        elif len(features) == 1:
            matrix = _matrix(features[0], "features")
        elif len(features) == 2:
            matrix = self._scatter(_matrix(features[0], "X_chosen"), _matrix(features[1], "X_rejected"))
        else:
            raise ValueError(f"'features' must be one matrix, two, or a transformer; got {len(features)}")
        if matrix.shape[0] != len(self.response_prompt):
            raise ValueError(
                f"'features' must have one row per response, {len(self.response_prompt)}; "
                f"got {matrix.shape[0]} rows"
            )
        return dataclasses.replace(self, features=matrix)

    def take(self, rows: Any) -> PreferencePairs:
        """Some of the pairs, by index or mask; responses and features are shared, not copied."""
        index = np.arange(len(self))[rows]
        per_pair = ("chosen", "rejected", "prompt", "target", "weight", "margin")
        return dataclasses.replace(
            self,
            **{name: getattr(self, name)[index] for name in per_pair},
            columns=self.columns.iloc[index].reset_index(drop=True),
        )

    def split(
        self, *, test_size: float = 0.2, random_state: int | None = None, by: str | None = None
    ) -> tuple[PreferencePairs, PreferencePairs]:
        """Split into train and test by whole prompts, or by whole values of the column `by`.

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
            values: Any = self.prompt
        elif by in self.columns:
            values = self.columns[by].to_numpy()
        else:
            raise ValueError(f"'by' must be a column; got {by!r}, have {list(self.columns.columns)}")
        code, unique = pd.factorize(values)
        if (code < 0).any():
            raise ValueError(f"column {by!r} must not be missing; pair {int(np.argmin(code))} is")
        return code.astype(np.intp), len(unique)

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
                raise ValueError(
                    f"{name!r} must hold finite log-probs; pair {bad[0]} has "
                    f"{plain(self.columns[name].iloc[bad[0]])!r} ({len(bad)} such pairs)"
                )
        return found

    def to_frame(self) -> pd.DataFrame:
        """``prompt``, ``chosen``, ``rejected`` and the other columns, one row a pair."""
        return pd.DataFrame(
            {
                "prompt": self.prompts[self.prompt],
                "chosen": self.responses[self.chosen],
                "rejected": self.responses[self.rejected],
            }
        ).join(self.columns)

    def audit(self, other: PreferencePairs | None = None) -> AuditReport:
        """What is wrong with these pairs; see :func:`lambdamart_kit.preferences.audit.audit`."""
        from lambdamart_kit.preferences.audit import audit

        return audit(self, other)

    def _scatter(self, X_chosen: Any, X_rejected: Any) -> Any:
        """Rows of pairs to rows of responses; a response met again must look the same."""
        for name, given in (("X_chosen", X_chosen), ("X_rejected", X_rejected)):
            if given.shape[0] != len(self):
                raise ValueError(f"{name!r} must have one row per pair, {len(self)}; got {given.shape[0]}")
        both, rows = _stack([X_chosen, X_rejected]), np.concatenate([self.chosen, self.rejected])
        seen, at = np.unique(rows, return_index=True)
        if len(seen) < len(self.response_prompt):
            raise ValueError("two matrices need every response to stand in a pair; give one matrix instead")
        matrix = both[at]
        again = matrix[rows]
        differs = again != both
        if not scipy.sparse.issparse(both):
            differs &= ~((again != again) & (both != both))
        bad = np.asarray(differs.sum(axis=1)).ravel().nonzero()[0]
        if len(bad):
            side = "X_chosen" if bad[0] < len(self) else "X_rejected"
            raise ValueError(
                f"one response must have one feature vector; row {bad[0] % len(self)} of {side!r} differs "
                "from an earlier row of the same response"
            )
        return matrix


class _Builder:
    """Collects pairs, storing every prompt and every response to it once."""

    def __init__(self) -> None:
        self._prompts: dict[str, int] = {}
        self._responses: dict[tuple[int, str], int] = {}
        self._texts: list[str] = []
        self._rows: list[tuple[int, int, int]] = []
        self._targets: list[float] = []
        self._extras: list[Record] = []

    def add(self, prompt: str, chosen: str, rejected: str, target: float, extra: Record) -> None:
        """Add one pair."""
        code = self._prompts.setdefault(normalised(prompt), len(self._prompts))
        if code == len(self._texts):
            self._texts.append(prompt)
        better = self._responses.setdefault((code, chosen), len(self._responses))
        worse = self._responses.setdefault((code, rejected), len(self._responses))
        self._rows.append((code, better, worse))
        self._targets.append(target)
        self._extras.append(extra)

    def pairs(self, cls: type[PreferencePairs]) -> PreferencePairs:
        """All that was added."""
        n_pairs = len(self._rows)
        index = np.array(self._rows, dtype=np.intp).reshape(-1, 3)
        columns = pd.DataFrame(self._extras, index=range(n_pairs))
        return cls(
            index[:, 1],
            index[:, 2],
            index[:, 0],
            np.array(self._targets),
            _per_pair(_popped(columns, "weight", 1.0), n_pairs, 1.0, "weight", low=0.0),
            _per_pair(_popped(columns, "margin", 0.0), n_pairs, 0.0, "margin"),
            np.array(self._texts, dtype=object),
            np.array([text for _, text in self._responses], dtype=object),
            np.array([code for code, _ in self._responses], dtype=np.intp),
            columns,
        )


def fitted_extractor(transformer: Any, pairs: PreferencePairs) -> Any:
    """`transformer` if it is fitted, else a clone fitted on the responses that stand in `pairs`."""
    try:
        check_is_fitted(transformer)
    except NotFittedError:
        used = np.unique(np.concatenate([pairs.chosen, pairs.rejected]))
        return clone(transformer).fit(_inputs(transformer, pairs, used))
    return transformer


def extract(transformer: Any, pairs: PreferencePairs) -> Any:
    """Features of every response by a fitted transformer, (n_responses, n_features)."""
    return transformer.transform(_inputs(transformer, pairs, slice(None)))


def _inputs(transformer: Any, pairs: PreferencePairs, rows: Any) -> Any:
    texts = pairs.texts.iloc[rows]
    return texts if getattr(transformer, "uses_prompt", False) else texts["response"].tolist()


def _matrix(values: Any, name: str) -> Any:
    matrix: Any = scipy.sparse.csr_matrix(values) if scipy.sparse.issparse(values) else np.asarray(values)
    if matrix.ndim != 2:
        raise ValueError(f"{name!r} must have two dimensions, one row each; got shape {matrix.shape}")
    return matrix


def _stack(matrices: list[Any]) -> Any:
    if any(scipy.sparse.issparse(m) for m in matrices):
        return scipy.sparse.vstack(matrices, format="csr")
    return np.vstack(matrices)


def _popped(columns: pd.DataFrame, name: str, default: float) -> Any:
    return columns.pop(name).fillna(default).to_numpy() if name in columns else None


def _per_pair(
    values: Any, n_pairs: int, default: float, name: str, *, low: float = -np.inf, high: float = np.inf
) -> FloatArray:
    if values is None:
        return np.full(n_pairs, default)
    try:
        result = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name!r} must hold numbers: {error}") from None
    if result.shape != (n_pairs,):
        raise ValueError(f"{name!r} must hold one value per pair, ({n_pairs},); got shape {result.shape}")
    bad = np.flatnonzero(~(np.isfinite(result) & (result >= low) & (result <= high)))
    if len(bad):
        raise ValueError(
            f"{name!r} must be finite, from {low:g} to {high:g}; pair {bad[0]} has {result[bad[0]]}"
        )
    return result
