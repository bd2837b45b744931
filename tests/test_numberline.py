"""NumberLine: the published start law, edges near the bounds, and why P_B must count them rightly."""

import math
import tracemalloc
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

from baselines.random_legal import RandomLegalAgent
from gfn_envs.exact import analyse, enumerate_states
from gfn_envs.metrics import total_variation
from gfn_envs.rollout import rollout
from gfn_envs.tasks.numberline import NumberLine, NumberLineProblem, NumberLineState

PUBLISHED = NumberLine(start_law="gym_cards")


def arrival_probability(start, goal, low, high, steps):
    """Returns the exact chance that a random walk meets the goal: an independent recursion over time."""
    here, arrived = {start: Fraction(1)}, Fraction(0)
    for _ in range(steps):
        moved = {}
        for place, mass in here.items():
            for to in (max(place - 1, low), min(place + 1, high)):
                moved[to] = moved.get(to, 0) + mass / 2
        arrived += moved.pop(goal, 0)
        here = moved
    return arrived


def test_random_play_with_the_published_start_law_arrives_with_0_611274():
    pairs = [(start, drawn) for start in range(6) for drawn in range(6)]
    goals = [(start, drawn if drawn != start else (drawn + 1) % 5) for start, drawn in pairs]
    exact = sum(arrival_probability(start, goal, 0, 5, 10) for start, goal in goals) / 36
    assert float(exact) == pytest.approx(0.611274, abs=5e-7)
    family = PUBLISHED.problems()
    chance = sum(w * analyse(PUBLISHED, p).chance for p, w in zip(family.problems, family.weights, strict=True))
    assert chance == pytest.approx(float(exact), abs=1e-12)


@pytest.mark.parametrize(
    "task", [NumberLine(), NumberLine(low=-2, high=1, horizon=7), NumberLine(low=10, high=50)], ids=str
)
def test_chance_of_every_problem_is_that_of_the_recursion(task):
    for problem in task.problems().take(30, np.random.default_rng(0)):
        exact = arrival_probability(problem.start, problem.goal, task.low, task.high, task.horizon)
        assert analyse(task, problem).chance == pytest.approx(float(exact), abs=1e-12)


@pytest.mark.parametrize(
    "task", [NumberLine(), NumberLine(low=0, high=1, horizon=4), NumberLine(high=3, horizon=9)], ids=str
)
def test_parents_are_the_enumerated_edges(task):
    for problem in task.problems():
        graph = enumerate_states(task, problem)
        incoming = {state: set() for state in graph.states}
        for state, actions in zip(graph.states, graph.actions, strict=True):
            for action in actions:
                incoming[task.step(state, action)].add((state, action))
        for state in graph.states:
            edges = task.parents(state)
            assert len(set(edges)) == len(edges)
            assert set(edges) == incoming[state]


def test_at_an_end_one_parent_can_have_two_edges_into_two_states_but_never_hides_one():
    task = NumberLine(high=1, horizon=3)
    stay = task.step(task.reset(NumberLineProblem(0, 1, 0, 1)), "-")
    assert task.parents(stay) == ((NumberLineState(NumberLineProblem(0, 1, 0, 1), 0, 0), "-"),)


# -- what wrong backward policies do ---------------------------------------------------------------
@dataclass(frozen=True)
class UnreachableParents(NumberLine):
    """Counts every parent on the line, also those that no walk from the start can be in."""

    def parents(self, state):
        if state.time == 0:
            return ()
        problem, edges = state.problem, []
        for position in range(problem.low, problem.high + 1):
            before = NumberLineState(problem, position, state.time - 1)
            edges += [(before, action) for action in ("-", "+") if self.step(before, action) == state]
        return tuple(edges)


@dataclass(frozen=True)
class NoParents(NumberLine):
    """Says that states contain their history, which is false: P_B = 1 on merged states."""

    def parents(self, state):
        return None


def sampled_with(task, problem):
    """Returns the ends that exactly solved flows with the task's own log P_B sample, and the true target."""
    graph = enumerate_states(task, problem)
    log_pb = np.array([-math.log(len(p)) if (p := task.parents(s)) else 0.0 for s in graph.states])
    flows, policy = graph.log_rewards.copy(), [np.zeros(0)] * len(graph.states)
    for index in reversed(range(len(graph.states))):
        if graph.actions[index]:
            edges = np.array([flows[outcomes[0][1]] + log_pb[outcomes[0][1]] for outcomes in graph.edges[index]])
            flows[index] = np.logaddexp.reduce(edges)
            policy[index] = np.exp(edges - flows[index])
    rewards = np.exp(graph.log_rewards)
    return graph, graph.reached(policy), rewards / rewards.sum()


NEAR_THE_BOUND = NumberLineProblem(0, 5, 0, 5)


@pytest.mark.parametrize("reward", ["success", "inverse_distance"])
def test_right_parents_sample_the_target(reward):
    for problem in NumberLine(reward=reward).problems():
        _, reached, target = sampled_with(NumberLine(reward=reward), problem)
        assert total_variation(reached, target) < 1e-12


def test_counting_unreachable_parents_is_far_off():
    _, reached, target = sampled_with(UnreachableParents(), NEAR_THE_BOUND)
    assert total_variation(reached, target) > 0.1


def test_no_backward_policy_on_merged_states_samples_by_number_of_ways():
    graph, reached, target = sampled_with(NoParents(), NEAR_THE_BOUND)
    ways = np.zeros(len(graph.states))
    ways[0] = 1
    for index, edges in enumerate(graph.edges):
        for outcomes in edges:
            ways[outcomes[0][1]] += ways[index]
    wrong = ways * np.exp(graph.log_rewards)
    assert reached == pytest.approx(wrong / wrong.sum(), abs=1e-12)
    assert total_variation(reached, target) > 0.1


# -- rewards ---------------------------------------------------------------------------------------
def walk(task, problem, actions):
    """Returns the rewards of a walk and its end."""
    state, rewards = task.reset(problem), []
    for action in actions:
        after = task.step(state, action)
        rewards.append(task.step_reward(state, action, after))
        state = after
    return rewards, state


PROBLEM = NumberLineProblem(2, 4, 0, 5)


def test_reward_success():
    task = NumberLine(horizon=3)
    rewards, end = walk(task, PROBLEM, "++")
    assert (rewards, task.log_reward(end), task.success(end)) == ([0.0, 1.0], 0.0, True)
    rewards, end = walk(task, PROBLEM, "+-+")
    assert (rewards, task.log_reward(end), task.success(end)) == ([0.0, 0.0, 0.0], math.log(1e-4), False)


def test_reward_inverse_distance_is_equation_9_of_gflowvlm():
    task = NumberLine(horizon=3, reward="inverse_distance")
    rewards, end = walk(task, PROBLEM, "++")
    assert (rewards, task.log_reward(end)) == ([0.0, 100.0], math.log(100))
    rewards, end = walk(task, PROBLEM, "---")
    assert (rewards, task.log_reward(end)) == ([0.0, 0.0, 20.0], math.log(20))


def test_reward_gym_cards_is_per_step():
    task = NumberLine(horizon=4, reward="gym_cards")
    rewards, end = walk(task, PROBLEM, "+-++")
    assert (rewards, task.log_reward(end)) == ([0.0, -1.0, 0.0, 1.0], 0.0)
    rewards, end = walk(task, NumberLineProblem(0, 4, 0, 5), "-")
    assert rewards == [-1.0], "staying at an end is not coming closer"


# -- rules -----------------------------------------------------------------------------------------
def test_the_walker_stays_at_the_ends_of_the_line():
    task = NumberLine()
    assert task.step(task.reset(NumberLineProblem(0, 3, 0, 5)), "-").position == 0
    assert task.step(task.reset(NumberLineProblem(5, 3, 0, 5)), "+").position == 5
    assert task.observe(task.reset(PROBLEM)) == "Goal: 4. Start: 2. Position: 2. Line: 0 to 5. Steps left: 10."
    assert task.aliases(task.reset(PROBLEM)) == {"left": "-", "right": "+"}


def test_ten_to_fifty():
    task = NumberLine(low=10, high=50)
    assert (task.horizon, len(task.problems())) == (80, 41 * 40)
    assert analyse(task, NumberLineProblem(10, 50, 10, 50)).optimum == 1
    assert analyse(NumberLine(low=10, high=50, horizon=39), NumberLineProblem(10, 50, 10, 50)).optimum == 0


def test_a_long_line_is_generated_by_the_same_law():
    task = NumberLine(high=1000, start_law="gym_cards")
    rng = np.random.default_rng(0)
    drawn = [task.problems().sample(rng) for _ in range(200)]
    assert all(p.start != p.goal and 0 <= p.goal <= 1000 for p in drawn)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"low": 5}, "low < high"),
        ({"high": 5.0}, "high must be an integer"),
        ({"horizon": -1}, "horizon must be at least 1"),
        ({"start_law": "x"}, "start_law must be one of"),
        ({"reward": "x"}, "reward must be one of"),
        ({"low": 1, "start_law": "gym_cards"}, "published for low=0 only"),
        ({"high": 1, "start_law": "gym_cards"}, "needs high >= 2"),
    ],
    ids=str,
)
def test_wrong_options_get_one_sentence(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        NumberLine(**options)


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        ({"start": 1, "goal": 1}, "nothing to do"),
        ({"start": 1, "goal": 6}, "must lie in 0..5"),
        ({"start": 1}, "have the fields"),
        ({"start": 1, "goal": "2"}, "'goal' must be an integer"),
        ({"start": 1, "goal": 2, "high": 9}, "pass low= and high="),
    ],
    ids=str,
)
def test_wrong_problems_get_one_sentence(problem, sentence):
    with pytest.raises(ValueError, match=sentence):
        NumberLine().problem_from_json(problem)


def test_pictures():
    task = NumberLine()
    assert "@" in task.render_text(task.reset(PROBLEM))
    assert "*" in task.render_text(walk(task, PROBLEM, "++")[1])


def test_long_lines_are_played_in_little_memory():
    task = NumberLine(high=1000)
    problem = task.problem_from_json({"start": 500, "goal": 1000})
    tracemalloc.start()
    rollout(task, RandomLegalAgent(), [problem], np.random.default_rng(0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6


def test_parents_on_a_long_line_need_no_memory_for_what_is_not_reached():
    task, problem = NumberLine(high=10**8, horizon=5), NumberLineProblem(50_000_000, 50_000_003, 0, 10**8)
    tracemalloc.start()
    graph = enumerate_states(task, problem)
    incoming = {state: set() for state in graph.states}
    for state, actions in zip(graph.states, graph.actions, strict=True):
        for action in actions:
            incoming[task.step(state, action)].add((state, action))
    assert all(set(task.parents(state)) == edges for state, edges in incoming.items())
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
