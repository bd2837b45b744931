"""Positions: what a shell shows of a state, worked out once where a state is come to again.

Rules are pure, so the legal actions, the text and the rewards of a state never change. A graph of the
positions visited remembers them: a step that was made before costs one lookup, whatever the rules cost.
What is not come to again is not kept, and what is kept is bounded.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from functools import lru_cache
from itertools import accumulate
from types import MappingProxyType
from typing import Any, Generic, NamedTuple

import numpy as np

from gfn_envs.task import ProblemT, StateT, Task

_BUDGET = 100_000_000
_PATIENCE = 8
_POSITION_COST, _ACTION_COST = 1000, 80
"""Bytes of the positions of a task that are kept, about what one takes beside its text, and how many
positions may be missed for each that is kept before others are kept."""


class Turn(NamedTuple):
    """What one step of an episode gave; the defaults say that nothing was played."""

    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    cause: str | None = None
    action: str | None = None
    invalid: bool = False
    transition_log_prob: float = 0.0
    stochasticity: Mapping[str, float] = MappingProxyType({})


class Position(Generic[StateT]):
    """A state with all that is shown of it.

    Attributes:
        onward: for legal actions the list of their outcomes, each a `Step` once it was drawn, before that
            its probability and state, beside the sums of the probabilities; None until the position is
            come to again.
    """

    __slots__ = ("actions", "details", "observation", "onward", "state", "success")

    def __init__(self, task: Task[Any, StateT], state: StateT) -> None:
        self.state = state
        self.actions = task.actions(state)
        self.success = not self.actions and task.success(state)
        self.observation = task.observe(state)
        self.details = task.details(state)
        self.onward: dict[str, tuple[list[Any], list[float]]] | None = None


class Step(NamedTuple, Generic[StateT]):
    """One thing that an action can lead to: its probability, where, and what the shell says of it."""

    probability: float
    position: Position[StateT]
    turn: Turn


class Positions(Generic[ProblemT, StateT]):
    """The positions of a task that were visited more than once, and how one leads to another."""

    def __init__(self, task: Task[ProblemT, StateT]) -> None:
        self.task = task
        self._kept: dict[StateT, Position[StateT]] = {}
        self._starts: dict[ProblemT, tuple[str, Position[StateT]]] = {}
        self._cost = self._missed = 0

    def start(self, problem: ProblemT) -> tuple[str, Position[StateT]]:
        """Returns a problem's id and its start."""
        known = self._starts.get(problem)
        if known is None:
            state = self.task.reset(problem)
            if not self._room():
                return problem.id, Position(self.task, state)
            known = self._starts[problem] = problem.id, self._keep(state)
        elif known[1].onward is None:
            known[1].onward = {}
        return known

    def follow(self, position: Position[StateT], action: str, rng: np.random.Generator) -> Step[StateT]:
        """Returns where a legal action leads, drawn from `rng` where there is chance.

        Raises:
            KeyError: the action is not legal.
        """
        onward = position.onward
        known = None if onward is None else onward.get(action)
        if known is None:
            known = self._outcomes(position.state, action)
            if onward is not None and self._room():
                onward[action] = known
        outcomes, sums = known
        index = 0 if len(outcomes) == 1 else bisect_right(sums, rng.random(), hi=len(sums) - 1)
        step = outcomes[index]
        if type(step) is not Step:
            return self._explore(position, action, outcomes, index)
        if step.position.onward is None:
            step.position.onward = {}
        remembered: Step[StateT] = step
        return remembered

    def _outcomes(self, state: StateT, action: str) -> tuple[list[Any], list[float]]:
        if self.task.deterministic:
            return [(1.0, self.task.step(state, action))], []
        outcomes = self.task.outcomes(state, action)
        return list(outcomes), list(accumulate(probability for probability, _ in outcomes))

    def _explore(self, before: Position[StateT], action: str, outcomes: list[Any], index: int) -> Step[StateT]:
        """Makes the step to an outcome that was not come to before."""
        task, (probability, state) = self.task, outcomes[index]
        keep = before.onward is not None and self._room()
        after = self._keep(state) if keep else Position(task, state)
        reward = task.step_reward(before.state, action, state)
        acted = task.stochasticity(before.state, action, state)
        cause = None if after.actions else "solved" if after.success else "failed"
        turn = Turn(reward, not after.actions, False, cause, action, False, math.log(probability), acted)
        step = Step(probability, after, turn)
        if keep:
            outcomes[index] = step
        return step

    def _keep(self, state: StateT) -> Position[StateT]:
        """Returns the position that is kept of a state; a hash of a long state costs more than many rules."""
        position = self._kept.get(state)
        if position is None:
            position = self._kept[state] = Position(self.task, state)
            self._cost += _POSITION_COST + len(position.observation) + _ACTION_COST * len(position.actions)
        return position

    def _room(self) -> bool:
        """Says whether more can be kept; starts anew once what is kept has been of little use."""
        if self._cost < _BUDGET:
            return True
        self._missed += 1
        if self._missed > _PATIENCE * len(self._kept):
            # Links go too, or a position still played would hold all that it leads to.
            for position in self._kept.values():
                position.onward = None
            self._kept.clear()
            self._starts.clear()
            self._cost = self._missed = 0
        return False


def positions_of(task: Task[ProblemT, StateT]) -> Positions[ProblemT, StateT]:
    """Returns the positions of a task, which all its environments in a process share."""
    try:
        return _shared_positions(task)
    except TypeError:  # a task of somebody else whose options have no hash
        return Positions(task)


@lru_cache(maxsize=16)
def _shared_positions(task: Task[ProblemT, StateT]) -> Positions[ProblemT, StateT]:
    return Positions(task)
