"""Replay: distinct past trajectories of each problem, drawn half from successes where there are any."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from gfn_envs.rollout import Trajectory, load_trajectories, save_trajectories


class ReplayBuffer:
    """A bounded store without duplicates, keyed by problem.

    Trajectories keep the log-reward that the environment gave, neither tempered nor scaled. When a
    problem's part is full, the oldest failure goes, or the oldest success if there is no failure.

    Args:
        capacity: most trajectories of one problem.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._stored: dict[str, dict[tuple[str, ...], Trajectory]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._stored.values()))

    def add(self, trajectories: Iterable[Trajectory]) -> None:
        """Stores trajectories that are not stored yet."""
        for trajectory in trajectories:
            part = self._stored.setdefault(trajectory.problem_id, {})
            part.setdefault(trajectory.actions, trajectory)
            if len(part) > self.capacity:
                failures = (actions for actions, stored in part.items() if not stored.success)
                del part[next(failures, next(iter(part)))]

    def sample(self, problem_id: str, count: int, rng: np.random.Generator) -> list[Trajectory]:
        """Returns up to `count` distinct trajectories of one problem, up to half of them successes."""
        part = list(self._stored.get(problem_id, {}).values())
        solved = [trajectory for trajectory in part if trajectory.success]
        failed = [trajectory for trajectory in part if not trajectory.success]
        chosen = _draw(solved, min(len(solved), max((count + 1) // 2, count - len(failed))), rng)
        return chosen + _draw(failed, min(len(failed), count - len(chosen)), rng)

    def save(self, path: Path) -> None:
        """Writes everything as JSON Lines, in the order of storage."""
        save_trajectories((t for part in self._stored.values() for t in part.values()), path)

    def load(self, path: Path) -> None:
        """Adds what `save` wrote."""
        self.add(load_trajectories(path))


def _draw(items: list[Trajectory], count: int, rng: np.random.Generator) -> list[Trajectory]:
    return [items[index] for index in rng.choice(len(items), size=count, replace=False)] if count else []
