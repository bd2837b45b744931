"""Policies over legal actions: one exactly normalised distribution, sampled and scored alike.

`log_probs` is the distribution. Temperature and epsilon act in `sample_actions` and nowhere else, so
what is trained is never tempered.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gfn_envs.rollout import ProbabilisticAgent

POLICY_FILE = "policy.safetensors"
Observations = Sequence[str]
AdmissibleActions = Sequence[Sequence[str]]


class Policy(nn.Module):
    """P_F and log F as functions of texts. Every policy is an agent."""

    def log_probs(self, observations: Observations, admissible_actions: AdmissibleActions) -> Tensor:
        """Returns log P_F of the legal actions, float32 of shape (B, A), -inf on padding."""
        raise NotImplementedError

    def log_flow(self, observations: Observations) -> Tensor:
        """Returns log F, float32 of shape (B,); at the first state of a problem this is log Z."""
        raise NotImplementedError

    def log_probs_and_flows(
        self, observations: Observations, admissible_actions: AdmissibleActions
    ) -> tuple[Tensor, Tensor]:
        """Returns what `log_probs` and `log_flow` return; a policy that can do so evaluates its prompts once."""
        return self.log_probs(observations, admissible_actions), self.log_flow(observations)

    def flow_parameters(self) -> list[nn.Parameter]:
        """Returns the parameters of log F, which learn at a rate of their own."""
        return []

    def save(self, folder: Path) -> None:
        """Writes the policy into a folder, without pickle."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: t.contiguous() for name, t in self.state_dict().items()}, folder / POLICY_FILE)

    def load_weights(self, folder: Path) -> None:
        """Reads the weights that `save` wrote into a policy of the same shape."""
        self.load_state_dict(load_file(folder / POLICY_FILE))

    @torch.no_grad()
    def action_probabilities(
        self, observations: Observations, admissible_actions: AdmissibleActions
    ) -> list[np.ndarray]:
        """Returns P_F of the legal actions of each observation, float64."""
        table = np.exp(self.log_probs(observations, admissible_actions).double().cpu().numpy())
        table /= table.sum(axis=1, keepdims=True)
        return [row[: len(legal)] for row, legal in zip(table, admissible_actions, strict=True)]

    def act(
        self, observations: Observations, admissible_actions: AdmissibleActions, rng: np.random.Generator
    ) -> list[str]:
        """Samples one legal action for each observation from P_F."""
        return sample_actions(self, observations, admissible_actions, rng)


def sample_actions(
    agent: ProbabilisticAgent,
    observations: Observations,
    admissible_actions: AdmissibleActions,
    rng: np.random.Generator,
    temperature: float = 1.0,
    epsilon: float = 0.0,
) -> list[str]:
    """Samples one legal action for each observation; equal prompts are scored once.

    Args:
        temperature: samples from P_F^(1/temperature); 0 is greedy.
        epsilon: probability of a uniformly random legal action instead.
    """
    keys = [(o, tuple(a)) for o, a in zip(observations, admissible_actions, strict=True)]
    distinct = list(dict.fromkeys(keys))
    scored = agent.action_probabilities([o for o, _ in distinct], [a for _, a in distinct])
    cumulative = {
        key: list(accumulate(temper(probabilities, temperature, epsilon).tolist()))
        for key, probabilities in zip(distinct, scored, strict=True)
    }
    draws = rng.random(len(keys)).tolist()
    return [
        key[1][bisect_right(cumulative[key], draw, hi=len(key[1]) - 1)] for key, draw in zip(keys, draws, strict=True)
    ]


def temper(probabilities: np.ndarray, temperature: float, epsilon: float) -> np.ndarray:
    """Returns p^(1/temperature), normalised, mixed with the uniform distribution by epsilon."""
    if temperature == 0:
        tempered = np.zeros_like(probabilities)
        tempered[np.argmax(probabilities)] = 1.0
    elif temperature == 1:
        tempered = probabilities
    else:
        with np.errstate(divide="ignore"):
            scaled = np.log(probabilities) / temperature
        tempered = np.exp(scaled - scaled.max())
        tempered = tempered / tempered.sum()
    return (1.0 - epsilon) * tempered + epsilon / len(probabilities)


class TabularPolicy(Policy):
    """One free parameter for every action of every observation: exact work on small problems.

    Args:
        states: all (observation, legal actions) pairs that will be asked for.
    """

    legal: Tensor

    def __init__(self, states: Sequence[tuple[str, tuple[str, ...]]]) -> None:
        super().__init__()
        self._places = {state: place for place, state in enumerate(dict.fromkeys(states))}
        self._flow_places = {observation: place for place, (observation, _) in enumerate(self._places)}
        width = max(len(actions) for _, actions in self._places)
        self.logits = nn.Parameter(torch.zeros(len(self._places), width, dtype=torch.float64))
        self.log_flows = nn.Parameter(torch.zeros(len(self._places), dtype=torch.float64))
        legal = torch.zeros(len(self._places), width, dtype=torch.bool)
        for (_, actions), place in self._places.items():
            legal[place, : len(actions)] = True
        self.register_buffer("legal", legal)

    def log_probs(self, observations: Observations, admissible_actions: AdmissibleActions) -> Tensor:
        """Returns log P_F of the legal actions, float64 of shape (B, A), -inf on padding."""
        rows = torch.tensor([self._places[o, tuple(a)] for o, a in zip(observations, admissible_actions, strict=True)])
        width = max(len(actions) for actions in admissible_actions)
        logits = self.logits.index_select(0, rows).masked_fill(~self.legal.index_select(0, rows), -torch.inf)
        return logits[:, :width].log_softmax(dim=-1)

    def flow_parameters(self) -> list[nn.Parameter]:
        """Returns the table of log F."""
        return [self.log_flows]

    def log_flow(self, observations: Observations) -> Tensor:
        """Returns log F, float64 of shape (B,)."""
        return self.log_flows[[self._flow_places[observation] for observation in observations]]
