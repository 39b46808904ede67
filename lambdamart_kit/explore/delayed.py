"""Rewards that come later than the next choice: what was shown counts as seen while it is waited for."""

from __future__ import annotations

from typing import Self

import numpy as np

from lambdamart_kit.core.information import InformationStack
from lambdamart_kit.core.typing import Array, ArrayLike, FloatArray, IndexArray, Settings
from lambdamart_kit.explore.base import check_observations
from lambdamart_kit.explore.saving import count, shaped


class DelayedRewards:
    r"""`show` and `receive` of a linear policy.

    A policy that learns nothing between two choices repeats the first one: a whole batch of the same gamble.
    What is shown and not yet rewarded therefore counts in the widths, whose matrix does not depend on
    rewards, and not in the means:

    .. math:: \text{width}(x)^2 = x^\top \Big(A + \sum_{waiting} x_s x_s^\top\Big)^{-1} x

    References
    ----------
    Desautels, Krause and Burdick (2014), "Parallelizing exploration-exploitation tradeoffs in Gaussian
    process bandit optimization", JMLR 15, algorithm 1 (GP-BUCB).
    """

    information_: InformationStack

    def show(self, contexts: ArrayLike, arms: ArrayLike | None = None) -> IndexArray:
        """Say what is shown, if its reward comes later; `receive` takes the reward.

        Parameters
        ----------
        contexts : (n, d) array-like
            Features of the shown candidates; for a policy with `arms`, of the contexts they are shown in.
        arms : (n,) array-like, optional
            Which arm is shown; for a policy with `arms` only.

        Returns
        -------
        (n,) array of int
            Tickets, one a row, to be given to `receive`.
        """
        rows, _ = check_observations(contexts, np.zeros(len(np.asarray(contexts))))
        self._start(rows.shape[1])
        codes = self._arm_codes(arms, len(rows))
        first = self._next_ticket
        self._next_ticket = first + len(rows)
        tickets = np.arange(first, self._next_ticket)
        self._waiting.update(zip(tickets.tolist(), zip(rows, codes.tolist())))
        self._refresh_seen()
        return tickets

    def receive(self, tickets: ArrayLike, rewards: ArrayLike) -> Self:
        """Learn from rewards of what `show` said.

        Parameters
        ----------
        tickets : (n,) array-like of int
            As `show` returned them, in any order and in parts.
        rewards : (n,) array-like
            Finite.

        Returns
        -------
        Policy
            The policy itself.

        Raises
        ------
        ValueError
            If a ticket was not given out, or its reward has come already; then none of them is learned from.
        """
        codes = np.asarray(tickets)
        if not codes.size and not np.size(rewards):
            return self
        unknown = [ticket for ticket in codes.tolist() if ticket not in self._waiting]
        if unknown or len(set(codes.tolist())) < len(codes):
            wrong = unknown[0] if unknown else "one twice"
            raise ValueError(f"'tickets' must be of rows that are waited for, each once; got {wrong}")
        parts = [self._waiting[ticket] for ticket in codes.tolist()]
        rows, received = check_observations(np.reshape([row for row, _ in parts], (len(parts), -1)), rewards)
        self._check_rewards(received)
        for ticket in codes.tolist():
            del self._waiting[ticket]
        self._take(rows, received, np.array([code for _, code in parts], dtype=np.intp))
        return self

    def forget_waiting(self, tickets: ArrayLike) -> Self:
        """Give up on rewards that will not come: the rows count as seen no more.

        Parameters
        ----------
        tickets : (n,) array-like of int
            As `show` returned them.

        Returns
        -------
        Policy
            The policy itself.
        """
        for ticket in np.asarray(tickets).tolist():
            self._waiting.pop(ticket, None)
        self._refresh_seen()
        return self

    @property
    def _waiting(self) -> dict[int, tuple[FloatArray, int]]:
        """Row and model of each ticket that is open."""
        found: dict[int, tuple[FloatArray, int]] = self.__dict__.setdefault("_waiting_rows", {})
        return found

    @property
    def _next_ticket(self) -> int:
        return int(self.__dict__.get("_tickets", 0))

    @_next_ticket.setter
    def _next_ticket(self, value: int) -> None:
        self.__dict__["_tickets"] = value

    @property
    def _seen(self) -> InformationStack:
        """The information of what was rewarded and of what is waited for."""
        found: InformationStack = self.__dict__.get("_seen_stack") or self.information_
        return found

    def _refresh_seen(self) -> None:
        if not self._waiting:
            self.__dict__.pop("_seen_stack", None)
            return
        rows = np.stack([row for row, _ in self._waiting.values()])
        model = np.array([code for _, code in self._waiting.values()], dtype=np.intp)
        stack = self.information_.copy()
        stack.update(rows * np.sqrt(self._row_information(rows, model))[:, None], model)
        self.__dict__["_seen_stack"] = stack

    def _waiting_state(self) -> Settings:
        return {"tickets": list(self._waiting), "next_ticket": self._next_ticket}

    def _waiting_arrays(self) -> dict[str, Array]:
        if not self._waiting:
            return {}
        rows, codes = zip(*self._waiting.values())
        return {"waiting_rows": np.stack(rows), "waiting_models": np.array(codes, dtype=np.int64)}

    def _restore_waiting(self, state: Settings, arrays: dict[str, Array], n_models: int, d: int) -> None:
        tickets = [count({"ticket": ticket}, "ticket") for ticket in state["tickets"]]
        self._next_ticket = count(state, "next_ticket", least=max(tickets, default=-1) + 1)
        if not tickets:
            return
        rows = shaped(arrays, "waiting_rows", (len(tickets), d))
        codes = shaped(arrays, "waiting_models", (len(tickets),)).astype(np.intp)
        if codes.min() < 0 or codes.max() >= n_models or len(set(tickets)) < len(tickets):
            raise ValueError("waiting_models must name models, and tickets differ")
        self._waiting.update(zip(tickets, zip(rows, codes.tolist())))
        self._refresh_seen()

    def _start(self, n_features: int) -> None:
        """Make room for rows of that width, or refuse them."""
        raise NotImplementedError

    def _arm_codes(self, arms: ArrayLike | None, n_rows: int) -> IndexArray:
        """The model of each row."""
        raise NotImplementedError

    def _check_rewards(self, rewards: FloatArray) -> None:
        """Refuse rewards that the policy cannot learn from, before anything is changed."""
        raise NotImplementedError

    def _take(self, rows: FloatArray, rewards: FloatArray, model: IndexArray) -> None:
        """Learn from checked rows, the oldest first."""
        raise NotImplementedError

    def _row_information(self, rows: FloatArray, model: IndexArray) -> FloatArray:
        """What each row would add to the information, as a factor of ``x x'``."""
        return np.ones(len(rows))
