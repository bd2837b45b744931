"""PPO, MaskablePPO and RecurrentPPO as contestants: their agents, made anew for the environment they learn on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any, ClassVar, get_type_hints

from baselines.contestant import Contestant, Meter
from baselines.ppo import SIZES, MaskablePPOAgent, PPOAgent
from baselines.recurrent_ppo import RecurrentPPOAgent
from baselines.tuned import tuned
from gfn_agents.agent import training_kwargs
from gfn_agents.config import check_numbers, check_sizes
from gfn_envs.agents import Budget, read_agent_file, write_agent_file

_OF_THE_RUN = ("env_id", "env_kwargs", "seed", "return")
"""Hints of a PPO agent that are no options of a contestant: the environment and the seed are those of its run."""


class PPOContestant(Contestant):
    """PPO without masks.

    Args:
        options: keywords of `PPOAgent` over the tuned ones.
    """

    method: ClassVar[str] = "ppo"
    algorithm: ClassVar[type[PPOAgent]] = PPOAgent

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options
        self._agent: PPOAgent | None = None

    def check_options(self, env_id: str, env_kwargs: Mapping[str, Any]) -> None:
        """Raises ValueError for an option that the algorithm does not have, or that is not of its type."""
        hints = get_type_hints(self.algorithm.__init__)
        known = {name: hint for name, hint in hints.items() if name not in _OF_THE_RUN}
        for name in self.options:
            if name not in known:
                raise ValueError(f"{self.method} has no option {name!r}; options are {', '.join(known)}")
        check_numbers(known, self.options)
        check_sizes(self.options, SIZES)

    def learn(self, env_id: str, budget: Budget, seed: int, env_kwargs: Mapping[str, Any] | None = None) -> None:
        """Trains a new network; the last round of experience may go beyond the budget.

        Raises:
            ValueError: the budget is of tokens alone; this network reads bags of tokens and counts none.
        """
        if budget.environment_steps is None and budget.seconds is None:
            raise ValueError(f"{self.method} counts no tokens; give it a budget of environment_steps or seconds")
        meter = Meter(budget)
        self._agent = self.algorithm(
            env_id, training_kwargs(dict(env_kwargs or {})), seed, **{**tuned(self.method, env_id), **self.options}
        )
        ended, solved = 0, 0.0
        while not meter.used_up:
            row = self._agent.learn(1)[-1]  # one round of experience
            meter.environment_steps = row["environment_steps"]  # illegal attempts included
            if row["episodes"]:
                ended, solved = ended + row["episodes"], solved + row["episodes"] * row["success"]
            if ended >= self._agent.arguments["num_envs"]:  # an episode each, and not the short ones alone
                meter.note(solved / ended)
                ended, solved = 0, 0.0
        self.costs, self.curve = meter.costs(), meter.curve

    @property
    def player(self) -> PPOAgent:
        """The trained network.

        Raises:
            ValueError: there is none yet.
        """
        if self._agent is None:
            raise ValueError(f"{self.method} has no network before it knows its environment; call learn or load first")
        return self._agent

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes the network, and how it was made; the training problems are left out."""
        trained = copy(self.player)
        kwargs = {name: value for name, value in trained.arguments["env_kwargs"].items() if name != "problems"}
        trained.arguments = {**trained.arguments, "env_kwargs": kwargs}
        trained.save(Path(folder) / "policy")
        write_agent_file(folder, self, {"options": self.options, "costs": self.costs, "curve": self.curve})

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> PPOContestant:
        """Returns the agent that `save` wrote.

        Raises:
            ValueError: the folder holds no such agent.
        """
        values = read_agent_file(folder)
        try:
            agent = cls(**values["options"])
            agent.costs, agent.curve = dict(values["costs"]), list(values["curve"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"'{folder}' holds no agent that {cls.__name__} saved ({error!r})") from None
        agent._agent = cls.algorithm.load(Path(folder) / "policy")
        return agent


class MaskablePPOContestant(PPOContestant):
    """PPO whose mask keeps it on legal actions."""

    method = "maskable_ppo"
    algorithm = MaskablePPOAgent


class RecurrentPPOContestant(PPOContestant):
    """PPO with a memory, for texts that hold the history: it reads them turn by turn."""

    method = "recurrent_ppo"
    algorithm = RecurrentPPOAgent
