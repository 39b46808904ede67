"""Arrays of every make through every public call: the same answer, or an error that says what is wrong.

An array in another layout or byte order that holds the same numbers gives the same result, to the bit. One
that holds anything else gives an answer or a ValueError or TypeError. Nothing raises what Python or NumPy
raise by themselves for a bug: IndexError, KeyError, AttributeError, OverflowError, MemoryError.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.tree import DecisionTreeRegressor

from lambdamart_kit import (
    BradleyTerry,
    CatBoostRanker,
    EnsembleRanker,
    LambdaMART,
    LinearRanker,
    NeuralRanker,
    PlackettLuce,
    PointwiseRanker,
    PreferencePairs,
    RewardModel,
    diversify,
    explore,
    metrics,
)
from lambdamart_kit.clicks import KnownPropensities
from lambdamart_kit.datasets import RankingDataset, write_letor
from lambdamart_kit.explain import explain
from lambdamart_kit.objectives import OBJECTIVES
from lambdamart_kit.preferences import krippendorff_alpha
from lambdamart_kit.preferences.judges.crowd import CrowdBradleyTerry

RNG = np.random.default_rng(0)
N_ROWS, N_FEATURES = 40, 3
X = RNG.normal(size=(N_ROWS, N_FEATURES)).round(2)
Y = RNG.integers(0, 3, N_ROWS).astype(np.float64)
QID = np.repeat(np.arange(8), 5)
SCORES = RNG.normal(size=N_ROWS)
WEIGHT = np.repeat(RNG.integers(1, 4, 8), 5).astype(np.float64)
POSITION = np.tile(np.arange(1, 6), 8)
CLICKS = (RNG.random(N_ROWS) < 0.5).astype(np.float64)
FIRST = np.arange(N_ROWS) % 5
PAIRS = np.stack([FIRST, (FIRST + 1 + np.arange(N_ROWS) % 4) % 5], axis=1)
OUTCOMES = RNG.integers(0, 2, N_ROWS).astype(np.float64)
RANKINGS = np.array([RNG.permutation(4) for _ in range(N_ROWS)])
TOPICS = (RNG.random((N_ROWS, 4)) < 0.4).astype(np.float64)
CHOSEN = np.arange(0, N_ROWS, 2)
REJECTED = np.arange(1, N_ROWS, 2)
LISTS = RNG.normal(size=(4, 5, 2))
COUNTS = RNG.integers(1, 5, N_ROWS)

SMALL = {"n_estimators": 2, "num_leaves": 4, "n_jobs": 1, "min_child_samples": 1, "random_state": 0}
FITTED = LambdaMART(**{k: v for k, v in SMALL.items() if k != "min_child_samples"}).fit(X, Y, qid=QID)
LINEAR = LinearRanker(max_iter=3).fit(X, Y, qid=QID)


@dataclass(frozen=True)
class Call:
    """A public call, its array arguments, and what of its result is compared."""

    function: Callable[..., Any]
    arrays: dict[str, np.ndarray]


def ranked(ranker):
    def fit(X, y, qid, sample_weight):
        return ranker().fit(X, y, qid=qid, sample_weight=sample_weight).predict(np.asarray(RANK_ON))

    return fit


RANK_ON = RNG.normal(size=(9, N_FEATURES))
ROWS = {"X": X, "y": Y, "qid": QID, "sample_weight": WEIGHT}
JUDGED = {"y": Y, "scores": SCORES, "qid": QID, "sample_weight": WEIGHT}


def trees(**settings):
    kept = {k: v for k, v in SMALL.items() if k != "min_child_samples"}
    return ranked(lambda: LambdaMART(**kept, **settings))


def clicked(X, y, qid, position):
    bias = KnownPropensities(1 / np.arange(1, 6))
    kept = {k: v for k, v in SMALL.items() if k != "min_child_samples"}
    return LambdaMART(**kept, position_bias=bias).fit(X, y, qid=qid, position=position).predict(RANK_ON)


def coded(X, y, qid):
    kept = {k: v for k, v in SMALL.items() if k != "min_child_samples"}
    return LambdaMART(**kept, categorical_features=[0]).fit(X, y, qid=qid).predict(np.abs(RANK_ON).round())


def rewarded(X, chosen, rejected, target, weight, margin):
    pairs = PreferencePairs.from_indices(X, chosen, rejected, target=target, weight=weight, margin=margin)
    return RewardModel(scorer="linear", random_state=0).fit_pairs(pairs).predict(RANK_ON)


def two_sides(X_chosen, X_rejected):
    pairs = PreferencePairs.from_arrays(X_chosen, X_rejected)
    return (
        RewardModel(scorer="trees", n_estimators=2, n_jobs=1, random_state=0)
        .fit_pairs(pairs)
        .predict(RANK_ON)
    )


def strengths(pairs, outcomes, sample_weight, counts, groups):
    fit = BradleyTerry(prior=1.0).fit(pairs, outcomes, sample_weight, counts=counts, groups=groups)
    return fit.strengths_


def with_covariates(pairs, outcomes, covariates):
    return BradleyTerry(prior=1.0).fit(pairs, outcomes, covariates=covariates).strengths_


def bandit(contexts, rewards, candidates):
    policy = explore.LinUCB(random_state=0).partial_fit(contexts, rewards)
    return policy.select(candidates, k=2)


def annotated(features, candidates, cost):
    return explore.select_pairs(None, features, candidates, k=3, cost=cost, budget=100.0)


CALLS = {
    "LambdaMART": Call(trees(), ROWS),
    "LambdaMART(symmetric)": Call(trees(booster_params={"grow_policy": "symmetric"}), ROWS),
    "LambdaMART(lightgbm)": Call(trees(booster="lightgbm"), ROWS),
    "LambdaMART(xgboost)": Call(trees(booster="xgboost"), ROWS),
    "LambdaMART(position)": Call(clicked, {"X": X, "y": CLICKS, "qid": QID, "position": POSITION}),
    "LambdaMART(categories)": Call(coded, {"X": np.abs(X).round(), "y": Y, "qid": QID}),
    "LinearRanker": Call(ranked(lambda: LinearRanker(max_iter=3)), ROWS),
    "NeuralRanker": Call(
        ranked(lambda: NeuralRanker(max_iter=1, hidden_layer_sizes=(3,), random_state=0)), ROWS
    ),
    "PointwiseRanker": Call(
        ranked(lambda: PointwiseRanker(DecisionTreeRegressor(max_depth=2, random_state=0))), ROWS
    ),
    "predict": Call(lambda X: FITTED.predict(X), {"X": X}),
    "leaf_indices": Call(lambda X: FITTED.leaf_indices(X), {"X": X}),
    "linear predict": Call(lambda X: LINEAR.predict(X), {"X": X}),
    "score": Call(lambda X, y, qid: FITTED.score(X, y, qid=qid), {"X": X, "y": Y, "qid": QID}),
    **{
        name: Call(getattr(metrics, name), JUDGED)
        for name in ("ndcg", "dcg", "mean_average_precision", "mean_reciprocal_rank", "err", "kendall_tau")
    },
    "sign_flip_test": Call(metrics.sign_flip_test, {"differences": SCORES}),
    "holm": Call(metrics.holm, {"pvalues": RNG.random(8)}),
    "BradleyTerry": Call(
        strengths,
        {"pairs": PAIRS, "outcomes": OUTCOMES, "sample_weight": WEIGHT, "counts": COUNTS, "groups": QID},
    ),
    "BradleyTerry(covariates)": Call(
        with_covariates, {"pairs": PAIRS, "outcomes": OUTCOMES, "covariates": X[:, :1]}
    ),
    "PlackettLuce": Call(
        lambda rankings, sample_weight: (
            PlackettLuce(n_pseudo=1.0).fit(rankings, sample_weight=sample_weight).strengths_
        ),
        {"rankings": RANKINGS, "sample_weight": WEIGHT},
    ),
    "CrowdBradleyTerry": Call(
        lambda pairs, outcomes, judges: CrowdBradleyTerry(tol=1e-2).fit(pairs, outcomes, judges).strengths_,
        {"pairs": PAIRS, "outcomes": OUTCOMES, "judges": QID},
    ),
    "krippendorff_alpha": Call(lambda values: krippendorff_alpha(values), {"values": RANKINGS.T}),
    "RewardModel": Call(
        rewarded,
        {
            "X": X,
            "chosen": CHOSEN,
            "rejected": REJECTED,
            "target": np.ones(20),
            "weight": WEIGHT[:20],
            "margin": np.abs(SCORES[:20]),
        },
    ),
    "RewardModel(trees)": Call(two_sides, {"X_chosen": X[CHOSEN], "X_rejected": X[REJECTED]}),
    "boltzmann": Call(explore.boltzmann, {"scores": SCORES}),
    "sample_slates": Call(
        lambda scores: explore.sample_slates(scores, 3, random_state=0), {"scores": SCORES}
    ),
    "slate_log_prob": Call(
        explore.slate_log_prob, {"scores": SCORES[:5], "slates": np.array([[0, 1], [4, 2]])}
    ),
    "LinUCB": Call(bandit, {"contexts": X[:, :2], "rewards": Y, "candidates": LISTS}),
    "select_pairs": Call(
        annotated, {"features": X, "candidates": np.stack([CHOSEN, REJECTED], axis=1), "cost": np.ones(20)}
    ),
    "rerank": Call(
        lambda scores, qid, features: diversify.rerank(scores, 3, qid=qid, features=features),
        {"scores": SCORES, "qid": QID, "features": X},
    ),
    "rerank(topics)": Call(
        lambda scores, qid, topics: diversify.rerank(scores, 3, qid=qid, topics=topics, utility="coverage"),
        {"scores": SCORES, "qid": QID, "topics": TOPICS},
    ),
    "alpha_ndcg": Call(diversify.alpha_ndcg, {"topics": TOPICS, "scores": SCORES, "qid": QID}),
    "err_ia": Call(diversify.err_ia, {"topics": TOPICS, "scores": SCORES, "qid": QID}),
    "vendi_score": Call(lambda features: diversify.vendi_score(features), {"features": X}),
    "gini_exposure": Call(
        lambda items, scores, qid: diversify.gini_exposure(items, scores, qid),
        {"items": np.arange(N_ROWS) % 5, "scores": SCORES, "qid": QID},
    ),
    "catalogue_coverage": Call(
        lambda items, scores, qid: diversify.catalogue_coverage(items, scores, qid, n_items=9),
        {"items": np.arange(N_ROWS) % 5, "scores": SCORES, "qid": QID},
    ),
}
ARGUMENTS = [(name, argument) for name, call in CALLS.items() for argument in call.arrays]


def strided(values):
    spread = np.zeros(tuple(2 * n for n in values.shape), values.dtype)
    view = spread[tuple(slice(None, None, 2) for _ in values.shape)]
    view[...] = values
    return view


def read_only(values):
    copy = values.copy()
    copy.flags.writeable = False
    return copy


def mapped(values, tmp_path):
    path = tmp_path / "values.npy"
    np.save(path, values)
    return np.load(path, mmap_mode="r")


def as_objects(values):
    made = np.empty(values.shape, dtype=object)
    made[...] = values.tolist()
    return made


SAME = {
    "fortran": lambda values, tmp_path: np.asfortranarray(values),
    "strided": lambda values, tmp_path: strided(values),
    "backwards": lambda values, tmp_path: values[::-1].copy()[::-1],
    "read-only": lambda values, tmp_path: read_only(values),
    "memory-mapped": mapped,
    "big-endian": lambda values, tmp_path: values.astype(values.dtype.newbyteorder(">")),
    "objects": lambda values, tmp_path: as_objects(values),
    "unaligned": lambda values, tmp_path: unaligned(values),
    "lists": lambda values, tmp_path: values.tolist(),
    "unsigned": lambda values, tmp_path: values.astype(np.uint64) if values.dtype.kind == "i" else values,
}


def unaligned(values):
    buffer = np.zeros(values.nbytes + 1, np.uint8)[1:]
    view = np.frombuffer(buffer.data, values.dtype).reshape(values.shape)
    view[...] = values
    return view


def of_first(value):
    def change(values):
        made = values.astype(np.result_type(values, np.min_scalar_type(value)))
        made.flat[0] = value
        return made

    return change


def first_object(value):
    def change(values):
        made = values.astype(object)
        made.flat[0] = value
        return made

    return change


OTHER = {
    "nan": of_first(np.nan),
    "infinite": of_first(np.inf),
    "minus infinite": of_first(-np.inf),
    "1e300": of_first(1e300),
    "negative": of_first(-1),
    "2**40": lambda values: of_first(2**40)(values.astype(np.int64)),
    "2**63": lambda values: np.full(values.shape, 2**63, dtype=np.uint64),
    "-2**63": lambda values: np.full(values.shape, -(2**63), dtype=np.int64),
    "2**70": first_object(2**70),
    "None": first_object(None),
    "dict": first_object({}),
    "list in it": first_object([1, 2]),
    "text": lambda values: values.astype(str),
    "words": lambda values: np.full(values.shape, "word"),
    "bytes": lambda values: values.astype("S"),
    "complex": lambda values: values + 1j,
    "dates": lambda values: values.astype(np.int64).astype("datetime64[s]"),
    "durations": lambda values: values.astype(np.int64).astype("timedelta64[s]"),
    "records": lambda values: np.zeros(values.shape, dtype=[("a", "f8"), ("b", "i4")]),
    "booleans": lambda values: values > 0,
    "float16": lambda values: values.astype(np.float16),
    "long double": lambda values: values.astype(np.longdouble),
    "int8": lambda values: values.astype(np.int8),
    "empty": lambda values: values[:0],
    "one row": lambda values: values[:1],
    "one row more": lambda values: np.concatenate([values, values[:1]]),
    "no columns": lambda values: values.reshape(len(values), -1)[:, :0],
    "a number": lambda values: np.float64(values.flat[0]),
    "a column": lambda values: values[..., None],
    "three more axes": lambda values: values[..., None, None, None],
    "a row": lambda values: values.reshape(1, -1),
    "sparse": lambda values: sparse.csr_array(values.reshape(len(values), -1)),
    "a string": lambda values: "what",
    "a dict": lambda values: {"a": 1},
    "a set": lambda values: {1, 2},
    "a function": lambda values: len,
    "None itself": lambda values: None,
    "ragged": lambda values: [[1], [1, 2], *[[3]] * (len(values) - 2)],
    "generator": lambda values: (value for value in values),
}


def outcome(call, arrays):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call.function(**{k: v.copy() if isinstance(v, np.ndarray) else v for k, v in arrays.items()})


@cache
def expected(name):
    return outcome(CALLS[name], CALLS[name].arrays)


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
def test_the_same_numbers_in_another_layout(name, argument, tmp_path):
    call = CALLS[name]
    wrong = {}
    for how, change in SAME.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found = call.function(**{**call.arrays, argument: change(call.arrays[argument], tmp_path)})
                # Records are compared number by number: NaN is NaN, whatever object it is.
                if dataclasses.is_dataclass(found):
                    np.testing.assert_equal(dataclasses.astuple(found), dataclasses.astuple(expected(name)))
                else:
                    np.testing.assert_array_equal(found, expected(name))
            except (ValueError, TypeError) as error:
                if how != "objects" or "must" not in str(error):
                    wrong[how] = repr(error)
            except Exception as error:
                wrong[how] = repr(error)
    assert not wrong, wrong


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
def test_other_values_give_an_answer_or_a_clear_error(name, argument):
    call = CALLS[name]
    wrong = {}
    for how, change in OTHER.items():
        try:
            changed = change(call.arrays[argument])
        except (TypeError, ValueError, OverflowError):  # this type has no such values
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                call.function(**{**call.arrays, argument: changed})
            except (ValueError, TypeError):
                continue
            except Exception as error:
                wrong[how] = repr(error)
    assert not wrong, wrong


def damaged(how):
    """A CSR matrix of the rows of X that is wrong in one way, which SciPy's constructor does not see."""
    matrix = sparse.csr_matrix(X)
    last = len(matrix.indices) - 1
    if how == "index too large":
        matrix.indices[last] = 10**6
    elif how == "index just too large":
        matrix.indices[0] = N_FEATURES
    elif how == "negative index":
        matrix.indices[3] = -1
    elif how == "negative and huge index":
        matrix.indices[3] = -(2**31)
    elif how == "pointers fall":
        matrix.indptr[5] = 2
    elif how == "pointer too large":
        matrix.indptr[5] = 10**6
    elif how == "negative pointer":
        matrix.indptr[1] = -5
    elif how == "first pointer":
        matrix.indptr[0] = 2
    elif how == "fewer values":
        matrix.data = matrix.data[:-4]
    elif how == "fewer indices":
        matrix.indices = matrix.indices[:-4]
    elif how == "fewer pointers":
        matrix.indptr = matrix.indptr[:-4]
    return matrix


DAMAGE = [
    "index too large",
    "index just too large",
    "negative index",
    "negative and huge index",
    "pointers fall",
    "pointer too large",
    "negative pointer",
    "first pointer",
    "fewer values",
    "fewer indices",
    "fewer pointers",
]
SPARSE_USES = {
    "fit": lambda X: LambdaMART(n_estimators=2, random_state=0).fit(X, Y, qid=QID),
    "fit(lightgbm)": lambda X: LambdaMART(booster="lightgbm", n_estimators=2).fit(X, Y, qid=QID),
    "fit(xgboost)": lambda X: LambdaMART(booster="xgboost", n_estimators=2).fit(X, Y, qid=QID),
    "fit(X_val)": lambda X_val: LambdaMART(n_estimators=2).fit(
        sparse.csr_matrix(X), Y, qid=QID, X_val=X_val, y_val=Y, qid_val=QID
    ),
    "linear": lambda X: LinearRanker(max_iter=2).fit(X, Y, qid=QID),
    "neural": lambda X: NeuralRanker(max_iter=1).fit(X, Y, qid=QID),
    "pointwise": lambda X: PointwiseRanker().fit(X, Y, qid=QID),
    "predict": FITTED.predict,
    "leaf_indices": FITTED.leaf_indices,
    "linear predict": LINEAR.predict,
    "score": lambda X: FITTED.score(X, Y, qid=QID),
    "with_features": lambda X: PreferencePairs.from_indices(X, CHOSEN, REJECTED),
    "from_arrays": lambda X: PreferencePairs.from_arrays(X, X),
    "reward fit": lambda X: RewardModel(scorer="linear").fit(X, Y, qid=QID),
    "select_pairs": lambda X: explore.select_pairs(None, X, np.stack([CHOSEN, REJECTED], axis=1), k=2),
    "write_letor": lambda X: write_letor(RankingDataset(X, Y, QID), "never-written.txt"),
    "to_frame": lambda X: RankingDataset(X, Y, QID).to_frame(),
    "explain": lambda X: FITTED.explain(X, QID, Y).importance(),
    "explain(linear)": lambda X: LINEAR.explain(X, QID, Y).importance(),
    "explain(function)": lambda X: explain(SimpleNamespace(predict=FITTED.predict), X, QID, Y).importance(),
    "ensemble": lambda X: EnsembleRanker([("a", LINEAR)]).fit(X, Y, qid=QID),
}


@pytest.mark.parametrize("use", SPARSE_USES)
@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_sparse_matrix_is_refused_before_anything_reads_it(use, how):
    with pytest.raises(ValueError, match="must be a sound sparse matrix"):
        SPARSE_USES[use](damaged(how))


@pytest.mark.parametrize("kind", ["csc", "coo", "bsr", "lil", "dok", "dia", "csr"])
def test_every_sparse_format_predicts_as_the_dense_rows(kind):
    expected = FITTED.predict(X)
    for make in (sparse.csr_matrix, sparse.csr_array):
        np.testing.assert_array_equal(FITTED.predict(make(X).asformat(kind)), expected)


def test_damage_in_other_sparse_formats():
    by_column = sparse.csc_matrix(X)
    by_column.indices[0] = 10**6
    triples = sparse.coo_matrix(X)
    triples.row[0] = -1
    blocks = sparse.bsr_matrix(X[:, :2], blocksize=(2, 2))
    blocks.indices[0] = 77
    lists = sparse.lil_matrix(X)
    lists.rows[0] = [0, 1, 10**6]
    for matrix in (by_column, triples, lists):
        with pytest.raises(ValueError, match="must be a sound sparse matrix"):
            FITTED.predict(matrix)
    with pytest.raises(ValueError, match="must be a sound sparse matrix"):
        LambdaMART(n_estimators=2).fit(blocks, Y, qid=QID)


def test_entries_stored_twice_are_added_up_and_the_callers_matrix_stays():
    matrix = sparse.csr_matrix(X)
    twice = sparse.csr_matrix(
        (np.repeat(matrix.data / 2, 2), np.repeat(matrix.indices, 2), matrix.indptr * 2), shape=X.shape
    )
    stored = twice.nnz
    np.testing.assert_array_equal(FITTED.predict(twice), FITTED.predict(X))
    refitted = LambdaMART(n_estimators=2, num_leaves=4, random_state=0).fit(twice, Y, qid=QID)
    dense = LambdaMART(n_estimators=2, num_leaves=4, random_state=0).fit(sparse.csr_matrix(X), Y, qid=QID)
    np.testing.assert_array_equal(refitted.predict(X), dense.predict(X))
    assert twice.nnz == stored


@pytest.mark.parametrize("value", [-1, -(2**62), 2**24, 2**40, 2**63, 1e300, -0.5, np.inf])
@pytest.mark.parametrize("booster", ["native", "lightgbm", "xgboost", "catboost"])
def test_category_codes_out_of_range(booster, value):
    codes = np.abs(X).round()
    ranker = LambdaMART if booster != "catboost" else CatBoostRanker
    named = {} if booster == "catboost" else {"booster": booster}
    wrong = codes.astype(np.float64)
    wrong[0, 0] = value
    settings = {"n_estimators": 2, "categorical_features": [0], **named}
    with pytest.raises(ValueError, match=r"'categorical_features' column 0|infinity|too large"):
        ranker(**settings).fit(wrong, Y, qid=QID)
    fitted = ranker(**settings).fit(codes, Y, qid=QID)
    scores = fitted.predict(wrong)  # a code that was not seen is no category: any finite score will do
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(scores[1:], fitted.predict(codes)[1:])


@pytest.mark.parametrize("k", [2**31, 2**32 + 1, 2**63, 2**64, 10**30])
def test_cut_offs_beyond_any_list(k):
    assert metrics.ndcg(Y, SCORES, QID, k=k) == metrics.ndcg(Y, SCORES, QID)
    assert metrics.parse_metric(f"map@{k}")(Y, SCORES, QID) == metrics.mean_average_precision(Y, SCORES, QID)
    for name in ("dcg", "mean_average_precision", "mean_reciprocal_rank", "err", "recall"):
        metric = getattr(metrics, name)
        assert metric(Y, SCORES, QID, k=k) == metric(Y, SCORES, QID, k=N_ROWS)
    assert 0 <= metrics.precision(Y, SCORES, QID, k=k) < 1e-6
    shown = diversify.rerank(SCORES, N_ROWS, qid=QID, features=X)
    np.testing.assert_array_equal(diversify.rerank(SCORES, k, qid=QID, features=X), shown)
    pairs = np.stack([CHOSEN, REJECTED], axis=1)
    assert len(explore.select_pairs(None, X, pairs, k=k)) == len(pairs)
    policy = explore.LinUCB(random_state=0).partial_fit(X[:, :2], Y)
    assert policy.select(LISTS, k=k).shape == (4, 5)
    for objective in ("ndcg", "map"):
        whole = OBJECTIVES[objective](truncation_level=N_ROWS)
        beyond = OBJECTIVES[objective](truncation_level=k)
        expected = LambdaMART(objective=whole, n_estimators=1).fit(X, Y, qid=QID).predict(X)
        found = LambdaMART(objective=beyond, n_estimators=1).fit(X, Y, qid=QID).predict(X)
        np.testing.assert_array_equal(found, expected)
