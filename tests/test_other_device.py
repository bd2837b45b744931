"""Whatever a policy does on a GPU it must do with tensors that are all there: shown on a pretended one.

Its numbers are the CPU's, so results are the same, bit by bit but where torch has another kernel for the CPU.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from baselines.sft import SFTConfig, supervise
from examples.hypergrid import HyperGrid
from gfn_agents import GFlowNetAgent, TrainConfig, Trainer
from gfn_agents.checkpointing import list_checkpoints
from gfn_agents.language_model import LanguageModelPolicy
from gfn_agents.model_options import ModelOptions
from gfn_agents.objectives import OBJECTIVES
from gfn_agents.policy import TabularPolicy
from gfn_agents.prompts import PromptTemplate
from gfn_envs.evaluation import evaluate_agent
from gfn_envs.exact import enumerate_states
from gfn_envs.problems import ProblemSet
from gfn_envs.tasks.game24 import Game24, Game24Problem
from gfn_envs.tasks.numberline import NumberLine, NumberLineProblem
from tests.pretend_device import Elsewhere, Rules, pretend_device
from tests.test_language_model import byte_tokenizer, make_model
from tests.test_pretrained import model_folder
from tests.test_speed_paths import with_adapter

GAME = Game24(count=3)
PUZZLES = ProblemSet((Game24Problem((2, 3, 4)), Game24Problem((1, 4, 6))))
LINE = NumberLine(high=2, horizon=3)
WALKS = ProblemSet((NumberLineProblem(0, 2, 0, 2), NumberLineProblem(2, 1, 0, 2)))
LONG = PromptTemplate(instructions="These words come before each prompt, so they are a trunk of all rows. " * 3)


@pytest.fixture
def device():
    """The pretended GPU, as long as a test runs."""
    with pretend_device() as there:
        yield there


def policy_on(device, name="llama", adapter=False, dtype=torch.float32, **options):
    model = make_model(name)
    model = (with_adapter(model) if adapter else model).to(dtype)
    model = model if device is None else model.to(device)
    return LanguageModelPolicy(model, byte_tokenizer(), **{"row_budget": 400, **options})


def asked(task=GAME, problems=PUZZLES):
    """The first two states of each problem: what they show, and the legal actions."""
    states = [task.reset(problem) for problem in problems]
    states += [task.step(state, task.actions(state)[0]) for state in states]
    return [task.observe(state) for state in states], [task.actions(state) for state in states]


def held(tensor):
    return tensor.held if isinstance(tensor, Elsewhere) else tensor


def weights(policy):
    return {name: held(parameter.detach()) for name, parameter in policy.named_parameters()}


def assert_same(got, wanted, tolerance=1e-6):
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(got[name], value, rtol=tolerance, atol=tolerance, msg=name)


# -- the device keeps CUDA's rules -----------------------------------------------------------------
@pytest.mark.parametrize(
    "mistake",
    [
        lambda there: there + torch.ones(3),
        lambda there: torch.cat([there[0], torch.ones(3)]),
        lambda there: there.index_add(0, torch.tensor([1]), there[:1]),
        lambda there: torch.ones(3)[there[0].long()],
        lambda there: there.add_(torch.ones(3)),
        lambda there: there.numpy(),
        lambda there: np.asarray(there),
    ],
)
def test_what_raises_on_a_gpu_raises(device, mistake):
    with pytest.raises((RuntimeError, TypeError)):
        mistake(torch.zeros(2, 3, device=device))


def test_what_a_gpu_allows_gives_the_numbers_of_the_cpu(device):
    there = torch.arange(6.0, device=device).reshape(2, 3)
    there[0].add_(1)  # through a view
    assert there.tolist() == [[1, 2, 3], [3, 4, 5]]
    assert (there * torch.tensor(2.0))[torch.tensor([1])].cpu().numpy().tolist() == [[6, 8, 10]]
    assert there.device == torch.device("pretend", 0) == torch.tensor([1], device=device).device
    here = torch.zeros(2, 3)
    here.copy_(there)
    assert torch.equal(here, there.cpu())
    assert not isinstance(here, Elsewhere)
    there.requires_grad_().square().sum().backward()
    assert there.grad.device == device
    assert there.grad.tolist() == [[2, 4, 6], [6, 8, 10]]


def test_for_other_tests_there_is_no_such_device():
    with pretend_device():
        assert torch.accelerator.is_available()
    assert not torch.accelerator.is_available()


# -- policies --------------------------------------------------------------------------------------
@pytest.mark.parametrize("options", [{}, {"template": LONG}, {"row_budget": 60}, {"rows_in_memory": 1}])
@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2"])
def test_a_policy_says_the_same_elsewhere(device, name, options):
    observations, actions = asked()
    here, there = policy_on(None, name, **options), policy_on(device, name, **options)
    for got, wanted in zip(
        there.action_probabilities(observations, actions), here.action_probabilities(observations, actions), strict=True
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-4)
    np.testing.assert_allclose(
        there.log_flow(observations).tolist(), here.log_flow(observations).tolist(), rtol=1e-4, atol=1e-6
    )
    generators = np.random.default_rng(0), np.random.default_rng(0)
    assert there.act(observations, actions, generators[0]) == here.act(observations, actions, generators[1])


@pytest.mark.filterwarnings("ignore:.*padded")
def test_padded_batches_say_the_same_elsewhere(device):
    observations, actions = asked()
    here, there = (policy_on(place, "mistral with a window") for place in (None, device))
    np.testing.assert_allclose(
        np.concatenate(there.action_probabilities(observations, actions)),
        np.concatenate(here.action_probabilities(observations, actions)),
        rtol=1e-4,
    )


def test_thoughts_are_the_same_elsewhere(device):
    observations, _ = asked()
    here, there = (policy_on(place, template=replace(LONG, thought_tokens=3)) for place in (None, device))
    thoughts = here.think(observations, np.random.default_rng(0))
    assert there.think(observations, np.random.default_rng(0)) == thoughts
    torch.testing.assert_close(
        held(there.thought_log_probs(observations, thoughts)), here.thought_log_probs(observations, thoughts)
    )


# -- training --------------------------------------------------------------------------------------
OPTIONS = {"problems_per_step": 2, "samples_per_problem": 4, "steps": 2, "learning_rate": 1e-3, "seed": 3}
GAMES = [
    *({"objective": name} for name in OBJECTIVES if "modified" not in name and "forward" not in name),
    {"local_search": "metropolis", "branches_per_sample": 1, "repellence": 1.0, "demonstrations_per_problem": 2},
    {"updates_per_batch": 2, "distance_every": 1, "warmup_steps": 2},
]


POLICY_GRADIENTS = ("reinforce", "grpo", "ppo_clip")


def trained(device, task, problems, options, folder=None, **of_policy):
    config = TrainConfig(**{**OPTIONS, **options})
    if config.objective in POLICY_GRADIENTS:
        config = replace(config, epsilon=0.0, replay_per_problem=0)
    # In double precision, as Adam makes a step of the rounding where a gradient is nearly 0, on each processor another.
    trainer = Trainer(task, problems, policy_on(device, dtype=torch.float64, **of_policy), config, folder)
    reports = []
    trainer.run(reports.append)
    return trainer, [(report.loss, report.gradient_norm, report.distance or 0.0) for report in reports]


def compare_training(device, task, problems, options, **of_policy):
    here, wanted = trained(None, task, problems, options, **of_policy)
    there, got = trained(device, task, problems, options, **of_policy)
    assert got == [pytest.approx(row, rel=1e-6) for row in wanted]
    observations, _ = asked(task, problems)
    torch.testing.assert_close(
        held(there.policy.log_flow(observations)), here.policy.log_flow(observations), rtol=1e-6, atol=1e-6
    )
    assert all(isinstance(parameter.data, Elsewhere) for parameter in there.policy.parameters())
    before = weights(policy_on(None, dtype=torch.float64, **of_policy))
    assert any(not torch.equal(before[name], value) for name, value in weights(here.policy).items())


@pytest.mark.parametrize("options", GAMES, ids=lambda options: "-".join(map(str, options.values())))
def test_training_is_the_same_elsewhere(device, options):
    # Policy gradients learn only where some samples are solved and others are not: here that is on the line.
    task, problems = (LINE, WALKS) if options.get("objective") in POLICY_GRADIENTS else (GAME, PUZZLES)
    compare_training(device, task, problems, options)


def test_a_training_step_hardly_waits_for_the_device(device):
    """Once for each step of an episode, and for a batch with its loss, however many rows it takes."""
    waits = []
    for of_policy in ({}, {"row_budget": 60, "rows_in_memory": 100}):
        trainer = Trainer(GAME, PUZZLES, policy_on(device, **of_policy), TrainConfig(**OPTIONS))
        before = Rules.waits
        sample = trainer._sample([PUZZLES.problems[0]], trainer._streams([PUZZLES.problems[0]]))
        assert Rules.waits - before == max(len(trajectory.steps) for trajectory in sample.fresh)
        before = Rules.waits
        trainer._update(sample.fresh, None)
        waits.append(Rules.waits - before)
    assert waits[0] == waits[1] <= 17  # loss, gradient norm, and what goes into them


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if "modified" in name or "forward" in name])
def test_training_with_partial_rewards_is_the_same_elsewhere(device, name):
    task = HyperGrid(side=3)
    compare_training(device, task, task.problems(), {"objective": name, "epsilon": 0.5})


def test_a_learned_backward_policy_is_the_same_elsewhere(device):
    compare_training(device, LINE, WALKS, {"backward": "learned"})


@pytest.mark.parametrize("options", [{}, {"objective": "relative_trajectory_balance"}], ids=["vargrad", "relative"])
def test_an_adapter_trains_the_same_elsewhere(device, options):
    compare_training(device, GAME, PUZZLES, options, adapter=True)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"objective": "trajectory_balance"}], ids=["vargrad", "balance"])
def test_thoughts_train_the_same_elsewhere(device, options):
    options = {**options, "samples_per_problem": 2}
    compare_training(device, GAME, PUZZLES, options, template=PromptTemplate(thought_tokens=2))


def test_rows_that_are_evaluated_again_train_the_same_elsewhere(device):
    compare_training(device, GAME, PUZZLES, {}, row_budget=60, rows_in_memory=1, template=LONG)


def test_imitation_is_the_same_elsewhere(device):
    policies = [policy_on(None), policy_on(device)]
    for policy in policies:
        supervise(policy, GAME, PUZZLES, SFTConfig(2, 2), np.random.default_rng(0), lambda steps: steps < 20)
    assert_same(weights(policies[1]), weights(policies[0]), 1e-5)


# -- from here to there and back -------------------------------------------------------------------
@pytest.mark.slow
@pytest.mark.parametrize("use_peft", [False, True])
def test_an_agent_is_loaded_anywhere(device, tmp_path, use_peft):
    folder, (observations, actions) = model_folder(tmp_path / "model"), asked()
    agent = GFlowNetAgent(
        "gfn_envs/Game24-v0",
        folder,
        {"count": 3},
        steps=1,
        objective="trajectory_balance",
        model_options=ModelOptions(device="pretend", use_peft=use_peft),
    )
    assert agent.policy.device == device
    agent.learn()
    agent.save(tmp_path / "agent")
    wanted = agent.action_probabilities(observations, actions)
    for place in ("cpu", "pretend"):
        loaded = GFlowNetAgent.load(tmp_path / "agent", place)
        assert loaded.policy.device.type == place
        for got, expected in zip(loaded.action_probabilities(observations, actions), wanted, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [False, True])
def test_a_run_goes_on_elsewhere(device, tmp_path, adapter):
    options = {"objective": "trajectory_balance", "steps": 4, "samples_per_problem": 2}
    unbroken, _ = trained(device, GAME, PUZZLES, options, adapter=adapter)
    trained(None, GAME, PUZZLES, {**options, "steps": 2}, tmp_path, adapter=adapter)
    config = TrainConfig(**{**OPTIONS, **options})
    resumed = Trainer(GAME, PUZZLES, policy_on(device, adapter=adapter, dtype=torch.float64), config, tmp_path)
    resumed.load_checkpoint(list_checkpoints(tmp_path)[-1])
    resumed.run()
    assert_same(weights(resumed.policy), weights(unbroken.policy), 1e-4)


def test_an_evaluation_is_the_same_elsewhere(device):
    scores = [
        [one.scores for one in evaluate_agent(GAME, policy_on(place), PUZZLES, 4, 2, np.random.default_rng(0), True)]
        for place in (None, device)
    ]
    for got, wanted in zip(*scores, strict=True):
        assert got == pytest.approx(wanted, rel=1e-4, nan_ok=True)


def test_a_table_plays_elsewhere(device):
    graph = enumerate_states(GAME, PUZZLES.problems[0])
    states = [(GAME.observe(state), graph.actions[i]) for i, state in enumerate(graph.states) if graph.actions[i]]
    table = TabularPolicy(states).to(device)
    trainer = Trainer(GAME, ProblemSet(PUZZLES.problems[:1]), table, TrainConfig(**OPTIONS))
    trainer.run()
    assert trainer.steps_done == OPTIONS["steps"]
