"""Wrapped: a task that hands everything through to the task it holds, the base of tasks around tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gfn_envs.drawing import Drawing
from gfn_envs.task import Presets, ProblemT, StateT, Task

if TYPE_CHECKING:
    from gfn_envs.problems import ProblemSource


@dataclass(frozen=True)
class Wrapped(Task[ProblemT, StateT]):
    """A task that hands everything through to the task it holds.

    Its states are the inner task's, unless `inner` is overridden, and then `reset`, `step`, `outcomes`,
    `events`, `parents` and `fail` with it, which make states.

    Args:
        task: the inner task.
    """

    task: Task[ProblemT, Any]

    def __post_init__(self) -> None:
        if not isinstance(self.task, Task):
            raise TypeError(f"task must be a Task, got {type(self.task).__name__}; of an environment pass env.task")

    def inner(self, state: StateT) -> Any:
        """Returns the inner task's state that a state of this task has inside."""
        return state

    # A plain task has one value of these for its class, a wrapper that of the task it holds.
    @property
    def name(self) -> str:  # type: ignore[override]
        """Name of the inner task, which is part of the problems' ids."""
        return self.task.name

    @property
    def problem_type(self) -> type[Any]:  # type: ignore[override]
        """Dataclass of the inner task's problems."""
        return self.task.problem_type

    @property
    def charset(self) -> str:  # type: ignore[override]
        """Characters of the inner task."""
        return self.task.charset

    @property
    def deterministic(self) -> bool:  # type: ignore[override]
        """Whether the inner task is."""
        return self.task.deterministic

    @property
    def stop_action(self) -> str | None:  # type: ignore[override]
        """The inner task's action that ends an episode anywhere."""
        return self.task.stop_action

    @property
    def difficulties(self) -> Presets:  # type: ignore[override]
        """Presets of the inner task's options."""
        return self.task.difficulties

    @property
    def horizon(self) -> int:  # type: ignore[override]
        """Horizon of the inner task."""
        return self.task.horizon

    @property
    def max_actions(self) -> int:  # type: ignore[override]
        """Most legal actions of the inner task."""
        return self.task.max_actions

    @property
    def max_observation_length(self) -> int:  # type: ignore[override]
        """Longest observation of the inner task."""
        return self.task.max_observation_length

    @property
    def max_action_length(self) -> int:  # type: ignore[override]
        """Longest action of the inner task."""
        return self.task.max_action_length

    # -- problems --------------------------------------------------------------------------------
    def problems(self) -> ProblemSource[ProblemT]:
        """Returns the inner task's problems."""
        return self.task.problems()

    def problem_from_json(self, data: Mapping[str, Any]) -> ProblemT:
        """Builds a problem of the inner task."""
        return self.task.problem_from_json(data)

    def check_problem(self, problem: ProblemT) -> None:
        """Raises ValueError if the problem does not fit the inner task's options."""
        self.task.check_problem(problem)

    def load_problems(self, path: Path) -> list[ProblemT]:
        """Reads the inner task's file format."""
        return self.task.load_problems(path)

    # -- rules -----------------------------------------------------------------------------------
    def reset(self, problem: ProblemT) -> StateT:
        """Returns the inner task's start state."""
        start: StateT = self.task.reset(problem)
        return start

    def actions(self, state: StateT) -> tuple[str, ...]:
        """Returns the inner task's legal actions."""
        return self.task.actions(self.inner(state))

    def step(self, state: StateT, action: str) -> StateT:
        """Returns the inner task's successor."""
        successor: StateT = self.task.step(state, action)
        return successor

    def outcomes(self, state: StateT, action: str) -> tuple[tuple[float, StateT], ...]:
        """Returns the inner task's successors."""
        return self.task.outcomes(state, action)

    def events(self, state: StateT) -> tuple[tuple[float, StateT], ...]:
        """Returns the inner task's events."""
        return self.task.events(state)

    def aliases(self, state: StateT) -> dict[str, str]:
        """Returns the inner task's other spellings."""
        return self.task.aliases(self.inner(state))

    def fail(self, state: StateT) -> StateT:
        """Returns the inner task's state after a text that names no legal action."""
        failed: StateT = self.task.fail(state)
        return failed

    def observe(self, state: StateT) -> str:
        """Returns the inner task's text."""
        return self.task.observe(self.inner(state))

    def memoryless(self) -> Wrapped[ProblemT, StateT]:
        """Returns the wrapper around the inner task with self-contained texts."""
        return replace(self, task=self.task.memoryless())

    # -- scores ----------------------------------------------------------------------------------
    def success(self, state: StateT) -> bool:
        """Says whether the inner task is solved."""
        return self.task.success(self.inner(state))

    def step_reward(self, state: StateT, action: str, next_state: StateT) -> float:
        """Returns the inner task's reward of the step."""
        return self.task.step_reward(self.inner(state), action, self.inner(next_state))

    def log_reward(self, state: StateT) -> float:
        """Returns the inner task's log R."""
        return self.task.log_reward(self.inner(state))

    def log_reward_so_far(self, state: StateT) -> float:
        """Returns the inner task's partial log-reward."""
        return self.task.log_reward_so_far(self.inner(state))

    def solution(self, state: StateT) -> str:
        """Returns the inner task's name of the object."""
        return self.task.solution(self.inner(state))

    def stochasticity(self, state: StateT, action: str, next_state: StateT) -> dict[str, float]:
        """Returns what the inner task's wrappers did in the step."""
        return self.task.stochasticity(self.inner(state), action, self.inner(next_state))

    def details(self, state: StateT) -> dict[str, Any]:
        """Returns the inner task's entries of `info`."""
        return self.task.details(self.inner(state))

    def end_scores(self, state: StateT) -> dict[str, float]:
        """Returns what evaluations of the inner task average beside success."""
        return self.task.end_scores(self.inner(state))

    def parents(self, state: StateT) -> tuple[tuple[StateT, str], ...] | None:
        """Returns the inner task's incoming edges."""
        return self.task.parents(state)

    def solve(self, problem: ProblemT) -> tuple[str, ...]:
        """Returns the inner task's solutions: a wrapper that opens or closes a way to one overrides this."""
        return self.task.solve(problem)

    def expert_plans(self, problem: ProblemT) -> tuple[tuple[str, ...], ...]:
        """Returns none: what succeeds inside need not succeed by the wrapper's rules."""
        return ()

    def render_text(self, state: StateT) -> str:
        """Returns the inner task's picture, which is for who watches: it hides and rewrites nothing."""
        return self.task.render_text(self.inner(state))

    def draw(self, state: StateT) -> Drawing:
        """Returns the inner task's picture, as `render_text` does."""
        return self.task.draw(self.inner(state))
