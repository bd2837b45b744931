"""All states of one problem as a graph, and what follows from it without sampling.

Flows (Bengio et al. 2023, arXiv 2111.09266): F(x) = R(x)^beta at an end; on deterministic tasks
F(s) = sum over actions of F(s') P_B(s, a | s'), with P_B = 1 on trees and uniform over incoming
edges where histories merge. Under chance F(s, a) is the expectation of F(s') and F(s) its sum over
actions, and the policy F(s, a) / F(s) samples actions in proportion to expected continuation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic

import numpy as np

from gfn_envs.layers import Layer, Outcomes, layers_of
from gfn_envs.rollout import ProbabilisticAgent, record, told_probabilities
from gfn_envs.task import ProblemT, StateT, Task
from gfn_envs.trajectory import Trajectory


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
    def end_names(self) -> dict[int, str]:
        """Canonical name of the object that each end is."""
        return {index: self.task.solution(self.states[index]) for index in self.terminals}

    @cached_property
    def solution_names(self) -> dict[int, str]:
        """Canonical name of the solution that each solved end is."""
        return {index: self.task.solution(self.states[index]) for index in self.terminals if self.successes[index]}

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
    def end_scores(self) -> dict[str, np.ndarray]:
        """Each of `Task.end_scores` at the ends and 0.0 elsewhere, shape (states,)."""
        found: dict[str, np.ndarray] = {}
        for index in self.terminals:
            for name, value in self.task.end_scores(self.states[index]).items():
                found.setdefault(name, np.zeros(len(self.states)))[index] = value
        return found

    @cached_property
    def log_backward(self) -> np.ndarray:
        """log P_B of an edge into each state: uniform over the incoming edges, 0 on trees; shape (states,)."""
        incoming = np.zeros(len(self.states))
        if self.task.parents(self.states[0]) is not None:
            for layer in self._layers:
                np.add.at(incoming, layer.children, 1.0)
        return -np.log(np.maximum(incoming, 1.0))

    @cached_property
    def _layers(self) -> tuple[Layer, ...]:
        return layers_of(self.edges)

    def _by_state(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Returns values of the actions of each layer as one array a state."""
        found = [np.zeros(0)] * len(self.states)
        for layer, own in zip(self._layers, values, strict=True):
            for index, row in zip(layer.states.tolist(), np.split(own, layer.first_actions[1:]), strict=True):
                found[index] = row
        return found

    # -- values of play --------------------------------------------------------------------------
    def chance_values(self, with_rewards: bool = False) -> np.ndarray:
        """Returns what uniform legal play has to expect from every state, shape (states,).

        Args:
            with_rewards: the sum of Gymnasium's rewards along the way; without them success at the end.
        """
        return self._values(with_rewards, best=False)

    def best_values(self, with_rewards: bool = False) -> np.ndarray:
        """Returns what the best player has to expect from every state, shape (states,).

        Args:
            with_rewards: the sum of Gymnasium's rewards along the way; without them success at the end.
        """
        return self._values(with_rewards, best=True)

    def action_values(self, values: np.ndarray, with_rewards: bool = False) -> list[np.ndarray]:
        """Returns what each action leads to, given the values of all states, one array a state."""
        return self._by_state([self._action_values(layer, values, with_rewards) for layer in self._layers])

    def _values(self, with_rewards: bool, best: bool) -> np.ndarray:
        values = np.zeros(len(self.states)) if with_rewards else self.successes.copy()
        for layer in reversed(self._layers):
            found = self._action_values(layer, values, with_rewards)
            if best:
                values[layer.states] = np.maximum.reduceat(found, layer.first_actions)
            else:
                values[layer.states] = np.add.reduceat(found, layer.first_actions) / layer.sizes
        return values

    def _action_values(self, layer: Layer, values: np.ndarray, with_rewards: bool) -> np.ndarray:
        after = values[layer.children]
        if with_rewards:
            after = after + self._step_rewards[layer.outcomes]
        return np.asarray(np.add.reduceat(layer.chances * after, layer.first_outcomes))

    @cached_property
    def _step_rewards(self) -> np.ndarray:
        """Gymnasium's reward of each outcome, layer by layer."""
        return np.array(
            [
                self.task.step_reward(self.states[index], action, self.states[child])
                for layer in self._layers
                for index in layer.states
                for action, outcomes in zip(self.actions[index], self.edges[index], strict=True)
                for _, child in outcomes
            ]
        )

    # -- flows -----------------------------------------------------------------------------------
    def log_flows(self, log_rewards: np.ndarray) -> np.ndarray:
        """Returns log F of every state for given log-rewards at the ends, shape (states,).

        The first entry is log Z.
        """
        flows = log_rewards.copy()
        for layer in reversed(self._layers):
            flows[layer.states] = np.logaddexp.reduceat(self._action_flows(layer, flows), layer.first_actions)
        return flows

    def _action_flows(self, layer: Layer, flows: np.ndarray) -> np.ndarray:
        """Returns log F of each action of a layer."""
        after = np.log(layer.chances) + flows[layer.children] + self.log_backward[layer.children]
        return np.asarray(np.logaddexp.reduceat(after, layer.first_outcomes))

    def flow_policy(self, log_flows: np.ndarray) -> list[np.ndarray]:
        """Returns the action probabilities that follow the flows, one array a state; uniform where nothing flows."""
        found = []
        for layer in self._layers:
            flows = log_flows[layer.sources]
            dry = np.isneginf(flows)
            shares = np.exp(self._action_flows(layer, log_flows) - np.where(dry, 0.0, flows))
            found.append(np.where(dry, np.repeat(1.0 / layer.sizes, layer.sizes), shares))
        return self._by_state(found)

    def target(self, beta: float = 1.0) -> np.ndarray:
        """Returns what the exact sampler for R^beta reaches: probability of each end, shape (states,)."""
        if self.task.deterministic:
            return np.asarray(np.exp(self._scaled(beta) - self.log_z(beta)))
        return self.reached(self.target_policy(beta))

    def target_policy(self, beta: float = 1.0) -> list[np.ndarray]:
        """Returns the action probabilities of the exact sampler for R^beta, one array a state."""
        return self.flow_policy(self._target_flows(beta))

    def log_z(self, beta: float = 1.0) -> float:
        """Returns the log of the partition function for R^beta (natural log)."""
        return float(self._target_flows(beta)[0])

    def _target_flows(self, beta: float) -> np.ndarray:
        if beta not in self._known_flows:
            self._known_flows[beta] = self.log_flows(self._scaled(beta))
        return self._known_flows[beta]

    @cached_property
    def _known_flows(self) -> dict[float, np.ndarray]:
        """log F for R^beta by beta: all yardsticks of a problem rest on them."""
        return {}

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
        answers = told_probabilities(agent, [text for text, _ in asked], [actions for _, actions in asked])
        known = dict(zip(asked, answers, strict=True))
        return [
            known[self.task.observe(state), actions] if actions else np.zeros(0)
            for state, actions in zip(self.states, self.actions, strict=True)
        ]

    def reached(self, policy: Sequence[np.ndarray]) -> np.ndarray:
        """Returns the probability that a policy ends in each end, shape (states,)."""
        mass = np.zeros(len(self.states))
        for layer, _, _ in self._played(policy, mass):
            mass[layer.states] = 0.0
        return mass

    def elbo(self, policy: Sequence[np.ndarray], log_rewards: np.ndarray) -> float:
        """Returns E[log R + sum of log P_B - log P_F], a lower bound of log Z that only the exact sampler reaches.

        Malkin et al. 2023 (arXiv 2210.00580, equation 4). Under chance the outcomes' own probabilities
        belong to neither side.
        """
        mass, bound = np.zeros(len(self.states)), 0.0
        for layer, shares, flow in self._played(policy, mass):
            moved = flow > 0
            gain = self.log_backward[layer.children[moved]] - np.log(shares[layer.takers[moved]])
            bound += float(flow[moved] @ gain)
        ends = [index for index in self.terminals if mass[index] > 0]
        return bound + float(mass[ends] @ log_rewards[ends])

    def _played(self, policy: Sequence[np.ndarray], mass: np.ndarray) -> Iterator[tuple[Layer, np.ndarray, np.ndarray]]:
        """Yields each layer with the probabilities of its actions and how probable its outcomes are in play.

        Args:
            mass: zeros, shape (states,); gets the probability that the policy comes to each state.
        """
        mass[0] = 1.0
        for layer in self._layers:
            shares = np.concatenate([policy[index] for index in layer.states])
            flow = (mass[layer.sources] * shares)[layer.takers] * layer.chances
            np.add.at(mass, layer.children, flow)
            yield layer, shares, flow

    def ends_by_name(self, reached: np.ndarray) -> dict[str, float]:
        """Returns the probability of each object by its canonical name, from the probability of each end."""
        found: dict[str, float] = {}
        for index, name in self.end_names.items():
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
