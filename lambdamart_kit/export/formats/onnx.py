"""ONNX: trees as a ``TreeEnsembleRegressor``, linear functions and networks as matrix products.

ONNX Runtime compares in float32, ``x <= threshold``, and sums leaf values in float32. Converters write the
float32 number nearest to a threshold, which may lie above it; here it is the largest that does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lambdamart_kit.core.typing import Array, Float32Array, FloatArray
from lambdamart_kit.export.format import ExportOptions, Format, Written
from lambdamart_kit.export.model import Exportable, InputScaling, LinearSum, Network, TreeSum
from lambdamart_kit.export.thresholds import at_most
from lambdamart_kit.trees.plain_tree import PlainTree

_OPSET, _ML_OPSET, _IR_VERSION = 15, 3, 8  # of 2021 and 2022: what any runtime of today reads
_ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid", "identity": "Identity"}


class Onnx(Format):
    """A model with one input ``X`` (float32, n x n_features) and one output ``score`` (n x 1)."""

    title = "ONNX"
    holds = (TreeSum, LinearSum, Network)
    holds_categories = True
    sums_in_float32 = True

    def write(self, model: Exportable, options: ExportOptions) -> Written:
        """The serialised model; names of the features are in its metadata."""
        onnx = _library()
        if isinstance(model, TreeSum):
            nodes = [_ensemble(model)]
            weights: list[Any] = []
            kind = onnx.TensorProto.FLOAT
        else:
            nodes, weights = _layers(_as_network(model) if isinstance(model, LinearSum) else model)
            kind = onnx.TensorProto.DOUBLE
        make = onnx.helper
        n_features = len(model.feature_names)
        graph = make.make_graph(
            nodes,
            options.name,
            [make.make_tensor_value_info("X", onnx.TensorProto.FLOAT, [None, n_features])],
            [make.make_tensor_value_info("score", kind, [None, 1])],
            weights,
        )
        opsets = [make.make_opsetid("", _OPSET), make.make_opsetid("ai.onnx.ml", _ML_OPSET)]
        proto = make.make_model(
            graph, producer_name="lambdamart_kit", opset_imports=opsets, ir_version=_IR_VERSION
        )
        make.set_model_props(proto, {"feature_names": "\n".join(model.feature_names)})
        onnx.checker.check_model(proto)
        return Written(proto.SerializeToString())

    def scores(self, content: bytes, X: Float32Array, feature_names: Sequence[str]) -> FloatArray:
        """ONNX Runtime's own scores."""
        try:
            import onnxruntime
        except ImportError:
            raise ImportError(
                "checking an ONNX model needs ONNX Runtime, which is not installed: "
                "pip install 'lambdamart-kit[onnx]'"
            ) from None
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        (scores,) = session.run(None, {"X": np.ascontiguousarray(X)})
        return np.asarray(scores, dtype=np.float64).ravel()


def _library() -> Any:
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ImportError:
        raise ImportError(
            "format='onnx' needs the library onnx, which is not installed: pip install 'lambdamart-kit[onnx]'"
        ) from None
    return onnx


class _Nodes:
    """The attributes of a tree ensemble, a list each, as nodes are added."""

    def __init__(self) -> None:
        self.treeids: list[int] = []
        self.nodeids: list[int] = []
        self.featureids: list[int] = []
        self.modes: list[str] = []
        self.values: list[float] = []
        self.truenodeids: list[int] = []
        self.falsenodeids: list[int] = []
        self.missing_value_tracks_true: list[int] = []

    def add(
        self,
        tree: int,
        node: int,
        mode: str,
        feature: int,
        value: float,
        children: tuple[int, int],
        nan: bool,
    ) -> None:
        """Add one node; a missing value goes to the first of the children if `nan`."""
        self.treeids.append(tree)
        self.nodeids.append(node)
        self.modes.append(mode)
        self.featureids.append(feature)
        self.values.append(value)
        self.truenodeids.append(children[0])
        self.falsenodeids.append(children[1])
        self.missing_value_tracks_true.append(int(nan))


def _ensemble(model: TreeSum) -> Any:
    nodes = _Nodes()
    target_trees: list[int] = []
    target_nodes: list[int] = []
    target_weights: list[float] = []
    for number, tree in enumerate(model.folded().trees):
        first_leaf = _add_tree(nodes, number, at_most(tree))
        for leaf, value in enumerate(tree.value.tolist()):
            nodes.add(number, first_leaf + leaf, "LEAF", 0, 0.0, (0, 0), False)
            target_trees.append(number)
            target_nodes.append(first_leaf + leaf)
            target_weights.append(value)
    attributes = {f"nodes_{name}": values for name, values in vars(nodes).items()}
    return _library().helper.make_node(
        "TreeEnsembleRegressor",
        ["X"],
        ["score"],
        domain="ai.onnx.ml",
        n_targets=1,
        post_transform="NONE",
        target_ids=[0] * len(target_trees),
        target_treeids=target_trees,
        target_nodeids=target_nodes,
        target_weights=target_weights,
        **attributes,
    )


def _add_tree(nodes: _Nodes, number: int, tree: PlainTree) -> int:
    """Add the splits of a tree; returns the number of its first leaf.

    A split on categories becomes a chain of tests ``x == code`` that share their true branch, which ONNX
    Runtime takes for one test again.
    """
    lengths = [1 if codes is None else max(1, len(codes)) for codes in tree.categories]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(int).tolist()
    first_leaf = starts[-1]

    def place(child: int) -> int:
        return first_leaf + ~child if child < 0 else int(starts[child])

    for node, codes in enumerate(tree.categories):
        feature = int(tree.feature[node])
        left, right = place(int(tree.left[node])), place(int(tree.right[node]))
        nan_left = bool(tree.missing_left[node])
        if codes is None:
            nodes.add(
                number, starts[node], "BRANCH_LEQ", feature, tree.threshold[node], (left, right), nan_left
            )
            continue
        tests = codes.tolist() or [-1]  # no code is -1
        for at, code in enumerate(tests, start=starts[node]):
            otherwise = at + 1 if at + 1 < starts[node] + len(tests) else right
            nodes.add(number, at, "BRANCH_EQ", feature, float(code), (left, otherwise), nan_left)
    return first_leaf


def _scaled(inputs: InputScaling, constants: dict[str, Array]) -> list[Any]:
    """Nodes that make `scaled` (float64) of X, as the ranker does."""
    make = _library().helper.make_node
    constants["mean"] = inputs.mean.astype(np.float32)
    constants["scale"] = inputs.scale.astype(np.float32)
    constants["zero"] = np.zeros(1, dtype=np.float32)
    constants["one"] = np.ones(1, dtype=np.float32)
    nodes = []
    bent = "X"
    if inputs.kind == "log1p":
        nodes += [
            make("Abs", ["X"], ["size"]),
            make("Add", ["size", "one"], ["more"]),
            make("Log", ["more"], ["log"]),
            make("Sign", ["X"], ["sign"]),
            make("Mul", ["sign", "log"], ["bent"]),
        ]
        bent = "bent"
    double = _library().TensorProto.DOUBLE
    return [
        *nodes,
        make("Sub", [bent, "mean"], ["centred"]),
        make("Div", ["centred", "scale"], ["divided"]),
        make("IsNaN", ["divided"], ["missing"]),
        make("Where", ["missing", "zero", "divided"], ["known"]),
        make("Cast", ["known"], ["scaled"], to=double),
    ]


def _as_network(model: LinearSum) -> Network:
    """A linear function is a network without hidden layers."""
    coefs = (model.weights[:, None],)
    intercepts = (np.array([model.constant]),)
    return Network(coefs, intercepts, "identity", model.inputs, model.feature_names)


def _layers(model: Network) -> tuple[list[Any], list[Any]]:
    onnx = _library()
    make = onnx.helper.make_node
    constants: dict[str, Array] = {}
    nodes = _scaled(model.inputs, constants)
    layer = "scaled"
    last = len(model.coefs) - 1
    for at, (coef, intercept) in enumerate(zip(model.coefs, model.intercepts)):
        constants[f"coef_{at}"] = coef.astype(np.float64)
        constants[f"intercept_{at}"] = intercept.astype(np.float64)
        summed = "score" if at == last else f"sum_{at}"
        nodes.append(make("MatMul", [layer, f"coef_{at}"], [f"product_{at}"]))
        nodes.append(make("Add", [f"product_{at}", f"intercept_{at}"], [summed]))
        if at < last:
            layer = f"layer_{at}"
            nodes.append(make(_ACTIVATIONS[model.activation], [summed], [layer]))
    used = {name for node in nodes for name in node.input}
    weights = [onnx.numpy_helper.from_array(v, name) for name, v in constants.items() if name in used]
    return nodes, weights
