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
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeGuard, runtime_checkable

import numpy as np

from gfn_envs.actions import IllegalActionError, read_action
from gfn_envs.files import write_json_lines
from gfn_envs.streams import Streams, side_by_side, streams_of
from gfn_envs.task import ProblemT, StateT, Task

_KNOWN_STEPS = 10_000
"""Most steps that are remembered, of all tasks together: training plays the same states over and over."""
_LONGEST_THOUGHT = 100_000
"""Most tokens, and most characters, of one thought in a record."""


@dataclass(frozen=True, slots=True)
class Thought:
    """What an agent thought before an action.

    Attributes:
        tokens: ids of its tokens, by which a policy that thinks scores it; empty where an agent tells its text only.
        text: what people read.

    Raises:
        ValueError: it is too long, or no tokens and text.
    """

    tokens: tuple[int, ...] = ()
    text: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not all(type(token) is int and token >= 0 for token in self.tokens):
            raise ValueError("a thought has token ids, integers that are not negative, and a text")
        longest = max(len(self.tokens), len(self.text))
        if longest > _LONGEST_THOUGHT:
            raise ValueError(f"a thought has at most {_LONGEST_THOUGHT} tokens and characters, got {longest}")


NO_THOUGHT = Thought()


class Answer(str):
    """An action's text together with the thought that led to it: what `Agent.act` may return."""

    thought: Thought

    def __new__(cls, action: str, thought: Thought = NO_THOUGHT) -> Answer:
        """Makes the text of an action carry a thought."""
        answer = super().__new__(cls, action)
        answer.thought = thought
        return answer


@runtime_checkable
class Agent(Protocol):
    """Anything that plays: random legal play, a table, a language model, somebody's program."""

    def act(
        self, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]], rng: np.random.Generator
    ) -> list[str]:
        """Returns one action text for each observation; an `Answer` is a text that carries a thought."""
        ...


@runtime_checkable
class ProbabilisticAgent(Agent, Protocol):
    """An agent that can say how it plays, so that its scores need no sampling."""

    def action_probabilities(
        self, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]]
    ) -> list[np.ndarray]:
        """Returns for each observation the probabilities of its legal actions, float64."""
        ...


@runtime_checkable
class ThinkingAgent(Agent, Protocol):
    """An agent that may think before it acts."""

    @property
    def thought_tokens(self) -> int:
        """Most tokens of a thought; 0 where it does not think."""
        ...


def tells_probabilities(agent: object) -> TypeGuard[ProbabilisticAgent]:
    """Says whether an agent can say how it plays: not if it thinks, since a sum over all thoughts cannot be listed."""
    thinks = isinstance(agent, ThinkingAgent) and agent.thought_tokens > 0
    return isinstance(agent, ProbabilisticAgent) and not thinks


@dataclass(frozen=True, slots=True)
class Outcome:
    """One state that an action can lead to.

    Attributes:
        observation: what is seen there; None at an end.
        log_reward: log R of an end; elsewhere the partial log-reward, `log_reward_so_far`.
    """

    probability: float
    observation: str | None
    log_reward: float


@dataclass(frozen=True, slots=True)
class Step:
    """One decision: what was seen, what was legal, what was done.

    Attributes:
        log_pb: log-probability of this step under the uniform backward policy, 0 on trees.
        log_reward_so_far: partial log-reward of the state that was seen.
        outcomes: everything the action can lead to, where there is chance; else empty.
        stop_action: the task's action that ends an episode anywhere, if it has one.
        stop_log_reward: log R of the end that this action leads to from here.
        incoming: names of the edges that lead to the next state, where they are several.
        incoming_edge: which of them was taken.
        thought: what the agent thought before the action.
    """

    observation: str
    admissible_actions: tuple[str, ...]
    action: str
    log_pb: float = 0.0
    log_reward_so_far: float = 0.0
    outcomes: tuple[Outcome, ...] = ()
    stop_action: str | None = None
    stop_log_reward: float = 0.0
    incoming: tuple[str, ...] = ()
    incoming_edge: str = ""
    thought: Thought = NO_THOUGHT

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Step:
        """Builds a step from JSON values; those that only some tasks need may be missing."""
        tuples = {
            "admissible_actions": tuple(data["admissible_actions"]),
            "outcomes": tuple(Outcome(**outcome) for outcome in data.get("outcomes", ())),
            "incoming": tuple(data.get("incoming", ())),
        }
        if "thought" in data:
            data = {**data, "thought": Thought(tuple(data["thought"]["tokens"]), data["thought"]["text"])}
        return cls(**{**data, **tuples})


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One episode, or its beginning.

    Attributes:
        log_reward: log R of its end, neither tempered nor scaled; the partial log-reward of the state
            where it breaks off if it is not complete.
        solution: canonical name of what was reached; empty if it is not complete.
        source: who made it: "policy", "demonstration", "replay", ...
        complete: whether the episode is over.
        end: what is seen at the end, or where it breaks off.
    """

    problem_id: str
    steps: tuple[Step, ...]
    log_reward: float
    success: bool
    solution: str
    source: str = "policy"
    complete: bool = True
    end: str = ""

    @property
    def actions(self) -> tuple[str, ...]:
        """The actions in order; with the problem they identify a trajectory, if there is no chance."""
        return tuple(step.action for step in self.steps)

    @property
    def path(self) -> tuple[str, ...]:
        """What was seen and done in order; with the problem it identifies a trajectory, also under chance."""
        return (*(text for step in self.steps for text in (step.observation, step.action)), self.end)

    def outcomes(self, place: int) -> tuple[Outcome, ...]:
        """Returns everything that the action of one step can lead to; without chance, what it led to."""
        if self.steps[place].outcomes:
            return self.steps[place].outcomes
        if place + 1 < len(self.steps):
            after = self.steps[place + 1]
            return (Outcome(1.0, after.observation, after.log_reward_so_far),)
        return (Outcome(1.0, None if self.complete else self.end, self.log_reward),)

    def to_json(self) -> dict[str, Any]:
        """Returns JSON values for one line of a JSON Lines file, without what is only of some tasks and not of this."""
        values = asdict(self)
        for step in values["steps"]:
            for name in ("outcomes", "stop_action", "incoming"):
                if not step[name]:
                    del step[name]
            if "stop_action" not in step:
                del step["stop_log_reward"]
            if "incoming" not in step:
                del step["incoming_edge"]
            if not any(step["thought"].values()):
                del step["thought"]
        return values

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Trajectory:
        """Builds a trajectory from the values that `to_json` returns."""
        return cls(**{**data, "steps": tuple(Step.from_json(step) for step in data["steps"])})


def rollout(
    task: Task[ProblemT, StateT],
    agent: Agent,
    problems: Sequence[ProblemT],
    rng: Streams,
    source: str = "policy",
    max_steps: int | None = None,
) -> list[Trajectory]:
    """Plays one episode on each problem, all of them in step, so that an agent acts on batches.

    Agents have no memory here, so they see texts that need none (`Task.memoryless`).

    Args:
        rng: random numbers for all, or a generator for each problem by its id.
        max_steps: episodes that take longer break off after so many steps, as incomplete trajectories.

    Raises:
        IllegalActionError: the agent's text names no legal action.
    """
    task = task.memoryless()
    histories: list[list[tuple[StateT, str]]] = [[] for _ in problems]
    thoughts: list[list[Thought]] = [[] for _ in problems]
    streams = streams_of(rng, [problem.id for problem in problems])
    states = [task.reset(problem) for problem in problems]
    legal = [task.actions(state) for state in states]
    running = [index for index, actions in enumerate(legal) if actions]
    while running and (max_steps is None or len(histories[running[0]]) < max_steps):
        drawn_from = side_by_side([streams[i] for i in running])
        texts = agent.act([task.observe(states[i]) for i in running], [legal[i] for i in running], drawn_from)
        for index, text in zip(running, texts, strict=True):
            state, actions = states[index], legal[index]
            action = read_action(text, actions, task.aliases(state) if text not in actions else None)
            if action is None:
                raise IllegalActionError(text, actions)
            histories[index].append((state, action))
            thoughts[index].append(text.thought if isinstance(text, Answer) else NO_THOUGHT)
            states[index] = draw_outcome(task, state, action, streams[index])
            legal[index] = task.actions(states[index])
        running = [index for index in running if legal[index]]
    return [
        record(task, problem.id, history, state, source, said)
        for problem, history, state, said in zip(problems, histories, states, thoughts, strict=True)
    ]


def draw_outcome(task: Task[Any, StateT], state: StateT, action: str, rng: np.random.Generator) -> StateT:
    """Returns the successor, drawn from the task's outcomes where there is chance."""
    if task.deterministic:
        return task.step(state, action)
    outcomes = task.outcomes(state, action)
    return outcomes[rng.choice(len(outcomes), p=[probability for probability, _ in outcomes])][1]


def record(
    task: Task[Any, StateT],
    problem_id: str,
    history: Sequence[tuple[StateT, str]],
    end: StateT,
    source: str,
    thoughts: Sequence[Thought] = (),
) -> Trajectory:
    """Turns visited states and actions into a Trajectory, incomplete if the episode goes on at its end.

    Args:
        thoughts: one for each action; none at all for an agent that does not think.
    """
    after = [state for state, _ in history[1:]] + [end]
    steps = tuple(
        _remembered(task, state, action, next_state) for (state, action), next_state in zip(history, after, strict=True)
    )
    if any(thought != NO_THOUGHT for thought in thoughts):
        steps = tuple(replace(step, thought=thought) for step, thought in zip(steps, thoughts, strict=True))
    if task.actions(end):
        return Trajectory(
            problem_id, steps, task.log_reward_so_far(end), False, "", source, complete=False, end=task.observe(end)
        )
    success, solution = task.success(end), task.solution(end)
    return Trajectory(problem_id, steps, task.log_reward(end), success, solution, source, end=task.observe(end))


def _remembered(task: Task[Any, StateT], state: StateT, action: str, next_state: StateT) -> Step:
    """Returns `_step`, from memory where it was asked before: rules are pure."""
    try:
        return _known_step(task, state, action, next_state)
    except TypeError:  # a task of somebody else whose options have no hash
        return _step(task, state, action, next_state)


@lru_cache(maxsize=_KNOWN_STEPS)
def _known_step(task: Task[Any, Any], state: Any, action: str, next_state: Any) -> Step:
    return _step(task, state, action, next_state)


def _step(task: Task[Any, StateT], state: StateT, action: str, next_state: StateT) -> Step:
    edges = task.parents(next_state) or ()
    incoming = edge_names(task, edges) if len(edges) > 1 else ()
    return Step(
        observation=task.observe(state),
        admissible_actions=task.actions(state),
        action=action,
        log_pb=-math.log(len(edges)) if edges else 0.0,
        log_reward_so_far=task.log_reward_so_far(state),
        outcomes=() if task.deterministic else tuple(_outcome(task, *o) for o in task.outcomes(state, action)),
        stop_action=task.stop_action,
        stop_log_reward=task.log_reward(task.step(state, task.stop_action)) if task.stop_action else 0.0,
        incoming=incoming,
        incoming_edge=incoming[edges.index((state, action))] if incoming else "",
    )


def _outcome(task: Task[Any, StateT], probability: float, state: StateT) -> Outcome:
    if task.actions(state):
        return Outcome(probability, task.observe(state), task.log_reward_so_far(state))
    return Outcome(probability, None, task.log_reward(state))


def edge_names(task: Task[Any, StateT], edges: Sequence[tuple[StateT, str]]) -> tuple[str, ...]:
    """Returns a text for each incoming edge: its action, and where it comes from if actions do not tell them apart."""
    actions = tuple(action for _, action in edges)
    if len(set(actions)) == len(actions):
        return actions
    return tuple(f"{action} from: {task.observe(parent)}" for parent, action in edges)


def cut(trajectory: Trajectory, steps: int) -> Trajectory:
    """Returns the first steps of a trajectory, as one that breaks off there.

    Raises:
        ValueError: there must be at least 1 step, and fewer than the trajectory has.
    """
    if not 0 < steps < len(trajectory.steps):
        raise ValueError(f"a trajectory of {len(trajectory.steps)} steps cannot be cut after {steps}")
    at = trajectory.steps[steps]
    return replace(
        trajectory,
        steps=trajectory.steps[:steps],
        log_reward=at.log_reward_so_far,
        success=False,
        solution="",
        complete=False,
        end=at.observation,
    )


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
    task = task.memoryless()
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
