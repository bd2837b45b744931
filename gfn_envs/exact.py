"""Exact analysis by enumeration: the yardsticks that stand beside every score.

`enumerate_states` lists all states of a problem. From the list follow, without sampling: what a
uniformly random legal player reaches, the best that anyone can reach, all solutions, the partition
function Z, the target distribution, the policy that samples it, and the exact distribution of any
agent that can say how it plays.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gfn_envs.layers import Outcomes
from gfn_envs.state_graph import StateGraph
from gfn_envs.task import ProblemT, StateT, Task

DEFAULT_LIMIT = 200_000
_PROBES, _FAR = 8, 100


class EnumerationLimit(RuntimeError):
    """The problem has more states than the limit allows to list."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """The yardsticks of one problem; what is not known is NaN.

    Attributes:
        chance: success probability of the uniformly random legal player.
        chance_low, chance_high: 95 % interval of it where it was simulated; where it is exact, the same.
        chance_return: its expected sum of Gymnasium rewards.
        optimum: highest success probability that any player can have.
        optimal_return: highest expected sum of Gymnasium rewards.
        n_solutions: number of distinct solutions.
        log_z: log of the partition function for R^beta (natural log).
        n_states: number of states.
        target_success: success probability of the exact sampler proportional to R^beta.
    """

    problem_id: str
    chance: float
    chance_low: float
    chance_high: float
    chance_return: float
    optimum: float
    optimal_return: float
    n_solutions: float
    log_z: float
    n_states: float
    target_success: float

    @property
    def exact(self) -> bool:
        """Whether all states were listed; otherwise chance was simulated."""
        return not math.isnan(self.n_states)

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        return asdict(self)


def analyse(task: Task[ProblemT, StateT], problem: ProblemT, beta: float = 1.0, limit: int = DEFAULT_LIMIT) -> Analysis:
    """Returns the yardsticks of one problem; raises EnumerationLimit if it is too large to list."""
    return analyse_graph(enumerate_states(task, problem, limit), beta)


def analyse_graph(graph: StateGraph[Any, Any], beta: float = 1.0) -> Analysis:
    """Returns the yardsticks of a problem whose states are listed already."""
    chance = float(graph.chance_values()[0])
    return Analysis(
        problem_id=graph.problem.id,
        chance=chance,
        chance_low=chance,
        chance_high=chance,
        chance_return=float(graph.chance_values(with_rewards=True)[0]),
        optimum=float(graph.best_values()[0]),
        optimal_return=float(graph.best_values(with_rewards=True)[0]),
        n_solutions=len(graph.solutions),
        log_z=graph.log_z(beta),
        n_states=len(graph.states),
        target_success=float(graph.target(beta) @ graph.successes),
    )


def enumerate_states(
    task: Task[ProblemT, StateT], problem: ProblemT, limit: int = DEFAULT_LIMIT
) -> StateGraph[ProblemT, StateT]:
    """Lists all states that can be reached, in topological order.

    Raises:
        EnumerationLimit: there are more than `limit`.
        ValueError: the states have a cycle, so that they contain no step number.
    """
    start = task.reset(problem)
    _check_size(task, start, limit, problem.id)
    indices: dict[StateT, int] = {start: 0}
    states = [start]
    actions: list[tuple[str, ...]] = []
    edges: list[tuple[Outcomes, ...]] = []
    queue = deque([start])
    while queue:
        state = queue.popleft()
        legal = task.actions(state)
        actions.append(legal)
        found = []
        for action in legal:
            outcomes = []
            for probability, successor in task.outcomes(state, action):
                index = indices.setdefault(successor, len(states))
                if index == len(states):
                    states.append(successor)
                    queue.append(successor)
                    if len(states) > limit:
                        raise _too_large(limit, problem.id)
                outcomes.append((probability, index))
            found.append(tuple(outcomes))
        edges.append(tuple(found))
    order = _topological_order(edges)
    if order is None:
        raise ValueError(f"the states of '{problem.id}' have a cycle; put the step number into the state")
    place = {old: new for new, old in enumerate(order)}
    return StateGraph(
        task,
        problem,
        tuple(states[old] for old in order),
        tuple(actions[old] for old in order),
        tuple(tuple(tuple((p, place[child]) for p, child in outcomes) for outcomes in edges[old]) for old in order),
    )


def _check_size(task: Task[Any, StateT], start: StateT, limit: int, problem_id: str) -> None:
    """Raises EnumerationLimit at once where a tree is far too large to be listed.

    The product of the numbers of actions along a random play estimates the number of leaves of a tree
    without bias (Knuth 1975); here every one of some plays must be far above the limit.
    """
    if not task.deterministic or task.parents(start) is not None:
        return
    rng = np.random.default_rng(0)
    for _ in range(_PROBES):
        leaves, state = 1, start
        for _ in range(task.horizon):
            if not (actions := task.actions(state)) or leaves > _FAR * limit:
                break
            leaves *= len(actions)
            state = task.step(state, actions[int(rng.integers(len(actions)))])
        if leaves <= _FAR * limit:
            return
    raise _too_large(limit, problem_id)


def _too_large(limit: int, problem_id: str) -> EnumerationLimit:
    return EnumerationLimit(f"more than {limit} states from '{problem_id}'; use a smaller problem or pass limit=")


def _topological_order(edges: Sequence[Sequence[Outcomes]]) -> list[int] | None:
    """Returns Kahn's order from state 0, or None if there is a cycle."""
    incoming = [0] * len(edges)
    for actions in edges:
        for outcomes in actions:
            for _, child in outcomes:
                incoming[child] += 1
    ready, order = deque([0]), []
    if incoming[0]:
        return None
    while ready:
        index = ready.popleft()
        order.append(index)
        for outcomes in edges[index]:
            for _, child in outcomes:
                incoming[child] -= 1
                if not incoming[child]:
                    ready.append(child)
    return order if len(order) == len(edges) else None
