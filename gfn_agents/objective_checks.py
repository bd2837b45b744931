"""Which objective fits which task, and which other options."""

from __future__ import annotations

from typing import Any

from gfn_agents.config import TrainConfig
from gfn_agents.objectives import OBJECTIVES
from gfn_envs.task import Task
from gfn_envs.wrapped import Wrapped

ON_POLICY: dict[str, Any] = {
    "replay_per_problem": 0,
    "epsilon": 0,
    "epsilon_end": 0,
    "temperature": 1,
    "temperature_end": 1,
    "repellence": 0,
    "branches_per_sample": 0,
    "local_search": "none",
}
"""The options under which a run samples from its own policy and nothing else."""


def check_objective(config: TrainConfig, task: Task[Any, Any], start: Any) -> None:
    """Raises ValueError with one sentence if an objective does not fit the task or the other options.

    Args:
        start: a start state of the task, from which it shows whether histories merge.
    """
    merged = task.parents(start) is not None
    name, objective = config.objective, OBJECTIVES[config.objective]
    if not objective.chance and not task.deterministic:
        raise ValueError(
            f"{name} is right on tasks without chance only, and '{task.name}' has chance: "
            "no policy makes its residual zero there; use detailed_balance"
        )
    if objective.flows == "forward_looking" and not has_partial_rewards(task):
        raise ValueError(
            f"{name} needs partial rewards, and '{task.name}' has none (log_reward_so_far is 0 everywhere); "
            f"use {name.removeprefix('forward_looking_')}"
        )
    if objective.flows == "stop" and task.stop_action is None:
        raise ValueError(
            f"{name} needs an action that stops anywhere, and '{task.name}' has none (its stop_action is None); "
            f"use {name.removeprefix('modified_')}"
        )
    if objective.flows == "stop" and len(task.parents(task.step(start, task.stop_action or "")) or (start,)) > 1:
        raise ValueError(
            f"{name} needs an action that is the only way to the end that it leads to, and in '{task.name}' "
            f"{task.stop_action!r} is not; use {name.removeprefix('modified_')}"
        )
    if objective.group and config.samples_per_problem < 2:
        raise ValueError(f"{name} needs at least 2 trajectories per problem, got 1; raise samples_per_problem")
    if objective.policy_gradient:
        for option, off in ON_POLICY.items():
            if getattr(config, option) not in (off, None):
                wanted = ", ".join(f"{o}={v}" for o, v in ON_POLICY.items() if getattr(config, o) not in (v, None))
                raise ValueError(f"{name} learns from the policy's own samples only; set {wanted}")
    if not task.deterministic and (config.local_search != "none" or config.branches_per_sample):
        raise ValueError(
            f"local search and branching play parts of a trajectory again, and '{task.name}' has chance: what was "
            "drawn would have to be drawn again; set local_search=none and branches_per_sample=0"
        )
    if name == "reinforce" and config.updates_per_batch > 1:
        raise ValueError("reinforce learns from fresh samples only; set updates_per_batch=1, or use ppo_clip")
    if config.max_steps is not None and not objective.incomplete:
        raise ValueError(f"{name} needs trajectories that come to their end; leave max_steps out")
    if config.backward == "learned" and not (merged and objective.backward):
        reason = f"every trajectory of '{task.name}' is an object of its own" if objective.backward else "it needs none"
        raise ValueError(f"{name} cannot learn a backward policy here, because {reason}; set backward='uniform'")


def has_partial_rewards(task: Task[Any, Any]) -> bool:
    """Says whether a task, or the one inside its wrappers, defines `log_reward_so_far`."""
    while isinstance(task, Wrapped):
        task = task.task
    return type(task).log_reward_so_far is not Task.log_reward_so_far
