"""Metrics against hand-computed values and brute force."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gfn_envs.exact import enumerate_states
from gfn_envs.metrics import (
    creativity,
    distinct_at_k,
    entropy,
    exact_scores,
    expected_sampled_distance,
    importance_bounds,
    jensen_shannon,
    normalised_score,
    pass_at_k,
    sampled_distance,
    sampled_scores,
    spearman,
    summarise,
    total_variation,
    worst_decile,
)
from gfn_envs.tasks.game24 import Game24, Game24Problem
from gfn_envs.tasks.numberline import NumberLine, NumberLineProblem
from gfn_envs.trajectory import Trajectory


@given(st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_mean_over_all_subsets(case):
    samples, successes, k = case
    outcomes = [True] * successes + [False] * (samples - successes)
    subsets = list(itertools.combinations(outcomes, k))
    assert pass_at_k(samples, successes, k) == pytest.approx(sum(map(any, subsets)) / len(subsets), abs=1e-12)


@pytest.mark.parametrize("k", [0, 4])
def test_pass_at_k_needs_enough_samples(k):
    with pytest.raises(ValueError, match=f"got k={k} and 3 samples"):
        pass_at_k(3, 1, k)


def ended(solution, success):
    return Trajectory("p", (), 0.0, success, solution)


def test_sampled_scores_by_hand():
    trajectories = [ended("a", True), ended("a", True), ended("b", True), ended("x", False)]
    scores = sampled_scores(trajectories, n_solutions=5, k=2)
    assert scores["success_at_1"] == 0.75
    assert scores["pass_at_k"] == 1.0
    assert scores["distinct_solutions"] == 2
    assert scores["coverage"] == 0.4
    assert scores["accuracy"] == 1
    assert math.isnan(scores["pass_at_16"])
    assert math.isnan(scores["distinct_at_16"])
    assert scores["solution_entropy"] == pytest.approx(-(2 / 3) * math.log(2 / 3) - (1 / 3) * math.log(1 / 3))
    nothing = sampled_scores([ended("x", False)], n_solutions=0, k=1)
    assert (nothing["success_at_1"], nothing["solution_entropy"]) == (0, 0)
    assert math.isnan(nothing["coverage"])


def test_distances_by_hand():
    p, q = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert total_variation(p, q) == 1
    assert jensen_shannon(p, q) == pytest.approx(math.log(2))
    assert total_variation(p, p) == jensen_shannon(p, p) == 0
    half = np.array([0.5, 0.5])
    assert total_variation(p, half) == 0.5
    assert jensen_shannon(p, half) == pytest.approx(0.5 * (math.log(4 / 3) + 0.5 * math.log(2 / 3) + 0.5 * math.log(2)))
    assert entropy([0.25] * 4) == pytest.approx(math.log(4))
    assert entropy([1.0, 0.0]) == 0


def test_normalised_score():
    assert normalised_score(0.2, 0.2, 0.8) == 0
    assert normalised_score(0.8, 0.2, 0.8) == 1
    assert normalised_score(0.1, 0.2, 0.8) == pytest.approx(-1 / 6)
    assert math.isnan(normalised_score(1, 1, 1))


@pytest.mark.parametrize(
    ("task", "problem"),
    [(Game24(), Game24Problem((2, 2, 3, 6))), (NumberLine(), NumberLineProblem(0, 3, 0, 5))],
    ids=["game24", "numberline"],
)
def test_exact_scores_are_the_limit_of_sampled_scores(task, problem):
    graph = enumerate_states(task, problem)
    policy = [np.full(len(actions), 1 / max(len(actions), 1)) for actions in graph.actions]
    exact = exact_scores(graph, graph.reached(policy), k=4, samples=8)
    rng = np.random.default_rng(0)
    drawn = [graph.sample(policy, rng, "test") for _ in range(4000)]
    groups = [drawn[i : i + 8] for i in range(0, 4000, 8)]
    sampled = [sampled_scores(group, len(graph.solutions), k=4) for group in groups]
    for name in ("success_at_1", "pass_at_k", "accuracy", "distinct_solutions", "coverage"):
        values = [scores[name] for scores in sampled]
        assert np.mean(values) == pytest.approx(exact[name], abs=5 * np.std(values) / math.sqrt(len(values)) + 1e-9)


def test_the_exact_sampler_has_no_distance_to_its_target():
    graph = enumerate_states(NumberLine(), NumberLineProblem(0, 3, 0, 5))
    for beta in (0.3, 1.0):
        scores = exact_scores(graph, graph.target(beta), k=1, samples=1, beta=beta)
        assert scores["total_variation"] < 1e-12
        assert scores["pass_at_k"] == scores["success_at_1"]


def test_summarise_weights_and_skips_undefined_scores():
    scores = [{"a": 1.0, "b": math.nan}, {"a": 0.0, "b": 0.5}, {"a": 0.0, "b": math.nan}]
    result = summarise(scores, [0.5, 0.25, 0.25], np.random.default_rng(0))
    assert result["a"].value == 0.5
    assert 0 <= result["a"].low <= 0.5 <= result["a"].high <= 1
    assert (result["b"].value, result["b"].low, result["b"].high) == (0.5, 0.5, 0.5)
    assert result["a"].to_json() == {"value": 0.5, "interval": [result["a"].low, result["a"].high]}
    undefined = summarise([{"b": math.nan}], [1.0], np.random.default_rng(0))["b"]
    assert math.isnan(undefined.value)


def test_intervals_cover_the_mean_as_often_as_they_say():
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(200):
        scores = [{"a": float(x)} for x in rng.random(40)]
        interval = summarise(scores, [1.0] * 40, rng, resamples=300)["a"]
        hits += interval.low <= 0.5 <= interval.high
    assert 0.88 < hits / 200 < 0.99


@given(st.lists(st.sampled_from("abx"), min_size=1, max_size=7), st.data())
def test_distinct_at_k_is_the_mean_over_all_subsets(drawn, data):
    k = data.draw(st.integers(1, len(drawn)))
    subsets = list(itertools.combinations(drawn, k))
    mean = sum(len(set(subset) - {"x"}) for subset in subsets) / len(subsets)  # x is a failure
    counts = [drawn.count(name) for name in "ab"]
    assert distinct_at_k(counts, len(drawn), k) == pytest.approx(mean, abs=1e-12)


def test_scores_of_sixteen_are_those_of_papers():
    """With 16 samples Div@16 counts them; with 32 of which each is there twice, a half is drawn."""
    sixteen = [ended(str(i % 4), i % 2 == 0) for i in range(16)]
    scores = sampled_scores(sixteen, n_solutions=2, k=1)
    assert (scores["distinct_at_16"], scores["pass_at_16"], scores["accuracy"]) == (2, 1, 1)
    twice = sampled_scores([ended("a", True)] * 2 + [ended("x", False)] * 30, n_solutions=1, k=1)
    assert twice["distinct_at_16"] == twice["pass_at_16"] == pytest.approx(1 - (16 * 15) / (32 * 31))


def test_creativity_counts_what_only_one_agent_found():
    found = {
        "one": {"p": {"a", "b"}, "q": {"a"}},
        "two": {"p": {"b", "c"}, "q": set()},
        "three": {"p": {"b"}},
    }
    assert creativity(found) == {"one": 0.5, "two": 0.25, "three": 0}  # p/a, q/a and p/c, of four
    assert all(math.isnan(value) for value in creativity({"one": {}, "two": {"p": []}}).values())


def test_spearman_by_hand():
    assert spearman(np.array([1.0, 2.0, 5.0]), np.array([-np.inf, 0.0, 0.1])) == pytest.approx(1)
    assert spearman(np.array([1.0, 2.0, 5.0]), np.array([3.0, 2.0, 1.0])) == pytest.approx(-1)
    # ranks 1.5 1.5 3 4 against 1 2 3 4: covariance 4.5, squared deviations 4.5 and 5
    assert spearman(np.array([0.0, 1e-12, 1.0, 2.0]), np.arange(4.0)) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert math.isnan(spearman(np.ones(3), np.arange(3.0)))


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=3, max_size=12))
def test_spearman_ranks_by_counting(pairs):
    """The rank of a value: one for each smaller, and half of one for each equal."""

    def ranks(values):
        return [sum(v < w for v in values) + sum(v == w for v in values) / 2 for w in values]

    x, y = zip(*pairs, strict=True)
    if len(set(x)) == 1 or len(set(y)) == 1:
        return
    expected = np.corrcoef(ranks(x), ranks(y))[0, 1]
    assert spearman(np.array(x), np.array(y)) == pytest.approx(expected, abs=1e-12)


def test_spearman_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    x, y = np.random.default_rng(0).integers(0, 9, size=(2, 40)).astype(float)
    assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)


def test_importance_bounds_by_hand():
    elbo, log_z = importance_bounds(np.log([1.0, 3.0]))
    assert (elbo, log_z) == (pytest.approx(math.log(3) / 2), pytest.approx(math.log(2)))
    assert importance_bounds(np.array([-2000.0, -2000.0])) == (-2000, pytest.approx(-2000))
    assert importance_bounds(np.array([math.inf, 0.0])) == (math.inf, math.inf)


def test_the_worst_decile_counts_by_weight():
    assert worst_decile([0.3, 0.1, 0.9], [1.0, 1.0, 1.0]) == pytest.approx(0.1)
    # 0.04 of 0.0, then 0.06 of 0.5
    assert worst_decile([0.5, 0.0, math.nan, 1.0], [0.48, 0.02, 9.0, 0.0]) == pytest.approx(
        (0.04 * 0 + 0.06 * 0.5) / 0.1
    )
    assert worst_decile([float(i) for i in range(20)], [1.0] * 20) == pytest.approx(0.5)
    assert math.isnan(worst_decile([math.nan], [1.0]))


@given(st.lists(st.integers(1, 9), min_size=2, max_size=4), st.integers(1, 5), st.data())
def test_the_expected_distance_is_the_mean_over_all_samples(weights, samples, data):
    """Of a perfect sampler, of another one, and of one that finds what the target does not have."""
    target = {str(i): weight / sum(weights) for i, weight in enumerate(weights)}
    other = data.draw(st.permutations([*target.values()]))
    for reached in (target, dict(zip(target, other, strict=True)), dict(zip("0xyz", other, strict=False))):
        mean = 0.0
        for drawn in itertools.product(reached, repeat=samples):
            chance = math.prod(reached[name] for name in drawn)
            mean += chance * sampled_distance([ended(name, True) for name in drawn], target)
        assert expected_sampled_distance(reached, target, samples) == pytest.approx(mean, abs=1e-12)


def test_sampled_distance_counts_what_the_target_does_not_have():
    assert sampled_distance([ended("x", False)], {"a": 1.0}) == 1
    assert sampled_distance([ended("a", True), ended("x", False)], {"a": 1.0}) == 0.5
    assert expected_sampled_distance({"a": 1.0}, {"a": 1.0}, 7) == 0
    assert expected_sampled_distance({"x": 1.0}, {"a": 1.0}, 7) == 1


def test_the_expected_distance_of_many_samples_is_quick_and_that_of_the_binomial():
    """Of one object with p = q = 1/2 the mean deviation of the share is that of a binomial: C(n, n/2) / 2^(n+1)."""
    for samples in (10, 1000, 20_000):
        exact = math.exp(math.lgamma(samples + 1) - 2 * math.lgamma(samples / 2 + 1) - (samples + 1) * math.log(2))
        half = {"a": 0.5, "b": 0.5}
        assert expected_sampled_distance(half, half, samples) == pytest.approx(exact, rel=1e-8)
