"""Supervised fine-tuning: maximum likelihood of solver demonstrations on the training problems.

Several demonstrations of each problem are drawn, every solved end equally often and by any way into it, so that what
is imitated is as diverse as the solutions are: the optimum is the distribution of the demonstrations. Where there is
chance, no trajectory is a solution whatever the cards; there the player with the highest chance of success is imitated,
losses included, because to keep the wins alone would teach to rely on luck.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, get_type_hints

import numpy as np
import torch
from torch import Tensor

from baselines.yardsticks import optimal_policy
from gfn_agents.batch import scored_batch
from gfn_agents.config import check_numbers, check_sizes
from gfn_agents.exploration import demonstrations
from gfn_agents.memory import within_memory
from gfn_agents.policy import Policy
from gfn_agents.schedules import Schedule
from gfn_envs.exact import enumerate_states
from gfn_envs.problems import ProblemSource
from gfn_envs.state_graph import StateGraph
from gfn_envs.task import ProblemT, Task
from gfn_envs.trajectory import Trajectory

_KEPT_GRAPHS = 64
_DRAWS = 100


@dataclass(frozen=True)
class SFTConfig:
    """Options of supervised fine-tuning.

    Args:
        problems_per_step: problems drawn for each batch of fresh demonstrations.
        demonstrations_per_problem: demonstrations of each; a problem with fewer solutions gives fewer.
        epochs: optimizer steps for each batch of fresh demonstrations; all but the first are taken on as many
            demonstrations drawn from all that were shown so far.
        learning_rate: of AdamW, without weight decay; a number, or a schedule by optimizer step.
        max_grad_norm: gradients are clipped to this norm.
    """

    problems_per_step: int = 8
    demonstrations_per_problem: int = 4
    epochs: int = 2
    learning_rate: float | Schedule = 3e-4
    max_grad_norm: float = 1.0

    def __post_init__(self) -> None:
        check_numbers(get_type_hints(SFTConfig), vars(self))
        check_sizes(vars(self), ("problems_per_step", "demonstrations_per_problem", "epochs"))
        for name, value in (("learning_rate", self.learning_rate_at(0)), ("max_grad_norm", self.max_grad_norm)):
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")

    def learning_rate_at(self, step: int) -> float:
        """Returns the learning rate of optimizer step `step`, counted from 0."""
        return self.learning_rate.at(step) if isinstance(self.learning_rate, Schedule) else self.learning_rate


def sft_loss(policy: Policy, shown: list[Trajectory]) -> Tensor:
    """Returns minus the mean log-likelihood of trajectories under the policy, a scalar; nats a trajectory."""
    return -scored_batch(policy, shown, beta=1.0).log_pf.sum(dim=1).mean()


def supervise(
    policy: Policy,
    task: Task[ProblemT, Any],
    problems: ProblemSource[ProblemT],
    config: SFTConfig,
    rng: np.random.Generator,
    go_on: Callable[[int], bool],
) -> None:
    """Trains the policy in place.

    Args:
        go_on: told before each batch how many steps were demonstrated so far; training ends when it says no.
    """
    parameters = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.0)
    source = fresh_demonstrations(task, problems, config, rng)
    shown: list[Trajectory] = []
    steps, optimizer_steps = 0, 0
    while go_on(steps):
        fresh = next(source)
        shown += fresh
        steps += sum(len(trajectory.steps) for trajectory in fresh)
        for epoch in range(config.epochs):
            batch = fresh if epoch == 0 else [shown[i] for i in rng.integers(len(shown), size=len(fresh))]
            within_memory(partial(_set_gradient, policy, batch, optimizer), policy)
            policy.clip_gradients(config.max_grad_norm)
            optimizer.param_groups[0]["lr"] = config.learning_rate_at(optimizer_steps)
            optimizer.step()
            optimizer_steps += 1


def _set_gradient(policy: Policy, shown: list[Trajectory], optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    policy.backward(sft_loss(policy, shown))


def fresh_demonstrations(
    task: Task[ProblemT, Any], problems: ProblemSource[ProblemT], config: SFTConfig, rng: np.random.Generator
) -> Iterator[list[Trajectory]]:
    """Yields batches of demonstrations without end.

    Raises:
        ValueError: none of many problems has a demonstration.
    """
    show = demonstrator(task)
    while True:
        batch: list[Trajectory] = []
        for _ in range(_DRAWS):
            for _ in range(config.problems_per_step):
                batch += show(problems.sample(rng), config.demonstrations_per_problem, rng)
            if batch:
                break
        else:
            raise ValueError(f"no solver knows a demonstration of problems of '{task.name}'; train by trial instead")
        yield batch


def demonstrator(
    task: Task[ProblemT, Any],
) -> Callable[[ProblemT, int, np.random.Generator], list[Trajectory]]:
    """Returns the function that demonstrates a problem so many times; see the module's docstring."""
    if task.deterministic:
        return lambda problem, count, rng: demonstrations(task, problem, count, rng)

    @lru_cache(maxsize=_KEPT_GRAPHS)
    def solved(problem: ProblemT) -> tuple[StateGraph[Any, Any], list[np.ndarray]]:
        graph = enumerate_states(task.memoryless(), problem)
        return graph, optimal_policy(graph)

    def play(problem: ProblemT, count: int, rng: np.random.Generator) -> list[Trajectory]:
        graph, policy = solved(problem)
        return [graph.sample(policy, rng, "demonstration") for _ in range(count)]

    return play
