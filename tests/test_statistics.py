"""Comparing agents: values by hand, every resample enumerated, and properties that must hold."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from baselines.bench_verdicts import sure_side
from baselines.statistics import (
    Resamples,
    draw_resamples,
    estimate,
    normalised,
    paired_difference,
    performance_profile,
    probability_of_improvement,
    rank_distribution,
    ranks,
    resampled_means,
    table_mean,
    worst_decile,
)

TABLE = np.array([[0.0, 1.0, 0.5], [1.0, 1.0, 0.0]])
WEIGHTS = np.array([2.0, 1.0, 1.0])
shares = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])
shapes = st.tuples(st.integers(1, 4), st.integers(1, 5))


@st.composite
def pairs(draw):
    """Two tables of the same seeds and problems, with weights and draws."""
    shape = draw(shapes)
    first, second = (draw(arrays(float, shape, elements=shares)) for _ in range(2))
    weights = draw(arrays(float, shape[1], elements=st.sampled_from([0.5, 1.0, 3.0])))
    return first, second, weights, draw_resamples(*shape, np.random.default_rng(draw(st.integers(0, 99))), 50)


def every_resample(seeds: int, problems: int) -> Resamples:
    """All S^S draws of seeds with all P^P draws of problems, each once: the bootstrap without chance."""
    rows = [np.bincount(draw, minlength=seeds) for draw in itertools.product(range(seeds), repeat=seeds)]
    columns = [np.bincount(draw, minlength=problems) for draw in itertools.product(range(problems), repeat=problems)]
    both = list(itertools.product(rows, columns))
    return Resamples(np.array([row for row, _ in both]), np.array([column for _, column in both]))


# -- by hand ---------------------------------------------------------------------------------------
def test_mean_by_hand():
    assert table_mean(TABLE, WEIGHTS) == pytest.approx((2 * 0.5 + 1.0 + 0.25) / 4)
    hole = np.where(TABLE == 0.5, np.nan, TABLE)
    assert table_mean(hole, WEIGHTS) == pytest.approx((0 + 2 + 1 + 1 + 0) / (2 + 2 + 1 + 1 + 1))
    assert math.isnan(table_mean(np.full((2, 3), np.nan), WEIGHTS))


def test_improvement_by_hand():
    first, second = np.array([[0.5, 0.0], [1.0, 0.0]]), np.array([[0.5, 1.0], [0.0, 0.0]])
    # problem 0: 0.5 ties 0.5, beats 0; 1 beats both: 3.5 / 4. problem 1: 0 loses to 1, ties 0, twice: 1 / 4.
    once = draw_resamples(2, 2, np.random.default_rng(0))
    assert probability_of_improvement(first, second, np.ones(2), once).value == pytest.approx((3.5 + 1) / 8)
    assert probability_of_improvement(first, second, np.array([3.0, 1.0]), once).value == pytest.approx(
        (3 * 3.5 / 4 + 1 / 4) / 4
    )


def test_profile_by_hand():
    found = performance_profile(TABLE, WEIGHTS, np.array([0.0, 0.25, 0.5, 0.75, 1.0]))
    assert found == pytest.approx([1.0, (2 + 1 + 1 + 1) / 8, (2 + 1 + 1 + 1) / 8, (2 + 1 + 1) / 8, (2 + 1 + 1) / 8])


def test_worst_decile_by_hand():
    draws = draw_resamples(1, 20, np.random.default_rng(0))
    table = np.arange(20.0)[None] / 10
    assert worst_decile(table, np.ones(20), draws).value == pytest.approx(0.05)  # the two lowest of twenty
    assert worst_decile(table, np.array([3.0] + [1.0] * 19), draws).value == pytest.approx(0.0)  # 2.2 of 22 are in it
    weights = np.array([1.0] * 5)
    few = draw_resamples(1, 5, np.random.default_rng(0))
    assert worst_decile(np.array([[0.3, 0.1, 0.5, np.nan, 1.0]]), weights, few).value == pytest.approx(0.1)


def test_ranks_by_hand():
    assert ranks(np.array([[0.3, 0.9, 0.3]])).tolist() == [[[0, 0.5, 0.5], [1, 0, 0], [0, 0.5, 0.5]]]
    assert ranks(np.array([[0.1 + 0.2, 0.3]])).tolist() == [[[0.5, 0.5], [0.5, 0.5]]]  # rounding is no order


def test_normalised_by_hand():
    found = normalised(np.array([[0.5, 1.0, 0.2]]), np.array([0.0, 0.5, 0.2]), np.array([1.0, 1.0, 0.2]))
    assert found[0, :2] == pytest.approx([0.5, 1.0])
    assert math.isnan(found[0, 2])


# -- against enumeration ---------------------------------------------------------------------------
def test_resampled_means_are_means_of_resampled_tables():
    draws = every_resample(2, 3)
    expected = []
    for rows in itertools.product(range(2), repeat=2):
        for columns in itertools.product(range(3), repeat=3):
            drawn, weight = TABLE[np.ix_(rows, columns)], WEIGHTS[list(columns)]
            expected.append(float((drawn * weight).sum() / (2 * weight.sum())))
    assert resampled_means(TABLE, WEIGHTS, draws) == pytest.approx(np.array(expected))


def test_drawn_intervals_come_to_those_of_all_resamples():
    exact = estimate(TABLE, WEIGHTS, every_resample(2, 3))
    drawn = estimate(TABLE, WEIGHTS, draw_resamples(2, 3, np.random.default_rng(1), 40_000))
    assert (drawn.low, drawn.high) == pytest.approx((exact.low, exact.high), abs=0.02)


def test_draws_of_seeds_and_problems_are_independent():
    """Seeds alone, or problems alone, give too narrow an interval where both vary."""
    draws = draw_resamples(3, 3, np.random.default_rng(0), 4000)
    table = np.add.outer([0.0, 0.5, 1.0], [0.0, 0.5, 1.0]) / 2
    both = resampled_means(table, np.ones(3), draws).var()
    seeds = resampled_means(table, np.ones(3), Resamples(draws.seeds, np.ones((4000, 3)))).var()
    problems = resampled_means(table, np.ones(3), Resamples(np.ones((4000, 3)), draws.problems)).var()
    assert both == pytest.approx(seeds + problems, rel=0.1)


def test_pairing_narrows_the_interval_of_a_difference():
    rng = np.random.default_rng(0)
    difficulty = rng.random(30)
    first = np.tile(difficulty, (3, 1))
    second = first - 0.05
    draws = draw_resamples(3, 30, rng)
    paired = paired_difference(first, second, np.ones(30), draws)
    assert (paired.low, paired.value, paired.high) == pytest.approx((0.05, 0.05, 0.05))
    alone = estimate(first, np.ones(30), draws)
    assert alone.high - alone.low > 0.1


def test_rank_distribution_against_all_draws():
    families = [np.array([[[0.1, 0.9]], [[0.5, 0.5]], [[0.2, 0.6]]]), np.array([[[0.4]], [[0.4]], [[0.9]]])]
    weights = [np.array([1.0, 3.0]), np.array([1.0])]
    expected = np.zeros((3, 3))
    for problem, share in ((0, 0.25), (1, 0.75)):
        means = (families[0][:, 0, problem] + families[1][:, 0, 0]) / 2
        for agent, mean in enumerate(means):
            expected[agent, sum(other > mean + 1e-9 for other in means)] += share
    found = rank_distribution(families, weights, np.random.default_rng(0), 20_000)
    assert found == pytest.approx(expected, abs=0.02)


def test_rounding_makes_no_difference_sure():
    """Ten times 0.1 is not 1 in floating point, and two sums of the same numbers differ by their order."""
    draws = draw_resamples(1, 4, np.random.default_rng(0))
    tenths = sum([0.1] * 10)
    assert tenths != 1.0
    for first, second in (([1.0] * 4, [tenths] * 4), ([1 / 3, 2 / 3, 0.9, 0], [0.9, 1 / 3, 2 / 3, 0])):
        found = paired_difference(np.array([first]), np.array([second]), np.ones(4), draws)
        assert found.value == 0.0
    assert (found.low < 0 < found.high, sure_side(found)) == (True, "")
    assert sure_side(paired_difference(np.ones((1, 4)), np.full((1, 4), tenths), np.ones(4), draws)) == ""


# -- properties ------------------------------------------------------------------------------------
@settings(max_examples=60, deadline=None)
@given(pairs())
def test_turning_two_agents_around_mirrors_everything(pair):
    first, second, weights, draws = pair
    one, other = (paired_difference(*order, weights, draws) for order in ((first, second), (second, first)))
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))
    one, other = (probability_of_improvement(*order, weights, draws) for order in ((first, second), (second, first)))
    assert (one.value, one.low, one.high) == pytest.approx((1 - other.value, 1 - other.high, 1 - other.low))


@settings(max_examples=60, deadline=None)
@given(pairs())
def test_an_agent_does_not_improve_on_itself(pair):
    table, _, weights, draws = pair
    same = probability_of_improvement(table, table, weights, draws)
    assert (same.value, same.low, same.high) == pytest.approx((0.5, 0.5, 0.5))
    none = paired_difference(table, table, weights, draws)
    assert (none.value, none.low, none.high) == (0.0, 0.0, 0.0)


@settings(max_examples=60, deadline=None)
@given(pairs())
def test_bounds_and_orders(pair):
    table, other, weights, draws = pair
    mean = estimate(table, weights, draws)
    assert table.min() - 1e-9 <= mean.low <= mean.high <= table.max() + 1e-9
    assert worst_decile(table, weights, draws).value <= mean.value + 1e-9
    profile = performance_profile(table, weights, np.linspace(0, 1, 11))
    assert profile[0] == pytest.approx(1.0)
    assert (np.diff(profile) <= 1e-12).all()
    better = performance_profile(np.maximum(table, other), weights, np.linspace(0, 1, 11))
    assert (better >= profile - 1e-12).all()
    assert probability_of_improvement(np.maximum(table, other), table, weights, draws).value >= 0.5 - 1e-9


@settings(max_examples=30, deadline=None)
@given(arrays(float, (4, 2, 3), elements=shares), st.permutations(range(4)))
def test_ranks_are_shared_out_whole_and_follow_the_agents(table, order):
    weights = [np.array([1.0, 2.0, 3.0])]
    found = rank_distribution([table], weights, np.random.default_rng(0), 200)
    assert found.sum(axis=0) == pytest.approx(np.ones(4))
    assert found.sum(axis=1) == pytest.approx(np.ones(4))
    turned = rank_distribution([table[list(order)]], weights, np.random.default_rng(0), 200)
    assert turned == pytest.approx(found[list(order)])


def test_cells_that_are_missing_leave_the_rest_comparable():
    first, second = TABLE.copy(), TABLE - 0.25
    second[1] = np.nan
    found = paired_difference(first, second, WEIGHTS, draw_resamples(2, 3, np.random.default_rng(0)))
    assert (found.value, found.low, found.high) == pytest.approx((0.25, 0.25, 0.25))
