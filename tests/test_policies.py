"""Policies that need no tuning, that forget, wait for rewards, know users, and live in files."""

import hashlib
import json
import zipfile

import numpy as np
import pytest
from scipy.special import expit
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge

from lambdamart_kit import LambdaMART
from lambdamart_kit.datasets import make_letor
from lambdamart_kit.explore import (
    EpsilonGreedy,
    LinearThompson,
    LinUCB,
    LogisticThompson,
    PersonalPolicy,
    RankerPolicy,
    load_policy,
)
from lambdamart_kit.rankers import ModelFormatError

MEANS = np.array([0.9, 0.6, 0.5, 0.3, 0.1])


def play_arms(policy, seed, n_steps, noise):
    """Arms shown on the five-arm example of LinUCB's docstring."""
    rng = np.random.default_rng(seed)
    shown = np.empty(n_steps, dtype=int)
    for step in range(n_steps):
        (arm,) = policy.select(np.eye(5))
        policy.partial_fit(np.eye(5)[[arm]], [MEANS[arm] + noise * rng.normal()])
        shown[step] = arm
    return shown


# ------------------------------------------------------------------------------------------- alpha="auto"


def auto_by_hand(X, shown, rewards, noise, norm, reg_lambda):
    A = reg_lambda * np.eye(X.shape[1]) + shown.T @ shown
    inverse = np.linalg.inv(A)
    bounds = []
    for x in X:
        width = np.sqrt(x @ inverse @ x)
        most = reg_lambda + (shown**2).sum()
        k = np.sqrt(2 + np.log(most * width**2 / (x @ x)))
        shrinkage = norm * reg_lambda * np.linalg.norm(inverse @ x)
        bounds.append(x @ inverse @ shown.T @ rewards + max(k * noise * width, noise * width / 2 + shrinkage))
    return bounds


@pytest.mark.parametrize(("noise", "norm", "reg_lambda"), [(0.3, 1.0, 1.0), (0.05, 2.0, 0.3)])
def test_auto_is_its_formula(noise, norm, reg_lambda, rng):
    shown, rewards, X = rng.normal(size=(20, 3)), rng.normal(size=20), rng.normal(size=(6, 3))
    policy = LinUCB("auto", noise=noise, norm=norm, reg_lambda=reg_lambda).partial_fit(shown, rewards)
    expected = auto_by_hand(X, shown, rewards, noise, norm, reg_lambda)
    np.testing.assert_allclose(policy.upper_bounds(X), expected)
    assert policy.upper_bounds(np.zeros((1, 3))).tolist() == [0.0]


def test_auto_of_arms_is_that_of_a_shared_model_of_blocks(rng):
    contexts, rewards, shown = rng.normal(size=(12, 2)), rng.random(12), rng.integers(0, 3, 12)
    disjoint = LinUCB("auto", arms=[0, 1, 2]).partial_fit(contexts, rewards, arms=shown)
    blocks = np.zeros((12, 3, 2))
    blocks[np.arange(12), shown] = contexts
    shared = LinUCB("auto").partial_fit(blocks.reshape(12, -1), rewards)
    x = rng.normal(size=2)
    np.testing.assert_allclose(disjoint.upper_bounds(x), shared.upper_bounds(np.kron(np.eye(3), x)))


def test_self_normalised_is_the_theorem(rng):
    """Abbasi-Yadkori et al. (2011), theorem 2: R sqrt(2 log(det(A)^1/2 det(lambda I)^-1/2 / delta)) + ..."""
    shown, rewards = rng.normal(size=(9, 2)), rng.random(9)
    policy = LinUCB("self-normalised", noise=0.4, norm=2.0, delta=0.1, reg_lambda=0.5)
    policy.partial_fit(shown, rewards)
    A = 0.5 * np.eye(2) + shown.T @ shown
    beta = 0.4 * np.sqrt(2 * np.log(np.sqrt(np.linalg.det(A)) / 0.5 / 0.1)) + np.sqrt(0.5) * 2.0
    x = np.array([1.0, -2.0])
    mean = x @ np.linalg.solve(A, shown.T @ rewards)
    expected = mean + beta * np.sqrt(x @ np.linalg.solve(A, x))
    assert policy.upper_bounds([x])[0] == pytest.approx(expected)


def test_self_normalised_bounds_hold_at_all_times(rng):
    """In 200 runs, with delta = .2, the truth may be above its bound in 20 % of them at most."""
    failed = 0
    for seed in range(200):
        draws = np.random.default_rng(seed)
        theta = draws.normal(size=2)
        theta /= np.linalg.norm(theta)
        policy = LinUCB("self-normalised", noise=0.5, delta=0.2)
        candidates = draws.normal(size=(4, 2))
        wrong = False
        for _ in range(30):
            (item,) = policy.select(candidates)
            policy.partial_fit(candidates[[item]], [candidates[item] @ theta + 0.5 * draws.normal()])
            wrong |= bool((policy.upper_bounds(candidates) < candidates @ theta).any())
        failed += wrong
    assert failed <= 0.2 * 200 + 3 * np.sqrt(200 * 0.16)


@pytest.mark.parametrize("noise", [0.3, 0.5])
def test_a_constant_alpha_locks_in_and_auto_does_not(noise):
    """A run of 300 steps that never shows the best arm in its last 100 is locked in."""
    locked = {}
    for name, alpha in (("constant", 0.5), ("auto", "auto")):
        known = {"noise": noise} if name == "auto" else {}
        runs = [play_arms(LinUCB(alpha, random_state=s, **known), s, 300, noise) for s in range(12)]
        locked[name] = sum((run[-100:] != 0).all() for run in runs)
    assert locked["constant"] >= 3
    assert locked["auto"] == 0


@pytest.mark.slow
def test_auto_never_locks_in_on_fifty_seeds():
    regrets = []
    for seed in range(50):
        shown = play_arms(LinUCB("auto", noise=0.3, random_state=seed), seed, 3000, 0.3)
        assert (shown[-1000:] == 0).mean() > 0.9
        regrets.append((0.9 - MEANS[shown]).sum())
    assert np.mean(regrets) < 8


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinUCB("auto").partial_fit([[1.0]], [1.5]), "'noise' must be given with alpha='auto'"),
        (lambda: LinUCB(1.0, noise=0.3).select([[1.0]]), "'noise' is not used when 'alpha' is a number"),
        (lambda: LinUCB("auto", delta=0.1).select([[1.0]]), "'delta' is not used when 'alpha' is auto"),
        (
            lambda: LinUCB("best").select([[1.0]]),
            "'alpha' must be a finite number >= 0, 'auto' or",
        ),
        (lambda: LinUCB("self-normalised", delta=1.0).select([[1.0]]), "'delta' must be in"),
        (lambda: LinUCB("auto", noise=0.0).select([[1.0]]), "'noise' must be finite and > 0"),
        (lambda: LinUCB(discount=0.0).partial_fit([[1.0]], [1.0]), "'discount' must be in"),
        (lambda: LinUCB().receive([3], [1.0]), "'tickets' must be of rows that are waited for"),
        (lambda: PersonalPolicy(user_lambda=0).select([[1.0]], users=[1]), "'user_lambda' must be finite"),
        (lambda: PersonalPolicy().partial_fit([[1.0]], [1.0], users=[1, 2]), "'users' must hold one id"),
    ],
)
def test_bad_settings_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---------------------------------------------------------------------------------------------- forgetting


@pytest.mark.parametrize("sizes", [(30,), (1,) * 30, (7, 3, 20)])
def test_discounted_coefficients_are_a_weighted_ridge(sizes, rng):
    X, r = rng.normal(size=(30, 3)), rng.normal(size=30)
    policy = LinUCB(discount=0.9, reg_lambda=0.7)
    for part in np.split(np.arange(30), np.cumsum(sizes)[:-1]):
        policy.partial_fit(X[part], r[part])
    weight = 0.9 ** np.arange(29, -1, -1)
    expected = Ridge(alpha=0.7, fit_intercept=False).fit(X, r, sample_weight=weight)
    np.testing.assert_allclose(policy.coef_[0], expected.coef_)
    A = 0.7 * np.eye(3) + X.T @ (weight[:, None] * X)
    np.testing.assert_allclose(policy.information_[0].matrix, A)


def test_an_arm_that_is_not_shown_is_forgotten():
    policy = LinUCB(arms=["a", "b"], discount=0.8)
    policy.partial_fit([[1.0]] * 5, [1.0] * 5, arms=["a"] * 5)
    known = policy.information_[0].matrix[0, 0]
    policy.partial_fit([[1.0]] * 10, [1.0] * 10, arms=["b"] * 10)
    assert policy.information_[0].matrix[0, 0] == pytest.approx(1.0 + (known - 1.0) * 0.8**10)


def test_discounted_logistic_posterior_has_a_vanishing_gradient(rng):
    """In one call from the start: the weighted maximum a posteriori."""
    X = rng.normal(size=(60, 2))
    r = (rng.random(60) < expit(X @ [2.0, -1.0])).astype(float)
    policy = LogisticThompson(discount=0.95, reg_lambda=0.5).partial_fit(X, r)
    weight = 0.95 ** np.arange(59, -1, -1)
    theta = policy.coef_[0]
    np.testing.assert_allclose(X.T @ (weight * (expit(X @ theta) - r)) + 0.5 * theta, 0.0, atol=1e-7)
    # After many rewards of another kind the first ones are forgotten.
    policy.partial_fit(np.repeat([[1.0, 0.0]], 200, axis=0), np.zeros(200))
    assert policy.coef_[0, 0] < 0


def test_forgetting_follows_a_taste_that_turns():
    """The best arm of two changes after 300 steps: with a discount the loss afterwards is smaller."""
    lost = {}
    for discount in (1.0, 0.98):
        total = 0.0
        for seed in range(5):
            rng = np.random.default_rng(seed)
            policy = LinearThompson(0.3, discount=discount, random_state=seed)
            for step in range(600):
                means = np.array([1.0, 0.0]) if step < 300 else np.array([0.0, 1.0])
                (arm,) = policy.select(np.eye(2))
                policy.partial_fit(np.eye(2)[[arm]], [means[arm] + 0.3 * rng.normal()])
                total += (means.max() - means[arm]) * (step >= 300)
        lost[discount] = total / 5
    assert lost[0.98] < 0.3 * lost[1.0]


# ----------------------------------------------------------------------------------------- delayed rewards


@pytest.mark.parametrize("arms", [None, ["a", "b"]])
@pytest.mark.parametrize("make", [LinUCB, LogisticThompson], ids=["linear", "logistic"])
def test_rewards_that_come_late_and_in_parts_teach_the_same(make, arms, rng):
    X, r = rng.normal(size=(8, 2)), rng.integers(0, 2, 8).astype(float)
    shown = None if arms is None else np.array(arms)[rng.integers(0, 2, 8)]
    late, at_once = make(arms=arms), make(arms=arms)
    tickets = late.show(X, arms=shown)
    late.receive(tickets[[5, 1]], r[[5, 1]])
    rest = np.setdiff1d(np.arange(8), [5, 1])
    late.receive(tickets[rest], r[rest])
    for part in ([5, 1], rest):
        at_once.partial_fit(X[part], r[part], arms=None if shown is None else shown[part])
    np.testing.assert_allclose(late.coef_, at_once.coef_)
    np.testing.assert_allclose(
        late._widths(X[None] if arms is None else X), at_once._widths(X[None] if arms is None else X)
    )
    assert late.n_observations_ == 8
    with pytest.raises(ValueError, match="'tickets' must be of rows that are waited for"):
        late.receive([tickets[0]], [1.0])


def test_what_is_waited_for_narrows_the_widths_and_moves_no_mean(rng):
    policy = LinUCB(1.0).partial_fit(rng.normal(size=(3, 2)), rng.normal(size=3))
    x = np.array([[1.0, 2.0]])
    mean = policy._means(x[None])
    A = policy.information_[0].matrix + x.T @ x
    tickets = policy.show(x)
    assert policy.upper_bounds(x)[0] == pytest.approx(mean[0, 0] + np.sqrt(x[0] @ np.linalg.solve(A, x[0])))
    policy.forget_waiting(tickets)
    before = mean[0, 0] + np.sqrt(policy.information_[0].quadratic(x)[0])
    assert policy.upper_bounds(x)[0] == pytest.approx(before)


def test_a_batch_does_not_repeat_one_gamble():
    """Ten choices before any reward: without `show` all are the same arm."""
    policy = LinUCB(1.0, random_state=0).partial_fit(np.eye(4), [0.5, 0.4, 0.4, 0.4])
    chosen = []
    for _ in range(10):
        (arm,) = policy.select(np.eye(4))
        policy.show(np.eye(4)[[arm]])
        chosen.append(arm)
    assert set(chosen) == {0, 1, 2, 3}


# ------------------------------------------------------------------------------------------------- users


def test_personal_coefficients_are_those_of_the_joint_ridge(rng):
    """One ridge on [x, x of user 1, x of user 2, ...], with the penalties of the two levels."""
    n, d, kappa, lam = 40, 3, 0.8, 0.3
    X, r, users = rng.normal(size=(n, d)), rng.normal(size=n), rng.integers(0, 4, n)
    policy = PersonalPolicy(reg_lambda=lam, user_lambda=kappa)
    for part in np.split(np.arange(n), 5):
        policy.partial_fit(X[part], r[part], users=users[part])
    wide = np.zeros((n, 5 * d))
    wide[:, :d] = X
    for row, user in enumerate(users):
        wide[row, (1 + user) * d : (2 + user) * d] = X[row]
    penalty = np.diag(np.repeat([lam, kappa], [d, 4 * d]))
    information = wide.T @ wide + penalty
    joint = np.linalg.solve(information, wide.T @ r)
    covariance = np.linalg.inv(information)
    np.testing.assert_allclose(policy.coef_, joint[:d], rtol=1e-7)
    for user in range(4):
        own = slice((1 + user) * d, (2 + user) * d)
        np.testing.assert_allclose(policy.user_coef(user), joint[:d] + joint[own], rtol=1e-7)
        both = np.zeros((d, 5 * d))
        both[:, :d] = both[:, own] = np.eye(d)
        np.testing.assert_allclose(policy._posterior(user)[1], both @ covariance @ both.T, rtol=1e-7)
    np.testing.assert_allclose(policy._posterior("new")[1], covariance[:d, :d] + np.eye(d) / kappa, rtol=1e-7)


@pytest.mark.parametrize(("strategy", "share"), [("ucb", 0.4), ("thompson", 0.8)])
def test_new_users_start_from_the_others(strategy, share):
    """Users differ a little: the first choices for a new user lose less than those of a policy of its own."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=4)
    policy = PersonalPolicy(strategy, alpha=0.5, user_lambda=10.0, random_state=0)
    lost = {"personal": 0.0, "own": 0.0}
    for user in range(25):
        theta = common + 0.2 * rng.normal(size=4)
        own = LinUCB(0.5, random_state=user)
        for _ in range(8):
            items = rng.normal(size=(6, 4))
            noise = 0.3 * rng.normal()
            for name, choose in (
                ("personal", policy.select(items, users=[user])),
                ("own", own.select(items)),
            ):
                (item,) = choose
                reward = items[item] @ theta + noise
                if user >= 5:
                    lost[name] += (items @ theta).max() - items[item] @ theta
                if name == "own":
                    own.partial_fit(items[[item]], [reward])
                else:
                    policy.partial_fit(items[[item]], [reward], users=[user])
    assert lost["personal"] < share * lost["own"]


# ------------------------------------------------------------------------------------------------- files


def trained(policy, rng):
    shown = {"arms": ["a", "b", "a", "b", "a", "a"]} if policy.arms is not None else {}
    policy.partial_fit(rng.normal(size=(6, 3)), rng.integers(0, 2, 6).astype(float), **shown)
    policy.show(rng.normal(size=(2, 3)), **({"arms": ["a", "b"]} if shown else {}))
    policy.select(rng.normal(size=(3, 3)) if not shown else rng.normal(size=3))  # the generator moves on
    return policy


@pytest.mark.parametrize("arms", [None, ["a", "b"]])
@pytest.mark.parametrize(
    "make",
    [
        lambda arms: EpsilonGreedy(0.3, decay=0.1, arms=arms, random_state=0),
        lambda arms: LinUCB("auto", arms=arms, discount=0.99, random_state=0),
        lambda arms: LinearThompson(0.4, arms=arms, random_state=0),
        lambda arms: LogisticThompson(arms=arms, random_state=0),
    ],
    ids=["epsilon", "linucb", "thompson", "logistic"],
)
def test_a_loaded_policy_goes_on_as_the_saved_one(make, arms, tmp_path, rng):
    policy = trained(make(arms), rng)
    policy.save(tmp_path / "policy.lmk")
    again = load_policy(tmp_path / "policy.lmk")
    assert type(again) is type(policy)
    assert str(again) == str(policy)
    lists = rng.normal(size=(30, 4, 3)) if arms is None else rng.normal(size=(30, 3))
    assert (again.select(lists) == policy.select(lists)).all()
    for one in (policy, again):
        one.receive([0], [1.0])
    np.testing.assert_allclose(again.coef_, policy.coef_)
    assert again.n_observations_ == 7
    with pytest.raises(ModelFormatError, match=f"holds a {type(policy).__name__}, not a PersonalPolicy"):
        PersonalPolicy.load(tmp_path / "policy.lmk")


def test_policies_of_users_and_of_rankers_live_in_files(tmp_path, rng):
    personal = PersonalPolicy("thompson", random_state=0)
    personal.partial_fit(rng.normal(size=(6, 2)), rng.normal(size=6), users=["a", "b", 7, "a", "b", 7])
    personal.save(tmp_path / "p.lmk")
    again = load_policy(tmp_path / "p.lmk")
    items = rng.normal(size=(20, 5, 2))
    who = ["a", "new", "b", "a"] * 5
    assert again.users_ == ["a", "b", 7]
    assert (again.select(items, users=who) == personal.select(items, users=who)).all()

    data = make_letor(n_queries=15, random_state=0)
    rankers = [LambdaMART(n_estimators=3, random_state=s).fit(data.X, data.y, qid=data.qid) for s in (0, 1)]
    for policy in (
        RankerPolicy(rankers[0], alpha=2.0, n_components=32).partial_fit(data.X[:20]),
        RankerPolicy(rankers, strategy="thompson", random_state=0),
    ):
        policy.select(data.X[:9], k=3)
        policy.save(tmp_path / "r.lmk")
        loaded = load_policy(tmp_path / "r.lmk")
        assert (loaded.select(data.X[:9], k=5) == policy.select(data.X[:9], k=5)).all()


def test_what_has_no_file_says_so(tmp_path, rng):
    with pytest.raises(NotFittedError):
        LinUCB().save(tmp_path / "p.lmk")
    generator = np.random.default_rng(0)
    policy = LinUCB(random_state=generator).partial_fit([[1.0]], [1.0])
    with pytest.raises(TypeError, match="'random_state'"):
        policy.save(tmp_path / "p.lmk")

    class Other:
        def predict(self, X):
            return np.zeros(len(X))

    with pytest.raises(TypeError, match="a policy on a Other cannot be saved"):
        RankerPolicy(Other()).partial_fit([[1.0]]).save(tmp_path / "p.lmk")


def rewritten(source, target, change):
    """The file with its manifest and arrays changed and its digests right, as anyone can make it."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members.pop("manifest.json"))
    change(manifest, members)
    manifest["files"] = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("manifest.json", json.dumps(manifest))
        for name, content in members.items():
            archive.writestr(name, content)
    return target


def array_file(values):
    import io

    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


HOSTILE = {
    "indefinite": lambda m, f: f.update({"information.npy": array_file(-np.eye(3)[None])}),
    "asymmetric": lambda m, f: f.update(
        {"information.npy": array_file(np.eye(3)[None] + np.eye(3, k=1) / 9)}
    ),
    "wrong shape": lambda m, f: f.update({"coef.npy": array_file(np.zeros((1, 4)))}),
    "not finite": lambda m, f: f.update({"moments.npy": array_file(np.full((1, 3), np.nan))}),
    "missing": lambda m, f: f.pop("coef.npy"),
    "objects": lambda m, f: f.update({"coef.npy": array_file(np.array([[None] * 3]))}),
    "width": lambda m, f: m["state"].update(n_features=-1),
    "alpha": lambda m, f: m["params"].update(alpha="evil"),
    "unknown parameter": lambda m, f: m["params"].update(evil=1),
    "tickets": lambda m, f: m["state"].update(tickets=["a"]),
    "ticket twice": lambda m, f: m["state"].update(tickets={"$tuple": [0, 0]}),
    "generator": lambda m, f: m["state"].update(rng={"$dict": [["state", "x"]]}),
    "no rng": lambda m, f: m["state"].pop("rng"),
    "class": lambda m, f: m.update({"class": "LambdaMART"}),
    "code": lambda m, f: m.update({"class": "os.system"}),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_refused_with_one_error(change, tmp_path, rng):
    policy = trained(LinUCB(0.5, random_state=0), rng)
    policy.save(tmp_path / "good.lmk")
    bad = rewritten(tmp_path / "good.lmk", tmp_path / "bad.lmk", change)
    with pytest.raises(ModelFormatError):
        load_policy(bad)


def test_hostile_files_of_users_are_refused(tmp_path, rng):
    policy = PersonalPolicy(random_state=0).partial_fit(np.eye(2), [1.0, 0.0], users=["a", "b"])
    policy.save(tmp_path / "good.lmk")
    for change in (
        lambda m, f: f.update({"squares.npy": array_file(np.stack([-np.eye(2)] * 2))}),
        lambda m, f: m["state"].update(users=["a", "a"]),
        lambda m, f: m["state"].update(users=["a", 1.5]),
        lambda m, f: m["params"].update(user_lambda=0),
    ):
        with pytest.raises(ModelFormatError):
            load_policy(rewritten(tmp_path / "good.lmk", tmp_path / "bad.lmk", change))
