"""GFlowNetAgent as users of Stable-Baselines3 would use it."""

from __future__ import annotations

import shutil

import gymnasium as gym
import numpy as np
import pytest
import torch

from gfn_agents import GFlowNetAgent
from gfn_agents.language_model import LanguageModelPolicy
from gfn_envs.problems import ProblemSet, save_problems, split_of
from gfn_envs.tasks.game24 import Game24Problem
from tests.test_language_model import byte_tokenizer, make_model

SMALL = {"problems_per_step": 1, "samples_per_problem": 2, "replay_per_problem": 0}


@pytest.fixture
def agent():
    policy = LanguageModelPolicy(make_model("llama"), byte_tokenizer())
    return GFlowNetAgent("gfn_envs/Game24-v0", policy, {"count": 2, "solvable": False, "high": 8}, **SMALL)


def test_learn_predict_save_load(agent, tmp_path):
    agent.learn(2)
    agent.learn(1)
    assert agent.trainer.steps_done == 3
    env = gym.make("gfn_envs/Game24-v0", count=2, solvable=False)
    observation, info = env.reset(seed=0)
    action, state = agent.predict(observation, info["admissible_actions"])
    assert action in info["admissible_actions"]
    assert state is None
    agent.save(tmp_path / "agent")
    loaded = GFlowNetAgent.load(tmp_path / "agent")
    asked = ([observation], [info["admissible_actions"]])
    assert np.array_equal(loaded.action_probabilities(*asked)[0], agent.action_probabilities(*asked)[0])
    assert loaded.config == agent.config
    assert loaded.costs == agent.costs
    assert loaded.costs["environment_steps"] > 0 < loaded.costs["cpu_seconds"]
    assert not list(tmp_path.glob(".partial*"))


def test_greedy_prediction_is_the_most_probable_action(agent):
    actions = ["6 * 4 = 24 (left: 24)", "6 + 4 = 10 (left: 10)", "6 - 4 = 2 (left: 2)"]
    (probabilities,) = agent.action_probabilities(["x"], [actions])
    assert agent.predict("x", actions, deterministic=True)[0] == actions[int(np.argmax(probabilities))]


def test_predictions_follow_the_given_generator(agent):
    actions = [f"{i} + 1 = {i + 1} (left: {i + 1})" for i in range(9)]
    drawn = [agent.predict("x", actions, rng=np.random.default_rng(seed))[0] for seed in (1, 1, 2, 3, 4, 5)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) > 1


def test_what_is_no_decision_is_refused_in_a_sentence(agent):
    for wrong in ([], (), "+"):
        with pytest.raises(ValueError, match="each observation needs a list of its legal actions, got"):
            agent.predict("x", wrong)
    with pytest.raises(ValueError, match="needs a list of its legal actions"):
        agent.act(["x", "y"], [["+"], []], np.random.default_rng(0))
    assert agent.act([], [], np.random.default_rng(0)) == []


def test_a_misspelt_option_of_training_is_named():
    with pytest.raises(TypeError, match=r"TrainConfig has no option 'stpes'; did you mean 'steps'\?"):
        GFlowNetAgent("gfn_envs/Game24-v0", stpes=2)


def test_training_problems_are_of_the_training_split(agent):
    rng = np.random.default_rng(0)
    assert {split_of(agent.trainer.problems.sample(rng)) for _ in range(50)} == {"train"}


def test_an_environment_of_another_kind_is_refused():
    with pytest.raises(TypeError, match="CartPole"):
        GFlowNetAgent("CartPole-v1")


def test_a_step_limit_that_training_would_not_keep_is_refused():
    with pytest.raises(ValueError, match="'max_episode_steps'; episodes are played to the end"):
        GFlowNetAgent("gfn_envs/NumberLine-v0", env_kwargs={"max_episode_steps": 3})


def test_an_agent_folder_without_a_policy_is_refused(agent, tmp_path):
    agent.save(tmp_path / "agent")
    (tmp_path / "agent" / "policy" / "config.json").unlink()
    with pytest.raises(ValueError, match=r"no config.json"):
        GFlowNetAgent.load(tmp_path / "agent")


def test_a_folder_of_another_run_is_not_trained_into(tmp_path):
    def made(**options):
        policy = LanguageModelPolicy(make_model("llama"), byte_tokenizer())
        game = {"count": 2, "solvable": False, "high": 8}
        return GFlowNetAgent("gfn_envs/Game24-v0", policy, game, folder=tmp_path, **SMALL, **options)

    made(steps=3, checkpoint_every=2).learn()
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=r"checkpoints of an earlier run; call resume\(\) to go on with it"):
        made(steps=1, seed=9).learn()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == kept
    assert made(steps=4, checkpoint_every=2).resume().learn().trainer.steps_done == 4


def test_a_reference_without_a_checkpoint_is_of_a_run_that_never_was(tmp_path):
    def made(factor):
        policy = LanguageModelPolicy(make_model("llama"), byte_tokenizer())
        with torch.no_grad():
            next(policy.parameters()).mul_(factor)
        game = {"count": 2, "solvable": False, "high": 8}
        objective = "relative_trajectory_balance"
        return GFlowNetAgent("gfn_envs/Game24-v0", policy, game, folder=tmp_path, objective=objective, steps=1, **SMALL)

    made(1.0).learn()
    shutil.rmtree(tmp_path / "checkpoints")  # as if the process was killed between the two
    again = made(2.0)
    own = again.trainer.reference.state_dict()
    again.learn()
    saved = LanguageModelPolicy.load(tmp_path / "reference").state_dict()
    assert all(torch.equal(saved[name], own[name]) for name in own if name in saved)


def test_a_saved_agent_plays_without_its_training_problems(tmp_path):
    problems = tmp_path / "few.jsonl"
    problems.write_text('{"numbers": [4, 6]}\n{"numbers": [3, 8]}\n', encoding="utf-8")
    policy = LanguageModelPolicy(make_model("llama"), byte_tokenizer())
    made = GFlowNetAgent("gfn_envs/Game24-v0", policy, {"count": 2, "problems": str(problems)}, **SMALL)
    made.learn(1).save(tmp_path / "agent")
    problems.unlink()
    loaded = GFlowNetAgent.load(tmp_path / "agent")
    asked = (["Numbers: 4 6"], [("4 * 6 = 24 (left: 24)", "4 + 6 = 10 (left: 10)")])
    assert np.array_equal(loaded.action_probabilities(*asked)[0], made.action_probabilities(*asked)[0])
    assert loaded.costs == made.costs
    with pytest.raises(ValueError, match=r"few\.jsonl"):
        loaded.learn(1)


PROBLEMS = (Game24Problem((4, 6)), Game24Problem((3, 8)))


@pytest.mark.parametrize(
    "kept", [PROBLEMS, ProblemSet(PROBLEMS, (1.0, 3.0)), "a path"], ids=["problems", "set", "path"]
)
def test_keywords_that_json_does_not_have_are_kept_all_the_same(kept, tmp_path):
    if kept == "a path":
        kept = tmp_path / "few.jsonl"
        save_problems(PROBLEMS, kept)

    def made(**options):
        policy = LanguageModelPolicy(make_model("llama"), byte_tokenizer())
        game = {"count": np.int64(2), "problems": kept}
        return GFlowNetAgent("gfn_envs/Game24-v0", policy, game, folder=tmp_path / "run", **SMALL, **options)

    first = made(steps=np.int64(1), learning_rate=np.float32(0.25))
    first.learn()
    first.save(tmp_path / "agent")
    loaded = GFlowNetAgent.load(tmp_path / "agent")
    assert loaded.config == first.config
    assert loaded.trainer.problems == first.trainer.problems == made().trainer.problems
    assert {problem.id for problem in loaded.trainer.problems} == {problem.id for problem in PROBLEMS}
    assert made(steps=2, learning_rate=0.25).resume().learn().trainer.steps_done == 2


def test_a_run_does_not_go_on_with_other_problems_in_its_file(tmp_path):
    path = tmp_path / "few.jsonl"
    save_problems(PROBLEMS, path)

    def made(**options):
        policy = LanguageModelPolicy(make_model("llama"), byte_tokenizer())
        game = {"count": 2, "problems": str(path)}
        return GFlowNetAgent("gfn_envs/Game24-v0", policy, game, folder=tmp_path / "run", **SMALL, **options)

    made(steps=1).learn()
    save_problems(PROBLEMS[:1], path)
    with pytest.raises(ValueError, match=r"'.*few\.jsonl' has changed since the run was started; put the earlier one"):
        made(steps=2).resume()
    save_problems(PROBLEMS, path)
    assert made(steps=2).resume().trainer.steps_done == 1


def test_saving_does_not_delete_what_was_not_saved_there(agent, tmp_path):
    agent.save(tmp_path / "agent")
    agent.save(tmp_path / "agent")
    (tmp_path / "agent" / "thesis.txt").write_text("keep", encoding="utf-8")
    with pytest.raises(ValueError, match=r"holds 'thesis.txt', which would be lost; name a new or an empty folder"):
        agent.save(tmp_path / "agent")
    assert (tmp_path / "agent" / "thesis.txt").read_text(encoding="utf-8") == "keep"
    assert GFlowNetAgent.load(tmp_path / "agent").config == agent.config


def test_only_folders_of_runs_are_resumed(agent, tmp_path):
    agent.folder = tmp_path
    (tmp_path / "report.html").write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match=r"holds 'report\.html'"):
        agent.resume()
    (tmp_path / "report.html").rename(tmp_path / "history.jsonl")  # of a run that was killed before its first step
    assert agent.resume().trainer.steps_done == 0
