"""The trainer: reaches the exact target from its own samples, and survives being killed."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from examples.hypergrid import Grid, HyperGrid
from gfn_agents.batch import scored_batch
from gfn_agents.checkpointing import list_checkpoints
from gfn_agents.config import TrainConfig, check_config
from gfn_agents.exploration import Tempered, demonstrations
from gfn_agents.language_model import LanguageModelPolicy
from gfn_agents.objectives import OBJECTIVES, squared, vargrad
from gfn_agents.policy import TabularPolicy, temper
from gfn_agents.replay import ReplayBuffer
from gfn_agents.trainer import Trainer
from gfn_envs.exact import analyse_graph, enumerate_states
from gfn_envs.metrics import total_variation
from gfn_envs.problems import ProblemSet
from gfn_envs.rollout import rollout
from gfn_envs.stochastic import HiddenFields
from gfn_envs.task import LOG_REWARD_FLOOR
from gfn_envs.tasks.blackjack import BlackJack, BlackJackProblem
from gfn_envs.tasks.blocksworld import BlocksWorld
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


PLACES = {
    "tree": (GAME, PUZZLE),
    "merged": (LINE, WALK),
    "chance": (BlackJack(), BlackJackProblem((8, 10), 10)),
    "grid": (HyperGrid(side=4), Grid(2, 4)),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "place"),
    [
        ("vargrad", "tree"),
        ("trajectory_balance", "merged"),
        ("detailed_balance", "chance"),
        ("sub_trajectory_balance", "merged"),
        ("forward_looking_detailed_balance", "grid"),
        ("modified_detailed_balance", "grid"),
    ],
)
def test_a_table_reaches_the_exact_target_from_its_own_samples(objective, place):
    task, problem = PLACES[place]
    graph = enumerate_states(task, problem)
    policy = table_for(graph)
    config = TrainConfig(
        steps=800,
        problems_per_step=1,
        samples_per_problem=32,
        objective=objective,
        learning_rate=0.3,
        flow_learning_rate=1.0,
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


def test_an_interrupted_trainer_itself_goes_on_from_its_checkpoint(tmp_path):
    """As in a notebook: what was stored after the checkpoint must not stay in replay."""
    unbroken, broken = small_trainer(tmp_path / "unbroken"), small_trainer(tmp_path / "broken")
    unbroken.run()

    def interrupt(report):
        if report.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken.run(interrupt)
    broken.load_checkpoint(list_checkpoints(tmp_path / "broken")[-1])
    assert broken.steps_done == 2
    broken.run()
    for name, tensor in weights(unbroken).items():
        assert torch.equal(tensor, weights(broken)[name]), name


def test_training_changes_the_policy_and_counts_what_it_costs():
    trainer = small_trainer()
    before = weights(trainer)
    reports = []
    trainer.run(reports.append)
    assert any(not torch.equal(before[name], tensor) for name, tensor in weights(trainer).items())
    assert [report.step for report in reports] == [1, 2, 3, 4]
    played, shown = 4 * 2 * 3, sum(len(demonstrated(problem)) for problem in trainer.problems)
    assert reports[-1].environment_steps == 2 * (played + shown), "every episode of this game has two steps"


def demonstrated(problem):
    return demonstrations(GAME, problem, 2, np.random.default_rng(0))


def test_a_damaged_checkpoint_is_named(tmp_path):
    trainer = small_trainer(tmp_path, steps=2)
    trainer.run()
    checkpoint = list_checkpoints(tmp_path)[-1]
    (checkpoint / "optimizer.safetensors").unlink()
    with pytest.raises(ValueError, match="damaged"):
        small_trainer(tmp_path).load_checkpoint(checkpoint)


def test_a_checkpoint_that_lost_its_replay_is_named(tmp_path):
    small_trainer(tmp_path, steps=2, replay_per_problem=1).run()
    (checkpoint,) = list_checkpoints(tmp_path)[-1:]
    (checkpoint / "replay.jsonl").write_text("")
    with pytest.raises(ValueError, match=r"damaged .*replay\.jsonl has 0 of \d+ trajectories.*remove it to go on"):
        small_trainer(tmp_path, replay_per_problem=1).load_checkpoint(checkpoint)


def test_a_half_written_checkpoint_is_not_seen_and_not_kept(tmp_path):
    trainer = small_trainer(tmp_path, steps=2)
    trainer.run()
    (tmp_path / "checkpoints" / ".partial-step-000004").mkdir()
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-000002"]
    trainer.save_checkpoint()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000002"]


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
        vargrad(scored_batch(policy, played, 1.0)).loss(squared).backward()
        found.append({name: p.grad.clone() for name, p in policy.model.named_parameters()})
    for name, gradient in found[0].items():
        scale = max(float(gradient.abs().max()), 1e-3)
        assert torch.allclose(gradient, found[1][name], atol=1e-5 * scale), name


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"updates_per_batch": 0}, "updates_per_batch must be at least 1"),
        ({"max_steps": 0}, "max_steps must be at least 1"),
        ({"subtb_lambda": 0.0}, "subtb_lambda must be positive"),
        ({"backward": "learnt"}, "backward must be one of uniform, learned, got 'learnt'"),
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


NO_REPLAY = {"replay_per_problem": 0, "epsilon": 0.0}
FL, MODIFIED = "forward_looking_detailed_balance", "modified_detailed_balance"


@pytest.mark.parametrize(
    ("task", "options", "reason"),
    [
        (BlackJack(), {}, "vargrad is right on tasks without chance only, and 'blackjack' has chance: .*detailed_bal"),
        (BlackJack(), {"objective": "sub_trajectory_balance"}, "'blackjack' has chance"),
        (GAME, {"objective": FL}, f"{FL} needs partial rewards, and 'game24' has none .*; use detailed_balance"),
        (HiddenFields(GAME, "x"), {"objective": FL}, "'game24' has none"),
        (GAME, {"objective": MODIFIED}, "needs an action that stops anywhere, and 'game24' has none"),
        (GAME, {"samples_per_problem": 1}, "vargrad needs at least 2 trajectories per problem, got 1"),
        (GAME, {"samples_per_problem": 1, "objective": "grpo", **NO_REPLAY}, "grpo needs at least 2"),
        (GAME, {"objective": "reinforce"}, "own samples only; set replay_per_problem=0$"),
        (GAME, {"objective": "reinforce", "epsilon": 0.1}, "own samples only; set replay_per_problem=0, epsilon=0$"),
        (GAME, {"objective": "reinforce", "updates_per_batch": 2, **NO_REPLAY}, "or use ppo_clip"),
        (GAME, {"max_steps": 2}, "vargrad needs trajectories that come to their end; leave max_steps out"),
        (GAME, {"backward": "learned"}, "every trajectory of 'game24' is an object of its own"),
        (LINE, {"backward": "learned", "objective": "relative_trajectory_balance"}, "because it needs none"),
    ],
)
def test_an_objective_that_does_not_fit_is_refused_in_one_sentence(task, options, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        Trainer(task, task.problems(), TabularPolicy([("", ("a",))]), TrainConfig(**options))
    assert "\n" not in str(caught.value)


class SharedEnd(HyperGrid):
    """Says that there are other ways to the end that stopping leads to."""

    def parents(self, state):
        return super().parents(state) * 2


def test_stopping_must_be_the_only_way_to_its_end():
    with pytest.raises(ValueError, match="only way to the end that it leads to, and in 'hypergrid' 'stop' is not"):
        Trainer(SharedEnd(), SharedEnd().problems(), TabularPolicy([("", ("a",))]), TrainConfig(objective=MODIFIED))


def expected_return(graph, policy):
    """Returns the exact expectation of R at the end."""
    return float(graph.reached(graph.policy_of(policy)) @ np.exp(graph.log_rewards))


@pytest.mark.parametrize("task", [HyperGrid(side=3), BlackJack()], ids=["hypergrid", "blackjack"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_trains_where_it_is_right(name, task):
    problem = BlackJackProblem((8, 10), 10) if isinstance(task, BlackJack) else Grid(2, 3)
    graph = enumerate_states(task, problem)
    policy = table_for(graph)
    others = {"samples_per_problem": 16, "learning_rate": 0.05, "flow_learning_rate": 0.1, "max_grad_norm": 100.0}
    config = TrainConfig(steps=20, objective=name, **others, **NO_REPLAY, regression="squared")
    if not task.deterministic and (not OBJECTIVES[name].chance or OBJECTIVES[name].flows == "forward_looking"):
        with pytest.raises(ValueError, match=r"has chance|partial rewards"):
            Trainer(task, ProblemSet((problem,)), policy, config)
        return
    reports, before = [], expected_return(graph, policy)
    Trainer(task, ProblemSet((problem,)), policy, config).run(reports.append)
    assert policy.logits.grad.abs().max() > 0
    if OBJECTIVES[name].policy_gradient:
        assert expected_return(graph, policy) > 1.1 * before
    else:
        assert np.mean([r.loss for r in reports[-3:]]) < 0.5 * np.mean([r.loss for r in reports[:3]])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reinforce", "grpo", "ppo_clip"])
def test_policy_gradients_reach_the_optimum(name):
    """The most that anyone can win, not the target in proportion to the reward."""
    graph = enumerate_states(BlackJack(), BlackJackProblem((2, 10), 6))
    policy = table_for(graph)
    updates = 1 if name == "reinforce" else 3
    config = TrainConfig(
        steps=250,
        problems_per_step=1,
        samples_per_problem=32,
        objective=name,
        updates_per_batch=updates,
        learning_rate=0.05,
        max_grad_norm=100.0,
        **NO_REPLAY,
    )
    Trainer(graph.task, ProblemSet((graph.problem,)), policy, config).run()
    won = float(graph.reached(graph.policy_of(policy)) @ graph.successes)
    analysis = analyse_graph(graph)
    assert analysis.chance < analysis.optimum - 0.05
    assert won > analysis.optimum - 0.01


def test_incomplete_trajectories_train_through_the_trainer():
    task = HyperGrid(side=4)
    config = TrainConfig(steps=3, objective=FL, max_steps=2, epsilon=0.5)
    policy = table_for(enumerate_states(task, Grid(2, 4)))
    trainer = Trainer(task, task.problems(), policy, config)
    reports = []
    trainer.run(reports.append)
    assert reports[-1].environment_steps <= 3 * 4 * 8 * 2
    assert policy.log_flows.grad.abs().max() > 0


def test_what_breaks_off_counts_as_a_failure():
    """Its partial reward is 1 where the rules have none, which is no success."""
    policy = table_for(enumerate_states(LINE, WALK))
    config = TrainConfig(objective="detailed_balance", max_steps=1, replay_per_problem=0)
    report = Trainer(LINE, ProblemSet((WALK,)), policy, config).step()
    assert report.success == 0
    assert report.log_reward == pytest.approx(LOG_REWARD_FLOOR)


def test_ratios_are_to_the_policy_before_the_first_update():
    """Many updates from one batch stay within the clip range, and go beyond it without."""
    moved = {}
    for clip_range in (0.1, 1e6):
        policy = table_for(enumerate_states(LINE, WALK))
        config = TrainConfig(
            steps=1,
            problems_per_step=1,
            samples_per_problem=32,
            objective="ppo_clip",
            clip_range=clip_range,
            updates_per_batch=60,
            learning_rate=0.02,
            max_grad_norm=100.0,
            **NO_REPLAY,
        )
        Trainer(LINE, ProblemSet((WALK,)), policy, config).run()
        moved[clip_range] = float(policy.logits.detach().softmax(-1).sub(0.5).abs().max())
    assert moved[0.1] < 0.15 < moved[1e6]


def test_the_reference_is_the_policy_at_the_start_and_survives_a_restart(tmp_path):
    unbroken = small_trainer(tmp_path / "unbroken", objective="relative_trajectory_balance")
    start = weights(unbroken)
    losses = []
    unbroken.run(lambda report: losses.append(report.loss))
    assert any(not torch.equal(start[name], tensor) for name, tensor in weights(unbroken).items())
    assert all(torch.equal(start[name], tensor) for name, tensor in unbroken.reference.state_dict().items())

    small_trainer(tmp_path / "broken", steps=2, objective="relative_trajectory_balance").run()
    second = small_trainer(tmp_path / "broken", objective="relative_trajectory_balance")
    with torch.no_grad():
        for parameter in second.reference.parameters():
            parameter.add_(0.1)  # it is read from the run's folder
    second.load_checkpoint(list_checkpoints(tmp_path / "broken")[-1])
    resumed = []
    second.run(lambda report: resumed.append(report.loss))
    assert resumed == losses[2:]


def test_a_run_from_before_an_option_goes_on_with_its_default(tmp_path):
    small_trainer(tmp_path, steps=2).run()
    path = list_checkpoints(tmp_path)[-1] / "trainer.json"
    saved = json.loads(path.read_text())
    del saved["config"]["subtb_lambda"]
    path.write_text(json.dumps(saved))
    small_trainer(tmp_path).load_checkpoint(path.parent)
    with pytest.raises(ValueError, match=r"subtb_lambda=0.9, not 0.5"):
        small_trainer(tmp_path, subtb_lambda=0.5).load_checkpoint(path.parent)


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


# -- exploration, wired ----------------------------------------------------------------------------
DEVICES = {
    "tempering that moves": {"temperature": 2.0, "temperature_end": 1.0, "schedule_steps": 4},
    "epsilon that moves": {"epsilon": 0.5, "epsilon_end": 0.0, "schedule_steps": 4, "schedule": "cosine"},
    "self-repellence": {"repellence": 2.0},
    "branches": {"branches_per_sample": 1},
    "branches by entropy": {"branches_per_sample": 2, "branch_at": "entropy"},
    "greedy local search": {"local_search": "greedy", "local_search_rounds": 2},
    "Metropolis": {"local_search": "metropolis"},
    "replay by reward": {"replay_kind": "reward", "replay_alpha": 0.5},
    "diverse replay": {"replay_per_solution": 2, "replay_min_distance": 2},
    "demonstrations": {"demonstrations_per_problem": 2},
    "warm-up": {"warmup_steps": 5},
    "falling learning rates": {"warmup_steps": 1, "lr_scheduler_type": "cosine"},
}


def wired(folder=None, **options):
    config = TrainConfig(**{"steps": 6, "samples_per_problem": 8, "learning_rate": 0.1, **options})
    return Trainer(GAME, ProblemSet((PUZZLE,)), table_for(enumerate_states(GAME, PUZZLE)), config, folder)


@pytest.mark.parametrize("device", DEVICES)
def test_every_device_can_be_switched_on_and_resumes_bit_by_bit(device, tmp_path):
    unbroken = wired(tmp_path / "unbroken", **DEVICES[device])
    unbroken.run()
    broken = wired(tmp_path / "broken", **DEVICES[device])
    broken.run(until=3)
    broken.save_checkpoint()
    resumed = wired(tmp_path / "broken", **DEVICES[device])
    resumed.load_checkpoint(list_checkpoints(tmp_path / "broken")[-1])
    resumed.run()
    assert torch.equal(resumed.policy.logits, unbroken.policy.logits)
    plain = wired()
    plain.run()
    assert not torch.equal(plain.policy.logits, unbroken.policy.logits), "it changes what is trained on"


def test_schedules_move_what_is_played(monkeypatch):
    seen = []

    def recorded(policy, temperature, epsilon):
        seen.append((temperature, epsilon))
        return Tempered(policy, temperature, epsilon)

    monkeypatch.setattr("gfn_agents.trainer.Tempered", recorded)
    wired(temperature=2.0, temperature_end=1.0, epsilon=0.4, epsilon_end=0.0, schedule_steps=4).run()
    assert seen == [(2.0, 0.4), (1.75, pytest.approx(0.3)), (1.5, 0.2), (1.25, pytest.approx(0.1)), (1, 0), (1, 0)]


def test_learning_rates_grow_over_the_first_steps_also_of_a_resumed_run(tmp_path):
    """Adam's first step moves every logit that has a gradient by the learning rate, whatever the gradient."""
    rate, folder = 0.1, tmp_path / "run"
    for steps in (1, 5):
        trainer = wired(folder, warmup_steps=4, learning_rate=rate, steps=steps)
        if list_checkpoints(folder):
            trainer.load_checkpoint(list_checkpoints(folder)[-1])
        before, seen = trainer.policy.logits.detach().clone(), []
        trainer.run(lambda report, t=trainer, s=seen: s.append([group["lr"] for group in t.optimizer.param_groups]))
        if steps == 1:
            assert float((trainer.policy.logits - before).detach().abs().max()) == pytest.approx(rate / 4, rel=1e-3)
            assert seen == [[rate / 4, 0.01 / 4]]
    assert [model for model, _ in seen] == pytest.approx([rate / 2, rate * 3 / 4, rate, rate])


@pytest.mark.parametrize(("kind", "last"), [("linear", 1 / 4), ("cosine", (1 - math.cos(math.pi / 4)) / 2)])
def test_learning_rates_fall_to_zero_just_after_the_last_step(kind, last):
    """Adam moves a logit whose gradient keeps its direction by the learning rate, so the last steps are short."""
    trainer = wired(warmup_steps=2, lr_scheduler_type=kind, learning_rate=0.1, steps=6)
    rates: list[tuple[float, float]] = []
    trainer.run(lambda report: rates.append(tuple(group["lr"] for group in trainer.optimizer.param_groups)))
    model = [rate for rate, _ in rates]
    assert model[:3] == pytest.approx([0.05, 0.1, 0.1])
    assert model[-1] == pytest.approx(0.1 * last)
    assert model[2:] == sorted(model[2:], reverse=True)
    assert [flow for _, flow in rates] == pytest.approx([rate / 10 for rate in model]), "the flow head's rate is .01"


def test_training_on_at_a_learning_rate_of_zero_is_refused():
    trainer = wired(lr_scheduler_type="linear", steps=3)
    trainer.run()
    with pytest.raises(ValueError, match=r"learning rate of zero after steps=3, .* step 5; set steps=5, or lr_sched"):
        trainer.run(until=5)
    assert trainer.steps_done == 3
    lasting = wired(steps=3)
    lasting.run(until=5)
    assert lasting.steps_done == 5


def test_constant_learning_rates_are_left_to_a_schedule_of_the_caller():
    trainer = wired(learning_rate=0.1, steps=3)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(trainer.optimizer, 0.5)
    rates: list[float] = []

    def on_step(report):
        rates.append(trainer.optimizer.param_groups[0]["lr"])
        scheduler.step()

    trainer.run(on_step)
    assert rates == pytest.approx([0.1, 0.05, 0.025])


def test_learning_rates_fall_only_after_they_have_grown():
    config = TrainConfig(steps=3, warmup_steps=5, lr_scheduler_type="linear")
    assert [config.learning_rate_factor(step) for step in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    assert replace(config, warmup_steps=0).learning_rate_factor(3) == 0.0


def test_what_local_search_and_branches_cost_is_counted():
    plain, branched, searched = wired(), wired(branches_per_sample=1), wired(local_search="greedy")
    reports = [trainer.step() for trainer in (plain, branched, searched)]
    steps = [report.environment_steps for report in reports]
    assert steps[1] == 2 * steps[0], "every episode of this game has two steps"
    assert steps[0] < steps[2] <= 2 * steps[0]


def test_training_stops_at_the_distance_and_says_it(tmp_path):
    trainer, reports = wired(tmp_path, steps=500, distance_every=5, stop_at_distance=0.1), []
    trainer.run(reports.append)
    measured = [report.distance for report in reports if report.distance is not None]
    assert len(measured) == len(reports) // 5
    assert measured[-1] < 0.1 <= min(measured[:-1])
    assert trainer.steps_done == len(reports) < 500
    assert list_checkpoints(tmp_path)[-1].name == f"step-{trainer.steps_done:06d}"
    assert trainer.target_reached
    resumed = wired(tmp_path, steps=500, distance_every=5, stop_at_distance=0.1)
    resumed.load_checkpoint(list_checkpoints(tmp_path)[-1])
    done = trainer.steps_done
    for one in (trainer, resumed):
        one.run()
        assert one.steps_done == done, "a run that has what it was started for is over"
        one.run(until=done + 2)
        assert one.steps_done == done + 2, "it trains on if that is asked for"


def test_the_distance_of_a_relative_objective_is_to_its_own_target():
    graph = enumerate_states(GAME, PUZZLE)
    policy = table_for(graph)
    with torch.no_grad():
        policy.logits.normal_(generator=torch.Generator().manual_seed(0))
    config = TrainConfig(objective="relative_trajectory_balance", distance_every=1, beta=2.0)
    meter = Trainer(GAME, ProblemSet((PUZZLE,)), policy, config).meter
    reached = graph.reached(graph.policy_of(policy))
    rewarded = reached * np.exp(2.0 * graph.log_rewards)
    target = rewarded / rewarded.sum()
    assert meter.measure(policy) == pytest.approx(total_variation(reached, target))
    assert total_variation(target, graph.target(2.0)) > 0.1, "the target of the other objectives is another one"


def test_a_request_to_stop_ends_one_run_only(tmp_path):
    trainer = wired(tmp_path, steps=9)

    def stop_after_two(report):
        trainer.stop_requested = report.step == 2

    trainer.run(stop_after_two)
    assert trainer.steps_done == 2
    trainer.run()
    assert trainer.steps_done == 9


def test_a_distance_that_cannot_be_known_is_refused():
    task = BlocksWorld(blocks=6, length=8, slack=12)
    with pytest.raises(ValueError, match="set distance_every=0"):
        Trainer(task, task.problems(), TabularPolicy([("a", ("b",))]), TrainConfig(distance_every=1))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"stop_at_distance": 0.1}, "distance_every"),
        ({"branches_per_sample": -1}, "branches_per_sample"),
        ({"lr_scheduler_type": "polynomial"}, "lr_scheduler_type must be one of constant, linear, cosine"),
        ({"local_search": "best"}, "local_search must be one of none, greedy, metropolis"),
        ({"epsilon_end": 2.0}, "epsilon_end"),
        ({"temperature": 0.0, "epsilon_end": 0.5}, "plays one trajectory again and again, as at step 0"),
        ({"temperature_end": 0.0, "schedule_steps": 7}, "plays one trajectory again and again, as at step 7"),
        ({"temperature_end": 0.0, "epsilon": 0.5, "epsilon_end": 0.0}, "as at step 100"),
        ({"temperature": 0.0, "temperature_end": 1.0, "schedule": "exponential"}, "exponential"),
        ({"objective": "grpo", "epsilon": 0.0, "replay_per_problem": 0, "repellence": 1.0}, "set repellence=0"),
    ],
)
def test_devices_that_make_no_sense_are_refused(options, reason):
    with pytest.raises(ValueError, match=reason):
        wired(**options)


def test_local_search_under_chance_is_refused():
    task = BlackJack()
    config = TrainConfig(objective="detailed_balance", local_search="greedy")
    with pytest.raises(ValueError, match="local_search=none and branches_per_sample=0"):
        Trainer(task, task.problems(), TabularPolicy([("a", ("b",))]), config)


def test_replay_tells_outcomes_of_the_same_actions_apart():
    task = BlackJack()
    problem = task.problems().problems[0]
    played = rollout(task, Sticking(), [problem] * 200, np.random.default_rng(0))
    replay = ReplayBuffer(capacity=100)
    replay.add(played)
    assert len(replay) == len({trajectory.solution for trajectory in played}) > 3


class Sticking:
    def act(self, observations, admissible_actions, rng):
        return ["stick" for _ in observations]


def test_the_last_checkpoint_is_the_one_of_the_greatest_step(tmp_path):
    for step in (999_950, 1_000_000, 50):
        (tmp_path / "checkpoints" / f"step-{step:06d}").mkdir(parents=True)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-000050", "step-999950", "step-1000000"]


def test_a_checkpoint_that_is_cut_short_is_named(tmp_path):
    wired(tmp_path, steps=1).run()
    (checkpoint,) = list_checkpoints(tmp_path)
    file = checkpoint / "optimizer.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"step-000001' is damaged .*remove it to go on from an older one"):
        wired(tmp_path, steps=2).load_checkpoint(checkpoint)
