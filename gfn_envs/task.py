"""The rules that every environment implements: pure functions over immutable states.

A `Task` draws no random numbers and holds no episode. A state is a frozen, hashable value that
contains all that its rules need, its problem included, so a state *is* the snapshot: copying,
branching, saving and restoring are free. Gymnasium is a shell around this (`gfn_envs.env`).
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from gfn_envs.drawing import Drawing, text_drawing
from gfn_envs.hints import did_you_mean

if TYPE_CHECKING:
    from gfn_envs.problems import ProblemSource

Presets = Mapping[str, Mapping[str, Any]]
LOG_REWARD_FLOOR = math.log(1e-4)
"""Log-reward of a failure: rewards must be positive for a GFlowNet to have a target."""


class Problem(ABC):
    """One instance of a task. Subclasses are frozen dataclasses whose fields are JSON values."""

    __slots__ = ()

    @property
    @abstractmethod
    def id(self) -> str:
        """Readable name that no other problem of the task has, such as 'game24/4-6-6-8'."""

    @property
    def canonical(self) -> str:
        """Name shared by all problems that differ only in notation; splits are made by it."""
        return self.id

    @property
    def kind(self) -> str:
        """Part of the family whose scores are also told apart, '' if there are no parts."""
        return ""

    @property
    def content_hash(self) -> str:
        """SHA-256 of the canonical name, in hexadecimal; the same in every version and process."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values, for one line of a JSON Lines file."""
        return dict(asdict(self))  # type: ignore[call-overload]  # every subclass is a dataclass


ProblemT = TypeVar("ProblemT", bound=Problem)
StateT = TypeVar("StateT", bound=Hashable)


class Task(ABC, Generic[ProblemT, StateT]):
    """Rules of one game, as pure functions. Subclasses are frozen dataclasses of their options.

    Only `problems`, `reset`, `actions`, `step`, `observe`, `success` and the sizes are required;
    everything else has the default that holds for a deterministic game won or lost at its end.
    """

    name: ClassVar[str]
    """Short name; the part of a problem's id before the slash."""
    problem_type: ClassVar[type[Any]]
    """Dataclass of this task's problems."""
    charset: ClassVar[str]
    """Every character that an observation or a legal action can contain."""
    deterministic: ClassVar[bool] = True
    """False where `outcomes` is the rule and `step` is not defined."""
    stop_action: ClassVar[str | None] = None
    """The action that ends an episode where it stands, if there is one: it must be legal in every state
    that is not terminal, and be the only way to the end that it leads to."""
    difficulties: ClassVar[Presets] = {}
    """Named presets, the easiest first: the options that `difficulty=` of `gym.make` stands for."""

    horizon: int
    """Most steps that an episode can have."""
    max_actions: int
    """Most legal actions that a state can have; the size of the index view."""
    max_observation_length: int
    """Most characters of an observation."""
    max_action_length: int
    """Most characters of a legal action."""

    # -- problems --------------------------------------------------------------------------------
    @abstractmethod
    def problems(self) -> ProblemSource[ProblemT]:
        """Returns the family of problems that these options describe, with its weights."""

    def problem_from_json(self, data: Mapping[str, Any]) -> ProblemT:
        """Builds one problem from its JSON fields and checks that it fits this task's options.

        Raises:
            ValueError: a field is missing, unknown or out of range.
        """
        known = [field.name for field in fields(self.problem_type)]
        unknown = [key for key in data if key not in known]
        if unknown:
            raise ValueError(f"unknown field {unknown[0]!r}; {self.name} problems have {known}")
        try:
            problem: ProblemT = self.problem_type(**data)
        except TypeError as error:
            raise ValueError(f"{self.name} problems have the fields {known}: {error}") from None
        self.check_problem(problem)
        return problem

    def check_problem(self, problem: ProblemT) -> None:
        """Raises ValueError with one sentence if the problem does not fit this task's options."""

    def load_problems(self, path: Path) -> list[ProblemT]:
        """Reads the published file format of this task; JSON Lines are read for every task.

        Raises:
            ValueError: the format is unknown or a line is wrong.
        """
        raise ValueError(f"'{path}' is not a .jsonl file, the only format that {self.name} reads")

    # -- rules -----------------------------------------------------------------------------------
    @abstractmethod
    def reset(self, problem: ProblemT) -> StateT:
        """Returns the start state."""

    @abstractmethod
    def actions(self, state: StateT) -> tuple[str, ...]:
        """Returns the legal actions as text: fixed order, distinct, empty exactly at the end."""

    @abstractmethod
    def step(self, state: StateT, action: str) -> StateT:
        """Returns the successor; raises KeyError if the action is not legal."""

    def outcomes(self, state: StateT, action: str) -> tuple[tuple[float, StateT], ...]:
        """Returns every possible successor with its probability: chance is data, never a draw."""
        return ((1.0, self.step(state, action)),)

    def events(self, state: StateT) -> tuple[tuple[float, StateT], ...]:
        """Returns what can happen that nobody chose, as a distribution, for `gfn_envs.stochastic.RandomEvents`.

        By default one of the legal actions is played, each equally likely: a gust, another hand, one card more. An
        event must not make an episode longer than the horizon.
        """
        legal = self.actions(state)
        return tuple((p / len(legal), after) for action in legal for p, after in self.outcomes(state, action))

    def aliases(self, state: StateT) -> dict[str, str]:
        """Returns other accepted spellings of the legal actions, each with the legal action."""
        return {}

    def fail(self, state: StateT) -> StateT:
        """Returns the state after a text that names no legal action; by default nothing changes."""
        return state

    @abstractmethod
    def observe(self, state: StateT) -> str:
        """Returns the text that the player sees: self-contained, the goal included."""

    def memoryless(self) -> Task[ProblemT, StateT]:
        """Returns the same rules with self-contained texts, where the usual texts tell news only."""
        return self

    # -- scores ----------------------------------------------------------------------------------
    @abstractmethod
    def success(self, state: StateT) -> bool:
        """Says whether a terminal state is solved, judged exactly."""

    def step_reward(self, state: StateT, action: str, next_state: StateT) -> float:
        """Returns Gymnasium's reward of one step: 1 for reaching a solved end, otherwise 0."""
        return float(not self.actions(next_state) and self.success(next_state))

    def log_reward(self, state: StateT) -> float:
        """Returns log R > -inf of a terminal state, the target of a GFlowNet (natural log)."""
        return 0.0 if self.success(state) else LOG_REWARD_FLOOR

    def log_reward_so_far(self, state: StateT) -> float:
        """Returns the partial log-reward for forward-looking objectives, 0 everywhere if there is none.

        At an end it must equal `log_reward`, so that what is left to learn there is log 1 = 0.
        """
        return 0.0

    def solution(self, state: StateT) -> str:
        """Returns the canonical name of a terminal object: what counts as the same solution."""
        return repr(state)

    def details(self, state: StateT) -> dict[str, Any]:
        """Returns what `info` says of a state beside the entries of every environment.

        It must have the same keys in every state, values that nobody can change (str, numbers, tuples),
        and nothing that the player must not see.
        """
        return {}

    def end_scores(self, state: StateT) -> dict[str, float]:
        """Returns what evaluations average beside success at an end, each from 0 to 1: parts of it, or milder measures.

        It must have the same keys at every end.
        """
        return {}

    def stochasticity(self, state: StateT, action: str, next_state: StateT) -> dict[str, float]:
        """Returns how often each wrapper of `gfn_envs.stochastic` acted in a step, in expectation given its result."""
        return {}

    def parents(self, state: StateT) -> tuple[tuple[StateT, str], ...] | None:
        """Returns the incoming edges from reachable states, or None.

        None says that the state contains its history: every trajectory is an object of its own
        and log P_B = 0. Where histories merge, every *edge* counts, so that two actions from one
        parent are two entries.
        """
        return None

    def solve(self, problem: ProblemT) -> tuple[str, ...]:
        """Returns the names of all solutions, exactly; by default by enumeration."""
        from gfn_envs.exact import enumerate_states

        return enumerate_states(self, problem).solutions

    def expert_plans(self, problem: ProblemT) -> tuple[tuple[str, ...], ...]:
        """Returns some action sequences that succeed, for problems too large to list; () if none is known."""
        return ()

    def render_text(self, state: StateT) -> str:
        """Returns the picture for `render_mode="ansi"`."""
        return self.observe(state)

    def draw(self, state: StateT) -> Drawing:
        """Returns the picture for `render_mode` "rgb_array" and "human"; by default what `render_text` says."""
        return text_drawing(self.render_text(state), self.name)


def check_options(task_type: type[Any], options: Mapping[str, Any], others: tuple[str, ...] = ()) -> None:
    """Raises TypeError that names an unknown option, the nearest known one and all known ones."""
    known = [field.name for field in fields(task_type) if field.init] + list(others)
    for key in options:
        if key not in known:
            hint = did_you_mean(key, known)
            raise TypeError(f"{task_type.__name__} has no option {key!r}{hint} (options: {', '.join(known)})")
