"""Rollouts record what was played, and stored actions play the same again."""

import json
import math
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from baselines.random_legal import RandomLegalAgent
from examples.hypergrid import Grid, HyperGrid
from gfn_envs.actions import IllegalActionError
from gfn_envs.agents import FunctionAgent, SamplingAgent
from gfn_envs.exact import analyse, enumerate_states
from gfn_envs.rollout import (
    Agent,
    ProbabilisticAgent,
    draw_outcome,
    log_backward,
    replay_actions,
    rollout,
    told_probabilities,
)
from gfn_envs.tasks.game24 import Game24, Game24Problem
from gfn_envs.tasks.numberline import NumberLine, NumberLineProblem
from gfn_envs.trajectory import Trajectory, load_trajectories, save_trajectories


class Uniform:
    """Plays at random and keeps what it was shown."""

    def __init__(self):
        self.batches = []

    def act(self, observations, admissible_actions, rng):
        self.batches.append(len(observations))
        return [legal[rng.integers(len(legal))] for legal in admissible_actions]


class Says:
    """Says one text always."""

    def __init__(self, text):
        self.text = text

    def act(self, observations, admissible_actions, rng):
        return [self.text] * len(observations)


GAME = Game24Problem((4, 6, 6, 8))
LINE = NumberLineProblem(0, 5, 0, 5)


def test_a_trajectory_holds_what_the_task_says():
    task, rng = NumberLine(), np.random.default_rng(0)
    for trajectory in rollout(task, Uniform(), [LINE] * 20, rng):
        state = task.reset(LINE)
        for step in trajectory.steps:
            assert (step.observation, step.admissible_actions) == (task.observe(state), task.actions(state))
            state = task.step(state, step.action)
            assert step.log_pb == -math.log(len(task.parents(state))) == log_backward(task, state)
        assert task.actions(state) == ()
        assert trajectory.log_reward == task.log_reward(state)
        assert trajectory.success == task.success(state)
        assert trajectory.solution == task.solution(state)
        assert trajectory.problem_id == LINE.id


def test_episodes_are_played_in_step_as_batches():
    agent = Uniform()
    rollout(Game24(), agent, [GAME] * 7, np.random.default_rng(0))
    assert agent.batches == [7, 7, 7]
    assert rollout(Game24(), agent, [], np.random.default_rng(0)) == []


def test_trees_have_no_backward_probability():
    trajectories = rollout(Game24(), Uniform(), [GAME] * 5, np.random.default_rng(0))
    assert {step.log_pb for t in trajectories for step in t.steps} == {0.0}


def test_random_play_succeeds_as_often_as_chance_says():
    task = NumberLine()
    trajectories = rollout(task, Uniform(), [NumberLineProblem(1, 3, 0, 5)] * 3000, np.random.default_rng(0))
    chance = analyse(task, NumberLineProblem(1, 3, 0, 5)).chance
    assert np.mean([t.success for t in trajectories]) == pytest.approx(chance, abs=0.03)


def test_the_same_generator_gives_the_same_rollout():
    one, other = (rollout(Game24(), Uniform(), [GAME] * 5, np.random.default_rng(3)) for _ in range(2))
    assert one == other


@pytest.mark.parametrize(("task", "problem"), [(Game24(), GAME), (NumberLine(), LINE)], ids=["game24", "numberline"])
def test_stored_actions_play_the_same_again(task, problem):
    for trajectory in rollout(task, Uniform(), [problem] * 20, np.random.default_rng(0), source="policy"):
        assert replay_actions(task, problem, trajectory.actions, "policy") == trajectory


def test_replay_refuses_what_does_not_fit():
    with pytest.raises(IllegalActionError, match="'jump' is not legal here; legal actions: '-', '\\+'"):
        replay_actions(NumberLine(), LINE, ["jump"], "replay")
    with pytest.raises(ValueError, match="stop before the end of 'numberline/0-to-5-in-0-to-5', after 1 steps"):
        replay_actions(NumberLine(), LINE, ["+"], "replay")
    with pytest.raises(IllegalActionError):
        replay_actions(NumberLine(), LINE, ["+"] * 6, "replay")


def test_texts_are_read_as_in_the_environment():
    task = NumberLine()
    (trajectory,) = rollout(task, Says("Thought: go up.\nAction: RIGHT"), [LINE], np.random.default_rng(0))
    assert trajectory.actions == ("+",) * 5
    with pytest.raises(IllegalActionError, match="is not legal here"):
        rollout(task, Says("sideways"), [LINE], np.random.default_rng(0))


def test_an_illegal_answer_can_end_one_episode_and_not_the_others():
    class UpTwice:
        """Walks up; where it starts at 1, it says something else after two steps."""

        def act(self, observations, admissible_actions, rng):
            return ["jump" * 1000 if "Start: 1" in t and "Position: 3" in t else "+" for t in observations]

    problems = [NumberLineProblem(start, 5, 0, 5) for start in (0, 1)]
    whole, broken = rollout(NumberLine(), UpTwice(), problems, np.random.default_rng(0), illegal_ends=True)
    assert (whole.success, whole.complete, whole.illegal_answer) == (True, True, None)
    assert (broken.success, broken.complete, broken.actions, broken.solution) == (False, False, ("+", "+"), "")
    assert "Position: 3" in broken.end
    assert "jumpjump".startswith(broken.illegal_answer[:8])
    assert len(broken.illegal_answer) == 500
    (at_once,) = rollout(NumberLine(), Says(""), problems[:1], np.random.default_rng(0), illegal_ends=True)
    assert (at_once.steps, at_once.illegal_answer) == ((), "")
    for trajectory in (whole, broken, at_once):
        assert Trajectory.from_json(json.loads(json.dumps(trajectory.to_json()))) == trajectory
    assert "illegal_answer" not in whole.to_json()
    with pytest.raises(IllegalActionError, match=r"'jumpjump.*is not legal here"):
        rollout(NumberLine(), UpTwice(), problems, np.random.default_rng(0))


def test_an_answer_must_be_a_text():
    class Numbers:
        def act(self, observations, admissible_actions, rng):
            return [3]

    with pytest.raises(ValueError, match="Numbers gave 3 as an answer; it must be a text"):
        rollout(NumberLine(), Numbers(), [LINE], np.random.default_rng(0), illegal_ends=True)


def test_an_agent_must_answer_every_observation():
    class TooFew:
        def act(self, observations, admissible_actions, rng):
            return ["+"]

    with pytest.raises(ValueError, match="shorter"):
        rollout(NumberLine(), TooFew(), [LINE, LINE], np.random.default_rng(0))


@pytest.mark.parametrize(
    ("answer", "shown"),
    [((text for text in ["+"]), "<generator object"), ("+", "'\\+'"), (None, "None")],
    ids=["generator", "text", "nothing"],
)
def test_answers_must_be_a_list(answer, shown):
    class Strange:
        def act(self, observations, admissible_actions, rng):
            return answer

    with pytest.raises(ValueError, match=rf"Strange\.act must return a list of texts, got {shown}.*; see gfn check"):
        rollout(NumberLine(), Strange(), [LINE], np.random.default_rng(0))


@pytest.mark.parametrize("rows", [[{"+": 0.5, "-": 0.5}], [["half", "half"]], 3], ids=["mapping", "texts", "number"])
def test_probabilities_must_be_numbers(rows):
    class Strange(Uniform):
        def action_probabilities(self, observations, admissible_actions):
            return rows

    with pytest.raises(ValueError, match=r"Strange\.action_probabilities must return a list of arrays of numbers, got"):
        told_probabilities(Strange(), ["text"], [("+", "-")])


def test_probabilities_may_be_tensors_that_numpy_has_no_type_for():
    class Halves(Uniform):
        def action_probabilities(self, observations, admissible_actions):
            return [torch.tensor([0.25, 0.75], dtype=torch.bfloat16, requires_grad=True)]

    (row,) = told_probabilities(Halves(), ["text"], [("+", "-")])
    assert row.tolist() == [0.25, 0.75]


def test_probabilities_of_few_digits_add_up_to_one():
    class Half:
        def action_probabilities(self, observations, admissible_actions):
            return [np.full(len(actions), 1 / len(actions), np.float16) for actions in admissible_actions]

    (row,) = told_probabilities(Half(), ["a"], [["1", "2", "3"]])
    assert row.dtype == np.float64
    assert row.sum() == pytest.approx(1, abs=1e-15)


class Sampler(SamplingAgent):
    """A float32 softmax, which is rounded too much for NumPy to draw from."""

    def action_probabilities(self, observations, admissible_actions):
        rows = [np.arange(1, len(actions) + 1, dtype=np.float32) for actions in admissible_actions]
        return [(row / row.sum() * np.float32(1.0001)).astype(float) for row in rows]


@pytest.mark.parametrize(
    "agent",
    [Sampler(), RandomLegalAgent(), FunctionAgent(lambda text, actions, rng: actions[rng.integers(len(actions))])],
    ids=lambda agent: type(agent).__name__,
)
def test_with_a_stream_for_each_problem_play_does_not_depend_on_what_is_beside_it(agent):
    task, problems = NumberLine(), [NumberLineProblem(0, goal, 0, 5) for goal in (2, 3, 5)]

    def streams():
        return {problem.id: np.random.default_rng(seed) for seed, problem in enumerate(problems)}

    together, alone = rollout(task, agent, problems, streams()), streams()
    assert together == [one for problem in problems for one in rollout(task, agent, [problem], alone)]


def test_trajectories_round_trip_through_json_lines(tmp_path):
    trajectories = rollout(Game24(), Uniform(), [GAME] * 5, np.random.default_rng(0))
    scored = replace(trajectories[0], end_scores=(("near", 0.5), ("tidy", 1.0)))
    path = tmp_path / "trajectories.jsonl"
    save_trajectories([*trajectories, scored], path)
    assert load_trajectories(path) == [*trajectories, scored]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 6
    assert lines[0]["problem_id"] == GAME.id
    assert "end_scores" not in lines[0]
    assert lines[5]["end_scores"] == {"near": 0.5, "tidy": 1.0}
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    "line", ["{", "[]", "3", "null", '{"steps": []}', '{"steps": [{"x": 1}]}', '{"steps": [], "end_scores": 3}']
)
def test_a_wrong_line_is_named(tmp_path, line):
    path = tmp_path / "trajectories.jsonl"
    save_trajectories(rollout(NumberLine(), Uniform(), [LINE], np.random.default_rng(0)), path)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ValueError, match="line 2 is not a trajectory"):
        load_trajectories(path)


def test_outcomes_are_drawn_by_their_probabilities():
    class Coin(NumberLine):
        deterministic = False

        def outcomes(self, state, action):
            return ((0.25, self.step(state, "-")), (0.75, self.step(state, "+")))

    task, rng = Coin(), np.random.default_rng(0)
    start = task.reset(NumberLineProblem(2, 5, 0, 5))
    counts = Counter(draw_outcome(task, start, "+", rng).position for _ in range(4000))
    assert counts[3] / 4000 == pytest.approx(0.75, abs=0.03)
    assert counts[1] + counts[3] == 4000


def test_protocols_are_checked_by_their_methods():
    assert isinstance(Uniform(), Agent)
    assert not isinstance(Uniform(), ProbabilisticAgent)
    assert not isinstance(object(), Agent)


def test_equal_prompts_are_asked_once():
    graph = enumerate_states(NumberLine(), LINE)

    class Counting:
        asked = 0

        def action_probabilities(self, observations, admissible_actions):
            self.asked += len(observations)
            assert len(set(observations)) == len(observations)
            return [np.full(len(legal), 1 / len(legal)) for legal in admissible_actions]

    agent = Counting()
    policy = graph.policy_of(agent)
    assert agent.asked == len({graph.task.observe(s) for s, a in zip(graph.states, graph.actions, strict=True) if a})
    assert float(graph.reached(policy) @ graph.successes) == pytest.approx(analyse(graph.task, LINE).chance, abs=1e-12)


@dataclass(frozen=True)
class WithList(HyperGrid):
    """A task that has no hash, because of an option that has none."""

    bonus: list[float] = field(default_factory=list)

    def log_reward(self, state):
        return super().log_reward(state) + sum(self.bonus)

    log_reward_so_far = log_reward


def test_steps_are_remembered_for_each_task_by_itself_and_without_a_hash_not_at_all():
    @dataclass(frozen=True)
    class Richer(HyperGrid):
        def log_reward_so_far(self, state):
            return super().log_reward_so_far(state) + 1.0

    bonus = [1.0]
    tasks = [HyperGrid(side=3), Richer(side=3), WithList(side=3, bonus=bonus), HyperGrid(side=3)]
    seen = [replay_actions(task, Grid(2, 3), ["stop"], "test").steps[0] for task in tasks]
    assert seen[0] is seen[3]
    assert seen[1].log_reward_so_far == seen[2].log_reward_so_far == seen[0].log_reward_so_far + 1.0
    bonus.append(1.0)
    again = replay_actions(tasks[2], Grid(2, 3), ["stop"], "test").steps[0]
    assert again.log_reward_so_far == seen[2].log_reward_so_far + 1.0
