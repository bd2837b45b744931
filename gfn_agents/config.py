"""Options of a training run, in a module without torch, so that the command line reads them at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

ObjectiveName = Literal[
    "vargrad",
    "trajectory_balance",
    "detailed_balance",
    "sub_trajectory_balance",
    "forward_looking_detailed_balance",
    "forward_looking_sub_trajectory_balance",
    "modified_detailed_balance",
    "modified_sub_trajectory_balance",
    "relative_trajectory_balance",
    "reinforce",
    "grpo",
    "ppo_clip",
]
RegressionName = Literal["huber", "squared", "shifted_cosh"]
BackwardName = Literal["uniform", "learned"]


@dataclass(frozen=True)
class TrainConfig:
    """Options of a training run.

    Args:
        steps: optimizer steps.
        problems_per_step: problems drawn for each step.
        samples_per_problem: trajectories sampled on each of them.
        objective: what is made zero, or for reinforce, grpo and ppo_clip large.
        regression: loss on the residuals.
        subtb_lambda: in sub-trajectory balance a part of n steps weighs subtb_lambda^n.
        backward: P_B where histories merge: uniform over the incoming edges, or learned by the policy.
        clip_range: of the probability ratio in grpo and ppo_clip.
        updates_per_batch: optimizer steps on the same trajectories.
        beta: the target is proportional to R^beta.
        learning_rate: of the model.
        flow_learning_rate: of the flow head, which gives log F, and so log Z.
        max_grad_norm: gradients are clipped to this norm.
        max_steps: episodes that take longer break off after so many steps and are learned from as they are.
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
    subtb_lambda: float = 0.9
    backward: BackwardName = "uniform"
    clip_range: float = 0.2
    updates_per_batch: int = 1
    beta: float = 1.0
    learning_rate: float = 3e-4
    flow_learning_rate: float = 1e-2
    max_grad_norm: float = 1.0
    max_steps: int | None = None
    temperature: float = 1.0
    epsilon: float = 0.02
    replay_per_problem: int = 4
    replay_capacity: int = 64
    demonstrations_per_problem: int = 0
    checkpoint_every: int = 50
    seed: int = 0


def check_config(config: TrainConfig) -> None:
    """Raises ValueError with one sentence if an option makes no sense, whatever the task."""
    counts = ("steps", "problems_per_step", "samples_per_problem", "updates_per_batch", "replay_capacity")
    for name in (*counts, "checkpoint_every", *(("max_steps",) if config.max_steps is not None else ())):
        if getattr(config, name) < 1:
            raise ValueError(f"{name} must be at least 1, got {getattr(config, name)}")
    for name in ("replay_per_problem", "demonstrations_per_problem", "temperature", "seed"):
        if getattr(config, name) < 0:
            raise ValueError(f"{name} must not be negative, got {getattr(config, name)}")
    for name in ("beta", "subtb_lambda", "clip_range", "learning_rate", "flow_learning_rate", "max_grad_norm"):
        if not 0 < getattr(config, name) < math.inf:
            raise ValueError(f"{name} must be positive, got {getattr(config, name)}")
    if not 0 <= config.epsilon <= 1:
        raise ValueError(f"epsilon must be from 0 to 1, got {config.epsilon}")
    for name, known in (("objective", ObjectiveName), ("regression", RegressionName), ("backward", BackwardName)):
        if getattr(config, name) not in get_args(known):
            raise ValueError(f"{name} must be one of {', '.join(get_args(known))}, got {getattr(config, name)!r}")
    if config.demonstrations_per_problem and not config.replay_per_problem:
        raise ValueError("demonstrations are drawn through replay; set replay_per_problem to at least 1")
