"""The registered baselines learn within their budget; supervision and the yardsticks are what they say."""

import json
import math
from collections import Counter, defaultdict
from copy import deepcopy

import numpy as np
import pytest
import torch

from baselines.contestants import METHODS, Meter, PolicyAgent
from baselines.ppo_contestants import PPOContestant
from baselines.sft import SFTConfig, demonstrator, sft_loss, supervise
from baselines.tuned import tuned
from baselines.yardsticks import exact_sampler, optimal_player
from gfn_agents.agent import load_policy
from gfn_agents.exploration import demonstrations
from gfn_agents.policy import TabularPolicy
from gfn_agents.schedules import Schedule
from gfn_envs.agents import Budget, TrainableAgent, agent_names, load_agent
from gfn_envs.exact import EnumerationLimit, analyse_graph, enumerate_states
from gfn_envs.making import make_env
from gfn_envs.problems import ProblemSet
from gfn_envs.rollout import rollout
from gfn_envs.stochastic import HiddenFields

NUMBER_LINE, GAME24 = "gfn_envs/NumberLine-v0", "gfn_envs/Game24-v0"
SMALL_BATCH = {"problems_per_step": 2, "samples_per_problem": 3, "warm_start": 0}
SMALL_PPO = {"num_envs": 2, "n_steps": 8, "batch_size": 8, "width": 16}
TRAINED = {
    "gflownet": {**SMALL_BATCH, "demonstrations_per_problem": 0},
    "reinforce": SMALL_BATCH,
    "grpo": SMALL_BATCH,
    "ppo_clip": SMALL_BATCH,
    "sft": {"problems_per_step": 2, "demonstrations_per_problem": 3},
    "ppo": SMALL_PPO,
    "maskable_ppo": SMALL_PPO,
    "recurrent_ppo": SMALL_PPO,
}
NEEDED = {"recurrent_ppo": {"history": "all"}}
"""Keywords of environments without which a method does not learn."""


def first_problem(name, **options):
    env = make_env(name, **options)
    return env.task, env.problems.sample(np.random.default_rng(0))


def plays(agent, env_id=NUMBER_LINE, episodes=6, **options):
    env = make_env(env_id.rsplit("/")[-1].removesuffix("-v0"), split="test", **options)
    rng = np.random.default_rng(3)
    return rollout(env.task, agent, [env.problems.sample(rng) for _ in range(episodes)], rng)


# -- registered agents -----------------------------------------------------------------------------
def test_the_baselines_are_registered():
    assert {"uniform", "untrained", *TRAINED} <= set(agent_names())


@pytest.mark.parametrize("name", TRAINED)
def test_a_budget_is_kept_within_one_batch_and_the_seed_decides(name, tmp_path):
    needed = NEEDED.get(name, {})

    def trained(steps, seed):
        agent = load_agent(name, **TRAINED[name])
        assert isinstance(agent, TrainableAgent)
        agent.learn(NUMBER_LINE, Budget(environment_steps=steps), seed, {"split": "train", **needed})
        return agent

    horizon = make_env("NumberLine").task.horizon
    largest_batch = 16 if "ppo" in name and name != "ppo_clip" else 6 * horizon
    assert 0 < trained(1, 1).costs["environment_steps"] <= largest_batch
    agent, twin = trained(3 * largest_batch, 1), trained(3 * largest_batch, 1)
    assert 3 * largest_batch <= agent.costs["environment_steps"] < 4 * largest_batch
    assert agent.costs == {**twin.costs, **{k: v for k, v in agent.costs.items() if "seconds" in k}}
    assert 0 < agent.curve[-1]["environment_steps"] <= agent.costs["environment_steps"]
    assert all(0 <= row["success"] <= 1 for row in agent.curve)
    assert plays(agent, **needed) == plays(twin, **needed)
    agent.save(tmp_path / "agent")
    loaded = load_agent(tmp_path / "agent")
    assert type(loaded) is type(agent)
    assert plays(loaded, **needed) == plays(agent, **needed)
    assert loaded.costs == agent.costs


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_baselines_learn_on_game24(name):
    agent = load_agent(name, **TRAINED[name])
    needed = NEEDED.get(name, {})
    agent.learn(GAME24, Budget(environment_steps=40), 0, needed)
    assert 40 <= agent.costs["environment_steps"] <= 40 + 18
    assert all(trajectory.complete for trajectory in plays(agent, GAME24, **needed))


def test_episodes_that_end_early_do_not_pass_for_all(monkeypatch):
    """Rounds are shorter than these episodes: the mean of the rounds' shares, 1, nan and 0, would be a half."""

    class Scripted:
        def __init__(self, *arguments, **options):
            self.arguments = {"num_envs": 4}
            ended = [(1, 1.0), (0, math.nan), (3, 0.0), (4, 0.5)]
            self.rows = [
                {"environment_steps": 8 * place, "episodes": episodes, "success": success}
                for place, (episodes, success) in enumerate(ended, 1)
            ]

        def learn(self, steps):
            return [self.rows.pop(0)]

    monkeypatch.setattr(PPOContestant, "algorithm", Scripted)
    agent = PPOContestant()
    agent.learn(NUMBER_LINE, Budget(environment_steps=32), 0)
    assert agent.curve == [
        {"environment_steps": 24, "success": 0.25},
        {"environment_steps": 32, "success": 0.5},
    ]


def test_training_starts_anew_and_moves_the_policy():
    agent = load_agent("gflownet", **SMALL_BATCH)
    before = plays(agent)
    agent.learn(NUMBER_LINE, Budget(environment_steps=1), 0)
    first = torch.nn.utils.parameters_to_vector(agent.policy.parameters())
    assert plays(load_agent("untrained")) == before
    assert not torch.equal(first, torch.nn.utils.parameters_to_vector(load_policy().parameters()))
    agent.learn(NUMBER_LINE, Budget(environment_steps=1), 0)
    assert torch.equal(first, torch.nn.utils.parameters_to_vector(agent.policy.parameters()))


def test_an_untrained_agent_learns_nothing(tmp_path):
    agent = load_agent("untrained")
    before = plays(agent)
    agent.learn(NUMBER_LINE, Budget(environment_steps=1000), 0)
    assert plays(agent) == before
    assert agent.costs["environment_steps"] == agent.costs["tokens"] == 0
    agent.save(tmp_path)
    assert plays(load_agent(tmp_path)) == before


def test_a_warm_start_is_part_of_the_budget():
    options = {**SMALL_BATCH, "warm_start": 100}
    agent = load_agent("reinforce", **options)
    agent.learn(NUMBER_LINE, Budget(environment_steps=50), 0)
    (only,) = [row["environment_steps"] for row in agent.curve]
    supervised = load_agent("sft")
    supervised.learn(NUMBER_LINE, Budget(environment_steps=50), 0)
    assert supervised.costs["environment_steps"] == only >= 50
    agent.learn(NUMBER_LINE, Budget(environment_steps=only + 100), 0)
    assert agent.costs["environment_steps"] >= only + 100


def test_tokens_are_counted_and_end_training():
    policy, meter, embedded = load_policy(), Meter(Budget(tokens=1)), []
    meter.count_tokens(policy)
    policy.model.get_input_embeddings().register_forward_hook(lambda layer, ids, out: embedded.append(ids[0].numel()))
    plays(policy)
    assert meter.tokens == sum(embedded) > 0
    assert meter.used_up
    agent = load_agent("grpo", **SMALL_BATCH)
    agent.learn(NUMBER_LINE, Budget(tokens=1), 0)
    assert len(agent.curve) == 1
    assert agent.costs["tokens"] > 1


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="there is no method 'a2c'; methods are untrained, sft"):
        PolicyAgent("a2c")
    with pytest.raises(ValueError, match="reinforce has no option 'epsilon'"):
        load_agent("reinforce", epsilon=0.1)
    with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
        SFTConfig(epochs=0)
    with pytest.raises(ValueError, match="ppo counts no tokens; give it a budget of environment_steps or seconds"):
        PPOContestant().learn(NUMBER_LINE, Budget(tokens=5), 0)
    with pytest.raises(ValueError, match="ppo has no network before it knows its environment; call learn or load"):
        PPOContestant().act(["a"], [["b"]], np.random.default_rng(0))


def test_tuned_options_are_options_of_their_method():
    for name in ("Game24", "NumberLine", "BlocksWorld", "PrOntoQA", "BlackJack", "Other"):
        for method in set(METHODS) - {"untrained"}:
            PolicyAgent(method, **tuned(method, f"gfn_envs/{name}-v0"))


@pytest.mark.parametrize("name", ["gflownet", "sft"])
def test_a_language_model_agent_learns_by_an_adapter(name, tmp_path):
    agent = load_agent(name, **TRAINED[name], use_peft=True, lora_r=2)
    agent.learn(NUMBER_LINE, Budget(environment_steps=30), 0)
    trained = {n for n, parameter in agent.policy.named_parameters() if parameter.requires_grad}
    assert trained
    assert all("lora_" in n or n.startswith("flow_head") for n in trained)
    agent.save(tmp_path / "agent")
    assert plays(load_agent(tmp_path / "agent")) == plays(agent)


def test_options_of_an_adapter_need_one():
    with pytest.raises(ValueError, match="lora_r is of adapters, which are not used; add use_peft"):
        load_agent("grpo", lora_r=2)
    with pytest.raises(ValueError, match="untrained has no option 'epsilon'; options are model, dtype, "):
        load_agent("untrained", epsilon=0.1)


def test_a_ppo_contestant_is_saved_without_its_problems_and_keeps_them(tmp_path):
    agent = load_agent("maskable_ppo", **SMALL_PPO)
    problems = [{"start": 0, "goal": 5}, {"start": 5, "goal": 0}]
    agent.learn(NUMBER_LINE, Budget(environment_steps=1), 0, {"split": "all", "problems": problems})
    agent.save(tmp_path)
    assert "problems" not in json.loads((tmp_path / "policy" / "agent.json").read_text())["env_kwargs"]
    assert agent.player.arguments["env_kwargs"]["problems"] == problems


# -- supervised fine-tuning ------------------------------------------------------------------------
@pytest.fixture
def shown():
    """Demonstrations of different lengths of one problem, and a table of all its states."""
    task = make_env("NumberLine", horizon=6).task
    problem = task.problem_from_json({"start": 2, "goal": 3})
    graph = enumerate_states(task, problem)
    table = TabularPolicy([(task.observe(s), a) for s, a in zip(graph.states, graph.actions, strict=True) if a])
    return demonstrations(task, problem, 12, np.random.default_rng(0)), table


def test_the_loss_is_minus_the_mean_log_likelihood(shown):
    trajectories, table = shown
    with torch.no_grad():
        table.logits += torch.randn(table.logits.shape, generator=torch.Generator().manual_seed(0))
    total = 0.0
    for trajectory in trajectories:
        for step in trajectory.steps:
            (p,) = table.action_probabilities([step.observation], [step.admissible_actions])
            total += math.log(p[step.admissible_actions.index(step.action)])
    assert len({len(trajectory.steps) for trajectory in trajectories}) > 1
    assert sft_loss(table, trajectories).item() == pytest.approx(-total / len(trajectories), rel=1e-12)


def test_the_optimum_is_the_distribution_of_the_demonstrations(shown):
    trajectories, table = shown
    optimizer = torch.optim.Adam(table.parameters(), 0.1)
    for _ in range(600):
        optimizer.zero_grad()
        sft_loss(table, trajectories).backward()
        optimizer.step()

    def frequencies(weight):
        chosen = defaultdict(Counter)
        for trajectory in trajectories:
            for step in trajectory.steps:
                chosen[step.observation, step.admissible_actions][step.action] += weight(trajectory)
        return {place: [counts[a] / counts.total() for a in place[1]] for place, counts in chosen.items()}

    wanted = frequencies(lambda trajectory: 1)
    mean_over_steps = frequencies(lambda trajectory: 1 / len(trajectory.steps))  # the optimum of another loss
    assert max(abs(wanted[place][0] - mean_over_steps[place][0]) for place in wanted) > 0.05
    for (observation, legal), expected in wanted.items():
        np.testing.assert_allclose(table.action_probabilities([observation], [legal])[0], expected, atol=5e-3)


def test_supervision_raises_the_likelihood_of_fresh_demonstrations(shown):
    _, table = shown
    task = make_env("NumberLine", horizon=6).task
    problems = ProblemSet((task.problem_from_json({"start": 2, "goal": 3}),))
    told = []

    def go_on(steps):
        told.append(steps)
        return steps < 300

    supervise(table, task, problems, SFTConfig(2, 4, learning_rate=0.1), np.random.default_rng(0), go_on)
    fresh = demonstrations(task, problems.problems[0], 12, np.random.default_rng(9))
    assert sft_loss(table, fresh).item() < 0.9 * sum(len(t.steps) for t in fresh) / len(fresh) * math.log(2)
    assert told[0] == 0
    assert told == sorted(told)
    assert told[-2] < 300 <= told[-1]


def test_supervision_takes_each_step_at_the_learning_rate_of_its_schedule(shown):
    task = make_env("NumberLine", horizon=6).task
    problems = ProblemSet((task.problem_from_json({"start": 2, "goal": 3}),))

    def trained(learning_rate, batches, epochs=1):
        table, told = deepcopy(shown[1]), iter([True] * batches + [False])
        config = SFTConfig(1, 4, epochs, learning_rate)
        supervise(table, task, problems, config, np.random.default_rng(0), lambda steps: next(told))
        return table.logits.detach()

    one, two = (trained(0.1, batches) for batches in (1, 2))
    zero_from_the_second_on = Schedule(0.1, 0.0, 1, "linear")
    assert not torch.equal(one, two)
    assert torch.equal(trained(zero_from_the_second_on, 4), one)
    assert torch.equal(trained(zero_from_the_second_on, 1, epochs=3), one)
    assert torch.equal(trained(Schedule(0.1), 2), two)
    with pytest.raises(ValueError, match=r"learning_rate must be positive, got 0\.0"):
        SFTConfig(learning_rate=Schedule(0.0, 0.1, 5, "linear"))


def test_under_chance_the_best_player_is_imitated_losses_included():
    task, problem = first_problem("BlackJack")
    graph = enumerate_states(task, problem)
    found = demonstrator(task)(problem, 2000, np.random.default_rng(0))
    optimum = analyse_graph(graph).optimum
    assert 0.1 < optimum < 0.9
    assert np.mean([t.success for t in found]) == pytest.approx(optimum, abs=5 * math.sqrt(optimum / 2000))


# -- yardsticks ------------------------------------------------------------------------------------
FAMILIES = [
    ("Game24", {}),
    ("NumberLine", {}),
    ("BlocksWorld", {"difficulty": "easy"}),
    ("PrOntoQA", {"difficulty": "easy"}),
    ("BlackJack", {}),
]


@pytest.mark.parametrize(("name", "options"), FAMILIES)
def test_the_exact_sampler_reaches_the_target(name, options):
    task, problem = first_problem(name, **options)
    graph = enumerate_states(task, problem)
    for beta in (1.0, 0.5):
        reached = graph.reached(graph.policy_of(exact_sampler(task, [problem], beta)))
        np.testing.assert_allclose(reached, graph.target(beta), atol=1e-12)


@pytest.mark.parametrize(("name", "options"), FAMILIES)
def test_the_optimal_player_reaches_the_optimum(name, options):
    env = make_env(name, **options)
    problems = env.problems.take(3, np.random.default_rng(0))
    player = optimal_player(env.task, problems)
    for problem in problems:
        graph = enumerate_states(env.task, problem)
        policy = graph.policy_of(player)
        assert graph.reached(policy) @ graph.successes == pytest.approx(analyse_graph(graph).optimum, abs=1e-12)
        assert all(trajectory.complete for trajectory in rollout(env.task, player, [problem], np.random.default_rng(0)))


@pytest.mark.parametrize("name", ["Game24", "NumberLine"])
def test_one_sampler_serves_all_problems(name):
    env = make_env(name)
    problems = env.problems.take(5, np.random.default_rng(0))
    sampler = exact_sampler(env.task, problems)
    for problem in problems:
        graph = enumerate_states(env.task, problem)
        np.testing.assert_allclose(graph.reached(graph.policy_of(sampler)), graph.target(), atol=1e-12)


def test_what_no_yardstick_can_do_is_said():
    env = make_env("NumberLine")
    without_start = HiddenFields(env.task, r"Start: \d+\. ")
    with pytest.raises(ValueError, match="look alike and need different play"):
        exact_sampler(without_start, env.problems)
    with pytest.raises(EnumerationLimit, match="use a smaller problem or pass limit="):
        optimal_player(env.task, env.problems, limit=5)
    task, problem = first_problem("Game24")
    with pytest.raises(ValueError, match="no problem that this agent was made from shows 'Hello'"):
        optimal_player(task, [problem]).act(["Hello"], [["a"]], np.random.default_rng(0))
