"""What can be exported: a fitted ranker as plain numbers, without the ranker and without its library."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np

from lambdamart_kit.core.typing import Array, Float32Array, FloatArray
from lambdamart_kit.trees.plain_tree import PlainTree


@dataclass(frozen=True, eq=False)
class TreeSum:
    """A score that is the sum of trees.

    Attributes
    ----------
    trees : tuple of PlainTree
        Bags and tree weights are folded into leaf values before (see
        :func:`lambdamart_kit.trees.plain_tree.averaged`).
    feature_names : tuple of str
        One a column.
    categories : mapping of int to list
        The values that the codes 0, 1, ... of a column stand for, where it held anything but codes.
    """

    trees: tuple[PlainTree, ...]
    feature_names: tuple[str, ...]
    categories: Mapping[int, Sequence[object]] = field(default_factory=dict)

    def predict(self, X: Float32Array) -> FloatArray:
        """Sum of the leaf values of each row, (n_samples,) float64."""
        scores = np.zeros(len(X))
        for tree in self.trees:
            scores += tree.predict(X)
        return scores

    def shifted(self, constant: float) -> TreeSum:
        """The same with `constant` added to every score."""
        return replace(self, trees=(*self.trees, PlainTree.of_constant(constant)))

    def folded(self) -> TreeSum:
        """The same without trees of one leaf, which engines may refuse: they move into the tree before.

        One tree always stays.
        """
        constant = float(sum(tree.value[0] for tree in self.trees if not tree.n_nodes))
        grown = [tree for tree in self.trees if tree.n_nodes]
        if not grown:
            return replace(self, trees=(PlainTree.of_constant(constant),))
        if constant != 0.0:
            grown[0] = grown[0].scaled(1.0, constant)
        return replace(self, trees=tuple(grown))

    @property
    def lowest_score(self) -> float:
        """No row scores less: the sum of each tree's lowest leaf."""
        return float(sum(tree.value.min() for tree in self.trees))

    @property
    def rounding(self) -> float:
        """How far a score can be off when each leaf value is rounded to float32."""
        return 2.0**-24 * float(sum(np.abs(tree.value).max() for tree in self.trees))


Bend: TypeAlias = Literal["standard", "log1p", "quantile"] | None


@dataclass(frozen=True, eq=False)
class InputScaling:
    """What happens to a feature before it is weighed: ``t = (bend(x) - mean) / scale``, in float32.

    A missing value becomes ``t = 0``, that is the mean.

    Attributes
    ----------
    kind : {"standard", "log1p", "quantile"} or None
        ``bend(x)`` is ``sign(x) log(1 + |x|)`` for "log1p", a share of training rows for "quantile", and x
        itself otherwise.
    mean, scale : ndarray (n_features,), float64
    """

    kind: Bend
    mean: FloatArray
    scale: FloatArray

    def __call__(self, X: Float32Array) -> Float32Array:
        """Scaled copy of X."""
        scaled = X.astype(np.float32, copy=True)
        if self.kind == "log1p":
            np.copysign(np.log1p(np.abs(scaled)), scaled, out=scaled)
        elif self.kind == "quantile":
            raise ValueError(QUANTILE)
        scaled -= self.mean.astype(np.float32)
        scaled /= self.scale.astype(np.float32)
        np.nan_to_num(scaled, copy=False)
        return scaled


QUANTILE = (
    "'input_transform' must not be 'quantile' to export a ranker: no format holds the shares of training "
    "rows; fit with 'standard', 'log1p' or None"
)


@dataclass(frozen=True, eq=False)
class LinearSum:
    """A score that is a weighted sum of scaled features.

    Attributes
    ----------
    weights : ndarray (n_features,), float64
        Of the scaled features.
    inputs : InputScaling
    feature_names : tuple of str
    constant : float
        Added to every score.
    """

    weights: FloatArray
    inputs: InputScaling
    feature_names: tuple[str, ...]
    constant: float = 0.0

    def predict(self, X: Float32Array) -> FloatArray:
        """Score of each row, (n_samples,) float64."""
        scores: FloatArray = self.inputs(X).astype(np.float64) @ self.weights + self.constant
        return scores

    def shifted(self, constant: float) -> LinearSum:
        """The same with `constant` added to every score."""
        return replace(self, constant=self.constant + constant)

    @property
    def raw_weights(self) -> FloatArray:
        """Weights of the features as they are, where they are not bent."""
        return self.weights / self.inputs.scale

    @property
    def raw_constant(self) -> float:
        """What is added to the sum of features as they are, weighed by `raw_weights`."""
        return self.constant - float(self.raw_weights @ self.inputs.mean)


@dataclass(frozen=True, eq=False)
class Network:
    """A multilayer perceptron with one output.

    Attributes
    ----------
    coefs, intercepts : tuples of ndarray
        Weights of each layer, (n_in, n_out) and (n_out,).
    activation : {"relu", "tanh", "logistic", "identity"}
        Of the hidden layers.
    inputs : InputScaling
    feature_names : tuple of str
    """

    coefs: tuple[Array, ...]
    intercepts: tuple[Array, ...]
    activation: str
    inputs: InputScaling
    feature_names: tuple[str, ...]

    def predict(self, X: Float32Array) -> FloatArray:
        """Score of each row, (n_samples,) float64."""
        layer = self.inputs(X).astype(np.float64)
        for coef, intercept in zip(self.coefs[:-1], self.intercepts[:-1]):
            layer = ACTIVATIONS[self.activation](layer @ coef + intercept)
        scores: FloatArray = (layer @ self.coefs[-1] + self.intercepts[-1]).ravel()
        return scores

    def shifted(self, constant: float) -> Network:
        """The same with `constant` added to every score."""
        return replace(self, intercepts=(*self.intercepts[:-1], self.intercepts[-1] + constant))


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda values: np.maximum(values, 0.0),
    "tanh": np.tanh,
    "logistic": lambda values: 1.0 / (1.0 + np.exp(-values)),
    "identity": lambda values: values,
}

Exportable: TypeAlias = TreeSum | LinearSum | Network
KINDS: dict[type, str] = {TreeSum: "trees", LinearSum: "a linear function", Network: "a neural network"}
