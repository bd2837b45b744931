"""Players that know the truth: the exact sampler of the target, and the optimal player.

They are made from a task and listed problems, enumerated beforehand, and answer by the text that is seen, as any
other agent does. So they can be put wherever an agent can: they show what a score would be at the ceiling, and that
the way an agent is scored is right. They learn nothing and are no contestants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from gfn_envs.agents import SamplingAgent
from gfn_envs.exact import DEFAULT_LIMIT, enumerate_states
from gfn_envs.state_graph import StateGraph
from gfn_envs.task import ProblemT, Task

_SAME = 1e-9
"""Probabilities that differ by less are equal but for rounding."""
PolicyOfGraph = Callable[[StateGraph[Any, Any]], list[np.ndarray]]


class TabulatedAgent(SamplingAgent):
    """Plays what a table says.

    Args:
        table: action probabilities, float64 of shape (actions,), of each text and its legal actions.
    """

    def __init__(self, table: dict[tuple[str, tuple[str, ...]], np.ndarray]) -> None:
        self.table = table

    def action_probabilities(
        self, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]]
    ) -> list[np.ndarray]:
        """Returns the table's probabilities of the legal actions of each observation.

        Raises:
            ValueError: a text is not in the table.
        """
        return [self._row(text, tuple(legal)) for text, legal in zip(observations, admissible_actions, strict=True)]

    def _row(self, text: str, legal: tuple[str, ...]) -> np.ndarray:
        try:
            return self.table[text, legal]
        except KeyError:
            raise ValueError(
                f"no problem that this agent was made from shows {' '.join(text.split())!r}; "
                "make it from the problems that it is to play"
            ) from None


def exact_sampler(
    task: Task[ProblemT, Any], problems: Iterable[ProblemT], beta: float = 1.0, limit: int = DEFAULT_LIMIT
) -> TabulatedAgent:
    """Returns the agent that reaches every end in proportion to R^beta: no agent is nearer to the target.

    Where a text hides what the target depends on, no reader can sample it; then make one of each problem.

    Args:
        beta: the target is proportional to R^beta.
        limit: most states of a problem.

    Raises:
        EnumerationLimit: a problem has more states than that.
        ValueError: two places look alike and need different play.
    """
    return _tabulate(task, problems, lambda graph: graph.target_policy(beta), limit)


def optimal_player(
    task: Task[ProblemT, Any], problems: Iterable[ProblemT], limit: int = DEFAULT_LIMIT
) -> TabulatedAgent:
    """Returns the agent that succeeds as often as anyone can; among equally good actions it draws uniformly.

    Args:
        limit: most states of a problem.

    Raises:
        EnumerationLimit: a problem has more states than that.
        ValueError: two places look alike and need different play.
    """
    return _tabulate(task, problems, optimal_policy, limit)


def optimal_policy(graph: StateGraph[Any, Any]) -> list[np.ndarray]:
    """Returns for every state the uniform distribution over the actions with the highest chance of success."""
    values = graph.best_values()
    policy = []
    for value, found in zip(values, graph.action_values(values), strict=True):
        best = found >= value - _SAME
        policy.append(best / max(best.sum(), 1))
    return policy


def _tabulate(
    task: Task[ProblemT, Any], problems: Iterable[ProblemT], play: PolicyOfGraph, limit: int
) -> TabulatedAgent:
    """Returns the agent that plays a policy of the states by what is seen of them."""
    seen = task.memoryless()  # as `rollout` shows them
    table: dict[tuple[str, tuple[str, ...]], np.ndarray] = {}
    for problem in problems:
        graph = enumerate_states(seen, problem, limit)
        for state, actions, row in zip(graph.states, graph.actions, play(graph), strict=True):
            if not actions:
                continue
            text = seen.observe(state)
            if np.abs(table.setdefault((text, actions), row) - row).max() > _SAME:
                raise ValueError(
                    f"two places of '{problem.id}' or of problems before it look alike and need different play, as "
                    f"{' '.join(text.split())!r}; make an agent of one problem, or show the history (history='all')"
                )
    return TabulatedAgent(table)
