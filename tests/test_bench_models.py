"""Model specs: one parser, canonical names, and search spaces that estimators accept."""

from __future__ import annotations

import numpy as np
import pytest

from lambdamart_kit.bench import models
from lambdamart_kit.bench.models import (
    DEFAULT_MODELS,
    FAMILIES,
    Between,
    Candidate,
    choices_table,
    parse_model,
    parse_models,
)
from lambdamart_kit.boosters.registry import BOOSTERS
from lambdamart_kit.objectives import OBJECTIVES


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("lambdamart", "lambdamart"),
        ("lambdamart:ndcg", "lambdamart"),
        (" lambdamart:pairwise@xgboost ", "lambdamart:pairwise@xgboost"),
        ("lambdamart@xgboost", "lambdamart@xgboost"),
        ("lightgbm:lambdarank", "lightgbm"),
        ("lightgbm:rank_xendcg", "lightgbm:rank_xendcg"),
        ("xgboost:rank:ndcg", "xgboost"),
        ("xgboost:pairwise", "xgboost:rank:pairwise"),
        ("xgboost:rank:pairwise", "xgboost:rank:pairwise"),
        ("catboost:YetiRank", "catboost"),
        ("pointwise", "pointwise"),
        ("neural:pairwise", "neural"),
        ("neural:ndcg2++", "neural:ndcg2++"),
        ("linear:ndcg", "linear"),
        ("linear:pairwise", "linear:pairwise"),
    ],
)
def test_canonical_names(written, canonical):
    spec = parse_model(written)
    assert str(spec) == canonical
    assert parse_model(str(spec)) == spec


def test_all_unknown_names_in_one_error_with_the_nearest_known_ones():
    bad = ["lightgmb", "lightgbm:lambdamart", "lambdamart@catboost", "pointwise@xgboost"]
    with pytest.raises(ValueError, match="'models' must") as caught:
        parse_models(["lambdamart", *bad])
    message = str(caught.value)
    for name in [*bad, *FAMILIES]:
        assert name in message
    assert "'lightgmb' (did you mean lightgbm" in message
    assert "bench -m ?" in message
    assert "\n" not in message


def test_the_table_of_choices_has_every_registered_name():
    listed = {record["model"]: str(record) for record in choices_table()}
    assert set(listed) == set(FAMILIES)
    for name in OBJECTIVES:
        assert name in listed["lambdamart"]
    for booster in BOOSTERS:
        assert (booster in listed["lambdamart"]) == (booster in FAMILIES["lambdamart"].boosters())


def test_no_model_is_an_error():
    with pytest.raises(ValueError, match="'models'"):
        parse_models([])


def test_each_model_once_in_order():
    assert [str(s) for s in parse_models(["xgboost", "lightgbm:lambdarank", "xgboost:ndcg", "lightgbm"])] == [
        "xgboost",
        "lightgbm",
    ]


@pytest.mark.parametrize("text", [*DEFAULT_MODELS, "lambdamart:pairwise@xgboost", "lightgbm:rank_xendcg"])
def test_candidates_have_what_the_spec_says(text):
    spec = parse_model(text)
    if spec.missing:
        pytest.skip(f"{spec.missing} is not installed")
    candidate = spec.candidate(quick=True, n_jobs=1)
    params = candidate.estimator.get_params()
    assert candidate.name == str(spec)
    assert params["n_jobs"] == 1
    assert params["n_estimators"] == 100
    assert params["early_stopping_rounds"] is not None
    assert params[FAMILIES[spec.family].variant_parameter] == spec.variant
    assert len(candidate.space) == 6
    for setting in candidate.settings(4, seed=0):
        candidate.estimator.set_params(**setting)._validate_params()


@pytest.mark.parametrize("text", ["neural:ndcg", "linear:listnet"])
def test_scorers_without_trees_are_tuned_and_stopped_too(text):
    spec = parse_model(text)
    candidate = spec.candidate(quick=True, n_jobs=1)
    params = candidate.estimator.get_params()
    assert params["objective"] == spec.variant
    assert params["early_stopping_rounds"] is not None
    for setting in candidate.settings(4, seed=0):
        candidate.estimator.set_params(**setting)._validate_params()


def test_missing_library_is_known(monkeypatch):
    monkeypatch.setattr(models.importlib.util, "find_spec", lambda name: None)
    assert parse_model("catboost").missing == "catboost"
    assert parse_model("lightgbm").missing == ""


def test_settings_are_defaults_then_the_same_draws_for_the_same_seed():
    candidate = Candidate("any", None, {"a": Between(1, 3, whole=True), "b": Between(0.01, 10, log=True)})
    settings = candidate.settings(5, seed=1)
    assert settings[0] == {}
    assert len(settings) == 5
    assert settings[:3] == candidate.settings(
        3, seed=1
    )  # a larger budget goes on where a smaller one stopped
    assert settings[1] != candidate.settings(2, seed=2)[1]
    assert Candidate("fixed", None).settings(5, seed=1) == [{}]


def test_trees_of_all_libraries_get_the_same_draws_of_what_they_share():
    shared = ["learning_rate", "num_leaves", "reg_lambda", "subsample"]
    drawn = [Candidate(name, None, space).settings(2, 0)[1] for name, space in models.TREE_SPACES.items()]
    assert all([d[name] for name in shared] == [drawn[0][name] for name in shared] for d in drawn)


@pytest.mark.parametrize("log", [False, True])
def test_draws_stay_between_and_reach_both_ends(log):
    rng = np.random.default_rng(0)
    whole = [Between(2, 5, log=log, whole=True).draw(rng) for _ in range(300)]
    assert set(whole) == {2, 3, 4, 5}
    assert all(isinstance(v, int) for v in whole)
    real = [Between(0.02, 0.2, log=log).draw(rng) for _ in range(300)]
    assert 0.02 <= min(real) < 0.025
    assert 0.18 < max(real) <= 0.2
    if log:
        assert np.median(real) == pytest.approx(np.sqrt(0.02 * 0.2), rel=0.15)
