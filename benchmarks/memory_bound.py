"""How often the best player finds the goal in the games of the memory suite, with a memory and without.

All that a player ever reads there is what it did. So with a memory it can do no better than to follow one list of
actions. Without one it reads the newest turn alone: it plays + with one probability at first, with another after a +
and with a third after a -. All lists are tried, and all probabilities on a grid of twentieths.

    python benchmarks/memory_bound.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from baselines.suites import Arena, read_suite
from gfn_envs.stochastic import ActionNoise
from gfn_envs.task import Task
from gfn_envs.tasks.numberline import NumberLine, NumberLineProblem

GRID = np.linspace(0, 1, 21)
FIRST = "first"
"""In the place of the last action, where there was none yet."""
Chances = Mapping[str, np.ndarray]
"""The probability of + after each last action, for each player, shape (players,)."""


def solved(task: Task[Any, Any], problems: Sequence[NumberLineProblem], steps: Sequence[Chances]) -> np.ndarray:
    """Returns the share of problems that each player solves, shape (players,).

    Args:
        task: the rules, nothing hidden.
        problems: all that look alike.
        steps: what the players do in each step.
    """
    total = np.zeros(len(steps[0][FIRST]))
    for problem in problems:
        here = {(task.reset(problem), FIRST): np.ones_like(total)}
        for chances in steps:
            after: dict[Any, np.ndarray] = {}
            for (state, last), weight in here.items():
                for action, chance in (("+", chances[last]), ("-", 1 - chances[last])):
                    for probability, successor in task.outcomes(state, action):
                        mass = probability * weight * chance
                        if task.success(successor):
                            total += mass
                        elif task.actions(successor):
                            after[successor, action] = after.get((successor, action), 0.0) + mass
            here = after
    return total / len(problems)


def without_memory(task: Task[Any, Any], problems: Sequence[NumberLineProblem]) -> float:
    """Returns the share of alike problems that the best reader of the newest turn solves."""
    chances = [grid.ravel() for grid in np.meshgrid(GRID, GRID, GRID)]
    return float(solved(task, problems, [dict(zip((FIRST, "+", "-"), chances, strict=True))] * task.horizon).max())


def with_memory(task: Task[Any, Any], problems: Sequence[NumberLineProblem]) -> float:
    """Returns the share of alike problems that the best reader of all turns solves."""
    lists = np.array(list(product((0.0, 1.0), repeat=task.horizon)))
    return float(solved(task, problems, [dict.fromkeys((FIRST, "+", "-"), step) for step in lists.T]).max())


def bounds(arena: Arena) -> tuple[float, float]:
    """Returns the share of an environment's problems that can be solved without a memory, and with one."""
    line = NumberLine(**{name: value for name, value in arena.kwargs.items() if name in ("low", "high", "horizon")})
    noise = arena.kwargs["stochasticity"].get("ActionNoise")
    task: Task[Any, Any] = ActionNoise(line, **noise) if noise else line
    places = range(line.low, line.high + 1)
    problems = [NumberLineProblem(start, goal, line.low, line.high) for start, goal in product(places, places)]
    alike = [problem for problem in problems if problem.start != problem.goal]
    return without_memory(task, alike), with_memory(task, alike)


def main() -> None:
    """Prints the bounds of the suite's environments."""
    for arena in read_suite("memory").environments:
        without, best = bounds(arena)
        print(f"{arena.name}: {without:.3f} without a memory, {best:.3f} with one")


if __name__ == "__main__":
    main()
