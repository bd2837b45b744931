"""PPO and MaskablePPO: the policy reads its candidates, learns, and comes back from disk as it was."""

import json
import re

import numpy as np
import pytest
import torch

from baselines.pointer_policy import TextEncoder
from baselines.ppo import SIZES, LearningCurveRow, MaskablePPOAgent, PPOAgent
from baselines.random_legal import RandomLegalAgent
from gfn_envs.exact import analyse_graph, enumerate_states
from gfn_envs.making import make_env
from gfn_envs.problems import save_problems
from gfn_envs.rollout import Agent, ProbabilisticAgent, rollout

GAME24 = "gfn_envs/Game24-v0"
NUMBER_LINE = "gfn_envs/NumberLine-v0"
VOCABULARY = 400
BOTH = pytest.mark.parametrize("kind", [PPOAgent, MaskablePPOAgent])


def encode(text):
    """Numbers below 144, words by their length and signs by their code: a tokenizer for tests."""
    pieces = re.findall(r"\d+|[A-Za-z]+|.", text, re.DOTALL)
    return [int(p) % 144 if p.isdigit() else 144 + len(p) if len(p) > 1 else 160 + ord(p[0]) % 240 for p in pieces]


def small(kind, env_id=GAME24, env_kwargs=None, **settings):
    settings = {"num_envs": 4, "n_steps": 8, "batch_size": 16, "width": 16} | settings
    return kind(env_id, env_kwargs, encode=encode, vocabulary_size=VOCABULARY, **settings)


def prompts(task, problem, count=20):
    graph = enumerate_states(task, problem)
    open_states = [(s, a) for s, a in zip(graph.states, graph.actions, strict=True) if a][:count]
    return [task.observe(state) for state, _ in open_states], [actions for _, actions in open_states]


def scores(agent, env, count=10):
    """Returns the mean success of the agent and of chance, exactly, over some problems."""
    graphs = [enumerate_states(env.task, p) for p in env.problems.take(count, np.random.default_rng(0))]
    success = np.mean([graph.reached(graph.policy_of(agent)) @ graph.successes for graph in graphs])
    return float(success), float(np.mean([analyse_graph(graph).chance for graph in graphs]))


def test_protocols():
    assert isinstance(RandomLegalAgent(), ProbabilisticAgent)
    agent = small(MaskablePPOAgent)
    assert isinstance(agent, Agent)
    assert isinstance(agent, ProbabilisticAgent)


def test_random_legal_play_scores_chance():
    success, chance = scores(RandomLegalAgent(), make_env("Game24"))
    assert success == pytest.approx(chance, rel=1e-12)


def test_random_legal_play_is_legal_and_seeded():
    env = make_env("NumberLine")
    problems = list(env.problems)
    played = [rollout(env.task, RandomLegalAgent(), problems, np.random.default_rng(4)) for _ in range(2)]
    assert played[0] == played[1]


@BOTH
def test_untrained_policy_is_near_uniform_and_normalised(kind):
    task = make_env("Game24").task
    observations, legal = prompts(task, task.problem_from_json({"numbers": [4, 6, 6, 8]}))
    for p, actions in zip(small(kind).action_probabilities(observations, legal), legal, strict=True):
        assert p.dtype == np.float64
        assert p.shape == (len(actions),)
        assert p.sum() == pytest.approx(1.0, abs=1e-12)
        assert p.max() < 3 * p.min()


@BOTH
def test_permuted_candidates_permute_the_probabilities(kind):
    task = make_env("Game24").task
    observations, legal = prompts(task, task.problem_from_json({"numbers": [3, 3, 8, 8]}), count=1)
    agent = small(kind, width=32)
    agent.learn(64)
    order = np.random.default_rng(0).permutation(len(legal[0]))
    (before,) = agent.action_probabilities(observations, legal)
    (after,) = agent.action_probabilities(observations, [[legal[0][i] for i in order]])
    np.testing.assert_allclose(after, before[order], rtol=1e-5)
    assert before.std() > 1e-6


def test_prompts_are_scored_alike_alone_and_together():
    task = make_env("Game24").task
    observations, legal = prompts(task, task.problem_from_json({"numbers": [4, 6, 6, 8]}), count=300)
    agent = small(MaskablePPOAgent)
    together = agent.action_probabilities(observations, legal)
    for index in (0, 40, 255, 256, 299):
        (alone,) = agent.action_probabilities([observations[index]], [legal[index]])
        np.testing.assert_allclose(alone, together[index], rtol=1e-5)


def test_action_probabilities_are_those_that_training_samples_from():
    agent = small(MaskablePPOAgent)
    agent.learn(64)
    env = agent._view
    shown, info = env.reset(options={"problem": {"numbers": [4, 4, 6, 8]}})  # has fewer than 36 actions
    masks = env.get_wrapper_attr("action_masks")()
    policy = agent._model.policy
    inner = policy.get_distribution(policy.obs_to_tensor(shown)[0], action_masks=masks).distribution.probs[0]
    text = env.unwrapped.task.observe(env.unwrapped.get_state().state)
    (p,) = agent.action_probabilities([text], [info["admissible_actions"]])
    np.testing.assert_allclose(inner[: len(p)].detach(), p, atol=1e-6)
    assert inner[len(p) :].max() == 0.0


def test_plain_ppo_can_point_at_rows_without_an_action_and_says_so():
    agent = small(PPOAgent)
    (row, *_) = agent.learn(32)
    assert 0.0 < row["illegal"] < 1.0
    assert small(MaskablePPOAgent).learn(32)[0]["illegal"] == 0.0


def test_the_learning_curve_counts_steps_and_goes_on():
    heard = []
    agent = small(MaskablePPOAgent)
    rows = agent.learn(64, heard.append)
    assert [row["environment_steps"] for row in rows] == [32, 64]
    assert heard == rows
    assert set(rows[0]) == set(LearningCurveRow.__annotations__)
    assert 0 <= rows[0]["success"] <= 1
    assert rows[0]["cpu_seconds"] < rows[1]["cpu_seconds"]
    assert [row["environment_steps"] for row in agent.learn(32)] == [96]


def test_one_seed_gives_one_agent():
    task = make_env("Game24").task
    observations, legal = prompts(task, task.problem_from_json({"numbers": [4, 6, 6, 8]}), count=1)
    found = []
    for seed in (1, 1, 2):
        agent = small(MaskablePPOAgent, seed=seed)
        agent.learn(64)
        found.append(agent.action_probabilities(observations, legal)[0])
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


@BOTH
def test_saved_agents_play_the_same(kind, tmp_path):
    task = make_env("Game24").task
    observations, legal = prompts(task, task.problem_from_json({"numbers": [4, 6, 6, 8]}))
    agent = small(kind, env_kwargs={"split": "train"})
    agent.learn(32)
    agent.save(tmp_path / "agent")
    loaded = kind.load(tmp_path / "agent", encode)
    for before, after in zip(
        agent.action_probabilities(observations, legal), loaded.action_probabilities(observations, legal), strict=True
    ):
        np.testing.assert_array_equal(before, after)
    assert sorted(p.name for p in (tmp_path / "agent").iterdir()) == ["agent.json", "policy.safetensors"]
    assert loaded.arguments == agent.arguments
    loaded.learn(32)


def test_wrong_files_are_named(tmp_path):
    with pytest.raises(ValueError, match="is not a run or agent folder"):
        PPOAgent.load(tmp_path)
    small(MaskablePPOAgent).save(tmp_path)
    with pytest.raises(ValueError, match=r"holds an agent of baselines\.ppo:MaskablePPOAgent"):
        PPOAgent.load(tmp_path, encode)
    (tmp_path / "agent.json").write_text(json.dumps({"class": "baselines.ppo:PPOAgent"}))
    with pytest.raises(ValueError, match="is damaged"):
        PPOAgent.load(tmp_path, encode)


def test_what_is_not_json_is_refused_before_anything_is_written(tmp_path):
    agent = small(MaskablePPOAgent, NUMBER_LINE, {"reward": "success"})
    agent.arguments["env_kwargs"]["reward"] = object()
    with pytest.raises(ValueError, match="cannot be saved as JSON"):
        agent.save(tmp_path / "agent")
    assert not (tmp_path / "agent").exists()


def test_problems_and_paths_are_saved(tmp_path):
    problems = make_env("NumberLine").problems.take(3, np.random.default_rng(0))
    small(MaskablePPOAgent, NUMBER_LINE, {"problems": problems}).save(tmp_path / "listed")
    loaded = MaskablePPOAgent.load(tmp_path / "listed", encode)
    assert set(loaded._view.unwrapped.problems) == set(problems)
    save_problems(problems, tmp_path / "some.jsonl")
    small(MaskablePPOAgent, NUMBER_LINE, {"problems": tmp_path / "some.jsonl"}).save(tmp_path / "of a file")
    loaded = MaskablePPOAgent.load(tmp_path / "of a file", encode)
    assert set(loaded._view.unwrapped.problems) == set(problems)


@BOTH
@pytest.mark.parametrize("size", SIZES)
def test_sizes_are_positive(kind, size):
    with pytest.raises(ValueError, match=f"{size} must be at least 1, got 0"):
        small(kind, NUMBER_LINE, **{size: 0})


def test_encode_and_vocabulary_size_belong_together():
    with pytest.raises(ValueError, match="pass both or neither"):
        PPOAgent(GAME24, encode=encode)


def test_the_encoder_reads_order_place_and_no_padding():
    torch.manual_seed(0)
    encoder = TextEncoder(padding=50, width=16)
    rows = torch.tensor([[1, 2, 3, 50, 50], [2, 1, 3, 50, 50], [1, 2, 3, 4, 50]])
    found = encoder(rows)
    assert not torch.allclose(found[0], found[1])
    assert not torch.allclose(found[0], found[2])
    torch.testing.assert_close(encoder(rows[:1, :3]), found[:1])
    assert encoder(torch.empty(0, 5, dtype=torch.long)).shape == (0, 16)


@BOTH
def test_learns_two_numbers(kind):
    env_kwargs = {"count": 2}
    agent = kind(GAME24, env_kwargs, encode=encode, vocabulary_size=VOCABULARY, width=32, num_envs=16)
    agent.learn(2_000)
    success, chance = scores(agent, make_env("Game24", **env_kwargs))
    assert chance < 0.3
    assert success > 0.9


@BOTH
def test_learns_to_walk_to_the_goal(kind):
    env_kwargs = {"horizon": 5, "problems": [{"start": 2, "goal": 5}]}
    agent = kind(NUMBER_LINE, env_kwargs, encode=encode, vocabulary_size=VOCABULARY, width=32, num_envs=16)
    agent.learn(1_000)
    success, chance = scores(agent, make_env("NumberLine", **env_kwargs))
    assert chance < 0.25
    assert success > 0.9


@pytest.mark.slow
def test_learns_to_walk_to_any_goal_that_it_reads():
    agent = MaskablePPOAgent(
        NUMBER_LINE,
        {"horizon": 5},
        seed=1,
        encode=encode,
        vocabulary_size=VOCABULARY,
        num_envs=16,
        entropy_bonus=0.03,
    )
    agent.learn(6_000)
    success, chance = scores(agent, make_env("NumberLine", horizon=5), count=30)
    assert chance < 0.5
    assert success > 0.6


@pytest.mark.slow
def test_masked_ppo_learns_game24_far_above_chance():
    agent = MaskablePPOAgent(GAME24, {"split": "train"}, encode=encode, vocabulary_size=VOCABULARY)
    agent.learn(5_000)
    success, chance = scores(agent, make_env("Game24", split="train"), count=20)
    assert chance < 0.02
    assert success > 5 * chance
