"""The rows of a ranking problem, kept together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.typing import Array, BoolArray, Features, Float32Array, IndexArray

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class RankingDataset:
    """Features, graded labels and query ids, aligned by row.

    Parameters
    ----------
    X : (n_samples, n_features) float32 array or scipy.sparse CSR matrix
        One row a query-document pair.
    y : (n_samples,) float32
        Graded relevance, 0 = not relevant.
    qid : (n_samples,) array
        Query of each row: integers or strings.
    docid : (n_samples,) array of str, or None
        Name of each document.
    feature_names : tuple of str, or None
        Name of each column.

    Raises
    ------
    ValueError
        If the parts do not have one entry a row (or, for `feature_names`, a column).

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

    def __post_init__(self) -> None:
        n_samples, n_features = self.X.shape
        for name, rows in (("y", self.y), ("qid", self.qid), ("docid", self.docid)):
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
        docid = None if self.docid is None else self.docid[rows]
        return replace(self, X=self.X[rows], y=self.y[rows], qid=self.qid[rows], docid=docid)

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
        """One pandas row a document: ``qid``, ``docid`` (when known), ``label``, then the features.

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
        keys = {"qid": self.qid} | ({} if self.docid is None else {"docid": self.docid})
        return pd.concat([pd.DataFrame(keys | {"label": self.y}), features], axis=1)

    @classmethod
    def from_frame(
        cls, frame: pd.DataFrame, *, label: str = "label", qid: str = "qid", docid: str | None = None
    ) -> RankingDataset:
        """The inverse of :meth:`to_frame`: every other column is a feature, and keeps its name.

        Parameters
        ----------
        frame : pandas.DataFrame
            One row a document.
        label, qid : str
            Columns with the relevance and the query id.
        docid : str, optional
            Column with the document's name; by default a column called ``docid``, if there is one.

        Raises
        ------
        ValueError
            If a named column is missing, or a feature is not numeric.
        """
        if docid is None and "docid" in frame.columns:
            docid = "docid"
        keys = {"label": label, "qid": qid} | ({} if docid is None else {"docid": docid})
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
        return cls(
            np.ascontiguousarray(features.to_numpy(dtype=np.float32)),
            frame[label].to_numpy(dtype=np.float32),
            frame[qid].to_numpy(),
            None if docid is None else frame[docid].to_numpy().astype(str),
            tuple(map(str, features.columns)),
        )
