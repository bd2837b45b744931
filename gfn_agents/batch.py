"""Trajectories -> one padded batch of log-probabilities, each distinct prompt scored once.

`scored_batch` is differentiable. How much memory its gradient needs is up to the policy: a language
model keeps it bounded whatever the number of trajectories (`gfn_agents.language_model`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gfn_agents.policy import Policy
from gfn_envs.rollout import Trajectory

Prompt = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class Batch:
    """What an objective sees of N trajectories of at most T steps.

    Attributes:
        log_pf: log P_F of the steps taken, shape (N, T), 0 on padding.
        log_pb: log P_B of the same edges, shape (N, T), 0 on padding.
        mask: which steps exist, bool of shape (N, T).
        log_reward: beta * log R of the ends, shape (N,).
        group: number of the problem of each trajectory, shape (N,).
        log_z: log F of each trajectory's first state, shape (N,); None where no objective needs it.
    """

    log_pf: Tensor
    log_pb: Tensor
    mask: Tensor
    log_reward: Tensor
    group: Tensor
    log_z: Tensor | None = None


def scored_batch(policy: Policy, trajectories: Sequence[Trajectory], beta: float, with_log_z: bool) -> Batch:
    """Returns the batch, with gradients to the policy's parameters."""
    prompts: dict[Prompt, int] = {}
    for trajectory in trajectories:
        for step in trajectory.steps:
            prompts.setdefault((step.observation, step.admissible_actions), len(prompts))
    table = policy.log_probs([observation for observation, _ in prompts], [legal for _, legal in prompts])
    length = max(len(trajectory.steps) for trajectory in trajectories)
    rows = torch.zeros(len(trajectories), length, dtype=torch.long)
    columns = torch.zeros_like(rows)
    mask = torch.zeros(len(trajectories), length, dtype=torch.bool)
    log_pb = torch.zeros(len(trajectories), length, dtype=table.dtype)
    for n, trajectory in enumerate(trajectories):
        for t, step in enumerate(trajectory.steps):
            rows[n, t] = prompts[step.observation, step.admissible_actions]
            columns[n, t] = step.admissible_actions.index(step.action)
            mask[n, t] = True
            log_pb[n, t] = step.log_pb
    mask = mask.to(table.device)
    picked = table[rows.to(table.device), columns.to(table.device)]
    groups = {trajectory.problem_id: None for trajectory in trajectories}
    numbers = {problem_id: number for number, problem_id in enumerate(groups)}
    log_rewards = torch.tensor([trajectory.log_reward for trajectory in trajectories], dtype=table.dtype)
    return Batch(
        log_pf=torch.where(mask, picked, 0.0),
        log_pb=log_pb.to(table.device),
        mask=mask,
        log_reward=beta * log_rewards.to(table.device),
        group=torch.tensor([numbers[trajectory.problem_id] for trajectory in trajectories], device=table.device),
        log_z=policy.log_flow([trajectory.steps[0].observation for trajectory in trajectories]) if with_log_z else None,
    )
