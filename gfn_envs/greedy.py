"""Greedy play: always the most probable action, of any agent that can say which that is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from gfn_envs.actions import IllegalActionError, read_action
from gfn_envs.agents import SamplingAgent
from gfn_envs.rollout import ProbabilisticAgent, told_probabilities
from gfn_envs.state_graph import StateGraph

_TIE = 1e-9
"""Action probabilities that differ by less are equal but for rounding."""


@runtime_checkable
class DeterministicAgent(Protocol):
    """An agent that can play its most probable action."""

    def predict(
        self, observation: str, admissible_actions: Sequence[str], deterministic: bool = False
    ) -> tuple[str, Any]:
        """Returns an action, and what this module does not need."""
        ...


def greedy_success(graph: StateGraph[Any, Any], choose: Callable[[Sequence[int]], Sequence[np.ndarray]]) -> float:
    """Returns the success probability of a policy that is asked only where it comes to; under chance the expectation.

    Args:
        choose: returns the action probabilities at each of the states, given by index.
    """
    success, level = 0.0, {0: 1.0}
    while level:
        success += sum(mass * graph.successes[index] for index, mass in level.items())
        visited = [index for index in level if graph.actions[index]]
        following: dict[int, float] = {}
        for index, chosen in zip(visited, choose(visited) if visited else (), strict=True):
            for place in np.flatnonzero(chosen):
                for probability, child in graph.edges[index][place]:
                    reached = level[index] * float(chosen[place]) * probability
                    following[child] = following.get(child, 0.0) + reached
        level = following
    return float(success)


def most_probable(probabilities: np.ndarray) -> np.ndarray:
    """Returns equal probabilities for the most probable actions, of which there are several where they tie."""
    best = probabilities >= probabilities.max() - _TIE
    return np.asarray(best / best.sum())


class GreedyAgent(SamplingAgent):
    """Plays the most probable action of an agent that says how it plays; of those that tie, one at random."""

    def __init__(self, agent: ProbabilisticAgent) -> None:
        self.agent = agent

    def action_probabilities(
        self, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]]
    ) -> list[np.ndarray]:
        """Returns the probabilities of the legal actions of each observation: 1 for the chosen one."""
        return [most_probable(p) for p in told_probabilities(self.agent, observations, admissible_actions)]


class PredictingAgent(SamplingAgent):
    """Plays what an agent predicts, and says so: probability 1 for that action."""

    def __init__(self, agent: DeterministicAgent) -> None:
        self.agent = agent

    def action_probabilities(
        self, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]]
    ) -> list[np.ndarray]:
        """Returns the probabilities of the legal actions of each observation.

        Raises:
            IllegalActionError: the agent's text names no legal action.
        """
        rows = []
        for observation, legal in zip(observations, admissible_actions, strict=True):
            text = self.agent.predict(observation, legal, deterministic=True)[0]
            action = read_action(text, legal)
            if action is None:
                raise IllegalActionError(text, legal)
            rows.append(np.array([float(other == action) for other in legal]))
        return rows
