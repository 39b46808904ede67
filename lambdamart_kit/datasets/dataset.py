"""The rows of a ranking problem, kept together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from lambdamart_kit.core.precision import narrowed
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.rows import check_sparse, is_sparse
from lambdamart_kit.core.typing import Array, BoolArray, Features, Float32Array, FloatArray, IndexArray

if TYPE_CHECKING:
    import pandas as pd


WEIGHT_COLUMN = "sample_weight"  # what tables that the kit writes call weights


@dataclass(frozen=True, eq=False)
class RankingDataset:
    """Features, graded labels and query ids, aligned by row.

    Parameters
    ----------
    X : (n_samples, n_features) float32 or float64 array, or scipy.sparse CSR matrix
        One row a query-document pair.
    y : (n_samples,) float32
        Graded relevance, 0 = not relevant.
    qid : (n_samples,) array
        Query of each row: integers or strings.
    docid : (n_samples,) array of str, or None
        Name of each document.
    feature_names : tuple of str, or None
        Name of each column.
    sample_weight : (n_samples,) float64, or None
        Weight of the row's query.

    Raises
    ------
    ValueError
        If the parts do not have one entry a row (or, for `feature_names`, a column), or X is a sparse matrix
        whose indices point outside of it.

    Examples
    --------
    >>> import numpy as np
    >>> y, qid = np.array([1, 0, 2], np.float32), np.array([7, 7, 9])
    >>> data = RankingDataset(np.zeros((3, 2), np.float32), y, qid)
    >>> data
    RankingDataset(3 rows, 2 queries, 2 features)
    >>> data.select(data.queries.sizes > 1).qid.tolist()
    [7, 7]
    """

    X: Features
    y: Float32Array
    qid: Array
    docid: Array | None = None
    feature_names: tuple[str, ...] | None = None
    sample_weight: FloatArray | None = None

    def __post_init__(self) -> None:
        n_samples, n_features = self.X.shape
        if is_sparse(self.X):
            check_sparse(self.X, "X")
        for name in ("y", "qid", "docid", "sample_weight"):
            rows = getattr(self, name)
            if rows is not None and rows.shape != (n_samples,):
                raise ValueError(
                    f"{name!r} must have one entry a row of 'X': expected shape ({n_samples},), "
                    f"got {rows.shape}"
                )
        if self.feature_names is not None and len(self.feature_names) != n_features:
            raise ValueError(
                f"'feature_names' must have one name a column of 'X': expected {n_features}, "
                f"got {len(self.feature_names)}"
            )

    def __repr__(self) -> str:
        rows, columns = self.X.shape
        return f"RankingDataset({rows:,} rows, {self.queries.n_queries:,} queries, {columns:,} features)"

    def __len__(self) -> int:
        return int(self.X.shape[0])

    @cached_property
    def queries(self) -> Queries:
        """The rows grouped by query (queries in ascending order of their id)."""
        return Queries.from_qid(self.qid, len(self))

    def subset(self, rows: BoolArray | IndexArray | slice) -> RankingDataset:
        """The given rows, as a mask, indices or a slice.

        Parameters
        ----------
        rows : mask, integers or slice
            Which rows, in which order.

        Returns
        -------
        RankingDataset
            A copy of these rows.
        """
        optional = {
            name: None if (whole := getattr(self, name)) is None else whole[rows]
            for name in ("docid", "sample_weight")
        }
        return replace(self, X=self.X[rows], y=self.y[rows], qid=self.qid[rows], **optional)

    def select(self, queries: BoolArray | IndexArray) -> RankingDataset:
        """The rows (in their order) of the given queries: a mask over ``self.queries.ids``, or indices.

        Parameters
        ----------
        queries : mask or integers
            Which queries of ``self.queries.ids``.

        Returns
        -------
        RankingDataset
            A copy of their rows.
        """
        return self.subset(self.queries.rows(queries))

    def to_frame(self) -> pd.DataFrame:
        """One pandas row a document: ``qid``, ``docid``, ``sample_weight``, ``label``, then the features.

        Names of documents and weights are there where they are known.

        Features without names are called ``f1``, ``f2``, ... as LETOR numbers them.

        Returns
        -------
        pandas.DataFrame
            One row a document.
        """
        import pandas as pd
        from scipy import sparse

        names = list(self.feature_names or (f"f{j + 1}" for j in range(self.X.shape[1])))
        if sparse.issparse(self.X):
            features = pd.DataFrame.sparse.from_spmatrix(self.X, columns=names)
        else:
            features = pd.DataFrame(self.X, columns=names)
        known = {"qid": self.qid, "docid": self.docid, WEIGHT_COLUMN: self.sample_weight}
        keys = {name: values for name, values in known.items() if values is not None}
        return pd.concat([pd.DataFrame(keys | {"label": self.y}), features], axis=1)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        label: str = "label",
        qid: str = "qid",
        docid: str | None = None,
        sample_weight: str | None = None,
    ) -> RankingDataset:
        """The inverse of :meth:`to_frame`: every other column is a feature, and keeps its name.

        Features are float64, and float32 where that changes no value.

        Parameters
        ----------
        frame : pandas.DataFrame
            One row a document.
        label, qid : str
            Columns with the relevance and the query id.
        docid, sample_weight : str, optional
            Columns with the document's name and with the weight of its query; by default columns of these
            names, if there are any.

        Raises
        ------
        ValueError
            If a named column is missing, or a feature is not numeric.
        """
        optional = {"docid": docid, "sample_weight": sample_weight}
        # A column that has the parameter's own name needs no mention.
        given = {
            name: column or name
            for name, column in optional.items()
            if column is not None or name in frame.columns
        }
        keys = {"label": label, "qid": qid, **given}
        for parameter, column in keys.items():
            if column not in frame.columns:
                raise ValueError(
                    f"{parameter!r} must name a column of 'frame'; got {column!r}, columns are "
                    f"{', '.join(map(str, frame.columns[:10]))}{', ...' if len(frame.columns) > 10 else ''}"
                )
        features = frame.drop(columns=list(keys.values()))
        text = [str(c) for c, kind in features.dtypes.items() if getattr(kind, "kind", "O") not in "biuf"]
        if text:
            raise ValueError(f"'frame' must have numeric feature columns; {', '.join(text[:5])} are not")
        values = features.to_numpy(dtype=np.float64)
        weight = given.get("sample_weight")
        names = given.get("docid")
        return cls(
            narrowed(np.ascontiguousarray(values)),
            frame[label].to_numpy(dtype=np.float32),
            frame[qid].to_numpy(),
            None if names is None else frame[names].to_numpy().astype(str),
            tuple(map(str, features.columns)),
            None if weight is None else frame[weight].to_numpy(dtype=np.float64),
        )
