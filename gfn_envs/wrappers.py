"""Views of a text environment: an action index, token ids for fixed-size networks, other rewards.

They keep nothing of the episode, so they stay right after `get_state`, `set_state` and `clone` of
the environment inside. Views of the history are in `gfn_envs.histories`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import gymnasium as gym
import numpy as np

from gfn_envs.histories import text_space_of
from gfn_envs.task import LOG_REWARD_FLOOR

Encode = Callable[[str], Sequence[int]]
Tokens = dict[str, np.ndarray]

ILLEGAL_ACTION = " "
"""What an index without an action plays: a blank names no action, so `on_invalid` decides."""
REWARD_VARIANTS = ("success", "reward", "log_reward", "shaped")
_MEMOISED_TEXTS = 1 << 16


class DiscreteActions(gym.Wrapper[str, Any, str, str], gym.utils.RecordConstructorArgs):
    """The index view: i plays `info["admissible_actions"][i]`; an index beyond them is illegal.

    Args:
        env: an environment around a `Task`, such as `gym.make("gfn_envs/Game24-v0")`.
    """

    def __init__(self, env: gym.Env[str, str]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.Wrapper.__init__(self, env)
        if not hasattr(env.unwrapped, "task"):
            raise ValueError(f"DiscreteActions needs an environment around a Task, got {env}")
        self.action_space = gym.spaces.Discrete(env.unwrapped.task.max_actions)

    def step(self, action: int) -> tuple[str, Any, bool, bool, dict[str, Any]]:
        """Plays the legal action with this index."""
        legal = self._legal_actions()
        try:
            action = operator.index(action)
        except TypeError:
            raise TypeError(f"actions are indices of legal actions here, got {action!r}") from None
        return self.env.step(legal[action] if 0 <= action < len(legal) else ILLEGAL_ACTION)

    def action_masks(self) -> np.ndarray:
        """Returns which indices are legal now, bool of shape (max_actions,), as MaskablePPO reads it."""
        size = self.env.unwrapped.task.max_actions  # type: ignore[attr-defined]
        return np.asarray(np.arange(size) < len(self._legal_actions()))

    def _legal_actions(self) -> tuple[str, ...]:
        inner: Any = self.env.unwrapped
        legal: tuple[str, ...] = inner.task.actions(inner.get_state().state)
        return legal


class TokenObservation(gym.Wrapper[Any, Any, str, Any], gym.utils.RecordConstructorArgs):
    """The token view: the text and the texts of all legal actions as padded token ids.

    An observation is `{"observation": (observation_length,), "actions": (max_actions,
    action_length)}`, int32. Texts are padded on the right with `vocabulary_size`; rows beyond the
    legal actions are padding throughout.

    Args:
        env: an environment around a `Task`, by text or by index.
        encode: hashable function from a text to token ids below `vocabulary_size`; it is called
            once a text, as long as the memory of the last 65,536 texts goes.
        vocabulary_size: number of token ids, and the padding id.
        observation_length: most tokens of an observation.
        action_length: most tokens of an action.
    """

    def __init__(
        self, env: gym.Env[str, Any], encode: Encode, vocabulary_size: int, observation_length: int, action_length: int
    ) -> None:
        gym.utils.RecordConstructorArgs.__init__(
            self,
            _disable_deepcopy=True,  # a tokenizer is large, and a copy of it would be memorised anew
            encode=encode,
            vocabulary_size=vocabulary_size,
            observation_length=observation_length,
            action_length=action_length,
        )
        text_space_of(env, self)
        gym.Wrapper.__init__(self, env)
        self.encode = encode
        self.vocabulary_size = vocabulary_size
        self.observation_length = observation_length
        self.action_length = action_length
        self.max_actions: int = env.unwrapped.task.max_actions  # type: ignore[attr-defined]
        self.observation_space = gym.spaces.Dict(
            observation=_token_space(vocabulary_size, (observation_length,)),
            actions=_token_space(vocabulary_size, (self.max_actions, action_length)),
        )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Tokens, dict[str, Any]]:
        """Starts an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self.tokens(observation, info["admissible_actions"]), info

    def step(self, action: Any) -> tuple[Tokens, Any, bool, bool, dict[str, Any]]:
        """Plays an action of the environment inside."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self.tokens(observation, info["admissible_actions"]), reward, terminated, truncated, info

    def tokens(self, observation: str, admissible_actions: Sequence[str]) -> Tokens:
        """Returns this view of any text with its legal actions.

        Raises:
            ValueError: a text or the list of actions is too long.
        """
        if len(admissible_actions) > self.max_actions:
            raise ValueError(
                f"{len(admissible_actions)} legal actions do not fit into {self.max_actions} rows; "
                "make the environment with options that cover these states"
            )
        actions = np.full((self.max_actions, self.action_length), self.vocabulary_size, dtype=np.int32)
        for row, action in zip(actions, admissible_actions, strict=False):
            self._write(row, action, "action_length")
        text = np.full(self.observation_length, self.vocabulary_size, dtype=np.int32)
        self._write(text, observation, "observation_length")
        return {"observation": text, "actions": actions}

    def _write(self, row: np.ndarray, text: str, limit: str) -> None:
        ids = _encoded(self.encode, text)
        if len(ids) > len(row):
            raise ValueError(f"{text[:60]!r} has {len(ids)} tokens, {limit} is {len(row)}; pass a larger {limit}")
        row[: len(ids)] = ids


class RewardVariant(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Another reward of the same episode, made from the task's log R and success.

    ==============  ==============================================================================
    "success"       1 at an end that is solved, otherwise 0
    "reward"        R at the end, otherwise 0: what a GFlowNet samples in proportion to
    "log_reward"    log R at the end, otherwise 0
    "shaped"        the growth of the partial log-reward, and at the end what is missing to log R
    ==============  ==============================================================================

    The shaped rewards of an episode sum to log R minus the start's partial log-reward: potential-based
    shaping (Ng, Harada and Russell 1999) with the potential of forward-looking GFlowNets (arXiv
    2302.01687). An episode cut short counts as a failure. An illegal action keeps its own reward, see
    `EnvOptions`, also where it ends the episode.

    Args:
        env: an environment around a `Task`, with any views around it.
        reward: one of the names above.
    """

    def __init__(self, env: gym.Env[Any, Any], reward: str) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, reward=reward)
        if reward not in REWARD_VARIANTS:
            raise ValueError(f"reward must be one of {REWARD_VARIANTS}, got {reward!r}")
        gym.Wrapper.__init__(self, env)
        self.reward = reward

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Plays an action of the environment inside and pays this reward for it."""
        before = self._log_reward_so_far() if self.reward == "shaped" else 0.0
        observation, inner_reward, terminated, truncated, info = self.env.step(action)
        if info["invalid_action"]:
            return observation, float(inner_reward), terminated, truncated, info
        return observation, self._reward(before, terminated or truncated, info), terminated, truncated, info

    def _reward(self, before: float, over: bool, info: dict[str, Any]) -> float:
        if self.reward == "shaped":
            return float((_log_reward(info) if over else self._log_reward_so_far()) - before)
        if not over:
            return 0.0
        if self.reward == "success":
            return float(info["success"])
        return math.exp(_log_reward(info)) if self.reward == "reward" else _log_reward(info)

    def _log_reward_so_far(self) -> float:
        inner: Any = self.env.unwrapped
        return float(inner.task.log_reward_so_far(inner.get_state().state))


def _log_reward(info: Mapping[str, Any]) -> float:
    """Returns log R of an end; without one the episode was cut short from outside, which is a failure."""
    return float(info.get("log_reward", LOG_REWARD_FLOOR))


def _token_space(vocabulary_size: int, shape: tuple[int, ...]) -> gym.spaces.Box:
    return gym.spaces.Box(0, vocabulary_size, shape, dtype=np.int32)


@lru_cache(maxsize=_MEMOISED_TEXTS)
def _encoded(encode: Encode, text: str) -> np.ndarray:
    """Returns the token ids, int32; encoding would otherwise cost more than the environment."""
    return np.array(encode(text), dtype=np.int32)
