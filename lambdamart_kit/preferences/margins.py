"""Which margins count in training: stated ones, or gaps of ratings too."""

from __future__ import annotations

import warnings

import numpy as np

from lambdamart_kit.core.typing import FloatArray
from lambdamart_kit.preferences.pair_table import PairTable
from lambdamart_kit.preferences.reading.layout import MARGIN_FROM


def margins_that_count(pairs: PairTable, use_margins: bool | str) -> FloatArray:
    """Margin of each pair as training sees it, (n_pairs,); 0 where it does not count.

    Parameters
    ----------
    pairs : PreferencePairs
    use_margins : {"stated"} or bool
        See :class:`lambdamart_kit.preferences.RewardModel`.

    Raises
    ------
    ValueError
        If `use_margins` is something else.

    Warns
    -----
    UserWarning
        If pairs have margins that are gaps of ratings, and `use_margins` does not say what with them.
    """
    is_gap = pairs.margin_is_gap
    if isinstance(use_margins, bool | np.bool_):
        return pairs.margin if use_margins else np.zeros(len(pairs))
    if use_margins != "stated":
        raise ValueError(f"'use_margins' must be 'stated', True or False; got {use_margins!r}")
    if pairs.margin[is_gap].any():
        sources = ", ".join(map(str, pairs.columns.loc[is_gap, MARGIN_FROM].unique()))
        warnings.warn(
            f"the margins of {is_gap.sum()} pairs are gaps of ratings ({sources}) and are not used: "
            "use_margins=True trains with them, use_margins=False without them and without this warning",
            stacklevel=3,
        )
    return np.where(is_gap, 0.0, pairs.margin)
