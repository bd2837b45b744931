"""Options of a training run, in a module without torch, so that the command line reads them at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

ObjectiveName = Literal["vargrad", "trajectory_balance"]
RegressionName = Literal["huber", "squared"]


@dataclass(frozen=True)
class TrainConfig:
    """Options of a training run.

    Args:
        steps: optimizer steps.
        problems_per_step: problems drawn for each step.
        samples_per_problem: trajectories sampled on each of them.
        objective: what is made zero.
        regression: loss on the residuals.
        beta: the target is proportional to R^beta.
        learning_rate: of the model.
        flow_learning_rate: of the flow head, which gives log Z.
        max_grad_norm: gradients are clipped to this norm.
        temperature: sampling temperature of the behaviour policy.
        epsilon: probability of a uniformly random legal action in the behaviour policy.
        replay_per_problem: stored trajectories added to each problem of a step; 0 is no replay.
        replay_capacity: most stored trajectories of one problem.
        demonstrations_per_problem: solver trajectories put into replay when a problem first comes up.
        checkpoint_every: steps between checkpoints.
        seed: of problems, sampling and replay.
    """

    steps: int = 200
    problems_per_step: int = 4
    samples_per_problem: int = 8
    objective: ObjectiveName = "vargrad"
    regression: RegressionName = "huber"
    beta: float = 1.0
    learning_rate: float = 3e-4
    flow_learning_rate: float = 1e-2
    max_grad_norm: float = 1.0
    temperature: float = 1.0
    epsilon: float = 0.02
    replay_per_problem: int = 4
    replay_capacity: int = 64
    demonstrations_per_problem: int = 0
    checkpoint_every: int = 50
    seed: int = 0


def check_config(config: TrainConfig) -> None:
    """Raises ValueError with one sentence if an option makes no sense."""
    for name in ("steps", "problems_per_step", "samples_per_problem", "replay_capacity", "checkpoint_every"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name} must be at least 1, got {getattr(config, name)}")
    for name in ("replay_per_problem", "demonstrations_per_problem", "temperature", "seed"):
        if getattr(config, name) < 0:
            raise ValueError(f"{name} must not be negative, got {getattr(config, name)}")
    for name in ("beta", "learning_rate", "flow_learning_rate", "max_grad_norm"):
        if not 0 < getattr(config, name) < math.inf:
            raise ValueError(f"{name} must be positive, got {getattr(config, name)}")
    if not 0 <= config.epsilon <= 1:
        raise ValueError(f"epsilon must be from 0 to 1, got {config.epsilon}")
    for name, known in (("objective", ObjectiveName), ("regression", RegressionName)):
        if getattr(config, name) not in get_args(known):
            raise ValueError(f"{name} must be one of {', '.join(get_args(known))}, got {getattr(config, name)!r}")
    if config.objective == "vargrad" and config.samples_per_problem < 2:
        raise ValueError("vargrad needs at least 2 trajectories per problem, got 1; raise samples_per_problem")
    if config.demonstrations_per_problem and not config.replay_per_problem:
        raise ValueError("demonstrations are drawn through replay; set replay_per_problem to at least 1")
