"""Replay: what is stored, what goes, and with which exact probabilities it is drawn."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gfn_agents.exploration import demonstrations
from gfn_agents.replay import ReplayBuffer, edit_distance, reward_probabilities
from gfn_envs.tasks.game24 import Game24, Game24Problem
from gfn_envs.tasks.numberline import NumberLine, NumberLineProblem
from gfn_envs.trajectory import Step, Trajectory


def made(actions, solution="x", success=True, log_reward=0.0, problem="p"):
    """A trajectory of one-letter actions."""
    steps = tuple(Step(f"{place}", ("a", "b", "c"), action) for place, action in enumerate(actions))
    return Trajectory(problem, steps, log_reward, success, solution)


class Grid:
    """Stands for a generator: hands out given uniform numbers, so that probabilities are counted, not estimated."""

    def __init__(self, values):
        self.values = np.asarray(values)

    def random(self, count):
        assert count == len(self.values)
        return self.values


TRAJECTORIES = st.builds(
    made,
    actions=st.text("abc", min_size=1, max_size=4),
    solution=st.sampled_from("xyz"),
    success=st.booleans(),
    log_reward=st.floats(-20, 5),
    problem=st.sampled_from(["p", "q"]),
)
BUFFERS = st.builds(
    ReplayBuffer,
    capacity=st.integers(3, 8),
    kind=st.sampled_from(["stratified", "reward"]),
    alpha=st.sampled_from([0.0, 0.5, 2.0]),
    per_solution=st.none() | st.integers(1, 3),
    min_distance=st.integers(1, 3),
)


def stored(replay):
    return [trajectory for part in replay._stored.values() for trajectory in part.values()]


# -- drawing by reward ---------------------------------------------------------------------------
def test_reward_probabilities_by_hand():
    """R = 1, 2, 4: R^1 gives 1/7, 2/7, 4/7, R^2 gives 1/21, 4/21, 16/21, R^0 a third each."""
    log_rewards = np.log([1.0, 2.0, 4.0])
    assert reward_probabilities(log_rewards, 1.0) == pytest.approx(np.array([1, 2, 4]) / 7, abs=1e-15)
    assert reward_probabilities(log_rewards, 2.0) == pytest.approx(np.array([1, 4, 16]) / 21, abs=1e-15)
    assert reward_probabilities(log_rewards, 0.0) == pytest.approx(np.ones(3) / 3, abs=1e-15)
    assert reward_probabilities([-800.0, 800.0], 3.0) == pytest.approx([0.0, 1.0])


def test_drawing_by_reward_has_exactly_these_probabilities():
    """Draws two of three with every pair of 7 x 30 midpoints: each order comes up as often as it should.

    One after the other: P(i, j) = p_i p_j / (1 - p_i), with p = (1, 2, 4) / 7. The second draw has the
    denominators 6, 5 and 3, which divide 30, so the midpoints count the probabilities without error.
    """
    replay = ReplayBuffer(10, kind="reward")
    replay.add(made(letter, log_reward=math.log(reward)) for letter, reward in zip("abc", (1, 2, 4), strict=True))
    grids = [(np.arange(count) + 0.5) / count for count in (7, 30)]
    counts = Counter(
        "".join(trajectory.actions[0] for trajectory in replay.sample("p", 2, Grid(pair)))
        for pair in itertools.product(*grids)
    )
    p = dict(zip("abc", np.array([1, 2, 4]) / 7, strict=True))
    for first, second in itertools.permutations("abc", 2):
        assert counts[first + second] / 210 == pytest.approx(p[first] * p[second] / (1 - p[first]), abs=1e-12)


def test_what_broke_off_is_drawn_as_a_failure():
    replay = ReplayBuffer(8, kind="reward")
    solved, failed = made("a"), made("b", success=False, log_reward=math.log(1e-4))
    broken = replace(made("c", solution="", success=False), complete=False)
    replay.add((solved, failed, broken))
    share = 1 / (1 + 2e-4)
    grid = (np.arange(2000) + 0.5) / 2000
    drawn = [replay.sample("p", 1, Grid([value]))[0].actions for value in grid]
    assert drawn.count(("a",)) / len(drawn) == pytest.approx(share, abs=1e-3)


def test_alpha_weighs_the_reward():
    replay = ReplayBuffer(10, kind="reward", alpha=2.0)
    replay.add(made(letter, log_reward=math.log(reward)) for letter, reward in zip("abc", (1, 2, 4), strict=True))
    counts = Counter(replay.sample("p", 1, Grid([(i + 0.5) / 21]))[0].actions[0] for i in range(21))
    assert counts == {"a": 1, "b": 4, "c": 16}


def test_a_draw_takes_no_more_than_there_is_and_nothing_twice():
    replay = ReplayBuffer(10, kind="reward", alpha=1.0)
    replay.add(made(letter, log_reward=-900.0 * place) for place, letter in enumerate("abc"))
    drawn = replay.sample("p", 7, np.random.default_rng(0))
    assert sorted(trajectory.actions[0] for trajectory in drawn) == ["a", "b", "c"]
    assert replay.sample("p", 0, np.random.default_rng(0)) == []
    assert replay.sample("unknown", 3, np.random.default_rng(0)) == []


# -- what is stored ------------------------------------------------------------------------------
def test_edit_distance_by_hand():
    assert edit_distance("", "abc") == 3
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance(("pick up a", "put down a"), ("pick up a", "stack a on b")) == 1
    assert edit_distance("ab", "ba") == 2


@given(st.text("ab", max_size=5), st.text("ab", max_size=5), st.text("ab", max_size=5))
def test_edit_distance_is_a_metric(first, second, third):
    assert edit_distance(first, second) == edit_distance(second, first)
    assert (edit_distance(first, second) == 0) == (first == second)
    assert edit_distance(first, third) <= edit_distance(first, second) + edit_distance(second, third)
    assert abs(len(first) - len(second)) <= edit_distance(first, second) <= max(len(first), len(second))


def test_at_most_so_many_of_one_solution():
    replay = ReplayBuffer(10, per_solution=2)
    replay.add([made("a"), made("b"), made("c"), made("ab", solution="y"), made("ac", success=False)])
    assert [trajectory.actions for trajectory in stored(replay)] == [("a",), ("b",), ("a", "b"), ("a", "c")]


def test_of_equal_trajectories_the_first_stays():
    replay = ReplayBuffer(10)
    replay.add([made("a"), made("b"), replace(made("a"), source="demonstration")])
    assert [("".join(t.actions), t.source) for t in stored(replay)] == [("a", "policy"), ("b", "policy")]


def test_neighbours_stay_out_unless_they_end_otherwise():
    replay = ReplayBuffer(10, min_distance=2)
    replay.add([made("abc", success=False), made("abb", success=False), made("abb"), made("aab"), made("cca")])
    assert [("".join(t.actions), t.success) for t in stored(replay)] == [("abc", False), ("abb", True), ("cca", True)]


def test_the_oldest_failure_goes_first_and_then_the_fullest_solution():
    replay = ReplayBuffer(3)
    replay.add([made("a", solution="y"), made("b", success=False), made("c"), made("ab")])
    assert ["".join(t.actions) for t in stored(replay)] == ["a", "c", "ab"]
    replay.add([made("ac", solution="z")])
    assert ["".join(t.actions) for t in stored(replay)] == ["a", "ab", "ac"]
    replay.add([made("bc", success=False)])
    assert ["".join(t.actions) for t in stored(replay)] == ["a", "ab", "ac"]


@settings(deadline=None)
@given(BUFFERS, st.lists(TRAJECTORIES, max_size=30))
def test_whatever_is_added_the_limits_hold(replay, trajectories):
    replay.add(trajectories)
    for problem in ("p", "q"):
        part = [trajectory for trajectory in stored(replay) if trajectory.problem_id == problem]
        assert len(part) <= replay.capacity
        assert len({trajectory.actions for trajectory in part}) == len(part)
        for first, second in itertools.combinations(part, 2):
            if first.success == second.success:
                assert edit_distance(first.actions, second.actions) >= replay.min_distance
        counts = Counter((trajectory.success, trajectory.solution) for trajectory in part)
        assert max(counts.values(), default=0) <= (replay.per_solution or replay.capacity)
    assert set(stored(replay)) <= set(trajectories)


@given(st.lists(TRAJECTORIES, max_size=40))
def test_a_solution_once_found_stays(trajectories):
    """Capacity 3 has room for all three solutions, whatever else comes."""
    replay = ReplayBuffer(3)
    replay.add(trajectories)
    kept = {(t.problem_id, t.solution) for t in stored(replay) if t.success}
    first_seen = {}
    for trajectory in trajectories:
        first_seen.setdefault((trajectory.problem_id, trajectory.actions), trajectory)
    # What came while a failure with the same actions was stored is a duplicate, so only unique actions count.
    unique = [t for t in trajectories if all(o == t for o in trajectories if o.actions == t.actions)]
    assert {(t.problem_id, t.solution) for t in unique if t.success} <= kept


# -- files ---------------------------------------------------------------------------------------
@settings(deadline=None)
@given(
    replay=BUFFERS,
    before=st.lists(TRAJECTORIES, max_size=20),
    after=st.lists(TRAJECTORIES, max_size=20),
    seed=st.integers(0, 99),
)
def test_after_a_save_and_a_load_everything_goes_on_the_same(tmp_path_factory, replay, before, after, seed):
    path = tmp_path_factory.mktemp("replay") / "replay.jsonl"
    replay.add(before)
    replay.save(path)
    again = ReplayBuffer(replay.capacity, replay.kind, replay.alpha, replay.per_solution, replay.min_distance)
    again.load(path)
    assert stored(again) == stored(replay)
    for buffer in (replay, again):
        buffer.add(after)
    assert stored(again) == stored(replay)
    for problem in ("p", "q"):
        drawn, drawn_again = (b.sample(problem, 4, np.random.default_rng(seed)) for b in (replay, again))
        assert drawn == drawn_again


def test_demonstrations_show_each_end_equally_often_and_then_each_way_into_it():
    """A walker from 1 to 3 arrives after 2, 4 or 5 of 5 steps, after 4 in two ways."""
    task, problem = NumberLine(horizon=5), NumberLineProblem(1, 3, 0, 3)
    streams = map(np.random.default_rng, range(1500))
    drawn = Counter("".join(demonstrations(task, problem, 1, stream)[0].actions) for stream in streams)
    shares = {actions: count / 1500 for actions, count in drawn.items()}
    assert shares == pytest.approx({"++": 1 / 3, "-+++": 1 / 6, "+-++": 1 / 6, "--+++": 1 / 3}, abs=0.04)


def test_demonstrations_seed_it():
    """Solver trajectories go in as any others, and the filter spreads them over the solutions."""
    task, problem = Game24(count=3), Game24Problem((1, 4, 6))
    shown = demonstrations(task, problem, 8, np.random.default_rng(0))
    replay = ReplayBuffer(64, kind="reward", per_solution=2)
    replay.add(shown)
    assert {trajectory.source for trajectory in stored(replay)} == {"demonstration"}
    assert {trajectory.solution for trajectory in stored(replay)} == set(task.solve(problem))
    assert max(Counter(trajectory.solution for trajectory in stored(replay)).values()) <= 2


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"capacity": 0}, "capacity of replay must be at least 1"),
        ({"kind": "prioritised"}, "must be one of stratified, reward"),
        ({"alpha": -1.0}, "alpha of replay"),
        ({"alpha": math.nan}, "alpha of replay"),
        ({"per_solution": 0}, "per_solution of replay must be at least 1"),
        ({"min_distance": 0}, "min_distance of replay must be at least 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, reason):
    with pytest.raises(ValueError, match=reason):
        ReplayBuffer(**{"capacity": 5, **options})
