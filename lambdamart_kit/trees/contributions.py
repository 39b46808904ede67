"""How much each feature adds to the score of a row: exact SHAP values of a sum of trees.

The game is that of TreeSHAP [1]_: a row of which only the features S are known goes down both ways at a split
on another feature, in the proportion of the training rows that went there. Its expected score is v(S), and
the contribution of a feature is its Shapley value in v. Contributions and the expected score v(empty) of a
row sum to its score.

A leaf with value w asks m different features on the way to it. For feature j let ``a_j`` be 1 if the row
agrees with all tests on j, else 0, and ``r_j`` the share of training rows that go this way at the tests on j.
In the leaf's part of v, a known feature counts ``a_j`` and an unknown one ``r_j``, so

    v(S) = w  prod_{j in S} a_j  prod_{j not in S} r_j.

Its Shapley values are an integral of one variable [2]_, in which ``t`` is the probability to be known::

    phi_i = w (a_i - r_i)  integral_0^1  prod_{j != i} (r_j + (a_j - r_j) t)  dt.

The integrand is a polynomial of degree m - 1, which ceil(m / 2) Gauss-Legendre nodes integrate exactly. There
is nothing to divide by and there are no tables of 2^m entries, so deep paths are neither slow nor inaccurate.
Products of all factors but one are products of those before and those after it.

With another row as background, ``r_j`` says whether that row agrees instead. This is the interventional game,
in which an unknown feature takes the value of the background row; the same integral solves it.

Sixty-four rows go through a leaf together, so that the compiler makes vector instructions of the arithmetic.

References
----------
.. [1] Lundberg, Erion, Lee (2018), Consistent individualized feature attribution for tree ensembles,
   arXiv 1802.03888.
.. [2] Owen (1972), Multilinear extensions of games, Management Science 18(5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from lambdamart_kit.core.typing import Array, Features, FloatArray
from lambdamart_kit.runtime.threads import run_tasks, threads_used
from lambdamart_kit.trees.contribution_kernel import WIDTH, Rule, Tile, add_tiles
from lambdamart_kit.trees.contribution_paths import Paths, Splits, paths_of, splits_of
from lambdamart_kit.trees.plain_tree import PlainTree

_ROWS = 1 << 14  # rows copied at a time


@dataclass(frozen=True, eq=False)
class TreeContributions:
    """Trees laid out for contributions of features to scores.

    Attributes
    ----------
    splits : Splits
    paths : Paths
    rule : Rule
    columns : ndarray (n_used,), int64
        Columns of X that the trees look at.
    expected : float
        Mean score of the training rows, as covers of the nodes say it.
    single : bool
        Whether values are rounded to float32 before they are tested, as some libraries do.
    zero_is_missing : bool
        Whether zeros are taken for missing values.

    Examples
    --------
    >>> tree = PlainTree(
    ...     feature=np.array([0]),
    ...     threshold=np.array([0.5]),
    ...     categories=(None,),
    ...     missing_left=np.array([True]),
    ...     left=np.array([~0]),
    ...     right=np.array([~1]),
    ...     value=np.array([0.0, 4.0]),
    ...     gain=np.ones(1),
    ...     cover=np.array([4.0]),
    ...     leaf_cover=np.array([3.0, 1.0]),
    ... )
    >>> TreeContributions.of_trees([tree])(np.array([[0.0, 9.0], [1.0, 9.0]])).tolist()
    [[-1.0, 0.0, 1.0], [3.0, 0.0, 1.0]]
    """

    splits: Splits
    paths: Paths
    rule: Rule
    columns: Array
    expected: float
    single: bool = False
    zero_is_missing: bool = False

    @classmethod
    def of_trees(
        cls, trees: Sequence[PlainTree], *, single: bool = False, zero_is_missing: bool = False
    ) -> TreeContributions:
        """The trees laid out.

        Raises
        ------
        ValueError
            If a tree does not say how many training rows came through its nodes.
        """
        # Columns that no tree asks have contribution 0 and are not even copied.
        features = [tree.feature for tree in trees]
        columns = np.unique(np.concatenate([np.empty(0, np.int64), *features])).astype(np.int64)
        splits = splits_of(trees, columns)
        paths = paths_of(trees, splits)
        longest = int(np.diff(paths.entry_ptr).max(initial=0))
        # A leaf counts in the mean score by the share of rows that go its way at every test.
        share = np.ones(len(paths.value))
        np.multiply.at(share, np.repeat(np.arange(len(share)), np.diff(paths.entry_ptr)), paths.ratio)
        expected = float(paths.value @ share)
        return cls(splits, paths, Rule.up_to(-(-longest // 2)), columns, expected, single, zero_is_missing)

    def __call__(self, X: Features, background: Features = None, *, n_threads: int = 1) -> FloatArray:
        """Contributions of each feature to the score of each row.

        Parameters
        ----------
        X : (n_samples, n_features) array or CSR matrix
        background : (n_samples, n_features) array or CSR matrix, optional
            For each row the row whose values unknown features take. None for the training rows, as covers
            remember them.
        n_threads : int

        Returns
        -------
        (n_samples, n_features + 1) float64
            The last column is the expected score: that of the background row if there is one.
        """
        found = np.zeros((X.shape[0], X.shape[1] + 1))
        # A float64 copy of some rows at a time bounds the memory that many rows, or wide sparse ones, take.
        for at in range(0, X.shape[0], _ROWS):
            rows = slice(at, at + _ROWS)
            part = self._columns_of(X[rows])
            others = part[:0] if background is None else self._columns_of(background[rows])
            sums = self._sums(part, others, n_threads)
            found[rows, self.columns] = sums[:, :-1]
            found[rows, -1] = self.expected if background is None else sums[:, -1]
        return found

    def _sums(self, rows: FloatArray, others: FloatArray, n_threads: int) -> FloatArray:
        """Contributions of the columns in use, and the score of the background row."""
        sums = np.zeros((len(rows), len(self.columns) + 1))
        # Rows go to threads in whole tiles, so a row is added up in the same order however many there are.
        n_tiles = -(-len(rows) // WIDTH)
        bounds = np.linspace(0, n_tiles, 1 if n_threads == 1 else 8 * n_threads + 1).astype(np.intp)
        bounds = np.unique(np.append(bounds, n_tiles))
        scratch = [
            (Tile.for_trees(self.splits, self.paths, len(self.columns)),)
            for _ in range(threads_used(bounds, n_threads))
        ]
        args = (rows, others, self.splits, self.paths, self.rule, sums)
        run_tasks(add_tiles, bounds, n_threads, *args, scratch=scratch)
        return sums

    def _columns_of(self, X: Features) -> FloatArray:
        """The columns that the trees look at, as a dense float64 array."""
        part = X[:, self.columns]
        dense = part.toarray() if sparse.issparse(part) else part
        values = np.array(dense, dtype=np.float32 if self.single else np.float64, order="C")
        # XGBoost takes an entry that a sparse matrix does not store for a missing one.
        if self.zero_is_missing:
            values[values == 0] = np.nan
        return values.astype(np.float64, copy=False)
