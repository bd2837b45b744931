"""What is remembered of positions is what the rules say, is bounded, and stays in its process."""

import copy
import pickle
from dataclasses import dataclass, field

import gymnasium as gym
import numpy as np
import pytest

import gfn_envs.positions
from gfn_envs.positions import Position, Positions, positions_of
from gfn_envs.rollout import draw_outcome
from gfn_envs.tasks import TASKS
from gfn_envs.tasks.blackjack import BlackJack
from gfn_envs.tasks.numberline import NumberLine, NumberLineProblem

IDS = [f"gfn_envs/{name}-v0" for name in TASKS]
LINE = NumberLine()
PROBLEM = NumberLineProblem(2, 5, 0, 5)


class Counting(NumberLine):
    """A line that counts how often its rules are asked."""

    asked = 0

    def step(self, state, action):
        type(self).asked += 1
        return super().step(state, action)


def told(task, position):
    return position.actions, position.observation, position.success, position.details


@pytest.mark.parametrize("env_id", IDS)
@pytest.mark.parametrize("budget", [0, 60_000, 10**8])
def test_whatever_is_kept_the_rules_are_followed(env_id, budget, monkeypatch):
    monkeypatch.setattr(gfn_envs.positions, "_BUDGET", budget)
    env = gym.make(env_id).unwrapped
    task, positions = env.task, Positions(env.task)
    problems = list(env.problems.take(3, np.random.default_rng(0)))
    rng = np.random.default_rng(1)
    for play in range(60):
        problem = problems[play % len(problems)]
        problem_id, position = positions.start(problem)
        assert problem_id == problem.id
        assert position.state == task.reset(problem)
        while position.actions:
            action = position.actions[rng.integers(len(position.actions))]
            before = position.state
            probability, position, turn = positions.follow(position, action, rng)
            chances = {}
            for chance, after in task.outcomes(before, action):
                chances[after] = chance
            assert chances[position.state] == probability == pytest.approx(np.exp(turn.transition_log_prob))
            fresh = Position(task, position.state)
            assert told(task, position) == told(task, fresh)
            assert turn.reward == task.step_reward(before, action, position.state)
            assert turn.terminated == (not fresh.actions)
        assert positions._cost <= budget + 60_000, "one problem's positions at most beyond the budget"


def test_a_position_come_to_again_asks_no_rules():
    positions, rng = Positions(Counting()), np.random.default_rng(0)

    def walk():
        _, position = positions.start(PROBLEM)
        for action in "-+-+":
            _, position, _ = positions.follow(position, action, rng)

    for _ in range(6):
        walk()
    asked = Counting.asked
    walk()
    assert Counting.asked == asked


def test_what_is_come_to_once_is_not_kept():
    positions, rng = Positions(LINE), np.random.default_rng(0)
    _, position = positions.start(PROBLEM)
    for action in "-+-+":
        _, position, _ = positions.follow(position, action, rng)
    assert len(positions._kept) == 1, "the start, which may be come to again"


def test_what_is_kept_is_bounded_and_gives_way_to_what_is_played_later(monkeypatch):
    monkeypatch.setattr(gfn_envs.positions, "_BUDGET", 20_000)
    task = NumberLine(0, 1000)
    positions, rng = Positions(task), np.random.default_rng(0)
    early = [task.problems().sample(rng) for _ in range(10)]
    late = [task.problems().sample(rng) for _ in range(10)]
    for problem in early:
        positions.start(problem)
    assert all(task.reset(problem) in positions._kept for problem in early)
    for _ in range(300):
        positions.start(task.problems().sample(rng))
        assert len(positions._kept) < 20
    for problem in late * 30:
        positions.start(problem)
    assert not any(task.reset(problem) in positions._kept for problem in early)


def test_refused_actions_raise_key_error_kept_or_not():
    positions, rng = Positions(LINE), np.random.default_rng(0)
    for _ in range(3):
        _, position = positions.start(PROBLEM)
        with pytest.raises(KeyError):
            positions.follow(position, "jump", rng)


def test_draws_have_the_probabilities_of_the_outcomes():
    task = BlackJack()
    problem = task.problems().problems[0]
    positions, rng = Positions(task), np.random.default_rng(0)
    plays, ends = 4000, {}
    for _ in range(plays):
        _, start = positions.start(problem)
        _, position, _ = positions.follow(start, "stick", rng)
        ends[position.state] = ends.get(position.state, 0) + 1
    for chance, state in task.outcomes(task.reset(problem), "stick"):
        assert abs(ends.get(state, 0) - plays * chance) < 4.5 * np.sqrt(plays * chance * (1 - chance))
    assert draw_outcome(task, task.reset(problem), "stick", rng) in ends


def test_equal_tasks_share_and_others_do_not():
    assert positions_of(NumberLine()) is positions_of(NumberLine())
    assert positions_of(NumberLine()) is not positions_of(NumberLine(high=6))


@dataclass(frozen=True)
class Unhashable(NumberLine):
    """A task of somebody else whose options have no hash."""

    notes: list = field(default_factory=list)


def test_a_task_without_a_hash_keeps_its_own():
    task = Unhashable()
    with pytest.raises(TypeError):
        hash(task)
    assert positions_of(task).start(PROBLEM)[0] == PROBLEM.id


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_copies_of_an_environment_are_small_and_play_on(duplicate):
    env = gym.make("gfn_envs/NumberLine-v0")
    for seed in range(50):
        env.reset(seed=seed)
        for action in "+-+-+-":
            if env.unwrapped.task.actions(env.unwrapped.get_state().state):
                env.step(action)
    env.reset(seed=0)
    twin = duplicate(env)
    assert len(pickle.dumps(env)) < 20_000
    assert twin.step("+")[:4] == env.step("+")[:4]
    assert twin.unwrapped.get_state() == env.unwrapped.get_state()
