"""HyperGrid, the standard test case of GFlowNets, as a task of your own in under 100 lines.

A walker in a corner of a grid raises one coordinate at a time and stops where it likes (Bengio et
al. 2021, arXiv 2106.04399, section 4.1). Walks merge, so `parents` lists the incoming edges.

    gfn check examples.hypergrid:HyperGrid
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from gfn_envs import Problem, ProblemSet, Task


@dataclass(frozen=True, slots=True)
class Grid(Problem):
    """The grid: there is one problem for each size."""

    dimensions: int
    side: int

    @property
    def id(self) -> str:
        """Returns 'hypergrid/8x8'."""
        return "hypergrid/" + "x".join([str(self.side)] * self.dimensions)


@dataclass(frozen=True, slots=True)
class Walker:
    """Where the walker is, and whether it has stopped."""

    problem: Grid
    place: tuple[int, ...]
    stopped: bool = False


@dataclass(frozen=True)
class HyperGrid(Task[Grid, Walker]):
    """R = 0.1, 0.5 more in the outer half of every coordinate, and 2 more in the modes within it."""

    dimensions: int = 2
    side: int = 8

    name: ClassVar[str] = "hypergrid"
    problem_type: ClassVar[type[Grid]] = Grid
    charset: ClassVar[str] = " ,.0123456789PSWacdegiklnoprst"
    max_action_length: ClassVar[int] = 12
    stop_action: ClassVar[str] = "stop"

    def __post_init__(self) -> None:
        object.__setattr__(self, "horizon", self.dimensions * (self.side - 1) + 1)
        object.__setattr__(self, "max_actions", self.dimensions + 1)
        object.__setattr__(self, "max_observation_length", 40 + 6 * self.dimensions)

    def problems(self) -> ProblemSet[Grid]:
        """Returns the one problem."""
        return ProblemSet((Grid(self.dimensions, self.side),))

    def reset(self, problem: Grid) -> Walker:
        """Returns the walker in the corner."""
        return Walker(problem, (0,) * problem.dimensions)

    def actions(self, state: Walker) -> tuple[str, ...]:
        """Returns a step along each coordinate that has room, and stop."""
        if state.stopped:
            return ()
        return (*(f"raise {i}" for i, x in enumerate(state.place) if x < state.problem.side - 1), "stop")

    def step(self, state: Walker, action: str) -> Walker:
        """Raises one coordinate, or stops."""
        if action not in self.actions(state):
            raise KeyError(action)
        place = tuple(x + (action == f"raise {i}") for i, x in enumerate(state.place))
        return Walker(state.problem, place, stopped=action == "stop")

    def observe(self, state: Walker) -> str:
        """Returns the place."""
        return f"Place {', '.join(map(str, state.place))}. {'Stopped' if state.stopped else 'Walking'}."

    def success(self, state: Walker) -> bool:
        """Says whether the walker stopped in a mode."""
        return self.log_reward(state) > 0

    def log_reward(self, state: Walker) -> float:
        """Returns log R of the place (equation 9 of the paper, with R0 = 0.1, R1 = 0.5, R2 = 2)."""
        distances = [abs(x / (state.problem.side - 1) - 0.5) for x in state.place]
        return math.log(0.1 + 0.5 * all(d > 0.25 for d in distances) + 2.0 * all(0.3 < d < 0.4 for d in distances))

    log_reward_so_far = log_reward  # every place has its reward, whether or not the walker stops there

    def parents(self, state: Walker) -> tuple[tuple[Walker, str], ...]:
        """Returns the walker before its stop, or one step back along each coordinate."""
        if state.stopped:
            return ((Walker(state.problem, state.place), "stop"),)
        lower = [(i, tuple(x - (i == axis) for axis, x in enumerate(state.place))) for i in range(len(state.place))]
        return tuple((Walker(state.problem, place), f"raise {i}") for i, place in lower if min(place) >= 0)
