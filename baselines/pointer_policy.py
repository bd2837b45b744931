"""The network of the PPO baselines: it reads texts and points at one of the legal actions.

One encoder reads the observation and every candidate action; a pointer head scores each action
against the observation, so that permuted candidates give permuted probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import torch
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

_BUCKETS = 1 << 13
"""Rows of the table that features are hashed into; the row after them is padding."""


class TextEncoder(nn.Module):
    """Turns token ids into one vector a text: a bag of hashed features, then a small network.

    The features are the tokens, the pairs of neighbours and the tokens at their places (fastText,
    Joulin et al. 2016, arXiv 1607.01759). Two layers of convolutions took 10 times the processor
    time on Game24, and one layer of embedded triples 4 times.
    """

    def __init__(self, padding: int, width: int) -> None:
        super().__init__()
        self.padding = padding
        self.bag = nn.EmbeddingBag(_BUCKETS + 1, width, mode="sum", padding_idx=_BUCKETS)
        nn.init.normal_(self.bag.weight, std=0.3)
        self.network = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Returns encodings (texts, width) of token ids (texts, length), padded on the right."""
        present = tokens != self.padding
        length = max(int(present.any(0).sum()), 1)  # no further than the longest text
        tokens, present = tokens[:, :length], present[:, :length]
        places = torch.arange(length, device=tokens.device)
        features = [
            torch.where(present, _bucket(0, tokens), _BUCKETS),
            torch.where(present, _bucket(1, tokens, places), _BUCKETS),
            torch.where(present[:, 1:], _bucket(2, tokens[:, :-1], tokens[:, 1:]), _BUCKETS),
        ]
        encodings: Tensor = self.network(self.bag(torch.cat(features, dim=1)))
        return encodings


def _bucket(kind: int, *parts: Tensor) -> Tensor:
    """Returns the table rows of features made of int64 parts (multiplicative hashing, Knuth)."""
    code = torch.full((), kind, device=parts[0].device)
    for part in parts:
        code = code * 1_000_003 + part + 1
    return (code * 2_654_435_761 >> 8) % _BUCKETS


class PointerFeatures(BaseFeaturesExtractor):  # type: ignore[misc]
    """Reads an observation and its actions: features (batch, (1 + max_actions) * width)."""

    def __init__(self, observation_space: gym.spaces.Dict, padding: int, width: int) -> None:
        rows, _ = observation_space["actions"].shape  # type: ignore[misc]
        super().__init__(observation_space, (1 + rows) * width)
        self.encoder = TextEncoder(padding, width)
        # Plain PPO may point at rows without an action; what stands there is learned, so that it can avoid them.
        self.absent = nn.Parameter(torch.zeros(width))

    def forward(self, tokens: Mapping[str, Tensor]) -> Tensor:
        """Returns the encodings of the observation and of each row of actions, side by side."""
        actions, legal = tokens["actions"].long(), self.legal_rows(tokens)
        rows = self.absent.expand(*legal.shape, -1).clone()
        rows[legal] = self.encoder(actions[legal])
        observation = self.encoder(tokens["observation"].long())
        return torch.cat([observation.unsqueeze(1), rows], dim=1).flatten(1)

    def legal_rows(self, tokens: Mapping[str, Tensor]) -> Tensor:
        """Returns which rows hold an action, bool (batch, max_actions)."""
        return tokens["actions"][:, :, 0] != self.encoder.padding


class PointerHead(nn.Module):
    """Scores each action against the observation: logit_i = v . relu(W_o observation + W_a action_i).

    This is the additive pointer of Vinyals et al. 2015 (arXiv 1506.03134, equation 3), with relu for
    their tanh: it learns sooner where the right action depends on the observation alone.
    """

    def __init__(self, max_actions: int, width: int) -> None:
        super().__init__()
        self.shape = (1 + max_actions, width)
        self.latent_dim_pi, self.latent_dim_vf = max_actions, width
        self.from_observation = nn.Linear(width, width)
        self.from_action = nn.Linear(width, width, bias=False)
        self.score = nn.Linear(width, 1, bias=False)
        self.critic = nn.Sequential(nn.Linear(width, width), nn.Tanh())
        nn.init.normal_(self.score.weight, std=0.05)  # near uniform at first, but not so near that learning stalls

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the logits (batch, max_actions) and the critic's features (batch, width)."""
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: Tensor) -> Tensor:
        """Returns the logits (batch, max_actions)."""
        encodings = features.view(-1, *self.shape)
        hidden = self.from_observation(encodings[:, :1]) + self.from_action(encodings[:, 1:])
        logits: Tensor = self.score(hidden.relu()).squeeze(2)
        return logits

    def forward_critic(self, features: Tensor) -> Tensor:
        """Returns the critic's features (batch, width)."""
        hidden: Tensor = self.critic(features.view(-1, *self.shape)[:, 0])
        return hidden


class PointerNetworks:
    """Builds the networks of any policy class of Stable-Baselines3, which calls `_build`."""

    head_class = PointerHead

    def _build(self: Any, lr_schedule: Callable[[float], float]) -> None:
        width = self.features_extractor.absent.numel()
        self.mlp_extractor = self.head_class(self.action_space.n, width)
        self.action_net = nn.Identity()
        self.value_net = nn.Linear(width, 1)
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)


class PointerPolicy(PointerNetworks, ActorCriticPolicy):  # type: ignore[misc]
    """The reading policy for PPO."""


class MaskablePointerPolicy(PointerNetworks, MaskableActorCriticPolicy):  # type: ignore[misc]
    """The reading policy for MaskablePPO."""
