"""Label noise: which labels a model that never saw them finds hard to believe."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
from sklearn.base import clone

from lambdamart_kit.core.typing import FloatArray
from lambdamart_kit.preferences.pairs import PreferencePairs
from lambdamart_kit.preferences.reward import RewardModel
from lambdamart_kit.preferences.scoring import label_probability


def label_noise(
    pairs: PreferencePairs,
    model: RewardModel | None = None,
    *,
    n_splits: int = 5,
    by: str | None = None,
    flip_below: float = 0.1,
    drop_below: float = 0.25,
    random_state: int | None = 0,
) -> pd.DataFrame:
    """Cross-fitted probability that each label is right, with a suggestion.

    Every pair is judged by a model fitted on the other folds, split by whole prompts, so no label vouches for
    itself. Suggestions go by that probability p: below `flip_below` the opposite is far more likely
    ("flip"); below `drop_below` the pair is not worth its risk ("drop"); below 1/2 it should count less
    ("down-weight", by 2 p); else "keep". A tie is kept: no label of it could be wrong. They are
    suggestions: look at the pairs first.

    Parameters
    ----------
    pairs : PreferencePairs
        Pairs with features or texts.
    model : RewardModel, optional
        Unfitted; trees on the pairs' features, or hand features of their texts, when left out.
    n_splits : int
        Number of folds, as in :meth:`PreferencePairs.folds`.
    by : str, optional
        Column whose values stay in one fold, as in :meth:`PreferencePairs.folds`.
    flip_below : float
        Suggest to flip labels of a lower probability; ``0 <= flip_below <= drop_below``.
    drop_below : float
        Suggest to drop pairs whose label has a lower probability; at most 0.5.
    random_state : int or None
        Seed of the folds.

    Returns
    -------
    DataFrame
        ``pair``, ``probability`` (NaN for ties), ``suggestion``, ``weight`` (1 keep and flip, 2 p, 0 drop),
        from the most suspicious on.

    References
    ----------
    Northcutt, Jiang, Chuang (2021), "Confident learning", JAIR 70, section 3 (out-of-sample probabilities).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 2))
    >>> better = X[::2, 0] > X[1::2, 0]
    >>> better[7] = not better[7]
    >>> first = np.arange(0, 200, 2)
    >>> pairs = PreferencePairs.from_indices(X, first + ~better, first + better)
    >>> int(label_noise(pairs, RewardModel(scorer="linear"))["pair"].iloc[0])
    7
    """
    if not 0 <= flip_below <= drop_below <= 0.5:
        raise ValueError(
            "'flip_below' and 'drop_below' must satisfy 0 <= flip_below <= drop_below <= 0.5; "
            f"got {flip_below} and {drop_below}"
        )
    if model is None:
        model = RewardModel(
            features=None if pairs.features is not None else "text", random_state=random_state
        )
    p = cross_fitted(pairs, model, n_splits=n_splits, by=by, random_state=random_state)
    believed = label_probability(p, pairs.target)
    # A tie has no probability, compares false with every bound, and is kept.
    suggestion = np.select(
        [believed < flip_below, believed < drop_below, believed < 0.5],
        ["flip", "drop", "down-weight"],
        default="keep",
    )
    weight = np.select(
        [suggestion == "drop", suggestion == "down-weight"], [0.0, 2.0 * believed], default=1.0
    )
    table = pd.DataFrame(
        {
            "pair": np.arange(len(pairs)),
            "probability": believed,
            "suggestion": suggestion,
            "weight": weight,
        }
    )
    return table.sort_values("probability", kind="stable").reset_index(drop=True)


def cross_fitted(
    pairs: PreferencePairs,
    model: RewardModel,
    *,
    n_splits: int = 5,
    by: str | None = None,
    random_state: int | None = 0,
) -> FloatArray:
    """Probability that the chosen response is better, by models that saw neither pair nor prompt."""
    probability = np.empty(len(pairs))
    for train, test in pairs.folds(n_splits, random_state=random_state, by=by):
        fitted = clone(model).fit_pairs(pairs.take(train))
        probability[test] = fitted.predict_proba_pairs(pairs.take(test))
    return probability


def cleaned(pairs: PreferencePairs, noise: pd.DataFrame) -> PreferencePairs:
    """The pairs with the suggestions of :func:`label_noise` carried out: flipped, dropped, down-weighted.

    Parameters
    ----------
    pairs : PreferencePairs
        The pairs that `noise` is about.
    noise : DataFrame
        What :func:`label_noise` returned, perhaps edited.

    Returns
    -------
    PreferencePairs
        The pairs with a weight above 0.

    Examples
    --------
    >>> from lambdamart_kit.preferences import PreferencePairs
    >>> pairs = PreferencePairs.from_indices(np.eye(4), chosen=[0, 2], rejected=[1, 3])
    >>> noise = pd.DataFrame({"pair": [0, 1], "suggestion": ["flip", "drop"], "weight": [1.0, 0.0]})
    >>> better = cleaned(pairs, noise)
    >>> better.chosen.tolist(), better.rejected.tolist()
    ([1], [0])
    """
    by_pair = noise.set_index("pair").sort_index()
    if len(by_pair) != len(pairs):
        raise ValueError(f"'noise' must have one row per pair, {len(pairs)}; got {len(by_pair)}")
    flip = by_pair["suggestion"].to_numpy() == "flip"
    weight = pairs.weight * by_pair["weight"].to_numpy()
    return dataclasses.replace(pairs.flipped(flip), weight=weight).take(weight > 0)
