"""WithHistory: a task whose texts show the turns so far, for agents that have no memory of their own.

`gfn_envs.histories.Transcript` gives the same texts as a wrapper of an environment. Here the history is
part of the state, so that rollouts, training and everything exact see it too, through
`gym.make(id, history="all")`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, NamedTuple

from gfn_envs.env import ATTEMPTS_PER_STEP
from gfn_envs.histories import ILLEGAL_SHOWN, PLAYED, Past, transcript
from gfn_envs.task import Problem, ProblemT, StateT, Task
from gfn_envs.wrapped import Wrapped

ALL_TURNS = "all"


class HistoryState(NamedTuple, Generic[StateT]):
    """A state of the inner task, and every earlier observation with the action that followed it."""

    inner: StateT
    past: Past = ()

    @property
    def problem(self) -> Problem:
        """The inner state's problem."""
        problem: Problem = self.inner.problem  # type: ignore[attr-defined]  # every state has its problem
        return problem


@dataclass(frozen=True)
class WithHistory(Wrapped[ProblemT, HistoryState[Any]]):
    """Full-history observations: earlier texts, each with its action as `> action`, then the current one.

    The state holds its history, so that every trajectory of a deterministic task is an object of its own:
    the states are a tree, P_B = 1, and where the inner task merges n(x) trajectories into x, the exact
    sampler draws x in proportion to n(x) R(x). Rules, rewards and names of solutions are the inner task's.

    An attempt without a legal action is a turn as well, shown as `> (illegal action)`.

    Args:
        task: the inner task. Put the history outermost: a wrapper around it rewrites earlier turns too.
        steps: most turns that are shown, the last ones; None shows all. The state holds all in any case.
    """

    steps: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps is not None and (type(self.steps) is not int or self.steps < 0):
            raise ValueError(f"steps must be an integer of at least 0, or None for all turns, got {self.steps!r}")
        inner: Any = self.task
        while isinstance(inner, Wrapped):
            if isinstance(inner, WithHistory):
                raise ValueError("WithHistory cannot hold another one; use one history at most")
            inner = inner.task

    def inner(self, state: HistoryState[Any]) -> Any:
        """Returns the state without its history."""
        return state.inner

    @property
    def charset(self) -> str:  # type: ignore[override]  # as in Wrapped
        """Characters of the inner task and of the transcript."""
        return "".join(sorted({*self.task.charset, *ILLEGAL_SHOWN, *PLAYED, "\n"}))

    @property
    def max_observation_length(self) -> int:  # type: ignore[override]  # as in Wrapped
        """Length of the most turns that an environment allows, illegal attempts included, each the longest."""
        most = ATTEMPTS_PER_STEP * self.horizon
        shown = most if self.steps is None else min(self.steps, most)
        action = max(self.task.max_action_length, len(ILLEGAL_SHOWN))
        now = self.task.max_observation_length
        return shown * (now + action + len(f"\n{PLAYED}\n")) + now

    # -- rules -----------------------------------------------------------------------------------
    def reset(self, problem: ProblemT) -> HistoryState[Any]:
        """Returns the start state, without history."""
        return HistoryState(self.task.reset(problem))

    def step(self, state: HistoryState[Any], action: str) -> HistoryState[Any]:
        """Returns the inner successor with one turn more."""
        return HistoryState(self.task.step(state.inner, action), self._after(state, action))

    def outcomes(self, state: HistoryState[Any], action: str) -> tuple[tuple[float, HistoryState[Any]], ...]:
        """Returns the inner successors, each with one turn more."""
        inner = self.task.outcomes(state.inner, action)
        past = self._after(state, action)
        return tuple((probability, HistoryState(after, past)) for probability, after in inner)

    def fail(self, state: HistoryState[Any]) -> HistoryState[Any]:
        """Returns the inner task's state after a text that names no legal action, with a turn that says so."""
        return HistoryState(self.task.fail(state.inner), self._after(state, ILLEGAL_SHOWN))

    def events(self, state: HistoryState[Any]) -> tuple[tuple[float, HistoryState[Any]], ...]:
        """Returns the inner task's events, which are no turns of the player's."""
        return tuple((chance, HistoryState(after, state.past)) for chance, after in self.task.events(state.inner))

    def _after(self, state: HistoryState[Any], action: str) -> Past:
        return (*state.past, (self.task.observe(state.inner), action))

    def observe(self, state: HistoryState[Any]) -> str:
        """Returns the last turns and the current text of the inner task."""
        hidden = 0 if self.steps is None else max(len(state.past) - self.steps, 0)
        return transcript(state.past[hidden:], self.task.observe(state.inner))

    def memoryless(self) -> WithHistory[ProblemT]:
        """Returns itself: texts that tell news only are as good as any in a history.

        With fewer `steps` than the game has, what such texts said earlier is missing, as was asked for.
        """
        return self

    def parents(self, state: HistoryState[Any]) -> None:
        """Returns None: the state contains its history."""
        return

    def expert_plans(self, problem: ProblemT) -> tuple[tuple[str, ...], ...]:
        """Returns the inner task's plans, which succeed here too."""
        return self.task.expert_plans(problem)


def add_history(task: Task[Any, Any], history: Any) -> WithHistory[Any]:
    """Returns a task that shows its history.

    Args:
        task: the inner task.
        history: how many turns are shown, or "all".

    Raises:
        ValueError: it is neither.
    """
    if history != ALL_TURNS and (type(history) is not int or history < 0):
        raise ValueError(f"history must be a number of turns, at least 0, or {ALL_TURNS!r}, got {history!r}")
    return WithHistory(task, None if history == ALL_TURNS else history)
