"""What was promised and what was measured when a ranker was compressed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from lambdamart_kit.trees.scoring.exits import Exits


@dataclass(frozen=True)
class Compression:
    """How a ranker was compressed, and what that costs; see ``LambdaMART.compress``.

    Parameters
    ----------
    n_trees, kept : int
        Trees of the ranker before, and of this one.
    exits : Exits
        After which of the kept trees documents stop, and by which margins. Without any, every document goes
        through all of them.
    stopped : tuple of float
        Share of the documents that stopped at each exit, of the queries that were measured on.
    metric : str
        What must not be lost. Without labels, "agreement@k": the NDCG@k of the ranking, if the full model's
        first k documents have the gains ``1 / log2(rank + 2)`` and all others none.
    tolerance, confidence : float
        The promise: with this confidence, the mean loss over queries is at most the tolerance.
    n_learned, n_measured : int
        Queries that trees and margins were chosen on, and others that they were measured on. Queries that the
        metric skips do not count.
    before, after : float
        The metric of the ranker before and of this one, on the queries that were measured on.
    bound : float
        Upper bound of the loss on new queries, at the level `confidence`.
    speed_up : float
        Expected in batches: operations of the ranker before, over those of this one. Processors and short
        queries differ, so measure your own.
    speed_up_without_qid : float
        The same where ``predict`` gets no query ids, so that only the left out trees save time.

    Examples
    --------
    >>> exits = Exits(after=(10, 40), margins=(0.5, 0.2), k=10)
    >>> promised = {"metric": "ndcg@10", "tolerance": 5e-4, "confidence": 0.95}
    >>> measured = {"n_learned": 500, "n_measured": 500, "before": 0.6, "after": 0.5999, "bound": 4e-4}
    >>> speed = {"speed_up": 5.0, "speed_up_without_qid": 1.5}
    >>> trees = {"n_trees": 300, "kept": 200, "exits": exits, "stopped": (0.7, 0.1)}
    >>> print(Compression(**trees, **promised, **measured, **speed))
    200 of 300 trees; 70 % of the documents stop after 10 trees, 10 % after 40
    ndcg@10 0.6000 before and 0.5999 after, on 500 queries
    promised: with 95 % confidence it loses at most 0.0005; bound of the loss: 0.0004
    expected to be 5.0 times as fast, 1.5 times without query ids
    """

    n_trees: int
    kept: int
    exits: Exits
    stopped: tuple[float, ...]
    metric: str
    tolerance: float
    confidence: float
    n_learned: int
    n_measured: int
    before: float
    after: float
    bound: float
    speed_up: float
    speed_up_without_qid: float

    @property
    def loss(self) -> float:
        """The metric before less that after, on the queries that were measured on."""
        return self.before - self.after

    def __str__(self) -> str:
        stops = [f"{100 * share:.0f} % after {after}" for share, after in zip(self.stopped, self.exits.after)]
        trees = f"{self.kept} of {self.n_trees} trees"
        if stops:
            first = stops[0].replace(" % after ", " % of the documents stop after ")
            trees += "; " + ", ".join([f"{first} trees", *stops[1:]])
        measured = f"on {self.n_measured} queries"
        return (
            f"{trees}\n"
            f"{self.metric} {self.before:.4f} before and {self.after:.4f} after, {measured}\n"
            f"promised: with {100 * self.confidence:g} % confidence it loses at most {self.tolerance:g}; "
            f"bound of the loss: {self.bound:.2g}\n"
            f"expected to be {self.speed_up:.1f} times as fast, {self.speed_up_without_qid:.1f} times "
            "without query ids"
        )

    def to_bytes(self) -> bytes:
        """JSON, for the file of a ranker.

        Returns
        -------
        bytes
            What `from_bytes` reads.
        """
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Compression:
        """What `to_bytes` wrote.

        Parameters
        ----------
        content : bytes
            JSON.

        Returns
        -------
        Compression
            The same as before.

        Raises
        ------
        ValueError
            If its parts do not fit together.
        """
        fields = json.loads(content)
        parts = fields.pop("exits")
        exits = Exits(tuple(parts["after"]), tuple(parts["margins"]), parts["k"])
        found = cls(**{**fields, "exits": exits, "stopped": tuple(fields["stopped"])})
        after = exits.after
        whole = all(type(number) is int for number in (*after, exits.k, found.kept))
        ascending = all(low < high for low, high in zip((0, *after), (*after, found.kept)))
        finite = all(0 <= margin < float("inf") for margin in exits.margins)
        if not (whole and ascending and finite and len(exits.margins) == len(after) and exits.k >= 1):
            raise ValueError("its exits do not fit its trees")
        return found
