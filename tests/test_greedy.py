import itertools

import numpy as np
import pytest

from lambdamart_kit.core import greedy

SUBMODULAR = ["facility", "coverage", "logdet", "redundancy"]
MONOTONE = ["facility", "coverage", "logdet"]


def instance(kind, rng, n=10, d=4):
    """Vectors for a utility; float32 values, so that the oracle in float64 sees the same numbers."""
    if kind == "coverage":
        return (rng.random((n, d)) * (rng.random((n, d)) < 0.6)).astype(np.float32)
    vectors = rng.normal(size=(n, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def value(kind, vectors, chosen):
    """U(A) by its definition."""
    X = vectors.astype(float)
    chosen = list(chosen)
    if not chosen:
        return 0.0
    S = X @ X.T
    pairs = list(itertools.combinations(chosen, 2))
    if kind == "facility":
        return (np.maximum(S[:, chosen], 0).max(axis=1) ** 2).sum()
    if kind == "coverage":
        return (1 - np.prod(1 - X[chosen], axis=0)).sum()
    if kind == "logdet":
        return np.linalg.slogdet(np.eye(len(chosen)) + S[np.ix_(chosen, chosen)])[1]
    if kind == "redundancy":
        return -sum(max(S[i, j], 0) for i, j in pairs)
    if kind == "mmr":
        return -sum(max(max(S[j, i], 0) for j in chosen[:place]) for place, i in enumerate(chosen) if place)
    return sum(np.linalg.norm(X[i] - X[j]) / 2 for i, j in pairs)


def plain_greedy(kind, vectors, modular, k):
    """The textbook loop."""
    chosen, gains = [], []
    for _ in range(k):
        now = value(kind, vectors, chosen)
        gain = {
            i: modular[i] + value(kind, vectors, [*chosen, i]) - now
            for i in range(len(vectors))
            if i not in chosen
        }
        best = max(gain, key=lambda i: (round(gain[i], 9), -i))
        chosen.append(best)
        gains.append(gain[best])
    return chosen, gains


@pytest.mark.parametrize("kind", greedy.KINDS)
def test_picks_and_gains_are_those_of_the_textbook_loop(kind, rng):
    for _ in range(10):
        vectors, modular = instance(kind, rng), rng.random(10)
        found = greedy.maximise(
            greedy.problem(greedy.KINDS[kind], vectors, modular=modular), greedy.limits(6)
        )
        chosen, gains = plain_greedy(kind, vectors, modular, 6)
        assert found.items.tolist() == chosen
        np.testing.assert_allclose(found.gains, gains, atol=1e-6)


@pytest.mark.parametrize("kind", greedy.KINDS)
@pytest.mark.parametrize("tied", [False, True])
def test_lazy_is_plain(kind, tied, rng):
    for _ in range(20):
        vectors = instance(kind, rng, n=60, d=5)
        if tied:  # every item four times, and no relevance to tell them apart
            vectors = np.tile(vectors[:15], (4, 1))
        modular = np.zeros(60) if tied else rng.random(60)
        task = greedy.problem(greedy.KINDS[kind], vectors, modular=modular, scale=0.7)
        lazy = greedy.maximise(task, greedy.limits(25))
        plain = greedy.maximise(task, greedy.limits(25, lazy=False))
        assert lazy.items.tolist() == plain.items.tolist()
        np.testing.assert_array_equal(lazy.gains, plain.gains)
        if kind != "max-sum":
            assert lazy.n_evaluations <= plain.n_evaluations


def test_lazy_saves_evaluations(rng):
    centres = rng.normal(size=(20, 8))
    vectors = centres[rng.integers(0, 20, 1000)] + 0.3 * rng.normal(size=(1000, 8))
    task = greedy.problem(greedy.FACILITY, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    lazy = greedy.maximise(task, greedy.limits(30))
    plain = greedy.maximise(task, greedy.limits(30, lazy=False))
    assert lazy.n_evaluations < plain.n_evaluations / 5


@pytest.mark.parametrize("kind", SUBMODULAR)
def test_gains_diminish(kind, rng):
    for _ in range(200):
        vectors = instance(kind, rng, n=8)
        members = rng.permutation(8)
        small, x = members[: rng.integers(0, 6)], members[7]
        large = members[: rng.integers(len(small), 7)]
        gain = [value(kind, vectors, [*of, x]) - value(kind, vectors, of) for of in (small, large)]
        assert gain[0] >= gain[1] - 1e-9
        union, shared = set(members[:5]) | set(members[2:]), set(members[:5]) & set(members[2:])
        split = value(kind, vectors, members[:5]) + value(kind, vectors, members[2:])
        assert value(kind, vectors, union) + value(kind, vectors, shared) <= split + 1e-9


def test_subadditive_is_weaker_than_submodular():
    g = [0, 1, 1, 2]  # g(|S|): monotone and subadditive, with gains 1, 0, 1
    assert all(g[min(a + b, 3)] <= g[a] + g[b] for a in range(4) for b in range(4))
    gains = np.diff(g)
    assert gains.tolist() == [1, 0, 1]
    assert gains[2] > gains[1]


def test_sum_of_distances_is_supermodular(rng):
    for _ in range(50):
        vectors = instance("max-sum", rng, n=6)
        gain = [
            value("max-sum", vectors, [*of, 5]) - value("max-sum", vectors, of) for of in ([0], [0, 1, 2])
        ]
        assert gain[0] <= gain[1] + 1e-9


@pytest.mark.parametrize("kind", MONOTONE)
@pytest.mark.parametrize("k", [1, 3, 5])
def test_guarantee_against_brute_force(kind, k, rng):
    for _ in range(5):
        n = 12
        vectors, modular = instance(kind, rng, n=n, d=5), 0.2 * rng.random(n)
        found = greedy.maximise(
            greedy.problem(greedy.KINDS[kind], vectors, modular=modular), greedy.limits(k)
        )
        best = max(
            modular[list(A)].sum() + value(kind, vectors, A) for A in itertools.combinations(range(n), k)
        )
        reached = modular[found.items].sum() + value(kind, vectors, found.items)
        assert reached == pytest.approx(found.gains.sum(), abs=1e-5)
        assert reached >= (1 - (1 - 1 / k) ** k) * best - 1e-9
        assert reached <= best + 1e-9


@pytest.mark.parametrize("k", [2, 4])
def test_max_sum_reaches_half_of_brute_force(k, rng):
    for _ in range(10):
        vectors, relevance = instance("max-sum", rng, n=10), rng.random(10)
        task = greedy.problem(greedy.MAX_SUM, vectors, modular=relevance / 2)
        found = greedy.maximise(task, greedy.limits(k)).items

        def total(A, relevance=relevance, vectors=vectors):
            return relevance[list(A)].sum() + value("max-sum", vectors, A)

        assert total(found) >= max(total(A) for A in itertools.combinations(range(10), k)) / 2


def test_a_list_that_grates_is_allowed_to_stop():
    """Relevance minus similarity falls when the tenth copy is added."""
    copies = np.ones((10, 1), dtype=np.float32)
    task = greedy.problem(greedy.REDUNDANCY, copies, modular=np.full(10, 0.9))
    assert len(greedy.maximise(task, greedy.limits(10, allow_stop=True)).items) == 1
    forced = greedy.maximise(task, greedy.limits(10))
    np.testing.assert_allclose(forced.gains, 0.9 - np.arange(10), atol=1e-6)


def test_upper_bounds_of_the_first_gains_change_nothing(rng):
    vectors = instance("facility", rng, n=80)
    task = greedy.problem(greedy.FACILITY, vectors)
    exact = greedy.first_gains(task)
    plain = greedy.maximise(task, greedy.limits(10))
    bounded = greedy.maximise(task, greedy.limits(10), bounds=exact * 1.3)
    assert bounded.items.tolist() == plain.items.tolist()
    np.testing.assert_array_equal(bounded.gains, plain.gains)


@pytest.mark.parametrize("kind", ["facility", "redundancy", "mmr", "max-sum"])
def test_similarity_and_vectors_agree(kind, rng):
    vectors = instance(kind, rng, n=40, d=6)
    exact = vectors.astype(float)
    from_vectors = greedy.maximise(greedy.problem(greedy.KINDS[kind], vectors), greedy.limits(15))
    from_matrix = greedy.maximise(
        greedy.problem(greedy.KINDS[kind], similarity=exact @ exact.T), greedy.limits(15)
    )
    assert from_vectors.items.tolist() == from_matrix.items.tolist()
    np.testing.assert_allclose(from_vectors.gains, from_matrix.gains, atol=1e-6)


def test_differences_of_vectors_are_items_of_their_own(rng):
    vectors = rng.normal(size=(30, 5)).astype(np.float32)
    first, second = rng.integers(0, 30, 200), rng.integers(0, 30, 200)
    weight = rng.uniform(0.01, 0.25, 200)
    pairs = greedy.problem(greedy.LOGDET, vectors, first=first, second=second, weight=weight)
    rows = greedy.problem(greedy.LOGDET, vectors[first] - vectors[second], weight=weight)
    found, expected = (greedy.maximise(task, greedy.limits(40)) for task in (pairs, rows))
    assert found.items.tolist() == expected.items.tolist()
    Z = (vectors[first] - vectors[second])[found.items].astype(float)
    log_det = np.linalg.slogdet(np.eye(5) + Z.T @ (weight[found.items, None] * Z))[1]
    assert found.gains.sum() == pytest.approx(log_det, rel=1e-5)


def test_limits_by_group_and_by_budget(rng):
    vectors, group = instance("facility", rng, n=60), np.repeat(np.arange(6), 10)
    cost = rng.uniform(1, 5, 60)
    task = greedy.problem(greedy.FACILITY, vectors)
    by_group = greedy.maximise(task, greedy.limits(20, group=group, max_per_group=2))
    assert np.bincount(group[by_group.items]).tolist() == [2] * 6
    for per_cost in (False, True):
        within = greedy.maximise(task, greedy.limits(60, cost=cost, budget=12.0, per_cost=per_cost))
        assert cost[within.items].sum() <= 12.0
        left = np.setdiff1d(np.arange(60), within.items)
        assert (cost[left] > 12.0 - cost[within.items].sum()).all()
    unlimited = greedy.maximise(task, greedy.limits(20, cost=cost, budget=1e9))
    assert unlimited.items.tolist() == greedy.maximise(task, greedy.limits(20)).items.tolist()


@pytest.mark.parametrize("kind", greedy.KINDS)
def test_k_beyond_n_takes_everything(kind, rng):
    found = greedy.maximise(greedy.problem(greedy.KINDS[kind], instance(kind, rng, n=5)), greedy.limits(9))
    assert sorted(found.items.tolist()) == [0, 1, 2, 3, 4]


def test_nothing_to_choose_from():
    assert (
        len(greedy.maximise(greedy.problem(greedy.FACILITY, np.empty((0, 3))), greedy.limits(3)).items) == 0
    )


def test_topics_count_as_much_as_they_weigh():
    """Items cover one topic each: .5 of a topic of weight 4 is worth more than all of one of weight 1."""
    topics = np.array([[1.0, 0.0], [0.0, 0.5]])
    task = greedy.problem(greedy.COVERAGE, topics, weight=np.array([1.0, 4.0]))
    chosen = greedy.maximise(task, greedy.limits(2))
    assert chosen.items.tolist() == [1, 0]
    assert chosen.gains.tolist() == [2.0, 1.0]
