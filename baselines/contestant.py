"""What all trained contestants share: a meter of what training uses up, and play by what was trained."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gfn_agents.language_model import LanguageModelPolicy
from gfn_envs.agents import Budget
from gfn_envs.rollout import ProbabilisticAgent


@dataclass
class Meter:
    """What training has used up, and its learning curve.

    Args:
        budget: what it may use.
        tokens: evaluated by a model; None where nobody counts them.
    """

    budget: Budget
    environment_steps: int = 0
    tokens: int | None = None
    curve: list[dict[str, float]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    cpu_started: float = field(default_factory=time.process_time)

    @property
    def seconds(self) -> float:
        """Wall-clock time since training began."""
        return time.monotonic() - self.started

    @property
    def used_up(self) -> bool:
        """Whether training must end."""
        return self.budget.used_up(self.environment_steps, self.tokens, self.seconds)

    def count_tokens(self, policy: LanguageModelPolicy) -> None:
        """Counts from now on the tokens that the model evaluates: to play, to learn, and to learn in less memory."""

        self.tokens = self.tokens or 0

        def hook(model: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
            self.tokens = (self.tokens or 0) + int(keywords["input_ids"].numel())

        policy.model.register_forward_pre_hook(hook, with_kwargs=True)

    def note(self, success: float) -> None:
        """Adds a row to the learning curve."""
        self.curve.append({"environment_steps": float(self.environment_steps), "success": success})

    def costs(self) -> dict[str, float]:
        """Returns what was used up: environment_steps, tokens where they are counted, cpu_seconds, seconds."""
        counted = {} if self.tokens is None else {"tokens": float(self.tokens)}
        return {
            "environment_steps": float(self.environment_steps),
            **counted,
            "cpu_seconds": time.process_time() - self.cpu_started,
            "seconds": self.seconds,
        }


class Contestant:
    """An agent that plays as its `player`, and knows what training it has cost.

    Attributes:
        costs: what training used up, as `Meter.costs` names it.
        curve: rows of environment_steps and success, the share of solved training episodes.
    """

    def __init__(self) -> None:
        self.costs: Mapping[str, float] = {}
        self.curve: list[dict[str, float]] = []

    def check_options(self, env_id: str, env_kwargs: Mapping[str, Any]) -> None:
        """Raises ValueError if it could not be trained on an environment with the options that it was made with."""

    @property
    def player(self) -> ProbabilisticAgent:
        """What was trained."""
        raise NotImplementedError

    def act(
        self, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]], rng: np.random.Generator
    ) -> list[str]:
        """Returns one sampled action for each observation."""
        return self.player.act(observations, admissible_actions, rng)

    def action_probabilities(
        self, observations: Sequence[str], admissible_actions: Sequence[Sequence[str]]
    ) -> list[np.ndarray]:
        """Returns the probabilities of the legal actions of each observation."""
        return self.player.action_probabilities(observations, admissible_actions)
