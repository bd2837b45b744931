"""WithHistory: the same game with its turns in the text, as a tree."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import gymnasium as gym
import numpy as np
import pytest

from baselines.random_legal import RandomLegalAgent
from gfn_envs.checks import check_task
from gfn_envs.env import ATTEMPTS_PER_STEP
from gfn_envs.exact import analyse, enumerate_states
from gfn_envs.histories import ILLEGAL_SHOWN, Transcript, turns_of
from gfn_envs.rollout import rollout
from gfn_envs.stochastic import ActionNoise, ConceptDrift, HiddenFields, RandomEvents, ReversedActions
from gfn_envs.task import LOG_REWARD_FLOOR
from gfn_envs.tasks import TASKS
from gfn_envs.tasks.alfworld import ALFWorld
from gfn_envs.tasks.blackjack import BlackJack, BlackJackProblem
from gfn_envs.tasks.game24 import Game24, Game24Problem
from gfn_envs.tasks.numberline import NumberLine, NumberLineProblem, NumberLineState
from gfn_envs.with_history import HistoryState, WithHistory, add_history

LINE = NumberLine(0, 3, horizon=4)
WALK = NumberLineProblem(1, 3, 0, 3)
IDS = [f"gfn_envs/{name}-v0" for name in TASKS]


def after(task, problem, *actions):
    state = task.reset(problem)
    for action in actions:
        state = task.step(state, action)
    return state


def seen(position, left):
    return f"Goal: 3. Start: 1. Position: {position}. Line: 0 to 3. Steps left: {left}."


# -- what is shown ---------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (None, f"{seen(1, 4)}\n> -\n{seen(0, 3)}\n> +\n{seen(1, 2)}"),
        (9, f"{seen(1, 4)}\n> -\n{seen(0, 3)}\n> +\n{seen(1, 2)}"),
        (1, f"{seen(0, 3)}\n> +\n{seen(1, 2)}"),
        (0, seen(1, 2)),
    ],
)
def test_the_last_turns_are_shown(steps, expected):
    task = WithHistory(LINE, steps)
    assert task.observe(after(task, WALK, "-", "+")) == expected


@pytest.mark.parametrize("history", ["all", 0, 2])
@pytest.mark.parametrize("env_id", IDS)
def test_the_environment_shows_what_a_transcript_shows(env_id, history):
    """Illegal attempts included, with every text in its space, whose bound is the transcript's."""
    mine = gym.make(env_id, history=history)
    theirs = Transcript(gym.make(env_id), steps=None if history == "all" else history)
    assert mine.observation_space == theirs.observation_space
    rng = np.random.default_rng(0)
    for seed in range(3):
        (text, info), (expected, _) = mine.reset(seed=seed), theirs.reset(seed=seed)
        over = False
        while not over:
            assert text == expected
            assert text in mine.observation_space
            legal = info["admissible_actions"]
            action = "nonsense" if rng.random() < 0.3 else legal[rng.integers(len(legal))]
            text, reward, terminated, truncated, info = mine.step(action)
            expected, *told, _ = theirs.step(action)
            assert [reward, terminated, truncated] == told
            over = terminated or truncated
        assert text == expected


def test_the_bound_on_the_length_is_reached_by_the_longest_game_of_attempts():
    class Wordy(NumberLine):
        max_observation_length = 40

        def observe(self, state):
            return "x" * 40

    for steps in (None, 3):
        task = WithHistory(Wordy(0, 3, horizon=4), steps)
        state = task.reset(WALK)
        for _ in range(ATTEMPTS_PER_STEP * task.horizon):
            state = task.fail(state)
        assert len(task.observe(state)) == task.max_observation_length


def test_a_failed_attempt_is_a_turn_and_the_inner_rule_for_it_holds():
    task = WithHistory(LINE)
    failed = task.fail(task.reset(WALK))
    assert failed == HistoryState(LINE.reset(WALK), ((seen(1, 4), ILLEGAL_SHOWN),))
    home = ALFWorld(horizon=3)
    problem = home.problems().take(1, np.random.default_rng(0)).problems[0]
    state = WithHistory(home).fail(WithHistory(home).reset(problem))
    assert state.inner == home.fail(home.reset(problem)), "which costs a step"


def test_news_only_texts_are_fine_in_a_history():
    """Agents without memory get the engine's own texts of ALFWorld, the task among them, in every step."""
    task = WithHistory(ALFWorld(horizon=3, observation="feedback"))
    assert task.memoryless() is task
    problem = task.problems().take(1, np.random.default_rng(0)).problems[0]
    (played,) = rollout(task, RandomLegalAgent(), [problem], np.random.default_rng(0))
    first, last = played.steps[0].observation, played.steps[-1].observation
    assert first == ALFWorld(observation="feedback").observe(task.reset(problem).inner)
    assert last.startswith(f"{first}\n> {played.actions[0]}\n")
    assert "Your task is to" in last


@pytest.mark.parametrize("env_id", IDS)
def test_a_transcript_is_read_back_turn_by_turn(env_id):
    """Each turn is the action, then exactly what a text of the game says; the first has no action."""
    task = gym.make(env_id, history="all").unwrapped.task
    problem = task.problems().sample(np.random.default_rng(1))
    (played,) = rollout(task, RandomLegalAgent(), [problem], np.random.default_rng(1), max_steps=6)
    turns = turns_of(played.end)
    assert "\n> ".join(turns) == played.end
    assert [turn.partition("\n")[0] for turn in turns[1:]] == list(played.actions)
    assert turns_of(played.steps[-1].observation) == turns[:-1]
    assert len(turns_of(played.steps[0].observation)) == 1


# -- a tree, with everything exact -----------------------------------------------------------------
def walks(problem, horizon, low, high):
    """Returns how many walks end in each place and time, by moving counts from position to position."""
    ends, here = {}, {problem.start: 1}
    for time in range(1, horizon + 1):
        moved = Counter()
        for position, count in here.items():
            moved[max(position - 1, low)] += count
            moved[min(position + 1, high)] += count
        done = {p: n for p, n in moved.items() if p == problem.goal or time == horizon}
        ends |= {(position, time): count for position, count in done.items()}
        here = {p: n for p, n in moved.items() if p not in done}
    return ends


@pytest.mark.parametrize("steps", [None, 0])
def test_merged_walks_become_a_tree_whose_target_counts_them(steps):
    """Without history x is drawn in proportion to R(x), with it to n(x) R(x), n(x) counted in another way."""
    ends = walks(WALK, LINE.horizon, 0, 3)
    assert ends == {(3, 2): 1, (3, 4): 2, (0, 4): 4, (1, 4): 5, (2, 4): 1}, "by hand: 13 leaves"
    graph = enumerate_states(WithHistory(LINE, steps), WALK)
    assert len(graph.terminals) == sum(ends.values())
    assert len(graph.states) == 1 + sum(len(outcomes) for edges in graph.edges for outcomes in edges), "a tree"
    assert not graph.log_backward.any()
    weights = {x: n * (Fraction(1) if x[0] == 3 else Fraction(1, 10**4)) for x, n in ends.items()}
    total = sum(weights.values())
    found = graph.ends_by_name(graph.target())
    assert len(found) == len(ends)
    for (position, time), weight in weights.items():
        name = LINE.solution(NumberLineState(WALK, position, time))
        assert found[name] == pytest.approx(float(weight / total), rel=1e-12)
    assert graph.log_flows(graph.log_rewards)[0] == pytest.approx(math.log(total), abs=1e-12)
    merged = enumerate_states(LINE, WALK)
    alike = merged.ends_by_name(merged.target())
    solved = [alike[name] for name in merged.solutions]
    assert solved == pytest.approx([1 / (2 + 3e-4)] * 2, rel=1e-12)
    assert [found[name] for name in graph.solutions] == pytest.approx([float(n / total) for n in (1, 2)], rel=1e-12)


SMALL = [
    (LINE, WALK),
    (Game24(), Game24Problem((4, 6, 6, 8))),
    (BlackJack(), BlackJackProblem((8, 10), 10)),
    (ActionNoise(LINE, 0.25), WALK),
    (RandomEvents(LINE, 0.25), WALK),
    (ConceptDrift(LINE, ReversedActions(LINE), 2), WALK),
    (HiddenFields(LINE, "(?<=Goal: )-?[0-9]+"), WALK),
]


def name_of(value):
    return repr(value).partition(", event=")[0]


@pytest.mark.parametrize(("task", "problem"), SMALL, ids=name_of)
def test_play_is_worth_what_it_was(task, problem):
    """Chance, optimum, returns and solutions do not depend on what is remembered."""
    before, now = analyse(task, problem), analyse(WithHistory(task), problem)
    assert now.n_states >= before.n_states
    for figure in ("chance", "chance_return", "optimum", "optimal_return", "n_solutions"):
        assert getattr(now, figure) == pytest.approx(getattr(before, figure), rel=1e-12), figure
    listed = enumerate_states(WithHistory(task), problem).solutions
    assert listed == enumerate_states(task, problem).solutions
    assert sorted(WithHistory(task).solve(problem)) == sorted(listed)


def test_a_tree_that_holds_its_history_already_keeps_its_target():
    game, problem = Game24(), Game24Problem((4, 6, 6, 8))
    before, now = (enumerate_states(task, problem) for task in (game, WithHistory(game)))
    assert now.ends_by_name(now.target()) == pytest.approx(before.ends_by_name(before.target()), rel=1e-12)


@pytest.mark.parametrize("steps", [None, 1])
@pytest.mark.parametrize(("task", "problem"), SMALL, ids=name_of)
def test_the_contract_is_kept(task, problem, steps):
    wrapped = WithHistory(task, steps)
    assert [check for check in check_task(wrapped, [problem]) if not check.passed or check.reason] == []


def test_rollouts_have_no_backward_probability():
    task = WithHistory(LINE)
    played = rollout(task, RandomLegalAgent(), [WALK] * 20, np.random.default_rng(0))
    assert {step.log_pb for trajectory in played for step in trajectory.steps} == {0.0}
    merged = rollout(LINE, RandomLegalAgent(), [WALK] * 20, np.random.default_rng(0))
    assert [t.actions for t in played] == [t.actions for t in merged]
    assert min(step.log_pb for trajectory in merged for step in trajectory.steps) < 0
    assert {t.log_reward for t in played} == {0.0, LOG_REWARD_FLOOR}


def test_expert_plans_stay_plans():
    home = ALFWorld()
    problem = home.problems().take(1, np.random.default_rng(0)).problems[0]
    task = WithHistory(home)
    assert task.expert_plans(problem) == home.expert_plans(problem) != ()
    assert task.success(after(task, problem, *task.expert_plans(problem)[0]))


# -- through gym.make ------------------------------------------------------------------------------
def test_the_history_is_put_on_outermost():
    hidden = {"HiddenFields": {"pattern": "(?<=Goal: )-?[0-9]+"}}
    env = gym.make("gfn_envs/NumberLine-v0", history=3, stochasticity=hidden)
    assert env.unwrapped.task == WithHistory(HiddenFields(NumberLine(), **hidden["HiddenFields"]), 3)
    env = gym.make("gfn_envs/ALFWorld-v0", history="all", memoryless=True)
    assert env.unwrapped.task == WithHistory(ALFWorld(observation="summary"))
    vector = gym.make_vec("gfn_envs/NumberLine-v0", num_envs=2, history="all")
    vector.reset(seed=0)
    texts, *_ = vector.step(["+", "-"])
    assert [text.split("\n")[1] for text in texts] == ["> +", "> -"]
    assert not isinstance(gym.make("gfn_envs/NumberLine-v0").unwrapped.task, WithHistory)


def test_snapshots_and_clones_carry_the_history():
    env = gym.make("gfn_envs/NumberLine-v0", history="all").unwrapped
    env.reset(seed=0)
    env.step("+")
    saved = env.get_state()
    there = env.step("-")[0]
    assert env.set_state(saved)[0].count("\n> ") == 1
    assert env.clone().step("-")[0] == there


@pytest.mark.parametrize("history", [-1, True, False, 1.5, "some", [1]])
def test_a_history_that_is_none_is_refused(history):
    with pytest.raises(ValueError, match="history must be a number of turns"):
        add_history(LINE, history)
    with pytest.raises(ValueError, match="history must be a number of turns"):
        gym.make("gfn_envs/NumberLine-v0", history=history)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="at least 0"):
        WithHistory(LINE, -1)
    with pytest.raises(ValueError, match="one history at most"):
        WithHistory(ReversedActions(WithHistory(LINE)))
    with pytest.raises(TypeError, match="must be a Task"):
        WithHistory(gym.make("gfn_envs/NumberLine-v0"))


def test_events_around_a_history_are_no_turns():
    task = RandomEvents(WithHistory(NumberLine(0, 9)), 1.0)
    state = task.reset(NumberLineProblem(4, 9, 0, 9))
    outcomes = task.outcomes(state, "+")
    assert {(p, after.inner.position, len(after.past)) for p, after in outcomes} == {(0.5, 4, 1), (0.5, 6, 1)}
