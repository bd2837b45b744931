"""Agents, and how they play: a rollout makes trajectories.

An agent sees texts: one observation and its legal actions for each episode of a batch. A rollout
records `Trajectory` objects (`gfn_envs.trajectory`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Protocol, TypeGuard, runtime_checkable

import numpy as np

from gfn_envs.actions import IllegalActionError, read_action
from gfn_envs.streams import Streams, side_by_side, streams_of
from gfn_envs.task import ProblemT, StateT, Task
from gfn_envs.trajectory import NO_THOUGHT, Answer, Outcome, Step, Thought, Trajectory

_KNOWN_STEPS = 10_000
"""Most steps that are remembered, of all tasks together: training plays the same states over and over."""
_KEPT_OF_ILLEGAL = 500
"""Characters that a trajectory keeps of an illegal answer."""
_TOLERANCE = 1e-3
"""By how much the sum of told probabilities may be away from 1: rounding in half precision."""
_ROUNDING = 1e-12
"""By how much a sum of float64 is away from 1 by rounding alone."""


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


def told_probabilities(
    agent: ProbabilisticAgent, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]]
) -> list[np.ndarray]:
    """Returns an agent's action probabilities, after a look at whether they are any.

    Those of fewer digits than float64 has, such as a float16 softmax, are scaled so that they add up to 1.

    Raises:
        ValueError: they are not one distribution over the legal actions for each observation.
    """
    answers = agent.action_probabilities(observations, admissible_actions)
    try:
        rows = [_floats(answer) for answer in answers]
    except (TypeError, ValueError):
        raise ValueError(
            f"{type(agent).__name__}.action_probabilities must return a list of arrays of numbers, got "
            f"{answers!r:.60}; see gfn check"
        ) from None
    if len(rows) != len(observations):
        raise ValueError(f"{type(agent).__name__} tells {len(rows)} distributions for {len(observations)} observations")
    scaled = []
    for row, actions in zip(rows, admissible_actions, strict=True):
        total = row.sum()
        if row.shape != (len(actions),) or not row.min() >= 0 or not abs(total - 1) <= _TOLERANCE:
            shown = np.array2string(row.ravel()[:4], precision=4)
            raise ValueError(
                f"{type(agent).__name__} tells {shown} as the probabilities of {len(actions)} actions; they must be "
                "as many numbers from 0 on that add up to 1, see gfn check"
            )
        scaled.append(row if abs(total - 1) <= _ROUNDING else row / total)
    return scaled


def _floats(row: Any) -> np.ndarray:
    """Returns numbers as float64, also those of a tensor, which may be on a GPU and of a type that NumPy lacks."""
    return np.asarray(row.detach().double().cpu() if hasattr(row, "detach") else row, dtype=float)


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


def rollout(
    task: Task[ProblemT, StateT],
    agent: Agent,
    problems: Sequence[ProblemT],
    rng: Streams,
    source: str = "policy",
    max_steps: int | Sequence[int] | None = None,
    illegal_ends: bool = False,
) -> list[Trajectory]:
    """Plays one episode on each problem, all of them in step, so that an agent acts on batches.

    Agents have no memory here, so they see texts that need none (`Task.memoryless`).

    Args:
        rng: random numbers for all, or a generator for each problem by its id.
        max_steps: episodes that take longer break off after so many steps, as incomplete trajectories; one number
            for all, or one for each.
        illegal_ends: an episode breaks off where the agent's text names no legal action, as an incomplete trajectory
            that tells the text; else that is an error.

    Raises:
        IllegalActionError: the agent's text names no legal action.
        ValueError: the agent's answers are not one text for each observation.
    """
    task = task.memoryless()
    histories: list[list[tuple[StateT, str]]] = [[] for _ in problems]
    thoughts: list[list[Thought]] = [[] for _ in problems]
    streams = streams_of(rng, [problem.id for problem in problems])
    states = [task.reset(problem) for problem in problems]
    legal = [task.actions(state) for state in states]
    illegal: dict[int, str] = {}
    limits = [max_steps] * len(states) if max_steps is None or isinstance(max_steps, int) else list(max_steps)

    def goes_on(index: int) -> bool:
        limit = limits[index]
        return bool(legal[index]) and index not in illegal and (limit is None or len(histories[index]) < limit)

    running = list(filter(goes_on, range(len(states))))
    while running:
        drawn_from = side_by_side([streams[i] for i in running])
        texts = _answers(agent, [task.observe(states[i]) for i in running], [legal[i] for i in running], drawn_from)
        for index, text in zip(running, texts, strict=True):
            state, actions = states[index], legal[index]
            action = read_action(text, actions, task.aliases(state) if text not in actions else None)
            if action is None and illegal_ends:
                illegal[index] = text[:_KEPT_OF_ILLEGAL]
                continue
            if action is None:
                raise IllegalActionError(text, actions)
            histories[index].append((state, action))
            thoughts[index].append(text.thought if isinstance(text, Answer) else NO_THOUGHT)
            states[index] = draw_outcome(task, state, action, streams[index])
            legal[index] = task.actions(states[index])
        running = list(filter(goes_on, running))
    played = [
        record(task, problem.id, history, state, source, said)
        for problem, history, state, said in zip(problems, histories, states, thoughts, strict=True)
    ]
    for index, text in illegal.items():
        played[index] = replace(played[index], illegal_answer=text)
    return played


def _answers(
    agent: Agent, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]], rng: np.random.Generator
) -> Sequence[str]:
    """Returns what an agent answers, after a look at whether it is one text for each observation."""
    texts, name = agent.act(observations, admissible_actions, rng), type(agent).__name__
    if isinstance(texts, str) or not hasattr(texts, "__len__"):
        raise ValueError(f"{name}.act must return a list of texts, got {texts!r:.60}; see gfn check")
    if len(texts) != len(observations):
        raise ValueError(
            f"{name} gave {len(texts)} answers to {len(observations)} observations; the list must be neither shorter "
            "nor longer, see gfn check"
        )
    if strange := [text for text in texts if not isinstance(text, str)]:
        raise ValueError(f"{name} gave {strange[0]!r} as an answer; it must be a text, see gfn check")
    return texts


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
    after = [*(state for state, _ in history), end][1:]
    steps = tuple(
        _remembered(task, state, action, next_state) for (state, action), next_state in zip(history, after, strict=True)
    )
    if any(thought != NO_THOUGHT for thought in thoughts):
        steps = tuple(replace(step, thought=thought) for step, thought in zip(steps, thoughts, strict=True))
    if task.actions(end):
        return Trajectory(
            problem_id, steps, task.log_reward_so_far(end), False, "", source, complete=False, end=task.observe(end)
        )
    return Trajectory(
        problem_id,
        steps,
        task.log_reward(end),
        task.success(end),
        task.solution(end),
        source,
        end=task.observe(end),
        end_scores=tuple(task.end_scores(end).items()),
    )


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
