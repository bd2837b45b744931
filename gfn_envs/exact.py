"""Exact analysis by enumeration: the yardsticks that stand beside every score.

`enumerate_states` lists all states of a problem. From the list follow, without sampling: what a
uniformly random legal player reaches, the best that anyone can reach, all solutions, the partition
function Z, the target distribution, the policy that samples it, and the exact distribution of any
agent that can say how it plays.

Flows (Bengio et al. 2023, arXiv 2111.09266): F(x) = R(x)^beta at an end; on deterministic tasks
F(s) = sum over actions of F(s') P_B(s, a | s'), with P_B = 1 on trees and uniform over incoming
edges where histories merge. Under chance F(s, a) is the expectation of F(s') and F(s) its sum over
actions, and the policy F(s, a) / F(s) samples actions in proportion to expected continuation.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Generic

import numpy as np

from gfn_envs.rollout import ProbabilisticAgent, Trajectory, record
from gfn_envs.task import ProblemT, StateT, Task

DEFAULT_LIMIT = 200_000
_PROBES, _FAR = 8, 100

Outcomes = tuple[tuple[float, int], ...]


class EnumerationLimit(RuntimeError):
    """The problem has more states than the limit allows to list."""


@dataclass(frozen=True)
class StateGraph(Generic[ProblemT, StateT]):
    """All states of one problem in topological order: every edge leads to a later state.

    Attributes:
        states: the states; the first is the start.
        actions: legal actions of each state.
        edges: for each state and action the outcomes as (probability, index of the successor).
    """

    task: Task[ProblemT, StateT]
    problem: ProblemT
    states: tuple[StateT, ...] = field(repr=False)
    actions: tuple[tuple[str, ...], ...] = field(repr=False)
    edges: tuple[tuple[Outcomes, ...], ...] = field(repr=False)

    @cached_property
    def terminals(self) -> tuple[int, ...]:
        """Indices of the ends."""
        return tuple(index for index, actions in enumerate(self.actions) if not actions)

    @cached_property
    def successes(self) -> np.ndarray:
        """1.0 at solved ends and 0.0 elsewhere, shape (states,)."""
        solved = np.zeros(len(self.states))
        for index in self.terminals:
            solved[index] = self.task.success(self.states[index])
        return solved

    @cached_property
    def solution_names(self) -> dict[int, str]:
        """Canonical name of the solution that each solved end is."""
        return {i: self.task.solution(self.states[i]) for i in self.terminals if self.successes[i]}

    @cached_property
    def solutions(self) -> tuple[str, ...]:
        """Names of all distinct solutions, sorted."""
        return tuple(sorted(set(self.solution_names.values())))

    @cached_property
    def log_rewards(self) -> np.ndarray:
        """log R at the ends and -inf elsewhere, shape (states,)."""
        values = np.full(len(self.states), -np.inf)
        for index in self.terminals:
            values[index] = self.task.log_reward(self.states[index])
        return values

    @cached_property
    def log_backward(self) -> np.ndarray:
        """log P_B of an edge into each state: uniform over the incoming edges, 0 on trees."""
        if self.task.parents(self.states[0]) is None:
            return np.zeros(len(self.states))
        incoming = np.zeros(len(self.states))
        for edges in self.edges:
            for outcomes in edges:
                for _, child in outcomes:
                    incoming[child] += 1
        return -np.log(np.maximum(incoming, 1))

    # -- values of play --------------------------------------------------------------------------
    def values(self, choose: Callable[[Sequence[float]], float], with_rewards: bool) -> np.ndarray:
        """Returns the value of every state, shape (states,).

        Args:
            choose: turns the values of a state's actions into the state's value: mean or max.
            with_rewards: sum Gymnasium's rewards along the way, or else count success at the end.
        """
        values = np.zeros(len(self.states)) if with_rewards else self.successes.copy()
        for index in reversed(range(len(self.states))):
            if self.actions[index]:
                values[index] = choose(self._action_values(index, values, with_rewards))
        return values

    def _action_values(self, index: int, values: np.ndarray, with_rewards: bool) -> list[float]:
        found = []
        for action, outcomes in zip(self.actions[index], self.edges[index], strict=True):
            value = 0.0
            for probability, child in outcomes:
                reward = self.task.step_reward(self.states[index], action, self.states[child]) if with_rewards else 0.0
                value += probability * (reward + values[child])
            found.append(float(value))
        return found

    # -- flows -----------------------------------------------------------------------------------
    def log_flows(self, log_rewards: np.ndarray) -> np.ndarray:
        """Returns log F of every state for given log-rewards at the ends, shape (states,).

        The first entry is log Z.
        """
        flows = log_rewards.copy()
        for index in reversed(range(len(self.states))):
            if self.actions[index]:
                flows[index] = _log_sum_exp(self._edge_flows(index, flows))
        return flows

    def _edge_flows(self, index: int, flows: np.ndarray) -> list[float]:
        backward = self.log_backward
        return [
            float(flows[outcomes[0][1]] + backward[outcomes[0][1]])
            if len(outcomes) == 1
            else _log_sum_exp([math.log(p) + flows[child] + backward[child] for p, child in outcomes])
            for outcomes in self.edges[index]
        ]

    def flow_policy(self, log_flows: np.ndarray) -> list[np.ndarray]:
        """Returns the action probabilities that follow the flows, one array a state."""
        return [
            np.exp(np.array(self._edge_flows(index, log_flows)) - log_flows[index])
            if self.actions[index] and np.isfinite(log_flows[index])
            else np.full(len(self.actions[index]), 1.0 / max(len(self.actions[index]), 1))
            for index in range(len(self.states))
        ]

    def target(self, beta: float = 1.0) -> np.ndarray:
        """Returns what the exact sampler for R^beta reaches: probability of each end, shape (states,)."""
        if self.task.deterministic:
            scaled = self._scaled(beta)
            return np.asarray(np.exp(scaled - self.log_flows(scaled)[0]))
        return self.reached(self.target_policy(beta))

    def target_policy(self, beta: float = 1.0) -> list[np.ndarray]:
        """Returns the action probabilities of the exact sampler for R^beta, one array a state."""
        return self.flow_policy(self.log_flows(self._scaled(beta)))

    def _scaled(self, beta: float) -> np.ndarray:
        """Returns beta log R at the ends and -inf elsewhere, also for beta = 0."""
        scaled = np.full(len(self.states), -np.inf)
        ends = list(self.terminals)
        scaled[ends] = beta * self.log_rewards[ends]
        return scaled

    # -- any policy ------------------------------------------------------------------------------
    def policy_of(self, agent: ProbabilisticAgent) -> list[np.ndarray]:
        """Returns an agent's action probabilities at every state; equal prompts are asked once."""
        prompts = {
            (self.task.observe(state), actions): None
            for state, actions in zip(self.states, self.actions, strict=True)
            if actions
        }
        asked = list(prompts)
        answers = agent.action_probabilities([text for text, _ in asked], [actions for _, actions in asked])
        known = dict(zip(asked, answers, strict=True))
        return [
            known[self.task.observe(state), actions] if actions else np.zeros(0)
            for state, actions in zip(self.states, self.actions, strict=True)
        ]

    def reached(self, policy: Sequence[np.ndarray]) -> np.ndarray:
        """Returns the probability that a policy ends in each end, shape (states,)."""
        mass = np.zeros(len(self.states))
        mass[0] = 1.0
        for index, edges in enumerate(self.edges):
            for probability, outcomes in zip(policy[index], edges, strict=True):
                for chance, child in outcomes:
                    mass[child] += mass[index] * probability * chance
            if edges:
                mass[index] = 0.0
        return mass

    def elbo(self, policy: Sequence[np.ndarray], log_rewards: np.ndarray) -> float:
        """Returns E[log R + sum of log P_B - log P_F], a lower bound of log Z that only the exact sampler reaches.

        Malkin et al. 2023 (arXiv 2210.00580, equation 4). Under chance the outcomes' own probabilities
        belong to neither side.
        """
        mass, bound = np.zeros(len(self.states)), 0.0
        mass[0] = 1.0
        for index, edges in enumerate(self.edges):
            for probability, outcomes in zip(policy[index], edges, strict=True):
                if probability <= 0 or not mass[index]:
                    continue
                for chance, child in outcomes:
                    flow = mass[index] * probability * chance
                    mass[child] += flow
                    bound += flow * (self.log_backward[child] - math.log(probability))
        ends = list(self.terminals)
        return float(bound + sum(mass[i] * log_rewards[i] for i in ends if mass[i]))

    def ends_by_name(self, reached: np.ndarray) -> dict[str, float]:
        """Returns the probability of each object by its canonical name, from the probability of each end."""
        found: dict[str, float] = {}
        for index in self.terminals:
            name = self.task.solution(self.states[index])
            found[name] = found.get(name, 0.0) + float(reached[index])
        return found

    def solution_probabilities(self, reached: np.ndarray) -> dict[str, float]:
        """Returns the probability of each solution, from the probability of each end."""
        found = dict.fromkeys(self.solutions, 0.0)
        for index, name in self.solution_names.items():
            found[name] += float(reached[index])
        return found

    def sample(self, policy: Sequence[np.ndarray], rng: np.random.Generator, source: str) -> Trajectory:
        """Draws one trajectory from a policy given at every state."""
        index, history = 0, []
        while self.actions[index]:
            choice = int(rng.choice(len(policy[index]), p=policy[index] / policy[index].sum()))
            history.append((self.states[index], self.actions[index][choice]))
            outcomes = self.edges[index][choice]
            index = outcomes[int(rng.choice(len(outcomes), p=[p for p, _ in outcomes]))][1]
        return record(self.task, self.problem.id, history, self.states[index], source)

    def demonstration_policy(self) -> list[np.ndarray] | None:
        """Returns the policy that draws every solved end equally often; None if there is none."""
        with np.errstate(divide="ignore"):
            flows = self.log_flows(np.log(self.successes))
        return self.flow_policy(flows) if np.isfinite(flows[0]) else None


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
    scaled = graph.log_rewards.copy()
    scaled[list(graph.terminals)] *= beta
    chance = float(graph.values(_mean, with_rewards=False)[0])
    return Analysis(
        problem_id=graph.problem.id,
        chance=chance,
        chance_low=chance,
        chance_high=chance,
        chance_return=float(graph.values(_mean, with_rewards=True)[0]),
        optimum=float(graph.values(max, with_rewards=False)[0]),
        optimal_return=float(graph.values(max, with_rewards=True)[0]),
        n_solutions=len(graph.solutions),
        log_z=float(graph.log_flows(scaled)[0]),
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


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _log_sum_exp(values: Sequence[float]) -> float:
    top = max(values)
    return top if top == -math.inf else top + math.log(sum(math.exp(value - top) for value in values))
