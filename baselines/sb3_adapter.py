"""Models of Stable-Baselines3 and sb3-contrib as agents, and the view of an environment that they learn on.

A model learns by index on token ids (`token_env`); an agent is asked with texts. The adapter writes
the texts as the model's own observation space has them, and reads its policy over the legal rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from sb3_contrib.qrdqn.policies import QRDQNPolicy
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnvWrapper, VecFrameStack, VecNormalize
from stable_baselines3.dqn.policies import DQNPolicy
from torch import Tensor

from gfn_envs.agents import SamplingAgent
from gfn_envs.env import TextEnv
from gfn_envs.making import make_text_env
from gfn_envs.wrappers import DiscreteActions, Encode, TokenObservation

LogitsOf = Callable[[Sequence[str], Sequence[Sequence[str]]], Tensor]
"""What a policy says of observations and their legal actions: logits (prompts, max_actions)."""
_PROMPTS_AT_ONCE = 256
_READABLE = (ActorCriticPolicy, MaskableActorCriticPolicy, DQNPolicy, QRDQNPolicy)


class SB3Agent(SamplingAgent):
    """A trained model as an agent.

    >>> env = token_env("gfn_envs/Game24-v0", {"split": "train"})
    >>> model = DQN("MultiInputPolicy", env).learn(10_000)
    >>> agent = SB3Agent(model, "gfn_envs/Game24-v0")

    The model's own `save` keeps it, and `SB3Agent(DQN.load(file), ...)` brings it back; `load` of
    Stable-Baselines3 unpickles, so use it on files of your own only. A model that learned behind `VecNormalize` or
    `VecFrameStack` is refused; of a file it cannot be told, so do not name one.

    Args:
        model: trained on `DiscreteActions` within `TokenObservation`, by any algorithm with a policy
            over indices: PPO, A2C, TRPO, MaskablePPO, DQN, QRDQN.
        env_id: a registered id, such as "gfn_envs/Game24-v0".
        env_kwargs: keywords of `gym.make`.
        encode: the function from a text to token ids that the model learned with.

    Raises:
        ValueError: the model learned on another view or behind a wrapper that changed it, or has no policy of one
            step over indices.
    """

    def __init__(
        self, model: Any, env_id: str, env_kwargs: Mapping[str, Any] | None = None, encode: Encode | None = None
    ) -> None:
        name = type(model).__name__
        _check_unwrapped(name, model.get_env())
        if isinstance(model.policy, RecurrentActorCriticPolicy):
            raise ValueError(
                f"{name} keeps a hidden state for each episode, and an agent sees texts only; "
                "train recurrent_ppo (baselines.recurrent_ppo) on texts that hold the history: history='all'"
            )
        if not isinstance(model.policy, _READABLE):
            raise ValueError(f"{name} has no policy over indices that can be read; wrap its predict by a FunctionAgent")
        try:
            text, actions = (model.observation_space[part] for part in ("observation", "actions"))
            lengths = int(text.high.max()), text.shape[0], actions.shape[1]
        except (TypeError, KeyError, AttributeError, IndexError):
            raise ValueError(f"{name} did not learn on TokenObservation; train it on token_env(...)") from None
        self._view = token_env(env_id, env_kwargs or {}, encode or encode_by_default, *lengths)
        seen = (self._view.observation_space, self._view.action_space)
        if seen != (model.observation_space, model.action_space):
            raise ValueError(f"{name} learned on {model.observation_space} and '{env_id}' has {seen[0]}; name its own")
        self.model = model

    def action_probabilities(
        self, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]]
    ) -> list[np.ndarray]:
        """Returns the probabilities of the legal actions, see `legal_probabilities`."""
        logits_of = partial(policy_logits, self.model.policy, self._view)
        return legal_probabilities(logits_of, observations, admissible_actions)


def _check_unwrapped(name: str, env: Any) -> None:
    """Raises ValueError if a model learned behind a wrapper that changes what it sees, which spaces need not show."""
    while isinstance(env, VecEnvWrapper):
        if isinstance(env, VecNormalize | VecFrameStack):
            raise ValueError(
                f"{name} learned behind {type(env).__name__}, and an agent is asked with texts alone; train it without"
            )
        env = env.venv


def legal_probabilities(
    logits_of: LogitsOf, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]]
) -> list[np.ndarray]:
    """Returns a policy of Stable-Baselines3 over the legal actions, one float64 array an observation.

    It is renormalised over them. With masks that is the policy itself; without, it leaves out what
    the policy would waste on illegal indices.
    """
    found: list[np.ndarray] = []
    for first in range(0, len(observations), _PROMPTS_AT_ONCE):
        chunk = slice(first, first + _PROMPTS_AT_ONCE)
        legal = admissible_actions[chunk]
        with torch.no_grad():
            rows = logits_of(observations[chunk], legal).double().cpu().numpy()
        found += [_softmax(row[: len(actions)]) for row, actions in zip(rows, legal, strict=True)]
    return found


def policy_logits(
    policy: Any, view: TokenObservation, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]]
) -> Tensor:
    """Returns what a policy says of all rows, (prompts, max_actions); one of Q-values plays the best legal action."""
    masks = np.arange(view.max_actions) < np.array([[len(actions)] for actions in admissible_actions])
    return _scores(policy, stacked_tokens(view, observations, admissible_actions, policy.device), masks)


def stacked_tokens(
    view: TokenObservation, texts: Sequence[str], legal: Sequence[Sequence[str]], device: torch.device
) -> dict[str, Tensor]:
    """Returns the view of texts with their legal actions as one batch."""
    views = [view.tokens(text, actions) for text, actions in zip(texts, legal, strict=True)]
    return {part: torch.as_tensor(np.stack([view[part] for view in views]), device=device) for part in views[0]}


def _scores(policy: Any, tokens: Mapping[str, Tensor], masks: np.ndarray) -> Tensor:
    """Returns logits of all rows, (prompts, max_actions); under Q-values 0 for the best legal row, -inf elsewhere."""
    policy.set_training_mode(False)
    if isinstance(policy, MaskableActorCriticPolicy):
        masked: Tensor = policy.get_distribution(tokens, masks).distribution.logits
        return masked
    if isinstance(policy, ActorCriticPolicy):
        logits: Tensor = policy.get_distribution(tokens).distribution.logits
        return logits
    values = policy.q_net(tokens) if isinstance(policy, DQNPolicy) else policy.quantile_net(tokens).mean(dim=1)
    legal = torch.as_tensor(masks, device=values.device)
    best = values.masked_fill(~legal, -torch.inf).argmax(dim=1, keepdim=True)
    return torch.full_like(values, -torch.inf).scatter(1, best, 0.0)


def _softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max())
    return np.asarray(weights / weights.sum())


# -- the view --------------------------------------------------------------------------------------
def token_env(
    env_id: str,
    env_kwargs: Mapping[str, Any],
    encode: Encode | None = None,
    vocabulary_size: int | None = None,
    observation_length: int | None = None,
    action_length: int | None = None,
) -> TokenObservation:
    """Returns the environment by index and token ids, with texts that need no memory, as agents are shown them.

    Args:
        env_id: a registered id.
        env_kwargs: keywords of `gym.make`.
        encode: function from a text to token ids; default: the tokenizer of `gfn_agents`.
        vocabulary_size: number of token ids; given together with `encode`.
        observation_length: most tokens of an observation.
        action_length: most tokens of an action. Both lengths are by default those of the task's texts
            in bytes, which no byte-level tokenizer exceeds.
    """
    env = text_env(env_id, env_kwargs)
    widest = max(len(character.encode()) for character in env.task.charset)
    return TokenObservation(
        DiscreteActions(env),
        encode or encode_by_default,
        vocabulary_size or default_vocabulary_size(),
        observation_length or widest * env.task.max_observation_length,
        action_length or widest * env.task.max_action_length,
    )


def text_env(env_id: str, env_kwargs: Mapping[str, Any]) -> TextEnv[Any, Any]:
    """Returns the environment with the texts that `gfn_envs.rollout` shows to agents.

    Where the texts hold the history they are those of the game, which may tell news only.
    """
    env = make_text_env(env_id, {**env_kwargs})
    return env if env_kwargs.get("history") is not None else env.memoryless()


def encode_by_default(text: str) -> list[int]:
    """Returns the token ids of a text by the tokenizer that ships with `gfn_agents`."""
    ids: list[int] = _default_tokenizer().backend_tokenizer.encode(text, add_special_tokens=False).ids
    return ids


def default_vocabulary_size() -> int:
    """Returns the number of token ids of `encode_by_default`."""
    return len(_default_tokenizer())


def _default_tokenizer() -> Any:
    from gfn_agents.tokenizer import load_default_tokenizer

    return load_default_tokenizer()
