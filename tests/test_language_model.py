"""The language-model policy: packed equals one by one, sampled equals scored, files round trip."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from baselines.random_legal import RandomLegalAgent
from examples.hypergrid import Grid, HyperGrid
from gfn_agents.agent import load_policy
from gfn_agents.batch import scored_batch
from gfn_agents.config import TrainConfig
from gfn_agents.language_model import LanguageModelPolicy
from gfn_agents.objectives import OBJECTIVES
from gfn_agents.policy import Policy
from gfn_agents.prefix_tree import build_row, plan_rows, trunk_length
from gfn_agents.prompts import PromptTemplate
from gfn_agents.scoring import packing_is_exact, score_padded, score_row
from gfn_envs.rollout import rollout
from gfn_envs.tasks.blackjack import BlackJack, BlackJackProblem
from gfn_envs.tasks.game24 import Game24, Game24Problem
from gfn_envs.trajectory import Thought

VOCABULARY = 258
SMALL = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}


def byte_tokenizer():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(
        models.BPE(vocab={token: i for i, token in enumerate(["<pad>", "<end>", *alphabet])}, merges=[])
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>")


def make_model(name):
    torch.manual_seed(0)
    if name == "gpt2":
        return GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4))
    if name == "llama":
        return LlamaForCausalLM(LlamaConfig(**SMALL, intermediate_size=64))
    if name == "mistral with a window":
        return MistralForCausalLM(MistralConfig(**SMALL, intermediate_size=64, num_key_value_heads=2, sliding_window=4))
    return Qwen2ForCausalLM(Qwen2Config(**SMALL, intermediate_size=64, num_key_value_heads=2))


@pytest.fixture(scope="module")
def prompts_and_actions():
    task = Game24()
    states = [task.reset(Game24Problem(numbers)) for numbers in ((1, 2, 3, 4), (3, 3, 8, 8), (4, 6, 6, 8))]
    states += [task.step(state, task.actions(state)[0]) for state in states]
    return [task.observe(state) for state in states], [task.actions(state) for state in states]


def test_prompts_beyond_the_context_are_told():
    """Learned positions end there; rotary ones go on, worse."""
    asked = (["1" * 130], [("+", "-")])
    model = GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=128))
    with pytest.raises(ValueError, match=r"have \d+ tokens, and the model has 128 positions; use fewer work"):
        LanguageModelPolicy(model, byte_tokenizer()).log_probs(*asked)
    turning = LlamaForCausalLM(LlamaConfig(**{**SMALL, "max_position_embeddings": 128}, intermediate_size=64))
    with pytest.warns(UserWarning, match="longer than the 128 tokens that the model was made for"):
        LanguageModelPolicy(turning, byte_tokenizer()).log_probs(*asked)


@pytest.fixture(params=["llama", "qwen2", "gpt2"])
def policy(request):
    return LanguageModelPolicy(make_model(request.param), byte_tokenizer(), row_budget=400)


def one_by_one(policy, observations, admissible_actions):
    """The same policy, one ordinary sequence after another."""
    prompts, actions = policy._tokens(observations, admissible_actions)
    rows = []
    for prompt, legal in zip(prompts, actions, strict=True):
        totals = []
        for action in legal:
            ids = torch.tensor([prompt + action])
            log_probs = policy.model(input_ids=ids).logits[0, :-1].log_softmax(-1)
            picked = log_probs.gather(-1, ids[0, 1:, None]).squeeze(-1)
            totals.append(picked[len(prompt) - 1 :].sum())
        rows.append(torch.stack(totals).log_softmax(-1))
    return rows


def gradients(policy):
    found = {name: p.grad.clone() for name, p in policy.model.named_parameters() if p.grad is not None}
    policy.zero_grad()
    return found


def test_packed_equals_one_by_one_in_values_and_gradients(policy, prompts_and_actions):
    assert policy.packed
    packed = policy.log_probs(*prompts_and_actions)
    single = one_by_one(policy, *prompts_and_actions)
    weights = [torch.linspace(-1, 1, len(row)) for row in single]
    for row, expected in zip(packed, single, strict=True):
        assert torch.allclose(row[: len(expected)], expected, atol=1e-5)
        assert torch.isneginf(row[len(expected) :]).all()
    sum((row[: len(w)] * w).sum() for row, w in zip(packed, weights, strict=True)).backward()
    packed_gradients = gradients(policy)
    sum((row * w).sum() for row, w in zip(single, weights, strict=True)).backward()
    single_gradients = gradients(policy)
    assert packed_gradients.keys() == single_gradients.keys()
    for name, gradient in single_gradients.items():
        assert torch.allclose(packed_gradients[name], gradient, atol=1e-5 * max(1.0, float(gradient.abs().max()))), name


def test_the_policy_is_normalised(policy, prompts_and_actions):
    probabilities = policy.log_probs(*prompts_and_actions).exp().sum(dim=-1)
    assert torch.allclose(probabilities, torch.ones_like(probabilities), atol=1e-6)


def test_row_budget_changes_nothing_but_the_work(policy, prompts_and_actions):
    policy.row_budget = 10_000
    whole = policy.log_probs(*prompts_and_actions)
    policy.row_budget = 60
    cut = policy.log_probs(*prompts_and_actions)
    assert torch.allclose(whole, cut, atol=1e-5)


def test_a_trunk_that_all_prompts_share_changes_nothing_but_the_work(policy, prompts_and_actions):
    """A long few-shot text before every observation is evaluated once, with its gradient."""
    policy.template = PromptTemplate(instructions="Some numbers make 24, and others do not make it at all. " * 4)
    policy.row_budget, policy.rows_in_memory = 150, 2
    prompts, _ = policy._tokens(*prompts_and_actions)
    assert trunk_length(prompts) > 200
    packed = policy.log_probs(*prompts_and_actions)
    single = one_by_one(policy, *prompts_and_actions)
    weights = [torch.linspace(-1, 1, len(row)) for row in single]
    for row, expected in zip(packed, single, strict=True):
        assert torch.allclose(row[: len(expected)], expected, atol=1e-4)
    sum((row[: len(w)] * w).sum() for row, w in zip(packed, weights, strict=True)).backward()
    packed_gradients = gradients(policy)
    sum((row * w).sum() for row, w in zip(single, weights, strict=True)).backward()
    for name, gradient in gradients(policy).items():
        assert torch.allclose(packed_gradients[name], gradient, atol=1e-4 * max(1.0, float(gradient.abs().max()))), name


def test_sampled_and_scored_probabilities_agree(policy, prompts_and_actions):
    """What `act` samples from one prompt among many is what the trainer scores for it alone."""
    observations, actions = prompts_and_actions
    sampled_from = policy.action_probabilities(observations, actions)
    for index, observation in enumerate(observations):
        scored = policy.log_probs([observation], [actions[index]])[0].detach().numpy()
        assert np.allclose(np.log(sampled_from[index]), scored, atol=1e-4)


def test_act_follows_the_probabilities(prompts_and_actions):
    policy = LanguageModelPolicy(make_model("llama"), byte_tokenizer())
    observation, actions = prompts_and_actions[0][0], prompts_and_actions[1][0]
    (probabilities,) = policy.action_probabilities([observation], [actions])
    count = 4000
    drawn = policy.act([observation] * count, [actions] * count, np.random.default_rng(0))
    frequencies = np.array([drawn.count(action) / count for action in actions])
    assert 0.5 * np.abs(frequencies - probabilities).sum() < 0.06


def test_a_terminator_keeps_actions_apart():
    """'1' is a prefix of '12'; without the terminator its probability would count theirs too."""
    policy = LanguageModelPolicy(make_model("llama"), byte_tokenizer())
    short, long = policy._action_tokens("1"), policy._action_tokens("12")
    assert long[: len(short)] != short
    assert short[-1] == policy.tokenizer.eos_token_id


def test_an_architecture_that_cannot_be_packed_falls_back_with_a_warning(prompts_and_actions):
    """A sliding window counts places in the row, not depths in the tree."""
    model = make_model("mistral with a window")
    prompts, actions = [(5, 6, 7, 8, 9)], [[(10, 11, 12), (13, 14, 15)]]
    row = build_row(plan_rows(prompts, actions, 100)[0], prompts, actions)
    packed = score_row(model, row)
    padded = score_padded(model, [(prompts[0], action) for action in actions[0]], 0)
    if torch.allclose(packed, padded, atol=1e-4):
        pytest.skip("this version of transformers applies the window to positions")
    with pytest.warns(UserWarning, match="padded batches"):
        policy = LanguageModelPolicy(model, byte_tokenizer())
    assert not policy.packed
    fallback = policy.log_probs(*prompts_and_actions)
    for row, expected in zip(fallback, one_by_one(policy, *prompts_and_actions), strict=True):
        assert torch.allclose(row[: len(expected)], expected, atol=1e-5)


def test_padded_scores_equal_packed_scores(policy, prompts_and_actions):
    packed = policy.log_probs(*prompts_and_actions)
    policy.packed = False
    assert torch.allclose(packed, policy.log_probs(*prompts_and_actions), atol=1e-5)


def test_log_flow_reads_the_last_token_of_each_prompt(policy, prompts_and_actions):
    torch.nn.init.normal_(policy.flow_head.weight)
    observations = prompts_and_actions[0]
    together = policy.log_flow(observations)
    alone = torch.cat([policy.log_flow([observation]) for observation in observations])
    assert together.shape == (len(observations),)
    assert torch.allclose(together, alone, atol=1e-5)
    assert together.std() > 0


def actions_and_flows(policy, observations, actions):
    found = policy.scores(observations, actions, [Thought()] * len(observations), with_flows=True)
    return found.actions, found.flows


def test_flows_are_the_same_in_one_pass_with_the_actions(policy, prompts_and_actions):
    """Packed, cut into many rows, behind a shared trunk, and in padded batches."""
    torch.nn.init.normal_(policy.flow_head.weight)
    expected, flows = policy.log_probs(*prompts_and_actions), policy.log_flow(prompts_and_actions[0])
    for change in ({}, {"row_budget": 60}, {"packed": False, "row_budget": 2000}):
        vars(policy).update(change)
        together = actions_and_flows(policy, *prompts_and_actions)
        assert torch.allclose(together[0], expected, atol=1e-5)
        assert torch.allclose(together[1], flows, atol=1e-5)
    policy.template = PromptTemplate(instructions="Some numbers make 24, and others do not make it at all. " * 4)
    behind_trunk = actions_and_flows(policy, *prompts_and_actions)[1]
    alone = [policy.log_flow([observation])[0] for observation in prompts_and_actions[0]]
    assert torch.allclose(behind_trunk, torch.stack(alone), atol=1e-4)
    assert flows.std() > 0
    assert flows.dtype == torch.float32


def test_flows_of_a_half_precision_model_are_float32(prompts_and_actions):
    policy = LanguageModelPolicy(make_model("llama").to(torch.bfloat16), byte_tokenizer())
    log_probs, flows = actions_and_flows(policy, *prompts_and_actions)
    assert policy.flow_head.weight.dtype == log_probs.dtype == flows.dtype == torch.float32


class OneByOne(Policy):
    """The direct way: every sequence alone, every activation kept."""

    def __init__(self, policy):
        super().__init__()
        self.policy = policy

    def log_probs(self, observations, admissible_actions):
        rows = one_by_one(self.policy, observations, admissible_actions)
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-torch.inf)

    def log_flow(self, observations):
        prompts = [torch.tensor([self.policy._prompt_tokens(observation)]) for observation in observations]
        hidden = [self.policy.model(ids, output_hidden_states=True).hidden_states[-1][0, -1] for ids in prompts]
        return self.policy.flow_head(torch.stack(hidden))[:, 0]


def played_on(place):
    task, problem = {
        "hypergrid": (HyperGrid(side=3), Grid(2, 3)),
        "blackjack": (BlackJack(), BlackJackProblem((8, 10), 10)),
    }[place]
    return rollout(task, RandomLegalAgent(), [problem] * 5, np.random.default_rng(0))


def loss_of(name, policy, trajectories, reference=None):
    objective = OBJECTIVES[name]
    reference = reference if objective.reference else None
    learned = objective.backward and name != "detailed_balance"
    batch = scored_batch(policy, trajectories, 1.0, objective.flows, learned, reference)
    return objective.loss(batch, TrainConfig(regression="squared"))


@pytest.mark.parametrize(
    ("name", "place"), [*((name, "hypergrid") for name in OBJECTIVES), ("detailed_balance", "blackjack")]
)
def test_the_gradient_of_every_objective_is_that_of_the_direct_way(name, place):
    """In float64, with rows that are evaluated again for their gradient, to a relative 1e-6."""
    policy = LanguageModelPolicy(make_model("llama").double(), byte_tokenizer(), row_budget=80, rows_in_memory=1)
    reference = LanguageModelPolicy(make_model("qwen2").double(), byte_tokenizer())
    torch.nn.init.normal_(policy.flow_head.weight, generator=torch.Generator().manual_seed(0))
    trajectories, found = played_on(place), []
    for scorer in (policy, OneByOne(policy)):
        policy.zero_grad()
        loss = loss_of(name, scorer, trajectories, reference)
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None])
        found.append((float(loss.detach()), gradient))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    assert float((found[0][1] - found[1][1]).norm() / found[1][1].norm()) < 1e-6


@pytest.fixture(scope="module")
def walks():
    """24 beginnings of walks through four dimensions, taken for whole ones."""
    task, rng = HyperGrid(dimensions=4, side=9), np.random.default_rng(0)
    found = rollout(task, RandomLegalAgent(), [Grid(4, 9)] * 24, rng, max_steps=5)
    return [replace(trajectory, complete=True) for trajectory in found]


def bytes_kept(name, trajectories, rows_in_memory=1):
    """What a loss keeps in memory for its gradient."""
    policy = LanguageModelPolicy(make_model("llama"), byte_tokenizer(), row_budget=150, rows_in_memory=rows_in_memory)
    total = 0

    def pack(tensor):
        nonlocal total
        total += tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss_of(name, policy, trajectories, reference=policy)
    return total


@pytest.mark.parametrize("name", OBJECTIVES)
def test_memory_does_not_grow_with_the_number_of_trajectories(name, walks):
    assert bytes_kept(name, walks) < 1.2 * bytes_kept(name, walks[:3])


def test_memory_would_grow_with_every_row_kept(walks):
    few, many = (bytes_kept("detailed_balance", chosen, rows_in_memory=1000) for chosen in (walks[:3], walks))
    assert many > 2 * few


def test_save_and_load_keep_the_policy(policy, prompts_and_actions, tmp_path):
    torch.nn.init.normal_(policy.flow_head.weight)
    policy.save(tmp_path / "policy")
    loaded = LanguageModelPolicy.load(tmp_path / "policy")
    assert torch.equal(loaded.log_probs(*prompts_and_actions), policy.log_probs(*prompts_and_actions))
    assert torch.equal(loaded.log_flow(prompts_and_actions[0]), policy.log_flow(prompts_and_actions[0]))
    assert not list((tmp_path / "policy").glob("*.bin"))


def test_the_default_policy_ships_small_and_reads_the_environments(prompts_and_actions):
    from gfn_agents.default_policy import DEFAULT_POLICY_FOLDER

    assert sum(file.stat().st_size for file in DEFAULT_POLICY_FOLDER.iterdir()) <= 10_000_000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        policy = load_policy("default")
    assert policy.packed
    assert len(policy._action_tokens("6 * 4 = 24 (left: 2 24)")) <= 10
    hostile = "Ünïcödé ☃ \x00 text"
    assert policy.tokenizer.decode(policy.tokenizer(hostile)["input_ids"]) == hostile
    probabilities = policy.action_probabilities(*prompts_and_actions)
    assert all(np.isfinite(p).all() for p in probabilities)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda folder: folder / "missing", "there is no model folder"),
        (lambda folder: folder, "has no config.json"),
    ],
)
def test_a_folder_that_is_no_model_is_refused_in_one_sentence(make, reason, tmp_path):
    with pytest.raises(ValueError, match=reason) as caught:
        LanguageModelPolicy.load(make(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_damaged_model_is_refused_in_one_sentence(tmp_path):
    policy = LanguageModelPolicy(make_model("llama"), byte_tokenizer())
    policy.save(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match="cannot be loaded") as caught:
        LanguageModelPolicy.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_without_an_end_is_refused():
    tokenizer = byte_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="end-of-sequence"):
        LanguageModelPolicy(make_model("llama"), tokenizer)


@pytest.mark.parametrize("seed", range(3))
def test_rounding_is_not_taken_for_a_model_that_cannot_be_packed(seed):
    """The attention of a small fresh model is nearly uniform, so that a wrong mask changes little."""
    torch.manual_seed(seed)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    assert packing_is_exact(LlamaForCausalLM(LlamaConfig(vocab_size=50_000, **shape)).eval())
