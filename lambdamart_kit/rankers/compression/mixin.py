"""The method ``compress`` of rankers of trees, and how a compressed ranker predicts."""

from __future__ import annotations

import copy
import warnings
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from lambdamart_kit.core.gains import check_relevance
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.core.rows import flat
from lambdamart_kit.core.typing import ArrayLike, Features, FloatArray, Ids
from lambdamart_kit.metrics import Metric, parse_metric
from lambdamart_kit.rankers.compression.record import Compression
from lambdamart_kit.rankers.fitted_trees import FittedTrees

CONTENT = "compression.json"


class CanCompress(FittedTrees):
    """Adds `compress` to a ranker with a sum of trees.

    Attributes
    ----------
    compression_ : Compression, or None
        Of a ranker that `compress` returned: what was kept, promised and measured. None after a fit.
    """

    __metadata_request__predict: ClassVar[dict[str, bool]] = {"init_score": True, "qid": True}

    compression_: Compression | None = None

    def compress(
        self,
        X: Features,
        qid: Ids,
        *,
        y: ArrayLike | None = None,
        tolerance: float = 5e-4,
        confidence: float = 0.95,
        metric: str | Metric = "ndcg@10",
    ) -> Self:
        r"""A ranker that ranks as well, up to a tolerance, and predicts several times as fast.

        It keeps the first of the trees, and lets documents stop early: where, after some of the trees, a
        document's score is more than a margin below the k-th best of its query,
        :math:`s_t(d) < s_t^{(k)} - m_t`, it goes through no more trees. A third of the queries choose trees
        and margins; on the others the fastest choice is taken of which, with the given confidence, the mean
        loss is at most the tolerance. If there is none, a warning says so, and the ranker that is returned
        predicts as this one does. This one is not changed.

        The ranker that is returned is one of the same class, with `compression_`. Documents stop where it
        gets the ids of queries: ``predict(X, qid=qid)`` and ``score``. (``qid=0`` says that X is one query.)
        The scores of those that stopped are lowered to stay below those that went on. Everything else,
        ``predict(X)`` without ids, exports, contributions, explanations and ``booster_``, is that of the
        trees that were kept, and knows of no exits. A new fit, or ``sklearn.base.clone``, starts from an
        ordinary ranker again.

        Parameters
        ----------
        X : (n_samples, n_features) array-like, DataFrame or sparse matrix
            Rows of queries that the ranker was not trained on; it has learned those by heart. About 2,000
            queries are needed for the default tolerance to be used well, and 400 at the least.
        qid : (n_samples,) array-like
            Query of each row, any hashable ids in any order.
        y : (n_samples,) array-like, optional
            Relevance of each row, by which the metric is measured. Without it the loss is that of the
            agreement with this ranker: NDCG@k with gains ``1 / log2(rank + 2)`` for the first k of its
            ranking and 0 for the others. That is strict, because it allows no exchange of documents of equal
            relevance, so expect exits only.
        tolerance : float
            Largest mean loss of the metric over queries, above 0 and below 1.
        confidence : float
            Of the promise, from .5 to below 1.
        metric : str or Metric
            With a cut-off, which says how many documents of a query matter.

        Returns
        -------
        LambdaMART, or whatever class this ranker has
            Fitted, with ``compression_``.

        Raises
        ------
        ValueError
            If a parameter is out of range, the trees do not sum up to the score or have over 256 leaves, or
            the ranker was fitted with `init_score`.

        References
        ----------
        Cambazoglu et al. (2010), Early exit optimizations for additive machine learned ranking systems, WSDM.
        Busolin et al. (2021), Learning early exit strategies for additive ranking ensembles, SIGIR.
        Lucchese et al. (2016), Post-learning optimization of tree ensembles for efficient ranking, SIGIR.
        Angelopoulos et al. (2021), Learn then test, arXiv 2110.01052.

        Examples
        --------
        >>> from lambdamart_kit import LambdaMART
        >>> from lambdamart_kit.datasets import make_letor
        >>> train = make_letor(n_queries=100, random_state=0)
        >>> other = make_letor(n_queries=300, random_state=1)
        >>> ranker = LambdaMART(n_estimators=50, random_state=0).fit(train.X, train.y, qid=train.qid)
        >>> small = ranker.compress(other.X, other.qid, y=other.y, tolerance=0.005)
        >>> small.compression_.bound <= 0.005
        True
        >>> test = make_letor(n_queries=100, random_state=2)
        >>> loss = ranker.score(test.X, test.y, qid=test.qid) - small.score(test.X, test.y, qid=test.qid)
        >>> bool(loss < 0.02)  # on 100 queries, this is known to .01 only
        True
        """
        from lambdamart_kit.rankers.compression.search import Promise, Search

        check_is_fitted(self)
        promise = Promise(_checked_metric(metric), *_checked_numbers(tolerance, confidence))
        self._check_compressible(qid)
        rows = self._scored_features(X)
        queries = Queries.from_qid(qid, rows.shape[0])
        labels = None if y is None else check_relevance(flat(y))
        if labels is not None and len(labels) != rows.shape[0]:
            raise ValueError(
                f"'y' must hold one label per row of 'X': expected {rows.shape[0]}, got {len(labels)}"
            )
        try:
            search = Search(self.model_, rows, queries, labels, promise, self._n_threads())
        except (TypeError, ValueError) as error:
            raise ValueError(f"'compress' cannot use these trees: {error}") from error
        small = copy.copy(self)
        small.compression_ = search.run()
        if small.compression_.speed_up == 1.0:
            _warn_of_nothing(small.compression_)
        elif small.compression_.kept < self.model_.n_trees:
            small.model_ = self.model_.truncate(small.compression_.kept)
            small.best_iteration_ = small.model_.n_trees
            small.bag_iterations_ = None
        return small

    def _check_compressible(self, qid: Ids) -> None:
        if qid is None:
            raise ValueError(
                "'qid' must be given to compress, with the query id of each row; got None: which documents "
                "may stop depends on the others of their query"
            )
        if self.starts_from_scores_:
            raise ValueError(
                "'init_score' must not have been given to fit for compress: which documents may stop would "
                "depend on their starting scores, which the trees do not know; fit without it"
            )

    # --------------------------------------------------------------------------------------- predicting

    @property
    def stops_early(self) -> bool:
        """Whether documents may stop before the last tree where `predict` gets the ids of their queries."""
        return self.compression_ is not None and bool(self.compression_.exits.after)

    def _predict_by_query(self, X: Features, qid: Ids) -> FloatArray:
        """Scores of documents that may stop early."""
        check_is_fitted(self)
        assert self.compression_ is not None
        rows = X if self._is_checked(X) else self._scored_features(X)
        # A single id is that of all rows.
        queries = Queries.from_qid(None if np.ndim(qid) == 0 else qid, rows.shape[0])
        exits = self.compression_.exits
        forest = self.model_.forest(rows, exits.after)
        return forest.predict_with_exits(rows, queries, exits, n_threads=self._n_threads())

    def _predict_rows(self, X: Features) -> FloatArray:
        if self.compression_ is None:
            return super()._predict_rows(X)
        # The same kernel, and so the same bits, as with exits, whatever library grew the trees. Rows go
        # through all trees, so these are laid out once more, as one segment.
        forest = self.model_.forest(X, ())
        return forest.predict(X, 0, len(forest.trees.node_ptr) - 1, n_threads=self._n_threads())

    def _scores_of(self, X: Features, qid: Ids) -> FloatArray:
        if qid is not None and self.stops_early:
            return self._predict_by_query(X, qid)
        return super()._scores_of(X, qid)

    # ------------------------------------------------------------------------------------------- saving

    def _compression_files(self) -> dict[str, bytes]:
        return {} if self.compression_ is None else {CONTENT: self.compression_.to_bytes()}

    def _restore_compression(self, files: dict[str, bytes]) -> dict[str, bytes]:
        """Take over the part of a file that is about exits; the other parts are returned."""
        parts = dict(files)
        content = parts.pop(CONTENT, None)
        self.compression_ = None if content is None else Compression.from_bytes(content)
        return parts


def _checked_metric(metric: str | Metric) -> Metric:
    found = parse_metric(metric)
    if found.k is None:
        raise ValueError(
            "'metric' must have a cut-off, such as 'ndcg@10', which says how many documents of a query "
            f"matter; got {str(found)!r}"
        )
    return found


def _checked_numbers(tolerance: Any, confidence: Any) -> tuple[float, float]:
    if not isinstance(tolerance, Real) or isinstance(tolerance, bool) or not 0 < float(tolerance) < 1:
        raise ValueError(
            f"'tolerance' must be a number above 0 and below 1, such as 0.0005; got {tolerance!r}"
        )
    if not isinstance(confidence, Real) or isinstance(confidence, bool) or not 0.5 <= float(confidence) < 1:
        raise ValueError(
            f"'confidence' must be a number from 0.5 to below 1, such as 0.95; got {confidence!r}"
        )
    return float(tolerance), float(confidence)


def _warn_of_nothing(found: Compression) -> None:
    """Say that the ranker is as it was, and why."""
    from lambdamart_kit.rankers.compression.search import least_queries

    needed = least_queries(found.tolerance, found.confidence)
    counted = found.n_learned + found.n_measured
    remedy = "raise 'tolerance', or lower 'confidence'"
    if counted < needed:
        remedy = (
            f"{counted} queries count, and at least {needed} are needed to show so small a loss: give more "
            f"queries, or {remedy}"
        )
    warnings.warn(
        f"compress found nothing faster that loses at most {found.tolerance:g} of {found.metric} with "
        f"{100 * found.confidence:g} % confidence, and returns a ranker that predicts as before; {remedy}",
        UserWarning,
        stacklevel=3,
    )
