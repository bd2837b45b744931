"""Objectives: pure functions of one padded batch of log-probabilities.

Balance objectives return residuals, which are zero exactly where the policy samples in proportion to
the reward; the loss is a regression of them. With

    delta(tau) = sum_t [log P_F(a_t | s_t) - log P_B(s_t, a_t | s_{t+1})] - beta log R(x)

trajectory balance asks that log Z + delta = 0 and VarGrad that delta is the same for all
trajectories of one problem; detailed balance asks for balance over each step, sub-trajectory balance
over each part of a trajectory. Where log F comes from makes their forward-looking and stop-action
variants (`gfn_agents.batch`), which is why they are the same functions here.

Policy gradients, for comparison on the same policy, return terms whose weighted sum is the loss. Their return is
R^beta, whose expectation a policy maximises by playing the best trajectory alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gfn_agents.batch import Batch, FlowSource
from gfn_agents.config import TrainConfig

Regression = Callable[[Tensor], Tensor]
_SMALLEST_SPREAD = 1e-8
_ROUNDING = 1e-6
"""Of a return, several units in the last place of float32."""


@dataclass(frozen=True)
class Terms:
    """What a loss is made of.

    Attributes:
        values: residuals, or losses where there is no regression.
        weights: of the same shape, 0 on padding; those of residuals sum to 1, the same for every trajectory.
    """

    values: Tensor
    weights: Tensor

    def loss(self, regression: Regression) -> Tensor:
        """Returns the weighted sum of the regressed values."""
        return (self.weights * regression(self.values)).sum()


# -- balance ---------------------------------------------------------------------------------------
def delta(batch: Batch) -> Tensor:
    """Returns delta of each trajectory, shape (N,): minus the log Z that it would balance.

    Raises:
        ValueError: a trajectory is not complete.
    """
    _require_complete(batch)
    return (batch.log_pf - batch.log_pb).sum(dim=1) - batch.log_reward


def vargrad(batch: Batch) -> Terms:
    """Returns delta minus its mean over the trajectories of the same problem, shape (N,).

    VarGrad (Richter et al. 2020, arXiv 2010.10436) as used for GFlowNets by Zhang et al. 2023
    (arXiv 2302.05446, equation 5): the batch's own estimate of log Z takes the place of a learned
    one.

    Raises:
        ValueError: a problem has a single trajectory.
    """
    values = delta(batch)
    return _each(values - _group_means(batch, values))


def trajectory_balance(batch: Batch) -> Terms:
    """Returns log Z(problem) + delta, shape (N,).

    Malkin et al. 2022 (arXiv 2201.13259, equation 14), with log Z = log F(first state), one for
    each problem.

    Raises:
        ValueError: the batch has no flows.
    """
    log_f, _ = _flows(batch)
    return _each(log_f[:, 0] + delta(batch))


def detailed_balance(batch: Batch) -> Terms:
    """Returns log F(s) + log P_F - log P_B - log F(s') of every step, shape (N, T); F(x) = R(x)^beta.

    Bengio et al. 2023 (arXiv 2111.09266). Under chance F(s') is its expectation over all outcomes, and
    this is expected detailed balance (Jiralerspong et al. 2023, arXiv 2310.02779), which can hold for
    every action whatever chance answers. With the other sources of flows this is forward-looking detailed
    balance (Pan et al. 2023, arXiv 2302.01687), where log F~ = 0 at ends, and modified detailed balance
    (Deleu et al. 2022, arXiv 2202.13903).
    """
    log_f, log_f_next = _flows(batch)
    values = log_f + batch.log_pf - batch.log_pb - log_f_next
    return Terms(torch.where(batch.mask, values, 0.0), _step_weights(batch))


def sub_trajectory_balance(batch: Batch, subtb_lambda: float = 0.9) -> Terms:
    """Returns log F(s_i) + sum_{i<=t<j} (log P_F - log P_B) - log F(s_j) of all i < j, shape (N, T + 1, T + 1).

    Madan et al. 2023 (arXiv 2209.12782). With h_i = log F(s_i) - sum_{t<i} (log P_F - log P_B)
    the residual of i and j is h_i - h_j.

    Args:
        subtb_lambda: a part of n steps weighs lambda^n, normalised over the parts of its trajectory; towards
            0 this is detailed balance, towards infinity trajectory balance.
    """
    log_f, log_f_next = _flows(batch)
    lengths = batch.mask.sum(dim=1)
    start = log_f.new_zeros(len(log_f), 1)
    states = torch.cat([log_f, start], dim=1).scatter(1, lengths[:, None], log_f_next.gather(1, lengths[:, None] - 1))
    potentials = states - torch.cat([start, (batch.log_pf - batch.log_pb).cumsum(dim=1)], dim=1)
    place = torch.arange(states.shape[1], device=states.device)
    span = place[None, :] - place[:, None]
    exists = (span > 0) & (place <= lengths[:, None])[:, None, :]
    values = torch.where(exists, potentials[:, :, None] - potentials[:, None, :], 0.0)
    logits = (span * math.log(subtb_lambda)).to(states.dtype).expand_as(values).masked_fill(~exists, -torch.inf)
    weights = logits.flatten(1).softmax(dim=1).view_as(values)
    return Terms(values, weights / len(values))


def relative_trajectory_balance(batch: Batch) -> Terms:
    """Returns log Z(problem) + sum_t log P_F - log P_ref(tau) - beta log R(x), shape (N,).

    Venkatraman et al. 2024 (arXiv 2405.20971). The target is P_ref(x) R(x)^beta, P_ref(x) being
    the probability that the reference policy ends in x. Trajectories are weighed by P_ref, so that where
    histories merge no backward policy enters.

    Raises:
        ValueError: the batch has no flows or no reference, or a trajectory is not complete.
    """
    if batch.log_ref is None:
        raise ValueError("relative_trajectory_balance needs log_ref, from a reference policy; this batch has none")
    _require_complete(batch)
    log_f, _ = _flows(batch)
    return _each(log_f[:, 0] + batch.log_pf.sum(dim=1) - batch.log_ref - batch.log_reward)


# -- policy gradients ------------------------------------------------------------------------------
def reinforce(batch: Batch) -> Terms:
    """Returns -A log P_F(tau), shape (N,), where A is the return less the mean return of the others of its problem.

    Williams 1992; the leave-one-out baseline is that of Kool et al. 2019 and Ahmadian et al. 2024 (arXiv
    2402.14740). The gradient is that of the expected return, without bias.
    """
    return _each(-_leave_one_out(batch) * batch.log_pf.sum(dim=1))


def grpo(batch: Batch, clip_range: float = 0.2) -> Terms:
    """Returns the clipped surrogate of every step, shape (N, T), with A = (return - mean) / deviation in its problem.

    Shao et al. 2024 (arXiv 2402.03300), mean over the steps of a trajectory, without the KL term.
    """
    returns = _returns(batch)
    centred = returns - _group_means(batch, returns)
    spread = _group_means(batch, centred.square()).sqrt()
    rounded = spread <= _ROUNDING * returns.abs()  # equal returns: divided by it, rounding would pass for an advantage
    advantages = torch.where(rounded, torch.zeros_like(centred), centred / spread.clamp_min(_SMALLEST_SPREAD))
    return Terms(_clipped(batch, advantages, clip_range), _step_weights(batch))


def ppo_clip(batch: Batch, clip_range: float = 0.2) -> Terms:
    """Returns the clipped surrogate of every step, shape (N, T), with the advantage of `reinforce`.

    Schulman et al. 2017 (arXiv 1707.06347, equation 7), sum over the steps of a trajectory. At the first
    update its gradient is that of `reinforce`.
    """
    weights = batch.mask.to(batch.log_pf.dtype) / len(batch.mask)
    return Terms(_clipped(batch, _leave_one_out(batch), clip_range), weights)


def _returns(batch: Batch) -> Tensor:
    _require_complete(batch)
    return batch.log_reward.exp()


def _leave_one_out(batch: Batch) -> Tensor:
    """Returns the return less the mean of the others: K / (K - 1) times the return less the mean of all."""
    returns = _returns(batch)
    counts = torch.bincount(batch.group)[batch.group].to(returns.dtype)
    return (returns - _group_means(batch, returns)) * counts / (counts - 1)


def _clipped(batch: Batch, advantages: Tensor, clip_range: float) -> Tensor:
    first = batch.log_pf.detach() if batch.first_log_pf is None else batch.first_log_pf
    ratio = (batch.log_pf - first).exp()
    weighed = advantages[:, None]
    return -torch.minimum(ratio * weighed, ratio.clamp(1.0 - clip_range, 1.0 + clip_range) * weighed)


# -- shared ----------------------------------------------------------------------------------------
def _require_complete(batch: Batch) -> None:
    if not bool(batch.complete.all()):
        raise ValueError("a trajectory does not come to its end; use detailed or sub-trajectory balance for these")


def _flows(batch: Batch) -> tuple[Tensor, Tensor]:
    if batch.log_f is None or batch.log_f_next is None:
        raise ValueError("this objective needs log_f and log_f_next, the flows of the states; this batch has none")
    return batch.log_f, batch.log_f_next


def _each(values: Tensor) -> Terms:
    return Terms(values, torch.full_like(values, 1.0 / len(values)))


def _step_weights(batch: Batch) -> Tensor:
    mask = batch.mask.to(batch.log_pf.dtype)
    return mask / mask.sum(dim=1, keepdim=True) / len(mask)


def _group_means(batch: Batch, values: Tensor) -> Tensor:
    """Returns for each trajectory the mean over its problem, shape (N,)."""
    counts = torch.bincount(batch.group)
    if int(counts.min()) < 2:
        raise ValueError("this objective needs at least 2 trajectories per problem, got 1; raise samples_per_problem")
    sums = torch.zeros(len(counts), dtype=values.dtype, device=values.device).index_add(0, batch.group, values)
    return (sums / counts)[batch.group]


# -- regressions -----------------------------------------------------------------------------------
def squared(residuals: Tensor) -> Tensor:
    """Returns the squares."""
    return residuals.square()


def huber(residuals: Tensor) -> Tensor:
    """Returns the Huber losses: square / 2 up to 1, linear beyond, so that outliers weigh less."""
    return torch.nn.functional.huber_loss(residuals, torch.zeros_like(residuals), reduction="none")


def shifted_cosh(residuals: Tensor) -> Tensor:
    """Returns e^r + e^-r - 2 (Hu et al. 2024, arXiv 2410.02596), which weighs outliers more than squares do."""
    return 4.0 * (residuals / 2.0).sinh().square()


def unchanged(values: Tensor) -> Tensor:
    """Returns the values, which are losses already."""
    return values


REGRESSIONS: dict[str, Regression] = {"squared": squared, "huber": huber, "shifted_cosh": shifted_cosh}


# -- the table -------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Objective:
    """An objective by name: its function, and what it needs and holds for, as data.

    Attributes:
        terms: the function; options follow the batch as keywords.
        flows: where its flows come from.
        options: fields of TrainConfig that the function takes.
        chance: whether it is right on tasks with chance.
        incomplete: whether it learns from trajectories that do not come to an end.
        group: whether it compares at least 2 trajectories of each problem.
        reference: whether it needs a frozen reference policy.
        backward: whether P_B enters it.
        policy_gradient: whether it maximises the return, on the policy's own samples, instead of matching the target.
    """

    terms: Callable[..., Terms]
    flows: FlowSource = "none"
    options: tuple[str, ...] = ()
    chance: bool = False
    incomplete: bool = False
    group: bool = False
    reference: bool = False
    backward: bool = True
    policy_gradient: bool = False

    def loss(self, batch: Batch, config: TrainConfig) -> Tensor:
        """Returns the loss of a batch, a scalar."""
        options: dict[str, Any] = {name: getattr(config, name) for name in self.options}
        regression = unchanged if self.policy_gradient else REGRESSIONS[config.regression]
        return self.terms(batch, **options).loss(regression)


_LAMBDA, _CLIP = ("subtb_lambda",), ("clip_range",)
_GRADIENT: dict[str, Any] = {"chance": True, "group": True, "backward": False, "policy_gradient": True}
OBJECTIVES = {
    "vargrad": Objective(vargrad, group=True),
    "trajectory_balance": Objective(trajectory_balance, "head"),
    "detailed_balance": Objective(detailed_balance, "head", chance=True, incomplete=True),
    "sub_trajectory_balance": Objective(sub_trajectory_balance, "head", _LAMBDA, incomplete=True),
    "forward_looking_detailed_balance": Objective(detailed_balance, "forward_looking", chance=True, incomplete=True),
    "forward_looking_sub_trajectory_balance": Objective(
        sub_trajectory_balance, "forward_looking", _LAMBDA, incomplete=True
    ),
    "modified_detailed_balance": Objective(detailed_balance, "stop"),
    "modified_sub_trajectory_balance": Objective(sub_trajectory_balance, "stop", _LAMBDA),
    "relative_trajectory_balance": Objective(relative_trajectory_balance, "head", reference=True, backward=False),
    "reinforce": Objective(reinforce, **_GRADIENT),
    "grpo": Objective(grpo, options=_CLIP, **_GRADIENT),
    "ppo_clip": Objective(ppo_clip, options=_CLIP, **_GRADIENT),
}
