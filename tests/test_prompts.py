"""Prompts: plain text, chat templates, worked examples; what is sampled is what is scored, and files keep it."""

from __future__ import annotations

import json
from dataclasses import asdict

import gymnasium as gym
import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

import gfn_agents.few_shot as few_shot_module
from gfn_agents import GFlowNetAgent
from gfn_agents.few_shot import few_shot
from gfn_agents.language_model import LanguageModelPolicy
from gfn_agents.prompts import PromptTemplate, PromptTokens
from gfn_envs.agents import AGENT_FILE
from gfn_envs.problems import ProblemSet, split_of
from gfn_envs.rollout import replay_actions
from gfn_envs.tasks.game24 import Game24, Game24Problem
from gfn_envs.tasks.numberline import NumberLine, NumberLineProblem
from gfn_envs.with_history import WithHistory
from tests.test_language_model import one_by_one

GAME, LINE = "gfn_envs/Game24-v0", "gfn_envs/NumberLine-v0"
SMALL = {"problems_per_step": 1, "samples_per_problem": 2, "replay_per_problem": 0, "steps": 1}
CHAT_TOKENS = ["<|start|>", "<|stop|>"]
CHATML = (
    "{% for m in messages %}<|start|>{{ m['role'] }}\n{{ m['content'] }}<|stop|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
SPACED = (
    "{% for m in messages %}{% if m['role'] == 'user' %}[{{ m['content'] }}]"
    "{% else %} {{ m['content'] }} {{ eos_token }}{% endif %}{% endfor %}"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn') }}{% endif %}" + SPACED
THINKING = CHATML.replace("assistant\n{%", "assistant\n{% if enable_thinking is not false %}<think>{% endif %}{%")


def chat_tokenizer(template=CHATML):
    alphabet = ["<pad>", "<end>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>", additional_special_tokens=CHAT_TOKENS
    )
    made.chat_template = template
    return made


def tiny(name="llama"):
    torch.manual_seed(0)
    sizes = {"vocab_size": 260, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    if name == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**sizes, intermediate_size=64, num_key_value_heads=2))
    return LlamaForCausalLM(LlamaConfig(**sizes, intermediate_size=64))


EXAMPLES = (("1 + 1?", "2"), ("2 + 2?", "4"))
CHAT = PromptTemplate("Add.", examples=EXAMPLES, style="chat")


# -- text --------------------------------------------------------------------------------------------
def test_a_text_prompt_is_instructions_then_examples_then_the_observation():
    template = PromptTemplate("Add.\n", examples=EXAMPLES)
    expected = "Add.\n1 + 1?\nAction: 2\n\n2 + 2?\nAction: 4\n\n3 + 3?\nAction:"
    assert template.prompt("3 + 3?") == expected
    tokens = PromptTokens(chat_tokenizer(), template)
    decode = tokens.tokenizer.decode
    assert decode(tokens.prompt("3 + 3?")) == expected
    assert decode(tokens.action("6")) == " 6<end>"
    assert PromptTemplate("Add.\n").prompt("3 + 3?") == "Add.\n3 + 3?\nAction:"


# -- chat --------------------------------------------------------------------------------------------
def test_a_chat_prompt_is_the_tokenizers_own_with_examples_as_turns():
    tokens = PromptTokens(chat_tokenizer(), CHAT)
    decode = tokens.tokenizer.decode
    assert decode(tokens.prompt("3 + 3?")) == (
        "<|start|>system\nAdd.<|stop|>\n"
        "<|start|>user\n1 + 1?<|stop|>\n<|start|>assistant\n2<|stop|>\n"
        "<|start|>user\n2 + 2?<|stop|>\n<|start|>assistant\n4<|stop|>\n"
        "<|start|>user\n3 + 3?<|stop|>\n<|start|>assistant\n"
    )
    assert decode(tokens.action("6")) == "6<|stop|>"
    assert PromptTemplate(style="chat").messages("3 + 3?") == [{"role": "user", "content": "3 + 3?"}]


@pytest.mark.parametrize("template", [CHATML, SPACED, THINKING])
def test_prompt_and_action_are_how_the_template_writes_an_answer(template):
    """Token for token, up to what comes after the end of the turn; so examples look like the real thing."""
    tokenizer = chat_tokenizer(template)
    chat = PromptTemplate(examples=EXAMPLES, style="chat")
    tokens = PromptTokens(tokenizer, chat)
    ids = tokens.prompt("3 + 3?") + tokens.action("6")
    messages = [*chat.messages("3 + 3?"), {"role": "assistant", "content": "6"}]
    whole = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    before_end = ids[:-1]
    assert tuple(whole[: len(before_end)]) == before_end
    assert tokens.terminator in whole[len(before_end) :]


@pytest.mark.parametrize(
    ("template", "terminator"), [(CHATML, "<|stop|>"), (SPACED, "<end>"), ("{{ messages[-1]['content'] }}", "<end>")]
)
def test_an_action_ends_as_a_turn_of_the_chat_does(template, terminator):
    tokens = PromptTokens(chat_tokenizer(template), PromptTemplate(style="chat"))
    assert tokens.tokenizer.convert_ids_to_tokens(tokens.terminator) == terminator
    assert tokens.action("6")[-1] == tokens.terminator


def test_a_tokenizer_without_a_chat_template_is_refused_in_one_sentence():
    with pytest.raises(ValueError, match=r"has no chat template; use the template 'text'"):
        LanguageModelPolicy(tiny(), chat_tokenizer(None), PromptTemplate(style="chat"))


def test_a_chat_template_without_a_system_turn_says_so_at_once():
    with pytest.raises(
        ValueError, match=r"refuses the prompt \(no system turn\).*leave the instructions out"
    ) as caught:
        LanguageModelPolicy(tiny(), chat_tokenizer(NO_SYSTEM), CHAT)
    assert "\n" not in str(caught.value)
    PromptTokens(chat_tokenizer(NO_SYSTEM), PromptTemplate(style="chat"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"style": "caht"}, "must be one of text, chat"),
        ({"examples": (("a", "b", "c"),)}, "an observation and an action"),
        ({"examples": ((1, "b"),)}, "an observation and an action"),
    ],
)
def test_a_template_that_makes_no_sense_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        PromptTemplate(**wrong)


@pytest.mark.parametrize("template", [CHAT, PromptTemplate("Add.", examples=EXAMPLES * 8)], ids=["chat", "text"])
@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_sampled_and_scored_probabilities_agree(name, template):
    """Among many prompts behind a shared trunk, alone, and token by token."""
    policy = LanguageModelPolicy(tiny(name), chat_tokenizer(), template, row_budget=300)
    task = Game24()
    states = [task.reset(Game24Problem(numbers)) for numbers in ((1, 2, 3, 4), (3, 3, 8, 8), (4, 6, 6, 8))]
    observations, actions = [task.observe(state) for state in states], [task.actions(state) for state in states]
    sampled_from = policy.action_probabilities(observations, actions)
    direct = one_by_one(policy, observations, actions)
    for index, observation in enumerate(observations):
        scored = policy.log_probs([observation], [actions[index]])[0].detach().numpy()
        assert np.allclose(np.log(sampled_from[index]), scored, atol=1e-4)
        assert np.allclose(direct[index].detach().numpy(), scored, atol=1e-4)


def test_another_template_takes_effect_at_once():
    policy = LanguageModelPolicy(tiny(), chat_tokenizer())
    before = policy.log_probs(["3 + 3?"], [["6", "7"]])
    policy.template = CHAT
    after = policy.log_probs(["3 + 3?"], [["6", "7"]])
    assert torch.equal(
        after, LanguageModelPolicy(policy.model, policy.tokenizer, CHAT).log_probs(["3 + 3?"], [["6", "7"]])
    )
    assert not torch.equal(before, after)


# -- worked examples -----------------------------------------------------------------------------------
def test_worked_examples_are_decisions_along_a_solved_trajectory():
    task, problems = NumberLine(0, 5), ProblemSet((NumberLineProblem(4, 5, 0, 5),))
    assert split_of(problems.problems[0]) == "train"
    examples = few_shot(task, problems, 1, np.random.default_rng(0))
    played = replay_actions(task, problems.problems[0], [action for _, action in examples], "demonstration")
    assert played.success
    assert [(step.observation, step.action) for step in played.steps] == list(examples)


def test_where_the_text_shows_its_history_the_last_decision_shows_them_all():
    problems = ProblemSet((NumberLineProblem(4, 5, 0, 5),))
    plain = few_shot(NumberLine(0, 5), problems, 1, np.random.default_rng(3))
    whole = few_shot(WithHistory(NumberLine(0, 5)), problems, 1, np.random.default_rng(3))
    assert len(whole) == 1
    assert whole[0][0].startswith(f"{plain[0][0]}\n> ")
    last = few_shot(WithHistory(NumberLine(0, 5), steps=1), problems, 1, np.random.default_rng(3))
    assert 1 < len(last) <= whole[0][0].count("\n> ") + 1


EVERYWHERE = {
    "ALFWorld": {},
    "BlackJack": {},
    "BlocksWorld": {"difficulty": "easy"},
    "Game24": {"count": 3},
    "NumberLine": {},
    "PrOntoQA": {},
}


@pytest.mark.parametrize("split", ["train", "all"])
@pytest.mark.parametrize("name", EVERYWHERE)
def test_only_training_problems_are_shown_in_every_environment(name, split, monkeypatch):
    """Also where problems of all splits are at hand."""
    asked = []

    def spy(task, problem, count, rng):
        asked.append(problem)
        return demonstrate(task, problem, count, rng)

    demonstrate = few_shot_module.demonstrations
    monkeypatch.setattr(few_shot_module, "demonstrations", spy)
    env = gym.make(f"gfn_envs/{name}-v0", split=split, **EVERYWHERE[name]).unwrapped
    examples = few_shot(env.task, env.problems, 3, np.random.default_rng(1))
    assert examples == few_shot(env.task, env.problems, 3, np.random.default_rng(1))
    assert examples != few_shot(env.task, env.problems, 3, np.random.default_rng(2))
    assert {split_of(problem) for problem in asked} == {"train"}
    task = env.task.memoryless()
    starts = {task.observe(task.reset(problem)) for problem in asked}
    shown = [observation for observation, _ in examples if observation in starts]
    assert len(set(shown)) == 3, "three problems"
    for observation, action in examples:
        assert observation
        assert len(action) <= task.max_action_length


def test_no_start_of_another_split_is_shown():
    env = gym.make(LINE, split="all").unwrapped
    rng = np.random.default_rng(0)
    shown = {observation for observation, _ in few_shot(env.task, env.problems, 20, rng)}
    starts = {split: set() for split in ("train", "validation", "test")}
    for problem in env.problems:
        starts[split_of(problem)].add(env.task.observe(env.task.reset(problem)))
    assert len(shown & starts["train"]) == 20
    assert not shown & (starts["validation"] | starts["test"])


def test_a_demonstration_that_chance_spoiled_is_not_shown(monkeypatch):
    task, problem = NumberLine(0, 5), NumberLineProblem(4, 5, 0, 5)
    lost, won = (replay_actions(task, problem, actions, "demonstration") for actions in ("-" * 10, "+"))
    monkeypatch.setattr(few_shot_module, "demonstrations", lambda *arguments: [lost, won])
    shown = few_shot(task, ProblemSet((problem,)), 1, np.random.default_rng(0))
    assert [action for _, action in shown] == ["+"]


def test_weights_hide_no_training_problem():
    listed = tuple(gym.make(LINE, split="train").unwrapped.problems)[:3]
    heavy = ProblemSet(listed, (1e12, 1.0, 1.0))
    task = NumberLine()
    shown = few_shot(task, heavy, 3, np.random.default_rng(0))
    assert {task.observe(task.reset(problem)) for problem in listed} <= {observation for observation, _ in shown}


def test_there_must_be_training_problems_with_a_solution():
    rng = np.random.default_rng(0)
    env = gym.make(LINE, split="test").unwrapped
    with pytest.raises(ValueError, match="worked examples need training problems: none of the"):
        few_shot(env.task, env.problems, 1, rng)
    hopeless = ProblemSet(
        tuple(p for p in (Game24Problem((1, 1, 1, n)) for n in range(1, 8)) if split_of(p) == "train")
    )
    with pytest.raises(ValueError, match="only 0 of 1 worked examples"):
        few_shot(Game24(), hopeless, 1, rng)
    with pytest.raises(ValueError, match="at least 0"):
        few_shot(Game24(), hopeless, -1, rng)
    assert few_shot(Game24(), hopeless, 0, rng) == ()


# -- agents and files ------------------------------------------------------------------------------------
@pytest.fixture
def model_folder(tmp_path):
    LanguageModelPolicy(tiny(), chat_tokenizer()).save(tmp_path / "model")
    return tmp_path / "model"


def chat_agent(model_folder, folder=None, **options):
    template = PromptTemplate("Walk.", style="chat")
    return GFlowNetAgent(LINE, model_folder, template=template, folder=folder, few_shot=2, **{**SMALL, **options})


def test_save_and_load_keep_template_and_examples(model_folder, tmp_path):
    agent = chat_agent(model_folder)
    assert agent.template == agent.policy.template
    assert len(agent.template.examples) >= 2
    agent.learn()
    agent.save(tmp_path / "agent")
    loaded = GFlowNetAgent.load(tmp_path / "agent")
    assert loaded.template == agent.template
    assert loaded.policy.template == agent.template
    asked = (["Goal: 3."], [["+", "-"]])
    assert np.array_equal(loaded.action_probabilities(*asked)[0], agent.action_probabilities(*asked)[0])
    prompt = loaded.policy.tokenizer.decode(loaded.policy._prompt_tokens("Goal: 3."))
    assert prompt.startswith("<|start|>system\nWalk.<|stop|>\n<|start|>user\nGoal: ")
    assert prompt.endswith("<|start|>user\nGoal: 3.<|stop|>\n<|start|>assistant\n")
    assert PromptTemplate(**json.loads(json.dumps(asdict(agent.template)))) == agent.template


def test_a_ready_policy_keeps_its_template_in_files():
    agent = GFlowNetAgent(LINE, LanguageModelPolicy(tiny(), chat_tokenizer(), CHAT), **SMALL)
    assert agent.template == CHAT
    more = GFlowNetAgent(LINE, agent.policy, few_shot=1, **SMALL)
    assert more.template.examples[: len(EXAMPLES)] == EXAMPLES
    assert more.template == agent.policy.template != CHAT


def test_agents_on_one_policy_have_one_template(tmp_path):
    """What an agent plays is what it saves."""
    first = GFlowNetAgent(LINE, LanguageModelPolicy(tiny(), chat_tokenizer(), CHAT), few_shot=1, **SMALL)
    second = GFlowNetAgent(LINE, first.policy, few_shot=1, **SMALL)
    assert first.template == second.template == first.policy.template
    first.save(tmp_path / "agent")
    assert GFlowNetAgent.load(tmp_path / "agent").template == first.policy.template


def test_an_agent_file_from_before_still_loads(model_folder, tmp_path):
    chat_agent(model_folder).save(tmp_path / "agent")
    path = tmp_path / "agent" / AGENT_FILE
    described = json.loads(path.read_text())
    described["template"] = {"instructions": "Old.", "before_action": "\nDo:"}
    path.write_text(json.dumps(described))
    assert GFlowNetAgent.load(tmp_path / "agent").template == PromptTemplate("Old.", "\nDo:")
    described["template"] = {"style": "caht"}
    path.write_text(json.dumps(described))
    with pytest.raises(ValueError, match=r"is damaged: the style of a prompt must be one of"):
        GFlowNetAgent.load(tmp_path / "agent")


def test_a_run_goes_on_with_its_prompts_only(model_folder, tmp_path):
    chat_agent(model_folder, tmp_path / "run").learn()
    assert chat_agent(model_folder, tmp_path / "run", steps=2).resume().trainer.steps_done == 1
    with pytest.raises(ValueError, match="started with other prompts"):
        GFlowNetAgent(LINE, model_folder, folder=tmp_path / "run", **SMALL).resume()


def test_training_on_histories_in_a_chat(model_folder):
    agent = chat_agent(model_folder, env_kwargs={"history": "all", "horizon": 5})
    agent.learn()
    assert agent.trainer.steps_done == 1
    assert "\n> " in agent.template.examples[-1][0]
