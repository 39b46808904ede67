"""A booster that exists only here: trees of scikit-learn, as a newcomer would add a library.

One file and one line in `BOOSTERS` make a booster; `test_objective_matrix` and `test_recipes` add that line.
"""

from __future__ import annotations

import io

import numpy as np
from sklearn.tree import DecisionTreeRegressor

from lambdamart_kit.boosters.protocol import Booster, SumOfTrees
from lambdamart_kit.boosters.rounds import finish_round
from lambdamart_kit.boosters.settings import translate

PARAMETER_NAMES = {
    "learning_rate": "learning_rate",
    "num_leaves": "max_leaf_nodes",
    "max_depth": "max_depth",
    "min_child_samples": "min_samples_leaf",
    "min_child_weight": "min_child_weight",
    "min_split_gain": None,
    "reg_lambda": None,
    "reg_alpha": None,
    "subsample": None,
    "colsample_bytree": None,
    "colsample_bynode": None,
    "max_bin": "max_bin",
    "seed": "random_state",
    "n_threads": "n_threads",
    "split_criterion": None,
}
_UNUSED = ("min_child_weight", "max_bin", "n_threads")  # of no meaning to these trees
_ARRAYS = ("feature", "threshold", "children_left", "children_right", "value")


class ScikitLearnModel(SumOfTrees):
    """Trees as arrays of nodes: (n_trees, n_nodes), padded with leaves."""

    def __init__(self, nodes: dict[str, np.ndarray], n_features: int) -> None:
        self.raw = nodes
        self.n_features = n_features

    @property
    def n_trees(self) -> int:
        return len(self.raw["feature"])

    def leaf_indices(self, X):
        leaves = np.zeros((X.shape[0], self.n_trees), dtype=np.intp)
        for t in range(self.n_trees):
            feature, left = self.raw["feature"][t], self.raw["children_left"][t]
            right, threshold = self.raw["children_right"][t], self.raw["threshold"][t]
            at = leaves[:, t]
            while (inside := np.flatnonzero(left[at] >= 0)).size:
                node = at[inside]
                goes_left = X[inside, feature[node]] <= threshold[node]
                at[inside] = np.where(goes_left, left[node], right[node])
        return leaves

    def _scores(self, X, start, stop, n_threads):
        leaves = self.leaf_indices(X)
        return sum(self.raw["value"][t][leaves[:, t]] for t in range(start, stop))

    def truncate(self, n_trees):
        if n_trees >= self.n_trees:
            return self
        return ScikitLearnModel({name: nodes[:n_trees] for name, nodes in self.raw.items()}, self.n_features)

    def gain(self):
        inside = self.raw["children_left"] >= 0
        return np.bincount(self.raw["feature"][inside], minlength=self.n_features).astype(np.float64)

    def to_bytes(self):
        content = io.BytesIO()
        np.savez(content, n_features=self.n_features, **self.raw)
        return content.getvalue()

    @classmethod
    def from_bytes(cls, content):
        arrays = dict(np.load(io.BytesIO(content), allow_pickle=False))
        return cls(arrays, int(arrays.pop("n_features")))


class ScikitLearnBooster(Booster):
    """Newton boosting: each tree fits -gradient / hessian with the hessian as weight."""

    model = ScikitLearnModel
    parameter_names = PARAMETER_NAMES

    def fit(self, X, bound, params, *, queries=None, eval_sets=(), callbacks=(), start=None):
        settings = translate(params, PARAMETER_NAMES, library="scikit-learn")
        learning_rate = settings.pop("learning_rate")
        for name in _UNUSED:
            del settings[name]
        settings["min_samples_leaf"] = settings["min_samples_leaf"] or 20
        trees = [] if start is None else list(zip(*(start.raw[name] for name in _ARRAYS)))
        scores = np.zeros(X.shape[0]) if start is None else start.predict(X)
        for n_rounds in range(1, params.n_estimators + 1):
            gradient, hessian = bound.gradient_hessian(scores.astype(np.float32))
            weight = np.maximum(hessian.astype(np.float64), 1e-6)
            tree = DecisionTreeRegressor(**settings).fit(X, -gradient / weight, sample_weight=weight).tree_
            value = learning_rate * tree.value[:, 0, 0]
            trees.append((tree.feature, tree.threshold, tree.children_left, tree.children_right, value))
            model = self._stacked(trees, X.shape[1])
            last = (model.n_trees - 1, model.n_trees)
            scores += model.predict(X, iteration_range=last)
            evaluation = {}
            for eval_set in eval_sets:
                evaluation |= eval_set.evaluate(model.predict(eval_set.X))
            if finish_round(callbacks, n_rounds, evaluation, model.to_bytes):
                break
        return model

    def _stacked(self, trees, n_features):
        n_nodes = max(len(tree[0]) for tree in trees)
        nodes = {}
        for at, name in enumerate(_ARRAYS):
            leaf = -1 if name.startswith("children") else 0
            nodes[name] = np.stack(
                [np.pad(tree[at], (0, n_nodes - len(tree[at])), constant_values=leaf) for tree in trees]
            )
        return ScikitLearnModel(nodes, n_features)
