"""Interleaving and A/B tests on simulated users, where the better ranker is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lambdamart_kit.core.gains import Gain, check_count
from lambdamart_kit.core.typing import Array, ArrayLike, FloatArray, IndexArray, RandomState
from lambdamart_kit.datasets.click_models import ClickModel, PositionBased, TrustBias, perception
from lambdamart_kit.datasets.dataset import RankingDataset
from lambdamart_kit.datasets.simulated_clicks import relative_gains
from lambdamart_kit.explore.interleaving.merged import Interleaving
from lambdamart_kit.explore.interleaving.registry import as_interleaving


def simulate_interleaving(
    data: RankingDataset,
    scores: Sequence[ArrayLike],
    *,
    method: str | Interleaving = "team-draft",
    model: ClickModel | None = None,
    n_impressions: int = 1000,
    n_positions: int = 10,
    noise: float | None = None,
    trust: TrustBias | None = None,
    gain: Gain = "exp2",
    random_state: RandomState = None,
) -> FloatArray:
    """Show merged lists of several rankers to simulated users, and credit their clicks.

    Parameters
    ----------
    data : RankingDataset
        Labelled documents; each impression is of a query drawn at random.
    scores : sequence of (n_samples,) array-like
        Of each ranker, aligned with the rows of `data`; equal scores keep the order of the rows.
    method : str or Interleaving
        A name in ``INTERLEAVINGS``, or a method with its settings.
    model : ClickModel, optional
        How users click; :class:`~lambdamart_kit.datasets.PositionBased` by default.
    n_impressions : int
        Lists shown.
    n_positions : int
        Length of a list.
    noise : float, optional
        Probability that an examined document without any relevance is clicked; 0.1 unless `trust` is given.
    trust : TrustBias, optional
        Perceived relevance by position, in place of `noise`.
    gain : "exp2", "linear", table or callable
        Gain of a label; relevance is the gain over the largest gain in `data`.
    random_state : int, Generator or None
        Seed of the draws; None draws differently every time.

    Returns
    -------
    (n_impressions, n_rankers) array
        Credit of each impression, in random order: a prefix is a shorter experiment.

    Raises
    ------
    ValueError
        If there are fewer than two rankers, or scores are not one finite number a row.

    Examples
    --------
    >>> from lambdamart_kit.datasets import make_letor
    >>> data = make_letor(n_queries=20, random_state=0)
    >>> noisy = data.y + np.random.default_rng(0).normal(scale=3.0, size=len(data.y))
    >>> credits = simulate_interleaving(data, [data.y, noisy], n_impressions=300, random_state=0)
    >>> bool(credits[:, 0].sum() > credits[:, 1].sum())
    True
    """
    users = _Users.check(data, scores, model, noise, trust, gain, n_positions, random_state)
    chosen = as_interleaving(method)
    credits = np.empty((check_count(n_impressions, name="n_impressions"), len(users.scores)))
    for rows, shown in users.impressions(n_impressions):
        merged = chosen.merge(users.rankings(rows), n_positions, size=len(shown), random_state=users.rng)
        credits[shown] = merged.credit(users.clicks(merged.items))
    return credits


def simulate_ab(
    data: RankingDataset,
    scores: Sequence[ArrayLike],
    *,
    model: ClickModel | None = None,
    n_impressions: int = 1000,
    n_positions: int = 10,
    noise: float | None = None,
    trust: TrustBias | None = None,
    gain: Gain = "exp2",
    random_state: RandomState = None,
) -> tuple[IndexArray, Array]:
    """Show the list of one ranker, drawn at random, to each of the simulated users: an A/B test.

    Parameters
    ----------
    data : RankingDataset
        Labelled documents; each impression is of a query drawn at random.
    scores : sequence of (n_samples,) array-like
        Of each ranker, aligned with the rows of `data`; equal scores keep the order of the rows.
    model : ClickModel, optional
        How users click; :class:`~lambdamart_kit.datasets.PositionBased` by default.
    n_impressions, n_positions : int
        Lists shown, and their length.
    noise : float, optional
        Probability that an examined document without any relevance is clicked; 0.1 unless `trust` is given.
    trust : TrustBias, optional
        Perceived relevance by position, in place of `noise`.
    gain : "exp2", "linear", table or callable
        Gain of a label; relevance is the gain over the largest gain in `data`.
    random_state : int, Generator or None
        Seed of the draws; None draws differently every time.

    Returns
    -------
    ranker : (n_impressions,) intp
        Whose list was shown.
    clicked : (n_impressions, n_positions) bool
        Which positions were clicked.

    Raises
    ------
    ValueError
        As in :func:`simulate_interleaving`.

    Examples
    --------
    >>> from lambdamart_kit.datasets import make_letor
    >>> data = make_letor(n_queries=20, random_state=0)
    >>> ranker, clicked = simulate_ab(data, [data.y, -data.y], n_impressions=500, random_state=0)
    >>> bool(clicked[ranker == 0].sum(axis=1).mean() > clicked[ranker == 1].sum(axis=1).mean())
    True
    """
    users = _Users.check(data, scores, model, noise, trust, gain, n_positions, random_state)
    ranker = users.rng.integers(0, len(users.scores), check_count(n_impressions, name="n_impressions"))
    clicked = np.zeros((n_impressions, n_positions), dtype=bool)
    for rows, shown in users.impressions(n_impressions):
        lists = np.stack([ranking[:n_positions] for ranking in users.rankings(rows)])
        clicked[shown, : lists.shape[1]] = users.clicks(lists[ranker[shown]])
    return ranker.astype(np.intp), clicked


class _Users(NamedTuple):
    """Checked arguments of a simulation."""

    data: RankingDataset
    scores: list[FloatArray]
    relevance: FloatArray
    model: ClickModel
    noise: float | None
    trust: TrustBias | None
    rng: np.random.Generator

    @classmethod
    def check(
        cls,
        data: RankingDataset,
        scores: Sequence[ArrayLike],
        model: ClickModel | None,
        noise: float | None,
        trust: TrustBias | None,
        gain: Gain,
        n_positions: int,
        random_state: RandomState,
    ) -> _Users:
        check_count(n_positions, name="n_positions")
        checked = [np.asarray(of_ranker, dtype=np.float64) for of_ranker in scores]
        bad = [s.shape for s in checked if s.shape != (len(data),) or not np.isfinite(s).all()]
        if len(checked) < 2 or bad:
            raise ValueError(
                f"'scores' must hold, for each of at least two rankers, one finite number a row of 'data', "
                f"shape ({len(data)},); got {len(checked)} rankers, and of wrong shape or not finite: {bad}"
            )
        perception(noise, trust)
        user = PositionBased() if model is None else model
        relevance = relative_gains(data, gain)
        return cls(data, checked, relevance, user, noise, trust, np.random.default_rng(random_state))

    def impressions(self, n_impressions: int) -> Iterator[tuple[IndexArray, IndexArray]]:
        """Rows of each query that is drawn, and the impressions that are of it."""
        queries = self.data.queries
        query = self.rng.integers(0, queries.n_queries, n_impressions)
        order = np.argsort(query, kind="stable")
        drawn, starts = np.unique(query[order], return_index=True)
        for q, shown in zip(drawn, np.split(order, starts[1:])):
            yield queries.order[queries.ptr[q] : queries.ptr[q + 1]], shown

    def rankings(self, rows: IndexArray) -> list[IndexArray]:
        """The rows in each ranker's order."""
        return [rows[np.argsort(-scores[rows], kind="stable")] for scores in self.scores]

    def clicks(self, lists: IndexArray) -> Array:
        """Clicks of one user on each list."""
        truth = self.relevance[lists]
        perceived = perception(self.noise, self.trust)(truth)
        return self.model.click(perceived, truth, self.rng).clicked
