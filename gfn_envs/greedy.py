"""Greedy play: always the most probable action, of any agent that can say which that is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from gfn_envs.actions import read_action
from gfn_envs.agents import SamplingAgent
from gfn_envs.rollout import Agent, ProbabilisticAgent, told_probabilities
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


class PredictingAgent:
    """Plays what an agent predicts."""

    def __init__(self, agent: DeterministicAgent) -> None:
        self.agent = agent

    def act(
        self, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]], rng: np.random.Generator
    ) -> list[str]:
        """Returns the agent's text for each observation, which may name no legal action."""
        asked = zip(observations, admissible_actions, strict=True)
        return [self.agent.predict(text, legal, deterministic=True)[0] for text, legal in asked]


def greedy_policy(graph: StateGraph[Any, Any], agent: Agent, indices: Sequence[int]) -> list[np.ndarray]:
    """Returns what an agent that plays greedily does in some states, as the probabilities of their actions.

    They are all 0 where its text names no legal action, so that nothing comes of it.
    """
    states = [graph.states[index] for index in indices]
    observations, legal = [graph.task.observe(s) for s in states], [graph.actions[index] for index in indices]
    if isinstance(agent, ProbabilisticAgent):
        return agent.action_probabilities(observations, legal)
    texts = agent.act(observations, legal, np.random.default_rng(0))
    named = [read_action(t, a, graph.task.aliases(s)) for t, a, s in zip(texts, legal, states, strict=True)]
    return [
        np.array([float(other == action) for other in actions]) for action, actions in zip(named, legal, strict=True)
    ]
