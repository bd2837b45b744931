"""Where training trajectories come from, apart from the policy itself.

All of this changes the behaviour policy only: the objectives are off-policy, so their optimum stays.
Each can be switched off by itself: temperature 1, epsilon 0, alpha 0, no branches, no demonstrations.
Objectives that are right on policy only, such as policy gradients, need all of it off.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from gfn_agents.local_search import regrow
from gfn_agents.policy import sample_actions, temper
from gfn_envs.exact import EnumerationLimit, enumerate_states
from gfn_envs.metrics import entropy
from gfn_envs.rollout import Agent, ProbabilisticAgent, replay_actions
from gfn_envs.streams import Streams, side_by_side, streams_of
from gfn_envs.task import ProblemT, Task
from gfn_envs.trajectory import Trajectory

BranchAt = Literal["uniform", "entropy"]


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

    def action_probabilities(
        self, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]]
    ) -> list[np.ndarray]:
        """Returns the probabilities with which `act` draws."""
        scored = self.policy.action_probabilities(observations, admissible_actions)
        return [temper(probabilities, self.temperature, self.epsilon) for probabilities in scored]


# -- self-repellent sampling ---------------------------------------------------------------------
def repelled(probabilities: np.ndarray, visits: np.ndarray, expected: np.ndarray, alpha: float) -> np.ndarray:
    """Returns p ((visits + 1) / (expected + 1))^(-alpha), normalised; with alpha 0, p itself.

    Args:
        probabilities: p of each action, shape (A,).
        visits: how often each was taken here, shape (A,).
        expected: how often each should have been: the sum of its p over all visits, shape (A,).
    """
    if alpha == 0:
        return probabilities
    log_weights = -alpha * np.log((visits + 1.0) / (expected + 1.0))
    # Only what can be drawn sets the scale, so that the sum is never 0.
    weights = probabilities * np.exp(np.minimum(log_weights - log_weights[probabilities > 0].max(), 0.0))
    return np.asarray(weights / weights.sum())


Row = tuple[np.ndarray, np.ndarray]
"""Visits and expected visits of a prompt's actions, shape (A,) each."""


class VisitCounts:
    """How often each action of each prompt was taken, and how often that was to be expected.

    Args:
        capacity: most prompts that are remembered; the one not met for longest is forgotten first.
        earlier: counts on top of which these go on, and which they leave as they are.
    """

    def __init__(self, capacity: int = 10_000, earlier: VisitCounts | None = None) -> None:
        if capacity < 1:
            raise ValueError(f"capacity of visit counts must be at least 1, got {capacity}")
        self.capacity, self.earlier = capacity, earlier
        self._rows: dict[str, Row] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def of(self, observation: str, actions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Returns visits and expected visits of a prompt's actions, shape (A,) each, to be changed in place."""
        # A digest bounds the memory of a prompt, however long its text.
        key = hashlib.sha256(json.dumps([observation, *actions]).encode()).hexdigest()[:32]
        row = self._rows.pop(key, None) or self._row_before(key, len(actions))
        self._keep(key, row)
        return row

    def gained(self) -> dict[str, Row]:
        """Returns what was added to the earlier counts, by prompt."""
        gained = {}
        for key, (visits, expected) in self._rows.items():
            visits_before, expected_before = self._row_before(key, len(visits))
            gained[key] = visits - visits_before, expected - expected_before
        return gained

    def add(self, gained: Mapping[str, Row]) -> None:
        """Adds what was `gained` on top of these counts, here or in other processes."""
        for key, (visits, expected) in gained.items():
            before = self._rows.pop(key, None) or (np.zeros(len(visits)), np.zeros(len(visits)))
            self._keep(key, (before[0] + visits, before[1] + expected))

    def _row_before(self, key: str, size: int) -> Row:
        """Returns a copy of a prompt's earlier counts."""
        row = self.earlier._rows.get(key) if self.earlier else None
        return (row[0].copy(), row[1].copy()) if row else (np.zeros(size), np.zeros(size))

    def _keep(self, key: str, row: Row) -> None:
        self._rows[key] = row
        if len(self._rows) > self.capacity:
            del self._rows[next(iter(self._rows))]

    def to_json(self) -> dict[str, Any]:
        """Returns JSON values, in order: a sampler goes on from them exactly as it would have."""
        return {key: [visits.tolist(), expected.tolist()] for key, (visits, expected) in self._rows.items()}

    def restore(self, data: Mapping[str, Any]) -> None:
        """Takes the place of all counts by what `to_json` returned."""
        self._rows = {key: (np.array(visits), np.array(expected)) for key, (visits, expected) in data.items()}


@dataclass(frozen=True, slots=True)
class SelfRepellent:
    """An agent that draws p ((visits + 1) / (expected + 1))^(-alpha): less of what it took more than its share of.

    After self-repellent random walks (Doshi, Hu and Eun 2023, arXiv 2305.05097), whose weights are
    (x_i / mu_i)^(-alpha) for the occupation x and the target mu: here mu is the policy's own share of each
    action of a prompt, x the share taken, and 1 is added on both sides, so that a prompt met for the
    first time is played by p. For a fixed policy the shares taken still converge to p, only with less
    variance: of 1 / (2 alpha + 1) of that of independent draws, in the limit. Draws of one batch count at
    once, so that repeated prompts spread over their actions.

    It has no `action_probabilities`, since they change with every draw; Metropolis takes `policy` itself.

    Args:
        policy: what is repelled; may be `Tempered`.
        counts: kept from step to step, and saved by who owns them.
        alpha: strength; 0 plays the policy, with the same draws, and counts nothing.
    """

    policy: ProbabilisticAgent
    counts: VisitCounts
    alpha: float

    def __post_init__(self) -> None:
        if not 0 <= self.alpha < math.inf:
            raise ValueError(f"alpha of self-repellent sampling must be finite and not negative, got {self.alpha}")

    def act(
        self, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]], rng: np.random.Generator
    ) -> list[str]:
        """Returns one legal action for each observation, drawn one after the other."""
        if self.alpha == 0:
            return self.policy.act(observations, admissible_actions, rng)
        keys = [(o, tuple(a)) for o, a in zip(observations, admissible_actions, strict=True)]
        distinct = list(dict.fromkeys(keys))
        scored = self.policy.action_probabilities([o for o, _ in distinct], [a for _, a in distinct])
        known = dict(zip(distinct, scored, strict=True))
        return [self._draw(*key, known[key], draw) for key, draw in zip(keys, rng.random(len(keys)), strict=True)]

    def _draw(self, observation: str, actions: Sequence[str], probabilities: np.ndarray, draw: float) -> str:
        visits, expected = self.counts.of(observation, actions)
        cumulative = np.cumsum(repelled(probabilities, visits, expected, self.alpha))
        place = min(int(np.searchsorted(cumulative, draw, side="right")), len(actions) - 1)
        visits[place] += 1.0
        expected += probabilities
        return actions[place]


# -- branching -----------------------------------------------------------------------------------
def branch(
    task: Task[ProblemT, Any],
    problems: Iterable[ProblemT],
    trajectories: Sequence[Trajectory],
    agent: Agent,
    rng: Streams,
    per_trajectory: int = 1,
    at: BranchAt = "uniform",
    max_steps: int | None = None,
) -> list[Trajectory]:
    """Returns new trajectories that share their first steps with given ones and go on with the agent.

    A prefix has at least one step, unless the trajectory has only one. Prompts of shared prefixes are
    scored once, so a branch costs less than a trajectory of its own.

    Args:
        problems: the trajectories' problems, in any order.
        per_trajectory: branches of each; 0 gives none.
        at: "uniform" cuts at any step alike, "entropy" in proportion to the agent's entropy there, so
            that steps without a choice are never cut (needs an agent with `action_probabilities`).
        max_steps: branches that take longer, their first steps counted, break off there.

    Raises:
        ValueError: the task has chance, or a trajectory's problem is missing.
        TypeError: "entropy" with an agent that cannot say how it plays.
    """
    parents = [trajectory for trajectory in trajectories for _ in range(per_trajectory)]
    if not parents:
        return []
    weights = _entropies(agent, parents) if at == "entropy" else [np.ones(len(t.steps)) for t in parents]
    draws = side_by_side(streams_of(rng, [parent.problem_id for parent in parents])).random(len(parents))
    cuts = [_draw_cut(row, draw) for row, draw in zip(weights, draws, strict=True)]
    return regrow(task, problems, parents, cuts, agent, rng, "branch", max_steps)


def _draw_cut(weights: np.ndarray, draw: float) -> int:
    """Returns a step in proportion to the weights, the first left out where there is another one."""
    if len(weights) < 2:
        return 0
    later = weights[1:] if weights[1:].any() else np.ones(len(weights) - 1)
    cumulative = np.cumsum(later)
    return 1 + min(int(np.searchsorted(cumulative, draw * cumulative[-1], side="right")), len(later) - 1)


def _entropies(agent: Agent, trajectories: Sequence[Trajectory]) -> list[np.ndarray]:
    """Returns the entropy (nats) of the agent's choice at every step; equal prompts are asked once."""
    if not isinstance(agent, ProbabilisticAgent):
        raise TypeError(f"branching by entropy needs action_probabilities, and {type(agent).__name__} has none")
    prompts = [[(step.observation, step.admissible_actions) for step in t.steps] for t in trajectories]
    asked = list(dict.fromkeys(prompt for row in prompts for prompt in row))
    answers = agent.action_probabilities([text for text, _ in asked], [legal for _, legal in asked])
    known = {prompt: max(entropy(list(answer)), 0.0) for prompt, answer in zip(asked, answers, strict=True)}
    return [np.array([known[prompt] for prompt in row]) for row in prompts]


# -- demonstrations ------------------------------------------------------------------------------
def demonstrations(
    task: Task[ProblemT, Any], problem: ProblemT, count: int, rng: np.random.Generator
) -> list[Trajectory]:
    """Returns up to `count` distinct solved trajectories: each solved end is equally likely, and each way into it.

    Where histories merge, a way is drawn from its end back, each incoming edge equally likely.

    Of problems with too many states to list, the plans of the task's expert are shown; without one, or
    without a solution, there are none.
    """
    try:
        graph = enumerate_states(task.memoryless(), problem)
    except EnumerationLimit:
        plans = task.expert_plans(problem)
        chosen = rng.permutation(len(plans))[:count]
        return [replay_actions(task, problem, plans[index], "demonstration") for index in chosen]
    policy = graph.demonstration_policy()
    if policy is None:
        return []
    drawn = [graph.sample(policy, rng, source="demonstration") for _ in range(2 * count)]
    return list({trajectory.actions: trajectory for trajectory in drawn}.values())[:count]
