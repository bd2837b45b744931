"""The trainer: reaches the exact target from its own samples, and survives being killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from gfn_agents.batch import scored_batch
from gfn_agents.config import TrainConfig, check_config
from gfn_agents.exploration import Tempered, demonstrations
from gfn_agents.language_model import LanguageModelPolicy
from gfn_agents.objectives import vargrad
from gfn_agents.policy import TabularPolicy, temper
from gfn_agents.replay import ReplayBuffer
from gfn_agents.trainer import Trainer, list_checkpoints
from gfn_envs.exact import enumerate_states
from gfn_envs.metrics import total_variation
from gfn_envs.problems import ProblemSet
from gfn_envs.rollout import rollout
from gfn_envs.tasks.blackjack import BlackJack
from gfn_envs.tasks.game24 import Game24, Game24Problem
from gfn_envs.tasks.numberline import NumberLine, NumberLineProblem
from tests.test_language_model import byte_tokenizer, make_model

GAME, PUZZLE = Game24(count=3), Game24Problem((2, 3, 4))
LINE, WALK = NumberLine(high=3, horizon=5, reward="inverse_distance"), NumberLineProblem(0, 2, 0, 3)


def table_for(*graphs):
    return TabularPolicy(
        [
            (graph.task.observe(state), actions)
            for graph in graphs
            for state, actions in zip(graph.states, graph.actions, strict=True)
            if actions
        ]
    )


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["vargrad", "trajectory_balance"])
@pytest.mark.parametrize("place", ["tree", "merged"])
def test_a_table_reaches_the_exact_target_from_its_own_samples(objective, place):
    task, problem = (GAME, PUZZLE) if place == "tree" else (LINE, WALK)
    graph = enumerate_states(task, problem)
    policy = table_for(graph)
    config = TrainConfig(
        steps=1000,
        problems_per_step=1,
        samples_per_problem=64,
        objective=objective,
        learning_rate=0.1,
        flow_learning_rate=0.3,
        max_grad_norm=100.0,
        epsilon=0.5,
        replay_per_problem=0,
        regression="squared",
    )
    trainer = Trainer(task, ProblemSet((problem,)), policy, config)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(trainer.optimizer, 0.993)
    trainer.run(lambda report: scheduler.step())
    assert total_variation(graph.reached(graph.policy_of(policy)), graph.target()) < 1e-3


def small_trainer(folder=None, **options):
    policy = LanguageModelPolicy(make_model("llama"), byte_tokenizer(), row_budget=300)
    config = TrainConfig(
        **{
            "steps": 4,
            "problems_per_step": 2,
            "samples_per_problem": 3,
            "checkpoint_every": 2,
            "demonstrations_per_problem": 2,
            "replay_per_problem": 2,
            "objective": "trajectory_balance",
            **options,
        }
    )
    problems = ProblemSet((PUZZLE, Game24Problem((1, 4, 6)), Game24Problem((2, 2, 6))))
    return Trainer(GAME, problems, policy, config, folder)


def weights(trainer):
    return {name: tensor.clone() for name, tensor in trainer.policy.state_dict().items()}


def test_a_resumed_run_equals_an_unbroken_one_bit_by_bit(tmp_path):
    unbroken = small_trainer(tmp_path / "unbroken")
    losses = []
    unbroken.run(lambda report: losses.append(report.loss))

    first = small_trainer(tmp_path / "broken", steps=2)
    first.run()
    second = small_trainer(tmp_path / "broken")
    second.load_checkpoint(list_checkpoints(tmp_path / "broken")[-1])
    resumed = []
    second.run(lambda report: resumed.append(report.loss))
    assert resumed == losses[2:]
    for name, tensor in weights(unbroken).items():
        assert torch.equal(tensor, weights(second)[name]), name


def test_training_changes_the_policy_and_counts_what_it_costs():
    trainer = small_trainer()
    before = weights(trainer)
    reports = []
    trainer.run(reports.append)
    assert any(not torch.equal(before[name], tensor) for name, tensor in weights(trainer).items())
    assert [report.step for report in reports] == [1, 2, 3, 4]
    assert reports[-1].environment_steps == 4 * 2 * 3 * 2


def test_a_damaged_checkpoint_is_named(tmp_path):
    trainer = small_trainer(tmp_path, steps=2)
    trainer.run()
    checkpoint = list_checkpoints(tmp_path)[-1]
    (checkpoint / "optimizer.safetensors").unlink()
    with pytest.raises(ValueError, match="damaged"):
        small_trainer(tmp_path).load_checkpoint(checkpoint)


def test_a_half_written_checkpoint_is_not_seen(tmp_path):
    trainer = small_trainer(tmp_path, steps=2)
    trainer.run()
    (tmp_path / "checkpoints" / ".partial-000004").mkdir()
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-000002"]


def test_other_options_are_refused_at_resume(tmp_path):
    small_trainer(tmp_path, steps=2).run()
    with pytest.raises(ValueError, match="epsilon"):
        small_trainer(tmp_path, epsilon=0.5).load_checkpoint(list_checkpoints(tmp_path)[-1])


def test_a_loss_that_is_not_finite_saves_its_batch(tmp_path):
    trainer = small_trainer(tmp_path, objective="trajectory_balance")
    with torch.no_grad():
        trainer.policy.flow_head.bias.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="failed-batch-000001"):
        trainer.step()
    assert (tmp_path / "failed-batch-000001.jsonl").read_text().count("\n") >= 6


def test_gradients_in_chunks_equal_gradients_at_once():
    """A small row budget makes many checkpointed chunks; the gradient is the same one."""
    policy = LanguageModelPolicy(make_model("qwen2"), byte_tokenizer())
    played = rollout(GAME, policy, [PUZZLE] * 6, np.random.default_rng(0))
    found = []
    for budget in (100_000, 80):
        policy.row_budget = budget
        policy.zero_grad()
        vargrad(scored_batch(policy, played, 1.0, False)).square().mean().backward()
        found.append({name: p.grad.clone() for name, p in policy.model.named_parameters()})
    for name, gradient in found[0].items():
        scale = max(float(gradient.abs().max()), 1e-3)
        assert torch.allclose(gradient, found[1][name], atol=1e-5 * scale), name


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"samples_per_problem": 1}, "at least 2 trajectories per problem"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"beta": float("nan")}, "beta must be positive"),
        ({"epsilon": 1.5}, "epsilon must be from 0 to 1"),
        ({"objective": "trajectorybalance"}, "objective must be one of"),
        ({"demonstrations_per_problem": 1, "replay_per_problem": 0}, "replay"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, reason):
    with pytest.raises(ValueError, match=reason):
        check_config(TrainConfig(**options))


def test_a_task_with_chance_is_refused():
    task = BlackJack()
    with pytest.raises(ValueError, match="has chance"):
        Trainer(task, task.problems(), table_for(enumerate_states(GAME, PUZZLE)), TrainConfig())


def test_replay_keeps_no_duplicates_and_drops_old_failures_first():
    played = rollout(LINE, table_for(enumerate_states(LINE, WALK)), [WALK] * 200, np.random.default_rng(0))
    replay = ReplayBuffer(capacity=5)
    replay.add(played)
    replay.add(played)
    assert len(replay) == 5
    drawn = replay.sample(WALK.id, 5, np.random.default_rng(1))
    assert len({trajectory.actions for trajectory in drawn}) == 5
    assert all(trajectory.success for trajectory in drawn)
    assert replay.sample("unknown", 3, np.random.default_rng(0)) == []


def test_replay_draws_half_successes():
    played = rollout(LINE, table_for(enumerate_states(LINE, WALK)), [WALK] * 100, np.random.default_rng(0))
    replay = ReplayBuffer(capacity=1000)
    replay.add(played)
    drawn = replay.sample(WALK.id, 6, np.random.default_rng(0))
    assert sum(trajectory.success for trajectory in drawn) == 3


def test_replay_round_trips(tmp_path):
    replay, again = ReplayBuffer(10), ReplayBuffer(10)
    replay.add(rollout(LINE, table_for(enumerate_states(LINE, WALK)), [WALK] * 20, np.random.default_rng(0)))
    replay.save(tmp_path / "replay.jsonl")
    again.load(tmp_path / "replay.jsonl")
    assert again.sample(WALK.id, 10, np.random.default_rng(0)) == replay.sample(WALK.id, 10, np.random.default_rng(0))


def test_demonstrations_solve_and_differ():
    shown = demonstrations(Game24(), Game24Problem((4, 6, 6, 8)), 6, np.random.default_rng(0))
    assert len(shown) == 6
    assert all(trajectory.success and trajectory.source == "demonstration" for trajectory in shown)
    assert len({trajectory.actions for trajectory in shown}) == 6
    assert demonstrations(Game24(), Game24Problem((1, 1, 1, 1)), 6, np.random.default_rng(0)) == []


def test_tempering_by_hand():
    probabilities = np.array([0.8, 0.2])
    assert np.allclose(temper(probabilities, 0.5, 0.0), [0.64 / 0.68, 0.04 / 0.68])
    assert np.allclose(temper(probabilities, 0.0, 0.0), [1.0, 0.0])
    assert np.allclose(temper(probabilities, 1.0, 0.5), [0.65, 0.35])
    assert np.allclose(temper(np.array([1.0, 0.0]), 2.0, 0.0), [1.0, 0.0])


def test_the_behaviour_policy_alone_is_tempered():
    graph = enumerate_states(LINE, WALK)
    policy = table_for(graph)
    with torch.no_grad():
        policy.logits[:, 0] = 2.0
    greedy = rollout(LINE, Tempered(policy, temperature=0.0), [WALK] * 5, np.random.default_rng(0))
    assert len({trajectory.actions for trajectory in greedy}) == 1
    free = rollout(LINE, Tempered(policy, epsilon=1.0), [WALK] * 50, np.random.default_rng(0))
    assert len({trajectory.actions for trajectory in free}) > 5


KILLED_RUN = """
import sys
from pathlib import Path
from tests.test_trainer import small_trainer
trainer = small_trainer(Path(sys.argv[1]), steps=200, checkpoint_every=1)
trainer.run(lambda report: print(report.step, flush=True))
"""


@pytest.mark.slow
def test_a_killed_run_leaves_a_good_checkpoint(tmp_path):
    """Kills a run at several moments, also while it writes; the last checkpoint always loads."""
    for moment, wait in enumerate((0.0, 0.03, 0.07)):
        folder = tmp_path / str(moment)
        run = subprocess.Popen([sys.executable, "-c", KILLED_RUN, str(folder)], stdout=subprocess.PIPE, text=True)
        for line in run.stdout:
            if int(line) >= 2:
                break
        time.sleep(wait)
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        trainer = small_trainer(folder, steps=200, checkpoint_every=1)
        trainer.load_checkpoint(list_checkpoints(folder)[-1])
        assert trainer.steps_done >= 1
        assert (
            json.loads((list_checkpoints(folder)[-1] / "trainer.json").read_text())["steps_done"] == trainer.steps_done
        )
