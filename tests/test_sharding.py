"""A model divided between two processes: the same losses and weights as in one, whoever evaluates it how often."""

from __future__ import annotations

import json
import sys
from datetime import timedelta

import numpy as np
import pytest
import torch
from torch.distributed.fsdp import FSDPModule

from gfn_agents import language_model, processes, sharding
from gfn_agents.checkpointing import list_checkpoints
from gfn_agents.config import TrainConfig
from gfn_agents.language_model import LanguageModelPolicy
from gfn_agents.pretrained import checkpoint_layers, decoder_layers
from gfn_agents.prompts import PromptTemplate
from gfn_agents.trainer import Trainer
from gfn_envs.problems import ProblemSet
from gfn_envs.tasks.game24 import Game24, Game24Problem
from tests.test_language_model import byte_tokenizer, make_model
from tests.test_processes import LINE, ON_POLICY, WALKS, finish, launch, table_for

CARDS = tuple(Game24Problem(numbers) for numbers in ((2, 3, 4), (1, 4, 6), (2, 2, 6)))
SHARDED = {"ACCELERATE_USE_FSDP": "true"}
LONG = PromptTemplate("Make 24. " * 10)
THINKING = PromptTemplate("Make 24. " * 3, thought_tokens=2)
# GPT-2 is in float64 throughout; the norms of Llama and Mistral are float32.
CASES = {
    "gpt2": ({"local_search": "greedy", "branches_per_sample": 1, "epsilon": 0.02}, PromptTemplate()),
    "gpt2 flows": ({"objective": "detailed_balance"}, PromptTemplate()),
    "gpt2 reference": ({"objective": "relative_trajectory_balance"}, LONG),
    "gpt2 thoughts": ({"samples_per_problem": 2}, THINKING),
    "gpt2 many updates": ({"objective": "ppo_clip", "updates_per_batch": 2, **ON_POLICY}, PromptTemplate()),
    "gpt2 adapter": ({"objective": "relative_trajectory_balance"}, PromptTemplate()),
    "gpt2 distance": ({"distance_every": 1}, PromptTemplate()),
    "bfloat16 adapter": ({}, PromptTemplate()),
    "llama": ({}, LONG),
    "llama layers evaluated twice": ({}, PromptTemplate()),
    "mistral with a window": ({}, PromptTemplate()),
}
RESUMED = ("gpt2 adapter", "llama")


def make_trainer(case, folder=None, **options):
    """Returns a trainer whose steps have three problems, so that two processes have unequal shares."""
    from peft import LoraConfig, get_peft_model

    special, template = CASES[case]
    model = make_model("gpt2").double() if case.startswith("gpt2") else make_model(case.removesuffix(" adapter"))
    if case.endswith("adapter"):
        base = model if case.startswith("gpt2") else make_model("llama").bfloat16()
        config = LoraConfig(r=1, target_modules="all-linear", init_lora_weights=False)
        torch.manual_seed(0)
        model = get_peft_model(base, config)
    if case.endswith("twice"):
        checkpoint_layers(model)
    policy = LanguageModelPolicy(model, byte_tokenizer(), template, row_budget=300)
    task, problems = (LINE, WALKS) if case.endswith("distance") else (Game24(count=3), CARDS)
    sizes = {"steps": 3, "problems_per_step": 3, "samples_per_problem": 3, "learning_rate": 0.01}
    trainer = Trainer(task, ProblemSet(problems), policy, TrainConfig(**{**sizes, **special, **options}), folder)
    for group in trainer.optimizer.param_groups if model.dtype == torch.float32 else ():
        group["eps"] = 1e-3  # Adam would magnify what rounding makes of gradients that are nearly zero
    return trainer


def train(trainer):
    """Returns losses and distances, what was sampled and the weights that were learned, as JSON values."""
    reports = []
    trainer.run(reports.append)
    names = [name for name, parameter in trainer.policy.model.named_parameters() if parameter.requires_grad]
    whole = trainer.policy.model.state_dict()
    return {
        "losses": [[report.loss, report.gradient_norm, report.distance or 0.0] for report in reports],
        "environment_steps": trainer.environment_steps,
        "weights": [x for n in names for x in whole[n].flatten().tolist()],
        "flow head": [x for parameter in trainer.policy.flow_parameters() for x in parameter.flatten().tolist()],
    }


def train_counted(case):
    """Trains; says besides what part of weights, gradients and optimizer state is here, and how much was whole."""
    trainer = make_trainer(case)
    model, counts, most = trainer.policy.model, {"without gradient": 0, "with gradient": 0}, 0
    layers = [module for module in model.modules() if isinstance(module, FSDPModule) and module is not model]

    def count_whole(module, arguments):
        nonlocal most
        most = max(most, sum(not isinstance(next(layer.parameters()), sharding.DTensor) for layer in layers))

    def count_own(module, arguments):
        if not processes._shared_work.helping:
            counts["with gradient" if torch.is_grad_enabled() else "without gradient"] += 1

    for layer in layers:
        layer.register_forward_pre_hook(count_whole)
    model.register_forward_pre_hook(count_own)
    results = train(trainer)
    weights = list(model.parameters())
    state = [entry[name] for entry in trainer.optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    kept = {
        "weights": weights,
        "gradients": [weight.grad for weight in weights],
        "state": [t for t in state if isinstance(t, sharding.DTensor)],
    }
    results["parts"] = {
        name: sum(t.to_local().numel() for t in tensors) / sum(map(torch.numel, tensors))
        for name, tensors in kept.items()
    }
    return {**results, "counts": counts, "layers": len(layers), "most whole layers": most}


def train_in_two(folder):
    """What each of two processes does: every case, a run to be resumed, one resumed, and one with wrong gradients."""
    processes.start("cpu")
    results = {case: train(make_trainer(case)) for case in CASES}
    results["counted"] = train_counted("gpt2")
    for case in RESUMED:
        train(make_trainer(case, folder / "two" / case, steps=2))
        again = make_trainer(case, folder / "one" / case)
        again.load_checkpoint(list_checkpoints(again.folder)[-1])
        results[f"{case} again"] = train(again)
    FSDPModule.set_gradient_divide_factor = lambda module, factor: None
    FSDPModule.set_force_sum_reduction_for_comms = lambda module, enable: None
    results["mean gradients"] = train(make_trainer("gpt2"))
    (folder / f"{'main' if processes.is_main() else 'other'}.json").write_text(json.dumps(results))


@pytest.fixture(scope="module")
def in_two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    for case in RESUMED:
        train(make_trainer(case, folder / "one" / case, steps=2))
    code = "import sys; from pathlib import Path; from tests.test_sharding import train_in_two"
    for status, _, errors in finish(launch(["-c", f"{code}; train_in_two(Path(sys.argv[1]))", str(folder)], **SHARDED)):
        assert status == 0, errors
    return folder, *(json.loads((folder / f"{name}.json").read_text()) for name in ("main", "other"))


def assert_same(found, alone, case):
    assert found["environment_steps"] == alone["environment_steps"]
    if case.startswith("gpt2"):
        for name in ("losses", "weights", "flow head"):
            assert np.allclose(found[name], alone[name], rtol=1e-9, atol=1e-9), name
    else:
        tolerance = 3e-2 if case.startswith("bfloat16") else 1e-4
        assert np.allclose(np.array(found["losses"])[:, 0], np.array(alone["losses"])[:, 0], rtol=tolerance, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_learn_what_one_does(case, in_two):
    _, main, other = in_two
    assert main[case] == other[case]
    assert_same(main[case], train(make_trainer(case)), case)


@pytest.mark.slow
def test_the_model_is_divided_and_evaluated_unequally_often(in_two):
    _, main, other = in_two
    for name in ("weights", "gradients", "state"):
        parts = [results["counted"]["parts"][name] for results in (main, other)]
        assert sum(parts) == pytest.approx(1)
        assert parts[0] == pytest.approx(0.5, abs=0.01)
    for kind in ("without gradient", "with gradient"):
        assert main["counted"]["counts"][kind] != other["counted"]["counts"][kind]
    assert main["counted"]["layers"] == 2
    assert main["counted"]["most whole layers"] == 1, "a layer is whole only while it is evaluated"


@pytest.mark.slow
def test_the_mean_of_gradients_would_be_wrong(in_two):
    _, main, _ = in_two
    norms, halved = (np.array(main[name]["losses"])[0, 1] for name in ("gpt2", "mean gradients"))
    assert halved == pytest.approx(norms / 2)


@pytest.mark.slow
@pytest.mark.parametrize("case", RESUMED)
def test_checkpoints_do_not_depend_on_how_many_processes_there_are(case, in_two):
    folder, main, _ = in_two
    one, two = (list_checkpoints(folder / name / case)[-1] for name in ("one", "two"))
    assert {p.relative_to(one) for p in one.rglob("*")} == {p.relative_to(two) for p in two.rglob("*")}
    uninterrupted = train(make_trainer(case))
    again = make_trainer(case, folder / "two" / case)
    again.load_checkpoint(two)
    for resumed in (train(again), main[f"{case} again"]):
        assert_same(resumed, {**uninterrupted, "losses": uninterrupted["losses"][2:]}, case)


# -- what goes wrong -------------------------------------------------------------------------------
def work_alone():
    """What two processes do that do not help each other: each evaluates the model for itself."""
    processes._PATIENCE = timedelta(seconds=10)
    processes._come_together = lambda wanted: None
    processes.start("cpu")
    train(make_trainer("gpt2"))
    sys.stderr.write("gpt2 done")


def run_out_of_memory():
    """What two processes do of which one runs out of memory in the middle of an evaluation."""
    processes.start("cpu")
    trainer = make_trainer("gpt2")

    def full(module, arguments):
        if torch.is_grad_enabled() and not processes.is_main():
            raise torch.OutOfMemoryError

    trainer.policy.model.transformer.h[1].register_forward_pre_hook(full)
    try:
        trainer.run()
    except RuntimeError as error:
        sys.exit(f"{type(error).__name__}: {error}")


@pytest.mark.slow
def test_without_help_two_processes_come_to_nothing():
    for status, _, errors in finish(launch(["-c", "from tests.test_sharding import *; work_alone()"], **SHARDED)):
        assert status != 0, "their collective operations do not fit each other"
        assert "gpt2 done" not in errors


@pytest.mark.slow
def test_a_process_without_memory_ends_the_other():
    started = launch(["-c", "from tests.test_sharding import *; run_out_of_memory()"], **SHARDED)
    (status, _, errors), (other_status, _, other_errors) = finish(started)
    assert (status, other_status) == (1, 1), errors + other_errors
    assert "ProcessLost: another process of this run has ended" in errors
    assert "RuntimeError: memory ran out in one of the processes among which the model is divided" in other_errors


def test_what_cannot_be_divided_is_refused(monkeypatch):
    monkeypatch.setattr(processes, "model_is_divided", lambda: True)
    with pytest.raises(ValueError, match="TabularPolicy cannot be divided among processes; launch them without"):
        Trainer(LINE, ProblemSet(WALKS), table_for(LINE, WALKS), TrainConfig())
    model = make_model("llama")
    model.lm_head.weight = torch.nn.Parameter(torch.zeros(2, dtype=torch.uint8), requires_grad=False)
    with pytest.raises(ValueError, match="8 or 4 bits cannot be divided"):
        sharding.shard(model, decoder_layers(model))


def test_only_launchers_ask_for_a_divided_model(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert not processes.model_is_divided(), "alone there is nothing to divide"
    monkeypatch.setattr(processes, "count", lambda: 2)
    assert processes.model_is_divided()
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "false")
    assert not processes.model_is_divided()


# -- one process -----------------------------------------------------------------------------------
def test_gradients_of_two_passes_are_those_of_one(monkeypatch):
    first, second = (make_trainer("gpt2 flows").policy for _ in range(2))
    task = Game24(count=3)
    states = [task.reset(problem) for problem in CARDS]
    arguments = [task.observe(s) for s in states], [task.actions(s) for s in states]

    def loss(policy):
        return policy.log_probs(*arguments)[:, 0].square().sum() + policy.log_flow(arguments[0]).exp().sum()

    first.backward(loss(first))
    monkeypatch.setattr(language_model, "is_sharded", lambda model: True)
    second.backward(loss(second))
    for one, two in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.allclose(one.grad, two.grad, atol=1e-12)
    loss(second)  # whose gradient nobody asks for
    before = [parameter.grad.clone() for parameter in second.parameters()]
    second.backward(0 * second.log_flow(arguments[0]).sum())
    assert all(torch.equal(a, b.grad) for a, b in zip(before, second.parameters(), strict=True))


def test_clipping_is_that_of_pytorch():
    torch.manual_seed(0)
    ours, theirs = ([torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(2))] for _ in range(2))
    for pair in (ours, theirs):
        pair[0].grad = torch.tensor([3.0, 0.0, 4.0])
    assert sharding.clip_gradients(ours, 1.0) == float(torch.nn.utils.clip_grad_norm_(theirs, 1.0)) == 5.0
    assert torch.equal(ours[0].grad, theirs[0].grad)
    assert ours[1].grad is None
