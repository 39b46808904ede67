"""The documents of all queries in a few hundred kilobytes: columns, compressed, that a script unpacks."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from lambdamart_kit.core.typing import Array, FloatArray, IndexArray
from lambdamart_kit.metrics import Metric
from lambdamart_kit.report.ranked_rows import RankedRows
from lambdamart_kit.report.svg import element
from lambdamart_kit.report.tables import Cell, html_table, text

IDEAL = "ideal order"
_MOST_ROWS = 120_000  # documents that are embedded; about 1.4 MB for two models
_EXPLAINED = 10  # places whose contributions are embedded
_NAMED = 4  # features named for each of them
_LISTED = 20  # queries that are listed without a script


@dataclass(frozen=True, eq=False)
class Contributions:
    """What the features of the rows add to the scores of one model.

    Attributes
    ----------
    model : str
        Whose scores they explain.
    values : (n_samples, n_features) array
        Contributions by row and feature; the expected value is left out.
    names : list of str
        Name of each feature.
    """

    model: str
    values: Array
    names: Sequence[str]


@dataclass(frozen=True)
class Explorer:
    """What the explorer needs.

    Attributes
    ----------
    markup : Markup
        The frame that the script fills, and a table for readers without scripts.
    data : str
        Compressed columns as base64.
    note : str
        What was left out; empty if nothing was.
    """

    markup: Markup
    data: str
    note: str


def explorer(
    rows: RankedRows,
    metric: Metric,
    values: Mapping[str, FloatArray],
    baseline: str,
    *,
    contributions: Contributions | None = None,
) -> Explorer:
    """Queries to search, sort and open, with their documents in the order of two models.

    Parameters
    ----------
    rows : RankedRows
        What to show.
    metric : Metric
        Measures each query.
    values : dict of str to (n_queries,) array
        What it gave by model: ``rows.per_query(metric)``.
    baseline : str
        Model on the right at first; ``IDEAL`` is the order of the labels.
    contributions : Contributions, optional
        Shown for the first documents of each query.

    Returns
    -------
    Explorer
        Its note says which queries are left out where all would make the page too large: those whose value
        differs least from the baseline's.
    """
    change = changes(rows, values, baseline)
    kept = _kept(rows, change)
    taken = rows.queries.rows(kept)
    content = _columns(rows, metric, values, baseline, kept, taken)
    if contributions is not None:
        content["why"] = _explanations(rows, contributions, taken)
    packed = gzip.compress(json.dumps(content, separators=(",", ":")).encode(), compresslevel=9, mtime=0)
    n_left_out = rows.queries.n_queries - len(kept)
    note = ""
    if n_left_out:
        note = (
            f"{n_left_out:,} of {rows.queries.n_queries:,} queries are left out, so that the page stays "
            f"small: those whose {metric} differs least between the models."
        )
    return Explorer(_frame(rows, metric, values, change), base64.b64encode(packed).decode(), note)


def changes(rows: RankedRows, values: Mapping[str, FloatArray], baseline: str) -> FloatArray:
    """Gain of the first model over the baseline by query; over the ideal order, what is missing to 1."""
    first = next(model for model in rows.models if model != baseline)
    if baseline == IDEAL:
        return values[first] - 1.0
    return values[first] - values[baseline]


def _kept(rows: RankedRows, change: FloatArray) -> IndexArray:
    """Queries that fit into the page, in ascending order: those that changed most."""
    if rows.queries.n_samples <= _MOST_ROWS:
        return np.arange(rows.queries.n_queries)
    order = np.argsort(-np.abs(np.nan_to_num(change)), kind="stable")
    fits = np.cumsum(rows.queries.sizes[order]) <= _MOST_ROWS
    return np.sort(order[: max(1, int(fits.sum()))])


def _columns(
    rows: RankedRows,
    metric: Metric,
    values: Mapping[str, FloatArray],
    baseline: str,
    kept: IndexArray,
    taken: IndexArray,
) -> dict[str, object]:
    """The tables of queries and documents, column by column.

    Documents stand query after query, in the order of `taken`.
    """
    labels = np.asarray(rows.data.y, dtype=np.float64)[taken]
    return {
        "metric": str(metric),
        "models": list(rows.models),
        "baseline": baseline,
        "ideal": IDEAL,
        "queries": {
            "id": [rows.query_ids[q] for q in kept],
            "size": rows.queries.sizes[kept].tolist(),
            "values": [_rounded(values[model][kept], 4) for model in rows.models],
        },
        "documents": {
            "id": None
            if rows.data.docid is None
            else [str(name) for name in np.asarray(rows.data.docid)[taken]],
            "label": _rounded(labels, 4),
            "ranks": [rows.ranks(model)[taken].tolist() for model in rows.models],
            "ideal": rows.ideal_ranks()[taken].tolist(),
            "scores": [
                [float(f"{score:.4g}") for score in np.asarray(rows.scores[model])[taken]]
                for model in rows.models
            ],
        },
    }


def _explanations(rows: RankedRows, held: Contributions, taken: IndexArray) -> dict[str, object]:
    """The features that move the first documents of each query most, and by how much."""
    first = np.flatnonzero(rows.ranks(held.model)[taken] <= _EXPLAINED)
    values = np.asarray(held.values)[taken[first]]
    strongest = np.argsort(-np.abs(values), axis=1, kind="stable")[:, :_NAMED]
    strength = np.take_along_axis(values, strongest, axis=1)
    return {
        "model": held.model,
        "features": [str(name) for name in held.names],
        "document": first.tolist(),
        "feature": strongest.tolist(),
        "value": [[float(f"{v:.3g}") for v in row] for row in strength],
    }


def _frame(rows: RankedRows, metric: Metric, values: Mapping[str, FloatArray], change: FloatArray) -> Markup:
    """An empty frame, and the largest losses and gains for readers without scripts."""
    counted = np.flatnonzero(np.isfinite(change))
    order = counted[np.argsort(change[counted], kind="stable")]
    listed = order if len(order) <= 2 * _LISTED else np.concatenate([order[:_LISTED], order[-_LISTED:]])
    lines = [
        [text(rows.query_ids[q]), *[Cell(f"{values[model][q]:.4f}") for model in rows.models]] for q in listed
    ]
    table = html_table(f"{metric} of the largest losses and gains", ["query", *rows.models], lines)
    return Markup().join(
        [
            element("div", id="explorer"),
            element(
                "noscript", element("p", "Without scripts, here are the largest losses and gains."), table
            ),
        ]
    )


def _rounded(values: FloatArray, decimals: int) -> list[float | None]:
    return [None if np.isnan(value) else round(float(value), decimals) for value in values]
