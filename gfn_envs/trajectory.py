"""Trajectories: what was seen, what was legal and what was done, as plain data.

Replay, objectives, metrics and files use them without environment or model. Log-probabilities are never stored,
because a trainer always scores anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gfn_envs.files import write_json_lines
from gfn_envs.task import LOG_REWARD_FLOOR

_OF_SOME = ("end_scores", "illegal_answer")
"""What only some trajectories have in a file."""
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
        end_scores: `Task.end_scores` of its end as pairs of name and value; empty if it is not complete.
        illegal_answer: the beginning of the answer that named no legal action, if it broke off because of one.
    """

    problem_id: str
    steps: tuple[Step, ...]
    log_reward: float
    success: bool
    solution: str
    source: str = "policy"
    complete: bool = True
    end: str = ""
    end_scores: tuple[tuple[str, float], ...] = ()
    illegal_answer: str | None = None

    @property
    def final_log_reward(self) -> float:
        """Log R of its end; one that broke off counts as a failure, whatever it was worth so far."""
        return self.log_reward if self.complete else LOG_REWARD_FLOOR

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
        values["end_scores"] = dict(self.end_scores)
        return {name: value for name, value in values.items() if name not in _OF_SOME or value not in ({}, None)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Trajectory:
        """Builds a trajectory from the values that `to_json` returns."""
        steps = tuple(Step.from_json(step) for step in data["steps"])
        end_scores = tuple((name, float(value)) for name, value in dict(data.get("end_scores", {})).items())
        return cls(**{**data, "steps": steps, "end_scores": end_scores})


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
        end_scores=(),
    )


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
