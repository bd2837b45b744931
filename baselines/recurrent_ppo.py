"""RecurrentPPO of sb3-contrib on the text environments, for games whose texts do not tell the past.

The one idea: a transcript is a sequence of turns. The network reads one turn at a time, the last action
and what the game said to it, and keeps an LSTM's state from turn to turn (Ni, Eysenbach and Salakhutdinov
2022, arXiv 2110.05038, find this simple agent hard to beat where states are hidden). An agent, which is
asked with whole transcripts, reads all their turns again, so that it needs to remember nothing between
two questions and is scored exactly, as everybody else.

It points at legal actions only. sb3-contrib has no masks for recurrent policies, but the view says which
rows hold an action, and the head sees that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import torch
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from torch import Tensor, nn

from baselines.pointer_policy import PointerFeatures, PointerHead, PointerNetworks
from baselines.ppo import PPOAgent
from baselines.sb3_adapter import stacked_tokens, text_env
from gfn_envs.histories import ILLEGAL_SHOWN, turns_of
from gfn_envs.with_history import ALL_TURNS
from gfn_envs.wrappers import DiscreteActions, Encode, TokenObservation

_NO_ACTION = -1e8
"""Logit of a row without an action, as MaskablePPO has it."""
State = tuple[Tensor, Tensor]
"""Hidden state and cell of an LSTM, each (1, prompts, width)."""


class NewestTurn(gym.ObservationWrapper[str, Any, str], gym.utils.RecordConstructorArgs):
    """Of a transcript its newest turn: the last action and what the game said to it.

    Args:
        env: an environment whose texts hold the whole history, by text or by index.
    """

    def __init__(self, env: gym.Env[str, Any]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.ObservationWrapper.__init__(self, env)
        task = env.unwrapped.task  # type: ignore[attr-defined]
        longest_action = max(task.max_action_length, len(ILLEGAL_SHOWN))
        self.max_length: int = longest_action + len("\n") + task.task.max_observation_length
        self.observation_space = gym.spaces.Text(self.max_length, charset=task.charset)

    def observation(self, observation: str) -> str:
        """Returns the last turn."""
        return turns_of(observation)[-1]


class LegalPointerFeatures(PointerFeatures):
    """Features with a flag for each row of actions, (batch, (1 + max_actions) * width + max_actions)."""

    def __init__(self, observation_space: gym.spaces.Dict, padding: int, width: int) -> None:
        super().__init__(observation_space, padding, width)
        self._features_dim += observation_space["actions"].shape[0]  # type: ignore[index]

    def forward(self, tokens: Mapping[str, Tensor]) -> Tensor:
        """Returns the encodings, and after them 1 for each row that holds an action, else 0."""
        encodings = super().forward(tokens)
        return torch.cat([encodings, self.legal_rows(tokens).to(encodings.dtype)], dim=1)


class LegalPointerHead(PointerHead):
    """A pointer that reads those flags and never points at a row without an action."""

    def forward_actor(self, features: Tensor) -> Tensor:
        """Returns the logits (batch, max_actions)."""
        encodings, legal = torch.split(features, [math.prod(self.shape), self.latent_dim_pi], dim=1)
        return super().forward_actor(encodings).masked_fill(legal == 0, _NO_ACTION)

    def forward_critic(self, features: Tensor) -> Tensor:
        """Returns the critic's features (batch, width)."""
        return super().forward_critic(features[:, : math.prod(self.shape)])


class RecurrentPointerPolicy(PointerNetworks, RecurrentActorCriticPolicy):  # type: ignore[misc]
    """The reading policy with a memory of what it read: observation + LSTM(observations so far) is the query.

    The actor and the critic have an LSTM each. They read encodings of observations only, (batch, width), and
    not the actions, of which there are many.
    """

    head_class = LegalPointerHead

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        width = keywords["features_extractor_kwargs"]["width"]
        super().__init__(*arguments, **keywords, lstm_hidden_size=width)
        self.lstm_actor, self.lstm_critic = nn.LSTM(width, width), nn.LSTM(width, width)  # theirs read all features
        self.optimizer = self.optimizer_class(
            self.parameters(), self.optimizer.param_groups[0]["lr"], **self.optimizer_kwargs
        )

    def _process_sequence(
        self, features: Tensor, lstm_states: State, episode_starts: Tensor, lstm: nn.LSTM
    ) -> tuple[Tensor, State]:
        """Returns the features with the memory added to the observation; sb3-contrib calls this."""
        observation, rest = features[:, : lstm.input_size], features[:, lstm.input_size :]
        memory, states = RecurrentActorCriticPolicy._process_sequence(observation, lstm_states, episode_starts, lstm)
        return torch.cat([observation + memory, rest], dim=1), states


class RecurrentPPOAgent(PPOAgent):
    """RecurrentPPO: the memory is the whole difference to `MaskablePPOAgent`.

    Arguments are those of `PPOAgent`; env_kwargs must have `history="all"`.

    Raises:
        ValueError: the texts do not hold the whole history.
    """

    algorithm = RecurrentPPO
    policy_class = RecurrentPointerPolicy
    features_class = LegalPointerFeatures

    @staticmethod
    def make_view(env_id: str, env_kwargs: Mapping[str, Any], encode: Encode, vocabulary_size: int) -> TokenObservation:
        """Returns the environment turn by turn."""
        if env_kwargs.get("history") != ALL_TURNS:
            raise ValueError(
                f"recurrent_ppo reads turn by turn, and '{env_id}' was made without its whole history; "
                f"make it with history='{ALL_TURNS}', or use maskable_ppo"
            )
        turns = NewestTurn(DiscreteActions(text_env(env_id, env_kwargs)))
        task = turns.unwrapped.task  # type: ignore[attr-defined]
        return TokenObservation(turns, encode, vocabulary_size, turns.max_length, task.max_action_length)

    def logits_of(self, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]]) -> Tensor:
        """Returns what the network says of the newest turns after all turns before them, (prompts, max_actions)."""
        policy = self._model.policy
        policy.set_training_mode(False)
        turns = [self._readable_turns(text) for text in observations]
        memory = self._memory_of([earlier for *earlier, _ in turns])
        tokens = stacked_tokens(self._view, [newest for *_, newest in turns], admissible_actions, policy.device)
        same_episode = torch.zeros(len(turns), device=policy.device)
        logits: Tensor = policy.get_distribution(tokens, memory, same_episode)[0].distribution.logits
        return logits

    def _readable_turns(self, text: str) -> list[str]:
        """Returns the turns of a text; one that is longer than any that the game has is cut, not refused."""
        longest = self._view.observation_length
        return [turn.encode()[:longest].decode(errors="ignore") for turn in turns_of(text)]

    def _memory_of(self, turns: Sequence[Sequence[str]]) -> State:
        """Returns the LSTM's state after some turns each: every different turn is encoded once."""
        policy = self._model.policy
        hidden, cell = torch.zeros(2, 1, len(turns), policy.lstm_actor.hidden_size, device=policy.device)
        if distinct := list(dict.fromkeys(turn for each in turns for turn in each)):
            tokens = stacked_tokens(self._view, distinct, [()] * len(distinct), policy.device)["observation"]
            encoded = dict(zip(distinct, policy.features_extractor.encoder(tokens.long()), strict=True))
        for place in range(max(map(len, turns), default=0)):
            reading = [row for row, each in enumerate(turns) if place < len(each)]
            said = torch.stack([encoded[turns[row][place]] for row in reading]).unsqueeze(0)
            _, (hidden[:, reading], cell[:, reading]) = policy.lstm_actor(said, (hidden[:, reading], cell[:, reading]))
        return hidden, cell
