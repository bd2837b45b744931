"""Policies over legal actions: one exactly normalised distribution, sampled and scored alike.

`log_probs` is the distribution. Temperature and epsilon act in `sample_actions` and nowhere else, so
what is trained is never tempered. A policy that thinks draws a thought first and then an action given
the thought.
"""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gfn_envs.rollout import ProbabilisticAgent
from gfn_envs.trajectory import NO_THOUGHT, Answer, Thought

POLICY_FILE = "policy.safetensors"
Observations = Sequence[str]
AdmissibleActions = Sequence[Sequence[str]]


class Scores(NamedTuple):
    """What one evaluation of B prompts says.

    Attributes:
        actions: log P_F of the legal actions given the thoughts, shape (B, A), -inf on padding.
        thoughts: log-probability of the thoughts, shape (B,), 0 where the policy does not think.
        flows: log F, shape (B,); empty where it was not asked for.
    """

    actions: Tensor
    thoughts: Tensor
    flows: Tensor


class Policy(nn.Module):
    """P_F and log F as functions of texts. Every policy is an agent.

    Wherever thoughts can be given, None is no thought, which is an empty one for a policy that thinks.
    """

    @property
    def thought_tokens(self) -> int:
        """Most tokens of a thought before an action; 0 for a policy that does not think."""
        return 0

    def log_probs(
        self,
        observations: Observations,
        admissible_actions: AdmissibleActions,
        thoughts: Sequence[Thought] | None = None,
    ) -> Tensor:
        """Returns log P_F of the legal actions given the thoughts, float32 of shape (B, A), -inf on padding."""
        raise NotImplementedError

    def log_flow(self, observations: Observations) -> Tensor:
        """Returns log F before any thought, float32 of shape (B,); at the first state of a problem it is log Z."""
        raise NotImplementedError

    def think(self, observations: Observations, rng: np.random.Generator, temperature: float = 1.0) -> list[Thought]:
        """Samples one thought for each observation; a policy that does not think has empty ones."""
        return [NO_THOUGHT] * len(observations)

    def thought_log_probs(self, observations: Observations, thoughts: Sequence[Thought]) -> Tensor:
        """Returns the log-probability of one thought for each observation, float32 of shape (B,).

        Raises:
            ValueError: this policy has no such thought.
        """
        return torch.zeros(len(observations))

    def scores(
        self,
        observations: Observations,
        admissible_actions: AdmissibleActions,
        thoughts: Sequence[Thought],
        with_flows: bool = False,
    ) -> Scores:
        """Returns what the methods above return; a policy that can do so evaluates its prompts once."""
        if self.thought_tokens:
            actions = self.log_probs(observations, admissible_actions, thoughts)
            said = self.thought_log_probs(observations, thoughts)
        else:
            actions = self.log_probs(observations, admissible_actions)
            said = actions.new_zeros(len(actions))
        return Scores(actions, said, self.log_flow(observations) if with_flows else said[:0])

    def flow_parameters(self) -> list[nn.Parameter]:
        """Returns the parameters of log F, which learn at a rate of their own."""
        return []

    def forget(self) -> None:
        """Forgets what was kept of earlier evaluations, which a policy may do until its weights change."""

    def use_less_memory(self) -> None:
        """Makes later evaluations need less memory.

        Raises:
            RuntimeError: that cannot be.
        """
        raise RuntimeError(f"memory ran out, and {type(self).__name__} cannot do with less")

    def backward(self, loss: Tensor) -> None:
        """Adds the gradient of a loss that comes from this policy's scores to that of its parameters."""
        loss.backward()  # type: ignore[no-untyped-call]

    def clip_gradients(self, largest: float) -> float:
        """Scales the gradients to a norm of at most `largest`; returns the norm from before."""
        return float(torch.nn.utils.clip_grad_norm_(self.parameters(), largest))

    def shard(self) -> None:
        """Divides the weights among the processes of the run.

        Raises:
            ValueError: they cannot be divided.
        """
        raise ValueError(f"{type(self).__name__} cannot be divided among processes; launch them without --use_fsdp")

    def frozen_reference(self) -> Policy:
        """Returns what the policy is now as a policy that stays so."""
        return copy.deepcopy(self).requires_grad_(False)

    def save(self, folder: Path) -> None:
        """Writes the policy into a folder, without pickle."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: t.contiguous() for name, t in self.state_dict().items()}, folder / POLICY_FILE)

    def load_weights(self, folder: Path) -> None:
        """Reads the weights that `save` wrote into a policy of the same shape."""
        self.load_state_dict(load_file(folder / POLICY_FILE))

    @torch.no_grad()
    def action_probabilities(
        self,
        observations: Observations,
        admissible_actions: AdmissibleActions,
        thoughts: Sequence[Thought] | None = None,
    ) -> list[np.ndarray]:
        """Returns P_F of the legal actions of each observation given the thoughts, float64.

        Raises:
            ValueError: the policy thinks, and no thoughts are given.
        """
        if not self.thought_tokens:
            log_probs = self.log_probs(observations, admissible_actions)
        elif thoughts is None:
            raise ValueError(
                "this policy thinks before it acts, so the probability of an action is a sum over all thoughts, which "
                "cannot be listed; ask for its samples only, or use a policy without thoughts"
            )
        else:
            log_probs = self.log_probs(observations, admissible_actions, thoughts)
        table = np.exp(log_probs.double().cpu().numpy())
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

    A policy that thinks draws its thoughts first; its actions are `Answer` objects that carry them.

    Args:
        temperature: samples from P_F^(1/temperature); 0 is greedy. Thoughts are drawn likewise, token by token.
        epsilon: probability of a uniformly random legal action instead.
    """
    for legal in admissible_actions:
        if isinstance(legal, str) or len(legal) == 0:
            raise ValueError(f"each observation needs a list of its legal actions, got {legal!r}")
    if not observations:
        return []
    thinker = agent if isinstance(agent, Policy) and agent.thought_tokens else None
    thoughts = thinker.think(observations, rng, temperature) if thinker else [NO_THOUGHT] * len(observations)
    keys = [(o, tuple(a), c) for o, a, c in zip(observations, admissible_actions, thoughts, strict=True)]
    distinct = list(dict.fromkeys(keys))
    seen, actions = [o for o, _, _ in distinct], [a for _, a, _ in distinct]
    if thinker:
        scored = thinker.action_probabilities(seen, actions, [c for _, _, c in distinct])
    else:
        scored = agent.action_probabilities(seen, actions)
    cumulative = {
        key: list(accumulate(temper(probabilities, temperature, epsilon).tolist()))
        for key, probabilities in zip(distinct, scored, strict=True)
    }
    draws = rng.random(len(keys)).tolist()
    chosen = [
        key[1][bisect_right(cumulative[key], draw, hi=len(key[1]) - 1)] for key, draw in zip(keys, draws, strict=True)
    ]
    if not thinker:
        return chosen
    return [Answer(action, thought) for action, thought in zip(chosen, thoughts, strict=True)]


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

    def log_probs(
        self,
        observations: Observations,
        admissible_actions: AdmissibleActions,
        thoughts: Sequence[Thought] | None = None,
    ) -> Tensor:
        """Returns log P_F of the legal actions, float64 of shape (B, A), -inf on padding; a table does not think."""
        places = [self._places[o, tuple(a)] for o, a in zip(observations, admissible_actions, strict=True)]
        rows = torch.tensor(places, device=self.logits.device)
        width = max(len(actions) for actions in admissible_actions)
        logits = self.logits.index_select(0, rows).masked_fill(~self.legal.index_select(0, rows), -torch.inf)
        return logits[:, :width].log_softmax(dim=-1)

    def flow_parameters(self) -> list[nn.Parameter]:
        """Returns the table of log F."""
        return [self.log_flows]

    def log_flow(self, observations: Observations) -> Tensor:
        """Returns log F, float64 of shape (B,)."""
        return self.log_flows[[self._flow_places[observation] for observation in observations]]
