"""Where training trajectories come from, apart from the policy itself.

All of this changes the behaviour policy only: the objectives are off-policy, so their optimum stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gfn_agents.policy import sample_actions
from gfn_envs.exact import EnumerationLimit, enumerate_states
from gfn_envs.rollout import ProbabilisticAgent, Trajectory
from gfn_envs.task import ProblemT, Task


@dataclass(frozen=True, slots=True)
class Tempered:
    """An agent that plays P_F^(1/temperature), and with probability epsilon uniformly."""

    policy: ProbabilisticAgent
    temperature: float = 1.0
    epsilon: float = 0.0

    def act(
        self, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]], rng: np.random.Generator
    ) -> list[str]:
        """Returns one legal action for each observation."""
        return sample_actions(self.policy, observations, admissible_actions, rng, self.temperature, self.epsilon)


def demonstrations(
    task: Task[ProblemT, Any], problem: ProblemT, count: int, rng: np.random.Generator
) -> list[Trajectory]:
    """Returns up to `count` distinct solved trajectories, each equally likely to be drawn.

    Problems that have no solution, or too many states to list, give none.
    """
    try:
        graph = enumerate_states(task, problem)
    except EnumerationLimit:
        return []
    policy = graph.demonstration_policy()
    if policy is None:
        return []
    drawn = [graph.sample(policy, rng, source="demonstration") for _ in range(2 * count)]
    return list({trajectory.actions: trajectory for trajectory in drawn}.values())[:count]
