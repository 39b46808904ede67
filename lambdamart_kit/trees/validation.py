"""Trees from files are checked before any kernel or library walks them.

A walk through a tree follows child numbers without looking whether they exist, so a file with a child that
does not exist, or a circle of nodes, would read memory it must not or never end. Checked here: sizes, ranges,
that every node and leaf has exactly one parent, and that parents stand before their children. Leaves must be
finite and thresholds must not be NaN. A threshold may be infinite, as libraries write it where a split takes
the missing values from all others: every number is on one side of it.
"""

from __future__ import annotations

import re

import numpy as np

from lambdamart_kit.core.typing import Array
from lambdamart_kit.trees.model_text import CATEGORICAL, ModelTree, read_tree, tree_blocks

_PARAMETER = re.compile(r"\[\w+: .*\]")
_MOST_DECISION = 15  # categorical, default direction, and two bits for the missing type
_PER_NODE = ("split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child")
_PER_NODE_OPTIONAL = ("internal_value", "internal_weight", "internal_count")
_PER_LEAF_OPTIONAL = ("leaf_weight", "leaf_count", "leaf_const", "num_features")


def check_lightgbm_text(text: str) -> None:
    """Raise unless a LightGBM model text is whole and its trees can be walked.

    Raises
    ------
    ValueError
        Naming the tree and what is wrong with it.
    """
    if "\0" in text:
        raise ValueError("the model text holds a zero byte, where LightGBM would stop reading")
    header = _header(text)
    n_features = _whole_number(header.get("max_feature_idx"), "max_feature_idx") + 1
    n_classes = _whole_number(header.get("num_class"), "num_class")
    # LightGBM divides by the second of them, whatever it is.
    if (
        n_classes < 1
        or _whole_number(header.get("num_tree_per_iteration"), "num_tree_per_iteration") != n_classes
    ):
        raise ValueError("num_tree_per_iteration and num_class must be the same number, from 1 on")
    for name in ("feature_names", "feature_infos"):
        found = header.get(name, "").split(" ")
        if len(found) != n_features:
            raise ValueError(f"{name} must list {n_features} features; it lists {len(found)}")
    blocks = tree_blocks(text)
    if "\nend of trees" not in text:
        raise ValueError("the model text is cut short: its line 'end of trees' is missing")
    if "tree_sizes" in header:
        _check_sizes(text, header["tree_sizes"])
    _check_parameters(text)
    for number, block in enumerate(blocks):
        try:
            _check_block(block, n_features)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"tree {number}: {error}") from None


def _check_parameters(text: str) -> None:
    """Refuse a line among the parameters of training in which LightGBM would look for a missing value."""
    lines = iter(text.partition("\nend of trees")[2].split("\n"))
    # The list begins with a line of its own, and ends with another one, or with the text.
    for line in lines:
        if line.strip() == "parameters:":
            break
    for line in lines:
        if line.strip() == "end of parameters":
            break
        if line and not _PARAMETER.fullmatch(line):
            raise ValueError(f"{line[:80]!r} must be a parameter as in '[num_leaves: 31]'")


def check_children(left: Array, right: Array, n_leaves: int) -> None:
    """Raise unless every node but the root, and every leaf, is the child of exactly one earlier node.

    Parameters
    ----------
    left, right : ndarray (n_nodes,), int
        A node, or ``~leaf``.
    n_leaves : int

    Raises
    ------
    ValueError

    Examples
    --------
    >>> check_children(np.array([1, -1]), np.array([-3, -2]), 3)
    >>> check_children(np.array([0]), np.array([-1]), 2)
    Traceback (most recent call last):
        ...
    ValueError: node 0 has the child 0, which does not stand after it
    """
    n_nodes = len(left)
    if n_leaves != n_nodes + 1:
        raise ValueError(f"a tree of {n_nodes} splits must have {n_nodes + 1} leaves; it has {n_leaves}")
    if n_nodes == 0:
        return  # a tree of one leaf, which LightGBM writes for a constant
    parents = np.tile(np.arange(n_nodes), 2)
    children = np.concatenate([left, right]).astype(np.int64)
    is_node = children >= 0
    # Leaf numbers are stored as ~leaf = -leaf - 1, so the last leaf is -n_leaves.
    outside = np.flatnonzero(np.where(is_node, children >= n_nodes, children < -n_leaves))
    if len(outside):
        raise ValueError(
            f"node {parents[outside[0]]} has the child {children[outside[0]]}, which does not exist"
        )
    # A walk goes to higher numbers only, so it ends. Circles are excluded without a search for them.
    backward = np.flatnonzero(is_node & (children <= parents))
    if len(backward):
        at = backward[0]
        raise ValueError(f"node {parents[at]} has the child {children[at]}, which does not stand after it")
    # One parent each, for all but the root, makes the graph a tree: no node is shared or unreachable.
    node_parents = np.bincount(children[is_node], minlength=n_nodes)
    leaf_parents = np.bincount(~children[~is_node], minlength=n_leaves)
    if (node_parents[1:] != 1).any() or (leaf_parents != 1).any():
        raise ValueError("every node and leaf must have exactly one parent")


def check_tree(tree: ModelTree, n_features: int) -> None:
    """Raise unless a tree in LightGBM's terms can be walked on rows of `n_features` columns.

    Raises
    ------
    ValueError
        Naming what is wrong.
    """
    n_nodes = len(tree.left)
    for name in ("feature", "threshold", "decision", "right"):
        found = len(getattr(tree, name))
        if found != n_nodes:
            raise ValueError(f"{name} must have an entry for each of {n_nodes} splits; it has {found}")
    check_children(tree.left, tree.right, len(tree.value))
    if ((tree.feature < 0) | (tree.feature >= n_features)).any():
        raise ValueError(f"features must be in 0 .. {n_features - 1}")
    if ((tree.decision < 0) | (tree.decision > _MOST_DECISION)).any():
        raise ValueError(f"decision types must be in 0 .. {_MOST_DECISION}")
    if np.isnan(tree.threshold).any():
        raise ValueError("thresholds must be numbers; one is NaN")
    if not np.isfinite(tree.value).all():
        raise ValueError("leaf values must be finite")
    _check_bit_sets(tree)


def _check_bit_sets(tree: ModelTree) -> None:
    is_categorical = (tree.decision & CATEGORICAL) > 0
    n_sets = len(tree.boundaries) - 1 if len(tree.boundaries) else 0
    chosen = tree.threshold[is_categorical]
    if ((chosen < 0) | (chosen >= n_sets) | (chosen != np.floor(chosen))).any():
        raise ValueError(f"splits on categories must name one of {n_sets} sets of categories")
    if n_sets and (
        tree.boundaries[0] != 0
        or (np.diff(tree.boundaries) <= 0).any()
        or tree.boundaries[-1] != len(tree.words)
    ):
        raise ValueError("the sets of categories do not fit their boundaries")


def _check_block(block: str, n_features: int) -> None:
    lines = [line.split("=", 1) for line in block.split("\n") if "=" in line]
    # The dict would keep the last of two lines of one name, and LightGBM need not.
    fields = dict(line for line in lines)
    if len(fields) != len(lines):
        raise ValueError("a line occurs twice")
    n_leaves = _whole_number(fields.get("num_leaves"), "num_leaves")
    n_nodes = n_leaves - 1
    n_sets = _whole_number(fields.get("num_cat", "0"), "num_cat")
    if n_leaves < 1 or n_sets < 0:
        raise ValueError(f"num_leaves must be at least 1 and num_cat at least 0; got {n_leaves} and {n_sets}")
    expected = dict.fromkeys(_PER_NODE, n_nodes) | {"leaf_value": n_leaves}
    expected |= {name: n_nodes for name in _PER_NODE_OPTIONAL if name in fields}
    expected |= {name: n_leaves for name in _PER_LEAF_OPTIONAL if name in fields and n_nodes}
    if n_sets:
        expected |= {"cat_boundaries": n_sets + 1}
    for name, size in expected.items():
        found = len(fields.get(name, "").split())
        if found != size:
            raise ValueError(f"{name} must have {size} entries; it has {found}")
    check_tree(read_tree(fields), n_features)
    if fields.get("is_linear", "0") != "0":
        _check_linear(fields, n_features)


def _check_linear(fields: dict[str, str], n_features: int) -> None:
    """Leaves that are linear functions: as many coefficients as features, and features that exist."""
    n_used = np.array(fields.get("num_features", "").split(), dtype=np.int64)
    used = np.array(fields.get("leaf_features", "").split(), dtype=np.int64)
    coefficients = fields.get("leaf_coeff", "").split()
    if (n_used < 0).any() or len(used) != n_used.sum() or len(coefficients) != len(used):
        raise ValueError("the linear functions of the leaves do not fit their sizes")
    if ((used < 0) | (used >= n_features)).any():
        raise ValueError(f"features of linear leaves must be in 0 .. {n_features - 1}")


def _header(text: str) -> dict[str, str]:
    lines = text.partition("\nTree=")[0].split("\n")
    if not lines or lines[0] != "tree":
        raise ValueError("not a LightGBM model: the first line must be 'tree'")
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _check_sizes(text: str, sizes: str) -> None:
    """LightGBM finds each tree by the sizes in the header, so they must be right."""
    content = text.encode()
    end = content.find(b"end of trees")
    at = content.find(b"Tree=0\n")
    if at < 0:
        at = end
    for number, size in enumerate(sizes.split()):
        start = f"Tree={number}\n".encode()
        if content[at : at + len(start)] != start:
            raise ValueError(f"tree_sizes do not fit: no tree {number} where they say")
        at += _whole_number(size, "tree_sizes")
        if at > end:
            break
    if at != end:
        raise ValueError("tree_sizes do not fit the trees")


def _whole_number(text: str | None, name: str) -> int:
    try:
        return int(text or "")
    except ValueError:
        raise ValueError(f"{name} must be a whole number; got {text!r}") from None
