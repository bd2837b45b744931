"""Chance by random play, with its interval: the yardstick where a problem is too large to be listed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gfn_envs.exact import Analysis
from gfn_envs.rollout import draw_outcome
from gfn_envs.task import ProblemT, StateT, Task


def simulate(task: Task[ProblemT, StateT], problem: ProblemT, plays: int, rng: np.random.Generator) -> Analysis:
    """Returns what uniform legal play shows of a problem that is too large to list.

    Chance comes with its Wilson interval. The optimum is 1 where the task has an expert's plan; it, the solutions and
    Z stay unknown otherwise.

    Args:
        plays: episodes to play.
    """
    return analyse_plays(task, problem, random_plays(task, problem, plays, rng))


def random_plays(
    task: Task[ProblemT, StateT], problem: ProblemT, plays: int, rng: np.random.Generator
) -> list[tuple[StateT, float]]:
    """Returns the end of each of some episodes of uniform legal play, and its sum of Gymnasium's rewards."""
    played = []
    for _ in range(plays):
        state, total = task.reset(problem), 0.0
        while actions := task.actions(state):
            action = actions[int(rng.integers(len(actions)))]
            before, state = state, draw_outcome(task, state, action, rng)
            total += task.step_reward(before, action, state)
        played.append((state, total))
    return played


def analyse_plays(task: Task[ProblemT, StateT], problem: ProblemT, played: Sequence[tuple[StateT, float]]) -> Analysis:
    """Returns what the ends and returns of some random plays say, as `simulate` does."""
    plays, solved = len(played), sum(task.success(end) for end, _ in played)
    low, high = wilson_interval(solved, plays)
    return Analysis(
        problem_id=problem.id,
        chance=solved / plays,
        chance_low=low,
        chance_high=high,
        chance_return=sum(total for _, total in played) / plays,
        optimum=1.0 if task.expert_plans(problem) else math.nan,
        optimal_return=math.nan,
        n_solutions=math.nan,
        log_z=math.nan,
        n_states=math.nan,
        target_success=math.nan,
    )


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """Returns the 95 % interval of a probability (Wilson 1927), which is right at 0 and 1 too."""
    z2 = 1.959964**2
    centre = (successes + z2 / 2) / (trials + z2)
    half = math.sqrt(z2 * (successes * (trials - successes) / trials + z2 / 4)) / (trials + z2)
    return max(centre - half, 0.0), min(centre + half, 1.0)
