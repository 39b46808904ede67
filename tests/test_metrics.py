"""Metrics against arithmetic, against every order of tied documents, and against other libraries."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import replace
from fractions import Fraction
from math import comb, log2

import numpy as np
import pytest
from conftest import ragged
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau
from sklearn.metrics import ndcg_score

from lambdamart_kit import metrics
from lambdamart_kit.core.queries import Queries
from lambdamart_kit.metrics import (
    DCG,
    ERR,
    MAP,
    METRICS,
    MRR,
    NDCG,
    KendallTau,
    Precision,
    Recall,
    parse_metric,
    parse_metrics,
)

EVERY = [
    metric(k=k) for metric in METRICS.values() for k in (None, 2, 3) if metric is not KendallTau or not k
]
EVERY += [
    KendallTau(variant="somers"),
    NDCG(gain="linear"),
    NDCG(k=3, gain=[0, 1, 4, 5, 9]),
    MAP(min_relevance=2),
]


# ---- metrics as in a textbook


def plain_dcg(y, k, gain):
    table = {"exp2": lambda label: 2**label - 1, "linear": lambda label: label}
    gain = table[gain] if isinstance(gain, str) else [*gain].__getitem__
    return sum(gain(int(label)) / log2(rank + 2) for rank, label in enumerate(y[:k]))


def plain_err(y, k, max_relevance):
    total, reading = 0.0, 1.0
    for rank, label in enumerate(y[:k]):
        stop = (2**label - 1) / 2**max_relevance
        total += reading * stop / (rank + 1)
        reading *= 1 - stop
    return total


def plain_average_precision(relevant, k):
    hits = [sum(relevant[: rank + 1]) / (rank + 1) for rank in range(len(relevant[:k])) if relevant[rank]]
    return sum(hits) / sum(relevant)


def plain_reciprocal_rank(relevant, k):
    return next((1 / (rank + 1) for rank, hit in enumerate(relevant[:k]) if hit), 0.0)


def plain_tau(y, variant):
    pairs = [(a > b) - (a < b) for a, b in itertools.combinations(y, 2)]
    different = sum(map(abs, pairs))
    return sum(pairs) / (different if variant == "somers" else (different * len(pairs)) ** 0.5)


def plain(metric, y):
    """The metric of labels in rank order, without ties; None for a blank query."""
    k = metric.k
    if isinstance(metric, KendallTau):
        return plain_tau(y, metric.variant) if len(set(y)) > 1 else None
    if isinstance(metric, DCG):  # NDCG too
        ideal = plain_dcg(sorted(y, reverse=True), k, metric.gain)
        return (
            None if ideal == 0 else plain_dcg(y, k, metric.gain) / (ideal if isinstance(metric, NDCG) else 1)
        )
    if isinstance(metric, ERR):
        return plain_err(y, k, metric.max_relevance) if max(y) > 0 else None
    relevant = [int(label >= metric.min_relevance) for label in y]
    if not any(relevant):
        return None
    if isinstance(metric, Precision):
        return sum(relevant[:k]) / (k or len(y))
    if isinstance(metric, Recall):
        return sum(relevant[:k]) / sum(relevant)
    return (plain_average_precision if isinstance(metric, MAP) else plain_reciprocal_rank)(relevant, k)


def over_orders(metric, y, scores, choose):
    """The metric over all orders of equal scores."""
    blocks = [[y[i] for i in range(len(y)) if scores[i] == s] for s in sorted(set(scores), reverse=True)]
    orders = itertools.product(*(itertools.permutations(block) for block in blocks))
    values = [plain(metric, list(itertools.chain(*order))) for order in orders]
    return None if values[0] is None else choose(values)


tied_query = st.integers(1, 6).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 4), min_size=n, max_size=n),
        st.lists(st.integers(0, 2), min_size=n, max_size=n),
    )
)


@pytest.mark.parametrize("metric", EVERY, ids=str)
@settings(max_examples=40, deadline=None)
@given(query=tied_query)
def test_ties_are_what_all_orders_say(metric, query):
    y, scores = query
    for ties, choose in [("average", np.mean), ("optimistic", max), ("pessimistic", min)]:
        if ties == "average" and metric == KendallTau():
            continue  # tau-b has its own denominator for ties: see test_kendall_tau_b_is_scipys
        expected = over_orders(metric, y, scores, choose)
        got = replace(metric, ties=ties).per_query(y, scores)[0]
        assert got == pytest.approx(np.nan if expected is None else expected, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("metric", EVERY, ids=str)
def test_input_order_breaks_ties_by_row(metric, rng):
    y = rng.integers(0, 5, 8)
    assert replace(metric, ties="input")(y, np.zeros(8)) == pytest.approx(plain(metric, y.tolist()))
    assert replace(metric, ties="input")(y, [1] * 4 + [2] * 4) == pytest.approx(
        plain(metric, [*y[4:].tolist(), *y[:4].tolist()])
    )


@pytest.mark.parametrize("ties", ["average", "optimistic", "pessimistic", "input"])
@pytest.mark.parametrize("metric", EVERY, ids=str)
def test_ragged_queries_against_the_textbook(metric, ties, rng):
    y, scores, qid = ragged(
        rng, n_queries=30, max_size=200
    )  # counting and radix sort, selection and full sort
    scores = scores + np.linspace(0, 1e-3, len(scores))  # untied
    expected = [plain(metric, y[qid == q][np.argsort(-scores[qid == q])].tolist()) for q in np.unique(qid)]
    expected = [np.nan if value is None else value for value in expected]
    np.testing.assert_allclose(replace(metric, ties=ties).per_query(y, scores, qid), expected, rtol=1e-12)


# ---- exact values


def test_values_by_hand():
    y, scores = [2, 0, 1, 0], [4.0, 3.0, 2.0, 1.0]
    assert metrics.dcg(y, scores) == pytest.approx(3 + 1 / 2)
    assert metrics.ndcg(y, scores) == pytest.approx(3.5 / (3 + 1 / log2(3)))
    assert metrics.ndcg(y, scores, k=2) == pytest.approx(3 / (3 + 1 / log2(3)))
    assert metrics.ndcg(y, scores, gain="linear") == pytest.approx((2 + 1 / 2) / (2 + 1 / log2(3)))
    assert metrics.mean_average_precision(y, scores) == pytest.approx((1 + 2 / 3) / 2)
    assert metrics.mean_average_precision(y, scores, k=2) == 1 / 2
    assert metrics.mean_reciprocal_rank(y, scores, min_relevance=2) == 1
    assert metrics.mean_reciprocal_rank([0, 0, 1], [3, 2, 1], k=2) == 0
    assert metrics.err(y, scores, max_relevance=2) == pytest.approx(3 / 4 + 1 / 4 * 1 / 4 / 3)
    assert metrics.precision(y, scores, k=3) == pytest.approx(2 / 3)
    assert metrics.precision(y, scores, k=8) == 2 / 8
    assert metrics.recall(y, scores, k=2) == 1 / 2
    assert metrics.kendall_tau([0, 1, 2], [1, 3, 2]) == pytest.approx((2 - 1) / 3)


def test_ties_by_hand():
    y, scores = [1, 0, 0, 0], [5.0, 5.0, 5.0, 1.0]
    assert metrics.ndcg(y, scores) == pytest.approx((1 + 1 / log2(3) + 1 / 2) / 3)
    assert metrics.ndcg(y, scores, k=1) == pytest.approx(1 / 3)
    assert metrics.ndcg(y, scores, ties="optimistic") == 1
    assert metrics.ndcg(y, scores, ties="pessimistic") == 1 / 2
    assert metrics.ndcg(y, scores, ties="input") == 1
    assert metrics.mean_reciprocal_rank(y, scores) == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert metrics.mean_reciprocal_rank(y, scores, k=2) == pytest.approx((1 + 1 / 2) / 3)
    assert metrics.precision(y, scores, k=2) == pytest.approx(2 / 3 * 1 / 2)
    # the document with label 1 stops the reader with probability 1/2, at rank 0 or at rank 1
    assert metrics.err([1, 0], [0, 0], max_relevance=1) == pytest.approx((1 / 2 + 1 / 4) / 2)


def test_mcsherry_and_najork_blocks_by_hand():
    # two of three tied documents are relevant: orders 110, 101, 011
    expected = np.mean([1, (1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2])
    assert metrics.mean_average_precision([1, 1, 0], [7, 7, 7]) == pytest.approx(expected)
    assert metrics.mean_reciprocal_rank([1, 1, 0], [7, 7, 7]) == pytest.approx((1 + 1 + 1 / 2) / 3)


# ---- blanks, weights, shape


@pytest.mark.parametrize("metric", EVERY, ids=str)
def test_blank_queries(metric):
    y, scores, qid = [0, 0, 3, 0], [1, 2, 2, 1], ["blank", "blank", "query", "query"]
    best = metric.per_query(y[2:], scores[2:])[0]
    for blank, value, mean in [("skip", np.nan, best), ("zero", 0, best / 2), ("one", 1, (1 + best) / 2)]:
        convention = replace(metric, blank=blank)
        np.testing.assert_array_equal(convention.per_query(y, scores, qid), [value, best])
        assert convention(y, scores, qid) == pytest.approx(mean)


@pytest.mark.parametrize("metric", EVERY, ids=str)
def test_only_blank_queries_is_nan_and_says_so(metric):
    with pytest.warns(UserWarning, match="undefined: no query with weight has a relevant document"):
        assert np.isnan(metric([0, 0], [1, 2]))
    assert replace(metric, blank="zero")([0, 0], [1, 2]) == 0


@pytest.mark.parametrize("metric", EVERY, ids=str)
def test_weight_is_the_querys_share_of_the_mean(metric, rng):
    y, scores, qid = ragged(rng)
    weight = rng.integers(1, 4, 20)
    values = metric.per_query(y, scores, qid)
    counted = ~np.isnan(values)
    expected = (weight * values)[counted].sum() / weight[counted].sum()
    assert metric(y, scores, qid, sample_weight=weight[qid]) == pytest.approx(expected)
    assert metric(y, scores, qid, sample_weight=7.0 * weight[qid]) == pytest.approx(expected)


def test_weighted_blank_queries_stay_in_range():
    y, qid = [1, 0, 0, 0], [1, 1, 2, 2]
    for blank in ("skip", "zero", "one"):
        value = metrics.ndcg(y, [2, 1, 2, 1], qid, sample_weight=[1, 1, 3, 3], blank=blank)
        assert value == {"skip": 1, "zero": 1 / 4, "one": 1}[blank]


def test_values_come_in_ascending_order_of_id():
    qid, y, scores = ["b", "c", "a", "b"], [1, 1, 1, 0], [1, 1, 1, 2]
    assert metrics.ndcg(y, scores, qid, per_query=True).tolist() == [1, 1 / log2(3), 1]
    assert Queries.from_qid(qid, 4).ids.tolist() == ["a", "b", "c"]


# ---- invariants


@pytest.mark.parametrize("metric", [m for m in EVERY if m.ties != "input"], ids=str)
def test_order_of_rows_does_not_matter_to_the_last_bit(metric, rng):
    y, scores, qid = ragged(rng, n_queries=40, max_size=60, tied=True)
    rows = rng.permutation(len(y))
    assert metric(y, scores, qid) == metric(y[rows], scores[rows], qid[rows])
    fractional = replace(metric, gain=lambda label: label**1.7 / 3) if isinstance(metric, DCG) else metric
    assert fractional(y, scores, qid) == fractional(y[rows], scores[rows], qid[rows])


@pytest.mark.parametrize("metric", EVERY, ids=str)
def test_threads_and_other_queries_do_not_matter(metric, rng):
    y, scores, qid = ragged(rng, n_queries=40, tied=True)
    values = metric.per_query(y, scores, qid)
    for n_jobs in (1, 2, 7):
        np.testing.assert_array_equal(metric.per_query(y, scores, qid, n_jobs=n_jobs), values)
    alone = [metric.per_query(y[qid == q], scores[qid == q])[0] for q in range(40)]
    np.testing.assert_array_equal(alone, values)


@pytest.mark.parametrize("metric", EVERY, ids=str)
def test_only_the_order_of_scores_matters(metric, rng):
    y, scores, qid = ragged(rng, tied=True)
    assert metric(y, scores, qid) == metric(y, 2.0 * scores + 4, qid)
    assert metric(y, scores, qid) == metric(y, np.arctan(scores.astype(float)), qid)


@pytest.mark.parametrize(
    "metric", [NDCG(), NDCG(k=10), MAP(), Recall(), KendallTau(variant="somers")], ids=str
)
def test_a_perfect_ranking_is_exactly_one(metric, rng):
    y, _, qid = ragged(rng, n_queries=50)
    labels = [y[qid == q] for q in np.unique(qid)]
    if isinstance(metric, KendallTau):
        counts = np.array([len(np.unique(label)) > 1 for label in labels])
    else:
        counts = np.array([label.max() >= 1 for label in labels])
    assert 0 < counts.sum() < len(counts)
    # With ties="average" equal labels keep equal scores, so a perfect ranking has no expectation below 1.
    np.testing.assert_array_equal(metric.per_query(y, y, qid), np.where(counts, 1.0, np.nan))


def test_infinite_scores_and_signed_zeros_rank():
    assert metrics.ndcg([1, 2, 0], [0.0, np.inf, -np.inf], k=1) == 1
    assert metrics.mean_reciprocal_rank([1, 0], [0.0, -0.0]) == 0.75
    assert metrics.mean_reciprocal_rank([1, 0, 0], [-np.inf, -np.inf, -np.inf], k=1) == pytest.approx(1 / 3)


def test_large_queries_and_large_labels(rng):
    y = rng.integers(0, 3, 30_000)
    scores = rng.normal(size=30_000).round(2)
    order = np.lexsort((y, -scores))
    for k in (10, 64, 65, 20_000, None):
        expected = plain_dcg(y[order].tolist(), k, "exp2")
        assert metrics.dcg(y, scores, k=k, ties="pessimistic") == pytest.approx(expected)
    assert metrics.ndcg([0, 40, 50], [1, 2, 3]) == 1
    assert metrics.ndcg([0, 100, 5000], [1, 3, 2], gain="linear") < 1
    assert metrics.ndcg([0, 100, 5000], [1, 3, 2], gain=np.log1p) < 1
    with pytest.raises(ValueError, match=r"label 5000 has gain inf.*gain='linear'"):
        metrics.ndcg([0, 100, 5000], [1, 3, 2])


def test_a_large_tied_block_is_exact():
    # one relevant document among n tied: its rank is uniform
    n = 50_000
    y = np.zeros(n)
    y[7] = 1
    harmonic = (1 / np.arange(1, n + 1)).sum()
    assert metrics.mean_reciprocal_rank(y, np.zeros(n)) == pytest.approx(harmonic / n, rel=1e-9)
    assert metrics.mean_average_precision(y, np.zeros(n)) == pytest.approx(harmonic / n, rel=1e-12)
    assert metrics.err(y, np.zeros(n), max_relevance=1) == pytest.approx(harmonic / n / 2, rel=1e-9)
    assert metrics.ndcg(y, np.zeros(n), k=10) == pytest.approx(sum(1 / log2(r + 2) for r in range(10)) / n)


@given(
    stops=st.lists(st.integers(0, 4), min_size=1, max_size=40), k=st.integers(1, 45), before=st.integers(0, 3)
)
@settings(max_examples=60, deadline=None)
def test_err_of_a_tied_block_in_exact_arithmetic(stops, k, before):
    """Expected survival by elementary symmetric means in exact arithmetic."""
    y = [3] * before + stops
    scores = list(range(100, 100 - before, -1)) + [0] * len(stops)
    stay = [1 - Fraction(2**label - 1, 16) for label in stops]
    elementary = [Fraction(1)] + [Fraction(0)] * len(stay)
    for q in stay:
        for j in range(len(stay), 0, -1):
            elementary[j] += elementary[j - 1] * q
    mean = [e / comb(len(stay), j) for j, e in enumerate(elementary)]
    reading, expected = Fraction(1), Fraction(0)
    for rank in range(min(before, k)):
        expected += reading * Fraction(7, 16) / (rank + 1)
        reading *= Fraction(9, 16)
    for j in range(min(len(stops), k - before)):
        expected += reading * (mean[j] - mean[j + 1]) / (before + j + 1)
    value = ERR(k=k, blank="zero")(y, scores)
    assert value == pytest.approx(float(expected), rel=1e-10, abs=1e-14)


# ---- other libraries


@pytest.mark.parametrize("k", [None, 3, 10])
def test_sklearn_ndcg_is_linear_gain_average_ties_blank_zero(k, rng):
    y, scores, qid = ragged(rng, tied=True)
    ours = metrics.ndcg(y, scores, qid, k=k, gain="linear", blank="zero", per_query=True)
    for q, value in enumerate(ours):
        if (qid == q).sum() > 1:  # sklearn refuses queries of one document
            assert value == pytest.approx(ndcg_score([y[qid == q]], [scores[qid == q]], k=k), rel=1e-12)
    assert metrics.ndcg([1], [0.5]) == 1


def test_kendall_tau_b_is_scipys(rng):
    y, scores, qid = ragged(rng, n_queries=50, tied=True)
    ours = metrics.kendall_tau(y, scores, qid, per_query=True)
    theirs = [
        kendalltau(y[qid == q], scores[qid == q]).statistic if (qid == q).sum() > 1 else np.nan
        for q in range(50)
    ]
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert metrics.kendall_tau([0, 1], [3, 3]) == 0  # scipy: NaN


def test_kendall_tau_merges_long_queries(rng):
    y, scores = rng.integers(0, 50, 3000), rng.normal(size=3000).round(2)
    assert metrics.kendall_tau(y, scores) == pytest.approx(kendalltau(y, scores).statistic, rel=1e-12)


def test_lightgbm_is_input_ties_and_blank_one(rng):
    lightgbm = pytest.importorskip("lightgbm")
    y, _, qid = ragged(rng)
    X = rng.normal(size=(len(y), 2)).round(1)
    sizes = np.bincount(qid)
    ranker = lightgbm.LGBMRanker(n_estimators=3, num_leaves=4, min_child_samples=1, verbose=-1, n_jobs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ranker.fit(X, y, group=sizes, eval_set=[(X, y)], eval_group=[sizes], eval_at=[3, 10])
    for k in (3, 10):
        ours = metrics.ndcg(y, ranker.predict(X), qid, k=k, ties="input", blank="one")
        assert ours == pytest.approx(ranker.evals_result_["training"][f"ndcg@{k}"][-1], rel=1e-9)


def untied(rng):
    y, scores, qid = ragged(rng)
    return y.astype(int), rng.permutation(len(scores)).astype(float), qid


def test_agrees_with_ir_measures(rng):
    ir_measures = pytest.importorskip("ir_measures")
    y, scores, qid = untied(rng)
    qrels = [ir_measures.Qrel(str(q), str(i), int(y[i])) for i, q in enumerate(qid)]
    run = [ir_measures.ScoredDoc(str(q), str(i), float(scores[i])) for i, q in enumerate(qid)]
    pairs = {
        "ndcg(gain=linear)@10": "nDCG@10",
        "map": "AP",
        "map@10": "AP@10",
        "mrr": "RR",
        "err@10": "ERR@10",
    }
    pairs |= {"precision@5": "P@5", "recall@5": "R@5", "map(min_relevance=2)": "AP(rel=2)"}
    for ours, theirs in pairs.items():
        values = replace(parse_metric(ours), blank="zero").per_query(y, scores, qid)
        for result in ir_measures.iter_calc([ir_measures.parse_measure(theirs)], qrels, run):
            # gdeval prints five digits; trec_eval leaves blank queries out
            assert values[int(result.query_id)] == pytest.approx(result.value, abs=6e-6), (ours, result)


def test_agrees_with_ranx(rng):
    ranx = pytest.importorskip("ranx")
    y, scores, qid = untied(rng)
    judged = np.unique(qid[y > 0])  # ranx has no place for a query without a relevant document
    rows = np.isin(qid, judged)
    y, scores, qid = y[rows], scores[rows], qid[rows]
    table = {str(q): np.flatnonzero(qid == q) for q in judged}
    qrels = ranx.Qrels({q: {str(i): int(y[i]) for i in rows if y[i] > 0} for q, rows in table.items()})
    run = ranx.Run({q: {str(i): float(scores[i]) for i in rows} for q, rows in table.items()})
    pairs = {"ndcg@10": "ndcg_burges@10", "ndcg(gain=linear)@10": "ndcg@10", "map@10": "map@10", "mrr": "mrr"}
    pairs |= {"precision@5": "precision@5", "recall@5": "recall@5", "dcg(gain=linear)": "dcg"}
    for ours, theirs in pairs.items():
        assert parse_metric(ours)(y, scores, qid) == pytest.approx(ranx.evaluate(qrels, run, theirs)), ours


# ---- binding, names


@pytest.mark.parametrize("metric", EVERY, ids=str)
def test_bound_metric_is_the_metric(metric, rng):
    y, scores, qid = ragged(rng)
    rows = rng.permutation(len(y))
    y, scores, qid = y[rows], scores[rows], qid[rows]
    weight = (1.0 + np.arange(20))[qid]
    queries = Queries.from_qid(qid, len(y))
    bound = metric.bind(y, queries, weight, n_threads=2)
    for _ in range(3):
        scores = rng.normal(size=len(y)).astype(np.float32)
        assert bound(queries.sort(scores)) == metric(y, scores, qid, sample_weight=weight)
        np.testing.assert_array_equal(bound.per_query(queries.sort(scores)), metric.per_query(y, scores, qid))
    np.testing.assert_array_equal(np.isnan(metric.per_query(y, scores, qid)), bound.blank)


@pytest.mark.parametrize("name", sorted(METRICS))
def test_function_metric_and_name_agree(name, rng):
    y, scores, qid = ragged(rng, tied=True)
    function = {"map": "mean_average_precision", "mrr": "mean_reciprocal_rank"}.get(name, name)
    options = {} if name == "kendall_tau" else {"k": 4}
    value = getattr(metrics, function)(y, scores, qid, ties="pessimistic", blank="one", **options)
    suffix = "@4" if options else ""
    assert value == parse_metric(f"{name}(ties=pessimistic, blank=one){suffix}")(y, scores, qid)
    weight = (1.0 + np.arange(20))[qid]
    value = getattr(metrics, function)(y, scores, qid, sample_weight=weight, **options)
    assert value == parse_metric(name + suffix)(y, scores, qid, sample_weight=weight)
    per_query = getattr(metrics, function)(y, scores, qid, per_query=True, **options)
    np.testing.assert_array_equal(per_query, parse_metric(name + suffix).per_query(y, scores, qid))


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("ndcg@10", "ndcg@10"),
        (" NDCG @ 10 ", "ndcg@10"),
        ("AP", "map"),
        ("RR@5", "mrr@5"),
        ("P@1", "precision@1"),
        ("r@100", "recall@100"),
        ("tau", "kendall_tau"),
        ("ERR(max_relevance=2)@20", "err(max_relevance=2)@20"),
        ("err(max_relevance=4)@20", "err@20"),
        ("ndcg(gain='linear', ties=input, blank=zero)", "ndcg(blank=zero,gain=linear,ties=input)"),
        ("ndcg(gain=[0, 1, 5])@3", "ndcg(gain=[0,1,5])@3"),
    ],
)
def test_names_parse_and_print(name, canonical):
    metric = parse_metric(name)
    assert str(metric) == canonical
    assert parse_metric(str(metric)) == metric
    assert hash(parse_metric(str(metric))) == hash(metric)
    assert parse_metric(metric) is metric
    assert metric.greater_is_better


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ndgc@10", "unknown metric 'ndgc@10'; known are ndcg, dcg, map"),
        ("ndcg@0", "metric 'ndcg@0': 'k' must be a whole number >= 1"),
        ("ndcg@ten", "'k' must be a whole number >= 1; got 'ten'"),
        ("ndcg@-3", "'k' must be a whole number >= 1; got '-3'"),
        ("ndcg@10@5", "must be a name such as 'ndcg@10'"),
        ("", "must be a name such as"),
        (None, "must be a name such as"),
        ("tau@10", "no cut-off"),
        ("ndcg(tie=input)", "unknown option 'tie'; known are blank, gain, ties"),
        ("ndcg(ties=inputs)", "'ties' must be one of"),
        ("ndcg(10)", "options must be written as option=value"),
        ("ndcg(gain=exp(2))", "options must be written as option=value"),
        ("ndcg(gain=cubic)", "'gain' must be one of"),
        ("map(min_relevance=0)", "'min_relevance' must be > 0"),
        ("err(max_relevance=0)", "'max_relevance' must be finite and > 0"),
        ("tau(variant=c)", "'variant' must be one of 'b', 'somers'"),
    ],
)
def test_bad_names_say_what_is_known(name, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        parse_metric(name)


def test_all_bad_names_are_reported_together():
    with pytest.raises(ValueError, match=r"unknown metric 'foo'.*'k' must be.*unknown metric 'bar@3'"):
        parse_metrics(["ndcg", "foo", "ndcg@0", "bar@3"])
    assert [str(m) for m in parse_metrics("ndcg@10,map, ndcg(gain=[0,1],ties=input)@5")] == [
        "ndcg@10",
        "map",
        "ndcg(gain=[0,1],ties=input)@5",
    ]
    assert parse_metrics(MRR(k=5)) == [MRR(k=5)]


# ---- bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], [1.0, np.nan]), "'scores' must not be NaN; row 1 is"),
        (([1, 0, 1], [1.0, np.nan, np.nan], ["b", "b", "a"]), r"row 1 is \(2 such rows\)"),
        (([0, 1], [1.0]), r"'scores' must hold one score per row: expected shape \(2,\), got \(1,\)"),
        (([0, 1], [[1.0], [2.0]]), r"got \(2, 1\)"),
        (([0, 1], ["a", "b"]), "'scores' must hold numbers"),
        (([0, np.nan], [1, 2]), "'y' must hold finite .*labels.*; row 1"),
        (([[0, 1]], [1, 2]), "'y' must be one-dimensional"),
        (([0, 1], [1, 2], [1]), "'qid' must hold one query id per row"),
        (([0, 1], [1, 2], [1, None]), "'qid' must not be missing: row 1"),
        (([], []), "needs at least one row"),
    ],
)
@pytest.mark.parametrize("metric", [NDCG(k=10), KendallTau()], ids=str)
def test_bad_input_is_named(metric, arguments, message):
    with pytest.raises(ValueError, match=message):
        metric(*arguments)


def test_labels_below_0_are_for_metrics_that_compare_labels():
    with pytest.raises(ValueError, match="'y' must hold finite relevance labels >= 0; row 1 has -1"):
        NDCG(k=10)([0, -1], [1, 2])
    assert KendallTau()([0, -1], [1, 2]) == KendallTau()([1, 0], [1, 2])


def test_bad_options_are_named():
    with pytest.raises(ValueError, match="'k' must be a whole number >= 1; got 0"):
        metrics.ndcg([1], [1], k=0)
    with pytest.raises(ValueError, match="'k' must be a whole number"):
        metrics.ndcg([1], [1], k=2.5)
    with pytest.raises(ValueError, match="'ties' must be one of 'average'"):
        metrics.ndcg([1], [1], ties="random")
    with pytest.raises(ValueError, match="'blank' must be one of 'skip'"):
        metrics.ndcg([1], [1], blank="ignore")
    with pytest.raises(
        ValueError, match="'max_relevance' must be >= 5, a label that occurs; got 4; use max_rel"
    ):
        metrics.err([5], [1])
    with pytest.raises(TypeError, match="tie"):
        metrics.ndcg([1], [1], tie="input")


def test_bound_metric_names_the_row_of_a_nan():
    qid = ["b", "a", "b"]
    queries = Queries.from_qid(qid, 3)
    bound = NDCG().bind([1, 0, 1], queries)
    with pytest.raises(ValueError, match="row 2 is"):
        bound(queries.sort(np.array([1.0, 2.0, np.nan])))
    with pytest.raises(ValueError, match="'y' has 2 rows but 'qid' has 3"):
        NDCG().bind([1, 0], queries)
