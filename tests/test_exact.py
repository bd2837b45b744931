"""Exact analysis against values computed by hand and by independent recursions."""

import math
from dataclasses import dataclass

import numpy as np
import pytest

from gfn_envs.exact import EnumerationLimit, analyse, enumerate_states
from gfn_envs.problems import ProblemSet
from gfn_envs.simulation import simulate, wilson_interval
from gfn_envs.task import LOG_REWARD_FLOOR, Problem, Task
from gfn_envs.tasks.blocksworld import BlocksWorld
from gfn_envs.tasks.game24 import Game24, Game24Problem
from gfn_envs.tasks.numberline import NumberLine, NumberLineProblem
from gfn_envs.trajectory import Trajectory

SMALL = [
    (Game24(), Game24Problem((2, 2, 3, 6))),
    (Game24(), Game24Problem((4, 6, 6, 8))),
    (NumberLine(), NumberLineProblem(0, 5, 0, 5)),
    (NumberLine(reward="inverse_distance"), NumberLineProblem(4, 1, 0, 5)),
]


@dataclass(frozen=True, slots=True)
class OneProblem(Problem):
    """The only problem of the tasks below."""

    @property
    def id(self):
        return "lottery/only"


@dataclass(frozen=True)
class Lottery(Task):
    """'safe' ends with reward 1/2; 'risk' wins (reward 1) with 1/4 and else asks once more.

    Asked again, 'stop' ends with reward 1/10 and 'again' wins with 1/2 or loses with the floor.
    """

    name = "lottery"
    problem_type = OneProblem
    charset = "abcdefghijklmnopqrstuvwxyz"
    deterministic = False
    horizon = 2
    max_actions = 2
    max_observation_length = 10
    max_action_length = 5

    def problems(self):
        return ProblemSet((OneProblem(),))

    def reset(self, problem):
        return "start"

    def actions(self, state):
        return {"start": ("safe", "risk"), "asked": ("stop", "again")}.get(state, ())

    def step(self, state, action):
        raise NotImplementedError

    def outcomes(self, state, action):
        return {
            ("start", "safe"): ((1.0, "safe"),),
            ("start", "risk"): ((0.25, "won"), (0.75, "asked")),
            ("asked", "stop"): ((1.0, "stopped"),),
            ("asked", "again"): ((0.5, "wonlate"), (0.5, "lost")),
        }[state, action]

    def observe(self, state):
        return state

    def success(self, state):
        return state.startswith("won")

    def log_reward(self, state):
        return {"safe": math.log(0.5), "stopped": math.log(0.1), "lost": LOG_REWARD_FLOOR}.get(state, 0.0)


def test_expected_flows_by_hand():
    graph = enumerate_states(Lottery(), OneProblem())
    flow = dict(zip(graph.states, np.exp(graph.log_flows(graph.log_rewards)), strict=True))
    again = 0.5 * 1 + 0.5 * 1e-4
    asked = 0.1 + again
    risk = 0.25 * 1 + 0.75 * asked
    assert flow["asked"] == pytest.approx(asked, rel=1e-12)
    assert flow["start"] == pytest.approx(0.5 + risk, rel=1e-12)
    policy = dict(zip(graph.states, graph.flow_policy(graph.log_flows(graph.log_rewards)), strict=True))
    assert policy["start"] == pytest.approx([0.5 / (0.5 + risk), risk / (0.5 + risk)], rel=1e-12)
    assert policy["asked"] == pytest.approx([0.1 / asked, again / asked], rel=1e-12)
    reached = dict(zip(graph.states, graph.target(), strict=True))
    p_risk = risk / (0.5 + risk)
    assert reached["won"] == pytest.approx(p_risk * 0.25, rel=1e-12)
    assert reached["lost"] == pytest.approx(p_risk * 0.75 * (again / asked) * 0.5, rel=1e-12)
    assert sum(reached.values()) == pytest.approx(1, abs=1e-12)


def test_values_under_chance_by_hand():
    analysis = analyse(Lottery(), OneProblem())
    assert analysis.chance == pytest.approx(0.5 * (0.25 + 0.75 * 0.5 * 0.5))
    assert analysis.optimum == pytest.approx(0.25 + 0.75 * 0.5)
    assert analysis.chance_return == analysis.chance
    assert analysis.n_states == 7


@pytest.mark.parametrize("beta", [1.0, 0.5, 3.0])
@pytest.mark.parametrize(("task", "problem"), SMALL, ids=str)
def test_flows_sample_in_proportion_to_reward(task, problem, beta):
    graph = enumerate_states(task, problem)
    rewards = np.exp(beta * graph.log_rewards)
    scaled = np.where(np.isneginf(graph.log_rewards), -np.inf, beta * graph.log_rewards)
    log_flows = graph.log_flows(scaled)
    assert log_flows[0] == pytest.approx(math.log(rewards.sum()), abs=1e-10)
    reached = graph.reached(graph.flow_policy(log_flows))
    assert np.abs(reached - rewards / rewards.sum()).max() < 1e-12
    assert np.abs(graph.target(beta) - rewards / rewards.sum()).max() < 1e-12
    assert analyse(task, problem, beta).target_success == pytest.approx(float(reached @ graph.successes), abs=1e-12)


@pytest.mark.parametrize(("task", "problem"), SMALL, ids=str)
def test_chance_and_optimum_by_plain_recursion(task, problem):
    def chance(state):
        actions = task.actions(state)
        if not actions:
            return float(task.success(state))
        return sum(chance(task.step(state, action)) for action in actions) / len(actions)

    def best(state):
        actions = task.actions(state)
        return max((best(task.step(state, a)) for a in actions), default=float(task.success(state)))

    analysis = analyse(task, problem)
    assert analysis.chance == pytest.approx(chance(task.reset(problem)), abs=1e-12)
    assert analysis.optimum == best(task.reset(problem))


def test_edges_lead_to_later_states():
    graph = enumerate_states(*SMALL[2])
    for index, edges in enumerate(graph.edges):
        assert all(child > index for outcomes in edges for _, child in outcomes)


def test_the_limit_is_an_error_that_says_what_to_do():
    with pytest.raises(EnumerationLimit, match=r"more than 100 states from 'game24/4-6-6-8'; use a smaller problem or"):
        enumerate_states(Game24(), Game24Problem((4, 6, 6, 8)), limit=100)
    exact = len(enumerate_states(*SMALL[2]).states)
    assert len(enumerate_states(*SMALL[2], limit=exact).states) == exact


@dataclass(frozen=True)
class Circle(Lottery):
    """Walks between two states for ever."""

    deterministic = True

    def actions(self, state):
        return ("go",)

    def step(self, state, action):
        return "there" if state == "start" else "start"

    outcomes = Task.outcomes


def test_a_cycle_is_an_error_that_says_what_to_do():
    with pytest.raises(ValueError, match="have a cycle; put the step number into the state"):
        enumerate_states(Circle(), OneProblem())


def test_demonstrations_draw_every_solved_end_equally_often():
    graph = enumerate_states(*SMALL[1])
    reached = graph.reached(graph.demonstration_policy())
    assert reached == pytest.approx(graph.successes / graph.successes.sum(), abs=1e-12)
    unsolvable = enumerate_states(Game24(solvable=False), Game24Problem((1, 1, 1, 1)))
    assert unsolvable.demonstration_policy() is None


def test_samples_follow_the_policy():
    graph = enumerate_states(*SMALL[2])
    policy, rng = graph.flow_policy(graph.log_flows(graph.log_rewards)), np.random.default_rng(0)
    drawn = [graph.sample(policy, rng, "test") for _ in range(2000)]
    assert all(isinstance(t, Trajectory) and t.source == "test" for t in drawn)
    exact = float(graph.target() @ graph.successes)
    assert np.mean([t.success for t in drawn]) == pytest.approx(exact, abs=0.03)


def test_solution_probabilities_sum_to_success():
    graph = enumerate_states(*SMALL[1])
    reached = graph.target()
    found = graph.solution_probabilities(reached)
    assert tuple(found) == graph.solutions
    assert sum(found.values()) == pytest.approx(float(reached @ graph.successes), abs=1e-12)


# -- bounds and simulation -------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("task", "problem"),
    [(Game24(count=3), Game24Problem((2, 3, 4))), (NumberLine(high=3), NumberLineProblem(0, 2, 0, 3))],
    ids=["tree", "merged"],
)
def test_the_elbo_is_log_z_at_the_exact_sampler_and_below_it_elsewhere(task, problem):
    graph = enumerate_states(task, problem)
    flows = graph.log_flows(graph.log_rewards)
    assert graph.elbo(graph.flow_policy(flows), graph.log_rewards) == pytest.approx(flows[0], abs=1e-9)
    uniform = [np.full(len(actions), 1 / max(len(actions), 1)) for actions in graph.actions]
    assert graph.elbo(uniform, graph.log_rewards) < flows[0] - 0.1


def test_the_elbo_of_a_walk_by_hand():
    """One step to the left or to the goal, uniformly: E[log R - log P_F] = (log 1e-4 + 0) / 2 + log 2."""
    graph = enumerate_states(NumberLine(high=3, horizon=1), NumberLineProblem(1, 2, 0, 3))
    halves = [np.full(len(actions), 0.5) for actions in graph.actions]
    assert graph.elbo(halves, graph.log_rewards) == pytest.approx(math.log(1e-4) / 2 + math.log(2))


def test_names_of_ends_share_their_probabilities():
    graph = enumerate_states(Game24(count=3), Game24Problem((2, 3, 4)))
    named = graph.ends_by_name(graph.target())
    assert sum(named.values()) == pytest.approx(1)
    for name, probability in graph.solution_probabilities(graph.target()).items():
        assert named[name] == pytest.approx(probability)


def test_simulated_chance_has_an_interval_that_covers():
    task, problem = NumberLine(), NumberLineProblem(0, 3, 0, 5)
    exact = analyse(task, problem)
    simulated = simulate(task, problem, 2000, np.random.default_rng(0))
    assert simulated.chance_low < exact.chance < simulated.chance_high
    assert simulated.chance_high - simulated.chance_low < 0.05
    assert exact.chance_low == exact.chance == exact.chance_high
    assert exact.exact
    assert not simulated.exact
    assert simulated.chance_return == simulated.chance
    assert math.isnan(simulated.optimum)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"), [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0)]
)
def test_wilson_intervals_of_the_tables(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_a_tree_that_is_far_too_large_is_refused_at_once(monkeypatch):
    task = BlocksWorld(blocks=6, length=8, slack=12)
    problem = task.problems().sample(np.random.default_rng(0))
    monkeypatch.setattr(BlocksWorld, "outcomes", lambda *_: pytest.fail("the listing has begun"))
    with pytest.raises(EnumerationLimit, match="more than 200000 states"):
        enumerate_states(task, problem)


def test_merging_states_are_never_judged_by_the_number_of_walks():
    task = NumberLine(0, 60)
    assert 2**task.horizon > 1e30
    assert len(enumerate_states(task, NumberLineProblem(0, 60, 0, 60)).states) < 10_000
