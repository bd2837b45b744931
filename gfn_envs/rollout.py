"""Agents, trajectories, and how the one makes the other.

An agent sees texts: one observation and its legal actions for each episode of a batch. A rollout
records `Trajectory` objects, plain data that replay, objectives, metrics and files use without
environment or model. Log-probabilities are never stored, because a trainer always scores anew.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from gfn_envs.actions import IllegalActionError, read_action
from gfn_envs.files import write_json_lines
from gfn_envs.task import ProblemT, StateT, Task


@runtime_checkable
class Agent(Protocol):
    """Anything that plays: random legal play, a table, a language model, somebody's program."""

    def act(
        self, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]], rng: np.random.Generator
    ) -> list[str]:
        """Returns one action text for each observation."""
        ...


@runtime_checkable
class ProbabilisticAgent(Agent, Protocol):
    """An agent that can say how it plays, so that its scores need no sampling."""

    def action_probabilities(
        self, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]]
    ) -> list[np.ndarray]:
        """Returns for each observation the probabilities of its legal actions, float64."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One decision: what was seen, what was legal, what was done.

    Attributes:
        log_pb: log-probability of this step under the backward policy, 0 on trees.
        log_reward_so_far: partial log-reward of the state that was seen.
    """

    observation: str
    admissible_actions: tuple[str, ...]
    action: str
    log_pb: float = 0.0
    log_reward_so_far: float = 0.0


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One finished episode.

    Attributes:
        log_reward: log R of its end, neither tempered nor scaled.
        solution: canonical name of what was reached.
        source: who made it: "policy", "demonstration", "replay", ...
    """

    problem_id: str
    steps: tuple[Step, ...]
    log_reward: float
    success: bool
    solution: str
    source: str = "policy"

    @property
    def actions(self) -> tuple[str, ...]:
        """The actions in order; with the problem they identify a trajectory."""
        return tuple(step.action for step in self.steps)

    def to_json(self) -> dict[str, Any]:
        """Returns JSON values for one line of a JSON Lines file."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Trajectory:
        """Builds a trajectory from the values that `to_json` returns."""
        steps = tuple(Step(**{**s, "admissible_actions": tuple(s["admissible_actions"])}) for s in data["steps"])
        return cls(**{**data, "steps": steps})


def rollout(
    task: Task[ProblemT, StateT],
    agent: Agent,
    problems: Sequence[ProblemT],
    rng: np.random.Generator,
    source: str = "policy",
) -> list[Trajectory]:
    """Plays one episode on each problem, all of them in step, so that an agent acts on batches.

    Raises:
        IllegalActionError: the agent's text names no legal action.
    """
    histories: list[list[tuple[StateT, str]]] = [[] for _ in problems]
    states = [task.reset(problem) for problem in problems]
    running = [index for index, state in enumerate(states) if task.actions(state)]
    while running:
        observations = [task.observe(states[i]) for i in running]
        legal = [task.actions(states[i]) for i in running]
        for index, text, actions in zip(running, agent.act(observations, legal, rng), legal, strict=True):
            action = read_action(text, actions, task.aliases(states[index]) if text not in actions else None)
            if action is None:
                raise IllegalActionError(text, actions)
            histories[index].append((states[index], action))
            states[index] = draw_outcome(task, states[index], action, rng)
        running = [index for index in running if task.actions(states[index])]
    return [
        record(task, problem.id, history, state, source)
        for problem, history, state in zip(problems, histories, states, strict=True)
    ]


def draw_outcome(task: Task[Any, StateT], state: StateT, action: str, rng: np.random.Generator) -> StateT:
    """Returns the successor, drawn from the task's outcomes where there is chance."""
    if task.deterministic:
        return task.step(state, action)
    outcomes = task.outcomes(state, action)
    return outcomes[rng.choice(len(outcomes), p=[probability for probability, _ in outcomes])][1]


def record(
    task: Task[Any, StateT], problem_id: str, history: Sequence[tuple[StateT, str]], end: StateT, source: str
) -> Trajectory:
    """Turns visited states and actions into a Trajectory."""
    after = [state for state, _ in history[1:]] + [end]
    steps = tuple(
        Step(
            observation=task.observe(state),
            admissible_actions=task.actions(state),
            action=action,
            log_pb=log_backward(task, next_state),
            log_reward_so_far=task.log_reward_so_far(state),
        )
        for (state, action), next_state in zip(history, after, strict=True)
    )
    return Trajectory(problem_id, steps, task.log_reward(end), task.success(end), task.solution(end), source)


def log_backward(task: Task[Any, StateT], state: StateT) -> float:
    """Returns log P_B of any edge into a state: uniform over incoming edges, 0 on trees."""
    parents = task.parents(state)
    return 0.0 if parents is None else -math.log(len(parents))


def replay_actions(task: Task[ProblemT, StateT], problem: ProblemT, actions: Iterable[str], source: str) -> Trajectory:
    """Returns the trajectory of stored actions on a deterministic task.

    Raises:
        IllegalActionError: an action is not legal where it stands.
        ValueError: the actions end before the episode does.
    """
    state, history = task.reset(problem), []
    for text in actions:
        legal = task.actions(state)
        action = read_action(text, legal, task.aliases(state))
        if action is None:
            raise IllegalActionError(text, legal)
        history.append((state, action))
        state = task.step(state, action)
    if task.actions(state):
        raise ValueError(f"the actions stop before the end of '{problem.id}', after {len(history)} steps")
    return record(task, problem.id, history, state, source)


def save_trajectories(trajectories: Iterable[Trajectory], path: str | os.PathLike[str]) -> None:
    """Writes JSON Lines, whole or not at all."""
    write_json_lines(path, (trajectory.to_json() for trajectory in trajectories))


def load_trajectories(path: str | os.PathLike[str]) -> list[Trajectory]:
    """Reads what `save_trajectories` wrote; raises ValueError that names a wrong line."""
    trajectories = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), start=1):
        try:
            trajectories.append(Trajectory.from_json(json.loads(line)))
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"'{path}' line {number} is not a trajectory: {error}") from None
    return trajectories
