"""RankLib's model text: an ensemble of trees in XML, or a linear regression.

RankLib compares in float32, ``x <= threshold``, and takes a missing value for 0. Features are numbered from
1, in the order of the columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np

from lambdamart_kit.core.typing import Array, Float32Array, FloatArray
from lambdamart_kit.export.format import ExportOptions, LinearFormat, Written, as_json, walk
from lambdamart_kit.export.model import Exportable, LinearSum, TreeSum
from lambdamart_kit.export.thresholds import at_most, float32_text
from lambdamart_kit.trees.plain_tree import PlainTree

_TREES, _LINEAR = "## LambdaMART", "## Linear Regression"


class RankLib(LinearFormat):
    """RankLib's own file, as ``java -jar RankLib.jar -load`` reads it."""

    title = "RankLib"
    holds = (TreeSum, LinearSum)
    holds_missing = False

    def write(self, model: Exportable, options: ExportOptions) -> Written:
        """The model text, and which number is which feature."""
        numbers = {str(number): name for number, name in enumerate(model.feature_names, start=1)}
        return Written(ranklib_text(model).encode(), as_json(numbers, indent=1))

    def scores(self, content: bytes, X: Float32Array, feature_names: Sequence[str]) -> FloatArray:
        """As RankLib scores rows; see `Format.scores`."""
        return ranklib_scores(content.decode(), X)


def ranklib_text(model: Exportable) -> str:
    """The model as RankLib writes it."""
    if isinstance(model, LinearSum):
        weights = [f"{j}:{weight!r}" for j, weight in enumerate(model.raw_weights.tolist(), start=1)]
        return f"{_LINEAR}\n## Lambda = 1.0E-10\n0:{model.raw_constant!r} {' '.join(weights)}\n"
    assert isinstance(model, TreeSum)
    trees = [
        f'<tree id="{number}" weight="1.0">{_split(at_most(tree))}</tree>\n'
        for number, tree in enumerate(model.folded().trees, start=1)
    ]
    return f"{_TREES}\n<ensemble>\n{''.join(trees)}</ensemble>\n"


def _split(tree: PlainTree) -> str:
    """One line without blanks: RankLib takes the first child of a tag by its place, blanks included."""
    parts: list[str] = []

    def add(node: int, tag: str) -> None:
        parts.append(tag)
        if node < 0:
            parts.append(f"<output>{float32_text(tree.value[~node])}</output>")
        else:
            parts.append(f"<feature>{tree.feature[node] + 1}</feature>")
            parts.append(f"<threshold>{float32_text(tree.threshold[node])}</threshold>")
            add(int(tree.left[node]), '<split pos="left">')
            add(int(tree.right[node]), '<split pos="right">')
        parts.append("</split>")

    add(0 if tree.n_nodes else ~0, "<split>")
    return "".join(parts)


def ranklib_scores(text: str, X: Float32Array) -> FloatArray:
    """Scores of a RankLib model text, with missing values as 0."""
    X = np.nan_to_num(X, nan=0.0, posinf=np.inf, neginf=-np.inf)
    head, _, body = text.partition("\n")
    if head.startswith(_LINEAR):
        pairs = dict(pair.split(":") for pair in body.partition("\n")[2].split())
        weights = np.array([float(pairs[str(j)]) for j in range(1, X.shape[1] + 1)])
        linear: FloatArray = X.astype(np.float64) @ weights + float(pairs["0"])
        return linear
    scores = np.zeros(len(X))
    for tree in ElementTree.fromstring(body).iter("tree"):
        scores += np.float32(tree.get("weight")) * walk(tree[0], len(X), lambda n, rows: _step(n, rows, X))
    return scores


def _step(node: ElementTree.Element, rows: Array, X: Float32Array) -> float | tuple[Array, Any, Any]:
    if node[0].tag == "output":
        return float(np.float32(node[0].text))
    x = X[rows, int(node[0].text or 0) - 1]
    return x <= np.float32(node[1].text), node[2], node[3]
