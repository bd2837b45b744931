"""Cheap agents for tests of benchmark runs: one that learns, and some that go wrong."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gfn_envs.agents import SIDE_BY_SIDE, Budget
from gfn_envs.files import write_whole
from gfn_envs.making import make_text_env
from gfn_envs.rollout import rollout


class Walker:
    """Walks towards NumberLine's goal with a probability that it learns; one number is its whole policy."""

    def __init__(self, start: float = 0.5, rate: float = 0.02) -> None:
        self.towards, self.rate = start, rate
        self.costs: dict[str, float] = {}
        self.curve: list[dict[str, float]] = []

    def learn(self, env_id: str, budget: Budget, seed: int, env_kwargs: Mapping[str, Any] | None = None) -> None:
        env, rng, steps = make_text_env(env_id, dict(env_kwargs or {})), np.random.default_rng(seed), 0
        while not budget.used_up(environment_steps=steps):
            played = rollout(env.task, self, [env.problems.sample(rng) for _ in range(4)], rng)
            steps += sum(len(trajectory.steps) for trajectory in played)
            self.towards = min(0.95, self.towards + self.rate * rng.random())
            success = sum(trajectory.success for trajectory in played) / len(played)
            self.curve.append({"environment_steps": float(steps), "success": success})
        self.costs = {"environment_steps": float(steps), "seconds": 1.0}

    def act(
        self, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]], rng: np.random.Generator
    ) -> list[str]:
        found = self.action_probabilities(observations, admissible_actions)
        return [str(rng.choice(a, p=p)) for a, p in zip(admissible_actions, found, strict=True)]

    def action_probabilities(
        self, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]]
    ) -> list[np.ndarray]:
        return [self._probabilities(*both) for both in zip(observations, admissible_actions, strict=True)]

    def _probabilities(self, text: str, legal: Sequence[str]) -> np.ndarray:
        numbers = re.match(r"Goal: (\d+)\. Start: \d+\. Position: (\d+)", text)
        if numbers is None:  # of another game it knows nothing
            return np.full(len(legal), 1 / len(legal))
        goal, position = map(int, numbers.groups())
        up = self.towards if goal > position else 1 - self.towards
        return np.array([1 - up, up])

    def save(self, folder: str | os.PathLike[str]) -> None:
        write_whole(Path(folder) / "walker.json", json.dumps(self.towards))

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Walker:
        return cls(json.loads((Path(folder) / "walker.json").read_text()))


class Silent(Walker):
    """Cannot say how it plays."""

    action_probabilities = None  # type: ignore[assignment]

    def act(
        self, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]], rng: np.random.Generator
    ) -> list[str]:
        return ["+" for _ in observations]


class Failing(Walker):
    """Raises while it learns, unless the file that REPAIRED names is there."""

    def learn(self, env_id: str, budget: Budget, seed: int, env_kwargs: Mapping[str, Any] | None = None) -> None:
        if not Path(os.environ.get("REPAIRED", "/nowhere")).exists():
            raise RuntimeError("the walker\nhas no legs")


class Killed(Walker):
    """Is killed while it learns, as a process is that takes all memory."""

    def learn(self, env_id: str, budget: Budget, seed: int, env_kwargs: Mapping[str, Any] | None = None) -> None:
        print("last words", flush=True)  # noqa: T201
        os.kill(os.getpid(), signal.SIGKILL)


class Asking(Walker):
    """Raises with what its process knows of the machine."""

    def learn(self, env_id: str, budget: Budget, seed: int, env_kwargs: Mapping[str, Any] | None = None) -> None:
        raise RuntimeError(f"{os.environ['OMP_NUM_THREADS']} thread, {os.environ[SIDE_BY_SIDE]} side by side")


class Leaving(Walker):
    """Ends the process."""

    def learn(self, env_id: str, budget: Budget, seed: int, env_kwargs: Mapping[str, Any] | None = None) -> None:
        raise SystemExit(3)


class Endless(Walker):
    """Never stops learning."""

    def learn(self, env_id: str, budget: Budget, seed: int, env_kwargs: Mapping[str, Any] | None = None) -> None:
        while True:
            time.sleep(0.05)


class Counting(Walker):
    """Counts in a file how often it was trained."""

    def learn(self, env_id: str, budget: Budget, seed: int, env_kwargs: Mapping[str, Any] | None = None) -> None:
        with Path(os.environ["COUNT"]).open("a") as file:
            file.write("x")
        super().learn(env_id, budget, seed, env_kwargs)
