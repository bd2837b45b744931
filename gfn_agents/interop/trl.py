"""TRL's `GRPOTrainer` on an environment: the model writes free text, the environment reads an action out of it.

An episode is one completion: what the model wrote in each turn and, between the turns, what it was shown,
which `env_mask` keeps out of the loss. That loss is over the whole vocabulary, so a model plays by free
text here (`gfn_envs.actions`), not by a choice among the legal actions as the policies of this package do.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

import gfn_envs  # noqa: F401  # registers the ids
from gfn_agents.interop.datasets import load_datasets
from gfn_envs.env import TextEnv
from gfn_envs.making import make_text_env
from gfn_envs.task import LOG_REWARD_FLOOR

_MARK = "ANSWER"


def show_actions(observation: str, actions: Sequence[str]) -> str:
    """Returns what a model reads in a turn: the observation and the legal actions, one a line."""
    listed = "\n".join(actions)
    return f"{observation}\nAnswer with one of these actions:\n{listed}"


def episode_return(episode_return: list[float], **_: Any) -> list[float]:
    """Returns the sum of the environment's rewards in each episode: a reward function for `GRPOTrainer`."""
    return episode_return


class TRLRollout:
    """A `rollout_func` for `GRPOTrainer`, and the `train_dataset` that goes with it; generates without vLLM.

    >>> play = TRLRollout("gfn_envs/NumberLine-v0", {"split": "train", "on_invalid": "terminate"})
    >>> trainer = GRPOTrainer(model, episode_return, train_dataset=play.dataset(), rollout_func=play, ...)

    Reward functions get `problem_id`, `episode_return`, `success`, `log_reward` and `finished` of each episode. One
    that would become longer than `max_completion_length` tokens, what was shown included, breaks off: it is not
    finished, and its log R is that of a failure. Where the tokenizer has a chat template, turns are messages of user
    and assistant; else they are texts that end in `Action:`.

    Args:
        env_id: a registered id, such as "gfn_envs/NumberLine-v0".
        env_kwargs: keywords of `gym.make`; `on_invalid` says what a text without a legal action does.
        problems: most problems to train on; of a larger family so many are drawn, by `seed`.
        max_action_tokens: most tokens that the model writes in a turn.
        show: from an observation and the legal actions to what the model reads.

    Raises:
        ValueError: it is no text environment, or a number is less than 1.
    """

    def __init__(
        self,
        env_id: str,
        env_kwargs: Mapping[str, Any] | None = None,
        problems: int = 1000,
        max_action_tokens: int = 32,
        show: Callable[[str, Sequence[str]], str] = show_actions,
        seed: int = 0,
    ) -> None:
        if problems < 1 or max_action_tokens < 1:
            raise ValueError(f"problems and max_action_tokens must be at least 1, got {problems}, {max_action_tokens}")
        self._env = make_text_env(env_id, dict(env_kwargs or {}))
        self._problems = {p.id: p for p in self._env.problems.take(problems, np.random.default_rng(seed))}
        self._max_action_tokens, self._show = max_action_tokens, show

    def dataset(self) -> Any:
        """Returns a `datasets.Dataset` whose prompts are problem ids: what the model reads is made as it plays."""
        return load_datasets().Dataset.from_dict({"prompt": list(self._problems)})

    def __call__(self, prompts: list[str], trainer: Any) -> dict[str, list[Any]]:
        """Plays one episode on the problem of each prompt, all of them in step.

        Raises:
            ValueError: the trainer generates by vLLM or in continuous batches, its completions have no room for one
                turn, or a prompt is not from `dataset`.
        """
        self._check(prompts, trainer)
        tokenizer = trainer.processing_class
        template = trainer.chat_template_kwargs if tokenizer.chat_template else None
        episodes = [self._start(prompt, tokenizer, template) for prompt in prompts]
        while running := [episode for episode in episodes if not episode.over]:
            written = _generate(trainer, [e.prompt_ids + e.completion_ids for e in running], self._max_action_tokens)
            for episode, (tokens, logprobs) in zip(running, written, strict=True):
                episode.write(tokens, logprobs)
                episode.step(tokenizer.decode(tokens, skip_special_tokens=True))
                if not episode.over:
                    shown = _later_turn(tokenizer, template, episode.shown(self._show), tokens[-1])
                    room = trainer.max_completion_length - len(episode.completion_ids) - self._max_action_tokens
                    episode.read(shown, room)
        return {
            "prompt_ids": [episode.prompt_ids for episode in episodes],
            "completion_ids": [episode.completion_ids for episode in episodes],
            "logprobs": [episode.logprobs for episode in episodes],
            "env_mask": [episode.env_mask for episode in episodes],
            "problem_id": prompts,
            "episode_return": [episode.episode_return for episode in episodes],
            "success": [bool(episode.info["success"]) for episode in episodes],
            "log_reward": [episode.info.get("log_reward", LOG_REWARD_FLOOR) for episode in episodes],
            "finished": ["log_reward" in episode.info for episode in episodes],
        }

    def _check(self, prompts: list[str], trainer: Any) -> None:
        if trainer.use_vllm or trainer.use_transformers_continuous_batching:
            raise ValueError(
                "TRLRollout generates with transformers itself: leave use_vllm and "
                "use_transformers_continuous_batching out of GRPOConfig"
            )
        if self._max_action_tokens > trainer.max_completion_length:
            raise ValueError(
                f"max_completion_length={trainer.max_completion_length} has no room for one turn of "
                f"max_action_tokens={self._max_action_tokens}; it must hold all turns of an episode"
            )
        unknown = set(prompts) - set(self._problems)
        if unknown:
            raise ValueError(f"{min(unknown)!r} is none of the problems of this rollout; train on its dataset()")

    def _start(self, problem_id: str, tokenizer: Any, template: Mapping[str, Any] | None) -> _Episode:
        # The seed comes from torch, so that the trainer's own rules the chance of environments as it rules the tokens.
        seed = int(torch.randint(2**31, ()))
        observation, info = self._env.reset(seed=seed, options={"problem": self._problems[problem_id]})
        episode = _Episode(self._env.clone(), info, observation)
        episode.prompt_ids = _first_turn(tokenizer, template, episode.shown(self._show))
        return episode


@dataclass
class _Episode:
    """One running episode and its tokens."""

    env: TextEnv[Any, Any]
    info: dict[str, Any]
    observation: str
    prompt_ids: list[int] = field(default_factory=list)
    completion_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    env_mask: list[int] = field(default_factory=list)
    episode_return: float = 0.0
    over: bool = False

    def shown(self, show: Callable[[str, Sequence[str]], str]) -> str:
        """Returns what the model reads now."""
        return show(self.observation, self.info["admissible_actions"])

    def write(self, tokens: list[int], logprobs: list[float]) -> None:
        """Appends what the model wrote."""
        self.completion_ids += tokens
        self.logprobs += logprobs
        self.env_mask += [1] * len(tokens)

    def step(self, text: str) -> None:
        """Plays it."""
        self.observation, reward, terminated, truncated, self.info = self.env.step(text)
        self.episode_return += reward
        self.over = terminated or truncated

    def read(self, tokens: list[int], room: int) -> None:
        """Appends what the model is shown next, or breaks off where there is no room for it."""
        self.over = len(tokens) > room
        if not self.over:
            self.completion_ids += tokens
            self.logprobs += [0.0] * len(tokens)
            self.env_mask += [0] * len(tokens)


# -- text to tokens --------------------------------------------------------------------------------
def _first_turn(tokenizer: Any, template: Mapping[str, Any] | None, text: str) -> list[int]:
    """Returns the ids of a prompt; `template` has keywords of the chat template, None where there is none."""
    if template is None:
        return list(tokenizer(f"{text}\nAction:")["input_ids"])
    return list(
        tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=False, **template
        )
    )


def _later_turn(tokenizer: Any, template: Mapping[str, Any] | None, text: str, last: int) -> list[int]:
    """Returns the ids that follow an answer whose last token is `last`, up to the next answer."""
    after = f"\n\n{text}\nAction:"
    if template is not None:
        turns = (("user", "?"), ("assistant", _MARK), ("user", text))
        chat = [{"role": role, "content": content} for role, content in turns]
        rendered = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False, **template)
        after = rendered.partition(_MARK)[2]
    tokens = list(tokenizer(after, add_special_tokens=False)["input_ids"])
    return tokens[1:] if tokens[0] == last else tokens  # the model ended its turn itself


# -- generation ------------------------------------------------------------------------------------
def _generate(trainer: Any, prompts: list[list[int]], max_tokens: int) -> list[tuple[list[int], list[float]]]:
    """Returns what the model writes after each prompt, its end token included, and the log-probability of each token.

    They are those of the distribution that was sampled, temperature and cuts of the trainer's settings included.
    """
    from trl.models import unwrap_model_for_generation

    config = copy.deepcopy(trainer.generation_config)
    config.max_new_tokens = max_tokens
    longest = max(map(len, prompts))
    # Padding is on the left, so that all answers begin at the same place.
    device = trainer.accelerator.device
    ids = torch.tensor([[config.pad_token_id] * (longest - len(p)) + p for p in prompts], device=device)
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=device)
    unwrapped = unwrap_model_for_generation(
        trainer.model_wrapped, trainer.accelerator, generation_kwargs=trainer.generation_kwargs
    )
    with unwrapped as model, torch.no_grad():
        written = model.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=config,
            return_dict_in_generate=True,
            output_scores=True,
        )
        scores = model.compute_transition_scores(written.sequences, written.scores, normalize_logits=True)
    rows = zip(written.sequences[:, longest:].tolist(), scores.tolist(), strict=True)
    return [(row[:n], logprobs[:n]) for row, logprobs in rows for n in [_length(row, config.eos_token_id)]]


def _length(tokens: list[int], ends: Sequence[int]) -> int:
    """Returns the number of tokens up to the first that ends a text, itself included."""
    return next((place + 1 for place, token in enumerate(tokens) if token in ends), len(tokens))
