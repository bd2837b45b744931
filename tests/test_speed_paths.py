"""What makes evaluation fast or bounded changes no value: kept trunks, memory that runs out, FlexAttention."""

from __future__ import annotations

import copy
import warnings
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from baselines.sft import SFTConfig, supervise
from benchmarks import training_step
from gfn_agents import memory, scoring, tree_attention
from gfn_agents.config import TrainConfig
from gfn_agents.language_model import LanguageModelPolicy
from gfn_agents.memory import bytes_per_token, is_out_of_memory, row_budget_for, within_memory
from gfn_agents.policy import Policy
from gfn_agents.prefix_tree import Row, build_row
from gfn_agents.prompts import PromptTemplate
from gfn_agents.scoring import evaluate_row, evaluate_trunk, score_row
from gfn_agents.trainer import Trainer
from gfn_agents.tree_attention import block_mask, takes_block_masks, use_flex
from gfn_agents.weights_cache import WeightsCache
from gfn_envs.agents import SIDE_BY_SIDE
from gfn_envs.problems import ProblemSet
from gfn_envs.tasks.game24 import Game24, Game24Problem
from tests.test_language_model import byte_tokenizer, make_model, one_by_one
from tests.test_prefix_tree import prompts_with_actions, visible

LONG = PromptTemplate(instructions="Some numbers make 24, and others do not make it at all.\n" * 3)

HALVES = slice(0, 3), slice(3, 6)


@pytest.fixture(scope="module")
def asked():
    task = Game24()
    states = [task.reset(Game24Problem(numbers)) for numbers in ((1, 2, 3, 4), (3, 3, 8, 8), (4, 6, 6, 8))]
    states += [task.step(state, task.actions(state)[0]) for state in states]
    return [task.observe(state) for state in states], [task.actions(state)[:5] for state in states]


def firm(name):
    """A random model whose attention is not nearly uniform, so that what comes first matters."""
    model = make_model(name)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(8)
    return model.double()


def with_adapter(model):
    """Adds an adapter that changes something."""
    adapted = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False))
    return adapted.eval()


@pytest.fixture
def trunks(monkeypatch):
    """The lengths of all trunks that are evaluated."""
    found = []

    def counted(model, tokens, past=None):
        found.append(len(tokens))
        return evaluate_trunk(model, tokens, past)

    monkeypatch.setattr("gfn_agents.language_model.evaluate_trunk", counted)
    return found


@pytest.fixture
def rows(monkeypatch):
    """How many sequences each row has that is evaluated."""
    found = []

    def counted(model, row, *arguments):
        found.append(len(row.pairs))
        return evaluate_row(model, row, *arguments)

    monkeypatch.setattr("gfn_agents.language_model.evaluate_row", counted)
    return found


# -- what was asked before ---------------------------------------------------------------------------
@torch.no_grad()
def test_what_was_asked_is_evaluated_once_until_the_weights_change(asked, rows):
    policy = LanguageModelPolicy(firm("llama"), byte_tokenizer())
    texts, legal = asked
    first = policy.log_probs(texts[:2], legal[:2])
    rows.clear()
    both = policy.log_probs([texts[1], texts[2], texts[1], texts[0]], [legal[1], legal[2], legal[1], legal[0]])
    assert rows == [len(legal[2])]
    assert torch.equal(both[[3, 0]], first)
    assert torch.equal(both[2], both[0])
    for found, place in zip(both, (1, 2, 1, 0), strict=True):
        assert torch.allclose(found, one_by_one(policy, *asked)[place], atol=1e-5)
    shorter = policy.log_probs(texts[:1], [legal[0][:2]])
    assert rows == [len(legal[2]), 2]  # other actions are another question
    assert torch.allclose(shorter.exp().sum(), torch.ones((), dtype=shorter.dtype))
    policy.forget()
    policy.log_probs(texts[:1], legal[:1])
    assert len(rows) == 3


def test_an_update_evaluates_with_gradient_what_was_sampled_from(asked):
    policy = LanguageModelPolicy(firm("llama"), byte_tokenizer())
    with torch.no_grad():
        sampled = policy.log_probs(*asked)
    scored = policy.log_probs(*asked)
    assert scored.requires_grad
    assert torch.allclose(scored, sampled, atol=1e-9)


def test_no_more_answers_are_kept_than_there_is_room_for(asked, rows, monkeypatch):
    monkeypatch.setattr("gfn_agents.language_model._MOST_ANSWERS", 4)
    policy = LanguageModelPolicy(firm("llama"), byte_tokenizer())
    with torch.no_grad():
        whole = policy.log_probs(*asked)
        assert torch.equal(policy.log_probs(*asked), whole)
        few = [part[:3] for part in asked]
        policy.log_probs(*few)
        rows.clear()
        assert torch.allclose(policy.log_probs(*few), whole[:3], atol=1e-9)
    assert not rows


# -- the trunk -------------------------------------------------------------------------------------
@torch.no_grad()
def test_what_the_template_gives_all_prompts_is_evaluated_once_for_all_calls(asked, trunks):
    policy = LanguageModelPolicy(firm("qwen2"), byte_tokenizer(), LONG)
    trunks.clear()
    for part in HALVES:
        half = asked[0][part], asked[1][part]
        for found, expected in zip(policy.log_probs(*half), one_by_one(policy, *half), strict=True):
            assert torch.allclose(found[: len(expected)], expected, atol=1e-5)
    assert trunks == [len(LONG.instructions)]


def test_an_update_evaluates_the_trunk_once_with_gradient_and_all_rows_share_it(asked, trunks):
    policy = LanguageModelPolicy(firm("qwen2"), byte_tokenizer(), LONG, 60, rows_in_memory=1)
    trunks.clear()
    policy.log_probs(*asked)[:, 0].sum().backward()
    assert len(trunks) == 1  # not again for the rows that are evaluated again
    found = {name: p.grad.clone() for name, p in policy.model.named_parameters()}
    policy.zero_grad()
    sum(row[0] for row in one_by_one(policy, *asked)).backward()
    for name, parameter in policy.model.named_parameters():
        assert torch.allclose(found[name], parameter.grad, rtol=1e-4, atol=1e-6), name


@torch.no_grad()
def test_a_long_beginning_that_a_batch_shares_is_evaluated_after_the_kept_trunk(asked, trunks):
    policy = LanguageModelPolicy(firm("llama"), byte_tokenizer(), LONG)
    observations = [f"{'The same problem. ' * 6}{observation}" for observation in asked[0]]
    trunks.clear()
    for part in HALVES:
        half = observations[part], asked[1][part]
        for found, expected in zip(policy.log_probs(*half), one_by_one(policy, *half), strict=True):
            assert torch.allclose(found[: len(expected)], expected, atol=1e-5)
    first, *others = trunks
    assert first == len(LONG.instructions)
    assert others == [others[0]] * 2
    assert others[0] >= 108


def optimizer_step(policy, tmp_path):
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=0.1)
    for parameter in policy.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()


def load_weights(policy, tmp_path):
    torch.manual_seed(1)
    LanguageModelPolicy(LlamaForCausalLM(policy.model.config), byte_tokenizer()).save(tmp_path)
    policy.load_weights(tmp_path)


def other_precision(policy, tmp_path):
    policy.model.float()


def new_tensor(policy, tmp_path):
    weight = next(policy.model.parameters())
    weight.data = weight.data * 2


def other_template(policy, tmp_path):
    policy.template = PromptTemplate(instructions=LONG.instructions.replace("24", "42"))


@pytest.mark.parametrize("change", [optimizer_step, load_weights, other_precision, new_tensor, other_template])
@torch.no_grad()
def test_a_kept_trunk_is_never_stale(change, asked, tmp_path):
    policy = LanguageModelPolicy(firm("llama"), byte_tokenizer(), LONG)
    before = policy.log_probs(*asked)
    change(policy, tmp_path)
    after = policy.log_probs(*asked)
    for found, expected in zip(after, one_by_one(policy, *asked), strict=True):
        assert torch.allclose(found[: len(expected)], expected, atol=1e-3)
    if change is not other_precision:
        assert not torch.allclose(before, after, atol=1e-2)


@torch.no_grad()
def test_a_trunk_without_its_check_would_be_stale(asked, monkeypatch):
    monkeypatch.setattr("gfn_agents.weights_cache.weights_state", lambda model: ())
    policy = LanguageModelPolicy(firm("llama"), byte_tokenizer(), LONG)
    policy.log_probs(*asked)
    optimizer_step(policy, None)
    expected = one_by_one(policy, *asked)[0]
    assert not torch.allclose(policy.log_probs(*asked)[0][: len(expected)], expected, atol=1e-3)


@torch.no_grad()
def test_an_adapter_that_is_switched_off_has_a_trunk_of_its_own(asked):
    policy = LanguageModelPolicy(with_adapter(firm("llama")), byte_tokenizer(), LONG)
    reference = policy.frozen_reference()
    plain = LanguageModelPolicy(firm("llama"), byte_tokenizer(), LONG).log_probs(*asked)
    with_it = policy.log_probs(*asked)
    assert not torch.allclose(with_it, plain, atol=1e-3)
    with policy.model.disable_adapter():
        assert torch.allclose(policy.log_probs(*asked), plain, atol=1e-5)
    assert torch.allclose(policy.log_probs(*asked), with_it, atol=1e-5)
    policy.model.merge_adapter()
    assert torch.allclose(policy.log_probs(*asked), with_it, atol=1e-4)
    policy.model.unmerge_adapter()
    assert torch.allclose(reference.log_probs(*asked), plain, atol=1e-5)


@torch.no_grad()
def test_a_reference_keeps_its_trunk_while_the_adapter_beside_it_learns(asked, trunks):
    policy = LanguageModelPolicy(with_adapter(firm("llama")), byte_tokenizer(), LONG)
    reference = policy.frozen_reference()
    before = reference.log_probs(*asked)
    trunks.clear()
    for name, parameter in policy.model.named_parameters():
        if "lora" in name:
            parameter.add_(0.1)
    assert torch.equal(reference.log_probs(*asked), before)
    assert not trunks
    next(policy.model.base_model.model.parameters()).mul_(2)
    assert not torch.allclose(reference.log_probs(*asked), before, atol=1e-4)
    assert trunks


def letters(cache, model, asked):
    """Asks for letters; returns those that were not known."""
    new = []

    def evaluate(keys):
        new.extend(keys)
        return [key.upper() for key in keys]

    assert cache.get(model, asked, evaluate) == list(asked.upper())
    return "".join(new)


@pytest.mark.parametrize("fused", [False, True])
def test_what_an_optimizer_writes_is_seen(asked, fused):
    """A fused optimizer does not raise the version of a tensor."""
    policy = LanguageModelPolicy(firm("llama"), byte_tokenizer(), LONG)
    before = policy.action_probabilities(*asked)
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=0.1, fused=fused)
    policy.model(input_ids=torch.arange(9)[None], labels=torch.arange(9)[None]).loss.backward()
    optimizer.step()
    after = policy.action_probabilities(*asked)
    policy.forget()
    for now, told, old in zip(policy.action_probabilities(*asked), after, before, strict=True):
        assert now.tolist() == told.tolist() != old.tolist()


def test_a_cache_never_holds_more_than_its_capacity():
    cache, model = WeightsCache(2), firm("llama")
    assert letters(cache, model, "abcde") == "abcde"
    assert letters(cache, model, "abcde") == "cde"


def test_a_copy_of_a_cache_is_empty():
    cache, model = WeightsCache(2), firm("llama")
    assert letters(cache, model, "a") == "a"
    assert letters(copy.deepcopy(cache), model, "a") == "a"
    assert letters(cache, model, "a") == ""


def test_a_cache_asks_once_for_each_key_and_a_full_one_begins_anew():
    cache, model = WeightsCache(2), firm("llama")
    assert letters(cache, model, "aba") == "ab"
    assert letters(cache, model, "cac") == "c"  # what is forgotten on the way is answered all the same
    assert letters(cache, model, "ca") == "a"
    assert letters(cache, model, "b") == "b"
    assert letters(cache, model, "c") == "c"


def test_thoughts_are_the_same_behind_a_kept_trunk(asked, trunks):
    thinking = PromptTemplate(instructions=LONG.instructions, thought_tokens=6)
    policy = LanguageModelPolicy(firm("llama"), byte_tokenizer(), thinking)
    observations = asked[0] * 10
    trunks.clear()
    behind = policy.think(observations, np.random.default_rng(0))
    assert trunks == [len(LONG.instructions)]
    policy.packed = False
    assert policy.think(observations, np.random.default_rng(0)) == behind
    assert len(set(behind)) > 10


# -- memory ----------------------------------------------------------------------------------------
class Limited(LlamaForCausalLM):
    """Runs out of memory where more than `limit` tokens come at once, or so many in a gradient's evaluation."""

    limit, error, evaluations, fails_after = 10_000, torch.OutOfMemoryError("CUDA out of memory"), 0, 0

    def forward(self, input_ids, **options):
        self.evaluations += 1
        if input_ids.numel() > self.limit and self.evaluations > self.fails_after:
            raise self.error
        return super().forward(input_ids=input_ids, **options)


def limited(limit, **attributes):
    torch.manual_seed(0)
    config = LlamaConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, vocab_size=258)
    config.intermediate_size = 64
    policy = LanguageModelPolicy(Limited(config), byte_tokenizer(), row_budget=1000)
    vars(policy.model).update(limit=limit, evaluations=0, **attributes)
    return policy


CPU_ERROR = RuntimeError("[enforce fail at alloc_cpu.cpp:131] err == 0. DefaultCPUAllocator: can't allocate memory")


@pytest.mark.parametrize("error", [Limited.error, CPU_ERROR, MemoryError()])
def test_out_of_memory_leads_to_shorter_rows_and_a_message(error, asked):
    policy = limited(300, error=error)
    with pytest.warns(UserWarning, match="memory ran out; going on with row_budget=500 instead of 1000") as caught:
        found = policy.log_probs(*asked)
    assert len(caught) == (1000 // policy.row_budget).bit_length() - 1
    policy.model.limit = 10_000
    for row, expected in zip(found, one_by_one(policy, *asked), strict=True):
        assert torch.allclose(row[: len(expected)], expected, atol=1e-5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        policy.log_probs(*asked)


def test_imitation_goes_on_when_memory_runs_out(monkeypatch):
    """Where a gradient does not fit, the batch is evaluated again in shorter rows; what is learned is the same."""
    weights, problems = [], ProblemSet((Game24Problem((4, 6)), Game24Problem((3, 8))))
    for failures in (0, 1):
        policy, left, told = limited(10_000), [CPU_ERROR] * failures, iter([True, True, False])

        def backward(loss, policy=policy, left=left):
            if left:
                raise left.pop()
            LanguageModelPolicy.backward(policy, loss)

        monkeypatch.setattr(policy, "backward", backward)
        config = SFTConfig(problems_per_step=2, demonstrations_per_problem=2, epochs=1)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            supervise(
                policy, Game24(count=2), problems, config, np.random.default_rng(0), lambda _, told=told: next(told)
            )
        said = [str(one.message) for one in caught if "memory ran out" in str(one.message)]
        assert said == ["memory ran out; going on with row_budget=500 instead of 1000"] * failures
        weights.append([parameter.detach().double() for parameter in policy.parameters()])
    for whole, divided in zip(*weights, strict=True):
        torch.testing.assert_close(divided, whole, rtol=0, atol=1e-4)


@torch.no_grad()
def test_memory_that_runs_out_while_sampling_leads_to_shorter_rows(asked):
    policy = limited(300)
    with pytest.warns(UserWarning, match="memory ran out; going on with row_budget=500 instead of 1000"):
        found = policy.log_probs(*asked)
    policy.model.limit = 10_000
    for row, expected in zip(found, one_by_one(policy, *asked), strict=True):
        assert torch.allclose(row[: len(expected)], expected, atol=1e-5)


def test_one_short_prompt_says_nothing_about_the_rows_of_a_batch(asked):
    """As where the flow of a single state was asked before a gradient did not fit."""
    policy = limited(10_000)
    policy.log_probs(*asked)
    policy.log_flow(asked[0][:1])
    with pytest.warns(UserWarning, match="row_budget=500 instead of 1000"):
        policy.use_less_memory()


def test_a_backward_pass_that_ran_out_lets_go_of_its_graph():
    """What it had not come to would stay with PyTorch's engine until the next one, beside what is evaluated again."""
    kept: list[weakref.ref[torch.Tensor]] = []

    class Keeps(torch.autograd.Function):
        @staticmethod
        def forward(ctx, values):
            ctx.large = torch.zeros(1000)
            kept.append(weakref.ref(ctx.large))
            return values.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    class RunsOut(Keeps):
        @staticmethod
        def backward(ctx, gradient):
            raise torch.OutOfMemoryError("CUDA out of memory")

    class Halved:
        def use_less_memory(self):
            pass

    def work():
        if kept:
            return sum(large() is not None for large in kept)
        values = torch.zeros(1, requires_grad=True)
        first = Keeps.apply(Keeps.apply(values))
        return (first + RunsOut.apply(Keeps.apply(values))).sum().backward()

    assert within_memory(work, Halved()) == 0
    assert len(kept) == 4


@pytest.mark.parametrize("template", [PromptTemplate(), LONG])
def test_one_prompt_that_does_not_fit_is_one_sentence(template, asked):
    """Whether the prompt itself is too long or what comes before it."""
    policy = limited(50)
    policy.template = template
    with pytest.warns(UserWarning, match="memory ran out"), pytest.raises(RuntimeError, match="examples") as caught:
        policy.log_probs(*asked)
    assert "\n" not in str(caught.value)
    assert policy.rows_in_memory == 1


def test_other_errors_are_not_taken_for_want_of_memory(asked):
    policy = limited(300, error=RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        policy.log_probs(*asked)
    assert not is_out_of_memory(RuntimeError("a bug"))


def test_memory_that_runs_out_in_the_backward_pass_leads_to_the_same_gradient(asked):
    """Rows that are evaluated again for their gradient fail there."""
    policy = limited(10_000)
    policy.row_budget, policy.rows_in_memory = 400, 1

    def gradient():
        policy.zero_grad()
        policy.log_probs(*asked)[:, 0].sum().backward()
        return [parameter.grad.clone() for parameter in policy.model.parameters()]

    expected = gradient()
    forward = policy.model.evaluations // 2 + 1
    vars(policy.model).update(limit=250, evaluations=0, fails_after=forward)
    with pytest.warns(UserWarning, match="row_budget=200 instead of 400"):
        found = within_memory(gradient, policy)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, expected, strict=True))


def test_a_training_step_whose_gradient_does_not_fit_is_taken_again():
    """The gradient that was begun does not stay."""

    def step(fails):
        policy = LanguageModelPolicy(make_model("llama"), byte_tokenizer(), row_budget=1000)
        trainer = Trainer(
            Game24(),
            ProblemSet((Game24Problem((1, 4, 6)),)),
            policy,
            TrainConfig(problems_per_step=1, samples_per_problem=4, replay_per_problem=0),
        )
        for group in trainer.optimizer.param_groups:
            group["eps"] = 1e-3  # Adam would magnify what rounding makes of gradients that are nearly zero

        def run_out(gradient):
            if fails:
                fails.pop()
                raise torch.OutOfMemoryError("CUDA out of memory")

        policy.model.model.layers[0].mlp.up_proj.weight.register_hook(run_out)
        return trainer.step().gradient_norm, [parameter.detach().clone() for parameter in policy.parameters()]

    norm, weights = step([])
    with pytest.warns(UserWarning, match="row_budget=500 instead of 1000"):
        norm_again, weights_again = step([True])
    assert norm_again == pytest.approx(norm, rel=1e-4)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(weights, weights_again, strict=True))


def test_fewer_thoughts_are_drawn_at_once_when_memory_runs_out():
    policy = limited(10_000)
    policy.template = PromptTemplate(thought_tokens=6)
    observations = [f"Numbers: {number}" for number in range(20)]
    all_at_once = policy.think(observations, np.random.default_rng(0))
    policy.model.limit = 200
    with pytest.warns(UserWarning, match="memory ran out; going on with thoughts_at_once=32 instead of 64"):
        assert policy.think(observations, np.random.default_rng(0)) == all_at_once
    policy.model.limit = 10
    with (
        pytest.warns(UserWarning, match="thoughts_at_once=1 instead of 2"),
        pytest.raises(RuntimeError, match="thoughts_at_once=1; use fewer thought_tokens"),
    ):
        policy.think(observations, np.random.default_rng(0))


def test_a_policy_that_cannot_do_with_less_memory_says_so():
    with pytest.raises(RuntimeError, match="memory ran out, and Policy cannot do with less"):
        within_memory(lambda: (_ for _ in ()).throw(MemoryError()), Policy())


@given(st.integers(10**6, 10**11), st.integers(10**3, 10**7), st.sampled_from([2, 4]))
def test_a_row_of_the_budget_fits_and_a_longer_one_does_not(available, per_token, size):
    budget = row_budget_for(available, per_token, size)

    def need(tokens):
        return tokens * per_token + tokens**2 * (size + 1)

    assert budget == memory.SMALLEST_ROW_BUDGET or need(budget) <= available
    assert budget == memory.LARGEST_ROW_BUDGET or need(budget + 129) > available


@pytest.mark.parametrize("layers", [2, 6])
def test_the_estimate_of_a_token_is_near_what_a_gradient_keeps(layers):
    config = LlamaConfig(hidden_size=64, intermediate_size=192, num_hidden_layers=layers, num_attention_heads=4)
    config.vocab_size = 1000
    model = LlamaForCausalLM(config)
    own = {parameter.data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor):
        if tensor.data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    row = build_row([0], [tuple(range(100))], [[(i, *range(20)) for i in range(10)]])
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        total = score_row(model, row)
    assert total.requires_grad
    measured = sum(kept.values()) / len(row.tokens)
    assert 0.8 * measured < bytes_per_token(model) < 2.5 * measured


def test_a_gpu_gives_the_budget_that_its_free_memory_allows(monkeypatch):
    """The figures of a GPU, without one: more free memory, longer rows; what PyTorch holds unused is free."""
    model = make_model("llama").to(torch.bfloat16)
    assert memory.default_row_budget(model, 1) == memory.CPU_ROW_BUDGET
    monkeypatch.setattr(type(model), "device", property(lambda self: torch.device("cuda:0")))
    found = []
    for free, reserved in ((2e7, 0), (2e7, 4e7), (6e7, 0), (8e10, 0)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (int(free), 10**11))
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device, reserved=reserved: int(reserved))
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 0)
        found.append(memory.default_row_budget(model, 1))
    assert found[0] < found[1] == found[2] < found[3] == memory.LARGEST_ROW_BUDGET
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(1.8e8), 10**11))
    monkeypatch.setenv(SIDE_BY_SIDE, "3")
    assert memory.default_row_budget(model, 1) == found[2]


def test_a_cpu_keeps_the_rows_that_fit_its_free_memory_or_what_a_container_may_take(monkeypatch, tmp_path):
    model = make_model("llama")
    row = memory.CPU_ROW_BUDGET * bytes_per_token(model)
    limit = tmp_path / "max", tmp_path / "current"
    monkeypatch.setattr(memory, "_CONTAINER_LIMIT", limit)
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=20 * row))
    assert memory.default_rows_in_memory(model) == 9  # half of the memory, and one that is evaluated again
    assert memory.default_rows_in_memory(model, memory.CPU_ROW_BUDGET // 2) == 19
    monkeypatch.setattr(memory.processes, "count", lambda: 2)
    assert memory.default_rows_in_memory(model) == 4
    monkeypatch.setenv(SIDE_BY_SIDE, "2")
    assert memory.default_rows_in_memory(model) == 1
    for wrong in ("0", "two", "-1"):
        monkeypatch.setenv(SIDE_BY_SIDE, wrong)
        with pytest.raises(ValueError, match=f"must be the number of programs that run side by side, got '{wrong}'"):
            memory.default_rows_in_memory(model)
    monkeypatch.undo()
    monkeypatch.setattr(memory, "_CONTAINER_LIMIT", limit)
    for most, rows in ((f"{11 * row}\n", 4), ("max\n", memory.default_rows_in_memory(model)), ("10\n", 1)):
        limit[0].write_text(most)
        limit[1].write_text(f"{row}\n")
        assert memory.default_rows_in_memory(model) == rows


def test_the_usual_way_of_a_training_step_gives_the_same_loss_and_gradient():
    """Each prompt followed by each action, right-padded, against which `benchmarks/training_step.py` measures."""
    assert max(training_step.differences()) < 1e-6


# -- attention by a function of two places ---------------------------------------------------------
def dense(mask, row: Row, behind: int):
    length = len(row.tokens)
    query, key = torch.arange(length)[:, None], torch.arange(behind + length)[None]
    return mask.mask_mod(torch.tensor(0), torch.tensor(0), query, key).numpy()


@given(prompts_with_actions, st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_the_mask_as_a_function_is_the_dense_mask(pairs, behind):
    row = build_row(range(len(pairs)), [prompt for prompt, _ in pairs], [actions for _, actions in pairs])
    mask = dense(block_mask(row, behind, torch.device("cpu")), row, behind)
    assert mask[:, :behind].all()
    assert np.array_equal(mask[:, behind:], visible(row))


@pytest.fixture
def eager_flex(monkeypatch):
    """FlexAttention without its compiler, and for rows of any length."""
    from torch.nn.attention.flex_attention import flex_attention
    from transformers.integrations import flex_attention as integration

    def uncompiled(query, key, value, training=False, **options):
        calls.append(query.shape[2])
        return flex_attention(query, key, value, **options)

    calls: list[int] = []
    monkeypatch.setattr(integration, "compile_friendly_flex_attention", uncompiled)
    monkeypatch.setattr(scoring, "SHORTEST_FLEX_ROW", 1)
    return calls


@pytest.mark.parametrize("name", ["llama", "qwen2"])
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@torch.no_grad()
def test_flex_attention_gives_the_same_values(name, asked, eager_flex):
    """Behind a trunk and without one. PyTorch has no gradient of it on a CPU."""
    for template in (LONG, PromptTemplate()):
        policy = LanguageModelPolicy(firm(name).float(), byte_tokenizer(), template, row_budget=200)
        expected = policy.log_probs(*asked)
        assert not eager_flex
        use_flex(policy.model)
        assert takes_block_masks(policy.model)
        policy.forget()
        assert torch.allclose(policy.log_probs(*asked), expected, atol=1e-4)
        assert eager_flex
        eager_flex.clear()
        policy.packed = False  # padded batches go the usual way
        policy.forget()
        assert torch.allclose(policy.log_probs(*asked), expected, atol=1e-4)
        assert not eager_flex


@torch.no_grad()
def test_where_flex_attention_cannot_run_dense_masks_do(asked, eager_flex, monkeypatch):
    """Behind a trunk, whose cache a failed evaluation must not leave longer."""

    def fail(*arguments, **options):
        raise RuntimeError("no compiler\nat all")

    policy = LanguageModelPolicy(firm("llama").float(), byte_tokenizer(), LONG, row_budget=200)
    expected = policy.log_probs(*asked)
    use_flex(policy.model)
    policy.forget()
    monkeypatch.setattr(tree_attention, "flex_attention_forward", fail)
    with pytest.warns(UserWarning, match=r"FlexAttention does not run here \(no compiler\); going on with dense masks"):
        assert torch.allclose(policy.log_probs(*asked), expected, atol=1e-5)
    assert not takes_block_masks(policy.model)


@given(prompts_with_actions, st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_the_dense_mask_lets_ancestors_be_seen(pairs, behind):
    row = build_row(range(len(pairs)), [prompt for prompt, _ in pairs], [actions for _, actions in pairs])
    mask = scoring._mask(make_model("llama"), row, behind)[0, 0]
    assert torch.equal(mask == 0, torch.from_numpy(np.pad(visible(row), ((0, 0), (behind, 0)), constant_values=True)))
    assert mask.stride(0) % 8 == 0, "kernels take it as it is"


def test_a_model_on_a_cpu_keeps_its_attention():
    policy = LanguageModelPolicy(make_model("llama"), byte_tokenizer())
    assert not tree_attention.can_use_flex(policy.model)
    assert not takes_block_masks(policy.model)
