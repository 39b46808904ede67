"""Rankers as a stage of a PyTerrier pipeline, trained by the query ids of its frames.

``pt.ltr.apply_learned_model(ranker)`` passes on features and labels only, so a ranker would take all
documents as one query; with ``form="ltr"`` it passes LightGBM's `group`. The stage here passes the frame's
`qid`.

PyTerrier is imported when a stage is made: ``pip install 'lambdamart-kit[pyterrier]'``.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import numpy as np

from lambdamart_kit.core.typing import Array


def ranking_stage(ranker: Any) -> Any:
    """A ranker as an estimator of PyTerrier: documents with "features" in, documents with "score" out.

    Parameters
    ----------
    ranker : ranker
        Any ranker of the kit, or a scikit-learn pipeline whose last step is one. It is fitted in place, as
        PyTerrier fits learners; a ranker that is fitted already scores without `fit`.

    Returns
    -------
    pyterrier.Estimator
        ``fit(results, qrels, results_valid, qrels_valid)`` trains on the documents of `results`, grouped by
        their "qid". Documents without a judgement, or with one below 0, have relevance 0, as in trec_eval.
        The second pair, if it is given, becomes the held-out queries of the ranker. The fitted ranker stays
        in the attribute `learner`.

    Raises
    ------
    ImportError
        If PyTerrier is not installed.

    Examples
    --------
    >>> import pandas as pd
    >>> from lambdamart_kit import LambdaMART
    >>> rng = np.random.default_rng(0)
    >>> results = pd.DataFrame({"qid": np.repeat(["q1", "q2", "q3"], 20), "docno": np.tile(np.arange(20), 3)})
    >>> results["docno"] = results["docno"].astype(str)
    >>> results["features"] = list(rng.normal(size=(60, 2)))
    >>> qrels = results[["qid", "docno"]].assign(label=[int(f[0] > 0) for f in results["features"]])
    >>> ranker = LambdaMART(n_estimators=5, min_child_samples=5, random_state=0)
    >>> stage = ranking_stage(ranker)  # doctest: +SKIP
    >>> stage.fit(results, qrels).learner.n_queries_in_  # doctest: +SKIP
    3
    >>> ranked = stage.transform(results)  # doctest: +SKIP
    >>> int(ranked["rank"].min())  # doctest: +SKIP
    0
    """
    return _stage_class()(ranker)


@cache
def _stage_class() -> Any:
    """The class of the stages, made here because PyTerrier is imported late."""
    try:
        import pyterrier as pt
    except ImportError as error:
        raise ImportError(
            "a stage of a PyTerrier pipeline needs PyTerrier: pip install 'lambdamart-kit[pyterrier]'"
        ) from error
    from pyterrier.model import add_ranks

    class RankingStage(pt.Estimator):
        """A ranker that is trained on whole queries."""

        def __init__(self, learner: Any) -> None:
            super().__init__()
            self.learner = learner

        def fit(
            self, results: Any, qrels: Any, results_valid: Any = None, qrels_valid: Any = None
        ) -> RankingStage:
            """Train on `results`, whose documents `qrels` judge; stop by `results_valid`, if given."""
            if results_valid is not None and qrels_valid is None:
                raise ValueError("'qrels_valid' must be given with 'results_valid'; got None")
            held_out = {}
            if results_valid is not None:
                labels = _labels(results_valid, qrels_valid, "results_valid")
                X = _features(results_valid, "results_valid")
                held_out = {"X_val": X, "y_val": labels, "qid_val": results_valid["qid"].to_numpy()}
            y = _labels(results, qrels, "results")
            _fit(self.learner, _features(results, "results"), y, results["qid"].to_numpy(), held_out)
            return self

        def transform(self, results: Any) -> Any:
            """The documents with "score" and "rank" by the ranker."""
            scored = results.copy()
            scores = np.empty(0)
            if len(results):
                takes_qid = "qid" in inspect.signature(self.learner.predict).parameters
                by_query = {"qid": results["qid"].to_numpy()} if takes_qid else {}
                scores = self.learner.predict(_features(results, "results"), **by_query)
            scored["score"] = scores
            return add_ranks(scored)

        def transform_outputs(self, columns: list[str]) -> list[str]:
            """Columns that come out, for PyTerrier's checks of pipelines."""
            return [*columns, *(name for name in ("score", "rank") if name not in columns)]

    return RankingStage


def _fit(learner: Any, X: Array, y: Array, qid: Array, held_out: dict[str, Any]) -> None:
    """Fit a ranker or a pipeline, whose steps get the query ids through scikit-learn's metadata routing."""
    from lambdamart_kit.model_selection import query_routing

    with query_routing():
        learner.fit(X, y, qid=qid, **held_out)


def _features(results: Any, name: str) -> Array:
    """The column "features" as one matrix."""
    missing = [column for column in ("qid", "docno", "features") if column not in results.columns]
    if missing:
        raise ValueError(f"{name!r} must have the columns 'qid', 'docno' and 'features'; it lacks {missing}")
    lengths = {np.size(values) for values in results["features"]}
    if len(lengths) != 1:
        raise ValueError(
            f"{name!r} must have equally many features for every document, and some; got {sorted(lengths)}"
        )
    return np.stack([np.ravel(values) for values in results["features"]])


def _labels(results: Any, qrels: Any, name: str) -> Array:
    """Relevance of each document of `results`, 0 where `qrels` do not judge it or judge it below 0."""
    lacking = [column for column in ("qid", "docno", "label") if column not in qrels.columns]
    if lacking or not len(qrels):
        what = f"lack {lacking}" if lacking else "are empty"
        raise ValueError(
            f"the qrels of {name!r} must have the columns 'qid', 'docno' and 'label', and rows; they {what}"
        )
    known = qrels.set_index(["qid", "docno"])["label"]
    if known.index.has_duplicates:
        twice = known.index[known.index.duplicated()][0]
        raise ValueError(f"the qrels of {name!r} must judge a document once; {twice} is judged more often")
    for column in ("qid", "docno"):
        if isinstance(qrels[column].iloc[0], str) != isinstance(results[column].iloc[0], str):
            raise ValueError(
                f"{column!r} must be of one type in {name!r} and its qrels, or no document is judged; got "
                f"{results[column].iloc[0]!r} and {qrels[column].iloc[0]!r}"
            )
    labels = known.reindex(list(zip(results["qid"], results["docno"])))
    if labels.isna().all():
        raise ValueError(
            f"the qrels of {name!r} must judge one of its documents at least; they begin with qid "
            f"{qrels['qid'].iloc[0]!r} and docno {qrels['docno'].iloc[0]!r}, {name!r} with "
            f"{results['qid'].iloc[0]!r} and {results['docno'].iloc[0]!r}"
        )
    return np.maximum(labels.fillna(0).to_numpy(dtype=np.float64), 0.0)
