"""LightGBM's model text (version v4): trees as it has them, read and written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lambdamart_kit.core.typing import Array

# Bits of a decision type; the next two are the missing type.
CATEGORICAL, DEFAULT_LEFT, MISSING_IS_NAN = 1, 2, 8


@dataclass(frozen=True, eq=False)
class ModelTree:
    """A tree in LightGBM's terms: what scoring takes.

    Attributes
    ----------
    feature, decision : ndarray (n_nodes,), int64
        Column, and LightGBM's decision type.
    threshold : ndarray (n_nodes,), float64
        Largest value that goes left; of a categorical split, the number of its bit set.
    left, right : ndarray (n_nodes,), int64
        A node, or ``~leaf``.
    value : ndarray (n_leaves,), float64
        Leaf values.
    boundaries : ndarray (n_bit_sets + 1,), int64
        Where each bit set begins among the words.
    words : ndarray, uint32
        Bit sets of categories that go left.
    """

    feature: Array
    threshold: Array
    decision: Array
    left: Array
    right: Array
    value: Array
    boundaries: Array
    words: Array

    def bits(self, node: int) -> Array:
        """Words of the bit set of a categorical split."""
        at = int(self.threshold[node])
        words: Array = self.words[self.boundaries[at] : self.boundaries[at + 1]]
        return words


def read_trees(text: str) -> list[ModelTree] | None:
    """The trees of a model file; None where scores are not plain sums of leaf values.

    That is in models of several classes, averaged ones, and with linear leaves.

    Examples
    --------
    >>> [len(tree.value) for tree in read_trees(model_text(["leaf_value=0.5"], ["a"], ["none"]))]
    [1]
    """
    # The header names what makes a score more than a sum of leaf values; trees name linear leaves.
    header = text.partition("\nTree=")[0].split("\n")
    if "num_tree_per_iteration=1" not in header or "average_output" in header:
        return None
    blocks = [block_fields(block) for block in tree_blocks(text)]
    if any(fields.get("is_linear", "0") != "0" for fields in blocks):
        return None
    return [read_tree(fields) for fields in blocks]


def tree_blocks(text: str) -> list[str]:
    """The trees of a LightGBM model file, as :func:`model_text` takes them.

    Examples
    --------
    >>> tree_blocks(model_text(["num_leaves=1", "num_leaves=1"], ["a"], ["none"]))
    ['num_leaves=1', 'num_leaves=1']
    """
    # Behind "end of trees" come feature importances and parameters, which do not matter for scoring.
    body = text.partition("\nend of trees")[0]
    return [block.partition("\n")[2].strip() for block in body.split("\nTree=")[1:]]


def model_text(blocks: Sequence[str], feature_names: Sequence[str], feature_infos: Sequence[str]) -> str:
    """A LightGBM model file of these trees, each given as its block of text without the line ``Tree=``."""
    numbered = [f"Tree={i}\n{block}\n\n" for i, block in enumerate(blocks)]
    header = [
        "tree",
        "version=v4",
        "num_class=1",
        "num_tree_per_iteration=1",
        "label_index=0",
        f"max_feature_idx={len(feature_names) - 1}",
        "objective=lambdarank",
        f"feature_names={' '.join(feature_names)}",
        f"feature_infos={' '.join(feature_infos)}",
        # LightGBM finds the trees by these sizes, which are in bytes
        # and include the empty line after each tree.
        f"tree_sizes={' '.join(str(len(block.encode())) for block in numbered)}",
    ]
    return "\n".join(header) + "\n\n" + "".join(numbered) + "end of trees\n"


# Lines of a tree's block whose numbers are scores, or parts of them.
_SCORES = ("leaf_value", "internal_value", "leaf_const", "leaf_coeff", "shrinkage")


def mean_text(texts: Sequence[str]) -> str:
    """A model file with the trees of all `texts`, whose scores are the mean of theirs.

    The files must be of models on the same columns. A model that averages its trees becomes a sum.

    Examples
    --------
    >>> half = model_text(["leaf_value=0.5"], ["a"], ["none"])
    >>> tree_blocks(mean_text([half, half]))
    ['leaf_value=0.25', 'leaf_value=0.25']
    """
    blocks: list[str] = []
    for text in texts:
        own = tree_blocks(text)
        is_mean = "\naverage_output" in text.partition("\nTree=")[0]
        factor = 1.0 / len(texts) / (len(own) if is_mean else 1)
        blocks += [_scaled_block(block, factor) for block in own]
    header = block_fields(texts[0].partition("\nTree=")[0])
    return model_text(blocks, header["feature_names"].split(), header["feature_infos"].split())


def _scaled_block(block: str, factor: float) -> str:
    lines = []
    for line in block.split("\n"):
        name, equals, values = line.partition("=")
        if equals and name in _SCORES:
            line = f"{name}={' '.join(repr(float(value) * factor) for value in values.split())}"
        lines.append(line)
    return "\n".join(lines)


def block_fields(block: str) -> dict[str, str]:
    """The lines ``name=values`` of a tree's block of text."""
    return dict(line.split("=", 1) for line in block.split("\n") if "=" in line)


def read_tree(fields: dict[str, str]) -> ModelTree:
    """A tree from the lines of its block; see `block_fields`."""

    def numbers(name: str, dtype: Any) -> Array:
        return np.array(fields.get(name, "").split(), dtype=dtype)

    return ModelTree(
        feature=numbers("split_feature", np.int64),
        threshold=numbers("threshold", np.float64),
        decision=numbers("decision_type", np.int64),
        left=numbers("left_child", np.int64),
        right=numbers("right_child", np.int64),
        value=numbers("leaf_value", np.float64),
        boundaries=numbers("cat_boundaries", np.int64),
        words=numbers("cat_threshold", np.uint32),
    )
