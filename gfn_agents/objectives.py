"""GFlowNet objectives: pure functions of one padded batch of log-probabilities.

Each returns the residual of every trajectory, zero exactly where the policy samples in proportion
to the reward. With

    delta(tau) = sum_t [log P_F(a_t | s_t) - log P_B(s_t, a_t | s_{t+1})] - beta log R(x)

trajectory balance asks that log Z + delta = 0 and VarGrad that delta is the same for all
trajectories of one problem.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gfn_agents.batch import Batch

Regression = Callable[[Tensor], Tensor]


def delta(batch: Batch) -> Tensor:
    """Returns delta of each trajectory, shape (N,): minus the log Z that it would balance."""
    return (batch.log_pf - batch.log_pb).sum(dim=1) - batch.log_reward


def vargrad(batch: Batch) -> Tensor:
    """Returns delta minus its mean over the trajectories of the same problem, shape (N,).

    VarGrad (Richter et al. 2020, arXiv 2010.10436) as used for GFlowNets by Zhang et al. 2023
    (arXiv 2302.05446, equation 5): the batch's own estimate of log Z takes the place of a learned
    one.

    Raises:
        ValueError: a problem has a single trajectory.
    """
    values = delta(batch)
    groups = int(batch.group.max()) + 1
    counts = torch.bincount(batch.group, minlength=groups)
    if int(counts.min()) < 2:
        raise ValueError("vargrad needs at least 2 trajectories per problem, got 1; raise samples_per_problem")
    sums = torch.zeros(groups, dtype=values.dtype, device=values.device).index_add(0, batch.group, values)
    return values - (sums / counts)[batch.group]


def trajectory_balance(batch: Batch) -> Tensor:
    """Returns log Z(problem) + delta, shape (N,).

    Malkin et al. 2022 (arXiv 2201.13259, equation 14), with log Z = log F(first state), one for
    each problem.

    Raises:
        ValueError: the batch has no log Z.
    """
    if batch.log_z is None:
        raise ValueError("trajectory_balance needs log_z, the log-flow of the first states; this batch has none")
    return batch.log_z + delta(batch)


@dataclass(frozen=True, slots=True)
class Objective:
    """A residual function, and whether it needs log Z."""

    residuals: Callable[[Batch], Tensor]
    needs_log_z: bool


OBJECTIVES = {
    "vargrad": Objective(vargrad, needs_log_z=False),
    "trajectory_balance": Objective(trajectory_balance, needs_log_z=True),
}


def squared(residuals: Tensor) -> Tensor:
    """Returns the mean square."""
    return residuals.square().mean()


def huber(residuals: Tensor) -> Tensor:
    """Returns the mean Huber loss: square / 2 up to 1, linear beyond, so that outliers weigh less."""
    return torch.nn.functional.huber_loss(residuals, torch.zeros_like(residuals))


REGRESSIONS: dict[str, Regression] = {"squared": squared, "huber": huber}
