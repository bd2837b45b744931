"""Trajectories -> one padded batch of log-probabilities, each distinct prompt scored once.

`scored_batch` is differentiable. How much memory its gradient needs is up to the policy: a language
model keeps it bounded whatever the number of trajectories (`gfn_agents.language_model`).

Where the flows of a batch come from decides the variant of an objective that reads them:

====================  ==============================================================================
head                  log F(s) is the policy's `log_flow`
forward_looking       log F(s) = beta * log_reward_so_far(s) + `log_flow`, after Pan et al. 2023
                      (arXiv 2302.01687): the policy learns only what is still to come
stop                  log F(s) = beta * log R(stop here) - log P_F(stop | s), after Deleu et al. 2022
                      (arXiv 2202.13903): no flow is learned
====================  ==============================================================================

At an end log F is the log-reward, whatever the source. Under chance log F of the next state is the
log of the expectation of F over everything that the action can lead to.

A policy that thinks draws a thought c and then an action given c, so that a step is both. log P_F of a
step gains thought_weight * log p(c | s), and its log P_B gains thought_prior * log p_ref(c | s), where
p_ref is a frozen reference policy:

* With both weights 1, p_ref(c | s) is a backward probability of the thought, normalised as it must be: the
  next state does not hold the thought, so balance asks for F(s) p(c | s) P_F(a | s, c) =
  p_ref(c | s) P_B F(s'). Summed over thoughts that is balance without them, so solutions are sampled in
  proportion to R^beta, exactly. Thoughts then follow p_ref, and whatever is thought, actions are right; a
  model that cannot act right after every thought comes to prefer those after which it can. Relative
  objectives, whose reference acts given its thoughts, favour thoughts by how well they lead to reward.
* With prior 0, p_ref is the constant 1, and the optimum draws all thoughts alike: uniform noise. As their
  number then counts as flow, longer trajectories gain weight.
* Any other weight, as the lambda of GFlowVLM (Kang et al. 2025, arXiv 2503.06514) and of RL4VLM (Zhai et al.
  2024, arXiv 2405.10292), is a heuristic: p^weight is no distribution over thoughts, and the target no exact one.

A state is what it is before a thought, and so is its log F. Where flows come from stopping, a thought
comes first there too, and log F(s) = beta * log R - [log p(c | s) - log p_ref(c | s) + log P_F(stop | s, c)].
No step leads to the first state, which would leave its thoughts free; there log F is the mean over the
trajectories of a problem, so that they must agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gfn_agents.policy import Policy
from gfn_envs.trajectory import NO_THOUGHT, Step, Thought, Trajectory

FlowSource = Literal["none", "head", "forward_looking", "stop"]
Prompt = tuple[str, tuple[str, ...], Thought]
"""Observation, actions and thought: what a row of a policy's table is about."""
BACKWARD_MARKER = "\nBackward."
"""Follows the text of a state where the policy is asked for P_B of its incoming edges."""


@dataclass(frozen=True)
class Batch:
    """What an objective sees of N trajectories of at most T steps.

    Attributes:
        log_pf: log P_F of the steps taken, thoughts included, shape (N, T), 0 on padding.
        log_pb: log P_B of the same edges, the prior of thoughts included, shape (N, T), 0 on padding.
        mask: which steps exist, bool of shape (N, T).
        log_reward: beta * log R of the ends, shape (N,).
        group: number of the problem of each trajectory, shape (N,).
        complete: which trajectories come to an end, bool of shape (N,).
        log_f: log F of the states in which the steps are taken, shape (N, T), 0 on padding; in the
            first column it is log Z. None where no objective needs it.
        log_f_next: log F of the states to which the steps lead, shape (N, T), 0 on padding.
        log_ref: log-probability of the whole trajectory under the reference policy, shape (N,).
        first_log_pf: log_pf at the first update from these trajectories, without gradient.
    """

    log_pf: Tensor
    log_pb: Tensor
    mask: Tensor
    log_reward: Tensor
    group: Tensor
    complete: Tensor
    log_f: Tensor | None = None
    log_f_next: Tensor | None = None
    log_ref: Tensor | None = None
    first_log_pf: Tensor | None = None


def scored_batch(
    policy: Policy,
    trajectories: Sequence[Trajectory],
    beta: float,
    flows: FlowSource = "none",
    learned_backward: bool = False,
    reference: Policy | None = None,
    thought_reference: Policy | None = None,
    thought_weight: float = 1.0,
    thought_prior: float = 1.0,
) -> Batch:
    """Returns the batch, with gradients to the policy's parameters.

    Args:
        beta: the target is proportional to R^beta.
        flows: where log F comes from.
        learned_backward: P_B over incoming edges is the policy's; otherwise it is uniform.
        reference: a frozen policy that gives `log_ref`, and the prior of thoughts.
        thought_reference: a frozen policy that gives the prior of thoughts alone; without either they have none.
        thought_weight: weight of the log-probability of thoughts.
        thought_prior: weight of the log of their prior.

    Raises:
        ValueError: a log-reward is not finite, or a thought is none of the policy's.
    """
    _check_rewards(trajectories)
    shape = len(trajectories), max(len(trajectory.steps) for trajectory in trajectories)
    thinks = policy.thought_tokens > 0
    prompts: dict[Prompt, int] = {}
    forward = _find(prompts, trajectories, shape, _forward, thinks)
    backward = _find(prompts, trajectories, shape, _backward) if learned_backward else None
    stops = _find(prompts, trajectories, shape, _stop, thinks) if flows == "stop" else None

    observations, admissible_actions = [text for text, _, _ in prompts], [actions for _, actions, _ in prompts]
    thoughts = [thought for _, _, thought in prompts]
    with_head = flows in ("head", "forward_looking")
    table, said, heads = policy.scores(observations, admissible_actions, thoughts, with_head)
    like = table.detach()
    mask = torch.from_numpy(forward.exists).to(like.device)
    numbers = {name: number for number, name in enumerate(dict.fromkeys(t.problem_id for t in trajectories))}
    group = torch.tensor([numbers[t.problem_id] for t in trajectories], device=like.device)
    log_reward = beta * torch.tensor([t.log_reward for t in trajectories], dtype=like.dtype, device=like.device)
    log_pf = forward.pick(table)
    log_pb = _column(trajectories, shape, like, lambda step: step.log_pb)
    if backward is not None:
        log_pb = torch.where(torch.from_numpy(backward.exists).to(like.device), backward.pick(table), log_pb)
    log_f = log_f_next = log_ref = None
    prior = torch.zeros_like(said)
    with torch.no_grad():
        if reference is not None:
            acted, prior, _ = reference.scores(observations, admissible_actions, thoughts)
            log_ref = forward.pick(acted).sum(dim=1).to(like)
        elif thought_reference is not None:
            prior = thought_reference.thought_log_probs(observations, thoughts)
    thought_pf, thought_pb = thought_weight * forward.of_prompts(said), thought_prior * forward.of_prompts(prior)
    log_pf, log_pb = log_pf + thought_pf, log_pb + thought_pb.to(like)
    if log_ref is not None:
        log_ref = log_ref + thought_pb.sum(dim=1).to(like)
    if with_head:
        log_f, log_f_next = _flows(policy, trajectories, prompts, forward, heads, beta, flows == "forward_looking")
    elif stops is not None:
        stop_rewards = _column(trajectories, shape, like, lambda step: step.stop_log_reward)
        log_f = beta * stop_rewards - stops.pick(table) - thought_pf + thought_pb.to(like)
        if thinks:
            log_f = torch.cat([_means(log_f[:, 0], group)[:, None], log_f[:, 1:]], dim=1)
        log_f_next = _shifted(log_f, mask, log_reward)
    return Batch(
        log_pf=log_pf,
        log_pb=log_pb,
        mask=mask,
        log_reward=log_reward,
        group=group,
        complete=torch.tensor([t.complete for t in trajectories], device=like.device),
        log_f=log_f,
        log_f_next=log_f_next,
        log_ref=log_ref,
        first_log_pf=log_pf.detach(),
    )


def _check_rewards(trajectories: Sequence[Trajectory]) -> None:
    for trajectory in trajectories:
        if not math.isfinite(trajectory.log_reward):
            raise ValueError(
                f"log R of '{trajectory.solution or trajectory.end}' on '{trajectory.problem_id}' is "
                f"{trajectory.log_reward}; a GFlowNet needs rewards that are positive and finite"
            )


# -- where the numbers of a step are in the table of a policy --------------------------------------
Choice = Callable[[Trajectory, int], tuple[str, tuple[str, ...], str] | None]
"""A step of a trajectory -> the prompt (observation and actions) and the action that it is about, if any."""


@dataclass(frozen=True)
class _Places:
    """Row (prompt) and column (action) of each step in a table of log-probabilities, shape (N, T)."""

    rows: np.ndarray
    columns: np.ndarray
    exists: np.ndarray

    def pick(self, table: Tensor) -> Tensor:
        """Returns the entries of a table, 0 where there is none, shape (N, T)."""
        rows, columns, exists = (torch.from_numpy(a).to(table.device) for a in (self.rows, self.columns, self.exists))
        return torch.where(exists, table[rows, columns], 0.0)

    def of_prompts(self, values: Tensor) -> Tensor:
        """Returns the entries of a table of one column, 0 where there is none, shape (N, T)."""
        rows, exists = (torch.from_numpy(a).to(values.device) for a in (self.rows, self.exists))
        return torch.where(exists, values[rows], 0.0)


def _find(
    prompts: dict[Prompt, int],
    trajectories: Sequence[Trajectory],
    shape: tuple[int, int],
    choose: Choice,
    thinks: bool = False,
) -> _Places:
    """Returns the places of what every step chose; prompts that are new are added.

    Args:
        thinks: the choice was made after the step's thought.
    """
    rows, columns, exists = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.bool_)
    for n, trajectory in enumerate(trajectories):
        for t in range(len(trajectory.steps)):
            chosen = choose(trajectory, t)
            if chosen is not None:
                observation, actions, action = chosen
                thought = trajectory.steps[t].thought if thinks else NO_THOUGHT
                rows[n, t] = prompts.setdefault((observation, actions, thought), len(prompts))
                columns[n, t] = actions.index(action)
                exists[n, t] = True
    return _Places(rows, columns, exists)


def _forward(trajectory: Trajectory, place: int) -> tuple[str, tuple[str, ...], str]:
    step = trajectory.steps[place]
    return step.observation, step.admissible_actions, step.action


def _stop(trajectory: Trajectory, place: int) -> tuple[str, tuple[str, ...], str]:
    step = trajectory.steps[place]
    if step.stop_action is None:
        raise ValueError(f"a trajectory of '{trajectory.problem_id}' has no stop action, from which flows could come")
    if not trajectory.complete:
        raise ValueError(
            f"a trajectory of '{trajectory.problem_id}' does not come to its end, where flows come from stopping; "
            "use a flow head"
        )
    return step.observation, step.admissible_actions, step.stop_action


def _backward(trajectory: Trajectory, place: int) -> tuple[str, tuple[str, ...], str] | None:
    step = trajectory.steps[place]
    if not step.incoming:
        return None
    last = place == len(trajectory.steps) - 1
    after = trajectory.end if last else trajectory.steps[place + 1].observation
    return after + BACKWARD_MARKER, step.incoming, step.incoming_edge


def _column(
    trajectories: Sequence[Trajectory], shape: tuple[int, int], like: Tensor, value: Callable[[Step], float]
) -> Tensor:
    """Returns one number of every step, shape (N, T), 0 on padding."""
    values = np.zeros(shape)
    for n, trajectory in enumerate(trajectories):
        values[n, : len(trajectory.steps)] = [value(step) for step in trajectory.steps]
    return torch.from_numpy(values).to(like)


# -- flows -----------------------------------------------------------------------------------------
def _flows(
    policy: Policy,
    trajectories: Sequence[Trajectory],
    prompts: dict[Prompt, int],
    forward: _Places,
    heads: Tensor,
    beta: float,
    forward_looking: bool,
) -> tuple[Tensor, Tensor]:
    """Returns log F of the states and of what follows them, each of shape (N, T)."""
    shape, weight = forward.rows.shape, beta if forward_looking else 0.0
    mask = torch.from_numpy(forward.exists).to(heads.device)
    rows = torch.from_numpy(forward.rows).to(heads.device)
    so_far = _column(trajectories, (shape[0], shape[1]), heads.detach(), lambda step: step.log_reward_so_far)
    log_f = torch.where(mask, weight * so_far + heads[rows], 0.0)

    known = {observation: row for (observation, _, _), row in reversed(prompts.items())}
    asked: dict[str, int] = {}
    after = [[t.outcomes(place) for place in range(len(t.steps))] for t in trajectories]
    width = max(len(outcomes) for steps in after for outcomes in steps)
    # Entry 0 of what is picked from is 0 = log 1, for ends and padding.
    constants, picked = np.full((*shape, width), -np.inf), np.zeros((*shape, width), np.int64)
    constants[..., 0] = 0.0
    for n, steps in enumerate(after):
        for t, outcomes in enumerate(steps):
            for o, outcome in enumerate(outcomes):
                log_probability = math.log(outcome.probability) if outcome.probability else -math.inf
                ends, text = outcome.observation is None, outcome.observation or ""
                constants[n, t, o] = log_probability + (beta if ends else weight) * outcome.log_reward
                if not ends and outcome.probability:
                    row = known[text] if text in known else len(prompts) + asked.setdefault(text, len(asked))
                    picked[n, t, o] = 1 + row
    parts = [heads.new_zeros(1), heads, *([policy.log_flow(list(asked))] if asked else [])]
    places = torch.from_numpy(picked).to(heads.device)
    return log_f, torch.logsumexp(torch.from_numpy(constants).to(heads.detach()) + torch.cat(parts)[places], dim=-1)


def _means(values: Tensor, group: Tensor) -> Tensor:
    """Returns for each entry the mean over its group, shape (N,)."""
    count = int(group.max()) + 1
    sums = values.new_zeros(count).index_add(0, group, values)
    return (sums / torch.bincount(group, minlength=count))[group]


def _shifted(log_f: Tensor, mask: Tensor, log_reward: Tensor) -> Tensor:
    """Returns log F of the next state on complete trajectories without chance, shape (N, T), 0 on padding."""
    following = torch.cat([log_f[:, 1:], torch.zeros_like(log_f[:, :1])], dim=1)
    last = mask & ~torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], dim=1)
    return torch.where(last, log_reward[:, None], following)
