"""Other libraries, by the real packages: TRL trains on an environment, trajectories become a data set."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import gymnasium as gym
import numpy as np
import pytest
import torch

from gfn_agents.interop.datasets import to_dataset
from gfn_agents.interop.trl import TRLRollout, episode_return, show_actions
from gfn_envs.trajectory import Step, Trajectory
from tests.test_docs import ROOT, run_python
from tests.test_language_model import byte_tokenizer, make_model

LINE = "gfn_envs/NumberLine-v0"
HOW = "not installed: pip install 'gfn-gym[interop]'"
CHAT = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
TEMPERATURE = 0.7


# -- datasets --------------------------------------------------------------------------------------
def test_trajectories_become_rows():
    datasets = pytest.importorskip("datasets", reason=HOW)
    steps = (Step("at 1", ("-", "+"), "+"), Step("at 2", ("-", "+"), "-"))
    played = [
        Trajectory("line/1", steps, -0.5, True, "two steps", "demonstration"),
        Trajectory("line/2", (), -9.25, False, "", complete=False),
    ]
    data = to_dataset(iter(played))
    assert data.to_list() == [
        {
            "problem_id": "line/1",
            "messages": [
                {"role": "user", "content": "at 1"},
                {"role": "assistant", "content": "+"},
                {"role": "user", "content": "at 2"},
                {"role": "assistant", "content": "-"},
            ],
            "actions": ["+", "-"],
            "log_reward": -0.5,
            "success": True,
            "solution": "two steps",
            "source": "demonstration",
        },
        {
            "problem_id": "line/2",
            "messages": [],
            "actions": [],
            "log_reward": -9.25,
            "success": False,
            "solution": "",
            "source": "policy",
        },
    ]
    assert isinstance(data, datasets.Dataset)
    assert to_dataset([]).features == to_dataset(played[1:]).features == data.features


@pytest.mark.parametrize("call", [lambda: to_dataset([]), lambda: TRLRollout(LINE).dataset()], ids=["export", "trl"])
def test_a_missing_package_says_what_to_install(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r"gfn-gym\[interop\]"):
        call()


def test_importing_the_adapters_needs_none_of_their_packages():
    code = (
        "import sys, gfn_agents.interop.trl, gfn_agents.interop.datasets;"
        "print([m for m in ('trl', 'datasets', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_the_blocks_of_the_page_run(tmp_path, monkeypatch):
    pytest.importorskip("trl", reason=HOW)
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "interop.md").read_text(encoding="utf-8")
    marked = '```python title="needs gfn-gym[interop]"\n'
    assert text.count(marked) == 2
    run_python(text.replace(marked, "```python\n"), "page_interop", monkeypatch)
    assert (tmp_path / "solved.parquet").is_file()


# -- TRL -------------------------------------------------------------------------------------------
class Recorded(TRLRollout):
    """Keeps what it gave to the trainer, and the weights that played."""

    def __call__(self, prompts, trainer):
        played = super().__call__(prompts, trainer)
        weights = {name: value.clone() for name, value in trainer.model.state_dict().items()}
        self.calls = [*getattr(self, "calls", []), (prompts, played, weights)]
        return played


def a_trainer(play, folder, tokenizer, **settings):
    """Returns a trainer for two steps of two groups of four, of a model that writes nothing but +, - and the end."""
    trl = pytest.importorskip("trl", reason=HOW)
    letters = {*tokenizer("+-")["input_ids"], tokenizer.eos_token_id}
    config = trl.GRPOConfig(
        **{
            "output_dir": str(folder),
            "max_steps": 2,
            "per_device_train_batch_size": 8,
            "num_generations": 4,
            "max_completion_length": 4000,
            "temperature": TEMPERATURE,
            "learning_rate": 1e-2,
            "generation_kwargs": {"suppress_tokens": sorted(set(range(len(tokenizer))) - letters)},
            "use_cpu": True,
            "bf16": False,
            "report_to": "none",
            "save_strategy": "no",
            "logging_steps": 1,
            **settings,
        }
    )
    return trl.GRPOTrainer(
        make_model("qwen2"),
        [episode_return],
        config,
        play.dataset(),
        processing_class=tokenizer,
        rollout_func=play,
    )


def parts(tokens, mask):
    """Returns the runs of tokens that the model wrote, and those that it was shown."""
    borders = [0, *(i for i in range(1, len(mask)) if mask[i] != mask[i - 1]), len(mask)]
    runs = [tokens[start:stop] for start, stop in pairwise(borders)]
    return runs[::2], runs[1::2]


@pytest.fixture(scope="module", params=["text", "chat"])
def trained(request, tmp_path_factory):
    """A run of two steps, by text and by chat: the tokenizer, the trainer and what was played."""
    tokenizer = byte_tokenizer()
    if request.param == "chat":
        tokenizer.chat_template = CHAT
    play = Recorded(LINE, {"high": 1}, max_action_tokens=2)
    trainer = a_trainer(play, tmp_path_factory.mktemp("trl"), tokenizer)
    trainer.train()
    return tokenizer, trainer, play.calls


@pytest.fixture
def episodes(trained):
    """Every episode as a dictionary, with the weights that played it."""
    _, _, calls = trained
    return [
        {**{key: values[i] for key, values in played.items()}, "weights": weights}
        for prompts, played, weights in calls
        for i in range(len(prompts))
    ]


@pytest.mark.slow
def test_two_steps_train_on_groups(trained):
    _, trainer, calls = trained
    assert trainer.state.global_step == len(calls) == 2
    for (prompts, played, _), log in zip(calls, trainer.state.log_history, strict=False):
        assert [len(set(prompts[start : start + 4])) for start in (0, 4)] == [1, 1]
        assert log["rewards/episode_return/mean"] == pytest.approx(np.mean(played["episode_return"]))
        assert len(set(played["episode_return"])) > 1
    before, after = calls[0][2], trainer.model.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.slow
def test_episodes_are_those_of_the_environment(trained, episodes):
    """What the model wrote, played again, gives what it was shown, the return, the success and log R."""
    tokenizer, _, _ = trained
    env = gym.make(LINE, high=1)
    seen = set()
    for episode in episodes:
        observation, info = env.reset(options={"problem_id": episode["problem_id"]})
        shown, total, over, chat, texts = [], 0.0, False, [], []
        written, _ = parts(episode["completion_ids"], episode["env_mask"])
        for tokens in written:
            assert not over
            shown.append(show_actions(observation, info["admissible_actions"]))
            texts.append(tokenizer.decode(tokens))
            text = texts[-1].removesuffix("<end>")
            chat += [{"role": "user", "content": shown[-1]}, {"role": "assistant", "content": text}]
            observation, reward, terminated, truncated, info = env.step(text)
            total, over = total + reward, terminated or truncated
            seen |= {"illegal"} if info["invalid_action"] else {"legal"}
        assert over
        assert (episode["episode_return"], episode["success"]) == (total, info["success"])
        assert (episode["log_reward"], episode["finished"]) == (info["log_reward"], True)
        whole = tokenizer.decode(episode["prompt_ids"] + episode["completion_ids"])
        if tokenizer.chat_template:
            expected = tokenizer.apply_chat_template(chat, tokenize=False)
            assert whole.removesuffix("<end>") == expected.removesuffix("<end>\n")
        else:
            assert whole == "\n\n".join(f"{a}\nAction:{b}" for a, b in zip(shown, texts, strict=True))
        seen |= {"success"} if info["success"] else {"failure"}
    assert seen == {"legal", "illegal", "success", "failure"}


@pytest.mark.slow
def test_log_probabilities_are_those_of_one_pass_over_the_episode(trained, episodes):
    _, trainer, _ = trained
    model, forbidden = make_model("qwen2"), trainer.generation_config.suppress_tokens
    for episode in episodes:
        model.load_state_dict(episode["weights"])
        tokens = torch.tensor(episode["prompt_ids"] + episode["completion_ids"])
        with torch.no_grad():
            logits = model(tokens[None]).logits[0, len(episode["prompt_ids"]) - 1 : -1] / TEMPERATURE
        logits[:, forbidden] = -torch.inf
        mask = torch.tensor(episode["env_mask"])
        scores = logits.log_softmax(-1).gather(1, torch.tensor(episode["completion_ids"])[:, None])[:, 0]
        expected = torch.where(mask == 1, scores, 0.0)
        torch.testing.assert_close(torch.tensor(episode["logprobs"]), expected, atol=1e-4, rtol=0)


@pytest.mark.slow
def test_an_episode_without_room_breaks_off_as_a_failure(tmp_path):
    play = Recorded(LINE, {"high": 1}, max_action_tokens=2)
    a_trainer(play, tmp_path, byte_tokenizer(), max_completion_length=2, max_steps=1).train()
    ((_, played, _),) = play.calls
    assert {len(tokens) for tokens in played["completion_ids"]} <= {1, 2}
    for finished, success, log_reward in zip(*(played[n] for n in ("finished", "success", "log_reward")), strict=True):
        assert success == finished == (log_reward == 0.0)
        assert finished or log_reward == pytest.approx(np.log(1e-4))
    assert not all(played["finished"])


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"max_completion_length": 1}, "has no room for one turn"),
        ({"use_transformers_continuous_batching": True}, "leave use_vllm"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, error, tmp_path):
    play = TRLRollout(LINE, {"high": 1}, max_action_tokens=2)
    with pytest.raises(ValueError, match=error):
        a_trainer(play, tmp_path, byte_tokenizer(), **settings).train()


def test_a_prompt_of_another_set_is_refused(tmp_path):
    trainer = a_trainer(TRLRollout(LINE, {"high": 1}), tmp_path, byte_tokenizer())
    with pytest.raises(ValueError, match="none of the problems of this rollout"):
        trainer.rollout_func(["numberline/7-to-8"], trainer)
    with pytest.raises(ValueError, match="must be at least 1"):
        TRLRollout(LINE, problems=0)
