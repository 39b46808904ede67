"""Features of responses for a model: those of the pairs, or made of their texts by an extractor."""

from __future__ import annotations

from typing import Any

from lambdamart_kit.core.typing import Features
from lambdamart_kit.preferences.pairs import PreferencePairs, extract, fitted_extractor
from lambdamart_kit.preferences.text import make_extractor


def training_features(features: Features, pairs: PreferencePairs, *, owner: str) -> tuple[Any, Any]:
    """The extractor fitted on the pairs (None if they have features), and features of each response.

    Parameters
    ----------
    features : str, transformer or None
        The model's parameter `features`.
    pairs : PreferencePairs
    owner : str
        Name of the model, for the error.

    Raises
    ------
    ValueError
        If there are no pairs, or no features and no way to make them.
    """
    if len(pairs) == 0:
        raise ValueError("'pairs' must hold at least one pair; got none")
    if pairs.features is not None:
        return None, pairs.features
    if features is None:
        raise ValueError(
            "'pairs' have no features: give features='text', 'tfidf', 'embeddings:MODEL' or a transformer to "
            f"{owner}, or use pairs.with_features"
        )
    extractor = fitted_extractor(make_extractor(features), pairs)
    return extractor, extract(extractor, pairs)


def prediction_features(extractor: Any, pairs: PreferencePairs) -> Any:
    """Features of each response as in training.

    Raises
    ------
    ValueError
        If the model was fitted on features and the pairs have none.
    """
    if extractor is not None:
        return extract(extractor, pairs)
    if pairs.features is None:
        raise ValueError("'pairs' have no features, and this model was not fitted on texts")
    return pairs.features
