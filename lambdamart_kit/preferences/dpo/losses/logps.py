"""Log-prob columns of pairs and of single responses: what losses read, and the gradients they return."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lambdamart_kit.core.typing import ArrayLike, BoolArray, FloatArray
from lambdamart_kit.preferences.dpo.checks import finite, token_counts


class PairGradient(NamedTuple):
    """Gradient of a batch's mean loss with respect to each log-prob, (n_pairs,) each."""

    chosen_logps: FloatArray
    rejected_logps: FloatArray
    ref_chosen_logps: FloatArray
    ref_rejected_logps: FloatArray


class LossTerms(NamedTuple):
    """Loss of each pair and its derivatives.

    The mean of `loss` over pairs is the loss of the batch, and the mean of a derivative's entries (each by
    the pair's share of the weight) is the gradient of that mean. (n_pairs,) float64 each.
    """

    loss: FloatArray
    chosen: FloatArray
    rejected: FloatArray
    ref_chosen: FloatArray
    ref_rejected: FloatArray


class RowGradient(NamedTuple):
    """Gradient of a batch's mean loss with respect to each log-prob, (n,) each."""

    logps: FloatArray
    ref_logps: FloatArray


class RowTerms(NamedTuple):
    """Loss of each response and its derivative by its log-ratio ``logps - ref_logps``, (n,) each."""

    loss: FloatArray
    ratio: FloatArray


class PairLogps:
    """Log-probs of chosen and rejected responses under a policy and under its reference.

    Parameters
    ----------
    chosen_logps, rejected_logps : (n_pairs,) arrays
        Log-probs by the policy, summed over the tokens of the response, in nats.
    ref_chosen_logps, ref_rejected_logps : (n_pairs,) arrays, optional
        The same by the reference. Losses without a reference (SimPO, CPO, ORPO, sft) do without; zeros make
        the others reference-free.
    chosen_lengths, rejected_lengths : (n_pairs,) arrays, optional
        Token counts of the responses, for losses that divide by them.
    weight : (n_pairs,) array, optional
        Weight of each pair in the mean; equal weights when left out.

    Raises
    ------
    ValueError
        If columns differ in length, a log-prob is NaN or infinite, a token count is not positive, or a
        weight is negative.

    Examples
    --------
    >>> batch = PairLogps([-10.0], [-12.0], [-11.0], [-11.5])
    >>> batch.chosen_ratios.tolist(), batch.rejected_ratios.tolist()
    ([1.0], [-0.5])

    The columns of preference pairs fit: ``PairLogps(**pairs.logps())``.
    """

    def __init__(
        self,
        chosen_logps: ArrayLike,
        rejected_logps: ArrayLike,
        ref_chosen_logps: ArrayLike | None = None,
        ref_rejected_logps: ArrayLike | None = None,
        *,
        chosen_lengths: ArrayLike | None = None,
        rejected_lengths: ArrayLike | None = None,
        weight: ArrayLike | None = None,
    ) -> None:
        for one, other in (
            (("ref_chosen_logps", ref_chosen_logps), ("ref_rejected_logps", ref_rejected_logps)),
            (("chosen_lengths", chosen_lengths), ("rejected_lengths", rejected_lengths)),
        ):
            if (one[1] is None) != (other[1] is None):
                raise ValueError(f"{one[0]!r} and {other[0]!r} must be given together; got only one of them")
        self.chosen_logps, self.rejected_logps = finite(
            ("chosen_logps", chosen_logps), ("rejected_logps", rejected_logps)
        )
        n_pairs = len(self.chosen_logps)
        if n_pairs == 0:
            raise ValueError("'chosen_logps' must hold at least one pair; got none")
        self.ref_chosen_logps: FloatArray | None = None
        self.ref_rejected_logps: FloatArray | None = None
        if ref_chosen_logps is not None and ref_rejected_logps is not None:
            _, self.ref_chosen_logps, self.ref_rejected_logps = finite(
                ("chosen_logps", self.chosen_logps),
                ("ref_chosen_logps", ref_chosen_logps),
                ("ref_rejected_logps", ref_rejected_logps),
            )
        self.chosen_lengths: FloatArray | None = None
        self.rejected_lengths: FloatArray | None = None
        if chosen_lengths is not None:
            self.chosen_lengths = token_counts(chosen_lengths, n_pairs, "chosen_lengths")
            self.rejected_lengths = token_counts(rejected_lengths, n_pairs, "rejected_lengths")
        self.weight = _weights(weight, n_pairs)

    def __len__(self) -> int:
        return len(self.chosen_logps)

    def __repr__(self) -> str:
        reference = "no reference" if self.ref_chosen_logps is None else "with reference"
        lengths = "no lengths" if self.chosen_lengths is None else "with lengths"
        return f"PairLogps: {len(self)} pairs, {reference}, {lengths}"

    @property
    def share(self) -> FloatArray:
        """Each pair's share of the weight, (n_pairs,); sums to 1."""
        return self.weight / self.weight.sum()

    @property
    def chosen_ratios(self) -> FloatArray:
        """``log pi - log pi_ref`` of the chosen responses, (n_pairs,)."""
        return self.chosen_logps - _present(self.ref_chosen_logps, "ref_chosen_logps")

    @property
    def rejected_ratios(self) -> FloatArray:
        """``log pi - log pi_ref`` of the rejected responses, (n_pairs,)."""
        return self.rejected_logps - _present(self.ref_rejected_logps, "ref_rejected_logps")

    @property
    def lengths(self) -> tuple[FloatArray, FloatArray]:
        """Token counts of the chosen and of the rejected responses."""
        return (
            _present(self.chosen_lengths, "chosen_lengths"),
            _present(self.rejected_lengths, "rejected_lengths"),
        )

    def sides(self) -> RowLogps:
        """Chosen responses as desirable ones, then rejected ones as undesirable, (2 n_pairs) rows."""
        return RowLogps(
            np.concatenate([self.chosen_logps, self.rejected_logps]),
            np.concatenate(
                [
                    _present(self.ref_chosen_logps, "ref_chosen_logps"),
                    _present(self.ref_rejected_logps, "ref_rejected_logps"),
                ]
            ),
            np.repeat([True, False], len(self)),
            weight=np.tile(self.weight, 2),
        )


class RowLogps:
    """Log-probs of single responses, each labelled desirable or not, as for KTO.

    Parameters
    ----------
    logps, ref_logps : (n,) arrays
        Log-probs by the policy and by the reference, summed over tokens, in nats.
    desirable : (n,) array of bool
    mismatched_logps, ref_mismatched_logps : (m,) arrays, optional
        The same of responses that stand beside a prompt of another row, from which KTO estimates KL.
    weight : (n,) array, optional
        Weight of each row in the mean.

    Examples
    --------
    >>> rows = RowLogps([-10.0, -20.0], [-11.0, -18.0], [True, False])
    >>> rows.ratios.tolist()
    [1.0, -2.0]
    """

    def __init__(
        self,
        logps: ArrayLike,
        ref_logps: ArrayLike,
        desirable: ArrayLike,
        *,
        mismatched_logps: ArrayLike | None = None,
        ref_mismatched_logps: ArrayLike | None = None,
        weight: ArrayLike | None = None,
    ) -> None:
        self.logps, self.ref_logps = finite(("logps", logps), ("ref_logps", ref_logps))
        if len(self.logps) == 0:
            raise ValueError("'logps' must hold at least one response; got none")
        labels = np.asarray(desirable)
        if labels.shape != self.logps.shape or not np.isin(labels, (0, 1)).all():
            raise ValueError(
                f"'desirable' must hold {len(self.logps)} values, True or False; got shape {labels.shape}"
            )
        self.desirable: BoolArray = labels.astype(bool)
        if (mismatched_logps is None) != (ref_mismatched_logps is None):
            raise ValueError(
                "'mismatched_logps' and 'ref_mismatched_logps' must be given together; got only one of them"
            )
        self.mismatched_ratios: FloatArray | None = None
        if mismatched_logps is not None and ref_mismatched_logps is not None:
            policy, reference = finite(
                ("mismatched_logps", mismatched_logps), ("ref_mismatched_logps", ref_mismatched_logps)
            )
            self.mismatched_ratios = policy - reference
        self.weight = _weights(weight, len(self.logps))

    def __len__(self) -> int:
        return len(self.logps)

    @property
    def share(self) -> FloatArray:
        """Each row's share of the weight, (n,); sums to 1."""
        return self.weight / self.weight.sum()

    @property
    def ratios(self) -> FloatArray:
        """``log pi - log pi_ref``, (n,)."""
        return self.logps - self.ref_logps


def _present(column: FloatArray | None, name: str) -> FloatArray:
    if column is None:
        remedy = "; zeros make the loss reference-free" if name.startswith("ref_") else ""
        raise ValueError(f"this loss needs the column {name!r}, which was not given{remedy}")
    return column


def _weights(weight: ArrayLike | None, n_rows: int) -> FloatArray:
    if weight is None:
        return np.ones(n_rows)
    values = np.asarray(weight, dtype=np.float64)
    if values.shape != (n_rows,) or not np.all(np.isfinite(values) & (values >= 0)) or not values.sum() > 0:
        raise ValueError(f"'weight' must hold {n_rows} finite weights >= 0, not all of them 0")
    return values
