"""Replay: distinct past trajectories of each problem.

Replay changes which trajectories are trained on and nothing else: the objectives are right off
policy, so their optimum stays. Log-probabilities are not stored, because a trainer always scores anew.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from gfn_envs.trajectory import Trajectory, load_trajectories, save_trajectories

ReplayKind = Literal["stratified", "reward"]


class ReplayBuffer:
    """A bounded store without duplicates, keyed by problem.

    Trajectories keep the log-reward that the environment gave, neither tempered nor scaled. When a
    problem's part is full, the oldest failure goes; if there is none, the oldest success of the solution
    that has most, so that a solution once found stays. Demonstrations are added as anything else is.

    Two filters keep out what adds little. They compare solved trajectories with solved ones and failures
    with failures, so that a failure never keeps its solved neighbour out.

    Args:
        capacity: most trajectories of one problem.
        kind: "stratified" draws half successes, where there are any; "reward" draws with probability
            in proportion to R^alpha within the problem, without replacement: prioritised replay of
            high rewards after Shen et al. 2023 (arXiv 2305.07170), with the proportional form of
            Schaul et al. 2015 (arXiv 1511.05952).
        alpha: exponent of "reward"; 0 draws uniformly.
        per_solution: most trajectories of one solution; None is no limit.
        min_distance: least edit distance in actions to every stored trajectory; 1 keeps out duplicates only.
    """

    def __init__(
        self,
        capacity: int,
        kind: ReplayKind = "stratified",
        alpha: float = 1.0,
        per_solution: int | None = None,
        min_distance: int = 1,
    ) -> None:
        if kind not in get_args(ReplayKind):
            raise ValueError(f"kind of replay must be one of {', '.join(get_args(ReplayKind))}, got {kind!r}")
        if not 0 <= alpha < math.inf:
            raise ValueError(f"alpha of replay must be finite and not negative, got {alpha}")
        for name, value in (("capacity", capacity), ("per_solution", per_solution), ("min_distance", min_distance)):
            if value is not None and value < 1:
                raise ValueError(f"{name} of replay must be at least 1, got {value}")
        self.capacity, self.kind, self.alpha = capacity, kind, alpha
        self.per_solution, self.min_distance = per_solution, min_distance
        self._stored: dict[str, dict[tuple[str, ...], Trajectory]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._stored.values()))

    def add(self, trajectories: Iterable[Trajectory]) -> None:
        """Stores trajectories that are not stored yet and that the filters let through."""
        for trajectory in trajectories:
            part = self._stored.setdefault(trajectory.problem_id, {})
            if trajectory.path in part or not self._adds(trajectory, part.values()):
                continue
            part[trajectory.path] = trajectory
            if len(part) > self.capacity:
                del part[_first_to_go(part.values())]

    def _adds(self, trajectory: Trajectory, stored: Iterable[Trajectory]) -> bool:
        if self.per_solution is None and self.min_distance == 1:
            return True
        alike = [other for other in stored if other.success == trajectory.success]
        same = sum(other.solution == trajectory.solution for other in alike)
        return (self.per_solution is None or same < self.per_solution) and all(
            edit_distance(trajectory.actions, other.actions) >= self.min_distance for other in alike
        )

    def sample(self, problem_id: str, count: int, rng: np.random.Generator) -> list[Trajectory]:
        """Returns up to `count` distinct trajectories of one problem, drawn as `kind` says."""
        part = list(self._stored.get(problem_id, {}).values())
        if self.kind == "reward":
            return _draw_by_reward(part, min(count, len(part)), self.alpha, rng)
        solved = [trajectory for trajectory in part if trajectory.success]
        failed = [trajectory for trajectory in part if not trajectory.success]
        chosen = _draw(solved, min(len(solved), max((count + 1) // 2, count - len(failed))), rng)
        return chosen + _draw(failed, min(len(failed), count - len(chosen)), rng)

    def save(self, path: Path) -> None:
        """Writes everything as JSON Lines, in the order of storage."""
        save_trajectories((t for part in self._stored.values() for t in part.values()), path)

    def load(self, path: Path) -> None:
        """Holds what `save` wrote, and nothing else; with the same options the next draws are the same."""
        self._stored.clear()
        self.add(load_trajectories(path))


def reward_probabilities(log_rewards: Sequence[float], alpha: float) -> np.ndarray:
    """Returns R^alpha, normalised to sum to 1: how likely each is to be drawn first."""
    scaled = alpha * np.asarray(log_rewards, dtype=float)
    weights = np.exp(scaled - scaled.max())
    return np.asarray(weights / weights.sum())


def edit_distance(first: Sequence[str], second: Sequence[str]) -> int:
    """Returns how many actions must be inserted, removed or exchanged to turn one sequence into the other."""
    row = list(range(len(second) + 1))
    for i, left in enumerate(first, start=1):
        diagonal, row[0] = row[0], i
        for j, right in enumerate(second, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (left != right))
    return row[-1]


def _first_to_go(stored: Iterable[Trajectory]) -> tuple[str, ...]:
    """Returns the path of the oldest failure, or else of the oldest success of the fullest solution."""
    listed = list(stored)
    counts = Counter(trajectory.solution for trajectory in listed)
    most = max(counts.values())
    return next(
        (t.path for t in listed if not t.success),
        next(t.path for t in listed if counts[t.solution] == most),
    )


def _draw(items: list[Trajectory], count: int, rng: np.random.Generator) -> list[Trajectory]:
    return [items[index] for index in rng.choice(len(items), size=count, replace=False)] if count else []


def _draw_by_reward(items: list[Trajectory], count: int, alpha: float, rng: np.random.Generator) -> list[Trajectory]:
    """Draws one after the other, each in proportion to R^alpha among those that are left."""
    left, chosen = list(items), []
    for draw in rng.random(count):
        cumulative = np.cumsum(reward_probabilities([item.final_log_reward for item in left], alpha))
        place = min(int(np.searchsorted(cumulative, draw * cumulative[-1], side="right")), len(left) - 1)
        chosen.append(left.pop(place))
    return chosen
