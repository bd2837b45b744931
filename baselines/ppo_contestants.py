"""PPO and MaskablePPO as contestants: the agents of `baselines.ppo`, made anew for the environment they learn on.

RecurrentPPO of sb3-contrib is no contestant. An agent here acts on one text at a time and carries nothing from step
to step, and every environment has texts that need no memory; where the past matters nevertheless (hidden fields),
`history="all"` puts it into the text, for every agent alike. A recurrent state would be a second memory, which no
other contestant has.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from baselines.ppo import MaskablePPOAgent, PPOAgent
from baselines.tuned import tuned
from gfn_agents.agent import training_kwargs
from gfn_envs.agents import Budget, read_agent_file, write_agent_file


class PPOContestant:
    """PPO without masks.

    Args:
        options: keywords of `PPOAgent` over the tuned ones.
    """

    method: ClassVar[str] = "ppo"
    player: ClassVar[type[PPOAgent]] = PPOAgent

    def __init__(self, **options: Any) -> None:
        self.options = options
        self._agent: PPOAgent | None = None
        self._costs: dict[str, float] = {}
        self._curve: list[dict[str, float]] = []

    def learn(self, env_id: str, budget: Budget, seed: int, env_kwargs: Mapping[str, Any] | None = None) -> None:
        """Trains a new network; the last round of experience may go beyond the budget.

        Raises:
            ValueError: the budget is of tokens alone; this network reads bags of tokens and counts none.
        """
        if budget.environment_steps is None and budget.seconds is None:
            raise ValueError(f"{self.method} counts no tokens; give it a budget of environment_steps or seconds")
        started, cpu_started = time.monotonic(), time.process_time()
        self._agent = self.player(
            env_id, training_kwargs(dict(env_kwargs or {})), seed, **{**tuned(self.method, env_id), **self.options}
        )
        self._curve, steps = [], 0
        while not budget.used_up(environment_steps=steps, seconds=time.monotonic() - started):
            row = self._agent.learn(1)[-1]  # one round of experience
            steps = row["env_steps"]
            if not math.isnan(row["success"]):  # else no episode ended in this round
                self._curve.append({"environment_steps": float(steps), "success": row["success"]})
        self._costs = {
            "environment_steps": float(steps),
            "cpu_seconds": time.process_time() - cpu_started,
            "seconds": time.monotonic() - started,
        }

    @property
    def costs(self) -> Mapping[str, float]:
        """What training used up: environment_steps (illegal attempts included), cpu_seconds, seconds."""
        return self._costs

    @property
    def curve(self) -> list[dict[str, float]]:
        """Rows of environment_steps and success, the share of solved training episodes."""
        return self._curve

    def act(
        self, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]], rng: np.random.Generator
    ) -> list[str]:
        """Returns one sampled action for each observation."""
        return self._trained.act(observations, admissible_actions, rng)

    def action_probabilities(
        self, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]]
    ) -> list[np.ndarray]:
        """Returns the probabilities of the legal actions of each observation."""
        return self._trained.action_probabilities(observations, admissible_actions)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the network, and how it was made; the training problems are left out."""
        trained = self._trained
        kwargs = {name: value for name, value in trained.arguments["env_kwargs"].items() if name != "problems"}
        trained.arguments["env_kwargs"] = kwargs
        trained.save(Path(folder) / "policy")
        write_agent_file(folder, self, {"options": self.options, "costs": self._costs, "curve": self._curve})

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> PPOContestant:
        """Returns the agent that `save` wrote.

        Raises:
            ValueError: the folder holds no such agent.
        """
        values = read_agent_file(folder)
        try:
            agent = cls(**values["options"])
            agent._costs, agent._curve = dict(values["costs"]), list(values["curve"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"'{folder}' holds no agent that {cls.__name__} saved ({error!r})") from None
        agent._agent = cls.player.load(Path(folder) / "policy")
        return agent

    @property
    def _trained(self) -> PPOAgent:
        if self._agent is None:
            raise ValueError(f"{self.method} has no network before it knows its environment; call learn or load first")
        return self._agent


class MaskablePPOContestant(PPOContestant):
    """PPO whose mask keeps it on legal actions."""

    method = "maskable_ppo"
    player = MaskablePPOAgent
