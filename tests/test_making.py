"""How environments are made: rules of one's own have everything that the registered ones have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import gfn_envs
from baselines.bench import suite_cells
from baselines.cells import run_cell
from baselines.sb3_adapter import token_env
from baselines.suites import parse_suite
from gfn_envs.making import make_text_env
from gfn_envs.problems import ProblemSet
from gfn_envs.tasks.numberline import NumberLine, NumberLineProblem

OWN = "OwnLine-v0"


@dataclass(frozen=True)
class OwnLine(NumberLine):
    """Rules of somebody else: those of NumberLine, said in another script."""

    charset: ClassVar[str] = NumberLine.charset + "目标"

    def observe(self, state):
        """Returns the text with the goal's name in Chinese."""
        return super().observe(state).replace("Goal", "目标")


@pytest.fixture(autouse=True)
def registered():
    gfn_envs.register_task(OWN, OwnLine)
    yield
    del gym.registry[OWN]


def test_a_task_of_ones_own_takes_every_keyword():
    env = gym.make(OWN, high=4, split="test", history="all", stochasticity={"ActionNoise": {"probability": 0.1}})
    assert env.unwrapped.task.name == NumberLine.name
    check_env(env.unwrapped, skip_render_check=True)
    given = [NumberLineProblem(0, 2, 0, 5), {"start": 1, "goal": 3, "weight": 3.0}]
    problems = make_text_env(OWN, {"problems": given}).problems
    assert [problem.id for problem in problems] == ["numberline/0-to-2-in-0-to-5", "numberline/1-to-3-in-0-to-5"]
    assert problems.weights == (0.25, 0.75)
    assert make_text_env(OWN, {"problems": ProblemSet((given[0],))}).problems.problems == (given[0],)


@pytest.mark.parametrize("given", [OwnLine(), make_text_env, dict])
def test_what_is_no_class_of_rules_is_not_registered(given):
    with pytest.raises(TypeError, match=r"register_task takes a class of rules, whose options gym\.make takes, got"):
        gfn_envs.register_task("Nothing-v0", given)
    assert "Nothing-v0" not in gym.registry


def test_many_of_them_give_what_single_ones_give():
    vector = gym.make_vec(OWN, num_envs=2, high=4)
    single = gym.make(OWN, high=4)
    observations, _ = vector.reset(seed=3)
    assert observations[0] == single.reset(seed=3)[0]
    assert observations[0].startswith("目标: ")


def test_token_ids_have_room_for_every_script():
    """Lengths of a task are in characters, those of a byte-level tokenizer in tokens, up to three for each here."""
    env = token_env(OWN, {}, lambda text: list(text.encode()), 256)
    observation, _ = env.reset(seed=0)
    text = env.unwrapped.get_state().state
    assert len(OwnLine().memoryless().observe(text).encode()) > len(OwnLine().memoryless().observe(text))
    assert env.observation_space.contains(observation)
    assert env.observation_space["observation"].shape == (3 * OwnLine().memoryless().max_observation_length,)


@pytest.mark.parametrize("agent", ["uniform", "maskable_ppo"])
def test_suites_know_it(agent, tmp_path):
    text = f"""
environments:
  - {{id: {OWN}, kwargs: {{high: 3}}, train: {{split: all, count: 2}}, evaluation: {{split: all, count: 2}}}}
agents: [{agent}]
seeds: [0]
budget: {{environment_steps: 64}}
samples: 2
k: 1
"""
    (cell,) = suite_cells(parse_suite(text, tmp_path / "own.yaml"))
    assert len(run_cell(cell).problems) == 2


def test_wrappers_that_play_would_leave_out_are_refused():
    def wrapped(**keywords):
        return gym.wrappers.TransformReward(gfn_envs.making.make_env(OwnLine, **keywords), np.negative)

    gym.register("Short-v0", entry_point="gfn_envs.making:make_env", kwargs={"task": OwnLine}, max_episode_steps=3)
    gym.register("Negative-v0", entry_point=wrapped)
    try:
        for name, wrapper in (("Short-v0", "TimeLimit"), ("Negative-v0", "TransformReward")):
            with pytest.raises(ValueError, match=f"'{name}' is registered with the wrapper {wrapper}, which play"):
                make_text_env(name, {})
    finally:
        del gym.registry["Short-v0"], gym.registry["Negative-v0"]


@pytest.mark.parametrize(("keyword", "value"), [("max_episode_steps", 3), ("task", "Game24")])
def test_keywords_that_a_bare_environment_would_drop_are_refused(keyword, value):
    """`gym.make` has wrappers for the limit, and nothing on the bare environment would say that it is gone."""
    with pytest.raises(ValueError, match=f"env_kwargs cannot have '{keyword}'; "):
        make_text_env("gfn_envs/NumberLine-v0", {keyword: value})


def test_an_environment_that_was_made_is_no_id():
    with pytest.raises(TypeError, match="named by its id, and its keywords beside it; got OrderEnforcing"):
        make_text_env(gym.make("gfn_envs/Game24-v0"), {})
    with pytest.raises(gym.error.NameNotFound, match="one of your own is named with its module: my_module:Name-v0"):
        make_text_env("Coins-v0", {})
