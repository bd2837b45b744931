"""PPO of Stable-Baselines3 and MaskablePPO of sb3-contrib on the text environments, given a fair chance.

The one idea: the policy *reads*. An index means a different action in every state, so a network with
one output an index could only memorise. Here one encoder reads the observation and every candidate
action, the texts that a language model would see, and a pointer head scores each action against the
observation: logit_i = score(observation, action_i). Permuted candidates give permuted probabilities.

The defaults were tuned on the training puzzles of Game24, 20,480 steps each, about 30 seconds of
one processor. What mattered, as success of MaskablePPO in the last eighth of the training steps,
where chance is 0.0066 (one seed a setting; two seeds of the defaults differ by 0.13, so that only
large differences mean something):

- rounds of 32 * 16 steps rather than 32 * 64: 0.45 rather than 0.10 after 16,384 steps;
- batches of 128 or 64 states: 0.56 or 0.48 with a tanh pointer, 0.44 or 0.56 with relu;
- relu pointers of initial scale 0.05 rather than 0.01: 0.57 rather than 0.56, and an earlier start;
- learning rate 5e-3 rather than 3e-3 (tanh): 0.51 rather than 0.56;
- width 128 rather than 64 (tanh): 0.47 rather than 0.56, for 1.5 times the processor time;
- entropy bonus 0.03 rather than 0.01: 0.54 rather than 0.57; on NumberLine the larger one is safer.

With the defaults, exactly, over 40 puzzles with chance 0.008: MaskablePPO 0.74 and 0.61 (seeds 0 and
1) on training puzzles and 0.59 and 0.39 on test puzzles; after 40,960 steps 0.76 and 0.73, and 0.67
and 0.67. PPO after 20,480 steps 0.49 and 0.59 on training puzzles, 0.43 and 0.48 on test puzzles.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypedDict

import numpy as np
from safetensors.torch import load_model, save_model
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor

from baselines.pointer_policy import MaskablePointerPolicy, PointerFeatures, PointerPolicy
from baselines.sb3_adapter import (
    default_vocabulary_size,
    encode_by_default,
    legal_probabilities,
    policy_logits,
    token_env,
)
from gfn_agents.config import check_sizes
from gfn_envs.agents import AGENT_FILE, SamplingAgent, class_name, read_agent_file, write_agent_file
from gfn_envs.files import json_values
from gfn_envs.wrappers import Encode, TokenObservation


class LearningCurveRow(TypedDict):
    """What the episodes that ended in one round of collected experience were like.

    Attributes:
        environment_steps: environment steps so far, illegal attempts included.
        episodes: how many ended. Where a round is shorter than an episode, those that end early, and
            often well, are alone in many rounds: weigh rounds by this number.
        success: fraction of those episodes that were solved; nan where none ended.
        illegal: fraction of the round's steps that tried an illegal index; 0 under masks.
        cpu_seconds: processor time since `learn` began, of this process.
    """

    environment_steps: int
    episodes: int
    success: float
    illegal: float
    cpu_seconds: float


SIZES = ("width", "num_envs", "n_steps", "batch_size", "n_epochs")
"""Options of a PPO agent that must be at least 1."""


class PPOAgent(SamplingAgent):
    """PPO of Stable-Baselines3, without masks: rows without an action are illegal moves to be unlearned.

    Args:
        env_id: a registered id, such as "gfn_envs/Game24-v0".
        env_kwargs: keywords of `gym.make`; to be saved they must be JSON values, or problems or paths.
        seed: seeds weights, problems and sampling (and PyTorch's global generator, as SB3 does).
        encode: function from a text to token ids; default: the tokenizer of `gfn_agents`.
        vocabulary_size: number of token ids; given together with `encode`.
        width: size of all hidden layers.
        num_envs: episodes side by side.
        n_steps: steps of each between two updates.
        batch_size: states of one gradient step.
        n_epochs: passes over the experience of one round.
        learning_rate: of Adam.
        entropy_bonus: weight of the entropy; without it the policy narrows before it has seen success.
        gae_lambda: of generalised advantage estimation; gamma is 1, as the games are short.
        device: where the network runs; it is small enough for a processor.
    """

    algorithm: ClassVar[type[Any]] = PPO
    policy_class: ClassVar[type[Any]] = PointerPolicy
    features_class: ClassVar[type[PointerFeatures]] = PointerFeatures

    def __init__(
        self,
        env_id: str,
        env_kwargs: Mapping[str, Any] | None = None,
        seed: int = 0,
        encode: Encode | None = None,
        vocabulary_size: int | None = None,
        width: int = 64,
        num_envs: int = 32,
        n_steps: int = 16,
        batch_size: int = 64,
        n_epochs: int = 4,
        learning_rate: float = 3e-3,
        entropy_bonus: float = 0.01,
        gae_lambda: float = 0.95,
        device: str = "cpu",
    ) -> None:
        if (encode is None) != (vocabulary_size is None):
            raise ValueError("encode and vocabulary_size belong together; pass both or neither")
        if encode is None or vocabulary_size is None:
            encode, vocabulary_size = encode_by_default, default_vocabulary_size()
        self.arguments: dict[str, Any] = {
            "env_id": env_id,
            "env_kwargs": dict(env_kwargs or {}),
            "seed": seed,
            "vocabulary_size": vocabulary_size,
            "width": width,
            "num_envs": num_envs,
            "n_steps": n_steps,
            "batch_size": batch_size,
            "n_epochs": n_epochs,
            "learning_rate": learning_rate,
            "entropy_bonus": entropy_bonus,
            "gae_lambda": gae_lambda,
            "device": device,
        }
        check_sizes(self.arguments, SIZES)
        views = [self.make_view(env_id, env_kwargs or {}, encode, vocabulary_size) for _ in range(num_envs)]
        self._view = views[0]
        self._model = self.algorithm(
            self.policy_class,
            DummyVecEnv([lambda view=view: view for view in views]),
            learning_rate=learning_rate,
            n_steps=n_steps,
            batch_size=batch_size,
            n_epochs=n_epochs,
            gamma=1.0,
            gae_lambda=gae_lambda,
            ent_coef=entropy_bonus,
            policy_kwargs={
                "features_extractor_class": self.features_class,
                "features_extractor_kwargs": {"padding": vocabulary_size, "width": width},
            },
            seed=seed,
            device=device,
        )
        self._model.set_logger(Logger(folder=None, output_formats=[]))  # the usual one makes a folder for each run

    @staticmethod
    def make_view(env_id: str, env_kwargs: Mapping[str, Any], encode: Encode, vocabulary_size: int) -> TokenObservation:
        """Returns the environment as the network reads it."""
        return token_env(env_id, env_kwargs, encode, vocabulary_size)

    def learn(
        self, total_steps: int, on_progress: Callable[[LearningCurveRow], None] | None = None
    ) -> list[LearningCurveRow]:
        """Trains for at least this many environment steps and returns the learning curve.

        Args:
            total_steps: rounded up to whole rounds of num_envs * n_steps.
            on_progress: called with each row as soon as it is known.
        """
        curve = _LearningCurve(on_progress)
        self._model.learn(total_steps, callback=curve, log_interval=None, reset_num_timesteps=False)
        return curve.rows

    def action_probabilities(
        self, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]]
    ) -> list[np.ndarray]:
        """Returns the probabilities of the legal actions, one float64 array an observation.

        They are renormalised over the legal actions. For MaskablePPO that is the policy itself; for
        PPO it leaves out what the policy would waste on illegal indices, which the learning curve
        reports as `illegal`.
        """
        return legal_probabilities(self.logits_of, observations, admissible_actions)

    def logits_of(self, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]]) -> Tensor:
        """Returns what the network says of all rows, (prompts, max_actions)."""
        return policy_logits(self._model.policy, self._view, observations, admissible_actions)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a directory with `policy.safetensors` and `agent.json`; the optimizer is not kept.

        Raises:
            ValueError: env_kwargs holds something that is not a JSON value.
        """
        try:
            json.dumps(json_values(self.arguments))
        except TypeError as error:
            raise ValueError(f"env_kwargs cannot be saved as JSON ({error})") from None
        directory = Path(path)
        directory.mkdir(parents=True, exist_ok=True)
        save_model(self._model.policy, str(directory / "policy.safetensors.partial"))
        os.replace(directory / "policy.safetensors.partial", directory / "policy.safetensors")
        write_agent_file(directory, self, self.arguments)

    @classmethod
    def load(cls, path: str | os.PathLike[str], encode: Encode | None = None) -> PPOAgent:
        """Returns the agent that `save` wrote; nothing is unpickled.

        Args:
            path: the directory.
            encode: the function that the agent was made with, if it was not the default.

        Raises:
            ValueError: the directory holds no such agent, or one made with another tokenizer.
        """
        directory = Path(path)
        saved = read_agent_file(directory)
        name = saved.pop("class", None)
        if name != class_name(cls):
            raise ValueError(f"'{path}' holds an agent of {name}; load it with the load of that class")
        if encode is None and saved.get("vocabulary_size") != default_vocabulary_size():
            raise ValueError(f"the agent in '{path}' was made with another tokenizer; pass its encode=")
        try:
            agent = cls(**saved, encode=encode or encode_by_default)
        except TypeError as error:
            raise ValueError(f"'{directory / AGENT_FILE}' is damaged: {error}") from None
        load_model(agent._model.policy, directory / "policy.safetensors")
        return agent


class MaskablePPOAgent(PPOAgent):
    """MaskablePPO of sb3-contrib: `action_masks()` keeps the policy on legal actions.

    The mask is the whole difference to `PPOAgent` (Huang and Ontanon 2022, arXiv 2006.14171).
    """

    algorithm = MaskablePPO
    policy_class = MaskablePointerPolicy


class _LearningCurve(BaseCallback):  # type: ignore[misc]
    """Sums up each round of experience once its update is done; SB3 calls the hooks."""

    def __init__(self, on_progress: Callable[[LearningCurveRow], None] | None) -> None:
        super().__init__()
        self.rows: list[LearningCurveRow] = []
        self._on_progress = on_progress

    def _on_training_start(self) -> None:
        self._started = time.process_time()
        self._clear()

    def _on_step(self) -> bool:
        for done, info in zip(self.locals["dones"], self.locals["infos"], strict=True):
            self._illegal.append(info["invalid_action"])
            if done:
                self._successes.append(info["success"])
        return True

    def _on_rollout_start(self) -> None:
        if self._illegal:
            self._add_row()

    def _on_training_end(self) -> None:
        self._add_row()

    def _add_row(self) -> None:
        row: LearningCurveRow = {
            "environment_steps": self.num_timesteps,
            "episodes": len(self._successes),
            "success": _mean(self._successes),
            "illegal": _mean(self._illegal),
            "cpu_seconds": time.process_time() - self._started,
        }
        self._clear()
        self.rows.append(row)
        if self._on_progress:
            self._on_progress(row)

    def _clear(self) -> None:
        self._successes: list[bool] = []
        self._illegal: list[bool] = []


def _mean(values: Sequence[float]) -> float:
    """Returns the mean, nan of nothing: a round can be too short to end an episode."""
    return sum(values) / len(values) if values else math.nan
