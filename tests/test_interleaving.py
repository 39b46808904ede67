"""Interleaving: merged lists and credits against readings of the papers, and who wins in simulation."""

import itertools
from collections import Counter
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from scipy.stats import binom

from lambdamart_kit.datasets import Cascade, DynamicBayesian, PositionBased, make_letor
from lambdamart_kit.explore.interleaving import (
    INTERLEAVINGS,
    Balanced,
    MergedLists,
    Optimised,
    Probabilistic,
    TeamDraft,
    ab_impressions_needed,
    compare_all,
    impressions_needed,
    mean_test,
    sign_test,
    simulate_ab,
    simulate_interleaving,
)

A, B, C = list("abcd"), list("bdca"), list("dcef")
METHODS = [factory() for factory in INTERLEAVINGS.values()]


def name(method):
    return type(method).__name__


def clicks_by_position(rng, size, k):
    """Users who click whatever is there, more often on top."""
    return rng.random((size, k)) < 0.6 / np.arange(1, k + 1)


# ------------------------------------------------------------------------------------------------ merging


def team_draft_by_hand(a, b, k):
    """All lists and teams with their probabilities, by following every coin of the paper."""

    def grow(prefix, teams, chance):
        if len(prefix) == k:
            yield (tuple(prefix), tuple(teams)), chance
            return
        counts = teams.count(0), teams.count(1)
        if counts[0] == counts[1]:
            turns = ((0, Fraction(1, 2)), (1, Fraction(1, 2)))
        else:
            turns = ((int(counts[1] < counts[0]), Fraction(1)),)
        for ranker, coin in turns:
            item = next(i for i in (a, b)[ranker] if i not in prefix)
            yield from grow([*prefix, item], [*teams, ranker], chance * coin)

    found = Counter()
    for outcome, chance in grow([], [], Fraction(1)):
        found[outcome] += chance
    return found


def test_team_draft_has_the_distribution_of_the_paper():
    expected = team_draft_by_hand(A, B, 3)
    size = 20_000
    merged = TeamDraft().merge([A, B], k=3, size=size, random_state=0)
    seen = Counter(
        (tuple(items), tuple(teams))
        for items, teams in zip(merged.items.tolist(), merged.weights.argmax(axis=2).tolist())
    )
    assert set(seen) == set(expected)
    for outcome, chance in expected.items():
        p = float(chance)
        assert seen[outcome] / size == pytest.approx(p, abs=5 * np.sqrt(p * (1 - p) / size))


def balanced_by_hand(a, b, a_first, k):
    """Chapelle et al. (2012), algorithm 1, as printed."""
    merged, ka, kb = [], 0, 0
    while len(merged) < k:
        if ka < kb or (ka == kb and a_first):
            if a[ka] not in merged:
                merged.append(a[ka])
            ka += 1
        else:
            if b[kb] not in merged:
                merged.append(b[kb])
            kb += 1
    return merged


@pytest.mark.parametrize("seed", range(5))
def test_balanced_lists_and_credits_are_those_of_the_paper(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.permutation(8).tolist(), rng.permutation(8).tolist()
    merged = Balanced().merge([a, b], k=5, size=60, random_state=seed)
    expected = {tuple(balanced_by_hand(a, b, first, 5)) for first in (True, False)}
    assert set(map(tuple, merged.items.tolist())) == expected
    clicked = rng.random((60, 5)) < 0.4
    for items, clicks, credit in zip(merged.items.tolist(), clicked, merged.credit(clicked)):
        taken = [item for item, yes in zip(items, clicks) if yes]
        if not taken:
            assert credit.tolist() == [0, 0]
            continue
        depth = min(ranking.index(taken[-1]) for ranking in (a, b)) + 1
        assert credit.tolist() == [len(set(taken) & set(ranking[:depth])) for ranking in (a, b)]


def test_balanced_prefers_one_of_two_equal_rankers():
    """The example of Chapelle et al., section 3.1: one random click, and B wins two times of three."""
    merged = Balanced().merge([list("abc"), list("bca")], k=3, size=6000, random_state=0)
    rng = np.random.default_rng(7)
    clicked = np.eye(3, dtype=bool)[rng.integers(0, 3, 6000)]
    found = sign_test(merged.credit(clicked))
    assert found.high < 0.45
    fair = TeamDraft().merge([list("abc"), list("bca")], k=3, size=6000, random_state=0)
    assert sign_test(fair.credit(clicked)).low < 0.5 < sign_test(fair.credit(clicked)).high


def test_probabilistic_weights_and_frequencies_by_enumeration():
    rankings, tau, k, size = [A, B], 2.0, 2, 20_000
    merged = Probabilistic(tau=tau).merge(rankings, k=k, size=size, random_state=0)
    seen = Counter(map(tuple, merged.items.tolist()))
    total = 0.0
    for slate in itertools.permutations("abcd", k):
        chance, weights = 1.0, []
        for position, item in enumerate(slate):
            left = [d for d in "abcd" if d not in slate[:position]]
            drawn = [
                (1 + r.index(item)) ** -tau / sum((1 + r.index(d)) ** -tau for d in left) for r in rankings
            ]
            chance *= sum(drawn) / 2
            weights.append([p / sum(drawn) for p in drawn])
        total += chance
        assert seen[slate] / size == pytest.approx(chance, abs=5 * np.sqrt(chance / size))
        rows = (merged.items == slate).all(axis=1)
        np.testing.assert_allclose(merged.weights[rows], np.broadcast_to(weights, (rows.sum(), k, 2)))
    assert total == pytest.approx(1.0)


@pytest.mark.parametrize("credit", ["inverse", "linear"])
@pytest.mark.parametrize("seed", range(3))
def test_optimised_lists_are_fair_at_every_depth_and_cannot_be_improved(credit, seed):
    rng = np.random.default_rng(seed)
    rankings = [rng.permutation(6).tolist(), rng.permutation(6).tolist()]
    lists, chance, bias = Optimised(credit=credit).distribution(rankings, k=4)
    assert chance.sum() == pytest.approx(1.0)
    assert bias < 1e-8

    def worth(ranking, item):
        place = 1 + ranking.index(item)
        return 1 / place if credit == "inverse" else -place

    difference = np.array([[worth(rankings[0], i) - worth(rankings[1], i) for i in row] for row in lists])
    np.testing.assert_allclose(chance @ np.cumsum(difference, axis=1), 0.0, atol=1e-8)
    # Every item of a list is the best remaining one of some ranker.
    for row in lists.tolist():
        for position, item in enumerate(row):
            heads = {next(i for i in ranking if i not in row[:position]) for ranking in rankings}
            assert item in heads


def test_optimised_says_so_where_no_distribution_is_fair():
    """Among three lists of one item no two give three rankers the same credit."""
    lists, chance, bias = Optimised().distribution([["a", "b"], ["b", "a"], ["b", "a"]], k=1)
    assert lists.tolist() == [["a"], ["b"]]
    assert bias == pytest.approx(0.0, abs=1e-8)  # half and half: each ranker has 3 / 4
    assert chance.round(6).tolist() == [0.5, 0.5]
    _, _, bias = Optimised().distribution([["a"], ["b"], ["a", "c"], ["a", "b", "c"]], k=1)
    assert bias > 0.01


@pytest.mark.parametrize("method", METHODS, ids=name)
def test_merged_lists_hold_different_items_and_all_when_k_is_large(method):
    merged = method.merge([A, B], k=9, size=30, random_state=0)
    assert merged.items.shape == (30, 4)
    assert all(sorted(row) == sorted("abcd") for row in merged.items.tolist())
    again = method.merge([A, B], k=9, size=30, random_state=0)
    assert (again.items == merged.items).all()


@pytest.mark.parametrize("method", [TeamDraft(), Probabilistic(), Optimised()], ids=name)
def test_rankers_of_different_items_and_lengths(method):
    """Who has no item left passes."""
    merged = method.merge([["x"], A, C], k=8, size=40, random_state=0)
    assert all(sorted(row) == sorted("xabcdef") for row in merged.items.tolist())
    assert np.isfinite(merged.weights).all()


@pytest.mark.parametrize("method", [TeamDraft(), Probabilistic(), Optimised()], ids=name)
@pytest.mark.parametrize("rankings", [[A, B], [A, B, C]], ids=["two", "three"])
def test_users_who_click_by_position_prefer_nobody(method, rankings, rng):
    size = 20_000
    merged = method.merge(rankings, k=4, size=size, random_state=1)
    credit = merged.credit(clicks_by_position(rng, size, 4))
    for one, other in itertools.combinations(range(len(rankings)), 2):
        apart = credit[:, one] - credit[:, other]
        slack = 0.0 if not isinstance(method, Optimised) else method.distribution(rankings, 4)[2]
        assert abs(apart.mean()) < 4.5 * apart.std() / np.sqrt(size) + slack


@pytest.mark.parametrize("method", METHODS, ids=name)
def test_the_same_ranker_twice_never_wins(method, rng):
    merged = method.merge([A, A], k=3, size=4000, random_state=0)
    found = sign_test(merged.credit(clicks_by_position(rng, 4000, 3)))
    assert (merged.items == A[:3]).all() or isinstance(method, Probabilistic)
    assert found.low <= 0.5 <= found.high


# -------------------------------------------------------------------------------------------------- tests


def test_sign_test_is_the_sum_of_the_binomial_tail():
    found = sign_test([[1, 0]] * 14 + [[0, 2]] * 6 + [[1, 1]] * 3)
    tail = 2 * sum(comb(20, i) for i in range(14, 21)) / 2**20
    assert (found.wins, found.losses, found.ties) == (14, 6, 3)
    assert found.p_value == pytest.approx(tail)
    # Clopper-Pearson: the bounds at which the tails are 2.5 %.
    assert binom.sf(13, 20, found.low) == pytest.approx(0.025, rel=1e-6)
    assert binom.cdf(14, 20, found.high) == pytest.approx(0.025, rel=1e-6)
    assert found.anytime_p_value == pytest.approx(21 * comb(20, 14) / 2**20)
    assert sign_test([[1, 1]]).p_value == 1.0


def test_peeking_fools_the_p_value_and_not_the_anytime_one(rng):
    """A fair coin, looked at after every toss from the tenth on."""
    fixed = anytime = 0
    for _ in range(50):
        heads = np.cumsum(rng.random(150) < 0.5)
        looks = [sign_test([[1, 0]] * h + [[0, 1]] * (n - h)) for n, h in enumerate(heads, 1) if n % 15 == 0]
        fixed += any(look.p_value < 0.05 for look in looks)
        anytime += any(look.anytime_p_value < 0.05 for look in looks)
    assert fixed > 0.1 * 50
    assert anytime <= 0.08 * 50


def test_mean_test_is_the_z_test():
    credits = np.array([[1.0, 0.2], [0.4, 0.4], [0.0, 0.3], [0.9, 0.1]])
    difference = credits[:, 0] - credits[:, 1]
    found = mean_test(credits)
    assert found.mean == pytest.approx(0.325)
    assert found.standard_error == pytest.approx(difference.std(ddof=1) / 2)
    assert mean_test([[1.0, 1.0]] * 3).p_value == 1.0


@pytest.mark.parametrize(("share", "decided"), [(0.6, 1.0), (0.55, 0.5), (0.3, 0.8)])
def test_the_sample_size_has_the_power(share, decided):
    n = impressions_needed(share, decided=decided)
    size = round(n * decided)
    critical = binom.isf(0.025, size, 0.5)
    power = binom.sf(critical, size, max(share, 1 - share))
    assert power == pytest.approx(0.8, abs=0.04)


def test_the_ab_sample_size_is_that_of_the_two_sample_test():
    power = pytest.importorskip("statsmodels.stats.power")
    expected = power.NormalIndPower().solve_power(effect_size=0.1, alpha=0.05, power=0.8)
    assert ab_impressions_needed((0.0, 0.2), (2.0, 2.0)) == pytest.approx(2 * expected, abs=2)


def test_compare_all_corrects_for_the_number_of_comparisons():
    credits = np.array([[1, 0, 0]] * 12 + [[0, 1, 0]] * 3 + [[0, 0, 1]] * 1)
    found = compare_all(credits, ["a", "b", "c"])
    p = found["p_value"].to_numpy()
    order = np.argsort(p)
    expected = np.maximum.accumulate(p[order] * [3, 2, 1])
    np.testing.assert_allclose(found["p_holm"].to_numpy()[order], np.minimum(expected, 1))


# -------------------------------------------------------------------------------------------- simulation


@pytest.fixture(scope="module")
def rankers():
    """Two rankers on known labels; the first is better."""
    data = make_letor(n_queries=30, random_state=0)
    rng = np.random.default_rng(0)
    return data, [data.y + rng.normal(scale=sd, size=len(data.y)) for sd in (0.5, 2.5)]


@pytest.mark.parametrize("model", [PositionBased(), Cascade(), DynamicBayesian()], ids=name)
@pytest.mark.parametrize("method", INTERLEAVINGS)
def test_the_better_ranker_wins(method, model, rankers):
    data, scores = rankers
    credits = simulate_interleaving(data, scores, method=method, model=model, n_positions=5, random_state=0)
    found = sign_test(credits)
    assert found.low > 0.5
    assert found.p_value < 0.001


def test_multileaving_orders_three_rankers(rankers):
    data, scores = rankers
    middle = data.y + np.random.default_rng(1).normal(scale=1.2, size=len(data.y))
    credits = simulate_interleaving(data, [scores[1], middle, scores[0]], n_impressions=4000, random_state=0)
    assert credits.mean(axis=0).argsort().tolist() == [0, 1, 2]


def test_the_ab_test_shows_each_ranker_its_own_list(rankers):
    data, scores = rankers
    ranker, clicked = simulate_ab(data, scores, n_impressions=4000, random_state=0)
    assert 0.45 < ranker.mean() < 0.55
    rate = [clicked[ranker == r].sum(axis=1).mean() for r in (0, 1)]
    assert rate[0] > rate[1]
    # With one ranker twice nothing differs.
    ranker, clicked = simulate_ab(data, [scores[0]] * 2, n_impressions=4000, random_state=0)
    by_ranker = [clicked[ranker == r].sum(axis=1) for r in (0, 1)]
    error = np.hypot(*(x.std() / np.sqrt(len(x)) for x in by_ranker))
    assert abs(by_ranker[0].mean() - by_ranker[1].mean()) < 4 * error


# ------------------------------------------------------------------------------------------------ errors


def test_errors_name_what_is_wrong(rankers):
    data, scores = rankers
    with pytest.raises(ValueError, match="'rankings' must hold the lists of at least two rankers; got 1"):
        TeamDraft().merge([A], k=2)
    with pytest.raises(ValueError, match="'rankings' must not repeat an item; that of ranker 1 does"):
        TeamDraft().merge([A, ["a", "a"]], k=2)
    with pytest.raises(ValueError, match="'rankings' must be two for balanced interleaving; got 3"):
        Balanced().merge([A, B, C], k=2)
    with pytest.raises(ValueError, match="'tau' must be finite and > 0"):
        Probabilistic(tau=0.0).merge([A, B], k=2)
    with pytest.raises(ValueError, match="'credit' must be one of"):
        Optimised(credit="rank").merge([A, B], k=2)
    with pytest.raises(ValueError, match="'clicked' must say True or False for each position"):
        MergedLists(np.array([[1, 2]]), np.ones((1, 2, 2))).credit([[True]])
    with pytest.raises(ValueError, match="'credits' must be"):
        sign_test([[1, 2, 3]])
    with pytest.raises(ValueError, match="'share' must not be 1/2"):
        impressions_needed(0.5)
    with pytest.raises(ValueError, match="'scores' must hold"):
        simulate_interleaving(data, [scores[0]])
    with pytest.raises(ValueError, match="'method' must be one of"):
        simulate_interleaving(data, scores, method="coin")
