"""The exact distance of a policy to its target while it trains, on a few problems that can be listed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gfn_envs.exact import EnumerationLimit, enumerate_states
from gfn_envs.metrics import total_variation
from gfn_envs.problems import ProblemSource
from gfn_envs.rollout import ProbabilisticAgent
from gfn_envs.state_graph import StateGraph
from gfn_envs.task import Task

_PROBLEMS = 4
_LARGEST = 20_000
"""States of a problem that is worth measuring during training."""


class DistanceMeter:
    """Measures the mean total variation to the target over a few problems, always the same.

    Args:
        problems: where they are drawn from.
        beta: the target is proportional to R^beta.
        seed: decides which problems.
        reference: the target of a relative objective is proportional to P_ref(x) R(x)^beta, where P_ref(x) is the
            probability that this policy ends in x; None for all others.

    Raises:
        ValueError: none of the problems drawn is small enough to be listed.
    """

    def __init__(
        self,
        task: Task[Any, Any],
        problems: ProblemSource[Any],
        beta: float,
        seed: int,
        reference: ProbabilisticAgent | None = None,
    ) -> None:
        self.beta, self.reference = beta, reference
        self._graphs: list[StateGraph[Any, Any]] = []
        for problem in problems.take(_PROBLEMS, np.random.default_rng(seed)):
            try:
                self._graphs.append(enumerate_states(task.memoryless(), problem, _LARGEST))
            except EnumerationLimit:
                continue
        if not self._graphs:
            raise ValueError(
                f"the distance to the target is known where a problem has at most {_LARGEST} states, and none of "
                f"{_PROBLEMS} drawn has; set distance_every=0"
            )

    def measure(self, policy: ProbabilisticAgent) -> float:
        """Returns the mean distance, from 0 to 1."""
        return math.fsum(self._distance(graph, policy) for graph in self._graphs) / len(self._graphs)

    def _distance(self, graph: StateGraph[Any, Any], policy: ProbabilisticAgent) -> float:
        return total_variation(graph.reached(graph.policy_of(policy)), self._target(graph))

    def _target(self, graph: StateGraph[Any, Any]) -> np.ndarray:
        if self.reference is None:
            return graph.target(self.beta)
        reached = graph.reached(graph.policy_of(self.reference))
        scaled = self.beta * graph.log_rewards
        weights = np.where(reached > 0, reached * np.exp(scaled - np.max(scaled[reached > 0])), 0.0)
        return np.asarray(weights / weights.sum())
