"""Preference pairs: read from anything, split by prompt, given features, audited, written."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse

from lambdamart_kit.core.rows import as_matrix, native
from lambdamart_kit.core.typing import ArrayLike, Features, FloatArray, IndexArray
from lambdamart_kit.preferences.auditing.audit import audit
from lambdamart_kit.preferences.auditing.report import AuditReport
from lambdamart_kit.preferences.pair_table import PairTable
from lambdamart_kit.preferences.reading.builder import PairBuilder
from lambdamart_kit.preferences.reading.layouts import PairReader
from lambdamart_kit.preferences.reading.values import RowError


class PreferencePairs(PairTable):
    """Pairs of responses to a prompt, one preferred to the other.

    A response that stands in many pairs is stored once, and so is its feature vector: 40,000 prompts with
    ten responses of 2,048 float32 features are 3.3 GB, not 3.3 GB a pair. Make one with :meth:`read`,
    :meth:`from_arrays` or :meth:`from_indices`. The attributes are those of
    :class:`lambdamart_kit.preferences.pair_table.PairTable`.

    Parameters
    ----------
    chosen : (n_pairs,) integers
        Response that was preferred.
    rejected : (n_pairs,) integers
        Response that was not.
    prompt : (n_pairs,) integers
        Prompt of each pair.
    target : (n_pairs,) float64
        Probability that the chosen response is the better one; 0.5 is a tie.
    weight : (n_pairs,) float64
        Weight of each pair.
    margin : (n_pairs,) float64
        By how much the reward of the chosen response should exceed that of the rejected one.
    prompts : (n_prompts,) array of str
        Text or id of each prompt.
    responses : (n_responses,) array of str
        Text of each response; empty where texts were not kept.
    response_prompt : (n_responses,) integers
        Prompt that each response answers.
    columns : DataFrame
        Further columns of the file, one row a pair.
    features : (n_responses, n_features) array, sparse matrix or None
        Features of each response.
    rows : (n_pairs, 2) integers
        Rows of the file that each pair was made of.
    chosen_shown_first : (n_pairs,) int8
        Whether the chosen response was shown first: 1, 0, or -1 where that is not known.
    facts : DataFrame or None
        What is kept of the texts for audits.

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

    @classmethod
    def read(
        cls,
        source: Any,
        *,
        columns: Mapping[str, str] | None = None,
        layout: str | None = None,
        texts: bool = True,
        progress: Callable[[int], None] | None = None,
    ) -> PreferencePairs:
        """Read pairs from files, a DataFrame, a Hugging Face data set or an iterable of mappings.

        The layout of the records is found from their columns, or an error lists the columns seen: an outcome
        is never assumed. Row order is kept. Columns ``margin`` and ``weight`` become attributes; columns that
        say nothing of texts or preferences are kept in `columns`. Where a layout rates both responses and the
        file has no column ``margin``, the gap of the ratings is the margin, the column ``margin_from`` names
        the ratings, and ``RewardModel(use_margins=True)`` uses it.

        Parameters
        ----------
        source : path, glob, folder, list of paths, DataFrame, data set or iterable of mappings
            See :class:`lambdamart_kit.preferences.reading.records.RecordSource`.
        columns : mapping of str to str, optional
            Role to column of the file, such as ``{"prompt": "question", "chosen": "good"}``. Roles:
            prompt, system, chosen, rejected, target, weight, margin, subset, annotator; response with label
            or score; responses with scores or ranks; first, second, outcome, first_response, second_response.
        layout : str, optional
            Name in :data:`lambdamart_kit.preferences.reading.layouts.LAYOUTS`.
        texts : bool
            Whether to keep the texts of the responses. Without them the pairs serve an audit only, in a
            fraction of the memory.
        progress : callable, optional
            Told how many pairs were read since the last time.

        Raises
        ------
        ValueError
            If no layout fits, or a row does not fit; the message names the row, the column and the value.

        Examples
        --------
        >>> rows = [{"question": "2+2?", "good": "4", "bad": "5"}]
        >>> columns = {"prompt": "question", "chosen": "good", "rejected": "bad"}
        >>> len(PreferencePairs.read(rows, columns=columns))
        1
        """
        reader = PairReader(source, columns=columns, layout=layout)
        builder = PairBuilder(texts=texts)
        try:
            builder.add_all(reader, progress)
        except RowError as error:
            raise ValueError(f"{reader.records.place(error.row)}: {error.problem}") from None
        if reader.layout is not None and reader.layout.name != "kit":
            builder.warn_if_no_prompts()
        fields = builder.fields()
        folder_named = reader.layout is not None and reader.layout.subset_from_folder
        if folder_named and reader.records.paths is not None and "subset" not in fields["columns"]:
            paths = [reader.records.path_of(row) for row in fields["rows"][:, 0]]
            fields["columns"]["subset"] = [None if path is None else path.parent.name for path in paths]
        return cls(**fields, features=None)

    @classmethod
    def from_indices(
        cls,
        X: Features,
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
            Features of the responses.
        chosen, rejected : (n_pairs,) integers
            Rows of X.
        prompt : (n_pairs,) ids, optional
            Prompt of each pair; every pair its own when left out.
        target : (n_pairs,) array, optional
            Probability that the chosen response is the better one; 1 when left out.
        weight : (n_pairs,) array, optional
            Weight of each pair; 1 when left out.
        margin : (n_pairs,) array, optional
            By how much the reward of the chosen response should exceed that of the rejected one; 0 when left
            out.
        """
        X = X if hasattr(X, "iloc") else as_matrix(X, "X")
        n_responses = X.shape[0]
        better = _row_numbers(chosen, np.shape(chosen)[:1], n_responses, "chosen")
        worse = _row_numbers(rejected, better.shape, n_responses, "rejected")
        n_pairs = len(better)
        code, names = pd.factorize(np.arange(n_pairs) if prompt is None else native(prompt))
        if code.shape != (n_pairs,) or (code < 0).any():
            raise ValueError(f"'prompt' must hold one id per pair, none missing; expected {n_pairs} ids")
        response_prompt = np.zeros(n_responses, dtype=np.intp)
        response_prompt[worse] = code
        response_prompt[better] = code
        return cls(
            chosen=better,
            rejected=worse,
            prompt=code.astype(np.intp),
            target=_per_pair(target, n_pairs, 1.0, "target", low=0.0, high=1.0),
            weight=_per_pair(weight, n_pairs, 1.0, "weight", low=0.0),
            margin=_per_pair(margin, n_pairs, 0.0, "margin"),
            prompts=np.array([str(name) for name in names], dtype=object),
            responses=np.empty(0, dtype=object),
            response_prompt=response_prompt,
            columns=pd.DataFrame(index=range(n_pairs)),
            features=X,
            rows=np.column_stack([np.arange(n_pairs)] * 2),
            chosen_shown_first=np.full(n_pairs, -1, dtype=np.int8),
        )

    @classmethod
    def from_arrays(
        cls, X_chosen: Any, X_rejected: Any, *, prompt: Any = None, **options: Any
    ) -> PreferencePairs:
        """Pairs from two matrices with one row a pair, (n_pairs, n_features) each.

        The matrices are stacked, so responses that stand in several pairs are stored several times;
        :meth:`from_indices` avoids that. `options` are its ``target``, ``weight`` and ``margin``.

        Parameters
        ----------
        X_chosen : (n_pairs, n_features) array or sparse matrix
            Features of the preferred response of each pair.
        X_rejected : (n_pairs, n_features) array or sparse matrix
            Features of the other one.
        prompt : (n_pairs,) ids, optional
            Prompt of each pair; every pair its own when left out.
        **options : arrays
            ``target``, ``weight`` and ``margin`` of :meth:`from_indices`.
        """
        X_chosen, X_rejected = as_matrix(X_chosen, "X_chosen"), as_matrix(X_rejected, "X_rejected")
        if X_chosen.shape != X_rejected.shape:
            raise ValueError(
                f"'X_chosen' and 'X_rejected' must have the same shape; got {X_chosen.shape} and "
                f"{X_rejected.shape}"
            )
        stacked = _stack([X_chosen, X_rejected])
        n_pairs = X_chosen.shape[0]
        rows = np.arange(n_pairs)
        return cls.from_indices(stacked, rows, rows + n_pairs, prompt=prompt, **options)

    def with_features(self, *features: Features) -> PreferencePairs:
        """The same pairs with features.

        Parameters
        ----------
        *features : one or two
            One matrix (n_responses, n_features), in the order of `responses`; or two, for the chosen and the
            rejected response of each pair, (n_pairs, n_features) each; or a scikit-learn transformer, which
            gets the list of responses (or, if it has a true attribute ``uses_prompt``, the frame `texts`).
            A transformer that is not fitted is cloned and fitted on these pairs: to keep test prompts out of
            the fit, give the transformer to ``RewardModel(features=...)`` instead.

        Returns
        -------
        PreferencePairs
            A copy that shares everything else.

        Raises
        ------
        ValueError
            If shapes do not fit, or one response comes with two different feature vectors.
        """
        if len(features) == 1 and hasattr(features[0], "transform"):
            matrix = extract(fitted_extractor(features[0], self), self)
        elif len(features) == 1:
            matrix = as_matrix(features[0], "features")
        elif len(features) == 2:
            matrix = self._scatter(as_matrix(features[0], "X_chosen"), as_matrix(features[1], "X_rejected"))
        else:
            raise ValueError(f"'features' must be one matrix, two, or a transformer; got {len(features)}")
        if matrix.shape[0] != len(self.response_prompt):
            raise ValueError(
                f"'features' must have one row per response, {len(self.response_prompt)}; "
                f"got {matrix.shape[0]} rows"
            )
        return dataclasses.replace(self, features=matrix)

    def audit(self, other: PreferencePairs | None = None, *, diversity: bool = False) -> AuditReport:
        """What is wrong with these pairs; see :func:`lambdamart_kit.preferences.auditing.audit.audit`.

        Parameters
        ----------
        other : PreferencePairs, optional
            The other side of a split, to look for prompts on both sides.
        diversity : bool
            Also measure how alike responses are, and whether the labels reward it. Needs texts.

        Returns
        -------
        AuditReport
            Rows with each problem, and facts such as the length bias.
        """
        return audit(self, other, diversity=diversity)

    def _scatter(self, X_chosen: Any, X_rejected: Any) -> Any:
        """Rows of pairs to rows of responses; a response met again must look the same."""
        for name, given in (("X_chosen", X_chosen), ("X_rejected", X_rejected)):
            if given.shape[0] != len(self):
                raise ValueError(f"{name!r} must have one row per pair, {len(self)}; got {given.shape[0]}")
        both = _stack([X_chosen, X_rejected])
        rows = np.concatenate([self.chosen, self.rejected])
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


def fitted_extractor(transformer: Any, pairs: PairTable) -> Any:
    """`transformer` if it is fitted, else a clone fitted on the responses that stand in `pairs`."""
    from sklearn.base import clone
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    try:
        check_is_fitted(transformer)
    except NotFittedError:
        used = np.unique(np.concatenate([pairs.chosen, pairs.rejected]))
        return clone(transformer).fit(_inputs(transformer, pairs, used))
    return transformer


def extract(transformer: Any, pairs: PairTable) -> Any:
    """Features of every response by a fitted transformer, (n_responses, n_features)."""
    return transformer.transform(_inputs(transformer, pairs, slice(None)))


def _inputs(transformer: Any, pairs: PairTable, rows: Any) -> Any:
    texts = pairs.texts.iloc[rows]
    return texts if getattr(transformer, "uses_prompt", False) else texts["response"].tolist()


def _row_numbers(rows: Any, shape: tuple[int, ...], n_responses: int, name: str) -> IndexArray:
    """Rows of the feature matrix, one a pair."""
    given = np.asarray(rows)
    if given.shape != shape or given.ndim != 1:
        raise ValueError(
            f"{name!r} must hold one row of 'X' per pair, shape {shape or '(n_pairs,)'}; got {given.shape}"
        )
    try:
        whole = given.astype(np.intp)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name!r} must hold rows of 'X', whole numbers: {error}") from None
    bad = np.flatnonzero((whole < 0) | (whole >= n_responses) | (whole != given))
    if len(bad):
        raise ValueError(
            f"{name!r} must hold rows of 'X', 0 to {n_responses - 1}; pair {bad[0]} has {given[bad[0]]}"
        )
    return whole


def _stack(matrices: list[Any]) -> Any:
    if any(scipy.sparse.issparse(m) for m in matrices):
        return scipy.sparse.vstack(matrices, format="csr")
    return np.vstack(matrices)


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
